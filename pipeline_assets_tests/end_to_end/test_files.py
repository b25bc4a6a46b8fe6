"""Files as they come: unfinished, rewritten, damaged, empty, enormous, or a thousand at once."""

import gzip
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import duckdb
import polars as pl
import pytest

from pipeline_assets.assets.staging import staging_key
from pipeline_assets.jobs import LOAD_JOB
from pipeline_assets.locks import turn
from pipeline_assets.sources.limits import LONGEST_RAW
from pipeline_assets.staging.landing import LandingFile
from pipeline_assets.tables.spec import EVENTS
from pipeline_assets_tests.end_to_end.deployment import CLICKS, QUIET, Deployment
from pipeline_assets_tests.staging.names import ODD_FOLDER

CSV = """\
type: pipeline_assets.components.EventSource
attributes:
  path: orders/*.csv
  format: csv
  mapping: {event_id: id, event_name: "'order'", occurred_at: time, anonymous_id: visitor, country: country}
  bounds: {quarantined: 0.5, late: 1}
"""


def click(number: int, **changes: object) -> str:
    event = {
        "id": f"e{number}",
        "name": "viewed",
        "type": "page",
        "time": f"2026-03-01T10:{number // 60 % 60:02}:{number % 60:02}Z",
        "visitor": "v1",
        "url": "https://shop.example/",
        **changes,
    }
    return json.dumps(event) + "\n"


@pytest.fixture
def clicks(deployment: Deployment) -> Deployment:
    """A deployment with a source of JSON lines."""
    deployment.declare("clicks", CLICKS)
    return deployment


def ids(deployment: Deployment) -> set[str]:
    return set(deployment.table(EVENTS)["event_id"])


def states(deployment: Deployment) -> dict[str, str]:
    return dict(deployment.sql("select path, state from ledger.files where newest order by path"))


