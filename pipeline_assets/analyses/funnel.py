"""How many reach each step of a funnel.

An entity is a visitor or a person, as the funnel declares. What happens to it at one moment has no order of its own, so
that moments are what is counted with: each knows which steps its events can serve, one event one step. The moments are
put in order and numbered, the entities one after another, so that "later" is a larger number, and the end of a window
the number of the last moment in it. There are loops over the steps, never over entities.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache, partial
from typing import Any, get_args

import dataframely as dy
import duckdb
import polars as pl

from pipeline_assets.analyses.checking import repeated, selector_problems
from pipeline_assets.analyses.kind import AnalysisKind
from pipeline_assets.columns import made_of, share, text
from pipeline_assets.declarations.analyses import Breakdown, Funnel
from pipeline_assets.declarations.problems import Location, Problem
from pipeline_assets.figures import Figure
from pipeline_assets.key_texts import capped
from pipeline_assets.tables.checking import Reader, Rows, nothing_found
from pipeline_assets.tables.declarations import Declarations
from pipeline_assets.tables.person_days import inputs_about
from pipeline_assets.tables.selection import select_events
from pipeline_assets.tables.spec import EVENTS, Input, Inputs, TableSpec
from pipeline_assets.transforms.entities import entity
from pipeline_assets.transforms.ordering import ORDER_COLUMNS, event_order

_STEPS = ("events.event_name", "events.event_type", "events.occurred_at")
_WHO = ("events.visitor_id", "identities.person_id")


class Funnels(dy.Schema):
    """Steps of a funnel by day of entry: how many of those who entered that day reached each step, and how fast.

    A day, or a value of the breakdown, on which nobody entered has no rows; any other has all steps. Bots take no part.
    """

    entry_date = dy.Date(
        primary_key=True,
        description="Calendar day of the entering event, in the reporting time zone",
        metadata=made_of("events.event_date"),
    )
    breakdown = text(
        "Value of the declared column in the entering event; (none) where it has none, (all) without a breakdown",
        primary_key=True,
        metadata=made_of(*(f"events.{column}" for column in get_args(Breakdown))),
    )
    step_number = dy.Int64(
        primary_key=True,
        min=1,
        max=20,
        description="Position of the step, from 1; in an unordered funnel the number of steps done",
        metadata=made_of(),
    )
    step_name = text("Declared name of the step; in an unordered funnel: any 2 of 4", metadata=made_of())
    entities = dy.Int64(
        min=0,
        description="Visitors or persons, as declared, who entered that day and reached the step",
        metadata=made_of(*_WHO, *_STEPS),
    )
    from_entered = share("Share of those who entered", metadata=made_of(*_WHO, *_STEPS))
    from_previous = share(
        "Share of those who reached the step before; null for the first step and where nobody did",
        nullable=True,
        metadata=made_of(*_WHO, *_STEPS),
    )
    median_seconds_from_previous = dy.Float64(
        nullable=True,
        min=0,
        description="Median time since the step before; null for the first step and where nobody reached the step",
        metadata=made_of(*_STEPS),
    )
    median_seconds_from_entry = dy.Float64(
        nullable=True,
        min=0,
        description="Median time since the entering event; null for the first step and where nobody reached the step",
        metadata=made_of(*_STEPS),
    )


ALL = "(all)"
NONE = "(none)"

_KEY = ("entry_date", "breakdown", "step_number")
_DAY = timedelta(days=1)
# Setting the clock forward makes a window reach further into the calendar: by an hour mostly, by two at Troll station.
_CLOCK_CHANGE = timedelta(hours=2)
# Moments that entries may look at together where a window starts anew at each step, and the entries of an entity on
# several days look at the same moments: bounds the memory.
_MOMENTS_AT_A_TIME = 4_000_000
# Orders of one moment's events that are tried in an unordered funnel whose steps overlap.
_MOST_ORDERS = 1_000


def build_funnel(events: pl.LazyFrame | pl.DataFrame, days: Sequence[date], *, funnel: Funnel) -> pl.DataFrame:
    """Steps reached by those who enter on `days`, per `Funnels`.

    Reads the events of `days` and of the `days_after(funnel)` days after each.

    An entity's events are in order of time, and those of one moment in whichever order takes it furthest: what is said
    of a step holds if it holds in any order of the events of each moment. The window compares times; its end is inside.

    - **ordered**: the entity enters at its first moment of the day with a step-1 event. One event serves one step, each
      step needs an event later than that of the step before, and other events may lie between. With a window from the
      first step all events lie within the window after the entering one. With a window from the previous step each lies
      within the window after the one before, and a step is reached if any choice of events allows it, beginning with
      any step-1 event of the day.
    - **strict**: likewise, but the event of a step is the very next event of the entity after that of the step before.
    - **unordered**: the entity enters at its first moment of the day with an event that fits any step. Each event in
      order serves the lowest-numbered step it fits that is not served yet, and the window is measured from the first or
      from the previous event that served. Step k is reached with the k-th step served, whichever it is, and called
      `any k of n`. Where events of one moment fit several steps each, at most `_MOST_ORDERS` of their orders are tried.

    Times are those of an entity and day of entry. The time from entry runs from the entering moment to the first event
    that can serve the step. The time from the previous step runs to that same event from the first event that can serve
    the step before and lead to it: within the window, and for strict the very one before. So both are 0 or more, and
    the latter never exceeds the window.

    An entity counts once per day of entry, and on each day on which it enters. The breakdown is that of the first event
    (`event_order`, then the breakdown itself) that can enter at the entering moment.

    Args:
        events: entity (String; what has none takes no part), event_date (Date), occurred_at, step_1 … step_n (Boolean,
            whether the event fits the step), and where the funnel has a breakdown, breakdown (String, nullable) and
            `ORDER_COLUMNS`. At least all events of `days` and the days after that fit a step; for a strict funnel all
            events of these entities. Without bots.
        days: days of entry to build.
        funnel: the declaration; its steps, mode, window, window_from and whether it has a breakdown are used.
    """
    steps = [f"step_{number}" for number in range(1, len(funnel.steps) + 1)]
    moments = _moments(events, steps, funnel)
    entries = _entries(moments, days, _enters(steps, funnel))
    if funnel.mode == "unordered":
        later = _any_order(moments, entries, steps, funnel)
    elif funnel.mode == "strict":
        later = _strict(moments, entries, steps, funnel)
    elif funnel.window_from == "first":
        later = _from_entry(moments, entries, steps, funnel)
    else:
        later = _from_previous(moments, entries, steps, funnel)
    entered = entries.select("entry", "row", step_number=pl.lit(1, dtype=pl.Int64), previous=pl.lit(None, pl.Int64))
    return _table(moments.rows, entries, pl.concat([entered, *later], how="diagonal"), _step_names(funnel))


def days_after(funnel: Funnel) -> int:
    """How many calendar days after a day of entry have events that can count for it."""
    windows = 1 if funnel.window_from == "first" else len(funnel.steps) - 1
    return -(-(windows * funnel.window + _CLOCK_CHANGE) // _DAY)


def median_seconds(duration: str) -> pl.Expr:
    """Median of a column of durations in seconds, cut to the microsecond; null where there is none."""
    # Polars multiplies by the inverse of the divisor, which is off in the last digit: 2699.9999989999997.
    return (pl.col(duration).median().dt.total_microseconds() / 1_000_000).round(6)


def _step_names(funnel: Funnel) -> list[str]:
    count = len(funnel.steps)
    if funnel.mode == "unordered":
        return [f"any {number} of {count}" for number in range(1, count + 1)]
    return [step.name for step in funnel.steps]


def _enters(steps: Sequence[str], funnel: Funnel) -> pl.Expr:
    return pl.any_horizontal(steps) if funnel.mode == "unordered" else pl.col("step_1")


@dataclass(frozen=True)
class _Moments:
    """The moments at which something happens that matters.

    Attributes:
        rows: a row per entity and moment, the entities one after another, the moments of each in order: entity (a
            number), event_date, occurred_at, breakdown; size, the number of its events; step_1 …, whether one of its
            events fits the step; reach_1 …, the last of the steps from that one on that its events can serve, each
            event one step, the number before that step where none fits it.
        overlapping: for the moments with several events of which one fits several steps, by number of the row: which
            steps each event fits, step 1 being the lowest bit.
    """

    rows: pl.DataFrame
    overlapping: Mapping[int, tuple[int, ...]]


def _moments(events: pl.LazyFrame | pl.DataFrame, steps: Sequence[str], funnel: Funnel) -> _Moments:
    label = capped(pl.col("breakdown")).fill_null(NONE) if funnel.breakdown else pl.lit(ALL)
    order = [name for name in ORDER_COLUMNS if name != "occurred_at"] if funnel.breakdown else []
    rows = (
        events.lazy()
        .filter(
            pl.col("entity").is_not_null(), pl.lit(value=True) if funnel.mode == "strict" else pl.any_horizontal(steps)
        )
        .select(
            # Sorting numbers takes a fraction of the time of sorting texts; which number an entity has is all one.
            pl.col("entity").cast(pl.Categorical).to_physical(),
            "event_date",
            "occurred_at",
            *order,
            label.cast(pl.Categorical).alias("breakdown"),
            *steps,
        )
        .sort("entity", "occurred_at")
        .collect()
        .rechunk()
    )
    is_first = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in ("entity", "occurred_at"))
    firsts = rows.select(is_first).to_series().arg_true().cast(pl.Int64)
    ends = firsts.shift(-1, fill_value=rows.height)
    moments = rows[firsts].select("entity", "event_date", "occurred_at", *steps).with_columns(size=ends - firsts)
    several = (moments["size"] > 1).arg_true().cast(pl.Int64)
    overlapping: dict[int, tuple[int, ...]] = {}
    speaking = firsts
    if len(several):
        # Few events share an entity's moment.
        tied = pl.DataFrame({"moment": several, "event": firsts.gather(several), "end": ends.gather(several)})
        tied = tied.select("moment", event=pl.int_ranges("event", "end")).explode("event")
        tied = tied.hstack(rows[tied["event"]].drop("event_date"))
        found = tied.group_by("moment", maintain_order=True).agg(pl.col(steps).any())
        moments = moments.with_columns(moments[step].scatter(several, found[step]) for step in steps)
        fits = sum((pl.col(step).cast(pl.Int64) * 2**place for place, step in enumerate(steps)), pl.lit(0))
        is_overlapping = (pl.sum_horizontal(steps) > 1).any().over("moment")
        masks = tied.filter(is_overlapping, pl.any_horizontal(steps)).group_by("moment").agg(mask=fits.sort())
        overlapping = {moment: _at_most(len(steps), mask) for moment, mask in masks.iter_rows()}
        if funnel.breakdown:
            entering = (
                tied.filter(_enters(steps, funnel))
                .sort("moment", *event_order(), pl.col("breakdown").cast(pl.String), nulls_last=True)
                .unique("moment", keep="first", maintain_order=True)
            )
            speaking = speaking.scatter(entering["moment"], entering["event"])
    return _Moments(
        _with_reach(moments, overlapping, steps).with_columns(rows["breakdown"].gather(speaking)), overlapping
    )


def _at_most(copies: int, masks: Sequence[int]) -> tuple[int, ...]:
    """The sorted masks, each at most so many times: more than there are steps are of no use."""
    return tuple(mask for place, mask in enumerate(masks) if place < copies or masks[place - copies] != mask)


def _with_reach(
    moments: pl.DataFrame, overlapping: Mapping[int, tuple[int, ...]], steps: Sequence[str]
) -> pl.DataFrame:
    """Add reach_1 …; see `_Moments`."""
    count = len(steps)
    for number in range(count, 0, -1):
        fits = pl.col(f"step_{number}")
        on = pl.col(f"reach_{number + 1}") if number < count else pl.lit(count, pl.Int8)
        alone = pl.lit(number, pl.Int8)
        moments = moments.with_columns(
            pl.when(~fits).then(pl.lit(number - 1, pl.Int8)).when(pl.col("size") > 1).then(on).otherwise(alone)
            .alias(f"reach_{number}")
        )  # fmt: skip
    if not overlapping:
        return moments
    places = pl.Series(list(overlapping), dtype=pl.Int64)
    found = [_reaches(masks, count) for masks in overlapping.values()]
    return moments.with_columns(
        moments[f"reach_{number}"].scatter(places, pl.Series([reach[number - 1] for reach in found], dtype=pl.Int8))
        for number in range(1, count + 1)
    )


@lru_cache(maxsize=10_000)
def _reaches(masks: tuple[int, ...], count: int) -> tuple[int, ...]:
    """For each step the last of the steps from it on that events with these masks can serve, each event one."""
    return tuple(_reach(masks, start, count) for start in range(count))


def _reach(masks: Sequence[int], start: int, count: int) -> int:
    serving: dict[int, int] = {}
    for step in range(start, count):
        if not _can_serve(step, masks, serving, set()):
            return step
    return count


def _can_serve(step: int, masks: Sequence[int], serving: dict[int, int], tried: set[int]) -> bool:
    """Whether `serving` (event: step) can be changed to serve this step, too; then it is changed (Kuhn's algorithm)."""
    for event, mask in enumerate(masks):
        if mask >> step & 1 and event not in tried:
            tried.add(event)
            if event not in serving or _can_serve(serving[event], masks, serving, tried):
                serving[event] = step
                return True
    return False


@lru_cache(maxsize=10_000)
def _outcomes(served: int, masks: tuple[int, ...]) -> tuple[int, ...]:
    """The sets of steps served after events with these masks, in whichever order, each the lowest it can."""
    found: set[int] = set()
    seen = {(served, masks)}
    left = [(served, masks)]
    while left:
        now, events = left.pop()
        of_use = [event for event in dict.fromkeys(events) if event & ~now]
        if not of_use:
            found.add(now)
        for event in reversed(of_use):
            free = event & ~now
            others = list(events)
            others.remove(event)
            then = now | free & -free
            state = (then, tuple(mask for mask in others if mask & ~then))
            if state not in seen and (len(seen) < _MOST_ORDERS or not found):
                seen.add(state)
                left.append(state)
    return tuple(sorted(found))


def _entries(moments: _Moments, days: Sequence[date], enters: pl.Expr) -> pl.DataFrame:
    """One row per entity and day of entry: entry (its number), row (of the entering moment), entry_date, breakdown."""
    return (
        moments.rows.with_row_index("row")
        .filter(enters, pl.col("event_date").is_in(sorted(set(days))))
        .unique(["entity", "event_date"], keep="first", maintain_order=True)
        .select(pl.col("row").cast(pl.Int64), pl.col("event_date").alias("entry_date"), "breakdown", "entity")
        .with_columns(entry=pl.int_range(pl.len(), dtype=pl.Int64))
    )


def _window_ends(rows: pl.DataFrame, at: pl.Series, window: timedelta) -> pl.Series:
    """Number of the entity's last moment at most `window` after each of the moments numbered `at`."""
    moments = rows.select("entity", "occurred_at", row=_number())
    starts = moments[at].select("entity", pl.col("occurred_at") + window)
    # Sorted by entity and moment, so that each entity's moments are sorted, which is not what Polars checks.
    return starts.join_asof(moments, on="occurred_at", by="entity", check_sortedness=False)["row"]


class _Fitting:
    """The moments with an event that fits a step, by their numbers."""

    def __init__(self, rows: pl.DataFrame, step: str) -> None:
        self._numbers = rows[step].arg_true().cast(pl.Int64)
        # One past all moments stands for none.
        self._and_none = self._numbers.extend_constant(rows.height, 1)

    def next_after(self, row: pl.Series) -> pl.Series:
        """The next moment that fits after each of `row`, of whichever entity; a number past all if none does."""
        return self._and_none.gather(self._numbers.search_sorted(row, side="right")).alias("next")

    def between(self, spans: pl.DataFrame) -> pl.DataFrame:
        """One row (entry, row) per moment that fits from `first` to `last` of each of `spans`, in their order."""
        found = (
            spans.select(
                "entry",
                start=self._numbers.search_sorted(spans["first"], side="left").cast(pl.Int64),
                stop=self._numbers.search_sorted(spans["last"], side="right").cast(pl.Int64),
            )
            .filter(pl.col("start") < pl.col("stop"))
            .select("entry", row=pl.int_ranges("start", "stop", dtype=pl.Int64))
            .explode("row")
        )
        return found.with_columns(row=self._numbers.gather(found["row"]))


# Each of the following yields, for the steps after the first, who reached them: entry; row, the first moment at which
# the step can be served; previous, the moment its time is counted from; step_number.


def _from_entry(
    moments: _Moments, entries: pl.DataFrame, steps: Sequence[str], funnel: Funnel
) -> Iterator[pl.DataFrame]:
    """One window from the entering moment: to serve each step as early as can be leaves the most to the next."""
    rows = moments.rows
    chains = entries.select(
        "entry",
        "row",
        end=_window_ends(rows, entries["row"], funnel.window),
        until=rows["reach_1"].gather(entries["row"]),
    )
    for number, step in enumerate(steps[1:], start=2):
        stays = pl.col("until") >= number
        chains = (
            chains.with_columns(_Fitting(rows, step).next_after(chains["row"]))
            .with_columns(next=pl.when(stays).then("row").otherwise("next"))
            .filter(pl.col("next") <= pl.col("end"))
        )
        chains = chains.with_columns(reach=rows[f"reach_{number}"].gather(chains["next"])).select(
            "entry",
            "end",
            row="next",
            previous="row",
            until=pl.when(stays).then("until").otherwise("reach"),
        )
        yield _reached(chains, number)


def _from_previous(
    moments: _Moments, entries: pl.DataFrame, steps: Sequence[str], funnel: Funnel
) -> Iterator[pl.DataFrame]:
    """A window from each step to the next: all moments at which a step can be served are kept."""
    rows = moments.rows
    fitting = [_Fitting(rows, step) for step in steps]
    ends = _window_ends(rows, _numbers(rows), funnel.window)
    for starts in _starts(rows, entries, funnel):
        serving = starts.with_columns(until=rows["reach_1"].gather(starts["row"]))
        for number, fits in enumerate(fitting[1:], start=2):
            serving = serving.with_columns(end=ends.gather(serving["row"]))
            moved = fits.between(_apart(serving))
            moved = moved.with_columns(until=rows[f"reach_{number}"].gather(moved["row"]))
            stayed = serving.filter(pl.col("until") >= number).select("entry", "row", "until")
            # The later the step a moment begins with, the further it reaches.
            found = pl.concat([moved, stayed]).group_by("entry", "row").agg(pl.col("until").max()).sort("entry", "row")
            yield _reached(_first_and_previous(found, serving), number)
            serving = found


def _strict(moments: _Moments, entries: pl.DataFrame, steps: Sequence[str], funnel: Funnel) -> Iterator[pl.DataFrame]:
    """The very next event each time: at the same moment, or at the next if nothing else is left of this one.

    Of the moment it begins at, a chain takes the last events, so that it can always go on. Of the next moments it takes
    the first, and goes on only where these are all.
    """
    rows = moments.rows
    ends = _window_ends(rows, _numbers(rows), funnel.window)
    restarts = funnel.window_from == "previous"
    for starts in _starts(rows, entries, funnel) if restarts else [entries.select("entry", "row")]:
        # since: the step that the moment began with.
        chains = starts.select(
            "entry",
            "row",
            pl.lit(1, pl.Int64).alias("since"),
            pl.lit(value=True).alias("is_start"),
            end=ends.gather(starts["row"]),
            until=rows["reach_1"].gather(starts["row"]),
        )
        for number, step in enumerate(steps[1:], start=2):
            takes_all = (number - pl.col("since")) == rows["size"].gather(chains["row"])
            moved = chains.filter(pl.col("is_start") | takes_all).select(
                "entry", "end", previous="row", row=pl.col("row") + 1
            )
            moved = moved.filter(pl.col("row") <= pl.col("end"))
            moved = moved.filter(rows[step].gather(moved["row"]))
            moved = moved.with_columns(
                pl.lit(number, pl.Int64).alias("since"),
                pl.lit(value=False).alias("is_start"),
                end=ends.gather(moved["row"]) if restarts else pl.col("end"),
                until=rows[f"reach_{number}"].gather(moved["row"]),
            )
            stayed = chains.filter(pl.col("until") >= number).with_columns(previous="row")
            chains = (
                pl.concat([moved.select(stayed.columns), stayed])
                .sort("entry", "row", "previous")
                .unique(["entry", "row", "since", "is_start"], keep="first", maintain_order=True)
            )
            yield _reached(chains.unique("entry", keep="first", maintain_order=True), number)


def _any_order(
    moments: _Moments, entries: pl.DataFrame, steps: Sequence[str], funnel: Funnel
) -> Iterator[pl.DataFrame]:
    """From moment to moment; `served` are the steps served, step 1 being the lowest bit."""
    rows = moments.rows
    fitting = [_Fitting(rows, step) for step in steps]
    ends = _window_ends(rows, _numbers(rows), funnel.window)
    fits = rows.select(
        fits=sum((pl.col(step).cast(pl.Int64) * 2**place for place, step in enumerate(steps)), pl.lit(0, pl.Int64))
    ).to_series()
    chains = entries.select(
        "entry", "row", end=ends.gather(entries["row"]), served=pl.lit(0, pl.Int64), previous=pl.lit(None, pl.Int64)
    )
    reached = []
    while not chains.is_empty():
        after = _serve(chains, moments, fits)
        gained = pl.int_ranges(pl.col("before") + 1, pl.col("served").bitwise_count_ones().cast(pl.Int64) + 1)
        reached.append(
            after.select("entry", "row", "previous", "before", step_number=gained)
            .explode("step_number")
            # Of the steps served at one moment the first is counted from the moment before, the others from this one.
            .with_columns(
                previous=pl.when(pl.col("step_number") == pl.col("before") + 1).then("previous").otherwise("row")
            )
            .drop("before")
            .filter(pl.col("step_number") > 1)
        )
        after = after.unique(["entry", "row", "served"], maintain_order=True)
        following = after.select(
            pl.when(pl.col("served") & 2**place == 0).then(events.next_after(after["row"])).alias(f"step_{place + 1}")
            for place, events in enumerate(fitting)
        )
        chains = after.select(
            "entry",
            "served",
            end=ends.gather(after["row"]) if funnel.window_from == "previous" else pl.col("end"),
            previous="row",
            row=following.select(pl.min_horizontal(steps)).to_series(),
        ).filter(pl.col("row") <= pl.col("end"))
    found = pl.concat(reached) if reached else None
    if found is not None:
        yield found.sort("entry", "step_number", "row", "previous").unique(
            ["entry", "step_number"], keep="first", maintain_order=True
        )


def _serve(chains: pl.DataFrame, moments: _Moments, fits: pl.Series) -> pl.DataFrame:
    """Every way in which the events of the chains' moments can serve: `served` after them, `before` as a number."""
    free = pl.col("free")
    served = (
        chains.with_columns(
            before=pl.col("served").bitwise_count_ones().cast(pl.Int64),
            free=fits.gather(chains["row"]),
            size=moments.rows["size"].gather(chains["row"]),
        )
        .with_columns(free=free & ~pl.col("served"))
        # One event serves the lowest step it can.
        .with_columns(now=pl.col("served") | pl.when(pl.col("size") > 1).then(free).otherwise(free & -free))
    )
    overlaps = served["row"].is_in(pl.Series(moments.overlapping.keys(), dtype=pl.Int64).implode())
    several = served.filter(overlaps)
    ways = [
        list(_outcomes(before, moments.overlapping[row])) for row, before in several.select("row", "served").iter_rows()
    ]
    columns = [*chains.columns, "before"]
    return pl.concat(
        [
            served.filter(~overlaps).with_columns(served="now").select(columns),
            several.with_columns(served=pl.Series(ways, dtype=pl.List(pl.Int64))).explode("served").select(columns),
        ]
    )


def _starts(rows: pl.DataFrame, entries: pl.DataFrame, funnel: Funnel) -> Iterator[pl.DataFrame]:
    """Every moment of the entries' days with a step-1 event (entry, row), a share of the entries at a time."""
    reach = _DAY + (len(funnel.steps) - 1) * funnel.window
    share = (_window_ends(rows, entries["row"], reach) - entries["row"] + 1).cum_sum() // _MOMENTS_AT_A_TIME
    starts = (
        rows.select("entity", "step_1", entry_date="event_date", row=_number())
        .filter("step_1")
        .join(entries.select("entity", "entry_date", "entry", share=share), on=["entity", "entry_date"])
        .select("share", "entry", "row")
        .sort("entry", "row")
    )
    yield from starts.partition_by("share", include_key=False, maintain_order=True)


def _reached(chains: pl.DataFrame, number: int) -> pl.DataFrame:
    return chains.select("entry", "row", "previous", step_number=pl.lit(number, dtype=pl.Int64))


def _number() -> pl.Expr:
    return pl.int_range(pl.len(), dtype=pl.Int64)


def _numbers(rows: pl.DataFrame) -> pl.Series:
    return rows.select(_number()).to_series()


def _apart(serving: pl.DataFrame) -> pl.DataFrame:
    """What lies after the moments of an entry (entry, row, end), up to each one's end, saying nothing twice."""
    covered = pl.when(pl.col("entry") == pl.col("entry").shift()).then(pl.col("end").shift())
    return serving.select("entry", first=pl.max_horizontal("row", covered) + 1, last="end")


def _first_and_previous(found: pl.DataFrame, serving: pl.DataFrame) -> pl.DataFrame:
    """For each entry its first moment in `found`, and the first in `serving` that leads to it within the window."""
    first = found.unique("entry", keep="first", maintain_order=True)
    return (
        serving.select("entry", "end", previous="row")
        .join(first, on="entry", maintain_order="left")
        .filter(pl.col("end") >= pl.col("row"))
        .unique("entry", keep="first", maintain_order=True)
    )


def _table(rows: pl.DataFrame, entries: pl.DataFrame, reached: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    moments = rows["occurred_at"]
    of_entry = reached["entry"]
    at = moments.gather(reached["row"])
    figures = (
        reached.select(
            "step_number",
            entries["entry_date"].gather(of_entry),
            entries["breakdown"].gather(of_entry),
            from_previous=at - moments.gather(reached["previous"]),
            from_entry=at - moments.gather(entries["row"].gather(of_entry)),
        )
        .group_by(_KEY)
        .agg(
            entities=pl.len().cast(pl.Int64),
            median_seconds_from_previous=median_seconds("from_previous"),
            median_seconds_from_entry=pl.when(pl.col("step_number").first() > 1).then(median_seconds("from_entry")),
        )
    )
    steps = pl.DataFrame(
        {"step_number": range(1, len(names) + 1), "step_name": names},
        schema={"step_number": pl.Int64, "step_name": pl.String},
    )
    before = pl.when(pl.col("step_number") > 1).then(pl.col("entities").shift())
    return (
        entries.select("entry_date", "breakdown")
        .unique()
        .join(steps, how="cross")
        .join(figures, on=_KEY, how="left")
        .with_columns(pl.col("entities").fill_null(0), pl.col("breakdown").cast(pl.String))
        .sort(_KEY)
        .with_columns(
            from_entered=pl.col("entities") / pl.col("entities").first().over("entry_date", "breakdown"),
            from_previous=pl.when(before > 0).then(pl.col("entities") / before),
        )
        .select(Funnels.column_names())
    )


_COLUMNS = ("property", "visitor_id", "user_id", "event_date", "occurred_at")


def select(
    connection: duckdb.DuckDBPyConnection, paths: Sequence[str], days: Sequence[date], parameters: Funnel
) -> pl.DataFrame:
    """The events of the steps, `step_1` and so on marking which are which; of a strict funnel all events."""
    breakdown = (*ORDER_COLUMNS, parameters.breakdown) if parameters.breakdown else ()
    return select_events(
        connection,
        paths,
        columns=tuple(dict.fromkeys((*_COLUMNS, *breakdown))),
        marks={f"step_{number}": step for number, step in enumerate(parameters.steps, 1)},
        properties=parameters.properties,
        days=days,
        # Only a strict funnel asks what lies between its steps.
        only_marked=parameters.mode != "strict",
    )


def build(inputs: Inputs, days: Sequence[date], parameters: Funnel) -> pl.DataFrame:
    """See `build_funnel`."""
    breakdown = pl.col(parameters.breakdown) if parameters.breakdown else pl.lit(None, pl.String)
    rows = entity(inputs[EVENTS].with_columns(breakdown=breakdown), inputs.get("person_days"), "event_date")
    return build_funnel(rows, days, funnel=parameters)


def _wrong(name: str, tables: Reader) -> Rows:
    return tables.marts(
        f"select (entry_date, breakdown, step_number)::text, entities from ("  # noqa: S608 - a checked name
        f"select *, lag(entities) over entry as before, row_number() over entry as position "
        f"from marts.{name} where entry_date = any(:days) "
        f"window entry as (partition by entry_date, breakdown order by step_number)) steps "
        f"where entities > before or step_number <> position"
    )


def funnel(analysis: Funnel, declared: Declarations) -> TableSpec:  # noqa: ARG001 - like those that need more
    """The table of a declared funnel."""
    return TableSpec(
        name=analysis.name,
        contract=Funnels,
        partition_column="entry_date",
        group="analyses",
        figures=(
            Figure("entered", "entities", (("step_number", 1),)),
            Figure("completed", "entities", (("step_number", len(analysis.steps)),)),
        ),
        inputs=inputs_about(analysis.by, Input(EVENTS, after=days_after(analysis), select=select)),
        build=build,
        parameters=analysis,
        event_names=tuple(dict.fromkeys(name for step in analysis.steps for name in step.event or ())),
        checks=(
            nothing_found(
                "never_widens",
                "No step was reached by more than the step before, and every entry has all steps.",
                partial(_wrong, analysis.name),
            ),
        ),
    )


def funnel_problems(funnel: Funnel) -> Iterator[Problem]:
    """Mistakes in a funnel whose shape is right."""
    yield from repeated(funnel.properties, ("properties",))
    for position, step in enumerate(funnel.steps):
        yield from selector_problems(step, ("steps", position))
    first: dict[str, int] = {}
    for position, step in enumerate(funnel.steps):
        if first.setdefault(step.name, position) != position:
            message = f"step {first[step.name] + 1} is called '{step.name}' too; give each step a name of its own"
            yield Problem(("steps", position, "name"), message)


def stand_in(location: Location) -> Any:
    """What takes the place of what is wrong or missing in a funnel."""
    match location:
        case ("steps",):
            return [{"name": "step 1"}, {"name": "step 2"}]
        case ("steps", int(position)):
            return {"name": f"step {position + 1}"}
        case ("steps", int(position), "name"):
            return f"step {position + 1}"
        case _:
            return None


FUNNEL = AnalysisKind(
    model=Funnel,
    noun="funnel",
    find_problems=funnel_problems,
    stand_in=stand_in,
    example={
        "by": "visitor",
        "window": "7d",
        "steps": [
            {"name": "product_viewed", "event": "product_viewed"},
            {"name": "order_completed", "event": "order_completed"},
        ],
    },
    table=funnel,
)
"""The kind."""
