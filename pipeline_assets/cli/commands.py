"""The commands. Importing Dagster takes two seconds, so every command imports what it needs and no more."""

import sys
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from pipeline_assets.cli.deployment import (
    current_engine,
    current_platform,
    current_refresh,
    current_settings,
    in_vain,
    quiet_dagster,
    readable,
)
from pipeline_assets.cli.printing import (
    console,
    escaped,
    print_activity,
    print_findings,
    print_places,
    print_report,
    print_rows,
    print_status,
    say,
)
from pipeline_assets.settings import PACKAGE_DIR
from pipeline_assets.words import counted

if TYPE_CHECKING:
    import sqlalchemy as sa

    from pipeline_assets.platform import Platform
    from pipeline_assets.refresh import RefreshReport

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    # A wheel has them too.
    epilog=f"README.md and docs are in {PACKAGE_DIR}",
)
quarantine_app = typer.Typer(no_args_is_help=True, help="Lines that could not be loaded.", rich_markup_mode="markdown")
app.add_typer(quarantine_app, name="quarantine")


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document (docs/command_line.md).")]
Source = Annotated[str | None, typer.Option(help="Only this source.")]
Reason = Annotated[str | None, typer.Option(help="Only reasons that begin so, e.g. not_json or missing:.")]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"pipeline-assets {version('pipeline-assets')}\n")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """User-behaviour data as Dagster assets: load event files, build tables of them, ask and repair.

    Settings are read from the environment (PIPELINE_DATA_DIR and others, see README.md). Exit code 1 is an error, 2 a
    wrong call, 130 an interruption; refresh has more.
    """


@app.command()
def demo() -> None:
    """Generate the last two full weeks of sample traffic, load it, build all tables, compare with what was planted.

    Where it was made before, its days stay those of then.
    """
    from pipeline_assets.demo.findings import findings
    from pipeline_assets.demo.generator import build_demo, read_truth, unfinished, write_truth
    from pipeline_assets.demo.report import behaviour_report
    from pipeline_assets.storage.opening import open_store

    with current_refresh(demo=True) as (platform, refresher):
        landing = open_store(platform.settings.landing_url)
        planted = platform.settings.demo_truth
        if config := unfinished(planted, datetime.now(UTC)):
            first_day, last_day = config.all_days[0], config.all_days[-1]
            console.print(f"Generating sample files of {first_day:%d %b %Y} to {last_day:%d %b %Y} in {landing} …")
            generated = build_demo(config)
            write_truth(replace(generated.truth, delivered=False), planted)
            for file in generated.files:
                file.put(landing)
            first = refresher.run()
            if first.exit_code:
                print_report(platform, first)
                raise typer.Exit(first.exit_code)
            console.print("Two weeks are loaded. Now files arrive late:")
            for file in generated.late_files:
                file.put(landing)
                console.print(f"  {file.path}")
            write_truth(generated.truth, planted)
        report = refresher.run()
        print_report(platform, report)
        found = findings(platform.engine, read_truth(planted))
        print_findings(found)
        print_activity(platform)
        for table in behaviour_report(platform.engine):
            console.print(table)
        print_places(platform)
    raise typer.Exit(report.exit_code or int(not all(finding.agrees for finding in found)))


Full = Annotated[
    bool,
    typer.Option(
        "--full",
        help="Look at everything in landing and the lake, and not only at what has changed since the last look; "
        "otherwise that is done once an hour, see PIPELINE_FULL_LOOK.",
    ),
]


@app.command()
def refresh(as_json: AsJson = False, full: Full = False) -> None:
    """Load all that is pending and rebuild all that is stale.

    Progress goes to the terminal, or as a line now and then to the standard error output.

    Exit code 0: everything is up to date. 1: a run or a blocking check failed. 3: more lines were quarantined than
    declared, a file cannot be read, or longer than declared no file of a source has come. 4: somebody is still writing
    to a file. 5: everything is up to date, but a source, analysis or table is there that is no longer declared. Of
    several the first in this order: 1, 3, 4, 5. 130: interrupted (Ctrl-C).
    """
    with current_refresh(quiet=as_json) as (platform, refresher):
        report = refresher.run(full=full)
        _print_refreshed(platform, report, as_json=as_json)
    raise typer.Exit(report.exit_code)


