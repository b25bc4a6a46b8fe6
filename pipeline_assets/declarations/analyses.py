"""The declarations of analyses: the attributes a user writes in `defs.yaml`. Pure data.

Only shapes and simple values are checked here; the modules of `analyses` look at what the expressions mean, and its
`loading` at what the declarations of a deployment mean together. An analysis is called like its folder where it has no
`name`; its name is that of its table and its asset.
"""

import re
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from pipeline_assets.declarations.durations import CalendarDays, Days, Duration
from pipeline_assets.declarations.values import Sql

EventType = Literal["page", "screen", "track", "identify", "alias", "group", "ping"]
Entity = Literal["visitor", "person"]
Breakdown = Literal[
    "device_type",
    "country",
    "browser",
    "os",
    "language",
    "property",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "app_version",
]
AttributionModel = Literal["last", "last_non_direct", "first", "linear", "position", "time_decay", "markov", "shapley"]
ATTRIBUTION_MODELS: tuple[AttributionModel, ...] = (
    "last",
    "last_non_direct",
    "first",
    "linear",
    "position",
    "time_decay",
    "markov",
    "shapley",
)
LONGEST_WINDOW = timedelta(days=31)

NAME_PATTERN = r"^([a-z][a-z0-9_]*)?$"
# PostgreSQL cuts longer names of tables off.
_LONGEST_NAME = 63


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _currency(code: str) -> str:
    if not re.fullmatch("[A-Za-z]{3}", code):
        raise ValueError("must be an ISO 4217 code of three letters, such as EUR")
    return code.upper()


def _window(window: timedelta) -> timedelta:
    if not timedelta(0) < window <= LONGEST_WINDOW:
        raise ValueError(f"must be more than nothing and at most {LONGEST_WINDOW.days} days")
    return window


_ONE_OR_SEVERAL = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}

Text = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[Text, ...], Field(min_length=1), BeforeValidator(_listed), WithJsonSchema(_ONE_OR_SEVERAL)]
"""One text or several; always a tuple once it is read."""
EventTypes = Annotated[
    tuple[EventType, ...], Field(min_length=1), BeforeValidator(_listed), WithJsonSchema(_ONE_OR_SEVERAL)
]
CurrencyCode = Annotated[str, AfterValidator(_currency), WithJsonSchema({"type": "string", "pattern": "^[A-Za-z]{3}$"})]


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Selector(_Declared):
    """Which events are meant. All given conditions must hold; an empty selector means any event.

    Attributes:
        event: the event's name is one of these. One text may be written in YAML; here it is always a tuple.
        type: the event's type is one of these; likewise.
        where: DuckDB expression over the columns of `events`, true for the events that are meant. Where it is null or
            fails on a row, the row is not meant.
    """

    event: Names | None = None
    type: EventTypes | None = None
    where: Sql | None = None


class Analysis(_Declared):
    """What all declarations have.

    Attributes:
        name: name of the analysis, its table and its asset; empty in YAML means the name of the declaration's folder.
    """

    name: Annotated[str, Field(pattern=NAME_PATTERN, max_length=_LONGEST_NAME)] = ""


class TableAnalysis(Analysis):
    """An analysis with a table of its own, which has its name."""


class Convention(Analysis):
    """What holds for all tables; a deployment has one of each kind at most."""


A = TypeVar("A", bound=Analysis)


class Step(Selector):
    """One step of a funnel.

    Attributes:
        name: what the step is called in the table.
    """

    name: Text


class Funnel(TableAnalysis):
    """How many visitors or persons go through a series of steps within a time, and where they stop.

    Attributes:
        properties: sites, apps or fleets whose events count; empty means all.
        by: who goes through the steps: visitors (a device at one property) or persons.
        steps: the steps, from 2 to 20, with different names.
        mode: `ordered`: other events may lie between the steps; `strict`: each step is the very next event after the
            step before; `unordered`: the steps may be taken in any order.
        window: time in which the later steps count, its end included; at most 31 days.
        window_from: whether the window is measured from the first step or from the step before.
        breakdown: column of `events` by whose value in the entering event the figures are told apart.
    """

    properties: tuple[Text, ...] = ()
    by: Entity = "person"
    steps: Annotated[tuple[Step, ...], Field(min_length=2, max_length=20)]
    mode: Literal["ordered", "strict", "unordered"] = "ordered"
    window: Annotated[Duration, AfterValidator(_window)] = timedelta(days=7)
    window_from: Literal["first", "previous"] = "first"
    breakdown: Breakdown | None = None


class Retention(TableAnalysis):
    """How many of those who began in a day, week or month come back in later ones.

    Attributes:
        properties: sites, apps or fleets whose events count; empty means all.
        by: who comes back: visitors (a device at one property) or persons.
        cohort: the first such event puts someone into the cohort of its day; any event by default.
        returning: such an event means that someone came back; any event by default.
        period: length of a period.
        counting: `calendar`: difference between the calendar periods of a day and of the cohort's day; `rolling`: whole
            periods of 1, 7 or 30 days since the cohort's day.
        week_start: first day of a calendar week.
        periods: number of the last period that is counted; the period of the cohort itself has the number 0.
    """

    properties: tuple[Text, ...] = ()
    by: Entity = "person"
    cohort: Selector = Selector()
    returning: Selector = Selector()
    period: Literal["day", "week", "month"] = "week"
    counting: Literal["calendar", "rolling"] = "calendar"
    week_start: Literal["monday", "sunday", "saturday"] = "monday"
    periods: Annotated[int, Field(ge=1, le=400)] = 12


