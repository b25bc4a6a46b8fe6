"""The deployment that a command works on, from the environment; errors a user can mend end it without a traceback."""

import logging
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from pipeline_assets.cli.printing import console, errors, harmless, say
from pipeline_assets.settings import Settings, SettingsError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from pipeline_assets.declarations.analyses import Analyses
    from pipeline_assets.platform import Platform
    from pipeline_assets.refresh import Refresh
    from pipeline_assets.sources.declaration import Source

INTERRUPTED = 130
"""The exit code after Ctrl-C: 128 and the number of SIGINT."""


class _Messages(logging.Formatter):
    """The message alone, in which names of files do not command the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return harmless(super().format(record))


@contextmanager
def current_settings(*, demo: bool = False) -> Generator[Settings]:
    """The project's settings; errors a user can mend are printed without a traceback.

    Args:
        demo: whether the demo is about to be made.
    """
    from pipeline_assets.identity import IdentityError
    from pipeline_assets.postgres import PostgresError, is_lost
    from pipeline_assets.sources.loading import DeclarationError
    from pipeline_assets.storage.store import StoreError
    from pipeline_assets.waiting import WaitedTooLong

    # What is waited for is told from the beginning.
    handler = logging.StreamHandler()
    handler.setFormatter(_Messages())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    try:
        settings = Settings.from_environment()
        if demo:
            settings.require_no_declarations()
        else:
            settings.require_declarations()
        yield settings
    except (SettingsError, DeclarationError, PostgresError, IdentityError, StoreError, WaitedTooLong) as error:
        say(str(error), "red")
        raise typer.Exit(1) from None
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except (KeyboardInterrupt, Exception) as error:
        if isinstance(error, KeyboardInterrupt) or _is_interruption(error):
            say("Interrupted. What was not booked is not visible, and is done again by the next refresh.", "yellow")
            raise typer.Exit(INTERRUPTED) from None
        if refused := _refused(error):
            say(f"{refused} Have an admin grant it, or use the role that made the schemas.", "red")
            raise typer.Exit(1) from None
        if not is_lost(error):
            raise
        say(
            "PostgreSQL ended the connection, or is not there any more: it was stopped or killed. Start again; what "
            "was not booked is done again.",
            "red",
        )
        raise typer.Exit(1) from None


def _is_interruption(error: BaseException) -> bool:
    # Dagster has a name of its own for Ctrl-C. It is loaded only where it has been.
    dagster = sys.modules.get("dagster._core.errors")
    return dagster is not None and isinstance(error, dagster.DagsterExecutionInterruptedError)


def _refused(error: BaseException | None) -> str:
    """PostgreSQL's words where a right is missing, in whatever the error is wrapped."""
    while error is not None:
        cause = getattr(error, "orig", None) or error
        if getattr(cause, "sqlstate", None) == "42501":
            return f"PostgreSQL refuses it: {str(cause).splitlines()[0]}."
        error = error.__cause__ or error.__context__
    return ""


@contextmanager
def current_engine() -> Generator[tuple[Settings, "sa.Engine"]]:
    """The ledger, for commands that need no declarations: mistakes in them are told, and nothing follows from them."""
    from pipeline_assets.identity import deployment_engine

    with current_settings() as settings:
        tell_mistakes(readable(settings)[2])
        # Creates the ledger too, so that a first `sql` has something to say.
        engine = deployment_engine(settings)
        try:
            yield settings, engine
        finally:
            engine.dispose()


@dataclass(frozen=True)
class Found:
    """The deployment as far as its declarations can be read.

    Attributes:
        platform: with the declarations in which there is no mistake; the others count as last declared.
        mistakes: in the others, a line each.
    """

    platform: "Platform"
    mistakes: Sequence[str]


@contextmanager
def current_platform() -> Generator[Found]:
    """The deployment, for commands that only read."""
    from pipeline_assets.platform import Platform
    from pipeline_assets.sources.loading import DeclarationError

    with current_settings() as settings:
        sources, analyses, mistakes = readable(settings)
        tell_mistakes(mistakes)
        try:
            # Creates the ledger too, so that a first `status` has something to say.
            platform = Platform.current(settings, sources, analyses)
        except DeclarationError:
            if not mistakes:
                raise
            platform = Platform(settings, sources, analyses)
        yield Found(platform, mistakes)


@contextmanager
def current_refresh(*, demo: bool = False, quiet: bool = False) -> Generator[tuple["Platform", "Refresh"]]:
    """The deployment and what loads and builds it.

    Args:
        demo: whether the demo is about to be made.
        quiet: whether the standard output is for a document alone.
    """
    from pipeline_assets.build import build_defs
    from pipeline_assets.component_tree.loading import declared
    from pipeline_assets.dagster_storage import pipeline_instance
    from pipeline_assets.platform import Platform
    from pipeline_assets.progress import BarProgress, LineProgress, terminal_bars
    from pipeline_assets.refresh import Refresh

    with current_settings(demo=demo) as settings:
        platform = Platform.current(settings, *declared(settings))
        where = errors if quiet else console
        shown = terminal_bars(where) if where.is_terminal else LineProgress(say)
        progress = shown if isinstance(shown, LineProgress) else BarProgress(shown)
        definitions = build_defs(platform=platform, resource_overrides={"progress": progress})
        quiet_dagster()
        with pipeline_instance(settings) as instance, shown:
            yield platform, Refresh(platform, definitions, instance)


def in_vain(platform: "Platform") -> list[str]:
    """What was to be built and was not, and why; see `failed_attempts`."""
    if not platform.builds.unpublished():
        return []
    from pipeline_assets.attempts import failed_attempts
    from pipeline_assets.dagster_storage import pipeline_instance

    return failed_attempts(platform, lambda: pipeline_instance(platform.settings))


def readable(settings: Settings) -> "tuple[list[Source], Analyses, list[str]]":
    """The sources and analyses in which there is no mistake, and the mistakes in the others."""
    from pipeline_assets.component_tree.loading import ReadDeclarations
    from pipeline_assets.declarations.analyses import Analyses
    from pipeline_assets.declarations.problems import DeclarationError

    try:
        found = ReadDeclarations(settings)
    except DeclarationError as error:
        return [], Analyses(), [str(error)]
    return found.sources, found.analyses, found.mistakes


def tell_mistakes(mistakes: Sequence[str]) -> None:
    """Warn of mistakes in declarations that do not keep a command from going on."""
    if mistakes:
        say("Declarations hold mistakes. What they declare counts as last declared; refresh refuses them:", "yellow")
        for mistake in mistakes:
            say(f"  {mistake}", "yellow")


def quiet_dagster() -> None:
    """Keep Dagster's event log out of the terminal; it is in the UI."""
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
