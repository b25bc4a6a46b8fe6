"""Checks of the staging assets: the ledger's equations, and shares that a source declares bounds for."""

from collections.abc import Sequence

import dagster as dg
import pyarrow as pa

from pipeline_assets.checks.footers import read_footers
from pipeline_assets.checks.grouping import Check, asset_check
from pipeline_assets.checks.results import result
from pipeline_assets.hints import DRIFT
from pipeline_assets.ledger.catalogue import LakeFile
from pipeline_assets.ledger.counting import count_rows
from pipeline_assets.ledger.full_looks import ledger_part
from pipeline_assets.ledger.quality import LATELY, BookedLines
from pipeline_assets.ledger.summary import SourceSummary, is_silent, summarise
from pipeline_assets.platform import Platform
from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.raw_columns import in_words
from pipeline_assets.sources.staged_events import StagedEvents
from pipeline_assets.storage.parquet import read_metadata

# Staged files whose footers are read by one check: those written last.
_FOOTERS = 50
# Columns of the rows that are quarantined; in a staged file they are null.
_BESIDE = ("reason", "raw", "raw_bytes")


FRESHNESS = "freshness"
HAS_FILES = "has_files"
QUARANTINED_SHARE = "quarantined_share"


def has_files_result(platform: Platform, source: Source, seconds: float | None = None) -> dg.AssetCheckResult:
    """The result of a source's check of its path.

    Args:
        platform: the deployment.
        source: the source.
        seconds: how long the look may take; as long as it does by default.

    Raises:
        TooLongError: it would take longer.
    """
    return result(platform.has_files(source.name, seconds=seconds), {"path": source.path}, warn=True)


def freshness_result(source: Source, found: SourceSummary) -> dg.AssetCheckResult:
    """The result of a source's check of freshness.

    Args:
        source: the source.
        found: the ledger's numbers of it.
    """
    hours, bound = found.hours_since_newest, source.bounds.freshness_hours
    return result(
        not is_silent(source, found),
        {
            "hours_since_newest_file": hours if hours is not None else "no file yet",
            "bound": bound if bound is not None else "none declared",
        },
        warn=True,
    )


def quarantined_result(platform: Platform, source: str) -> dg.AssetCheckResult:
    """The result of a source's check of what is broken."""
    found = platform.quality(source)
    causes = found.causes
    # The sensor asks every minute, and of a source that is well nobody asks why.
    reasons = summarise(platform.engine, source).reasons if causes else {}
    told = result(
        not causes,
        {
            "share": found.found.share,
            "bound": found.bound,
            "quarantined": found.found.quarantined,
            "unreadable_files": sum(file.error is not None for file in found.broken),
            "broken_files": len(found.broken),
            "reasons": reasons,
        },
        description="; ".join(causes),
        warn=True,
    )
    if not found.worst:
        return told
    return told._replace(metadata={**told.metadata, "worst_files": worst_files(found.worst)})


def worst_files(files: Sequence[BookedLines]) -> dg.TableMetadataValue:
    """Files with what is wrong with them, as the UI shows it: no line of them."""
    columns = {"file": "string", "lines": "int", "quarantined": "int", "what": "string"}
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "file": file.path,
                    "lines": file.found.lines,
                    "quarantined": file.found.quarantined,
                    "what": file.explained,
                }
            )
            for file in files
        ],
        dg.TableSchema([dg.TableColumn(name, kind) for name, kind in columns.items()]),
    )


def _last_files(platform: Platform, source: str) -> tuple[list[tuple[LakeFile, int]], list[LakeFile]]:
    """The staged files of a source written last, each with the rows that it says it has; and those that are lost."""
    files = platform.files.last_files(source, _FOOTERS)
    lost = platform.lake.lost(files)
    held: list[tuple[LakeFile, int]] = []
    for file in files:
        if file in lost:
            continue
        try:
            held.append((file, read_metadata(platform.lake.store.locate(file.name)).num_rows))
        except (pa.ArrowException, OSError):
            lost.append(file)
    return held, lost


