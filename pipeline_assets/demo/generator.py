"""Entrance of the demo's data: the same configuration always gives the same files, byte for byte, and their truth."""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from pipeline_assets.demo.behaviour import behaviour_truth
from pipeline_assets.demo.delivery import (
    LANDED,
    WEB_SLOTS,
    Draft,
    Record,
    deliver,
    file_content,
    web_content,
)
from pipeline_assets.demo.model import DemoConfig, Faults, Progress
from pipeline_assets.demo.traffic import simulate
from pipeline_assets.demo.truth import FileTruth, Truth, read_truth, take_snapshot, write_truth
from pipeline_assets.private import protected
from pipeline_assets.storage.store import Store

__all__ = [
    "Demo",
    "DemoConfig",
    "DemoFile",
    "Faults",
    "Truth",
    "build_demo",
    "generate",
    "read_truth",
    "unfinished",
    "write_truth",
]


@dataclass(frozen=True)
class DemoFile:
    """A file to deliver and what is in it."""

    content: bytes
    truth: FileTruth

    @property
    def path(self) -> str:
        """Path below the landing folder."""
        return self.truth.path

    def write(self, landing: Path) -> Path:
        """Write it below the landing folder under a temporary name, then rename, as a good sender does."""
        target = landing / self.path
        temporary = target.with_name(f".{target.name}.tmp")
        with protected(temporary):
            temporary.write_bytes(self.content)
        temporary.replace(target)
        return target

    def put(self, landing: Store) -> None:
        """Put it into landing, wherever that is, unless an attempt before has."""
        with suppress(FileExistsError):
            landing.put(self.path, self.content)


@dataclass(frozen=True)
class Demo:
    """All files of a demo, in memory, in the order of their paths.

    Attributes:
        config: what it was made from.
        files: first deliveries and the repeat.
        late_files: what comes after the first refresh.
        half_written: the unfinished state of one of `files`.
        truth: what must be found.
    """

    config: DemoConfig
    files: tuple[DemoFile, ...]
    late_files: tuple[DemoFile, ...]
    half_written: DemoFile
    truth: Truth

    def write(self, landing: Path, *, half_written: bool = False, progress: Progress | None = None) -> list[Path]:
        """Write everything but the late files.

        Args:
            landing: folder to write below.
            half_written: deliver one file in part only; `write_completed_file` delivers the rest.
            progress: called for each file.

        Returns:
            The written paths.
        """
        paths: list[Path] = []
        for number, file in enumerate(self.files, 1):
            unfinished = half_written and file.path == self.half_written.path
            paths.append((self.half_written if unfinished else file).write(landing))
            if progress:
                progress("writing files", number, len(self.files))
        return paths

    def write_completed_file(self, landing: Path) -> Path:
        """Write the complete state of that file over it."""
        return next(file for file in self.files if file.path == self.half_written.path).write(landing)

    def write_late_files(self, landing: Path) -> list[Path]:
        """Write the late files: events of earlier days."""
        return [file.write(landing) for file in self.late_files]


def build_demo(config: DemoConfig | None = None, progress: Progress | None = None) -> Demo:
    """Make all files and the truth in memory (about 40 MB by default).

    Args:
        config: what to generate; the default fortnight if None.
        progress: called while events are simulated and lines are made.

    Returns:
        The demo.

    Raises:
        ValueError: the traffic is too small for the number of faults.
    """
    config = config or DemoConfig()
    if progress:
        progress("simulating traffic", 0, 1)
    events = simulate(config)
    if progress:
        progress("simulating traffic", 1, 1)
    planted = deliver(config, events, progress)
    made = [DemoFile(file_content(config, draft), draft.truth()) for draft in planted.drafts]
    first = [file for file in made if file.truth.delivery == "first"]
    late = tuple(file for file in made if file.truth.delivery == "late")
    repeat, original = _repeat(config, first)
    half_written = _half(next(draft for draft in planted.drafts if draft.path == _half_path(config)))

    on_time = [event for event in events if not event.late]
    counted = [file.truth for file in first]
    # Copies never come in the late files, so they count before as well as after.
    before = take_snapshot(on_time, planted.copies, counted, planted.skewed, planted.future)
    counted += [file.truth for file in late]
    complete = take_snapshot(events, planted.copies, counted, planted.skewed, planted.future)
    files = tuple(sorted([*first, repeat], key=lambda file: file.path))
    truth = Truth(
        seed=config.seed,
        files=tuple(sorted((file.truth for file in (*files, *late)), key=lambda file: file.path)),
        before_late=before,
        complete=complete,
        late_days=tuple(sorted({event.day for event in events if event.late})),
        repeats={repeat.path: original},
        half_written=half_written.truth,
        behaviour=behaviour_truth(events),
    )
    return Demo(config, files, late, half_written, truth)


def unfinished(truth: Path, now: datetime) -> DemoConfig | None:
    """What is to be made where a demo is wanted; None where it is made.

    Args:
        truth: file with the demo's truth. One whose making was interrupted is made of the same days as it was begun
            with, or its files would be those of two demos.
        now: an aware time.
    """
    if not truth.exists():
        return DemoConfig.latest(now)
    begun = read_truth(truth)
    return None if begun.delivered else DemoConfig(first_day=begun.first_day, seed=begun.seed)


def generate(
    landing: Path, config: DemoConfig | None = None, *, late: bool = False, progress: Progress | None = None
) -> Demo:
    """Build a demo and write it below the landing folder.

    Args:
        landing: folder to write below.
        config: what to generate.
        late: write the late files too.
        progress: called with a label, steps done and steps in all.

    Returns:
        The demo, with its truth.
    """
    demo = build_demo(config, progress)
    demo.write(landing, progress=progress)
    if late:
        demo.write_late_files(landing)
    return demo


def _repeat(config: DemoConfig, files: list[DemoFile]) -> tuple[DemoFile, str]:
    # A file of the third day comes again on the day after, under the next free number.
    day = config.all_days
    original = next(file for file in files if file.path.startswith(f"web/{day[2]}-03"))
    path = original.path.replace(f"{day[2]}-03", f"{day[3]}-{WEB_SLOTS + 1:02}")
    truth = replace(original.truth, path=path, delivery="repeat")
    return DemoFile(original.content, truth), original.path


def _half_path(config: DemoConfig) -> str:
    return f"web/{config.all_days[config.days // 2]}-02.jsonl"


def _half(draft: Draft) -> DemoFile:
    middle = len(draft.records) * 11 // 20
    torn = next(number for number in range(middle, len(draft.records)) if draft.records[number].kind == LANDED)
    line: bytes = draft.records[torn].content
    # ASCII up to the message id, so that the cut is never within a character.
    records = [*draft.records[:torn], Record(0, "truncated", line[:40])]
    content = web_content(records).removesuffix(b"\n")
    return DemoFile(content, replace(draft, records=records).truth())
