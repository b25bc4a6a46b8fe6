"""A landing folder and a ledger, without a pipeline between them: what looks find of what is delivered."""

import hashlib
import os
import time
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from pipeline_assets.ledger.files import Booking, FileLedger, Load
from pipeline_assets.ledger.full_looks import FullLooks
from pipeline_assets.ledger.seen_folders import FolderMemory
from pipeline_assets.staging.landing import LandingFile
from pipeline_assets.staging.landings import Landing, LocalLanding
from pipeline_assets.staging.pending import Looker
from pipeline_assets.staging.walking import scan

SOURCE = "web"
MONTH = 30 * 24 * 60 * 60


class Deployment:
    """A landing folder, and a ledger that knows what of it was loaded."""

    def __init__(self, engine: sa.Engine, folder: Path, every: timedelta = timedelta(hours=1)) -> None:
        with engine.begin() as connection:
            connection.execute(
                sa.text(
                    "truncate ledger.contents, ledger.staged_days, ledger.source_counts, ledger.full_looks, "
                    "ledger.seen_folders cascade"
                )
            )
        self.engine, self.folder, self.ledger = engine, folder, FileLedger(engine)
        self.memory, self.looks = FolderMemory(engine), FullLooks(engine, every)
        self.declaration_version = "v1"

    @property
    def place(self) -> Landing:
        """Where files are dropped."""
        return LocalLanding(self.folder)

    @property
    def landing(self) -> Looker:
        """As another process has it each time."""
        return Looker(self.place, self.ledger, self.memory, self.looks)

    def look(self, pattern: str) -> list[LandingFile]:
        """What is pending."""
        return self.landing.pending(SOURCE, pattern, self.declaration_version).files

    def book(self, files: list[LandingFile]) -> None:
        """Note them as loaded."""
        contents = [hashlib.sha256(f"{file.name}{file.stamp}".encode()).hexdigest() for file in files]
        if files:
            self.ledger.reserve(dict.fromkeys(contents, 1))
            bookings = [
                Booking(file.name, file.stamp, content, Load(content, self.declaration_version))
                for file, content in zip(files, contents, strict=True)
            ]
            self.ledger.book(SOURCE, bookings)

    def everything(self, pattern: str) -> dict[str, str]:
        """What is pending, by a walk through all of landing and a look at all bookings."""
        stamps = {file.name: file.stamp for file in scan(self.folder, pattern).files}
        pending = self.ledger.not_as_booked(SOURCE, self.declaration_version, stamps)
        return {name: stamps[name] for name in pending}


def set_age(path: Path, age: float) -> None:
    """Let a file be last written to so many seconds ago."""
    modified = time.time() - age
    os.utime(path, (modified, modified))


def write(path: Path, text: str = "x", *, age: float = 0) -> Path:
    """Deliver a file that was last written to so many seconds ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    set_age(path, age)
    return path
