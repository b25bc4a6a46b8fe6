"""Alembic's entry point: runs the migrations on the connection that `ledger.migrate` hands over."""

from alembic import context

from pipeline_assets.ledger.schema import metadata, schema_of

connection = context.config.attributes["connection"]
context.configure(
    connection=connection, target_metadata=metadata, version_table_schema=schema_of(connection), include_schemas=True
)
with context.begin_transaction():
    context.run_migrations()
