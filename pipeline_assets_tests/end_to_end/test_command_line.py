"""`pipeline-assets`: what it prints, and the exit codes that cron and CI go by."""

import gzip
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import typer.testing

from pipeline_assets.cli import app
from pipeline_assets.postgres import connect
from pipeline_assets_tests.end_to_end.deployment import BACKBONE_TABLES, CLICKS, FIRST_DAY, without_progress
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
        return result.exit_code, result.stdout, without_progress(result.stderr)

    return invoke


def plain(err: str) -> str:
    """The words in a box that typer draws around a wrong call."""
    return " ".join(err.replace("│", " ").split())


def test_refresh_exits_0_when_all_is_up_to_date_and_a_second_one_says_that_there_is_nothing_to_do(
    run: Run, landing: Path
) -> None:
    (landing / "a.jsonl").write_text(click(0) + click(1))
    code, out, err = run("refresh")
    assert (code, err) == (0, "")
    assert "Built 2026-03-01: 4 tables (1 day was stale)." in out
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


def test_a_full_look_has_staged_rows_that_have_gone_from_the_lake_staged_again(
    run: Run, landing: Path, tmp_path: Path
) -> None:
    (landing / "a.jsonl").write_text(click(0))
    assert run("refresh")[0] == 0
    (staged,) = (tmp_path / "data" / "lake" / "staging" / "clicks").glob("*/*.parquet")
    staged.unlink()
    assert run("refresh", "--full")[0] == 0
    (again,) = staged.parents[1].glob("*/*.parquet")
    assert again != staged


def test_a_typo_in_a_declaration_stops_what_writes_and_is_told_by_what_reads(run: Run, declaration: Path) -> None:
    text = declaration.read_text().replace("anonymous_id", "anonymos_id")
    declaration.write_text(text)
    line = next(number for number, found in enumerate(text.splitlines(), 1) if "anonymos_id" in found)
    for command, exit_code in (("refresh", 1), ("status", 0), ("sql", 0), ("quarantine", 0), ("postgres-url", 0)):
        rest = {"sql": ["select 1 as one"], "quarantine": ["list"]}.get(command, [])
        code, out, err = run(command, *rest)
        assert code == exit_code
        assert out or exit_code
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
    assert "clicks: 1 file pending, the first is clicks/a.jsonl" in out
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
    code, out, err = run("quarantine", "list", "--source", "click")
    assert (code, out) == (2, "")
    assert "there is no source 'click'; did you mean 'clicks'?" in plain(err)
    code, _, err = run("quarantine", "replay", "--reason", "not_jsn")
    assert code == 2
    assert "no reason begins with 'not_jsn'; did you mean 'not_json'?" in plain(err)
    document = json.loads(run("quarantine", "list", "--json")[1])
    assert document == [{"source": "clicks", "path": "clicks/a.jsonl", "line": 2, "reason": "not_json"}]


def test_quarantine_list_says_how_many_lines_it_leaves_out(run: Run, landing: Path) -> None:
    (landing / "a.jsonl").write_text(click(0) + "{broken\n" * 3)
    run("refresh")
    code, out, err = run("quarantine", "list", "--limit", "2")
    assert (code, len(out.splitlines())) == (0, 3)
    assert err == "These are the first 2 of 3 lines; --limit shows more.\n"
    assert run("quarantine", "list", "--limit", "3")[2] == ""


def test_a_message_is_one_line_where_nobody_looks_at_it(run: Run, landing: Path) -> None:
    name = f"{'long' * 50}.jsonl"
    (landing / name).write_text("{broken\n" * 3)
    _, _, err = run("refresh")
    assert f"clicks: clicks/{name}: 3 of 3 lines are in quarantine (100.0%): not_json: 3" in err.splitlines()


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
    assert "Reading 1 file with 1 quarantined line again." in out
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


def test_refresh_and_status_as_json_are_one_document_each_and_hold_what_the_tables_hold(
    run: Run, landing: Path
) -> None:
    (landing / "a.jsonl").write_text(click(0) + "{broken\n" + click(1))
    code, out, _ = run("refresh", "--json")
    document = json.loads(out)
    assert code == document["exit_code"] == 3
    (source,) = document["sources"]
    assert (source["source"], source["lines"], source["landed"], source["reasons"]) == ("clicks", 3, 2, {"not_json": 1})
    assert source["beyond_bounds"] is True
    (check,) = document["failed_checks"]
    broken = {"file": "clicks/a.jsonl", "lines": 3, "quarantined": 1}
    assert check["values"]["worst_files"][0].items() >= broken.items()
    assert [check["description"]] == source["broken"]
    (built,) = document["built"]
    assert (built["first_day"], built["last_day"], built["stale_days"]) == ("2026-03-01", "2026-03-01", 1)
    document = json.loads(run("status", "--json")[1])
    assert document["sources"][0]["broken"] == source["broken"]
    assert document["identifiers"]["events"] == 2
    activity = next(table for table in document["tables"] if table["table"] == "daily_activity")
    assert activity == {
        "table": "daily_activity",
        "daily": True,
        "built": True,
        "days_built": 1,
        "first_day": "2026-03-01",
        "last_day": "2026-03-01",
        "last_day": "2026-03-01",
        "lost": False,
        "stale_days": 0,
    }
    assert document["mistakes"] == []


def test_sql_answers_every_statement_one_after_the_other(run: Run) -> None:
    several = "select 1 as a; select ';' as b -- ; none\n; ; select 2.50::numeric as c;"
    assert run("sql", several) == (0, "a\n1\n\nb\n;\n\nc\n2.5\n", "")
    code, out, _ = run("sql", "--json", several)
    assert code == 0
    assert json.loads(out, parse_float=str) == [[{"a": 1}], [{"b": ";"}], [{"c": "2.50"}]]
    code, _, err = run("sql", "select 1; select nothing from nowhere")
    assert code == 1
    assert 'relation "nowhere" does not exist' in err