def _print_refreshed(platform: "Platform", report: "RefreshReport", *, as_json: bool) -> None:
    from pipeline_assets.cli.documents import print_document, refresh_document

    if as_json:
        print_document(refresh_document(report))
    else:
        print_report(platform, report)


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
    from pipeline_assets.component_tree.loading import declared
    from pipeline_assets.dagster_storage import pipeline_instance
    from pipeline_assets.leftovers import LeftoverError
    from pipeline_assets.platform import Platform
    from pipeline_assets.progress import LoggedProgress
    from pipeline_assets.retiring import RetireError, Retiring
    from pipeline_assets.undeclared import NOUNS

    if kind is not None and kind not in NOUNS:
        raise _wrong(f"there is nothing of the kind '{kind}'", kind, NOUNS, "--kind")
    with current_settings() as settings:
        sources, analyses = declared(settings)
        quiet_dagster()
        with pipeline_instance(settings) as instance:
            retiring = Retiring(settings, sources, analyses, instance, {"progress": LoggedProgress()})
            try:
                what = retiring.find(name, kind)
                console.print(f"Retiring the {what.noun} {what.name} removes for good:")
                for count in what.counts:
                    console.print(f"  {escaped(count)}")
                if what.begun:
                    console.print("It was begun before and did not come to its end.")
                if not yes:
                    typer.confirm("Go on?", abort=True)
                report = retiring.retire(what)
            except (RetireError, LeftoverError) as error:
                say(str(error), "red")
                raise typer.Exit(1) from None
            print_report(Platform.current(settings, sources, analyses), report)
            unfinished = report.failed_runs or report.stale_days
            console.print("It is not removed to its end: run this again." if unfinished else "Removed.")
    raise typer.Exit(report.exit_code)


@app.command()
def status(as_json: AsJson = False) -> None:
    """What was loaded and built, what is pending and what is stale."""
    from pipeline_assets.cli.documents import print_document, status_document

    with current_platform() as found:
        failed = in_vain(found.platform)
        if as_json:
            print_document(status_document(found.platform, found.mistakes, failed))
        else:
            print_status(found.platform, failed=failed, leftovers=not found.mistakes)


class QueryCommand(TyperCommand):
    """A command whose argument may begin with a comment of SQL, which is not to be taken for an option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Part the arguments: what has a blank in it is no option."""
        return super().parse_args(
            ctx, [f" {arg}" if arg.startswith("-") and len(arg.split()) > 1 else arg for arg in args]
        )


