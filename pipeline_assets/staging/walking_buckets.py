"""A walk through a place in an object store: which objects patterns lead to, grouped by folder as `walking` has them.

A store lists what is below a folder in pages, whatever folders lie between; or only what is directly in a folder. The
walk does the first as long as patterns lead to what is listed, and the second where folders that it does not have to
look into lie between: those to which no pattern leads, and those that it is told of as seen before.

A folder of an object store has no times by which one could tell that nothing has changed in it. But one of a day of
long ago gets nothing new as a rule (see `dated_folders`): such a folder can be remembered, and is not listed again
where the walk is told that it was seen. What comes into it all the same is found by a walk that is told of nothing.
"""

import itertools
import math
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from pipeline_assets.ledger.seen_folders import SeenFolder
from pipeline_assets.staging.dated_folders import days_of, is_over
from pipeline_assets.staging.landing import TABLE_LOGS, LandingFile, Refused, is_unfinished, reason_against_name
from pipeline_assets.staging.routes import Moves, Positions, Routes
from pipeline_assets.staging.walking import Folder
from pipeline_assets.storage.store import InvalidNameError, Stat, Store, TooLongError

OPEN_DAYS = 3
"""How many whole days, by the clock of Greenwich, a day's folder is listed at every look after the day.

Enough for every time zone, for a writer that was out of order over a weekend and for what is delivered by hand on
Monday; and few enough where each hour has a folder: each may cost a request at every look.
"""

QUIET_SECONDS = 60 * 60
"""How long nobody must have written to a folder of long ago before it is not listed any more: days that are delivered
later are delivered file by file."""

# Objects that a store lists in one request. After so many in a row that no pattern leads to they are gone around.
_PAGE = 1000


class FoundObject(NamedTuple):
    """An object that a pattern leads to; see `walking.Found`."""

    stat: Stat
    patterns: frozenset[int]
    described: Callable[[Stat], LandingFile]

    @property
    def name(self) -> str:
        """Its path below landing."""
        return self.stat.name

    @property
    def stamp(self) -> str:
        """The store's own word for its content."""
        return self.stat.identity

    @property
    def changed(self) -> float:
        """Of no meaning: objects are looked at with their folder."""
        return -math.inf

    def file(self) -> LandingFile:
        """The same as a value."""
        return self.described(self.stat)


_Folders = Generator[Folder, None, float]
"""Folders of a walk; and when an object in them was last written, infinite where more is expected."""


def walk(
    store: Store,
    patterns: Sequence[str],
    described: Callable[[Stat], LandingFile],
    *,
    seen: Mapping[str, SeenFolder] | None = None,
    seconds: float | None = None,
) -> Iterator[Folder]:
    """What patterns lead to, folder by folder.

    Args:
        store: landing.
        patterns: glob patterns.
        described: makes a file of landing of an object.
        seen: folders as they were seen before, by path below landing; those of long ago are not listed.
        seconds: how long it may take; as long as it does by default.

    Raises:
        TooLongError: it would take longer.
        StoreError: the store refuses, or cannot be reached.
    """
    routes = Routes(patterns)
    return _Walk(store, routes, described, seen or {}, seconds).visit("", routes.beginning)


@dataclass
class _Open:
    """A folder of which a list has not come to the end.

    Attributes:
        name: its path below landing; empty for landing itself.
        folder: what was found in it so far.
        moves: where it leads.
        last: name of the folder in it that was entered last.
        leads: whether patterns lead into that one.
        newest: when an object was last written that was found in it or below it, in seconds since the epoch; infinite
            where more is expected.
    """

    name: str
    folder: Folder
    moves: Moves
    last: str = ""
    leads: bool = True
    newest: float = 0.0

    @property
    def start(self) -> str:
        """What the names below it begin with."""
        return f"{self.name}/" if self.name else ""