@pytest.mark.parametrize(
    "escape",
    [
        "commit; delete from public.kept",
        "rollback; begin read write; delete from public.kept; commit",
        "commit and chain; set transaction read write; delete from public.kept; commit",
        "set transaction read write; delete from public.kept; commit",
        "set default_transaction_read_only = off; commit; delete from public.kept",
        "select set_config('default_transaction_read_only', 'off', false); end; delete from public.kept",
        "release before_it; set transaction read write; delete from public.kept; commit",
        "rollback to before_it; set transaction_read_only = off; delete from public.kept",
        "savepoint before_it; release before_it; set transaction read write; delete from public.kept; commit",
        "do $$ begin set transaction read write; delete from public.kept; end $$",
        "do $$ begin commit; delete from public.kept; end $$",
        "reset all; abort; delete from public.kept",
        "delete from public.kept; select 1",
        "select lo_from_bytea(4711, 'x'); delete from public.kept",
    ],
)
def test_sql_lets_no_statement_out_of_the_transaction_that_only_reads(run: Run, postgres_url: str, escape: str) -> None:
    with connect(postgres_url, autocommit=True) as connection:
        connection.execute("create table public.kept as select 1 as x")
        code, _, err = run("sql", escape)
        assert code == 1
        assert err
        assert connection.execute("select count(*) from public.kept").fetchone() == (1,)


@pytest.mark.parametrize(
    "statement",
    [
        "copy (select 1) to program 'cat > {file}'",
        "select 1; /* ; /* */ */ -- ;\n COPY (select 1) to '{file}'",
        "do $$ begin execute 'copy (select 1) to program \"touch {file}\"'; end $$",
        "load '{file}'",
    ],
)
def test_sql_writes_no_file_and_runs_no_program_where_it_only_reads(run: Run, tmp_path: Path, statement: str) -> None:
    file = tmp_path / "written"
    code, _, err = run("sql", statement.format(file=file))
    assert (code, file.exists()) == (1, False)
    assert "allow changes with --write" in err


def test_sql_gives_values_of_every_type_exactly(run: Run) -> None:
    query = """select 12345678901234567890.123456789012345678901234567890::numeric as n, 'NaN'::numeric as nan,
        'infinity'::timestamptz as late, '2026-03-01 12:00+02'::timestamptz as at, date '2026-03-01' as day,
        interval '1 day 90 minutes' as took, true as yes, null as nothing, '{"a": 1.10}'::jsonb as nested,
        array[1, 2] as list, '\\x00ff'::bytea as bytes, 1.5::float8 as half, 1 as half"""
    out = run("sql", "--json", query.replace("\\\\", "\\"))[1]
    (row,) = json.loads(out, parse_float=str)
    assert row == {
        "n": "12345678901234567890.123456789012345678901234567890",
        "nan": "NaN",
        "late": "infinity",
        "at": "2026-03-01T10:00:00+00:00",
        "day": "2026-03-01",
        "took": "P1DT5400S",
        "yes": True,
        "nothing": None,
        "nested": {"a": "1.10"},
        "list": [1, 2],
        "bytes": "\\x00ff",
        "half": "1.5",
        "half_2": 1,
    }


def test_several_statements_that_write_are_one_transaction(run: Run) -> None:
    code, _, err = run("sql", "--write", "create table public.mine (x int); select 1/0")
    assert code == 1
    assert "division by zero" in err
    assert run("sql", "select to_regclass('public.mine') as there")[1] == 'there\n""\n'


def test_what_retire_and_the_app_do_not_know_is_told_with_a_suggestion(run: Run) -> None:
    code, _, err = run("retire", "clicks", "--kind", "sauce")
    assert code == 2
    assert "there is nothing of the kind 'sauce'; did you mean 'source'?" in plain(err)
    code, _, err = run("refrehs")
    assert code == 2
    assert "Did you mean 'refresh'" in plain(err)


def test_the_version_is_printed(run: Run) -> None:
    assert re.fullmatch(r"pipeline-assets \d+\.\d+.*\n", run("--version")[1])


def test_an_interrupted_refresh_ends_with_one_line_and_130_and_the_next_one_does_all(
    run: Run, landing: Path, postgres_url: str
) -> None:
    (landing / "a.jsonl").write_text("".join(click(number) for number in range(60_000)))
    command = [sys.executable, "-c", "from pipeline_assets.cli import app; app()", "refresh"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        with connect(postgres_url, autocommit=True) as connection:
            begun = "select count(*) from pg_class where relname = 'runs' and relnamespace = to_regnamespace('dagster')"
            while connection.execute(begun).fetchone() != (1,) or connection.execute(
                "select count(*) from dagster.runs where status = 'STARTED'"
            ).fetchone() != (1,):
                assert process.poll() is None
                time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, "")
    said = [line for line in err.splitlines() if not line.endswith("so far)")]
    assert len(said) == 1
    assert said[0].startswith("Interrupted.")
    assert run("refresh")[0] == 0
    assert run("sql", "select sum(events) from marts.daily_activity")[1] == "sum\n60000\n"


@pytest.mark.parametrize("format", [[], ["--json"]])
def test_a_reader_that_goes_away_is_no_error_to_talk_about(run: Run, format: list[str]) -> None:
    query = "select g, repeat('x', 1000) as x from generate_series(1, 1000) g"
    command = [sys.executable, "-c", "from pipeline_assets.cli import app; app()", "sql", *format, query]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr
        assert process.stderr.read() == b""
