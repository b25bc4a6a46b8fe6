"""Which listed files are lost is found at the cost of those that are asked for."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from pipeline_assets.lake import Lake
from pipeline_assets.ledger.catalogue import LakeFile
from pipeline_assets.storage.local import LocalStore
from pipeline_assets.storage.store import Stat

DAYS = [date(2026, 3, 1) + timedelta(days=number) for number in range(9)]


class Watched(LocalStore):
    """A store that notes what its listings have told."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.told: list[str] = []

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[Stat]:
        for stat in super().list(prefix, after=after):
            self.told.append(stat.name)
            yield stat


@pytest.mark.parametrize("of_each_day", [3, 40])
def test_lost_files_are_found_without_listing_the_days_before_and_after(tmp_path: Path, of_each_day: int) -> None:
    store = Watched(tmp_path / "lake")
    names = [f"events/{day}/{number}.parquet" for day in DAYS for number in range(of_each_day)]
    files = [
        LakeFile(name, "events", date.fromisoformat(name[7:17]), 1, store.put(name, b"rows").size) for name in names
    ]
    wanted = [file for file in files if DAYS[3] <= file.day <= DAYS[5]]
    lake = Lake(store, tmp_path / "drafts")
    assert lake.lost(wanted) == []
    gone, cut = wanted[0], wanted[-1]
    store.delete([gone.name])
    (store.root / cut.name).write_bytes(b"ro")
    assert lake.lost(wanted) == [gone, cut]
    near = {str(day) for day in DAYS[3:7]}
    assert {name.split("/")[1] for name in store.told} <= near
