"""The schemas of a deployment in PostgreSQL: made where they are missing, or asked for in SQL that an admin runs."""

from collections.abc import Collection

import sqlalchemy as sa

from pipeline_assets.postgres_urls import PostgresError

_STATE = sa.text("""
    select wanted.name, n.oid is not null as there,
        coalesce(has_schema_privilege(n.oid, 'usage') and has_schema_privilege(n.oid, 'create'), false) as usable,
        has_database_privilege(current_database(), 'create') as may_create,
        current_user as role, current_database() as database
    from unnest(cast(:names as text[])) wanted(name)
    left join pg_namespace n on n.nspname = wanted.name
""")


def make_schemas(connection: sa.Connection, names: Collection[str], *, needed: Collection[str] = ()) -> None:
    """Make schemas that are missing.

    Args:
        connection: in a transaction.
        names: the schemas to make.
        needed: further ones, which somebody else will make; that it can be done is made sure of.

    Raises:
        PostgresError: the role may not make them, or may not make tables in them; the message has the SQL that lets it.
    """
    found = connection.execute(_STATE, {"names": sorted({*names, *needed})}).all()
    quote = connection.dialect.identifier_preparer.quote
    asked = [
        f"grant usage, create on schema {quote(row.name)} to {quote(row.role)};"
        if row.there
        else f"create schema {quote(row.name)} authorization {quote(row.role)};"
        for row in found
        if not (row.usable if row.there else row.may_create)
    ]
    if asked:
        raise PostgresError(
            f"The role {found[0].role} may not make what is missing in the database {found[0].database}. Have an admin "
            f"run there: {' '.join(asked)} Then start again."
        )
    # PostgreSQL wants the right to create schemas even where there is nothing to create.
    for row in found:
        if row.name in names and not row.there:
            connection.execute(sa.schema.CreateSchema(row.name, if_not_exists=True))


def has_table(connection: sa.Connection, schema: str, name: str) -> bool:
    """Whether a table is there; asked without any right to its schema, unlike `to_regclass`."""
    query = """
        select exists (
            select from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = :schema and c.relname = :name
        )
    """
    return bool(connection.execute(sa.text(query), {"schema": schema, "name": name}).scalar())
