"""Staged rows are those that count, and no others.

What ceased to count before is removed; should such a content come again, it is read again.

Revision ID: 0010
"""

from alembic import op

from pipeline_assets.ledger.schema import schema_of, text

revision = "0010"
down_revision = "0009"

_UNCOUNTED = """
    delete from ledger.staged s where not exists (
        select from ledger.files f where f.source = s.source and f.content = s.content and f.state = 'active'
    )
"""
_UNUSED = """
    update ledger.lake_files f set dropped_at = now()
    where f.asset like 'staging/%' and f.dropped_at is null
        and not exists (select from ledger.staged s where s.file = f.file)
"""


def upgrade() -> None:
    """Remove the staged rows that do not count, and make a content's bookings quick to find."""
    bind = op.get_bind()
    op.create_index("files_by_content", "files", ["source", "content"], schema=schema_of(bind))
    bind.execute(text(bind, _UNCOUNTED))
    bind.execute(text(bind, _UNUSED))


def downgrade() -> None:
    """Drop the index; the version before does without the rows."""
    op.drop_index("files_by_content", "files", schema=schema_of(op.get_bind()))
