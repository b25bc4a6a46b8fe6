"""Stage files as Parquet: one DuckDB query for a file, or for many small ones with the same columns.

The query is planned once for many groups of files, and run once for each. What is staged of a file is known by the
file's content (`load_id`), so that each is accounted for by itself, and a file that turns out to be unreadable half-way
costs no other: its rows are simply never booked.
"""

import itertools
import logging
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline_assets.settings import Settings
from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.mapping import LINE_BITS, staging_query
from pipeline_assets.sources.records import parquet_files
from pipeline_assets.sources.records.cutting import Tally, UnreadableError
from pipeline_assets.sources.records.parquet import ParquetFormat
from pipeline_assets.sources.records.refused_lines import QuarantinedLine
from pipeline_assets.sql import literal
from pipeline_assets.staging import reading
from pipeline_assets.staging.compression import refuse_archive
from pipeline_assets.staging.landing import LandingFile, open_regular
from pipeline_assets.staging.looking import Look, Sample, filled_columns, look
from pipeline_assets.staging.scratch import drafts_folder
from pipeline_assets.storage.parquet import duckdb_path, parquet_relation

logger = logging.getLogger(__name__)

_BAD_ROWS = "event_date=__HIVE_DEFAULT_PARTITION__"
_LINE = (1 << LINE_BITS) - 1
# A group takes no further file when it has so many records.
_GROUP_ROWS = 250_000
# DuckDB hands one Arrow batch to one thread: the batches of small files are put together.
_BATCH_ROWS, _BATCH_BYTES = 2048, 1 << 19
# The column with the name of the file in which a row is, beside columns that are somebody else's.
_FILE_COLUMN = "~file"
_COUNTED = """
    select filename, load_id, count(*) from read_parquet($paths, hive_partitioning = false, filename = true)
    group by all
"""
_BLANK = """
    select load_id, count(*) from read_parquet($paths, hive_partitioning = false) where reason = 'blank' group by all
"""
_BAD_LINES = """
    select load_id, line, reason, encode(raw), raw_bytes from read_parquet($paths, hive_partitioning = false)
    where reason <> 'blank'
"""
# Quarantined rows that are fetched at a time.
_FETCHED = 1024


@dataclass
class Member:
    """A file of a group, and what becomes of it while the group is staged.

    Attributes:
        file: the file.
        content: SHA-256 of its bytes, hex.
        booked_at: when that was first seen.
        tally: what was counted while it was read.
        sample: some of its records.
        schema: its schema, of a Parquet file.
        error: what ended the reading: `UnreadableError`, or an error that is not the file's.
        days: staged rows of each event day.
        blank: rows that are only blank.
    """

    file: LandingFile
    content: str
    booked_at: datetime
    tally: Tally = field(default_factory=Tally)
    sample: Sample = field(default_factory=Sample)
    schema: pa.Schema | None = None
    error: Exception | None = None
    days: Counter[date] = field(default_factory=Counter)
    blank: int = 0

    def look(self, source: Source) -> Look | None:
        """Its raw columns."""
        return look(source, header=self.tally.header, schema=self.schema, sample=self.sample)


@dataclass
class Group:
    """Files that were staged by one query.

    Attributes:
        members: the files.
        left: files that were not staged, as they have other columns or the group was full, in new groups.
        parts: by event day the Parquet files with the rows of the members, also of those with an error.
        filled: columns of these rows that have any value.
    """

    members: list[Member]
    left: list[list[Member]] = field(default_factory=list)
    parts: dict[date, list[Path]] = field(default_factory=dict)
    filled: set[str] = field(default_factory=set)


class _Records:
    """The records of the group at hand, as something that DuckDB can read again and again: another group each time."""

    def __init__(self, schema: pa.Schema) -> None:
        self.batches: Iterator[pa.RecordBatch] = iter(())
        self._schema = schema

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return pa.RecordBatchReader.from_batches(self._schema, self._current()).__arrow_c_stream__(requested_schema)

    def _current(self) -> Iterator[pa.RecordBatch]:
        # Looked up when the first batch is asked for, and not when DuckDB asks for the schema.
        yield from self.batches


