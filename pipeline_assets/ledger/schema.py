"""The tables of the schema `ledger`. Alembic migrations in `migrations/` create them; these declarations query them.

A deployment with a namespace calls its schemas otherwise. Its engine (see `identity.deployment_engine`) knows how, and
SQLAlchemy puts that name in place of the one in the declarations; `schema_of` and `text` do so where it cannot.
"""

import re

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, OID, UUID

from pipeline_assets.namespace import LEDGER, MARTS

SCHEMA = LEDGER
REVISION = "0015"
"""Newest migration: the version these declarations describe."""

metadata = sa.MetaData(schema=SCHEMA)

ACROSS = {"ids_across": "Of the events, those whose id another property has on the same day"}
"""Columns of `event_days` that the build of `events` counts; null where the day was last built without it."""

IDENTIFIERS = {
    "without_session_id": "Events in no session, as their tracker supplies the ids of sessions and gave none",
    "strays": "Events in no session, as they came more than max_session_days after its first",
    "orphan_pings": "Events in no session, as they are pings of a view of another session",
    "anonymous_ids_across": "Anonymous ids that several properties have on the day",
    "user_ids_across": "User ids that several properties have on the day",
}
"""Columns of `event_days` that the build of `visitor_days` counts; null where there was none yet."""

contents = sa.Table(
    "contents",
    metadata,
    sa.Column("content", sa.Text, primary_key=True, comment="SHA-256 of the file's bytes"),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("first_booked_at", sa.TIMESTAMP(timezone=True), nullable=False, server_default=sa.func.now()),
    comment="Every content ever read. first_booked_at stands in for received_at where a source has none.",
)

files = sa.Table(
    "files",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("path", sa.Text, primary_key=True, comment="Path below landing"),
    sa.Column("content", sa.Text, sa.ForeignKey(contents.c.content), primary_key=True),
    sa.Column("declaration_version", sa.Text, nullable=False, comment="Version of the declaration that read it"),
    sa.Column(
        "state", sa.Text, nullable=False, comment="active counts; repeat: same content active under another path"
    ),
    sa.Column("newest", sa.Boolean, nullable=False, comment="Whether this is the newest content of the path"),
    sa.Column("lines", sa.BigInteger, nullable=False, comment="Lines (or records) in the file, header not counted"),
    sa.Column("landed", sa.BigInteger, nullable=False),
    sa.Column("quarantined", sa.BigInteger, nullable=False),
    sa.Column("blank", sa.BigInteger, nullable=False),
    sa.Column("stamp", sa.Text, nullable=False, comment="Size, inode and times of the path when it was read"),
    sa.Column("error", sa.Text, comment="Why the file could not be read at all"),
    sa.Column(
        "booked_at",
        sa.TIMESTAMP(timezone=True),
        nullable=False,
        server_default=sa.func.now(),
        comment="When this content became, or ceased to be, the newest of the path, or was read again",
    ),
    sa.CheckConstraint("lines = landed + quarantined + blank", name="files_balance"),
    sa.CheckConstraint("state in ('active', 'repeat', 'superseded', 'unreadable')", name="files_state"),
    sa.CheckConstraint("least(lines, landed, quarantined, blank) >= 0", name="files_not_negative"),
    sa.CheckConstraint("(state = 'superseded') = (not newest)", name="files_superseded"),
    comment="Every content seen under every path. One is the newest of its path; of equal contents one counts.",
)
sa.Index("files_newest", files.c.source, files.c.path, unique=True, postgresql_where=files.c.newest)
sa.Index("files_by_content", files.c.source, files.c.content)
sa.Index("files_counted", files.c.source, files.c.content, unique=True, postgresql_where=files.c.state == "active")
sa.Index("files_booked", files.c.source, files.c.booked_at)
sa.Index("files_unreadable", files.c.source, postgresql_where=files.c.state == "unreadable")
sa.Index(
    "files_worst",
    files.c.source,
    files.c.quarantined,
    files.c.path,
    postgresql_where=(files.c.state == "active") & (files.c.quarantined > 0),
)

