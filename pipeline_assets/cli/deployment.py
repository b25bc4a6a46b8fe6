"""The deployment that a command works on, from the environment; errors a user can mend end it without a traceback."""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from pipeline_assets.cli.printing import console, errors, escaped
from pipeline_assets.settings import Settings, SettingsError

if TYPE_CHECKING:
    from pipeline_assets.platform import Platform
    from pipeline_assets.refresh import Refresh


@contextmanager
def current_settings(*, demo: bool = False) -> Generator[Settings]:
    """The project's settings; errors a user can mend are printed without a traceback.

    Args:
        demo: whether the demo is about to be made.
    """
    from pipeline_assets.identity import IdentityError
    from pipeline_assets.postgres import PostgresError, is_lost
    from pipeline_assets.sources.loading import DeclarationError
    from pipeline_assets.waiting import WaitedTooLong

    # What is waited for is told from the beginning.
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        settings = Settings.from_environment()
        if demo:
            settings.require_no_declarations()
        else:
            settings.require_declarations()
        yield settings
    except (SettingsError, DeclarationError, PostgresError, IdentityError, WaitedTooLong) as error:
        errors.print(f"[red]{escaped(str(error))}[/red]")
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
def current_platform() -> Generator["Platform"]:
    """The deployment, for commands that only read."""
    from pipeline_assets.analyses.loading import declared_analyses
    from pipeline_assets.platform import Platform
    from pipeline_assets.sources.loading import declared_sources

    with current_settings() as settings:
        # Creates the ledger too, so that a first `status` has something to say.
        yield Platform.current(settings, declared_sources(settings), declared_analyses(settings))


@contextmanager
def current_refresh(*, demo: bool = False) -> Generator[tuple["Platform", "Refresh"]]:
    """The deployment and what loads and builds it; see `current_settings`."""
    from pipeline_assets.build import build_defs
    from pipeline_assets.components.loading import declared
    from pipeline_assets.dagster_storage import pipeline_instance
    from pipeline_assets.platform import Platform
    from pipeline_assets.progress import BarProgress, LoggedProgress, terminal_bars
    from pipeline_assets.refresh import Refresh

    with current_settings(demo=demo) as settings:
        platform = Platform.current(settings, *declared(settings))
        bars = terminal_bars() if console.is_terminal else None
        progress = BarProgress(bars) if bars else LoggedProgress()
        definitions = build_defs(platform=platform, resource_overrides={"progress": progress})
        quiet_dagster()
        with pipeline_instance(settings) as instance:
            if bars:
                with bars:
                    yield platform, Refresh(platform, definitions, instance)
            else:
                yield platform, Refresh(platform, definitions, instance)


def quiet_dagster() -> None:
    """Keep Dagster's event log out of the terminal; it is in the UI."""
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
