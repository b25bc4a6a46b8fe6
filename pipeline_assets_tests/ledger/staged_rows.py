"""Files of the lake, as the ledger knows them, for loads that are made up."""

import uuid
from collections import Counter
from datetime import date

from pipeline_assets.ledger.catalogue import LakeFile
from pipeline_assets.ledger.files import Load


def lake_files(*loads: Load, source: str = "web", room: int = 0) -> list[LakeFile]:
    """A file for each day of some loads, with their rows and as many others as `room` says."""
    days: Counter[date] = Counter()
    for load in loads:
        days.update(load.days)
    return [
        LakeFile(f"staging/{source}/{day}/{uuid.uuid4()}.parquet", f"staging/{source}", day, rows + room, 1)
        for day, rows in sorted(days.items())
    ]
