"""A file of the lake goes when nobody can read or list it any more, and never before."""

import os
import uuid
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline_assets.ledger.catalogue import GRACE, LakeFile, add
from pipeline_assets.ledger.full_looks import LAKE
from pipeline_assets.ledger.migrate import migrate
from pipeline_assets.ledger.schema import contents, lake_files, staged
from pipeline_assets.platform import Platform
from pipeline_assets.postgres import sqlalchemy_url
from pipeline_assets.settings import Settings
from pipeline_assets.storage.local import LocalStore
from pipeline_assets.storage.store import DRAFTS, StoreError
from pipeline_assets.sweep import inspect, remove_dropped, remove_strays

DAY = date(2026, 3, 1)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def engine(new_database: Callable[[], str]) -> sa.Engine:
    engine = sa.create_engine(sqlalchemy_url(new_database(), "psycopg"))
    migrate(engine)
    return engine


@pytest.fixture
def empty(engine: sa.Engine) -> sa.Engine:
    with engine.begin() as connection:
        connection.execute(sa.delete(staged))
        connection.execute(sa.delete(lake_files))
    return engine


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "lake")


def new_name(asset: str = "events") -> str:
    return f"{asset}/{DAY}/{uuid.uuid4().hex}.parquet"


def written(store: LocalStore, name: str, *, age: timedelta = timedelta(), content: bytes = b"rows") -> LakeFile:
    """A file that was written so long ago."""
    stat = store.put(name, content)
    moment = stat.modified.timestamp() - age.total_seconds()
    os.utime(store.locate(name), (moment, moment))
    return LakeFile(name, name.split("/", 1)[0], DAY, 1, stat.size)


def listed(engine: sa.Engine, *files: LakeFile) -> None:
    with engine.begin() as connection:
        add(connection, files, "run")


def dropped(engine: sa.Engine, name: str, *, ago: timedelta) -> None:
    with engine.begin() as connection:
        connection.execute(
            sa.update(lake_files).where(lake_files.c.name == name).values(dropped_at=sa.func.now() - ago)
        )


def swept(engine: sa.Engine, store: LocalStore) -> None:
    remove_dropped(engine, store)
    remove_strays(store, inspect(engine, store))


def there(store: LocalStore) -> set[str]:
    return {stat.name for stat in store.list()}


def test_a_file_goes_when_it_was_dropped_longer_ago_than_any_run_reads_it(empty: sa.Engine, store: LocalStore) -> None:
    just, long_ago = (written(store, new_name(), age=10 * GRACE) for _ in range(2))
    listed(empty, just, long_ago)
    dropped(empty, just.name, ago=GRACE - HOUR)
    dropped(empty, long_ago.name, ago=GRACE + HOUR)
    assert remove_dropped(empty, store) == 1
    swept(empty, store)
    assert there(store) == {just.name}


def test_an_old_file_that_is_listed_stays(empty: sa.Engine, store: LocalStore) -> None:
    file = written(store, new_name(), age=100 * GRACE)
    listed(empty, file)
    swept(empty, store)
    assert there(store) == {file.name}


def test_what_was_never_listed_goes_only_when_no_run_can_list_it_any_more(empty: sa.Engine, store: LocalStore) -> None:
    young = written(store, new_name(), age=GRACE - HOUR)
    written(store, new_name(), age=GRACE + HOUR)
    swept(empty, store)
    assert there(store) == {young.name}


@pytest.mark.parametrize(
    "name",
    [
        f"events/event_date={DAY}/part.parquet",
        "supplied_sessions/part.parquet",
        f"staging/web/event_date={DAY}/{'0' * 64}-{'1' * 16}.parquet",
        f"staging/web/{DAY}/{'0' * 32}.parquet",
        f"supplied_sessions/{'0' * 32}.parquet",
    ],
)
def test_files_of_this_version_and_of_those_before_are_known_by_their_names(
    empty: sa.Engine, store: LocalStore, name: str
) -> None:
    written(store, name, age=2 * GRACE)
    swept(empty, store)
    assert there(store) == set()


@pytest.mark.parametrize("name", ["deployment.json", "staging.duckdb", "events/mine.parquet", "backup/part-0.parquet"])
def test_what_somebody_else_put_there_stays(empty: sa.Engine, store: LocalStore, name: str) -> None:
    written(store, name, age=10 * GRACE)
    swept(empty, store)
    assert there(store) == {name}


