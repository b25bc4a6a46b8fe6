"""What a user may write as PIPELINE_POSTGRES_URL, with every driver; roles with settings of their own."""

import re
import uuid
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import adbc_driver_postgresql.dbapi as adbc
import psycopg
import pytest
import sqlalchemy as sa
import typer.testing
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from pipeline_assets.cli import app
from pipeline_assets.dagster_storage import pipeline_instance
from pipeline_assets.identity import deployment_engine
from pipeline_assets.postgres import connect, server_url
from pipeline_assets.postgres_urls import (
    WORKING,
    PostgresError,
    adbc_url,
    libpq_url,
    parameters,
    redacted,
    sqlalchemy_url,
)
from pipeline_assets.settings import Settings
from pipeline_assets_tests.end_to_end.deployment import BACKBONE_TABLES, CLICKS, FIRST_DAY
from pipeline_assets_tests.end_to_end.test_files import click

PASSWORD = "p@ss/w:rd"


def answers(url: str, query: str) -> list[tuple]:
    """What each driver is answered."""
    found = []
    with connect(url) as connection:
        found.append(connection.execute(query).fetchone())  # ty: ignore[no-matching-overload]
    for driver in ("psycopg", "psycopg2"):
        engine = sa.create_engine(sqlalchemy_url(url, driver), poolclass=sa.NullPool)
        with engine.connect() as connection:
            found.append(tuple(connection.exec_driver_sql(query).one()))
    with closing(adbc.connect(adbc_url(url))) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        found.append(cursor.fetchone())
    return [tuple(row or ()) for row in found]


def forms(given: dict[str, str], folder: Path) -> dict[str, tuple[str, dict[str, str]]]:
    """Name of a form -> a URL of a server with a password, and what is set in the environment for it."""
    port, host = given["port"], given["host"]
    passfile, services = folder / "pgpass", folder / "services.conf"
    passfile.write_text(f"*:{port}:*:me:{PASSWORD.replace(':', chr(92) + ':')}\n")
    passfile.chmod(0o600)
    services.write_text(
        f"[shop]\nhost={host}\nport={port}\nuser=me\npassword={PASSWORD}\ndbname=postgres\noptions=-cwork_mem=7MB\n"
    )
    user = f"me:{quote(PASSWORD, safe='')}"
    shop = {"PGSERVICEFILE": str(services)}
    return {
        "postgres://": (f"postgres://{user}@{host}:{port}/postgres?options=-cwork_mem%3D7MB", {}),
        "sqlalchemy": (f"postgresql+psycopg2://{user}@{host}:{port}/postgres?options=-c%20work_mem%3D7MB", {}),
        "several hosts": (
            f"postgresql://{user}@{host}:1,{host}:{port}/postgres?target_session_attrs=read-write&options=-cwork_mem%3D7MB",
            {},
        ),
        "key-value": (
            f"host={host},{host} port={port} dbname=postgres user=me password='{PASSWORD}' options='-c work_mem=7MB'",
            {},
        ),
        "service": ("postgresql://?service=shop", shop),
        "key-value service": ("service=shop connect_timeout=3", shop),
        "service of the environment": ("postgresql://", {**shop, "PGSERVICE": "shop"}),
        "password of the environment": (
            f"postgresql://me@{host}:{port}/postgres",
            {"PGPASSWORD": PASSWORD, "PGOPTIONS": "-cwork_mem=7MB"},
        ),
        "passfile": (f"postgresql://me@{host}:{port}/postgres?passfile={passfile}&options=-cwork_mem%3D7MB", {}),
        "socket": (f"postgresql://{user}@/postgres?host={given['socket']}&port={port}&options=-cwork_mem%3D7MB", {}),
        "ssl": (f"postgresql://{user}@{host}:{port}/postgres?sslmode=prefer&options=-cwork_mem%3D7MB", {}),
    }


