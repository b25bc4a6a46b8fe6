from collections.abc import Sequence
from datetime import date
from random import Random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.tables.pages import Pages, build_pages
from pipeline_assets_tests.transforms.commerce_reference import groups
from pipeline_assets_tests.transforms.content_frames import SESSIONS, TODAY, VIEWS, session, view, visits
from pipeline_assets_tests.transforms.frames import Row, columns_of, only


def pages_of(views: Sequence[Row], sessions: Sequence[Row] = ()) -> list[Row]:
    """The pages of one day."""
    result = build_pages(pl.DataFrame(views, schema=VIEWS), pl.DataFrame(list(sessions), schema=SESSIONS), [TODAY])
    return Pages.validate(result).to_dicts()


def test_a_page_without_a_path_goes_by_its_title_and_without_both_by_none() -> None:
    views = [
        view("1", page_path="/p", page_title="t"),
        view("2", page_path=None, page_title="Start", page_host=None),
        view("3", page_path=None, page_host=None),
    ]
    got = [columns_of(row, "page_host", "page_path") for row in pages_of(views)]
    assert got == [("(none)", "(none)"), ("(none)", "Start"), ("shop.example", "/p")]


def test_entries_exits_and_bounces_are_those_of_sessions() -> None:
    views = [
        view("1", is_entry=True, seconds_to_next=5),
        view("1", page_path="/end", is_exit=True),
        view("2", is_entry=True, is_exit=True),
        view("3", is_entry=True, is_exit=True, visitor_id="w"),
    ]
    sessions = [session("1"), session("2", is_bounce=True), session("3")]
    start, end = pages_of(views, sessions)
    assert columns_of(start, "views", "visitors", "entries", "exits", "bounces") == (3, 2, 3, 2, 1)
    assert columns_of(end, "views", "visitors", "entries", "exits", "bounces") == (1, 1, 0, 1, 0)


def test_means_are_of_the_views_that_carry_a_value() -> None:
    views = [
        view("1", seconds_to_next=5, scroll_depth=50.0, engaged_seconds=15),
        view("2", seconds_to_next=8, engaged_seconds=5),
        view("3", is_exit=True, scroll_depth=100.0),
    ]
    (row,) = pages_of(views)
    assert columns_of(row, "seconds_to_next", "mean_seconds_to_next", "engaged_seconds") == (13, 6.5, 20)
    assert columns_of(row, "views_with_scroll_depth", "mean_scroll_depth") == (2, 75.0)
    (row,) = pages_of(views[2:])
    assert columns_of(row, "seconds_to_next", "mean_seconds_to_next") == (0, None)


@pytest.mark.parametrize("depth", [float("nan"), float("inf"), float("-inf"), 1e300, -1e9, None])
def test_an_absurd_scroll_depth_is_taken_as_absent(depth: float | None) -> None:
    (row,) = pages_of([view("1", scroll_depth=depth)])
    assert columns_of(row, "views_with_scroll_depth", "mean_scroll_depth") == (0, None)


def test_bots_view_no_pages() -> None:
    assert pages_of([view("1", is_bot=True)]) == []


def test_the_pages_of_nothing_are_an_empty_frame_that_keeps_the_contract() -> None:
    assert pages_of([]) == []


def reference(views: Sequence[Row], sessions: Sequence[Row], day: date) -> list[Row]:
    bounces = {row["session_id"] for row in sessions if row["is_bounce"]}
    rows = [
        row
        | {"page_host": row["page_host"] or "(none)", "page_path": row["page_path"] or row["page_title"] or "(none)"}
        for row in only(views, session_date=day, is_bot=False)
    ]
    result = []
    for key, own in groups(rows, "session_date", "property", "page_host", "page_path").items():
        waits = [row["seconds_to_next"] for row in own if row["seconds_to_next"] is not None]
        # In hundredths, as they are drawn.
        depths = [
            round(row["scroll_depth"] * 100)
            for row in own
            if row["scroll_depth"] is not None and abs(row["scroll_depth"]) <= 1000
        ]
        result.append(
            {
                **dict(zip(("session_date", "property", "page_host", "page_path"), key, strict=True)),
                "views": len(own),
                "visitors": len({row["visitor_id"] for row in own}),
                "entries": len(only(own, is_entry=True)),
                "exits": len(only(own, is_exit=True)),
                "bounces": len([row for row in only(own, is_entry=True) if row["session_id"] in bounces]),
                "engaged_seconds": sum(row["engaged_seconds"] for row in own),
                "seconds_to_next": sum(waits),
                "mean_seconds_to_next": sum(waits) / len(waits) if waits else None,
                "views_with_scroll_depth": len(depths),
                "mean_scroll_depth": sum(depths) / (100 * len(depths)) if depths else None,
            }
        )
    return result


@given(visits(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_pages_agree_with_a_plain_reading_of_the_rules_and_each_day_stands_alone(
    given_visits: tuple[list[Row], list[Row]], random: Random
) -> None:
    sessions, views = given_visits
    days = sorted({row["session_date"] for row in sessions})
    session_frame, view_frame = pl.DataFrame(sessions, schema=SESSIONS), pl.DataFrame(views, schema=VIEWS)
    result = Pages.validate(build_pages(view_frame.lazy(), session_frame.lazy(), days))
    assert result.to_dicts() == [row for day in days for row in reference(views, sessions, day)]
    # The total of entries is the number of sessions with a view.
    assert result["entries"].sum() == len({row["session_id"] for row in only(views, is_bot=False)})
    shuffled = pl.DataFrame(random.sample(views, len(views)), schema=VIEWS)
    for day in days:
        assert build_pages(shuffled, session_frame, [day]).equals(result.filter(pl.col("session_date") == day))
