"""The dev server at work: files that are dropped into landing lead to tables by themselves."""

import json
import time
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock

import pytest
import sqlalchemy as sa

from pipeline_assets.jobs import BUILD_JOB, LOAD_JOB
from pipeline_assets.partitions import day_range
from pipeline_assets_tests.ui.conftest import DAYS
from pipeline_assets_tests.ui.dev_server import DevServer

# With all tests of this folder, so that they share one server.
pytestmark = pytest.mark.xdist_group("ui")

LIMIT_SECONDS = 180


def page_view(moment: datetime, visitor: str) -> str:
    """A line as the demo shop's tracker writes it."""
    at = moment.isoformat().replace("+00:00", "Z")
    return json.dumps(
        {
            "messageId": str(uuid.uuid4()),
            "type": "page",
            "timestamp": at,
            "sentAt": at,
            "receivedAt": at,
            "anonymousId": visitor,
            "context": {"page": {"url": "https://shop.example/dropped"}, "consent": {"analytics": True}},
        }
    )


def wait_for(what: Callable[[], bool], server: DevServer) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not what():
        assert time.monotonic() < deadline, server.said()[-5000:]
        time.sleep(1)


def built(server: DevServer) -> dict[date, str]:
    """The run that built each day of the sessions."""
    with server.platform.engine.connect() as connection:
        rows = connection.execute(sa.text("select day, run_id from ledger.builds where asset = 'sessions'"))
        return {row.day: row.run_id for row in rows}


def test_a_file_dropped_into_landing_leads_to_rows_in_the_marts_by_itself_and_rebuilds_only_the_days_around_it(
    server: DevServer,
) -> None:
    day = server.platform.settings.first_day + timedelta(days=1)
    before = built(server)
    runs_before = {run["runId"] for run in server.runs()}
    assert len(before) == DAYS
    noon = datetime.combine(day, clock(12), UTC)
    lines = [page_view(noon + timedelta(seconds=second), "dropped-visitor") for second in range(5)]
    landing = server.platform.settings.landing_dir / "web"
    (landing / "dropped.jsonl").write_text("\n".join(lines) + "\n")

    def has_arrived() -> bool:
        with server.platform.engine.connect() as connection:
            query = sa.text("select page_views from marts.sessions where visitor_id = 'dropped-visitor'")
            return connection.execute(query).scalars().all() == [len(lines)]

    def new_runs() -> list[tuple[str, str]]:
        runs = [run for run in server.runs() if run["runId"] not in runs_before]
        return [(run["jobName"], run["status"]) for run in reversed(runs)]

    def is_settled() -> bool:
        finished = all(status in ("SUCCESS", "FAILURE") for _, status in new_runs())
        return finished and not any(server.platform.staleness().tables.values())

    wait_for(has_arrived, server)
    wait_for(is_settled, server)
    load, *builds = new_runs()
    assert load == (LOAD_JOB, "SUCCESS")
    assert set(builds) == {(BUILD_JOB, "SUCCESS")}
    # Duplicates are looked for one day later too, and sessions reach into the days before and after those.
    around = day_range(day - timedelta(days=1), day + timedelta(days=2))
    after = built(server)
    assert [other for other in sorted(after) if after[other] != before[other]] == around


def test_nothing_that_looks_like_trouble_is_printed(server: DevServer) -> None:
    said = server.said()
    assert "Sensor stale_days" in said
    for trouble in ("ERROR", "CRITICAL", "WARNING", "Warning", "Traceback", "virtual environment", "DEBUG"):
        assert trouble not in said, said
