"""Any volume of the demo's web JSONL, fast, for benchmarks: the same fields, no faults, no truth but its counts.

As one heap (`write_bulk`), or day by day as it goes on and on (`write_steady_days`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from pipeline_assets.demo.catalogue import (
    ACQUISITIONS,
    BROWSERS,
    CRAWLERS,
    HOST,
    HOUR_WEIGHTS,
    LOCALES,
    PRODUCTS,
    WEEKDAY_WEIGHTS,
)
from pipeline_assets.demo.model import DAY, HOUR, MINUTE, SECOND, Progress, day_start
from pipeline_assets.private import protected

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

EVENTS_PER_VISIT = 12
VISITS_PER_VISITOR = 2
BOT_SHARE = 0.04
USER_SHARE = 0.2

# Kinds of events and their shares after the first event of a visit, which is a page view.
_KINDS = ("page", "ping", "product_viewed", "product_added", "order_completed")
_SHARES = (0.36, 0.44, 0.15, 0.035, 0.015)
_HEADS = (
    '","type":"page","anonymousId":"',
    '","type":"ping","anonymousId":"',
    '","type":"track","event":"product_viewed","anonymousId":"',
    '","type":"track","event":"product_added","anonymousId":"',
    '","type":"track","event":"order_completed","anonymousId":"',
)
_DASHES = (8, 13, 18, 23)

# Days until a visitor of a steady stream comes back: a week or two for most, up to a year for a few.
_LAG_DAYS = 9
_LONGEST_LAG = 365
_LONG_LAG_SHARE = 0.1


@dataclass(frozen=True)
class BulkSummary:
    """What was written.

    Attributes:
        files: the files in order; each holds a span of time.
        events: lines in all; every line is an event with its own id.
        bytes: size in all.
        visitors: distinct anonymous ids.
        page_views: distinct view ids, each with exactly one page event.
        orders: order_completed events.
        first_day: first event day (UTC).
        days: number of event days.
    """

    files: tuple[Path, ...]
    events: int
    bytes: int
    visitors: int
    page_views: int
    orders: int
    first_day: date
    days: int


def write_bulk(
    folder: Path,
    events: int,
    files: int,
    seed: int,
    *,
    first_day: date = date(2026, 3, 2),
    days: int = 14,
    progress: Progress | None = None,
) -> BulkSummary:
    """Write events as plain JSONL `bulk-<nnnn>.jsonl`, ordered by time, about 590 bytes a line.

    Args:
        folder: where to write; made if missing.
        events: number of events.
        files: number of files, of equal numbers of lines.
        seed: equal arguments give equal bytes.
        first_day: first event day (UTC).
        days: number of event days.
        progress: called after each file.

    Returns:
        What was written.

    Raises:
        ValueError: fewer events than files, or no files.
    """
    if not 1 <= files <= events:
        raise ValueError(f"files must be between 1 and the number of events ({events}), got {files}")
    rng = np.random.default_rng(seed)
    lengths = _visit_lengths(rng, events)
    visits = len(lengths)
    count = max(1, visits // VISITS_PER_VISITOR)
    people = _People(
        anonymous_ids=_uuids(rng, count),
        client=_clients(rng, count),
        user=np.where(rng.random(count) < USER_SHARE, np.arange(count) + 1, 0),
    )
    # A few come often, most once or twice.
    visitor = (count * rng.random(visits) ** 1.6).astype(np.int64)
    traffic = _Traffic(rng, lengths, visitor, people, first_day, days=days)
    bounds = np.linspace(0, events, files + 1).astype(np.int64)
    paths: list[Path] = []
    for number in range(files):
        rows = traffic.order[bounds[number] : bounds[number + 1]]
        path = folder / f"bulk-{number + 1:04}.jsonl"
        _write_lines(path, traffic.lines(rows))
        paths.append(path)
        if progress:
            progress("writing events", int(bounds[number + 1]), events)
    return BulkSummary(
        files=tuple(paths),
        events=events,
        bytes=sum(path.stat().st_size for path in paths),
        visitors=len(np.unique(traffic.visitor)),
        page_views=traffic.views,
        orders=traffic.orders,
        first_day=first_day,
        days=days,
    )


def _write_lines(path: Path, lines: pl.Series) -> None:
    with protected(path):
        pl.DataFrame({"line": lines}).write_csv(path, include_header=False, quote_style="never")


def write_steady_days(
    folder: Path, events_per_day: int, seed: int, *, first_day: date, days: int, late_logins: float = 0.0
) -> BulkSummary:
    """Write days that are all alike as `steady-<day>.jsonl`, one file each, as write_bulk does otherwise.

    A day has the same visits, page views and orders as every other; ids, times and who it is that comes differ. As many
    visitors are new on it, and as many come back from each day before, mostly of the last weeks. The stream has no
    beginning: on its first days people come back that no file has shown yet. A day's file does not depend on which days
    are written with it.

    Args:
        folder: where to write; made if missing.
        events_per_day: events of each day.
        seed: equal arguments give equal bytes.
        first_day: first day (UTC) to write.
        days: number of days to write.
        late_logins: share of those with a user id who show it from their second visit on only, so that a day says
            something new about the days before it. The others show it on every event.

    Returns:
        What was written.

    Raises:
        ValueError: no events.
    """
    if events_per_day < 1:
        raise ValueError(f"events_per_day must be at least 1, got {events_per_day}")
    paths: list[Path] = []
    visitors: list[pl.Series] = []
    views = orders = 0
    for offset in range(days):
        day = first_day + timedelta(days=offset)
        traffic = _steady_day(events_per_day, seed, day, late_logins)
        path = folder / f"steady-{day}.jsonl"
        _write_lines(path, traffic.lines(traffic.order))
        paths.append(path)
        visitors.append(traffic.people.anonymous_ids)
        views += traffic.views
        orders += traffic.orders
    return BulkSummary(
        files=tuple(paths),
        events=events_per_day * days,
        bytes=sum(path.stat().st_size for path in paths),
        visitors=pl.concat(visitors).n_unique() if visitors else 0,
        page_views=views,
        orders=orders,
        first_day=first_day,
        days=days,
    )


@dataclass(frozen=True)
class _People:
    """Who comes, one array element each.

    Attributes:
        anonymous_ids: their ids.
        client: browser and language, a place in `_Texts.clients`.
        user: number of the user id on their events, 0 without one.
    """

    anonymous_ids: pl.Series
    client: Ints
    user: Ints


def _clients(rng: np.random.Generator, people: int) -> Ints:
    is_bot = rng.random(people) < BOT_SHARE
    browser = rng.choice(len(BROWSERS), people, p=_shares([row[0] for row in BROWSERS]))
    crawler = len(BROWSERS) + rng.integers(0, len(CRAWLERS), people)
    locale = rng.choice(len(LOCALES), people, p=_shares([row[0] for row in LOCALES]))
    return np.where(is_bot, crawler, browser) * len(LOCALES) + locale


def _visit_lengths(rng: np.random.Generator, events: int) -> Ints:
    """Events of each visit, enough visits for all events; the last one is cut off."""
    lengths = rng.geometric(1 / EVENTS_PER_VISIT, size=2 * events // EVENTS_PER_VISIT + 100)
    ends = np.cumsum(lengths)
    lengths = lengths[: int(np.searchsorted(ends, events)) + 1]
    lengths[-1] -= lengths.sum() - events
    return lengths


def _steady_day(events: int, seed: int, day: date, late_logins: float) -> "_Traffic":
    # What makes up a day and how people behave is drawn anew and alike for each day; only ids are a day's own.
    rng = np.random.default_rng(seed)
    lengths = _visit_lengths(rng, events)
    visits = len(lengths)
    new = max(1, visits // VISITS_PER_VISITOR)
    # Visits of people who come for the first time, then those of people who first came so many days ago.
    short = rng.exponential(_LAG_DAYS, visits).astype(np.int64)
    lag = 1 + np.where(rng.random(visits) < _LONG_LAG_SHARE, rng.integers(0, _LONGEST_LAG, visits), short)
    lag[:new] = 0
    member = rng.integers(0, new, visits)
    member[:new] = np.arange(new)
    has_user, is_late = rng.random(new) < USER_SHARE, rng.random(new) < late_logins
    clients = _clients(rng, new)

    lags, place = np.unique(lag, return_inverse=True)
    ids = [_uuids(np.random.default_rng([seed, day.toordinal() - int(back)]), new) for back in lags]
    shows_user = has_user[member] & ~(is_late[member] & (lag == 0))
    number = (day.toordinal() - lag) * new + member
    people = _People(
        anonymous_ids=pl.concat(ids).gather(place * new + member),
        client=clients[member],
        user=np.where(shows_user, number, 0),
    )
    # Which visits come early in the day has nothing to do with who is new.
    visitor = rng.permutation(visits)
    names = np.random.default_rng([seed, day.toordinal(), 1])
    return _Traffic(rng, lengths, visitor, people, day, days=1, names=names, first_order=day.toordinal() * events)


class _Traffic:
    """The numbers behind all events, one array element each, in order of visits; text is made by the file.

    Args:
        rng: for all that happens.
        lengths: events of each visit.
        visitor: whose each visit is, a place in `people`.
        people: those who come.
        first_day: first event day (UTC).
        days: number of event days.
        names: for the ids of events and views; `rng` by default.
        first_order: the lowest number an order may have.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        lengths: Ints,
        visitor: Ints,
        people: _People,
        first_day: date,
        *,
        days: int,
        names: np.random.Generator | None = None,
        first_order: int = 0,
    ) -> None:
        self.rng = rng
        self.names = names or rng
        self.people = people
        self._first_order = first_order
        visits, events = len(lengths), int(lengths.sum())
        starts = np.cumsum(lengths) - lengths
        visit = np.repeat(np.arange(visits), lengths)
        is_first = np.zeros(events, dtype=bool)
        is_first[starts] = True

        self.visitor = visitor[visit]
        self.is_landing = is_first
        self.way = rng.choice(len(ACQUISITIONS), visits, p=_shares([way.weight for way in ACQUISITIONS]))[visit]

        begin = _moments(rng, visits, first_day, days)
        gaps = rng.exponential(22 * SECOND, events).astype(np.int64) + 150
        gaps[rng.random(events) < 0.004] += 35 * MINUTE
        gaps[is_first] = 0
        run = np.cumsum(gaps)
        self.at = np.minimum(begin[visit] + run - run[starts][visit], day_start(first_day) + days * DAY - 1)
        self.order = np.argsort(self.at, kind="stable")

        self.kind = rng.choice(len(_KINDS), events, p=_SHARES).astype(np.int64)
        self.kind[is_first] = 0
        self.view = np.cumsum(self.kind == 0) - 1
        self.views = int(self.view[-1]) + 1
        self.orders = int((self.kind == _KINDS.index("order_completed")).sum())
        self.product = rng.integers(0, len(PRODUCTS), self.views)
        self.view_ids = _hex(self.names, self.views, 16)

        self._clocks = _ClockText(first_day, days)
        self._texts = _Texts()

    def lines(self, rows: Ints) -> pl.Series:
        """The lines of some events."""
        texts, people, rng, count = self._texts, self.people, self.rng, len(rows)
        view, visitor, kind, at = self.view[rows], self.visitor[rows], self.kind[rows], self.at[rows]
        product = self.product[view]
        # The landing query stands in the URL of the visit's first view, on all of its events.
        landing_view = np.zeros(self.views, dtype=bool)
        landing_view[self.view[self.is_landing]] = True
        on_landing = landing_view[view]
        query = np.where(on_landing, self.way[rows] + 1, 0)
        referrer = np.where(on_landing, len(PRODUCTS) + self.way[rows], self.product[np.maximum(view - 1, 0)])
        sent = at + rng.integers(3, 60, count)
        received = sent + rng.integers(20, 400, count)
        user = pl.Series(people.user[visitor])
        details = np.where(kind == 1, len(PRODUCTS), np.where(kind == 0, len(PRODUCTS) + 1, product))
        details = np.where(kind == 4, len(PRODUCTS) + 2 + product, details)
        # Order numbers follow the order of the lines' visits, unique over all files.
        order_id = pl.Series(np.where(kind == 4, self._first_order + rows, -1))
        columns = pl.DataFrame(
            {
                "message": _uuids(self.names, count),
                "kind": texts.heads.gather(kind),
                "anonymous": people.anonymous_ids.gather(visitor),
                "user": user,
                "client": texts.clients.gather(people.client[visitor]),
                "view": self.view_ids.gather(view),
                "path": texts.paths.gather(product),
                "query": texts.queries.gather(query),
                "referrer": texts.referrers.gather(referrer),
                "title": texts.titles.gather(product),
                "details": texts.details.gather(details),
                "order": order_id,
                "device_at": self._clocks.iso(at),
                "sent_at": self._clocks.iso(sent),
                "received_at": self._clocks.iso(received),
            }
        )
        has_user, has_order = pl.col("user") > 0, pl.col("order") >= 0
        return columns.select(
            pl.concat_str(
                pl.lit('{"messageId":"'),
                "message",
                "kind",
                "anonymous",
                pl.when(has_user).then(pl.format('","userId":"u-{}', "user")).otherwise(pl.lit("")),
                "client",
                "view",
                "path",
                "query",
                "referrer",
                "title",
                "details",
                pl.when(has_order).then(pl.format(',"order_id":"B-{}"', "order")).otherwise(pl.lit("")),
                pl.lit('},"timestamp":"'),
                "device_at",
                pl.lit('","sentAt":"'),
                "sent_at",
                pl.lit('","receivedAt":"'),
                "received_at",
                pl.lit('"}'),
            ).alias("line")
        )["line"]


