"""Guesses the declaration of a source from a sample of its files."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pipeline_assets.contracts.staged_events import EVENT_TYPES
from pipeline_assets.declarations.problems import suggestion
from pipeline_assets.sources.declaration import TABLE_FORMATS, Source
from pipeline_assets.sources.expressions import database
from pipeline_assets.sources.formats import READY_FORMATS
from pipeline_assets.sources.formats.web_requests import request_mapping
from pipeline_assets.sources.no_ids import NO_IDS
from pipeline_assets.starting import values
from pipeline_assets.starting.names import CURRENCY_SIGNS, currency_in, known, others, rank, words
from pipeline_assets.starting.samples import Column, Sample, SampleError

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PAGE_EVENTS = frozenset(
    {"page", "pageview", "page view", "page viewed", "viewed page", "$pageview", "view page", "seitenaufruf"}
)
_SCREEN_EVENTS = frozenset({"screen", "screen view", "screen viewed", "$screen"})
_NO_IDS = frozenset(value.lower() for value in NO_IDS)
_MOST_EVENTS = 100
_LONGEST_EVENT = 80
# What an event is called where no column says it.
_PURCHASE, _REFUND, _PAGE_VIEW = "purchase", "refund", "page_viewed"


@dataclass(frozen=True)
class Wishes:
    """What whoever begins has said.

    Attributes:
        time: column with the time of the event.
        visitor: column with the id of the visitor or customer.
        event: column with the event's name, or a name that all events get.
        zone: time zone of times that do not say theirs.
        default_zone: the zone where none was said; a guess.
    """

    time: str | None = None
    visitor: str | None = None
    event: str | None = None
    zone: str | None = None
    default_zone: str = "UTC"


@dataclass(frozen=True)
class Guess:
    """A declaration, and what is not certain about it.

    Attributes:
        attributes: as in a declaration, without `path`.
        comments: where in the attributes, such as `mapping.occurred_at` -> what to know about it.
        open: column of the event contract that was not found -> what to put there.
        currencies: the currencies of the amounts, if they are known.
    """

    attributes: Mapping[str, Any]
    comments: Mapping[str, str] = field(default_factory=dict)
    open: Mapping[str, str] = field(default_factory=dict)
    currencies: tuple[str, ...] = ()


def guess(sample: Sample, wishes: Wishes, *, name: str) -> Guess:
    """The declaration that a sample suggests.

    Args:
        sample: what the files are like.
        wishes: what was said about them.
        name: the source's name, for events of which nothing says what they are.

    Raises:
        SampleError: no time or no id was found, or a column that was named is not there.
    """
    ready = READY_FORMATS.get(sample.format)
    if ready is not None or not sample.columns:
        return _Ready(sample, wishes).guess()
    return _Generic(sample, wishes, name).guess()


def column_sql(path: tuple[str, ...]) -> str:
    """A column as an expression reads it, quoted where it must be."""
    return ".".join(part if _is_plain(part) else '"' + part.replace('"', '""') + '"' for part in path)


@cache
def _reserved() -> frozenset[str]:
    sql = "select keyword_name from duckdb_keywords() where keyword_category <> 'unreserved'"
    return frozenset(row[0] for row in database().cursor().execute(sql).fetchall())


def _is_plain(name: str) -> bool:
    return _PLAIN_NAME.fullmatch(name) is not None and name.lower() not in _reserved()


class _Columns:
    """The columns of a sample, each of which is taken for one thing."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.usable = [column for column in sample.columns if column.values]
        self.taken: set[tuple[str, ...]] = set()

    def take(self, column: Column | None) -> Column | None:
        if column is not None:
            self.taken.add(column.path)
        return column

    def free(self) -> Iterator[Column]:
        return (column for column in self.usable if column.path not in self.taken)

    def best(
        self,
        wanted: Sequence[str],
        fits: Callable[[Column], bool],
        *,
        least: float = 1.0,
        bonus: Callable[[Column], float] | None = None,
    ) -> Column | None:
        """The column whose name is best, of those whose values fit."""
        ranked: list[tuple[float, float, int, Column]] = []
        for place, column in enumerate(self.free()):
            score = rank(column.path, wanted) + (bonus(column) if bonus else 0.0)
            if score >= least and column.type != "nested" and fits(column):
                ranked.append((round(score, 2), len(column.values), -place, column))
        return max(ranked, key=lambda item: item[:3])[-1] if ranked else None

    def named(self, name: str, option: str) -> Column:
        """The column of a name that was given.

        Raises:
            SampleError: there is none.
        """
        for column in self.sample.columns:
            if name.casefold() in (column.name.casefold(), column_sql(column.path).casefold()):
                return column
        there = [column.name for column in self.sample.columns]
        raise SampleError(f"{option} {name}: there is no such column{suggestion(name, there)}. {self.listed()}")

    def listed(self) -> str:
        """Which columns there are, in words."""
        return "There are: " + ", ".join(column.name for column in self.sample.columns)


