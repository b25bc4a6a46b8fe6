"""Who is whom: which person each id belongs to, and when.

Ids are nodes: an anonymous id of a property, a user id, and every further id of a kind that a source declares. A row of
`visitor_days` that carries several of them links them. A person is a connected component, but

- two user ids never are in one person. An id seen with one user belongs to that user, whatever else it is linked to. An
  id seen with several users is shared: it belongs to each for its own spans of time, and links nothing.
- Ids never seen with a user form components among themselves, with each other as links. Such a group follows the user
  whose ids it is linked to. Linked to the ids of several users, or of none, it is a person of its own.
- A person with more ids than a limit is cut loose: every one of its ids that was never seen with a user becomes a
  person of its own.

The component of an id is what these safeguards cut up: all ids that it is linked to over any number of steps, users and
shared ids among them. What is said of an id follows from the rows of its component and from no other.

Where no id is shared, no component holds two users and none is too large, persons are the connected components.
"""

import json
from collections.abc import Sequence
from datetime import date

import dataframely as dy
import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline_assets.columns import made_of, text, utc
from pipeline_assets.tables.checking import Reader, Rows, nothing_found
from pipeline_assets.tables.spec import IncrementalKey, Input, Inputs, TableSpec
from pipeline_assets.transforms.sessionize import hex_ids

_IDS = (
    "visitor_days.property",
    "visitor_days.anonymous_id",
    "visitor_days.user_id",
    "visitor_days.further_ids",
)
_SIGHTINGS = (*_IDS, "visitor_days.first_seen_at")


class Identities(dy.Schema):
    """Who is whom: every id with the person it belongs to, and for an id that several users share, when to which."""

    property = text(
        "Site, app or fleet of the id; * where the id is the same everywhere (user ids and further ids)",
        primary_key=True,
        metadata=made_of("visitor_days.property"),
    )
    id_type = text(
        "anonymous_id, user_id, a further kind of id that a source declares, or visitor_id: a visitor without an "
        "anonymous id (user:<user_id>)",
        primary_key=True,
        metadata=made_of("visitor_days.further_ids"),
    )
    id = text("The id", primary_key=True, metadata=made_of(*_IDS, "visitor_days.visitor_id", index=True))
    span = dy.Int64(
        primary_key=True,
        min=1,
        description="Number of the span of time, from 1; an id that is not shared has one",
        metadata=made_of(*_SIGHTINGS),
    )
    person_id = text(
        "Deterministic id of the person: hash of the user id, else of the smallest id of the person",
        metadata=made_of(*_SIGHTINGS, index=True),
    )
    component_id = text(
        "All ids that are linked with each other over any number of steps, whoever they belong to: hash of the "
        "smallest",
        metadata=made_of(*_IDS, index=True),
    )
    valid_from = utc(
        "First moment of the span; null since ever", nullable=True, metadata=made_of("visitor_days.first_seen_at")
    )
    valid_to = utc(
        "First moment after the span; null for ever", nullable=True, metadata=made_of("visitor_days.first_seen_at")
    )
    is_shared = dy.Bool(description="Whether the id was seen with several users", metadata=made_of(*_IDS))
    is_cut = dy.Bool(
        description="Whether the id is a person of its own because its person had more ids than the limit",
        metadata=made_of(*_IDS),
    )
    first_seen_at = utc("First time the id was seen, whoever owned it", metadata=made_of("visitor_days.first_seen_at"))
    last_seen_at = utc(
        "Last time the id was seen, whoever owned it", metadata=made_of("visitor_days.last_seen_at", index=True)
    )
    id_first_date = dy.Date(
        description="First day the id (of an anonymous_id or visitor_id: the visitor) had an event, bots' events aside "
        "unless it has no others",
        metadata=made_of("visitor_days.activity_date", "visitor_days.is_bot", "visitor_days.visitor_id"),
    )
    person_first_date = dy.Date(
        description="First day the person had an event, bots' events aside unless it has no others",
        metadata=made_of("visitor_days.activity_date", "visitor_days.is_bot", *_SIGHTINGS),
    )


