"""What was last declared.

Revision ID: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

SCHEMA = "ledger"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "declarations",
        sa.Column("kind", sa.Text, primary_key=True, comment="The component: EventSource, Funnel, Conversion, …"),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column(
            "attributes",
            # Not jsonb, which would sort the keys: the order of a source's rules counts.
            sa.JSON,
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
        schema=SCHEMA,
        comment="Everything that was ever declared and left something, as it was last declared, until it is retired.",
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("declarations", schema=SCHEMA)