@app.command(cls=QueryCommand)
def sql(
    query: Annotated[str, typer.Argument(help="One or several SQL statements, separated by semicolons.")],
    write: Annotated[bool, typer.Option("--write", help="Allow the statements to change data.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ask PostgreSQL: schemas marts, ledger and dagster, with the namespace in front where there is one.

    Prints a table on a terminal, CSV elsewhere; of several statements one after the other, an empty line between them.
    Several statements are one transaction: if one fails, nothing is changed.
    """
    from pipeline_assets.cli.documents import print_document, rows_document
    from pipeline_assets.cli.statements import StatementError, answers
    from pipeline_assets.postgres import connect, server_url
    from pipeline_assets.postgres_urls import SPEAKING

    access = {"default_transaction_read_only": "off" if write else "on"}
    with current_engine() as (settings, _):
        found = []
        with connect(server_url(settings), autocommit=True, session={**SPEAKING, **access}) as connection:
            try:
                for number, result in enumerate(answers(connection, query, write=write)):
                    if as_json:
                        found.append(rows_document(result.names, result.rows))
                        continue
                    if number:
                        sys.stdout.write("\n")
                    print_rows(result.names, result.rows)
            except StatementError as error:
                say(str(error), "red")
                raise typer.Exit(1) from None
    if as_json:
        print_document(found[0] if len(found) == 1 else found)


@app.command("postgres-url")
def postgres_url() -> None:
    """Print the URL of the PostgreSQL server, for psql and BI tools. The embedded one runs on until `stop`."""
    from pipeline_assets.postgres import let_server_stay, server_url

    with current_engine() as (settings, _):
        let_server_stay(settings, True)
        sys.stdout.write(f"{server_url(settings)}\n")


@app.command()
def stop() -> None:
    """Let the embedded PostgreSQL server stop as soon as nothing of the pipeline uses it."""
    from pipeline_assets.postgres import let_server_stay

    with current_settings() as settings:
        let_server_stay(settings, False)


@app.command()
def adopt(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Make this database and this lake one deployment again, after one was lost, restored or moved without the other.

    Stop everything that uses one of them first. No table in the lake counts any more, and refresh builds all of them
    again.
    """
    from pipeline_assets.component_tree.loading import declared
    from pipeline_assets.identity import adopt, found
    from pipeline_assets.platform import Platform
    from pipeline_assets.undeclared import write_copy

    with current_settings() as settings:
        platform = Platform(settings, *declared(settings))
        console.print(escaped(found(settings)))
        if not yes and not typer.confirm("Forget the tables in this lake, and build them again from this ledger?"):
            raise typer.Exit(1)
        adopt(settings)
        # The lake may remember the declarations of another ledger.
        write_copy(platform.lake.store, platform.memory().remembered)
        console.print("They are one deployment now. Build it: pipeline-assets refresh")


@quarantine_app.command("list")
def quarantine_list(
    source: Source = None,
    reason: Reason = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many lines.")] = 50,
    raw: Annotated[bool, typer.Option("--raw", help="Show the lines too. They may hold personal data.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show quarantined lines: file, line, reason."""
    from pipeline_assets.cli.documents import print_document, rows_document
    from pipeline_assets.ledger.quarantine import quarantined, quarantined_files

    with current_engine() as (settings, engine):
        _require_known(source, reason, engine, [each.name for each in readable(settings)[0]])
        lines = quarantined(engine, source=source, reason=reason, limit=limit)
        # One row per file: cheap beside the lines, of which there may be millions.
        total = sum(file.lines for file in quarantined_files(engine, source=source, reason=reason))
    names = ["source", "path", "line", "reason", *(["raw"] if raw else [])]
    rows = [
        (line.source, line.path, line.line, line.reason, *([line.raw.decode(errors="backslashreplace")] if raw else []))
        for line in lines
    ]
    if as_json:
        print_document(rows_document(names, rows))
    else:
        print_rows(names, rows)
    if total > len(rows):
        say(f"These are the first {len(rows):,} of {counted(total, 'line')}; --limit shows more.", "yellow")


@quarantine_app.command("replay")
def quarantine_replay(source: Source = None, reason: Reason = None, as_json: AsJson = False) -> None:
    """Read the files of quarantined lines again under the current declarations, and rebuild what changes.

    A changed declaration is noticed by `refresh` without this. Exit codes are those of `refresh`.
    """
    from pipeline_assets.ledger.quarantine import quarantined_files

    with current_refresh(quiet=as_json) as (platform, refresher):
        _require_known(source, reason, platform.engine, list(platform.sources))
        files = quarantined_files(platform.engine, source=source, reason=reason)
        contents: dict[str, set[str]] = {}
        for file in files:
            contents.setdefault(file.source, set()).add(file.content)
        for name, of_source in contents.items():
            platform.files.read_again(name, of_source)
        if not as_json:
            lines = sum(file.lines for file in files)
            console.print(f"Reading {counted(len(files), 'file')} with {counted(lines, 'quarantined line')} again.")
        report = refresher.run()
        _print_refreshed(platform, report, as_json=as_json)
    raise typer.Exit(report.exit_code)


def _require_known(source: str | None, reason: str | None, engine: "sa.Engine", declared: list[str]) -> None:
    """Refuse what no line can be of, rather than say that there is none.

    Raises:
        typer.BadParameter: the source is neither declared nor was any file of it booked; or no reason begins so.
    """
    from pipeline_assets.ledger.quarantine import REASONS, known_sources

    if source is not None and source not in (known := {*declared, *known_sources(engine)}):
        raise _wrong(f"there is no source '{source}'", source, sorted(known), "--source")
    if reason is not None and not any(each.startswith(reason) or reason.startswith(each) for each in REASONS):
        known_reasons = [each.strip(": ") for each in REASONS]
        raise _wrong(f"no reason begins with '{reason}'", reason, known_reasons, "--reason")


def _wrong(message: str, word: str, known: Iterable[str], option: str) -> typer.BadParameter:
    from pipeline_assets.declarations.problems import suggestion

    return typer.BadParameter(f"{message}{suggestion(word, known)}", param_hint=f"'{option}'")
