"""Which files in landing are pending: those whose newest content is not booked under the current declaration.

A look costs what has changed since the last one. Folders in which nothing was pending are remembered with their times;
as long as these do not change, only the files in them are looked at that were written to within a day, or that are
links. In an object store, where folders have no times, those of days of long ago are remembered. What comes although
it was not to be seen (an old file that is written to in place, an object of a day of long ago) is found by the next
full look. What is pending, refused or changing is never remembered, so that a look after a crash, or of another
process, finds it again.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from pipeline_assets.digests import digest
from pipeline_assets.ledger.files import FileLedger, FileRecord
from pipeline_assets.ledger.full_looks import UNCLAIMED, FullLooks, Look, landing_part
from pipeline_assets.ledger.seen_folders import SETTLED_AFTER, FolderMemory, SeenFolder
from pipeline_assets.staging.landing import LandingFile, Listing, path_of, reason_against_name
from pipeline_assets.staging.landings import Landing
from pipeline_assets.staging.walking import RECENT_SECONDS, Folder, Found

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

    Attributes:
        landing: where files are dropped.
        files: knows what is booked.
        memory: knows the folders that were seen.
        full_looks: knows when everything has to be looked at.
    """

    landing: Landing
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
            known_only: whether only contents are pending that another declaration has loaded before; nothing is told of
                the rest then.
            seconds: how long the look may take; as long as it does by default.

        Raises:
            TooLongError: it would take longer. What has been found by then is forgotten.
        """
        wanted = _has_been_loaded(declaration_version) if known_only else _anything
        look = self.full_looks.begin(landing_part(source))
        asked = digest([pattern, declaration_version, self.landing.digested, known_only])
        before = self.memory.seen(source, asked)
        found = Listing()
        seen: list[SeenFolder] = []
        known = {} if look.is_full else before
        folders = self.landing.walk([pattern], seen=known, seconds=seconds)
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
        return found.in_order()

    def unclaimed(self, patterns: Sequence[str], *, seconds: float | None = None) -> Unclaimed:
        """The files that none of some patterns leads to; hidden and unfinished ones are nobody's business.

        Args:
            patterns: those of all declared sources.
            seconds: how long the look may take; as long as it does by default.

        Raises:
            TooLongError: it would take longer. What has been found by then is forgotten.
        """
        look = self.full_looks.begin(UNCLAIMED)
        asked = digest([sorted(patterns), self.landing.digested])
        before = self.memory.seen(_NOBODY, asked)
        count, named = 0, []
        seen: list[SeenFolder] = []
        known = {} if look.is_full else before
        for folder in self.landing.walk([_ANYTHING, *patterns], seen=known, seconds=seconds):
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
        return Unclaimed(count, sorted(named)[:_NAMED])


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
    waiting = {file.name for file in pending}
    names = [_own_name(file) for file in folder.files if file.name in waiting or now - file.changed < RECENT_SECONDS]
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
    return path_of(file.name).rpartition("/")[2]


def _is_text(name: str) -> bool:
    return not name.startswith("//") and all(not "\udc80" <= letter <= "\udcff" for letter in name)
