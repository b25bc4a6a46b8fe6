"""`pipeline-assets`: what it prints, and the exit codes that cron and CI go by."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
import typer.testing

from pipeline_assets.cli import app
from pipeline_assets_tests.end_to_end.deployment import BACKBONE_TABLES, CLICKS, FIRST_DAY
from pipeline_assets_tests.end_to_end.test_files import click

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    """The landing folder, with room for clicks."""
    folder = tmp_path / "data" / "landing" / "clicks"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def declaration(tmp_path: Path) -> Path:
    """The declaration of a source of JSON lines."""
    file = tmp_path / "defs" / "clicks" / "defs.yaml"
    file.parent.mkdir(parents=True)
    # Without what its records do not have, of which `refresh` would tell.
    lines = [line for line in CLICKS.splitlines(keepends=True) if "revenue" not in line]
    file.write_text("".join(lines).replace("quarantined: 0.5", "quarantined: 0.1"))
    return file


@pytest.fixture
def run(tmp_path: Path, postgres_url: str, landing: Path, declaration: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A function that runs a command line on a deployment: exit code, output and errors."""
    monkeypatch.setenv("PIPELINE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PIPELINE_TABLES", ",".join(BACKBONE_TABLES))
    monkeypatch.setenv("PIPELINE_FIRST_DAY", FIRST_DAY.isoformat())
    monkeypatch.setenv("PIPELINE_POSTGRES_URL", postgres_url)
    monkeypatch.setenv("PIPELINE_DEFS_DIR", str(declaration.parents[1]))
    runner = typer.testing.CliRunner()

    def invoke(*arguments: str) -> tuple[int, str, str]:
        result = runner.invoke(app, list(arguments))
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.stdout, result.stderr

    return invoke


def test_refresh_exits_0_when_all_is_up_to_date_and_a_second_one_says_that_there_is_nothing_to_do(
    run: Run, landing: Path
) -> None:
    (landing / "a.jsonl").write_text(click(0) + click(1))
    code, out, err = run("refresh")
    assert (code, err) == (0, "")
    assert "Built 2026-03-01: 4 tables (1 days were stale)." in out
    assert run("refresh") == (0, "Nothing to do: no file is pending and every day is built from what is there.\n", "")


def test_refresh_exits_3_when_more_was_quarantined_than_declared_and_the_rest_has_landed(
    run: Run, landing: Path
) -> None:
    (landing / "a.jsonl").write_text(click(0) + "{broken\n" + click(1))
    code, _, err = run("refresh")
    assert code == 3
    assert "clicks: 1 of 3 lines are in quarantine (33.3%), beyond the bound of 10.0%" in err
    assert run("sql", "select sum(events) from marts.daily_activity")[1] == "sum\n2\n"


def test_refresh_says_what_to_declare_where_no_line_of_an_access_log_fits(
    run: Run, landing: Path, declaration: Path
) -> None:
    declaration.write_text(
        "type: pipeline_assets.components.EventSource\n"
        "attributes:\n  path: clicks/*\n  format: combined_log\n"
        "  mapping: {occurred_at: time, anonymous_id: remote_host}\n"
    )
    line = 'www.example.com:443 203.0.113.7 - - [02/Mar/2026:10:00:01 +0000] "GET / HTTP/1.1" 200 5 "-" "curl/8"\n'
    (landing / "access.log").write_text(line)
    code, out, err = run("refresh")
    assert code == 3
    assert "The lines look like vhost_combined_log: declare `format: vhost_combined_log`" in " ".join(err.split())
    assert "203.0.113.7" not in out + err


def test_refresh_exits_3_again_as_long_as_a_file_cannot_be_read(run: Run, landing: Path) -> None:
    whole = gzip.compress(click(0).encode() * 100)
    (landing / "a.jsonl.gz").write_bytes(whole[:-20])
    assert run("refresh")[0] == 3
    code, _, err = run("refresh")
    assert code == 3
    assert "clicks/a.jsonl.gz: cannot be read: " in err
    (landing / "a.jsonl.gz").write_bytes(whole)
    assert run("refresh")[0] == 0


def test_refresh_exits_1_when_a_run_fails_and_says_which_and_why(run: Run, landing: Path, tmp_path: Path) -> None:
    (landing / "a.jsonl").write_text(click(0))
    assert run("refresh")[0] == 0
    (staged,) = (tmp_path / "data" / "lake" / "staging" / "clicks").glob("*/*.parquet")
    staged.write_bytes(b"damaged")
    (landing / "b.jsonl").write_text(click(1))
    code, _, err = run("refresh")
    assert code == 1
    assert "ledger_balances" in err
    assert "failed" in err


