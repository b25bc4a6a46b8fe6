"""`pipeline-assets init`: all of a project or nothing of it, and nothing that was there is touched."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import typer.testing
import yaml

from pipeline_assets.cli import app
from pipeline_assets.code_location import code_location_name
from pipeline_assets.component_tree.loading import declared
from pipeline_assets.declarations.analyses import Funnel
from pipeline_assets.settings import PROJECT_ROOT, Settings
from pipeline_assets.staging.walking import scan
from pipeline_assets.starting.guessing import Wishes
from pipeline_assets.starting.projects import StartError, module_name, plan

Run = Callable[..., tuple[int, str, str]]

CLICKS = "".join(
    f'{{"time": "2024-03-1{day}T10:00:00Z", "visitor": "secret-{day % 2}", "event": "{name}"}}\n'
    for day in range(3, 7)
    for name in ("view", "buy")
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A function that runs the command in an empty folder: exit code, output and errors, each on one line."""
    (tmp_path / "clicks.jsonl").write_text(CLICKS)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    for name in ("PIPELINE_DEFS_DIR", "PIPELINE_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    runner = typer.testing.CliRunner()

    def invoke(*arguments: str) -> tuple[int, str, str]:
        result = runner.invoke(app, ["init", *arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, " ".join(result.stdout.split()), " ".join(result.stderr.split())

    return invoke


def everything(folder: Path) -> dict[str, bytes]:
    """All files below a folder, with what is in them."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_project_is_begun_from_a_sample_and_its_declarations_can_be_loaded(run: Run) -> None:
    code, out, err = run("shop", "--sample", "../clicks.jsonl")
    assert (code, err) == (0, "")
    assert "8 of 8 records become events of 2 visitors" in out
    settings = Settings.for_project(Path("shop"), {})
    assert settings.defs_dir == Path("shop/shop/defs").absolute()
    assert (settings.landing_dir / "clicks" / "clicks.jsonl").read_text() == CLICKS
    sources, analyses = declared(settings)
    assert [source.name for source in sources] == ["clicks"]
    (funnel,) = analyses.of(Funnel)
    assert [step.event for step in funnel.steps] == [("view",), ("buy",)]


def test_dg_and_the_workspace_call_the_project_the_same_and_so_do_its_runs(run: Run) -> None:
    run("shop-2026")
    (location,) = yaml.safe_load(Path("shop-2026/workspace.yaml").read_text())["load_from"]
    assert location["python_module"]["location_name"] == code_location_name(Path("shop-2026")) == "shop_2026"


def test_no_value_of_a_record_is_printed(run: Run) -> None:
    _, out, err = run("shop", "--sample", "../clicks.jsonl")
    assert "secret" not in out + err
    Path("../clicks.csv").write_text("city,visitor\nsecret town,secret-1\n")
    code, out, err = run("other", "--sample", "../clicks.csv")
    assert code == 1
    assert "There are: city, visitor" in err
    assert "secret" not in out + err


def test_what_is_not_there_yet_is_written_without_a_sample_too(run: Run) -> None:
    code, out, _ = run("shop")
    assert code == 0
    assert "init . --sample FILE" in out
    assert declared(Settings.for_project(Path("shop"), {}))[0] == []
    assert "There is no source yet" in Path("shop/README.md").read_text()


def test_a_password_in_env_gets_into_no_version_control(run: Run) -> None:
    run("shop")
    ignored = Path("shop/.gitignore").read_text().splitlines()
    assert {"/.env", "/data/"} <= set(ignored)
    assert Path("shop/.env.example").read_text() == Path("shop/.env").read_text()


def test_data_and_settings_are_their_owner_s_alone_and_code_is_the_team_s(run: Run) -> None:
    before = os.umask(0o022)
    try:
        run("shop", "--sample", "../clicks.jsonl")
    finally:
        os.umask(before)
    modes = {
        path.relative_to("shop").as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in (Path("shop"), *Path("shop").rglob("*"))
    }
    data = {name: mode for name, mode in modes.items() if name.split("/")[0] in ("data", ".env")}
    assert data == {
        "data": 0o700,
        "data/landing": 0o700,
        "data/landing/clicks": 0o700,
        "data/landing/clicks/clicks.jsonl": 0o600,
        ".env": 0o600,
    }
    assert {mode for name, mode in modes.items() if name not in data} == {0o755, 0o644}


def test_where_the_file_system_knows_no_links_it_is_copied(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(self))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    assert run("shop", "--sample", "../clicks.jsonl")[0] == 0
    assert Path("shop/data/landing/clicks/clicks.jsonl").read_text() == CLICKS
    Path("other").mkdir()
    Path("other/README.md").write_text("mine")
    start = plan(Path("another"), [Path("../clicks.jsonl")], Wishes())
    Path("other").rename("another")
    with pytest.raises(StartError, match="README"):
        start.write()
    assert everything(Path("another")) == {"README.md": b"mine"}


def test_the_folder_may_be_there_if_it_is_empty_and_may_be_the_working_folder(run: Run) -> None:
    assert run(".", "--sample", "../clicks.jsonl")[0] == 0
    assert Path("work/definitions.py").is_file()


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("full", "full is not empty"),
        ("file", "file is a file"),
        ("project/shop", "lies within the project"),
        ("project", "is a project already"),
        (str(PROJECT_ROOT / "shop"), "choose a folder outside of it, such as"),
        (str(PROJECT_ROOT), "is the clone of pipeline-assets; choose a folder outside of it"),
    ],
)
def test_nothing_that_is_there_is_touched(run: Run, folder: str, message: str) -> None:
    Path("full").mkdir()
    Path("full/mine.txt").write_text("mine")
    Path("file").write_text("mine")
    Path("project").mkdir()
    Path("project/.env").write_text("PIPELINE_DEFS_DIR=defs\n")
    before = everything(Path())
    code, out, err = run(folder)
    assert (code, out) == (1, "")
    assert message in err
    assert everything(Path()) == before
    assert not (PROJECT_ROOT / "shop").exists()


def test_of_a_project_that_cannot_be_written_nothing_is_left(run: Run, tmp_path: Path) -> None:
    sample = tmp_path / "gone.jsonl"
    sample.write_text(CLICKS)
    start = plan(Path("deep/shop"), [sample], Wishes())
    sample.unlink()
    with pytest.raises(StartError, match=r"gone\.jsonl: No such file or directory\. Nothing was written\."):
        start.write()
    assert list(Path().iterdir()) == []


def test_what_somebody_else_has_written_meanwhile_stays_and_nothing_is_beside_it(run: Run) -> None:
    start = plan(Path("shop"), [Path("../clicks.jsonl")], Wishes())
    Path("shop").mkdir()
    Path("shop/README.md").write_text("mine")
    with pytest.raises(StartError, match="README"):
        start.write()
    assert everything(Path("shop")) == {"README.md": b"mine"}


@pytest.mark.parametrize(
    ("folder", "module"),
    [
        ("shop", "shop"),
        ("shop-2026", "shop_2026"),
        ("Käse Laden", "kase_laden"),
        ("2026", "project_2026"),
        ("test", "test_project"),
        ("dagster", "dagster_project"),
        ("pipeline_assets", "pipeline_assets_project"),
        ("class", "class_project"),
        ("data", "data_project"),
    ],
)
def test_a_package_has_a_name_of_python_s_that_no_other_module_has(tmp_path: Path, folder: str, module: str) -> None:
    name, remarks = module_name(tmp_path / folder)
    assert name == module
    assert bool(remarks) == (folder != module)


def test_a_folder_without_a_latin_letter_gets_no_package(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="choose one with Latin letters"):
        module_name(tmp_path / "店")


def test_a_project_gets_another_source_whose_times_are_of_its_zone(run: Run) -> None:
    run("shop", "--sample", "../clicks.jsonl", "--time-zone", "Europe/Berlin")
    before = everything(Path("shop"))
    Path("../app-2024-03.csv").write_text("when,device_id\n2024-03-13 10:00:00,a\n")
    assert run("shop", "--sample", "../app-2024-03.csv")[0] == 0
    after = everything(Path("shop"))
    assert after.keys() - before.keys() == {"shop/defs/app/defs.yaml", "data/landing/app/app-2024-03.csv"}
    assert {name: after[name] for name in before} == before
    sources, _ = declared(Settings.for_project(Path("shop"), {}))
    assert {source.name: source.time.zone for source in sources} == {"app": "Europe/Berlin", "clicks": None}
    code, _, err = run("shop", "--sample", "../app-2024-03.csv")
    assert code == 1
    assert "is there already. Give the source another name: --source NAME" in err
    assert everything(Path("shop")) == after


def test_a_source_of_a_landing_bucket_is_declared_and_its_sample_left_to_be_delivered(run: Run) -> None:
    run("shop")
    with Path("shop/.env").open("a") as settings:
        settings.write("PIPELINE_LANDING_URL=s3://shop-events/landing\n")
    before = everything(Path("shop"))
    code, out, _ = run("shop", "--sample", "../clicks.jsonl")
    assert code == 0
    assert "Deliver the sample, and what follows, below s3://shop-events/landing/clicks/" in out
    assert everything(Path("shop")).keys() - before.keys() == {"shop/defs/clicks/defs.yaml"}
    (source,), _ = declared(Settings.for_project(Path("shop"), {}))
    assert source.path == "clicks/*.jsonl*"


def test_somebody_else_s_dagster_project_is_told_how_it_gets_a_pipeline(run: Run) -> None:
    Path("acme").mkdir()
    Path("acme/pyproject.toml").write_text('[tool.dg]\ndirectory_type = "project"\n')
    code, _, err = run("acme", "--sample", "../clicks.jsonl")
    assert code == 1
    assert "dg scaffold defs pipeline_assets.components.EventPipeline NAME" in err
    assert list(Path("acme").iterdir()) == [Path("acme/pyproject.toml")]


def test_a_sample_that_lies_in_landing_stays_where_it_is(run: Run) -> None:
    run("shop")
    landed = Path("shop/data/landing/web/2024/clicks.jsonl")
    landed.parent.mkdir(parents=True)
    landed.write_text(CLICKS)
    assert run("shop", "--sample", str(landed), "--source", "web")[0] == 0
    assert list(Path("shop/data/landing").rglob("*.jsonl")) == [landed]
    (source,), _ = declared(Settings.for_project(Path("shop"), {}))
    assert source.path == "web/2024/*.jsonl*"


@pytest.mark.parametrize("name", ["_clicks.jsonl", ".clicks.jsonl", "clicks.jsonl.part", "._.tmp", "..."])
def test_a_sample_gets_a_name_that_a_load_does_not_pass_over(run: Run, name: str) -> None:
    Path("..", name).write_text(CLICKS)
    assert run("shop", "--sample", f"../{name}")[0] == 0
    settings = Settings.for_project(Path("shop"), {})
    (source,), _ = declared(settings)
    (file,) = scan(settings.landing_dir, source.path).files
    assert file.path.read_text() == CLICKS
    landed = settings.landing_dir / name
    landed.write_text(CLICKS)
    code, _, err = run("shop", "--sample", str(landed), "--source", "other")
    assert code == 1
    assert "are passed over; rename it" in err


def test_a_folder_of_samples_is_one_source_called_like_it_without_what_is_hidden(run: Run) -> None:
    folder = Path("../exports")
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "part-1.jsonl").write_text(CLICKS)
    (folder / "part-2.jsonl").write_text(CLICKS.replace("10:00", "11:00"))
    (folder / "_SUCCESS").write_text("")
    code, out, _ = run("shop", "--sample", str(folder), "--source", "web")
    assert code == 0
    assert "16 of 16 records" in out
    assert sorted(path.name for path in Path("shop/data/landing/web").iterdir()) == ["part-1.jsonl", "part-2.jsonl"]


def test_a_sample_older_than_the_first_day_moves_it(run: Run) -> None:
    Path("../old.csv").write_text("time,visitor\n2004-03-13T10:00:00Z,a\n2005-03-13T10:00:00Z,b\n")
    assert run("shop", "--sample", "../old.csv")[0] == 0
    assert Settings.for_project(Path("shop"), {}).first_day.isoformat() == "2004-01-01"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sample", "nowhere.csv"], "--sample nowhere.csv: there is no such file or folder"),
        (["--sample", "../clicks.jsonl", "--time-zone", "Europe/Berln"], "did you mean 'Europe/Berlin'?"),
        (["--sample", "../clicks.jsonl", "--visitor", "visiter"], "did you mean 'visitor'?"),
        (["--sample", "../clicks.jsonl", "--source", "My Shop"], "--source My Shop: a name has lower-case letters"),
        (["--sample", "../clicks.jsonl", "--time", "event"], "its values are no times"),
    ],
)
def test_what_cannot_be_begun_is_told_in_one_line_and_nothing_is_written(
    run: Run, arguments: list[str], message: str
) -> None:
    code, _, err = run("shop", *arguments)
    assert code == 1
    assert message in err
    assert not Path("shop").exists()