class _Ready:
    """A format of which everything is known, but perhaps whose events they are and in which zone."""

    def __init__(self, sample: Sample, wishes: Wishes) -> None:
        self.sample, self.wishes = sample, wishes

    def guess(self) -> Guess:
        """The declaration: what the format does not say, and what was wished."""
        attributes: dict[str, Any] = {"format": self.sample.format, **self.sample.attributes}
        comments = dict(self.sample.guesses)
        ready = READY_FORMATS.get(self.sample.format)
        mapping = _of_requests(self.sample.format) if ready is None else {}
        currencies: tuple[str, ...] = ()
        if ready is None:
            comments["mapping.anonymous_id"] = "a hash of address and browser: a pseudonym, not anonymous"
        elif not {"anonymous_id", "user_id"} & set(ready.mapping):
            found, currencies = self._whose()
            mapping |= found
        for option, column, wish in (
            ("--visitor", "anonymous_id", self.wishes.visitor),
            ("--time", "occurred_at", self.wishes.time),
        ):
            if wish and column not in mapping.keys() - set(_of_requests("combined_log")):
                mapping[column] = self._wished(wish, option)
        if self.wishes.event:
            mapping["event_name"] = _literal(self.wishes.event)
        if mapping:
            attributes["mapping"] = mapping
        if ready is not None and self._needs_zone(ready.log):
            attributes["time"], comments["time"] = _zone({}, self.wishes)
        return Guess(attributes, comments, {}, currencies)

    def _wished(self, name: str, option: str) -> str:
        source = Source.model_validate({"path": "*", "format": self.sample.format, "mapping": {}})
        if source.log is None:
            return column_sql(_Columns(self.sample).named(name, option).path)
        if name not in source.log.fields:
            there = source.log.fields
            raise SampleError(
                f"{option} {name}: there is no such field{suggestion(name, there)}. There are: {', '.join(there)}"
            )
        return column_sql((name,))

    def _needs_zone(self, log: Any) -> bool:
        formats = list(log.times.values()) if log is not None else []
        return any("%" in written and "%z" not in written.lower() for written in formats)

    def _whose(self) -> tuple[dict[str, str], tuple[str, ...]]:
        """The id and the money of an envelope that says neither, and the currencies."""
        payload = [column for column in self.sample.columns if column.path[0] == "data" and len(column.path) > 1]
        columns = _Columns(Sample(self.sample.format, self.sample.attributes, tuple(payload)))
        found = _People(columns, self.wishes).find()
        money = _Money(columns)
        mapping = {**found.mapping, **money.find().mapping}
        return {column: text for column, text in mapping.items() if column != "items"}, money.currencies


def _of_requests(log_format: str) -> dict[str, str]:
    """The mapping of an access log, as that of the logs which are ready."""
    has_headers = "common" not in log_format
    url = "'http://' || virtual_host || target" if log_format.startswith("vhost") else "target"
    mapping = request_mapping(
        time="time",
        address="remote_host",
        agent="user_agent" if has_headers else "NULL",
        method="method",
        status="status",
        path="target",
        url=url,
        referrer="referrer" if has_headers else None,
    )
    if not has_headers:
        del mapping["user_agent"]
    return {column: " ".join(text.split()) for column, text in mapping.items()}


def _zone(time: dict[str, str], wishes: Wishes) -> tuple[dict[str, str], str]:
    zone = wishes.zone or wishes.default_zone
    if wishes.zone:
        return {**time, "zone": zone}, "the times in the files do not say their zone: it is the one you named"
    return (
        {**time, "zone": zone},
        f"the times in the files do not say their zone: {zone} is a guess; put the one they were written in, such as "
        "Europe/Berlin",
    )