lake_files = sa.Table(
    "lake_files",
    metadata,
    sa.Column("file", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True, comment="Below the lake's root; nothing else ever has it"),
    sa.Column("asset", sa.Text, nullable=False, comment="The table, or staging/<source>"),
    sa.Column("day", sa.Date, nullable=False, comment="0001-01-01 for a table without partitions"),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, comment="Null where a version wrote it that did not tell"),
    sa.Column("run_id", sa.Text, nullable=False, comment="The run that made it"),
    sa.Column("added_at", sa.TIMESTAMP(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Column("dropped_at", sa.TIMESTAMP(timezone=True), comment="Since when no list names it; null while one does"),
    sa.CheckConstraint("rows >= 0 and bytes >= 0", name="lake_files_not_negative"),
    comment="The catalogue: a file of the lake counts only while it is listed here, which is until it is dropped.",
)
sa.Index("lake_files_listed", lake_files.c.asset, lake_files.c.day, postgresql_where=lake_files.c.dropped_at.is_(None))
sa.Index("lake_files_dropped", lake_files.c.dropped_at, postgresql_where=lake_files.c.dropped_at.is_not(None))

staged = sa.Table(
    "staged",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("content", sa.Text, sa.ForeignKey(contents.c.content), primary_key=True),
    sa.Column("event_date", sa.Date, primary_key=True),
    sa.Column("declaration_version", sa.Text, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("file", sa.BigInteger, sa.ForeignKey(lake_files.c.file), nullable=False),
    sa.Column(
        "late",
        sa.Boolean,
        nullable=False,
        server_default=sa.false(),
        comment="Whether the content was first booked after the events of the day had been built",
    ),
    sa.CheckConstraint("rows > 0", name="staged_rows"),
    comment="The rows of each content and day, and the file of the lake that holds them, maybe among others: those are "
    "told apart by load_id.",
)
sa.Index("staged_by_day", staged.c.event_date)
sa.Index("staged_by_file", staged.c.file)
sa.Index("staged_written", staged.c.source, staged.c.file)

staged_days = sa.Table(
    "staged_days",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column(
        "fingerprint",
        sa.Numeric,
        nullable=False,
        comment="Sum of digests of the contents and the versions of their declarations",
    ),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("contents", sa.BigInteger, nullable=False, comment="Contents that have rows of the day"),
    sa.CheckConstraint("rows >= contents and contents > 0", name="staged_days_not_empty"),
    comment="What counts of each source and day, kept by every booking, so that nobody reads all files to know.",
)

changed_days = sa.Table(
    "changed_days",
    metadata,
    sa.Column("task", sa.Text, primary_key=True, comment="What is to be done about it"),
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("changed_at", sa.TIMESTAMP(timezone=True), nullable=False, comment="When a booking last changed it"),
    sa.CheckConstraint("task in ('compact', 'observe')", name="changed_days_task"),
    comment="Days of staging that have changed since they were last compacted, or since Dagster was told of them; the "
    "transaction that changes a day notes it. No row depends on it.",
)

source_counts = sa.Table(
    "source_counts",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    *(
        sa.Column(name, sa.BigInteger, nullable=False, comment=comment)
        for name, comment in {
            "files": "Files that count",
            "repeats": "Further paths with equal content",
            "superseded": "Bookings whose path has newer content",
            "unreadable": "Files that cannot be read at all",
            "lines": "Lines of the files that count",
            "landed": "Rows staged of them",
            "quarantined": "Lines of them in quarantine",
            "blank": "Blank lines of them",
            "late": "Rows of them that are late, see staged.late",
        }.items()
    ),
    sa.CheckConstraint("lines = landed + quarantined + blank", name="source_counts_balance"),
    sa.CheckConstraint(
        "least(files, repeats, superseded, unreadable, landed, quarantined, blank, late) >= 0",
        name="source_counts_not_negative",
    ),
    comment="Counts over the bookings of each source, kept by every booking.",
)

source_reasons = sa.Table(
    "source_reasons",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("reason", sa.Text, primary_key=True),
    sa.Column("lines", sa.BigInteger, nullable=False),
    sa.CheckConstraint("lines > 0", name="source_reasons_not_empty"),
    comment="Quarantined lines of the files that count, by reason, kept by every booking.",
)

full_looks = sa.Table(
    "full_looks",
    metadata,
    sa.Column("part", sa.Text, primary_key=True, comment="What is looked at: landing/<source>, lake, …"),
    sa.Column("asked", sa.BigInteger, nullable=False, comment="How often a full look was asked for"),
    sa.Column("done_at", sa.TIMESTAMP(timezone=True), comment="When the last one began; null while one is asked for"),
    comment="When each part of the deployment was last looked at as a whole; in between, only what has changed is.",
)

seen_folders = sa.Table(
    "seen_folders",
    metadata,
    sa.Column("source", sa.Text, primary_key=True, comment="Empty for the look for files that no source takes"),
    sa.Column("folder", sa.Text, primary_key=True, comment="Path below landing, . for landing itself"),
    sa.Column("asked", sa.Text, nullable=False, comment="Digest of what was looked for"),
    sa.Column("stamp", sa.Text, nullable=False, comment="Inode and times of the folder when it was listed"),
    sa.Column("since", sa.TIMESTAMP(timezone=True), nullable=False, comment="When a look first saw this stamp"),
    sa.Column("settled", sa.Boolean, nullable=False, comment="Whether it was listed long enough after it changed"),
    sa.Column("folders", ARRAY(sa.Text), nullable=False, comment="Names of the folders in it that are looked into"),
    sa.Column("watched", ARRAY(sa.Text), nullable=False, comment="Names of files that may still be written to"),
    sa.Column("doubtful", sa.Text, comment="Kind of table that it is, if it is one"),
    sa.Column("unclaimed", sa.BigInteger, nullable=False, comment="Files in it that no source takes"),
    sa.Column("named", ARRAY(sa.Text), nullable=False, comment="Names of the first of those"),
    comment="Folders of landing in which nothing was pending, so that they are not listed again until they change. "
    "No row depends on it.",
)

quarantine = sa.Table(
    "quarantine",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("content", sa.Text, sa.ForeignKey(contents.c.content), primary_key=True),
    sa.Column("line", sa.BigInteger, primary_key=True, comment="Line (or record) number in the file, from 1"),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("declaration_version", sa.Text, nullable=False, comment="Version of the declaration that refused it"),
    sa.Column("raw", sa.LargeBinary, nullable=False, comment="The line as it was read, or the beginning of a long one"),
    sa.Column("bytes", sa.BigInteger, nullable=False, comment="Length of the whole line"),
    sa.Column("quarantined_at", sa.TIMESTAMP(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.CheckConstraint("bytes >= octet_length(raw)", name="quarantine_bytes"),
    comment="Lines that could not be parsed or broke the source's contract, raw.",
)

raw_columns = sa.Table(
    "raw_columns",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True, comment="Column of a CSV or Parquet file, key of a JSON record"),
    sa.Column("types", JSONB, nullable=False, comment="By type: path and beginning of the load that first saw it"),
    sa.Column("constant", sa.Boolean, nullable=False, comment="Whether every record looked at had it"),
    sa.Column("gone_path", sa.Text, comment="File in which it was first missing, if it was constant until then"),
    sa.Column("gone_load", sa.TIMESTAMP(timezone=True), comment="When the load of that file began"),
    sa.CheckConstraint("(gone_path is null) = (gone_load is null)", name="raw_columns_gone"),
    comment="What the files of a source have, from headers, schemas and samples of records. No row depends on it.",
)

looks = sa.Table(
    "looks",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("first_load", sa.TIMESTAMP(timezone=True), nullable=False, comment="When the first load looked at began"),
    sa.Column(
        "declaration_version",
        sa.Text,
        nullable=False,
        comment="Version of the declaration under which filled was found",
    ),
    sa.Column(
        "filled", ARRAY(sa.Text), nullable=False, comment="Columns of the event contract with a value in any row"
    ),
    comment="What loads have found out about a source as a whole. No row depends on it.",
)

event_names = sa.Table(
    "event_names",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    comment="Names that events ever had, the first ones where there are very many. No row depends on it.",
)

builds = sa.Table(
    "builds",
    metadata,
    sa.Column("asset", sa.Text, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True, comment="0001-01-01 for a table without partitions"),
    sa.Column("inputs", sa.Text, nullable=False, comment="Fingerprint of what the day is, or is being, built from"),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("claim_id", UUID, nullable=False, comment="The latest claim, which alone may publish the day"),
    sa.Column("run_id", sa.Text, nullable=False, comment="The run that builds or built it"),
    sa.Column("claimed_at", sa.TIMESTAMP(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Column("read_since", sa.TIMESTAMP(timezone=True), nullable=False, comment="When the run began to read inputs"),
    sa.Column("relation", OID, comment="Of a mart the table (pg_class.oid) that has the rows"),
    sa.Column("built_at", sa.TIMESTAMP(timezone=True)),
    sa.Column("first_built_at", sa.TIMESTAMP(timezone=True)),
    sa.Column(
        "reading",
        JSONB,
        comment="Of a table without partitions: version of its recipe, and the fingerprint of each day of its inputs",
    ),
    sa.CheckConstraint("state in ('building', 'built')", name="builds_state"),
    comment="From which inputs each asset and day was built. A day is stale where this differs from what is there now.",
)

revisions = sa.Table(
    "revisions",
    metadata,
    sa.Column("asset", sa.Text, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("revision", sa.Text, nullable=False, comment="Digest of what the table says of the day"),
    comment="What tables without partitions say of each day; days built from another revision are stale.",
)

event_days = sa.Table(
    "event_days",
    metadata,
    sa.Column("event_date", sa.Date, primary_key=True),
    sa.Column("landed", sa.BigInteger, nullable=False, comment="Staged rows of the day"),
    sa.Column("events", sa.BigInteger, nullable=False),
    sa.Column("duplicates", sa.BigInteger, nullable=False),
    sa.Column("conflicts", sa.BigInteger, nullable=False, comment="Duplicates whose content differs"),
    sa.Column("excluded", sa.BigInteger, nullable=False),
    sa.Column("reasons", JSONB, nullable=False, comment="Excluded rows by reason"),
    sa.Column("ids_across", sa.BigInteger, comment=ACROSS["ids_across"]),
    *(sa.Column(name, sa.BigInteger, comment=comment) for name, comment in IDENTIFIERS.items()),
    sa.CheckConstraint("landed = events + duplicates + excluded", name="event_days_balance"),
    sa.CheckConstraint("conflicts between 0 and duplicates", name="event_days_conflicts"),
    comment="Where the landed rows of each day went.",
)

declarations = sa.Table(
    "declarations",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True, comment="The component: EventSource, Funnel, Conversion, …"),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column(
        "attributes",
        # An absent declaration is a null of SQL, and not one of JSON.
        sa.JSON(none_as_null=True),
        comment="What the declaration said, without defaults; null where that was never written down",
    ),
    sa.Column(
        "declared_at",
        sa.TIMESTAMP(timezone=True),
        nullable=False,
        server_default=sa.func.now(),
        comment="When a run last saw it declared, within an hour",
    ),
    sa.Column(
        "retiring_at", sa.TIMESTAMP(timezone=True), comment="When it ceased to count because it is being retired"
    ),
    comment="Everything that was ever declared and left something, as it was last declared, until it is retired.",
)
deployment = sa.Table(
    "deployment",
    metadata,
    sa.Column("singleton", sa.Boolean, primary_key=True, server_default=sa.true()),
    sa.Column("id", UUID(as_uuid=False), nullable=False),
    sa.Column("namespace", sa.Text, comment="Null where the schemas have their plain names"),
    sa.Column("lake", sa.Text, nullable=False, comment="Where the lake was when both became one deployment"),
    sa.Column("made_at", sa.TIMESTAMP(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Column(
        "marked_at", sa.TIMESTAMP(timezone=True), comment="When the lake had got the file that names this deployment"
    ),
    sa.CheckConstraint("singleton", name="deployment_singleton"),
    comment="Which deployment this ledger is of. The lake has a file with the same id; without it nothing is touched.",
)

_IN_SQL = re.compile(rf"""(?<![\w.'"])({LEDGER}|{MARTS})\.""")


def schema_of(bind: sa.Engine | sa.Connection, plain: str = SCHEMA) -> str:
    """How a deployment calls the schema that is plainly called `ledger`, or `marts`."""
    return bind.get_execution_options().get("schema_translate_map", {}).get(plain, plain)


def text(bind: sa.Engine | sa.Connection, query: str) -> sa.TextClause:
    """A query of the code's own, in which `ledger.` and `marts.` stand for the deployment's schemas."""
    return sa.text(_IN_SQL.sub(lambda found: f"{schema_of(bind, found[1])}.", query))
