"""Some rows of a table in PostgreSQL: those of incremental keys, and those with certain values."""

from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
import dataframely as dy
import polars as pl
import pytest

from pipeline_assets.io_managers.marts import rows_among, rows_of_keys
from pipeline_assets.io_managers.postgres import PostgresClient, PostgresDbIOManager, TableError
from pipeline_assets.namespace import MARTS
from pipeline_assets.tables.spec import IncrementalKey, Input, TableSpec

BERLIN = ZoneInfo("Europe/Berlin")
# The clocks are turned on the 29th, whose day has 23 hours.
MIDNIGHT = datetime(2026, 3, 29, tzinfo=BERLIN).astimezone(UTC)
NEXT_MIDNIGHT = datetime(2026, 3, 30, tzinfo=BERLIN).astimezone(UTC)
MOMENT = timedelta(microseconds=1)
THE_29TH = date(2026, 3, 29)


class People(dy.Schema):
    """People."""

    id = dy.String(primary_key=True, description="Id")
    family = dy.String(description="Family")
    first_at = dy.Datetime(time_zone="UTC", time_unit="us", description="First")
    last_at = dy.Datetime(time_zone="UTC", time_unit="us", description="Last")


def no_rows(*_: object) -> pl.DataFrame:
    return People.create_empty()


FAMILIES = IncrementalKey("family", "id", "first_at", "last_at", seeds=lambda _: pl.Series(), members=lambda *_: {})
PEOPLE = TableSpec(name="people", contract=People, inputs=(Input("events"),), build=no_rows, incremental=FAMILIES)


def store(url: str, *rows: tuple[str, str, datetime, datetime]) -> None:
    frame = pl.DataFrame(rows, schema={name: column.dtype for name, column in People.columns().items()}, orient="row")

    @dg.asset(io_manager_key="io")
    def people() -> pl.DataFrame:
        return frame

    manager = PostgresDbIOManager(url, schema=MARTS, contracts={"people": People})
    dg.materialize([people], resources={"io": manager})


def found(url: str, *seeds: str, days: Collection[date] = ()) -> list[str]:
    rows = rows_of_keys(PostgresClient(url), PEOPLE, pl.Series(seeds, dtype=pl.String), days, timezone=BERLIN)
    assert rows is not None
    return sorted(People.validate(rows)["id"])


def test_a_row_that_ends_with_the_midnight_before_a_day_or_begins_with_the_one_after_it_is_not_of_the_day(
    postgres_url: str,
) -> None:
    store(
        postgres_url,
        ("before", "a", MIDNIGHT - 9 * MOMENT, MIDNIGHT - MOMENT),
        ("until", "b", MIDNIGHT - 9 * MOMENT, MIDNIGHT),
        ("around", "c", MIDNIGHT - MOMENT, NEXT_MIDNIGHT + MOMENT),
        ("from", "d", NEXT_MIDNIGHT - MOMENT, NEXT_MIDNIGHT + MOMENT),
        ("after", "e", NEXT_MIDNIGHT, NEXT_MIDNIGHT + MOMENT),
    )
    assert found(postgres_url, days=[THE_29TH]) == ["around", "from", "until"]
    day = timedelta(days=1)
    assert found(postgres_url, days=[THE_29TH + day, THE_29TH - day]) == ["after", "around", "before", "from", "until"]
    assert found(postgres_url, days=[THE_29TH + 9 * day]) == []


def test_all_rows_of_a_key_are_found_by_any_of_its_seeds_or_days_and_of_no_other(postgres_url: str) -> None:
    long_ago = MIDNIGHT - timedelta(days=99)
    store(
        postgres_url,
        ("anna", "a", long_ago, long_ago),
        ("albert", "a", MIDNIGHT, MIDNIGHT),
        ("ben", "b", long_ago, long_ago),
        ("'; drop table people; --", "b", long_ago, long_ago),
        ("carl", "c", long_ago, long_ago),
    )
    assert found(postgres_url, "nobody") == []
    assert found(postgres_url, "anna") == found(postgres_url, days=[THE_29TH]) == ["albert", "anna"]
    assert found(postgres_url, "'; drop table people; --") == ["'; drop table people; --", "ben"]


def test_a_table_that_is_not_there_has_no_keys(postgres_url: str) -> None:
    nobody = pl.Series([], dtype=pl.String)
    assert rows_of_keys(PostgresClient(postgres_url), PEOPLE, nobody, [], timezone=BERLIN) is None


def test_rows_among_values_are_those_with_one_of_them_and_of_a_table_that_is_not_there_an_error(
    postgres_url: str,
) -> None:
    client = PostgresClient(postgres_url)
    with pytest.raises(TableError, match=r"marts\.people does not exist"):
        rows_among(client, PEOPLE, "id", pl.Series(["x"]), columns=["id"])
    store(postgres_url, *((name, name[0], MIDNIGHT, MIDNIGHT) for name in ("anna", "albert", "ben")))
    rows = rows_among(client, PEOPLE, "family", pl.Series(["a", "z"]), columns=["family", "id"])
    assert sorted(rows.rows()) == [("a", "albert"), ("a", "anna")]
