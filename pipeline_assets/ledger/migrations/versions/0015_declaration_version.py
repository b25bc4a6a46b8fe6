"""The version of a declaration is called that, and not rules, which are what a source declares.

Revision ID: 0015
"""

from alembic import op

from pipeline_assets.ledger.schema import schema_of

revision = "0015"
down_revision = "0014"

_TABLES = ("files", "staged", "quarantine", "looks")


def upgrade() -> None:
    """Rename the columns, and say the same of what is made of them."""
    _rename("rules", "declaration_version")
    _comment("Sum of digests of the contents and the versions of their declarations")


def downgrade() -> None:
    """Give them back the name of before."""
    _rename("declaration_version", "rules")
    _comment("Sum of digests of the contents and their rules")


def _rename(before: str, after: str) -> None:
    for table in _TABLES:
        op.alter_column(table, before, new_column_name=after, schema=schema_of(op.get_bind()))


def _comment(comment: str) -> None:
    op.alter_column("staged_days", "fingerprint", comment=comment, schema=schema_of(op.get_bind()))
