"""The pages people look at, seen through a headless Chromium.

`PIPELINE_SCREENSHOTS=docs/images make test-ui` keeps pictures of them; those of the README are made so.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from pipeline_assets.contracts.tables import SESSIONS
from pipeline_assets.jobs import BUILD_JOB, LOAD_JOB
from pipeline_assets_tests.ui.conftest import DAYS
from pipeline_assets_tests.ui.dev_server import DevServer

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (make setup installs it)")
expect = sync_api.expect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.ui,
    pytest.mark.xdist_group("ui"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path (apt-get install chromium)"),
]

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
def browser() -> Iterator["sync_api.Browser"]:
    """Chromium without a window."""
    expect.set_options(timeout=WAIT)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: "sync_api.Browser") -> Iterator["sync_api.Page"]:
    """An empty page, wide enough for the whole graph."""
    context = browser.new_context(viewport={"width": 1900, "height": 900}, color_scheme="light", timezone_id="UTC")
    context.set_default_timeout(WAIT)
    yield context.new_page()
    context.close()


@pytest.fixture
def keep(page: "sync_api.Page") -> Callable[..., None]:
    """A function that keeps a picture of the page, if anybody wants pictures."""

    def keep_picture(name: str, **options: object) -> None:
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


def test_the_graph_shows_every_asset_in_its_group_with_all_checks_passed_and_its_days_filled(
    server: DevServer, page: "sync_api.Page", keep: Callable[..., None]
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
    expect(passed).to_have_count(len(specs))
    numbers = sorted(len(checks_of(server, spec.key)) for spec in specs)
    assert sorted(passed.all_inner_texts()) == sorted(f"{number} / {number} Passed" for number in numbers)
    expect(graph.get_by_text("Postgres")).to_have_count(len([spec for spec in specs if "postgres" in spec.kinds]))
    daily = [spec for spec in specs if spec.partitions_def]
    expect(graph.get_by_text(re.compile(r"^[1-9]\d+% filled$"))).to_have_count(len(daily))
    boxes = [box for part in graph.locator("foreignObject").all() if (box := part.bounding_box())]
    left, top = (min(box[side] for box in boxes) - 20 for side in ("x", "y"))
    right = max(box["x"] + box["width"] for box in boxes) + 20
    bottom = max(box["y"] + box["height"] for box in boxes) + 20
    keep("asset_graph", clip={"x": left, "y": top, "width": right - left, "height": bottom - top})


def test_the_partitions_of_a_table_are_green_from_the_first_day_on(
    server: DevServer, page: "sync_api.Page", keep: Callable[..., None]
) -> None:
    first_day = server.platform.settings.first_day.isoformat()
    page.goto(f"{server.url}/assets/{SESSIONS.name}?view=partitions&partition={first_day}")
    expect(page.get_by_text(f"Materialized ({DAYS})")).to_be_visible()
    expect(page.get_by_text("Failed (0)")).to_be_visible()
    expect(page.get_by_text("dagster/partition_row_count")).to_be_visible()
    expect(page.get_by_text(f"marts.{SESSIONS.name}").first).to_be_visible()
    keep("partitions")


def test_the_checks_of_a_table_have_passed_and_tell_their_numbers(
    server: DevServer, page: "sync_api.Page", keep: Callable[..., None]
) -> None:
    page.goto(f"{server.url}/assets/{SESSIONS.name}?view=checks&checkDetail=every_event_in_one_session")
    names = checks_of(server, dg.AssetKey(SESSIONS.name))
    for name in names:
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
    expect(page.get_by_text("Succeeded", exact=True)).to_have_count(len(names))
    expect(page.get_by_text("Passed", exact=True).first).to_be_visible()
    expect(page.get_by_text("counted again from the lake").first).to_be_visible()
    row = page.get_by_role("row").filter(has=page.get_by_text("differing", exact=True))
    expect(row.first).to_contain_text("0")
    expect(page.get_by_text("[Show JSON]")).to_have_count(0)
    keep("checks", clip={"x": 238, "y": 0, "width": 1270, "height": 610})


def test_the_columns_of_a_table_are_listed_with_descriptions_and_keys(
    server: DevServer, page: "sync_api.Page", keep: Callable[..., None]
) -> None:
    page.goto(f"{server.url}/assets/{SESSIONS.name}?view=overview")
    table = page.get_by_role("table").filter(has_text="Column name")
    for name, column in SESSIONS.contract.columns().items():
        row = table.get_by_role("row").filter(has=page.get_by_text(name, exact=True))
        assert column.description
        expect(row.first).to_contain_text(column.description)
    expect(page.get_by_text("primary_key").first).to_be_visible()
    expect(page.get_by_text("one row per session").first).to_be_visible()
    keep("columns")


def test_the_list_of_runs_tells_what_was_loaded_and_which_days_were_built(
    server: DevServer, page: "sync_api.Page", keep: Callable[..., None]
) -> None:
    page.goto(f"{server.url}/runs")
    expect(page.get_by_text(LOAD_JOB).first).to_be_visible()
    expect(page.get_by_text(BUILD_JOB).first).to_be_visible()
    expect(page.get_by_text(f"days: {server.platform.settings.first_day}").first).to_be_visible()
    expect(page.get_by_text("Failure", exact=True)).to_have_count(0)
    expect(page.get_by_text("pipeline_worker")).to_have_count(0)
    keep("runs")


def test_both_sensors_are_switched_on(server: DevServer, page: "sync_api.Page", keep: Callable[..., None]) -> None:
    page.goto(f"{server.url}/automation")
    for name in ("new_files", "stale_days"):
        expect(page.get_by_text(name, exact=True)).to_be_visible()
    switches = page.locator("label[class*=Switch] input[type=checkbox]")
    expect(switches).to_have_count(2)
    for switch in switches.all():
        expect(switch).to_be_checked()
    keep("sensors")