class Writer:
    """A DuckDB session that stages one group of files after another into a folder of its own.

    The query is prepared and planned anew only for files with other columns: that costs as much as staging a few
    thousand rows.

    Args:
        source: the declaration.
        settings: the deployment's.
        database: a DuckDB connection; the writer gets a cursor of it.
    """

    def __init__(self, source: Source, settings: Settings, database: duckdb.DuckDBPyConnection) -> None:
        self._source = source
        self._settings = settings
        self._format = source.record_format
        self._records = _Records(self._format.schema)
        self._prepared: tuple[list[str] | None] | None = None
        with ExitStack() as stack:
            temporary = stack.enter_context(drafts_folder(settings.scratch_dir))
            self._folder = temporary / "rows"
            # Another name for each file, for DuckDB remembers what it has read under a name.
            self._numbers = itertools.count()
            self._temporary = temporary
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

    def write(self, members: Sequence[Member]) -> Group:
        """Stage files in place of those before.

        Args:
            members: the files, each with another content.

        Raises:
            duckdb.Error: the query failed; of a single Parquet file that is damaged, its `error` says so instead.
        """
        self._clear()
        group = self._of_records(members) if self._format.is_text else self._of_parquet(members)
        self._account(group)
        return group

    def merged(self, parts: Sequence[Path]) -> Path:
        """One Parquet file from those that DuckDB's threads wrote for a day."""
        if len(parts) == 1:
            return parts[0]
        merged = parts[0].with_name("merged.parquet")
        parquet_relation(self._cursor, parts).write_parquet(duckdb_path(merged), compression="zstd")
        return merged

    def _clear(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()

    def _copy(self, members: Sequence[Member]) -> None:
        """Run the prepared query."""
        self._cursor.execute("set variable load_ids = $1", [[member.content for member in members]])
        times = [member.booked_at.astimezone(UTC) for member in members]
        self._cursor.execute("set variable booked_at = $1", [times])
        # EXECUTE itself takes no bound values.
        self._cursor.execute(
            "execute stage(load_ids := getvariable('load_ids'), booked_at := getvariable('booked_at'))"
        )

    def _prepare(self, fields: list[str] | None) -> None:
        # The view over Parquet files is another one each time.
        if self._prepared == (fields,) and self._format.is_text:
            return
        query = staging_query(
            self._source, fields=fields, timezone=self._settings.timezone, first_day=self._settings.first_day
        )
        self._cursor.execute(
            f"prepare stage as copy ({query}) to {_path(self._folder)} (format parquet, partition_by (event_date))"
        )
        self._prepared = (fields,)

    # -- text files ---------------------------------------------------------------------------------------------------

    def _of_records(self, members: Sequence[Member]) -> Group:
        group = Group([])
        stream = _Stream(self._source, self._settings, members, group)
        # The first batch is read now because a CSV file's header must be known before the query can be written.
        first = next(stream.batches, None)
        if first is not None:
            self._prepare(stream.fields)
            self._records.batches = itertools.chain([first], stream.batches)
            try:
                self._copy(members)
            finally:
                self._records.batches = iter(())
        return group

    # -- Parquet files ------------------------------------------------------------------------------------------------

    def _of_parquet(self, members: Sequence[Member]) -> Group:
        group = Group([])
        footers: list[pq.FileMetaData] = []
        others: dict[str, list[Member]] = {}
        full: list[Member] = []
        columns = ""
        for member in members:
            try:
                footer = _footer(member.file.path)
            except (UnreadableError, OSError) as error:
                member.error = error
                group.members.append(member)
                continue
            member.schema = footer.schema.to_arrow_schema()
            member.tally.lines = footer.num_rows
            needs_copy = parquet_files.ROW_NUMBER in map(str.casefold, member.schema.names)
            key = str(footer.schema)
            if needs_copy and len(members) > 1:
                group.left.append([member])
            elif footers and key != columns:
                others.setdefault(key, []).append(member)
            elif sum(known.num_rows for known in footers) >= _GROUP_ROWS:
                full.append(member)
            else:
                columns = key
                footers.append(footer)
                group.members.append(member)
        group.left += [*others.values(), *([full] if full else [])]
        for left in itertools.chain(*group.left):
            left.tally = Tally()
        read = [member for member in group.members if member.error is None]
        if not read:
            return group
        try:
            self._stage_parquet(read, footers)
        except duckdb.InvalidInputException as error:
            if len(read) > 1:
                raise
            (member,) = read
            self._stage_damaged(member, str(error))
        return group

    def _stage_parquet(self, members: Sequence[Member], footers: Sequence[pq.FileMetaData]) -> None:
        if any(
            parquet_files.ROW_NUMBER in map(str.casefold, member.schema.names) for member in members if member.schema
        ):
            self._stage_copy(members[0])
            return
        # Under names of our own, so that DuckDB need not be told the files'.
        links = [self._next_name() for _ in members]
        for link, member in zip(links, members, strict=True):
            link.symlink_to(member.file.path.absolute())
        self._stage_links(links, members, footers)

    def _stage_copy(self, member: Member) -> None:
        copy = self._next_name()
        try:
            with open_regular(member.file.path) as file:
                parquet_files.copy_as_bytes(file, copy)
            self._stage_links([copy], [member], [_footer(copy)])
        finally:
            copy.unlink(missing_ok=True)

    def _stage_damaged(self, member: Member, reason: str) -> None:
        """Stage a file that DuckDB could not read as it is, or note why it cannot be read at all."""
        member.tally = Tally(lines=member.tally.lines)
        if parquet_files.INVALID_TEXT not in reason:
            member.error = UnreadableError(_damaged(reason))
            return
        try:
            self._clear()
            self._stage_copy(member)
        except duckdb.InvalidInputException as error:
            member.error = UnreadableError(_damaged(str(error)))
        except UnreadableError as error:
            member.error = error

    def _stage_links(
        self, links: Sequence[Path], members: Sequence[Member], footers: Sequence[pq.FileMetaData]
    ) -> None:
        """Make the rows of Parquet files visible as `raw_rows` and stage them; refuse what is too long or no text."""
        schema = members[0].schema
        assert schema is not None and isinstance(self._format, ParquetFormat)  # noqa: S101
        described = self._cursor.sql(f"select * from read_parquet({_path(links[0])}, hive_partitioning = false)")  # noqa: S608
        columns = list(zip(described.columns, described.types, strict=True))
        rows = self._format.rows_of(
            _numbered(links),
            self._source.expressions(),
            schema,
            columns,
            footers,
            limit=self._settings.max_record_bytes,
        )
        for refused in rows.refused:
            found = self._cursor.execute(refused)
            while some := found.fetchmany(_FETCHED):
                for number, *what in some:
                    line = QuarantinedLine(number & _LINE, *what)
                    members[number >> LINE_BITS].tally.invalid.append(line)
        # Temporary, because all cursors share one catalogue and other files are loaded at the same time.
        self._cursor.execute(f"create or replace temp view raw_rows as {rows.taken}")
        self._prepare(schema.names)
        self._copy(members)

    def _next_name(self) -> Path:
        return self._temporary / f"{next(self._numbers)}.parquet"

    # -- accounting ---------------------------------------------------------------------------------------------------

    def _account(self, group: Group) -> None:
        """Count what was staged of each file, and fetch what was refused."""
        members = {member.content: member for member in group.members}
        for folder in self._folder.iterdir():
            if folder.name != _BAD_ROWS:
                group.parts[_day_of(folder)] = sorted(folder.glob("*.parquet"))
        if len(members) == 1:
            (member,) = members.values()
        for day, parts in group.parts.items():
            for part in parts:
                footer = pq.read_metadata(part)
                group.filled |= filled_columns(footer)
                if len(members) == 1:
                    member.days[day] += footer.num_rows
        if group.parts and len(members) > 1:
            for path, content, rows in self._fetched(_COUNTED, itertools.chain(*group.parts.values())):
                members[content].days[_day_of(Path(path).parent)] += rows
        bad = list((self._folder / _BAD_ROWS).glob("*.parquet"))
        if bad:
            for content, rows in self._fetched(_BLANK, bad):
                members[content].blank = rows
            for content, *line in self._fetched(_BAD_LINES, bad):
                members[content].tally.invalid.append(QuarantinedLine(*line))

    def _fetched(self, query: str, paths: Iterable[Path]) -> Iterator[Any]:
        found = self._cursor.execute(query, {"paths": [duckdb_path(path) for path in paths]})
        while some := found.fetchmany(_FETCHED):
            yield from some


class _Stream:
    """The records of text files with the same columns, one file after the other.

    Args:
        source: the declaration.
        settings: the deployment's.
        members: the files.
        group: receives the files that are read, and those that are left.

    Attributes:
        batches: their records, in batches of a good size; the number of a file, as in `members`, is part of the lines'.
        fields: names of the columns, if they have any; known from the first batch on.
    """

    def __init__(self, source: Source, settings: Settings, members: Sequence[Member], group: Group) -> None:
        self._source = source
        self._format = source.record_format
        self._read = {path for expression in source.expressions() for path in expression.references}
        self._limit = settings.max_record_bytes
        self._members = members
        self._group = group
        self._begun = False
        self.fields: list[str] | None = None
        self.batches = _joined(self._records())

    def _records(self) -> Iterator[pa.RecordBatch]:
        others: dict[tuple[str, ...], list[Member]] = {}
        rows = 0
        for number, member in enumerate(self._members):
            if rows >= _GROUP_ROWS:
                self._group.left.append(list(self._members[number:]))
                break
            try:
                tally = member.tally
                records = reading.read_records(member.file.path, self._source, tally, limit=self._limit)
                batches = member.sample.watching(records)
                first = next(batches, None)
                if tally.header is not None and (problem := self._format.header_problem(tally.header, self._read)):
                    raise UnreadableError(problem)  # noqa: TRY301
                if first is not None and self._begun and tally.header != self.fields:
                    others.setdefault(tuple(tally.header or ()), []).append(member)
                    member.tally, member.sample = Tally(), Sample()
                    continue
                self._group.members.append(member)
                if first is not None:
                    self._begun, self.fields = True, tally.header
                    yield _of_file(number, first)
                    for batch in batches:
                        yield _of_file(number, batch)
            except GeneratorExit:
                raise
            except Exception as error:
                # One file must not keep the others from being loaded; what was read of it is never booked.
                member.error = error
                if member not in self._group.members[-1:]:
                    self._group.members.append(member)
            rows += member.tally.lines
        self._group.left += others.values()


def _joined(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Batches of a good size from such as may be small."""
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        waiting.append(batch)
        rows, size = rows + len(batch), size + batch.nbytes
        if rows >= _BATCH_ROWS or size >= _BATCH_BYTES:
            yield waiting[0] if len(waiting) == 1 else pa.concat_batches(waiting)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield pa.concat_batches(waiting)


def _of_file(number: int, batch: pa.RecordBatch) -> pa.RecordBatch:
    if not number:
        return batch
    lines = pc.call_function("add", [batch.column(0), pa.scalar(number << LINE_BITS, pa.int64())])
    return batch.set_column(0, batch.schema.field(0), lines)


def _day_of(folder: Path) -> date:
    return date.fromisoformat(folder.name.removeprefix("event_date="))


def _footer(path: Path) -> pq.FileMetaData:
    try:
        with open_regular(path) as file:
            return pq.read_metadata(file)
    except pa.ArrowInvalid as error:
        refuse_archive(path)
        raise UnreadableError("this is no complete Parquet file; deliver it again") from error


def _numbered(links: Sequence[Path]) -> str:
    """SQL of the rows of Parquet files whose names are numbers in a row, with `file_row_number` as of `LINE_BITS`."""
    if len(links) == 1:
        return f"read_parquet({_path(links[0])}, file_row_number = true, hive_partitioning = false)"
    listed = ", ".join(map(_path, links))
    file = f"""(regexp_extract("{_FILE_COLUMN}", '([0-9]+)[.]parquet$', 1)::bigint - {links[0].stem})"""
    number = f"{file} << {LINE_BITS} | {parquet_files.ROW_NUMBER}"
    files = f"read_parquet([{listed}], file_row_number = true, filename = '{_FILE_COLUMN}', hive_partitioning = false)"
    columns = f'* exclude ("{_FILE_COLUMN}") replace ({number} as {parquet_files.ROW_NUMBER})'
    return f"(select {columns} from {files})"  # noqa: S608 - quoted paths


def _damaged(reason: str) -> str:
    return f"the Parquet file is damaged: {unquoted(reason)}"


def _path(path: Path) -> str:
    # COPY and a view take no bound values.
    return literal(duckdb_path(path))


def unquoted(message: str) -> str:
    """What an error says up to the first thing it quotes: that may be personal data."""
    return re.split(r"[\"'`:\n]", message.strip().removeprefix("Invalid Input Error: "), maxsplit=1)[0][:300].strip()
