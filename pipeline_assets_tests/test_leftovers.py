"""What nothing asks for any more goes as a whole, however often its removal is interrupted."""

from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa

from pipeline_assets.ledger.builds import BuildLedger, confirmation
from pipeline_assets.ledger.catalogue import Catalogue, LakeFile, exchange
from pipeline_assets.ledger.migrate import migrate
from pipeline_assets.leftovers import LeftoverError, built_tables, remove_table
from pipeline_assets.planning import STAGING
from pipeline_assets.postgres import sqlalchemy_url
from pipeline_assets.storage.local import LocalStore
from pipeline_assets.tables.spec import Input
from pipeline_assets_tests.planned import Planned

DAY = date(2026, 3, 1)


def test_a_table_whose_removal_was_killed_is_neither_taken_for_built_nor_forgotten(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = sa.create_engine(sqlalchemy_url(postgres_url, "psycopg"))
    migrate(engine)
    store = LocalStore(tmp_path)
    visits = Planned("visits", "1", (Input(STAGING),))
    ledger = BuildLedger(engine, [visits])
    claim = ledger.claim("visits", [DAY], "run")
    name = f"visits/{DAY}/{'0' * 32}.parquet"
    with engine.begin() as connection:
        connection.execute(confirmation(visits, [DAY], claim.claim_id))
        exchange(connection, "visits", [DAY], [LakeFile(name, "visits", DAY, 1, store.put(name, b"rows").size)], "run")
    assert ledger.built_days("visits") == [DAY]

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "delete", killed)
        with pytest.raises(KeyboardInterrupt):
            remove_table(engine, store, "visits")
    # Its list is gone: declared again it would be a table without rows.
    assert Catalogue(engine).files("visits") == {}
    assert ledger.built_days("visits") == []
    assert built_tables(engine) == {"visits"}
    remove_table(engine, store, "visits")
    assert (built_tables(engine), list(store.list())) == (set(), [])


def test_a_table_that_somebody_reads_is_not_waited_for_without_limit(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline_assets.leftovers._READERS_LIMIT", "100ms")
    engine = sa.create_engine(sqlalchemy_url(postgres_url, "psycopg"))
    migrate(engine)
    store = LocalStore(tmp_path)
    with engine.begin() as connection:
        connection.execute(sa.text("create schema marts"))
        connection.execute(sa.text("create table marts.visits (day date)"))
    with engine.connect() as reader:
        reader.execute(sa.text("select * from marts.visits"))
        with pytest.raises(LeftoverError, match=r"somebody has read it for 100ms.*; then run this again"):
            remove_table(engine, store, "visits")
    remove_table(engine, store, "visits")
    assert not sa.inspect(engine).has_table("visits", schema="marts")
