"""The declaration of one source: the attributes a user writes in `defs.yaml`.

Only shapes and simple values are checked here; `checking` looks at what the expressions mean.
"""

import builtins
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from pipeline_assets.declarations.durations import CalendarDays, Hours, Minutes
from pipeline_assets.declarations.expressions import Expression, parse
from pipeline_assets.declarations.session_limits import DEFAULT_TIMEOUT, LONGEST_TIMEOUT
from pipeline_assets.declarations.values import Sql
from pipeline_assets.sources.access_logs import NAMED_FORMATS, LogFormat, LogFormatError, log_format
from pipeline_assets.sources.dialect import Csv
from pipeline_assets.sources.formats import READY_FORMATS, ReadyFormat
from pipeline_assets.sources.records import (
    PLAIN_FORMATS,
    RECORD_FORMATS,
    RecordFormat,
    RecordOptions,
    record_format,
)
from pipeline_assets.sources.records.access_log import AccessLog
from pipeline_assets.sources.staged_events import StagedEvents

FORMATS = (*PLAIN_FORMATS, *NAMED_FORMATS, *READY_FORMATS)

RECORDS = tuple(name for name in RECORD_FORMATS if any(name in each.alternatives for each in RECORD_FORMATS.values()))
"""What the files of a ready format may be, where they are not what it is usually delivered in."""

