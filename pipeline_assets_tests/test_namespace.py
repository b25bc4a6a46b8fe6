"""A namespace: which names it allows, and what is called after it."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.asset_keys import staging_key, table_key
from pipeline_assets.ledger.schema import text
from pipeline_assets.namespace import PLAIN, Namespace
from pipeline_assets.settings import Settings, SettingsError

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,30}", fullmatch=True).filter(lambda name: not f"{name}_".startswith("pg_"))


def read(name: str) -> Namespace:
    return Settings.from_environment({"PIPELINE_NAMESPACE": name}).namespace


def test_without_a_namespace_everything_has_its_plain_name():
    for settings in (Settings.from_environment({}), Settings.from_environment({"PIPELINE_NAMESPACE": ""})):
        namespace = settings.namespace
        assert namespace == PLAIN
        assert (namespace.marts, namespace.ledger, namespace.dagster) == ("marts", "ledger", "dagster")
        assert table_key("events", namespace).path == ["events"]
        assert staging_key("web", namespace).path == ["staging", "web"]


def test_schemas_and_asset_keys_begin_with_the_namespace():
    namespace = read("acme")
    assert (namespace.marts, namespace.ledger, namespace.dagster) == ("acme_marts", "acme_ledger", "acme_dagster")
    assert table_key("events", namespace).to_user_string() == "acme/events"
    assert staging_key("web", namespace).to_user_string() == "acme/staging/web"


@given(NAMES, NAMES)
def test_namespaces_that_differ_share_no_schema_and_postgresql_keeps_every_letter(one: str, other: str):
    def schemas(name: str) -> set[str]:
        return {read(name).marts, read(name).ledger, read(name).dagster}

    for name in schemas(one):
        assert len(name.encode()) <= 63
        assert name.isidentifier() and name == name.lower()
        assert not name.startswith("pg_")
    assert one == other or not schemas(one) & schemas(other)
    assert not schemas(one) & {"marts", "ledger", "dagster"}


@pytest.mark.parametrize(
    "name", ["Acme", "1acme", "_acme", "acme-eu", "acme.eu", "acme eu", "acme;", 'a"b', "ü", "a" * 32, "acme\n"]
)
def test_a_name_that_sql_would_have_to_quote_or_cut_is_refused(name: str):
    with pytest.raises(SettingsError, match=r"PIPELINE_NAMESPACE: .* is not a namespace: it must have 1 to 31 lower"):
        read(name)


@pytest.mark.parametrize("name", ["pg", "pg_acme"])
def test_a_name_that_postgresql_keeps_for_itself_is_refused(name: str):
    with pytest.raises(SettingsError, match=r"PIPELINE_NAMESPACE: .* PostgreSQL keeps schemas that begin with pg_"):
        read(name)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("select 1 from marts.sessions", "select 1 from acme_marts.sessions"),
        ("(select 1 from ledger.files)", "(select 1 from acme_ledger.files)"),
        ("select smarts.x, a.marts.b from smarts", "select smarts.x, a.marts.b from smarts"),
    ],
)
def test_the_schemas_in_a_query_are_those_of_the_engine(query: str, named: str, tmp_path: Path):
    plain = sa.create_engine("postgresql+psycopg://")
    acme = plain.execution_options(schema_translate_map=dict(Namespace("acme").schemas))
    assert text(acme, query).text == named
    assert text(plain, query).text == query
