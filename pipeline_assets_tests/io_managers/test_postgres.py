"""The behaviour matrix of the PostgreSQL IO manager, on a real server."""

import datetime as dt
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import dagster as dg
import dataframely as dy
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline_assets.io_managers.frames import ContractError, FrameStream
from pipeline_assets.io_managers.postgres import PostgresDbIOManager, PostgresPolarsIOManager, TableError, execute
from pipeline_assets.key_texts import key_text
from pipeline_assets.postgres import connect
from pipeline_assets.waiting import Wait, WaitedTooLong

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-02-01")


class Visits(dy.Schema):
    """Visits of a day.

    Not part of the comment.
    """

    visit_id = dy.String(primary_key=True, regex="^[a-z0-9]{1,8}$", description="It's the id")
    day = dy.Date(description="Day", metadata={"index": True})
    at = dy.Datetime(time_zone="UTC", time_unit="us", description="Moment")
    views = dy.Int64(min=0, description="Views")
    amount = dy.Decimal(precision=18, scale=6, nullable=True, description="Amount")
    engaged = dy.Bool(description="Engaged")


class VisitsWithCountry(Visits):
    """Visits of a day."""

    country = dy.String(nullable=True, description="Country")


def visits(day: str, *ids: str, **changes: Any) -> pl.DataFrame:
    start = dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC)
    frame = pl.DataFrame(
        [
            {
                "visit_id": i,
                "day": start.date(),
                "at": start,
                "views": n,
                "amount": Decimal("-1.000001"),
                "engaged": True,
            }
            for n, i in enumerate(ids)
        ],
        schema={name: column.dtype for name, column in Visits.columns().items()},
    )
    return frame.with_columns(**changes) if changes else frame


def store(
    url: str,
    obj: Any,
    *,
    name: str = "visits",
    contract: type[dy.Schema] | None = Visits,
    metadata: dict[str, Any] | None = None,
    manager: PostgresDbIOManager | PostgresPolarsIOManager | None = None,
    partitions: dg.PartitionsDefinition | None = None,
    **options: Any,
) -> dg.ExecuteInProcessResult:
    if manager is None:
        manager = PostgresDbIOManager(url, schema="marts", contracts={name: contract} if contract else {})

    @dg.asset(name=name, partitions_def=partitions, metadata=metadata or {}, io_manager_key="io")
    def produced():
        return obj() if callable(obj) else obj

    return dg.materialize([produced], resources={"io": manager}, **options)


def store_day(url: str, day: str, obj: Any, **options: Any) -> dg.ExecuteInProcessResult:
    return store(url, obj, partitions=DAYS, metadata={"partition_expr": "day"}, partition_key=day, **options)


def rows(url: str, statement: str = "select visit_id, views from marts.visits order by 1") -> list[tuple]:
    with connect(url) as connection:
        return connection.execute(statement).fetchall()  # ty: ignore[no-matching-overload]


