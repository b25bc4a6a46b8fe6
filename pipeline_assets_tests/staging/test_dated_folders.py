"""Which days a folder is of, as its path says."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.staging.dated_folders import Days, days_of, is_over

DAY = date(2026, 11, 27)
DAYS = st.dates(date(1900, 1, 1), date(2099, 12, 31))
WAYS = [
    "%Y-%m-%d",
    "%Y%m%d",
    "%Y/%m/%d",
    "%Y-%m/%d",
    "%Y/%Y-%m/%Y-%m-%d",
    "dt=%Y-%m-%d",
    "event_date=%Y%m%d",
    "year=%Y/month=%m/day=%d",
    "y=%Y/%m/%d",
    "%Y-%m-%d-13",
    "%Y%m%d13",
    "%Y-%m-%dT13:00Z",
    "%Y-%m-%d/13",
    "%Y/%m/%d/00",
    "year=%Y/month=%m/day=%d/hour=07",
    "%Y-%m-%d/region=eu/clicks",
    "%Y-%m-%d/1",
]


@pytest.mark.parametrize("way", WAYS)
@given(day=DAYS, above=st.sampled_from(["", "web/", "web/eu-1/", "12/", "shop=17/"]))
def test_a_day_is_read_in_every_way_of_writing_it(way: str, day: date, above: str) -> None:
    assert days_of(above + day.strftime(way)) == Days(day, day)


def test_a_month_or_day_without_a_zero_before_it_is_one() -> None:
    assert days_of("year=2026/month=3/day=1") == Days(date(2026, 3, 1), date(2026, 3, 1))


@pytest.mark.parametrize(
    ("folder", "first", "last"),
    [
        ("web/2026", date(2026, 1, 1), date(2026, 12, 31)),
        ("year=2024/month=02", date(2024, 2, 1), date(2024, 2, 29)),
        ("web/2026-11", date(2026, 11, 1), date(2026, 11, 30)),
        ("schema=2024-01-01/dt=2026-11-27", DAY, DAY),
    ],
)
def test_the_last_date_in_a_path_counts_as_far_as_it_goes(folder: str, first: date, last: date) -> None:
    assert days_of(folder) == Days(first, last)


@pytest.mark.parametrize(
    "folder",
    [
        ".",
        "",
        "web",
        "2026/eu",
        "2026/13/01",
        "2026-02-30",
        "20260230",
        "12345678",
        "export-2026-11-27",
        "2026-11-27.old",
        "11/27",
        "0999-01-01",
        "2026-11-27-25",
        "2026-\u0661\u0661-\u0662\u0667",
    ],
)
def test_what_is_no_date_is_of_no_days(folder: str) -> None:
    assert days_of(folder) is None


@given(name=st.text(max_size=12), others=st.lists(st.text(max_size=6), max_size=3))
def test_any_path_is_read(name: str, others: list[str]) -> None:
    days_of("/".join([name, *others]))


def over(folder: str, *folders: str, has_files: bool = True, before: date = DAY) -> bool:
    return is_over(folder, folders, has_files=has_files, before=before)


def test_a_day_is_over_when_it_lies_before_and_not_on_the_day() -> None:
    assert over("web/2026-11-26")
    assert over("web/2026-11-26", "00", "hour=23", "eu")
    assert not over("web/2026-11-27")
    assert not over("web/2026-11-28")
    assert not over("web")


@given(day=DAYS)
def test_a_month_and_a_year_are_over_when_their_last_days_are(day: date) -> None:
    for folder in (f"{day:%Y}", f"{day:%Y/%m}"):
        days = days_of(folder)
        assert days is not None
        names = ["01"]
        assert not over(folder, *names, has_files=False, before=days.last)
        if days.last < date.max:
            assert over(folder, *names, has_files=False, before=days.last + timedelta(days=1))


def test_a_number_is_no_year_unless_there_are_months_and_nothing_else_in_it() -> None:
    assert over("2019", "01", "12", has_files=False)
    assert not over("2019", has_files=False)
    assert not over("2019", "01", has_files=True)
    assert not over("2019", "01", "clicks", has_files=False)
    assert not over("2019/01", "01", "clicks", has_files=False)


def test_what_has_folders_of_other_days_in_it_is_not_over() -> None:
    assert not over("schema=2024-01-01", "dt=2024-02-01", has_files=False)
    assert not over("2019", "2020-01-01", has_files=False)
    assert over("2019-01-01", "2019-01-01-13")