LARGEST_PERSON = 100
"""Default limit of the ids of a person."""

EVERYWHERE = "*"
"""The property of ids that are the same in every property."""

ANONYMOUS = "anonymous_id"
USER = "user_id"
VISITOR = "visitor_id"
"""The id type of visitors without an anonymous id, `user:<user_id>`."""

_NODE = ("property", "id_type", "id")
_VISITOR = ("property", "visitor_id", "anonymous_id", "user_id", "further_ids")
COMPONENT_COLUMNS = ("visitor_day_id", *_VISITOR, "activity_date", "first_seen_at", "last_seen_at", "is_bot", "events")
"""Columns of visitor_days that say who is whom."""

_DATES = ("human_date", "any_date")
_TIMES = ("first_seen_at", "last_seen_at")

PERSON_KEY = ("activity_date", "property", "visitor_id", "anonymous_id", "user_id", "first_seen_at")
"""Columns of visitor_days that `with_persons` needs."""

_PERSON = ("person_id", "person_first_date")
_HEX_DIGITS = 15

SPAN_COLUMNS = ("property", "id_type", "id", "span", "valid_from", "is_shared", *_PERSON, "id_first_date")
"""Columns of identities that `with_persons` needs."""


def build_identities(visitor_days: pl.LazyFrame | pl.DataFrame, *, largest: int = LARGEST_PERSON) -> pl.DataFrame:
    """Every id with its person, per `Identities`; the rules are those of this module.

    The owner of a shared id at a moment is the user of its latest sighting at or before it, before the first sighting
    the first user. A sighting is a row of `visitor_days` with the id and a user, at its first_seen_at; of several at
    one moment that of the greatest user id counts.

    A size is the number of a person's ids that are not shared, its user id included. A person with exactly `largest`
    ids is left alone.

    Only rows with events count. Bots' ids are ids like others, but a first date is that of a bot's row only where
    there is no other. Visitors without an anonymous id are listed under the id type visitor_id with their user's
    person, so that every visitor can be looked up; they count in no size.

    Args:
        visitor_days: all rows of all days (`VisitorDays`), in any order.
        largest: limit of the ids of a person.

    Returns:
        A pure function of the set of all rows: any split into days, files or batches gives the same. person_id is a
        hash of the person's user id, else of its smallest id, ordered by property, id_type and id.

    Raises:
        ValueError: `largest` is less than 1.

    Reads:
        all visitor_days, ever: a few columns of them, added up before anything else.
    """
    if largest < 1:
        raise ValueError(f"A person has at least one id; the limit may not be {largest}")
    rows = visitor_days.lazy().filter(pl.col("events") > 0)
    seen = rows.group_by(_VISITOR).agg(*_seen_days()).collect().with_row_index("row")
    ids = _ids_of_rows(seen)
    nodes = _nodes(ids)
    members = _members(ids, nodes).join(seen.select("row", "user_id"), on="row", how="left")
    users = members.filter(pl.col("user_id").is_not_null()).select("node", "user_id").unique()
    owned = users.group_by("node").agg(users=pl.len(), owner=pl.col("user_id").first())
    is_user = pl.col("id_type") == USER
    nodes = (
        nodes.join(owned, on="node", how="left")
        .with_columns(is_shared=(pl.col("users") > 1).fill_null(value=False))
        .with_columns(owner=pl.when(is_user).then("id").when(~pl.col("is_shared")).then("owner"))
    )
    nodes = _settle(nodes, members.filter(pl.col("user_id").is_null()).select("row", "node"), largest)
    nodes = nodes.with_columns(person_id=_person_ids(nodes), component_id=_component_ids(nodes, ids, seen))
    spans = _spans(rows, seen, nodes, members)
    table = _table(nodes, spans, seen)
    return _with_first_dates(table, rows, seen).select(Identities.column_names()).sort(*_NODE, "span")


