"""The whole model converges: all tables, of every kind, whatever the order in which the files come."""

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from pipeline_assets.analyses.loading import load_analyses
from pipeline_assets.component_tree import loading
from pipeline_assets.registry import collect
from pipeline_assets.settings import Settings
from pipeline_assets.sources.loading import load_sources
from pipeline_assets.tables.declarations import Declarations
from pipeline_assets.tables.spec import EVENTS
from pipeline_assets_tests.end_to_end.deployment import WHERE_FROM, Deployment, differences, failed
from pipeline_assets_tests.end_to_end.in_memory import InMemory, Tables, differing_rows, events_of
from pipeline_assets_tests.end_to_end.random_traffic import APP, DECLARATIONS, SHOP, Raw, declare, lines_of, moments
from pipeline_assets_tests.end_to_end.random_traffic import random_traffic as make_traffic
from pipeline_assets_tests.end_to_end.test_late_data import bookings, rebuilt

NewDeployment = Callable[..., Deployment]
Traffic = dict[str, list[Raw]]
Delivery = tuple[str, str]

ZONES = st.sampled_from(["UTC", "Europe/Berlin"])
SEEDS = st.integers(0, 2**32)
# Of Dagster's partitions there is one for every day since.
FIRST_DAY = date(2024, 3, 20)
_numbers = itertools.count()


@pytest.fixture
def whole(new_deployment: NewDeployment, tmp_path_factory: pytest.TempPathFactory) -> NewDeployment:
    """A function that makes a deployment with all tables of the declarations of `random_traffic`, or of some."""

    def make(timezone: str = "UTC", names: tuple[str, ...] = tuple(DECLARATIONS)) -> Deployment:
        folder = tmp_path_factory.mktemp("declared")
        declare(folder, names)
        declared = Settings.for_data_dir(folder, defs_dir=folder)
        sources, analyses = loading.declared(declared)
        tables = tuple(collect(Declarations(tuple(sources), analyses)))
        return new_deployment(tables=tables, timezone=timezone, first_day=FIRST_DAY, defs_dir=folder)

    return make


def clean_batch(deployment: Deployment, traffic: Traffic, folder: Path) -> InMemory:
    """The model of a deployment, with all events of some traffic."""
    sources, zone = deployment.platform.sources, deployment.settings.timezone
    events = events_of(traffic, sources, zone)
    return InMemory(list(sources.values()), deployment.platform.analyses, deployment.settings, events, folder)


def of_one_batch(deployment: Deployment, traffic: Traffic, folder: Path) -> Tables:
    """What `everything` should be of a deployment that got some traffic."""
    tables = clean_batch(deployment, traffic, folder).at_once()
    return tables | {EVENTS: tables[EVENTS].drop(WHERE_FROM)}


def explained(found: Tables, expected: Tables) -> dict[str, object]:
    """By table: how two states differ, with some rows."""
    return {
        name: (text, differing_rows(found[name], expected[name])) for name, text in differences(found, expected).items()
    }


# --- Random deliveries --------------------------------------------------------------------------------


