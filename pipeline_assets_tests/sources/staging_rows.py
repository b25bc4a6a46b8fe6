"""Run a source's staging query over a few records."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import duckdb
import pyarrow as pa

from pipeline_assets.ledger.quarantine import REASONS
from pipeline_assets.sources.checking import find_problems
from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.mapping import staging_query

BOOKED_AT = datetime(2024, 6, 1, tzinfo=UTC)
FIRST_DAY = date(2010, 1, 1)


def source(**changes: Any) -> Source:
    """A valid source of JSON lines; `changes` replace attributes."""
    declared = {
        "name": "web",
        "path": "*",
        "format": "jsonl",
        "mapping": {"event_id": "id", "occurred_at": "time", "anonymous_id": "visitor"},
    }
    made = Source.model_validate({**declared, **changes})
    assert find_problems(made) == []
    return made


def stage(
    declared: Source,
    records: Sequence[str] | pa.Table,
    *,
    fields: Sequence[str] | None = None,
    timezone: str = "UTC",
) -> list[dict[str, Any]]:
    """The staged rows of some records, in their order."""
    if isinstance(records, pa.Table):
        rows = records.add_column(0, "line", pa.array(range(1, len(records) + 1), pa.int64()))
        fields = records.column_names
    else:
        lines = pa.array(range(1, len(records) + 1), pa.int64())
        rows = pa.table({"line": lines, "raw": pa.array(list(records), pa.string())})
    query = staging_query(declared, fields=fields, timezone=timezone, first_day=FIRST_DAY)
    with duckdb.connect(config={"enable_external_access": "false"}) as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.register("raw_rows", rows)
        parameters = {"load_ids": ["content"], "booked_at": [BOOKED_AT]}
        table = connection.sql(f"select * from ({query}) order by line", params=parameters).to_arrow_table()
    rows = table.to_pylist()
    reasons = {row["reason"] for row in rows} - {None, "blank"}
    # What reads the quarantine knows no other reasons.
    assert [reason for reason in reasons if not reason.startswith(REASONS)] == []
    return rows
