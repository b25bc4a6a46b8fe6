"""The session rules read slowly and plainly, to compare the transforms with."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from itertools import pairwise
from zoneinfo import ZoneInfo

from pipeline_assets.transforms.sessionize import SessionRules
from pipeline_assets_tests.transforms.channel_reference import reference_traffic
from pipeline_assets_tests.transforms.frames import Row, event_key, only

LANDING = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content", "click_id", "referrer_host")
CAMPAIGN = ("utm_source", "utm_medium", "utm_campaign", "click_id")
VIEWS = ("page", "screen")
HALF_AN_HOUR = timedelta(minutes=30)
FOUR_HOURS = timedelta(hours=4)

Rules = Mapping[str, SessionRules]
Excluded = Counter[tuple[date, str, str, str]]
"""Events by event_date, property, source and reason."""


def rule_of(row: Row, session_rules: Rules) -> SessionRules:
    return session_rules.get(row["source"], SessionRules())


def midnight(day: date, timezone: str) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(timezone)).astimezone(ZoneInfo("UTC"))


def longest_timeout(session_rules: Rules) -> timedelta:
    return max([HALF_AN_HOUR, *(rule.timeout for rule in session_rules.values() if rule.mode == "inferred")])


def is_view_ping(row: Row) -> bool:
    return row["event_type"] == "ping" and row["view_id"] is not None


def wait_for(row: Row, session_rules: Rules) -> timedelta:
    """The longest gap before an event that leaves its day filled."""
    return longest_timeout(session_rules) if is_view_ping(row) else rule_of(row, session_rules).timeout


def unbroken(of_day: Sequence[Row], timezone: str, session_rules: Rules) -> bool:
    if not of_day:
        return False
    first = of_day[0]
    opening = first["occurred_at"] - midnight(first["event_date"], timezone)
    return opening <= wait_for(first, session_rules) and all(
        later["occurred_at"] - row["occurred_at"] <= wait_for(later, session_rules) for row, later in pairwise(of_day)
    )


def until_midnight(row: Row, timezone: str) -> timedelta:
    return midnight(row["event_date"] + timedelta(days=1), timezone) - row["occurred_at"]


def filled(of_day: Sequence[Row], timezone: str, session_rules: Rules) -> bool:
    return unbroken(of_day, timezone, session_rules) and until_midnight(of_day[-1], timezone) <= wait_for(
        of_day[-1], session_rules
    )


def campaign_of(row: Row) -> tuple[str | None, ...] | None:
    named = tuple(row[name] for name in CAMPAIGN)
    return None if row["event_type"] == "ping" or not any(named) else named


def changes_campaign(own: Sequence[Row], place: int, session_rules: Rules) -> bool:
    row = own[place]
    if campaign_of(row) is None or not rule_of(row, session_rules).split_on_campaign:
        return False
    before = [other for other in own[:place] if campaign_of(other) is not None]
    return (
        not before
        or campaign_of(before[-1]) != campaign_of(row)
        or row["occurred_at"] - before[-1]["occurred_at"] > FOUR_HOURS
    )


def view_place(own: Sequence[Row], place: int, session_rules: Rules) -> int | None:
    """Where the page or screen event of a ping's view is."""
    ping = own[place]
    if not is_view_ping(ping):
        return None
    of_view = [other for other in range(place) if own[other]["view_id"] == ping["view_id"]]
    views = [other for other in of_view if own[other]["event_type"] in VIEWS]
    memory = timedelta(hours=18) - longest_timeout(session_rules)
    if not views or ping["occurred_at"] - own[views[-1]]["occurred_at"] > memory:
        return None
    return views[-1]


def is_passive(own: Sequence[Row], place: int, session_rules: Rules) -> bool:
    ping, view = own[place], view_place(own, place, session_rules)
    if view is None:
        return False
    of_view = [row for row in own[view : place + 1] if row["view_id"] == ping["view_id"]]
    return (
        any(b["occurred_at"] - a["occurred_at"] > rule_of(b, session_rules).timeout for a, b in pairwise(of_view))
        or any(changes_campaign(own, other, session_rules) for other in range(view + 1, place + 1))
        or (rule_of(ping, session_rules).split_at_midnight and ping["event_date"] != own[view]["event_date"])
    )


