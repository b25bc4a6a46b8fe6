"""URLs: their parts, campaign parameters and click ids.

Values are parsed once each and joined back. Whatever the text, nothing here raises: a part that cannot be read
is null.
"""

from urllib.parse import unquote_plus

import polars as pl

CAMPAIGN_PARAMETERS = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")

CLICK_ID_PARAMETERS = (
    "gclid",
    "gbraid",
    "wbraid",
    "dclid",
    "msclkid",
    "fbclid",
    "ttclid",
    "twclid",
    "li_fat_id",
    "yclid",
    "rdt_cid",
    "epik",
    "sccid",
    "irclickid",
)
"""Click ids in order of precedence: where a URL carries several, the first of this list is taken."""

_PARAMETERS = (*CAMPAIGN_PARAMETERS, *CLICK_ID_PARAMETERS)

# RFC 3986, appendix B: it matches any text, so that no URL is ever refused.
_PARTS = (
    r"(?s)^(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):)?(?:(?P<slashes>//)(?P<authority>[^/?#]*))?"
    r"(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?"
)


def split_urls(urls: pl.Series) -> pl.DataFrame:
    """Parts of the distinct URLs in `urls`.

    An absolute URL without a path has the path `/`, as browsers see it. A relative URL has a path and a query but
    no host. A URL of another shape (`mailto:`, `about:`) has neither.

    Returns:
        One row per distinct URL that is not null: url, host (lower case; no user, port or final dot), path, query.
    """
    host = (
        pl.col("authority")
        .str.replace(r"(?s)^.*@", "")
        .str.replace(r":[0-9]*$", "")
        .str.strip_suffix(".")
        .str.to_lowercase()
    )
    has_authority = pl.col("slashes").is_not_null()
    path = (
        pl.when(has_authority & (pl.col("path") == ""))
        .then(pl.lit("/"))
        .when(pl.col("scheme").is_null() | has_authority | pl.col("path").str.starts_with("/"))
        .then(pl.col("path"))
    )
    return (
        urls.drop_nulls()
        .unique()
        .alias("url")
        .to_frame()
        .with_columns(pl.col("url").str.strip_chars().str.extract_groups(_PARTS).alias("parts"))
        .unnest("parts")
        .select(
            "url",
            pl.when(~host.str.contains(r"[\s\x00-\x1f]")).then(_null_if_empty(host)).alias("host"),
            _null_if_empty(path).alias("path"),
            _null_if_empty(pl.col("query")).alias("query"),
        )
    )


def query_parameters(queries: pl.Series) -> pl.DataFrame:
    """Campaign parameters and click ids of the distinct query strings in `queries`.

    Names are matched in any case; of a repeated parameter the first value that is not empty counts. Values are
    percent- and plus-decoded; bytes that are not UTF-8 become U+FFFD, and so does NUL, which PostgreSQL cannot store.

    Returns:
        One row per distinct query that has such a parameter: query, `CAMPAIGN_PARAMETERS`, click_id, click_id_type.
    """
    any_name = r"(?i)(?:^|&)(?:" + "|".join(_PARAMETERS) + ")="
    distinct = queries.drop_nulls().unique().alias("query")
    pairs = (
        distinct.filter(distinct.str.contains(any_name))
        .to_frame()
        .with_columns(pl.col("query").str.split("&").alias("pair"))
        .explode("pair")
        .with_columns(pl.col("pair").str.splitn("=", 2).struct.rename_fields(["name", "raw"]))
        .unnest("pair")
        .with_columns(pl.col("name").str.to_lowercase())
        .filter(pl.col("name").is_in(_PARAMETERS) & (pl.col("raw") != ""))
    )
    values = pairs["raw"].unique()
    decoded = pl.DataFrame(
        {"raw": values, "value": pl.Series([_decode(value) for value in values], dtype=pl.String)},
    )
    wide = (
        pairs.join(decoded, on="raw", how="left", maintain_order="left")
        .filter(pl.col("value").is_not_null())
        .unique(subset=["query", "name"], keep="first", maintain_order=True)
        .pivot(on="name", on_columns=_PARAMETERS, index="query", values="value", aggregate_function="first")
    )
    click_id_type = pl.coalesce(pl.when(pl.col(name).is_not_null()).then(pl.lit(name)) for name in CLICK_ID_PARAMETERS)
    return wide.select(
        "query",
        *CAMPAIGN_PARAMETERS,
        pl.coalesce(CLICK_ID_PARAMETERS).alias("click_id"),
        click_id_type.alias("click_id_type"),
    )


def add_url_columns(frame: pl.DataFrame) -> pl.DataFrame:
    """Add page_host, page_path, page_query, referrer_host, referrer_path, the `utm_*`, click_id and click_id_type.

    `frame` has page_url, referrer_url, the `utm_*` and click_id as its source mapped them; a mapped value wins over
    the one in the page's URL. click_id_type is the parameter that carried the click id; it is null for a mapped
    click id that the URL does not repeat. referrer_host is null where it is the page's own host, with or without
    `www.`. Rows keep their order.
    """
    pages = split_urls(frame["page_url"]).rename(lambda name: f"page_{name}")
    parameters = query_parameters(pages["page_query"]).rename(
        lambda name: "page_query" if name == "query" else f"url_{name}"
    )
    pages = pages.join(parameters, on="page_query", how="left")
    referrers = split_urls(frame["referrer_url"]).drop("query").rename(lambda name: f"referrer_{name}")
    mapped = (*CAMPAIGN_PARAMETERS, "click_id")
    own = _without_www("referrer_host").eq_missing(_without_www("page_host"))
    same_click_id = pl.col("click_id").is_null() | (pl.col("click_id") == pl.col("url_click_id"))
    return (
        frame.join(pages, on="page_url", how="left", maintain_order="left")
        .join(referrers, on="referrer_url", how="left", maintain_order="left")
        .with_columns(
            *(pl.coalesce(name, f"url_{name}").alias(name) for name in mapped),
            pl.when(same_click_id).then("url_click_id_type").alias("click_id_type"),
            pl.when(~own).then("referrer_host").alias("referrer_host"),
        )
        .drop("url_click_id_type", *(f"url_{name}" for name in mapped))
    )


def _without_www(column: str) -> pl.Expr:
    return pl.col(column).str.strip_prefix("www.")


def _null_if_empty(text: pl.Expr) -> pl.Expr:
    return pl.when(text != "").then(text)


def _decode(value: str) -> str | None:
    if "%" in value or "+" in value:
        value = unquote_plus(value)
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}").strip() or None
