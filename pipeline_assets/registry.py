"""Every table of a deployment, in one mapping: those of the standard model, the declared analyses, a team's own.

Whatever needs to know a table asks here. Two kinds of tables read more than the days around their own. Those without
partitions (who is whom, users, orders, retention) read all days, but only of summaries that are small whatever happens
on a day; and where they have an `IncrementalKey`, only the keys that are or were there on the days that
changed are made again. What a daily table needs of them it reads as far as it is about the day, so that only the days
for which that changes are built again.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter

from pipeline_assets.analyses.kinds import KINDS
from pipeline_assets.declarations.analyses import TableAnalysis
from pipeline_assets.declarations.problems import DeclarationError, suggestion
from pipeline_assets.planning import STAGING
from pipeline_assets.settings import SettingsError
from pipeline_assets.tables.declarations import Declarations
from pipeline_assets.tables.fixed import fixed_tables, made
from pipeline_assets.tables.spec import TableSpec

TableSpecs = Mapping[str, TableSpec]
"""The tables of a deployment by name, those first that others read."""


def collect(declared: Declarations, *, only: Collection[str] = (), frozen: Collection[str] = ()) -> TableSpecs:
    """The tables of a deployment.

    Args:
        declared: what they are made for.
        only: the tables that are wanted, with those they are made of; empty: all.
        frozen: names of tables that are no longer made, but may still be asked for.

    Raises:
        SettingsError: a table is asked for that nothing declares.
        DeclarationError: tables read each other in a circle, or one reads what is no table.
    """
    fixed = (made(maker, declared) for maker in fixed_tables().values())
    specs = in_order(
        replace(spec, timezone=declared.timezone)
        for spec in (*fixed, *(_of_analysis(each, declared) for each in declared.analyses.of(TableAnalysis)))
        if spec is not None
    )
    if not only:
        return specs
    wanted = set(only) - (set(frozen) - specs.keys())
    if unknown := sorted(wanted - specs.keys()):
        raise SettingsError(f"PIPELINE_TABLES: there is no table '{unknown[0]}'{suggestion(unknown[0], specs)}")
    for name, spec in reversed(specs.items()):
        if name in wanted:
            wanted.update(each.table for each in spec.inputs)
    return {name: spec for name, spec in specs.items() if name in wanted}


def in_order(specs: Iterable[TableSpec]) -> dict[str, TableSpec]:
    """The tables by name, those first that others read.

    Raises:
        DeclarationError: two have one name, one reads what is no table or has no days for it, or tables read each other
            in a circle.
    """
    named: dict[str, TableSpec] = {}
    for spec in specs:
        if (other := named.setdefault(spec.name, spec)) is not spec:
            raise DeclarationError(f"{spec.place}: a table '{spec.name}' is already made at {other.place}")
    known = [STAGING, *named]
    for spec in named.values():
        for each in spec.inputs:
            if each.table not in known:
                raise DeclarationError(
                    f"{spec.place}: the table '{spec.name}' reads '{each.table}', which this deployment does not make"
                    f"{suggestion(each.table, known)}"
                )
            if spec.is_daily and each.table != STAGING and not named[each.table].has_days:
                raise DeclarationError(
                    f"{spec.place}: the table '{spec.name}' has a partition_column and reads '{each.table}', which has "
                    "neither that nor revisions, so that nobody could tell which days change with it. Read what "
                    f"'{each.table}' is made of, give it revisions, or build '{spec.name}' as a whole"
                )
    reads = {name: [each.table for each in spec.inputs if each.table != STAGING] for name, spec in named.items()}
    try:
        return {name: named[name] for name in TopologicalSorter(reads).static_order()}
    except CycleError as error:
        circle = list(reversed(error.args[1]))
        raise DeclarationError(
            f"{named[circle[0]].place}: the table '{circle[0]}' is made of itself: {' <- '.join(circle)}. A table "
            "reads only what can be made before it."
        ) from None


def _of_analysis(analysis: TableAnalysis, declared: Declarations) -> TableSpec:
    table = KINDS[type(analysis).__name__].table
    assert table is not None  # noqa: S101
    return table(analysis, declared)
