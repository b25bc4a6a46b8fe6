"""Cut the work of a range of days into batches that fit in memory.

Small days are taken together; a day with more rows than the budget is cut by key. Every transform is complete for a
key (a visitor, an event id), so the union of the batches is the result for the whole range.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

# Rows of about 50 columns; a batch of this size needs about 1 GB at the peak.
ROW_BUDGET = 500_000


@dataclass(frozen=True)
class Batch:
    """Contiguous days, and the share of their keys to take: those in bucket `bucket` of `buckets`."""

    days: tuple[date, ...]
    bucket: int = 0
    buckets: int = 1

    def select(self, frame: pl.LazyFrame, *key: str) -> pl.LazyFrame:
        """The rows of this batch's bucket; `key` are the columns that must stay together."""
        if self.buckets == 1:
            return frame
        # The hash never leaves this process, so it need not be stable.
        return frame.filter(pl.struct(key).hash() % self.buckets == self.bucket)


def batches(days: Sequence[date], rows: Mapping[date, int], budget: int = ROW_BUDGET) -> Iterator[Batch]:
    """Cut contiguous days into batches of about `budget` rows.

    Args:
        days: contiguous days in order.
        rows: rows to read per day; 0 where a day is not named.
        budget: rows a batch may hold.
    """
    together: list[date] = []
    held = 0
    for day in days:
        size = rows.get(day, 0)
        if together and held + size > budget:
            yield Batch(tuple(together))
            together, held = [], 0
        if size > budget:
            buckets = -(-size // budget)
            for bucket in range(buckets):
                yield Batch((day,), bucket, buckets)
        else:
            together.append(day)
            held += size
    if together:
        yield Batch(tuple(together))
