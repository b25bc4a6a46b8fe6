from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.declarations.analyses import Conversion, Selector
from pipeline_assets.tables.selection import CONVERSION_SCHEMA, condition, select_conversions, select_events
from pipeline_assets_tests.transforms.frames import EVENT_SCHEMA, NOON, Row, event, events_frame

TODAY = NOON.date()
TOMORROW = TODAY + timedelta(days=1)
ORDER = Selector(event=("order",))


def write(folder: Path, *rows: Row, name: str = "part.parquet") -> str:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    events_frame(rows).write_parquet(file)
    return str(file)


def select(*paths: str, **changes: Any) -> pl.DataFrame:
    arguments: dict[str, Any] = {
        "columns": ["event_id"],
        "marks": {"order": ORDER},
        "days": [TODAY],
        "only_marked": False,
        **changes,
    }
    with duckdb.connect() as connection:
        return select_events(connection, list(paths), **arguments)


def marked(path: str, selector: Selector) -> set[str]:
    """Ids of the events that a selector means."""
    return set(select(path, marks={"mark": selector}, only_marked=True)["event_id"])


def numbered(*names: str | None, **values: Any) -> list[Row]:
    """Events 0, 1 … with these names."""
    return [event(NOON, event_id=str(number), event_name=name, **values) for number, name in enumerate(names)]


def test_an_event_is_meant_if_all_given_conditions_hold(tmp_path: Path):
    path = write(
        tmp_path,
        event(NOON, event_id="a", event_name="x", event_type="page", country="DE"),
        event(NOON, event_id="b", event_name="y", event_type="page", country="DE"),
        event(NOON, event_id="c", event_name="x", event_type="track", country="FR"),
        event(NOON, event_id="d", event_name=None, event_type="screen", country=None),
    )
    assert marked(path, Selector()) == {"a", "b", "c", "d"}
    assert marked(path, Selector(event=("x",))) == {"a", "c"}
    assert marked(path, Selector(event=("x", "y"), type=("page",))) == {"a", "b"}
    assert marked(path, Selector(type=("page", "screen"), where="country <> 'FR'")) == {"a", "b"}
    assert marked(path, Selector(event=("x",), type=("page",), where="country = 'FR'")) == set()


def test_marks_are_never_null(tmp_path: Path):
    path = write(tmp_path, *numbered("order", None))
    marks = {"order": ORDER, "rich": Selector(where="revenue > 0"), "none": Selector(where="NULL::BOOLEAN")}
    frame = select(path, marks=marks).sort("event_id")
    assert frame.to_dict(as_series=False) == {
        "event_id": ["0", "1"],
        "order": [True, False],
        "rich": [False, False],
        "none": [False, False],
    }


def test_an_expression_that_fails_on_a_row_is_false_there_and_only_there(tmp_path: Path):
    texts = ['{"n": 3}', '{"n": "many"}', "not JSON", None, '{"n": 1}', '{"n": 99999999999999999999}']
    rows = [event(NOON, event_id=str(number), properties=text) for number, text in enumerate(texts)]
    where = Selector(where="(properties ->> '$.n')::INTEGER > 2 -- more than two")
    frame = select(write(tmp_path, *rows), marks={"many": where}).sort("event_id")
    assert frame["many"].to_list() == [True, False, False, False, False, False]


@pytest.mark.parametrize(
    "name",
    [
        "'",
        "''",
        "x' OR '1'='1",
        "x'); DROP TABLE events; --",
        "') OR true --",
        '"',
        "\\",
        "\\'",
        "$paths",
        "?",
        "%",
        "x\ny",
        "a\x00b",
        "Ünïcode 🛒",
        "/* x",
    ],
)
def test_an_event_name_means_itself_whatever_is_in_it(tmp_path: Path, name: str):
    path = write(tmp_path, *numbered("x", name, "y", None))
    assert marked(path, Selector(event=(name,))) == {"1"}
    shop = write(tmp_path, *numbered("order", property=name), *numbered("order"), name="shops.parquet")
    assert select(shop, properties=[name], columns=["property"])["property"].to_list() == [name]
    with duckdb.connect() as connection:
        found = select_conversions(connection, [path], [Conversion(name="x", event=(name,))], [TODAY])
    assert found.select("conversion", "event_id").rows() == [("x", "1")]


