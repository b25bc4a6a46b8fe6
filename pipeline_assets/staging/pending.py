"""Which files in landing are pending: those whose newest content is not booked under the current declaration.

A look costs what has changed since the last one. Folders in which nothing was pending are remembered with their times;
as long as these do not change, only the files in them are looked at that were written to within a day, or that are
links. What leaves the folder as it is and the file's times old (an old file that is written to in place) is found by
the next full look. What is pending, refused or changing is never remembered, so that a look after a crash, or of
another process, finds it again.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from pipeline_assets.digests import digest
from pipeline_assets.ledger.files import FileLedger, FileRecord
from pipeline_assets.ledger.full_looks import UNCLAIMED, FullLooks, Look, landing_part
from pipeline_assets.ledger.seen_folders import SETTLED_AFTER, FolderMemory, SeenFolder
from pipeline_assets.staging.landing import LandingFile, Listing, reason_against_name
from pipeline_assets.staging.landings import LocalLanding, RemoteLanding
from pipeline_assets.staging.walking import RECENT_SECONDS, Folder, Found, walk
from pipeline_assets.storage.store import InvalidNameError

# Files that the ledger is asked of at a time.
_BATCH = 5000
_NAMED = 20
_NOBODY = ""
_ANYTHING = "**/*"


@dataclass(frozen=True)
class Unclaimed:
    """Files in landing that no source takes.

    Attributes:
        count: how many.
        named: the first of their paths below landing.
    """

    count: int = 0
    named: Sequence[str] = ()


@dataclass(frozen=True)
class Looker:
    """Looks into landing, and remembers what it has seen.

    In an object store every name is listed every time: there are no folders whose times tell that nothing has changed.

    Attributes:
        landing: where files are dropped.
        files: knows what is booked.
        memory: knows the folders that were seen.
        full_looks: knows when everything has to be looked at.
    """

    landing: LocalLanding | RemoteLanding
    files: FileLedger
    memory: FolderMemory
    full_looks: FullLooks

    def pending(
        self,
        source: str,
        pattern: str,
        declaration_version: str,
        *,
        known_only: bool = False,
        seconds: float | None = None,
    ) -> Listing:
        """The files of a source that are pending, and what its pattern leads to and is not read.

        Args:
            source: the source.
            pattern: its glob pattern.
            declaration_version: version of its declaration.
            known_only: whether only contents are pending that were loaded before, under other rules; nothing is told
                of the rest then.
            seconds: how long the look may take; as long as it does by default.

        Raises:
            TooLongError: it would take longer. What has been found by then is forgotten.
        """
        wanted = _has_been_loaded(declaration_version) if known_only else _anything
        if isinstance(self.landing, RemoteLanding):
            listed = self.landing.scan(pattern, seconds=seconds)
            return self._of_listed(source, listed, declaration_version, wanted, known_only=known_only)
        folder, follow_links = self.landing.folder, self.landing.follow_links
        look = self.full_looks.begin(landing_part(source))
        asked = digest([pattern, declaration_version, follow_links, known_only])
        before = self.memory.seen(source, asked)
        found = Listing()
        seen: list[SeenFolder] = []
        known = {} if look.is_full else before
        folders = walk(folder, [pattern], follow_links=follow_links, seen=known, seconds=seconds)
        for batch in _batches(folders):
            stamps = {file.name: file.stamp for folder in batch for file in folder.files}
            booked = self.files.not_as_booked(source, declaration_version, stamps)
            for folder in batch:
                pending = [
                    file for file in folder.files if file.name in booked and wanted(file.file(), booked[file.name])
                ]
                found.files += [file.file() for file in pending]
                if not known_only:
                    found.refused += folder.refused
                    found.doubtful += [told] if (told := folder.told()) else []
                seen += _to_remember(folder, before.get(folder.name), look, pending)
        self.memory.remember(source, asked, look, seen)
        if look.is_full:
            self.full_looks.done(look)
        return found.in_order()

    def _of_listed(
        self, source: str, found: Listing, declaration_version: str, wanted: "_Wanted", *, known_only: bool
    ) -> Listing:
        """What is pending of all that is there."""
        files: list[LandingFile] = []
        for start in range(0, len(found.files), _BATCH):
            some = found.files[start : start + _BATCH]
            booked = self.files.not_as_booked(source, declaration_version, {file.name: file.stamp for file in some})
            files += [file for file in some if file.name in booked and wanted(file, booked[file.name])]
        return Listing(files) if known_only else Listing(files, found.refused, found.doubtful)

    def unclaimed(self, patterns: Sequence[str]) -> Unclaimed:
        """The files that none of some patterns leads to; hidden and unfinished ones are nobody's business.

        Args:
            patterns: those of all declared sources.
        """
        if isinstance(self.landing, RemoteLanding):
            return _unclaimed_of(self.landing, patterns)
        where, follow_links = self.landing.folder, self.landing.follow_links
        look = self.full_looks.begin(UNCLAIMED)
        asked = digest([sorted(patterns), follow_links])
        before = self.memory.seen(_NOBODY, asked)
        count, named = 0, []
        seen: list[SeenFolder] = []
        known = {} if look.is_full else before
        for folder in walk(where, [_ANYTHING, *patterns], follow_links=follow_links, seen=known):
            if folder.seen is not None:
                count += folder.seen.unclaimed
                named += folder.seen.named
                continue
            names = sorted(file.name for file in folder.files if file.patterns == {0})
            count += len(names)
            named += names[:_NAMED]
            # Who takes a file is a matter of its name alone.
            folder.files.clear()
            told = [
                replace(each, unclaimed=len(names), named=names[:_NAMED])
                for each in _to_remember(folder, before.get(folder.name), look, [])
            ]
            seen += told
        self.memory.remember(_NOBODY, asked, look, seen)
        if look.is_full:
            self.full_looks.done(look)
        return Unclaimed(count, sorted(named)[:_NAMED])


def _unclaimed_of(landing: RemoteLanding, patterns: Sequence[str]) -> Unclaimed:
    count, named = 0, []
    # Beside what cannot be named is what cannot be listed; the looks for sources tell of it.
    with suppress(InvalidNameError):
        for stat, taken_by in landing.list([_ANYTHING, *patterns]):
            if taken_by == {0}:
                count += 1
                named += [stat.name] if count <= _NAMED else []
    return Unclaimed(count, named)


_Wanted = Callable[[LandingFile, FileRecord | None], bool]


def _anything(_file: LandingFile, _booked: FileRecord | None) -> bool:
    return True


def _has_been_loaded(declaration_version: str) -> _Wanted:
    def wanted(file: LandingFile, booked: FileRecord | None) -> bool:
        if booked is None or booked.declaration_version == declaration_version:
            return False
        if file.stamp == booked.stamp:
            return True
        try:
            return file.content() == booked.content
        except OSError:
            # The load tells why, of this file alone.
            return True
        finally:
            file.release()

    return wanted


def _batches(folders: Iterator[Folder]) -> Iterator[list[Folder]]:
    batch: list[Folder] = []
    files = 0
    for folder in folders:
        batch.append(folder)
        files += len(folder.files)
        if files >= _BATCH:
            yield batch
            batch, files = [], 0
    yield batch


def _to_remember(folder: Folder, before: SeenFolder | None, look: Look, pending: Sequence[Found]) -> list[SeenFolder]:
    """What to remember of a folder, if it can be and is not what is remembered already.

    Args:
        folder: as it was found.
        before: as it is remembered.
        look: the look that has found it.
        pending: the files in it that are pending.
    """
    now = time.time()
    names = [
        _own_name(file)
        for file in folder.files
        if file.is_link or file in pending or now - max(file.status.st_mtime, file.status.st_ctime) < RECENT_SECONDS
    ]
    watched = sorted([*names, *folder.links])
    if folder.seen is not None:
        # Those that are pending stay what is looked at.
        return [replace(folder.seen, watched=watched)] if len(watched) < len(folder.seen.watched) else []
    if (
        folder.stamp is None
        or folder.refused
        or pending
        # The ledger's index takes no longer one, as of files.
        or reason_against_name(folder.name)
        or not all(map(_is_text, [folder.name, *watched, *folder.folders]))
    ):
        return []
    same = before if before is not None and before.stamp == folder.stamp else None
    settled = now - folder.modified >= RECENT_SECONDS or (
        same is not None and (same.settled or (same.since is not None and look.began - same.since >= SETTLED_AFTER))
    )
    found = SeenFolder(
        folder.name,
        folder.stamp,
        sorted(folder.folders),
        watched,
        folder.doubtful,
        settled=settled,
        since=same.since if same is not None else None,
    )
    return [found]


def _own_name(file: Found) -> str:
    return file.path.rpartition("/")[2]


def _is_text(name: str) -> bool:
    return not name.startswith("//") and all(not "\udc80" <= letter <= "\udcff" for letter in name)
