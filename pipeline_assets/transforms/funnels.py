"""How many reach each step of a funnel.

An entity is a visitor or a person, as the funnel declares. Its events are put in order and numbered, the entities one
after another, so that "later" is a larger number, and the end of a window the number of the last event in it. There are
loops over the steps, never over entities.
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

import polars as pl

from pipeline_assets.analyses.declaration import Funnel
from pipeline_assets.contracts.funnels import Funnels
from pipeline_assets.contracts.keys import capped

ALL = "(all)"
NONE = "(none)"

_KEY = ("entry_date", "breakdown", "step_number")
_DAY = timedelta(days=1)
# Setting the clock forward makes a window reach further into the calendar: by an hour mostly, by two at Troll station.
_CLOCK_CHANGE = timedelta(hours=2)
# Events that entries may look at together where a window starts anew at each step, and the entries of an entity on
# several days look at the same events: bounds the memory.
_EVENTS_AT_A_TIME = 4_000_000


def build_funnel(events: pl.LazyFrame | pl.DataFrame, days: Sequence[date], *, funnel: Funnel) -> pl.DataFrame:
    """Steps reached by those who enter on `days`, per `contracts.Funnels`.

    Reads the events of `days` and of the `days_after(funnel)` days after each.

    An entity's events are in order by occurred_at, received_at (nulls last) and event_id; later means later in that
    order. The window compares times; its end is inside.

    - **ordered**: the entity enters with its first step-1 event of the day. One event serves one step, each step
      needs an event later than that of the step before, and other events may lie between. With a window from the first
      step all events lie within the window after the entering one. With a window from the previous step each lies
      within the window after the one before, and a step is reached if any choice of events allows it, beginning with
      any step-1 event of the day.
    - **strict**: likewise, but the event of a step is the very next event of the entity after that of the step before.
    - **unordered**: the entity enters with its first event of the day that fits any step. Each event in order serves
      the lowest-numbered step it fits that is not served yet, and the window is measured from the first or from the
      previous event that served. Step k is reached with the k-th step served, whichever it is, and called
      `any k of n`.

    Times are those of an entity and day of entry. The time from entry runs from the first step-1 event of the day
    (unordered: the entering event) to the first event that can serve the step. The time from the previous step runs to
    that same event from the first event that can serve the step before and lead to it: within the window, and for
    strict the very one before. So both are 0 or more, and the latter never exceeds the window.

    An entity counts once per day of entry, and on each day on which it enters.

    Args:
        events: entity (String; what has none takes no part), event_date (Date), occurred_at, received_at (nullable),
            event_id, step_1 … step_n (Boolean, whether the event fits the step), and breakdown (String, nullable) where
            the funnel has one. At least all events of `days` and the days after that fit a step; for a strict funnel
            all events of these entities. Without bots.
        days: days of entry to build.
        funnel: the declaration; its steps, mode, window, window_from and whether it has a breakdown are used.
    """
    steps = [f"step_{number}" for number in range(1, len(funnel.steps) + 1)]
    rows = _in_order(events, steps, funnel)
    entries = _entries(rows, days, pl.any_horizontal(steps) if funnel.mode == "unordered" else pl.col("step_1"))
    if funnel.mode == "unordered":
        later = _any_order(rows, entries, steps, funnel)
    elif funnel.window_from == "first":
        later = _from_entry(rows, entries, steps, funnel)
    else:
        later = _from_previous(rows, entries, steps, funnel)
    entered = entries.select("entry", "row", step_number=pl.lit(1, dtype=pl.Int64), previous=pl.lit(None, pl.Int64))
    return _table(rows, entries, pl.concat([entered, *later], how="diagonal"), _step_names(funnel))


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


def _in_order(events: pl.LazyFrame | pl.DataFrame, steps: Sequence[str], funnel: Funnel) -> pl.DataFrame:
    """The events that matter, the entities one after another, each one's in order; entity as a number."""
    fits = pl.any_horizontal(steps)
    label = capped(pl.col("breakdown")).fill_null(NONE) if funnel.breakdown else pl.lit(ALL)
    rows = (
        events.lazy()
        .filter(pl.col("entity").is_not_null(), pl.lit(value=True) if funnel.mode == "strict" else fits)
        .select(
            # Sorting numbers takes a fraction of the time of sorting texts; which number an entity has is all one.
            pl.col("entity").cast(pl.Categorical).to_physical(),
            "event_date",
            "occurred_at",
            "received_at",
            "event_id",
            label.cast(pl.Categorical).alias("breakdown"),
            *steps,
        )
        .sort("entity", "occurred_at")
        .collect()
    )
    # Few events share an entity's moment; comparing ids only there makes the sort several times faster. Event ids may
    # come again at another property, hence the columns after them.
    tie = ("entity", "occurred_at", "received_at", "event_id", "breakdown", *steps)
    repeats = pl.all_horizontal(pl.col(name) == pl.col(name).shift() for name in ("entity", "occurred_at"))
    is_tied = rows.select(repeats.fill_null(value=False) | repeats.shift(-1, fill_value=False)).to_series()
    order = rows.select(pl.int_range(pl.len(), dtype=pl.Int64)).to_series()
    texts = pl.col("breakdown").cast(pl.String)
    tied = rows.select(*tie, row=order).filter(is_tied).with_columns(texts).sort(*tie, nulls_last=True)
    positions = order.scatter(is_tied.arg_true(), tied["row"])
    return rows.drop("received_at", "event_id").rechunk()[positions]


