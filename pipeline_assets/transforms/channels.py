"""Where a visit came from: its traffic source, medium and channel.

The rules are data with a name, a version and their provenance (`data/*.yaml`): an ordered list in which the first match
wins. `ga4` is Google Analytics 4's default grouping; `ga4_plus`, the default, knows other names of a source, click ids
and AI assistants as well. A team's own rules and aliases come before either: `rule_set("ga4_plus").with_own(…)`.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import polars as pl
import yaml

if TYPE_CHECKING:
    from pipeline_assets.analyses.declaration import Channels

DIRECT = "(direct)"
NO_MEDIUM = "(none)"
MEDIUM_NOT_SET = "(not set)"
AI_CATEGORY = "ai"

LANDING_COLUMNS = ("utm_source", "utm_medium", "utm_campaign", "referrer_host", "click_id_type")
"""What a channel is found from; a table may lack click_id_type."""

CHANNEL_COLUMNS = ("channel", "traffic_source", "traffic_medium")

_DATA = resources.files("pipeline_assets.transforms") / "data"
_CATEGORIES = _DATA / "ga4_source_categories.csv"
_LONGEST_HOST = 253


@dataclass(frozen=True)
class Rule:
    """A channel and the conditions for it. All given ones must hold, and there must be one.

    Each condition is a regular expression for the whole value, whatever its case, in the dialect of Polars (Rust: no
    look-around, no back-references). A value that is absent fulfils none.

    Attributes:
        channel: name of the channel.
        source: the traffic source, aliases resolved.
        medium: the traffic medium.
        campaign: utm_campaign.
        category: category of the source: search, social, shopping, video or ai.
        referrer_host: host of the referring page without `www.`.
        click_id_type: parameter that carried the click id, such as gclid.
    """

    channel: str
    source: str | None = None
    medium: str | None = None
    campaign: str | None = None
    category: str | None = None
    referrer_host: str | None = None
    click_id_type: str | None = None

    @property
    def conditions(self) -> dict[str, str]:
        """Field -> regular expression, of the fields that have one."""
        given = {name: getattr(self, name) for name in CONDITION_FIELDS}
        return {name: pattern for name, pattern in given.items() if pattern is not None}


CONDITION_FIELDS = tuple(column.name for column in fields(Rule) if column.name != "channel")


@dataclass(frozen=True)
class ClickId:
    """What a click id says of a visit whose URL names no utm_source.

    Attributes:
        parameter: the URL's parameter, lower case.
        source: traffic source.
        medium: traffic medium.
        also_organic: put on unpaid clicks too; it counts only where there is no referrer.
    """

    parameter: str
    source: str
    medium: str
    also_organic: bool = False


@dataclass(frozen=True)
class RuleSet:
    """Ordered rules and what is known of sources before they are applied.

    Attributes:
        name: name of the standard rules.
        version: version of the standard rules.
        rules: the first that matches gives the channel.
        otherwise: the channel where none matches.
        own_aliases: the team's (other name, source); they come before `aliases`.
        aliases: (other name, source).
        click_ids: what click ids say.
        ai_hosts: sources of the category ai.
        reads_hosts: whether a utm_source that is a host name is read like a referrer's host.
        provenance: where the rules come from.

    Raises:
        ValueError: a rule has no channel, no condition or a wrong regular expression.
    """

    name: str
    version: str
    rules: tuple[Rule, ...]
    otherwise: str = "Unassigned"
    own_aliases: tuple[tuple[str, str], ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()
    click_ids: tuple[ClickId, ...] = ()
    ai_hosts: tuple[str, ...] = ()
    reads_hosts: bool = False
    provenance: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Check the rules."""
        for number, rule in enumerate(self.rules, start=1):
            _check_rule(rule, number)

    def with_own(self, rules: Iterable[Rule] = (), aliases: Mapping[str, str] | None = None) -> "RuleSet":
        """These rules behind a team's own.

        Args:
            rules: come first, in this order.
            aliases: other name -> source, in any case; for what a name may be see `_Places`. They outrank the standard
                aliases and are applied to what those give as well: `{"facebook": "meta"}` renames Facebook however it
                is called. A source that has no category keeps that of the name it replaces.

        Raises:
            ValueError: a rule has no channel, no condition or a wrong regular expression; an alias is empty.
        """
        own = {_without_www(name.strip().lower()): source.strip().lower() for name, source in (aliases or {}).items()}
        if not all(name and source for name, source in own.items()):
            raise ValueError("An alias of a traffic source needs a name and a source.")
        both = dict(self.own_aliases) | own
        return replace(self, rules=(*rules, *self.rules), own_aliases=tuple(sorted(both.items())))


