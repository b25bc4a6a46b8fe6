"""Build some days of a table: read what the claim lists, run the transform, hold its rows until they are published."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import Any, Protocol

import duckdb
import polars as pl
from duckdb import DuckDBPyConnection
from polars.exceptions import ComputeError

from pipeline_assets.batching import Batch, batches
from pipeline_assets.built import Built
from pipeline_assets.day_counts import DayCounts
from pipeline_assets.engine.incremental import build_part, build_whole
from pipeline_assets.engine.rows import HeldRows, LakeRows, MartRows
from pipeline_assets.engine.transform import made_by
from pipeline_assets.ledger.builds import Claim
from pipeline_assets.ledger.catalogue import LakeFile
from pipeline_assets.ledger.looks import MOST_EVENT_NAMES
from pipeline_assets.planning import STAGING
from pipeline_assets.platform import Platform
from pipeline_assets.staging.staged import scan_staged
from pipeline_assets.storage.store import StoreError
from pipeline_assets.tables.spec import Counted, Input, TableSpec

_OF_READING = (ComputeError, OSError, duckdb.Error)
"""What libraries raise, among other things, when a Parquet file is damaged; not all of them say which."""


class Marts(Protocol):
    """Rows of tables in PostgreSQL."""

    def rows_of_days(self, table: TableSpec, days: Collection[date] | None, *, columns: Sequence[str]) -> pl.DataFrame:
        """The rows of some days of a table, or all rows; see `io_managers.marts`."""
        ...

    def rows_among(self, table: TableSpec, column: str, values: pl.Series, *, columns: Sequence[str]) -> pl.DataFrame:
        """The rows of a table with one of some values."""
        ...

    def rows_of_keys(self, table: TableSpec, seeds: pl.Series, days: Collection[date]) -> pl.DataFrame | None:
        """The rows of all incremental keys of a table that some values or days have a part in."""
        ...


@dataclass(frozen=True)
class Building:
    """The way from a claim to what is published.

    Attributes:
        platform: the deployment.
        spec: the table.
        claim: what is built, and the lists of what is read.
        marts: rows of tables in PostgreSQL.
        database: a connection of DuckDB, for inputs of which a query takes few rows.
        track: begins to show progress: given a number of batches, a function that is called after each of them.
    """

    platform: Platform
    spec: TableSpec
    claim: Claim
    marts: Marts
    database: Callable[[], AbstractContextManager[DuckDBPyConnection]]
    track: Callable[[int], AbstractContextManager[Callable[[str], None]]]

    def built(self, *, only_changed: bool) -> Built:
        """Build it.

        Args:
            only_changed: of a table with an incremental key make only the keys again that may have changed, where that
                is known.

        Raises:
            LostRowsError: files that are read are not in the lake any more, or damaged.
            ContractError: the rows break the table's contract, or lie outside of the days that were claimed; or what
                the table's function gives is no frame.
        """
        self._require()
        table, platform = self.spec, self.platform
        rows = (
            LakeRows(table, self.claim, platform.lake)
            if table.store == "lake"
            else MartRows(table, self.claim, platform.spill_folder)
        )
        try:
            made = self._daily(rows) if table.partition_column else self._whole(rows, only_changed=only_changed)
            return replace(made, **rows.finish())
        except BaseException as error:
            rows.discard()
            if isinstance(error, Exception):
                # What was there when the build began may have gone while it read.
                with suppress(StoreError):
                    self._require()
            if isinstance(error, _OF_READING):
                platform.require_readable(self.claim.files, self.claim.staged)
            raise

    def _require(self) -> None:
        """Make sure that all that is read is in the lake, at a request for a thousand files where they are many."""
        self.platform.require(self.claim.files)
        self.platform.require_staged(self.claim.staged)

    # --- Daily tables ---------------------------------------------------------------------------------

    def _daily(self, rows: HeldRows) -> Built:
        spec = self.spec
        names: set[str] = set()
        counts: dict[date, DayCounts] = {}
        tallies: dict[date, Mapping[str, int]] = {}
        work = self._work()
        with ExitStack() as stack:
            advance = stack.enter_context(self.track(len(work)))
            by_query = any(each.select for each in spec.inputs)
            connection = stack.enter_context(self.database()) if by_query else None
            for batch in work:
                made = made_by(spec, self._inputs(batch, connection), batch.days)
                if isinstance(made, Counted):
                    for day, of_batch in made.counts.items():
                        counts[day] = counts.get(day, DayCounts()) + of_batch
                else:
                    tallies |= spec.counts(made, batch.days) if spec.counts else {}
                for frame in made.frames if isinstance(made, Counted) else [made]:
                    if spec.event_name_column and len(names) < MOST_EVENT_NAMES:
                        names.update(frame[spec.event_name_column].drop_nulls().unique().cast(pl.String))
                    rows.add(frame)
                advance(str(batch))
        return self._of_claim(counts=counts, tallies=tallies, event_names=frozenset(names))

    def _of_claim(self, **booked: Any) -> Built:
        claim = self.claim
        return Built(claim.claim_id, claim.table, claim.days, claim.run_id, **booked)

    def _work(self) -> list[Batch]:
        """The days in batches that fit into memory."""
        spec, days = self.spec, self.claim.days
        cut = spec.batched
        if cut is None:
            step = spec.days_at_once
            return [Batch(tuple(days[start : start + step])) for start in range(0, len(days), step)]
        around = 0 if cut.earlier else max(cut.before, cut.after)
        rows: dict[date, int] = {}
        for file in self.claim.staged if cut.table == STAGING else ():
            rows[file.event_date] = rows.get(file.event_date, 0) + file.rows
        for day, files in self.claim.files.get(cut.table, {}).items():
            rows[day] = sum(file.rows for file in files)
        return list(batches(days, rows, spec.rows_at_once, around=around))

    def _inputs(self, batch: Batch, connection: DuckDBPyConnection | None) -> dict[str, pl.LazyFrame]:
        """What the transform reads for a batch."""
        spec = self.spec
        found: dict[str, pl.LazyFrame] = {}
        for each in spec.inputs:
            if each.lookup:
                continue
            days = batch.reads(each.before, each.after)
            if each.select:
                assert connection is not None  # noqa: S101
                paths = self.platform.lake.paths(self._files(self._table(each), days))
                found[each.table] = each.select(connection, paths, days, spec.parameters).lazy()
                continue
            if each.earlier:
                earlier = self._frame(each, sorted({*days} - {*batch.days}))
                found[each.earlier] = batch.select(earlier, *each.batch_key)
                days = batch.days
            found[each.table] = batch.select(self._frame(each, days), *each.batch_key)
        for each in spec.inputs:
            if each.lookup:
                values = each.lookup.values(found)
                read = self.marts.rows_among(self._table(each), each.lookup.column, values, columns=each.columns)
                found[each.table] = read.lazy()
        return found

    # --- Tables without partitions --------------------------------------------------------------------

    def _whole(self, rows: HeldRows, *, only_changed: bool) -> Built:
        spec, claim = self.spec, self.claim
        with self.track(1) as advance:
            inputs = {each.table: self._frame(each, None) for each in spec.inputs}
            part = None
            if spec.incremental is not None and claim.changed is not None and only_changed:
                part = build_part(
                    spec,
                    inputs,
                    {each.table: self._frame(each, sorted(claim.changed)) for each in spec.inputs},
                    changed=claim.changed,
                    rows_of_keys=partial(self.marts.rows_of_keys, spec, days=claim.changed),
                    revisions=self.platform.builds.revisions(spec.name),
                    day_columns={
                        each.table: column for each in spec.inputs if (column := self._table(each).partition_column)
                    },
                )
            made = part or build_whole(spec, inputs)
            rows.add(made.rows)
            advance(spec.name)
        return self._of_claim(replaces=made.existing, revisions=made.revisions)

    # --- Reading --------------------------------------------------------------------------------------

    def _frame(self, each: Input, days: Sequence[date] | None) -> pl.LazyFrame:
        """The rows of an input's days, or of all days that the claim lists."""
        platform = self.platform
        if each.table == STAGING:
            wanted = set(days or ())
            frame = scan_staged(
                platform.lake,
                [file for file in self.claim.staged if days is None or file.event_date in wanted],
            )
        elif (table := self._table(each)).store == "lake":
            frame = platform.lake.scan(self._files(table, days), table.contract)
        else:
            columns = each.columns or table.contract.column_names()
            of = None if table.partition_column is None else days
            return self.marts.rows_of_days(table, of, columns=columns).lazy()
        return frame.select(each.columns) if each.columns else frame

    def _table(self, each: Input) -> TableSpec:
        return self.platform.tables[each.table]

    def _files(self, table: TableSpec, days: Sequence[date] | None) -> list[LakeFile]:
        """What the claim lists of an input's days, or all."""
        listed = self.claim.files[table.name]
        if days is None or table.partition_column is None:
            return [file for files in listed.values() for file in files]
        return [file for day in days for file in listed.get(day, ())]
