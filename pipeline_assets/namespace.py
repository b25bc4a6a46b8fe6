"""What a deployment's namespace gives names to: its schemas in PostgreSQL, and all it defines in Dagster.

Deployments with different namespaces share a database without touching each other. A deployment without one has the
plain names. No Dagster here, and nothing of PostgreSQL but its rules for names.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

# With the longest suffix it stays far below the 63 bytes that PostgreSQL keeps of a name.
_NAMESPACE = re.compile(r"[a-z][a-z0-9_]{0,30}")

MARTS = "marts"
"""The schema of the tables for people and BI tools, before a namespace is put in front."""
LEDGER = "ledger"
"""The schema of what counts, likewise."""
DAGSTER = "dagster"
"""The schema of Dagster's own storage, likewise."""


class NamespaceError(ValueError):
    """A text that cannot be a namespace; the message says why."""


@dataclass(frozen=True)
class Namespace:
    """The names that one deployment uses.

    They hold letters, digits and underscores only, so SQL needs no quotes around them.

    Args:
        name: lower-case letters, digits and `_`, a letter first, at most 31; none for the plain names.

    Raises:
        NamespaceError: the name breaks these rules.
    """

    name: str | None = None

    def __post_init__(self) -> None:
        """Check the name."""
        if self.name is None:
            return
        if not _NAMESPACE.fullmatch(self.name):
            raise NamespaceError(
                f"{self.name!r} is not a namespace: it must have 1 to 31 lower-case letters, digits and underscores, a "
                "letter first, such as shop_eu."
            )
        if self.name == "pg" or self.name.startswith("pg_"):
            raise NamespaceError(
                f"{self.name!r} cannot be a namespace: PostgreSQL keeps schemas that begin with pg_ for itself."
            )

    def __str__(self) -> str:
        """The name, for messages."""
        return self.name or "(none)"

    @property
    def marts(self) -> str:
        """The schema of the tables for people and BI tools."""
        return self.named(MARTS)

    @property
    def ledger(self) -> str:
        """The schema of what counts."""
        return self.named(LEDGER)

    @property
    def dagster(self) -> str:
        """The schema of Dagster's own storage."""
        return self.named(DAGSTER)

    @property
    def schemas(self) -> Mapping[str, str]:
        """The schemas by their plain names, as SQLAlchemy translates them; empty where these are the names."""
        return {MARTS: self.marts, LEDGER: self.ledger, DAGSTER: self.dagster} if self.name else {}

    def asset(self, *path: str) -> list[str]:
        """The path of an asset's key."""
        return [self.name, *path] if self.name else [*path]

    def named(self, plain: str) -> str:
        """The name of what may have no path: a schema, job, sensor, group or resource."""
        return f"{self.name}_{plain}" if self.name else plain


PLAIN = Namespace()
"""That of a deployment without one."""
