"""What happened on a day."""

import dataframely as dy

from pipeline_assets.contracts.columns import money, text


class DailyActivity(dy.Schema):
    """One row per day and property. Bots are counted apart and in nothing else but `events`."""

    activity_date = dy.Date(primary_key=True, description="Calendar day in the reporting time zone")
    property = text("Site, app or fleet", primary_key=True)
    events = dy.Int64(min=0, description="Events, bots included")
    bot_events = dy.Int64(min=0, description="Events of bots")
    visitors = dy.Int64(min=0, description="Distinct visitors with an event that day")
    users = dy.Int64(min=0, description="Distinct user ids with an event that day")
    sessions = dy.Int64(min=0, description="Sessions that start that day")
    engaged_sessions = dy.Int64(min=0, description="Of these, engaged ones")
    bounces = dy.Int64(min=0, description="Of these, sessions of one event")
    page_views = dy.Int64(min=0, description="Page and screen views that day")
    conversions = dy.Int64(min=0, description="Conversion events that day")
    revenue = money("Revenue that day; null where none, or where the day mixes currencies", nullable=True)
    currency = text("Currency of the revenue; null where none or mixed", nullable=True)
