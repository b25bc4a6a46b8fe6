"""Look at the quarantined lines that count."""

from dataclasses import dataclass, field
from typing import Any

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


@dataclass(frozen=True)
class QuarantinedFile:
    """A file with quarantined lines.

    Attributes:
        source: its source.
        path: its path below landing.
        content: digest of its bytes.
        lines: how many of its lines are quarantined; an unreadable file counts as one.
    """

    source: str
    path: str
    content: str
    lines: int


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
    found = _quarantined(source, reason)
    c = found.selected_columns
    with engine.connect() as connection:
        query = found.order_by(c.source, c.path, c.line).limit(limit)
        return [Quarantined(*row) for row in connection.execute(query)]


def quarantined_files(
    engine: sa.Engine, *, source: str | None = None, reason: str | None = None
) -> list[QuarantinedFile]:
    """The files of quarantined lines, by source and path; none of the lines is read, of which there may be millions.

    Args:
        engine: the ledger.
        source: only this source.
        reason: only lines whose reasons begin so.
    """
    c = _quarantined(source, reason).subquery().c
    query = (
        sa.select(c.source, c.path, c.content, sa.func.count())
        .group_by(c.source, c.path, c.content)
        .order_by(c.source, c.path)
    )
    with engine.connect() as connection:
        return [QuarantinedFile(*row) for row in connection.execute(query)]


def _quarantined(source: str | None, reason: str | None) -> sa.Select[*tuple[Any, ...]]:
    """Asks for quarantined lines of the files that count, an unreadable file as line 0."""
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
    query = sa.select(found)
    if source is not None:
        query = query.where(found.source == source)
    if reason is not None:
        query = query.where(found.reason.startswith(reason, autoescape=True))
    return query


def known_sources(engine: sa.Engine) -> list[str]:
    """The sources of which a file was ever booked, in order."""
    with engine.connect() as connection:
        return list(connection.execute(sa.select(files.c.source).distinct().order_by(files.c.source)).scalars())