class Paths(TableAnalysis):
    """Which page or event follows which within a session, its start and end included.

    Attributes:
        properties: sites, apps or fleets whose sessions count; empty means all.
        of: whether the stations are pages (paths of page views) or events (their names).
        max_length: transitions after this many in a session are not counted.
    """

    properties: tuple[Text, ...] = ()
    of: Literal["pages", "events"] = "pages"
    max_length: Annotated[int, Field(ge=2, le=50)] = 20


class Conversion(Analysis, Selector):
    """An event that is worth something: a kind of rows in the table `conversions`.

    Attributes:
        properties: sites, apps or fleets whose events count; empty means all.
        value: DuckDB expression over the columns of `events`: the worth in the event's currency. Null, or where it
            fails or is no number: a conversion without a value.
        counting: whether each event is a conversion, or only the first of a session.
    """

    properties: tuple[Text, ...] = ()
    value: Sql = "revenue"
    counting: Literal["every", "once_per_session"] = "every"


class Attribution(TableAnalysis):
    """Which visits a conversion is owed to, by up to eight models whose credits add up to its value.

    Attributes:
        properties: sites, apps or fleets whose conversions count; empty means all those of the conversion.
        by: whose visits count: those of the same visitor (a device at one property) or of the same person.
        conversion: name of the declared `Conversion`.
        lookback_days: a visit counts if it started at most this many times 24 hours before the conversion, or within
            this length of time (`36h`).
        half_life_days: days in which the weight of a visit halves in the model `time_decay`.
        model_days: days up to a conversion's day from whose paths the model `markov` learns.
        models: the models that are computed; all by default.
    """

    properties: tuple[Text, ...] = ()
    by: Entity = "person"
    conversion: Text
    lookback_days: Annotated[Days, Field(le=90)] = 30.0
    half_life_days: Days = 7.0
    model_days: Annotated[CalendarDays, Field(ge=1, le=90)] = 28
    models: Annotated[tuple[AttributionModel, ...], Field(min_length=1)] = ATTRIBUTION_MODELS


class Table(TableAnalysis):
    """A table of the team's own, made in its own package: `spec` says where its TableSpec is.

    Attributes:
        spec: where it is, as `package.module:name`: a `TableSpec`, or a function that makes one from the
            `Declarations`.
    """

    spec: Text


class ChannelRule(_Declared):
    """A channel of the team's own. All given conditions must hold, and there must be one.

    Each condition is a regular expression for the whole value, whatever its case.

    Attributes:
        channel: name of the channel.
        source: where the visit came from: utm_source or the referrer's host.
        medium: utm_medium, or what follows from the referrer.
        campaign: utm_campaign.
        category: the source's category: search, social, shopping, video, ai, email or display.
        referrer_host: host of the referring page.
        click_id_type: parameter that carried the click id, such as gclid.
        advertising: utm_source, if it is a name that only advertising has, such as google_ads.
    """

    channel: Text
    source: Text | None = None
    medium: Text | None = None
    campaign: Text | None = None
    category: Text | None = None
    referrer_host: Text | None = None
    click_id_type: Text | None = None
    advertising: Text | None = None

    @property
    def conditions(self) -> dict[str, str]:
        """Field -> regular expression, of the fields that have one."""
        return self.model_dump(exclude={"channel"}, exclude_none=True)


class Channels(Convention):
    """How the channel of a session is found: standard rules, the team's own rules before them, aliases of sources.

    Attributes:
        rules: the standard rules: `ga4`, or `ga4_plus` which knows more of where people come from.
        own: rules of the team; they come before the standard ones, and the first that matches counts.
        aliases: other name of a source -> the source meant, beside the standard ones, lower case.
    """

    rules: Literal["ga4", "ga4_plus"] = "ga4_plus"
    own: tuple[ChannelRule, ...] = ()
    aliases: dict[Text, Text] = Field(default_factory=dict)


class Rate(_Declared):
    """What a currency is worth.

    Attributes:
        currency: ISO 4217 code.
        rate: worth of one unit in the reporting currency.
        since: first day on which it holds, in the reporting time zone; None: since ever. It holds until the currency's
            next rate.
    """

    currency: CurrencyCode
    rate: Annotated[Decimal, Field(gt=0, max_digits=18, decimal_places=12, allow_inf_nan=False)]
    since: date | None = None


class Currencies(Convention):
    """The currency in which money is reported, and what the other currencies are worth.

    Attributes:
        reporting: ISO 4217 code of the reporting currency.
        rates: the rates of the other currencies.
    """

    reporting: CurrencyCode
    rates: tuple[Rate, ...] = ()


@dataclass(frozen=True)
class Analyses:
    """The declared analyses of a deployment.

    Attributes:
        all: each of them, given in any order; sorted by kind and name.
    """

    all: tuple[Analysis, ...] = ()

    def __post_init__(self) -> None:
        """Sort them: what they are does not depend on where they were found."""
        object.__setattr__(self, "all", tuple(sorted(self.all, key=lambda each: (type(each).__name__, each.name))))

    def of(self, kind: type[A]) -> tuple[A, ...]:
        """Those of a kind, sorted by name."""
        return tuple(sorted((each for each in self.all if isinstance(each, kind)), key=lambda each: each.name))

    def convention(self, kind: type[A]) -> A | None:
        """The one of a kind of which a deployment has one at most."""
        found = self.of(kind)
        return found[0] if found else None

    def conversion(self, name: str) -> Conversion:
        """The conversion of a name.

        Raises:
            KeyError: there is none.
        """
        for conversion in self.of(Conversion):
            if conversion.name == name:
                return conversion
        raise KeyError(name)
