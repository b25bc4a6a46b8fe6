"""What looking at everything told, kept as it changes: counts, fingerprints of staged days, folders that were seen.

Revision ID: 0009
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

from pipeline_assets.ledger.schema import schema_of, text

revision = "0009"
down_revision = "0008"

_LATE = """
    update ledger.staged s set late = true from ledger.contents c, ledger.builds b
    where c.content = s.content and b.asset = 'events' and b.day = s.event_date and c.first_booked_at > b.first_built_at
"""
_DAYS = """
    insert into ledger.staged_days (source, day, fingerprint, rows, contents)
    select s.source, s.event_date,
        sum(('x' || encode(substr(d.digest, 1, 8), 'hex'))::bit(64)::bigint::numeric * 18446744073709551616
            + ('x' || encode(substr(d.digest, 9, 8), 'hex'))::bit(64)::bigint),
        sum(s.rows), count(*)
    from ledger.staged s
    join ledger.files f on f.source = s.source and f.content = s.content and f.state = 'active'
    cross join lateral (select sha256(convert_to(s.content || '/' || s.rules, 'UTF8')) digest) d
    group by s.source, s.event_date
"""
_COUNTS = """
    insert into ledger.source_counts
        (source, files, repeats, superseded, unreadable, lines, landed, quarantined, blank, late)
    select f.source, count(*) filter (where state = 'active'), count(*) filter (where state = 'repeat'),
        count(*) filter (where state = 'superseded'), count(*) filter (where state = 'unreadable'),
        coalesce(sum(lines) filter (where state = 'active'), 0),
        coalesce(sum(landed) filter (where state = 'active'), 0),
        coalesce(sum(quarantined) filter (where state = 'active'), 0),
        coalesce(sum(blank) filter (where state = 'active'), 0),
        coalesce(max(l.late), 0)
    from ledger.files f
    left join (
        select s.source, sum(s.rows) late from ledger.staged s
        join ledger.files f on f.source = s.source and f.content = s.content and f.state = 'active'
        where s.late group by s.source
    ) l on l.source = f.source
    group by f.source
"""
_REASONS = """
    insert into ledger.source_reasons (source, reason, lines)
    select q.source, q.reason, count(*) from ledger.quarantine q
    join ledger.files f on f.source = q.source and f.content = q.content and f.state = 'active'
    group by q.source, q.reason
"""


def upgrade() -> None:
    """Create the tables, and fill them from what is booked."""
    bind = op.get_bind()
    schema = schema_of(bind)
    op.add_column(
        "staged",
        sa.Column(
            "late",
            sa.Boolean,
            nullable=False,
            server_default=sa.false(),
            comment="Whether the content was first booked after the events of the day had been built",
        ),
        schema=schema,
    )
    op.create_index("staged_written", "staged", ["source", "file"], schema=schema)
    op.create_index("files_booked", "files", ["source", "booked_at"], schema=schema)
    op.create_index(
        "files_unreadable", "files", ["source"], schema=schema, postgresql_where=sa.text("state = 'unreadable'")
    )
    op.create_index(
        "files_worst",
        "files",
        ["source", "quarantined", "path"],
        schema=schema,
        postgresql_where=sa.text("state = 'active' and quarantined > 0"),
    )
    op.create_table(
        "staged_days",
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("fingerprint", sa.Numeric, nullable=False, comment="Sum of digests of the contents and their rules"),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("contents", sa.BigInteger, nullable=False, comment="Contents that have rows of the day"),
        sa.CheckConstraint("rows >= contents and contents > 0", name="staged_days_not_empty"),
        comment="What counts of each source and day, kept by every booking, so that nobody reads all files to know.",
        schema=schema,
    )
    op.create_table(
        "source_counts",
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
        schema=schema,
    )
    op.create_table(
        "source_reasons",
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("reason", sa.Text, primary_key=True),
        sa.Column("lines", sa.BigInteger, nullable=False),
        sa.CheckConstraint("lines > 0", name="source_reasons_not_empty"),
        comment="Quarantined lines of the files that count, by reason, kept by every booking.",
        schema=schema,
    )
    op.create_table(
        "full_looks",
        sa.Column("part", sa.Text, primary_key=True, comment="What is looked at: landing/<source>, lake, …"),
        sa.Column("asked", sa.BigInteger, nullable=False, comment="How often a full look was asked for"),
        sa.Column(
            "done_at", sa.TIMESTAMP(timezone=True), comment="When the last one began; null while one is asked for"
        ),
        comment="When each part of the deployment was last looked at as a whole; in between, only what has changed is.",
        schema=schema,
    )
    op.create_table(
        "seen_folders",
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
        schema=schema,
    )
    for fill in (_LATE, _DAYS, _COUNTS, _REASONS):
        bind.execute(text(bind, fill))


def downgrade() -> None:
    """Drop the tables; the version before looks at everything."""
    schema = schema_of(op.get_bind())
    for table in ("seen_folders", "full_looks", "source_reasons", "source_counts", "staged_days"):
        op.drop_table(table, schema=schema)
    for index in ("files_worst", "files_unreadable", "files_booked"):
        op.drop_index(index, "files", schema=schema)
    op.drop_index("staged_written", "staged", schema=schema)
    op.drop_column("staged", "late", schema=schema)
