import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.transforms.urls import (
    CAMPAIGN_PARAMETERS,
    CLICK_ID_PARAMETERS,
    add_url_columns,
    query_parameters,
    split_urls,
)

INPUT = ("page_url", "referrer_url", *CAMPAIGN_PARAMETERS, "click_id")


def parsed(**values: str | None) -> dict[str, str | None]:
    row = dict.fromkeys(INPUT, None) | values
    return add_url_columns(pl.DataFrame([row], schema=dict.fromkeys(INPUT, pl.String))).to_dicts()[0]


@pytest.mark.parametrize(
    ("url", "host", "path", "query"),
    [
        ("https://Shop.Example.COM/a/b?x=1&y=2#top", "shop.example.com", "/a/b", "x=1&y=2"),
        ("https://user:p%40ss@example.com:8443/a", "example.com", "/a", None),
        ("https://a@b@example.com/", "example.com", "/", None),
        ("https://example.com", "example.com", "/", None),
        ("https://example.com?x=1", "example.com", "/", "x=1"),
        ("https://example.com./", "example.com", "/", None),
        ("//cdn.example.com/x", "cdn.example.com", "/x", None),
        ("/path?x=1", None, "/path", "x=1"),
        ("/path?", None, "/path", None),
        ("?x=1", None, None, "x=1"),
        ("/search?q=http://other.com/?a=b", None, "/search", "q=http://other.com/?a=b"),
        ("http://[2001:db8::1]:8080/x", "[2001:db8::1]", "/x", None),
        ("http://münchen.de/straße", "münchen.de", "/straße", None),
        ("android-app://com.google.android.gm/", "com.google.android.gm", "/", None),
        ("file:///home/x", None, "/home/x", None),
        ("mailto:a@example.com", None, None, None),
        ("about:blank", None, None, None),
        ("http://", None, "/", None),
        ("http://not a host/x", None, "/x", None),
        ("  https://example.com/x  ", "example.com", "/x", None),
        ("#top", None, None, None),
        ("*", None, "*", None),
    ],
)
def test_a_url_has_host_path_and_query(url: str, host: str | None, path: str | None, query: str | None) -> None:
    assert split_urls(pl.Series([url])).rows() == [(url, host, path, query)]


@given(st.lists(st.text() | st.from_regex(r"(https?:)?//[^ ]*\?[^ ]*"), max_size=5))
@settings(max_examples=40, deadline=None)
def test_no_text_makes_url_parsing_fail_or_yields_an_empty_text(texts: list[str]) -> None:
    values = pl.Series(texts, dtype=pl.String)
    frame = pl.DataFrame({"page_url": values, "referrer_url": values.reverse()}).with_columns(
        pl.lit(None, pl.String).alias(name) for name in INPUT[2:]
    )
    result = add_url_columns(frame)
    assert result["page_url"].to_list() == texts
    derived = result.drop("page_url", "referrer_url")
    assert derived.select((pl.all() == "").any()).row(0) == (False,) * derived.width


@pytest.mark.parametrize(
    ("query", "column", "value"),
    [
        ("utm_source=a%20b+c", "utm_source", "a b c"),
        ("utm_source=fr%C3%BChling", "utm_source", "frühling"),
        ("utm_source=%FF", "utm_source", "\N{REPLACEMENT CHARACTER}"),
        ("utm_source=a%00b", "utm_source", "a\N{REPLACEMENT CHARACTER}b"),
        ("utm_source=100%&x=1", "utm_source", "100%"),
        ("UTM_Source=x", "utm_source", "x"),
        ("utm_source=&utm_source=+&utm_source=b&utm_source=c", "utm_source", "b"),
        ("a=1&utm_campaign=a=b", "utm_campaign", "a=b"),
        ("utm_term=x", "utm_source", None),
        ("gclid=1", "click_id", "1"),
        ("fbclid=f&gclid=g", "click_id", "g"),
        ("fbclid=f&gclid=g", "click_id_type", "gclid"),
        ("msclkid=m", "click_id_type", "msclkid"),
    ],
)
def test_parameters_are_decoded_and_the_first_that_is_not_empty_counts(
    query: str, column: str, value: str | None
) -> None:
    assert query_parameters(pl.Series([query]))[column].to_list() == [value]


@pytest.mark.parametrize("name", CLICK_ID_PARAMETERS)
def test_every_click_id_is_found_with_its_kind(name: str) -> None:
    result = parsed(page_url=f"https://example.com/?{name}=abc")
    assert (result["click_id"], result["click_id_type"]) == ("abc", name)


@pytest.mark.parametrize("query", ["", "x=1", "my_utm_source=x", "utm_sourcex=1", "utm_source", "xgclid=1"])
def test_other_parameters_are_no_campaign(query: str) -> None:
    assert query_parameters(pl.Series([query])).is_empty()


def test_a_mapped_campaign_wins_over_the_one_in_the_url() -> None:
    result = parsed(page_url="/?utm_source=url&utm_medium=url", utm_source="mapped")
    assert (result["utm_source"], result["utm_medium"]) == ("mapped", "url")


def test_a_mapped_click_id_wins_and_has_a_kind_only_where_the_url_repeats_it() -> None:
    other = parsed(page_url="/?gclid=url", click_id="mapped")
    same = parsed(page_url="/?gclid=mapped", click_id="mapped")
    assert (other["click_id"], other["click_id_type"]) == ("mapped", None)
    assert (same["click_id"], same["click_id_type"]) == ("mapped", "gclid")


@pytest.mark.parametrize(
    ("page", "referrer", "host"),
    [
        ("https://example.com/", "https://example.com/a", None),
        ("https://example.com/", "http://www.example.com/a", None),
        ("https://www.example.com/", "https://example.com:8080/a", None),
        ("https://example.com/", "https://blog.example.com/a", "blog.example.com"),
        ("https://example.com/", "https://www.google.com/", "www.google.com"),
        ("/path", "https://www.google.com/", "www.google.com"),
        (None, "https://www.google.com/", "www.google.com"),
        ("https://example.com/", "nonsense", None),
        ("https://example.com/", None, None),
    ],
)
def test_the_referrer_host_is_null_where_it_is_the_page_s_own(
    page: str | None, referrer: str | None, host: str | None
) -> None:
    assert parsed(page_url=page, referrer_url=referrer)["referrer_host"] == host
