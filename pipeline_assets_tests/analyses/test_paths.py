from collections.abc import Sequence
from datetime import date, timedelta
from statistics import median
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.analyses.paths import PathTransitions, build_paths
from pipeline_assets.declarations.analyses import Paths
from pipeline_assets_tests.transforms.frames import NOON, Row, days_between

TODAY = NOON.date()
SCHEMA = {
    "session_id": pl.String(),
    "session_date": pl.Date(),
    "property": pl.String(),
    "position": pl.Int64(),
    "node": pl.String(),
    "at": pl.Datetime("us", "UTC"),
}


def session(nodes: Sequence[str | None], session_id: str = "s", seconds: float = 10, **values: Any) -> list[Row]:
    """The views of a session, so many seconds apart."""
    return [
        {
            "session_id": session_id,
            "session_date": TODAY,
            "property": "shop",
            "position": position,
            "node": node,
            "at": NOON + position * timedelta(seconds=seconds),
        }
        | values
        for position, node in enumerate(nodes, start=1)
    ]


def built(rows: Sequence[Row], days: Sequence[date] = (TODAY,), max_length: int = 20) -> pl.DataFrame:
    views = pl.DataFrame(list(rows), schema=SCHEMA)
    return PathTransitions.validate(build_paths(views.lazy(), days, paths=Paths(max_length=max_length)))


def moves(rows: Sequence[Row], max_length: int = 20) -> list[tuple[str, str, int, int, float | None]]:
    return [row[2:] for row in built(rows, max_length=max_length).rows()]


def test_a_session_goes_from_its_start_over_its_nodes_to_its_end() -> None:
    assert built(session("ab")).rows() == [
        (TODAY, "shop", "(start)", "a", 1, 1, None),
        (TODAY, "shop", "a", "b", 1, 1, 10.0),
        (TODAY, "shop", "b", "(end)", 1, 1, None),
    ]


def test_repeats_of_a_node_are_transitions_and_a_session_counts_once() -> None:
    rows = session("aaa") + session("aa", "t", seconds=40)
    assert moves(rows) == [("(start)", "a", 2, 2, None), ("a", "(end)", 2, 2, None), ("a", "a", 3, 2, 10.0)]


def test_transitions_after_the_first_max_length_are_not_counted() -> None:
    assert moves(session("abc"), max_length=4)[-1] == ("c", "(end)", 1, 1, None)
    assert moves(session("abc"), max_length=3) == moves(session("abcd"), max_length=3)
    assert [move[:2] for move in moves(session("abc"), max_length=2)] == [("(start)", "a"), ("a", "b")]


def test_a_node_without_a_name_is_none_and_times_may_be_unknown() -> None:
    rows = session(["a", None])
    assert ("a", "(none)", 1, 1, 10.0) in moves(rows)
    views = pl.DataFrame(rows, schema=SCHEMA).drop("at")
    assert build_paths(views, [TODAY], paths=Paths())["median_seconds"].to_list() == [None, None, None]


def test_sessions_of_another_day_property_or_id_are_other_sessions() -> None:
    rows = (
        session("a") + session("b", "t") + session("c", property="app") + session("d", session_date=date(2026, 3, 11))
    )
    assert [row[:4] for row in built(rows).rows()] == [
        (TODAY, "app", "(start)", "c"),
        (TODAY, "app", "c", "(end)"),
        (TODAY, "shop", "(start)", "a"),
        (TODAY, "shop", "(start)", "b"),
        (TODAY, "shop", "a", "(end)"),
        (TODAY, "shop", "b", "(end)"),
    ]


@pytest.mark.parametrize("days", [[], [TODAY]])
def test_the_paths_of_nothing_are_an_empty_frame_that_keeps_the_contract(days: list[date]) -> None:
    assert built([], days).is_empty()


def reference(rows: Sequence[Row], days: Sequence[date], max_length: int) -> list[Row]:
    found: dict[tuple[date, str, str, str], list[tuple[str, float | None]]] = {}
    for day, shop, session_id in {(row["session_date"], row["property"], row["session_id"]) for row in rows}:
        own = [
            row for row in rows if (row["session_date"], row["property"], row["session_id"]) == (day, shop, session_id)
        ]
        own.sort(key=lambda row: row["position"])
        stops = [("(start)", None), *((row["node"] or "(none)", row["at"]) for row in own), ("(end)", None)]
        for number in range(min(max_length, len(stops) - 1)):
            (before, left), (after, came) = stops[number : number + 2]
            took = (came - left) // timedelta(microseconds=1) if left and came else None
            if day in days:
                found.setdefault((day, shop, before, after), []).append((session_id, took))
    table = []
    for key, steps in sorted(found.items()):
        times = [took for _, took in steps if took is not None]
        table.append(
            dict(zip(("session_date", "property", "from_node", "to_node"), key, strict=True))
            | {
                "transitions": len(steps),
                "sessions": len({session_id for session_id, _ in steps}),
                "median_seconds": int(median(times)) / 1_000_000 if times else None,
            }
        )
    return table


@st.composite
def visits(draw: st.DrawFn) -> list[Row]:
    rows = []
    for number in range(draw(st.integers(0, 5))):
        nodes = draw(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=6))
        shop = draw(st.sampled_from(["shop", "app"]))
        day = TODAY + timedelta(days=draw(st.integers(0, 2)))
        seconds = draw(st.sampled_from([0, 1, 0.000001, 59.3]))
        rows += session(nodes, f"s{number}", seconds, property=shop, session_date=day)
    return draw(st.permutations(rows))


@given(visits(), st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_paths_agree_with_a_plain_reading_of_the_rules_and_each_day_stands_alone(
    rows: list[Row], max_length: int
) -> None:
    days = days_between(TODAY, TODAY + timedelta(days=1))
    table = built(rows, days, max_length)
    assert table.to_dicts() == reference(rows, days, max_length)
    for day in days:
        assert built([row for row in rows if row["session_date"] == day], [day], max_length).equals(
            table.filter(pl.col("session_date") == day)
        )


@given(visits())
@settings(max_examples=40, deadline=None)
def test_as_many_come_to_a_node_as_leave_it_and_every_session_starts_and_ends_once(rows: list[Row]) -> None:
    table = built(rows, days_between(TODAY, TODAY + timedelta(days=2)))
    key = ["session_date", "property"]
    into = table.group_by(*key, node="to_node").agg(pl.col("transitions").sum())
    out = table.group_by(*key, node="from_node").agg(pl.col("transitions").sum())
    inner = ~pl.col("node").is_in(["(start)", "(end)"])
    assert into.filter(inner).sort(*key, "node").equals(out.filter(inner).sort(*key, "node"))
    sessions = len({row["session_id"] for row in rows})
    assert out.filter(pl.col("node") == "(start)")["transitions"].sum() == sessions
    assert into.filter(pl.col("node") == "(end)")["transitions"].sum() == sessions
