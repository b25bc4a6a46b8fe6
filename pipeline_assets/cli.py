"""The command line `pipeline-assets`."""

import csv
import logging
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pipeline_assets.settings import Settings, SettingsError

if TYPE_CHECKING:
    from pipeline_assets.demo.findings import Finding
    from pipeline_assets.ledger.summary import SourceSummary
    from pipeline_assets.leftovers import Leftover
    from pipeline_assets.platform import Platform
    from pipeline_assets.refresh import Refresh, RefreshReport

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
quarantine_app = typer.Typer(no_args_is_help=True, help="Lines that could not be loaded.")
app.add_typer(quarantine_app, name="quarantine")

# Where nobody looks, a line may be as long as it needs to be.
_WIDTH = None if sys.stdout.isatty() else 140
console = Console(width=_WIDTH, soft_wrap=False)
errors = Console(stderr=True, width=_WIDTH)

# Importing Dagster takes two seconds, so every command imports what it needs and no more.


@app.callback()
def main() -> None:
    """User-behaviour data as Dagster assets."""


@app.command()
def demo() -> None:
    """Generate two weeks of sample traffic, load it, build every table, and compare with what was planted."""
    from pipeline_assets.demo.findings import findings
    from pipeline_assets.demo.generator import build_demo
    from pipeline_assets.demo.report import behaviour_report
    from pipeline_assets.demo.truth import read_truth, write_truth

    with _refresher() as (platform, refresher):
        landing = platform.settings.landing_dir
        planted = platform.settings.data_dir / "demo_truth.json"
        if not planted.exists():
            console.print(f"Generating sample files in {landing} …")
            generated = build_demo()
            generated.write(landing)
            first = refresher.run()
            if first.exit_code:
                _print_report(platform, first)
                raise typer.Exit(first.exit_code)
            console.print("Two weeks are loaded. Now files arrive late:")
            for path in generated.write_late_files(landing):
                console.print(f"  {path.relative_to(landing)}")
            write_truth(generated.truth, planted)
        report = refresher.run()
        _print_report(platform, report)
        found = findings(platform.engine, read_truth(planted))
        _print_findings(found)
        _print_activity(platform)
        for table in behaviour_report(platform.engine):
            console.print(table)
        _print_places(platform)
    raise typer.Exit(report.exit_code or int(not all(finding.agrees for finding in found)))


@app.command()
def refresh() -> None:
    """Load all that is pending and rebuild all that is stale.

    Exit code 0: everything is up to date. 1: a run or a blocking check failed. 3: more lines were quarantined than
    declared, a file cannot be read, or longer than declared no file of a source has come. 4: somebody is still writing
    to a file. 5: everything is up to date, but a source, analysis or table is there that is no longer declared. Of
    several the first in this order: 1, 3, 4, 5.
    """
    with _refresher() as (platform, refresher):
        report = refresher.run()
        _print_report(platform, report)
    raise typer.Exit(report.exit_code)


