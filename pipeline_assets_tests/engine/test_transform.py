"""What a table's function may ask for and give; what else it does is told with its place."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from pipeline_assets.engine.transform import made_by
from pipeline_assets.io_managers.frames import ContractError
from pipeline_assets.tables.pages import pages
from pipeline_assets.tables.spec import Counted, Inputs, TableSpec

DAYS = [date(2026, 3, 1)]
ROWS = pl.DataFrame({"a": [1]})


def asking(give: Callable[[Inputs], object]) -> TableSpec:
    def build(inputs: Inputs, days: Sequence[date], parameters: object) -> object:
        return give(inputs)

    return replace(pages, build=build)


def read_elsewhere(inputs: Inputs) -> object:
    return inputs["users"]


def given() -> Inputs:
    return {each.table: ROWS.lazy() for each in pages.inputs}


def test_rows_are_given_as_they_are_made_of_the_inputs() -> None:
    (name, *_) = given()
    assert made_by(asking(lambda inputs: inputs[name].collect()), given(), DAYS) is not None
    assert isinstance(made_by(asking(lambda _: Counted([ROWS], {})), given(), DAYS), Counted)


@pytest.mark.parametrize("what", [None, ROWS.lazy(), {"pages": ROWS}, [ROWS], "rows", (frame for frame in [ROWS])])
def test_what_is_no_frame_is_told_with_the_function_that_gave_it(what: object) -> None:
    with pytest.raises(ContractError, match=rf"pages: the function at .*{Path(__file__).name}:\d+ returned") as told:
        made_by(asking(lambda _: what), given(), DAYS)
    assert type(what).__name__ in str(told.value)
    assert ("collect it" in str(told.value)) == isinstance(what, pl.LazyFrame)


def test_a_table_that_is_none_of_the_inputs_is_told_with_those_that_are() -> None:
    with pytest.raises(ContractError, match="reads 'users', which is none of its inputs: ") as told:
        made_by(asking(read_elsewhere), given(), DAYS)
    assert all(name in str(told.value) for name in given())
