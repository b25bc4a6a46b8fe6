"""What the values of a column look like: times and how they are written, amounts, currencies, addresses, ids.

A guess is made of values first and of names second, because people call their columns in every language. What is said
here of a format is what DuckDB reads by it, so that a guess and the load cannot disagree.
"""

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from pipeline_assets.declarations.expressions import database
from pipeline_assets.sql import literal
from pipeline_assets.starting.names import known

_MOST = 500
# A few values may be damaged: what they are is told by the trial.
_NEARLY_ALL = 0.95
# 1990 to 2100, in seconds since the epoch.
_PLAUSIBLE = (631_152_000, 4_102_444_800)

ISO_TIME = re.compile(
    r"\d{4}-\d{2}-\d{2}(?P<clock>[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(?P<zone>[Zz]|( ?[+-]\d{2}(:?\d{2})?)| UTC)?)?"
)
_EPOCHS = {"epoch_s": 1, "epoch_ms": 1_000, "epoch_us": 1_000_000}
_DATES = (
    (r"\d{1,2}\.\d{1,2}\.\d{4}", ("%d.%m.%Y",)),
    (r"\d{1,2}\.\d{1,2}\.\d{2}", ("%d.%m.%y",)),
    (r"\d{1,2}/\d{1,2}/\d{4}", ("%d/%m/%Y", "%m/%d/%Y")),
    (r"\d{1,2}/\d{1,2}/\d{2}", ("%d/%m/%y", "%m/%d/%y")),
    (r"\d{1,2}-\d{1,2}-\d{4}", ("%d-%m-%Y", "%m-%d-%Y")),
    (r"\d{4}-\d{1,2}-\d{1,2}", ("%Y-%m-%d",)),
    (r"\d{4}/\d{1,2}/\d{1,2}", ("%Y/%m/%d",)),
    (r"\d{4}\.\d{1,2}\.\d{1,2}", ("%Y.%m.%d",)),
    (r"(?:19|20)\d{6}", ("%Y%m%d",)),
    (r"\d{1,2} [A-Za-z]{3} \d{4}", ("%d %b %Y",)),
    (r"\d{1,2}-[A-Za-z]{3}-\d{4}", ("%d-%b-%Y",)),
    (r"\d{1,2}/[A-Za-z]{3}/\d{4}", ("%d/%b/%Y",)),
    (r"[A-Za-z]{3} \d{1,2}, \d{4}", ("%b %d, %Y",)),
    (r"[A-Za-z]{3}, \d{1,2} [A-Za-z]{3} \d{4}", ("%a, %d %b %Y",)),
    (r"\d{1,2} [A-Za-z]{4,9} \d{4}", ("%d %B %Y",)),
    (r"[A-Za-z]{4,9} \d{1,2}, \d{4}", ("%B %d, %Y",)),
)
_CLOCKS = (
    (r"\d{1,2}:\d{2}:\d{2}\.\d{1,6} ?[AaPp][Mm]", "%I:%M:%S.%f %p"),
    (r"\d{1,2}:\d{2}:\d{2} [AaPp][Mm]", "%I:%M:%S %p"),
    (r"\d{1,2}:\d{2} [AaPp][Mm]", "%I:%M %p"),
    (r"\d{1,2}:\d{2}:\d{2}\.\d{1,6}", "%H:%M:%S.%f"),
    (r"\d{1,2}:\d{2}:\d{2},\d{1,6}", "%H:%M:%S,%f"),
    (r"\d{1,2}:\d{2}:\d{2}", "%H:%M:%S"),
    (r"\d{1,2}:\d{2}", "%H:%M"),
    (r"\d{1,2}h\d{2}", "%Hh%M"),
    (r"\d{1,2}\.\d{2}\.\d{2}", "%H.%M.%S"),
    (r"[0-2]\d[0-5]\d[0-5]\d", "%H%M%S"),
)
_JOINTS = ("", "T", " ", ", ", ":", "  ")
_ZONES = ((r" [+-]\d{2}:?\d{2}", " %z"), (r"[+-]\d{2}:?\d{2}", "%z"), (r" (?:UTC|GMT)", " %Z"), ("Z", "Z"))

# A number with a decimal mark and marks between groups of three digits.
_STYLES = ((".", ""), (",", ""), (".", ","), (",", "."), (",", " "), (".", "'"), (".", " "))
_SPACES = "\u00a0\u202f"
_DECORATION = r"(?:[A-Z]{3}|[^\w\s.,'+-])"
_DECORATED = re.compile(rf"([+-]?)\s?{_DECORATION}\s?([+-]?\d.*)|([+-]?\d.*?)\s?{_DECORATION}")