class _Texts:
    """The fragments of a line that repeat, ready for JSON; each begins where the one before it ends."""

    def __init__(self) -> None:
        agents = [row[1] for row in BROWSERS] + list(CRAWLERS)
        self.heads = pl.Series(_HEADS)
        self.clients = pl.Series(
            [
                f'","context":{{"locale":"{locale}","country":"{country}","userAgent":"{agent}",'
                '"consent":{"analytics":true},"page":{"viewId":"'
                for agent in agents
                for _, locale, country in LOCALES
            ]
        )
        self.paths = pl.Series([f'","url":"{HOST}{product.path}' for product in PRODUCTS])
        queries = [way.query.format(id="c5a1f20be77d4e19a0b3") for way in ACQUISITIONS]
        self.queries = pl.Series(["", *(f"?{query}" if query else "" for query in queries)])
        outside = [way.referrer for way in ACQUISITIONS]
        self.referrers = pl.Series(
            [f'","referrer":"{url}' for url in (*(HOST + product.path for product in PRODUCTS), *outside)]
        )
        self.titles = pl.Series([f'","title":{_json(product.name)}}}}},"properties":{{' for product in PRODUCTS])
        facts = [f'"sku":"{product.sku}","price":{product.cents / 100},"currency":"EUR"' for product in PRODUCTS]
        orders = [f'"revenue":{product.cents / 100},"currency":"EUR"' for product in PRODUCTS]
        self.details = pl.Series([*facts, '"scroll_depth":45', '"layout":"wide"', *orders])


