"""Which days the UI is shown, and that finding them out starts nothing and waits for nothing."""

import socket
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.partitions.snap import PartitionsSnap
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.partitions import daily_partitions
from pipeline_assets.settings import Settings
from pipeline_assets.shown_days import DORMANT, NOTHING_YET, Span, shown_days, span
from pipeline_assets.tables.spec import EVENTS

TODAY = date(2026, 6, 15)
DAYS = st.dates(date(2010, 1, 1), TODAY)


@given(st.tuples(DAYS, DAYS).map(lambda pair: (min(pair), max(pair))), DAYS)
def test_the_days_shown_hold_every_booked_day_since_the_first_one_and_no_day_before(
    booked: tuple[date, date], first_day: date
) -> None:
    shown = span(booked, first_day=first_day, today=TODAY)
    assert shown.first == max(booked[0], first_day)
    assert shown.last in (None, booked[1])
    assert (shown.last is None) == (TODAY - booked[1] <= DORMANT)


def test_a_deployment_without_anything_shows_a_year_but_no_day_before_its_first() -> None:
    assert span(None, first_day=date(2010, 1, 1), today=TODAY) == Span(TODAY - NOTHING_YET)
    assert span(None, first_day=date(2026, 6, 1), today=TODAY) == Span(date(2026, 6, 1))


def in_ui(definition: dg.PartitionsDefinition) -> list[str]:
    """The partitions as web server and daemon have them."""
    return list(PartitionsSnap.from_def(definition).get_partitions_definition().get_partition_keys())


@pytest.mark.parametrize("timezone", ["UTC", "America/Sao_Paulo", "Asia/Beirut"])
def test_where_the_server_is_down_the_lake_tells_and_no_server_is_started(tmp_path: Path, timezone: str) -> None:
    settings = Settings.for_data_dir(tmp_path, timezone=timezone)
    days = [date(2026, 3, day) for day in (2, 3, 5)]
    for day in [*days, date(2009, 1, 1)]:
        (settings.lake_dir / EVENTS / day.isoformat()).mkdir(parents=True)
    (settings.lake_dir / EVENTS / "event_date=never").mkdir()
    assert shown_days(settings) == Span(days[0], days[-1])
    partitions = daily_partitions(settings)
    assert in_ui(partitions) == [f"2026-03-0{day}" for day in range(2, 6)]
    assert not settings.postgres_dir.exists()
    # What can be built is more than what is shown.
    assert partitions.get_first_partition_key() == settings.first_day.isoformat()


def test_a_server_that_gives_no_answer_is_not_waited_for(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        url = f"postgresql://user:secret@127.0.0.1:{silent.getsockname()[1]}/db"
        settings = Settings.for_data_dir(tmp_path, postgres_url=url)
        settings.lake_dir.mkdir()
        (settings.lake_dir / "deployment.json").write_text(
            '{"id": "6f1f3c0e-8b0c-4b57-9d0c-0c1e8a5f2d11", "namespace": null}'
        )
        # Whoever waited for an answer would not come back.
        assert shown_days(settings).last is None


def test_all_tables_of_a_code_location_show_the_same_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = iter([TODAY, TODAY - timedelta(days=1)])
    monkeypatch.setattr("pipeline_assets.partitions.shown_days", lambda _: Span(next(first), TODAY))
    settings = Settings.for_data_dir(tmp_path)
    loaded = daily_partitions(settings)
    assert in_ui(loaded) == in_ui(loaded) == [TODAY.isoformat()]
    assert len(in_ui(daily_partitions(settings))) == 2
