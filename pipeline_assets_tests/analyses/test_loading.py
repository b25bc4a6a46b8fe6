from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline_assets.analyses.loading import load_analyses
from pipeline_assets.analyses.unknown_names import unknown_properties
from pipeline_assets.component_tree.loading import declared
from pipeline_assets.declarations.analyses import (
    ATTRIBUTION_MODELS,
    Analyses,
    Attribution,
    Channels,
    Conversion,
    Currencies,
    Funnel,
    Paths,
    Rate,
    Retention,
    Selector,
    TableAnalysis,
)
from pipeline_assets.declarations.durations import EXAMPLES
from pipeline_assets.declarations.problems import DeclarationError
from pipeline_assets.settings import Settings
from pipeline_assets.sources.declaration import Source
from pipeline_assets.tables.fixed import fixed_tables
from pipeline_assets_tests.analyses.declaring import (
    ATTRIBUTION,
    CHANNELS,
    CONVERSION,
    CURRENCIES,
    FUNNEL,
    PATHS,
    RETENTION,
    declare,
)

SALE = ATTRIBUTION + "  conversion: sale\n"


def mistakes(folder: Path, text: str, name: str = "mine") -> list[str]:
    """The messages about a declaration, without the file's name."""
    file = declare(folder, text, name)
    with pytest.raises(DeclarationError) as caught:
        load_analyses(folder)
    return [line.removeprefix(f"{file}:") for line in str(caught.value).splitlines()]


def test_the_packages_own_analyses_are_those_of_the_demo(tmp_path: Path):
    _, analyses = declared(Settings.for_data_dir(tmp_path))
    (funnel,) = analyses.of(Funnel)
    assert (funnel.name, funnel.properties, funnel.by, funnel.mode) == (
        "checkout_funnel",
        ("shop.example",),
        "visitor",
        "ordered",
    )
    names = ["product_viewed", "product_added", "checkout_started", "order_completed"]
    assert [(step.name, step.event) for step in funnel.steps] == [(name, (name,)) for name in names]
    assert (funnel.window, funnel.window_from, funnel.breakdown) == (timedelta(days=7), "first", None)
    (retention,) = analyses.of(Retention)
    assert (retention.name, retention.properties, retention.by) == (
        "visit_retention",
        ("shop.example", "shop-app"),
        "person",
    )
    assert (retention.period, retention.counting, retention.periods) == ("day", "calendar", 13)
    assert retention.cohort == retention.returning == Selector()
    (paths,) = analyses.of(Paths)
    assert (paths.name, paths.properties, paths.of) == ("page_paths", ("shop.example",), "pages")
    assert analyses.of(Conversion) == (Conversion(name="purchase", event=("order_completed",), where="revenue > 0"),)
    assert analyses.conversion("purchase").value == "revenue"
    (attribution,) = analyses.of(Attribution)
    assert (attribution.name, attribution.conversion, attribution.by) == ("channel_attribution", "purchase", "person")
    assert attribution.models == ATTRIBUTION_MODELS
    assert analyses.convention(Currencies) == Currencies(
        name="currencies",
        reporting="EUR",
        rates=(
            Rate(currency="USD", rate=Decimal("0.92")),
            Rate(currency="GBP", rate=Decimal("1.17")),
            Rate(currency="CHF", rate=Decimal("1.04")),
        ),
    )
    assert analyses.convention(Channels) is None
    assert [analysis.name for analysis in analyses.of(TableAnalysis)] == [
        "channel_attribution",
        "checkout_funnel",
        "page_paths",
        "visit_retention",
    ]


def test_an_analysis_is_called_like_its_folder_and_sorted_by_name(tmp_path: Path):
    declare(tmp_path, FUNNEL, "z")
    declare(tmp_path, FUNNEL + "  name: b\n", "y")
    declare(tmp_path, "type: dagster.DefsFolderComponent\n", "other")
    assert [funnel.name for funnel in load_analyses(tmp_path).of(Funnel)] == ["b", "z"]


def test_one_file_may_declare_several(tmp_path: Path):
    text = CONVERSION + "  name: order\n---\n" + ATTRIBUTION + "  name: owed\n  conversion: order\n"
    declare(tmp_path, text)
    analyses = load_analyses(tmp_path)
    assert [analysis.name for analysis in (*analyses.of(Conversion), *analyses.of(Attribution))] == ["order", "owed"]