def seen_ids(visitor_days: pl.LazyFrame) -> pl.Series:
    """Every id on rows of visitor_days (visitor_id, user_id, further_ids), whatever its type."""
    rows = visitor_days.select("visitor_id", "user_id", "further_ids").unique().collect()
    further = further_ids_of(rows["further_ids"])
    return pl.concat([rows["visitor_id"], rows["user_id"], further["id"]]).drop_nulls().unique().alias("id")


def rows_of_components(visitor_days: pl.LazyFrame, changed: pl.LazyFrame, identities: pl.DataFrame) -> pl.LazyFrame:
    """The rows of some components of ids, and of the ids on some rows besides.

    A row without an anonymous id has a user id; so its further ids need not be looked at.

    Args:
        visitor_days: all rows.
        changed: some of them, whose ids are wanted too.
        identities: all rows of `Identities` of the components.
    """
    devices = pl.concat(
        [
            identities.filter(pl.col("id_type") == ANONYMOUS).select("property", anonymous_id="id"),
            changed.select("property", "anonymous_id").collect(),
        ]
    ).drop_nulls()
    users = pl.concat(
        [
            identities.filter(pl.col("id_type") == USER)["id"],
            changed.select(pl.col("user_id").alias("id")).collect()["id"],
        ]
    )
    # Reading is most of the work: what neither `build_identities` nor `identity_revisions` asks for is left out.
    wanted = pl.col("user_id").is_in(users.drop_nulls().unique().implode())
    for (shop,), own in devices.partition_by("property", as_dict=True).items():
        of_shop = pl.col("anonymous_id").is_in(own["anonymous_id"].unique().implode())
        wanted |= (pl.col("property") == shop) & of_shop
    return visitor_days.select(COMPONENT_COLUMNS).filter(wanted)


def further_ids_of(texts: pl.Series) -> pl.DataFrame:
    """The further ids in JSON texts, as rows of further_ids (the text), id_type (the kind) and id.

    What is not an object of texts is passed over, as are empty texts and kinds named as an id type of this module.
    """
    found = [(text, kind, value) for text in texts.unique().drop_nulls() for kind, value in _pairs(text)]
    return pl.DataFrame(
        found, schema={"further_ids": pl.String, "id_type": pl.String, "id": pl.String}, orient="row"
    ).sort("further_ids", "id_type")


def person_ids(nodes: pl.DataFrame) -> pl.Series:
    """Id of the person that is named after an id: 32 hex digits of a hash of its property, id_type and id."""
    lengths = (pl.col(name).str.len_bytes().cast(pl.String) for name in _NODE)
    return hex_ids(nodes.select(pl.concat_str(*lengths, *_NODE, separator="\x1f")).to_series())


def _pairs(text: str) -> list[tuple[str, str]]:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        return []
    if not isinstance(given, dict):
        return []
    return [
        (kind, value)
        for kind, value in given.items()
        if kind and isinstance(value, str) and value and kind not in {ANONYMOUS, USER, VISITOR}
    ]


def _seen_days() -> list[pl.Expr]:
    """First and last time, first day with a human event and first day with any event of a group of rows."""
    return [
        pl.col("first_seen_at").min(),
        pl.col("last_seen_at").max(),
        pl.col("activity_date").filter(~pl.col("is_bot")).min().alias("human_date"),
        pl.col("activity_date").min().alias("any_date"),
    ]


