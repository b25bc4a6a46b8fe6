"""Checks of identifiers, from what the ledger counts of every day."""

from dataclasses import asdict

import dagster as dg

from pipeline_assets.checks.grouping import Check, asset_check
from pipeline_assets.checks.results import checked_days, result
from pipeline_assets.ledger.summary import MOST_ACROSS, MOST_UNSESSIONED, summarise_identifiers
from pipeline_assets.platform import Platform
from pipeline_assets.tables.spec import EVENTS


def ids_across_properties() -> Check:
    """A warning if many events have the id of an event of another property."""

    @asset_check(
        asset=EVENTS,
        name="ids_across_properties",
        description="Events whose id an event of another property has on the same day. They are no duplicates; where "
        f"they are more than {MOST_ACROSS:.0%}, one feed may be delivered under two properties.",
    )
    def check(context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
        found = summarise_identifiers(platform.engine, checked_days(context, platform, EVENTS))
        numbers = {"events": found.events, "ids_across": found.ids_across, "share": found.across_share}
        return result(found.across_share <= MOST_ACROSS, numbers, warn=True)

    return check


def events_have_sessions() -> Check:
    """A warning if many events should be in a session and are in none."""

    @asset_check(
        asset="visitor_days",
        name="events_have_sessions",
        description="Events in no session, though their tracker supplies the ids of sessions: they have none, or are "
        f"strays. Fails where they are more than {MOST_UNSESSIONED:.0%} of all events: map session_id_supplied, or "
        "declare `sessions: {mode: inferred}` or more max_session_days. Shows pings of views of other sessions, and "
        "ids that several properties have, too.",
    )
    def check(context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
        found = summarise_identifiers(platform.engine, checked_days(context, platform, "visitor_days"))
        numbers = {name: number for name, number in asdict(found).items() if name != "ids_across"}
        share = found.unsessioned_share
        return result(share <= MOST_UNSESSIONED, numbers | {"share": share}, warn=True)

    return check
