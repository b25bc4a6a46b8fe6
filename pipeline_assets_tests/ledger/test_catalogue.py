"""A file of the lake counts from the transaction that lists it to the one that drops it."""

from datetime import date

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from pipeline_assets.ledger.catalogue import Catalogue, LakeFile, add, drop, exchange, snapshot
from pipeline_assets.ledger.migrate import migrate
from pipeline_assets.postgres import sqlalchemy_url

DAYS = [date(2026, 3, day) for day in range(1, 5)]
TABLES = ["events", "visitor_days"]


@pytest.fixture
def engine(postgres_url: str) -> sa.Engine:
    engine = sa.create_engine(sqlalchemy_url(postgres_url, "psycopg"))
    migrate(engine)
    return engine


def file(number: int, day: date = DAYS[0], asset: str = "events") -> LakeFile:
    return LakeFile(f"{asset}/{day}/{number}.parquet", asset, day, number, 10 * number)


def names(found: dict, asset: str = "events") -> dict[date, list[str]]:
    return {day: [each.name for each in files] for day, files in found[asset].items()}


def test_what_was_listed_is_found_as_it_was(engine: sa.Engine) -> None:
    given_files = [file(1), file(2), file(3, DAYS[2])]
    with engine.begin() as connection:
        assert add(connection, given_files, "run").keys() == {each.name for each in given_files}
        assert add(connection, [], "run") == {}
    assert Catalogue(engine).files("events") == {DAYS[0]: given_files[:2], DAYS[2]: given_files[2:]}
    assert Catalogue(engine).files("events", DAYS[:2]) == {DAYS[0]: given_files[:2]}
    assert Catalogue(engine).snapshot({"events": [], "sessions": None}) == {"events": {}, "sessions": {}}
    assert Catalogue(engine).snapshot({}) == {}


def test_an_exchange_counts_whole_or_not_at_all(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        add(connection, [file(1), file(2, DAYS[1])], "first")
    with engine.connect() as connection:
        exchange(connection, "events", DAYS[:1], [file(3), file(4)], "second")
        assert Catalogue(engine).files("events") == {DAYS[0]: [file(1)], DAYS[1]: [file(2, DAYS[1])]}
        connection.commit()
    assert Catalogue(engine).files("events") == {DAYS[0]: [file(3), file(4)], DAYS[1]: [file(2, DAYS[1])]}
    kept = "select name from ledger.lake_files where dropped_at is not null"
    with engine.connect() as connection:
        # Readers that began before may still read it.
        assert connection.execute(sa.text(kept)).scalars().all() == [file(1).name]


def test_a_name_is_never_given_twice_even_if_its_file_was_dropped(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        add(connection, [file(1)], "run")
        drop(connection, "events")
    with pytest.raises(IntegrityError), engine.begin() as connection:
        add(connection, [file(1)], "run")


MOVES = st.lists(
    st.tuples(st.sampled_from(["exchange", "drop", "forget"]), st.sampled_from(TABLES), st.sets(st.sampled_from(DAYS))),
    max_size=8,
)


# Every example is rolled back.
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=MOVES)
def test_the_lists_are_what_the_last_exchange_of_each_day_said(engine: sa.Engine, moves: list) -> None:
    expected: dict[str, dict[date, list[str]]] = {table: {} for table in TABLES}
    number = 0
    with engine.connect() as connection:
        for move, table, days in moves:
            number += 1
            of_table = expected[table]
            for day in DAYS:
                if day in days or (move == "forget" and not days):
                    of_table.pop(day, None)
            if move == "exchange":
                files = [file(number, day, table) for day in days]
                exchange(connection, table, days, files, "run")
                of_table |= {each.day: [each.name] for each in files}
            else:
                drop(connection, table, None if move == "forget" and not days else days)
        found = snapshot(connection, dict.fromkeys(TABLES))
        connection.rollback()
    assert {table: names(found, table) for table in TABLES} == expected
