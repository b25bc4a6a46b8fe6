"""What the commands print: tables and reports for people, CSV for programs."""

import csv
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from pipeline_assets.cli.documents import as_json
from pipeline_assets.settings import Settings, clone
from pipeline_assets.words import counted

if TYPE_CHECKING:
    from dagster import AssetCheckEvaluation

    from pipeline_assets.demo.findings import Finding
    from pipeline_assets.ledger.quality import Quality
    from pipeline_assets.ledger.summary import SourceSummary
    from pipeline_assets.leftovers import Leftover
    from pipeline_assets.platform import Platform
    from pipeline_assets.refresh import RefreshReport


# Letters of several scripts, and emoji, are written with them.
_JOINERS = "\u200c\u200d\u00ad"


def _width(stream: TextIO) -> int | None:
    # Where nobody looks, a line is as long as it needs to be: a message stays one, for `grep`.
    return None if stream.isatty() else 10_000


console = Console(width=_width(sys.stdout), highlight=False)
errors = Console(stderr=True, width=_width(sys.stderr), highlight=False)


def say(message: str, colour: str | None = None) -> None:
    """A message on the standard error output: each of its lines stays one, for `grep` and for copying SQL from it."""
    errors.print(escaped(message), style=colour, soft_wrap=True)


def print_report(platform: "Platform", report: "RefreshReport") -> None:
    """What a refresh did, and what is wrong."""
    from pipeline_assets.sources.access_logs import advice

    if report.idle:
        console.print("Nothing to do: no file is pending and every day is built from what is there.")
    for lost in report.lost_marts:
        errors.print(f"[yellow]{escaped(lost)}[/yellow]")
    for built in report.builds:
        console.print(f"Built {built}: {counted(len(built.tables), 'table')} ({_were(len(built.days), 'day')} stale).")
    if report.loads:
        _print_sources(report.summaries)
    for check in report.failed_checks:
        if check.check_name == "quarantined_share" and report.beyond_bounds:
            # Told below, of every source, whether or not it was loaded now.
            continue
        colour = "red" if check.blocking else "yellow"
        table = check.asset_key.to_user_string()
        console.print(f"[{colour}]Check {check.check_name} of {table} failed.[/{colour}] {escaped(_explained(check))}")
    for failure in report.failures:
        errors.print(f"[red]{escaped(failure)}[/red]")
    for run in report.failed_runs:
        errors.print(f"[red]Run {run} failed.[/red] Look at it in the Dagster UI ({ui_command(platform)}).")
    _print_broken(report.beyond_bounds, errors)
    for name in report.beyond_bounds:
        summary = report.summaries[name]
        if not summary.landed and (hint := advice(platform.sources[name].format, summary.reasons)):
            errors.print(f"[yellow]{name}: {escaped(hint)}[/yellow]")
    _print_silent(platform, report.summaries, report.silent)
    _print_hints(report.hints)
    for check in report.open_checks:
        errors.print(
            f"[red]Blocking check {check} has failed and was not passed since.[/red] "
            f"Mend the cause, then materialise its asset in the UI ({ui_command(platform)})."
        )
    for name in report.pending:
        errors.print(f"[yellow]{escaped(name)} stays pending: it is being written to, or could not be loaded.[/yellow]")
    for refused in report.refused:
        errors.print(f"[yellow]{escaped(refused.name)} stays pending: it {escaped(refused.reason)}.[/yellow]")
    if report.stale_days:
        errors.print(f"[yellow]Still to be built: {counted(report.stale_days, 'day')}.[/yellow]")
    _print_leftovers(platform.settings, report.leftovers, errors)


def _were(number: int, noun: str) -> str:
    return f"{counted(number, noun)} {'was' if number == 1 else 'were'}"


def _explained(check: "AssetCheckEvaluation") -> str:
    """What a failed check says, or its numbers where it says nothing."""
    if check.description:
        return check.description
    texts = {name: value.value for name, value in check.metadata.items() if isinstance(value.value, str | int | float)}
    return ", ".join(f"{name}: {value}" for name, value in texts.items())


def _print_broken(broken: "Mapping[str, Quality]", where: Console) -> None:
    """The sources of which more is broken than they declare, and their worst files."""
    for name, quality in broken.items():
        for cause in quality.causes:
            where.print(f"[yellow]{name}: {escaped(cause)}[/yellow]")
        where.print(f"See: pipeline-assets quarantine list --source {name}")


def _print_silent(platform: "Platform", summaries: "Mapping[str, SourceSummary]", silent: list[str]) -> None:
    for name in silent:
        hours, bound = summaries[name].hours_since_newest, platform.sources[name].bounds.freshness_hours
        came = "No file has come yet" if hours is None else f"The newest file came {hours:,.1f} hours ago"
        errors.print(f"[yellow]{name}: {came} (bound {bound:g} hours).[/yellow] See what delivers it.")