def _entries(rows: pl.DataFrame, days: Sequence[date], enters: pl.Expr) -> pl.DataFrame:
    """One row per entity and day of entry: entry (its number), row (of the entering event), entry_date, breakdown."""
    return (
        rows.with_row_index("row")
        .filter(enters, pl.col("event_date").is_in(sorted(set(days))))
        .unique(["entity", "event_date"], keep="first", maintain_order=True)
        .select(pl.col("row").cast(pl.Int64), pl.col("event_date").alias("entry_date"), "breakdown", "entity")
        .with_columns(entry=pl.int_range(pl.len(), dtype=pl.Int64))
    )


def _window_ends(rows: pl.DataFrame, at: pl.Series, window: timedelta) -> pl.Series:
    """Number of the entity's last event at most `window` after each of the events numbered `at`."""
    moments = rows.select("entity", "occurred_at", row=pl.int_range(pl.len(), dtype=pl.Int64))
    last_of_moment = moments.unique(["entity", "occurred_at"], keep="last", maintain_order=True)
    starts = moments[at].select("entity", pl.col("occurred_at") + window)
    # Sorted by entity and moment, so that each entity's moments are sorted, which is not what Polars checks.
    return starts.join_asof(last_of_moment, on="occurred_at", by="entity", check_sortedness=False)["row"]


class _Fitting:
    """The events that fit a step, by their numbers."""

    def __init__(self, rows: pl.DataFrame, step: str) -> None:
        self._numbers = rows[step].arg_true().cast(pl.Int64)
        # One past all events stands for none.
        self._and_none = self._numbers.extend_constant(rows.height, 1)

    def next_after(self, row: pl.Series) -> pl.Series:
        """The next event that fits after each of `row`, of whichever entity; a number past all events if none does."""
        return self._and_none.gather(self._numbers.search_sorted(row, side="right")).alias("next")

    def between(self, spans: pl.DataFrame) -> pl.DataFrame:
        """One row (entry, row) per event that fits from `first` to `last` of each of `spans`, in their order."""
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


# Each of the following yields, for each step after the first, who reached it: entry; row, the first event that can
# serve the step; previous, the event its time is counted from; step_number.


def _from_entry(
    rows: pl.DataFrame, entries: pl.DataFrame, steps: Sequence[str], funnel: Funnel
) -> Iterator[pl.DataFrame]:
    """One window from the entering event: to take the earliest event for each step leaves the most to the next."""
    chains = entries.select("entry", "row", end=_window_ends(rows, entries["row"], funnel.window))
    for number, step in enumerate(steps[1:], start=2):
        following = _Fitting(rows, step).next_after(chains["row"])
        chains = _followed(chains.with_columns(following), strict=funnel.mode == "strict")
        yield chains.select("entry", "row", "previous", step_number=pl.lit(number, dtype=pl.Int64))


