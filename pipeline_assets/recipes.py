"""How each table is made: what it reads, how far around a day, and what makes an old build of it stale.

A table's version changes with its transform (`VERSIONS`), its contract, the declared settings it depends on, and the
rules that come as data: those of user agents for events, those of channels for sessions. The reconciler rebuilds
whatever has an old version.
"""

import hashlib
import json
from collections.abc import Sequence

from pipeline_assets.contracts.tables import DAILY_ACTIVITY, EVENTS, PAGE_VIEWS, SESSIONS, Table
from pipeline_assets.ledger.builds import STAGING, Input, Recipe
from pipeline_assets.settings import Settings
from pipeline_assets.sources.declaration import Source
from pipeline_assets.transforms import channels, user_agents
from pipeline_assets.transforms.events import look_back_days

VERSIONS = {EVENTS.name: 1, SESSIONS.name: 1, PAGE_VIEWS.name: 1, DAILY_ACTIVITY.name: 1}
"""Version of every table's transform: raise it when the transform gives other rows for the same input."""


def build_recipes(sources: Sequence[Source], settings: Settings) -> tuple[Recipe, ...]:
    """The recipes of all tables, inputs before the tables that read them."""
    dedup_days = {source.name: source.dedup_days for source in sources}
    timeouts = {source.name: source.sessions.timeout_minutes for source in sources}
    around = Input(EVENTS.name, before=1, after=1)

    def recipe(table: Table, used: object, *inputs: Input) -> Recipe:
        columns = {name: str(column.dtype) for name, column in table.contract.columns().items()}
        text = json.dumps([VERSIONS[table.name], columns, settings.timezone, used], sort_keys=True)
        return Recipe(table.name, hashlib.sha256(text.encode()).hexdigest()[:16], inputs)

    return (
        recipe(EVENTS, [dedup_days, user_agents.rules_version()], Input(STAGING, before=look_back_days(dedup_days))),
        recipe(SESSIONS, [timeouts, channels.rules_version()], around),
        recipe(PAGE_VIEWS, timeouts, around),
        recipe(DAILY_ACTIVITY, None, Input(EVENTS.name), Input(SESSIONS.name)),
    )
