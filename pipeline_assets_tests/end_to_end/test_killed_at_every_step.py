"""Whoever works is killed before every single step that leaves something behind; nothing is ever seen half done.

And whoever comes after brings it to the end that it would have come to anyhow. All steps on the embedded server and a
local disk; every kind of step elsewhere and beside another worker in the modules next to this one.
"""

from collections.abc import Callable, Iterator

import pytest

from pipeline_assets_tests.end_to_end.durable_steps import Halt
from pipeline_assets_tests.end_to_end.killing import Prepared, kill_and_go_on, prepared

SHARES = 8
SAMPLE = 3
# A server that has to recover takes a second more.
WITH_POSTGRES = 5


@pytest.fixture(scope="module")
def work() -> Iterator[Prepared]:
    """The embedded server, local folders."""
    with prepared() as deployment:
        yield deployment


@pytest.mark.parametrize("part", range(SAMPLE))
def test_work_killed_at_a_step_is_never_seen_half_done_and_ends_the_same(work: Prepared, part: int) -> None:
    number = 1 + (2 * part + 1) * len(work.steps) // (2 * SAMPLE)
    kill_and_go_on(work, Halt(number))


@pytest.mark.exhaustive
@pytest.mark.parametrize("share", range(SHARES))
def test_work_killed_at_any_step_is_never_seen_half_done_and_ends_the_same(
    work: Prepared, share: int, record_property: Callable[[str, object], None]
) -> None:
    numbers = range(1 + share, len(work.steps) + 1, SHARES)
    killed = [kill_and_go_on(work, Halt(number), with_postgres=number % WITH_POSTGRES == 0) for number in numbers]
    record_property("steps", len(work.steps))
    record_property("killed", killed)
