"""No value that a file or an expression can produce stops a day: from landing to every table in PostgreSQL."""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline_assets.key_texts import LONGEST_KEY_TEXT, key_text, key_texts
from pipeline_assets.sources.declaration import MAPPABLE_COLUMNS
from pipeline_assets.sources.no_ids import NO_IDS
from pipeline_assets.sources.staged_events import StagedEvents
from pipeline_assets_tests.end_to_end.deployment import Deployment
from pipeline_assets_tests.end_to_end.random_traffic import APP, DECLARATIONS, SHOP

DAY = date(2024, 3, 27)
NOON = datetime(2024, 3, 27, 12, tzinfo=UTC)
WARNINGS = {
    "conversions:has_values", "events:unknown_event_types", "events:unusable_values", "products:readable",
    "revenue:has_rates", "events:ids_repeat_beyond_window",
}  # fmt: skip
"""Checks that tell of values that say nothing, and stop nobody."""

LONG = "".join(chr(0x4E00 + (number * number * 7919) % 20_000) for number in range(3_000))
"""9,000 bytes that no compression makes small enough for an index."""

VALUES = [
    *("", " ", "0", "-1", "null", "NaN", "Infinity", "-inf", "1e400", "-1e400", "1e31", "999999999999.999999"),
    *("99999999999999999999999999999999.9", "9223372036854775808", "0x7f", "1_0", "true", "[object Object]"),
    *(
        "a\0b",
        "\0",
        "%00",
        "https://h.example/%00?utm_source=%00&utm_campaign=a%00b",
        "\ud7ff\uffff\U0010ffff",
        "e\u0301",
    ),
    *(
        "9999-12-31T23:59:59.999999Z",
        "10000-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "infinity",
        "294247-01-10T04:00:54Z",
    ),
    *("[" * 20_000 + "]" * 20_000, '[{"sku": "a\\u0000b", "price": 1e400, "quantity": 1e19}]', '{"a": "\\ud800"}'),
    *(
        LONG,
        f"https://h.example/{LONG}?utm_source={LONG}&utm_medium={LONG}&utm_campaign={LONG}",
        "x" * 100_000,
        "'\"\\;--",
    ),
    json.dumps([{"sku": LONG, "name": LONG, "category": LONG, "price": 999_999_999_999, "quantity": 1_000_000}]),
    json.dumps([{"name": "\0"}]),
]

# Of the page's URL, and of what else becomes a text of a key.
CUT = key_text(LONG)
"""What stands in a key for `LONG`; anybody can send just that, and it must not be a second row of the same key."""

_SOURCE = """\
type: pipeline_assets.components.EventSource
attributes:
  path: {name}/*
  format: {format}
  mapping:
    {mapping}
  bounds: {{quarantined: 1, late: 1, bots: 1}}
"""


def declared(name: str, kind: str, mapping: Mapping[str, str], **more: str) -> str:
    """A declaration whose mapping may hold any text."""
    text = _SOURCE.format(name=name, format=kind, mapping=json.dumps(mapping))
    return text + "".join(f"  {attribute}: {value}\n" for attribute, value in more.items())


# Where JSON would be cleaned by being parsed, `raw` is the text of the line.
BY_EXPRESSION = {column: f"raw ->> '$.{column}'" for column in MAPPABLE_COLUMNS}
TEXTS = [name for name in MAPPABLE_COLUMNS if StagedEvents.columns()[name].dtype == pl.String]
EXPRESSIONS = [
    "chr(0) || 'x'",
    "url_decode('%00x')",
    "'\\xff\\x00'::blob",
    "'infinity'::timestamptz",
    "'nan'::double",
    "[chr(0)]",
]
"""What no file can hold and an expression can give: each as every text column of a source of its own."""
FIXED = {"event_id": "id", "occurred_at": "time", "anonymous_id": "visitor"}
SOURCES = {
    "jsonl": declared("jsonl", "jsonl", BY_EXPRESSION, ids=json.dumps({"email": "raw ->> '$.email'"})),
    "plain": declared("plain", "jsonl", {name: name for name in MAPPABLE_COLUMNS}, ids="{email: email}"),
    "csv": declared("csv", "csv", FIXED | {"page_url": "url", "page_title": "raw", "country": "url_decode(url)"}),
    "parquet": declared("parquet", "parquet", FIXED | {"page_title": "title", "os": "bytes", "revenue": "number"}),
    "log": declared(
        "log",
        "combined_log",
        {
            "occurred_at": "time",
            "anonymous_id": "remote_host || url_decode(target)",
            "event_name": "'request'",
            "event_type": "'page'",
            "page_url": "target",
            "page_title": "raw",
            "referrer_url": "referrer",
        },
    ),
    **{
        f"expression{number}": declared(
            f"expression{number}",
            "jsonl",
            {
                **dict.fromkeys(TEXTS, expression),
                "event_id": "id",
                "occurred_at": "time",
                "user_id": f"id || ({expression})::varchar",
            },
        )
        for number, expression in enumerate(EXPRESSIONS)
    },
}


def good(number: int) -> dict[str, object]:
    """An event that has a part in every table."""
    at = NOON + timedelta(seconds=number % 3_600)
    return {
        "property": "shop.example",
        "event_id": f"e{number}",
        "event_name": ["product_viewed", "product_added", "order_completed"][number % 3],
        "event_type": ["page", "track", "track"][number % 3],
        "occurred_at": at.isoformat(),
        "anonymous_id": f"a{number % 50}",
        "page_url": "https://shop.example/p?utm_source=news&utm_medium=email&utm_campaign=spring",
        "revenue": "5",
        "currency": "eur",
        "order_id": f"o{number}",
        "items": '[{"sku": "s1", "price": 5, "quantity": 1}]',
    }


