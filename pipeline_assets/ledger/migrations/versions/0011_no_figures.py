"""A run records the days that it has built and no others, so that nobody asks what the others were.

Revision ID: 0011
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from pipeline_assets.ledger.schema import schema_of

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Drop the column."""
    op.drop_column("builds", "figures", schema=schema_of(op.get_bind()))


def downgrade() -> None:
    """Add the column."""
    column = sa.Column("figures", JSONB, comment="Numbers of the day that the UI shows, by name. No row depends on it.")
    op.add_column("builds", column, schema=schema_of(op.get_bind()))