def metadata_of(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    materialization = result.get_asset_materialization_events()[0].step_materialization_data.materialization
    return {name: value.value for name, value in materialization.metadata.items()}


def load(
    url: str,
    *,
    annotation: type = pl.DataFrame,
    columns: list[str] | None = None,
    contract: Any = Visits,
    **partition: Any,
) -> Any:
    seen: list[Any] = []
    partitions = DAYS if partition else None
    manager = PostgresDbIOManager(url, schema="marts", contracts={"visits": contract} if contract else {})
    source = dg.AssetSpec(
        "visits", partitions_def=partitions, metadata={"partition_expr": "day", "dagster/io_manager_key": "io"}
    )

    def consume(visits: Any) -> None:
        seen.append(visits)

    consume.__annotations__["visits"] = annotation
    consumer = dg.asset(
        ins={"visits": dg.AssetIn(metadata={"columns": columns} if columns else {})}, partitions_def=partitions
    )(consume)
    dg.materialize([source, consumer], selection=[consumer], resources={"io": manager}, **partition)
    return seen[0]


# --- Partitions ---------------------------------------------------------------------------------------


def test_without_partitions_a_second_write_replaces_the_whole_table(postgres_url: str):
    store(postgres_url, visits("2024-01-01", "a", "b"))
    result = store(postgres_url, visits("2024-01-02", "c"))
    assert rows(postgres_url) == [("c", 0)]
    metadata = metadata_of(result)
    assert metadata["dagster/row_count"] == 1
    assert metadata["dagster/table_name"] == "marts.visits"
    assert metadata["Query"] == 'SELECT * FROM "marts"."visits"'
    column = {c.name: c for c in metadata["dagster/column_schema"].columns}["visit_id"]
    assert (column.type, column.description, column.constraints.nullable, column.constraints.unique) == (
        "text",
        "It's the id",
        False,
        True,
    )


def test_without_partitions_only_the_rows_that_differ_are_written(postgres_url: str):
    store(postgres_url, visits("2024-01-01", "a", "b", "c", "n", amount=pl.lit(None, pl.Decimal(18, 6))))
    places = dict(rows(postgres_url, "select visit_id, ctid::text from marts.visits"))
    changed = visits("2024-01-01", "d", "a", "b", "n", amount=pl.lit(None, pl.Decimal(18, 6))).with_columns(
        views=pl.col("visit_id").replace_strict({"a": 0, "b": 9, "n": 3, "d": 5}, return_dtype=pl.Int64)
    )
    store(postgres_url, changed)
    assert rows(postgres_url) == [("a", 0), ("b", 9), ("d", 5), ("n", 3)]
    after = dict(rows(postgres_url, "select visit_id, ctid::text from marts.visits"))
    # Where a row has been is where it was written; nulls are equal to nulls.
    assert {name for name in after if after[name] == places.get(name)} == {"a", "n"}


def test_without_partitions_a_stream_may_replace_some_rows_and_leave_the_others_alone(postgres_url: str):
    store(postgres_url, visits("2024-01-01", "a", "b", "c", "d"))
    places = dict(rows(postgres_url, "select visit_id, ctid::text from marts.visits"))
    some = visits("2024-01-01", "b", "e").with_columns(views=pl.lit(9, pl.Int64))
    result = store(postgres_url, FrameStream([some], replaces=visits("2024-01-01", "b", "c")))
    assert rows(postgres_url) == [("a", 0), ("b", 9), ("d", 3), ("e", 9)]
    after = dict(rows(postgres_url, "select visit_id, ctid::text from marts.visits"))
    assert {name for name in after if after[name] == places.get(name)} == {"a", "d"}
    assert metadata_of(result)["dagster/row_count"] == 4


def test_a_stream_that_replaces_some_rows_by_none_deletes_them(postgres_url: str):
    store(postgres_url, visits("2024-01-01", "a", "b"))
    store(postgres_url, FrameStream([visits("2024-01-01")], replaces=visits("2024-01-01", "b")))
    assert rows(postgres_url) == [("a", 0)]


def test_some_rows_cannot_be_replaced_in_a_table_with_partitions_or_without_a_key(postgres_url: str):
    some = FrameStream([visits("2024-01-01", "a")], replaces=visits("2024-01-01", "b"))
    with pytest.raises(ContractError, match="a primary key and no partitions"):
        store_day(postgres_url, "2024-01-01", some)
    with pytest.raises(ContractError, match="a primary key and no partitions"):
        store(postgres_url, some, contract=None)


def test_without_partitions_an_empty_frame_empties_the_table(postgres_url: str):
    store(postgres_url, visits("2024-01-01", "a", "b"))
    store(postgres_url, visits("2024-01-01"))
    assert rows(postgres_url) == []


def test_a_daily_partition_written_twice_replaces_itself_and_nothing_else(postgres_url: str):
    store_day(postgres_url, "2024-01-01", visits("2024-01-01", "a"))
    store_day(postgres_url, "2024-01-02", visits("2024-01-02", "b", "c"))
    result = store_day(postgres_url, "2024-01-02", visits("2024-01-02", "d"))
    assert rows(postgres_url) == [("a", 0), ("d", 0)]
    metadata = metadata_of(result)
    assert metadata["dagster/partition_row_count"] == 1
    assert rows(postgres_url, metadata["Query"])[0][0] == "d"


def range_tags(start: str, end: str) -> dict[str, str]:
    return {"dagster/asset_partition_range_start": start, "dagster/asset_partition_range_end": end}


def test_a_range_of_days_is_replaced_at_once_and_each_day_gets_its_own_count(postgres_url: str):
    store_day(postgres_url, "2024-01-02", visits("2024-01-02", "old"))
    store_day(postgres_url, "2024-01-04", visits("2024-01-04", "kept"))

    def stream() -> FrameStream:
        return FrameStream(iter([visits("2024-01-01", "a"), visits("2024-01-02"), visits("2024-01-03", "b", "c")]))

    result = store(
        postgres_url,
        stream,
        partitions=DAYS,
        metadata={"partition_expr": "day"},
        tags=range_tags("2024-01-01", "2024-01-03"),
    )
    assert [key for key, _ in rows(postgres_url)] == ["a", "b", "c", "kept"]
    counts = {
        materialization.partition: materialization.metadata["dagster/partition_row_count"].value
        for materialization in result.asset_materializations_for_node("visits")
    }
    assert counts == {"2024-01-01": 1, "2024-01-02": 0, "2024-01-03": 2}


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
def test_a_window_on_a_column_of_moments_is_a_day_of_the_partitions_time_zone(postgres_url: str, zone: str):
    days = dg.DailyPartitionsDefinition(start_date="2024-03-30", end_date="2024-04-02", timezone=zone)
    midnights = pl.datetime_range(
        dt.datetime.fromisoformat("2024-03-30"),
        dt.datetime.fromisoformat("2024-04-02"),
        "1h",
        time_zone=zone,
        eager=True,
        closed="left",
    )
    every_hour = pl.DataFrame({"at": midnights.dt.convert_time_zone("UTC"), "n": range(len(midnights))})
    for _ in range(2):
        for key in days.get_partition_keys():
            day = dt.date.fromisoformat(key)
            frame = every_hour.filter(pl.col("at").dt.convert_time_zone(zone).dt.date() == day)
            options: dict[str, Any] = {"partitions": days, "metadata": {"partition_expr": "at"}, "partition_key": key}
            metadata = metadata_of(store(postgres_url, frame, name="hours", contract=None, **options))
            assert rows(postgres_url, f"select count(*) from ({metadata['Query']})") == [(frame.height,)]
    assert rows(postgres_url, "select count(*), count(distinct n) from marts.hours") == [(len(midnights),) * 2]


def test_static_partitions_with_quotes_in_their_names(postgres_url: str):
    names = dg.StaticPartitionsDefinition(["it's", 'say "hi"', "back\\slash"])
    for _ in range(2):
        for key in names.get_partition_keys():
            options: dict[str, Any] = {
                "partitions": names,
                "metadata": {"partition_expr": "shop"},
                "partition_key": key,
            }
            frame = pl.DataFrame({"shop": [key, key], "n": [1, 2]})
            metadata = metadata_of(store(postgres_url, frame, name="shops", contract=None, **options))
            assert rows(postgres_url, f"select count(*) from ({metadata['Query']})") == [(2,)]
    assert rows(postgres_url, "select count(*) from marts.shops") == [(6,)]


def test_static_partitions_are_told_apart_by_a_column_of_numbers(postgres_url: str):
    years = dg.StaticPartitionsDefinition(["2023", "2024"])
    for key in ["2023", "2024", "2023"]:
        options: dict[str, Any] = {"partitions": years, "metadata": {"partition_expr": "year"}, "partition_key": key}
        store(postgres_url, pl.DataFrame({"year": [int(key)]}), name="years", contract=None, **options)
    assert rows(postgres_url, "select year from marts.years order by 1") == [(2023,), (2024,)]


def test_a_partition_of_two_dimensions_is_replaced_alone(postgres_url: str):
    both = dg.MultiPartitionsDefinition({"day": DAYS, "shop": dg.StaticPartitionsDefinition(["x", "y"])})
    for _ in range(2):
        for day, shop in [("2024-01-01", "x"), ("2024-01-01", "y"), ("2024-01-02", "x")]:
            frame = pl.DataFrame({"d": [dt.date.fromisoformat(day)], "s": [shop]})
            options: dict[str, Any] = {"partitions": both, "metadata": {"partition_expr": {"day": "d", "shop": "s"}}}
            key = dg.MultiPartitionKey({"day": day, "shop": shop})
            store(postgres_url, frame, name="both", contract=None, partition_key=key, **options)
    assert rows(postgres_url, "select count(*) from marts.both") == [(3,)]


def test_a_row_outside_of_the_partition_is_refused_and_changes_nothing(postgres_url: str):
    store_day(postgres_url, "2024-01-01", visits("2024-01-01", "a"))
    stray = pl.concat([visits("2024-01-01", "b"), visits("2024-01-02", "c")])
    with pytest.raises(ContractError, match=r"1 of 2 rows are not in the partition being written \(2024-01-01\)"):
        store_day(postgres_url, "2024-01-01", stray)
    assert rows(postgres_url) == [("a", 0)]


def test_an_empty_frame_creates_the_table_and_empties_the_partition(postgres_url: str):
    store_day(postgres_url, "2024-01-01", visits("2024-01-01"))
    assert rows(postgres_url) == []
    store_day(postgres_url, "2024-01-01", visits("2024-01-01", "a"))
    store_day(postgres_url, "2024-01-01", FrameStream([]))
    assert rows(postgres_url) == []


# --- Contract -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (visits("2024-01-01", "a", views=pl.lit(1, pl.Int32)), "column views is Int32, the contract says Int64"),
        (visits("2024-01-01", "a", extra=pl.lit(1)), "column extra .* is not in the contract"),
        (visits("2024-01-01", "a").drop("views"), "column views is missing"),
        (visits("2024-01-01", "a", views=pl.lit(None, pl.Int64)), r"views: nullability \(1 rows\)"),
        (visits("2024-01-01", "a", views=pl.lit(-1, pl.Int64)), r"views: min \(1 rows\)"),
        (visits("2024-01-01", "a", "a"), r"primary_key \(2 rows\)"),
        (FrameStream([visits("2024-01-01", "a"), visits("2024-01-01", "a")]), "would hold a key twice"),
    ],
    ids=["wrong type", "extra column", "missing column", "null", "rule", "duplicate key", "duplicate in two frames"],
)
@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
def test_what_breaks_the_contract_is_refused_and_the_old_rows_stay(
    postgres_url: str, frame: Any, message: str, lazy: bool
):
    store_day(postgres_url, "2024-01-01", visits("2024-01-01", "old"))
    with pytest.raises(ContractError, match=message):
        store_day(postgres_url, "2024-01-01", frame.lazy() if lazy and isinstance(frame, pl.DataFrame) else frame)
    assert rows(postgres_url) == [("old", 0)]