@dataclass
class _Part:
    """A part of a mapping."""

    mapping: dict[str, str] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    open: dict[str, str] = field(default_factory=dict)


class _People:
    """Whose events they are."""

    def __init__(self, columns: _Columns, wishes: Wishes) -> None:
        self.columns, self.wishes = columns, wishes

    def find(self) -> _Part:
        """The ids of visitors and users.

        Raises:
            SampleError: there are none.
        """
        part = _Part()
        columns = self.columns
        chosen = columns.take(columns.named(self.wishes.visitor, "--visitor")) if self.wishes.visitor else None
        user = visitor = None
        if chosen is not None and rank(chosen.path, known("user")) > rank(chosen.path, known("visitor")):
            user = chosen
        else:
            visitor = chosen
        if chosen is None:
            visitor = columns.take(columns.best(known("visitor"), _may_be_id, least=1.5))
            user = columns.take(columns.best(known("user"), _may_be_id, least=1.5))
        if visitor is None and user is None:
            visitor = columns.take(next(filter(_repeats, columns.free()), None))
            if visitor is not None:
                part.comments["anonymous_id"] = (
                    "the ids in this column come again, as those of visitors do: is it that?"
                )
        if visitor is None and user is None:
            emails = next((column for column in columns.free() if values.are_emails(column.values)), None)
            user = columns.take(emails)
        if user is not None:
            part.mapping["user_id"] = _id_sql(user)
            if values.are_emails(user.values):
                part.comments["user_id"] = "personal data; sha256(lower(…)) of it identifies as well"
        if visitor is not None:
            part.mapping["anonymous_id"] = _id_sql(visitor)
        if not part.mapping:
            self._by_address(part)
        if not part.mapping:
            raise SampleError(
                f"no column was found that says whose events these are. {columns.listed()}. Name it: --visitor COLUMN "
                "(a visitor's, customer's or device's id; where there is none, a receipt or machine may stand for one)"
            )
        if "user_id" not in part.mapping:
            part.open["user_id"] = "the signed-in user's or customer's id, if there is a column for it"
        if "anonymous_id" not in part.mapping:
            part.open["anonymous_id"] = "the id of the device or browser, if there is a column for it"
        return part

    def _by_address(self, part: _Part) -> None:
        address = next((column for column in self.columns.free() if values.are_addresses(column.values)), None)
        if address is None:
            return
        agent = next((column for column in self.columns.free() if values.are_user_agents(column.values)), None)
        of = [column_sql(column.path) for column in (address, agent) if column is not None]
        part.mapping["anonymous_id"] = f"sha256(concat_ws(' ', {', '.join(of)}))"
        part.comments["anonymous_id"] = "there is no id, so it is a hash of address and browser: a pseudonym"


def _id_sql(column: Column) -> str:
    text = column_sql(column.path)
    # What passed through a data frame with gaps: 17850.0 for 17850.
    if column.type == "text" and values.nearly_all(column.values, re.compile(r"\d+\.0")):
        return f"regexp_replace({text}, '\\.0$', '')"
    return text


def _may_be_id(column: Column) -> bool:
    """Whether values tell many from each other: no amounts, times, addresses of pages or yes and no."""
    texts = column.values
    if column.type in ("boolean", "time", "zoned_time", "date", "nested"):
        return False
    if all(value.lower() in _NO_IDS for value in texts):
        return False
    found = values.time_formats(texts)
    if any(each.certain for each in found) or values.are_urls(texts) or values.are_user_agents(texts):
        return False
    style = values.number_style(texts, comma_first=False)
    fractions = any(re.search(r"[.,]\d*[1-9]", text) for text in texts)
    return not (style is not None and fractions)


def _repeats(column: Column) -> bool:
    """Whether values look like random ids and come again."""
    texts = column.values
    return column.type == "text" and values.are_random_ids(texts) and 1 < column.distinct < len(texts)