COMPUTED_COLUMNS = frozenset(
    {
        "source",
        "load_id",
        "line",
        "row_hash",
        "event_type_given",
        "further_ids",
        "unusable",
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
_MINUTE = timedelta(minutes=1)


def _as_text(value: Any) -> Any:
    # YAML reads null, true and 0 as something else than the texts that programs send.
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value) if isinstance(value, int | float) else value


def _known_format(value: str) -> str:
    if value not in FORMATS:
        raise PydanticCustomError("literal_error", "Input should be one of the known formats")
    return value


def _known_records(value: str) -> str:
    if value not in RECORDS:
        raise PydanticCustomError("literal_error", "Input should be one of the known record formats")
    return value


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
        exact: DuckDB expression over a record: true where its `occurred_at` is exact, so that no clock corrects it.
    """

    columns: dict[str, TimeRule] = Field(
        default_factory=dict,
        json_schema_extra={"propertyNames": {"enum": list(TIME_COLUMNS)}},
    )
    exact: Sql | None = None


class Sessions(_Declared):
    """How events become sessions.

    Attributes:
        mode: whether they are inferred from inactivity, or the tracker supplies their ids (`session_id_supplied`).
        timeout_minutes: a gap strictly longer than this starts a new session; inferred mode.
        max_session_days: days after the first event of a supplied id from which on its events are strays, in no
            session.
        split_on_campaign: whether another campaign starts a new session; inferred mode.
        split_at_midnight: whether midnight of the reporting time zone starts a new session; inferred mode.
    """

    mode: Literal["inferred", "supplied"] = "inferred"
    timeout_minutes: Annotated[Minutes, Field(le=LONGEST_TIMEOUT // _MINUTE)] = DEFAULT_TIMEOUT // _MINUTE
    max_session_days: Annotated[CalendarDays, Field(ge=1, le=31)] = 3
    split_on_campaign: bool = False
    split_at_midnight: bool = False


class Consent(_Declared):
    """What happens to an event that states a refusal: it loses its identifiers, or becomes no event at all."""

    denied: Literal["anonymise", "drop"] = "anonymise"


class Bounds(_Declared):
    """Shares above which a warning check fails.

    Attributes:
        quarantined: share of a source's lines in quarantine.
        late: share of the rows that landed after their day was over and had been built.
        bots: share of a day's events that come from bots.
        freshness_hours: hours that may pass without a new file; None for no bound.
    """

    quarantined: Share = 0.01
    late: Share = 0.5
    bots: Share = 0.9
    freshness_hours: Hours | None = None


class Source(_Declared):
    """One source of event files.

    Attributes:
        name: name of the source; empty in YAML means the name of the declaration's folder.
        path: glob of its files below the landing folder.
        format: format of the files; a ready one (`formats`) brings defaults for most of what follows.
        log_format: the server's format string, for `access_log`: Apache's `LogFormat` or nginx's `log_format`.
        records: what the files of a ready format are, where they are not what it is usually delivered in.
        encoding: encoding of text files; None means UTF-8. A byte order mark counts more.
        csv: how CSV and TSV files are written.
        compression: compression of the files; `auto` goes by suffix and magic bytes.
        property: site, app or fleet of rows that map none; None means the source's name.
        mapping: column of `StagedEvents` -> DuckDB expression over the raw row.
        ids: kind of a further id of the person -> DuckDB expression over the raw row.
        no_ids: values that are no ids, in whatever case, in place of the usual ones (`no_ids`); None means these.
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
    format: Annotated[str, AfterValidator(_known_format), Field(json_schema_extra={"enum": list(FORMATS)})]
    log_format: Annotated[str, Field(min_length=1)] | None = None
    records: Annotated[str, AfterValidator(_known_records)] | None = Field(
        None, json_schema_extra={"enum": list(RECORDS)}
    )
    encoding: Annotated[str, Field(min_length=1)] | None = None
    csv: Csv = Csv()
    compression: Literal["auto", "none", "gzip", "zstd", "bzip2"] = "auto"
    property: Annotated[str, Field(min_length=1)] | None = None
    mapping: dict[str, Sql] = Field(
        default_factory=dict, json_schema_extra={"propertyNames": {"enum": list(MAPPABLE_COLUMNS)}}
    )
    ids: dict[str, Sql] = Field(default_factory=dict)
    no_ids: tuple[Annotated[str, BeforeValidator(_as_text)], ...] | None = None
    time: Times = Times()
    sessions: Sessions = Sessions()
    required: tuple[str, ...] = ()
    rules: dict[str, Sql] = Field(default_factory=dict)
    consent: Consent = Consent()
    dedup_days: Annotated[CalendarDays, Field(ge=0, le=31)] = 1
    bounds: Bounds = Bounds()

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, values: Any) -> Any:
        """Fill in what a ready format knows; what is declared wins, column by column."""
        ready = _ready(values.get("format")) if isinstance(values, dict) else None
        if ready is None:
            return values
        mapping = dict(ready.mapping)
        if values.get("property") is not None:
            mapping.pop("property", None)
        columns = {"columns": _under(ready.time.get("columns", {}), _part(values.get("time"), "columns"))}
        filled = {
            "mapping": _under(mapping, values.get("mapping", {})),
            "ids": _under(ready.ids, values.get("ids", {})),
            "time": _under(ready.time, _under(values.get("time", {}), columns)),
            "sessions": _under(ready.sessions, values.get("sessions", {})),
            "required": values.get("required", ready.required),
        }
        return {**values, **filled}

    @builtins.property
    def ready(self) -> ReadyFormat | None:
        """The ready format, if it is one."""
        return _ready(self.format)

    @builtins.property
    def record_format(self) -> RecordFormat:
        """How the files are cut into records, and records into what expressions see."""
        name = self.format
        if self.ready is not None:
            name = self.records or self.ready.records
        elif self.format in NAMED_FORMATS:
            name = AccessLog.name
        return record_format(name, RecordOptions(self.format, self.ready, self._log, self.csv))

    @builtins.property
    def _log(self) -> LogFormat | None:
        if self.ready is not None:
            return self.ready.log
        text = NAMED_FORMATS.get(self.format, self.log_format)
        try:
            return None if text is None else log_format(text)
        except LogFormatError:
            return None

    def expressions(self) -> list[Expression]:
        """What the mapping and the ids are, parsed.

        Raises:
            ExpressionError: one of them is none.
        """
        return [parse(text) for text in (*self.mapping.values(), *self.ids.values())]

    def time_rule(self, column: str) -> tuple[str, str]:
        """Format and zone that hold for a time column; by default that of the log's field from which it is mapped."""
        own = self.time.columns.get(column, TimeRule())
        times = self.record_format.times
        field = self.mapping.get(column, "").strip().strip('"').lower()
        default = times.get(field) or next(iter(times.values()), "iso8601")
        return (
            own.format or self.time.format or default,
            own.zone or self.time.zone or "UTC",
        )


def _ready(name: Any) -> ReadyFormat | None:
    return READY_FORMATS.get(name) if isinstance(name, str) else None


def _part(values: Any, key: str) -> Any:
    return values.get(key, {}) if isinstance(values, dict) else {}


def _under(defaults: Any, given: Any) -> Any:
    """Two mappings, of which the second wins; what is no mapping is left for validation to refuse."""
    return {**defaults, **given} if isinstance(given, dict) and isinstance(defaults, Mapping) else given
