"""Tables without partitions, made as a whole or in part."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date

import polars as pl

from pipeline_assets.engine.transform import made_by
from pipeline_assets.tables.spec import Inputs, TableSpec


@dataclass(frozen=True)
class Made:
    """What is made of a table without partitions.

    Attributes:
        rows: its rows, or some of them.
        existing: the rows so far that they take the place of; None for all.
        revisions: what the whole table says of each day; None where no table asks.
    """

    rows: pl.DataFrame
    existing: pl.DataFrame | None
    revisions: dict[date, str] | None


def build_whole(spec: TableSpec, inputs: Inputs) -> Made:
    """Make all of a table without partitions from all rows of its inputs."""
    rows = _rows(spec, inputs)
    return Made(rows, None, dict(spec.revisions(inputs, rows).iter_rows()) if spec.revisions else None)


def build_part(
    spec: TableSpec,
    inputs: Inputs,
    on_changed: Inputs,
    *,
    changed: Collection[date],
    rows_of_keys: Callable[[pl.Series], pl.DataFrame | None],
    revisions: Mapping[date, str],
    day_columns: Mapping[str, str],
) -> Made | None:
    """Make the rows of those keys again that have or had input rows on some days.

    Args:
        spec: a table with `incremental`.
        inputs: all rows of its inputs, as they are now.
        on_changed: those of the days that may have changed since the table was built.
        changed: these days.
        rows_of_keys: the table's rows of all keys that have a row with one of these values of `seed`, or one whose
            `first` and `last` show that its input rows may lie on one of the changed days; None if it is not there.
        revisions: what the table says so far of each day.
        day_columns: the partition columns of its inputs.

    Returns:
        None if the table is not there.
    """
    key = spec.incremental
    assert key is not None  # noqa: S101
    seeds = key.seeds(on_changed)
    while True:
        existing = rows_of_keys(seeds)
        if existing is None:
            return None
        found = key.members(inputs, on_changed, existing)
        members = {name: frame.collect().rechunk().lazy() for name, frame in found.items()}
        # What the table says of a row may name keys that no row of the table holds together.
        more = key.seeds(members)
        more = more.filter(~more.is_in(pl.concat([seeds, existing[key.seed]]).unique().implode()))
        if more.is_empty():
            break
        seeds = pl.concat([seeds, more])
    rows = _rows(spec, members)
    if spec.revisions is None:
        return Made(rows, existing, None)
    days = {each.table: pl.col(day_columns[each.table]) for each in spec.inputs}
    elsewhere = {name: frame.filter(~days[name].is_in(list(changed))) for name, frame in members.items()}
    before = dict(spec.revisions(elsewhere, existing).iter_rows())
    after = dict(spec.revisions(members, rows).iter_rows())
    # The other days have the input rows that they had; only what the table says of them may be new.
    exchanged = {day: _exchanged(revisions[day], before[day], text) for day, text in after.items() if day in before}
    kept = {day: text for day, text in revisions.items() if day not in changed}
    return Made(rows, existing, kept | after | exchanged)


def _rows(spec: TableSpec, inputs: Inputs) -> pl.DataFrame:
    rows = made_by(spec, inputs, ())
    assert isinstance(rows, pl.DataFrame)  # noqa: S101
    return rows


def _exchanged(whole: str, before: str, after: str) -> str:
    """A revision in which the share of some keys has taken the place of another."""
    numbers = (map(int, text.split("-")) for text in (whole, before, after))
    return "-".join(str(w - b + a) for w, b, a in zip(*numbers, strict=True))
