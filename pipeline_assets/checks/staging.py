"""Checks of the staging assets: the ledger's equations, and shares that a source declares bounds for."""

from datetime import date

import dagster as dg
import pyarrow.parquet as pq

from pipeline_assets.checks.footers import read_footers
from pipeline_assets.checks.grouping import Check, asset_check
from pipeline_assets.checks.results import result
from pipeline_assets.contracts.staged_events import StagedEvents
from pipeline_assets.ledger.summary import SourceSummary, summarise
from pipeline_assets.platform import Platform
from pipeline_assets.sources.declaration import Source
from pipeline_assets.staging.staged import lost_files

# Staged files whose footers are read by one check, the newest ones; the others only have to exist.
_FOOTERS = 200
# Columns of the rows that are quarantined; in a staged file they are null.
_BESIDE = ("reason", "raw", "raw_bytes")


def staging_checks(source: Source, asset: dg.AssetKey) -> list[Check]:
    """The checks of one source's staging asset."""

    def summary(platform: Platform) -> SourceSummary:
        return summarise(platform.engine, source.name)

    @asset_check(
        asset=asset,
        name="ledger_balances",
        blocking=True,
        description="Every line of every file that counts has landed, is quarantined or is blank, and every landed "
        "row is in a staged Parquet file.",
    )
    def ledger_balances(platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
        found = summary(platform)
        lake = platform.settings.lake_dir
        # A file that has left landing is not read again when the first day moves, and keeps its earlier days.
        files = platform.files.staged_files([source.name], date.min, date.max)
        gone = lost_files(lake, files)
        wrong = [
            file
            for file in files[-_FOOTERS:]
            if file not in gone and pq.read_metadata(lake / file.relative_path).num_rows != file.rows
        ]
        staged = sum(file.rows for file in files)
        balanced = found.lines == found.landed + found.quarantined + found.blank and found.landed == staged
        return result(
            balanced and not gone and not wrong,
            {
                "files": found.files,
                "lines": found.lines,
                "landed": found.landed,
                "quarantined": found.quarantined,
                "blank": found.blank,
                "staged_rows": staged,
                "staged_files": len(files),
                "staged_files_missing": len(gone),
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
        files = platform.files.staged_files([source.name], platform.settings.first_day, date.max)
        paths = [platform.settings.lake_dir / file.relative_path for file in files]
        # That a file is missing is told by `ledger_balances`.
        written = {path: path.stat().st_mtime_ns for path in paths if path.exists()}
        found = read_footers(sorted(written, key=written.__getitem__)[-_FOOTERS:], StagedEvents, beside=_BESIDE)
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
        name="quarantined_share",
        description="Share of lines in quarantine, and files that cannot be read at all, against the declared bounds.",
    )
    def quarantined_share(platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
        found = summary(platform)
        return result(
            found.quarantined_share <= source.bounds.quarantined and found.unreadable == 0,
            {
                "share": found.quarantined_share,
                "bound": source.bounds.quarantined,
                "quarantined": found.quarantined,
                "unreadable_files": found.unreadable,
                "reasons": found.reasons,
            },
            warn=True,
        )

    @asset_check(
        asset=asset,
        name="late_share",
        description="Share of rows that landed after their day had been built, against the declared bound.",
    )
    def late_share(platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
        found = summary(platform)
        return result(
            found.late_share <= source.bounds.late,
            {"share": found.late_share, "bound": source.bounds.late, "late_rows": found.late},
            warn=True,
        )

    @asset_check(
        asset=asset,
        name="freshness",
        description="Hours since the newest file of the source was booked, against the declared bound, if any.",
    )
    def freshness(platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
        hours = summary(platform).hours_since_newest
        bound = source.bounds.freshness_hours
        return result(
            bound is None or (hours is not None and hours <= bound),
            {
                "hours_since_newest_file": hours if hours is not None else "no file yet",
                "bound": bound if bound is not None else "none declared",
            },
            warn=True,
        )

    return [ledger_balances, contract, quarantined_share, late_share, freshness]
