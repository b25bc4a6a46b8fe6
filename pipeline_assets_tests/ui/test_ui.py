"""The dev server at work: dropped files lead to tables by themselves, and the pages people look at tell so.

All in one module, which runs in one worker, so that there is one server. Pages are seen through a headless Chromium;
`PIPELINE_SCREENSHOTS=folder make test-ui` keeps pictures of them, as in the README (its plots are of `make demo`).
"""

import gzip
import json
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from pipeline_assets.code_location import code_location_name
from pipeline_assets.jobs import BUILD_JOB, LOAD_JOB
from pipeline_assets.partitions import day_range
from pipeline_assets.registry import collect
from pipeline_assets.tables.declarations import Declarations
from pipeline_assets_tests.ui.dev_server import DevServer, dev_server, small_deployment

try:
    # Of an environment of its own, see the Makefile.
    from playwright.sync_api import Browser, Page, expect, sync_playwright  # ty: ignore[import-not-found]

    PLAYWRIGHT = True
except ImportError:
    PLAYWRIGHT = False

DAYS = 6
SPECS = collect(Declarations())
LIMIT_SECONDS = 180


@pytest.fixture(scope="module")
def server() -> Iterator[DevServer]:
    """A dev server on a demo of six days, for all tests: it takes half a minute to start."""
    # Not below pytest's own folder, which root's PostgreSQL cannot enter.
    folder = Path(tempfile.mkdtemp(prefix="pipeline-ui-"))
    try:
        with dev_server(*small_deployment(folder, days=DAYS)) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# --- Without anybody looking --------------------------------------------------------------------------


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
            # All that every other record has, or the check of changed columns would tell.
            "context": {
                "locale": "en-US",
                "country": "US",
                "userAgent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "screen": {"width": 800},
                "consent": {"analytics": True},
                "page": {"viewId": None, "url": "https://shop.example/dropped", "referrer": "", "title": "Dropped"},
            },
            "properties": {},
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


@pytest.mark.exhaustive
def test_a_file_dropped_into_landing_leads_to_rows_in_the_marts_by_itself_and_rebuilds_only_the_days_around_it(
    server: DevServer,
) -> None:
    day = server.first_day + timedelta(days=1)
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
    wait_for(lambda: "Sensor stale_days" in server.said(), server)
    said = server.said()
    for trouble in ("ERROR", "CRITICAL", "WARNING", "Warning", "Traceback", "virtual environment", "DEBUG"):
        assert trouble not in said, said


# --- In a browser -------------------------------------------------------------------------------------

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def in_browser(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that needs Chromium."""
    no_playwright = pytest.mark.skipif(not PLAYWRIGHT, reason="playwright is not installed (make setup-ui installs it)")
    no_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path (apt-get install chromium)")
    return pytest.mark.ui(no_playwright(no_chromium(test)))


# Nothing but the pages asked for: no sandbox (root has none), no updates, no services.
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WAIT = 30_000


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Chromium without a window."""
    expect.set_options(timeout=WAIT)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: "Browser") -> Iterator["Page"]:
    """An empty page, wide enough for the whole graph."""
    context = browser.new_context(viewport={"width": 1900, "height": 900}, color_scheme="light", timezone_id="UTC")
    context.set_default_timeout(WAIT)
    yield context.new_page()
    context.close()


@pytest.fixture
def keep(page: "Page") -> Callable[..., None]:
    """A function that keeps a picture of the page, if anybody wants pictures."""

    def keep_picture(name: str, **options: Any) -> None:
        folder = os.environ.get("PIPELINE_SCREENSHOTS")
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            page.mouse.move(0, 0)
            page.wait_for_timeout(1000)
            page.screenshot(path=Path(folder) / f"{name}.png", animations="disabled", **options)

    return keep_picture


def checks_of(server: DevServer, asset: dg.AssetKey) -> list[str]:
    graph = server.definitions.resolve_asset_graph()
    return sorted(key.name for key in graph.asset_check_keys if key.asset_key == asset)


def materializable(server: DevServer) -> list[dg.AssetSpec]:
    """The assets but for those that are observed alone: of them the UI counts no days."""
    keys = server.definitions.resolve_asset_graph().materializable_asset_keys
    return [spec for spec in server.definitions.resolve_all_asset_specs() if spec.key in keys]