@app.command()
def retire(
    name: Annotated[str, typer.Argument(help="A source, analysis or table that is no longer declared.")],
    kind: Annotated[
        str | None, typer.Option(help="What it is, where several have the name: source, funnel, conversion, table, …")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove what is no longer declared: its rows, table, staged files and ledger entries. Files in landing stay.

    Shows what would go and asks. Exit codes are those of `refresh`; 1 too where it was not confirmed.
    """
    from pipeline_assets.components.loading import declared
    from pipeline_assets.dagster_storage import pipeline_instance
    from pipeline_assets.leftovers import LeftoverError
    from pipeline_assets.platform import Platform
    from pipeline_assets.progress import LoggedProgress
    from pipeline_assets.retiring import RetireError, Retiring

    with _settings() as settings:
        sources, analyses = declared(settings)
        _quiet_dagster()
        with pipeline_instance(settings) as instance:
            retiring = Retiring(settings, sources, analyses, instance, {"progress": LoggedProgress()})
            try:
                what = retiring.find(name, kind)
                console.print(f"Retiring the {what.noun} {what.name} removes for good:")
                for count in what.counts:
                    console.print(f"  {_escaped(count)}")
                if what.begun:
                    console.print("It was begun before and did not come to its end.")
                if not yes:
                    typer.confirm("Go on?", abort=True)
                report = retiring.retire(what)
            except (RetireError, LeftoverError) as error:
                errors.print(f"[red]{_escaped(str(error))}[/red]")
                raise typer.Exit(1) from None
            _print_report(Platform.current(settings, sources, analyses), report)
            unfinished = report.failed_runs or report.stale_days
            console.print("It is not removed to its end: run this again." if unfinished else "Removed.")
    raise typer.Exit(report.exit_code)


@app.command()
def status() -> None:
    """What was loaded and built, what is pending and what is stale."""
    with _platform() as platform:
        _print_status(platform)


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="One SQL statement.")],
    write: Annotated[bool, typer.Option("--write", help="Allow the statement to change data.")] = False,
) -> None:
    """Ask PostgreSQL: schemas marts, ledger and dagster, with the namespace in front where there is one.

    Prints a table on a terminal, CSV elsewhere.
    """
    import psycopg

    from pipeline_assets.postgres import connect

    with _platform() as platform, connect(platform.postgres_url) as connection:
        connection.read_only = not write
        try:
            cursor = connection.execute(query)  # ty: ignore[no-matching-overload] - the user's own statement
        except psycopg.Error as error:
            errors.print(f"[red]{_escaped(str(error))}[/red]")
            raise typer.Exit(1) from None
        if cursor.description is not None:
            _print_rows([column.name for column in cursor.description], cursor.fetchall())


@app.command("postgres-url")
def postgres_url() -> None:
    """Print the URL of the PostgreSQL server, for psql and BI tools. The embedded one runs on until `stop`."""
    from pipeline_assets.postgres import let_server_stay

    with _platform() as platform:
        let_server_stay(platform.settings, True)
        sys.stdout.write(f"{platform.postgres_url}\n")


@app.command()
def stop() -> None:
    """Let the embedded PostgreSQL server stop as soon as nothing of the pipeline uses it."""
    from pipeline_assets.postgres import let_server_stay

    with _settings() as settings:
        let_server_stay(settings, False)


@app.command()
def adopt(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Make this database and this lake one deployment again, after one was lost, restored or moved without the other.

    Stop everything that uses one of them first. Tables in the lake are removed, and refresh builds all of them again.
    """
    from pipeline_assets.components.loading import declared
    from pipeline_assets.identity import adopt, found
    from pipeline_assets.model import LAKE_TABLES
    from pipeline_assets.platform import Platform
    from pipeline_assets.undeclared import write_copy

    with _settings() as settings:
        platform = Platform(settings, *declared(settings))
        console.print(_escaped(found(settings)))
        if not yes and not typer.confirm("Remove the tables in this lake, and build them again from this ledger?"):
            raise typer.Exit(1)
        # Those too that only what is no longer declared had asked for: the ledger may know nothing of them.
        adopt(settings, [table.name for table in LAKE_TABLES])
        # The lake may remember the declarations of another ledger.
        write_copy(settings.lake_dir, platform.memory().remembered)
        console.print("They are one deployment now. Build it: pipeline-assets refresh")


@quarantine_app.command("list")
def quarantine_list(
    source: Annotated[str | None, typer.Option(help="Only this source.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only reasons that begin so, e.g. not_json.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many lines.")] = 50,
    raw: Annotated[bool, typer.Option("--raw", help="Show the lines too. They may hold personal data.")] = False,
) -> None:
    """Show quarantined lines: file, line, reason."""
    from pipeline_assets.ledger.quarantine import quarantined

    with _platform() as platform:
        lines = quarantined(platform.engine, source=source, reason=reason, limit=limit)
    names = ["source", "path", "line", "reason", *(["raw"] if raw else [])]
    rows = [
        (line.source, line.path, line.line, line.reason, *([line.raw.decode(errors="backslashreplace")] if raw else []))
        for line in lines
    ]
    _print_rows(names, rows)


@quarantine_app.command("replay")
def quarantine_replay(
    source: Annotated[str | None, typer.Option(help="Only this source.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only reasons that begin so, e.g. not_json.")] = None,
) -> None:
    """Read the files of quarantined lines again under the current declarations, and rebuild what changes.

    A changed declaration is noticed by `refresh` without this. Exit codes are those of `refresh`.
    """
    from pipeline_assets.ledger.quarantine import quarantined

    with _refresher() as (platform, refresher):
        found = quarantined(platform.engine, source=source, reason=reason)
        contents: dict[str, set[str]] = {}
        for line in found:
            contents.setdefault(line.source, set()).add(line.content)
        for name, of_source in contents.items():
            platform.files.read_again(name, of_source)
        files = len({(line.source, line.path) for line in found})
        console.print(f"Reading {files} files with {len(found)} quarantined lines again.")
        report = refresher.run()
        _print_report(platform, report)
    raise typer.Exit(report.exit_code)


@contextmanager
def _settings() -> Generator[Settings]:
    """The environment's settings; errors a user can mend are printed without a traceback."""
    from pipeline_assets.identity import IdentityError
    from pipeline_assets.postgres import PostgresError, is_lost
    from pipeline_assets.sources.loading import DeclarationError
    from pipeline_assets.waiting import WaitedTooLong

    # What is waited for is told from the beginning.
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        yield Settings.from_environment()
    except (SettingsError, DeclarationError, PostgresError, IdentityError, WaitedTooLong) as error:
        errors.print(f"[red]{_escaped(str(error))}[/red]")
        raise typer.Exit(1) from None
    except Exception as error:
        if not is_lost(error):
            raise
        errors.print(
            "[red]PostgreSQL ended the connection, or is not there any more: it was stopped or killed. Start again; "
            "what was not booked is done again.[/red]"
        )
        raise typer.Exit(1) from None


@contextmanager
def _platform() -> Generator["Platform"]:
    from pipeline_assets.analyses.loading import declared_analyses
    from pipeline_assets.platform import Platform
    from pipeline_assets.sources.loading import declared_sources

    with _settings() as settings:
        # Creates the ledger too, so that a first `status` has something to say.
        yield Platform.current(settings, declared_sources(settings), declared_analyses(settings))


@contextmanager
def _refresher() -> Generator[tuple["Platform", "Refresh"]]:
    from pipeline_assets.build import build_defs
    from pipeline_assets.components.loading import declared
    from pipeline_assets.dagster_storage import pipeline_instance
    from pipeline_assets.platform import Platform
    from pipeline_assets.progress import BarProgress, LoggedProgress, terminal_bars
    from pipeline_assets.refresh import Refresh

    with _settings() as settings:
        platform = Platform.current(settings, *declared(settings))
        bars = terminal_bars() if console.is_terminal else None
        progress = BarProgress(bars) if bars else LoggedProgress()
        definitions = build_defs(platform=platform, resource_overrides={"progress": progress})
        _quiet_dagster()
        with pipeline_instance(settings) as instance:
            if bars:
                with bars:
                    yield platform, Refresh(platform, definitions, instance)
            else:
                yield platform, Refresh(platform, definitions, instance)


def _quiet_dagster() -> None:
    """Keep Dagster's event log out of the terminal; it is in the UI."""
    logging.getLogger("dagster").setLevel(logging.CRITICAL)


def _print_report(platform: "Platform", report: "RefreshReport") -> None:
    from pipeline_assets.sources.access_logs import advice

    if report.idle:
        console.print("Nothing to do: no file is pending and every day is built from what is there.")
    for stretch in report.stretches:
        console.print(f"Built {stretch}: {len(stretch.tables)} tables ({stretch.stale} days were stale).")
    if report.loads:
        _print_sources(report.summaries)
    for check in report.failed_checks:
        colour = "red" if check.blocking else "yellow"
        numbers = ", ".join(f"{name}: {value.value}" for name, value in check.metadata.items())
        table = check.asset_key.to_user_string()
        console.print(f"[{colour}]Check {check.check_name} of {table} failed.[/{colour}] {_escaped(numbers)}")
    for failure in report.failures:
        errors.print(f"[red]{_escaped(failure)}[/red]")
    for run in report.failed_runs:
        errors.print(f"[red]Run {run} failed.[/red] Look at it in the Dagster UI (make dev), or run: dagster run list")
    for name in report.beyond_bounds:
        summary = report.summaries[name]
        errors.print(
            f"[yellow]{name}: {summary.quarantined} of {summary.lines} lines are in quarantine "
            f"(bound {platform.sources[name].bounds.quarantined:.1%}), "
            f"{summary.unreadable} files cannot be read.[/yellow] "
            f"See: pipeline-assets quarantine list --source {name}"
        )
        if not summary.landed and (hint := advice(platform.sources[name].format, summary.reasons)):
            errors.print(f"[yellow]{name}: {_escaped(hint)}[/yellow]")
    _print_silent(platform, report.summaries, report.silent)
    _print_hints(report.hints)
    for check in report.open_checks:
        errors.print(
            f"[red]Blocking check {check} has failed and was not passed since.[/red] "
            "Mend the cause, then materialise its asset in the UI (make dev)."
        )
    for name in report.pending:
        errors.print(
            f"[yellow]{_escaped(name)} stays pending: it is being written to, or could not be loaded.[/yellow]"
        )
    for refused in report.refused:
        errors.print(f"[yellow]{_escaped(refused.name)} stays pending: it {_escaped(refused.reason)}.[/yellow]")
    if report.stale_days:
        errors.print(f"[yellow]{report.stale_days} days are still to be built.[/yellow]")
    _print_leftovers(platform.settings, report.leftovers, errors)


def _print_silent(platform: "Platform", summaries: "Mapping[str, SourceSummary]", silent: list[str]) -> None:
    for name in silent:
        hours, bound = summaries[name].hours_since_newest, platform.sources[name].bounds.freshness_hours
        came = "No file has come yet" if hours is None else f"The newest file came {hours:,.1f} hours ago"
        errors.print(f"[yellow]{name}: {came} (bound {bound:g} hours).[/yellow] See what delivers it.")


def _print_hints(hints: list[str]) -> None:
    for hint in hints:
        errors.print(f"[yellow]{_escaped(hint)}[/yellow]")


def _print_findings(found: "list[Finding]") -> None:
    table = Table("in the sample files", title="What was planted, and what was found", title_justify="left")
    table.add_column("planted", justify="right")
    table.add_column("found", justify="right")
    table.add_column("")
    for finding in found:
        table.add_row(
            finding.what,
            f"{finding.planted:,}",
            f"{finding.found:,}",
            "[green]✓[/green]" if finding.agrees else "[red]differs[/red]",
        )
    console.print(table)


def _print_activity(platform: "Platform") -> None:
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


def _print_places(platform: "Platform") -> None:
    settings = platform.settings
    marts, ledger = settings.namespace.marts, settings.namespace.ledger
    query = f"'select * from {marts}.sessions limit 5'"  # noqa: S608 - shown only
    console.print("Where things are")
    console.print(f"  files      {settings.landing_dir}")
    console.print(f"  lake       {settings.lake_dir} (staging and events, Parquet)")
    console.print(f"  tables     PostgreSQL, schema {marts}:  pipeline-assets sql {query}")
    console.print(f"  ledger     PostgreSQL, schema {ledger}: pipeline-assets status, pipeline-assets quarantine list")
    console.print("  Dagster    make dev, then http://localhost:3000")
    console.print("The command pipeline-assets is in .venv/bin.")


def _print_sources(summaries: "Mapping[str, SourceSummary]") -> None:
    table = Table("source", title="Sources", title_justify="left")
    for name in ("files", "repeats", "superseded", "unreadable", "lines", "landed", "quarantined", "blank", "late"):
        table.add_column(name, justify="right")
    for name, summary in summaries.items():
        numbers = (
            summary.files,
            summary.repeats,
            summary.superseded,
            summary.unreadable,
            summary.lines,
            summary.landed,
            summary.quarantined,
            summary.blank,
            summary.late,
        )
        table.add_row(name, *(f"{number:,}" for number in numbers))
    console.print(table)


def _print_leftovers(settings: Settings, leftovers: "Sequence[Leftover]", where: Console) -> None:
    from pipeline_assets.declarations.yaml_files import declares_nothing

    if declares_nothing(settings):
        where.print(
            f"[yellow]PIPELINE_DEFS_DIR: there is no defs.yaml below {_escaped(str(settings.defs_dir))}.[/yellow]"
        )
    for left in leftovers:
        colour = "default" if left.wanted else "yellow"
        where.print(f"[{colour}]{left.noun} {left.name}[/{colour}]: {_escaped(left.explained)}")
    if any(not left.wanted for left in leftovers):
        where.print("Declare them again, or remove them: pipeline-assets retire NAME")


def _print_status(platform: "Platform") -> None:
    from pipeline_assets.hints import DRIFT, hints
    from pipeline_assets.ledger.summary import is_silent, summarise

    summaries = {name: summarise(platform.engine, name) for name in platform.sources}
    _print_sources(summaries)
    for name in platform.sources:
        for reason, count in summaries[name].reasons.items():
            console.print(f"  {name}: {count:,} lines in quarantine: {_escaped(reason)}")
        landing = platform.landing(name)
        if pending := landing.files:
            console.print(f"  {name}: {len(pending):,} files pending, the first is {_escaped(pending[0].name)}")
        for refused in landing.refused:
            console.print(f"  {name}: pending: {_escaped(refused.name)} {_escaped(refused.reason)}")
    silent = [name for name, source in platform.sources.items() if is_silent(source, summaries[name])]
    _print_silent(platform, summaries, silent)
    _print_hints(hints(platform, since=platform.builds.now() - DRIFT))
    stale = platform.staleness().tables
    table = Table("table", title="Tables", title_justify="left")
    for heading in ("days built", "first day", "last day", "stale days"):
        table.add_column(heading, justify="right")
    for name, recipe in platform.recipes.items():
        days = platform.builds.built_days(name)
        if not recipe.daily:
            table.add_row(name, "whole" if days else "", "", "", "stale" if stale[name] else "0")
            continue
        table.add_row(
            name, f"{len(days):,}", str(days[0]) if days else "", str(days[-1]) if days else "", f"{len(stale[name]):,}"
        )
    console.print(table)
    _print_leftovers(platform.settings, platform.leftovers(), console)


def _print_rows(names: list[str], rows: list[Any]) -> None:
    """A table for people, CSV for programs."""
    shown = [[_text(value) for value in row] for row in rows]
    if not console.is_terminal:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerows([names, *shown])
        return
    table = Table(*names)
    for row in shown:
        table.add_row(*(_escaped(value) for value in row))
    console.print(table)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return str(value)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
