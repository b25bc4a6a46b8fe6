"""What was last declared: written down by the runs that see it, forgotten when it is retired."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from pipeline_assets.ledger import catalogue, changed_days
from pipeline_assets.ledger.counting import forget_counts
from pipeline_assets.ledger.files import lock_source, staging_asset
from pipeline_assets.ledger.full_looks import forget as forget_looks
from pipeline_assets.ledger.schema import (
    builds,
    contents,
    declarations,
    files,
    looks,
    quarantine,
    raw_columns,
    seen_folders,
    staged,
)
from pipeline_assets.undeclared import SOURCE, Declaration

# A run every minute need not write every minute.
_SEEN_LATELY = timedelta(hours=1)


@dataclass(frozen=True)
class Memory:
    """What the ledger knows of declarations.

    Attributes:
        remembered: everything as it was last declared, also what still is; in a fixed order. A source of which there
            are files without a remembered declaration has none.
        retiring: what no longer counts, but is not removed to its end.
        seen: when something was last seen declared, by kind and name.
    """

    remembered: Sequence[Declaration]
    retiring: Sequence[Declaration]
    seen: dict[tuple[str, str], datetime]


class DeclarationLedger:
    """The ledger's side of declarations.

    Args:
        engine: the ledger.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def memory(self) -> Memory:
        """What is known now."""
        with self._engine.connect() as connection:
            return _memory(connection)

    def observe(self, declared: Iterable[Declaration], *, loading: str | None = None, building: bool = False) -> Memory:
        """Write down what is declared, and what is known then.

        What has left nothing yet is not written down: it can vanish without a trace.

        Args:
            declared: everything that is declared.
            loading: a source whose first files are about to be loaded.
            building: whether tables are about to be built.
        """
        d = declarations.c
        with self._engine.begin() as connection:
            known = _memory(connection)
            old = [*known.remembered, *known.retiring]
            built = building or connection.execute(sa.select(sa.exists().select_from(builds))).scalar_one()
            names = {each.key for each in old}
            for each in declared:
                leaves = each.name == loading if each.kind == SOURCE else built
                if each.key not in names and not leaves:
                    continue
                for other in old:
                    if each.replaces(other) and each.key != other.key:
                        connection.execute(sa.delete(declarations).where(d.kind == other.kind, d.name == other.name))
                values = {"attributes": each.attributes, "declared_at": sa.func.now(), "retiring_at": None}
                write = insert(declarations).values(kind=each.kind, name=each.name, **values)
                new = write.excluded
                connection.execute(
                    write.on_conflict_do_update(
                        index_elements=["kind", "name"],
                        set_={name: new[name] for name in values},
                        where=sa.or_(
                            sa.cast(d.attributes, sa.Text).is_distinct_from(sa.cast(new.attributes, sa.Text)),
                            d.retiring_at.is_not(None),
                            d.declared_at < sa.func.now() - _SEEN_LATELY,
                        ),
                    )
                )
            return _memory(connection)

    def begin_retiring(self, declaration: Declaration) -> None:
        """Let something no longer count, from this moment on and whatever happens; may be repeated.

        Of a source everything the ledger has goes: its files, staged rows and quarantined lines, and the contents that
        no other source has. So the days that had rows of it are stale.
        """
        values = {"attributes": declaration.attributes, "retiring_at": sa.func.now()}
        with self._engine.begin() as connection:
            write = insert(declarations).values(kind=declaration.kind, name=declaration.name, **values)
            connection.execute(
                write.on_conflict_do_update(
                    index_elements=["kind", "name"], set_={"retiring_at": write.excluded.retiring_at}
                )
            )
            if declaration.kind == SOURCE:
                _remove_source(connection, declaration.name)

    def is_retiring(self, declaration: Declaration) -> bool:
        """Whether something is still being retired, and was not declared again meanwhile."""
        return any(each.key == declaration.key for each in self.memory().retiring)

    def finish_retiring(self, declaration: Declaration) -> bool:
        """Forget what is being retired, after everything of it has been removed; whether it still was.

        If not, it was declared again meanwhile, and what was booked of it since counts.
        """
        d = declarations.c
        with self._engine.begin() as connection:
            gone = connection.execute(
                sa.delete(declarations).where(
                    d.kind == declaration.kind, d.name == declaration.name, d.retiring_at.is_not(None)
                )
            )
            if gone.rowcount and declaration.kind == SOURCE:
                # A load that was under way when this began may have booked files since.
                _remove_source(connection, declaration.name)
        return bool(gone.rowcount)


def _memory(connection: sa.Connection) -> Memory:
    d = declarations.c
    rows = connection.execute(
        sa.select(d.kind, d.name, d.attributes, d.declared_at, d.retiring_at).order_by(d.kind, d.name)
    ).all()
    found = {(row.kind, row.name): Declaration(row.kind, row.name, row.attributes) for row in rows}
    retiring = [found[row.kind, row.name] for row in rows if row.retiring_at is not None]
    remembered = [found[row.kind, row.name] for row in rows if row.retiring_at is None]
    remembered += [
        Declaration(SOURCE, name, None) for name in _sources_with_files(connection) if (SOURCE, name) not in found
    ]
    return Memory(
        sorted(remembered, key=lambda each: each.key), retiring, {(row.kind, row.name): row.declared_at for row in rows}
    )


def _sources_with_files(connection: sa.Connection) -> list[str]:
    """The names of all sources of which there are files, by as many steps in the index as there are sources."""
    f = files.c
    first = sa.select(sa.func.min(f.source).label("source")).cte("found", recursive=True)
    following = sa.select(sa.func.min(f.source)).where(f.source > first.c.source).scalar_subquery()
    found = first.union_all(sa.select(following).where(first.c.source.is_not(None)))
    return [name for (name,) in connection.execute(sa.select(found.c.source)) if name is not None]


def _remove_source(connection: sa.Connection, name: str) -> None:
    lock_source(connection, name)
    of_source = sa.select(files.c.content).where(files.c.source == name)
    hashes = list(connection.execute(of_source.distinct()).scalars())
    forget_looks(connection, name)
    forget_counts(connection, name)
    changed_days.forget(connection, changed_days.COMPACT, name)
    for table in (quarantine, staged, files, raw_columns, looks, seen_folders):
        connection.execute(sa.delete(table).where(table.c.source == name))
    catalogue.drop(connection, staging_asset(name))
    elsewhere = [
        sa.exists().where(table.c.content == contents.c.content, table.c.source != name)
        for table in (files, staged, quarantine)
    ]
    # What another source is just booking stays, and is not waited for.
    unused = (
        sa.select(contents.c.content)
        .where(contents.c.content == sa.any_(sa.cast(hashes, sa.ARRAY(sa.Text))), sa.not_(sa.or_(*elsewhere)))
        .with_for_update(skip_locked=True)
    )
    connection.execute(sa.delete(contents).where(contents.c.content.in_(unused.correlate(None))))
