"""The ledger's first tables.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None

SCHEMA = "ledger"


def _now(name: str, comment: str | None = None) -> sa.Column:
    return sa.Column(name, sa.TIMESTAMP(timezone=True), nullable=False, server_default=sa.func.now(), comment=comment)


def _content() -> sa.Column:
    return sa.Column("content", sa.Text, sa.ForeignKey(f"{SCHEMA}.contents.content"), primary_key=True)


def upgrade() -> None:
    """Create all tables."""
    op.create_table(
        "contents",
        sa.Column("content", sa.Text, primary_key=True, comment="SHA-256 of the file's bytes"),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        _now("first_booked_at"),
        schema=SCHEMA,
        comment="Every content ever read. first_booked_at stands in for received_at where a source has none.",
    )
    op.create_table(
        "files",
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("path", sa.Text, primary_key=True, comment="Path below landing"),
        _content(),
        sa.Column("rules", sa.Text, nullable=False, comment="Version of the declaration that read it"),
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
        _now("booked_at", "When this content became, or ceased to be, the newest of the path, or was read again"),
        sa.CheckConstraint("lines = landed + quarantined + blank", name="files_balance"),
        sa.CheckConstraint("state in ('active', 'repeat', 'superseded', 'unreadable')", name="files_state"),
        sa.CheckConstraint("least(lines, landed, quarantined, blank) >= 0", name="files_not_negative"),
        sa.CheckConstraint("(state = 'superseded') = (not newest)", name="files_superseded"),
        schema=SCHEMA,
        comment="Every content seen under every path. One is the newest of its path; of equal contents one counts.",
    )
    op.create_index("files_newest", "files", ["source", "path"], unique=True, schema=SCHEMA, postgresql_where="newest")
    op.create_index(
        "files_counted",
        "files",
        ["source", "content"],
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("state = 'active'"),
    )
    op.create_table(
        "staged",
        sa.Column("source", sa.Text, primary_key=True),
        _content(),
        sa.Column("event_date", sa.Date, primary_key=True),
        sa.Column("rules", sa.Text, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.CheckConstraint("rows > 0", name="staged_rows"),
        schema=SCHEMA,
        comment="The staged Parquet file of each content and day: "
        "lake/staging/<source>/event_date=<day>/<content>-<rules>.parquet",
    )
    op.create_index("staged_by_day", "staged", ["event_date"], schema=SCHEMA)
    op.create_table(
        "quarantine",
        sa.Column("source", sa.Text, primary_key=True),
        _content(),
        sa.Column("line", sa.BigInteger, primary_key=True, comment="Line (or record) number in the file, from 1"),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("rules", sa.Text, nullable=False, comment="Version of the declaration that refused it"),
        sa.Column("raw", sa.LargeBinary, nullable=False, comment="The line as it was read"),
        _now("quarantined_at"),
        schema=SCHEMA,
        comment="Lines that could not be parsed or broke the source's contract, raw.",
    )
    op.create_table(
        "builds",
        sa.Column("asset", sa.Text, primary_key=True),
        sa.Column("day", sa.Date, primary_key=True, comment="0001-01-01 for a table without partitions"),
        sa.Column("inputs", sa.Text, nullable=False, comment="Fingerprint of what the day is, or is being, built from"),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False, comment="The run that builds or built it; the latest claim wins"),
        _now("claimed_at"),
        sa.Column(
            "read_since", sa.TIMESTAMP(timezone=True), nullable=False, comment="When the run began to read inputs"
        ),
        sa.Column("built_at", sa.TIMESTAMP(timezone=True)),
        sa.Column("first_built_at", sa.TIMESTAMP(timezone=True)),
        sa.Column(
            "reading",
            JSONB,
            comment="Of a table without partitions: version of its recipe, and the fingerprint of each day of its "
            "inputs",
        ),
        sa.CheckConstraint("state in ('building', 'built')", name="builds_state"),
        schema=SCHEMA,
        comment="From which inputs each asset and day was built. "
        "A day is stale where this differs from what is there now.",
    )
    op.create_table(
        "revisions",
        sa.Column("asset", sa.Text, primary_key=True),
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("revision", sa.Text, nullable=False, comment="Digest of what the table says of the day"),
        schema=SCHEMA,
        comment="What tables without partitions say of each day; days built from another revision are stale.",
    )
    op.create_table(
        "event_days",
        sa.Column("event_date", sa.Date, primary_key=True),
        sa.Column("landed", sa.BigInteger, nullable=False, comment="Staged rows of the day"),
        sa.Column("events", sa.BigInteger, nullable=False),
        sa.Column("duplicates", sa.BigInteger, nullable=False),
        sa.Column("conflicts", sa.BigInteger, nullable=False, comment="Duplicates whose content differs"),
        sa.Column("excluded", sa.BigInteger, nullable=False),
        sa.Column("reasons", JSONB, nullable=False, comment="Excluded rows by reason"),
        sa.CheckConstraint("landed = events + duplicates + excluded", name="event_days_balance"),
        sa.CheckConstraint("conflicts between 0 and duplicates", name="event_days_conflicts"),
        schema=SCHEMA,
        comment="Where the landed rows of each day went.",
    )


def downgrade() -> None:
    """Drop all tables."""
    for table in ("event_days", "revisions", "builds", "quarantine", "staged", "files", "contents"):
        op.drop_table(table, schema=SCHEMA)
