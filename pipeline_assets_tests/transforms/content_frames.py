"""Random sessions and page views, for the tests of pages and campaigns."""

from datetime import timedelta
from decimal import Decimal

import polars as pl
from hypothesis import strategies as st

from pipeline_assets.tables.page_views import PageViews
from pipeline_assets_tests.transforms.frames import NOON, SESSION_SCHEMA, Row

SESSIONS = pl.Schema({**SESSION_SCHEMA, "traffic_source": pl.String(), "traffic_medium": pl.String()})
VIEWS = pl.Schema({**PageViews.create_empty().schema, "engaged_seconds": pl.Int64(), "scroll_depth": pl.Float64()})
TODAY = NOON.date()


def session(session_id: str, **values: object) -> Row:
    """A session of visitor v at shop, of those columns of `Sessions` that are read."""
    row = dict.fromkeys(SESSIONS, None) | {
        "session_id": session_id,
        "session_date": TODAY,
        "property": "shop",
        "visitor_id": "v",
        "page_views": 0,
        "duration_seconds": 0,
        "engaged_seconds": 0,
        "is_bounce": False,
        "is_engaged": False,
        "conversions": 0,
        "channel": "Direct",
        "is_bot": False,
    }
    return row | values


def view(session_id: str, **values: object) -> Row:
    """A page view of a session of visitor v at shop: neither its first nor its last."""
    row = dict.fromkeys(VIEWS, None) | {
        "page_view_id": session_id,
        "session_id": session_id,
        "session_date": TODAY,
        "property": "shop",
        "visitor_id": "v",
        "is_entry": False,
        "is_exit": False,
        "page_host": "shop.example",
        "page_path": "/",
        "engaged_seconds": 0,
        "is_bot": False,
    }
    return row | values


@st.composite
def visits(draw: st.DrawFn) -> tuple[list[Row], list[Row]]:
    """Sessions of three days and their views."""
    sessions, views = [], []
    seconds = st.integers(0, 100)
    texts = st.sampled_from(["a", "b", None])
    for number in range(draw(st.integers(0, 8))):
        own = draw(st.integers(0, 3))
        facts = {
            "session_date": TODAY + timedelta(days=draw(st.integers(0, 2))),
            "property": draw(st.sampled_from(["shop", "blog"])),
            "visitor_id": draw(st.sampled_from(["v", "w"])),
            "is_bot": draw(st.integers(0, 5)) == 0,
        }
        sessions.append(
            session(
                f"{number}",
                **facts,
                page_views=own,
                duration_seconds=draw(seconds),
                engaged_seconds=draw(seconds),
                is_bounce=own < 2 and draw(st.booleans()),
                is_engaged=draw(st.booleans()),
                conversions=draw(st.integers(0, 2)),
                channel=draw(st.sampled_from(["Direct", "Email"])),
                traffic_source=draw(texts),
                traffic_medium=draw(texts),
                utm_campaign=draw(texts),
                revenue=draw(st.none() | st.decimals(-100, 100, places=2) | st.just(Decimal(999999999999))),
                currency=draw(st.sampled_from(["EUR", "USD", "GBP", "XXX", None])),
            )
        )
        views += [
            view(
                f"{number}",
                **facts,
                page_view_id=f"{number}-{position}",
                is_entry=position == 0,
                is_exit=position == own - 1,
                seconds_to_next=None if position == own - 1 else draw(seconds),
                page_host=draw(texts),
                page_path=draw(texts),
                page_title=draw(texts),
                engaged_seconds=draw(seconds),
                scroll_depth=draw(
                    st.sampled_from([None, float("nan"), float("inf"), 1e300, -1e9, 0.0, 100.0])
                    | st.integers(0, 10_000).map(lambda hundredths: hundredths / 100)
                ),
            )
            for position in range(own)
        ]
    return sessions, views
