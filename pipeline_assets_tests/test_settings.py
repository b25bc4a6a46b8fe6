"""Settings: which folder is the project, what its `.env` says, and where a bad value is."""

import os
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.namespace import Namespace
from pipeline_assets.project import find_project, is_project, read_env_file
from pipeline_assets.settings import PROJECT_ROOT, Settings, SettingsError, clone

DG = '[tool.dg]\ndirectory_type = "project"\n'
MARKS = {"pyproject.toml": DG, "dg.toml": 'directory_type = "project"\n', ".env": "PIPELINE_TIMEZONE=UTC\n"}


def project(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("mark", MARKS)
def test_the_project_is_the_nearest_folder_that_says_so(tmp_path: Path, mark: str) -> None:
    outer = project(tmp_path / "outer", **{"dg.toml": ""})
    inner = project(outer / "a" / "inner", **{mark: MARKS[mark]})
    deeper = project(inner / "src" / "defs", **{"pyproject.toml": "[project]\nname = 'x'\n", ".env": "OTHER=1\n"})
    for working in (inner, deeper):
        assert find_project(working) == inner
    assert find_project(outer / "a") == outer


def test_a_workspace_of_several_projects_is_no_project(tmp_path: Path) -> None:
    for name, text in {"dg.toml": "", "pyproject.toml": "[tool.dg]\n"}.items():
        workspace = project(tmp_path / name, **{name: f'{text}directory_type = "workspace"\n'})
        assert not is_project(workspace)
        assert find_project(workspace, clone=tmp_path) == tmp_path


def test_without_one_it_is_that_of_dagster_home_then_the_clone_then_the_working_folder(tmp_path: Path) -> None:
    nowhere = project(tmp_path / "nowhere")
    home = project(tmp_path / "home", **{"dg.toml": ""})
    own = tmp_path / "clone"
    assert find_project(nowhere, dagster_home=home, clone=own) == home
    assert find_project(nowhere, dagster_home=nowhere, clone=own) == own
    assert find_project(nowhere, dagster_home=tmp_path / "gone") == nowhere
    assert find_project(home, clone=own) == home


def test_a_file_that_nobody_can_read_as_toml_makes_no_project(tmp_path: Path) -> None:
    assert not is_project(project(tmp_path, **{"pyproject.toml": "[tool.dg\n"}))
    (tmp_path / "pyproject.toml").write_bytes(b'[tool.dg]\nx = "\xff"\n')
    assert not is_project(tmp_path)
    (tmp_path / "pyproject.toml").write_text("tool = 3\n")
    assert not is_project(tmp_path)


def test_the_tests_run_from_a_clone_which_is_the_project_everywhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert clone() == PROJECT_ROOT
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_environment({})
    assert (settings.project_dir, settings.data_dir) == (PROJECT_ROOT, PROJECT_ROOT / "data")
    assert Settings.from_environment({"PIPELINE_DATA_DIR": "d"}).landing_dir == PROJECT_ROOT / "d" / "landing"
    project(tmp_path, **{"dg.toml": ""})
    assert Settings.from_environment({}) == Settings.for_project(tmp_path, {})
    assert Settings.from_environment({}).data_dir == tmp_path / "data"


def test_a_project_elsewhere_is_read_by_its_folder_or_dagster_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = project(tmp_path / "shop", **{".env": "PIPELINE_DEFS_DIR=shop/defs\n"})
    monkeypatch.chdir(project(tmp_path / "elsewhere"))
    for settings in (Settings.for_project(shop, {}), Settings.from_environment({"DAGSTER_HOME": str(shop)})):
        assert settings.defs_dir == shop / "shop" / "defs"
        assert settings.lake_dir == shop / "data" / "lake"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    shop = project(
        tmp_path,
        **{".env": "# ours\nexport PIPELINE_TIMEZONE='Europe/Berlin'\nPIPELINE_NAMESPACE=acme  # theirs\nX=1\n"},
    )
    assert Settings.for_project(shop, {}).timezone == "Europe/Berlin"
    settings = Settings.for_project(shop, {"PIPELINE_TIMEZONE": "Asia/Tokyo", "PIPELINE_FIRST_DAY": "2024-01-01"})
    assert (settings.timezone, settings.namespace, settings.first_day) == (
        "Asia/Tokyo",
        Namespace("acme"),
        date(2024, 1, 1),
    )
    assert Settings.for_project(shop, {"PIPELINE_NAMESPACE": ""}).namespace == Namespace()


def test_values_may_name_others_and_a_password_may_hold_any_sign(tmp_path: Path) -> None:
    text = "DB=shop\nPIPELINE_POSTGRES_URL=\"postgresql://u:p%23#=@h/${DB}?x=${PORT}\"\nPIPELINE_POSTGRES_URL_2=''\n"
    shop = project(tmp_path, **{".env": text})
    assert Settings.for_project(shop, {"PORT": "7"}).postgres_url == "postgresql://u:p%23#=@h/shop?x=7"
    assert Settings.for_project(shop, {"DB": "own", "PORT": ""}).postgres_url == "postgresql://u:p%23#=@h/own?x="


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("PIPELINE_TIMEZONE", "Berlin", "'Berlin' is not an IANA time zone such as Europe/Berlin."),
        ("PIPELINE_FIRST_DAY", "1.1.2024", "'1.1.2024' is not a date such as 2010-01-01."),
        ("PIPELINE_FOLLOW_LINKS", "perhaps", "'perhaps' is neither true nor false."),
        ("PIPELINE_HISTORY_DAYS", "a month", "'a month' is no number of days, such as 30."),
        ("PIPELINE_MAX_RECORD_BYTES", "1", "'1' is no size from 1KiB to 1GiB, such as 32MiB."),
        ("PIPELINE_LANDING_URL", "ftp://x", "the scheme 'ftp' is not known; use a folder, file:///… or one of s3://"),
        ("PIPELINE_LAKE_URL", "file://host/x", "file:// names another machine or a relative path; write file:///"),
        ("PIPELINE_LAKE_URL", "s3:///x", "'s3:///x' is not s3://bucket/prefix."),
        ("PIPELINE_LAKE_URL", "s3://a/b//c", "'s3://a/b//c' is not s3://bucket/prefix."),
        ("PIPELINE_NAMESPACE", "Acme", "'Acme' is not a namespace"),
    ],
)
def test_a_bad_value_is_told_with_its_file_and_line_and_without_where_it_is_the_environments(
    tmp_path: Path, variable: str, value: str, told: str
) -> None:
    shop = project(tmp_path, **{".env": f"\n# a comment\n\n{variable}={value}\nOTHER=1\n"})
    with pytest.raises(SettingsError) as of_file:
        Settings.for_project(shop, {})
    assert str(of_file.value).startswith(f"{shop / '.env'}:4: {variable}: {told}")
    # As Dagster puts it into the environment of its processes.
    with pytest.raises(SettingsError) as of_both:
        Settings.for_project(shop, {variable: value})
    assert str(of_both.value) == str(of_file.value)
    (shop / ".env").unlink()
    with pytest.raises(SettingsError) as of_environment:
        Settings.for_project(shop, {variable: value})
    assert str(of_environment.value).startswith(f"{variable}: {told}")