FORMS = (
    "postgres://", "sqlalchemy", "several hosts", "key-value", "service", "key-value service",
    "service of the environment", "password of the environment", "passfile", "socket", "ssl",
)  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_reaches_the_server_with_every_driver_and_keeps_the_users_options(
    external_url: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {name: str(value) for name, value in conninfo_to_dict(external_url).items()}
    with connect(external_url) as connection:
        given["socket"] = str(connection.execute("show unix_socket_directories").fetchone()[0])  # ty: ignore[not-subscriptable]
    url, environment = forms(given, tmp_path)[form]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    reached = server_url(Settings.for_data_dir(tmp_path / "none", postgres_url=url))
    query = "select current_user::text, current_setting('work_mem'), current_setting('datestyle')"
    assert answers(reached, query) == [("me", "7MB", "ISO, MDY")] * 4
    engine = sa.create_engine(sqlalchemy_url(reached, "psycopg2", search_path="dagster"), poolclass=sa.NullPool)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("show search_path").scalar() == "dagster"
        assert connection.exec_driver_sql("show work_mem").scalar() == "7MB"
    assert PASSWORD not in redacted(url)


words = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1, max_size=12)


@given(user=words, password=words, database=words, host=st.sampled_from(["db", "::1", "/run/a b", "a,b", "db.x.org"]))
def test_what_a_url_says_reaches_every_driver_unchanged(user: str, password: str, database: str, host: str) -> None:
    wanted = {"user": user, "password": password, "dbname": database, "host": host, "connect_timeout": "4"}
    text = " ".join(
        "{}='{}'".format(name, value.replace("\\", "\\\\").replace("'", "\\'")) for name, value in wanted.items()
    )
    url = libpq_url(text)
    assert parameters(url).items() >= wanted.items()
    assert conninfo_to_dict(adbc_url(url)).items() >= wanted.items()
    for driver in ("psycopg", "psycopg2"):
        engine = sa.create_engine(sqlalchemy_url(url, driver))
        _, found = engine.dialect.create_connect_args(engine.url)
        assert found.items() >= wanted.items()
    assert parameters(sqlalchemy_url(url, "psycopg2")) == parameters(url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("host=h user=u password=s3cret nonsense=1", 'invalid connection option "nonsense"'),
        ("host=h password='s3cret", "unterminated quoted string"),
        ("postgresql://u:s3cret@h/d?sslmod=require", 'invalid URI query parameter: "sslmod"'),
        ("postgresql://u:s3cret@h/d?sslrootcert=ca.pem", "names a relative path, sslrootcert=ca.pem"),
        ("postgresql://?service=nowhere", 'definition of service "nowhere" not found'),
        ("mysql://u:s3cret@h/d", "must look like"),
        ("postgresql://u:s3cret@127.0.0.1:1/d?connect_timeout=2", "cannot be reached"),
        ("host=127.0.0.1 port=1 password=s3cret dbname=d", "cannot be reached"),
    ],
)
def test_what_cannot_be_used_is_one_clear_line_without_the_password(url: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(PostgresError) as caught:
        server_url(Settings.for_data_dir(tmp_path, postgres_url=url))
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_users_own_time_limit_for_connecting_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parameters("postgresql://h/d")["connect_timeout"] == "10"
    assert parameters("postgresql://h/d?connect_timeout=3")["connect_timeout"] == "3"
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "7")
    assert "connect_timeout" not in parameters("postgresql://h/d")


# --- Roles and databases with settings of their own ---------------------------------------------------

ODD = {
    "datestyle": "'German, DMY'",
    "timezone": "'Pacific/Auckland'",
    "intervalstyle": "'iso_8601'",
    "bytea_output": "'escape'",
    "search_path": "'nowhere'",
    "statement_timeout": "'1ms'",
    "lock_timeout": "'1ms'",
    "idle_in_transaction_session_timeout": "'10s'",
    "standard_conforming_strings": "off",
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "'serializable'",
    "extra_float_digits": "'-15'",
    "client_encoding": "'LATIN1'",
}


@pytest.fixture
def odd_url(postgres_url: str) -> str:
    """A database in which another role has settings that drivers stumble over, and may make nothing."""
    role = f"odd {uuid.uuid4().hex[:8]}"
    with connect(postgres_url, autocommit=True) as admin:
        admin.execute(f'create role "{role}" login')  # ty: ignore[no-matching-overload]
        for name, value in ODD.items():
            admin.execute(f'alter role "{role}" set {name} = {value}')  # ty: ignore[no-matching-overload]
    return postgres_url.replace("postgres@", f"{quote(role)}@", 1)