_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_HASH = re.compile(r"[0-9a-f]{16,64}|[0-9A-F]{16,64}")
_URL = re.compile(r"(https?|android-app)://\S+|/\S*")
_AGENT = re.compile(r"(Mozilla|Opera|Dalvik|okhttp|curl|Wget|python-requests)/\d.*", re.DOTALL)
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_ADDRESS = re.compile(r"(\d{1,3}\.){3}\d{1,3}|[0-9A-Fa-f:]*:[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*")
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")


@dataclass(frozen=True)
class TimeFormat:
    """How times are written.

    Attributes:
        format: as a declaration says it.
        zoned: whether every value says its zone or offset, or is a number of seconds since the epoch.
        dated: whether there is no time of day.
        certain: whether the values can hardly be anything else; a number may be.
    """

    format: str
    zoned: bool
    dated: bool = False
    certain: bool = True


def share(values: Sequence[str], pattern: re.Pattern[str]) -> float:
    """Share of the values that match a pattern as a whole; 0 where there are none."""
    return sum(pattern.fullmatch(value) is not None for value in values) / len(values) if values else 0.0


def nearly_all(values: Sequence[str], pattern: re.Pattern[str]) -> bool:
    """Whether the values, but for a few, match a pattern as a whole."""
    return share(values, pattern) >= _NEARLY_ALL


def are_urls(values: Sequence[str]) -> bool:
    """Whether they are addresses of pages, or paths."""
    return nearly_all(values, _URL)


def are_user_agents(values: Sequence[str]) -> bool:
    """Whether they are what browsers call themselves; programs call themselves anything."""
    return share(values, _AGENT) >= 0.6


def are_emails(values: Sequence[str]) -> bool:
    """Whether they are addresses of e-mail."""
    return nearly_all(values, _EMAIL)


def are_addresses(values: Sequence[str]) -> bool:
    """Whether they are addresses of the internet protocol."""
    return nearly_all(values, _ADDRESS)


def are_random_ids(values: Sequence[str]) -> bool:
    """Whether they are ids that nobody else gives: UUIDs, hashes and the like."""
    return nearly_all(values, _UUID) or nearly_all(values, _HASH)


def are_currencies(values: Sequence[str]) -> bool:
    """Whether they are codes of ISO 4217."""
    codes = set(known("currencies"))
    return bool(values) and sum(value.upper() in codes for value in values) / len(values) >= _NEARLY_ALL


def are_clocks(values: Sequence[str]) -> bool:
    """Whether they are times of day, without a date."""
    return nearly_all(values, _CLOCK)


def clock_format(values: Sequence[str]) -> str:
    """The format of times of day."""
    return "%H:%M:%S" if share(values, re.compile(r"\d{1,2}:\d{2}:\d{2}")) >= 0.5 else "%H:%M"


def number_style(values: Sequence[str], *, comma_first: bool) -> tuple[str, str] | None:
    """Decimal mark and what stands between groups of digits; None where the values are no numbers.

    Args:
        values: texts without spaces around them.
        comma_first: whether a comma is the likelier decimal mark where both readings are possible.
    """
    texts = [value.replace(_SPACES[0], " ").replace(_SPACES[1], " ") for value in _some(values)]
    if not texts:
        return None
    fitting = [style for style in _STYLES if nearly_all(texts, _number(*style))]
    if not fitting:
        return None
    if not any(mark in text for text in texts for mark in ",. '"):
        return (",", "") if comma_first else (".", "")
    grouped = [style for style in fitting if style[1]]
    # `1,234` in every value: groups of three are likelier than amounts with three digits after the mark.
    if grouped and all(re.search(r"[,.]\d{3}$", text) for text in texts if re.search(r"[,.]", text)):
        plain = [style for style in fitting if not style[1]]
        if plain and plain[0][0] == ("," if comma_first else "."):
            return plain[0]
        return next((style for style in grouped if style[0] == ("," if comma_first else ".")), fitting[0])
    return fitting[0]


def undecorated(values: Sequence[str]) -> tuple[list[str], set[str]] | None:
    """The numbers of amounts with a sign or code of a currency, and these signs; None where hardly one has any."""
    numbers: list[str] = []
    signs: set[str] = set()
    for value in values:
        found = _DECORATED.fullmatch(value)
        if found is None:
            continue
        number = (found[1] or "") + (found[2] or "") if found[2] else found[3]
        numbers.append(number)
        signs.add(re.sub(r"[\d.,'+\s\u00a0\u202f-]", "", value))
    return (numbers, signs) if values and len(numbers) / len(values) >= _NEARLY_ALL else None