@in_browser
def test_the_graph_shows_every_asset_in_its_group_with_all_checks_passed_and_its_days_filled(
    server: DevServer, page: "Page", keep: Callable[..., None]
) -> None:
    specs = server.definitions.resolve_all_asset_specs()
    groups = sorted({str(spec.group_name) for spec in specs})
    # Too far away, the graph shows names alone.
    page.set_viewport_size({"width": 4400, "height": 6000})
    page.goto(f"{server.url}/asset-groups?expanded={','.join(f'global@global:{group}' for group in groups)}")
    graph = page.locator("svg", has=page.locator("foreignObject"))
    for group in groups:
        expect(graph.get_by_text(group, exact=True).first).to_be_visible()
    for spec in specs:
        expect(graph.get_by_text(spec.key.path[-1], exact=True).last).to_be_visible()
    passed = graph.get_by_text(re.compile(r"^\d+ / \d+ Passed$"))
    made = materializable(server)
    expect(passed).to_have_count(len(made))
    numbers = sorted(len(checks_of(server, spec.key)) for spec in made)
    assert sorted(passed.all_inner_texts()) == sorted(f"{number} / {number} Passed" for number in numbers)
    expect(graph.get_by_text("Postgres")).to_have_count(len([spec for spec in specs if "postgres" in spec.kinds]))
    daily = [spec for spec in made if spec.partitions_def]
    expect(graph.get_by_text(re.compile(r"^[1-9]\d+% filled$"))).to_have_count(len(daily))
    boxes = [box for part in graph.locator("foreignObject").all() if (box := part.bounding_box())]
    left, top = (min(box[side] for box in boxes) - 20 for side in ("x", "y"))
    right = max(box["x"] + box["width"] for box in boxes) + 20
    bottom = max(box["y"] + box["height"] for box in boxes) + 20
    keep("asset_graph", clip={"x": left, "y": top, "width": right - left, "height": bottom - top})


@in_browser
def test_the_partitions_of_a_table_are_green_from_the_first_day_on(
    server: DevServer, page: "Page", keep: Callable[..., None]
) -> None:
    first_day = server.first_day.isoformat()
    page.goto(f"{server.url}/assets/sessions?view=partitions&partition={first_day}")
    expect(page.get_by_text(f"Materialized ({DAYS})")).to_be_visible()
    expect(page.get_by_text("Failed (0)")).to_be_visible()
    expect(page.get_by_text("dagster/partition_row_count")).to_be_visible()
    expect(page.get_by_text("marts.sessions").first).to_be_visible()
    keep("partitions")


@in_browser
def test_the_checks_of_a_table_have_passed_and_tell_their_numbers(
    server: DevServer, page: "Page", keep: Callable[..., None]
) -> None:
    page.goto(f"{server.url}/assets/sessions?view=checks&checkDetail=every_event_in_one_session")
    names = checks_of(server, dg.AssetKey("sessions"))
    for name in names:
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
    expect(page.get_by_text("Succeeded", exact=True)).to_have_count(len(names))
    expect(page.get_by_text("Passed", exact=True).first).to_be_visible()
    expect(page.get_by_text("counted again from the lake").first).to_be_visible()
    row = page.get_by_role("row").filter(has=page.get_by_text("differing", exact=True))
    expect(row.first).to_contain_text("0")
    expect(page.get_by_text("[Show JSON]")).to_have_count(0)
    keep("checks", clip={"x": 238, "y": 0, "width": 1270, "height": 610})


@in_browser
def test_the_columns_of_a_table_are_listed_with_descriptions_and_keys(
    server: DevServer, page: "Page", keep: Callable[..., None]
) -> None:
    page.goto(f"{server.url}/assets/sessions?view=overview")
    table = page.get_by_role("table").filter(has_text="Column name")
    for name, column in SPECS["sessions"].contract.columns().items():
        row = table.get_by_role("row").filter(has=page.get_by_text(name, exact=True))
        assert column.description
        expect(row.first).to_contain_text(column.description)
    expect(page.get_by_text("primary_key").first).to_be_visible()
    expect(page.get_by_text("one row per session").first).to_be_visible()
    keep("columns")


@in_browser
def test_the_list_of_runs_tells_what_was_loaded_and_which_days_were_built(
    server: DevServer, page: "Page", keep: Callable[..., None]
) -> None:
    page.goto(f"{server.url}/runs")
    expect(page.get_by_text(LOAD_JOB).first).to_be_visible()
    expect(page.get_by_text(BUILD_JOB).first).to_be_visible()
    expect(page.get_by_text(f"days: {server.first_day}").first).to_be_visible()
    expect(page.get_by_text("Failure", exact=True)).to_have_count(0)
    keep("runs")


@in_browser
def test_all_sensors_are_switched_on(server: DevServer, page: "Page", keep: Callable[..., None]) -> None:
    page.goto(f"{server.url}/automation")
    names = ("new_files", "stale_days", "silent_sources", "unmatched_files", "old_runs")
    for name in names:
        expect(page.get_by_text(name, exact=True)).to_be_visible()
    switches = page.locator("label[class*=Switch] input[type=checkbox]")
    expect(switches).to_have_count(len(names))
    for switch in switches.all():
        expect(switch).to_be_checked()
    keep("sensors")


