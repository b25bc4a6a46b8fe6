"""From the lines of a log to the tables: what happened in one second happened in the order of the lines."""

from collections.abc import Sequence
from datetime import date

import polars as pl

from pipeline_assets.analyses.funnel import build_funnel
from pipeline_assets.analyses.paths import build_paths
from pipeline_assets.declarations.analyses import Funnel, Paths, Step
from pipeline_assets.tables.events import build_events
from pipeline_assets.tables.page_views import build_page_views
from pipeline_assets.tables.sessions import build_sessions
from pipeline_assets.transforms.ordering import event_order
from pipeline_assets_tests.sources.staging_rows import source, stage
from pipeline_assets_tests.transforms.frames import STAGED_SCHEMA, event, events_frame, utc

TODAY = date(2024, 5, 1)
WALK = ("/start", "/login", "/home")
LOG = source(
    name="log",
    format="combined_log",
    property="www.example.com",
    mapping={
        "occurred_at": "time",
        "anonymous_id": "remote_host",
        "event_name": "target",
        "event_type": "'page'",
        "page_url": "target",
    },
)


def log_of(pages: Sequence[str], visitors: range = range(30)) -> list[str]:
    """Lines of an access log: each visitor asks for all pages within one second."""
    return [
        f'10.0.0.{visitor} - - [01/May/2024:10:{visitor:02}:00 +0000] "GET {page} HTTP/1.1" 200 5 "-" "-"'
        for visitor in visitors
        for page in pages
    ]


def events_of(*files: Sequence[str]) -> pl.DataFrame:
    """The events of log files with these lines; the content of a file is named by its place."""
    rows = [row | {"load_id": f"file {name}"} for name, lines in enumerate(files) for row in stage(LOG, lines)]
    return build_events(pl.DataFrame(rows, schema=STAGED_SCHEMA), None, dedup_days={}).events


def walks(events: pl.DataFrame) -> set[tuple[str, str]]:
    sessions = build_sessions(events, [TODAY], timezone="UTC")
    return set(sessions.select("entry_page", "exit_page").rows())


def test_entry_and_exit_pages_and_paths_of_a_log_are_those_of_its_lines() -> None:
    events = events_of(log_of(WALK))
    assert walks(events) == {("/start", "/home")}
    views = build_page_views(events, [TODAY], timezone="UTC").with_columns(
        position="view_number", node="page_path", at="viewed_at"
    )
    paths = build_paths(views, [TODAY], paths=Paths(name="paths"))
    assert sorted(paths.select("from_node", "to_node", "transitions").rows()) == [
        ("(start)", "/start", 30),
        ("/home", "(end)", 30),
        ("/login", "/home", 30),
        ("/start", "/login", 30),
    ]


def test_all_who_take_two_steps_of_a_funnel_within_a_second_convert() -> None:
    steps = [Step(name=name, event=(name,)) for name in ("/login", "/start")]
    marks = {f"step_{number}": pl.col("event_name") == step.name for number, step in enumerate(steps, start=1)}
    rows = events_of(log_of(WALK)).with_columns(entity="visitor_id", **marks)
    for mode in ("ordered", "unordered"):
        funnel = Funnel(name="f", by="visitor", steps=tuple(steps), mode=mode)
        assert build_funnel(rows, [TODAY], funnel=funnel)["entities"].to_list() == [30, 30]


def test_lines_that_come_again_in_another_file_stay_in_order_whichever_of_the_files_counts() -> None:
    lines = log_of(WALK)
    # As long as what is of one moment is in both: the whole log with more at its end, and a part of it.
    for again in ([*lines, *log_of(WALK, range(30, 40))], lines[3:60]):
        assert walks(events_of(lines, again)) == {("/start", "/home")}
        assert walks(events_of(again, lines)) == {("/start", "/home")}


def test_the_order_is_total_and_whatever_the_rows_lay_in() -> None:
    noon = utc("2026-03-10T12:00")
    rows = [
        event(noon, event_id=name, sequence=sequence, is_id_derived=derived, load_id=load_id, line=line)
        for name, sequence, derived, load_id, line in (
            ("h", 1, False, "z", 9),
            ("z", 2, True, "f", 2),
            ("a", 2, True, "f", 10),
            ("b", 2, True, "g", 1),
            ("c", 2, False, "a", 1),
            ("d", 2, False, "a", 0),
            ("e", None, True, "a", 1),
        )
    ]
    found = events_frame(rows[::-1]).sort(event_order(), nulls_last=True)
    assert found["event_id"].to_list() == ["h", "z", "a", "b", "c", "d", "e"]
