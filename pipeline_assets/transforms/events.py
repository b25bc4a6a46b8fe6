"""Staged rows to clean events: ids, exclusions, duplicates, enrichment.

Decisions about duplicates are taken on a few narrow columns of all rows; only then are the rows themselves read,
a day at a time, so that memory depends on the size of a day and not on the number of days.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import polars as pl

from pipeline_assets.contracts.events import Events
from pipeline_assets.contracts.staged_events import StagedEvents
from pipeline_assets.day_counts import DayCounts
from pipeline_assets.transforms.urls import add_url_columns
from pipeline_assets.transforms.user_agents import add_user_agent_columns

DEFAULT_DEDUP_DAYS = 1

_ROW_KEY = ("source", "load_id", "line")
_IDENTITY = (*_ROW_KEY, "property", "event_id", "row_hash", "occurred_at", "received_at", "excluded")
_NOT_CONTENT = {*_IDENTITY, "sent_at", "clock_skew_ms", "clock_reason"}

CONTENT_COLUMNS = tuple(name for name in StagedEvents.column_names() if name not in _NOT_CONTENT)
"""What two deliveries of one event must agree in; where they do not, the dropped one is a conflict."""

_STORY_COLUMNS = tuple(name for name in StagedEvents.column_names() if name not in _IDENTITY)

EARLIER_COLUMNS = (*_IDENTITY, *_STORY_COLUMNS, "event_date")
"""Columns that `build_events` needs of the days before."""

# Rows that are turned into events at a time: enough to be fast, few enough to add little to a day's memory.
_ROWS_PER_FRAME = 250_000


@dataclass(frozen=True)
class EventDays:
    """The events of some days, read from the staged rows when asked for, and their counts.

    Attributes:
        counts: by event date, for every date that has staged rows, in order.
    """

    counts: Mapping[date, DayCounts]
    _staged: pl.LazyFrame
    _marks: pl.DataFrame

    @property
    def days(self) -> tuple[date, ...]:
        """Event dates that have staged rows, in order."""
        return tuple(self.counts)

    def frames(self) -> Iterator[pl.DataFrame]:
        """Events in frames per `contracts.Events`, day by day; a day may come in several frames or in none."""
        for day in self.days:
            staged = self._kept(day)
            for part in staged.iter_slices(_ROWS_PER_FRAME):
                yield _enrich(part)

    @cached_property
    def events(self) -> pl.DataFrame:
        """All events in one frame per `contracts.Events`, in no particular order."""
        return pl.concat([Events.create_empty(), *self.frames()], rechunk=False)

    def _kept(self, day: date) -> pl.DataFrame:
        rows = self._staged.filter(pl.col("event_date") == day, pl.col("excluded").is_null())
        marks = self._marks.filter(pl.col("event_date") == day).drop("event_date")
        if marks.is_empty():
            rows = rows.with_columns(ordinal=pl.lit(0))
        else:
            rows = rows.join(marks.lazy(), on=_ROW_KEY, how="left").filter(pl.col("dropped").is_null())
        return rows.with_columns(event_id=_filled_event_id(pl.col("ordinal"))).collect()


def build_events(
    staged: pl.LazyFrame | pl.DataFrame,
    earlier: pl.LazyFrame | pl.DataFrame | None,
    *,
    dedup_days: Mapping[str, int],
) -> EventDays:
    """Turn the staged rows of some days into events.

    A row without an event id gets `row_hash-ordinal`, counting from 0 among the equal rows of its file. Of the rows
    that are not excluded, one is a duplicate if another with its property and event id is smaller by (occurred_at,
    received_at with nulls last, content, source, load_id, line) and lies on its day or on the `dedup_days` of its
    source before it.

    Args:
        staged: all staged rows of the days asked for: the columns of `StagedEvents` and event_date, one row for a
            line of a file of a source. It is read more than once when it is lazy.
        earlier: all staged rows (`EARLIER_COLUMNS`) of the `max(dedup_days)` days before the first of these, or None
            where there are none. More days do no harm.
        dedup_days: days to look back, by source; `DEFAULT_DEDUP_DAYS` for a source that is not named.

    Raises:
        ValueError: a number of days is negative.
    """
    if wrong := {source: days for source, days in dedup_days.items() if days < 0}:
        raise ValueError(f"dedup_days must not be negative: {wrong}")
    staged = staged.lazy()
    before = None if earlier is None else earlier.lazy()
    rows = _narrow_rows(staged, before)
    rows = rows.with_columns(ordinal=_ordinals(rows)).with_columns(event_id=_filled_event_id(pl.col("ordinal")))
    rows = rows.with_columns(rank=_content_ranks(rows, staged, before))
    losers = _losers(rows, dedup_days).filter("is_staged")
    losers = losers.with_columns(conflict=_conflicts(losers, staged, before))
    return EventDays(
        counts=_counts(
            rows.select("event_date", "excluded", "is_staged").filter("is_staged"), losers, _across(rows, losers)
        ),
        _staged=staged,
        _marks=_marks(rows.filter(pl.col("is_staged") & (pl.col("ordinal") > 0)), losers),
    )


def look_back_days(dedup_days: Mapping[str, int]) -> int:
    """Days before the first one that `build_events` needs as `earlier`."""
    return max([DEFAULT_DEDUP_DAYS, *dedup_days.values()])


def _narrow_rows(staged: pl.LazyFrame, earlier: pl.LazyFrame | None) -> pl.DataFrame:
    columns = (*_IDENTITY, "event_date")
    parts = [staged.select(*columns, is_staged=pl.lit(value=True)).collect()]
    if earlier is not None:
        parts.append(earlier.select(*columns, is_staged=pl.lit(value=False)).collect())
    return pl.concat(parts).with_row_index("row")


def _filled_event_id(ordinal: pl.Expr) -> pl.Expr:
    return pl.coalesce("event_id", pl.concat_str("row_hash", ordinal.fill_null(0), separator="-"))


def _ordinals(rows: pl.DataFrame) -> pl.Series:
    """Ordinal of each row among the rows without an event id that have its content and file, by line."""
    equal = ("source", "load_id", "row_hash")
    repeated = (
        rows.filter(pl.col("event_id").is_null())
        .select("row", "line", *equal)
        .filter(pl.struct(equal).is_duplicated())
        .sort(*equal, "line")
        .select("row", ordinal=pl.int_range(pl.len()).over(equal))
    )
    zeros = pl.zeros(rows.height, dtype=pl.Int64, eager=True)
    return zeros.scatter(repeated["row"], repeated["ordinal"])


def _content_ranks(rows: pl.DataFrame, staged: pl.LazyFrame, earlier: pl.LazyFrame | None) -> pl.Series:
    """Rank of each row by its content among the rows that share its id and times; 0 where there is nothing to decide.

    Without it the file's digest would decide between two stories of one event, and cutting a file in two would change
    the events.
    """
    moment = ("property", "event_id", "occurred_at", "received_at")
    # Rows without an id of their source have one made of their content: they tell the same story.
    competes = pl.col("excluded").is_null() & pl.col("row_hash").is_null()
    tied = (
        rows.filter(competes & pl.struct(*moment, competes).is_duplicated())
        .sort(moment)
        .select("row", *_ROW_KEY, tie=pl.struct(moment).rle_id())
        .with_row_index("position")
        .with_columns(part=pl.col("position").first().over("tie") // _ROWS_PER_FRAME)
        .drop("position")
    )
    ranks = pl.zeros(rows.height, dtype=pl.Int64, eager=True)
    sources = [frame.select(*_ROW_KEY, *_STORY_COLUMNS) for frame in (staged, earlier) if frame is not None]
    # Ties are never cut, so that ranks of different parts are never compared.
    for part in tied.partition_by("part", include_key=False):
        wanted = part.select(_ROW_KEY).lazy()
        content = pl.concat([frame.join(wanted, on=_ROW_KEY, how="semi") for frame in sources]).collect()
        ranked = (
            part.join(content, on=_ROW_KEY, how="left")
            .sort("tie", *_STORY_COLUMNS, nulls_last=True)
            .select("row", rank=pl.struct("tie", *_STORY_COLUMNS).rle_id().cast(pl.Int64))
        )
        ranks = ranks.scatter(ranked["row"], ranked["rank"])
    return ranks


def _losers(rows: pl.DataFrame, dedup_days: Mapping[str, int]) -> pl.DataFrame:
    """Duplicates among the rows that are not excluded, each with the key of the row that beats it (`winner_…`).

    The smallest row of the window is the smallest row of its first day that has one, so it is enough to compare
    with the first row of each day, however often an id repeats.
    """
    order = ("property", "event_id", "occurred_at", "received_at", "rank", "source", "load_id", "line")
    competes = pl.col("excluded").is_null()
    repeated = (
        rows.filter(competes & pl.struct("property", "event_id", competes).is_duplicated())
        .sort(order, nulls_last=True)
        .with_columns(
            id=pl.struct("property", "event_id").rle_id(),
            since=pl.col("event_date") - _look_back(dedup_days),
        )
    )
    first_of_day = repeated.unique(subset=["id", "event_date"], keep="first", maintain_order=True).select(
        "id",
        pl.col("row").alias("winner_row"),
        pl.col("event_date").alias("winner_date"),
        *(pl.col(name).alias(f"winner_{name}") for name in _ROW_KEY),
    )
    return (
        repeated.sort("since")
        .join_asof(
            first_of_day.sort("winner_date"),
            left_on="since",
            right_on="winner_date",
            by="id",
            strategy="forward",
            check_sortedness=False,
        )
        .filter(pl.col("winner_row") != pl.col("row"))
        .select(*_ROW_KEY, "event_date", "is_staged", *(f"winner_{name}" for name in _ROW_KEY))
    )


def _look_back(dedup_days: Mapping[str, int]) -> pl.Expr:
    days = pl.lit(DEFAULT_DEDUP_DAYS)
    for source, number in dedup_days.items():
        days = pl.when(pl.col("source") == source).then(number).otherwise(days)
    return pl.duration(days=days)


def _conflicts(losers: pl.DataFrame, staged: pl.LazyFrame, earlier: pl.LazyFrame | None) -> pl.Series:
    """Whether each of `losers` differs in content from its winner."""
    winner_key = [f"winner_{name}" for name in _ROW_KEY]
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_of_winner")) for name in CONTENT_COLUMNS)
    columns = (*_ROW_KEY, *CONTENT_COLUMNS)
    sources = [frame.select(columns) for frame in (staged, earlier) if frame is not None]
    found = [pl.Series("conflict", [], dtype=pl.Boolean)]
    # A source that gives every row the same id makes nearly all rows losers, hence in parts.
    for part in losers.iter_slices(_ROWS_PER_FRAME):
        keys = pl.concat(
            [part.select(_ROW_KEY), part.select(winner_key).rename(dict(zip(winner_key, _ROW_KEY, strict=True)))]
        )
        wanted = keys.unique().lazy()
        content = pl.concat([frame.join(wanted, on=_ROW_KEY, how="semi") for frame in sources]).collect()
        compared = part.join(content, on=_ROW_KEY, how="left", maintain_order="left").join(
            content, left_on=winner_key, right_on=_ROW_KEY, how="left", maintain_order="left", suffix="_of_winner"
        )
        found.append(compared.select(conflict=differs)["conflict"])
    return pl.concat(found)


def _marks(with_ordinal: pl.DataFrame, losers: pl.DataFrame) -> pl.DataFrame:
    """Rows that the second reading must treat apart: ordinals over 0 and dropped rows."""
    key = (*_ROW_KEY, "event_date")
    return (
        with_ordinal.select(*key, "ordinal")
        .join(losers.select(*key, dropped=pl.lit(value=True)), on=key, how="full", coalesce=True)
        .select(*key, "ordinal", "dropped")
    )


def _across(rows: pl.DataFrame, losers: pl.DataFrame) -> dict[date, int]:
    """Events of each day whose id several properties have on that day, where there are any."""
    if rows["property"].n_unique() < 2:
        return {}
    id_of_day = ("event_date", "event_id")
    given = rows.filter(pl.col("is_staged"), pl.col("excluded").is_null(), pl.col("row_hash").is_null())
    # Next to no id is one of two properties, so duplicates are looked for among few rows.
    ids = given.select(*id_of_day, "property").unique().filter(pl.struct(id_of_day).is_duplicated())
    kept = given.join(ids.select(id_of_day).unique(), on=id_of_day, how="semi").join(losers, on=_ROW_KEY, how="anti")
    shared = kept.group_by(id_of_day).agg(events=pl.len(), properties=pl.col("property").n_unique())
    shared = shared.filter(pl.col("properties") > 1).group_by("event_date").agg(pl.col("events").sum())
    return dict(shared.iter_rows())


def _counts(staged: pl.DataFrame, losers: pl.DataFrame, across: Mapping[date, int]) -> dict[date, DayCounts]:
    landed = staged.group_by("event_date").len().sort("event_date")
    lost = losers.group_by("event_date").agg(pl.len(), pl.col("conflict").sum())
    duplicates = {day: (number, conflicts) for day, number, conflicts in lost.iter_rows()}
    reasons: dict[date, dict[str, int]] = {}
    excluded = staged.filter(pl.col("excluded").is_not_null()).group_by("event_date", "excluded").len()
    for day, reason, number in excluded.sort("event_date", "excluded").iter_rows():
        reasons.setdefault(day, {})[reason] = number
    return {
        day: _day_counts(number, *duplicates.get(day, (0, 0)), reasons.get(day, {}), across.get(day, 0))
        for day, number in landed.iter_rows()
    }


def _day_counts(landed: int, duplicates: int, conflicts: int, reasons: Mapping[str, int], across: int) -> DayCounts:
    excluded = sum(reasons.values())
    return DayCounts(landed, landed - duplicates - excluded, duplicates, conflicts, excluded, reasons, across)


def _enrich(rows: pl.DataFrame) -> pl.DataFrame:
    """Events of staged rows that are kept, columns per `contracts.Events`."""
    rows = rows.with_columns(
        visitor_id=pl.coalesce("anonymous_id", pl.lit("user:") + pl.col("user_id")),
        is_id_derived=pl.col("row_hash").is_not_null(),
    )
    return add_user_agent_columns(add_url_columns(rows)).select(Events.column_names())
