"""The tables people and assets read, with the column their daily partitions are cut by."""

from dataclasses import dataclass

import dataframely as dy

from pipeline_assets.contracts.daily_activity import DailyActivity
from pipeline_assets.contracts.events import Events
from pipeline_assets.contracts.page_views import PageViews
from pipeline_assets.contracts.sessions import Sessions


@dataclass(frozen=True)
class Table:
    """A table: its name (that of the asset too), its contract and its partition column."""

    name: str
    contract: type[dy.Schema]
    partition_column: str

    @property
    def description(self) -> str:
        """First paragraph of the contract's docstring."""
        return (self.contract.__doc__ or "").strip().split("\n\n", 1)[0]


EVENTS = Table("events", Events, "event_date")
SESSIONS = Table("sessions", Sessions, "session_date")
PAGE_VIEWS = Table("page_views", PageViews, "session_date")
DAILY_ACTIVITY = Table("daily_activity", DailyActivity, "activity_date")

MARTS = (SESSIONS, PAGE_VIEWS, DAILY_ACTIVITY)
TABLES = {table.name: table for table in (EVENTS, *MARTS)}