DEFAULT_RULES = "ga4_plus"


def rule_set(name: str = DEFAULT_RULES) -> RuleSet:
    """The rule set `ga4` or `ga4_plus`, read once from this package's data.

    Raises:
        ValueError: there is no such rule set, or its file is not right.
    """
    return _read_rule_set(name)


def declared_rules(declared: "Channels | None") -> RuleSet:
    """The rules of a deployment: those it declares, else `ga4_plus`.

    Raises:
        ValueError: a rule of the team's is wrong; the message says which and why.
    """
    if declared is None:
        return rule_set()
    own = [Rule(rule.channel, **rule.conditions) for rule in declared.own]
    return rule_set(declared.rules).with_own(own, declared.aliases)


def __getattr__(name: str) -> RuleSet:
    """The rule sets as GA4 and GA4_PLUS, read on first use and not on import."""
    if name in {"GA4", "GA4_PLUS"}:
        return rule_set(name.lower())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def parse_rule_set(text: str, file: str) -> RuleSet:
    """Read and check a rule set in YAML; `data/README.md` says what it looks like.

    Args:
        text: the YAML.
        file: its name, for messages.

    Raises:
        ValueError: something is missing, unknown, given twice or no regular expression.
    """
    try:
        given = yaml.safe_load(text)
        _check_keys(
            given,
            {"name", "version", "provenance", "licence", "rules"},
            {"extends", "otherwise", "shared", "reads_hosts", "aliases", "click_ids", "ai_hosts"},
        )
        base = rule_set(given["extends"]) if "extends" in given else RuleSet("", "", ())
        return RuleSet(
            name=given["name"],
            version=given["version"],
            rules=_with_rules(base.rules, given["rules"]),
            otherwise=given.get("otherwise", base.otherwise),
            aliases=tuple(sorted((dict(base.aliases) | _by_alias(given.get("aliases", {}))).items())),
            click_ids=(*base.click_ids, *_click_ids(given.get("click_ids", {}))),
            ai_hosts=(*base.ai_hosts, *given.get("ai_hosts", ())),
            reads_hosts=given.get("reads_hosts", base.reads_hosts),
            provenance=given["provenance"],
        )
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{file}: {error}") from error


def rules_version(rules: RuleSet | None = None) -> tuple[str, str, str]:
    """What decides a channel besides the landing: name and version of the rules, digest of all they say.

    The digest covers rules, aliases, click ids and the source categories, the team's own included.
    """
    rules = rules or rule_set()
    said = asdict(rules)
    del said["provenance"]
    text = json.dumps(said, sort_keys=True).encode() + _CATEGORIES.read_bytes()
    return rules.name, rules.version, hashlib.sha256(text).hexdigest()[:16]