_NAMES = st.text(st.sampled_from("ab'\"\\;-% \n$?(){}🛒"), max_size=4)


@settings(max_examples=40, deadline=None)
@given(names=st.lists(_NAMES.filter(bool) | st.none(), max_size=6), wanted=st.lists(_NAMES.filter(bool), min_size=1))
def test_names_are_compared_as_python_compares_them(
    tmp_path_factory: pytest.TempPathFactory, names: list[str | None], wanted: list[str]
):
    path = write(tmp_path_factory.mktemp("names"), *numbered(*names))
    expected = {str(number) for number, name in enumerate(names) if name in wanted}
    assert marked(path, Selector(event=tuple(wanted))) == expected


def test_bots_and_events_without_a_visitor_are_left_out(tmp_path: Path):
    path = write(
        tmp_path,
        event(NOON, event_id="a", event_name="order"),
        event(NOON, event_id="b", event_name="order", is_bot=True),
        event(NOON, event_id="c", event_name="order", visitor_id=None),
    )
    assert select(path)["event_id"].to_list() == ["a"]
    with duckdb.connect() as connection:
        conversions = select_conversions(connection, [path], [Conversion(name="o", event=("order",))], [TODAY])
    assert conversions["event_id"].to_list() == ["a"]


def test_days_and_properties_bound_what_is_read(tmp_path: Path):
    paths = [
        write(
            tmp_path, event(NOON + timedelta(days=day), event_id=str(day), property=shop), name=f"{day}{shop}.parquet"
        )
        for day in (-1, 0, 1, 2)
        for shop in ("shop", "other")
    ]
    frame = select(*paths, days=[TODAY, TOMORROW], properties=("shop",), columns=["event_id", "property"])
    assert sorted(frame.select("event_id", "property").rows()) == [("0", "shop"), ("1", "shop")]
    assert select(*paths, days=[TODAY, TOMORROW]).height == 4


def test_events_without_a_mark_are_left_out_only_if_that_is_asked_for(tmp_path: Path):
    path = write(tmp_path, *numbered("order", "view", None, "view"))
    marks = {"order": ORDER, "view": Selector(event=("view",), where="event_id = '1'")}
    assert select(path, marks=marks).height == 4
    assert set(select(path, marks=marks, only_marked=True)["event_id"]) == {"0", "1"}
    # A mark without names keeps events of any name.
    anything = marks | {"third": Selector(where="event_id = '2'")}
    assert set(select(path, marks=anything, only_marked=True)["event_id"]) == {"0", "1", "2"}
    assert select(path, marks={}, only_marked=True).is_empty()
    assert select(path, marks={}).height == 4


def test_columns_have_the_types_of_the_contract_even_without_rows(tmp_path: Path):
    path = write(tmp_path, *numbered("order"))
    columns = list(EVENT_SCHEMA)
    full = select(path, columns=columns)
    expected = pl.Schema({**EVENT_SCHEMA, "order": pl.Boolean()})
    assert full.schema == expected
    assert full.drop("order").equals(events_frame(numbered("order")))
    assert select(path, columns=columns, days=[TOMORROW]).schema == expected
    assert select(columns=columns).schema == expected


def test_times_are_seen_in_utc_and_the_connection_keeps_its_own_zone(tmp_path: Path):
    path = write(tmp_path, *numbered("order"))
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'Asia/Tokyo'")
        marks = {"noon": Selector(where="hour(occurred_at) = 12")}
        frame = select_events(connection, [path], columns=["occurred_at"], marks=marks, days=[TODAY], only_marked=True)
        assert frame["occurred_at"].to_list() == [NOON]
        assert connection.execute("SELECT current_setting('TimeZone')").fetchall() == [("Asia/Tokyo",)]