def test_a_key_of_another_partition_is_refused_without_naming_its_value(postgres_url: str):
    store_day(postgres_url, "2024-01-01", visits("2024-01-01", "private"))
    with pytest.raises(ContractError, match="rows of other partitions have the same key") as caught:
        store_day(postgres_url, "2024-01-02", visits("2024-01-02", "private"))
    assert "private" not in str(caught.value)


def test_a_stream_that_fails_half_way_leaves_the_old_rows(postgres_url: str):
    def failing() -> Iterator[pl.DataFrame]:
        yield visits("2024-01-01", "new")
        raise ZeroDivisionError

    store_day(postgres_url, "2024-01-01", visits("2024-01-01", "old"))
    with pytest.raises(ZeroDivisionError):
        store_day(postgres_url, "2024-01-01", lambda: FrameStream(failing()))
    assert rows(postgres_url) == [("old", 0)]


class Pages(dy.Schema):
    """Pages."""

    page = dy.String(primary_key=True)
    visitor = dy.String(nullable=True, metadata={"index": True})
    title = dy.String(nullable=True)


def test_no_text_is_refused_by_postgresql_and_only_those_of_indexes_are_cut(postgres_url: str):
    # No compression makes these fit into an index.
    long = "".join(chr(0x4E00 + (number * number * 7919) % 20_000) for number in range(3_000))
    frame = pl.DataFrame({"page": [long, "\0b"], "visitor": [long + "a", "\0"], "title": [long, "c\0"]})
    store(postgres_url, frame, name="pages", contract=Pages)
    stored = rows(postgres_url, "select page, visitor, title from marts.pages order by length(page) desc")
    assert stored == [(key_text(long), key_text(long + "a"), long), ("b", "", "c")]


