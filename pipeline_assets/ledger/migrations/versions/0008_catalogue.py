"""The catalogue: which files of the lake count.

Staged files of before keep their names. Tables of before are built again; their files, which no list names, are
collected in time.

Revision ID: 0008
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from pipeline_assets.ledger.schema import schema_of, text

revision = "0008"
down_revision = "0007"

_FILES_OF_BEFORE = """
    insert into ledger.lake_files (name, asset, day, rows, run_id)
    select 'staging/' || source || '/event_date=' || to_char(event_date, 'YYYY-MM-DD') || '/' || content || '-' || rules
        || '.parquet', 'staging/' || source, event_date, rows, ''
    from ledger.staged
"""
_THEIR_ROWS = """
    update ledger.staged s set file = f.file from ledger.lake_files f
    where f.name = 'staging/' || s.source || '/event_date=' || to_char(s.event_date, 'YYYY-MM-DD') || '/' || s.content
        || '-' || s.rules || '.parquet'
"""
# No list names a file of theirs, so that there is nothing to be read of them. A run of the version before, which lists
# nothing either, has lost its claims.
_BUILT_OF_BEFORE = "update ledger.builds set state = 'building', run_id = ''"
# Nor may a day that is built before the table that says something of it count as built of what that said.
_SAID_OF_BEFORE = "delete from ledger.revisions"


def upgrade() -> None:
    """Create the table, list the staged files in it, and have every table built again."""
    bind = op.get_bind()
    schema = schema_of(bind)
    op.create_table(
        "lake_files",
        sa.Column("file", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column(
            "name", sa.Text, nullable=False, unique=True, comment="Below the lake's root; nothing else ever has it"
        ),
        sa.Column("asset", sa.Text, nullable=False, comment="The table, or staging/<source>"),
        sa.Column("day", sa.Date, nullable=False, comment="0001-01-01 for a table without partitions"),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, comment="Null where a version wrote it that did not tell"),
        sa.Column("first_key", sa.BigInteger, comment="Smallest key of its rows, where they are sorted by one"),
        sa.Column("last_key", sa.BigInteger, comment="Largest key of its rows"),
        sa.Column("statistics", JSONB, comment="Of its rows. No row depends on it."),
        sa.Column("run_id", sa.Text, nullable=False, comment="The run that made it"),
        sa.Column("added_at", sa.TIMESTAMP(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column(
            "dropped_at", sa.TIMESTAMP(timezone=True), comment="Since when no list names it; null while one does"
        ),
        sa.CheckConstraint("rows >= 0 and bytes >= 0", name="lake_files_not_negative"),
        comment="The catalogue: a file of the lake counts only while it is listed here, which is until it is dropped.",
        schema=schema,
    )
    op.create_index(
        "lake_files_listed",
        "lake_files",
        ["asset", "day"],
        schema=schema,
        postgresql_where=sa.text("dropped_at is null"),
    )
    op.create_index(
        "lake_files_dropped",
        "lake_files",
        ["dropped_at"],
        schema=schema,
        postgresql_where=sa.text("dropped_at is not null"),
    )
    op.add_column("staged", sa.Column("file", sa.BigInteger), schema=schema)
    bind.execute(text(bind, _FILES_OF_BEFORE))
    bind.execute(text(bind, _THEIR_ROWS))
    op.alter_column("staged", "file", nullable=False, schema=schema)
    op.create_foreign_key(
        None, "staged", "lake_files", ["file"], ["file"], source_schema=schema, referent_schema=schema
    )
    op.create_index("staged_by_file", "staged", ["file"], schema=schema)
    op.create_table_comment(
        "staged",
        "The rows of each content and day, and the file of the lake that holds them, maybe among others: those are "
        "told apart by load_id.",
        schema=schema,
    )
    for statement in (_BUILT_OF_BEFORE, _SAID_OF_BEFORE):
        bind.execute(text(bind, statement))


def downgrade() -> None:
    """Drop the table; what it lists is lost to the version before."""
    schema = schema_of(op.get_bind())
    op.drop_column("staged", "file", schema=schema)
    op.drop_table("lake_files", schema=schema)
