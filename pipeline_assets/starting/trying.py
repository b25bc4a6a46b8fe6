"""Tries a declaration on sample files with the reader and the mapping that load them later; nothing is booked."""

import itertools
import tempfile
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import polars as pl

from pipeline_assets.ledger.catalogue import LakeFile
from pipeline_assets.ledger.files import Booking, FileLedger, Load
from pipeline_assets.settings import Settings
from pipeline_assets.sources.declaration import MAPPABLE_COLUMNS, Source
from pipeline_assets.staging.landing import LandingFile
from pipeline_assets.staging.loading import SourceLoader
from pipeline_assets.storage.parquet import scan_parquet

_MOST_VISITS = 200_000
_STEPS = 3
_CANDIDATES = 7
_NO_STEPS = ("ping", "identify", "alias", "group")
# What is no page in a log of requests.
_REQUEST = "request"


@dataclass(frozen=True)
class Step:
    """A step of a funnel: events of one name, or of one type where they have no names."""

    event: str | None
    type: str


@dataclass(frozen=True)
class Trial:
    """What came of a trial.

    Attributes:
        lines: records in the files.
        landed: those that would become events.
        blank: those that are blank, and lines before the header.
        reasons: the reasons for which others would be quarantined, with their numbers.
        first: when the earliest event happened, in the zone of the deployment; None where there is none.
        last: the latest.
        filled: column of the event contract -> events that have it.
        visitors: how many different visitors there are.
        steps: events that visitors come to one after the other, at least two where there is any event.
        earning: the name of the events that earn money, of several the most frequent.
        error: why a file cannot be read at all.
    """

    lines: int
    landed: int
    blank: int
    reasons: Mapping[str, int]
    first: datetime | None
    last: datetime | None
    filled: Mapping[str, int]
    visitors: int
    steps: tuple[Step, ...]
    earning: str | None = None
    error: str | None = None


class TrialLedger(FileLedger):
    """Remembers the loads of one trial in place of a database.

    Args:
        now: when they are booked.

    Attributes:
        loads: the loads, in the order in which they were booked.
    """

    def __init__(self, now: datetime) -> None:
        self.loads: list[Load] = []
        self._now = now

    def reserve(self, sizes: Mapping[str, int]) -> dict[str, datetime]:
        """Nobody else loads them."""
        return dict.fromkeys(sizes, self._now)

    def known(self, source: str, contents_: Collection[str], declaration_version: str) -> set[str]:  # noqa: ARG002 - as the ledger's
        """Nothing was loaded before."""
        return set()

    def book(
        self,
        source: str,  # noqa: ARG002
        bookings: Sequence[Booking],
        lake: Sequence[LakeFile] = (),  # noqa: ARG002
        *,
        run_id: str = "",  # noqa: ARG002
    ) -> list[Booking]:
        """Remember what was loaded; nothing is lost to another booking."""
        self.loads += [booking.load for booking in bookings if booking.load is not None]
        return []


def try_source(source: Source, files: Sequence[Path], settings: Settings) -> Trial:
    """Load files into a temporary folder.

    Args:
        source: a declaration without mistakes.
        files: the files.
        settings: those of the deployment to be; its folders are not touched.
    """
    ledger = TrialLedger(datetime.now(UTC))
    with tempfile.TemporaryDirectory(prefix="pipeline-trial-") as folder, duckdb.connect() as database:
        trial = Settings.for_data_dir(
            Path(folder),
            timezone=settings.timezone,
            first_day=settings.first_day,
            max_record_bytes=settings.max_record_bytes,
            follow_links=True,
        )
        database.execute("set autoinstall_known_extensions = false")
        found = [LandingFile.at(file.resolve(), file.resolve().parent, follow_links=False) for file in files]
        summary = SourceLoader(source, trial, ledger, database).load(found)
        loads = ledger.loads
        error = next((load.error for load in loads if load.error), None)
        if error is None and summary.count("failed"):
            error = "the declaration could not be tried on it"
        staged = list(trial.lake_dir.rglob("*.parquet"))
        rows = scan_parquet(staged) if staged else None
        reasons = Counter(bad.reason for load in loads for bad in load.quarantined)
        span = (None, None)
        filled: dict[str, int] = {}
        visitors, steps, earning = 0, (), None
        if rows is not None:
            visitor = pl.coalesce("anonymous_id", pl.lit("user:") + pl.col("user_id"))
            found_counts = rows.select(
                pl.col(*MAPPABLE_COLUMNS).count(),
                first=pl.col("occurred_at").min(),
                last=pl.col("occurred_at").max(),
                visitors=visitor.n_unique(),
            ).collect()
            counts = found_counts.row(0, named=True)
            span = tuple(counts[name].astimezone(ZoneInfo(settings.timezone)) for name in ("first", "last"))
            filled = {name: counts[name] for name in MAPPABLE_COLUMNS if counts[name]}
            visitors = counts["visitors"]
            named = rows.filter(pl.col("revenue") > 0, pl.col("event_name").is_not_null())
            names = named.group_by("event_name").len().sort("len", "event_name", descending=[True, False])
            earning = next(iter(names.head(1).collect()["event_name"]), None)
            visits = rows.select("event_name", "event_type", "occurred_at", "sequence", "line", visitor=visitor)
            steps = _steps(visits.head(_MOST_VISITS).collect())
    return Trial(
        lines=sum(load.lines for load in loads),
        landed=sum(load.landed for load in loads),
        blank=sum(load.blank for load in loads),
        reasons=dict(reasons.most_common()),
        first=span[0],
        last=span[1],
        filled=filled,
        visitors=visitors,
        steps=steps,
        earning=earning,
        error=error,
    )


def _steps(events: pl.DataFrame) -> tuple[Step, ...]:
    """The series of events through which most visitors get to its end, of three steps if anybody does, else of two.

    Where there is only one kind of event, or one never follows another, it is the same again: who comes back.
    """
    kinds: dict[Step, set[str]] = {}
    moments: dict[str, list[tuple[Step, int]]] = {}
    ordered = events.filter(pl.col("visitor").is_not_null(), ~pl.col("event_type").is_in(_NO_STEPS)).sort(
        "occurred_at", "sequence", "line", nulls_last=True
    )
    for place, (name, kind, visitor) in enumerate(ordered.select("event_name", "event_type", "visitor").iter_rows()):
        step = Step(name, kind)
        kinds.setdefault(step, set()).add(visitor)
        moments.setdefault(visitor, []).append((step, place))
    if not kinds:
        return ()
    # Of events of one name and two types the name counts.
    # Of equally frequent ones the first: that is the order in which `kinds` has them.
    common = sorted(kinds, key=lambda step: -len(kinds[step]))
    names: dict[str | None, Step] = {}
    for step in common:
        names.setdefault(step.event or step.type, step)
    if len(names) > 1:
        names.pop(_REQUEST, None)
    candidates = list(names.values())[:_CANDIDATES]
    for length in (_STEPS, 2):
        best = max(
            itertools.permutations(candidates, length),
            key=lambda series: (_through(series, moments), [-candidates.index(step) for step in series]),
            default=None,
        )
        if best is not None and _through(best, moments):
            return best
    return (candidates[0], candidates[0])


def _through(series: Sequence[Step], moments: Mapping[str, Sequence[tuple[Step, int]]]) -> int:
    """How many visitors come to the end of a series."""
    count = 0
    for own in moments.values():
        waiting = list(series)
        for step, _ in own:
            if (step.event, step.event or step.type) == (waiting[0].event, waiting[0].event or waiting[0].type):
                waiting.pop(0)
                if not waiting:
                    count += 1
                    break
    return count