def test_a_listed_file_that_is_gone_or_has_another_size_is_lost(empty: sa.Engine, store: LocalStore) -> None:
    good, gone, cut = (written(store, new_name()) for _ in range(3))
    listed(empty, good, gone, cut)
    store.delete([gone.name])
    Path(store.locate(cut.name)).write_bytes(b"ro")
    assert {file.name for file in inspect(empty, store).lost} == {gone.name, cut.name}


def test_a_file_whose_size_was_never_told_is_lost_only_when_it_is_gone(empty: sa.Engine, store: LocalStore) -> None:
    file, gone = (replace(written(store, new_name()), bytes=None) for _ in range(2))
    listed(empty, file, gone)
    store.delete([gone.name])
    assert [file.name for file in inspect(empty, store).lost] == [gone.name]


def test_a_file_with_staged_rows_that_count_stays_whatever_its_list_says(empty: sa.Engine, store: LocalStore) -> None:
    name = new_name("staging/web")
    file = replace(written(store, name), asset="staging/web")
    with empty.begin() as connection:
        number = add(connection, [file], "run")[name]
        connection.execute(sa.insert(contents).values(content="c" * 64, bytes=4))
        connection.execute(
            sa.insert(staged).values(
                source="web", content="c" * 64, event_date=DAY, declaration_version="v", rows=1, file=number
            )
        )
    dropped(empty, name, ago=2 * GRACE)
    swept(empty, store)
    assert there(store) == {name}


def test_a_sweep_that_is_killed_between_ledger_and_store_is_finished_by_the_next(
    empty: sa.Engine, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(store, new_name(), age=2 * GRACE)
    listed(empty, file)
    dropped(empty, file.name, ago=GRACE + HOUR)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "delete", killed)
        with pytest.raises(KeyboardInterrupt):
            remove_dropped(empty, store)
    assert there(store) == {file.name}
    swept(empty, store)
    assert there(store) == set()


def test_what_cannot_be_removed_does_not_keep_a_full_look_from_its_end(
    tmp_path: Path, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = Platform(Settings.for_data_dir(tmp_path, postgres_url=new_database()), [])
    assert platform.full_looks.begin(LAKE).is_full
    stray = new_name()
    written(LocalStore(tmp_path / "lake"), stray, age=2 * GRACE)

    def refuse(_: LocalStore, names: Iterable[str]) -> None:
        if list(names):
            raise StoreError("somebody else's")

    monkeypatch.setattr(LocalStore, "delete", refuse)
    platform.look_for_lost()
    assert not platform.full_looks.begin(LAKE).is_full
    assert platform.lake.store.stat(stray) is not None
    platform.engine.dispose()


def test_what_a_killed_writer_left_half_written_goes(empty: sa.Engine, store: LocalStore) -> None:
    for name, age in (("young", GRACE - HOUR), ("old", GRACE + HOUR)):
        written(store, f"{DRAFTS}/{name}", age=age)
    swept(empty, store)
    assert [stat.name for stat in store.list(f"{DRAFTS}/")] == [f"{DRAFTS}/young"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["listed", "dropped", "stray"]),
            st.booleans(),
            st.booleans(),
            st.sampled_from(["events", "events0", "events-0", "ä", "staging/web"]),
        ),
        max_size=12,
    )
)
def test_exactly_what_nobody_can_use_goes(
    engine: sa.Engine, tmp_path: Path, cases: list[tuple[str, bool, bool, str]]
) -> None:
    store = LocalStore(tmp_path / uuid.uuid4().hex)
    with engine.begin() as connection:
        connection.execute(sa.delete(staged))
        connection.execute(sa.delete(lake_files))
    stays, lost = set(), set()
    for state, is_old, is_there, asset in cases:
        age = (GRACE + HOUR) if is_old else HOUR
        file = replace(written(store, new_name(asset), age=age), asset=asset)
        if state != "stray":
            listed(engine, file)
        if state == "dropped":
            dropped(engine, file.name, ago=age)
        if not is_there:
            store.delete([file.name])
            lost |= {file.name} if state == "listed" else set()
        elif state == "listed" or not is_old:
            stays.add(file.name)
    assert {file.name for file in inspect(engine, store).lost} == lost
    swept(engine, store)
    assert there(store) == stays