class _ClockText:
    """ISO 8601 text of many moments, by looking up its parts."""

    def __init__(self, first_day: date, days: int) -> None:
        self._start = day_start(first_day)
        # One day more: the last events are received after midnight.
        all_days = [f"{first_day + timedelta(days=offset)}T" for offset in range(days + 1)]
        self._days = _table(all_days)
        self._seconds = _table([f"{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}." for s in range(86_400)])
        self._milliseconds = _table([f"{ms:03}Z" for ms in range(1_000)])

    def iso(self, moments: Ints) -> pl.Series:
        """The text of epoch milliseconds."""
        day, rest = np.divmod(moments - self._start, DAY)
        second, millisecond = np.divmod(rest, SECOND)
        parts = (self._days[day], self._seconds[second], self._milliseconds[millisecond])
        return _series(np.concatenate(parts, axis=1))


def _moments(rng: np.random.Generator, count: int, first_day: date, days: int) -> Ints:
    weekdays = [WEEKDAY_WEIGHTS[(first_day + timedelta(days=offset)).weekday()] for offset in range(days)]
    day = rng.choice(days, count, p=_shares(weekdays))
    hour = rng.choice(24, count, p=_shares(HOUR_WEIGHTS))
    return day_start(first_day) + day * DAY + hour * HOUR + rng.integers(0, HOUR, count)