class _Walk:
    """One walk through an object store."""

    def __init__(
        self,
        store: Store,
        routes: Routes,
        described: Callable[[Stat], LandingFile],
        seen: Mapping[str, SeenFolder],
        seconds: float | None,
    ) -> None:
        self._store = store
        self._routes = routes
        self._described = described
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._now = time.time()
        self._before = datetime.fromtimestamp(self._now, UTC).date() - timedelta(days=OPEN_DAYS)
        # Dates are read again: the clock may have been set back.
        self._seen = {name: folder for name, folder in seen.items() if _is_before(name, self._before)}
        self._above = {above for name in self._seen for above in _folders_above(name)}

    def visit(self, name: str, positions: Positions) -> "_Folders":
        """A folder and all below it; of landing itself the name is empty."""
        moves = self._routes.moves(positions)
        before = self._seen.get(name)
        if moves.names is not None:
            return (yield from self._named(name, moves, moves.names))
        if before is not None and all(moves.step(each) for each in before.folders):
            folder = Folder(name, doubtful=before.doubtful, folders=list(before.folders), seen=before)
            yield folder
            return (yield from self._enter(name, moves, folder.folders))
        if name in self._above:
            return (yield from self._level(name, moves))
        return (yield from self._below(name, moves))

    def _named(self, name: str, moves: Moves, names: Sequence[str]) -> "_Folders":
        """A folder of which only some names are asked for."""
        opened = self._opened(name, moves)
        for each in names:
            if (step := moves.step(each)) and step.patterns:
                self._require_time()
                if stat := self._store.stat(opened.start + each):
                    self._take(opened, stat)
        yield opened.folder
        return max(opened.newest, (yield from self._enter(name, moves, names)))

    def _enter(self, name: str, moves: Moves, names: Sequence[str]) -> "_Folders":
        newest = 0.0
        for each in names:
            if (step := moves.step(each)) and step.into:
                newest = max(newest, (yield from self.visit(f"{name}/{each}" if name else each, step.into)))
        return newest

    def _level(self, name: str, moves: Moves, *, done: Collection[str] = (), newest: float = 0.0) -> "_Folders":
        """A folder by itself and those in it.

        Args:
            name: of the folder.
            moves: where it leads.
            done: names of folders in it that were walked through already.
            newest: when something in those was last written.
        """
        opened = self._opened(name, moves)
        opened.newest = newest
        try:
            level = self._store.level(name, seconds=self._require_time())
        except InvalidNameError as error:
            opened.folder.refused.append(Refused(opened.folder.name, f"cannot be listed: {error}"))
            yield opened.folder
            return opened.newest
        for stat in level.objects:
            self._take(opened, stat)
        for each in level.folders:
            self._go_into(opened, each)
        left = [each for each in opened.folder.folders if each not in done]
        opened.newest = max(opened.newest, (yield from self._enter(name, moves, left)))
        yield self._closed(opened)
        return opened.newest

    def _below(self, name: str, moves: Moves) -> "_Folders":
        """A folder and all below it by one list, in which what is in a folder comes together."""
        way = [self._opened(name, moves)]
        astray = 0
        self._require_time()
        try:
            for number, stat in enumerate(self._store.list(way[0].start), 1):
                if not number % _PAGE:
                    self._require_time()
                while not stat.name.startswith(way[-1].start):
                    yield self._left(way)
                if self._find(way, stat.name):
                    self._take(way[-1], stat)
                    astray = 0
                elif (astray := astray + 1) >= _PAGE:
                    break
            else:
                while len(way) > 1:
                    yield self._left(way)
                yield self._closed(way[0])
                return way[0].newest
        except InvalidNameError:
            # It is in one of these folders, or in one that was not come to; what is in the others is found.
            pass
        newest = 0.0
        while way:
            opened = way.pop()
            newest = max(newest, opened.newest)
            newest = yield from self._level(opened.name, opened.moves, done=set(opened.folder.folders), newest=newest)
        return newest

    def _left(self, way: list[_Open]) -> Folder:
        """The last folder on a way, which is left."""
        opened = way.pop()
        folder = self._closed(opened)
        way[-1].newest = max(way[-1].newest, opened.newest)
        return folder

    def _find(self, way: list[_Open], name: str) -> bool:
        """Open the folders on the way to an object; whether patterns lead into all of them."""
        rest = name[len(way[-1].start) :]
        while separator := rest.find("/") + 1:
            each, rest = rest[: separator - 1], rest[separator:]
            opened = way[-1]
            if each != opened.last:
                opened.last, opened.leads = each, self._go_into(opened, each)
            step = opened.moves.step(each) if opened.leads else None
            if step is None:
                return False
            way.append(self._opened(opened.start + each, self._routes.moves(step.into)))
        return True

    def _opened(self, name: str, moves: Moves) -> _Open:
        return _Open(name, Folder(name or "."), moves)

    def _go_into(self, opened: _Open, name: str) -> bool:
        """Note a folder in a folder; whether patterns lead into it."""
        if name in TABLE_LOGS:
            opened.folder.doubtful = TABLE_LOGS[name]
        step = opened.moves.step(name)
        leads = step is not None and bool(step.into)
        opened.folder.folders += [name] if leads else []
        return leads

    def _take(self, opened: _Open, stat: Stat) -> None:
        """Note an object in a folder, if patterns lead to it."""
        own = stat.name[len(opened.start) :]
        step = None if is_unfinished(own) else opened.moves.step(own)
        if step is None or not step.patterns:
            return
        if reason := reason_against_name(stat.name):
            opened.folder.refused.append(Refused(stat.name, reason))
            return
        opened.folder.files.append(FoundObject(stat, step.patterns, self._described))
        opened.newest = max(opened.newest, stat.modified.timestamp())

    def _closed(self, opened: _Open) -> Folder:
        """A folder with all below it; it can be remembered if no more is expected there, nor in any folder in it."""
        folder = opened.folder
        if not is_over(folder.name, folder.folders, has_files=bool(folder.files), before=self._before):
            opened.newest = math.inf
        elif self._now - opened.newest >= QUIET_SECONDS:
            folder.stamp = "over"
        return folder

    def _require_time(self) -> float | None:
        """Seconds that are left, if they are counted."""
        if self._deadline is None:
            return None
        left = self._deadline - time.monotonic()
        if left < 0:
            raise TooLongError
        return left


def _is_before(folder: str, day: date) -> bool:
    days = days_of(folder)
    return days is not None and days.last < day


def _folders_above(folder: str) -> Iterator[str]:
    """Those on the way to a folder, from landing itself on."""
    return itertools.accumulate(["", *folder.split("/")[:-1]], lambda above, name: f"{above}/{name}" if above else name)
