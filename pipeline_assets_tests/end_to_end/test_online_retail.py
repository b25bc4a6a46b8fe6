"""A hundred real daily files of a shop: equal rows are real, returns are negative, many rows name no customer."""

from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import dagster as dg
import duckdb
import polars as pl
import pytest

from pipeline_assets.settings import Settings
from pipeline_assets.tables.spec import EVENTS
from pipeline_assets_tests.end_to_end.deployment import Deployment, books_balance

ROOT = Path(__file__).parents[2]
FILES = ROOT / "../shared/data/online_retail"
DECLARATION = ROOT / "pipeline_assets_tests/declarations/online_retail/defs.yaml"
SOURCE = "online_retail"

pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.skipif(not FILES.is_dir(), reason=f"the real files of the shop are not there: {FILES}"),
]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str]) -> Iterator[Deployment]:
    """A deployment with all files loaded and built once for all tests, which only look at it."""
    folder = tmp_path_factory.mktemp("online_retail")
    (folder / "defs").mkdir()
    settings = Settings.for_data_dir(folder, postgres_url=new_database(), defs_dir=folder / "defs", follow_links=True)
    with dg.DagsterInstance.ephemeral() as instance:
        deployment = Deployment(settings, instance)
        deployment.declare(SOURCE, DECLARATION.read_text())
        settings.landing_dir.mkdir()
        (settings.landing_dir / SOURCE).symlink_to(FILES.resolve(), target_is_directory=True)
        deployment.refreshed()
        yield deployment
        deployment.close()


@pytest.fixture(scope="module")
def events(loaded: Deployment) -> pl.DataFrame:
    """The events made from the rows."""
    return loaded.table(EVENTS)


def plain(query: str) -> list[tuple]:
    """A plain DuckDB query over the files; `rows` is all of them as text."""
    with duckdb.connect() as connection:
        connection.execute(
            f"create view rows as select * from read_csv('{FILES.resolve()}/*.csv', header = true, all_varchar = true)"
        )
        return connection.execute(query).fetchall()


def test_every_row_of_every_file_landed_or_is_quarantined(loaded: Deployment) -> None:
    ((rows,),) = plain("select count(*) from rows")
    summary = loaded.summary(SOURCE)
    assert summary["files"] == len(list(FILES.glob("*.csv"))) == 100
    assert summary["lines"] == rows
    assert summary["landed"] + summary["quarantined"] == rows
    assert summary["blank"] == 0
    assert books_balance(loaded.platform.engine)


def test_every_row_with_a_customer_is_an_event_however_many_equal_rows_there_are(
    loaded: Deployment, events: pl.DataFrame
) -> None:
    ((rows, different),) = plain(
        "select count(*), count(distinct r) from (select rows as r from rows where CustomerID is not null)"
    )
    assert different < rows
    assert events.height == rows == loaded.value("select sum(events) from ledger.event_days")
    assert loaded.value("select sum(duplicates) from ledger.event_days") == 0


def test_rows_without_a_customer_are_quarantined_with_the_reason_and_as_they_were(loaded: Deployment) -> None:
    ((rows,),) = plain("select count(*) from rows where CustomerID is null")
    assert loaded.reasons(SOURCE) == {"missing:anonymous_id or user_id": rows}
    ((one,),) = loaded.sql(
        "select convert_from(raw, 'UTF8') from ledger.quarantine q join ledger.files f using (source, content) "
        "where f.path = 'online_retail/2010-12-01.csv' order by line limit 1"
    )
    assert one in (FILES / "2010-12-01.csv").read_text().splitlines()


def test_returns_are_negative_revenue_and_no_conversions(events: pl.DataFrame) -> None:
    ((returns, amount),) = plain(
        "select count(*), sum(Quantity::bigint * UnitPrice::decimal(18, 6)) from rows "
        "where CustomerID is not null and InvoiceNo like 'C%'"
    )
    found = events.filter(event_name="return")
    assert found.height == returns > 0
    assert found["revenue"].sum() == amount < 0
    assert found["is_conversion"].any() is False
    assert found["order_id"].str.starts_with("C").all()


def test_customers_are_those_of_the_files_and_no_floating_point_numbers(events: pl.DataFrame) -> None:
    customers = {f"{float(name):.0f}" for (name,) in plain("select distinct CustomerID from rows") if name is not None}
    assert set(events["user_id"]) == customers


def test_revenue_per_day_equals_a_plain_query_over_the_files_to_the_last_decimal(loaded: Deployment) -> None:
    expected: dict[date, Decimal] = dict(
        plain(
            "select InvoiceDate::timestamp::date, sum(Quantity::bigint * UnitPrice::decimal(18, 6)) from rows "
            "where CustomerID is not null group by all"
        )
    )
    found = dict(loaded.sql("select activity_date, revenue from marts.daily_activity where property = 'online_retail'"))
    assert found == expected
    assert len(found) == 100


def test_events_per_day_equal_a_plain_query_over_the_files(loaded: Deployment) -> None:
    expected = plain(
        "select InvoiceDate::timestamp::date as day, count(*), count(distinct CustomerID), "
        "count(*) filter (Quantity::bigint > 0) from rows where CustomerID is not null group by day order by day"
    )
    found = loaded.sql(
        "select activity_date, events, users, conversions from marts.daily_activity order by activity_date"
    )
    assert found == expected


def test_every_check_passes(loaded: Deployment) -> None:
    assert loaded.check_everything() == []


def test_a_second_refresh_finds_nothing_to_do(loaded: Deployment) -> None:
    assert loaded.refresh().idle
    assert loaded.is_settled()