def _ids_of_rows(seen: pl.DataFrame) -> pl.DataFrame:
    """Rows of row, node columns, times and dates: one for every id on every row of `seen`."""
    rest = ("row", *_TIMES, *_DATES)
    everywhere = pl.lit(EVERYWHERE).alias("property")
    further = seen.join(further_ids_of(seen["further_ids"]), on="further_ids", how="inner")
    return pl.concat(
        [
            seen.filter(pl.col("anonymous_id").is_not_null()).select(
                "property", pl.lit(ANONYMOUS).alias("id_type"), pl.col("anonymous_id").alias("id"), *rest
            ),
            seen.filter(pl.col("user_id").is_not_null()).select(
                everywhere, pl.lit(USER).alias("id_type"), pl.col("user_id").alias("id"), *rest
            ),
            further.select(everywhere, "id_type", "id", *rest),
        ]
    )


def _nodes(ids: pl.DataFrame) -> pl.DataFrame:
    """Every id once, numbered in order."""
    return (
        ids.group_by(_NODE)
        .agg(pl.col("first_seen_at", *_DATES).min(), pl.col("last_seen_at").max())
        .sort(_NODE)
        .with_row_index("node")
    )


def _members(ids: pl.DataFrame, nodes: pl.DataFrame) -> pl.DataFrame:
    """The nodes, user ids aside, on every row."""
    others = ids.filter(pl.col("id_type") != USER).select("row", *_NODE)
    return others.join(nodes.select("node", *_NODE), on=_NODE, how="inner").select("row", "node")


def _component_ids(nodes: pl.DataFrame, ids: pl.DataFrame, seen: pl.DataFrame) -> pl.Series:
    """The component of every node, users and shared ids among its links, named after its smallest id."""
    # An anonymous id may read like the visitor that a user without one is, and first dates are those of visitors.
    namesakes = seen.filter(pl.col("anonymous_id").is_null()).select(
        "row", "property", pl.lit(ANONYMOUS).alias("id_type"), pl.col("visitor_id").alias("id")
    )
    links = (
        pl.concat([ids.select("row", *_NODE), namesakes])
        .join(nodes.select("node", *_NODE), on=_NODE)
        .with_columns(first=pl.col("node").min().over("row"))
    )
    heads = _components(links["first"], links["node"]).sort("node")["head"]
    return person_ids(nodes.select(pl.col(_NODE).gather(heads)))


def _settle(nodes: pl.DataFrame, members: pl.DataFrame, largest: int) -> pl.DataFrame:
    """Find the owner of every node, or the node its person is named after (`head`), and cut what is too large.

    Args:
        nodes: see `_nodes`; with owner, null where it is shared or was never seen with a user, and is_shared.
        members: row and node of the rows without a user.
        largest: see `build_identities`.
    """
    linked = members.filter(pl.len().over("row") > 1).join(
        nodes.select("node", "owner", "is_shared"), on="node", how="left"
    )
    free = linked.filter(pl.col("owner").is_null(), ~pl.col("is_shared")).select("row", "node")
    # The links of a row's ids with its first are as good as those of all with all.
    edges = free.with_columns(first=pl.col("node").min().over("row"))
    groups = _components(edges["first"], edges["node"])
    neighbours = (
        free.join(groups, on="node")
        .join(linked.filter(pl.col("owner").is_not_null()).select("row", "owner"), on="row")
        .select("head", "owner")
        .unique()
    )
    followed = neighbours.filter(pl.len().over("head") == 1)
    nodes = (
        nodes.join(groups, on="node", how="left")
        .with_columns(head=pl.coalesce("head", "node"), is_free=pl.col("owner").is_null() & ~pl.col("is_shared"))
        .join(followed.rename({"owner": "leader"}), on="head", how="left")
        .with_columns(owner=pl.coalesce("owner", pl.when("is_free").then("leader")))
    )
    # Persons of one id, most of all, are never too large.
    person = ("owner", pl.when(pl.col("owner").is_null()).then("head"))
    sizes = nodes.filter(~pl.col("is_shared")).group_by(person).agg(size=pl.len()).filter(pl.col("size") > largest)
    is_large = nodes["owner"].is_in(sizes["owner"].drop_nulls().to_list()).fill_null(value=False) | (
        nodes["owner"].is_null() & nodes["head"].is_in(sizes["head"].drop_nulls().to_list())
    )
    return (
        nodes.with_columns(is_cut=is_large & nodes["is_free"])
        .with_columns(
            owner=pl.when(~pl.col("is_cut")).then("owner"),
            head=pl.when("is_cut").then("node").otherwise("head"),
        )
        .sort("node")
    )


