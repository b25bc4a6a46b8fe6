"""Who is whom, read slowly and plainly, and random visitor days to try it on."""

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from itertools import groupby
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
from hypothesis import strategies as st

from pipeline_assets.tables.identities import Identities, build_identities
from pipeline_assets.tables.person_days import build_person_days
from pipeline_assets.tables.visitor_days import VisitorDays
from pipeline_assets_tests.transforms.frames import NOON, Row

Node = tuple[str, str, str]

VISITOR_DAY_SCHEMA = VisitorDays.create_empty().schema
IDENTITY_SCHEMA = Identities.create_empty().schema


COUNTS = (
    "orphan_pings",
    "events_without_session_id",
    "strays",
    "page_views",
    "conversions",
    "sessions",
    "session_events",
    "session_page_views",
    "engaged_sessions",
    "engaged_seconds",
)


def visitor_day(seen_at: datetime = NOON, timezone: str = "UTC", **values: Any) -> Row:
    """A row of `VisitorDays`: one event of the anonymous visitor v at shop."""
    row = dict.fromkeys(VISITOR_DAY_SCHEMA, None) | {
        "activity_date": seen_at.astimezone(ZoneInfo(timezone)).date(),
        "property": "shop",
        "anonymous_id": "v",
        "is_bot": False,
        "first_seen_at": seen_at,
        "last_seen_at": seen_at,
        "events": 1,
        **dict.fromkeys(COUNTS, 0),
    }
    row |= values
    row["visitor_id"] = row["anonymous_id"] or f"user:{row['user_id']}"
    return row | {"visitor_day_id": row["visitor_day_id"] or hex_of(str(list(row.values())))}


def visitor_days_frame(rows: Iterable[Row]) -> pl.DataFrame:
    """A frame per `VisitorDays`."""
    return pl.DataFrame(list(rows), schema=VISITOR_DAY_SCHEMA, orient="row")


def person_days_frame(rows: Iterable[Row]) -> pl.DataFrame:
    """A frame per `PersonDays`: the persons as they follow from these very visitor days."""
    frame = visitor_days_frame(rows)
    return build_person_days(frame, build_identities(frame), frame["activity_date"].to_list())


