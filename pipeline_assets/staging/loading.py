"""Load files from landing: read, stage as Parquet, book. Exactly once, whatever crashes when.

A file is read in one streaming pass: records are cut in `reading`, DuckDB maps them with the source's declaration and
writes one Parquet file per event day into a temporary folder; the query for that is planned once for many files. Only
when the source file has not changed meanwhile are the Parquet files renamed to the names that their content gives them,
and then one ledger transaction makes them count. A crash leaves files that no reader looks at, and the next attempt
writes the same names again.
"""

import itertools
import logging
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_assets.ledger.files import BookedFile, FileLedger, Load, staged_path
from pipeline_assets.ledger.looks import Observer
from pipeline_assets.parquet_files import duckdb_path, parquet_relation
from pipeline_assets.private import make_folder, protect
from pipeline_assets.settings import Settings
from pipeline_assets.sources.access_logs import advice
from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.mapping import rules_version, staging_query
from pipeline_assets.sources.records import parquet_files
from pipeline_assets.sources.records.cutting import Tally, UnreadableError
from pipeline_assets.sources.records.parquet import ParquetFormat
from pipeline_assets.sources.records.refused_lines import QuarantinedLine, RefusedLines
from pipeline_assets.sql import literal
from pipeline_assets.staging import reading
from pipeline_assets.staging.compression import refuse_archive
from pipeline_assets.staging.landing import LandingFile, Listing, fsync_folder, open_regular, scan
from pipeline_assets.staging.looking import Look, Sample, filled_columns, look

logger = logging.getLogger(__name__)

DRAFTS = ".tmp"
"""Folder of a source's staged files in which they are written before they get their names."""

