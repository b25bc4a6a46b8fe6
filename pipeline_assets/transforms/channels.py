"""Where a visit came from: its traffic source, medium and channel.

The rules are data with a name, a version and their provenance (`data/*.yaml`): an ordered list in which the first match
wins. `ga4` is Google Analytics 4's default grouping; `ga4_plus`, the default, knows more sources and their other names,
names of advertising, click ids, AI assistants and webmail as well. A team's own rules and aliases come before either:
`standard_rule_set("ga4_plus").with_own(…)`.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache, lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl
import yaml

from pipeline_assets.digests import digest_of

if TYPE_CHECKING:
    from pipeline_assets.declarations.analyses import Channels

DIRECT = "(direct)"
NO_MEDIUM = "(none)"
MEDIUM_NOT_SET = "(not set)"

LANDING_COLUMNS = ("utm_source", "utm_medium", "utm_campaign", "referrer_host", "click_id_type")
"""What a channel is found from; a table may lack click_id_type."""

CHANNEL_COLUMNS = ("channel", "traffic_source", "traffic_medium")

_DATA = resources.files("pipeline_assets.transforms") / "data"
_CATEGORIES = _DATA / "ga4_source_categories.csv"
_LONGEST_HOST = 253

_UNDER_A_COUNTRY = re.compile(r"(.+?)\.(?:com|(?:com?\.)?[a-z]{2})", re.ASCII)
"""A name under the endings that big names have: google.com, google.de, google.co.uk, google.com.br.

