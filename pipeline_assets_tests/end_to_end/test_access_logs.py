"""Ten thousand real lines of a web server's log, declared in a few lines of YAML."""

import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from pipeline_assets.settings import Settings
from pipeline_assets.tables.spec import EVENTS
from pipeline_assets_tests.end_to_end.deployment import Deployment, books_balance

ROOT = Path(__file__).parents[2]
LOG = ROOT / "../shared/data/access_logs/apache_logs"
DECLARATION = ROOT / "pipeline_assets_tests/declarations/access_log/defs.yaml"
SOURCE = "access_log"
MALFORMED = 8899

pytestmark = pytest.mark.skipif(not LOG.exists(), reason=f"the real access log is not there: {LOG}")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str]) -> Iterator[Deployment]:
    """A deployment with the log loaded and built once for all tests, which only look at it."""
    folder = tmp_path_factory.mktemp("access_logs")
    (folder / "defs").mkdir()
    settings = Settings.for_data_dir(folder, postgres_url=new_database(), defs_dir=folder / "defs")
    with dg.DagsterInstance.ephemeral() as instance:
        deployment = Deployment(settings, instance)
        deployment.declare(SOURCE, DECLARATION.read_text())
        target = settings.landing_dir / "access_logs"
        target.mkdir(parents=True)
        shutil.copy(LOG, target)
        deployment.refreshed()
        yield deployment
        deployment.close()


@pytest.fixture(scope="module")
def log() -> list[str]:
    """The lines, as they stand in the file."""
    return LOG.read_text().splitlines()


@pytest.fixture(scope="module")
def events(loaded: Deployment) -> pl.DataFrame:
    """The events made from them."""
    return loaded.table(EVENTS)


def quarantined_lines(deployment: Deployment) -> list[tuple[int, bytes]]:
    return deployment.sql("select line, raw from ledger.quarantine where source = :source order by line", source=SOURCE)


def test_the_declaration_has_at_most_twenty_lines() -> None:
    assert len(DECLARATION.read_text().splitlines()) <= 20


def test_every_one_of_the_ten_thousand_lines_landed_is_quarantined_or_is_blank(loaded: Deployment) -> None:
    summary = loaded.summary(SOURCE)
    assert summary["lines"] == 10_000
    assert summary["landed"] + summary["quarantined"] + summary["blank"] == 10_000
    assert books_balance(loaded.platform.engine)


def test_every_line_is_either_an_event_a_duplicate_or_in_quarantine_and_none_is_two_of_them(
    loaded: Deployment, events: pl.DataFrame
) -> None:
    refused = {line for line, _ in quarantined_lines(loaded)}
    kept = set(events["line"])
    assert refused.isdisjoint(kept)
    assert events["line"].n_unique() == events.height
    assert events.height == loaded.value("select sum(events) from ledger.event_days")
    assert len(refused) + loaded.value("select sum(events + duplicates + excluded) from ledger.event_days") == 10_000


def test_equal_lines_of_one_file_stay_as_many_as_they_are(log: list[str], events: pl.DataFrame) -> None:
    repeated = sum(number - 1 for number in Counter(log).values())
    ids = events["event_id"].str.split("-").list.last().cast(pl.Int64)
    assert int((ids > 0).sum()) == repeated


def test_the_events_and_the_quarantine_name_all_1753_client_addresses(loaded: Deployment, events: pl.DataFrame) -> None:
    addresses = set(events["anonymous_id"]) | {raw.split(b" ", 1)[0].decode() for _, raw in quarantined_lines(loaded)}
    assert len(addresses) == 1753


def test_requests_per_address_are_those_in_the_file(loaded: Deployment, log: list[str], events: pl.DataFrame) -> None:
    expected = Counter(line.split(" ", 1)[0] for line in log)
    found = Counter(events["anonymous_id"]) + Counter(
        raw.split(b" ", 1)[0].decode() for _, raw in quarantined_lines(loaded)
    )
    assert found == expected


def test_the_malformed_line_is_an_event_or_is_kept_raw_in_quarantine(
    loaded: Deployment, log: list[str], events: pl.DataFrame
) -> None:
    quarantined = dict(quarantined_lines(loaded))
    if MALFORMED in quarantined:
        assert quarantined[MALFORMED].decode() == log[MALFORMED - 1]
    else:
        assert events.filter(line=MALFORMED).height == 1


def test_status_codes_are_kept_and_counted_as_grep_counts_them(
    loaded: Deployment, log: list[str], events: pl.DataFrame
) -> None:
    refused = Counter(_status(log[line - 1]) for line, _ in quarantined_lines(loaded))
    found = Counter("200" if name == "request" else str(name).removeprefix("request_") for name in events["event_name"])
    counts = {"200": 9126, "304": 445, "404": 213, "301": 164, "206": 45, "500": 3, "416": 2, "403": 2}
    assert found + refused == counts


def test_nearly_every_line_that_names_a_crawler_is_flagged_and_no_other_event_is_deleted(
    loaded: Deployment, log: list[str], events: pl.DataFrame
) -> None:
    named = {
        number
        for number, line in enumerate(log, 1)
        if re.search(r"bot|crawl|spider|slurp", line.rsplit('" "', 1)[-1], re.IGNORECASE)
    }
    flagged = set(events.filter("is_bot")["line"])
    # An agent that merely has one of the words in its name may be no bot to the rules; few are.
    assert len(named - flagged) <= len(named) // 50
    assert len(flagged) >= 1_400
    assert events.filter(pl.col("is_bot") & pl.col("bot_reason").is_null()).is_empty()
    assert loaded.value("select sum(bot_events) from marts.daily_activity") == len(flagged)


def test_the_daily_figures_cover_exactly_the_four_days_of_the_log(loaded: Deployment) -> None:
    activity = loaded.table("daily_activity")
    assert [f"{day:%Y-%m-%d}" for day in activity["activity_date"]] == [f"2015-05-{day}" for day in range(17, 21)]
    assert activity["events"].sum() == loaded.value("select sum(events) from ledger.event_days")


def test_every_check_passes(loaded: Deployment) -> None:
    assert loaded.check_everything() == []


def test_a_second_refresh_finds_nothing_to_do(loaded: Deployment) -> None:
    assert loaded.refresh().idle
    assert loaded.is_settled()


def _status(line: str) -> str:
    found = re.search(r'" (\d{3}) ', line)
    assert found
    return found[1]
