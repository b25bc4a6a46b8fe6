"""The days that Dagster shows as partitions."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from pipeline_assets.partitions import daily_partitions
from pipeline_assets.settings import Settings


# Beirut and São Paulo change their clocks at midnight.
@pytest.mark.parametrize("timezone", ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Beirut"])
def test_the_days_are_those_that_dagster_takes_from_a_schedule(timezone: str):
    settings = replace(Settings.from_environment(), timezone=timezone)
    ours = daily_partitions(settings)
    theirs = dg.DailyPartitionsDefinition(start_date=settings.first_day.isoformat(), timezone=timezone, end_offset=1)
    before = datetime.combine(settings.first_day, datetime.min.time(), UTC) - timedelta(days=2)
    change = datetime(2024, 3, 30, 12, tzinfo=UTC)
    for moment in [before, *(change + timedelta(hours=hours) for hours in range(0, 48, 3))]:
        assert ours.get_partition_keys(moment) == theirs.get_partition_keys(moment)
    assert ours.get_partition_keys() == theirs.get_partition_keys()