def hex_of(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()


def person_of_node(node: Node) -> str:
    lengths = [str(len(part.encode())) for part in node]
    return hex_of("\x1f".join([*lengths, *node]))


def ids_of(row: Row) -> set[Node]:
    """The ids on a row."""
    ids = set()
    if row["anonymous_id"] is not None:
        ids.add((row["property"], "anonymous_id", row["anonymous_id"]))
    if row["user_id"] is not None:
        ids.add(("*", "user_id", row["user_id"]))
    try:
        further = json.loads(row["further_ids"] or "null")
    except ValueError:
        further = None
    if isinstance(further, dict):
        for kind, value in further.items():
            if kind not in {"", "anonymous_id", "user_id", "visitor_id"} and isinstance(value, str) and value:
                ids.add(("*", kind, value))
    return ids


def first_day(rows: Iterable[Row]) -> date | None:
    rows = list(rows)
    return min((row["activity_date"] for row in [row for row in rows if not row["is_bot"]] or rows), default=None)


def reference_identities(rows: Sequence[Row], largest: int) -> list[Row]:
    """All rows of `Identities`, in order."""
    rows = [row for row in rows if row["events"] > 0]
    all_ids = set().union(*map(ids_of, rows))
    users = {node: {row["user_id"] for row in rows if node in ids_of(row)} - {None} for node in all_ids}
    shared = {node for node in all_ids if node[1] != "user_id" and len(users[node]) > 1}
    free = {node for node in all_ids if not users[node]}
    person: dict[Node, Node] = {node: ("*", "user_id", *users[node]) for node in all_ids - shared - free}
    for group in connected(free, rows):
        leaders = {person[node] for row in rows if ids_of(row) & group for node in ids_of(row) & person.keys() - free}
        person |= dict.fromkeys(group, leaders.pop() if len(leaders) == 1 else min(group))
    large = {head for head in person.values() if list(person.values()).count(head) > largest}
    cut = {node for node in free if person[node] in large}
    person |= {node: node for node in cut}

    table = []
    components = connected(
        all_ids, rows, lambda row: ids_of(row) | {(row["property"], "anonymous_id", row["visitor_id"])}
    )
    for node in all_ids:
        spans = [(person[node], None, None)] if node in person else shared_spans(node, rows)
        own = [row for row in rows if node in ids_of(row)]
        dated = [row for row in rows if same_visitor(row, own[0])] if node[1] == "anonymous_id" else own
        (component,) = [group for group in components if node in group]
        for number, (head, start, end) in enumerate(spans, start=1):
            values = {"span": number, "valid_from": start, "valid_to": end, "component": component}
            flags = {"is_shared": node in shared, "is_cut": node in cut}
            table.append(identity(node, head, own, dated, **values, **flags))
    by_user = [row for row in rows if row["anonymous_id"] is None]
    for node, user in {((row["property"], "visitor_id", row["visitor_id"]), row["user_id"]) for row in by_user}:
        own = [row for row in by_user if (row["property"], row["visitor_id"]) == (node[0], node[2])]
        dated = [row for row in rows if same_visitor(row, own[0])]
        head = ("*", "user_id", user)
        (component,) = [group for group in components if head in group]
        table.append(identity(node, head, own, dated, component=component))
    for row in table:
        days = [day for day in rows if reference_person(day, table) == row["person_id"]]
        of_ids = [other["id_first_date"] for other in table if other["person_id"] == row["person_id"]]
        row["person_first_date"] = first_day(days) or min(of_ids)
    return sorted(table, key=lambda row: tuple(row[name] for name in ("property", "id_type", "id", "span")))


def connected(nodes: set[Node], rows: Sequence[Row], linked: Callable[[Row], set[Node]] = ids_of) -> list[set[Node]]:
    """The connected components of some ids, linked by the rows."""
    groups = []
    left = set(nodes)
    while left:
        group = {left.pop()}
        while more := set().union(*(linked(row) & nodes for row in rows if linked(row) & group)) - group:
            group |= more
        groups.append(group)
        left -= group
    return groups


def shared_spans(node: Node, rows: Sequence[Row]) -> list[tuple[Node, datetime | None, datetime | None]]:
    sightings = sorted((row["first_seen_at"], row["user_id"]) for row in rows if node in ids_of(row) and row["user_id"])
    last_of_moment = [list(same)[-1] for _, same in groupby(sightings, key=lambda sighting: sighting[0])]
    starts = [next(same) for _, same in groupby(last_of_moment, key=lambda sighting: sighting[1])]
    ends = [at for at, _ in starts[1:]]
    return [
        (("*", "user_id", user), start, end)
        for (_, user), start, end in zip(starts, [None, *ends], [*ends, None], strict=True)
    ]


def same_visitor(row: Row, other: Row) -> bool:
    return (row["property"], row["visitor_id"]) == (other["property"], other["visitor_id"])


def identity(
    node: Node, head: Node, own: Sequence[Row], dated: Sequence[Row], component: set[Node], **values: Any
) -> Row:
    """A row of `Identities` but for person_first_date; `own` and `dated` are its times and its days."""
    return {
        "property": node[0],
        "id_type": node[1],
        "id": node[2],
        "span": 1,
        "person_id": person_of_node(head),
        "component_id": person_of_node(min(component)),
        "valid_from": None,
        "valid_to": None,
        "is_shared": False,
        "is_cut": False,
        "first_seen_at": min(row["first_seen_at"] for row in own),
        "last_seen_at": max(row["last_seen_at"] for row in own),
        "id_first_date": first_day(dated),
    } | values


def reference_person(row: Row, identities: Sequence[Row]) -> str:
    """The person of a visitor day."""
    if row["user_id"] is not None:
        return person_of_node(("*", "user_id", row["user_id"]))
    node = (row["property"], "anonymous_id", row["anonymous_id"])
    for span in identities:
        starts = span["valid_from"] is None or span["valid_from"] <= row["first_seen_at"]
        ends = span["valid_to"] is not None and span["valid_to"] <= row["first_seen_at"]
        if (span["property"], span["id_type"], span["id"]) == node and starts and not ends:
            return span["person_id"]
    return person_of_node(node)


def reference_person_days(rows: Sequence[Row], identities: Sequence[Row]) -> list[Row]:
    """The visitor days with their persons."""
    table = []
    for row in rows:
        person_id = reference_person(row, identities)
        kind = "visitor_id" if row["anonymous_id"] is None else "anonymous_id"
        own = [span for span in identities if (span["property"], span["id_type"]) == (row["property"], kind)]
        firsts = [span["id_first_date"] for span in own if span["id"] == row["visitor_id"]]
        # An id that is not known yet was first seen that day, and so was its person.
        id_type, id_ = (
            ("user_id", row["user_id"]) if row["user_id"] is not None else ("anonymous_id", row["visitor_id"])
        )
        known = {
            (span["id_type"], span["id"]): span for span in identities if span["property"] in {"*", row["property"]}
        }
        of_person = {span["person_id"]: span["person_first_date"] for span in identities}
        table.append(
            row
            | {
                "person_id": person_id,
                "visitor_first_date": firsts[0] if firsts else row["activity_date"],
                "person_first_date": of_person[person_id] if (id_type, id_) in known else row["activity_date"],
            }
        )
    return sorted(table, key=visitor_day_order)


def visitor_day_order(row: Row) -> tuple[Any, ...]:
    nullable = ((row[name] is not None, row[name]) for name in ("user_id", "further_ids"))
    return (row["activity_date"], row["property"], row["visitor_id"], *nullable, row["is_bot"])


# -- random visitor days -----------------------------------------------------------------------------------------

FURTHER = (
    None,
    None,
    None,
    '{"email": "1"}',
    '{"email": "2"}',
    '{"email": "1", "phone": "1"}',
    '{"email": "3", "phone": "1"}',
    '{"phone": "2"}',
    '{"card": "\\u00e9"}',
    '{"user_id": "u1", "email": ""}',
    '{"email": 1, "phone": null, "": "x"}',
    '["email"]',
    "not JSON",
)
CHANNELS = ("Direct", "Email", "Referral")


@st.composite
def visitor_days(
    draw: st.DrawFn, most: int = 16, steps: Sequence[int] = (0, 0, 1, 3600, 12 * 3600, 40 * 3600)
) -> list[Row]:
    """Visitor days around a change of the clocks in Berlin, in random order: each key at most once."""
    random = Random(draw(st.integers(0, 2**32)))
    users = draw(st.sampled_from([(None,), (None, None, "u1"), (None, None, "u1", "u2"), (None, "u1", "u2", "u3")]))
    further = draw(st.sampled_from([FURTHER[:1], FURTHER[:5], FURTHER]))
    anonymous = draw(st.sampled_from([("a", "b"), ("a", "b", "c", "d", "e", "user:u1"), tuple("abcdefgh")]))
    properties = draw(st.sampled_from([("shop",), ("shop", "blog")]))
    moment = datetime(2026, 3, 27, 12, tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)
    rows: dict[tuple[Any, ...], Row] = {}
    for _ in range(draw(st.integers(0, most))):
        moment += timedelta(seconds=random.choice(steps))
        user = random.choice(users)
        session = moment if random.random() < 0.7 else None
        row = visitor_day(
            moment,
            "Europe/Berlin",
            property=random.choice(properties),
            user_id=user,
            anonymous_id=None if user and random.random() < 0.3 else random.choice(anonymous),
            further_ids=random.choice(further),
            is_bot=random.random() < 0.15,
            last_seen_at=moment + timedelta(minutes=random.randrange(3)),
            events=random.choice([0, 1, 2, 5]) if session else random.randrange(1, 4),
            **{
                name: random.randrange(3)
                for name in ("orphan_pings", "events_without_session_id", "strays", "page_views")
            },
            conversions=random.randrange(2),
            revenue=random.choice([None, None, Decimal("1.250000"), Decimal(-3)]),
            sessions=0 if session is None else random.randrange(1, 3),
            session_events=0 if session is None else random.randrange(1, 9),
            session_page_views=0 if session is None else random.randrange(3),
            engaged_sessions=0 if session is None else random.randrange(2),
            engaged_seconds=0 if session is None else random.randrange(9),
            first_session_at=session,
            **dict.fromkeys(("channel", "last_channel"), None if session is None else random.choice(CHANNELS)),
            entry_page=None if session is None else random.choice([None, "/a", "/b"]),
            traffic_source=None if session is None else random.choice([None, "x"]),
            last_session_at=session and session + timedelta(minutes=random.randrange(2)),
        )
        rows.setdefault(visitor_day_order(row), row)
    shuffled = list(rows.values())
    random.shuffle(shuffled)
    return shuffled


def in_batches(rows: Sequence[Row], random: Random, build: Callable[[pl.DataFrame], Any]) -> Any:
    """What comes of the rows cut at random and put together again in any order."""
    batches: list[list[Row]] = [[] for _ in range(random.randrange(1, 5))]
    for row in rows:
        random.choice(batches).append(row)
    random.shuffle(batches)
    return build(pl.concat([visitor_days_frame(batch) for batch in batches]))
