"""The declaration of one source: the attributes a user writes in `defs.yaml`.

Only shapes and simple values are checked here; `checking` looks at what the expressions mean.
"""

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from pipeline_assets.contracts.staged_events import StagedEvents
from pipeline_assets.transforms.sessionize import DEFAULT_TIMEOUT, LONGEST_TIMEOUT

Format = Literal["jsonl", "json_array", "csv", "tsv", "parquet", "combined_log", "common_log"]
JSON_FORMATS: frozenset[Format] = frozenset({"jsonl", "json_array"})
LOG_FORMATS: frozenset[Format] = frozenset({"combined_log", "common_log"})

COMPUTED_COLUMNS = frozenset(
    {
        "source",
        "load_id",
        "line",
        "row_hash",
        "clock_skew_ms",
        "clock_reason",
        "excluded",
        "properties",
    }
)
"""Columns of `StagedEvents` that no declaration can map: they are always computed."""

MAPPABLE_COLUMNS = tuple(name for name in StagedEvents.column_names() if name not in COMPUTED_COLUMNS)
TIME_COLUMNS = ("occurred_at", "received_at", "device_at", "sent_at")
ID_COLUMNS = ("anonymous_id", "user_id", "session_id_supplied")

TIME_FORMATS = ("iso8601", "epoch_s", "epoch_ms", "epoch_us")
LOG_TIME_FORMAT = "%d/%b/%Y:%H:%M:%S %z"
_MINUTE = timedelta(minutes=1)


def _expression(value: Any) -> Any:
    # YAML reads `consent: true` and `revenue: 0` as a boolean and a number; as SQL they are meant literally.
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


Sql = Annotated[str, BeforeValidator(_expression), Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TimeRule(_Declared):
    """How text becomes a moment; None inherits from the level above.

    Attributes:
        format: iso8601, epoch_s, epoch_ms, epoch_us, or a strptime format.
        zone: IANA zone of times that carry no offset of their own.
    """

    format: str | None = None
    zone: str | None = None


class Times(TimeRule):
    """The rule for all time columns, and exceptions for single ones.

    Attributes:
        columns: time column -> its own rule, e.g. `columns: {received_at: {format: epoch_ms}}`.
    """

    columns: dict[str, TimeRule] = Field(
        default_factory=dict,
        json_schema_extra={"propertyNames": {"enum": list(TIME_COLUMNS)}},
    )


class Sessions(_Declared):
    """How events become sessions; a gap strictly longer than `timeout_minutes` starts a new one."""

    mode: Literal["inferred", "supplied"] = "inferred"
    timeout_minutes: Annotated[int, Field(ge=1, le=LONGEST_TIMEOUT // _MINUTE)] = DEFAULT_TIMEOUT // _MINUTE


class Consent(_Declared):
    """What happens to an event that states a refusal: it loses its identifiers, or becomes no event at all."""

    denied: Literal["anonymise", "drop"] = "anonymise"


class Bounds(_Declared):
    """Shares above which a warning check fails.

    Attributes:
        quarantined: share of a source's lines in quarantine.
        late: share of a day's rows that landed after the day was first built.
        bots: share of a day's events that come from bots.
        freshness_hours: hours that may pass without a new file; None for no bound.
    """

    quarantined: Share = 0.01
    late: Share = 0.5
    bots: Share = 0.9
    freshness_hours: Annotated[float, Field(gt=0)] | None = None


class Source(_Declared):
    """One source of event files.

    Attributes:
        name: name of the source; empty in YAML means the name of the declaration's folder.
        path: glob of its files below the landing folder.
        format: format of the files.
        compression: compression of the files; `auto` goes by suffix and magic bytes.
        property: site, app or fleet of rows that map none; None means the source's name.
        mapping: column of `StagedEvents` -> DuckDB expression over the raw row.
        time: formats and zones of the time columns.
        sessions: how its events become sessions.
        required: mapped columns that may not be null.
        rules: name -> boolean expression over the mapped columns; false quarantines the row, null passes.
        consent: what a refusal does.
        dedup_days: days before an event's day in which a repeated event id counts as a duplicate.
        bounds: shares above which a warning check fails.
    """

    name: Annotated[str, Field(pattern=r"^([a-z][a-z0-9_]*)?$")] = ""
    path: Annotated[str, Field(min_length=1)]
    format: Format
    compression: Literal["auto", "none", "gzip", "zstd"] = "auto"
    property: Annotated[str, Field(min_length=1)] | None = None
    mapping: dict[str, Sql] = Field(json_schema_extra={"propertyNames": {"enum": list(MAPPABLE_COLUMNS)}})
    time: Times = Times()
    sessions: Sessions = Sessions()
    required: tuple[str, ...] = ()
    rules: dict[str, Sql] = Field(default_factory=dict)
    consent: Consent = Consent()
    dedup_days: Annotated[int, Field(ge=0, le=31)] = 1
    bounds: Bounds = Bounds()

    def time_rule(self, column: str) -> tuple[str, str]:
        """Format and zone that hold for a time column."""
        own = self.time.columns.get(column, TimeRule())
        default = LOG_TIME_FORMAT if self.format in LOG_FORMATS else "iso8601"
        return (
            own.format or self.time.format or default,
            own.zone or self.time.zone or "UTC",
        )
