"""The tables people and assets read: where they are, and the column their daily partitions are cut by."""

from dataclasses import dataclass
from typing import Literal

import dataframely as dy

from pipeline_assets.contracts.daily_activity import DailyActivity
from pipeline_assets.contracts.events import Events
from pipeline_assets.contracts.page_views import PageViews
from pipeline_assets.contracts.sessions import Sessions
from pipeline_assets.contracts.staged_events import StagedEvents
from pipeline_assets.figures import Figure

Store = Literal["lake", "marts"]


def sums(*columns: str) -> tuple[Figure, ...]:
    """Figures that are called like the columns they add up."""
    return tuple(Figure(column, column) for column in columns)


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: its name, that of its asset too.
        contract: its columns.
        partition_column: day of a row; None where the table has no partitions.
        store: whether it is in the lake or among the marts in PostgreSQL.
        group: group of its asset.
        figures: what the UI shows and plots of each day, beside the number of rows.
    """

    name: str
    contract: type[dy.Schema]
    partition_column: str | None
    store: Store = "marts"
    group: str = "marts"
    figures: tuple[Figure, ...] = ()

    @property
    def description(self) -> str:
        """First paragraph of the contract's docstring."""
        return (self.contract.__doc__ or "").strip().split("\n\n", 1)[0]


STAGED = Table("staging", StagedEvents, "event_date", "lake", "staging")
"""The staged rows of all sources together, as `events` reads them; each source has an asset of its own."""
EVENTS = Table("events", Events, "event_date", "lake", "events")
SESSIONS = Table("sessions", Sessions, "session_date", group="behaviour", figures=sums("page_views", "conversions"))
PAGE_VIEWS = Table("page_views", PageViews, "session_date", group="behaviour", figures=sums("engaged_seconds"))
DAILY_ACTIVITY = Table(
    "daily_activity",
    DailyActivity,
    "activity_date",
    group="activity",
    figures=sums("visitors", "sessions", "page_views", "conversions"),
)

BACKBONE = (EVENTS, SESSIONS, PAGE_VIEWS, DAILY_ACTIVITY)
"""The tables that every other one is made of, and the figures of a day."""

TABLES = {table.name: table for table in BACKBONE}
"""Every table that is always there, by name."""