def test_a_role_with_other_settings_works_like_any_other(odd_url: str) -> None:
    with psycopg.connect(odd_url) as plain:
        assert plain.info.parameter_status("DateStyle") == "German, DMY"
    query = "select timestamptz '2026-03-01 12:00+00', 1/3::float8, 'ä\\x'::text, 'ß€'"
    for moment, third, text, signs in answers(odd_url, query):
        assert (moment.astimezone(UTC), third) == (datetime(2026, 3, 1, 12, tzinfo=UTC), 1 / 3)
        assert (text, signs) == ("ä\\x", "ß€")
    wanted = {**WORKING, "datestyle": "ISO, MDY", "client_encoding": "UTF8"}
    wanted["default_transaction_isolation"] = "read committed"
    # "datestyle": "ISO, MDY", "default_transaction_isolation": "read committed", "client_encoding": "UTF8"}
    for found in answers(odd_url, f"select {', '.join(f'current_setting({name!r})' for name in wanted)}"):
        assert dict(zip(wanted, found, strict=True)) == wanted


def test_a_role_that_may_not_create_is_told_the_sql_for_an_admin_and_then_works(
    odd_url: str, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declaration = tmp_path / "defs" / "clicks" / "defs.yaml"
    declaration.parent.mkdir(parents=True)
    declaration.write_text("".join(line for line in CLICKS.splitlines(keepends=True) if "revenue" not in line))
    landing = tmp_path / "data" / "landing" / "clicks"
    landing.mkdir(parents=True)
    (landing / "a.jsonl").write_text(click(0) + click(1))
    for name, value in {
        "DATA_DIR": tmp_path / "data",
        "DEFS_DIR": tmp_path / "defs",
        "POSTGRES_URL": odd_url,
        "TABLES": ",".join(BACKBONE_TABLES),
        "FIRST_DAY": FIRST_DAY.isoformat(),
        "NAMESPACE": "shop",
    }.items():
        monkeypatch.setenv(f"PIPELINE_{name}", str(value))
    runner = typer.testing.CliRunner()
    refused = runner.invoke(app, ["refresh"])
    assert refused.exit_code == 1
    said = " ".join(refused.stderr.split())
    assert "may not make what is missing" in said
    statements = re.findall(r"create schema \w+ authorization [^;]+;", said)
    assert len(statements) == 3
    with connect(postgres_url, autocommit=True) as admin:
        for statement in statements:
            admin.execute(statement)
    result = runner.invoke(app, ["refresh"])
    assert result.exit_code == 0, result.stderr
    found = runner.invoke(app, ["sql", "select sum(events) from shop_marts.daily_activity"])
    assert found.stdout == "sum\n2\n"


def test_a_schema_in_which_a_role_may_make_nothing_is_told_with_the_grant(
    odd_url: str, postgres_url: str, tmp_path: Path
):
    with connect(postgres_url, autocommit=True) as admin:
        for schema in ("ledger", "marts", "dagster"):
            admin.execute(f"create schema {schema}")
    with pytest.raises(PostgresError, match="grant usage, create on schema dagster to"):
        deployment_engine(Settings.for_data_dir(tmp_path, postgres_url=odd_url))


def test_dagster_runs_as_a_role_with_other_settings(odd_url: str, postgres_url: str, tmp_path: Path) -> None:
    role = conninfo_to_dict(odd_url)["user"]
    with connect(postgres_url, autocommit=True) as admin:
        admin.execute(f'grant create on database {admin.info.dbname} to "{role}"')  # ty: ignore[no-matching-overload]
    with pipeline_instance(Settings.for_data_dir(tmp_path, postgres_url=odd_url)) as instance:
        assert instance.get_runs_count() == 0


def test_a_database_that_cannot_hold_every_text_is_refused(
    postgres_server: str, new_database: Callable[[], str], tmp_path: Path
) -> None:
    name = f"latin_{uuid.uuid4().hex}"
    with connect(postgres_server, autocommit=True) as admin:
        admin.execute(  # ty: ignore[no-matching-overload]
            f"create database {name} template template0 encoding 'LATIN1' locale 'C' locale_provider libc"
        )
    url = postgres_server.replace("/postgres?", f"/{name}?", 1)
    with pytest.raises(PostgresError, match="encoding LATIN1, which cannot hold every text"):
        server_url(Settings.for_data_dir(tmp_path, postgres_url=url))
