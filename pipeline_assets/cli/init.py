"""`pipeline-assets init`: a project of one's own, with a source guessed from a sample."""

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline_assets.cli.commands import app
from pipeline_assets.cli.printing import console, errors, escaped

if TYPE_CHECKING:
    from pipeline_assets.starting.projects import Found, Start

_SHOWN_REASONS = 5


@app.command()
def init(  # noqa: PLR0917 - typer makes options of all but the first
    folder: Annotated[Path, typer.Argument(help="The new project's folder; or that of a project, for another source.")],
    sample: Annotated[
        list[Path] | None, typer.Option(help="A file of the first source, or a folder with files of it.")
    ] = None,
    time_zone: Annotated[
        str | None, typer.Option(help="Zone of times that do not say theirs, and of the reports, e.g. Europe/Berlin.")
    ] = None,
    time: Annotated[str | None, typer.Option(help="Column with the time of the event.")] = None,
    visitor: Annotated[str | None, typer.Option(help="Column with the visitor's, customer's or device's id.")] = None,
    event: Annotated[str | None, typer.Option(help="Column with the event's name, or a name for all events.")] = None,
    source: Annotated[str | None, typer.Option(help="Name of the source; by default that of the sample.")] = None,
) -> None:
    """Begin a project of your own, with a source guessed from a sample file and tried on it.

    Nothing that is there is overwritten. In a project, it adds another source.
    """
    from zoneinfo import available_timezones

    from pipeline_assets.settings import SettingsError, clone
    from pipeline_assets.starting.guessing import Wishes
    from pipeline_assets.starting.projects import StartError, checked_zone, plan
    from pipeline_assets.starting.samples import SampleError

    try:
        zones = available_timezones()
        zone = checked_zone(time_zone, zones) if time_zone else None
        wishes = Wishes(time=time, visitor=visitor, event=event, zone=zone, default_zone=_machine_zone(zones))
        # A file of gigabytes takes minutes.
        with errors.status("Looking at the sample and trying the declaration on it …"):
            start = plan(folder, sample or [], wishes, source=source, clone=clone())
        if start.found is not None:
            _print_found(start.found)
        start.write()
    except (StartError, SampleError, SettingsError) as error:
        errors.print(f"[red]{escaped(str(error))}[/red]")
        raise typer.Exit(1) from None
    for remark in start.remarks:
        console.print(escaped(remark))
    _print_next(start)


def _machine_zone(zones: set[str]) -> str:
    """The time zone of this machine by its IANA name; UTC where it does not say."""
    candidates = [os.environ.get("TZ", "").lstrip(":")]
    link = Path("/etc/localtime")
    if link.is_symlink():
        candidates.append(str(link.resolve()).rpartition("zoneinfo/")[2])
    file = Path("/etc/timezone")
    if file.is_file():
        candidates.append(file.read_text(encoding="utf-8", errors="replace").strip())
    found = next((name for name in candidates if name in zones), "UTC")
    return "UTC" if found in ("Etc/UTC", "Etc/UCT", "UCT", "Zulu", "Universal") else found


def _print_found(found: "Found") -> None:
    """What the sample is taken for, and what came of the trial; no value of a record."""
    trial, attributes = found.trial, found.guess.attributes
    from pipeline_assets.starting.declaring import flow

    written = [f"{name}: {flow(attributes[name])}" for name in attributes if name not in ("format", "mapping", "time")]
    console.print(
        f"[bold]{escaped(found.name)}[/bold]: {escaped(', '.join([str(attributes['format']), *written]))}",
        highlight=False,
    )
    of = "" if found.tried == len(found.files) else f" of {found.tried} of {len(found.files)} files"
    blank = f", {trial.blank:,} are blank" if trial.blank else ""
    span = ""
    if trial.first is not None and trial.last is not None:
        span = f", from {trial.first:%Y-%m-%d %H:%M} to {trial.last:%Y-%m-%d %H:%M} ({trial.first.tzinfo})"
    console.print(
        f"Tried on the sample: {trial.landed:,} of {trial.lines:,} records{of} become events of {trial.visitors:,} "
        f"{'visitor' if trial.visitors == 1 else 'visitors'}{blank}{span}.",
        highlight=False,
    )
    bad = sum(trial.reasons.values())
    if bad:
        reasons = [f"{reason} ({count:,})" for reason, count in list(trial.reasons.items())[:_SHOWN_REASONS]]
        more = ", …" if len(trial.reasons) > _SHOWN_REASONS else ""
        console.print(f"[yellow]To quarantine: {bad:,}. {escaped(', '.join(reasons))}{more}[/yellow]", highlight=False)
        if any(reason.startswith("missing:anonymous_id") for reason in trial.reasons):
            console.print(
                "[yellow]If another column says whose they are, name it: --visitor COLUMN[/yellow]",
                highlight=False,
            )
    _print_columns(found)
    if kept := found.guess.kept(found.sample):
        console.print(f"Made into no column, but kept in properties: {escaped(', '.join(kept))}", highlight=False)
    for place, comment in found.guess.comments.items():
        name = place.removeprefix("mapping.")
        console.print(f"[yellow]Check {name}:[/yellow] {escaped(comment)}", highlight=False)
    for column, what in found.guess.open.items():
        console.print(f"Not found: {column}, {escaped(what)}", highlight=False)


def _print_columns(found: "Found") -> None:
    from rich.table import Table

    mapping = found.guess.attributes.get("mapping", {})
    table = Table(box=None, pad_edge=False)
    table.add_column("column of the events")
    table.add_column("made of")
    table.add_column("events that have it", justify="right")
    for column, count in found.trial.filled.items():
        if column in mapping or (not mapping and column not in ("property", "is_conversion")):
            text = mapping.get(column, "as the format says")
            table.add_row(column, escaped(text if len(text) <= 60 else f"{text[:59]}…"), f"{count:,}")
    for column in mapping:
        if column not in found.trial.filled:
            table.add_row(column, escaped(mapping[column]), "0")
    console.print(table, highlight=False)


def _print_next(start: "Start") -> None:
    if not start.is_new:
        console.print(f"Written: {', '.join(escaped(name) for name in start.texts)}. Next:")
    else:
        console.print(f"The project is in {escaped(str(start.folder))}. Next:")
    lines = []
    if start.folder != Path.cwd():
        lines.append(f"cd {shlex.quote(_short(start.folder))}")
    if start.found is None:
        lines.append(f"{_program('pipeline-assets')} init . --sample FILE")
    else:
        lines.append(f"{_program('pipeline-assets')} refresh")
        if start.funnel:
            query = f"select * from marts.{start.funnel} order by 1"  # noqa: S608 - printed, not run
            lines.append(f"{_program('pipeline-assets')} sql {shlex.quote(query)}")
        lines.append(f"{_program('dg')} dev")
    for line in lines:
        console.print(f"  {escaped(line)}", highlight=False, soft_wrap=True)


def _short(folder: Path) -> str:
    return str(folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder)


def _program(name: str) -> str:
    """A program of this environment as it can be called here: by its name where that finds it, else by its path."""
    own = Path(sys.executable).with_name(name)
    found = shutil.which(name)
    return name if found and Path(found).resolve() == own.resolve() else shlex.quote(str(own))
