"""Look at the quarantined lines that count."""

from dataclasses import dataclass, field

import sqlalchemy as sa

from pipeline_assets.ledger.schema import files, quarantine

REASONS = (
    "not_json",
    "not_an_object",
    "not_a_log_line",
    "field_count: ",
    "no_fields: ",
    "invalid_utf8",
    "invalid_encoding: ",
    "unclosed_quote",
    "unparsable:",
    "missing:",
    "too_long:",
    "out_of_range",
    "rule:",
    "unreadable: ",
)
"""How the reasons begin; docs/ledger.md explains them."""


@dataclass(frozen=True)
class Quarantined:
    """A quarantined line. `raw` may hold personal data and is kept out of the representation.

    `raw` is the beginning of a line of `bytes` bytes.
    """

    source: str
    path: str
    content: str
    line: int
    reason: str
    raw: bytes = field(repr=False)
    bytes: int


def quarantined(
    engine: sa.Engine, *, source: str | None = None, reason: str | None = None, limit: int | None = None
) -> list[Quarantined]:
    """Quarantined lines of the files that count, by source, path and line; unreadable files are among them as line 0.

    Args:
        engine: the ledger.
        source: only this source.
        reason: only reasons that begin so.
        limit: at most so many.
    """
    q, f = quarantine.c, files.c
    lines = (
        sa.select(q.source, f.path, q.content, q.line, q.reason, q.raw, q.bytes)
        .join_from(quarantine, files, (f.source == q.source) & (f.content == q.content))
        .where(f.state == "active")
    )
    unreadable = sa.select(
        f.source, f.path, f.content, sa.literal(0), sa.literal("unreadable: ") + f.error, sa.literal(b""), sa.literal(0)
    ).where(f.state == "unreadable")
    found = sa.union_all(lines, unreadable).subquery().c
    query = sa.select(found).order_by(found[0], found[1], found[3]).limit(limit)
    if source is not None:
        query = query.where(found[0] == source)
    if reason is not None:
        query = query.where(found[4].startswith(reason, autoescape=True))
    with engine.connect() as connection:
        return [Quarantined(*row) for row in connection.execute(query)]


def known_sources(engine: sa.Engine) -> list[str]:
    """The sources of which a file was ever booked, in order."""
    with engine.connect() as connection:
        return list(connection.execute(sa.select(files.c.source).distinct().order_by(files.c.source)).scalars())