def has_cents(values: Sequence[str]) -> bool:
    """Whether most of some numbers have two digits after the mark, as amounts of money have."""
    return share(values, re.compile(r".*\d[.,]\d{2}")) >= 0.8


def time_formats(values: Sequence[str]) -> list[TimeFormat]:
    """The formats by which the values can be read as times; several where day and month cannot be told apart."""
    texts = _some(values)
    if not texts:
        return []
    if nearly_all(texts, ISO_TIME):
        found = [match for text in texts if (match := ISO_TIME.fullmatch(text))]
        return [
            TimeFormat(
                "iso8601", all(match["zone"] for match in found), dated=not any(match["clock"] for match in found)
            )
        ]
    if nearly_all(texts, re.compile(r"\d{9,17}(\.\d+)?")):
        for name, unit in _EPOCHS.items():
            numbers = [float(text) / unit for text in texts if re.fullmatch(r"\d+(\.\d+)?", text)]
            if sum(_PLAUSIBLE[0] <= number <= _PLAUSIBLE[1] for number in numbers) / len(texts) >= _NEARLY_ALL:
                return [TimeFormat(name, True, certain=False)]
    candidates = {found for text in texts[:5] for found in _candidates(text)}
    return _verified(texts, sorted(candidates, key=lambda found: found.format))


def likeliest(formats: Sequence[TimeFormat], values: Sequence[str]) -> tuple[TimeFormat, bool]:
    """The likeliest of some formats that all fit, and whether that is a guess.

    Times mostly come in order, the oldest or the newest first, and over a short time: what makes them jump is the wrong
    reading.
    """
    if len(formats) == 1:
        return formats[0], False
    texts = values[:_MOST]
    spans = []
    for number, found in enumerate(formats):
        text = f"try_strptime(t, {literal(found.format)})"
        sql = f"select coalesce({text}::date - date '1970-01-01', 0) from (select unnest(?) as t)"  # noqa: S608
        days = [row[0] for row in database().cursor().execute(sql, [list(texts)]).fetchall()]
        pairs = list(itertools.pairwise(days))
        jumps = min(sum(one > other for one, other in pairs), sum(one < other for one, other in pairs))
        spans.append((jumps, max(days) - min(days), "%p" not in found.format or found.format.startswith("%d"), number))
    best = min(spans)
    return formats[best[-1]], True


@cache
def _number(decimal: str, thousands: str) -> re.Pattern[str]:
    mark, group = re.escape(decimal), re.escape(thousands)
    whole = rf"\d{{1,3}}(?:{group}\d{{3}})+|\d+" if thousands else r"\d+"
    return re.compile(rf"[+-]?(?:(?:{whole})(?:{mark}\d+)?|{mark}\d+)")


def _some(values: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(values))[:_MOST]


def _candidates(text: str) -> Iterable[TimeFormat]:
    for date, formats in _DATES:
        found = re.match(date, text)
        if found is None:
            continue
        rest = text[found.end() :]
        for written in formats:
            if not rest:
                yield TimeFormat(written, zoned=False, dated=True, certain=written != "%Y%m%d")
            for joint in _JOINTS:
                for clock, clock_text in _CLOCKS:
                    clocked = re.match(clock, rest[len(joint) :]) if rest.startswith(joint) else None
                    if clocked is None:
                        continue
                    end = rest[len(joint) + clocked.end() :]
                    whole = f"{written}{joint}{clock_text}"
                    if not end:
                        yield TimeFormat(whole, zoned=False)
                    for zone, zone_text in _ZONES:
                        if re.fullmatch(zone, end):
                            yield TimeFormat(f"{whole}{zone_text}", zoned="%" in zone_text)


def _verified(texts: list[str], candidates: Sequence[TimeFormat]) -> list[TimeFormat]:
    if not candidates:
        return []
    # Years of two digits are read as such by %Y too.
    counts = ", ".join(
        f"count(*) filter (year(try_strptime(t, {literal(found.format)})) between 1990 and 2100)"
        for found in candidates
    )
    sql = f"select {counts} from (select unnest(?) as t)"  # noqa: S608 - formats of our own
    fitting = database().cursor().execute(sql, [texts]).fetchall()[0]
    return [found for found, count in zip(candidates, fitting, strict=True) if count / len(texts) >= _NEARLY_ALL]