def reference_sessions(rows: Sequence[Row], timezone: str, session_rules: Rules) -> tuple[list[Row], Excluded]:
    """All sessions of all events, from the first to the last: rows per `Sessions` and their views.

    And the events of visitors that are in no session.
    """
    sessions: list[Row] = []
    excluded: Excluded = Counter()
    for visitor in {(row["property"], row["visitor_id"]) for row in rows if row["visitor_id"] is not None}:
        own = only(rows, property=visitor[0], visitor_id=visitor[1])
        own.sort(key=event_key)
        inferred = [row for row in own if rule_of(row, session_rules).mode == "inferred"]
        supplied = [row for row in own if rule_of(row, session_rules).mode == "supplied"]
        sessions += inferred_sessions(inferred, timezone, session_rules, excluded)
        sessions += supplied_sessions(supplied, timezone, session_rules, excluded)
    return sessions, excluded


def exclude(row: Row, reason: str, excluded: Excluded) -> None:
    excluded[row["event_date"], row["property"], row["source"], reason] += 1


def inferred_sessions(own: Sequence[Row], timezone: str, session_rules: Rules, excluded: Excluded) -> list[Row]:
    days = {row["event_date"]: only(own, event_date=row["event_date"]) for row in own}
    parts: list[tuple[str, list[int]]] = []
    previous: Row | None = None
    for place, row in enumerate(own):
        if is_passive(own, place, session_rules):
            continue
        day_before = days.get(row["event_date"] - timedelta(days=1), [])
        is_first_of_day = previous is None or previous["event_date"] != row["event_date"]
        if is_first_of_day and filled(day_before, timezone, session_rules):
            parts.append(("day_filled", []))
        elif previous is None or row["occurred_at"] - previous["occurred_at"] > rule_of(row, session_rules).timeout:
            parts.append(("inactivity", []))
        elif is_first_of_day and unbroken(day_before, timezone, session_rules):
            parts.append(("day_filled", []))
        elif is_first_of_day and rule_of(row, session_rules).split_at_midnight:
            parts.append(("midnight", []))
        elif changes_campaign(own, place, session_rules):
            parts.append(("campaign", []))
        parts[-1][1].append(place)
        previous = row
    for place, row in enumerate(own):
        if is_passive(own, place, session_rules):
            view = view_place(own, place, session_rules)
            home = next(places for _, places in parts if view in places)
            if place < home[-1]:
                home.append(place)
                home.sort()
            else:
                exclude(row, "orphan_ping", excluded)
    sessions = []
    for (start_reason, places), following in zip(parts, [*parts[1:], None], strict=False):
        last = own[places[-1]]
        end_reason = "inactivity"
        if following is not None and following[0] in {"midnight", "campaign"}:
            end_reason = following[0]
        elif (
            filled(days[last["event_date"]], timezone, session_rules)
            and until_midnight(last, timezone) <= rule_of(last, session_rules).timeout
        ):
            end_reason = "day_filled"
        first = own[places[0]]
        key = [microseconds(first["occurred_at"]), *visitor_key(first), first["event_id"]]
        sessions.append(describe(key, first["event_date"], start_reason, end_reason, [own[place] for place in places]))
    return sessions


def supplied_sessions(own: Sequence[Row], timezone: str, session_rules: Rules, excluded: Excluded) -> list[Row]:
    sessions: dict[str, list[Row]] = {}
    for row in own:
        given = row["session_id_supplied"]
        if given is None:
            exclude(row, "no_session_id", excluded)
            continue
        first = only(own, session_id_supplied=given)[0]
        days = timedelta(days=rule_of(row, session_rules).max_session_days)
        if row["occurred_at"] - first["occurred_at"] > days or row["event_date"] - first["event_date"] > days:
            exclude(row, "stray", excluded)
        else:
            sessions.setdefault(given, []).append(row)
    described = []
    for given, events in sessions.items():
        key = ["supplied", microseconds(events[0]["occurred_at"]), *visitor_key(events[0]), given]
        described.append(describe(key, events[0]["event_date"], "supplied", "supplied", events))
    return described


def visitor_key(row: Row) -> list[object]:
    shop, visitor = row["property"], row["visitor_id"]
    return [len(shop.encode()), len(visitor.encode()), shop, visitor]


