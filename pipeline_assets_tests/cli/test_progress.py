"""Progress where nobody looks at a terminal."""

import logging
import queue

from pipeline_assets.progress import LineProgress

LOG = logging.getLogger(__name__)


def test_a_single_long_step_is_told_of_while_it_is_done() -> None:
    lines: queue.Queue[str] = queue.Queue()
    with LineProgress(lines.put, every=0.02) as progress:
        with progress.track("staging web", 2, LOG, ["a.jsonl", "b.jsonl"]) as advance:
            assert lines.get(timeout=60).startswith("staging web: 0 of 2, now a.jsonl (")
            advance("a.jsonl")
            while not (line := lines.get(timeout=60)).startswith("staging web: 1 of 2, now b.jsonl ("):
                assert line.startswith("staging web: 0 of 2")
        while not (line := lines.get(timeout=60)).startswith("checking and writing, staging web was the last ("):
            assert line.startswith("staging web")


def test_short_work_is_done_in_silence() -> None:
    lines: list[str] = []
    with LineProgress(lines.append, every=3600) as progress, progress.track("events", 1, LOG) as advance:
        advance("a day")
    assert lines == []
