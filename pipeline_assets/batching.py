"""Cut the work of some days into batches that fit in memory.

Small days are taken together, however far apart they lie; a day with more rows than the budget is cut by key. Every
transform is complete for a key (a visitor, an event id), so the union of the batches is the result for all days.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from pipeline_assets.planning import days_around

# Rows of about 50 columns; a batch of this size needs about 1 GB at the peak.
ROW_BUDGET = 500_000


@dataclass(frozen=True)
class Batch:
    """Some days in order, and the share of their keys to take: those in bucket `bucket` of `buckets`."""

    days: tuple[date, ...]
    bucket: int = 0
    buckets: int = 1

    def __str__(self) -> str:
        """The days, for people."""
        first, last = self.days[0], self.days[-1]
        return f"{first} to {last}"

    def reads(self, before: int, after: int) -> list[date]:
        """The days that are read of an input of which so many days around each day are needed."""
        return days_around(self.days, before, after)

    def select(self, frame: pl.LazyFrame, *key: str) -> pl.LazyFrame:
        """The rows of this batch's bucket; `key` are columns that must stay together, none: all rows."""
        if self.buckets == 1 or not key:
            return frame
        # The hash never leaves this process, so it need not be stable.
        return frame.filter(pl.struct(key).hash() % self.buckets == self.bucket)


def batches(
    days: Sequence[date], rows: Mapping[date, int], budget: int = ROW_BUDGET, *, around: int = 0
) -> Iterator[Batch]:
    """Cut days into batches of about `budget` rows.

    Args:
        days: days in order.
        rows: rows of each day of the input; 0 where a day is not named.
        budget: rows a batch may hold.
        around: days before and after each of those of a batch that are read with them.
    """
    together: list[date] = []
    # Days up to this one are among those that the batch reads.
    reached, size = date.min, 0
    for day in days:
        near = days_around([day], around, around)
        alone = sum(rows.get(other, 0) for other in near)
        more = sum(rows.get(other, 0) for other in near if other > reached)
        if together and size + more > budget:
            yield Batch(tuple(together))
            together, size, more = [], 0, alone
        if alone > budget:
            buckets = -(-alone // budget)
            for bucket in range(buckets):
                yield Batch((day,), bucket, buckets)
            reached, size = date.min, 0
        else:
            together.append(day)
            reached, size = near[-1], size + more
    if together:
        yield Batch(tuple(together))