def describe(key: Sequence[object], day: date, start_reason: str, end_reason: str, events: list[Row]) -> Row:
    first, last = events[0], events[-1]
    views = views_of(events, by_pings_too=start_reason == "supplied")
    pages = [page_of(view) for view in views]
    conversions = sum(row["is_conversion"] for row in events)
    landing = next((row for row in events if row["utm_source"] or row["utm_medium"] or row["referrer_host"]), first)
    paid = [row for row in events if row["revenue"] is not None]
    currencies = {row["currency"] for row in paid}
    lasted = last["occurred_at"] - first["occurred_at"]
    users = [row["user_id"] for row in events if row["user_id"] is not None]
    channel, source, medium = reference_traffic(
        *(landing[name] for name in ("utm_source", "utm_medium", "utm_campaign", "referrer_host", "click_id_type"))
    )
    session = {
        "session_id": hex_id(key),
        "session_date": day,
        "property": first["property"],
        "visitor_id": first["visitor_id"],
        "user_id": users[-1] if users else None,
        "started_at": first["occurred_at"],
        "ended_at": last["occurred_at"],
        "start_reason": start_reason,
        "end_reason": end_reason,
        "events": len(events),
        "events_next_day": sum(row["event_date"] == day + timedelta(days=1) for row in events),
        "page_views": len(views),
        "entry_page": pages[0] if pages else None,
        "exit_page": pages[-1] if pages else None,
        "duration_seconds": int(lasted.total_seconds()),
        "engaged_seconds": sum(engaged_seconds(view, events) for view in views),
        "is_bounce": len(events) == 1,
        "is_engaged": lasted > timedelta(seconds=10) or conversions > 0 or len(views) >= 2,
        "conversions": conversions,
        "revenue": sum((row["revenue"] for row in paid), Decimal(0)) if len(currencies) == 1 else None,
        "currency": currencies.pop() if len(currencies) == 1 else None,
        **{name: landing[name] for name in LANDING},
        "channel": channel,
        "traffic_source": source,
        "traffic_medium": medium,
        **{name: first_named(events, name) for name in ("device_type", "os", "browser", "country")},
        "session_id_supplied": first_named(events, "session_id_supplied"),
        "is_bot": any(row["is_bot"] for row in events),
    }
    return session | {"views": describe_views(session, views, events)}


def describe_views(session: Row, views: Sequence[Row], events: Sequence[Row]) -> list[Row]:
    described = []
    for number, view in enumerate(views, start=1):
        following = views[number] if number < len(views) else None
        own = (
            ["v" + view["view_id"]]
            if view["view_id"] is not None
            else [f"e{microseconds(view['occurred_at'])}", view["event_id"]]
        )
        described.append(
            {
                "page_view_id": hex_id([session["session_id"], *own]),
                "view_id": view["view_id"],
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
                "engaged_seconds": engaged_seconds(view, events),
                "scroll_depth": scroll_depth(view, events),
                "page_host": view["page_host"],
                "page_path": view["page_path"],
                "page_title": view["page_title"],
                "referrer_host": view["referrer_host"],
                "is_bot": session["is_bot"],
            }
        )
    return described


def microseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=ZoneInfo("UTC"))) // timedelta(microseconds=1)


def hex_id(parts: Sequence[object]) -> str:
    return blake2b("\x1f".join(map(str, parts)).encode(), digest_size=16).hexdigest()


def views_of(events: Sequence[Row], *, by_pings_too: bool) -> list[Row]:
    views: list[Row] = []
    seen = set()
    opened = {row["view_id"] for row in events if row["event_type"] in VIEWS} | {None}
    for row in events:
        only_pinged = by_pings_too and row["event_type"] == "ping" and row["view_id"] not in opened
        if (row["event_type"] in VIEWS or only_pinged) and row["view_id"] not in seen:
            views.append(row)
            if row["view_id"] is not None:
                seen.add(row["view_id"])
    return views


def page_of(view: Row) -> str | None:
    name = view["event_name"] if view["event_type"] == "screen" else None
    return next((text for text in (view["page_path"], view["page_title"], name) if text is not None), None)


def of_view(view: Row, events: Sequence[Row]) -> list[Row]:
    return [view] if view["view_id"] is None else only(events, view_id=view["view_id"])


def engaged_seconds(view: Row, events: Sequence[Row]) -> int:
    beats = {int(row["occurred_at"].timestamp()) // 10 for row in only(of_view(view, events), event_type="ping")}
    return 10 * (len(beats) - 1) + 5 if beats else 0


def scroll_depth(view: Row, events: Sequence[Row]) -> float | None:
    depths = [row["scroll_depth"] for row in of_view(view, events) if row["scroll_depth"] is not None]
    return max((depth for depth in depths if 0 <= depth <= 100), default=None)


def first_named(events: Sequence[Row], name: str) -> str | None:
    return next((row[name] for row in events if row[name] is not None), None)
