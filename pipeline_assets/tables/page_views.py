"""Page and screen views of sessions.

A view is made by page and screen events: one for each view id of a session where the tracker gives one, else one for
each event. Pings and other events that carry a view id belong to the view and make none. Only where the tracker
supplies the ids of sessions do pings make a view of their own: their view id says that the page was seen in this
session, too, though it was opened in another. Snowplow counts so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import dataframely as dy
import polars as pl
from polars import selectors as cs

from pipeline_assets.columns import made_of, text, utc
from pipeline_assets.tables.checking import Reader, Rows, same
from pipeline_assets.tables.declarations import Declarations
from pipeline_assets.tables.sessions import BY_VISITOR, session_inputs
from pipeline_assets.tables.spec import EVENTS, Inputs, TableSpec, sums
from pipeline_assets.transforms.session_rows import SessionRows, session_rows
from pipeline_assets.transforms.sessionize import SessionRules, hex_ids
from pipeline_assets.transforms.views import VIEW_COLUMNS, find_views

_VIEW = ("events.event_type", "events.view_id", "events.occurred_at")
_SESSION = (
    "events.property",
    "events.visitor_id",
    "events.source",
    "events.session_id_supplied",
    "supplied_sessions.first_at",
    "supplied_sessions.session_date",
)


class PageViews(dy.Schema):
    """Page and screen views of the sessions that start on a day; one row per view.

    A view whose pings go on in another supplied session is a view of that session, too.
    """

    page_view_id = text(
        "Deterministic id of the view", primary_key=True, metadata=made_of(*_SESSION, *_VIEW, "events.event_id")
    )
    view_id = text("The tracker's own id of the view", nullable=True, metadata=made_of("events.view_id"))
    session_id = text("Session of the view", metadata=made_of(*_SESSION, *_VIEW, "events.event_id", index=True))
    session_date = dy.Date(
        description="Calendar day the session starts on, in the reporting time zone",
        metadata=made_of("events.event_date", "supplied_sessions.session_date", index=True),
    )
    property = text("Site, app or fleet", metadata=made_of("events.property"))
    visitor_id = text("The visitor, see events", metadata=made_of("events.visitor_id"))
    user_id = text("User id on the view", nullable=True, metadata=made_of("events.user_id"))
    viewed_at = utc("Time of the view", metadata=made_of("events.occurred_at"))
    view_number = dy.Int64(min=1, description="Position of the view in its session, from 1", metadata=made_of(*_VIEW))
    is_entry = dy.Bool(description="First view of the session", metadata=made_of(*_VIEW))
    is_exit = dy.Bool(description="Last view of the session", metadata=made_of(*_VIEW))
    seconds_to_next = dy.Int64(
        nullable=True, min=0, description="Whole seconds to the next view of the session", metadata=made_of(*_VIEW)
    )
    engaged_seconds = dy.Int64(
        min=0,
        description="Engaged time from the view's pings, in steps of 10 s from 5 s on; 0 where there are none",
        metadata=made_of(*_VIEW),
    )
    scroll_depth = dy.Float64(
        nullable=True,
        min=0,
        max=100,
        description="How far down the page was seen, in percent; null where no event tells",
        metadata=made_of("events.scroll_depth", "events.view_id"),
    )
    page_host = text("Host, lower case", nullable=True, metadata=made_of("events.page_host"))
    page_path = text("Path", nullable=True, metadata=made_of("events.page_path"))
    page_title = text("Title of the page or name of the screen", nullable=True, metadata=made_of("events.page_title"))
    referrer_host = text(
        "Referring host; null where it is the page's own", nullable=True, metadata=made_of("events.referrer_host")
    )
    is_bot = dy.Bool(description="Whether the session is a bot's", metadata=made_of("events.is_bot"))


def build_page_views(
    events: pl.LazyFrame | pl.DataFrame,
    days: Sequence[date],
    *,
    timezone: str,
    session_rules: Mapping[str, SessionRules] | None = None,
    supplied: pl.LazyFrame | pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Views of the sessions that start on `days`, per `PageViews`.

    Engaged time is Snowplow's: with a heartbeat of 10 s and a minimum visit of 5 s,
    `10 * (distinct floor(epoch / 10) of the view's pings - 1) + 5` seconds, 0 without pings. The pings of a view are
    those of its session with its view id. Its scroll depth is the greatest that it or an event with its view id tells;
    what is no number from 0 to 100 tells none.

    Args:
        events: see `session_rows`.
        days: session dates to build.
        timezone: see `assign_sessions`.
        session_rules: see `session_rows`.
        supplied: see `session_rows`.

    Raises:
        ValueError: see `session_rows`.

    Reads:
        events from the day before to the day after a day, or as many days after it as a supplied session may last;
        supplied_sessions that start on the day.
    """
    sessions = session_rows(
        events, days, timezone=timezone, session_rules=session_rules, supplied=supplied, columns=VIEW_COLUMNS
    )
    return _page_view_table(find_views(sessions.rows), sessions)