def staging_checks(source: Source, asset: dg.AssetKey) -> list[Check]:
    """The checks of one source's staging asset."""

    def summary(platform: Platform) -> SourceSummary:
        return summarise(platform.engine, source.name)

    @asset_check(
        asset=asset,
        name="ledger_balances",
        blocking=True,
        description="Every line of every file that counts has landed, is quarantined or is blank, and every landed "
        "row is in a staged Parquet file; of those the ones staged last are opened. With a full look everything is "
        "counted again.",
    )
    def ledger_balances(platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
        look = platform.full_looks.begin(ledger_part(source.name))
        right = not look.is_full or platform.files.recount(source.name)
        found = summary(platform)
        # A file that has left landing is not read again when the first day moves, and keeps its earlier days.
        staged = count_rows(platform.engine, source.name)
        held, lost = _last_files(platform, source.name)
        # Who finds that rows are lost has them made again.
        platform.make_again(lost)
        wrong = [file for file, rows in held if rows != file.rows]
        if look.is_full:
            platform.full_looks.done(look)
        balanced = found.lines == found.landed + found.quarantined + found.blank and found.landed == staged
        return result(
            balanced and right and not lost and not wrong,
            {
                "files": found.files,
                "lines": found.lines,
                "landed": found.landed,
                "quarantined": found.quarantined,
                "blank": found.blank,
                "staged_rows": staged,
                "counts_corrected": not right,
                "staged_files_looked_at": len(held) + len(lost),
                "staged_files_missing": len(lost),
                "first_missing": lost[0].name if lost else "none",
                "staged_files_with_wrong_rows": len(wrong),
            },
        )

    @asset_check(
        asset=asset,
        name="contract",
        blocking=True,
        description="The staged files written last have the contract's columns and types, and no null where it allows "
        "none.",
    )
    def contract(platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
        # That a file is missing is told by `ledger_balances`.
        held, _ = _last_files(platform, source.name)
        found = read_footers(platform.lake.paths(file for file, _ in held), StagedEvents, beside=_BESIDE)
        wrong = sorted({name for names in found.differing.values() for name in names})
        return result(
            found.keep_contract,
            {
                "staged_files": found.files,
                "rows": found.rows,
                "nulls_in_required_columns": found.nulls,
                "staged_files_with_other_columns": len(found.differing),
                "columns_that_differ": wrong,
            },
        )

    @asset_check(
        asset=asset,
        name=QUARANTINED_SHARE,
        description="Every file can be read, and the share of lines in quarantine keeps the declared bound: of all "
        f"lines, and for {LATELY.days} days after they were booked, of each file and of all files of a day. Names the "
        "worst files.",
    )
    def quarantined_share(platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
        return quarantined_result(platform, source.name)

    @asset_check(
        asset=asset,
        name="late_share",
        description="Share of rows that landed after their day was over and had been built; the bound is declared.",
    )
    def late_share(platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
        found = summary(platform)
        return result(
            found.late_share <= source.bounds.late,
            {"share": found.late_share, "bound": source.bounds.late, "late_rows": found.late},
            warn=True,
            description=f"{found.late_share:.1%} of the rows came after their day was over and had been built, so that "
            f"figures that were there have changed; the bound is {source.bounds.late:.1%}.",
        )

    @asset_check(
        asset=asset,
        name=FRESHNESS,
        description="Hours since the newest file of the source was booked, against the declared bound, if any. Looked "
        "at with every load, and by the sensor `silent_sources` when no file comes any more.",
    )
    def freshness(platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
        return freshness_result(source, summary(platform))

    @asset_check(
        asset=asset,
        name="mapped_columns",
        description="Every raw column that the mapping names has been in a file of the source, or what is mapped from "
        "it has had a value. One that never was is most often misspelt: what is mapped from it is null.",
    )
    def mapped_columns(platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
        missing = platform.missing_columns(source.name)
        return result(not missing, {"missing": [str(each) for each in missing]}, warn=True)

    @asset_check(
        asset=asset,
        name="schema_drift",
        description=f"No raw column is new, gone or of another type than before since {DRIFT.days} days; columns are "
        "known from headers, schemas and samples of records. What began with the first load of the source is no drift.",
    )
    def schema_drift(platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
        since = platform.builds.now() - DRIFT
        found = platform.drift(source.name, since)
        return result(not found, {"changes": len(found), "first": in_words(found)}, warn=True)

    @asset_check(
        asset=asset,
        name=HAS_FILES,
        description="A file in landing matches the path of the source, or one has been loaded. Looked at with every "
        "load, and by the sensor `unmatched_files`.",
    )
    def has_files(platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
        return has_files_result(platform, source)

    return [
        ledger_balances,
        contract,
        quarantined_share,
        late_share,
        freshness,
        mapped_columns,
        schema_drift,
        has_files,
    ]