@pytest.mark.parametrize("text", ["", "attributes:\n", "attributes: {}\n"])
def test_an_analysis_without_need_of_attributes_is_declared_by_its_type(tmp_path: Path, text: str):
    declare(tmp_path, f"type: pipeline_assets.components.Paths\n{text}")
    assert load_analyses(tmp_path).of(Paths)[0].max_length == 20


@pytest.mark.parametrize(
    ("window", "meant"),
    [
        ("7d", timedelta(days=7)),
        ("30m", timedelta(minutes=30)),
        ("12 h", timedelta(hours=12)),
        ("1w", timedelta(days=7)),
        ("PT30M", timedelta(minutes=30)),
        ("P1DT6H", timedelta(hours=30)),
        ("P2W", timedelta(days=14)),
        ("PT15S", timedelta(seconds=15)),
        ("90s", timedelta(seconds=90)),
        ("1h30m", timedelta(minutes=90)),
    ],
)
def test_a_window_is_a_number_and_a_unit_or_an_iso_duration(tmp_path: Path, window: str, meant: timedelta):
    declare(tmp_path, f"{FUNNEL}  window: {window}\n")
    assert load_analyses(tmp_path).of(Funnel)[0].window == meant


@pytest.mark.parametrize("window", ["7", "7y", "-1d", "''", "soon"])
def test_any_other_window_is_told_with_examples(tmp_path: Path, window: str):
    given = window if window == "7" else repr(window.strip("'"))
    must = f"must be a length of time such as {EXAMPLES}"
    assert mistakes(tmp_path, f"{FUNNEL}  window: {window}\n") == [f"6:11: window: {must}, not {given}"]


def test_every_attribute_that_is_a_length_of_time_takes_one_and_some_a_plain_number(tmp_path: Path):
    declare(tmp_path, CONVERSION, "sale")
    declare(tmp_path, SALE + "  lookback_days: 36h\n  half_life_days: PT12H\n  model_days: 1w\n")
    (attribution,) = load_analyses(tmp_path).of(Attribution)
    assert (attribution.lookback_days, attribution.half_life_days, attribution.model_days) == (1.5, 0.5, 7)
    assert mistakes(tmp_path, SALE + "  lookback_days: a month\n  model_days: 36h\n", "other") == [
        f"5:18: lookback_days: must be a number of days or a length of time such as {EXAMPLES}, not 'a month'",
        "6:15: model_days: must be a whole number of days, not '36h'",
    ]


def test_one_text_may_stand_for_a_list_of_one(tmp_path: Path):
    declare(tmp_path, FUNNEL.replace("product_viewed", "[a, b], type: [page, screen]"))
    view, order = load_analyses(tmp_path).of(Funnel)[0].steps
    assert (view.event, view.type, order.event) == (("a", "b"), ("page", "screen"), ("order_completed",))


def test_a_rate_holds_since_ever_or_since_a_day(tmp_path: Path):
    rates = "  rates:\n    - {currency: USD, rate: 0.92}\n    - {currency: USD, rate: '0.95', since: 2026-01-01}\n"
    declare(tmp_path, CURRENCIES + rates)
    currencies = load_analyses(tmp_path).convention(Currencies)
    assert currencies is not None
    assert currencies.rates == (
        Rate(currency="USD", rate=Decimal("0.92")),
        Rate(currency="USD", rate=Decimal("0.95"), since=date(2026, 1, 1)),
    )


