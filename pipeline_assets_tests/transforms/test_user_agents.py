import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.transforms.user_agents import BOT_RULES, add_user_agent_columns
from pipeline_assets_tests.transforms.user_agent_examples import BLINK, MACHINES, PEOPLE

ACCESS_LOG = Path(__file__).parents[2] / "../shared/data/access_logs/apache_logs"

WEBKIT = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
WINDOWS_CHROME = f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {BLINK} Chrome/120.0.0.0 Safari/537.36"
IPHONE = f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X) {WEBKIT} Version/17.2 Mobile/15E148 Safari/604.1"
PIXEL = f"Mozilla/5.0 (Linux; Android 14; Pixel 8) {BLINK} Chrome/120.0.0.0 Mobile Safari/537.36"
ANDROID_TABLET = f"Mozilla/5.0 (Linux; Android 13; SM-X200) {BLINK} Chrome/120.0.0.0 Safari/537.36"
IPAD = f"Mozilla/5.0 (iPad; CPU OS 16_5 like Mac OS X) {WEBKIT} Version/16.5 Mobile/15E148 Safari/604.1"
SAMSUNG_TV = f"Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) {BLINK} 76.0.3809.146/6.0 TV Safari/537.36"
CUBOT_PHONE = f"Mozilla/5.0 (Linux; Android 11; CUBOT NOTE 20) {BLINK} Chrome/120.0.0.0 Mobile Safari/537.36"
TABLET_PC = "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0; Tablet PC 2.0)"
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


def frame(user_agents: Sequence[str | None], **mapped: str) -> pl.DataFrame:
    columns = {
        name: pl.Series([mapped.get(name)] * len(user_agents), dtype=pl.String)
        for name in ("device_type", "os", "browser")
    }
    is_bot = pl.lit(None, pl.Boolean)
    return pl.DataFrame({"user_agent": pl.Series(user_agents, dtype=pl.String), **columns}).with_columns(is_bot=is_bot)


def facts(user_agent: str) -> dict[str, str | None]:
    return add_user_agent_columns(frame([user_agent])).to_dicts()[0]


@pytest.mark.parametrize(
    ("user_agent", "device_type", "os", "browser"),
    [
        (WINDOWS_CHROME, "desktop", "Windows", "Chrome"),
        (IPHONE, "mobile", "iOS", "Mobile Safari"),
        (PIXEL, "mobile", "Android", "Chrome Mobile"),
        (ANDROID_TABLET, "tablet", "Android", "Chrome"),
        (IPAD, "tablet", "iOS", "Mobile Safari"),
        (SAMSUNG_TV, "tv", "Tizen", "Safari"),
        (CUBOT_PHONE, "mobile", "Android", "Chrome Mobile"),
        (TABLET_PC, "desktop", "Windows", "IE"),
        (
            "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0",
            "desktop",
            "Ubuntu",
            "Firefox",
        ),
        (
            f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {BLINK} Chrome/120.0.0.0 Safari/537.36",
            "desktop",
            "Chrome OS",
            "Chrome",
        ),
        ("something nobody knows", "other", None, None),
    ],
)
def test_a_user_agent_names_device_system_and_browser(
    user_agent: str, device_type: str, os: str | None, browser: str | None
) -> None:
    found = facts(user_agent)
    assert (found["device_type"], found["os"], found["bot_reason"]) == (device_type, os, None)
    assert browser is None or (found["browser"] or "").startswith(browser)


@pytest.mark.parametrize("reason", MACHINES)
def test_a_machine_is_a_bot_with_the_reason_that_its_name_gives(reason: str) -> None:
    result = add_user_agent_columns(frame(MACHINES[reason]))
    # What the parser knows by name changes with its releases.
    missed = result.filter(~pl.col("bot_reason").fill_null("").is_in([reason, "ua_parser_spider"]))
    assert missed.select("user_agent", "bot_reason").rows() == []
    assert set(result["device_type"]) == {"bot"}


def test_every_reason_has_examples_and_only_the_reasons_there_are() -> None:
    assert set(MACHINES) == {reason for reason, _ in BOT_RULES} | {"ai_agent", "ua_parser_spider"}


