"""What the commands say as JSON. The keys are documented in docs/command_line.md, and stay as they are."""

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import date, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dagster import MetadataValue

    from pipeline_assets.ledger.quality import Quality
    from pipeline_assets.ledger.summary import SourceSummary
    from pipeline_assets.leftovers import Leftover
    from pipeline_assets.platform import Platform
    from pipeline_assets.refresh import RefreshReport


def print_document(document: object) -> None:
    """One JSON document on the standard output."""
    sys.stdout.write(f"{as_json(document, indent='')}\n")


def as_json(value: object, indent: str | None = "") -> str:
    """A value as JSON (RFC 8259): decimals with all their digits, times in ISO 8601.

    What has no number in JSON (NaN, infinity) is a text, as in PostgreSQL's own `to_json`; so is what has no type in
    it. Each entry of a list or an object gets a line, unless `indent` is None: then all of it is one.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else _text(_unnumbered(value))
    if isinstance(value, Decimal):
        return f"{value:f}" if value.is_finite() else _text(_unnumbered(value))
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, Mapping):
        deeper = _deeper(indent)
        entries = [f"{_text(str(key))}: {as_json(each, deeper)}" for key, each in value.items()]
        return "{" + _joined(entries, indent) + "}"
    if isinstance(value, list | tuple | set | frozenset):
        deeper = _deeper(indent)
        each = [as_json(item, deeper) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
        return "[" + _joined(each, indent) + "]"
    if isinstance(value, timedelta):
        return _text(_duration(value))
    if isinstance(value, date | time):
        return _text(value.isoformat())
    if isinstance(value, bytes | bytearray | memoryview):
        return _text(f"\\x{bytes(value).hex()}")
    return _text(str(value))


def _deeper(indent: str | None) -> str | None:
    return None if indent is None else f"{indent}  "


def _joined(entries: Sequence[str], indent: str | None) -> str:
    if indent is None or not entries:
        return ", ".join(entries)
    return "".join(f"{',' if place else ''}\n{indent}  {entry}" for place, entry in enumerate(entries)) + f"\n{indent}"


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _unnumbered(value: float | Decimal) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _duration(value: timedelta) -> str:
    """ISO 8601, as PostgreSQL writes it with `intervalstyle = iso_8601`; months are Python's 30 days."""
    sign, rest = ("-", -value) if value < timedelta() else ("", value)
    seconds = Decimal(rest.seconds) + Decimal(rest.microseconds) / 1_000_000
    days = f"{sign}{rest.days}D" if rest.days else ""
    time_of_day = f"T{sign}{seconds:f}S" if seconds or not days else ""
    return f"P{days}{time_of_day}"


def rows_document(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
    """Rows as objects. A column whose name has occurred is called `name_2`, and so on."""
    keys: list[str] = []
    for name in names:
        key, number = name, 1
        while key in keys:
            number += 1
            key = f"{name}_{number}"
        keys.append(key)
    return [dict(zip(keys, row, strict=True)) for row in rows]


def status_document(platform: "Platform", mistakes: Sequence[str] = (), failed: Sequence[str] = ()) -> dict[str, Any]:
    """See `status --json` in docs/command_line.md."""
    from pipeline_assets.hints import DRIFT, hints
    from pipeline_assets.ledger.summary import is_silent, summarise, summarise_identifiers
    from pipeline_assets.planning import UNPARTITIONED

    sources = []
    for name, source in platform.sources.items():
        summary, landing = summarise(platform.engine, name), platform.landing(name)
        sources.append(
            _source(name, summary)
            | _broken(platform.quality(name))
            | {
                "declared": platform.is_declared(name),
                "silent": is_silent(source, summary),
                "pending": [file.name for file in landing.files],
                "refused": [asdict(refused) for refused in landing.refused],
                "doubtful": [asdict(doubtful) for doubtful in landing.doubtful],
            }
        )
    staleness = platform.staleness()
    stale = staleness.tables
    tables = []
    for name, spec in platform.tables.items():
        days = [day for day in platform.builds.built_days(name) if day != UNPARTITIONED]
        tables.append(
            {
                "table": name,
                "daily": spec.is_daily,
                "built": bool(platform.builds.built_days(name)),
                "days_built": len(days) if spec.is_daily else None,
                "first_day": days[0] if spec.is_daily and days else None,
                "last_day": days[-1] if spec.is_daily and days else None,
                "lost": name in staleness.lost,
                "stale": bool(stale[name]),
                "stale_days": len(stale[name]) if spec.is_daily else None,
            }
        )
    return {
        "sources": sources,
        "tables": tables,
        "failed": list(failed),
        "identifiers": asdict(summarise_identifiers(platform.engine)),
        "hints": hints(platform, since=platform.builds.now() - DRIFT),
        "leftovers": [] if mistakes else [_leftover(left) for left in platform.leftovers()],
        "mistakes": list(mistakes),
    }


def refresh_document(report: "RefreshReport") -> dict[str, Any]:
    """See `refresh --json` in docs/command_line.md."""
    return {
        "exit_code": report.exit_code,
        "idle": report.idle,
        "load_runs": report.loads,
        "built": [
            {
                "first_day": built.days[0] if built.days else None,
                "last_day": built.days[-1] if built.days else None,
                "tables": list(built.tables),
                "stale_days": len(built.days),
            }
            for built in report.builds
        ],
        "lost_marts": report.lost_marts,
        "stale_days": report.stale_days,
        "sources": [
            _source(name, summary) | _broken(report.beyond_bounds.get(name)) | {"silent": name in report.silent}
            for name, summary in report.summaries.items()
        ],
        "pending": report.pending,
        "refused": [asdict(refused) for refused in report.refused],
        "failed_runs": report.failed_runs,
        "failures": report.failures,
        "failed_checks": [
            {
                "check": check.check_name,
                "asset": check.asset_key.to_user_string(),
                "blocking": check.blocking,
                "description": check.description,
                "values": {name: _value(value) for name, value in check.metadata.items()},
            }
            for check in report.failed_checks
        ],
        "open_checks": report.open_checks,
        "hints": report.hints,
        "leftovers": [_leftover(left) for left in report.leftovers],
    }


def _source(name: str, summary: "SourceSummary") -> dict[str, Any]:
    return {"source": name, **asdict(summary)}


def _broken(quality: "Quality | None") -> dict[str, Any]:
    return {
        "beyond_bounds": quality is not None and quality.is_beyond,
        "broken": list(quality.causes) if quality else [],
    }


def _value(shown: "MetadataValue[Any]") -> Any:
    """What a check shows: of a table its rows."""
    from dagster import TableMetadataValue

    if isinstance(shown, TableMetadataValue):
        return [record.data for record in shown.records]
    return shown.value


def _leftover(left: "Leftover") -> dict[str, Any]:
    return {"kind": left.noun, "name": left.name, "what": left.what, "last_declared": left.since, "wanted": left.wanted}