@pytest.mark.parametrize("dtype", [pl.UInt64, pl.Int128, pl.Duration("us"), pl.Struct({"a": pl.Int64}), pl.Null])
def test_types_that_postgresql_cannot_hold_are_refused_before_anything_is_sent(postgres_url: str, dtype: Any):
    frame = pl.DataFrame({"n": pl.Series([None], dtype=dtype)})
    with pytest.raises(ContractError, match=r"column n is .* cannot be stored"):
        store(postgres_url, frame, name="odd", contract=None)


def test_every_supported_type_comes_back_as_it_was(postgres_url: str):
    moment = dt.datetime.fromisoformat("1969-12-31T23:59:59.999999")
    frame = pl.DataFrame(
        {
            "i8": pl.Series([-128, None], dtype=pl.Int8),
            "u8": pl.Series([255, None], dtype=pl.UInt8),
            "i16": pl.Series([-(2**15), None], dtype=pl.Int16),
            "u16": pl.Series([2**16 - 1, None], dtype=pl.UInt16),
            "i32": pl.Series([-(2**31), None], dtype=pl.Int32),
            "u32": pl.Series([2**32 - 1, None], dtype=pl.UInt32),
            "i64": pl.Series([-(2**63), None], dtype=pl.Int64),
            "f32": pl.Series([1.5, None], dtype=pl.Float32),
            "f64": pl.Series([float("inf"), None], dtype=pl.Float64),
            "b": [True, None],
            "s": ["it's \\ \" é 🦀\n\t", None],
            "c": pl.Series(["x", None], dtype=pl.Categorical),
            "d": [dt.date(1, 1, 1), None],
            "t": [dt.time(23, 59, 59, 999999), None],
            "tz": pl.Series([moment, None], dtype=pl.Datetime("us", "UTC")),
            "ber": pl.Series([moment, None], dtype=pl.Datetime("ms", "Europe/Berlin")),
            "ts": pl.Series([moment, None], dtype=pl.Datetime("us")),
            "dec": pl.Series([Decimal("-123456789012.123456"), None], dtype=pl.Decimal(18, 6)),
            "big": pl.Series([Decimal("1" * 38), None], dtype=pl.Decimal(38, 0)),
            "bin": [b"\x00\xff", None],
            "l": [["a", None, "it's"], []],
        }
    )
    store(postgres_url, frame, name="visits", contract=None)
    widened = {"i8": pl.Int16, "u8": pl.Int16, "u16": pl.Int32, "u32": pl.Int64, "c": pl.String}
    expected = frame.cast(widened).with_columns(  # ty: ignore[invalid-argument-type]
        pl.col("ber").dt.cast_time_unit("us").dt.convert_time_zone("UTC")
    )
    assert_frame_equal(load(postgres_url, contract=None), expected)