def add_channel(frame: pl.DataFrame, rules: RuleSet | None = None) -> pl.DataFrame:
    """Add channel, traffic_source and traffic_medium.

    The traffic source is utm_source; where there is none, what the click id says; else the referrer's host without
    `www.`; else `(direct)`. The medium is utm_medium; else what the click id says, if it is of that source; else
    `(not set)` beside a utm_source, `organic` for a referrer of the category search, `referral` for another referrer,
    `(none)`. Both are lower case. Click ids and aliases are those of the rules: `ga4` has none.

    Args:
        frame: any table with `LANDING_COLUMNS`; it may lack click_id_type. Empty text is absent. Rows keep their order.
        rules: None: `ga4_plus`.
    """
    rules = rules or rule_set()
    keys = frame.select(_landing_value(frame, name) for name in LANDING_COLUMNS)
    landings = keys.unique()
    traffic = traffic_source(landings, rules)
    channel = pl.coalesce(
        *(pl.when(_matches(rule)).then(pl.lit(rule.channel)) for rule in rules.rules), pl.lit(rules.otherwise)
    )
    found = landings.hstack(
        traffic.select(channel.alias("channel"), traffic_source="source", traffic_medium="medium").get_columns()
    )
    added = keys.join(found, on=LANDING_COLUMNS, how="left", nulls_equal=True, maintain_order="left")
    return frame.with_columns(added.select(CHANNEL_COLUMNS).get_columns())


def traffic_source(landings: pl.DataFrame, rules: RuleSet) -> pl.DataFrame:
    """What the conditions of a `Rule` are about, row by row of `landings`.

    Args:
        landings: `LANDING_COLUMNS` in lower case, null where absent.
        rules: their aliases, click ids and AI hosts.

    Returns:
        source, medium, campaign, category, referrer_host, click_id_type.
    """
    places = _Places(rules)
    named = _place_columns(landings["utm_source"], "named", lambda name: places.find(name, is_host=rules.reads_hosts))
    referred = _place_columns(landings["referrer_host"], "referred", lambda host: places.find(host, is_host=True))
    clicked = _click_columns(rules, places)
    has_name, has_referrer = pl.col("utm_source").is_not_null(), pl.col("referrer_host").is_not_null()
    by_click = ~has_name & pl.col("clicked_source").is_not_null() & ~(pl.col("also_organic") & has_referrer)
    of_click = by_click | (has_name & (pl.col("named_source") == pl.col("clicked_source")))
    origin = (
        landings.join(named, on="utm_source", how="left", maintain_order="left")
        .join(referred, on="referrer_host", how="left", maintain_order="left")
        .join(clicked, on="click_id_type", how="left", maintain_order="left")
        .with_columns(by_click=by_click.fill_null(value=False), of_click=of_click.fill_null(value=False))
    )
    return origin.select(
        pl.when(has_name)
        .then("named_source")
        .when("by_click")
        .then("clicked_source")
        .otherwise(pl.coalesce("referred_source", pl.lit(DIRECT)))
        .alias("source"),
        pl.coalesce(
            "utm_medium",
            pl.when("of_click").then("clicked_medium"),
            pl.when(has_name).then(pl.lit(MEDIUM_NOT_SET)),
            pl.when(has_referrer & (pl.col("referred_category") == "search")).then(pl.lit("organic")),
            pl.when(has_referrer).then(pl.lit("referral")),
            pl.lit(NO_MEDIUM),
        ).alias("medium"),
        pl.col("utm_campaign").alias("campaign"),
        pl.when(has_name)
        .then("named_category")
        .when("by_click")
        .then("clicked_category")
        .otherwise("referred_category")
        .alias("category"),
        pl.col("referrer_host").str.strip_prefix("www."),
        "click_id_type",
    )


def host_category(host: str) -> str | None:
    """Category of a referrer's host on GA4's list: search, social, shopping, video, or None.

    A host has the category of its nearest parent domain on the list (`fr.search.yahoo.com`, `m.vk.com`). Big names
    stand on the list without a domain (`google`, `bing`); they match the name's own domain under any ending
    (`google.de`, `google.co.uk`) but not below it, for `mail.google.com` is no search engine.
    """
    return _host_category(_without_www(host.lower()), source_categories())