@dataclass
class _Money:
    """What was paid, in what, for which order and for what."""

    columns: _Columns
    style: tuple[str, str] | None = None
    currencies: tuple[str, ...] = ()
    paid_back: str | None = None
    """SQL that is true where money was paid back; None where none was in the sample."""

    def find(self) -> _Part:
        part = _Part()
        columns = self.columns
        currency = columns.take(columns.best((), lambda each: values.are_currencies(each.values), least=0.0))
        if currency is not None:
            part.mapping["currency"] = column_sql(currency.path)
            counts = {code.upper() for code in currency.values}
            self.currencies = tuple(sorted(counts, key=lambda code: -sum(v.upper() == code for v in currency.values)))
        order = columns.take(columns.best(known("order_id"), _may_be_order, least=1.5))
        if order is not None:
            part.mapping["order_id"] = column_sql(order.path)
        quantity = columns.best(known("quantity"), self._is_number, least=1.5)
        price = columns.best(known("price"), self._is_number, least=1.5) if quantity else None
        amount = columns.best(known("revenue"), lambda each: self._is_amount(each) and each is not quantity, least=1.5)
        if amount is None and currency is not None:
            amount = columns.best((), lambda each: self._is_number(each) and values.has_cents(each.values), least=0.0)
        if amount is None and price is None:
            for column in columns.free():
                found = values.undecorated(column.values)
                if found is not None and column.type == "text" and self._style_of(found[0]) is not None:
                    amount = column
                    break
        if price is not None and quantity is not None and amount in (None, price):
            part.mapping["revenue"] = f"{self._number(quantity)} * {self._number(price)}"
            part.comments["revenue"] = "quantity times price"
            self._refunds(quantity)
        elif amount is not None:
            self._amount(columns.take(amount), part)
        if "revenue" not in part.mapping:
            return _Part(
                {"order_id": part.mapping["order_id"]} if order is not None else {},
                open={"revenue": "the amount of money of an event, and `currency` beside it"},
            )
        if "currency" not in part.mapping:
            part.open["currency"] = (
                "a column, or one code for all, such as \"'EUR'\"; without it amounts are in the reporting currency"
            )
        if order is None:
            part.open["order_id"] = "the number of the order or receipt; `orders` has no rows without it, `revenue` has"
        self._items(part, quantity, price)
        return part

    def _amount(self, amount: Column | None, part: _Part) -> None:
        if amount is None:
            return
        text = column_sql(amount.path)
        self.style = self._style_of(amount.values)
        if self.style is None and (found := values.undecorated(amount.values)) is not None:
            self.style = self._style_of(found[0])
            text = f"regexp_replace({text}, '[^0-9.,''+-]', '', 'g')"
            codes = {CURRENCY_SIGNS.get(sign, sign) for sign in found[1]}
            if "currency" not in part.mapping and len(codes) == 1 and values.are_currencies(sorted(codes)):
                part.mapping["currency"] = f"'{codes.pop()}'"
                self.currencies = (part.mapping["currency"].strip("'"),)
        named = currency_in(amount.path[-1])
        if "currency" not in part.mapping and named:
            part.mapping["currency"], self.currencies = _literal(named), (named,)
        part.mapping["revenue"] = text
        self._refunds(amount)

    def _refunds(self, column: Column) -> None:
        if any("-" in value for value in column.values):
            text = column_sql(column.path)
            native = column.type == "number" and self.columns.sample.format == "parquet"
            self.paid_back = f"{text} < 0" if native else f"contains({text}, '-')"

    def _items(self, part: _Part, quantity: Column | None, price: Column | None) -> None:
        """What was bought, where each row is one product."""
        sku = self.columns.best(known("sku"), lambda column: column.type in ("text", "number"), least=1.5)
        name = self.columns.best(
            known("product"), lambda column: column.type == "text" and column is not sku, least=1.5
        )
        if sku is None and name is None:
            return
        # A list of several products is something else.
        if any(column is not None and column.values[0].startswith(("[", "{")) for column in (sku, name)):
            return
        fields = {"sku": sku, "name": name}
        pairs = [f"'{key}', {column_sql(column.path)}" for key, column in fields.items() if column is not None]
        pairs += [
            f"'{key}', {self._number(column)}"
            for key, column in (("price", price), ("quantity", quantity))
            if column is not None
        ]
        part.mapping["items"] = f"json_array(json_object({', '.join(pairs)}))"

    def _is_number(self, column: Column) -> bool:
        return column.type == "number" or (column.type == "text" and self._style_of(column.values) is not None)

    def _is_amount(self, column: Column) -> bool:
        found = None if self._is_number(column) else values.undecorated(column.values)
        return self._is_number(column) or (found is not None and self._style_of(found[0]) is not None)

    def _style_of(self, texts: Sequence[str]) -> tuple[str, str] | None:
        sample = self.columns.sample
        if sample.format in TABLE_FORMATS - {"parquet"}:
            return values.number_style(texts, comma_first=sample.attributes.get("csv", {}).get("delimiter") == ";")
        # Elsewhere numbers are written in one way.
        found = values.number_style(texts, comma_first=False)
        return found if found == (".", "") else None

    def _number(self, column: Column) -> str:
        """SQL of an exact number in a column of text."""
        text = column_sql(column.path)
        if column.type == "number" and self.columns.sample.format == "parquet":
            return f"{text}::DECIMAL(18, 6)"
        decimal, thousands = self._style_of(column.values) or (".", "")
        if thousands:
            text = f"replace({text}, '{thousands.replace(chr(39), chr(39) * 2)}', '')"
        if decimal != ".":
            text = f"replace({text}, '{decimal}', '.')"
        whole = not any(re.search(r"[.,]", value) for value in column.values)
        return f"{text}::BIGINT" if whole else f"{text}::DECIMAL(18, 6)"