def _components(left: pl.Series, right: pl.Series) -> pl.DataFrame:
    """The smallest node (head) of the connected component of every node; left[i] is linked with right[i]."""
    numbers, ends = np.unique(np.concatenate([left.to_numpy(), right.to_numpy()]), return_inverse=True)
    first, second = ends[: len(left)], ends[len(left) :]
    heads = np.arange(len(numbers))
    while True:
        ours, theirs = heads[first], heads[second]
        # Every head linked with a smaller one joins the smallest such; then all point straight at their head.
        np.minimum.at(heads, np.maximum(ours, theirs), np.minimum(ours, theirs))
        while not np.array_equal(further := heads[heads], heads):
            heads = further
        if np.array_equal(heads[first], heads[second]):
            return pl.DataFrame(
                {"node": numbers, "head": numbers[heads]}, schema={"node": left.dtype, "head": left.dtype}
            )


def _person_ids(nodes: pl.DataFrame) -> pl.Series:
    """The person of every node; null where it is shared."""
    has_user = pl.col("owner").is_not_null()
    named = nodes.select(
        property=pl.when(has_user).then(pl.lit(EVERYWHERE)).otherwise(pl.col("property").gather("head")),
        id_type=pl.when(has_user).then(pl.lit(USER)).otherwise(pl.col("id_type").gather("head")),
        id=pl.coalesce("owner", pl.col("id").gather("head")),
        is_shared="is_shared",
    )
    return named.select(pl.when(~pl.col("is_shared")).then(person_ids(named))).to_series()


def _spans(rows: pl.LazyFrame, seen: pl.DataFrame, nodes: pl.DataFrame, members: pl.DataFrame) -> pl.DataFrame:
    """Whose a shared id was when: node, span, user_id, valid_from, valid_to."""
    shared = nodes.filter("is_shared").select("node")
    where = members.filter(pl.col("user_id").is_not_null()).join(shared, on="node").select("row", "node")
    sighted = seen.join(where.select("row").unique(), on="row", how="semi").select("row", *_VISITOR)
    moments = (
        rows.select(*_VISITOR, "first_seen_at")
        .join(sighted.lazy(), on=_VISITOR, how="inner", nulls_equal=True)
        .select("row", "user_id", "first_seen_at")
        .collect()
    )
    user = pl.col("user_id")
    return (
        moments.join(where, on="row")
        .group_by("node", "first_seen_at")
        .agg(user.max())
        .sort("node", "first_seen_at")
        .filter(user.ne_missing(user.shift()) | (pl.col("node") != pl.col("node").shift()))
        .with_columns(
            span=pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("node"),
            valid_to=pl.col("first_seen_at").shift(-1).over("node"),
        )
        .with_columns(valid_from=pl.when(pl.col("span") > 1).then("first_seen_at"))
        .select("node", "span", "user_id", "valid_from", "valid_to")
    )