class Appending(LandingFile):
    """A file to which somebody writes a line whenever it has been read."""

    lines: list[str]

    def content(self) -> str:
        """The digest of what was there before the next line came."""
        digest = super().content()
        if self.lines:
            with self.path.open("a") as file:
                file.write(self.lines.pop())
            status = self.path.stat()
            # A new time even where the file system's clock is coarse.
            os.utime(self.path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
        return digest


@pytest.fixture
def written_while_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lines that are appended to a file, one after every time that its content was read."""
    monkeypatch.setattr("pipeline_assets.staging.landings.LandingFile", Appending)
    monkeypatch.setattr("pipeline_assets.staging.walking.LandingFile", Appending)
    lines: list[str] = []
    monkeypatch.setattr(Appending, "lines", lines, raising=False)
    return lines


def test_a_file_that_grows_while_it_is_read_is_read_again_and_nothing_of_the_first_attempt_stays(
    clicks: Deployment, written_while_read: list[str]
) -> None:
    clicks.deliver("clicks/a.jsonl", click(0))
    written_while_read.append(click(1))
    clicks.refreshed()
    assert ids(clicks) == {"e0", "e1"}
    assert clicks.summary("clicks")["lines"] == 2
    assert clicks.value("select count(*) from ledger.files") == 1
    assert clicks.is_settled()


def test_a_file_that_never_stops_growing_stays_pending_and_does_not_hold_up_the_others(
    clicks: Deployment, written_while_read: list[str]
) -> None:
    clicks.deliver("clicks/a.jsonl", click(0))
    written_while_read += [click(number) for number in range(1, 30)]
    report = clicks.refresh()
    assert report.pending == ["clicks/a.jsonl"]
    assert report.exit_code == 4
    assert clicks.value("select count(*) from ledger.files") == 0
    written_while_read.clear()
    clicks.refreshed()
    assert clicks.is_settled()


def test_new_content_at_a_known_path_takes_the_place_of_the_old(clicks: Deployment) -> None:
    clicks.deliver("clicks/a.jsonl", click(0) + click(1))
    clicks.refreshed()
    clicks.deliver("clicks/a.jsonl", click(1) + click(2) + click(3))
    clicks.refreshed()
    assert ids(clicks) == {"e1", "e2", "e3"}
    assert clicks.sql("select state, lines::int from ledger.files order by state") == [("active", 3), ("superseded", 2)]
    assert clicks.is_settled()


def test_a_path_may_take_back_what_it_said_and_its_days_become_empty(clicks: Deployment) -> None:
    clicks.deliver("clicks/a.jsonl", click(0))
    clicks.refreshed()
    clicks.deliver("clicks/a.jsonl", "")
    clicks.refreshed()
    assert ids(clicks) == set()
    assert [clicks.value(f"select count(*) from marts.{name}") for name in ("sessions", "daily_activity")] == [0, 0]
    assert clicks.is_settled()


def test_a_touched_file_is_not_loaded_again(clicks: Deployment) -> None:
    path = clicks.deliver("clicks/a.jsonl", click(0))
    clicks.refreshed()
    (before,) = clicks.settings.lake_dir.glob("staging/clicks/*/*.parquet")
    written = before.stat().st_mtime_ns
    path.touch()
    assert clicks.refreshed().builds == []
    assert before.stat().st_mtime_ns == written
    assert clicks.value("select count(*) from ledger.files") == 1
    assert clicks.refresh().idle


def test_a_removed_file_still_counts_for_landing_may_be_emptied(clicks: Deployment) -> None:
    path = clicks.deliver("clicks/a.jsonl", click(0))
    clicks.refreshed()
    path.unlink()
    assert clicks.refresh().idle
    assert ids(clicks) == {"e0"}


def test_empty_files_and_files_of_blank_lines_are_booked_and_give_nothing(clicks: Deployment) -> None:
    clicks.deliver("clicks/empty.jsonl", "")
    clicks.deliver("clicks/blank.jsonl", "\n\r\n  \n")
    clicks.deliver("clicks/bom.jsonl", b"\xef\xbb\xbf")
    clicks.refreshed()
    assert clicks.summary("clicks") == {"files": 3, "lines": 3, "landed": 0, "quarantined": 0, "blank": 3}
    assert clicks.refresh().idle


def test_a_csv_file_of_a_header_only_has_no_lines(deployment: Deployment) -> None:
    deployment.declare("orders", CSV)
    deployment.deliver("orders/a.csv", "id,time,visitor,country\n")
    deployment.refreshed()
    assert deployment.summary("orders") == {"files": 1, "lines": 0, "landed": 0, "quarantined": 0, "blank": 0}


def test_a_truncated_gzip_file_is_unreadable_until_it_is_complete(clicks: Deployment) -> None:
    whole = gzip.compress("".join(click(number) for number in range(2_000)).encode())
    clicks.deliver("clicks/other.jsonl", click(9_999))
    clicks.deliver("clicks/a.jsonl.gz", whole[: len(whole) // 2])
    report = clicks.refresh()
    assert report.failed_runs == []
    assert report.exit_code == 3
    assert states(clicks) == {"clicks/a.jsonl.gz": "unreadable", "clicks/other.jsonl": "active"}
    assert ids(clicks) == {"e9999"}
    assert clicks.refresh().exit_code == 3
    clicks.deliver("clicks/a.jsonl.gz", whole)
    clicks.refreshed()
    assert clicks.summary("clicks")["landed"] == 2_001
    assert clicks.is_settled()


def test_a_line_of_invalid_utf8_is_quarantined_byte_for_byte_and_its_neighbours_land(clicks: Deployment) -> None:
    bad = b'{"id": "\xff\xfe", "visitor": "\xc3"}'
    clicks.deliver("clicks/a.jsonl", click(0).encode() + bad + b"\r\n" + click(1).encode())
    clicks.refreshed()
    assert ids(clicks) == {"e0", "e1"}
    assert clicks.sql("select line, reason, raw from ledger.quarantine") == [(2, "invalid_utf8", bad)]


def test_a_byte_order_mark_does_not_spoil_the_first_record(clicks: Deployment) -> None:
    clicks.deliver("clicks/a.jsonl", b"\xef\xbb\xbf" + click(0).encode())
    clicks.declare("orders", CSV)
    clicks.deliver("orders/a.csv", "\ufeffid,time,visitor,country\n1,2026-03-01T10:00:00Z,v,DE\n")
    clicks.refreshed()
    assert ids(clicks) == {"e0", "1"}


def test_a_line_of_twenty_megabytes_lands(clicks: Deployment) -> None:
    clicks.deliver("clicks/a.jsonl", click(0) + click(1, note="x" * 20_000_000) + click(2))
    clicks.refreshed()
    assert ids(clicks) == {"e0", "e1", "e2"}
    (staged,) = clicks.settings.lake_dir.glob("staging/clicks/*/*.parquet")
    assert (pl.read_parquet(staged)["properties"].str.len_bytes() > 20_000_000).sum() == 1


def test_a_line_of_twenty_megabytes_that_is_no_json_is_quarantined(clicks: Deployment) -> None:
    clicks.deliver("clicks/a.jsonl", click(0) + "x" * 20_000_000 + "\n" + click(1))
    clicks.refreshed()
    found = clicks.sql("select line, reason, length(raw), bytes from ledger.quarantine")
    assert found == [(2, "not_json", LONGEST_RAW, 20_000_000)]


def test_a_line_beyond_the_longest_record_is_quarantined_and_the_next_one_lands(clicks: Deployment) -> None:
    clicks.deliver(
        "clicks/a.jsonl.gz", gzip.compress(click(0).encode() + b"\0" * (40 << 20) + b"\n" + click(1).encode())
    )
    clicks.refreshed()
    assert ids(clicks) == {"e0", "e1"}
    found = clicks.sql("select line, reason, length(raw), bytes from ledger.quarantine")
    assert found == [(2, f"too_long:record (over {32 << 20} bytes)", LONGEST_RAW, 40 << 20)]
    assert clicks.refresh().idle


def test_a_missing_column_is_null_and_a_new_one_is_kept_in_properties(deployment: Deployment) -> None:
    deployment.declare("orders", CSV)
    deployment.deliver("orders/a.csv", "id,time,visitor\n1,2026-03-01T10:00:00Z,v\n")
    deployment.deliver("orders/b.csv", "colour,id,time,visitor,country\nred,2,2026-03-01T11:00:00Z,v,DE\n")
    deployment.refreshed()
    events = deployment.table(EVENTS).select("event_id", "country", "properties").rows()
    assert [(id_, country) for id_, country, _ in events] == [("1", None), ("2", "DE")]
    assert json.loads(events[1][2]) == {"colour": "red"}


def test_a_missing_column_that_is_needed_quarantines_every_row_with_the_reason(deployment: Deployment) -> None:
    deployment.declare("orders", CSV)
    deployment.deliver("orders/a.csv", "id,visitor,country\n1,v,DE\n2,v,DE\n")
    report = deployment.refresh()
    assert report.exit_code == 3
    assert deployment.reasons("orders") == {"missing:occurred_at": 2}


@pytest.mark.exhaustive
def test_a_thousand_pending_files_are_drained_in_bounded_batches(clicks: Deployment) -> None:
    # Most of them are repeats, which are booked faster than they could be loaded.
    files, contents = 1_000, 40
    for number in range(files):
        clicks.deliver(f"clicks/{number}.jsonl", click(number % contents))
    job = clicks.definitions.resolve_job_def(LOAD_JOB)
    step = staging_key("clicks").to_python_identifier()
    left = []
    while clicks.refresher.pending():
        result = job.execute_in_process(
            instance=clicks.instance,
            asset_selection=[staging_key("clicks")],
            run_config={"ops": {step: {"config": {"max_files": 400}}}, **QUIET},
        )
        (materialization,) = result.asset_materializations_for_node(step)
        left.append(materialization.metadata["files_left_pending"].value)
    assert left == [600, 200, 0]
    assert clicks.summary("clicks")["files"] == contents
    assert clicks.value("select count(*) from ledger.files where state = 'repeat'") == files - contents
    clicks.refreshed()
    assert clicks.value("select events::int from marts.daily_activity") == contents
    assert clicks.is_settled()


def test_a_mended_declaration_reads_the_quarantined_lines_again(clicks: Deployment) -> None:
    strict = CLICKS + "  rules: {known_name: \"event_name in ('viewed', 'bought')\"}\n"
    clicks.declare("clicks", strict)
    clicks.deliver("clicks/a.jsonl", click(0) + click(1, name="tapped"))
    clicks.deliver("clicks/b.jsonl", click(2))
    clicks.refreshed()
    assert clicks.reasons("clicks") == {"rule:known_name": 1}
    clicks.declare("clicks", strict.replace("'bought'", "'bought', 'tapped'"))
    clicks.refreshed()
    assert clicks.reasons("clicks") == {}
    assert ids(clicks) == {"e0", "e1", "e2"}
    assert clicks.is_settled()


def test_a_replay_reads_a_file_again_and_changes_nothing_that_was_right(clicks: Deployment) -> None:
    clicks.deliver("clicks/a.jsonl", click(0) + "{broken\n")
    clicks.refreshed()
    before = clicks.everything()
    (content,) = {row[0] for row in clicks.sql("select content from ledger.quarantine")}
    clicks.platform.files.read_again("clicks", [content])
    assert clicks.refreshed().loads == 1
    assert all(clicks.everything()[name].equals(table) for name, table in before.items())
    assert clicks.reasons("clicks") == {"not_json": 1}
    assert clicks.is_settled()


def test_unfinished_uploads_and_hidden_files_are_passed_over(clicks: Deployment) -> None:
    for name in ("clicks/.a.jsonl", "clicks/b.jsonl.part", "clicks/c.tmp", "clicks/d.jsonl.crdownload"):
        clicks.deliver(name, click(0))
    assert clicks.refresh().idle


def test_lost_staged_files_are_staged_again_from_landing(clicks: Deployment) -> None:
    path = clicks.deliver("clicks/a.jsonl", click(0))
    clicks.refreshed()
    (staged,) = clicks.settings.lake_dir.glob("staging/clicks/*/*.parquet")
    staged.unlink()
    assert any("ledger_balances" in check for check in clicks.check_everything())
    path.touch()
    clicks.refreshed()
    (again,) = clicks.settings.lake_dir.glob("staging/clicks/*/*.parquet")
    assert again != staged
    assert clicks.check_everything() == []


def test_the_staging_views_show_what_counts(clicks: Deployment) -> None:
    clicks.deliver("clicks/a.jsonl", click(0) + click(1))
    clicks.refreshed()
    clicks.deliver("clicks/a.jsonl", click(1) + click(2))
    clicks.refreshed()
    with duckdb.connect(str(clicks.settings.lake_dir / "staging.duckdb"), read_only=True) as views:
        assert views.sql("select event_id from clicks order by event_id").fetchall() == [("e1",), ("e2",)]


def test_a_lake_that_takes_nothing_is_told_with_what_to_do_and_the_file_stays_pending(
    clicks: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    clicks.deliver("clicks/a.jsonl", click(0))
    clicks.settings.lake_dir.mkdir(parents=True)
    in_the_way = clicks.settings.lake_dir / "staging"
    in_the_way.write_text("no folder")
    report = clicks.refresh()
    assert (report.exit_code, report.pending) == (1, ["clicks/a.jsonl"])
    assert "cannot be written: Not a directory. A file is where a folder is needed; remove it." in caplog.text
    in_the_way.unlink()
    clicks.refreshed()


def test_who_waits_to_write_the_views_writes_what_counts_when_its_turn_comes(clicks: Deployment) -> None:
    clicks.deliver("clicks/a.jsonl", click(0))
    clicks.refreshed()
    platform = clicks.platform
    lock = f"{clicks.settings.namespace.ledger}/views"
    with ThreadPoolExecutor(1) as pool:
        with turn(platform.postgres_url, lock, "nobody", limit=60):
            waiting = pool.submit(platform.write_views)
            clicks.deliver("clicks/b.jsonl", click(1))
            with duckdb.connect() as database:
                platform.loader("clicks", database).load(platform.pending("clicks"))
            assert not waiting.done()
        assert waiting.result()
    with duckdb.connect(str(clicks.settings.lake_dir / "staging.duckdb"), read_only=True) as views:
        assert views.sql("select event_id from clicks order by event_id").fetchall() == [("e0",), ("e1",)]


def test_two_deployments_do_not_see_each_other(new_deployment: Callable[..., Deployment]) -> None:
    one, other = new_deployment(), new_deployment()
    for deployment in (one, other):
        deployment.declare("clicks", CLICKS)
    one.deliver("clicks/a.jsonl", click(0))
    one.refreshed()
    assert other.refresh().idle


def test_a_name_with_spaces_quotes_and_umlauts_is_a_name_like_any_other(clicks: Deployment) -> None:
    name = 'clicks/Müller\'s "best" [1] 100%;--.jsonl'
    clicks.deliver(name, click(0))
    clicks.refreshed()
    assert states(clicks) == {name: "active"}
    assert ids(clicks) == {"e0"}


def test_what_may_not_be_read_is_told_and_stays_pending_and_the_others_are_loaded(
    clicks: Deployment, tmp_path: Path
) -> None:
    clicks.deliver("clicks/b.jsonl", click(0))
    (tmp_path / "secret.jsonl").write_text(click(1))
    link = clicks.settings.landing_dir / "clicks" / "a.jsonl"
    link.symlink_to(tmp_path / "secret.jsonl")
    for _ in range(2):
        report = clicks.refresh()
        assert report.exit_code == 4
        assert report.failed_runs == []
        assert [(one.name, "leaves landing" in one.reason) for one in report.refused] == [("clicks/a.jsonl", True)]
        assert states(clicks) == {"clicks/b.jsonl": "active"}
    link.unlink()
    clicks.refreshed()


def test_a_deployment_in_a_folder_of_any_name_loads_builds_and_passes_its_checks(
    new_deployment: Callable[..., Deployment], tmp_path: Path
) -> None:
    folder = tmp_path / ODD_FOLDER
    deployment = new_deployment(landing_url=str(folder / "landing"), lake_url=str(folder / "lake"))
    deployment.declare("clicks", CLICKS)
    deployment.deliver("clicks/a[1].jsonl", click(0))
    deployment.deliver("clicks/a1.jsonl", click(1) + click(2, time="2026-03-02T10:00:00Z"))
    deployment.refreshed()
    assert ids(deployment) == {"e0", "e1", "e2"}
    assert deployment.check_everything() == []
    assert deployment.is_settled()


def test_a_load_asked_for_while_nothing_is_pending_does_nothing(clicks: Deployment) -> None:
    result = clicks.definitions.resolve_job_def(LOAD_JOB).execute_in_process(instance=clicks.instance)
    assert result.success
    assert isinstance(result, dg.ExecuteInProcessResult)
    assert clicks.value("select count(*) from ledger.files") == 0
