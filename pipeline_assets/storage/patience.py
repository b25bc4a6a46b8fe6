"""How long an object store is waited for: by a run, by a sensor's tick, and by who only shows something.

It is a matter of who asks and not of what is asked for, so whoever waits says it, for all that is asked meanwhile.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Patience:
    """How long one request is waited for. A request is one piece of an object or one page of a list.

    Attributes:
        connecting: until there is a connection.
        stalling: while nothing comes.
        request: for the whole of it.
        retries: how often it is sent again, where it can be.
        retrying: how long after the first time it is still sent again.
    """

    connecting: timedelta
    stalling: timedelta
    request: timedelta
    retries: int
    retrying: timedelta

    @property
    def most(self) -> timedelta:
        """The longest that a store without an answer is waited for, where a request stalls rather than sends much."""
        return self.retrying + self.stalling


RUN = Patience(timedelta(seconds=10), timedelta(seconds=60), timedelta(minutes=10), 6, timedelta(minutes=2))
"""Of a run: a store may be away for a moment."""
TICK = Patience(timedelta(seconds=5), timedelta(seconds=10), timedelta(seconds=10), 2, timedelta(seconds=5))
"""Of a sensor's tick, which Dagster ends after a minute; the next one comes soon."""
GLANCE = Patience(*(timedelta(seconds=2),) * 3, 0, timedelta(seconds=2))
"""Of who only shows something."""

_patience = ContextVar("patience", default=RUN)


def patience() -> Patience:
    """How long whoever asks now waits."""
    return _patience.get()


@contextmanager
def waiting(most: Patience) -> Generator[None]:
    """While no object store is waited for longer."""
    token = _patience.set(most)
    try:
        yield
    finally:
        _patience.reset(token)
