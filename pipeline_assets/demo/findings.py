"""What the demo planted, and what the pipeline found of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from pipeline_assets.demo.behaviour import BehaviourTruth
from pipeline_assets.demo.truth import Snapshot, Truth
from pipeline_assets.ledger.schema import text
from pipeline_assets.ledger.summary import summarise

_EVENTS = """
    select
        (select count(*) from ledger.files where state = 'repeat') as repeats,
        (select sum(events) from ledger.event_days) as events,
        (select sum(duplicates) from ledger.event_days) as duplicates,
        (select sum(conflicts) from ledger.event_days) as conflicts
"""
_MARTS = """
    select
        (select count(*) from marts.sessions) as sessions,
        (select count(*) from marts.sessions where is_bot) as bot_sessions,
        (select count(*) from marts.page_views) as page_views,
        (select sum(bot_events) from marts.daily_activity) as bot_events,
        (select sum(revenue) from marts.daily_activity) as revenue
"""
_PEOPLE = """
    select count(distinct person_id) from marts.visitors
    where property in ('shop.example', 'shop-app') and not is_bot
"""
_FUNNEL = "select step_name, sum(entities)::bigint from marts.checkout_funnel group by 1"
_RETENTION = "select cohort_start, period_number, cohort_size, retained from marts.visit_retention"
_CHANNELS = "select channel, sum(sessions)::bigint from marts.campaigns where property = 'shop.example' group by 1"
_CREDITS = """
    select model, channel, sum(credit) from marts.channel_attribution
    where model in ('first', 'last', 'last_non_direct', 'linear') group by 1, 2 having sum(credit) <> 0
"""


@dataclass(frozen=True)
class Finding:
    """One number: as planted, and as found."""

    what: str
    planted: object
    found: object

    @property
    def agrees(self) -> bool:
        """Whether both are equal."""
        return self.planted == self.found


def findings(engine: sa.Engine, truth: Truth) -> list[Finding]:
    """Compare the tables with the truth, once the late files are loaded too."""
    state: Snapshot = truth.complete
    sources = state.sources
    summaries = [summarise(engine, source.source) for source in sources]
    with engine.connect() as connection:
        ledger = connection.execute(text(engine, _EVENTS)).one()
        marts = connection.execute(text(engine, _MARTS)).one()

    def planted(name: str) -> object:
        return sum(getattr(source.numbers, name) for source in sources)

    return [
        Finding("files", sum(source.files for source in sources), sum(summary.files for summary in summaries)),
        Finding("files delivered twice", len(truth.repeats), ledger.repeats),
        Finding("lines", sum(source.lines for source in sources), sum(summary.lines for summary in summaries)),
        Finding("blank lines", sum(source.blank for source in sources), sum(summary.blank for summary in summaries)),
        Finding(
            "malformed lines, in quarantine",
            sum(source.quarantined_lines for source in sources),
            sum(summary.quarantined for summary in summaries),
        ),
        Finding("events that came late", sum(source.late_events for source in sources), sum(s.late for s in summaries)),
        Finding("duplicates, dropped", planted("duplicates"), ledger.duplicates),
        Finding("of these with other content", planted("conflicts"), ledger.conflicts),
        Finding("events", planted("events"), ledger.events),
        Finding("events of bots, flagged", planted("bot_events"), marts.bot_events),
        Finding("sessions", planted("sessions"), marts.sessions),
        Finding("sessions of bots, flagged", planted("bot_sessions"), marts.bot_sessions),
        Finding("page views", planted("page_views"), marts.page_views),
        Finding("revenue", planted("revenue"), marts.revenue),
        *_behaviour(engine, truth.behaviour),
    ]


def _behaviour(engine: sa.Engine, planted: BehaviourTruth) -> list[Finding]:
    """The analyses: of what was planted, how much was found just so, and nothing beside it."""
    funnel = {(step.step,): step.entities for step in planted.funnel}
    retention = {
        (cell.cohort_start, cell.period_number): (cell.cohort_size, cell.retained) for cell in planted.retention
    }
    channels = {(each.channel,): each.sessions for each in planted.channels}
    credits = {(each.model, each.channel): Decimal(each.cents) / 100 for each in planted.attribution}
    with engine.connect() as connection:
        return [
            Finding("people of web and app", planted.people, connection.execute(text(engine, _PEOPLE)).scalar_one()),
            _cells("steps of the funnel", funnel, connection.execute(text(engine, _FUNNEL)).all()),
            _cells("cells of the retention triangle", retention, connection.execute(text(engine, _RETENTION)).all()),
            _cells("channels with their sessions", channels, connection.execute(text(engine, _CHANNELS)).all()),
            _cells("channels and models with their credit", credits, connection.execute(text(engine, _CREDITS)).all()),
        ]


def _cells(what: str, planted: Mapping[tuple, object], rows: Sequence[Any]) -> Finding:
    """How many values stand where they should; too many if there are others."""
    found = {tuple(row[: len(next(iter(planted)))]): tuple(row[len(next(iter(planted))) :]) for row in rows}
    right = sum(found.get(key) == (value if isinstance(value, tuple) else (value,)) for key, value in planted.items())
    return Finding(what, len(planted), right + len(found.keys() - planted.keys()))