def test_codes_of_currencies_may_be_written_in_any_case(tmp_path: Path):
    declare(tmp_path, CURRENCIES.replace("EUR", "eur") + "  rates: [{currency: Usd, rate: 2}]\n")
    currencies = load_analyses(tmp_path).convention(Currencies)
    assert currencies is not None
    assert (currencies.reporting, currencies.rates[0].currency) == ("EUR", "USD")


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        # Funnel
        (FUNNEL + "  windw: 7d\n", ["6:3: unknown attribute 'windw'; did you mean 'window'?"]),
        (FUNNEL + "  window: 32d\n", ["6:11: window: must be more than nothing and at most 31 days, not '32d'"]),
        (FUNNEL + "  window: 0m\n", ["6:11: window: must be more than nothing and at most 31 days, not '0m'"]),
        (FUNNEL + "  mode: order\n", ["6:9: unknown mode 'order'; did you mean 'ordered'?"]),
        (FUNNEL + "  by: user\n", ["6:7: unknown by 'user'; one of visitor, person"]),
        (FUNNEL + "  breakdown: contry\n", ["6:14: unknown breakdown 'contry'; did you mean 'country'?"]),
        (FUNNEL + "  properties: [shop, shop]\n", ["6:22: 'shop' is named twice"]),
        (FUNNEL + "  properties: shop\n", ["6:15: properties: must be a list, not 'shop'"]),
        (
            FUNNEL + "  name: Checkout\n",
            ["6:9: 'Checkout' cannot be a funnel's name: lower-case letters, digits and _, a letter first"],
        ),
        (FUNNEL + f"  name: {'x' * 64}\n", [f"6:9: name: must have at most 63 characters, not '{'x' * 64}'"]),
        (FUNNEL + "  by:\n", ["6:3: by has no value; give one or delete the line"]),
        (FUNNEL + "  by: person\n  by: visitor\n", ["7:3: key 'by' is already in line 6"]),
        (
            FUNNEL.replace("event: product_viewed", "evnt: product_viewed"),
            ["4:20: unknown attribute 'evnt'; did you mean 'event'?"],
        ),
        (
            FUNNEL.replace("event: product_viewed", "type: pages"),
            ["4:26: unknown type 'pages'; did you mean 'page'?"],
        ),
        (
            FUNNEL.replace("event: product_viewed", "type: [page, screem]"),
            ["4:33: unknown type 'screem'; did you mean 'screen'?"],
        ),
        (
            FUNNEL.replace("event: product_viewed", "event: [a, a]"),
            ["4:31: 'a' is named twice"],
        ),
        (FUNNEL.replace("event: product_viewed", "event: []"), ["4:27: event: must have at least 1 items, not 0"]),
        (FUNNEL.replace("event: product_viewed", "event: 404"), ["4:27: event: must be a list, not 404"]),
        (
            FUNNEL.replace("name: order", "name: view"),
            ["5:14: step 1 is called 'view' too; give each step a name of its own"],
        ),
        (FUNNEL.replace("name: order, ", ""), ["5:7: attribute 'name' is missing"]),
        (FUNNEL[: FUNNEL.index("    - {name: order")], ["4:5: steps: must have at least 2 items, not 1"]),
        (
            "type: pipeline_assets.components.Funnel\nattributes:\n  mode: ordered\n",
            ["2:1: attribute 'steps' is missing"],
        ),
        ("type: pipeline_assets.components.Funnel\n", ["1:1: a funnel needs `attributes`: steps"]),
        ("type: pipeline_assets.components.Funnel\nattributes: 7\n", ["2:13: a funnel needs `attributes`: steps"]),
        (FUNNEL + "atributes: {}\n", ["6:1: unknown key 'atributes'; did you mean 'attributes'?"]),
        # What an expression may be, in whatever declares one.
        (
            FUNNEL.replace("event: product_viewed", "where: revnue > 0"),
            ["4:27: where: unknown column 'revnue'; did you mean 'revenue'?"],
        ),
        (
            FUNNEL.replace("event: product_viewed", "where: revenue + 1"),
            ["4:27: where: gives DECIMAL(19,6), but a condition must be true or false"],
        ),
        (
            FUNNEL.replace("event: product_viewed", "where: lowr(country) = 'de'"),
            ['4:27: where: Scalar Function with name lowr does not exist! Did you mean "lower"?'],
        ),
        (
            FUNNEL.replace("event: product_viewed", "where: now() > occurred_at"),
            ["4:27: where: now() does not always give the same result for the same row"],
        ),
        (
            FUNNEL.replace("event: product_viewed", "where: sum(revenue) > 1"),
            ["4:27: where: sum() is an aggregate: an expression sees only its own row"],
        ),
        (
            FUNNEL.replace("event: product_viewed", "where: event_id in (from read_text('/etc/passwd'))"),
            ["4:27: where: a subquery is not allowed: an expression sees only its own row"],
        ),
        (
            FUNNEL.replace("event: product_viewed", 'where: "true), (true"'),
            ["4:27: where: not one expression"],
        ),
        (
            FUNNEL.replace("event: product_viewed", "where: properties.sku = 'A'"),
            ["4:27: where: properties is JSON text; write (properties ->> '$.sku')"],
        ),
        (
            FUNNEL.replace("event: product_viewed", "where: properties ->> '$.n' > 1"),
            [
                "4:27: where: Cannot compare values of type VARCHAR and type INTEGER_LITERAL - an explicit cast is "
                "required; a JSON value that is compared needs brackets: (properties ->> '$.key') = 'x'"
            ],
        ),
        # Retention
        (RETENTION + "  period: weeks\n", ["4:11: unknown period 'weeks'; did you mean 'week'?"]),
        (RETENTION + "  periods: 0\n", ["4:12: periods: must be greater than or equal to 1, not 0"]),
        (RETENTION + "  periods: 401\n", ["4:12: periods: must be less than or equal to 400, not 401"]),
        (RETENTION + "  counting: rollin\n", ["4:13: unknown counting 'rollin'; did you mean 'rolling'?"]),
        (RETENTION + "  week_start: mon\n", ["4:15: unknown week_start 'mon'; did you mean 'monday'?"]),
        (RETENTION + "  cohort: order\n", ["4:11: cohort: must be keys and values (event, type, where)"]),
        (
            RETENTION + "  cohort: {wher: x}\n  returning: {where: x}\n",
            [
                "4:12: unknown attribute 'wher'; did you mean 'where'?",
                "5:22: where: unknown column 'x'; a field that is no column is in properties: (properties ->> '$.x')",
            ],
        ),
        # Paths
        (PATHS.replace("events", "page"), ["3:7: unknown of 'page'; did you mean 'pages'?"]),
        (PATHS + "  max_length: 1\n", ["4:15: max_length: must be greater than or equal to 2, not 1"]),
        (PATHS + "  max_length: 51\n", ["4:15: max_length: must be less than or equal to 50, not 51"]),
        # Conversion
        (
            CONVERSION.replace("event: order_completed", "value: revenue"),
            ["2:1: a conversion needs a condition: event, type or where"],
        ),
        (CONVERSION + "  valu: revenue\n", ["4:3: unknown attribute 'valu'; did you mean 'value'?"]),
        (CONVERSION + "  value: revenu\n", ["4:10: value: unknown column 'revenu'; did you mean 'revenue'?"]),
        (
            CONVERSION + "  value: revenue > 0\n",
            ["4:10: value: gives BOOLEAN, but the value of a conversion must be a number"],
        ),
        (
            CONVERSION + "  value: occurred_at\n",
            ["4:10: value: gives TIMESTAMP WITH TIME ZONE, but the value of a conversion must be a number"],
        ),
        (
            CONVERSION + "  counting: once\n",
            ["4:13: unknown counting 'once'; one of every, once_per_session"],
        ),
        # Attribution
        (ATTRIBUTION, ["2:1: attribute 'conversion' is missing"]),
        (ATTRIBUTION + "  conversion: purchase\n", ["4:15: unknown conversion 'purchase'; none is declared"]),
        (
            ATTRIBUTION + "  conversion: orders\n---\n" + CONVERSION + "  name: order\n",
            ["4:15: unknown conversion 'orders'; did you mean 'order'?"],
        ),
        (
            ATTRIBUTION + "  conversion: x\n  models: [first, marcov]\n",
            ["5:19: unknown models 'marcov'; did you mean 'markov'?", "4:15: unknown conversion 'x'; none is declared"],
        ),
        (
            ATTRIBUTION + "  conversion: order\n  models: [first, first]\n---\n" + CONVERSION + "  name: order\n",
            ["5:19: 'first' is named twice"],
        ),
        (
            ATTRIBUTION
            + "  conversion: order\n  lookback_days: 91\n  half_life_days: 0\n  model_days: 0\n---\n"
            + CONVERSION
            + "  name: order\n",
            [
                "5:18: lookback_days: must be less than or equal to 90, not 91",
                "6:19: half_life_days: must be greater than 0, not 0",
                "7:15: model_days: must be greater than or equal to 1, not 0",
            ],
        ),
        (
            ATTRIBUTION + "  conversion: order\n  half_life_days: .inf\n---\n" + CONVERSION + "  name: order\n",
            ["5:19: half_life_days: must be a finite number, not inf"],
        ),
        # Channels
        (CHANNELS.replace("ga4", "ga5"), ["3:10: unknown rules 'ga5'; did you mean 'ga4'?"]),
        (
            CHANNELS + "  own:\n    - {channel: Mail, mediun: email}\n",
            ["5:23: unknown attribute 'mediun'; did you mean 'medium'?"],
        ),
        (
            CHANNELS + "  own:\n    - channel: Mail\n",
            [
                "5:7: a rule needs a condition: one of source, medium, campaign, category, referrer_host, "
                "click_id_type, advertising"
            ],
        ),
        (CHANNELS + "  own:\n    - {source: x}\n", ["5:7: attribute 'channel' is missing"]),
        (
            CHANNELS + "  own:\n    - {channel: Mail, medium: '(email', source: 'a)(b', campaign: '(?=x)'}\n",
            [
                "5:31: medium: not a regular expression: unclosed group",
                "5:49: source: not a regular expression: unopened group",
                "5:67: campaign: not a regular expression: "
                "look-around, including look-ahead and look-behind, is not supported",
            ],
        ),
        (
            CHANNELS + "  aliases: {FB: facebook, t: Twitter}\n",
            [
                "4:13: sources are compared in lower case; write 'fb', not 'FB'",
                "4:30: sources are compared in lower case; write 'twitter', not 'Twitter'",
            ],
        ),
        # Currencies
        (
            CURRENCIES.replace("EUR", "Euro"),
            ["3:14: reporting: must be an ISO 4217 code of three letters, such as EUR, not 'Euro'"],
        ),
        (
            "type: pipeline_assets.components.Currencies\n",
            ["1:1: a currencies declaration needs `attributes`: reporting"],
        ),
        (CURRENCIES + "  rates: [{currency: USD, rate: 0}]\n", ["4:33: rate: must be greater than 0, not 0"]),
        (CURRENCIES + "  rates: [{currency: USD, rate: -1}]\n", ["4:33: rate: must be greater than 0, not -1"]),
        (CURRENCIES + "  rates: [{currency: USD, rate: .nan}]\n", ["4:33: rate: must be a finite number, not nan"]),
        (
            CURRENCIES + "  rates: [{currency: us$, rate: 1}]\n",
            ["4:22: currency: must be an ISO 4217 code of three letters, such as EUR, not 'us$'"],
        ),
        (
            CURRENCIES + "  rates: [{currency: EUR, rate: 1}]\n",
            ["4:22: EUR is the reporting currency and needs no rate"],
        ),
        (
            CURRENCIES + "  rates: [{currency: USD, rate: 1}, {currency: USD, rate: 2}]\n",
            ["4:48: USD has another rate without `since`; give one of them another day"],
        ),
        (
            CURRENCIES + "  rates: [{currency: USD, rate: 1, since: 2026-02-30}]\n",
            ["4:43: since: must be a valid date or datetime, day value is outside expected range, not '2026-02-30'"],
        ),
        # Files
        (
            "type: pipeline_assets.components.Funel\n",
            ["1:7: unknown type 'pipeline_assets.components.Funel'; did you mean 'pipeline_assets.components.Funnel'?"],
        ),
        (
            FUNNEL + "   bad: [\n",
            ["6:4: not valid YAML: expected <block end>, but found '<block mapping start>'"],
        ),
        (
            FUNNEL.replace("product_viewed", "!secret x"),
            ["4:27: not valid YAML: could not determine a constructor for the tag '!secret'"],
        ),
    ],
)
def test_a_mistake_is_told_with_line_column_and_a_suggestion(tmp_path: Path, text: str, messages: list[str]):
    assert mistakes(tmp_path, text) == messages