def _may_be_order(column: Column) -> bool:
    texts = column.values
    several = column.distinct > 1 or len(texts) == 1
    return _may_be_id(column) and several and not values.has_cents(texts)


class _Generic:
    """Files of which only the columns are known."""

    def __init__(self, sample: Sample, wishes: Wishes, name: str) -> None:
        self.sample, self.wishes, self.name = sample, wishes, name
        self.columns = _Columns(sample)
        self.comments: dict[str, str] = dict(sample.guesses)
        self.open: dict[str, str] = {}

    def guess(self) -> Guess:
        columns = self.columns
        mapping: dict[str, str] = {}
        # What was named first, so that nothing else takes it.
        event_wish = self._wished_event()
        time = self._time(mapping)
        event_id = columns.take(columns.best(known("event_id"), self._is_event_id, least=1.9))
        session = columns.take(columns.best(known("session"), _may_be_id, least=1.5))
        if session is not None and session.path == self._wished_path(self.wishes.visitor):
            session = None
        money = _Money(columns)
        paid = money.find()
        people = _People(columns, self.wishes).find()
        self._receipts(people, paid)
        page, referrer, agent = self._web()
        if event_id is not None:
            mapping["event_id"] = column_sql(event_id.path)
        mapping |= self._event(event_wish, money, paid, page)
        mapping |= people.mapping
        if session is not None:
            mapping["session_id_supplied"] = column_sql(session.path)
            self.comments["mapping.session_id_supplied"] = (
                "sessions are made of pauses all the same; `sessions: {mode: supplied}` takes the tracker's"
            )
        for column, found in (("page_url", page), ("referrer_url", referrer), ("user_agent", agent)):
            if found is not None:
                mapping[column] = column_sql(found.path)
        for column, wanted in others().items():
            found = columns.take(columns.best(wanted, lambda each: each.type in ("text", "number"), least=1.9))
            if found is not None:
                mapping[column] = column_sql(found.path)
        mapping |= paid.mapping
        if event_id is None:
            self.open["event_id"] = (
                "an id that no other event has, in all files; without one, equal rows of two files count as one event"
            )
        for part in (people, paid):
            self.comments |= {f"mapping.{column}": text for column, text in part.comments.items()}
            self.open |= part.open
        attributes: dict[str, Any] = {"format": self.sample.format, **self.sample.attributes}
        self._number_marks(attributes, money)
        attributes["mapping"] = mapping
        if time:
            attributes["time"] = time
        return Guess(attributes, self.comments, self.open, money.currencies)

    def _wished_path(self, wish: str | None) -> tuple[str, ...] | None:
        return self.columns.named(wish, "--visitor").path if wish else None

    def _wished_event(self) -> Column | None:
        """The column with the event's name that was named; None where a name was, or nothing."""
        if self.wishes.event is None:
            return None
        try:
            return self.columns.take(self.columns.named(self.wishes.event, "--event"))
        except SampleError:
            return None

    # -- time ---------------------------------------------------------------------------------------------------------

    def _time(self, mapping: dict[str, str]) -> dict[str, str]:
        """Map the time; the attribute `time` that it needs."""
        if self.wishes.time:
            column: Column | None = self.columns.named(self.wishes.time, "--time")
        else:
            ranked = [
                (score, -place, column)
                for place, column in enumerate(self.columns.free())
                if (score := self._time_rank(column)) is not None
            ]
            column = max(ranked, key=lambda item: item[:2])[-1] if ranked else None
        if column is None:
            raise SampleError(
                f"no column was found that says when the events happened. {self.columns.listed()}. Name it: "
                "--time COLUMN"
            )
        self.columns.take(column)
        text = column_sql(column.path)
        mapping["occurred_at"] = text
        if column.type == "zoned_time":
            return {}
        if column.type in ("time", "date"):
            time, self.comments["time"] = _zone({}, self.wishes)
            return time
        formats = values.time_formats(column.values)
        if not formats:
            raise SampleError(
                f"{column.name}: its values are no times in a format that is known here; map it by hand, with `time: "
                '{format: "%d.%m.%Y"}` or an expression'
            )
        found, uncertain = values.likeliest(formats, column.values)
        written = found.format
        if found.dated and (clock := self._clock(column)) is not None:
            mapping["occurred_at"] = f"{text} || ' ' || {column_sql(clock.path)}"
            # A date alone is ISO 8601 too.
            date = "%Y-%m-%d" if written == "iso8601" else written
            written = f"{date} {values.clock_format(clock.values)}"
        elif found.dated:
            self.comments["mapping.occurred_at"] = "only a date: all events of a day happen at its first moment"
        if uncertain:
            other = next(each.format for each in formats if each != found)
            self.comments["mapping.occurred_at"] = f"day and month look alike in the sample; it may be {other}"
        # A letter Z behind the time is text to the format, and says UTC.
        if written.endswith("Z") and not written.endswith("%Z"):
            return {"format": written, "zone": "UTC"}
        time = {} if written == "iso8601" else {"format": written}
        if found.zoned:
            return time
        time, self.comments["time"] = _zone(time or {"format": "iso8601"}, self.wishes)
        return time

    def _time_rank(self, column: Column) -> float | None:
        """How likely it is that a column is the time of the event; None where it is no time."""
        timed = column.type in ("time", "zoned_time", "date")
        formats = [] if timed or column.type in ("boolean", "nested") else values.time_formats(column.values)
        if not timed and not formats:
            return None
        score = rank(column.path, known("time"))
        if formats and not any(found.certain for found in formats) and score < 1.5:
            return None
        if set(words(column.path[-1])) & set(known("not_time")):
            score -= 2
        score += 2 * len(column.values) / max(column.records, 1)
        score += 0.3 * (column.type == "zoned_time" or any(found.zoned for found in formats))
        return score - 0.3 * (column.type == "date" or any(found.dated for found in formats))

    def _clock(self, date: Column) -> Column | None:
        """A column with the time of day, beside that with the date."""
        return self.columns.take(
            next(
                (
                    column
                    for column in self.columns.free()
                    if column.type == "text"
                    and values.are_clocks(column.values)
                    and len(column.values) == len(date.values)
                    and not set(words(column.path[-1])) & set(known("not_time"))
                ),
                None,
            )
        )

    # -- what happened ------------------------------------------------------------------------------------------------

    def _event(self, wished: Column | None, money: _Money, paid: _Part, page: Column | None) -> dict[str, str]:
        columns = self.columns
        event = wished
        mapping: dict[str, str] = {}
        if event is None and self.wishes.event is None:
            event = columns.take(columns.best(known("event"), self._is_event_name, least=1.5))
        kind = columns.best(known("event_type"), _is_event_type, least=1.9)
        if event is not None and kind is None and _is_event_type(event):
            kind = event
        if event is not None:
            mapping["event_name"] = column_sql(event.path)
            if kind is not None:
                mapping["event_type"] = column_sql(kind.path)
            elif types := _types(event):
                mapping["event_type"] = types
            # Funnels and checks ask for names, so an event without one is told.
            return mapping
        if self.wishes.event is not None:
            name = self.wishes.event
        elif "revenue" in paid.mapping:
            name = _PURCHASE
        else:
            name = _PAGE_VIEW if page is not None else self.name
        mapping["event_name"] = _literal(name)
        if name == _PURCHASE and money.paid_back:
            mapping["event_name"] = f"CASE WHEN {money.paid_back} THEN '{_REFUND}' ELSE '{_PURCHASE}' END"
        mapping["event_type"] = "'page'" if page is not None and "revenue" not in paid.mapping else "'track'"
        if self.wishes.event is None:
            self.comments["mapping.event_name"] = "no column says what happened, so all events are called this"
        return mapping

    def _is_event_name(self, column: Column) -> bool:
        texts = column.values
        if column.type != "text" or len(texts) < column.records / 2:
            return False
        if column.distinct > min(_MOST_EVENTS, max(20, len(texts) / 2)) or max(map(len, texts)) > _LONGEST_EVENT:
            return False
        return not (
            values.time_formats(texts)
            or values.are_urls(texts)
            or values.are_emails(texts)
            or values.are_random_ids(texts)
            or values.number_style(texts, comma_first=False)
        )

    def _is_event_id(self, column: Column) -> bool:
        """Whether no two rows have the same; a mere count begins again in each file."""
        texts = column.values
        if len(texts) < column.records or column.distinct < len(texts) * 0.9:
            return False
        counted = values.number_style(texts, comma_first=False) is not None and len(max(texts, key=len)) < 10
        return values.are_random_ids(texts) or not counted

    def _receipts(self, people: _Part, paid: _Part) -> None:
        """Let a receipt stand for the visitor where the customer is not known: money would be lost to quarantine."""
        order = paid.mapping.get("order_id")
        user = people.mapping.get("user_id")
        if not order or not user or "anonymous_id" in people.mapping:
            return
        customer = next((column for column in self.sample.columns if _id_sql(column) == user), None)
        if customer is not None and len(customer.values) < customer.records:
            people.mapping["anonymous_id"] = f"CASE WHEN {column_sql(customer.path)} IS NULL THEN {order} END"
            people.comments["anonymous_id"] = "where the customer is not known, the order stands for the visitor"
            people.open.pop("anonymous_id", None)

    def _web(self) -> tuple[Column | None, Column | None, Column | None]:
        columns = self.columns
        agent = columns.take(
            columns.best(
                known("user_agent"), lambda each: each.type == "text" and max(map(len, each.values)) > 10, least=1.9
            )
            or next((each for each in columns.free() if values.are_user_agents(each.values)), None)
        )

        def is_page(column: Column) -> bool:
            return values.are_urls(column.values) and not set(words(column.path[-1])) & set(known("not_page"))

        referrer = columns.take(columns.best(known("referrer"), lambda each: values.are_urls(each.values), least=1.9))
        page = columns.take(
            columns.best(known("page_url"), is_page, least=1.5)
            or next((each for each in columns.free() if is_page(each) and each.values[0].startswith("http")), None)
        )
        return page, referrer, agent

    # -- how it is written --------------------------------------------------------------------------------------------

    def _number_marks(self, attributes: dict[str, Any], money: _Money) -> None:
        """Declare the decimal mark that the amounts have."""
        if money.style in (None, (".", "")) or not self.sample.delimited:
            return
        decimal, thousands = money.style
        csv = dict(attributes.get("csv", {}))
        csv["decimal"] = decimal
        if thousands:
            csv["thousands"] = thousands
        attributes["csv"] = csv


def _is_event_type(column: Column) -> bool:
    return column.type == "text" and {value.lower() for value in column.values} <= set(EVENT_TYPES)


def _types(event: Column) -> str | None:
    """SQL of the type of events, where some of their names say that they are views of pages or screens."""

    def called(these: frozenset[str]) -> list[str]:
        return sorted({value for value in event.values if value.lower().replace("_", " ") in these})

    pages, screens = called(_PAGE_EVENTS), called(_SCREEN_EVENTS)
    if not pages and not screens:
        return None
    cases = [f"WHEN {column_sql(event.path)} IN ({', '.join(map(_literal, found))}) THEN '{kind}'"
             for found, kind in ((pages, "page"), (screens, "screen")) if found]  # fmt: skip
    return f"CASE {' '.join(cases)} ELSE 'track' END"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def source_of(guessed: Guess, *, name: str, path: str) -> Source:
    """The declaration as the pipeline understands it."""
    return Source.model_validate({"name": name, "path": path, **json.loads(json.dumps(guessed.attributes))})
