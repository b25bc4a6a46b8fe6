"""Guesses the declaration of a source from a sample of its files."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline_assets.declarations.problems import suggestion
from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.formats import READY_FORMATS
from pipeline_assets.sources.formats.web_requests import request_mapping
from pipeline_assets.sources.staged_events import EVENT_TYPES
from pipeline_assets.sql import literal
from pipeline_assets.starting import values
from pipeline_assets.starting.columns import Columns, Part, column_sql
from pipeline_assets.starting.money import Money
from pipeline_assets.starting.names import known, others, rank, words
from pipeline_assets.starting.people import People, id_sql, may_be_id
from pipeline_assets.starting.samples import Column, Sample, SampleError

_PAGE_EVENTS = frozenset(
    {"page", "pageview", "page view", "page viewed", "viewed page", "$pageview", "view page", "seitenaufruf"}
)
_SCREEN_EVENTS = frozenset({"screen", "screen view", "screen viewed", "$screen"})
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

    def kept(self, sample: Sample) -> list[str]:
        """The columns of a sample of which nothing is made, in the order of the file; they are kept in `properties`."""
        if sample.format in READY_FORMATS or "mapping" not in self.attributes:
            return []
        made = " ".join(self.attributes["mapping"].values())
        return [
            column.name
            for column in sample.columns
            if not re.search(rf'(?<![\w."]){re.escape(column_sql(column.path))}(?![\w"])', made)
        ]


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
            if mapping["page_url"] == "target" and "referrer_url" in mapping:
                comments["mapping.page_url"] = (
                    "the log does not say the host: put \"'https://www.example.com' || target\", or visits that come "
                    "from the site's own pages count as referrals"
                )
        elif not {"anonymous_id", "user_id"} & set(ready.mapping):
            found, currencies = self._whose()
            mapping |= found
        if self.wishes.visitor:
            mapping["anonymous_id"] = self._wished(self.wishes.visitor, "--visitor")
        if self.wishes.time:
            mapping["occurred_at"] = self._wished(self.wishes.time, "--time")
        if self.wishes.event:
            is_column = any(column.name == self.wishes.event for column in self.sample.columns)
            mapping["event_name"] = (
                self._wished(self.wishes.event, "--event") if is_column else literal(self.wishes.event)
            )
        if mapping:
            attributes["mapping"] = mapping
        if ready is not None and self._needs_zone(ready.log):
            attributes["time"], comments["time"] = _zone({}, self.wishes)
        return Guess(attributes, {place: text for place, text in comments.items() if text}, {}, currencies)

    def _wished(self, name: str, option: str) -> str:
        source = Source.model_validate({"path": "*", "format": self.sample.format, "mapping": {}})
        if source.record_format.has_own_columns:
            return column_sql(Columns(self.sample).named(name, option).path)
        there = source.record_format.known_fields
        if name not in there:
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
        columns = Columns(Sample(self.sample.format, self.sample.attributes, tuple(payload)))
        people = {} if self.wishes.visitor else People(columns, None).find().mapping
        money = Money(columns)
        mapping = {**people, **money.find().mapping}
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
    """The attribute `time` with a zone, and what to know about it; nothing where the zone was named."""
    zone = wishes.zone or wishes.default_zone
    if wishes.zone:
        return {**time, "zone": zone}, ""
    return (
        {**time, "zone": zone},
        f"the times in the files do not say their zone: {zone} is a guess; put the one they were written in, such as "
        "Europe/Berlin",
    )


class _Generic:
    """Files of which only the columns are known."""

    def __init__(self, sample: Sample, wishes: Wishes, name: str) -> None:
        self.sample, self.wishes, self.name = sample, wishes, name
        self.columns = Columns(sample)
        self.comments: dict[str, str] = dict(sample.guesses)
        self.open: dict[str, str] = {}

    def guess(self) -> Guess:
        columns = self.columns
        mapping: dict[str, str] = {}
        # What was named first, so that nothing else takes it.
        event_wish = self._wished_event()
        time = self._time(mapping)
        event_id = columns.take(columns.best(known("event_id"), self._is_event_id, least=1.9))
        session = columns.take(columns.best(known("session"), may_be_id, least=1.5))
        visitor = columns.named(self.wishes.visitor, "--visitor") if self.wishes.visitor else None
        if session is visitor:
            session = None
        money = Money(columns)
        paid = money.find()
        people = People(columns, self.wishes.visitor).find()
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
        comments = {place: text for place, text in self.comments.items() if text}
        return Guess(attributes, comments, self.open, money.currencies)

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
        own = " ".join(word for word in words(column.path[-1]) if word not in known("units_of_time"))
        score = rank((*column.path[:-1], own or column.path[-1]), known("time"))
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

    def _event(self, wished: Column | None, money: Money, paid: Part, page: Column | None) -> dict[str, str]:
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
        elif "revenue" in paid.mapping and money.is_usual:
            name = _PURCHASE
        else:
            name = _PAGE_VIEW if page is not None else self.name
        mapping["event_name"] = literal(name)
        if name == _PURCHASE and money.paid_back:
            mapping["event_name"] = f"CASE WHEN {money.paid_back} THEN '{_REFUND}' ELSE '{_PURCHASE}' END"
        mapping["event_type"] = "'page'" if page is not None and "revenue" not in paid.mapping else "'track'"
        if self.wishes.event is None:
            self.comments["mapping.event_name"] = (
                "no column says what happened, so all events are called this; put the column, if one does"
            )
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

    def _receipts(self, people: Part, paid: Part) -> None:
        """Let a receipt stand for the visitor where the customer is not known: money would be lost to quarantine."""
        order = paid.mapping.get("order_id")
        user = people.mapping.get("user_id")
        if not order or not user or "anonymous_id" in people.mapping:
            return
        customer = next((column for column in self.sample.columns if id_sql(column) == user), None)
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

    def _number_marks(self, attributes: dict[str, Any], money: Money) -> None:
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
    cases = [f"WHEN {column_sql(event.path)} IN ({', '.join(map(literal, found))}) THEN '{kind}'"
             for found, kind in ((pages, "page"), (screens, "screen")) if found]  # fmt: skip
    return f"CASE {' '.join(cases)} ELSE 'track' END"


def source_of(guessed: Guess, *, name: str, path: str) -> Source:
    """The declaration as the pipeline understands it."""
    return Source.model_validate({"name": name, "path": path, **json.loads(json.dumps(guessed.attributes))})