def test_all_mistakes_of_all_files_are_told(tmp_path: Path):
    text = FUNNEL.replace("event: product_viewed", "where: contry = 'DE'").replace("steps", "mode: orderd\n  steps")
    first = declare(tmp_path, text + "  by: user\n", "a")
    second = declare(tmp_path, RETENTION + "  perod: day\n", "b")
    with pytest.raises(DeclarationError) as caught:
        load_analyses(tmp_path)
    assert str(caught.value).splitlines() == [
        f"{first}:3:9: unknown mode 'orderd'; did you mean 'ordered'?",
        f"{first}:5:27: where: unknown column 'contry'; did you mean 'country'?",
        f"{first}:7:7: unknown by 'user'; one of visitor, person",
        f"{second}:4:3: unknown attribute 'perod'; did you mean 'period'?",
    ]


@pytest.mark.parametrize("text", [FUNNEL, RETENTION, PATHS, CONVERSION])
def test_two_analyses_of_one_name_are_refused_whatever_their_kind(tmp_path: Path, text: str):
    first = declare(tmp_path, PATHS, "a/mine")
    second = declare(tmp_path, text + "  name: mine\n", "b/other")
    line = text.count("\n") + 1
    with pytest.raises(DeclarationError) as caught:
        load_analyses(tmp_path)
    assert str(caught.value) == f"{second}:{line}:9: an analysis 'mine' is already declared at {first}:1"