def _shares(weights: Sequence[float]) -> npt.NDArray[np.float64]:
    numbers = np.asarray(weights, dtype=np.float64)
    return numbers / numbers.sum()


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _table(texts: list[str]) -> Bytes:
    """ASCII texts of equal length as a matrix of bytes, one row each."""
    return np.frombuffer("".join(texts).encode(), dtype=np.uint8).reshape(len(texts), -1)


def _series(characters: Bytes) -> pl.Series:
    """A matrix of ASCII bytes as text, one value a row."""
    rows, width = characters.shape
    offsets = np.arange(0, (rows + 1) * width, width, dtype=np.int64)
    data = np.ascontiguousarray(characters)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pl.Series(pa.Array.from_buffers(pa.large_string(), rows, buffers))


_HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)


def _hex_digits(rng: np.random.Generator, count: int, digits: int) -> Bytes:
    raw = np.frombuffer(rng.bytes(count * digits // 2), dtype=np.uint8).reshape(count, digits // 2)
    return _HEX[np.stack((raw >> 4, raw & 15), axis=2).reshape(count, digits)]


def _hex(rng: np.random.Generator, count: int, digits: int) -> pl.Series:
    return _series(_hex_digits(rng, count, digits))


def _uuids(rng: np.random.Generator, count: int) -> pl.Series:
    """Random 128-bit ids in the shape of UUIDs."""
    text = np.full((count, 36), ord("-"), dtype=np.uint8)
    text[:, [place for place in range(36) if place not in _DASHES]] = _hex_digits(rng, count, 32)
    return _series(text)
