"""Checks of one asset share steps: what Dagster does and records around a step costs more than most checks."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import dagster as dg
from dagster_duckdb import DuckDBResource

from pipeline_assets.namespace import Namespace
from pipeline_assets.platform import Platform
from pipeline_assets.resources import with_resources_of


@dataclass(frozen=True)
class Check:
    """An asset check that is not a definition of Dagster's yet.

    Attributes:
        spec: what Dagster shows of it. Assets are named as they are without a namespace.
        function: finds the result; takes those of `context`, `platform` and `duckdb` that its parameters name.
    """

    spec: dg.AssetCheckSpec
    function: Callable[..., dg.AssetCheckResult]


def asset_check(
    *,
    asset: str | dg.AssetKey,
    name: str,
    description: str,
    blocking: bool = False,
    additional_deps: Sequence[str] = (),
) -> Callable[[Callable[..., dg.AssetCheckResult]], Check]:
    """Like `dg.asset_check`, for a check that is to be grouped."""
    spec = dg.AssetCheckSpec(
        name, asset=asset, description=description, blocking=blocking, additional_deps=additional_deps
    )
    return lambda function: Check(spec, function)


def grouped(checks: Sequence[Check], namespace: Namespace) -> list[dg.AssetChecksDefinition]:
    """The checks as definitions, those of an asset in two steps at most: the blocking ones and the others.

    What is built from an asset waits for its blocking checks only, and an error in another check must not stop it.

    Args:
        checks: the checks.
        namespace: what the assets they name belong to.
    """
    groups: dict[tuple[dg.AssetKey, bool], list[Check]] = {}
    for check in (_within(namespace, each) for each in checks):
        groups.setdefault((check.spec.asset_key, check.spec.blocking), []).append(check)
    return [_group(key, of_group, blocking, namespace) for (key, blocking), of_group in groups.items()]


def _within(namespace: Namespace, check: Check) -> Check:
    """The check of a deployment's own assets."""

    def key(plain: dg.AssetKey) -> dg.AssetKey:
        return dg.AssetKey(namespace.asset(*plain.path))

    deps = [dg.AssetDep(key(dep.asset_key)) for dep in check.spec.additional_deps]
    return replace(check, spec=check.spec._replace(asset_key=key(check.spec.asset_key), additional_deps=deps))


def _group(
    asset: dg.AssetKey, checks: Sequence[Check], blocking: bool, namespace: Namespace
) -> dg.AssetChecksDefinition:
    name = f"{asset.to_python_identifier()}_{'blocking_checks' if blocking else 'checks'}"

    @dg.multi_asset_check(name=name, specs=[check.spec for check in checks], can_subset=True)
    @with_resources_of(namespace)
    def group(
        context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform], duckdb: DuckDBResource
    ) -> Iterator[dg.AssetCheckResult]:
        given = {"context": context, "platform": platform, "duckdb": duckdb}
        errors: dict[str, Exception] = {}
        for check in checks:
            if check.spec.key not in context.selected_asset_check_keys:
                continue
            named = inspect.signature(check.function).parameters
            try:
                found = check.function(**{name: given[name] for name in named})
            except Exception as error:
                context.log.exception("The check %s ended with an error.", check.spec.name)
                errors[check.spec.name] = error
            else:
                yield found._replace(asset_key=asset, check_name=check.spec.name)
        if errors:
            raise dg.Failure("; ".join(f"{name}: {error}" for name, error in errors.items()))

    return group
