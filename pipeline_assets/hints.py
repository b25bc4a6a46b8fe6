"""What looks like a mistake in a declaration or a change in what is delivered: for people, after a refresh.

Nothing of it stops anything. No Dagster here; the checks that say the same in the UI are in `checks`.
"""

from datetime import datetime, timedelta

from pipeline_assets.analyses.unknown_names import unknown_properties
from pipeline_assets.platform import Platform
from pipeline_assets.sources.raw_columns import in_words
from pipeline_assets.words import counted

DRIFT = timedelta(days=7)
"""How long a change of the raw columns is told."""


def hints(platform: Platform, *, since: datetime) -> list[str]:
    """What looks like a mistake in a declaration or a change in what is delivered, in words.

    Args:
        platform: the deployment.
        since: changes of the raw columns that began in a load before this moment are left out.
    """
    found: list[str] = []
    for name, source in platform.sources.items():
        if not platform.is_declared(name):
            continue
        if not platform.has_files(name):
            found.append(f"{name}: no file in landing matches '{source.path}', and none has been loaded.")
        found += [f"{name}: {missing}" for missing in platform.missing_columns(name)]
        if changes := platform.drift(name, since):
            found.append(f"{name}: raw columns have changed: {in_words(changes)}.")
    unclaimed = platform.unclaimed()
    if unclaimed.count:
        named = in_words(unclaimed.named, of=unclaimed.count)
        found.append(f"No source takes {counted(unclaimed.count, 'file')} in landing: {named}.")
    for table, names in platform.unknown_event_names().items():
        found.append(f"{table}: no event is called {in_words(names)}")
    for analysis, names in unknown_properties(platform.analyses, [*platform.sources.values()]).items():
        found.append(f"{analysis}: no source has the property {in_words(names)}")
    return found
