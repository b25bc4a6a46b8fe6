"""Whatever the order, split, repetition or lateness of the files: the tables of one clean batch."""

import gzip
import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import dagster as dg
import polars as pl
import pytest

from pipeline_assets.demo.generator import Demo, DemoConfig, DemoFile, build_demo
from pipeline_assets.settings import Settings
from pipeline_assets_tests.end_to_end.deployment import BACKBONE_TABLES, CLICKS, FIRST_DAY, Deployment, differences

NewDeployment = Callable[..., Deployment]
Tables = dict[str, pl.DataFrame]


@pytest.fixture(scope="session")
def demo() -> Demo:
    """The small demo: every kind of fault, on six days."""
    return build_demo(DemoConfig.small())


@pytest.fixture(scope="session")
def clean_batch(
    demo: Demo, tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str]
) -> Iterator[Tables]:
    """The tables after everything was loaded once, in one batch."""
    folder = tmp_path_factory.mktemp("clean_batch")
    settings = Settings.for_data_dir(folder, postgres_url=new_database(), tables=BACKBONE_TABLES, first_day=FIRST_DAY)
    with dg.DagsterInstance.ephemeral() as instance:
        deployment = Deployment(settings, instance)
        for file in everything_of(demo):
            file.write(settings.landing_dir)
        deployment.refreshed()
        yield deployment.everything()
        deployment.close()


def everything_of(demo: Demo) -> list[DemoFile]:
    return [*demo.files, *demo.late_files]


def in_halves(name: str, content: bytes) -> list[tuple[str, bytes]]:
    """A file of JSON lines cut at a line end; a gzipped one stays gzipped."""
    packed = name.endswith(".gz")
    lines = (gzip.decompress(content) if packed else content).splitlines(keepends=True)
    middle = len(lines) // 2
    stem, _, suffix = name.partition(".")
    return [
        (f"{stem}-part{number}.{suffix}", gzip.compress(b"".join(part)) if packed else b"".join(part))
        for number, part in enumerate((lines[:middle], lines[middle:]))
    ]


def under_another_name(name: str) -> str:
    folder, _, file = name.rpartition("/")
    return f"{folder}/again-{file}"


def in_subsets(random_: random.Random, deliveries: list[tuple[str, bytes]]) -> list[list[tuple[str, bytes]]]:
    """Deliveries cut into runs of arbitrary length."""
    cuts = sorted({0, *random_.sample(range(1, len(deliveries)), 3), len(deliveries)})
    return [deliveries[first:last] for first, last in pairwise(cuts)]


def test_any_order_in_any_subsets_gives_the_tables_of_one_batch(
    demo: Demo, clean_batch: Tables, new_deployment: NewDeployment
) -> None:
    random_ = random.Random(1)
    deliveries = [(file.path, file.content) for file in everything_of(demo)]
    random_.shuffle(deliveries)
    deployment = new_deployment(defs_dir=None)
    for subset in in_subsets(random_, deliveries):
        for name, content in subset:
            deployment.deliver(name, content)
        # Of a part of the files, more lines may be bad than declared; that is no reason not to load them.
        assert deployment.refresh().failed_runs == []
    assert differences(deployment.everything(), clean_batch) == {}
    assert deployment.is_settled()
    assert deployment.check_everything() == []


