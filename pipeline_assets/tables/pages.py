"""Figures of each page."""

from collections.abc import Sequence
from datetime import date

import dataframely as dy
import polars as pl

from pipeline_assets.columns import made_of, text
from pipeline_assets.key_texts import capped_key
from pipeline_assets.tables.checking import Reader, Rows, same
from pipeline_assets.tables.spec import Input, Inputs, TableSpec, sums


class Pages(dy.Schema):
    """Page and screen views by page, of the sessions that start on a day. Bots are left out.

    A page without a path goes by its title, as a screen does.
    """

    session_date = dy.Date(
        primary_key=True,
        description="Calendar day the sessions start on, in the reporting time zone",
        metadata=made_of("page_views.session_date"),
    )
    property = text("Site, app or fleet", primary_key=True, metadata=made_of("page_views.property"))
    page_host = text(
        "Host, lower case; (none) where there is none", primary_key=True, metadata=made_of("page_views.page_host")
    )
    page_path = text(
        "Path, or the title where there is no path, or (none)",
        primary_key=True,
        metadata=made_of("page_views.page_path", "page_views.page_title"),
    )
    views = dy.Int64(min=1, description="Views", metadata=made_of("page_views.page_view_id"))
    visitors = dy.Int64(
        min=1, description="Distinct visitors that viewed it", metadata=made_of("page_views.visitor_id")
    )
    entries = dy.Int64(min=0, description="Sessions whose first view it was", metadata=made_of("page_views.is_entry"))
    exits = dy.Int64(min=0, description="Sessions whose last view it was", metadata=made_of("page_views.is_exit"))
    bounces = dy.Int64(
        min=0,
        description="Sessions of one event that entered here",
        metadata=made_of("page_views.is_entry", "page_views.session_id", "sessions.session_id", "sessions.is_bounce"),
    )
    engaged_seconds = dy.Int64(
        min=0, description="Engaged time of all views", metadata=made_of("page_views.engaged_seconds")
    )
    seconds_to_next = dy.Int64(
        min=0,
        description="Whole seconds to the next view of the session, of the views that are not exits together",
        metadata=made_of("page_views.seconds_to_next"),
    )
    mean_seconds_to_next = dy.Float64(
        min=0,
        nullable=True,
        description="The same per view that is not an exit; null where all are",
        metadata=made_of("page_views.seconds_to_next"),
    )
    views_with_scroll_depth = dy.Int64(
        min=0, description="Views that tell how far they scrolled", metadata=made_of("page_views.scroll_depth")
    )
    mean_scroll_depth = dy.Float64(
        nullable=True,
        description="Mean scroll depth of these, in percent; null where there are none",
        metadata=made_of("page_views.scroll_depth"),
    )


NO_PAGE = "(none)"
"""Stands for the host or path of a view without one."""

DEEPEST_SCROLL = 1_000
"""A scroll depth in percent beyond this, in either direction, is a tracker's mistake and is taken as absent."""

_KEY = ("session_date", "property", "page_host", "page_path")
_DEPTH_UNITS = 1_000_000


def build_pages(
    page_views: pl.LazyFrame | pl.DataFrame, sessions: pl.LazyFrame | pl.DataFrame, days: Sequence[date]
) -> pl.DataFrame:
    """Pages viewed in the sessions that start on `days`, per `Pages`; a page without a view has no row.

    Views of bots' sessions are left out. A view without a path goes by its title, as a screen does, and without both by
    (none). Entries and exits are those of sessions; a bounce is a session of exactly one event, counted on the page it
    entered. Scroll depth is a mean of the views that carry one, each rounded to a millionth of a percent.

    Reads the page views and sessions of `days` and nothing else.

    Args:
        page_views: at least all page views (`PageViews`) of the sessions that start on `days`.
        sessions: at least all sessions (`Sessions`) that start on `days`.
        days: session dates to build.
    """
    wanted = sorted(set(days))
    bounced = (
        sessions.lazy().filter(pl.col("session_date").is_in(wanted), "is_bounce").select("session_id", is_bounce=True)
    )
    depth = pl.col("scroll_depth")
    # Whole units add up to the same sum in any order, floats do not.
    depth_units = pl.when(depth.abs() <= DEEPEST_SCROLL).then((depth * _DEPTH_UNITS).round()).cast(pl.Int64)
    return (
        page_views.lazy()
        .filter(pl.col("session_date").is_in(wanted), ~pl.col("is_bot"))
        .select(
            "session_date",
            "property",
            "session_id",
            "visitor_id",
            "is_entry",
            "is_exit",
            "engaged_seconds",
            "seconds_to_next",
            page_host=pl.col("page_host").fill_null(NO_PAGE),
            page_path=pl.coalesce("page_path", "page_title", pl.lit(NO_PAGE)),
            depth=depth_units,
        )
        .join(bounced, on="session_id", how="left")
        .with_columns(capped_key(Pages))
        .group_by(_KEY)
        .agg(
            pl.col("engaged_seconds", "seconds_to_next").sum().cast(pl.Int64),
            views=pl.len().cast(pl.Int64),
            visitors=pl.col("visitor_id").n_unique().cast(pl.Int64),
            entries=pl.col("is_entry").sum().cast(pl.Int64),
            exits=pl.col("is_exit").sum().cast(pl.Int64),
            bounces=(pl.col("is_entry") & pl.col("is_bounce").fill_null(value=False)).sum().cast(pl.Int64),
            followed=pl.col("seconds_to_next").count(),
            views_with_scroll_depth=pl.col("depth").count().cast(pl.Int64),
            depths=pl.col("depth").sum(),
        )
        .with_columns(
            mean_seconds_to_next=_ratio(pl.col("seconds_to_next"), pl.col("followed")),
            mean_scroll_depth=_ratio(pl.col("depths"), pl.col("views_with_scroll_depth") * _DEPTH_UNITS),
        )
        .select(Pages.column_names())
        .sort(_KEY)
        .collect()
    )


def _ratio(total: pl.Expr, number: pl.Expr) -> pl.Expr:
    # Polars divides floats by a literal inexactly, and otherwise in a frame of one row; column by column it is exact.
    return pl.when(number > 0).then(total / number)


def build(inputs: Inputs, days: Sequence[date], parameters: None) -> pl.DataFrame:  # noqa: ARG001 - has none
    """See `build_pages`."""
    return build_pages(inputs["page_views"], inputs["sessions"], days)


def _of_page_views(tables: Reader) -> Rows:
    return tables.marts(
        "select (session_date, property)::text, count(*) from marts.page_views "
        "where session_date = any(:days) and not is_bot group by 1"
    )


def _of_pages(tables: Reader) -> Rows:
    return tables.marts(
        "select (session_date, property)::text, sum(views)::bigint from marts.pages "
        "where session_date = any(:days) group by 1"
    )


pages = TableSpec(
    name="pages",
    contract=Pages,
    partition_column="session_date",
    group="activity",
    figures=sums("views", "entries"),
    inputs=(Input("page_views"), Input("sessions")),
    build=build,
    checks=(
        same(
            "matches_page_views",
            "Views of a day and property, bots left out, equal those of `page_views`.",
            expected=_of_page_views,
            actual=_of_pages,
        ),
    ),
)
"""The table."""
