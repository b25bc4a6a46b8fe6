"""Which deployment the ledger is of.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import UUID

revision = "0002"
down_revision = "0001"

SCHEMA = "ledger"


def upgrade() -> None:
    """Create the table; the first start after it fills it."""
    op.create_table(
        "deployment",
        sa.Column("singleton", sa.Boolean, primary_key=True, server_default=sa.true()),
        sa.Column("id", UUID(as_uuid=False), nullable=False),
        sa.Column("namespace", sa.Text, comment="Null where the schemas have their plain names"),
        sa.Column("lake", sa.Text, nullable=False, comment="Where the lake was when both became one deployment"),
        sa.Column("made_at", sa.TIMESTAMP(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column(
            "marked_at",
            sa.TIMESTAMP(timezone=True),
            comment="When the lake had got the file that names this deployment",
        ),
        sa.CheckConstraint("singleton", name="deployment_singleton"),
        schema=SCHEMA,
        comment="Which deployment this ledger is of. The lake has a file with the same id; without it nothing is "
        "touched.",
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("deployment", schema=SCHEMA)
