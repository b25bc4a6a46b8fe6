"""How values and names are written into SQL that takes no bound ones: DuckDB's declarations, views and COPY.

Whatever can be bound is bound. PostgreSQL reads a backslash in a text by its settings, so its texts are written in
`io_managers.postgres`.
"""


def literal(text: str) -> str:
    """Text as a literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A name of a column or relation, quoted."""
    return '"' + name.replace('"', '""') + '"'