def test_a_line_of_ours_that_cannot_be_read_is_told_and_those_of_others_are_not(tmp_path: Path) -> None:
    shop = project(tmp_path, **{".env": "A=1\nB='open\n\nPIPELINE_TIMEZONE=\"Europe/Berlin\nC=2\n"})
    assert is_project(shop)
    with pytest.raises(SettingsError, match=r"\.env:4: cannot be read as NAME=value"):
        Settings.for_project(shop, {})
    (shop / ".env").write_bytes(b"PIPELINE_TIMEZONE=\xff\n")
    with pytest.raises(SettingsError, match=r"\.env: cannot be read, for it is not in UTF-8"):
        Settings.for_project(shop, {})


def test_landing_and_lake_may_be_in_object_stores(tmp_path: Path) -> None:
    shop = project(tmp_path, **{".env": "PIPELINE_LANDING_URL=s3://bucket/a/b/\nPIPELINE_LAKE_URL=az://container\n"})
    settings = Settings.for_project(shop, {})
    assert (settings.landing_url, settings.lake_url) == ("s3://bucket/a/b", "az://container")
    assert settings.scratch_dir == shop / "data" / "scratch"
    with pytest.raises(SettingsError, match="needs a local folder, and PIPELINE_LAKE_URL names az://container"):
        _ = settings.lake_dir
    local = Settings.for_project(shop, {"PIPELINE_LANDING_URL": "file:///a%20b", "PIPELINE_LAKE_URL": "lake"})
    assert (local.landing_url, local.lake_url) == ("/a b", str(shop / "lake"))


def test_a_password_in_a_url_is_refused_and_told_nobody(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no user, password or port belongs into s3://") as refused:
        Settings.for_project(tmp_path, {"PIPELINE_LAKE_URL": "s3://key:hunter2@bucket/x"})
    assert "hunter2" not in str(refused.value)


def test_what_the_file_of_a_project_says_of_object_stores_holds_for_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "AWS_ACCESS_KEY_ID=of-the-file\nAWS_PROFILE=of-the-file\nOTHER=of-the-file\n"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-environment")
    for name in ("AWS_PROFILE", "OTHER"):
        # So that it is as it was in the end.
        monkeypatch.setenv(name, "x")
        monkeypatch.delenv(name)
    Settings.for_project(project(tmp_path, **{".env": text}))
    assert "AWS_PROFILE" not in os.environ
    Settings.for_project(project(tmp_path, **{".env": f"{text}PIPELINE_LAKE_URL=s3://bucket\n"}))
    assert (os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_PROFILE"]) == ("of-the-environment", "of-the-file")
    assert "OTHER" not in os.environ


@given(st.lists(st.sampled_from(["", "# x", "A=1", "export B = 2", "C='a\nb'", "PIPELINE_X=1", "PIPELINE_Y='1\n2'"])))
def test_the_line_of_a_variable_is_that_of_its_name(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / ".env").write_text("\n".join(parts))
    lines = "\n".join(parts).split("\n")
    for name, (line, _) in read_env_file(folder, {}).items():
        assert lines[line - 1].startswith(f"{name}=")
        assert not any(later.startswith(f"{name}=") for later in lines[line:])