A top-level domain of two letters is a country's (ISO 3166, RFC 1591). Other endings (google.info) are for anybody.
"""

_NAMES = {"aliases": "an alias of", "ad_names": "advertising of", "categories": "in the category"}
"""Keys of a rule set that map one name to several, which must not stand under another as well."""


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
        category: category of the source: search, social, shopping, video, ai, email or display.
        referrer_host: host of the referring page without `www.`.
        click_id_type: parameter that carried the click id, such as gclid.
        advertising: utm_source, if it is a name that only advertising has, such as google_ads.
    """

    channel: str
    source: str | None = None
    medium: str | None = None
    campaign: str | None = None
    category: str | None = None
    referrer_host: str | None = None
    click_id_type: str | None = None
    advertising: str | None = None

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
        ad_suffix: regular expression (of Python) for what follows the name of a source where its advertising is meant.
        ad_names: (name without spaces, `-` and `_`, source) of other names that only the source's advertising has.
        categories: (source, category), before and beside GA4's list.
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
    ad_suffix: str | None = None
    ad_names: tuple[tuple[str, str], ...] = ()
    categories: tuple[tuple[str, str], ...] = ()
    reads_hosts: bool = False
    provenance: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Check the rules."""
        for number, rule in enumerate(self.rules, start=1):
            _check_rule(rule, number)
        try:
            re.compile(self.ad_suffix or "")
        except re.error as error:
            raise ValueError(f"ad_suffix: {self.ad_suffix!r} is no regular expression: {error}") from error

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


def standard_rule_set(name: str = DEFAULT_RULES) -> RuleSet:
    """The rule set `ga4` or `ga4_plus`, read once from this package's data.

    Raises:
        ValueError: there is no such rule set, or its file is not right.
    """
    return _read_rule_set(name)


def declared_rule_set(declared: "Channels | None") -> RuleSet:
    """The rules of a deployment: those it declares, else `ga4_plus`.

    Raises:
        ValueError: a rule of the team's is wrong; the message says which and why.
    """
    if declared is None:
        return standard_rule_set()
    own = [Rule(rule.channel, **rule.conditions) for rule in declared.own]
    return standard_rule_set(declared.rules).with_own(own, declared.aliases)


def __getattr__(name: str) -> RuleSet:
    """The rule sets as GA4 and GA4_PLUS, read on first use and not on import."""
    if name in {"GA4", "GA4_PLUS"}:
        return standard_rule_set(name.lower())
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
            {"extends", "otherwise", "shared", "reads_hosts", *_NAMES, "ad_suffix", "click_ids"},
        )
        base = standard_rule_set(given["extends"]) if "extends" in given else RuleSet("", "", ())
        return RuleSet(
            name=given["name"],
            version=given["version"],
            rules=_with_rules(base.rules, given["rules"]),
            otherwise=given.get("otherwise", base.otherwise),
            click_ids=(*base.click_ids, *_click_ids(given.get("click_ids", {}))),
            ad_suffix=given.get("ad_suffix", base.ad_suffix),
            **{
                name: tuple(sorted((dict(getattr(base, name)) | _by_name(given.get(name, {}), what)).items()))
                for name, what in _NAMES.items()
            },
            reads_hosts=given.get("reads_hosts", base.reads_hosts),
            provenance=given["provenance"],
        )
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{file}: {error}") from error


def rule_set_version(rule_set: RuleSet | None = None) -> tuple[str, str, str]:
    """What decides a channel besides the landing: name and version of the rules, digest of all they say.

    The digest covers rules, aliases, click ids and the source categories, the team's own included.
    """
    rule_set = rule_set or standard_rule_set()
    said = asdict(rule_set)
    del said["provenance"]
    text = json.dumps(said, sort_keys=True).encode() + _CATEGORIES.read_bytes()
    return rule_set.name, rule_set.version, digest_of(text, 16)


def add_channel(frame: pl.DataFrame, rule_set: RuleSet | None = None) -> pl.DataFrame:
    """Add channel, traffic_source and traffic_medium.

    The traffic source is utm_source; where there is none, what the click id says; else the referrer's host without
    `www.`; else `(direct)`. The medium is utm_medium; else what the click id says, if it is of that source; else
    `(not set)` beside a utm_source, `organic` for a referrer of the category search, `referral` for another referrer,
    `(none)`. Both are lower case. Click ids and aliases are those of the rules: `ga4` has none.

    Args:
        frame: any table with `LANDING_COLUMNS`; it may lack click_id_type. Empty text is absent. Rows keep their order.
        rule_set: None: `ga4_plus`.
    """
    rule_set = rule_set or standard_rule_set()
    keys = frame.select(_landing_value(frame, name) for name in LANDING_COLUMNS)
    landings = keys.unique()
    traffic = traffic_source(landings, rule_set)
    channel = pl.coalesce(
        *(pl.when(_matches(rule)).then(pl.lit(rule.channel)) for rule in rule_set.rules), pl.lit(rule_set.otherwise)
    )
    found = landings.hstack(
        traffic.select(channel.alias("channel"), traffic_source="source", traffic_medium="medium").get_columns()
    )
    added = keys.join(found, on=LANDING_COLUMNS, how="left", nulls_equal=True, maintain_order="left")
    return frame.with_columns(added.select(CHANNEL_COLUMNS).get_columns())


def traffic_source(landings: pl.DataFrame, rule_set: RuleSet) -> pl.DataFrame:
    """What the conditions of a `Rule` are about, row by row of `landings`.

    Args:
        landings: `LANDING_COLUMNS` in lower case, null where absent.
        rule_set: its aliases, categories, names of advertising and click ids.

    Returns:
        source, medium, campaign, category, referrer_host, click_id_type, advertising.
    """
    places = _places(rule_set)
    named = _place_columns(landings["utm_source"], "named", places.named)
    referred = _place_columns(landings["referrer_host"], "referred", places.referred)
    clicked = _click_columns(rule_set, places)
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
        advertising="named_advertising",
    )


def host_category(host: str) -> str | None:
    """Category of a referrer's host on GA4's list: search, social, shopping, video, or None.

    A host has the category of its nearest parent domain on the list (`fr.search.yahoo.com`, `m.vk.com`). Big names
    stand on the list without a domain (`google`, `bing`); they match the name's own domain under the ending of a
    country or .com (`google.de`, `google.co.uk`), but not below it, for `mail.google.com` is no search engine, and
    not as an ending (`blog.google`).
    """
    return _places(standard_rule_set("ga4")).referred(host.lower()).category


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


class _Place(NamedTuple):
    """What is known of a name or host; `advertising` is the name if only advertising has it."""

    source: str
    category: str | None
    advertising: str | None = None


class _Places:
    """Source and category of a name or host, as a rule set knows them.

    An alias is a whole name. For hosts, one with a dot is a domain and stands for the hosts below it, the nearest
    domain first, and `name.*` is that host under the ending of any country.
    """

    def __init__(self, rule_set: RuleSet) -> None:
        self._own = dict(rule_set.own_aliases)
        # A main name is a name too: what lies below it is the same source, and it is none of what lies above it.
        main = {source for _, source in rule_set.aliases} | {name for name, _ in rule_set.categories if "*" not in name}
        self._standard = {name: name for name in main} | dict(rule_set.aliases)
        listed = source_categories() | dict(rule_set.categories)
        self._categories = {f"{name}.*": category for name, category in listed.items() if "." not in name} | listed
        self._ad_names = dict(rule_set.ad_names)
        self._ad_suffix = re.compile(rf"(?:{rule_set.ad_suffix})\Z") if rule_set.ad_suffix else None
        self._reads_hosts = rule_set.reads_hosts

    def referred(self, host: str) -> _Place:
        """The place of a referrer's lower-case host."""
        return self._find(host, is_host=True)

    def named(self, name: str) -> _Place:
        """The place of a lower-case utm_source."""
        found = self._find(name, is_host=self._reads_hosts)
        platform = self._advertised(name) or self._advertised(found.source)
        if platform is None:
            return found
        renamed = found.source != name
        return _Place(found.source if renamed else platform.source, found.category or platform.category, name)

    def _advertised(self, name: str) -> _Place | None:
        """The place of whose advertising the name is, if it can be nothing else."""
        if self._ad_suffix is None or len(name) > _LONGEST_HOST:
            return None
        listed = self._ad_names.get(re.sub("[-_ ]", "", name))
        if listed is not None:
            return self._find(listed, is_host=False)
        suffix = self._ad_suffix.search(name)
        if suffix is None:
            return None
        platform = name[: suffix.start()]
        places = (self._find(each, is_host=self._reads_hosts) for each in (platform, re.sub("[-_]", " ", platform)))
        return next((place for place in places if place.category is not None), None)

    def _find(self, name: str, *, is_host: bool) -> _Place:
        name = _without_www(name) if is_host else name
        names = _listed_as(name, is_host=is_host)
        standard = _entry(names, self._standard) or name
        source = _entry(names, self._own) or self._own.get(standard, standard)
        for known in dict.fromkeys((source, self._standard.get(source, source), standard, name)):
            category = _entry(names if known == name else _listed_as(known, is_host=is_host), self._categories)
            if category is not None:
                return _Place(source, category)
        return _Place(source, None)


