"""The length of quarantined lines, of which long ones are kept in part.

Revision ID: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0001"

SCHEMA = "ledger"


def upgrade() -> None:
    """Add `bytes`; lines quarantined before were kept whole."""
    column = sa.Column("bytes", sa.BigInteger, comment="Length of the whole line")
    op.add_column("quarantine", column, schema=SCHEMA)
    op.execute("update ledger.quarantine set bytes = octet_length(raw)")
    op.alter_column(
        "quarantine",
        "bytes",
        nullable=False,
        schema=SCHEMA,
    )
    op.alter_column(
        "quarantine", "raw", comment="The line as it was read, or the beginning of a long one", schema=SCHEMA
    )
    op.create_check_constraint("quarantine_bytes", "quarantine", "bytes >= octet_length(raw)", schema=SCHEMA)
