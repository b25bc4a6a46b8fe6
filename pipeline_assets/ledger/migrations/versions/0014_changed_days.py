"""Days of staging that have changed are noted until they are compacted, and until Dagster is told of them.

Revision ID: 0014
"""

import sqlalchemy as sa
from alembic import op

from pipeline_assets.ledger.schema import schema_of, text

revision = "0014"
down_revision = "0013"

# What earlier versions have left in small files, or in files whose rows do not count any more.
_DAYS = """
    insert into ledger.changed_days (task, source, day, changed_at)
    select 'compact', source, day, now() from ledger.staged_days
"""


def upgrade() -> None:
    """Create the table, and let every day be looked at once."""
    bind = op.get_bind()
    op.create_table(
        "changed_days",
        sa.Column("task", sa.Text, primary_key=True, comment="What is to be done about it"),
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("changed_at", sa.TIMESTAMP(timezone=True), nullable=False, comment="When a booking last changed it"),
        sa.CheckConstraint("task in ('compact', 'observe')", name="changed_days_task"),
        comment="Days of staging that have changed since they were last compacted, or since Dagster was told of them; "
        "the transaction that changes a day notes it. No row depends on it.",
        schema=schema_of(bind),
    )
    bind.execute(text(bind, _DAYS))


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("changed_days", schema=schema_of(op.get_bind()))