@in_browser
def test_the_catalogue_shows_every_day_filled_and_none_from_before_the_first_booked_one(
    server: DevServer, page: "Page", keep: Callable[..., None]
) -> None:
    page.set_viewport_size({"width": 1900, "height": 2600})
    page.goto(f"{server.url}/assets")
    daily = [spec for spec in server.definitions.resolve_all_asset_specs() if spec.partitions_def]
    expect(page.get_by_text(f"{DAYS} partitions", exact=True)).to_have_count(len(daily))
    made = [spec for spec in materializable(server) if spec.partitions_def]
    expect(page.get_by_text("All", exact=True)).to_have_count(len(made))
    keep("catalogue")


@in_browser
def test_the_figures_of_a_daily_table_are_plotted_by_day(
    server: DevServer, page: "Page", keep: Callable[..., None]
) -> None:
    page.set_viewport_size({"width": 1900, "height": 2600})
    page.goto(f"{server.url}/assets/daily_activity?view=overview")
    page.get_by_text("Plots", exact=True).click()
    expect(page.get_by_text("When graphing values by partition")).to_be_visible()
    expect(page.locator("canvas")).to_have_count(len(SPECS["daily_activity"].figures) + 1)
    for figure in SPECS["daily_activity"].figures:
        # Once as a column, once above its plot.
        expect(page.get_by_text(figure.name, exact=True).nth(1)).to_be_visible()
    boxes = [box for plot in page.locator("canvas").all() if (box := plot.bounding_box())]
    left, top = min(box["x"] for box in boxes) - 20, min(box["y"] for box in boxes) - 60
    right = max(box["x"] + box["width"] for box in boxes) + 20
    bottom = max(box["y"] + box["height"] for box in boxes) + 20
    keep("daily_activity", clip={"x": left, "y": top, "width": right - left, "height": bottom - top})


@in_browser
def test_a_job_lists_the_runs_of_refresh_beside_those_of_its_sensor(
    server: DevServer, page: "Page", keep: Callable[..., None]
) -> None:
    of_job = [run for run in server.runs() if run["jobName"] == BUILD_JOB]
    assert {tag["key"] for tag in of_job[-1]["tags"]}.isdisjoint({"dagster/sensor_name"})
    page.goto(f"{server.url}/locations/{code_location_name()}/jobs/{BUILD_JOB}/runs")
    for run in of_job:
        expect(page.get_by_text(run["runId"][:8], exact=True).first).to_be_visible()
    keep("job")


def days_shown(server: DevServer) -> dict[str, int]:
    """How many days of the sessions the UI knows, and how many of them are filled."""
    sessions = f'{{path: ["{"sessions"}"]}}'
    query = f"{{assetNodes(assetKeys: [{sessions}]) {{partitionStats {{numPartitions numMaterialized}}}}}}"
    return server.ask(query)["assetNodes"][0]["partitionStats"]


@pytest.mark.exhaustive
def test_a_file_of_long_ago_is_built_at_once_and_shown_when_the_location_is_loaded_again(server: DevServer) -> None:
    day = server.first_day - timedelta(days=40)
    line = page_view(datetime.combine(day, clock(12), UTC), "visitor-of-long-ago")
    (server.platform.settings.landing_dir / "web" / "long_ago.jsonl").write_text(line + "\n")
    wait_for(lambda: day in built(server), server)
    wait_for(lambda: not any(server.platform.staleness().tables.values()), server)
    # As long as the run has not ended, Dagster counts otherwise.
    wait_for(lambda: days_shown(server) == {"numPartitions": DAYS, "numMaterialized": DAYS}, server)
    server.ask(
        f'mutation {{reloadRepositoryLocation(repositoryLocationName: "{code_location_name()}") {{__typename}}}}'
    )
    wait_for(lambda: days_shown(server) == {"numPartitions": DAYS + 40, "numMaterialized": DAYS + 1}, server)
    assert "caught an error" not in server.said()


# The last one, for nothing is as it should be after it.
@in_browser
def test_the_page_of_a_source_names_a_broken_file_and_what_is_wrong_with_it(
    server: DevServer, page: "Page", keep: Callable[..., None]
) -> None:
    landing = server.platform.settings.landing_dir / "web"
    whole = gzip.compress(page_view(datetime.now(UTC), "visitor-of-a-broken-file").encode() * 500)
    (landing / "broken.jsonl.gz").write_bytes(whole[:-20])
    wait_for(lambda: server.platform.quality("web").is_beyond, server)
    page.goto(f"{server.url}/assets/staging/web?view=checks&checkDetail=quarantined_share")
    expect(page.get_by_text("web/broken.jsonl.gz: cannot be read").first).to_be_visible(timeout=LIMIT_SECONDS * 1000)
    row = page.get_by_role("row").filter(has=page.get_by_text("web/broken.jsonl.gz", exact=True))
    expect(row.first).to_contain_text("cannot be read")
    expect(page.get_by_text("visitor-of-a-broken-file")).to_have_count(0)
    keep("broken_file")
