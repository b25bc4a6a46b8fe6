"""What the identifiers of each day look like: ids of several properties, events in no session.

Revision ID: 0006
"""

import sqlalchemy as sa
from alembic import op

from pipeline_assets.ledger.schema import schema_of

revision = "0006"
down_revision = "0005"

_COLUMNS = {
    "ids_across": "Of the events, those whose id another property has on the same day",
    "without_session_id": "Events in no session, as their tracker supplies the ids of sessions and gave none",
    "strays": "Events in no session, as they came more than max_session_days after its first",
    "orphan_pings": "Events in no session, as they are pings of a view of another session",
    "anonymous_ids_across": "Anonymous ids that several properties have on the day",
    "user_ids_across": "User ids that several properties have on the day",
}


def upgrade() -> None:
    """Add the counts; they are null until the day is built again."""
    schema = schema_of(op.get_bind())
    for name, comment in _COLUMNS.items():
        op.add_column("event_days", sa.Column(name, sa.BigInteger, comment=comment), schema=schema)


def downgrade() -> None:
    """Take the counts away."""
    schema = schema_of(op.get_bind())
    for name in _COLUMNS:
        op.drop_column("event_days", name, schema=schema)
