"""All tables of a model, computed in memory: without Dagster, PostgreSQL and the ledger."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import islice
from pathlib import Path

import duckdb
import polars as pl

from pipeline_assets.batching import Batch
from pipeline_assets.declarations.analyses import Analyses
from pipeline_assets.registry import collect
from pipeline_assets.settings import Settings
from pipeline_assets.sources.declaration import Source
from pipeline_assets.tables.declarations import Declarations
from pipeline_assets.tables.events import build_events
from pipeline_assets.tables.spec import EVENTS, Input, TableSpec
from pipeline_assets_tests.end_to_end.random_traffic import Raw, lines_of
from pipeline_assets_tests.sources.staging_rows import stage
from pipeline_assets_tests.transforms.frames import STAGED_SCHEMA, days_between

Tables = dict[str, pl.DataFrame]
_ONE_DAY = timedelta(days=1)


def events_of(traffic: Mapping[str, Sequence[Raw]], sources: Mapping[str, Source], timezone: str) -> pl.DataFrame:
    """The clean events of raw ones, by source."""
    staged: list[pl.DataFrame] = []
    for name, rows in traffic.items():
        records = stage(sources[name], lines_of(list(rows)).splitlines(), timezone=timezone)
        reasons = {row["reason"] for row in records}
        assert reasons == {None}, reasons
        staged.append(pl.DataFrame([{**row, "load_id": name} for row in records], schema=STAGED_SCHEMA))
    return build_events(pl.concat(staged), None, dedup_days={}).events


class InMemory:
    """A model and the events to compute it from.

    Args:
        sources: the declared sources.
        analyses: the declared analyses.
        settings: the deployment's.
        events: all events.
        folder: for the files of events that selections in SQL read.
    """

    def __init__(
        self, sources: Sequence[Source], analyses: Analyses, settings: Settings, events: pl.DataFrame, folder: Path
    ) -> None:
        self.tables = collect(Declarations(tuple(sources), analyses, settings.timezone), only=settings.tables)
        self._events = events
        first, last = events["event_date"].min(), events["event_date"].max()
        assert isinstance(first, date)
        assert isinstance(last, date)
        self.days = days_between(first, last)
        self._connection = duckdb.connect()
        self._paths: dict[date, str] = {}
        folder.mkdir(parents=True)
        for (day,), rows in events.group_by("event_date"):
            assert isinstance(day, date)
            self._paths[day] = str(folder / f"{day}.parquet")
            rows.write_parquet(self._paths[day])

    def at_once(self) -> Tables:
        """All tables from everything at once."""
        tables: Tables = {EVENTS: in_order(self.tables[EVENTS], self._events)}
        for name, spec in self._of_events():
            inputs = {each.table: self._read(spec, each, tables, self.days[0], self.days[-1]) for each in spec.inputs}
            tables[name] = in_order(spec, _built(spec, inputs, self.days))
        return tables

    def _of_events(self) -> list[tuple[str, TableSpec]]:
        return [(name, spec) for name, spec in self.tables.items() if name != EVENTS]

    def day_by_day(self, buckets: Callable[[], int] = lambda: 1) -> Tables:
        """All tables a day at a time, from exactly the days and columns that each declares to read.

        Args:
            buckets: into how many parts of its visitors the next day is cut, where its table allows that.
        """
        tables: Tables = {EVENTS: in_order(self.tables[EVENTS], self._events)}
        for name, spec in self._of_events():
            whole = spec.partition_column is None
            tables[name] = self._whole(spec, tables) if whole else self.days_of(spec, tables, buckets)
        return tables

    def days_of(self, spec: TableSpec, tables: Tables, buckets: Callable[[], int] = lambda: 1) -> pl.DataFrame:
        """A daily table, a day at a time; see `day_by_day`."""
        return in_order(spec, pl.concat(self._days(spec, tables, buckets)))

    def _whole(self, spec: TableSpec, tables: Tables) -> pl.DataFrame:
        inputs = {each.table: tables[each.table].lazy() for each in spec.inputs}
        return in_order(spec, _built(spec, inputs, ()))

    def _days(self, spec: TableSpec, tables: Tables, buckets: Callable[[], int]) -> Iterator[pl.DataFrame]:
        for day in self.days:
            parts = buckets() if spec.batched else 1
            for bucket in range(parts):
                batch = Batch((day,), bucket, parts)
                inputs = {each.table: self._near(each, spec, batch, tables, day) for each in spec.inputs}
                rows = _built(spec, inputs, [day])
                assert rows.filter(pl.col(spec.partition_column or "") != day).is_empty()
                yield rows

    def _near(self, each: Input, spec: TableSpec, batch: Batch, tables: Tables, day: date) -> pl.LazyFrame:
        rows = self._read(spec, each, tables, day - each.before * _ONE_DAY, day + each.after * _ONE_DAY)
        return batch.select(rows, *each.batch_key)

    def _read(self, spec: TableSpec, each: Input, tables: Tables, first: date, last: date) -> pl.LazyFrame:
        if each.select:
            days = [day for day in sorted(self._paths) if first <= day <= last]
            paths = [self._paths[day] for day in days]
            return each.select(self._connection, paths, days, spec.parameters).lazy()
        rows = tables[each.table].lazy()
        if column := self.tables[each.table].partition_column:
            rows = rows.filter(pl.col(column).is_between(first, last))
        return rows.select(each.columns) if each.columns else rows


def _built(spec: TableSpec, inputs: Mapping[str, pl.LazyFrame], days: Sequence[date]) -> pl.DataFrame:
    rows = spec.build(inputs, days, spec.parameters)
    assert isinstance(rows, pl.DataFrame)
    return rows


def in_order(table: TableSpec, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows in the order of `deployment.rows`, after making sure that they have the contract's columns."""
    assert rows.schema == table.contract.create_empty().schema, table.name
    day = [table.partition_column] if table.partition_column else []
    key = table.contract.primary_key()
    return rows.sort([*day, *key] if key else rows.columns, nulls_last=True)


def differing_rows(found: pl.DataFrame, expected: pl.DataFrame, most: int = 3) -> list[dict]:
    """Some rows that are in one of two tables only."""
    marked = [frame.rows(named=True) for frame in (found, expected)]
    missing = ({"in": "expected only"} | row for row in marked[1] if row not in marked[0])
    excess = ({"in": "found only"} | row for row in marked[0] if row not in marked[1])
    return [*islice(missing, most), *islice(excess, most)]