def test_no_browser_or_app_of_people_is_a_bot() -> None:
    result = add_user_agent_columns(frame(PEOPLE))
    assert result.filter("is_bot").select("user_agent", "bot_reason").rows() == []


@pytest.mark.parametrize("rename", [str.upper, str.lower], ids=["upper case", "lower case"])
def test_a_machine_is_a_bot_whatever_the_case_of_its_name(rename: type[str]) -> None:
    own_rules = [each for reason, agents in MACHINES.items() if reason != "ua_parser_spider" for each in agents]
    result = add_user_agent_columns(frame([rename(user_agent) for user_agent in own_rules]))
    assert result.filter(~pl.col("is_bot"))["user_agent"].to_list() == []


@given(st.lists(st.sampled_from([*PEOPLE, *(each for agents in MACHINES.values() for each in agents)]), max_size=20))
@settings(max_examples=20, deadline=None)
def test_what_a_user_agent_says_does_not_depend_on_the_others_in_the_table(user_agents: list[str]) -> None:
    together = add_user_agent_columns(frame(user_agents))
    assert together.to_dicts() == [facts(user_agent) for user_agent in user_agents]


def test_an_unknown_or_empty_user_agent_is_not_a_bot() -> None:
    result = add_user_agent_columns(frame([None, ""]))
    assert result["is_bot"].to_list() == [False, False]
    assert result["bot_reason"].to_list() == [None, None]
    assert result["device_type"].to_list() == [None, "other"]


def test_mapped_device_facts_win_and_the_bot_is_flagged_all_the_same() -> None:
    result = add_user_agent_columns(frame([GOOGLEBOT], device_type="tv", os="Acme")).to_dicts()[0]
    assert (result["device_type"], result["os"], result["browser"], result["is_bot"]) == (
        "tv",
        "Acme",
        "Googlebot",
        True,
    )


@pytest.mark.parametrize(
    ("user_agent", "told", "reason"),
    [
        (WINDOWS_CHROME, True, "tracker"),
        (None, True, "tracker"),
        (GOOGLEBOT, True, "tracker"),
        (GOOGLEBOT, False, "ua_parser_spider"),
        (GOOGLEBOT, None, "ua_parser_spider"),
        (WINDOWS_CHROME, False, None),
    ],
)
def test_a_bot_by_the_trackers_list_is_one_and_what_it_lacks_is_still_asked_of_ours(
    user_agent: str | None, told: bool | None, reason: str | None
) -> None:
    mapped = frame([user_agent]).with_columns(is_bot=pl.lit(told, pl.Boolean))
    result = add_user_agent_columns(mapped).to_dicts()[0]
    assert (result["is_bot"], result["bot_reason"]) == (reason is not None, reason)


@given(st.lists(st.none() | st.text(), max_size=5))
@settings(max_examples=40, deadline=None)
def test_no_text_makes_user_agent_parsing_fail(user_agents: list[str | None]) -> None:
    result = add_user_agent_columns(frame(user_agents))
    assert result["user_agent"].to_list() == user_agents
    assert result["is_bot"].to_list() == result["bot_reason"].is_not_null().to_list()


@pytest.mark.skipif(not ACCESS_LOG.exists(), reason="shared access logs are not here")
def test_every_line_of_a_real_log_that_names_a_crawler_is_flagged() -> None:
    lines = ACCESS_LOG.read_text(encoding="utf-8", errors="replace").splitlines()
    agents = [line.rsplit('"', 2)[-2] if line.endswith('"') else line.rsplit('"', 1)[-1] for line in lines]
    names_crawler = re.compile("bot|crawl|spider|slurp", re.IGNORECASE)
    result = add_user_agent_columns(frame(agents))
    missed = result.filter(~pl.col("is_bot")).filter(
        pl.col("user_agent").map_elements(lambda agent: bool(names_crawler.search(agent)), return_dtype=pl.Boolean)
    )
    assert missed["user_agent"].unique().to_list() == []
    assert result["is_bot"].sum() > 1_400
