"""A claim has an id of its own, and a build of a mart knows the table that has its rows.

Revision ID: 0012
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import OID, UUID

from pipeline_assets.ledger.schema import schema_of, text
from pipeline_assets.namespace import MARTS

revision = "0012"
down_revision = "0011"

_CLAIMS = "update ledger.builds set claim_id = gen_random_uuid()"
_RELATIONS = """
    update ledger.builds b set relation = c.oid
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = :marts and c.relname = b.asset and c.relkind = 'r'
"""
# What is neither there nor in the lake is a mart that somebody has dropped, or has no rows: that is soon built again.
_LOST = """
    update ledger.builds b set state = 'building'
    where relation is null and not exists (select from ledger.lake_files f where f.asset = b.asset)
"""


def upgrade() -> None:
    """Add the columns; marts that are not there are built again."""
    bind = op.get_bind()
    schema = schema_of(bind)
    op.add_column(
        "builds",
        sa.Column("claim_id", UUID, comment="The latest claim, which alone may publish the day"),
        schema=schema,
    )
    op.add_column(
        "builds",
        sa.Column("relation", OID, comment="Of a mart the table (pg_class.oid) that has the rows"),
        schema=schema,
    )
    bind.execute(text(bind, _CLAIMS))
    bind.execute(text(bind, _RELATIONS), {"marts": schema_of(bind, MARTS)})
    bind.execute(text(bind, _LOST))
    op.alter_column("builds", "claim_id", nullable=False, schema=schema)
    op.alter_column("builds", "run_id", comment="The run that builds or built it", schema=schema)


def downgrade() -> None:
    """Drop the columns."""
    schema = schema_of(op.get_bind())
    for column in ("relation", "claim_id"):
        op.drop_column("builds", column, schema=schema)