@cache
def _read_rule_set(name: str) -> RuleSet:
    names = sorted(path.name.removesuffix(".yaml") for path in _DATA.iterdir() if path.name.endswith(".yaml"))
    if name not in names:
        raise ValueError(f"There is no rule set {name!r} of channels; there are {', '.join(names)}.")
    return parse_rule_set((_DATA / f"{name}.yaml").read_text(encoding="utf-8"), f"{name}.yaml")


@cache
def source_categories() -> dict[str, str]:
    """Category (search, social, shopping, video) of each lower-case source on GA4's list."""
    table = pl.read_csv(_CATEGORIES.read_bytes())
    category = pl.col("source_category").str.strip_prefix("SOURCE_CATEGORY_").str.to_lowercase()
    return dict(table.select(pl.col("source").str.to_lowercase(), category).iter_rows())


class _Places:
    """Source and category of a name or host, as a rule set knows them.

    An alias is a whole name. For hosts, one with a dot is a domain and stands for the hosts below it, the nearest
    domain first, and `name.*` is the name's own domain under any ending.
    """

    def __init__(self, rules: RuleSet) -> None:
        self._own = dict(rules.own_aliases)
        self._standard = dict(rules.aliases)
        self._categories = source_categories() | dict.fromkeys(rules.ai_hosts, AI_CATEGORY)

    def find(self, name: str, *, is_host: bool) -> tuple[str, str | None]:
        """Source and category of a lower-case name."""
        name = _without_www(name) if is_host else name
        standard = self._alias(name, self._standard, is_host=is_host) or name
        source = self._alias(name, self._own, is_host=is_host) or self._own.get(standard, standard)
        known = (self._category(known, is_host=is_host) for known in (source, self._standard.get(source), standard))
        return source, next((category for category in known if category is not None), None)

    def _category(self, name: str | None, *, is_host: bool) -> str | None:
        if name is None:
            return None
        return _host_category(name, self._categories) if is_host else self._categories.get(name)

    @staticmethod
    def _alias(name: str, aliases: Mapping[str, str], *, is_host: bool) -> str | None:
        if not is_host:
            return aliases.get(name)
        domain = next((domain for domain in _domains(name) if domain in aliases), None)
        return aliases[domain] if domain is not None else aliases.get(f"{_own_domain(name)}.*")


def _domains(host: str) -> Iterator[str]:
    """The host and the domains above it, nearest first."""
    yield host
    if len(host) <= _LONGEST_HOST:
        for start, letter in enumerate(host, start=1):
            if letter == ".":
                yield host[start:]


def _own_domain(host: str) -> str | None:
    """Name whose own domain the host is, under whatever ending: google for google.de and google.co.uk."""
    labels = host.split(".")
    is_name_and_ending = len(labels) == 2 or (len(labels) == 3 and len(labels[1]) <= 3 and len(labels[2]) == 2)
    return labels[0] if is_name_and_ending else None


def _host_category(host: str, categories: Mapping[str, str]) -> str | None:
    listed = next((domain for domain in _domains(host) if domain in categories), None)
    return categories[listed] if listed is not None else categories.get(_own_domain(host) or "")


def _without_www(host: str) -> str:
    return host.removeprefix("www.")


def _landing_value(frame: pl.DataFrame, name: str) -> pl.Expr:
    if name == "click_id_type" and name not in frame.columns:
        return pl.lit(None, pl.String).alias(name)
    # A column of nothing but nulls may come with another type.
    value = pl.col(name).fill_nan(None) if frame.schema[name].is_float() else pl.col(name)
    text = value.cast(pl.String).str.to_lowercase()
    return pl.when(text != "").then(text).alias(name)


