from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import polars as pl

from pipeline_assets.declarations.analyses import Retention
from pipeline_assets.tables.retention_days import RetentionDays, build_retention_days
from pipeline_assets_tests.transforms.frames import NOON, Row
from pipeline_assets_tests.transforms.identity_reference import person_days_frame, person_of_node, visitor_day

TODAY = NOON.date()
DAY = timedelta(days=1)
BY_PERSON = Retention(name="p", by="person")
BY_VISITOR = Retention(name="v", by="visitor")
SCHEMA = {"event_date": pl.Date, "property": pl.String, "visitor_id": pl.String, "user_id": pl.String}
USER = person_of_node(("*", "user_id", "u"))


def seen(visitor_id: str = "a", *, is_cohort: bool = True, is_return: bool = True, **values: Any) -> Row:
    """An event with its marks for both retentions."""
    marks = {
        f"{name}: {mark}": given for name in "pv" for mark, given in (("cohort", is_cohort), ("return", is_return))
    }
    return {"event_date": TODAY, "property": "shop", "visitor_id": visitor_id, "user_id": None, **marks, **values}


def built(events: Sequence[Row], *retentions: Retention, persons: Sequence[Row] = ()) -> list[tuple[Any, ...]]:
    marks = {f"{each.name}: {mark}": pl.Boolean for each in (BY_PERSON, BY_VISITOR) for mark in ("cohort", "return")}
    frame = pl.DataFrame(events, schema=SCHEMA | marks, orient="row")
    table = build_retention_days(
        frame.lazy(), person_days_frame(persons).lazy(), [TODAY, TODAY + DAY], retentions=retentions
    )
    return RetentionDays.validate(table).rows()


def test_the_visitors_of_a_person_are_one_entity_and_its_marks_are_those_of_any_of_its_events() -> None:
    persons = [visitor_day(anonymous_id="a", user_id="u"), visitor_day(anonymous_id="b", user_id="u")]
    events = [seen("a", user_id="u", is_return=False), seen("b", user_id="u", is_cohort=False)]
    assert built(events, BY_PERSON, persons=persons) == [(TODAY, "p", USER, True, True)]
    apart = built(events, BY_VISITOR, persons=persons)
    assert [row[3:] for row in apart] == [(True, False), (False, True)]


def test_a_visitor_is_another_one_in_another_property() -> None:
    assert len(built([seen(), seen(property="blog")], BY_VISITOR)) == 2


def test_only_the_declared_properties_count() -> None:
    only_blog = BY_VISITOR.model_copy(update={"properties": ("blog",)})
    assert len(built([seen(), seen(property="blog")], only_blog)) == 1


def test_who_neither_begins_nor_returns_and_who_is_nobody_takes_no_part() -> None:
    assert built([seen(is_cohort=False, is_return=False), seen("unknown")], BY_PERSON) == []


def test_every_retention_and_day_has_rows_of_its_own_and_other_days_have_none() -> None:
    events = [seen(), seen(event_date=TODAY + DAY), seen(event_date=TODAY - DAY)]
    persons = [visitor_day(anonymous_id="a"), visitor_day(NOON + DAY, anonymous_id="a")]
    table = built(events, BY_PERSON, BY_VISITOR, persons=persons)
    assert [row[:2] for row in table] == [(TODAY, "p"), (TODAY, "v"), (TODAY + DAY, "p"), (TODAY + DAY, "v")]