def _print_identifiers(platform: "Platform") -> None:
    """Events in no session, and ids that several properties have; nothing where there are none."""
    from pipeline_assets.ledger.summary import MOST_ACROSS, MOST_UNSESSIONED, summarise_identifiers

    found = summarise_identifiers(platform.engine)
    reasons = {
        "without the session id that their tracker supplies": found.without_session_id,
        "strays": found.strays,
        "pings of a view of another session": found.orphan_pings,
    }
    listed = ", ".join(f"{number:,} {reason}" for reason, number in reasons.items() if number)
    if listed:
        colour = "yellow" if found.unsessioned_share > MOST_UNSESSIONED else "default"
        console.print(f"[{colour}]Of {found.events:,} events in no session: {listed}.[/{colour}]")
    if found.ids_across:
        colour = "yellow" if found.across_share > MOST_ACROSS else "default"
        console.print(
            f"[{colour}]Of {found.events:,} events {found.ids_across:,} have the id of an event of another property on "
            f"the same day.[/{colour}]"
        )
    shared = {"anonymous ids": found.anonymous_ids_across, "user ids": found.user_ids_across}
    if listed := ", ".join(f"{number:,} {name}" for name, number in shared.items() if number):
        console.print(f"Ids that several properties have on a day, added up over the days: {listed}.")


def _print_hints(hints: list[str]) -> None:
    for hint in hints:
        errors.print(f"[yellow]{escaped(hint)}[/yellow]")


def print_findings(found: "list[Finding]") -> None:
    """What the demo planted beside what was found of it."""
    table = Table("in the sample files", title="What was planted, and what was found", title_justify="left")
    table.add_column("planted", justify="right")
    table.add_column("found", justify="right")
    table.add_column("")
    for finding in found:
        table.add_row(
            finding.what,
            _number(finding.planted),
            _number(finding.found),
            "[green]✓[/green]" if finding.agrees else "[red]differs[/red]",
        )
    console.print(table)


def _number(value: object) -> str:
    # PostgreSQL's amounts have six decimals, whatever they are, and its sums of whole numbers are decimals too.
    exact = isinstance(value, Decimal) and value != value.to_integral_value()
    return f"{value:,.2f}" if exact else f"{value:,.0f}"


def print_activity(platform: "Platform") -> None:
    """The days of `daily_activity` with a bar each."""
    from pipeline_assets.ledger.schema import text

    query = """
        select activity_date, sum(visitors), sum(sessions), sum(page_views), sum(conversions), sum(revenue)
        from marts.daily_activity group by activity_date order by activity_date
    """
    with platform.engine.connect() as connection:
        rows = connection.execute(text(connection, query)).all()
    most = max((row[2] for row in rows), default=1)
    table = Table(
        "day", title=f"{platform.settings.namespace.marts}.daily_activity, all properties", title_justify="left"
    )
    for heading in ("visitors", "sessions", "page views", "orders", "revenue"):
        table.add_column(heading, justify="right")
    table.add_column("sessions")
    for day, visitors, sessions, page_views, orders, revenue in rows:
        bar = "█" * round(24 * float(sessions / most))
        table.add_row(
            f"{day:%a %d %b}",
            f"{visitors:,}",
            f"{sessions:,}",
            f"{page_views:,}",
            f"{orders:,}",
            f"{revenue or 0:,.2f}",
            bar,
        )
    console.print(table)


def print_places(platform: "Platform") -> None:
    """Where files, tables and the UI are."""
    settings = platform.settings
    marts, ledger = settings.namespace.marts, settings.namespace.ledger
    query = f"'select * from {marts}.sessions limit 5'"  # noqa: S608 - shown only
    console.print("Where things are")
    console.print(f"  files      {settings.landing_url}")
    console.print(f"  lake       {settings.lake_url} (staging and events, Parquet)")
    console.print(f"  tables     PostgreSQL, schema {marts}:  pipeline-assets sql {query}")
    console.print(f"  ledger     PostgreSQL, schema {ledger}: pipeline-assets status, pipeline-assets quarantine list")
    console.print(f"  Dagster    {ui_command(platform)}, then http://localhost:3000", soft_wrap=True)
    if settings.project_dir == clone():
        console.print("The command pipeline-assets is in .venv/bin.")


def ui_command(platform: "Platform") -> str:
    """The command that starts the UI of a deployment, in its project's folder."""
    settings = platform.settings
    if settings.project_dir == clone():
        return "make dev"
    if settings.defs_dir is None:
        # A folder with nothing but the demo's data.
        return f"DAGSTER_HOME={settings.dagster_dir} dagster dev -m pipeline_assets.definitions"
    return "dg dev"


def _print_sources(summaries: "Mapping[str, SourceSummary]") -> None:
    table = Table("source", title="Sources", title_justify="left")
    names = ("files", "repeats", "superseded", "unreadable", "lines", "landed", "quarantined", "blank", "late")
    for name in names:
        table.add_column(name, justify="right")
    for source, summary in summaries.items():
        table.add_row(source, *(f"{getattr(summary, name):,}" for name in names))
    if Measurement.get(console, console.options.update(max_width=10_000), table).maximum <= console.width:
        console.print(table)
        return
    # A number that is cut is wrong. Where there is no room for all of them, those that are not 0 are said.
    console.print("Sources")
    for source, summary in summaries.items():
        said = [f"{getattr(summary, name):,} {name}" for name in names if getattr(summary, name)]
        console.print(f"  {source}: {', '.join(said) or 'nothing yet'}")