# --- Tables -------------------------------------------------------------------------------------------


def test_the_table_has_the_contracts_types_keys_indexes_and_comments(postgres_url: str):
    store(postgres_url, visits("2024-01-01", "a"))
    columns = rows(
        postgres_url,
        "select attname, format_type(atttypid, atttypmod), attnotnull, col_description(attrelid, attnum) "
        "from pg_attribute where attrelid = 'marts.visits'::regclass and attnum > 0 order by attnum",
    )
    assert columns == [
        ("visit_id", "text", True, "It's the id"),
        ("day", "date", True, "Day"),
        ("at", "timestamp with time zone", True, "Moment"),
        ("views", "bigint", True, "Views"),
        ("amount", "numeric(18,6)", False, "Amount"),
        ("engaged", "boolean", True, "Engaged"),
    ]
    assert rows(postgres_url, "select obj_description('marts.visits'::regclass)") == [("Visits of a day.",)]
    store(postgres_url, visits("2024-01-01", "a"))
    indexes = rows(postgres_url, "select indexname from pg_indexes where tablename = 'visits' order by 1")
    assert indexes == [("visits_day_idx",), ("visits_pkey",)]


def test_a_new_nullable_column_is_added_with_its_comment(postgres_url: str):
    store_day(postgres_url, "2024-01-01", visits("2024-01-01", "a"))
    wider = visits("2024-01-02", "b", country=pl.lit("NO"))
    store_day(postgres_url, "2024-01-02", wider, contract=VisitsWithCountry)
    assert rows(postgres_url, "select visit_id, country from marts.visits order by 1") == [("a", None), ("b", "NO")]
    comment = "select col_description('marts.visits'::regclass, attnum) from pg_attribute where attname = 'country'"
    assert rows(postgres_url, comment) == [("Country",)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("alter column views type integer", "column views is integer in the table and bigint in what is written"),
        ("alter column views drop not null", "column views .* is nullable in the table and not null in the contract"),
        ("drop column views", "column views .* is not in the table; declare it nullable"),
        ("add column other text", "column other .* of the table is not in what is written"),
        ("drop constraint visits_pkey", "the primary key is none in the table and visit_id in the contract"),
    ],
)
def test_any_other_difference_is_refused_with_the_column_and_what_to_do(postgres_url: str, change: str, message: str):
    store(postgres_url, visits("2024-01-01", "a"))
    with connect(postgres_url) as connection:
        connection.execute(f"alter table marts.visits {change}")  # ty: ignore[no-matching-overload]
    with pytest.raises(TableError, match=message) as caught:
        store(postgres_url, visits("2024-01-01", "b"))
    assert "DROP TABLE marts.visits" in str(caught.value)
    assert rows(postgres_url, "select visit_id from marts.visits") == [("a",)]


