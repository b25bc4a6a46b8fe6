"""Staged rows to clean events: ids, exclusions, duplicates, enrichment.

Decisions about duplicates are taken on a few narrow columns of all rows; only then are the rows themselves read,
a large day or some small ones at a time, so that memory does not depend on the number of days.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property, partial

import dataframely as dy
import polars as pl

from pipeline_assets.code_version import code_version
from pipeline_assets.columns import choice, made_of, money, text, utc
from pipeline_assets.day_counts import DayCounts
from pipeline_assets.planning import STAGING, days_around
from pipeline_assets.sources.staged_events import EVENT_TYPES, StagedEvents
from pipeline_assets.tables.checking import Finding, Reader, TableCheck
from pipeline_assets.tables.declarations import Declarations
from pipeline_assets.tables.spec import EVENTS, Counted, Input, Inputs, TableSpec
from pipeline_assets.transforms import user_agents
from pipeline_assets.transforms.urls import add_url_columns
from pipeline_assets.transforms.user_agents import add_user_agent_columns

_BOT = ("staging.is_bot", "staging.user_agent")


class Events(dy.Schema):
    """Deduplicated, clock-corrected and enriched events; one row per property and event id and day."""

    event_date = dy.Date(
        description="Calendar day of occurred_at in the reporting time zone", metadata=made_of("staging.occurred_at")
    )
    property = text("Site, app or fleet", primary_key=True, metadata=made_of("staging.property"))
    event_id = text(
        "Id of the event: the source's, or a hash of its content",
        primary_key=True,
        metadata=made_of("staging.event_id", "staging.row_hash"),
    )
    is_id_derived = dy.Bool(
        description="Whether the source gave no id, so that event_id is a hash of the content",
        metadata=made_of("staging.event_id"),
    )
    event_name = text("Name of the event", nullable=True, metadata=made_of("staging.event_name"))
    event_type = choice(EVENT_TYPES, "Kind of event", metadata=made_of("staging.event_type"))
    event_type_given = text(
        "What the source called the event's type, where that is none of the known ones",
        nullable=True,
        metadata=made_of("staging.event_type_given"),
    )
    occurred_at = utc("When it happened, after clock correction", metadata=made_of("staging.occurred_at"))
    sequence = dy.Int64(
        nullable=True,
        description="The source's place of the event among those of one moment",
        metadata=made_of("staging.sequence"),
    )
    received_at = utc("When the collector received it", nullable=True, metadata=made_of("staging.received_at"))
    device_at = utc("When it happened by the device's own clock", nullable=True, metadata=made_of("staging.device_at"))
    clock_skew_ms = dy.Int64(
        nullable=True, description="received_at - sent_at in milliseconds", metadata=made_of("staging.clock_skew_ms")
    )
    clock_reason = text(
        "Why occurred_at was corrected: skew, future, received_at; null if it was not",
        nullable=True,
        metadata=made_of("staging.clock_reason"),
    )
    visitor_id = text(
        "anonymous_id, or user:<user_id> where there is none; null after a refusal",
        nullable=True,
        metadata=made_of("staging.anonymous_id", "staging.user_id"),
    )
    anonymous_id = text("Device or browser id", nullable=True, metadata=made_of("staging.anonymous_id"))
    user_id = text("Id of the signed-in user", nullable=True, metadata=made_of("staging.user_id"))
    session_id_supplied = text(
        "Session id given by the tracker", nullable=True, metadata=made_of("staging.session_id_supplied")
    )
    further_ids = text(
        "Further ids of the person by kind, as a JSON object of texts",
        nullable=True,
        metadata=made_of("staging.further_ids"),
    )
    view_id = text(
        "Id of the page or screen view given by the tracker", nullable=True, metadata=made_of("staging.view_id")
    )
    page_url = text("URL of the page", nullable=True, metadata=made_of("staging.page_url"))
    page_host = text("Host of the page, lower case", nullable=True, metadata=made_of("staging.page_url"))
    page_path = text("Path of the page", nullable=True, metadata=made_of("staging.page_url"))
    page_query = text(
        "Query string of the page without the question mark", nullable=True, metadata=made_of("staging.page_url")
    )
    page_title = text("Title of the page or name of the screen", nullable=True, metadata=made_of("staging.page_title"))
    referrer_url = text("URL of the referring page", nullable=True, metadata=made_of("staging.referrer_url"))
    referrer_host = text(
        "Host of the referrer, lower case; null where it is the page's own host",
        nullable=True,
        metadata=made_of("staging.referrer_url", "staging.page_url"),
    )
    referrer_path = text("Path of the referrer", nullable=True, metadata=made_of("staging.referrer_url"))
    utm_source = text("Campaign source", nullable=True, metadata=made_of("staging.utm_source", "staging.page_url"))
    utm_medium = text("Campaign medium", nullable=True, metadata=made_of("staging.utm_medium", "staging.page_url"))
    utm_campaign = text("Campaign name", nullable=True, metadata=made_of("staging.utm_campaign", "staging.page_url"))
    utm_term = text("Campaign term", nullable=True, metadata=made_of("staging.utm_term", "staging.page_url"))
    utm_content = text("Campaign content", nullable=True, metadata=made_of("staging.utm_content", "staging.page_url"))
    click_id = text("Advertising click id", nullable=True, metadata=made_of("staging.click_id", "staging.page_url"))
    click_id_type = text(
        "Parameter that carried the click id, such as gclid",
        nullable=True,
        metadata=made_of("staging.click_id", "staging.page_url"),
    )
    user_agent = text("User agent string", nullable=True, metadata=made_of("staging.user_agent"))
    device_type = text(
        "desktop, mobile, tablet, tv, bot or other",
        nullable=True,
        metadata=made_of("staging.device_type", "staging.user_agent"),
    )
    os = text("Operating system", nullable=True, metadata=made_of("staging.os", "staging.user_agent"))
    browser = text("Browser", nullable=True, metadata=made_of("staging.browser", "staging.user_agent"))
    app_version = text("Version of the app", nullable=True, metadata=made_of("staging.app_version"))
    language = text("Language of the user interface", nullable=True, metadata=made_of("staging.language"))
    country = text("Country", nullable=True, metadata=made_of("staging.country"))
    is_bot = dy.Bool(description="Whether the event was caused by a machine", metadata=made_of(*_BOT))
    bot_reason = text("Rule that flagged the bot; tracker: its source says so", nullable=True, metadata=made_of(*_BOT))
    consent = dy.Bool(
        nullable=True,
        description="Consent to analytics: true, false, or null where nothing is stated",
        metadata=made_of("staging.consent"),
    )
    is_conversion = dy.Bool(
        description="Whether the event counts as a conversion", metadata=made_of("staging.is_conversion")
    )
    revenue = money("Revenue of the event, negative for a refund", nullable=True, metadata=made_of("staging.revenue"))
    currency = text(
        "Currency of the revenue, ISO 4217, upper case", nullable=True, metadata=made_of("staging.currency")
    )
    order_id = text("Id of the order", nullable=True, metadata=made_of("staging.order_id"))
    items = text(
        "Products of the event, as a JSON array of objects: sku, name, category, price, quantity",
        nullable=True,
        metadata=made_of("staging.items"),
    )
    scroll_depth = dy.Float64(
        nullable=True,
        description="How far down the page was seen until then, in percent",
        metadata=made_of("staging.scroll_depth"),
    )
    unusable = text(
        "Columns that were given but say nothing and so are null: items, scroll_depth, revenue (a number that is no "
        "amount), and ids with the value that is none, such as `user_id: null`; separated by a comma and a space",
        nullable=True,
        metadata=made_of("staging.unusable"),
    )
    properties = text(
        "Everything that is not a column, as a JSON object", nullable=True, metadata=made_of("staging.properties")
    )
    source = text("Declared source of the event", metadata=made_of("staging.source"))
    load_id = text("SHA-256 of the content of the file the event came from", metadata=made_of("staging.load_id"))
    line = dy.Int64(min=1, description="Line (or record) number in that file, from 1", metadata=made_of("staging.line"))


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
        """Events in frames per `Events`, small days together; a day may come in several frames or in none."""
        for days in self._together():
            staged = self._kept(days)
            for part in staged.iter_slices(_ROWS_PER_FRAME):
                yield _enrich(part)

    def _together(self) -> Iterator[list[date]]:
        """The days that are read together: each reading goes through the files of all days."""
        found: list[date] = []
        rows = 0
        for day, counts in self.counts.items():
            if found and rows + counts.landed > _ROWS_PER_FRAME:
                yield found
                found, rows = [], 0
            found.append(day)
            rows += counts.landed
        if found:
            yield found

    @cached_property
    def events(self) -> pl.DataFrame:
        """All events in one frame per `Events`, in no particular order."""
        return pl.concat([Events.create_empty(), *self.frames()], rechunk=False)

    def _kept(self, days: Collection[date]) -> pl.DataFrame:
        rows = self._staged.filter(pl.col("event_date").is_in(days), pl.col("excluded").is_null())
        marks = self._marks.filter(pl.col("event_date").is_in(days)).drop("event_date")
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
    """Events of staged rows that are kept, columns per `Events`."""
    rows = rows.with_columns(
        visitor_id=pl.coalesce("anonymous_id", pl.lit("user:") + pl.col("user_id")),
        is_id_derived=pl.col("row_hash").is_not_null(),
    )
    return add_user_agent_columns(add_url_columns(rows)).select(Events.column_names())


_REPEATS_DAYS = 7
"""Days before the checked ones that are searched for ids beyond the window of deduplication."""
_SHOWN_VALUES = 20


@dataclass(frozen=True)
class Parameters:
    """What events depend on.

    Attributes:
        dedup_days: by source: the days before an event that are searched for duplicates.
    """

    dedup_days: Mapping[str, int]


def build(inputs: Inputs, days: Sequence[date], parameters: Parameters) -> Counted:
    """See `build_events`."""
    found = build_events(inputs[STAGING], inputs["earlier"], dedup_days=parameters.dedup_days)
    return Counted(found.frames(), {**dict.fromkeys(days, DayCounts()), **found.counts})


def events(declared: Declarations) -> TableSpec:
    """The table, with the windows and bounds of the declared sources."""
    dedup_days = {source.name: source.dedup_days for source in declared.sources}
    bounds = {source.name: source.bounds.bots for source in declared.sources}
    return TableSpec(
        name=EVENTS,
        contract=Events,
        partition_column="event_date",
        store="lake",
        group="events",
        inputs=(
            # Rows with the same id (or, without one, the same content) stay together. Whatever their property, so that
            # ids of several properties can be counted.
            Input(
                STAGING,
                before=look_back_days(dedup_days),
                earlier="earlier",
                batch_key=("event_id", "row_hash"),
            ),
        ),
        build=build,
        parameters=Parameters(dedup_days),
        external_versions=[user_agents.package_versions(), code_version("pipeline_assets.staging.staged:scan_staged")],
        rows_at_once=500_000,
        event_name_column="event_name",
        checks=(
            TableCheck(
                "bots_share",
                "Share of events that machines caused, per source, against the declared bounds.",
                partial(_bots_share, bounds),
            ),
            TableCheck(
                "ids_repeat_beyond_window",
                "Event ids that occur on several days although duplicates are dropped within `dedup_days`; "
                "declare a longer window if there are many.",
                _ids_repeat_beyond_window,
            ),
            _told(
                "unknown_event_types",
                "event_type_given",
                "types",
                "Events whose source calls their type something else than the known ones, by that name; they are kept "
                "as `track`. Map event_type in the declaration if they are more than that.",
            ),
            _told(
                "unusable_values",
                "unusable",
                "values",
                "Values that say nothing, per source: `items` and `scroll_depth` that are no JSON array or no share of "
                "a page, numbers that are no amount, what programs send where they have no id (`user_id: null`). The "
                "events are kept without them; numbers, items and depths that were given are in `properties`. Declare "
                "`no_ids` if such a value is an id.",
                is_list=True,
            ),
        ),
    )


def _bots_share(bounds: Mapping[str, float], tables: Reader) -> Finding:
    rows = tables.lake_rows(EVENTS, "select source, count(*), count(*) filter (is_bot) from files group by source")
    if not rows:
        return Finding(True, {"events": 0})
    shares = {source: bots / found for source, found, bots in rows}
    known = {name: bounds[name] for name in shares if name in bounds}
    return Finding(
        all(shares[name] <= bound for name, bound in known.items()),
        {"events": sum(found for _, found, _ in rows), "shares": shares, "bounds": known},
    )


def _ids_repeat_beyond_window(tables: Reader) -> Finding:
    rows = tables.lake_rows(
        EVENTS,
        "select (select count(*) from (select 1 from files group by property, event_id having count(*) > 1)), "
        "count(distinct event_date) from files",
        days=days_around(tables.days, _REPEATS_DAYS, 0),
    )
    repeated, days = rows[0] if rows else (0, 0)
    return Finding(repeated == 0, {"ids": repeated, "days_searched": days} if days else {"ids": 0})


def _told(name: str, column: str, what: str, description: str, *, is_list: bool = False) -> TableCheck:
    """A warning if a column says anything; events per source and value, or each of a list of values."""
    given = f"unnest(string_split({column}, ', '))" if is_list else f"left({column}, 40)"

    def find(tables: Reader) -> Finding:
        counted = tables.lake_rows(EVENTS, f"select count(*) from files where {column} is not null")  # noqa: S608 - ours
        if not counted:
            return Finding(True, {"events": 0})
        rows = tables.lake_rows(
            EVENTS,
            f"select source, given, count(*) from (select source, {given} as given from files "  # noqa: S608 - ours
            f"where {column} is not null) group by all order by 3 desc, 1, 2 limit {_SHOWN_VALUES}",
        )
        shown = {f"{source}: {value}": number for source, value, number in rows}
        return Finding(not rows, {"events": counted[0][0], what: shown})

    return TableCheck(name, description, find)
