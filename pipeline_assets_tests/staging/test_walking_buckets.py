"""Looks into an object store: what they find, and how many requests that takes.

Most of it on a folder that is looked at as an object store is, so that thousands of deliveries can be tried.
"""

import math
import os
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from email.message import Message
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from pipeline_assets.ledger.full_looks import FullLooks
from pipeline_assets.ledger.migrate import migrate
from pipeline_assets.postgres import sqlalchemy_url
from pipeline_assets.staging import walking_buckets
from pipeline_assets.staging.dated_folders import days_of
from pipeline_assets.staging.landings import RemoteLanding
from pipeline_assets.staging.pending import Looker, Unclaimed
from pipeline_assets.staging.walking import listing, scan
from pipeline_assets.staging.walking_buckets import OPEN_DAYS
from pipeline_assets.storage.local import LocalStore
from pipeline_assets.storage.opening import open_store
from pipeline_assets.storage.store import Level, Stat, Store, TooLongError
from pipeline_assets_tests.staging.deliveries import MONTH, SOURCE, Deployment, write
from pipeline_assets_tests.storage.object_store import in_environment, new_bucket, put_raw
from pipeline_assets_tests.storage.test_objects import forwarding

PAGE = 1000
Requests = list[int]


class Counting(LocalStore):
    """Counts the requests that an object store would be sent."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.page = PAGE
        self.requests = 0
        self.listed: list[str] = []

    def list(self, prefix: str = "", *, after: str | None = None) -> Iterator[Stat]:
        self.listed.append(prefix)
        for number, stat in enumerate(super().list(prefix, after=after)):
            self.requests += number % self.page == 0 and number > 0
            yield stat

    def level(self, folder: str = "", *, seconds: float | None = None) -> Level:
        self.listed.append(folder)
        found = super().level(folder, seconds=seconds)
        self.requests += max(math.ceil((len(found.folders) + len(found.objects)) / self.page), 1) - 1
        return found

    @contextmanager
    def counted(self) -> Generator[Requests]:
        """How many requests are sent meanwhile."""
        self.requests, self.listed = 0, []
        count: Requests = []
        yield count
        count.append(self.requests + len(self.listed))


class Bucket(Deployment):
    """A ledger and an object store."""

    def __init__(self, engine: sa.Engine, folder: Path, every: timedelta = timedelta(hours=1)) -> None:
        super().__init__(engine, folder, every)
        self.store = Counting(folder)

    @property
    def place(self) -> RemoteLanding:
        return RemoteLanding(self.store, self.folder.parent / "scratch")


@pytest.fixture(scope="module")
def engine(new_database: Callable[[], str]) -> sa.Engine:
    engine = sa.create_engine(sqlalchemy_url(new_database(), "psycopg"))
    migrate(engine)
    return engine


@pytest.fixture
def bucket(engine: sa.Engine, tmp_path: Path) -> Bucket:
    return Bucket(engine, tmp_path / "landing")


@contextmanager
def quiet(seconds: float = 0, *, page: int = PAGE) -> Generator[None]:
    """Let folders of long ago be quiet sooner than they are, and requests list less than they do."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(walking_buckets, "QUIET_SECONDS", seconds)
        patched.setattr(walking_buckets, "_PAGE", page)
        yield


def today() -> date:
    return datetime.now(UTC).date()


def ago(days: int, way: str = "%Y-%m-%d") -> str:
    return (today() - timedelta(days=days)).strftime(way)


def is_of_long_ago(name: str) -> bool:
    days = days_of(name.rpartition("/")[0])
    return days is not None and days.last < today() - timedelta(days=OPEN_DAYS)


WAYS = [
    "%Y-%m-%d/",
    "%Y/%m/%d/",
    "year=%Y/month=%m/day=%d/",
    "dt=%Y-%m-%d/",
    "%Y%m%d/",
    "%Y-%m-%d/13/",
    "%Y/%m/%d/07/",
    "%Y-%m-%d/eu/deep/",
]
DAYS = st.sampled_from([800, 366, 40, OPEN_DAYS + 1, OPEN_DAYS, 1, 0, -1])
DATED = st.builds(ago, DAYS, st.sampled_from(WAYS))
# A folder may be called by a date for another reason than what is below it.
NESTED = st.tuples(st.sampled_from(["2019-01-01/", "2019/01/01/a/", "2019-01-01/b/"]), DATED).map("".join)
PLAIN = st.sampled_from(["", "2019/", "x/"])
FOLDERS = st.tuples(st.sampled_from(["", "web/", "other/"]), st.one_of(PLAIN, DATED, NESTED))
NAMES = st.tuples(FOLDERS.map("".join), st.sampled_from(["a", "b.jsonl", ".c", "_d/e"])).map("".join)
CHANGES = st.tuples(st.sampled_from(["put", "put", "put", "deleted"]), NAMES, st.sampled_from([0.0, MONTH]))
STEPS = st.lists(
    st.tuples(st.lists(CHANGES, max_size=6), st.sampled_from([1.0, 1.0, 0.5]), st.booleans()), min_size=1, max_size=6
)
PATTERNS = st.sampled_from(["**/*", "web/**", "web/**/*.jsonl", "*/*/*", "*/*/*/*/*", "w*/20??-*/*", "web/2019/*"])