@pytest.mark.exhaustive
def test_each_file_twice_under_another_name_gives_the_tables_of_one_batch(
    demo: Demo, clean_batch: Tables, new_deployment: NewDeployment
) -> None:
    random_ = random.Random(2)
    deliveries = [
        delivery
        for file in everything_of(demo)
        for delivery in ((file.path, file.content), (under_another_name(file.path), file.content))
    ]
    random_.shuffle(deliveries)
    deployment = new_deployment(defs_dir=None)
    for subset in (deliveries[: len(deliveries) // 2], deliveries[len(deliveries) // 2 :]):
        for name, content in subset:
            deployment.deliver(name, content)
        # Of a part of the files, more lines may be bad than declared; that is no reason not to load them.
        assert deployment.refresh().failed_runs == []
    assert differences(deployment.everything(), clean_batch) == {}
    assert deployment.value("select count(*) from ledger.files where state = 'active'") == len(everything_of(demo)) - 1
    assert deployment.value("select count(*) from ledger.files where state = 'repeat'") == len(everything_of(demo)) + 1
    assert deployment.is_settled()


def test_files_cut_in_two_at_a_line_end_give_the_tables_of_one_batch(
    demo: Demo, clean_batch: Tables, new_deployment: NewDeployment
) -> None:
    deliveries: list[tuple[str, bytes]] = []
    cut = 0
    for number, file in enumerate(everything_of(demo)):
        if file.path.startswith("web/") and number % 2 == 0:
            deliveries += in_halves(file.path, file.content)
            cut += 1
        else:
            deliveries.append((file.path, file.content))
    assert cut > 5
    deployment = new_deployment(defs_dir=None)
    for name, content in deliveries:
        deployment.deliver(name, content)
    deployment.refreshed()
    assert differences(deployment.everything(), clean_batch) == {}
    assert deployment.is_settled()


@pytest.mark.exhaustive
def test_late_files_first_give_the_tables_of_one_batch(
    demo: Demo, clean_batch: Tables, new_deployment: NewDeployment
) -> None:
    deployment = new_deployment(defs_dir=None)
    demo.write_late_files(deployment.settings.landing_dir)
    deployment.refreshed()
    demo.write(deployment.settings.landing_dir)
    deployment.refreshed()
    assert differences(deployment.everything(), clean_batch) == {}
    assert deployment.is_settled()


def test_a_half_written_file_that_is_completed_later_gives_the_tables_of_one_batch(
    demo: Demo, clean_batch: Tables, new_deployment: NewDeployment
) -> None:
    deployment = new_deployment(defs_dir=None)
    demo.write(deployment.settings.landing_dir, half_written=True)
    deployment.refreshed()
    assert differences(deployment.everything(), clean_batch)
    demo.write_completed_file(deployment.settings.landing_dir)
    demo.write_late_files(deployment.settings.landing_dir)
    deployment.refreshed()
    assert deployment.value("select count(*) from ledger.files where state = 'superseded'") == 1
    assert differences(deployment.everything(), clean_batch) == {}
    assert deployment.is_settled()


def random_events(random_: random.Random) -> list[str]:
    """Lines of a few visitors around two midnights; ids repeat, some with other content, some on the next day."""
    start = datetime(2026, 3, 1, 22, 0, tzinfo=UTC)
    lines = []
    moments = random_.sample(range(3_200), 60)
    for number, moment in enumerate(moments):
        event = {
            "id": f"e{random_.randrange(45)}",
            "name": random_.choice(["viewed", "clicked", "bought"]),
            "type": random_.choice(["page", "track", "ping"]),
            # Whole multiples of half a minute, so that equal times and gaps of exactly 30 minutes occur.
            "time": (start + timedelta(seconds=30 * moment)).isoformat(),
            "visitor": f"v{random_.randrange(4)}",
            "url": f"https://shop.example/{random_.choice('abc')}?utm_source={random_.choice(['', 'x', 'y'])}",
            "revenue": random_.choice([None, None, f"{random_.randrange(999)}.{random_.randrange(10, 99)}"]),
        }
        lines.append(json.dumps(event))
        if random_.random() < 0.2:
            # The same moment, another story: which one counts must not depend on the file it came in.
            lines.append(json.dumps({**event, "name": f"conflict{number}", "url": f"https://other.example/{number}"}))
        if random_.random() < 0.1:
            lines.append(random_.choice(["", "{broken", '{"id": "no time", "visitor": "v1"}']))
    return lines


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_random_files_repeated_shuffled_and_half_written_give_the_tables_of_one_batch(
    seed: int, new_deployment: NewDeployment
) -> None:
    random_ = random.Random(seed)
    files: list[list[str]] = [[] for _ in range(6)]
    for line in random_events(random_):
        files[random_.randrange(6)].append(line)
    expected, deployment = new_deployment(), new_deployment()
    for one in (expected, deployment):
        one.declare("clicks", CLICKS)
    for number, file in enumerate(files):
        expected.deliver(f"clicks/{number}.jsonl", "\n".join(file))
    assert expected.refresh().failed_runs == []

    deliveries = [*enumerate(files), (6, files[0]), (7, files[1])]
    random_.shuffle(deliveries)
    for number, file in deliveries[:4]:
        # Some senders are not finished: the beginning now, the whole file later.
        whole = "\n".join(file)
        deployment.deliver(f"clicks/{number}.jsonl", whole if random_.random() < 0.5 else whole[: len(whole) // 2])
    assert deployment.refresh().failed_runs == []
    for number, file in deliveries:
        deployment.deliver(f"clicks/{number}.jsonl", "\n".join(file))
    assert deployment.refresh().failed_runs == []
    assert differences(deployment.everything(), expected.everything()) == {}
    assert deployment.is_settled()


@pytest.mark.parametrize("seed", range(2))
def test_the_same_lines_cut_into_other_files_give_the_same_tables(seed: int, new_deployment: NewDeployment) -> None:
    random_ = random.Random(seed)
    lines = random_events(random_)
    states = []
    for parts in (1, 5):
        deployment = new_deployment()
        deployment.declare("clicks", CLICKS)
        random_.shuffle(lines)
        for part in range(parts):
            deployment.deliver(f"clicks/{part}.jsonl", "\n".join(lines[part::parts]))
        assert deployment.refresh().failed_runs == []
        states.append(deployment.everything())
    assert differences(*states) == {}


def test_a_refresh_after_every_single_file_gives_the_tables_of_one_batch(new_deployment: NewDeployment) -> None:
    random_ = random.Random(17)
    lines = [line for line in random_events(random_) if line.endswith("}")]
    expected, deployment = new_deployment(), new_deployment()
    for one in (expected, deployment):
        one.declare("clicks", CLICKS)
    for number in range(4):
        content = "\n".join(lines[number::4])
        expected.deliver(f"clicks/{number}.jsonl", content)
        deployment.deliver(f"clicks/{number}.jsonl", content)
        deployment.refresh()
    expected.refresh()
    assert differences(deployment.everything(), expected.everything()) == {}


def test_a_path_whose_content_was_replaced_leaves_no_trace_of_the_older_content(new_deployment: NewDeployment) -> None:
    random_ = random.Random(5)
    lines = random_events(random_)
    expected, deployment = new_deployment(), new_deployment()
    for one in (expected, deployment):
        one.declare("clicks", CLICKS)
    deployment.deliver("clicks/a.jsonl", "\n".join(lines))
    deployment.refresh()
    # A correction that takes back most of what was said, among it whole days.
    kept = sorted((line for line in lines if '"time"' in line), key=lambda line: json.loads(line)["time"])[:5]
    for one in (expected, deployment):
        one.deliver("clicks/a.jsonl", "\n".join(kept))
        one.refresh()
    assert differences(deployment.everything(), expected.everything()) == {}
    assert deployment.is_settled()


def test_a_touched_file_changes_nothing(new_deployment: NewDeployment) -> None:
    deployment = new_deployment()
    deployment.declare("clicks", CLICKS)
    path = deployment.deliver("clicks/a.jsonl", "\n".join(random_events(random.Random(3))))
    deployment.refresh()
    before = deployment.everything()
    path.touch()
    report = deployment.refresh()
    assert (report.loads, report.builds) == (1, [])
    assert differences(deployment.everything(), before) == {}
