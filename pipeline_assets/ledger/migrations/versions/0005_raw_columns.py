"""What files have: raw columns, and names of events.

Revision ID: 0005
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0005"
down_revision = "0004"

SCHEMA = "ledger"


def _moment(name: str, comment: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.TIMESTAMP(timezone=True), nullable=nullable, comment=comment)


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "raw_columns",
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True, comment="Column of a CSV or Parquet file, key of a JSON record"),
        sa.Column("types", JSONB, nullable=False, comment="By type: path and beginning of the load that first saw it"),
        sa.Column("constant", sa.Boolean, nullable=False, comment="Whether every record looked at had it"),
        sa.Column("gone_path", sa.Text, comment="File in which it was first missing, if it was constant until then"),
        _moment("gone_load", "When the load of that file began", nullable=True),
        sa.CheckConstraint("(gone_path is null) = (gone_load is null)", name="raw_columns_gone"),
        schema=SCHEMA,
        comment="What the files of a source have, from headers, schemas and samples of records. No row depends on it.",
    )
    op.create_table(
        "looks",
        sa.Column("source", sa.Text, primary_key=True),
        _moment("first_load", "When the first load looked at began"),
        sa.Column("rules", sa.Text, nullable=False, comment="Version of the declaration under which filled was found"),
        sa.Column(
            "filled", ARRAY(sa.Text), nullable=False, comment="Columns of the event contract with a value in any row"
        ),
        schema=SCHEMA,
        comment="What loads have found out about a source as a whole. No row depends on it.",
    )
    op.create_table(
        "event_names",
        sa.Column("name", sa.Text, primary_key=True),
        schema=SCHEMA,
        comment="Names that events ever had, the first ones where there are very many. No row depends on it.",
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in ("event_names", "looks", "raw_columns"):
        op.drop_table(table, schema=SCHEMA)
