"""What the demo planted, and what the pipeline found of it."""

from dataclasses import dataclass

import sqlalchemy as sa

from pipeline_assets.demo.truth import Snapshot, Truth
from pipeline_assets.ledger.summary import summarise

_EVENTS = sa.text("""
    select
        (select count(*) from ledger.files where state = 'repeat') as repeats,
        (select sum(events) from ledger.event_days) as events,
        (select sum(duplicates) from ledger.event_days) as duplicates,
        (select sum(conflicts) from ledger.event_days) as conflicts
""")
_MARTS = sa.text("""
    select
        (select count(*) from marts.sessions) as sessions,
        (select count(*) from marts.sessions where is_bot) as bot_sessions,
        (select count(*) from marts.page_views) as page_views,
        (select sum(bot_events) from marts.daily_activity) as bot_events,
        (select sum(revenue) from marts.daily_activity) as revenue
""")


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
        ledger = connection.execute(_EVENTS).one()
        marts = connection.execute(_MARTS).one()

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
    ]
