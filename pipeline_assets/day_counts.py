"""What became of the rows of a day, as its builds count it and the ledger books it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class DayCounts:
    """What became of the rows of a day: `landed = events + duplicates + excluded`.

    Attributes:
        landed: staged rows.
        events: rows that became events.
        duplicates: rows dropped because an earlier row has their property and event id.
        conflicts: those of the duplicates whose content differs from the row they lost to.
        excluded: rows that their source's declaration keeps out.
        excluded_by_reason: the same by reason.
        across: those of the events whose id, given by their source, an event of another property has on the same day.
            They are no duplicates, but may be one feed that is delivered under two properties.
    """

    landed: int = 0
    events: int = 0
    duplicates: int = 0
    conflicts: int = 0
    excluded: int = 0
    excluded_by_reason: Mapping[str, int] = field(default_factory=dict)
    across: int = 0

    def __add__(self, other: "DayCounts") -> "DayCounts":
        """The counts of two disjoint shares of a day's rows together."""
        return DayCounts(
            self.landed + other.landed,
            self.events + other.events,
            self.duplicates + other.duplicates,
            self.conflicts + other.conflicts,
            self.excluded + other.excluded,
            dict(Counter(self.excluded_by_reason) + Counter(other.excluded_by_reason)),
            self.across + other.across,
        )