def _from_previous(
    rows: pl.DataFrame, entries: pl.DataFrame, steps: Sequence[str], funnel: Funnel
) -> Iterator[pl.DataFrame]:
    """A window from each step to the next: all events that can serve a step are kept."""
    fitting = [_Fitting(rows, step) for step in steps]
    ends = _window_ends(rows, _numbers(rows), funnel.window)
    furthest = _window_ends(rows, entries["row"], _DAY + (len(steps) - 1) * funnel.window)
    share = (furthest - entries["row"] + 1).cum_sum() // _EVENTS_AT_A_TIME
    starts = (
        rows.select("entity", "step_1", entry_date="event_date", row=_numbers(rows))
        .filter("step_1")
        .join(entries.select("entity", "entry_date", "entry", share=share), on=["entity", "entry_date"])
        .select("share", "entry", "row")
        .sort("entry", "row")
    )
    for part in starts.partition_by("share", include_key=False, maintain_order=True):
        serving = part
        for number, fits in enumerate(fitting[1:], start=2):
            serving = serving.select("entry", "row", end=ends.gather(serving["row"]))
            if funnel.mode == "strict":
                found = _followed(serving.with_columns(fits.next_after(serving["row"])), strict=True)
                first = found.unique("entry", keep="first", maintain_order=True)
            else:
                found = fits.between(_apart(serving))
                first = _first_and_previous(found, serving)
            yield first.select("entry", "row", "previous", step_number=pl.lit(number, dtype=pl.Int64))
            serving = found


def _any_order(
    rows: pl.DataFrame, entries: pl.DataFrame, steps: Sequence[str], funnel: Funnel
) -> Iterator[pl.DataFrame]:
    """One round per step: the next event that fits a step not served yet serves the lowest-numbered of these."""
    fitting = {step: _Fitting(rows, step) for step in steps}
    ends = _window_ends(rows, _numbers(rows), funnel.window)
    entering = rows[entries["row"]].select(*steps)
    chains = entries.select("entry", "row", end=ends.gather(entries["row"])).hstack(
        entering.select(pl.col(step) & ~_any_of(steps[:position]) for position, step in enumerate(steps))
    )
    for number in range(2, len(steps) + 1):
        fit = chains.select(
            pl.when(~pl.col(step)).then(events.next_after(chains["row"])).alias(step)
            for step, events in fitting.items()
        )
        served = fit.select(
            (pl.col(step) == pl.min_horizontal(steps)).fill_null(value=False).alias(step) for step in steps
        )
        now = served.select((pl.col(step) & ~_any_of(steps[:position])) for position, step in enumerate(steps))
        chains = (
            chains.select("entry", "end", previous="row")
            .hstack(chains.select(pl.col(step) | now[step] for step in steps))
            .with_columns(row=fit.select(pl.min_horizontal(steps)).to_series())
            .filter(pl.col("row") <= pl.col("end"))
        )
        if funnel.window_from == "previous":
            chains = chains.with_columns(end=ends.gather(chains["row"]))
        yield chains.select("entry", "row", "previous", step_number=pl.lit(number, dtype=pl.Int64))


def _any_of(steps: Sequence[str]) -> pl.Expr:
    return pl.any_horizontal(steps) if steps else pl.lit(value=False)


def _numbers(rows: pl.DataFrame) -> pl.Series:
    return rows.select(pl.int_range(pl.len(), dtype=pl.Int64)).to_series()


def _followed(chains: pl.DataFrame, *, strict: bool) -> pl.DataFrame:
    """The chains that go on to `next` within their `end`: it becomes row, and row becomes previous."""
    is_following = pl.col("next") == pl.col("row") + 1 if strict else pl.lit(value=True)
    return chains.filter(is_following, pl.col("next") <= pl.col("end")).select(
        "entry", "end", row="next", previous="row"
    )


def _apart(serving: pl.DataFrame) -> pl.DataFrame:
    """What lies after the events of an entry (entry, row, end), up to each one's end, without saying anything twice."""
    covered = pl.when(pl.col("entry") == pl.col("entry").shift()).then(pl.col("end").shift())
    return serving.select("entry", first=pl.max_horizontal("row", covered) + 1, last="end")


def _first_and_previous(found: pl.DataFrame, serving: pl.DataFrame) -> pl.DataFrame:
    """For each entry its first event in `found`, and the first in `serving` that leads to it within the window."""
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