def test_staged_rows_that_have_gone_from_the_lake_are_staged_again(run: Run, landing: Path, tmp_path: Path) -> None:
    (landing / "a.jsonl").write_text(click(0))
    assert run("refresh")[0] == 0
    (staged,) = (tmp_path / "data" / "lake" / "staging" / "clicks").glob("*/*.parquet")
    staged.unlink()
    assert run("refresh")[0] == 0
    assert staged.exists()


def test_a_typo_in_a_declaration_exits_1_with_file_line_and_a_suggestion(run: Run, declaration: Path) -> None:
    text = declaration.read_text().replace("anonymous_id", "anonymos_id")
    declaration.write_text(text)
    line = next(number for number, found in enumerate(text.splitlines(), 1) if "anonymos_id" in found)
    for command in ("refresh", "status"):
        code, _, err = run(command)
        assert code == 1
        message = "".join(err.split())
        assert f"{declaration}:{line}:5:" in message
        assert "didyoumean'anonymous_id'?" in message
        assert "Traceback" not in err


def test_a_setting_that_cannot_be_used_exits_1_and_names_the_variable(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_TIMEZONE", "Europe/Berlinn")
    code, _, err = run("refresh")
    assert code == 1
    assert "PIPELINE_TIMEZONE" in err


def test_sql_prints_true_for_the_equation_of_the_ledger(run: Run, landing: Path) -> None:
    (landing / "a.jsonl").write_text(click(0) + "\n" + "".join(click(number) for number in range(1, 20)) + "{broken\n")
    run("refresh")
    equation = (
        "select sum(lines) = sum(landed + quarantined + blank) as balances from ledger.files where state = 'active'"
    )
    assert run("sql", equation) == (0, "balances\ntrue\n", "")
    assert run("sql", equation.replace("=", "<>", 1)) == (0, "balances\nfalse\n", "")


def test_sql_refuses_to_change_anything_unless_asked_to(run: Run) -> None:
    code, _, err = run("sql", "create table public.mine (x int)")
    assert code == 1
    assert "read-only transaction" in err
    assert run("sql", "--write", "create table public.mine (x int)")[0] == 0
    assert run("sql", "select count(*) from public.mine")[1] == "count\n0\n"


def test_sql_with_a_mistake_exits_1_with_the_words_of_postgresql(run: Run) -> None:
    code, _, err = run("sql", "select nothing from nowhere")
    assert code == 1
    assert 'relation "nowhere" does not exist' in err


def test_status_tells_what_is_pending_and_what_is_stale(run: Run, landing: Path) -> None:
    (landing / "a.jsonl").write_text(click(0))
    code, out, _ = run("status")
    assert code == 0
    assert "clicks: 1 files pending, the first is clicks/a.jsonl" in out
    run("refresh")
    code, out, _ = run("status")
    assert code == 0
    assert "pending" not in out
    assert [line.split("│")[5].strip() for line in out.splitlines() if "│ daily_activity" in line] == ["0"]


def test_quarantine_list_shows_file_line_and_reason_and_the_line_itself_only_when_asked(
    run: Run, landing: Path
) -> None:
    (landing / "a.jsonl").write_text(click(0) + "{broken by anna@example.org\n")
    run("refresh")
    assert run("quarantine", "list") == (0, "source,path,line,reason\nclicks,clicks/a.jsonl,2,not_json\n", "")
    assert "{broken by anna@example.org" in run("quarantine", "list", "--raw")[1]
    assert run("quarantine", "list", "--source", "web") == (0, "source,path,line,reason\n", "")


def test_neither_output_nor_errors_of_a_refresh_repeat_a_quarantined_line(run: Run, landing: Path) -> None:
    (landing / "a.jsonl").write_text('{"id": "1", "visitor": "anna@example.org", "time": "anna@example.org"}\n')
    _, out, err = run("refresh")
    assert "anna" not in out + err


def test_quarantine_replay_reads_the_lines_again_and_tells_what_became_of_them(
    run: Run, landing: Path, declaration: Path
) -> None:
    (landing / "a.jsonl").write_text(click(0) + click(1, time="01.03.2026"))
    assert run("refresh")[0] == 3
    code, out, _ = run("quarantine", "replay", "--source", "clicks")
    assert code == 3
    assert "Reading 1 files with 1 quarantined lines again." in out
    text = declaration.read_text().replace(
        "occurred_at: time",
        "occurred_at: \"case when time like '01.03.%' then '2026-03-01' else time end\"",
    )
    declaration.write_text(text)
    code, out, _ = run("quarantine", "replay", "--source", "clicks")
    assert code == 0
    assert "Built 2026-03-01" in out
    assert run("quarantine", "list")[1] == "source,path,line,reason\n"
    assert run("sql", "select sum(events) from marts.daily_activity")[1] == "sum\n2\n"