def change(bucket: Bucket, what: str, name: str, age: float) -> None:
    path = bucket.folder / name
    if what == "put" and not path.is_dir() and not any(above.is_file() for above in path.parents):
        write(path, f"{time.time_ns()}", age=age)
    elif what == "deleted" and path.is_file():
        bucket.store.delete([name])


def found_by(bucket: Bucket, pattern: str) -> dict[str, str]:
    return {file.name: file.stamp for file in bucket.look(pattern)}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, pattern=PATTERNS, page=st.sampled_from([1, 3, PAGE]))
def test_a_look_misses_nothing_but_what_is_late_and_a_full_look_nothing(
    engine: sa.Engine, steps: list, pattern: str, page: int
) -> None:
    with tempfile.TemporaryDirectory() as folder, quiet(page=page):
        bucket = Bucket(engine, Path(folder) / "landing")
        for changes, share, is_full in steps:
            for each in changes:
                change(bucket, *each)
            expected = bucket.everything(pattern)
            found = found_by(bucket, pattern)
            missed = expected.keys() - found.keys()
            assert {**expected, **found} == expected
            assert all(map(is_of_long_ago, missed))
            event(f"missed until the next full look: {min(len(missed), 1)}")
            if is_full:
                bucket.looks.ask()
                found = found_by(bucket, pattern)
                assert found == expected
            files = bucket.look(pattern)
            # Killed after so many of them.
            bucket.book(files[: round(share * len(files))])
        bucket.looks.ask()
        assert found_by(bucket, pattern) == bucket.everything(pattern)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_objects_that_no_source_takes_are_found_as_pending_ones_are(engine: sa.Engine, steps: list) -> None:
    patterns = ["web/*/*", "**/*.jsonl"]
    with tempfile.TemporaryDirectory() as folder, quiet():
        bucket = Bucket(engine, Path(folder) / "landing")
        for changes, _, _ in steps:
            for each in changes:
                change(bucket, *each)
            taken = {file.name for pattern in patterns for file in scan(bucket.folder, pattern).files}
            free = {file.name for file in scan(bucket.folder, "**/*").files} - taken
            bucket.landing.unclaimed(patterns)
            bucket.looks.ask()
            for _ in range(2):
                assert bucket.landing.unclaimed(patterns) == Unclaimed(len(free), sorted(free))


@pytest.mark.parametrize("way", WAYS)
def test_the_requests_of_an_idle_look_do_not_grow_with_the_days_of_long_ago(bucket: Bucket, way: str) -> None:
    idle: list[int] = []
    days = 0
    # A list of all would take more requests each time, a list of the days one.
    bucket.store.page = 200
    with quiet(page=200):
        for more in (20, 100):
            for day in range(days, days + more):
                for number in range(5):
                    write(bucket.folder / "web" / ago(day, way) / str(number), age=MONTH)
            days += more
            bucket.looks.ask()
            bucket.book(bucket.look("web/**"))
            assert bucket.look("web/**") == []
            with bucket.store.counted() as requests:
                assert bucket.look("web/**") == []
            idle += requests
            for name in (f"web/{ago(0, way)}new", f"web/{ago(OPEN_DAYS, way)}new", "web/new", "web/x/new"):
                bucket.store.put(name, b"")
            with bucket.store.counted() as requests:
                found = bucket.look("web/**")
            assert len(found) == 4
            idle += requests
            bucket.book(found)
            bucket.store.delete([file.name for file in found])
    assert idle[:2] == idle[2:]
    # What leads to the open days, and those.
    assert max(idle) <= OPEN_DAYS + 8


def test_a_full_look_takes_few_requests_however_many_folders_there_are(bucket: Bucket) -> None:
    for day in range(300):
        write(bucket.folder / "web" / ago(day, "%Y/%m/%d/13/a"), age=MONTH)
    with bucket.store.counted() as requests:
        assert len(bucket.look("web/*/*/*/*/*")) == 300
    assert requests == [1]