def cut(random: Random, rows: list[Raw]) -> Iterator[list[Raw]]:
    """Rows in random order cut into a few files, among them tiny ones; what is in order by its file stays together."""
    blocks = moments(rows)
    random.shuffle(blocks)
    for size in (random.randrange(1, 6), random.randrange(1, 12), len(blocks) // 3):
        yield list(itertools.chain.from_iterable(blocks[:size]))
        blocks = blocks[size:]
    yield list(itertools.chain.from_iterable(blocks))


def deliveries(random: Random, traffic: Traffic, others: Traffic) -> list[list[Delivery]]:
    """What is delivered before each of some refreshes; in the end all of `traffic`, and nothing of `others`.

    Files come in any order and some of them again under another name. Of each source the content of one file is a draft
    at first: it lacks some rows, and has some that are taken back later.
    """
    refreshes: list[list[Delivery]] = [[] for _ in range(random.choice([2, 2, 3]))]
    for source, rows in traffic.items():
        files = [(f"{source}/{number}.jsonl", lines_of(part)) for number, part in enumerate(cut(random, rows))]
        drafted = random.randrange(len(files))
        for number, (path, content) in enumerate(files):
            # What is small is late.
            turn = min(random.randrange(len(refreshes)), number % 2 + (number < 2))
            if number == drafted:
                lines = [*content.splitlines(keepends=True)[::2], lines_of(random.sample(others[source], 4))]
                refreshes[0].append((path, "".join(lines)))
                turn = len(refreshes) - 1
            refreshes[turn].append((path, content))
            if random.random() < 0.3:
                refreshes[random.randrange(len(refreshes))].append((f"{source}/again-{number}.jsonl", content))
    for refresh in refreshes:
        random.shuffle(refresh)
    return refreshes


@settings(
    max_examples=2,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(SEEDS, ZONES)
def test_after_any_refreshes_all_tables_are_those_of_one_clean_batch_and_there_is_nothing_left_to_do(
    whole: NewDeployment, tmp_path: Path, seed: int, timezone: str
) -> None:
    random = Random(seed)
    traffic = make_traffic(random)
    deployment = whole(timezone)
    for batch in deliveries(random, traffic, make_traffic(random)):
        for name, content in batch:
            deployment.deliver(name, content)
        report = deployment.refresh()
        assert (report.failures, report.failed_runs, report.exit_code) == ([], [], 0)
        # A draft may have ids that its final content has on another day.
        assert [name for name in failed(report.failed_checks) if "ids_repeat_beyond_window" not in name] == []
    expected = of_one_batch(deployment, traffic, tmp_path / f"events{next(_numbers)}")
    assert explained(deployment.everything(), expected) == {}
    assert deployment.is_settled()
    assert deployment.refreshed().idle


# --- One nasty case -----------------------------------------------------------------------------------


def on(day: int, time: str, visitor: str | None, name: str = "page_viewed", **values: object) -> Raw:
    """An event on a day of March 2024, in UTC."""
    kind = "page" if name == "page_viewed" else "track"
    at = f"2024-03-{day}T{time}+00:00"
    return {"id": f"{visitor}/{at}", "name": name, "type": kind, "time": at, "visitor": visitor, **values}


ANNA, BEN, CORA = "anna", "ben", "cora"
USUAL: Traffic = {
    SHOP: [
        on(26, "10:00:00", CORA),
        on(27, "00:10:00", ANNA, "product_viewed"),
        on(27, "00:30:00", ANNA),
        on(27, "09:00:00", ANNA, "product_added", currency="EUR"),
        on(28, "12:00:00", BEN, user="u1"),
        on(28, "12:00:00", BEN, "order_completed", user="u1", revenue=10, currency="EUR", order_id="o1"),
        on(29, "08:00:00", ANNA),
        on(29, "23:50:00", CORA),
        on(30, "07:00:00", BEN, "order_refunded", user="u1", revenue=-10, currency="EUR", order_id="o1"),
    ],
    APP: [
        on(28, "10:00:00", "phone", session="s"),
        on(28, "20:00:00", "phone", "product_added", session="s", currency="USD"),
        on(29, "12:00:00", "phone", session="s", email="e"),
    ],
}
# Anna is Ben from the first day on; her session of the 27th began before midnight. That of the phone began two days
# earlier, so that its last two events are none of its any more.
LATE: Traffic = {
    SHOP: [
        on(26, "23:45:00", ANNA, "product_viewed", user="u1", email="e"),
        on(26, "23:41:00", ANNA, url="https://shop.example/?utm_source=news&utm_medium=email"),
    ],
    APP: [on(26, "19:00:00", "phone", session="s")],
}


def visits_on(days: range, visitors: str = "abcdef") -> str:
    """A file with a view and an order of each visitor a day, on days of their own."""
    return lines_of(
        [
            each
            for day in days
            for number, visitor in enumerate(visitors)
            if (day + number) % len(visitors) == 0 or number == 0
            for each in (
                on(day, "10:00:00", visitor),
                on(day, "10:01:00", visitor, "order_completed", revenue=1, currency="EUR", order_id=f"{visitor}{day}"),
            )
        ]
    )


@pytest.mark.exhaustive
def test_a_new_day_writes_only_the_rows_of_those_who_were_there_and_a_table_that_was_dropped_is_made_again(
    whole: NewDeployment,
) -> None:
    deployment, clean = whole(names=(SHOP,)), whole(names=(SHOP,))
    deployment.deliver(f"{SHOP}/usual.jsonl", visits_on(range(22, 28)))
    deployment.refreshed()
    places = {name: where_rows_are(deployment, name) for name in ("identities", "users", "visitors", "orders")}
    deployment.deliver(f"{SHOP}/new.jsonl", visits_on(range(28, 29)))
    deployment.refreshed()
    for name, before in places.items():
        kept = {key for key, place in where_rows_are(deployment, name).items() if before.get(key) == place}
        assert len(before) - 3 <= len(kept) <= len(before), name
    with deployment.platform.engine.begin() as connection:
        connection.execute(sa.text("drop table marts.users, marts.orders"))
        # A row that nobody made: what is made again in part leaves it alone, so that this shows which is.
        connection.execute(sa.text("update marts.visitors set events = events + 1 where visitor_id = 'e'"))
    deployment.deliver(f"{SHOP}/newer.jsonl", visits_on(range(29, 30)))
    assert deployment.refresh().exit_code == 1, "the check of the visitors sees the row that nobody made"
    with deployment.platform.engine.begin() as connection:
        connection.execute(sa.text("update marts.visitors set events = events - 1 where visitor_id = 'e'"))
    clean.deliver(f"{SHOP}/all.jsonl", visits_on(range(22, 30)))
    clean.refreshed()
    assert explained(deployment.everything(), clean.everything()) == {}


def where_rows_are(deployment: Deployment, table: str) -> dict[str, str]:
    """The place of each row on the disk, which changes when it is written."""
    return dict(deployment.sql(f"select md5((t.*)::text), ctid::text from marts.{table} t"))


@pytest.mark.exhaustive
def test_a_late_first_day_that_joins_two_visitors_moves_a_session_a_first_day_and_a_cohort(
    whole: NewDeployment, tmp_path: Path
) -> None:
    deployment, clean = whole(), whole()
    both = {source: [*USUAL[source], *LATE[source]] for source in USUAL}
    for source in USUAL:
        deployment.deliver(f"{source}/usual.jsonl", lines_of(USUAL[source]))
        clean.deliver(f"{source}/both.jsonl", lines_of(both[source]))
    deployment.refreshed()
    before = deployment.everything()
    for source in LATE:
        deployment.deliver(f"{source}/late.jsonl", lines_of(LATE[source]))
    deployment.refreshed()
    clean.refreshed()
    after = deployment.everything()
    assert explained(after, clean.everything()) == {}
    assert explained(after, of_one_batch(deployment, both, tmp_path / "events")) == {}
    assert deployment.is_settled()
    assert deployment.refresh().idle
    assert deployment.check_everything() == []
    # It was as nasty as it says.
    persons = "select count(distinct person_id) from marts.visitors where visitor_id in ('anna', 'ben', 'phone')"
    assert deployment.value(persons) == 1
    moved = (
        "supplied_sessions", "sessions", "page_views", "identities", "person_days", "users", "active_users",
        "conversions", "ordered_funnel", "person_funnel", "returning_people", "lead_credit",
    )  # fmt: skip
    assert [name for name in moved if after[name].equals(before[name])] == []
    supplied = "select session_date, events::int from marts.sessions where visitor_id = 'phone'"
    assert deployment.sql(supplied) == [(date(2024, 3, 26), 2)]


# --- Bad input ----------------------------------------------------------------------------------------

BAD_ORDER = {"name": "order_completed", "type": "track", "revenue": 10, "currency": "EUR"}
KEPT: list[Raw] = [
    {"type": "blorp"},
    {"type": 7},
    {"type": None, "name": None},
    {"name": "product_viewed", "type": "track", "items": "[{"},
    {"name": "product_viewed", "type": "track", "items": [{"sku": "x", "price": "NaN", "quantity": -5}, 7]},
    {"name": "product_viewed", "type": "track", "items": {"sku": {"a": 1}}},
    {"type": "ping", "view": "v", "scroll": "deep"},
    {"type": "ping", "view": "v", "scroll": 1e308},
    {**BAD_ORDER, "currency": "euros", "order_id": "o1"},
    {**BAD_ORDER, "currency": None, "order_id": "o2"},
    {**BAD_ORDER, "revenue": "999999999999.999999", "order_id": "o3"},
    {**BAD_ORDER, "revenue": "999999999999.999999", "order_id": "o3"},
    {**BAD_ORDER, "revenue": None, "order_id": "\x00"},
    {"properties": {"deep": [[[[{"nul": "\x00"}]]]]}, "email": {"not": "a text"}, "user": 5},
    {"url": "http://[", "referrer": "::", "agent": "\ud83d\ude00" * 50, "country": ""},
    {**BAD_ORDER, "revenue": "NaN"},
    {**BAD_ORDER, "revenue": 1e30},
    {"user": "null"},
]
QUARANTINED: list[Raw] = [
    {**BAD_ORDER, "revenue": "ten"},
    {"time": "yesterday"},
    {"ok": "perhaps"},
    {"visitor": None},
]


def test_bad_values_never_fail_a_day_and_are_kept_counted_and_visible_in_a_check(whole: NewDeployment) -> None:
    deployment = whole()
    for source in (SHOP, APP):
        rows = [
            on(27, f"10:{number:02}:00", ANNA, session="s") | {"id": f"bad{number}"} | bad
            for number, bad in enumerate([*KEPT, *QUARANTINED])
        ]
        deployment.deliver(f"{source}/bad.jsonl", lines_of(rows))
    report = deployment.refresh()
    assert (report.failures, report.failed_runs, report.exit_code, report.stale_days) == ([], [], 0, 0)
    assert deployment.sql("select property, events from marts.daily_activity order by 1") == [
        ("shop-app", len(KEPT)),
        ("shop.example", len(KEPT)),
    ]
    for source in (SHOP, APP):
        assert deployment.reasons(source) == {
            "unparsable:revenue": 1,
            "unparsable:occurred_at": 1,
            "unparsable:consent": 1,
            "missing:anonymous_id or user_id": 1,
        }
    # Of either source the same; orders are conversions of `sale` and of `purchase`.
    assert deployment.check_everything() == [
        "conversions:has_values {'without_rate': 4, 'without_currency': 4}",
        "events:unknown_event_types {'events': 4, 'types: clicks: 7': 1, 'types: clicks: blorp': 1, "
        "'types: taps: 7': 1, 'types: taps: blorp': 1}",
        "events:unusable_values {'events': 14, 'values: clicks: items': 2, 'values: clicks: revenue': 2, "
        "'values: clicks: scroll_depth': 2, 'values: taps: items': 2, 'values: taps: revenue': 2, "
        "'values: taps: scroll_depth': 2, 'values: clicks: user_id: null': 1, 'values: taps: user_id: null': 1}",
        "products:readable {'unreadable': 4, 'amounts_without_rate': 0}",
        "revenue:has_rates {'amounts_without_rate': 2, 'amounts_without_currency': 2}",
    ]
    kept = deployment.table(EVENTS).filter(property="shop.example")
    assert set(kept["event_type_given"].drop_nulls()) == {"blorp", "7"}
    assert {"items": "[{"} in [json.loads(text) for text in kept["properties"].drop_nulls()]
    assert {"scroll": "deep"} in [json.loads(text) for text in kept["properties"].drop_nulls()]


# --- What is built again ------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_a_late_login_builds_no_earlier_day_of_events_again_but_the_persons_of_the_days_it_is_about(
    whole: NewDeployment,
) -> None:
    march = {day: date(2024, 3, day) for day in range(20, 31)}
    deployment = whole(names=(SHOP,))
    for day in range(21, 28):
        rows = [on(day, "10:00:00", CORA), *([on(day, "11:00:00", ANNA)] if day in (21, 22, 27) else [])]
        deployment.deliver(f"{SHOP}/{day}.jsonl", lines_of(rows))
    deployment.refreshed()
    before = bookings(deployment)
    deployment.deliver(f"{SHOP}/late.jsonl", lines_of([on(27, "12:00:00", ANNA, "signed_in", user="u1")]))
    deployment.refreshed()
    built = rebuilt(deployment, before)
    assert built["events"] == {march[27]}
    # Sessions of the day before may go on.
    assert built["sessions"] == built["page_views"] == {march[26], march[27]}
    assert built["person_days"] == {march[day] for day in (21, 22, 26, 27)}
    assert built["products"] == built["order_days"] == {march[27]}
    runs = {run for (table, day), (run, *_) in bookings(deployment).items() if table == "events" and day != march[27]}
    assert runs == {run for (table, day), (run, *_) in before.items() if table == "events" and day != march[27]}
    assert deployment.sql(
        "select visitor_id, person_id = (select person_id from marts.users where user_id = 'u1') "
        "from marts.visitors order by 1"
    ) == [(ANNA, True), (CORA, False)]


# --- Days without events ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([("a", (21,)), ("b", (23,))], id="the day between is in no run"),
        pytest.param([("a", (21, 22, 24)), ("a", (21, 23))], id="two days were taken back"),
    ],
)
def test_days_without_events_have_the_same_rows_whether_or_not_a_run_has_built_them(
    new_deployment: NewDeployment, steps: list[tuple[str, tuple[int, ...]]]
) -> None:
    """A run bridges the days between those it builds, and content that is taken back leaves a day without events."""
    states: list[Tables] = []
    for deliveries_ in (steps, [("a", (21, 23))]):
        deployment = new_deployment(tables=("active_users",), first_day=FIRST_DAY)
        assert deployment.settings.defs_dir is not None
        declare(deployment.settings.defs_dir, [SHOP])
        deployment.reload()
        for name, days in deliveries_:
            deployment.deliver(f"{SHOP}/{name}.jsonl", lines_of([on(day, "10:00:00", ANNA) for day in days]))
            deployment.refreshed()
        states.append(deployment.everything())
    assert explained(*states) == {}


