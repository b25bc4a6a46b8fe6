"""No value that a file or an expression can produce stops a day: from landing to every table in PostgreSQL."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline_assets.contracts.keys import LONGEST_KEY_TEXT, key_text, key_texts
from pipeline_assets.contracts.staged_events import StagedEvents
from pipeline_assets.sources.declaration import ID_COLUMNS, MAPPABLE_COLUMNS, TIME_COLUMNS
from pipeline_assets_tests.end_to_end.deployment import Deployment, sql
from pipeline_assets_tests.end_to_end.random_traffic import DECLARATIONS, SHOP

DAY = date(2024, 3, 27)
NOON = datetime(2024, 3, 27, 12, tzinfo=UTC)
ANALYSES = [name for name in DECLARATIONS if name not in (SHOP, "taps")]
PACKAGE = ("checkout_funnel", "visit_retention", "page_paths", "channel_attribution")

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
EXPRESSIONS = [
    "chr(0)",
    "url_decode('%00x')",
    "'infinity'::timestamptz",
    "'nan'::double",
    "'\\xff\\x00'::blob",
    "1e308 * 10",
]
"""What no file can hold and an expression can give."""

BY_EXPRESSION = "\n".join(f"    {column}: raw ->> '$.{column}'" for column in MAPPABLE_COLUMNS)
JSONL = f"""\
type: pipeline_assets.components.EventSource
attributes:
  path: clicks/*
  format: jsonl
  mapping:
{BY_EXPRESSION}
  ids: {{email: "raw ->> '$.email'"}}
  bounds: {{quarantined: 1, late: 1, bots: 1}}
"""


def good(number: int) -> dict[str, object]:
    """An event that becomes a row of every table."""
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
    """Good events, each with one hostile value in one column."""
    number = 0
    for column in [*MAPPABLE_COLUMNS, "email", "other"]:
        for value in VALUES:
            number += 1
            yield good(number) | {column: value}


@pytest.fixture
def deployment(new_deployment: Callable[..., Deployment], tmp_path: Path) -> Deployment:
    """Every kind of table, and a source that maps every column by an expression."""
    made = new_deployment(tables=(), first_day=DAY)
    for name in ANALYSES:
        made.declare(name, DECLARATIONS[name])
    made.declare("clicks", JSONL)
    return made


def test_no_value_of_any_column_stops_a_table(deployment: Deployment) -> None:
    rows = list(hostile())
    deployment.deliver("clicks/a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    report = deployment.refresh()
    print(report, deployment.reasons("clicks"))
    print(deployment.check_everything())
    assert (report.failures, report.failed_runs, report.exit_code, report.stale_days) == ([], [], 0, 0)