def _table(nodes: pl.DataFrame, spans: pl.DataFrame, seen: pl.DataFrame) -> pl.DataFrame:
    """`Identities` but for the first dates."""
    columns = (
        *_NODE,
        "span",
        "person_id",
        "component_id",
        "valid_from",
        "valid_to",
        "is_shared",
        "is_cut",
        *_TIMES,
        *_DATES,
    )
    never = pl.lit(None, dtype=pl.Datetime("us", "UTC"))
    single = nodes.filter(~pl.col("is_shared")).with_columns(
        span=pl.lit(1, dtype=pl.Int64), valid_from=never, valid_to=never
    )
    users = nodes.filter(pl.col("id_type") == USER)
    persons = users.select("person_id", "component_id", user_id="id")
    shared = nodes.drop("person_id").join(spans, on="node").join(persons.drop("component_id"), on="user_id")
    # Visitors that are a user id in a property are no ids of their own.
    by_user = (
        seen.filter(pl.col("anonymous_id").is_null())
        .group_by("property", pl.lit(VISITOR).alias("id_type"), pl.col("visitor_id").alias("id"), "user_id")
        .agg(pl.col("first_seen_at", *_DATES).min(), pl.col("last_seen_at").max())
        .join(persons, on="user_id")
        .with_columns(
            span=pl.lit(1, dtype=pl.Int64),
            valid_from=never,
            valid_to=never,
            is_shared=pl.lit(value=False),
            is_cut=pl.lit(value=False),
        )
    )
    return pl.concat([part.select(columns) for part in (single, shared, by_user)])


def _with_first_dates(table: pl.DataFrame, rows: pl.LazyFrame, seen: pl.DataFrame) -> pl.DataFrame:
    """Add id_first_date, which for an anonymous id is that of its visitor, and person_first_date."""
    visitors = seen.group_by("property", pl.col("visitor_id").alias("id")).agg(pl.col(_DATES).min())
    is_visitor = pl.col("id_type").is_in([ANONYMOUS, VISITOR])
    of_visitors = (
        table.filter(is_visitor).drop(_DATES).join(visitors, on=["property", "id"], how="left").select(table.columns)
    )
    dated = pl.concat([of_visitors, table.filter(~is_visitor)]).with_columns(id_first_date=pl.coalesce(_DATES))
    persons = (_days_of_persons(table, rows, seen).group_by("person_id").agg(pl.col(_DATES).min())).select(
        "person_id", person_first_date=pl.coalesce(_DATES)
    )
    # A person may have no rows: a further id that came with a shared anonymous id only.
    return dated.join(persons, on="person_id", how="left").with_columns(
        pl.col("person_first_date").fill_null(pl.col("id_first_date").min().over("person_id"))
    )


def _days_of_persons(table: pl.DataFrame, rows: pl.LazyFrame, seen: pl.DataFrame) -> pl.DataFrame:
    """Days on which persons had events: person_id, human_date, any_date; at least the first of each."""
    anonymous = table.filter(pl.col("id_type") == ANONYMOUS)
    without_user = seen.filter(pl.col("user_id").is_null())
    by_user = seen.join(
        table.filter(pl.col("id_type") == USER).select("person_id", user_id="id"), on="user_id", how="inner"
    )
    own = anonymous.filter(~pl.col("is_shared")).select("property", "person_id", anonymous_id="id")
    by_anonymous_id = without_user.join(own, on=["property", "anonymous_id"], how="inner")
    shared = anonymous.filter("is_shared")
    named = shared.select("property", anonymous_id="id").unique()
    by_time = (
        rows.filter(pl.col("user_id").is_null())
        .select("property", "anonymous_id", "first_seen_at", "activity_date", "is_bot")
        .join(named.lazy(), on=["property", "anonymous_id"], how="semi")
        .collect()
        .with_columns(any_date="activity_date", human_date=pl.when(~pl.col("is_bot")).then("activity_date"))
    )
    parts = (by_user, by_anonymous_id, with_owner(by_time, shared))
    return pl.concat([part.select("person_id", *_DATES) for part in parts])


