"""Cut the work of a range of days into batches that fit in memory.

Small days are taken together; a day with more rows than the budget is cut by key. Every transform is complete for a
key (a visitor, an event id), so the union of the batches is the result for the whole range.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

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


def batches(
    days: Sequence[date], rows: Mapping[date, int], budget: int = ROW_BUDGET, *, around: int = 0
) -> Iterator[Batch]:
    """Cut contiguous days into batches of about `budget` rows.

    Args:
        days: contiguous days in order.
        rows: rows of each day of the input; 0 where a day is not named.
        budget: rows a batch may hold.
        around: days before and after those of a batch that are read with them.
    """

    def size(first: date, last: date) -> int:
        span = (last - first).days + 2 * around + 1
        return sum(rows.get(first + timedelta(days=offset - around), 0) for offset in range(span))

    together: list[date] = []
    for day in days:
        if together and size(together[0], day) > budget:
            yield Batch(tuple(together))
            together = []
        alone = size(day, day)
        if alone > budget:
            buckets = -(-alone // budget)
            for bucket in range(buckets):
                yield Batch((day,), bucket, buckets)
        else:
            together.append(day)
    if together:
        yield Batch(tuple(together))
