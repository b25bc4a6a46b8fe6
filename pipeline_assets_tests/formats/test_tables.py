"""Ready formats read from CSV, TSV and Parquet: the same records give the same events."""

import csv
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipeline_assets.sources.formats.snowplow import COLUMNS
from pipeline_assets_tests.formats.landed import FIXTURES, declare, given, load, load_text, records

# A hash of the row as it was delivered, and where it stood.
DELIVERY = ("load_id", "line", "row_hash")
SUBJECT = {"cloudevents": {"user_id": "subject"}}


def told(value: Any) -> Any:
    """JSON without the types that a text file cannot tell, and without what is empty."""
    if isinstance(value, dict):
        kept = {key: told(inner) for key, inner in value.items() if inner is not None}
        return {key: inner for key, inner in kept.items() if inner != {}}
    if isinstance(value, list):
        return [told(inner) for inner in value]
    return value if isinstance(value, str) else json.dumps(value)


def events(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Staged rows without what is of their delivery."""
    kept = [{key: value for key, value in row.items() if key not in DELIVERY} for row in rows]
    for row in kept:
        for column in ("properties", "items"):
            row[column] = told(json.loads(row[column] or "null"))
    return kept


def write_cells(file: Path, columns: list[str], rows: list[dict[str, Any]], delimiter: str) -> None:
    """Write a file as databases do: what is nested is JSON."""
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, delimiter=delimiter)
        writer.writerow(columns)
        for row in rows:
            cells = [row.get(column, "") for column in columns]
            writer.writerow([cell if isinstance(cell, str) else json.dumps(cell) for cell in cells])


@pytest.mark.parametrize("name", ["segment", "ga4", "posthog", "amplitude", "mixpanel", "cloudevents"])
def test_the_same_records_give_the_same_events_however_they_are_read(name: str, tmp_path: Path):
    found = records(name)
    mapping = SUBJECT.get(name, {})
    lines = tmp_path / "events.jsonl"
    lines.write_text("".join(json.dumps(record) + "\n" for record in found), encoding="utf-8")
    expected, as_lines = load(declare(name, mapping=mapping), lines)
    assert expected
    columns = list(dict.fromkeys(key for record in found for key in record))
    for kind, delimiter in (("csv", ","), ("tsv", "\t")):
        file = tmp_path / f"events.{kind}"
        write_cells(file, columns, found, delimiter)
        rows, booked = load(declare(name, mapping=mapping, records=kind), file)
        assert events(rows) == events(expected)
        assert [bad.reason for bad in booked.quarantined] == [bad.reason for bad in as_lines.quarantined]
    file = tmp_path / "events.parquet"
    with duckdb.connect() as connection:
        # Times as text: Parquet's own are written in another notation where they stay in the properties.
        read = connection.read_json(str(lines), sample_size=-1, date_format="none", timestamp_format="none")
        # What DuckDB takes for wider numbers than Parquet has would become floating ones.
        wide = {name: "::bigint" for name, kind in zip(read.columns, read.types, strict=True) if kind == "HUGEINT"}
        read.select(", ".join(f'"{name}"{wide.get(name, "")} as "{name}"' for name in read.columns)).write_parquet(
            str(file)
        )
    rows, booked = load(declare(name, mapping=mapping, records="parquet"), file)
    assert events(rows) == events(expected)
    assert [bad.reason for bad in booked.quarantined] == [bad.reason for bad in as_lines.quarantined]


def test_snowplows_events_are_the_same_from_a_table_with_and_without_a_header(tmp_path: Path):
    lines = [
        line for line in (FIXTURES / "snowplow.tsv").read_text(encoding="utf-8").split("\n") if line.count("\t") == 130
    ]
    expected, _ = load_text(declare("snowplow"), "".join(line + "\n" for line in lines))
    rows = [dict(zip(COLUMNS, line.split("\t"), strict=True)) for line in lines]
    file = tmp_path / "events.csv"
    # As Snowflake writes names.
    write_cells(file, [name.upper() for name in COLUMNS], [{k.upper(): v for k, v in r.items()} for r in rows], ",")
    assert events(load(declare("snowplow", records="csv"), file)[0]) == events(expected)
    # Without a header the columns are those of the enriched format.
    bare = tmp_path / "bare.csv"
    bare.write_bytes(file.read_bytes().partition(b"\n")[2])
    assert events(load(declare("snowplow", records="csv", csv={"header": False}), bare)[0]) == events(expected)
    parquet = tmp_path / "events.parquet"
    with duckdb.connect() as connection:
        connection.read_csv(str(file), all_varchar=True).write_parquet(str(parquet))
    assert events(load(declare("snowplow", records="parquet"), parquet)[0]) == events(expected)


def parquet_of(folder: Path, select: str) -> Path:
    file = folder / "rows.parquet"
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.sql(select).write_parquet(str(file))
    return file


def test_a_warehouses_columns_for_snowplows_entities_are_read(tmp_path: Path):
    file = parquet_of(
        tmp_path,
        """select 'web' as app_id, 'page_view' as event, 'e1' as event_id,
            timestamptz '2024-05-01 10:00:00.5+00' as collector_tstamp,
            [{'id': 'view-1', '_schema_version': '1-0-0'}] as contexts_com_snowplowanalytics_snowplow_web_page_1,
            [{'user_id': 'phone', 'session_id': 's'}] as contexts_com_snowplowanalytics_snowplow_client_session_1,
            {'step': 3} as unstruct_event_com_acme_checkout_1, null::varchar as domain_userid""",
    )
    mapping = {"order_id": "unstruct_event_com_acme_checkout_1.step"}
    columns = ("view_id", "anonymous_id", "session_id_supplied", "order_id")
    (row,), _ = load(declare("snowplow", records="parquet", mapping=mapping), file)
    assert given(row, *columns) == ("view-1", "phone", "s", "3")
    assert row["received_at"].isoformat() == "2024-05-01T10:00:00.500000+00:00"
    text = (
        "EVENT;EVENT_ID;COLLECTOR_TSTAMP;CONTEXTS_COM_SNOWPLOWANALYTICS_SNOWPLOW_WEB_PAGE_1;"
        "CONTEXTS_COM_SNOWPLOWANALYTICS_SNOWPLOW_CLIENT_SESSION_1;UNSTRUCT_EVENT_COM_ACME_CHECKOUT_1\n"
        'page_view;e1;2024-05-01 10:00:00.5 +0000;[{"id":"view-1"}];[{"userId":"phone","sessionId":"s"}];{"step":3}\n'
    )
    declared = declare("snowplow", records="csv", mapping=mapping, csv={"delimiter": ";", "quote": "none"})
    (row,), _ = load_text(declared, text)
    assert given(row, *columns) == ("view-1", "phone", "s", "3")


def test_google_analytics_lists_are_read_with_their_own_types(tmp_path: Path):
    value = "{'string_value': %s::varchar, 'int_value': %s::bigint, 'double_value': %s::double}"
    parameters = ", ".join(
        f"{{'key': '{key}', 'value': {value % values}}}"
        for key, values in {
            "page_location": ("'https://shop.example/'", "null", "null"),
            "ga_session_id": ("null", "77", "null"),
            "currency": ("'EUR'", "null", "null"),
        }.items()
    )
    file = parquet_of(
        tmp_path,
        f"""select 1714557600123456::bigint as event_timestamp, 'purchase' as event_name,
            [{parameters}] as event_params, 'u.1' as user_pseudo_id,
            {{'category': 'mobile', 'web_info': {{'browser': 'Chrome'}}}} as device,
            {{'purchase_revenue': 12.5::double, 'transaction_id': 'T'}} as ecommerce,
            [{{'item_id': 'a', 'price': 1.5::double, 'quantity': 2::bigint}}] as items,
            null::struct(country varchar) as geo""",
    )
    (row,), _ = load(declare("ga4", records="parquet"), file)
    assert given(row, "page_url", "session_id_supplied", "revenue", "currency", "order_id", "device_type") == (
        "https://shop.example/", "77", Decimal("12.5"), "EUR", "T", "mobile",
    )  # fmt: skip
    assert row["occurred_at"].isoformat() == "2024-05-01T10:00:00.123456+00:00"
    assert json.loads(row["items"])[0]["quantity"] == 2
    assert "geo" not in json.loads(row["properties"])


@pytest.mark.parametrize("capitals", [False, True])
def test_segments_tables_of_a_warehouse_are_read_with_their_columns(capitals: bool):
    header = (
        "id,received_at,uuid_ts,anonymous_id,user_id,event,event_text,original_timestamp,sent_at,context_page_url,"
        "context_user_agent,context_campaign_name,revenue,currency,order_id,products,gift"
    )
    text = (header.upper() if capitals else header) + (
        "\nm1,2024-05-01 10:00:02 UTC,,a1,,order_completed,Order Completed,2024-05-01 10:00:00.123 UTC,"
        "2024-05-01 10:00:01 UTC,https://shop.example/,Mozilla,may,12.50,EUR,o1,"
        '"[{""sku"": ""s1"", ""price"": 12.5}]",yes\n'
    )
    (row,), _ = load_text(declare("segment", records="csv"), text)
    assert given(row, "event_id", "event_type", "event_name", "anonymous_id", "user_id", "utm_campaign") == (
        "m1", "track", "Order Completed", "a1", None, "may",
    )  # fmt: skip
    assert given(row, "page_url", "user_agent", "revenue", "currency", "order_id", "is_conversion") == (
        "https://shop.example/", "Mozilla", Decimal("12.5"), "EUR", "o1", True,
    )  # fmt: skip
    assert row["device_at"].isoformat() == "2024-05-01T10:00:00.123000+00:00"
    assert json.loads(row["items"])[0]["sku"] == "s1"
    assert json.loads(row["properties"])["properties"]["gift"] == "yes"


@pytest.mark.parametrize(
    ("header", "row", "kind"),
    [
        ("id,user_id,previous_id", "m,u,a", "alias"),
        ("id,user_id,group_id", "m,u,g", "group"),
        ("id,user_id,url,title", "m,u,https://shop.example/,Home", "page"),
        ("id,user_id,type,event", "m,u,identify,x", "identify"),
    ],
)
def test_the_type_of_a_segment_table_is_that_of_its_columns(header: str, row: str, kind: str):
    text = f"{header},timestamp\n{row},2024-05-01T10:00:00Z\n"
    (staged,), _ = load_text(declare("segment", records="csv"), text)
    assert given(staged, "event_type", "user_id") == (kind, "u")


def test_columns_with_dots_are_fields_of_their_object():
    text = "uuid,event,distinct_id,timestamp,properties.$current_url,properties.$device_id\n"
    text += "1,$pageview,d1,2024-05-01T10:00:00Z,https://shop.example/,d1\n"
    (row,), _ = load_text(declare("posthog", records="csv"), text)
    assert given(row, "event_type", "page_url", "anonymous_id") == ("page", "https://shop.example/", "d1")


def test_a_refusal_in_a_table_leaves_no_identifier():
    text = "event_timestamp,event_name,user_pseudo_id,privacy_info\n"
    text += '1714557600123456,x,secret,"{""analytics_storage"":""No""}"\n'
    (row,), _ = load_text(declare("ga4", records="csv"), text)
    assert given(row, "consent", "anonymous_id") == (False, None)
    assert "secret" not in str(row)


def test_text_that_was_opened_brings_no_null_character():
    text = 'uuid,event,distinct_id,timestamp,properties\n1,x,d,2024-05-01,"{""note"": ""a\\u0000b""}"\n'
    (row,), _ = load_text(declare("posthog", records="csv"), text)
    assert json.loads(row["properties"])["properties"] == {"note": "ab"}


def test_a_table_with_another_delimiter_is_told():
    _, booked = load_text(declare("posthog", records="csv"), "uuid;event;timestamp\n1;x;2024-05-01\n")
    assert booked.error is not None
    assert "3 between ';', among them uuid, event, timestamp; declare `csv: {delimiter" in booked.error
