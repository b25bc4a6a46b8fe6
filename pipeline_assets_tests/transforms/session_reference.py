"""The session rules read slowly and plainly, to compare the transforms with."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from itertools import pairwise
from zoneinfo import ZoneInfo

from pipeline_assets_tests.transforms.frames import Row, nulls_last, only
from pipeline_assets_tests.transforms.test_channels import reference_channel

LANDING = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content", "click_id", "referrer_host")
VIEWS = ("page", "screen")


def timeout_of(row: Row, timeouts: Mapping[str, timedelta]) -> timedelta:
    return timeouts.get(row["source"], timedelta(minutes=30))


def midnight(day: date, timezone: str) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(timezone)).astimezone(ZoneInfo("UTC"))


def unbroken(of_day: Sequence[Row], timezone: str, timeouts: Mapping[str, timedelta]) -> bool:
    if not of_day:
        return False
    first = of_day[0]
    opening = first["occurred_at"] - midnight(first["event_date"], timezone)
    return opening <= timeout_of(first, timeouts) and all(
        later["occurred_at"] - row["occurred_at"] <= timeout_of(later, timeouts) for row, later in pairwise(of_day)
    )


def filled(of_day: Sequence[Row], timezone: str, timeouts: Mapping[str, timedelta]) -> bool:
    if not unbroken(of_day, timezone, timeouts):
        return False
    last = of_day[-1]
    closing = midnight(last["event_date"] + timedelta(days=1), timezone) - last["occurred_at"]
    return closing <= timeout_of(last, timeouts)


def reference_sessions(rows: Sequence[Row], timezone: str, timeouts: Mapping[str, timedelta]) -> list[Row]:
    """All sessions of all events, from the first to the last: rows per `contracts.Sessions` and their views."""
    sessions = []
    for visitor in {(row["property"], row["visitor_id"]) for row in rows if row["visitor_id"] is not None}:
        own = only(rows, property=visitor[0], visitor_id=visitor[1])
        own.sort(key=lambda row: (row["occurred_at"], nulls_last(row["received_at"]), row["event_id"]))
        days = {row["event_date"]: only(own, event_date=row["event_date"]) for row in own}
        parts: list[tuple[str, list[Row]]] = []
        for previous, row in zip([None, *own], own, strict=False):
            day_before = days.get(row["event_date"] - timedelta(days=1), [])
            is_first_of_day = days[row["event_date"]][0] is row
            if is_first_of_day and filled(day_before, timezone, timeouts):
                parts.append(("day_filled", []))
            elif previous is None or row["occurred_at"] - previous["occurred_at"] > timeout_of(row, timeouts):
                parts.append(("inactivity", []))
            elif is_first_of_day and unbroken(day_before, timezone, timeouts):
                parts.append(("day_filled", []))
            parts[-1][1].append(row)
        for reason, events in parts:
            ends_full = filled(days[events[-1]["event_date"]], timezone, timeouts)
            sessions.append(describe(reason, "day_filled" if ends_full else "inactivity", events))
    return sessions


def describe(start_reason: str, end_reason: str, events: list[Row]) -> Row:
    first, last = events[0], events[-1]
    views = views_of(events)
    pages = [page_of(view) for view in views]
    conversions = sum(row["is_conversion"] for row in events)
    landing = next((row for row in events if row["utm_source"] or row["utm_medium"] or row["referrer_host"]), first)
    paid = [row for row in events if row["revenue"] is not None]
    currencies = {row["currency"] for row in paid}
    lasted = last["occurred_at"] - first["occurred_at"]
    users = [row["user_id"] for row in events if row["user_id"] is not None]
    visitor, shop = first["visitor_id"], first["property"]
    key = [microseconds(first), len(shop.encode()), len(visitor.encode()), shop, visitor, first["event_id"]]
    session_id = hex_id(key)
    session = {
        "session_id": session_id,
        "session_date": first["event_date"],
        "property": shop,
        "visitor_id": visitor,
        "user_id": users[-1] if users else None,
        "started_at": first["occurred_at"],
        "ended_at": last["occurred_at"],
        "start_reason": start_reason,
        "end_reason": end_reason,
        "events": len(events),
        "events_next_day": sum(row["event_date"] == first["event_date"] + timedelta(days=1) for row in events),
        "page_views": len(views),
        "entry_page": pages[0] if pages else None,
        "exit_page": pages[-1] if pages else None,
        "duration_seconds": int(lasted.total_seconds()),
        "engaged_seconds": engaged_seconds(events),
        "is_bounce": len(events) == 1,
        "is_engaged": lasted > timedelta(seconds=10) or conversions > 0 or len(views) >= 2,
        "conversions": conversions,
        "revenue": sum((row["revenue"] for row in paid), Decimal(0)) if len(currencies) == 1 else None,
        "currency": currencies.pop() if len(currencies) == 1 else None,
        **{name: landing[name] for name in LANDING},
        "channel": reference_channel(*(landing[name] for name in (*LANDING[:3], LANDING[-1]))),
        **{name: first_named(events, name) for name in ("device_type", "os", "browser", "country")},
        "is_bot": any(row["is_bot"] for row in events),
    }
    return session | {"views": describe_views(session, views)}


def describe_views(session: Row, views: Sequence[Row]) -> list[Row]:
    described = []
    for number, view in enumerate(views, start=1):
        following = views[number] if number < len(views) else None
        own = ["v" + view["view_id"]] if view["view_id"] is not None else [f"e{microseconds(view)}", view["event_id"]]
        described.append(
            {
                "page_view_id": hex_id([session["session_id"], *own]),
                "session_id": session["session_id"],
                "session_date": session["session_date"],
                "property": session["property"],
                "visitor_id": session["visitor_id"],
                "user_id": view["user_id"],
                "viewed_at": view["occurred_at"],
                "view_number": number,
                "is_entry": number == 1,
                "is_exit": following is None,
                "seconds_to_next": int((following["occurred_at"] - view["occurred_at"]).total_seconds())
                if following
                else None,
                "page_host": view["page_host"],
                "page_path": view["page_path"],
                "page_title": view["page_title"],
                "referrer_host": view["referrer_host"],
                "is_bot": session["is_bot"],
            }
        )
    return described


def microseconds(row: Row) -> int:
    return (row["occurred_at"] - datetime(1970, 1, 1, tzinfo=ZoneInfo("UTC"))) // timedelta(microseconds=1)


def hex_id(parts: Sequence[object]) -> str:
    return blake2b("\x1f".join(map(str, parts)).encode(), digest_size=16).hexdigest()


def views_of(events: Sequence[Row]) -> list[Row]:
    views: list[Row] = []
    seen = set()
    for row in events:
        if row["event_type"] in VIEWS and row["view_id"] not in seen:
            views.append(row)
            if row["view_id"] is not None:
                seen.add(row["view_id"])
    return views


def page_of(view: Row) -> str | None:
    name = view["event_name"] if view["event_type"] == "screen" else None
    return next((text for text in (view["page_path"], view["page_title"], name) if text is not None), None)


def engaged_seconds(events: Sequence[Row]) -> int:
    beats: dict[str, set[int]] = {}
    for row in events:
        if row["event_type"] == "ping" and row["view_id"] is not None:
            beats.setdefault(row["view_id"], set()).add(int(row["occurred_at"].timestamp()) // 10)
    return sum(10 * (len(times) - 1) + 5 for times in beats.values())


def first_named(events: Sequence[Row], name: str) -> str | None:
    return next((row[name] for row in events if row[name] is not None), None)