def _place_columns(names: pl.Series, prefix: str, find: Callable[[str], tuple[str, str | None]]) -> pl.DataFrame:
    distinct = names.drop_nulls().unique()
    found = [find(name) for name in distinct]
    return pl.DataFrame(
        {
            names.name: distinct,
            f"{prefix}_source": pl.Series([source for source, _ in found], dtype=pl.String),
            f"{prefix}_category": pl.Series([category for _, category in found], dtype=pl.String),
        }
    )


def _click_columns(rules: RuleSet, places: _Places) -> pl.DataFrame:
    rows = [
        (click.parameter, *places.find(click.source, is_host=rules.reads_hosts), click.medium, click.also_organic)
        for click in rules.click_ids
    ]
    schema = {
        "click_id_type": pl.String,
        "clicked_source": pl.String,
        "clicked_category": pl.String,
        "clicked_medium": pl.String,
        "also_organic": pl.Boolean,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _matches(rule: Rule) -> pl.Expr:
    return pl.all_horizontal(
        pl.col(name).str.contains(_whole(pattern)).fill_null(value=False) for name, pattern in rule.conditions.items()
    )


def _whole(pattern: str) -> str:
    return rf"(?is)\A(?:{pattern})\z"


def _check_rule(rule: Rule, number: int) -> None:
    where = f"rule {number} (channel {rule.channel!r})"
    if not rule.channel.strip():
        raise ValueError(f"{where}: a channel needs a name")
    if not rule.conditions:
        raise ValueError(f"{where}: there must be a condition: {', '.join(CONDITION_FIELDS)}")
    for name, pattern in rule.conditions.items():
        if not pattern:
            raise ValueError(f"{where}, {name}: an empty expression matches nothing")
        # Alone as well: `a)|(b` is none, although brackets around it make it one.
        for expression in (pattern, _whole(pattern)):
            try:
                pl.Series([""]).str.contains(expression)
            except pl.exceptions.ComputeError as error:
                reasons = re.findall(r"^(?:regex )?error: (.+?)$", str(error), re.MULTILINE)
                reason = reasons[-1].rstrip(".") if reasons else "it cannot be compiled"
                raise ValueError(f"{where}, {name}: {pattern!r} is no regular expression: {reason}") from error


def _check_keys(given: Any, required: set[str], optional: set[str]) -> None:
    if not isinstance(given, dict):
        raise ValueError(f"a mapping was expected, not {given!r}")  # noqa: TRY004 (a mistake in a file, not in a call)
    if missing := required - given.keys():
        raise ValueError(f"missing: {', '.join(sorted(missing))}")
    if unknown := given.keys() - required - optional:
        raise ValueError(f"unknown: {', '.join(sorted(map(str, unknown)))}")


def _with_rules(base: tuple[Rule, ...], entries: list[dict[str, Any]]) -> tuple[Rule, ...]:
    rules = list(base)
    for entry in entries:
        _check_keys(entry, {"channel", "any_of"}, {"after"})
        place = len(rules)
        if "after" in entry:
            places = [number for number, rule in enumerate(rules, start=1) if rule.channel == entry["after"]]
            if not places:
                raise ValueError(f"there is no channel {entry['after']!r} for {entry['channel']!r} to come after")
            place = places[-1]
        for conditions in entry["any_of"]:
            _check_keys(conditions, set(), set(CONDITION_FIELDS))
        rules[place:place] = [Rule(entry["channel"], **conditions) for conditions in entry["any_of"]]
    return tuple(rules)


def _click_ids(given: Mapping[str, dict[str, Any]]) -> Iterator[ClickId]:
    for parameter, says in given.items():
        _check_keys(says, {"source", "medium"}, {"also_organic"})
        yield ClickId(parameter, **says)


def _by_alias(names: Mapping[str, list[str]]) -> dict[str, str]:
    sources: dict[str, str] = {}
    for source, aliases in names.items():
        for alias in aliases:
            if alias in sources or alias in names:
                raise ValueError(f"{alias!r} is an alias of {source!r} and something else as well")
            sources[alias] = source
    return sources
