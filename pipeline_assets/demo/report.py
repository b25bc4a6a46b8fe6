"""What the demo shop's team would look at, for a terminal: its funnel, retention, channels and attribution."""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from rich.table import Table

from pipeline_assets.ledger.schema import schema_of, text
from pipeline_assets.namespace import MARTS

_BAR = 30

_FUNNEL = """
    select step_name, sum(entities)::bigint,
        percentile_cont(0.5) within group (order by median_seconds_from_previous)
    from marts.checkout_funnel group by step_number, step_name order by step_number
"""
_RETENTION = """
    select cohort_start, cohort_size, array_agg(retained order by period_number)
    from marts.visit_retention group by cohort_start, cohort_size order by cohort_start
"""
_CHANNELS = """
    select channel, sum(sessions)::bigint, sum(engaged_sessions)::bigint, sum(conversions)::bigint, sum(revenue)
    from marts.campaigns where property = 'shop.example' group by channel order by 2 desc, 1
"""
_ATTRIBUTION = """
    select channel, model, sum(credit) from marts.channel_attribution group by channel, model
"""


def behaviour_report(engine: sa.Engine) -> Iterator[Table]:
    """The four tables, one after the other."""
    marts = schema_of(engine, MARTS)
    with engine.connect() as connection:
        yield _funnel(marts, connection.execute(text(engine, _FUNNEL)).all())
        yield _retention(marts, connection.execute(text(engine, _RETENTION)).all())
        yield _channels(marts, connection.execute(text(engine, _CHANNELS)).all())
        yield _attribution(marts, connection.execute(text(engine, _ATTRIBUTION)).all())


def _titled(title: str, *columns: str) -> Table:
    first, *others = columns
    table = Table(first, title=title, title_justify="left")
    for name in others:
        table.add_column(name, justify="right")
    return table


def _funnel(marts: str, rows: Sequence[Any]) -> Table:
    table = _titled(
        f"{marts}.checkout_funnel: visitors and days, within 7 days", "step", "reached", "of all", "of the step before",
        "median minutes",
    )  # fmt: skip
    table.add_column("")
    entered = before = rows[0][1] if rows else 0
    for name, reached, seconds in rows:
        table.add_row(
            name,
            f"{reached:,}",
            f"{reached / entered:.0%}" if entered else "",
            f"{reached / before:.0%}" if before else "",
            f"{seconds / 60:,.1f}" if seconds is not None else "",
            "█" * round(_BAR * reached / entered) if entered else "",
        )
        before = reached
    return table


def _retention(marts: str, rows: Sequence[Any]) -> Table:
    longest = max((len(row[2]) for row in rows), default=0)
    table = _titled(
        f"{marts}.visit_retention: people who came back so many days later, %",
        "first day", "people", *map(str, range(1, longest)),
    )  # fmt: skip
    for start, size, retained in rows:
        shares = [f"{100 * number / size:.0f}" for number in retained[1:]]
        table.add_row(f"{start:%a %d %b}", f"{size:,}", *shares, *[""] * (longest - len(retained)))
    return table


def _channels(marts: str, rows: Sequence[Any]) -> Table:
    table = _titled(
        f"{marts}.campaigns: channels of shop.example", "channel", "sessions", "engaged", "orders", "revenue"
    )
    table.add_column("sessions")
    most = max((row[1] for row in rows), default=1)
    for channel, sessions, engaged, orders, revenue in rows:
        bar = "█" * max(1, round(_BAR * sessions / most))
        table.add_row(channel, f"{sessions:,}", f"{engaged / sessions:.0%}", f"{orders:,}", f"{revenue or 0:,.2f}", bar)
    return table


def _attribution(marts: str, rows: Sequence[Any]) -> Table:
    models = ("last", "last_non_direct", "first", "linear", "position", "time_decay", "markov", "shapley")
    table = _titled(f"{marts}.channel_attribution: revenue by model", "channel", *models)
    credit = {(channel, model): amount for channel, model, amount in rows}
    channels = {channel for channel, _ in credit}
    totals = {model: sum(amount or 0 for (_, by), amount in credit.items() if by == model) for model in models}
    for channel in sorted(channels, key=lambda name: (-(credit.get((name, "last")) or 0), name)):
        table.add_row(channel, *(f"{credit.get((channel, model)) or 0:,.2f}" for model in models))
    table.add_section()
    table.add_row("all", *(f"{totals[model]:,.2f}" for model in models))
    return table
