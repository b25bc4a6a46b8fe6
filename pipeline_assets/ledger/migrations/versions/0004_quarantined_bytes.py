"""The length of quarantined lines, of which long ones are kept in part.

Revision ID: 0004
"""

import sqlalchemy as sa
from alembic import op

from pipeline_assets.ledger.schema import schema_of, text

revision = "0004"
down_revision = "0003"

_WHOLE = "The line as it was read"


def upgrade() -> None:
    """Add `bytes`; lines quarantined before were kept whole."""
    # Changes of a table are not translated to the name that a namespace gives the schema.
    schema = schema_of(op.get_bind())
    column = sa.Column("bytes", sa.BigInteger, comment="Length of the whole line")
    op.add_column("quarantine", column, schema=schema)
    op.execute(text(op.get_bind(), "update ledger.quarantine set bytes = octet_length(raw)"))
    op.alter_column("quarantine", "bytes", nullable=False, schema=schema)
    op.alter_column("quarantine", "raw", comment=f"{_WHOLE}, or the beginning of a long one", schema=schema)
    op.create_check_constraint("quarantine_bytes", "quarantine", "bytes >= octet_length(raw)", schema=schema)


def downgrade() -> None:
    """Take `bytes` away; what was kept in part stays so."""
    schema = schema_of(op.get_bind())
    op.drop_constraint("quarantine_bytes", "quarantine", schema=schema)
    op.drop_column("quarantine", "bytes", schema=schema)
    op.alter_column("quarantine", "raw", comment=_WHOLE, schema=schema)
