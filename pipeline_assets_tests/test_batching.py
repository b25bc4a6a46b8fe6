"""How a range of days is cut into batches."""

from datetime import date, timedelta

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