def test_a_path_with_signs_of_a_pattern_stands_for_itself(tmp_path: Path):
    path = write(tmp_path, *numbered("order"), name="a[1]*?/event_date=2020-01-01/part.parquet")
    write(tmp_path, *numbered("order", "order"), name="a1/event_date=2020-01-01/part.parquet")
    assert select(path).height == 1
    Path(path).unlink()
    write(tmp_path, *numbered("order"), name="a12/event_date=2020-01-01/part.parquet")
    with pytest.raises(duckdb.Error):
        select(path)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path):
    with pytest.raises(duckdb.Error):
        select(str(tmp_path / "absent.parquet"))


def test_unknown_columns_and_marks_that_hide_a_column_are_refused():
    with pytest.raises(ValueError, match="events has no column evnt_id"):
        select(columns=["evnt_id"])
    with pytest.raises(ValueError, match="events has a column country of its own"):
        select(marks={"country": ORDER})


def test_a_condition_without_parts_is_true_and_any_other_is_never_null():
    assert condition(Selector()) == "true"
    assert condition(Selector(event=("it's",))) == "coalesce(event_name IN ('it''s'), false)"


def test_the_worth_of_a_conversion_is_its_expression_as_a_decimal(tmp_path: Path):
    texts = ["12.5", "0.1234565", "many", "NaN", "Infinity", "1e300", "-3", "", None]
    rows = [
        event(
            NOON,
            event_id=str(number),
            event_name="order",
            properties=None if text is None else f'{{"worth": "{text}"}}',
            revenue=Decimal("9.99"),
            currency="EUR",
            order_id="o",
            user_id="u",
        )
        for number, text in enumerate(texts)
    ]
    path = write(tmp_path, *rows)
    conversions = [
        Conversion(name="order", event=("order",), counting="once_per_session"),
        Conversion(name="worth", event=("order",), value="properties ->> '$.worth'"),
        Conversion(name="nothing", event=("order",), value="1 / 0"),
    ]
    with duckdb.connect() as connection:
        frame = select_conversions(connection, [path], conversions, [TODAY]).sort("conversion", "event_id")
    assert frame.schema == CONVERSION_SCHEMA
    assert frame.height == 27
    values = {name: part["value"].to_list() for (name,), part in frame.group_by("conversion")}
    assert values["order"] == [Decimal("9.99")] * 9
    assert values["worth"][:2] == [Decimal("12.5"), Decimal("0.123457")]
    assert values["worth"][2:] == [None, None, None, None, Decimal(-3), None, None]
    assert values["nothing"] == [None] * 9
    first = frame.row(9, named=True)
    assert first == {
        "conversion": "order",
        "event_date": TODAY,
        "property": "shop",
        "visitor_id": "v",
        "user_id": "u",
        "occurred_at": NOON,
        "sequence": None,
        "received_at": None,
        "is_id_derived": False,
        "load_id": "f",
        "line": 1,
        "event_id": "0",
        "value": Decimal("9.99"),
        "currency": "EUR",
        "order_id": "o",
        "counting": "once_per_session",
    }


def test_conversions_are_bound_by_their_own_properties_and_the_days(tmp_path: Path):
    path = write(tmp_path, *numbered("order"), *numbered("order", property="other"))
    later = write(tmp_path, event(NOON + timedelta(days=2), event_name="order"), name="later.parquet")
    one = Conversion(name="one", event=("order",), properties=("other",))
    both = Conversion(name="both", event=("order",))
    with duckdb.connect() as connection:
        frame = select_conversions(connection, [path, later], [one, both], [TODAY, TOMORROW])
        assert sorted(frame.select("conversion", "property").rows()) == [
            ("both", "other"),
            ("both", "shop"),
            ("one", "other"),
        ]
        for paths, conversions in (([], [one]), ([path], [])):
            empty = select_conversions(connection, paths, conversions, [TODAY])
            assert empty.is_empty()
            assert empty.schema == CONVERSION_SCHEMA
