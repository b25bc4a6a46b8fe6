"""A file of the lake has no keys and no statistics, which nothing ever read.

Revision ID: 0013
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from pipeline_assets.ledger.schema import schema_of

revision = "0013"
down_revision = "0012"

_COLUMNS = {
    "first_key": (sa.BigInteger, "Smallest key of its rows, where they are sorted by one"),
    "last_key": (sa.BigInteger, "Largest key of its rows"),
    "statistics": (JSONB, "Of its rows. No row depends on it."),
}


def upgrade() -> None:
    """Drop the columns."""
    for name in _COLUMNS:
        op.drop_column("lake_files", name, schema=schema_of(op.get_bind()))


def downgrade() -> None:
    """Add the columns."""
    for name, (kind, comment) in _COLUMNS.items():
        op.add_column("lake_files", sa.Column(name, kind, comment=comment), schema=schema_of(op.get_bind()))