def with_owner(rows: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """Add person_id (and person_first_date, if `spans` has it) of the anonymous id's owner at first_seen_at.

    Args:
        rows: with property, anonymous_id and first_seen_at.
        spans: the rows of shared anonymous ids in `Identities`.

    Returns:
        The rows with an anonymous id that `spans` has, in any order.
    """
    kept = [name for name in ("person_id", "person_first_date") if name in spans.columns]
    since_ever = pl.lit(-(2**62)).cast(pl.Datetime("us", "UTC"))
    starts = spans.select(
        "property", pl.col("id").alias("anonymous_id"), *kept, at=pl.col("valid_from").fill_null(since_ever)
    )
    owned = rows.sort("first_seen_at").join_asof(
        starts.sort("at"),
        left_on="first_seen_at",
        right_on="at",
        by=["property", "anonymous_id"],
        strategy="backward",
        check_sortedness=False,  # both are; with `by` Polars cannot tell
    )
    return owned.filter(pl.col("person_id").is_not_null())


def with_persons(rows: pl.DataFrame, identities: pl.LazyFrame | pl.DataFrame) -> pl.DataFrame:
    """Add to rows of visitor_days the person they belong to.

    A row with a user id belongs to that user's person, one without to the owner of its anonymous id at first_seen_at.
    An id that `identities` does not know yet is a person of its own, first seen on the day of the row.

    Args:
        rows: `PERSON_KEY` and whatever else.
        identities: of `Identities` at least the rows of all `seen_visitors`.

    Returns:
        The rows in their order with person_id, visitor_first_date and person_first_date.
    """
    known = identities.lazy().select(SPAN_COLUMNS)
    visitors = (
        known.filter(pl.col("id_type").is_in([ANONYMOUS, VISITOR]), pl.col("span") == 1)
        .select(
            "property",
            "is_shared",
            *_PERSON,
            "id_first_date",
            visitor_id="id",
            has_anonymous_id=pl.col("id_type") == ANONYMOUS,
        )
        .collect()
    )
    users = known.filter(pl.col("id_type") == USER).select(*_PERSON, user_id="id").collect()
    shared = known.filter(pl.col("id_type") == ANONYMOUS, "is_shared").collect()
    found = (
        rows.select(PERSON_KEY)
        .with_row_index("row")
        .with_columns(has_anonymous_id=pl.col("anonymous_id").is_not_null())
        .join(visitors, on=["property", "visitor_id", "has_anonymous_id"], how="left", maintain_order="left")
        .join(users, on="user_id", how="left", maintain_order="left", suffix="_of_user")
    )
    borrowed = found.filter(pl.col("user_id").is_null(), "is_shared").drop(_PERSON)
    owned = found.join(
        with_owner(borrowed, shared).select("row", *_PERSON),
        on="row",
        how="left",
        maintain_order="left",
        suffix="_of_owner",
    )
    has_user = pl.col("user_id").is_not_null()
    is_borrowed = pl.col("is_shared").fill_null(value=False)
    persons = owned.select(
        *(
            pl.when(has_user)
            .then(f"{name}_of_user")
            .when(is_borrowed)
            .then(f"{name}_of_owner")
            .otherwise(name)
            .alias(name)
            for name in _PERSON
        ),
        visitor_first_date=pl.coalesce("id_first_date", "activity_date"),
    )
    unknown = rows.select(
        property=pl.when(has_user).then(pl.lit(EVERYWHERE)).otherwise("property"),
        id_type=pl.when(has_user).then(pl.lit(USER)).otherwise(pl.lit(ANONYMOUS)),
        id=pl.coalesce("user_id", "anonymous_id"),
    ).filter(persons["person_id"].is_null())
    own = persons["person_id"].is_null().arg_true()
    return rows.with_columns(
        persons["person_id"].scatter(own, person_ids(unknown)),
        persons["visitor_first_date"],
        pl.coalesce(persons["person_first_date"], "activity_date").alias("person_first_date"),
    )


def identity_revisions(
    visitor_days: pl.LazyFrame | pl.DataFrame, identities: pl.LazyFrame | pl.DataFrame
) -> pl.DataFrame:
    """What the days of `person_days` depend on in `identities`, as one short text per day.

    As long as a day's visitor_days and its revision are the same, so are its person_days: the revision is a sum, over
    the rows of the day, of a 64-bit hash of the row's id, its person and the first dates of visitor and person. It is
    the same on every machine, in every version and for every order of the rows.

    Returns:
        activity_date, revision; a row per day of `visitor_days`, in order.

    Reads:
        all visitor_days (seven columns), identities.
    """
    rows = visitor_days.lazy().select("visitor_day_id", *PERSON_KEY).collect().rechunk()
    persons = with_persons(rows, identities)
    numbers = persons.select(
        _as_number("visitor_day_id"),
        _as_number("person_id"),
        pl.col("visitor_first_date", "person_first_date").to_physical().cast(pl.Int64),
    )
    mixed = np.zeros(len(persons), dtype=np.uint64)
    for column in numbers:
        mixed = _mix(mixed ^ column.to_numpy().astype(np.uint64))
    halves = persons.select("activity_date").with_columns(
        high=pl.Series((mixed >> np.uint64(32)).astype(np.int64)),
        low=pl.Series((mixed & np.uint64(0xFFFFFFFF)).astype(np.int64)),
    )
    # Sums of 32-bit halves cannot overflow, however many rows a day has.
    return (
        halves.group_by("activity_date")
        .agg(pl.col("high", "low").sum(), rows=pl.len())
        .select("activity_date", revision=pl.format("{}-{}-{}", "rows", "high", "low"))
        .sort("activity_date")
    )


def _as_number(hex_id: str) -> pl.Expr:
    return pl.col(hex_id).str.head(_HEX_DIGITS).str.to_integer(base=16, dtype=pl.Int64)


def _mix(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of SplitMix64: one to one, and every bit depends on every other."""
    numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def build(inputs: Inputs, days: Sequence[date], parameters: None) -> pl.DataFrame:  # noqa: ARG001 - of all days
    """See `build_identities`."""
    return build_identities(inputs["visitor_days"])


def revisions(inputs: Inputs, rows: pl.DataFrame) -> pl.DataFrame:
    """See `identity_revisions`."""
    return identity_revisions(inputs["visitor_days"], rows)


def seeds(changed: Inputs) -> pl.Series:
    """See `seen_ids`."""
    return seen_ids(changed["visitor_days"])


def members(inputs: Inputs, changed: Inputs, existing: pl.DataFrame) -> Inputs:
    """See `rows_of_components`."""
    return {"visitor_days": rows_of_components(inputs["visitor_days"], changed["visitor_days"], existing)}


def _wrong(tables: Reader) -> Rows:
    return tables.marts(
        "select 'users of a person', count(*) from (select person_id from marts.identities "
        "where id_type = 'user_id' group by 1 having count(*) > 1) wrong having count(*) > 0 "
        "union all select 'spans', count(*) from (select valid_from, lag(valid_to) over ids as before, "
        "row_number() over ids as position from marts.identities where is_shared "
        "window ids as (partition by property, id_type, id order by span)) spans "
        "where case when position = 1 then valid_from is not null else valid_from is distinct from before end "
        "having count(*) > 0 "
        "union all select 'spans of ids that are not shared', count(*) from marts.identities "
        "where not is_shared and (span, valid_from is null, valid_to is null) <> (1, true, true) "
        "having count(*) > 0"
    )


identities = TableSpec(
    name="identities",
    contract=Identities,
    group="people",
    inputs=(Input("visitor_days"),),
    build=build,
    revisions=revisions,
    incremental=IncrementalKey(
        key="component_id",
        seed="id",
        first="first_seen_at",
        last="last_seen_at",
        seeds=seeds,
        members=members,
    ),
    checks=(
        nothing_found(
            "one_user_per_person",
            "No person has two user ids, and no two spans of an id overlap or leave a gap.",
            _wrong,
        ),
    ),
)
"""The table."""
