"""Waits that have a limit and say what they wait for. Nothing in this project waits otherwise."""

import logging
import time

_log = logging.getLogger(__name__)

_FIRST_WORD = 5.0
_NEXT_WORD = 30.0


class WaitedTooLong(RuntimeError):  # noqa: N818 - it reads as what happened
    """What was waited for did not happen in time; the message says what, and what to do."""


class Wait:
    """A wait for one thing.

    Args:
        what: completes "Waiting for …".
        limit: seconds after which it is `over`.
        told_after: seconds after which the first word is said, a few by default; then follows one every half minute.
    """

    def __init__(self, what: str, limit: float, *, told_after: float | None = None) -> None:
        self.what = what
        self.limit = limit
        self._begun = time.monotonic()
        self._due = self._begun + (_FIRST_WORD if told_after is None else told_after)

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self._begun

    @property
    def over(self) -> bool:
        """Whether the limit is reached."""
        return self.seconds >= self.limit

    def pause(self, seconds: float, now: str = "") -> None:
        """Sleep for a moment, and say what is waited for when it is time to.

        Args:
            seconds: how long.
            now: more about what is waited for, as it is at the moment.
        """
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + _NEXT_WORD
            # A warning, because these are the ones that a terminal shows.
            _log.warning(
                "Waiting for %s%s (%d s so far, at most %d s).",
                self.what,
                f": {now}" if now else "",
                self.seconds,
                self.limit,
            )
        time.sleep(seconds)