# --- The windows that tables declare to read ----------------------------------------------------------


def in_memory(traffic: Traffic, timezone: str, folder: Path, tables: tuple[str, ...] = ()) -> InMemory:
    """The model of the declarations of `random_traffic`."""
    declare(folder / "defs")
    sources = load_sources(folder / "defs")
    events = events_of(traffic, {source.name: source for source in sources}, timezone)
    declared = Settings.for_data_dir(folder, timezone=timezone, tables=tables)
    return InMemory(sources, load_analyses(folder / "defs"), declared, events, folder / "events")


@pytest.mark.exhaustive
@settings(max_examples=2, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(SEEDS, ZONES)
@example(1, "Europe/Berlin")
def test_a_day_needs_no_more_than_the_days_and_columns_that_its_table_declares_to_read(
    tmp_path_factory: pytest.TempPathFactory, seed: int, timezone: str
) -> None:
    random = Random(seed)
    tables = in_memory(make_traffic(random), timezone, tmp_path_factory.mktemp("windows"))
    assert explained(tables.day_by_day(lambda: random.choice([1, 1, 2, 3])), tables.at_once()) == {}


def berlin(time: str, visitor: str, name: str = "page_viewed", **values: object) -> Raw:
    """An event by the clock of Berlin."""
    at = datetime.fromisoformat(f"2024-{time}").replace(tzinfo=ZoneInfo("Europe/Berlin"))
    return on(30, "00:00:00", visitor, name, **values) | {"id": f"{visitor}/{time}/{name}", "time": at.isoformat()}


MAIL = "https://shop.example/?utm_source=news&utm_medium=email"
ORDER = {"name": "order_completed", "revenue": 9, "currency": "EUR"}
# 24 and 48 hours reach one calendar day further over the 31st of March, which has 23.
EDGES: Traffic = {
    SHOP: [
        berlin("03-30T23:50", "late"),
        berlin("03-31T00:10", "late"),
        berlin("03-30T20:00", "half", "product_viewed"),
        berlin("03-31T09:00", "half", "product_added"),
        berlin("03-30T23:30", "day", "product_viewed"),
        berlin("04-01T00:30", "day", "product_added"),
        berlin("04-02T00:30", "day", **ORDER),
        berlin("03-30T23:30", "days", "product_viewed"),
        berlin("04-02T00:30", "days", "product_added"),
        berlin("03-30T23:30", "mail", url=MAIL),
        berlin("04-01T00:30", "mail", **ORDER),
        berlin("04-01T12:00", "both", url=MAIL),
        berlin("04-01T20:00", "both"),
        berlin("04-02T00:10", "both", **ORDER),
        berlin("03-29T23:30", "lead"),
        berlin("04-01T00:30", "lead", "product_added"),
        # That b was seen two days before keeps its ping from bridging a gap, so that the ping of a is in no session.
        berlin("03-30T23:00", "tab", view="b"),
        berlin("03-31T16:00", "tab", view="a"),
        berlin("03-31T16:25", "tab", "beat", type="ping", view="b"),
        *(
            berlin(f"03-31T{16 + (50 + 30 * n) // 60}:{(50 + 30 * n) % 60:02}", "tab", "product_added")
            for n in range(15)
        ),
        berlin("04-01T00:10", "tab", "beat", type="ping", view="a"),
        berlin("04-01T00:20", "tab", "product_added"),
        # A ping is in the session that goes on after it, on the next day.
        berlin("03-31T23:00", "next", view="c"),
        berlin("03-31T23:25", "next", "product_added"),
        berlin("03-31T23:45", "next", "beat", type="ping", view="c"),
        berlin("04-01T00:05", "next", "product_added"),
        berlin("03-31T23:40", "next", "product_added"),
    ],
    APP: [
        berlin("03-30T10:00", "phone", "product_added", session="s"),
        berlin("04-01T08:59", "phone", session="s"),
        berlin("04-01T09:00", "phone", "product_added", session="s"),
    ],
}


def test_at_the_edges_of_all_windows_a_day_needs_what_is_declared_and_not_a_day_less(tmp_path: Path) -> None:
    whole = in_memory(EDGES, "Europe/Berlin", tmp_path)
    expected = whole.at_once()
    assert explained(whole.day_by_day(), expected) == {}
    needless: list[tuple[str, str, str]] = []
    for spec in whole.tables.values():
        for reads, side in itertools.product(spec.inputs, ("before", "after")):
            less = getattr(reads, side) - 1
            # Those windows have tests of their own.
            if less < 0 or spec.name in ("events", "active_users"):
                continue
            narrower = tuple(replace(each, **{side: less}) if each is reads else each for each in spec.inputs)
            if whole.days_of(replace(spec, inputs=narrower), expected).equals(expected[spec.name]):
                needless.append((spec.name, reads.table, side))
    assert needless == []


def test_active_users_look_back_27_days_and_no_further(tmp_path: Path) -> None:
    traffic = {
        SHOP: [
            berlin(f"{month:02}-{day:02}T{hour}", visitor)
            for visitor, month, day, hour in [
                ("first", 3, 1, "00:00"),
                ("second", 3, 2, "23:59"),
                ("third", 3, 28, "12:00"),
                ("third", 3, 29, "12:00"),
                ("third", 3, 30, "12:00"),
            ]
        ]
    }
    tables = in_memory(traffic, "Europe/Berlin", tmp_path, ("active_users",))
    found = tables.day_by_day()["active_users"]
    assert explained({"active_users": found}, {"active_users": tables.at_once()["active_users"]}) == {}
    of_shop = found.filter(property="shop.example", visitors_1d=1).select("activity_date", "visitors_28d")
    assert [days for day, days in of_shop.rows() if day.day >= 28] == [3, 2, 1]
