"""What follows what within a session."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import dataframely as dy
import polars as pl

from pipeline_assets.analyses.checking import repeated
from pipeline_assets.analyses.funnel import median_seconds
from pipeline_assets.analyses.kind import AnalysisKind
from pipeline_assets.columns import made_of, text
from pipeline_assets.declarations.analyses import Paths
from pipeline_assets.declarations.problems import Problem
from pipeline_assets.key_texts import capped
from pipeline_assets.tables.declarations import Declarations
from pipeline_assets.tables.sessions import session_inputs
from pipeline_assets.tables.spec import EVENTS, Input, Inputs, TableSpec, sums
from pipeline_assets.transforms.session_rows import session_rows
from pipeline_assets.transforms.sessionize import SessionRules

_NODES = ("page_views.page_path", "page_views.page_title", "events.event_name")
_ORDER = ("page_views.session_id", "page_views.view_number")


class PathTransitions(dy.Schema):
    """Steps from one page or event to the next within sessions, by the day the session starts. Bots take no part."""

    session_date = dy.Date(
        primary_key=True,
        description="Calendar day the session starts on, in the reporting time zone",
        metadata=made_of("page_views.session_date"),
    )
    property = text("Site, app or fleet", primary_key=True, metadata=made_of("page_views.property"))
    from_node = text(
        "Page or event; (start) before the first, (none) without a name", primary_key=True, metadata=made_of(*_NODES)
    )
    to_node = text(
        "Page or event that follows; (end) after the last, (none) without a name",
        primary_key=True,
        metadata=made_of(*_NODES),
    )
    transitions = dy.Int64(min=1, description="How often the one follows the other", metadata=made_of(*_ORDER))
    sessions = dy.Int64(min=1, description="Sessions in which it does", metadata=made_of("page_views.session_id"))
    median_seconds = dy.Float64(
        nullable=True,
        min=0,
        description="Median time between the two; null from (start), to (end) and where times are not known",
        metadata=made_of("page_views.viewed_at"),
    )


START = "(start)"
END = "(end)"
NONE = "(none)"

_KEY = ("session_date", "property", "from_node", "to_node")
_SESSION = ("session_date", "property", "session_id")


def build_paths(views: pl.LazyFrame | pl.DataFrame, days: Sequence[date], *, paths: Paths) -> pl.DataFrame:
    """Transitions in the sessions that start on `days`, per `PathTransitions`.

    Reads the page views, or the events with their session, of the sessions of `days`, and no other day's.

    A session of nodes A, B goes from (start) to A, from A to B, and from B to (end). A node that repeats is a
    transition to itself. Only the first `max_length` transitions of a session count, the one from (start) included; so
    a longer session has none to (end). A node without a name is (none).

    Args:
        views: session_id, session_date (Date), property, position (Int64, order in the session), node (String, null
            without a name), and at (Datetime) where times are known. Without bots.
        days: session dates to build.
        paths: the declaration; its max_length is used.
    """
    frame = views.lazy()
    has_times = "at" in frame.collect_schema()
    rows = (
        frame.filter(pl.col("session_date").is_in(sorted(set(days))))
        .select(
            *_SESSION,
            "position",
            capped(pl.col("node")).fill_null(NONE),
            at=pl.col("at") if has_times else pl.lit(None, pl.Datetime("us", "UTC")),
        )
        # The last two decide only where a session has a position twice.
        .sort(*_SESSION, "position", "at", "node", nulls_last=True)
        .collect()
    )
    is_first = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in _SESSION)
    steps = (
        rows.with_columns(is_first=is_first, order=pl.int_range(pl.len(), dtype=pl.Int64))
        .with_columns(
            is_last=pl.col("is_first").shift(-1, fill_value=True),
            number=pl.col("order") - pl.when("is_first").then("order").forward_fill() + 1,
        )
        .with_columns(
            before=pl.when("is_first").then(pl.lit(START)).otherwise(pl.col("node").shift()),
            took=pl.when(~pl.col("is_first")).then(pl.col("at") - pl.col("at").shift()),
        )
    )
    moves = steps.filter(pl.col("number") <= paths.max_length).select(
        *_SESSION, "took", from_node="before", to_node="node"
    )
    ends = steps.filter("is_last", pl.col("number") < paths.max_length).select(
        *_SESSION, pl.lit(None, pl.Duration("us")).alias("took"), from_node="node", to_node=pl.lit(END)
    )
    return (
        pl.concat([moves, ends])
        .group_by(_KEY)
        .agg(
            transitions=pl.len().cast(pl.Int64),
            sessions=pl.col("session_id").n_unique().cast(pl.Int64),
            median_seconds=median_seconds("took"),
        )
        .select(PathTransitions.column_names())
        .sort(_KEY)
    )


_PAGE_COLUMNS = (
    "session_id", "session_date", "property", "view_number", "viewed_at", "page_path", "page_title", "is_bot",
)  # fmt: skip


@dataclass(frozen=True)
class Parameters:
    """What paths of events depend on.

    Attributes:
        paths: the declaration.
        timezone: see `assign_sessions`.
        session_rules: see `session_rows`.
    """

    paths: Paths
    timezone: str
    session_rules: Mapping[str, SessionRules]


def build_of_pages(inputs: Inputs, days: Sequence[date], parameters: Paths) -> pl.DataFrame:
    """From the views; see `build_paths`."""
    views = _counted(inputs["page_views"], parameters).with_columns(
        position="view_number", node=pl.coalesce("page_path", "page_title"), at="viewed_at"
    )
    return build_paths(views, days, paths=parameters)


def build_of_events(inputs: Inputs, days: Sequence[date], parameters: Parameters) -> pl.DataFrame:
    """From the sessions that the events make; see `build_paths`."""
    found = session_rows(
        inputs[EVENTS],
        days,
        timezone=parameters.timezone,
        session_rules=parameters.session_rules,
        supplied=inputs.get("supplied_sessions"),
        columns=("event_name", "is_bot"),
    )
    session = pl.col("session_number")
    rows = found.rows.with_columns(
        session_id=found.sessions["session_id"].gather(found.rows["session_number"]),
        # A session is a bot's if any of its events is.
        is_bot=pl.col("is_bot").any().over(session),
        position=pl.int_range(pl.len(), dtype=pl.Int64),
        node=pl.col("event_name").cast(pl.String),
        property=pl.col("property").cast(pl.String),
        at="occurred_at",
    )
    return build_paths(_counted(rows.lazy(), parameters.paths), days, paths=parameters.paths)


def _counted(rows: pl.LazyFrame, paths: Paths) -> pl.LazyFrame:
    rows = rows.filter(~pl.col("is_bot"))
    return rows.filter(pl.col("property").is_in(list(paths.properties))) if paths.properties else rows


def paths(analysis: Paths, declared: Declarations) -> TableSpec:
    """The table of declared paths: of pages, or of events."""
    if analysis.of == "pages":
        return TableSpec(
            name=analysis.name,
            contract=PathTransitions,
            partition_column="session_date",
            group="analyses",
            figures=sums("transitions"),
            inputs=(Input("page_views", columns=_PAGE_COLUMNS),),
            build=build_of_pages,
            parameters=analysis,
        )
    return TableSpec(
        name=analysis.name,
        contract=PathTransitions,
        partition_column="session_date",
        group="analyses",
        figures=sums("transitions"),
        inputs=session_inputs(declared),
        build=build_of_events,
        parameters=Parameters(analysis, declared.timezone, declared.session_rules),
        # Its rows are of all visitors together, so that a day cannot be cut.
        days_at_once=1,
    )


def paths_problems(paths: Paths) -> Iterator[Problem]:
    """Mistakes in paths whose shape is right."""
    yield from repeated(paths.properties, ("properties",))


PATHS = AnalysisKind(
    model=Paths,
    noun="paths declaration",
    find_problems=paths_problems,
    example={"of": "pages", "max_length": 20},
    table=paths,
)
"""The kind."""