def test_folders_that_no_pattern_leads_into_are_not_listed(bucket: Bucket) -> None:
    for number in range(60):
        for name in ("archive/x/{}", "web/raw/deep/{}", "web/x/{}.jsonl", "zz/{}"):
            write(bucket.folder / name.format(number), age=MONTH)
    with quiet(page=10), bucket.store.counted():
        assert len(bucket.look("web/x/*")) == 60
        assert bucket.store.listed == ["web/x/"]
        assert len(bucket.look("w*/x/*.jsonl")) == 60
    wanted = {"web", "web/x/", "web/x", ""}
    assert set(bucket.store.listed) <= wanted


def test_a_day_of_long_ago_is_listed_as_long_as_somebody_writes_to_it(bucket: Bucket) -> None:
    old = f"web/{ago(40)}"
    write(bucket.folder / old / "1")
    bucket.book(bucket.look("web/*/*"))
    for number in range(2, 5):
        assert bucket.look("web/*/*") == []
        write(bucket.folder / old / str(number))
        bucket.book(found := bucket.look("web/*/*"))
        assert [file.name for file in found] == [f"{old}/{number}"]
    with quiet():
        bucket.look("web/*/*")
        write(bucket.folder / old / "5")
        assert bucket.look("web/*/*") == []
        bucket.looks.ask()
        assert [file.name for file in bucket.look("web/*/*")] == [f"{old}/5"]


def test_while_a_day_of_long_ago_is_delivered_hour_by_hour_every_hour_is_found(bucket: Bucket) -> None:
    for hour in ("00", "01", "02"):
        name = f"web/{ago(40)}/{hour}/1"
        write(bucket.folder / name)
        bucket.book(found := bucket.look("web/**"))
        assert [file.name for file in found] == [name]


def test_a_folder_that_only_looks_like_a_day_is_listed_as_long_as_there_are_later_days_below_it(bucket: Bucket) -> None:
    with quiet():
        for number in range(3):
            name = f"web/schema=2019-01-01/batch-{number}/dt={ago(number)}/1"
            write(bucket.folder / name, age=MONTH)
            bucket.book(found := bucket.look("web/**"))
            assert [file.name for file in found] == [name]
            assert bucket.look("web/**") == []


def test_a_day_in_which_something_is_pending_is_listed_again(bucket: Bucket) -> None:
    write(bucket.folder / "web" / ago(40) / "1", age=MONTH)
    write(bucket.folder / "web" / ago(41) / "1", age=MONTH)
    with quiet():
        bucket.book(bucket.look("web/*/*")[:1])
        for _ in range(3):
            assert [file.name for file in bucket.look("web/*/*")] == [f"web/{ago(40)}/1"]


def test_what_was_seen_in_one_bucket_says_nothing_of_another(bucket: Bucket, tmp_path: Path) -> None:
    name = f"web/{ago(40)}/1"
    write(bucket.folder / name, age=MONTH)
    with quiet():
        bucket.book(bucket.look("web/*/*"))
        assert bucket.look("web/*/*") == []
        bucket.store = Counting(tmp_path / "another")
        bucket.store.put(name, b"")
        assert [file.name for file in bucket.look("web/*/*")] == [name]


