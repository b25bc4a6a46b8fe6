"""Load files from landing: read, stage as Parquet, book. Exactly once, whatever crashes when.

Small files are loaded in groups, large ones alone. A group is read in one streaming pass (see `writing`), which makes
one Parquet file of each event day. What has changed meanwhile, or cannot be read, is left out of what is booked; then
the Parquet files are put into the lake under names that nothing else ever has, and one ledger transaction makes them
count and accounts for each file by itself. A crash leaves files that no list names.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import duckdb
import pyarrow.parquet as pq
from sqlalchemy.exc import OperationalError

from pipeline_assets.lake import Lake
from pipeline_assets.ledger.catalogue import LakeFile
from pipeline_assets.ledger.files import Booking, FileLedger, Load, staging_asset
from pipeline_assets.ledger.looks import Observer
from pipeline_assets.settings import Settings
from pipeline_assets.sources.access_logs import advice
from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.mapping import declaration_version_of
from pipeline_assets.sources.records.cutting import UnreadableError
from pipeline_assets.staging.landing import LandingFile
from pipeline_assets.staging.landings import open_landing
from pipeline_assets.staging.scratch import spill_folder
from pipeline_assets.staging.writing import Group, Member, Writer, unquoted
from pipeline_assets.storage.opening import open_store
from pipeline_assets.storage.store import StoreError, UnreachableError
from pipeline_assets.waiting import WaitedTooLong

logger = logging.getLogger(__name__)

# Two groups at a time: one is read while the other is written. DuckDB's own threads share the cores between them.
_WORKERS = 2
_ATTEMPTS = 3
# What fails like this fails for every file: the lake or the ledger cannot be reached, or a disk is full.
_OF_NO_FILE = (StoreError, OSError, OperationalError, WaitedTooLong)
# A crash costs what was read of a group, and a file of the group waits for the others.
_GROUP_FILES = 500
_GROUP_BYTES = 32 << 20
# A file of so many bytes is no small one, and there is no use in sharing so few bytes between workers.
_LARGE_BYTES = 8 << 20
_SHARED_BYTES = 1 << 20


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
    """Counts over the files of one load."""

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


@dataclass(frozen=True)
class _Task:
    """A file to load, and how often that was tried, this time included."""

    file: LandingFile
    attempt: int = 1


@dataclass
class _Done:
    """What became of a group: outcomes, and groups that are to be loaded yet."""

    outcomes: list[Outcome] = field(default_factory=list)
    left: list[list[_Task]] = field(default_factory=list)


class SourceLoader:
    """Loads the files of one source.

    Args:
        source: the declaration.
        settings: where landing and lake are, and the rest of the deployment's.
        ledger: where loads are booked.
        database: a DuckDB connection; every worker gets a cursor of it.
        observer: is told what each file has, besides its rows.
        run_id: the run that loads.
    """

    def __init__(
        self,
        source: Source,
        settings: Settings,
        ledger: FileLedger,
        database: duckdb.DuckDBPyConnection,
        observer: Observer | None = None,
        *,
        run_id: str = "",
    ) -> None:
        self._source = source
        self._settings = settings
        self._ledger = ledger
        self._database = database
        self._lake = Lake(open_store(settings.lake_url), spill_folder(settings.scratch_dir))
        self._landing = open_landing(settings)
        self._observer = observer
        self._run_id = run_id
        self._idle: list[Writer] = []
        self.declaration_version = declaration_version_of(
            source, settings.timezone, settings.first_day, settings.max_record_bytes
        )

    def load(self, files: Sequence[LandingFile], report: Callable[[Outcome], None] | None = None) -> LoadSummary:
        """Load files, each group of small ones in one ledger transaction.

        Args:
            files: the files, as `Landing.pending` lists them.
            report: called for every file when its group is done.

        Raises:
            UnreachableError: landing or the lake is in an object store that gives no answer.
        """
        summary = LoadSummary()
        waiting = deque(groups([_Task(file) for file in files]))
        running: set[Future[_Done]] = set()
        try:
            with ThreadPoolExecutor(_WORKERS, thread_name_prefix="load") as pool:
                while waiting or running:
                    while waiting and len(running) < _WORKERS:
                        running.add(pool.submit(self._load_group, waiting.popleft()))
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        waiting.extendleft(reversed(future.result().left))
                        for outcome in future.result().outcomes:
                            summary.outcomes.append(outcome)
                            if report is not None:
                                report(outcome)
        finally:
            while self._idle:
                self._idle.pop().close()
        order = {file.name: number for number, file in enumerate(files)}
        summary.outcomes.sort(key=lambda outcome: order[outcome.name])
        return summary

    def _load_group(self, tasks: list[_Task]) -> _Done:
        try:
            return self._attempt(tasks)
        except UnreachableError:
            raise
        except Exception as error:
            # One file must not keep the others from being loaded: the one that does is found by halving.
            if len(tasks) > 1 and not isinstance(error, _OF_NO_FILE):
                half = len(tasks) // 2
                return _Done(left=[tasks[:half], tasks[half:]])
            return _Done([self._failed(task.file, error) for task in tasks])
        finally:
            for task in tasks:
                task.file.release()

    def _failed(self, file: LandingFile, error: Exception) -> Outcome:
        if isinstance(error, FileNotFoundError):
            logger.warning("%s disappeared, or was replaced, before it was read", file.name)
            return Outcome(file.name, "busy")
        # What ours say says what to do, and quotes no line.
        reason = str(error) if isinstance(error, StoreError | WaitedTooLong) else unquoted(str(error))
        logger.error("%s could not be loaded: %s: %s", file.name, type(error).__name__, reason)
        return Outcome(file.name, "failed")

    def _attempt(self, tasks: Sequence[_Task]) -> _Done:
        """Load a group of files; what has changed meanwhile is left."""
        done = _Done()
        contents: dict[str, _Task] = {}
        repeats: list[tuple[_Task, str]] = []
        read: dict[str, str] = {}
        for task in tasks:
            try:
                read[task.file.name] = task.file.content()
            except UnreachableError:
                raise
            except (OSError, StoreError) as error:
                done.outcomes.append(self._failed(task.file, error))
        known = self._ledger.known(self._source.name, set(read.values()), self.declaration_version)
        for task in tasks:
            content = read.get(task.file.name)
            if content is None:
                continue
            if content in known or content in contents:
                repeats.append((task, content))
            else:
                contents[content] = task
        moments = self._ledger.reserve({content: task.file.size for content, task in contents.items()})
        with self._writer() as writer:
            group = Group([])
            if contents:
                members = [Member(task.file, content, moments[content]) for content, task in contents.items()]
                group = writer.write(members)
            done.left += [[contents[member.content] for member in left] for left in group.left]
            staged, bookings = self._unchanged(group, contents, repeats, done)
            lake = self._publish(writer, group, staged)
        gone = self._ledger.book(self._source.name, bookings, lake, run_id=self._run_id) if bookings else []
        without = {booking.path for booking in gone}
        # What they repeat was not booked: they are loaded by themselves.
        self._again([task for task, _ in repeats if task.file.name in without], done)
        done.outcomes += [
            Outcome(booking.path, "repeat")
            for booking in bookings
            if booking.load is None and booking.path not in without
        ]
        loads = {booking.content: booking.load for booking in bookings if booking.load is not None}
        done.outcomes += [self._told(member, loads[member.content], group) for member in staged]
        return done

    def _unchanged(
        self,
        group: Group,
        contents: Mapping[str, _Task],
        repeats: Sequence[tuple[_Task, str]],
        done: _Done,
    ) -> tuple[list[Member], list[Booking]]:
        """The members of a group that can be booked, and what is booked of them and of repeats."""
        staged: list[Member] = []
        bookings: list[Booking] = []
        changed: list[_Task] = []
        for member in group.members:
            if not member.file.unchanged():
                changed.append(contents[member.content])
            elif member.error is not None and not isinstance(member.error, UnreadableError):
                done.outcomes.append(self._failed(member.file, member.error))
            else:
                staged.append(member)
                load = self._load_of(member)
                bookings.append(Booking(member.file.name, member.file.stamp, member.content, load))
        for task, content in repeats:
            if task.file.unchanged():
                bookings.append(Booking(task.file.name, task.file.stamp, content))
            else:
                changed.append(task)
        self._again(changed, done)
        return staged, bookings

    def _again(self, tasks: Iterable[_Task], done: _Done) -> None:
        """Leave files to be loaded as they are now, unless that was tried often enough."""
        again: list[_Task] = []
        for task in tasks:
            if task.attempt == _ATTEMPTS:
                logger.warning("%s changes while it is read; it stays pending", task.file.name)
                done.outcomes.append(Outcome(task.file.name, "busy"))
                continue
            try:
                file = self._landing.again(task.file)
            except UnreachableError:
                raise
            except (OSError, StoreError) as error:
                done.outcomes.append(self._failed(task.file, error))
            else:
                again.append(_Task(file, task.attempt + 1))
        if again:
            done.left.append(again)

    def _load_of(self, member: Member) -> Load:
        """The account of a file."""
        if member.error is not None:
            return Load(member.content, self.declaration_version, error=str(member.error))
        tally = member.tally
        return Load(
            member.content,
            self.declaration_version,
            lines=tally.lines,
            landed=member.days.total(),
            blank=member.blank + tally.skipped,
            days=dict(member.days),
            quarantined=tally.invalid,
        )

    def _told(self, member: Member, load: Load, group: Group) -> Outcome:
        """Tell what there is to tell of a file that is booked."""
        name, tally = member.file.name, member.tally
        if load.error is not None:
            logger.error("%s cannot be read: %s", name, load.error)
            return Outcome(name, "unreadable", load)
        # A line or two that are no text do not make another encoding.
        if tally.hint is not None and len(tally.invalid) > self._source.bounds.quarantined * tally.lines:
            logger.warning("%s: %s", name, tally.hint)
        if self._observer:
            self._observer.note(name, member.look(self._source), group.filled)
        if not load.landed and (hint := advice(self._source.format, Counter(bad.reason for bad in load.quarantined))):
            logger.warning("%s: %s", name, hint)
        # There may be many of these lines, and they are booked now.
        return Outcome(name, "loaded", replace(load, quarantined=()), len(load.quarantined))

    @contextmanager
    def _writer(self) -> Generator[Writer]:
        """A writer for one group at a time; the next group gets it too, unless something failed that is not a file."""
        try:
            writer = self._idle.pop()
        except IndexError:
            writer = Writer(self._source, self._settings, self._database)
        try:
            yield writer
        except BaseException:
            writer.close()
            raise
        self._idle.append(writer)

    def _publish(self, writer: Writer, group: Group, staged: Sequence[Member]) -> list[LakeFile]:
        """Put the Parquet files with the rows of some members into the lake, one of each day."""
        asset = staging_asset(self._source.name)
        lake: list[LakeFile] = []
        for day in sorted(set().union(*(member.days for member in staged if member.error is None))):
            part = writer.merged(group.parts[day])
            lake.append(self._lake.put(part, asset, day, pq.read_metadata(part).num_rows))
        return lake


def groups(tasks: Sequence[_Task]) -> list[list[_Task]]:
    """Tasks in groups of small files, in order; a large file is alone."""
    small = sum(task.file.size for task in tasks if task.file.size < _LARGE_BYTES)
    most = min(_GROUP_BYTES, max(small / _WORKERS, _SHARED_BYTES))
    found: list[list[_Task]] = []
    size = 0
    is_open = False
    for task in tasks:
        if task.file.size >= _LARGE_BYTES:
            found.append([task])
            is_open = False
        elif is_open and len(found[-1]) < _GROUP_FILES and size + task.file.size <= most:
            found[-1].append(task)
            size += task.file.size
        else:
            found.append([task])
            size, is_open = task.file.size, True
    return found