def _page_view_table(views: pl.DataFrame, sessions: SessionRows) -> pl.DataFrame:
    """`PageViews` from the result of `find_views(sessions.rows)`."""
    ids = sessions.sessions["session_id"]
    bots = sessions.rows.group_by("session_number").agg(pl.col("is_bot").any()).sort("session_number")["is_bot"]
    # An event id may come again on another day of the session. A view id is the tracker's, an event id may be
    # anything: the letter keeps the two apart.
    event = pl.format("e{}\x1f{}", pl.col("occurred_at").dt.epoch("us"), "event_id")
    key = pl.concat_str("session_id", pl.coalesce(pl.lit("v") + pl.col("view_id"), event), separator="\x1f")
    views = views.with_columns(
        session_id=ids.gather(views["session_number"]),
        is_bot=bots.gather(views["session_number"]),
        viewed_at=pl.col("occurred_at"),
        seconds_to_next=pl.when(~pl.col("is_exit")).then(
            (pl.col("occurred_at").shift(-1) - pl.col("occurred_at")).dt.total_seconds()
        ),
    )
    return (
        views.with_columns(page_view_id=hex_ids(views.select(key).to_series()))
        .select(PageViews.column_names())
        .with_columns(cs.categorical().cast(pl.String))
        .sort("session_date", "viewed_at", "page_view_id")
    )


@dataclass(frozen=True)
class Parameters:
    """What views depend on.

    Attributes:
        timezone: see `assign_sessions`.
        session_rules: see `session_rows`.
    """

    timezone: str
    session_rules: Mapping[str, SessionRules]


def build(inputs: Inputs, days: Sequence[date], parameters: Parameters) -> pl.DataFrame:
    """See `build_page_views`."""
    return build_page_views(
        inputs[EVENTS],
        days,
        timezone=parameters.timezone,
        session_rules=parameters.session_rules,
        supplied=inputs.get("supplied_sessions"),
    )


def _of_sessions(tables: Reader) -> Rows:
    return tables.marts(
        "select session_date, sum(page_views)::bigint from marts.sessions where session_date = any(:days) "
        "group by 1 having sum(page_views) > 0"
    )


def _views(tables: Reader) -> Rows:
    return tables.marts(
        "select session_date, count(*) from marts.page_views where session_date = any(:days) group by 1"
    )


def page_views(declared: Declarations) -> TableSpec:
    """The table, with the sessions of the declared sources."""
    return TableSpec(
        name="page_views",
        contract=PageViews,
        partition_column="session_date",
        group="behaviour",
        figures=sums("engaged_seconds"),
        inputs=session_inputs(declared, batch_key=BY_VISITOR),
        build=build,
        parameters=Parameters(declared.timezone, declared.session_rules),
        checks=(
            same(
                "matches_sessions",
                "Page views per day equal the sum of `sessions.page_views`.",
                expected=_of_sessions,
                actual=_views,
                also_reads=("sessions",),
            ),
        ),
    )