_BAD_ROWS = "event_date=__HIVE_DEFAULT_PARTITION__"
# Two files at a time: one is read while the other is written. DuckDB's own threads share the cores between them.
_WORKERS = 2
_ATTEMPTS = 3
_BAD_LINES = """
    select line, reason, encode(raw), raw_bytes from read_parquet($paths, hive_partitioning = false)
    where reason <> 'blank'
"""
# Quarantined rows that are fetched at a time.
_FETCHED = 1024


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Attributes:
        name: path below landing.
        result: `loaded`, `repeat` (its content was known), `unreadable`, `busy` (still changing) or `failed` (an error
            of the pipeline, not of the file; it stays pending).
        load: the counts, if it was read; without the quarantined lines.
        quarantined: lines quarantined.
    """

    name: str
    result: str
    load: Load | None = None
    quarantined: int = 0


@dataclass
class LoadSummary:
    """Counts over the files of one `load_pending` call."""

    outcomes: list[Outcome] = field(default_factory=list)

    def count(self, result: str) -> int:
        """Number of files with a result."""
        return sum(outcome.result == result for outcome in self.outcomes)

    @property
    def loads(self) -> list[Load]:
        """The loads that were read."""
        return [outcome.load for outcome in self.outcomes if outcome.load is not None]

    @property
    def lines(self) -> int:
        """Lines read."""
        return sum(load.lines for load in self.loads)

    @property
    def landed(self) -> int:
        """Rows staged."""
        return sum(load.landed for load in self.loads)

    @property
    def quarantined(self) -> int:
        """Lines quarantined."""
        return sum(outcome.quarantined for outcome in self.outcomes)


def pending_files(
    landing: Path, pattern: str, booked: Mapping[str, BookedFile], rules: str, *, follow_links: bool = False
) -> Listing:
    """Files whose newest content has not been booked under the current rules, and what in landing is refused.

    Args:
        landing: landing folder.
        pattern: the source's glob pattern.
        booked: the newest booking of every path.
        rules: version of the source's declaration.
        follow_links: whether symbolic links may leave landing.
    """
    found = scan(landing, pattern, follow_links=follow_links)
    files = [
        file
        for file in found.files
        if (known := booked.get(file.name)) is None or (known.stamp, known.rules) != (file.stamp, rules)
    ]
    return Listing(files, found.refused, found.doubtful)


class SourceLoader:
    """Loads the files of one source.

    Args:
        source: the declaration.
        settings: where landing and lake are, and the rules of the deployment.
        ledger: where loads are booked.
        database: a DuckDB connection; every file gets a cursor of it.
        observer: is told what each file has, besides its rows.
    """

    def __init__(
        self,
        source: Source,
        settings: Settings,
        ledger: FileLedger,
        database: duckdb.DuckDBPyConnection,
        observer: Observer | None = None,
    ) -> None:
        self._source = source
        self._settings = settings
        self._ledger = ledger
        self._database = database
        self._drafts = settings.lake_dir / "staging" / source.name / DRAFTS
        self._observer = observer
        self._idle: list[_Writer] = []
        self.rules = rules_version(source, settings.timezone, settings.first_day, settings.max_record_bytes)

    def load(self, files: Sequence[LandingFile], report: Callable[[Outcome], None] | None = None) -> LoadSummary:
        """Load files, each in a ledger transaction of its own.

        Args:
            files: the files, as `pending_files` lists them.
            report: called after every file.
        """
        summary = LoadSummary()
        try:
            with ThreadPoolExecutor(_WORKERS, thread_name_prefix="load") as pool:
                for outcome in pool.map(self._load_file, files):
                    summary.outcomes.append(outcome)
                    if report is not None:
                        report(outcome)
        finally:
            while self._idle:
                self._idle.pop().close()
        return summary

    def _load_file(self, file: LandingFile) -> Outcome:
        for _ in range(_ATTEMPTS):
            try:
                outcome = self._attempt(file)
                if outcome is not None:
                    return outcome
                file = LandingFile.at(file.path, self._settings.landing_dir, follow_links=self._settings.follow_links)
            except FileNotFoundError:
                logger.warning("%s disappeared before it was read", file.name)
                return Outcome(file.name, "busy")
            except Exception as error:
                # One file must not keep the others from being loaded.
                logger.error("%s could not be loaded: %s: %s", file.name, type(error).__name__, _reason(error))  # noqa: TRY400
                return Outcome(file.name, "failed")
        logger.warning("%s changes while it is read; it stays pending", file.name)
        return Outcome(file.name, "busy")

    def _attempt(self, file: LandingFile) -> Outcome | None:
        """Load a file; None if it changed meanwhile."""
        source = self._source.name
        content = file.content()
        if self._ledger.has_load(source, content, self.rules):
            if not file.unchanged():
                return None
            is_staged = partial(self._is_staged, content)
            if self._ledger.book_known(source, file.name, file.stamp, content, is_staged=is_staged):
                return Outcome(file.name, "repeat")
        booked_at = self._ledger.reserve(content, file.size)
        with self._writer() as writer:
            try:
                load, seen = self._stage(writer, file, content, booked_at)
            except UnreadableError as error:
                load, seen = Load(content, self.rules, error=str(error)), None
            if not file.unchanged():
                return None
            self._publish(load, writer.folder)
        self._ledger.book(source, file.name, file.stamp, load)
        if load.error is not None:
            logger.error("%s cannot be read: %s", file.name, load.error)
            return Outcome(file.name, "unreadable", load)
        if self._observer and seen:
            self._observer.note(file.name, *seen)
        if not load.landed and (hint := advice(self._source.format, Counter(bad.reason for bad in load.quarantined))):
            logger.warning("%s: %s", file.name, hint)
        # There may be many of these lines, and they are booked now.
        return Outcome(file.name, "loaded", replace(load, quarantined=()), len(load.quarantined))

    def _is_staged(self, content: str) -> bool:
        """Whether the staged files of a known load are still there."""
        return all(
            (self._settings.lake_dir / file.relative_path).exists()
            for file in self._ledger.staged_of(self._source.name, content)
        )

    @contextmanager
    def _writer(self) -> Generator["_Writer"]:
        """A writer for one file at a time; the next file gets it too, unless something failed that is not the file."""
        try:
            writer = self._idle.pop()
        except IndexError:
            writer = _Writer(self._source, self._settings, self._database, self._drafts)
        try:
            yield writer
        except BaseException:
            writer.close()
            raise
        self._idle.append(writer)

    def _stage(
        self, writer: "_Writer", file: LandingFile, content: str, booked_at: datetime
    ) -> tuple[Load, tuple[Look | None, set[str]]]:
        """Write the rows of a file into the writer's folder, one Parquet file per day, and account for every line.

        With that comes what the file has: its raw columns, and the columns of the rows that have any value.
        """
        tally = writer.write(file.path, content, booked_at)
        # A line or two that are no text do not make another encoding.
        if tally.hint is not None and len(tally.invalid) > self._source.bounds.quarantined * tally.lines:
            logger.warning("%s: %s", file.name, tally.hint)
        blank = self._bad_rows(writer.folder, tally.invalid)
        days: dict[date, int] = {}
        filled: set[str] = set()
        for folder in writer.folder.iterdir():
            if folder.name == _BAD_ROWS:
                continue
            day = date.fromisoformat(folder.name.removeprefix("event_date="))
            for part in folder.glob("*.parquet"):
                metadata = pq.read_metadata(part)
                days[day] = days.get(day, 0) + metadata.num_rows
                filled |= filled_columns(metadata)
        load = Load(
            content,
            self.rules,
            lines=tally.lines,
            landed=sum(days.values()),
            blank=blank + tally.skipped,
            days=days,
            quarantined=tally.invalid,
        )
        return load, (writer.look(tally), filled)

    def _bad_rows(self, folder: Path, refused: RefusedLines) -> int:
        """Add the rows that were staged as bad to the refused lines; how many are only blank."""
        parts = list((folder / _BAD_ROWS).glob("*.parquet"))
        if not parts:
            return 0
        with self._database.cursor() as cursor:
            blank = parquet_relation(cursor, parts).filter("reason = 'blank'").count("*").fetchall()[0][0]
            bad = cursor.execute(_BAD_LINES, {"paths": [duckdb_path(part) for part in parts]})
            while some := bad.fetchmany(_FETCHED):
                for line in some:
                    refused.append(QuarantinedLine(*line))
        return blank

    def _publish(self, load: Load, folder: Path) -> None:
        """Give the staged files of a load their final names, durably."""
        for day in load.days:
            parts = sorted((folder / f"event_date={day.isoformat()}").glob("*.parquet"))
            final = self._settings.lake_dir / staged_path(self._source.name, day, load.content, load.rules)
            make_folder(final.parent)
            part = parts[0] if len(parts) == 1 else self._merge(parts)
            with part.open("rb") as written:
                os.fsync(written.fileno())
            protect(part.replace(final))
            fsync_folder(final.parent)

    def _merge(self, parts: Sequence[Path]) -> Path:
        """One Parquet file from the several that DuckDB's threads wrote for a day."""
        merged = parts[0].with_name("merged.parquet")
        with self._database.cursor() as cursor:
            parquet_relation(cursor, parts).write_parquet(duckdb_path(merged), compression="zstd")
        return merged


