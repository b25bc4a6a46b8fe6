"""SQL that reads moments: a text in a declared format to microseconds since the epoch.

ISO 8601 is read as RFC 3339 and the databases that export it write it: `T`, `t` or a space between date and time, `Z`,
`z`, `UTC`, `GMT` or an offset with or without a space before it, a fraction of any length behind a point or a comma
(what is below a microsecond is cut), no seconds, no time at all. Second 60, a leap second, is the first of the next
minute, as in PostgreSQL. Only what is certain is read: a cast alone would drop an offset or a zone it does not know.
"""

from pipeline_assets.sql import literal

ISO_8601 = "iso8601"
"""The format by default."""

# What nearly all files have; DuckDB's cast reads it as it is, and faster than anything that looks at it closely.
_WITH_OFFSET = r".*:\d{2}(:\d{2}(\.\d+)?)?[+-](0\d|1[0-8])(:?[0-5]\d)?"
_WITHOUT_OFFSET = r"\d{4}-\d{1,2}-\d{1,2}([T ]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?)?"
# All else, in the parts that a cast reads. A group that is missing is empty.
_PARTS = ("day", "minute", "second", "fraction", "zone", "offset")
_ANY = (
    r"(\d{4}-\d{1,2}-\d{1,2})[Tt ](\d{1,2}:\d{2})(?::([0-5]\d|60)(?:[.,](\d+))?)?"
    r"(?: ?([Zz]|[Uu][Tt][Cc]|[Gg][Mm][Tt])| ?([+-](?:0\d|1[0-8])(?::?[0-5]\d)?))?"
)
_DECIMALS = {"epoch_s": 6, "epoch_ms": 3, "epoch_us": 0}


def microseconds(text: str, kind: str, zone: str) -> str:
    """SQL of a moment in microseconds since the epoch, null where the text is no time in this format.

    Args:
        text: SQL of the text.
        kind: `iso8601`, `epoch_s`, `epoch_ms`, `epoch_us` or a pattern of strptime.
        zone: IANA name of the time zone of a text that names none.
    """
    if kind == ISO_8601:
        # Looking closely costs several times as much, and next to no text needs it.
        return f"coalesce({_usual(text, zone)}, CASE WHEN {text} IS NOT NULL THEN {_any(text, zone)} END)"
    if kind in _DECIMALS:
        digits = _DECIMALS[kind]
        return f"try_cast(try_cast({text} AS DECIMAL(24, {digits})) * {10**digits} AS BIGINT)"
    moment = f"try_strptime({text}, {literal(kind)})"
    return f"epoch_us({moment})" if "%z" in kind or "%Z" in kind else _local(moment, zone)


def _local(timestamp: str, zone: str) -> str:
    return f"epoch_us({timestamp})" if zone == "UTC" else f"epoch_us(timezone({literal(zone)}, {timestamp}))"


def _usual(text: str, zone: str) -> str:
    return (
        f"CASE WHEN ends_with({text}, 'Z') OR regexp_full_match({text}, {literal(_WITH_OFFSET)})"
        f" THEN epoch_us(try_cast({text} AS TIMESTAMPTZ))"
        f" WHEN regexp_full_match({text}, {literal(_WITHOUT_OFFSET)})"
        f" THEN {_local(f'try_cast({text} AS TIMESTAMP)', zone)} END"
    )


def _any(text: str, zone: str) -> str:
    parts = f"regexp_extract({text}, {literal(f'^{_ANY}$')}, {list(_PARTS)})"
    second = "CASE part.\"second\" WHEN '' THEN '00' WHEN '60' THEN '59' ELSE part.\"second\" END"
    fraction = "left(part.\"fraction\" || '000000', 6)"
    moment = f"part.\"day\" || ' ' || part.\"minute\" || ':' || {second} || '.' || {fraction}"
    offset = "CASE WHEN part.\"offset\" = '' THEN '+00' ELSE part.\"offset\" END"
    # A lambda, so that the text is taken apart once.
    read = f"""CASE WHEN part."day" = '' THEN NULL
        WHEN part."zone" = '' AND part."offset" = '' THEN {_local(f"try_cast({moment} AS TIMESTAMP)", zone)}
        ELSE epoch_us(try_cast({moment} || {offset} AS TIMESTAMPTZ)) END
        + CASE part."second" WHEN '60' THEN 1000000 ELSE 0 END"""
    return f"list_transform([{parts}], lambda part: {read})[1]"
