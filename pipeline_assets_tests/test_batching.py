"""How days are cut into batches."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.batching import Batch, batches

DAYS = [date(2026, 3, 1) + timedelta(days=offset) for offset in range(6)]
ROWS = dict.fromkeys([DAYS[0] - timedelta(days=1), *DAYS, DAYS[-1] + timedelta(days=1)], 10)


def test_days_are_taken_together_up_to_the_budget() -> None:
    assert [batch.days for batch in batches(DAYS, ROWS, 40)] == [tuple(DAYS[:4]), tuple(DAYS[4:])]


def test_the_days_around_a_batch_count_once_for_all_of_its_days() -> None:
    assert [batch.days for batch in batches(DAYS, ROWS, 50, around=1)] == [tuple(DAYS[:3]), tuple(DAYS[3:])]


def test_a_day_over_the_budget_is_cut_by_key_with_the_days_around_it() -> None:
    assert list(batches(DAYS[:1], ROWS, 15, around=1)) == [Batch((DAYS[0],), 0, 2), Batch((DAYS[0],), 1, 2)]


def test_every_day_is_in_a_batch_although_nothing_is_known_of_its_rows() -> None:
    assert [batch.days for batch in batches(DAYS, {}, 1)] == [tuple(DAYS)]


def test_days_far_apart_share_a_batch() -> None:
    apart = [DAYS[0] + timedelta(days=400 * number) for number in range(5)]
    assert [batch.days for batch in batches(apart, dict.fromkeys(apart, 10), 30)] == [
        tuple(apart[:3]),
        tuple(apart[3:]),
    ]
    assert batches(apart, {}, 1).__next__().reads(1, 0) == sorted({*apart, *(day - timedelta(days=1) for day in apart)})


NUMBERS = st.integers(0, 30)


@given(
    st.sets(NUMBERS, min_size=1), st.dictionaries(NUMBERS, st.integers(0, 60)), st.integers(1, 100), st.integers(0, 3)
)
def test_batches_hold_every_day_once_and_read_no_more_than_the_budget(
    numbers: set[int], sizes: dict[int, int], budget: int, around: int
) -> None:
    days = [DAYS[0] + timedelta(days=number) for number in sorted(numbers)]
    rows = {DAYS[0] + timedelta(days=number): size for number, size in sizes.items()}
    found = list(batches(days, rows, budget, around=around))
    assert sorted(day for batch in found if not batch.bucket for day in batch.days) == days
    for batch in found:
        size = sum(rows.get(day, 0) for day in batch.reads(around, around))
        assert size <= budget * batch.buckets
        assert batch.buckets == 1 or len(batch.days) == 1
