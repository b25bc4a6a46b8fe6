"""The channels that the demo plants are those that the pipeline finds."""

import polars as pl
import pytest

from pipeline_assets.demo.catalogue import ACQUISITIONS, HOST, Acquisition
from pipeline_assets.transforms.channels import add_channel
from pipeline_assets.transforms.urls import CAMPAIGN_PARAMETERS, add_url_columns


@pytest.mark.parametrize("way", ACQUISITIONS, ids=lambda way: f"{way.channel}: {way.query[:40] or way.referrer}")
def test_a_visit_by_a_way_in_is_found_as_its_planted_channel(way: Acquisition) -> None:
    url = f"{HOST}/?{way.query.format(id='c5a1f20be77d4e19a0b3')}" if way.query else f"{HOST}/"
    unmapped = {name: [None] for name in (*CAMPAIGN_PARAMETERS, "click_id")}
    landing = pl.DataFrame(
        {"page_url": [url], "referrer_url": [way.referrer or None], **unmapped},
        schema_overrides=dict.fromkeys(unmapped, pl.String) | {"referrer_url": pl.String},
    )
    assert add_channel(add_url_columns(landing))["channel"].to_list() == [way.channel]


def test_the_demo_has_visits_of_most_channels_each_planted_by_name() -> None:
    planted = {way.channel for way in ACQUISITIONS}
    assert planted >= {"Direct", "Organic Search", "Paid Search", "Organic Social", "Paid Social", "AI Assistants"}
    assert len(planted) == 16