@pytest.mark.parametrize("name", ["sessions", "orders", "conversions", "retention_days"])
def test_no_analysis_may_have_the_name_of_a_standard_table(tmp_path: Path, name: str):
    assert name in fixed_tables()
    message = f"'{name}' is a table of the standard model; give the analysis another `name:`"
    assert mistakes(tmp_path, PATHS + f"  name: {name}\n") == [f"4:9: {message}"]


def test_the_name_of_a_folder_may_not_be_that_of_a_standard_table_either(tmp_path: Path):
    message = "'pages' is a table of the standard model; give the analysis another `name:`"
    assert mistakes(tmp_path, PATHS, "pages") == [f"2:1: {message}"]


def test_a_folder_whose_name_cannot_be_the_analysis_is_told(tmp_path: Path):
    message = "the folder's name 'Top Pages' cannot be the paths declaration's name; add `name:` "
    assert mistakes(tmp_path, PATHS, "Top Pages") == [
        f"2:1: {message}(lower-case letters, digits and _, a letter first)"
    ]


@pytest.mark.parametrize(("text", "kind"), [(CHANNELS, "Channels"), (CURRENCIES, "Currencies")])
def test_a_deployment_has_one_declaration_of_channels_and_of_currencies(tmp_path: Path, text: str, kind: str):
    first = declare(tmp_path, text, "a")
    second = declare(tmp_path, text, "b")
    with pytest.raises(DeclarationError) as caught:
        load_analyses(tmp_path)
    assert str(caught.value) == f"{second}:1:7: a deployment has one {kind}; another is declared at {first}:1"