def test_a_clock_that_was_ahead_hides_no_day(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    write(bucket.folder / "web" / ago(0) / "1", age=MONTH)
    with quiet():
        bucket.book(bucket.look("web/*/*"))
        with pytest.MonkeyPatch.context() as patched:
            ahead = time.time() + MONTH
            patched.setattr(walking_buckets.time, "time", lambda: ahead)
            bucket.look("web/*/*")
        write(bucket.folder / "web" / ago(0) / "2", age=MONTH)
        assert [file.name for file in bucket.look("web/*/*")] == [f"web/{ago(0)}/2"]


def test_what_a_full_look_finds_is_not_hidden_by_an_earlier_one(bucket: Bucket) -> None:
    old = f"web/{ago(40)}"
    write(bucket.folder / old / "1", age=MONTH)
    bucket.book(bucket.look("web/*/*"))
    remember = bucket.memory.remember

    def overtaken(*arguments: object) -> None:
        bucket.memory.remember = remember
        write(bucket.folder / old / "2", age=MONTH)
        bucket.looks = FullLooks(bucket.engine, timedelta(0))
        assert [file.name for file in bucket.look("web/*/*")] == [f"{old}/2"]
        remember(*arguments)  # ty: ignore[invalid-argument-type]

    with quiet():
        bucket.memory.remember = overtaken  # ty: ignore[invalid-assignment]
        assert bucket.look("web/*/*") == []
        bucket.looks = FullLooks(bucket.engine, timedelta(hours=1))
        assert [file.name for file in bucket.look("web/*/*")] == [f"{old}/2"]


@pytest.mark.parametrize("verb", ["list", "level"])
def test_a_full_look_that_takes_too_long_is_given_up_between_two_requests_and_stays_due(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    for day in range(20):
        write(bucket.folder / "web" / ago(day + 40) / "1", age=MONTH)
    write(bucket.folder / "web" / "0" / "1")
    clock = [0.0]
    real: Callable = getattr(Counting, verb)

    def slow(store: Counting, *arguments: object, **named: object) -> object:
        clock[0] += 10
        return real(store, *arguments, **named)

    # What no pattern leads to is the first that is listed.
    with quiet(page=10 if verb == "list" else 1):
        monkeypatch.setattr(walking_buckets.time, "monotonic", lambda: clock[0])
        monkeypatch.setattr(Counting, verb, slow)
        pattern = "web/2*/*"
        with pytest.raises(TooLongError):
            bucket.landing.pending(SOURCE, pattern, bucket.declaration_version, seconds=5)
        # Whoever has the time takes it, and from then on there is little to do.
        bucket.book(bucket.look(pattern))
        bucket.look(pattern)
        assert bucket.landing.pending(SOURCE, pattern, bucket.declaration_version, seconds=60).files == []


def test_an_object_that_has_no_name_here_keeps_its_own_folder_alone_from_being_listed(s3: str, tmp_path: Path) -> None:
    store = open_store(s3)
    for name in ("a/1", "b/deep/1", "b/x/1", "c/1"):
        store.put(name, b"x")
    put_raw(f"{s3}/b/deep//2")
    found = listing(RemoteLanding(store, tmp_path).walk(["**/*"]))
    assert [file.name for file in found.files] == ["a/1", "b/x/1", "c/1"]
    assert [refused.name for refused in found.refused] == ["b/deep"]


def test_the_requests_are_those_that_a_real_store_is_sent(
    engine: sa.Engine, object_store: dict[str, str], tmp_path: Path
) -> None:
    sent: list[str] = []

    def seen(method: str, _: Message) -> bool:
        sent.append(method)
        return True

    def idle(store: Store, days: range) -> list[str]:
        for day in days:
            store.put(f"web/{ago(day, '%Y/%m/%d')}/1", b"x")
        bucket = Bucket(engine, tmp_path / "none")
        looker = Looker(RemoteLanding(store, tmp_path), bucket.ledger, bucket.memory, bucket.looks)
        files = looker.pending(SOURCE, "web/**", "v1").files
        assert len(files) == days.stop
        bucket.book(files)
        assert looker.pending(SOURCE, "web/**", "v1").files == []
        sent.clear()
        assert looker.pending(SOURCE, "web/**", "v1").files == []
        return list(sent)

    name = new_bucket(object_store)
    with (
        forwarding(object_store["AWS_ENDPOINT_URL"], seen) as url,
        in_environment(object_store | {"AWS_ENDPOINT_URL": url}, home=tmp_path),
        quiet(),
    ):
        store = open_store(f"s3://{name}")
        few = idle(store, range(8))
        many = idle(store, range(8, 70))
    assert set(few) == {"GET"}
    assert len(many) <= len(few) <= OPEN_DAYS + 8


SHORT = st.lists(st.sampled_from("abc"), min_size=2, max_size=4).map("/".join)
LEADING = st.lists(st.sampled_from(["*", "[ab]", "[bc]", "[ac]", "**"]), min_size=2, max_size=4).map("/".join)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(paths=st.lists(SHORT, min_size=3, max_size=12), pattern=LEADING, page=st.sampled_from([1, 2]))
def test_what_lies_around_folders_that_are_gone_around_is_found_once(
    tmp_path: Path, paths: list[str], pattern: str, page: int
) -> None:
    root = tmp_path / os.urandom(8).hex()
    for name in paths:
        path = root / name
        if not path.exists() and not any(above.is_file() for above in path.parents):
            write(path)
    with quiet(page=page):
        folders = list(RemoteLanding(LocalStore(root), tmp_path).walk([pattern]))
    assert len({folder.name for folder in folders}) == len(folders)
    found = sorted(file.name for folder in folders for file in folder.files)
    assert found == [file.name for file in scan(root, pattern).files]