def test_identifiers_with_quotes_and_capitals_are_taken_literally(postgres_url: str):
    manager = PostgresDbIOManager(postgres_url, schema='My "marts"; drop')
    frame = pl.DataFrame({'a"b': [1], "select": ["'; drop table x; --"], "Größe %s $1": [2.5]})
    for _ in range(2):
        store(postgres_url, frame, name="Order", contract=None, manager=manager)
    assert rows(postgres_url, 'select * from "My ""marts""; drop"."Order"') == [(1, "'; drop table x; --", 2.5)]


def test_a_name_that_postgresql_would_cut_off_is_refused(postgres_url: str):
    with pytest.raises(ContractError, match="1 to 63 bytes"):
        store(postgres_url, pl.DataFrame({"x" * 64: [1]}), name="long", contract=None)


class Configured(PostgresPolarsIOManager):
    def contracts(self) -> dict[str, type[dy.Schema]]:
        return {"visits": Visits}


def test_it_is_configured_like_others_and_the_password_of_a_variable_is_in_no_definition(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ANY_URL", postgres_url)
    manager = Configured(url=dg.EnvVar("ANY_URL"), schema="elsewhere")
    store(postgres_url, visits("2024-01-01", "a"), manager=manager)
    assert rows(postgres_url, "select visit_id from elsewhere.visits") == [("a",)]
    with pytest.raises(ContractError, match="column views is missing"):
        store(postgres_url, visits("2024-01-01", "a").drop("views"), manager=manager)
    assert postgres_url not in repr(manager)


# --- Transactions -------------------------------------------------------------------------------------


def run_together(*functions: Callable[[], object]) -> None:
    errors: list[BaseException] = []
    barrier = threading.Barrier(len(functions))

    def run(function: Callable[[], object]) -> None:
        barrier.wait()
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(f,)) for f in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_column_is_added_as_soon_as_nobody_reads_the_table_and_meanwhile_others_read_it(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_day(postgres_url, "2024-01-01", visits("2024-01-01", "a"))
    waited_for: list[str] = []
    with connect(postgres_url, application_name="a dashboard") as reader, connect(postgres_url) as other:
        reader.execute("select * from marts.visits")
        other.execute("set lock_timeout = '30s'")

        def pause(wait: Wait, seconds: float, now: str = "") -> None:
            waited_for.append(now)
            assert other.execute("select count(*) from marts.visits").fetchone() == (1,)
            other.commit()
            if len(waited_for) == 3:
                reader.commit()

        monkeypatch.setattr(Wait, "pause", pause)
        wider = visits("2024-01-02", "b", country=pl.lit("NO"))
        store_day(postgres_url, "2024-01-02", wider, contract=VisitsWithCountry)
    assert len(waited_for) == 3
    assert all("with a dashboard since 20" in holder for holder in waited_for)
    assert rows(postgres_url, "select visit_id, country from marts.visits order by 1") == [("a", None), ("b", "NO")]


def test_who_reads_a_table_for_ever_is_named_and_nothing_is_written(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_day(postgres_url, "2024-01-01", visits("2024-01-01", "a"))
    monkeypatch.setattr("pipeline_assets.io_managers.postgres._READERS_LIMIT_SECONDS", 0)
    with connect(postgres_url, application_name="a dashboard") as reader:
        reader.execute("select * from marts.visits")
        wider = visits("2024-01-02", "b", country=pl.lit("NO"))
        with pytest.raises(WaitedTooLong, match=r"held by process .* of postgres with a dashboard"):
            store_day(postgres_url, "2024-01-02", wider, contract=VisitsWithCountry)
    assert rows(postgres_url, "select visit_id from marts.visits") == [("a",)]


def test_writers_of_a_table_that_does_not_exist_yet_take_turns(postgres_url: str):
    def writer(day: str, *ids: str) -> Callable[[], object]:
        return lambda: store_day(postgres_url, day, visits(day, *ids))

    run_together(
        writer("2024-01-01", "a"), writer("2024-01-02", "b"), writer("2024-01-03", "c"), writer("2024-01-03", "c")
    )
    assert [key for key, _ in rows(postgres_url)] == ["a", "b", "c"]


class Booking(PostgresDbIOManager):
    fail = False

    def before_commit(self, context: dg.OutputContext, connection: Any) -> None:
        execute(connection, "insert into booked values ($1)", [context.partition_key])
        if self.fail:
            raise ZeroDivisionError


def test_what_before_commit_books_commits_with_the_rows_or_not_at_all(postgres_url: str):
    with connect(postgres_url) as connection:
        connection.execute("create table booked (day text)")
    manager = Booking(postgres_url, schema="marts", contracts={"visits": Visits})
    store_day(postgres_url, "2024-01-01", visits("2024-01-01", "a"), manager=manager)
    manager.fail = True
    with pytest.raises(ZeroDivisionError):
        store_day(postgres_url, "2024-01-01", visits("2024-01-01", "b"), manager=manager)
    assert rows(postgres_url) == [("a", 0)]
    assert rows(postgres_url, "select day from booked") == [("2024-01-01",)]


def test_nothing_that_one_write_leaves_in_its_session_reaches_the_next(postgres_url: str):
    class Careless(PostgresDbIOManager):
        def before_commit(self, context: dg.OutputContext, connection: Any) -> None:
            execute(connection, "set search_path = nowhere")
            execute(connection, f"create temporary table left_over (day text default '{context.partition_key}')")

    manager = Careless(postgres_url, schema="marts", contracts={"visits": Visits})
    store_day(postgres_url, "2024-01-01", visits("2024-01-01", "a"), manager=manager)
    store_day(postgres_url, "2024-01-02", visits("2024-01-02", "b"), manager=manager)
    assert rows(postgres_url) == [("a", 0), ("b", 0)]


def test_a_server_that_was_started_again_is_found_again(postgres_url: str):
    manager = PostgresDbIOManager(postgres_url, schema="marts", contracts={"visits": Visits})
    store_day(postgres_url, "2024-01-01", visits("2024-01-01", "a"), manager=manager)
    ended = rows(
        postgres_url,
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where datname = current_database() and pid <> pg_backend_pid()",
    )
    assert ended
    store_day(postgres_url, "2024-01-02", visits("2024-01-02", "b"), manager=manager)
    assert rows(postgres_url) == [("a", 0), ("b", 0)]


def test_nothing_is_connected_before_something_is_stored_and_no_password_is_shown():
    asked = []
    PostgresDbIOManager(lambda: asked.append(1) or "")
    assert asked == []
    manager = PostgresDbIOManager("postgresql://me:s3cr@t@127.0.0.1:1/none")
    with pytest.raises(TableError, match="cannot be reached") as caught:
        store("", pl.DataFrame({"a": [1]}), manager=manager, contract=None)
    assert "s3cr" not in str(caught.value)
    assert "s3cr" not in repr(manager) + repr(vars(manager))


# --- Reading ------------------------------------------------------------------------------------------


def test_an_input_holds_exactly_the_asked_partitions_with_the_contracts_types(postgres_url: str):
    first, second = visits("2024-01-01", "a", "b"), visits("2024-01-02", "c")
    store_day(postgres_url, "2024-01-01", first)
    store_day(postgres_url, "2024-01-02", second)
    assert_frame_equal(load(postgres_url, partition_key="2024-01-01"), first, check_row_order=False)
    assert_frame_equal(load(postgres_url), pl.concat([first, second]), check_row_order=False)
    both = load(postgres_url, tags=range_tags("2024-01-01", "2024-01-02"))
    assert_frame_equal(both, pl.concat([first, second]), check_row_order=False)
    assert load(postgres_url, partition_key="2024-01-03").schema == first.schema
    lazy = load(postgres_url, annotation=pl.LazyFrame, partition_key="2024-01-02")
    assert isinstance(lazy, pl.LazyFrame)
    assert_frame_equal(lazy.collect(), second)


def test_an_input_may_ask_for_some_columns(postgres_url: str):
    store(postgres_url, visits("2024-01-01", "a"))
    loaded = load(postgres_url, columns=["amount", "visit_id"])
    assert loaded.rows() == [(Decimal("-1.000001"), "a")]
    assert loaded.columns == ["amount", "visit_id"]
    with pytest.raises(ContractError, match="no such columns: nothing"):
        load(postgres_url, columns=["nothing"])


def test_reading_a_table_that_does_not_exist_says_so(postgres_url: str):
    with pytest.raises(TableError, match="Materialize visits first"):
        load(postgres_url)