def hostile() -> Iterator[dict[str, object]]:
    """Good events, each with one hostile value in one column; and some that are hostile together."""
    numbers = itertools.count()
    for column in [*MAPPABLE_COLUMNS, "email", "other"]:
        for value in VALUES:
            yield good(next(numbers)) | {column: value}
    for sign in ("", "-"):
        largest = {"revenue": f"{sign}999999999999.999999", "order_id": "large", "anonymous_id": "large"}
        for _ in range(6):
            yield good(next(numbers)) | largest | {"currency": "EUR"}
    for number in (0, 1, 2) * 4:
        for text in (LONG, CUT):
            row = good(3 * next(numbers) + number) | {
                "anonymous_id": f"long{number}",
                "country": text,
                "currency": text,
            }
            items = json.dumps([{"sku": text, "price": 1, "quantity": 1}])
            # The path of a URL begins with a slash.
            url = f"https://h.example/{LONG}" if text == LONG else f"https://h.example{key_text('/' + LONG)}"
            yield row | {"items": items, "utm_campaign": text, "page_url": url, "order_id": f"long{number}"}
    # The file would have been received long after it was booked.
    yield good(next(numbers)) | {"received_at": "9999-01-01T00:00:00Z", "occurred_at": "9999-01-01T00:00:00Z"}


def _lines(rows: Iterable[Mapping[str, object]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def deliver(deployment: Deployment) -> None:
    """A file for each source."""
    rows = list(hostile())
    deployment.deliver("jsonl/a.jsonl", _lines(rows))
    deployment.deliver("plain/a.jsonl", _lines(row | {"event_id": f"p{row['event_id']}"} for row in rows))
    for number in range(len(EXPRESSIONS)):
        deployment.deliver(f"expression{number}/a.jsonl", _lines([{"id": f"x{number}", "time": NOON.isoformat()}]))
    texts = [f"t{number},{NOON.isoformat()},v,{value}" for number, value in enumerate(VALUES) if '"' not in value]
    deployment.deliver("csv/a.csv", "id,time,visitor,url\n" + "\n".join(texts) + "\n")
    log = '1.2.3.{} - - [27/Mar/2024:12:00:00 +0000] "GET {} HTTP/1.1" 200 0 "{}" "Mozilla/5.0"\n'
    deployment.deliver("log/a.log", "".join(log.format(*row) for row in [(1, f"/{LONG}", "-"), (2, "/%00", "\0")]))
    table = pa.table(
        {
            "id": ["a", "b", "c"],
            "time": [NOON, NOON, datetime(2024, 3, 27, 13, tzinfo=UTC)],
            "visitor": ["a\0b", "v", "w\0"],
            "title": ["\0", LONG, "x\0"],
            "bytes": [b"\xff\x00", b"\x00", b"ok"],
            "number": [float("nan"), float("-inf"), 1e308],
        }
    )
    path = deployment.deliver("parquet/a.parquet", b"")
    pq.write_table(table, path)


@pytest.fixture
def deployment(new_deployment: Callable[..., Deployment]) -> Deployment:
    """Every kind of table, and sources of every kind of records."""
    made = new_deployment(tables=(), first_day=DAY)
    analyses = {name: text for name, text in DECLARATIONS.items() if name not in (SHOP, APP)}
    for name, text in (SOURCES | analyses).items():
        made.declare(name, text)
    return made


def test_no_value_of_a_file_or_an_expression_stops_a_table(deployment: Deployment) -> None:
    deliver(deployment)
    report = deployment.refresh()
    assert (report.failures, report.failed_runs, report.exit_code, report.stale_days) == ([], [], 0, 0)
    assert deployment.is_settled()
    assert {check.split(" ")[0] for check in deployment.check_everything()} <= WARNINGS
    rows = len(list(hostile()))
    for source in ("jsonl", "plain"):
        found = deployment.summary(source)
        assert (found["lines"], found["landed"] + found["quarantined"]) == (rows, rows)
    assert {source: deployment.summary(source)["landed"] for source in SOURCES if source.startswith("expression")} == {
        f"expression{number}": 1 for number in range(len(EXPRESSIONS))
    }
    # Nobody is called null, no order either, and EUR is one currency.
    for column, table in (("id", "identities"), ("order_id", "orders")):
        shared = f"select count(*) from marts.{table} where lower({column}) = any(:values)"
        assert deployment.value(shared, values=[value.lower() for value in NO_IDS]) == 0
    assert deployment.sql("select distinct currency from marts.revenue where upper(currency) = 'EUR'") == [("EUR",)]
    # Events of the future would have days of their own.
    assert deployment.sql("select distinct activity_date from marts.daily_activity") == [(DAY,)]
    for name, table in deployment.platform.tables.items():
        for column in key_texts(table.contract) if table.store == "marts" else ():
            longest = f"select coalesce(max(octet_length({column})), 0) from marts.{name}"
            assert deployment.value(longest) <= LONGEST_KEY_TEXT
    # What is no key is whole, and one page is one row, also where somebody sends what stands for it.
    path, in_key = f"/{LONG}", key_text(f"/{LONG}")
    page = "property = 'shop.example' and not is_bot and page_path"
    (whole,), (cut,) = (
        deployment.sql(f"select count(*) from marts.page_views where {page} = :path", path=text)
        for text in (path, in_key)
    )
    views = "select views from marts.pages where property = 'shop.example' and page_path = :path"
    assert whole[0] > 0
    assert deployment.value(views, path=in_key) == whole[0] + cut[0]