@lru_cache(maxsize=8)
def _places(rule_set: RuleSet) -> _Places:
    return _Places(rule_set)


def _listed_as(name: str, *, is_host: bool) -> list[str]:
    """Under what a name may stand on a list: as it is.

    A host, nearest first: itself, without the ending of its country, the domains above it. A top-level domain is never
    among them.
    """
    if not is_host or len(name) > _LONGEST_HOST:
        return [name]
    under_a_country = _UNDER_A_COUNTRY.fullmatch(name)
    labels = name.split(".")
    return [
        name,
        *([f"{under_a_country[1]}.*"] if under_a_country else []),
        *(".".join(labels[start:]) for start in range(1, len(labels) - 1)),
    ]


def _entry(names: Iterable[str], entries: Mapping[str, str]) -> str | None:
    return next((entries[name] for name in names if name in entries), None)


def _without_www(host: str) -> str:
    return host.removeprefix("www.")


def _landing_value(frame: pl.DataFrame, name: str) -> pl.Expr:
    if name == "click_id_type" and name not in frame.columns:
        return pl.lit(None, pl.String).alias(name)
    # A column of nothing but nulls may come with another type.
    value = pl.col(name).fill_nan(None) if frame.schema[name].is_float() else pl.col(name)
    text = value.cast(pl.String).str.to_lowercase()
    return pl.when(text != "").then(text).alias(name)


def _place_columns(names: pl.Series, prefix: str, find: Callable[[str], _Place]) -> pl.DataFrame:
    distinct = names.drop_nulls().unique()
    found = [find(name) for name in distinct]
    columns = {
        f"{prefix}_{field}": pl.Series([place[position] for place in found], dtype=pl.String)
        for position, field in enumerate(_Place._fields)
    }
    return pl.DataFrame({names.name: distinct, **columns})


def _click_columns(rule_set: RuleSet, places: _Places) -> pl.DataFrame:
    rows = [
        (click.parameter, place.source, place.category, click.medium, click.also_organic)
        for click in rule_set.click_ids
        for place in [places.named(click.source)]
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


def _by_name(names: Mapping[str, list[str]], what: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for main, others in names.items():
        for name in others:
            if name in found or name in names:
                raise ValueError(f"{name!r} is {what} {main!r} and something else as well")
            found[name] = main
    return found