class _Records:
    """The records of the file at hand, as something that DuckDB can read again and again: another file each time."""

    def __init__(self, schema: pa.Schema) -> None:
        self.batches: Iterator[pa.RecordBatch] = iter(())
        self.error: Exception | None = None
        """What ended the stream before its time."""
        self._schema = schema

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return pa.RecordBatchReader.from_batches(self._schema, self._watched()).__arrow_c_stream__(requested_schema)

    def _watched(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self.batches
        except Exception as error:
            self.error = error
            raise


class _Writer:
    """A DuckDB session that stages one file after another into a folder of its own.

    The query is prepared and planned anew only for a file with other columns: that costs as much as staging a few
    thousand rows.

    Attributes:
        folder: where the rows of the last file are, in one folder per event day and one for the bad rows.
    """

    def __init__(self, source: Source, settings: Settings, database: duckdb.DuckDBPyConnection, drafts: Path) -> None:
        self._source = source
        self._format = source.record_format
        self._read = {path for expression in source.expressions() for path in expression.references}
        self._settings = settings
        self._records = _Records(self._format.schema)
        self._prepared: tuple[list[str] | None] | None = None
        self._sample = Sample()
        self._schema: pa.Schema | None = None
        make_folder(drafts)
        with ExitStack() as stack:
            temporary = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=drafts)))
            self.folder = temporary / "rows"
            # Another name for each file, for DuckDB remembers what it has read under a name.
            self._links = (temporary / f"{number}.parquet" for number in itertools.count())
            self._cursor = stack.enter_context(database.cursor())
            # Row order is kept in the column `line`; the writer need not keep it too.
            self._cursor.execute("set preserve_insertion_order = false")
            self._cursor.execute("set TimeZone = 'UTC'")
            if self._format.is_text:
                self._cursor.register("raw_rows", self._records)
            self._closing = stack.pop_all()

    def close(self) -> None:
        """End the session and remove the folder."""
        self._closing.close()

    def look(self, tally: Tally) -> Look | None:
        """The raw columns of the last file."""
        return look(self._source, header=tally.header, schema=self._schema, sample=self._sample)

    def write(self, path: Path, content: str, booked_at: datetime) -> Tally:
        """Stage a file in place of the one before; what was counted while reading it."""
        self._sample, self._schema = Sample(), None
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        try:
            return self._staged(path, content, booked_at)
        except parquet_files.CopyNeededError:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir()
            copy = next(self._links)
            try:
                with open_regular(path) as file:
                    parquet_files.copy_as_bytes(file, copy)
                return self._staged(copy, content, booked_at)
            finally:
                copy.unlink(missing_ok=True)

    def _staged(self, path: Path, content: str, booked_at: datetime) -> Tally:
        tally = Tally()
        self._records.error = None
        try:
            self._prepare(self._open(path, tally), again=not self._format.is_text)
            self._cursor.execute("set variable load_id = $1", [content])
            self._cursor.execute("set variable booked_at = $1::timestamptz", [booked_at.astimezone(UTC)])
            # EXECUTE itself takes no bound values.
            self._cursor.execute(
                "execute stage(load_id := getvariable('load_id'), booked_at := getvariable('booked_at'))"
            )
        except duckdb.Error as error:
            # An error while cutting records reaches us wrapped into one of DuckDB's. Any other one (a full disk, say)
            # is not the file's fault: the file stays pending.
            if isinstance(self._records.error, UnreadableError):
                raise self._records.error from error
            if not self._format.is_text and isinstance(error, duckdb.InvalidInputException):
                reason = f"the Parquet file is damaged: {_reason(error)}"
                raise (parquet_files.CopyNeededError if parquet_files.INVALID_TEXT in reason else UnreadableError)(
                    reason
                ) from error
            raise
        finally:
            self._records.batches = iter(())
        return tally

    def _prepare(self, fields: list[str] | None, *, again: bool) -> None:
        if self._prepared == (fields,) and not again:
            return
        query = staging_query(
            self._source, fields=fields, timezone=self._settings.timezone, first_day=self._settings.first_day
        )
        self._cursor.execute(
            f"prepare stage as copy ({query}) to {_path(self.folder)} (format parquet, partition_by (event_date))"
        )
        self._prepared = (fields,)

    def _show_rows(
        self, shape: ParquetFormat, link: Path, schema: pa.Schema, metadata: pq.FileMetaData, tally: Tally
    ) -> None:
        """Make the rows of a Parquet file visible as `raw_rows`, and refuse those that are too long or no text."""
        file = f"read_parquet({_path(link)}, file_row_number = true, hive_partitioning = false)"
        described = self._cursor.sql(f"select * exclude (file_row_number) from {file}")  # noqa: S608 - quoted path
        columns = list(zip(described.columns, described.types, strict=True))
        limit = self._settings.max_record_bytes
        rows = shape.rows_of(file, self._source.expressions(), schema, columns, metadata, limit=limit)
        for refused in rows.refused:
            found = self._cursor.execute(refused)
            while some := found.fetchmany(_FETCHED):
                for line in some:
                    tally.invalid.append(QuarantinedLine(*line))
        # Temporary, because all cursors share one catalogue and another file is loaded at the same time.
        self._cursor.execute(f"create or replace temp view raw_rows as {rows.taken}")

    def _open(self, path: Path, tally: Tally) -> list[str] | None:
        """Make a file's records visible as the relation `raw_rows`; the names of its columns, if it has any."""
        if isinstance(self._format, ParquetFormat):
            try:
                with open_regular(path) as file:
                    metadata = pq.read_metadata(file)
            except pa.ArrowInvalid as error:
                refuse_archive(path)
                raise UnreadableError("this is no complete Parquet file; deliver it again") from error
            own = metadata.schema.to_arrow_schema()
            # Of a copy the names and types of the columns are those of the file.
            schema = self._schema = self._schema or own
            if parquet_files.ROW_NUMBER in map(str.casefold, own.names):
                raise parquet_files.CopyNeededError(f"a column is called {parquet_files.ROW_NUMBER}")
            tally.lines = metadata.num_rows
            # Under a name of our own, so that DuckDB need not be told the file's.
            link = next(self._links)
            link.symlink_to(path.absolute())
            self._show_rows(self._format, link, schema, metadata, tally)
            return schema.names
        records = reading.read_records(path, self._source, tally, limit=self._settings.max_record_bytes)
        batches = self._sample.watching(records)
        # The first batch is read now because a CSV file's header must be known before the query can be written.
        first = next(batches, None)
        self._records.batches = batches if first is None else itertools.chain([first], batches)
        if tally.header is not None and (problem := self._format.header_problem(tally.header, self._read)):
            raise UnreadableError(problem)
        return tally.header


def _path(path: Path) -> str:
    # COPY and a view take no bound values.
    return literal(duckdb_path(path))


def _reason(error: Exception) -> str:
    """What an error says up to the first thing it quotes: that may be personal data."""
    return re.split(r"[\"'`:\n]", str(error).strip().removeprefix("Invalid Input Error: "), maxsplit=1)[0][:300].strip()