def test_channels_and_currencies_have_no_table_so_that_any_name_does(tmp_path: Path):
    declare(tmp_path, CURRENCIES, "revenue")
    declare(tmp_path, CHANNELS, "campaigns")
    analyses = load_analyses(tmp_path)
    assert analyses.of(TableAnalysis) == ()
    assert analyses.convention(Channels) is not None
    assert analyses.convention(Currencies) is not None


def test_own_rules_of_channels_keep_their_order_and_conditions(tmp_path: Path):
    rules = (
        "  own:\n    - {channel: Mail, medium: 'e?mail', source: nl}\n    - {channel: Partner, referrer_host: '.*'}\n"
    )
    declare(tmp_path, CHANNELS + rules)
    channels = load_analyses(tmp_path).convention(Channels)
    assert channels is not None
    assert [(rule.channel, rule.conditions) for rule in channels.own] == [
        ("Mail", {"source": "nl", "medium": "e?mail"}),
        ("Partner", {"referrer_host": ".*"}),
    ]


def test_a_declaration_is_not_told_to_be_unknown_because_of_another_mistake_in_it(tmp_path: Path):
    text = ATTRIBUTION + "  conversion: order\n---\n" + CONVERSION + "  name: order\n  valu: 1\n"
    assert mistakes(tmp_path, text) == ["10:3: unknown attribute 'valu'; did you mean 'value'?"]


def test_the_analyses_of_the_deployments_folder_take_the_place_of_the_demos(tmp_path: Path):
    declare(tmp_path, FUNNEL, "own")
    _, analyses = declared(Settings.for_data_dir(tmp_path, defs_dir=tmp_path))
    assert [analysis.name for analysis in analyses.of(TableAnalysis)] == ["own"]
    assert analyses.convention(Currencies) is None
    _, demo = declared(Settings.for_data_dir(tmp_path))
    assert "checkout_funnel" in [analysis.name for analysis in demo.of(TableAnalysis)]


def test_a_folder_of_declarations_that_does_not_exist_is_told(tmp_path: Path):
    with pytest.raises(DeclarationError, match="PIPELINE_DEFS_DIR names no folder"):
        declared(Settings.for_data_dir(tmp_path, defs_dir=tmp_path / "absent"))


def test_properties_that_no_source_has_are_found_unless_a_source_may_have_any(tmp_path: Path):
    declare(tmp_path, FUNNEL + "  properties: [shop, shp]\n")
    analyses = load_analyses(tmp_path)
    web = Source(name="web", path="*", format="jsonl", property="shop", mapping={"user_id": "u"})
    assert {name: [*map(str, found)] for name, found in unknown_properties(analyses, [web]).items()} == {
        "mine": ["'shp'; did you mean 'shop'?"]
    }
    anything = web.model_copy(update={"mapping": {"property": "site"}})
    assert unknown_properties(analyses, [web, anything]) == {}
    assert unknown_properties(Analyses((Funnel(steps=analyses.of(Funnel)[0].steps),)), []) == {}