def _print_leftovers(settings: Settings, leftovers: "Sequence[Leftover]", where: Console) -> None:
    from pipeline_assets.declarations.yaml_files import declares_nothing

    if declares_nothing(settings):
        where.print(
            f"[yellow]PIPELINE_DEFS_DIR: there is no defs.yaml below {escaped(str(settings.defs_dir))}.[/yellow] "
            "To declare a source: pipeline-assets init . --sample FILE"
        )
    for left in leftovers:
        colour = "default" if left.wanted else "yellow"
        where.print(f"[{colour}]{left.noun} {left.name}[/{colour}]: {escaped(left.explained)}")
    if any(not left.wanted for left in leftovers):
        where.print("Declare them again, or remove them: pipeline-assets retire NAME")


def print_status(platform: "Platform", *, failed: Sequence[str] = (), leftovers: bool = True) -> None:
    """Numbers of the sources and tables, and what is pending, stale or doubtful.

    Args:
        platform: the deployment.
        failed: what was to be built and was not.
        leftovers: whether what is not declared any more is told; it is not known where a declaration cannot be read.
    """
    from pipeline_assets.hints import DRIFT, hints
    from pipeline_assets.ledger.summary import is_silent, summarise

    summaries = {name: summarise(platform.engine, name) for name in platform.sources}
    _print_sources(summaries)
    for name in platform.sources:
        for reason, count in summaries[name].reasons.items():
            console.print(f"  {name}: {counted(count, 'line')} in quarantine: {escaped(reason)}")
        landing = platform.landing(name)
        if pending := landing.files:
            console.print(f"  {name}: {counted(len(pending), 'file')} pending, the first is {escaped(pending[0].name)}")
        for refused in landing.refused:
            console.print(f"  {name}: pending: {escaped(refused.name)} {escaped(refused.reason)}")
        for doubtful in landing.doubtful:
            console.print(f"  {name}: {escaped(doubtful.name)} {escaped(doubtful.reason)}")
    broken = {name: quality for name in platform.sources if (quality := platform.quality(name)).is_beyond}
    _print_broken(broken, console)
    silent = [name for name, source in platform.sources.items() if is_silent(source, summaries[name])]
    _print_silent(platform, summaries, silent)
    _print_identifiers(platform)
    _print_hints(hints(platform, since=platform.builds.now() - DRIFT))
    staleness = platform.staleness()
    for lost in platform.lost_marts(staleness):
        console.print(f"[yellow]{escaped(lost)}[/yellow]")
    stale = staleness.tables
    table = Table("table", title="Tables", title_justify="left")
    for heading in ("days built", "first day", "last day", "stale days"):
        table.add_column(heading, justify="right")
    for name, spec in platform.tables.items():
        days = platform.builds.built_days(name)
        if not spec.is_daily:
            table.add_row(name, "whole" if days else "", "", "", "stale" if stale[name] else "0")
            continue
        table.add_row(
            name, f"{len(days):,}", str(days[0]) if days else "", str(days[-1]) if days else "", f"{len(stale[name]):,}"
        )
    console.print(table)
    for line in failed:
        console.print(f"[yellow]{escaped(line)}[/yellow]", soft_wrap=True)
    if leftovers:
        _print_leftovers(platform.settings, platform.leftovers(), console)


def print_rows(names: Sequence[str], rows: Sequence[Any]) -> None:
    """A table for people, CSV for programs."""
    shown = [[_text(value) for value in row] for row in rows]
    if not console.is_terminal:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerows([names, *shown])
        return
    table = Table()
    for name in names:
        table.add_column(escaped(name), overflow="fold")
    for row in shown:
        # Not as markup, which doubles a backslash at the end.
        table.add_row(*(Text(harmless(value)) for value in row))
    console.print(table)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        # All digits, without the zeros that a scale adds.
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, bytes | bytearray | memoryview):
        return f"\\x{bytes(value).hex()}"
    if isinstance(value, Mapping | list | tuple):
        return as_json(value, indent=None)
    return str(value)


def escaped(text: str) -> str:
    """The text as it is, for consoles that read markup, within markup: see `harmless`."""
    from rich.markup import escape

    return escape(harmless(text))


def harmless(text: str) -> str:
    """The text with what would command a terminal written out.

    Names of files and columns are what others chose: an escape sequence in one may hide or colour what follows.
    """
    return "".join(f"\\u{ord(sign):04x}" if _commands(sign) else sign for sign in text)


def _commands(sign: str) -> bool:
    return sign not in "\n\t" and unicodedata.category(sign) in ("Cc", "Cf", "Zl", "Zp") and sign not in _JOINERS
