"""The demo's files hold exactly what its truth says, read back here with nothing but the standard library."""

import csv
import gzip
import io
import json
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline_assets.demo.generator import (
    Demo,
    DemoConfig,
    Faults,
    Truth,
    build_demo,
    generate,
    read_truth,
    unfinished,
    write_truth,
)
from pipeline_assets.demo.model import LATE_BY, MINUTE

SMALL = DemoConfig(visitors=320, seed=11, faults=Faults().divided(2))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def demo() -> Demo:
    return build_demo(SMALL)


def parse_time(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


def from_epoch_ms(text: str) -> datetime | None:
    return EPOCH + timedelta(milliseconds=int(text)) if text.isdigit() else None


def occurred(claimed: datetime, sent: datetime | None, received: datetime | None) -> datetime:
    """The clock rule of the definitions."""
    if sent is None or received is None:
        return claimed
    if abs(received - sent) > timedelta(minutes=10) or claimed > received:
        claimed += received - sent
    return min(claimed, received)


def in_range(moment: datetime, received: datetime | None) -> bool:
    return moment.year >= 2010 and (received is not None or moment.year < 2099)


def read_web(content: bytes, path: str) -> tuple[Counter[str], list[dict[str, Any]]]:
    raw = gzip.decompress(content) if path.endswith(".gz") else content
    kinds: Counter[str] = Counter()
    rows = []
    for line in raw.removesuffix(b"\n").split(b"\n"):
        if not line:
            kinds["blank"] += 1
            continue
        try:
            row = json.loads(line.decode())
        except UnicodeDecodeError:
            kinds["invalid_utf8"] += 1
            continue
        except json.JSONDecodeError:
            kinds["unreadable"] += 1
            continue
        if not isinstance(row, dict):
            kinds["not_an_object"] += 1
            continue
        claimed, received = parse_time(row["timestamp"]), parse_time(row.get("receivedAt"))
        properties = row["properties"]
        if not row.get("anonymousId") and not row.get("userId"):
            kinds["missing_id"] += 1
        elif claimed is None:
            kinds["bad_time"] += 1
        elif row["type"] == "track" and not row.get("event"):
            kinds["missing_event_name"] += 1
        elif "revenue" in properties and "currency" not in properties:
            kinds["broken_rule"] += 1
        else:
            moment = occurred(claimed, parse_time(row.get("sentAt")), received)
            if not in_range(moment, received):
                kinds["out_of_range"] += 1
                continue
            kinds["landed"] += 1
            rows.append({"id": row["messageId"], "at": moment, "received": received, "raw": row})
    return kinds, rows


def read_app(content: bytes) -> tuple[Counter[str], list[dict[str, Any]]]:
    reader = csv.reader(io.StringIO(content.decode(), newline=""))
    header = next(reader)
    kinds: Counter[str] = Counter()
    rows = []
    for values in reader:
        if not values:
            kinds["blank"] += 1
            continue
        if len(values) != len(header):
            kinds["wrong_field_count"] += 1
            continue
        row = dict(zip(header, values, strict=True))
        claimed, received = from_epoch_ms(row["device_ms"]), from_epoch_ms(row["received_ms"])
        if not row["install_id"] and not row["user_id"]:
            kinds["missing_id"] += 1
        elif claimed is None:
            kinds["bad_time"] += 1
        else:
            moment = occurred(claimed, from_epoch_ms(row["sent_ms"]), received)
            if not in_range(moment, received):
                kinds["out_of_range"] += 1
                continue
            kinds["landed"] += 1
            rows.append({"id": row["event_id"], "at": moment, "received": received, "raw": row})
    return kinds, rows


def read_devices(content: bytes) -> tuple[Counter[str], list[dict[str, Any]]]:
    kinds: Counter[str] = Counter()
    rows = []
    for row in pq.read_table(io.BytesIO(content)).to_pylist():
        if row["device_id"] is None:
            kinds["missing_id"] += 1
        elif row["measured_at"] is None:
            kinds["missing_time"] += 1
        else:
            kinds["landed"] += 1
            moment = occurred(row["measured_at"], row["sent_at"], row["received_at"])
            key = json.dumps(row, default=str, sort_keys=True)
            rows.append({"id": key, "at": moment, "received": row["received_at"], "raw": row})
    return kinds, rows


def read(content: bytes, path: str) -> tuple[Counter[str], list[dict[str, Any]]]:
    source = path.partition("/")[0]
    if source == "web":
        return read_web(content, path)
    return read_app(content) if source == "app" else read_devices(content)


def comparable(kinds: dict[str, int]) -> Counter[str]:
    """Kinds as they can be told apart by reading: a broken and a truncated line are both unreadable JSON."""
    merged: Counter[str] = Counter()
    for kind, number in kinds.items():
        merged["unreadable" if kind in {"broken_json", "truncated"} else kind] += number
    return merged


def deduplicated(demo: Demo, source: str) -> tuple[list[dict[str, Any]], Counter[date], Counter[str]]:
    """Kept rows of a source, landed rows per day, and how many copies were dropped with equal and other content."""
    copies: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    landed: Counter[date] = Counter()
    for file in (*demo.files, *demo.late_files):
        if file.truth.source == source and file.truth.delivery != "repeat":
            for row in read(file.content, file.path)[1]:
                copies[row["id"]].append(row)
                landed[row["at"].date()] += 1
    kept, dropped = [], Counter[str]()
    for rows in copies.values():
        first, *others = sorted(rows, key=lambda row: (row["at"], row["received"]))
        kept.append(first)
        for other in others:
            assert (other["at"].date() - first["at"].date()).days <= 1
            dropped["equal" if other["raw"] == first["raw"] else "other"] += 1
    return kept, landed, dropped


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(demo: Demo, tmp_path: Path) -> None:
    again = generate(tmp_path / "landing", SMALL, late=True)
    assert [(file.path, file.content) for file in again.files] == [(file.path, file.content) for file in demo.files]
    assert again.late_files == demo.late_files
    assert again.truth == demo.truth
    written = {path.relative_to(tmp_path / "landing").as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {file.path for file in demo.truth.files}
    other = build_demo(replace(SMALL, seed=12))
    assert {file.content for file in other.files}.isdisjoint(file.content for file in demo.files)


def test_every_line_of_every_file_is_of_the_kind_the_truth_says(demo: Demo) -> None:
    for file in (*demo.files, *demo.late_files):
        kinds, _ = read(file.content, file.path)
        assert kinds.pop("landed", 0) == file.truth.landed, file.path
        assert kinds.pop("blank", 0) == file.truth.blank, file.path
        assert kinds == comparable(file.truth.quarantined), file.path
        assert file.truth.lines == file.truth.landed + file.truth.blank + sum(file.truth.quarantined.values())


@pytest.mark.parametrize("source", ["web", "app", "devices"])
def test_the_numbers_of_planted_faults_are_those_of_the_configuration(demo: Demo, source: str) -> None:
    faults, truth = SMALL.faults, demo.truth.complete.source(source)
    prefix = {"devices": "device"}.get(source, source)
    assert truth.quarantined == dict(sorted(getattr(faults, f"{prefix}_malformed").items()))
    conflicts = getattr(faults, f"{prefix}_conflicts", 0)
    assert truth.numbers.conflicts == conflicts
    assert truth.numbers.duplicates == getattr(faults, f"{prefix}_duplicates") + conflicts
    assert truth.blank == getattr(faults, f"{prefix}_blank", 0)
    assert truth.skewed_events == getattr(faults, f"{prefix}_skewed")
    assert truth.future_events == getattr(faults, f"{prefix}_future", 0)
    assert truth.late_events == sum(f.truth.landed for f in demo.late_files if f.truth.source == source) > 0


@pytest.mark.parametrize("source", ["web", "app", "devices"])
def test_reading_correcting_and_deduplicating_the_files_gives_the_events_of_the_truth(demo: Demo, source: str) -> None:
    assert_read_as_planted(demo, source)


def assert_read_as_planted(demo: Demo, source: str) -> list[dict[str, Any]]:
    kept, landed, dropped = deduplicated(demo, source)
    complete = demo.truth.complete
    per_day = Counter(row["at"].date() for row in kept)
    truths = {truth.day: truth.numbers for truth in complete.days if truth.source == source}
    assert {day: numbers.events for day, numbers in truths.items()} == dict(per_day)
    assert {day: numbers.landed for day, numbers in truths.items()} == dict(landed)
    totals = complete.source(source).numbers
    assert (dropped.total(), dropped["other"]) == (totals.duplicates, totals.conflicts)
    assert totals.landed == totals.events + totals.duplicates == complete.source(source).landed
    return kept


def test_web_orders_revenue_views_visitors_and_refusals_can_be_counted_in_the_files(demo: Demo) -> None:
    kept = [row["raw"] | {"day": row["at"].date()} for row in deduplicated(demo, "web")[0]]
    allowed = [row for row in kept if row["context"].get("consent", {}).get("analytics", True)]
    truth = demo.truth.complete
    for day in SMALL.all_days:
        numbers = truth.day(day, "web")
        rows = [row for row in allowed if row["day"] == day]
        orders = [row for row in rows if row.get("event") == "order_completed"]
        assert len(orders) == len({row["properties"]["order_id"] for row in orders}) == numbers.orders
        assert sum(Decimal(str(row["properties"]["revenue"])) for row in orders) == numbers.order_revenue
        refunds = [row for row in rows if row.get("event") == "order_refunded"]
        assert len(refunds) == numbers.refunds
        assert sum(Decimal(str(row["properties"]["revenue"])) for row in refunds) == numbers.refunded
        views = [row for row in rows if row["type"] == "page"]
        assert len(views) == len({row["context"]["page"]["viewId"] for row in views}) == numbers.page_views
        assert len({row.get("anonymousId") or f"user:{row['userId']}" for row in rows}) == numbers.visitors
        bots = [row for row in rows if "compatible; " in row["context"].get("userAgent", "")]
        assert len(bots) == numbers.bot_events
        assert numbers.refused == sum(row["day"] == day for row in kept) - len(rows)
    totals = truth.source("web").numbers
    assert totals.visitors == len({row.get("anonymousId") or f"user:{row['userId']}" for row in allowed})
    assert totals.revenue == sum(t.numbers.revenue for t in truth.days if t.source == "web")
    assert totals.orders > 0
    assert totals.refunds > 0


@pytest.mark.parametrize("source", ["web", "app", "devices"])
def test_sessions_of_the_truth_follow_from_the_files(demo: Demo, source: str) -> None:
    times: defaultdict[str, list[datetime]] = defaultdict(list)
    for row in deduplicated(demo, source)[0]:
        raw = row["raw"]
        if source == "web":
            if raw["context"].get("consent", {}).get("analytics", True):
                times[raw.get("anonymousId") or f"user:{raw['userId']}"].append(row["at"])
        elif source == "app":
            if raw["analytics"] == "true":
                times[raw["install_id"]].append(row["at"])
        else:
            times[raw["device_id"]].append(row["at"])
    sessions = sum(count_sessions(sorted(own)) for own in times.values())
    truth = demo.truth.complete
    assert truth.source(source).numbers.sessions == sessions
    assert sum(day.numbers.sessions for day in truth.days if day.source == source) == sessions


def count_sessions(times: list[datetime]) -> int:
    timeout, count = timedelta(minutes=30), 0
    for position, moment in enumerate(times):
        if position == 0 or moment - times[position - 1] > timeout:
            count += 1
        elif times[position - 1].date() < moment.date():
            midnight = datetime.combine(moment.date(), datetime.min.time(), UTC)
            before = midnight - timedelta(days=1)
            points = [before, *(t for t in times if before <= t < midnight), midnight]
            count += all(b - a <= timeout for a, b in pairwise(points))
    return count


def test_a_machine_that_beats_at_exactly_the_timeout_has_one_session_a_day() -> None:
    demo = build_demo(DemoConfig(visitors=40, faults=Faults.none()))
    machine = [row["at"] for row in deduplicated(demo, "devices")[0] if row["raw"]["device_id"] == "vm-003"]
    gaps = {after - before for before, after in pairwise(sorted(machine))}
    assert gaps == {timedelta(minutes=30)}
    assert count_sessions(sorted(machine)) == 14


def test_a_demo_without_faults_has_none() -> None:
    demo = build_demo(DemoConfig(visitors=40, faults=Faults.none()))
    assert demo.late_files == ()
    assert demo.truth.late_days == ()
    assert demo.truth.before_late == demo.truth.complete
    for source in demo.truth.complete.sources:
        assert source.quarantined_lines == source.blank == source.skewed_events == source.future_events == 0
        assert source.lines == source.numbers.events


def test_a_number_of_faults_that_cannot_be_met_is_refused() -> None:
    with pytest.raises(ValueError, match=r"web duplicates: 1000000 wanted, only .* possible"):
        build_demo(DemoConfig(visitors=40, faults=replace(Faults.none(), web_duplicates=1_000_000)))


def test_a_repeat_has_the_bytes_of_its_original_and_the_half_written_file_begins_like_the_complete_one(
    demo: Demo, tmp_path: Path
) -> None:
    contents = {file.path: file.content for file in demo.files}
    for copy, original in demo.truth.repeats.items():
        assert contents[copy] == contents[original]
    path = demo.half_written.path
    assert contents[path].startswith(demo.half_written.content)
    demo.write(tmp_path, half_written=True)
    assert (tmp_path / path).read_bytes() == demo.half_written.content
    kinds, _ = read_web(demo.half_written.content, path)
    assert kinds["landed"] == demo.truth.half_written.landed
    assert demo.truth.half_written.lines == kinds.total()
    demo.write_completed_file(tmp_path)
    assert (tmp_path / path).read_bytes() == contents[path]


def test_late_files_hold_earlier_days_only_and_are_not_among_the_first_deliveries(demo: Demo, tmp_path: Path) -> None:
    demo.write(tmp_path)
    assert not any((tmp_path / file.path).exists() for file in demo.late_files)
    assert len(demo.write_late_files(tmp_path)) == 3
    days = {row["at"].date() for file in demo.late_files for row in read(file.content, file.path)[1]}
    assert days == set(demo.truth.late_days)
    assert max(days) < SMALL.all_days[-1]


def test_some_csv_records_hold_line_ends_and_a_column_is_added_half_way(demo: Demo) -> None:
    headers = []
    multiline = 0
    for file in demo.files:
        if file.truth.source == "app":
            headers.append(file.content.split(b"\n", 1)[0].count(b",") + 1)
            multiline += sum("\n" in row["raw"]["note"] for row in read_app(file.content)[1])
    assert headers == [18] * 7 + [19] * 7
    assert multiline > 0


def test_a_truth_survives_its_file(demo: Demo, tmp_path: Path) -> None:
    write_truth(demo.truth, tmp_path / "deep" / "truth.json")
    assert read_truth(tmp_path / "deep" / "truth.json") == demo.truth
    assert isinstance(Truth.from_json(demo.truth.to_json()).complete.days[0].numbers.revenue, Decimal)


def test_the_small_demo_has_every_kind_of_fault_for_any_seed() -> None:
    faults = Faults()
    kinds = {
        "web": set(faults.web_malformed),
        "app": set(faults.app_malformed),
        "devices": set(faults.device_malformed),
    }
    for seed in range(3):
        truth = build_demo(DemoConfig.small(seed)).truth
        assert {source.source: set(source.quarantined) for source in truth.complete.sources} == kinds
        assert all(s.late_events and s.skewed_events and s.numbers.duplicates for s in truth.complete.sources)


def test_the_default_demo_is_of_the_announced_size() -> None:
    totals = build_demo().truth.complete.sources
    assert 60_000 <= sum(source.numbers.events for source in totals) <= 100_000
    assert all(source.quarantined_lines < 0.01 * source.lines for source in totals)


# --- Days ---------------------------------------------------------------------------------------------

RECEIVED = timedelta(milliseconds=LATE_BY + MINUTE)
"""From the end of the last day until everything has come."""
# Times before 2010 and from 2099 on are planted as faults; clocks are wrong by up to 400 days.
FIRST, LAST = date(2012, 1, 1), date(2090, 12, 31)


def end_of(config: DemoConfig) -> datetime:
    return datetime.combine(config.first_day, datetime.min.time(), UTC) + timedelta(days=config.days)


def but_for_its_days(demo: Demo) -> tuple[str, str]:
    """The truth and the names of the files, with numbers for the days."""
    truth, paths = demo.truth.to_json(), " ".join(file.path for file in (*demo.files, *demo.late_files))
    for number in range(demo.config.days + 1):
        day = (demo.config.first_day + timedelta(days=number)).isoformat()
        truth, paths = truth.replace(day, f"day {number}"), paths.replace(day, f"day {number}")
    return truth, paths


@pytest.fixture(scope="module")
def small() -> Demo:
    """The small demo of the days that most tests have."""
    return build_demo(DemoConfig.small())


@given(now=st.datetimes(datetime(2012, 1, 31), datetime(2090, 1, 1), timezones=st.timezones()))  # noqa: DTZ001
@example(datetime(2026, 11, 23, 7, 0, 59, 999_999, UTC))
@example(datetime(2026, 11, 23, 7, 1, tzinfo=UTC))
@example(datetime(2026, 11, 22, 23, 59, tzinfo=UTC))
def test_the_latest_demo_is_of_the_last_two_whole_weeks_of_which_everything_has_come(now: datetime) -> None:
    config = DemoConfig.latest(now)
    assert config == replace(DemoConfig(), first_day=config.first_day)
    assert config.first_day.weekday() == DemoConfig().first_day.weekday() == 0
    assert timedelta() <= now - end_of(config) - RECEIVED < timedelta(days=7)


@settings(max_examples=3)
@given(weeks=st.integers(0, (LAST - FIRST).days // 7 - 1))
@example((date(2024, 2, 26) - date(2012, 1, 2)).days // 7)
@example((date(2025, 12, 29) - date(2012, 1, 2)).days // 7)
def test_a_demo_of_other_weeks_is_the_same_but_for_its_days(small: Demo, weeks: int) -> None:
    monday = date(2012, 1, 2) + timedelta(weeks=weeks)
    assert but_for_its_days(build_demo(replace(small.config, first_day=monday))) == but_for_its_days(small)


# A leap day, the end of a year, and the end of a month on which clocks are put forward.
@settings(max_examples=3)
@given(first_day=st.dates(FIRST, LAST))
@example(date(2024, 2, 27))
@example(date(2023, 12, 29))
@example(date(2026, 3, 27))
def test_the_files_of_a_demo_of_any_days_hold_what_its_truth_says_and_nothing_of_later(first_day: date) -> None:
    demo = build_demo(replace(DemoConfig.small(), first_day=first_day))
    rows = [row for source in ("web", "app", "devices") for row in assert_read_as_planted(demo, source)]
    assert {row["at"].date() for row in rows} == set(demo.config.all_days)
    assert max(row["received"] for row in rows) < end_of(demo.config) + RECEIVED
    assert demo.truth.first_day == first_day


def test_a_demo_that_was_made_stays_and_one_that_was_interrupted_goes_on_with_its_days(
    small: Demo, tmp_path: Path
) -> None:
    path, now = tmp_path / "data" / "truth.json", datetime(2026, 11, 26, 12, tzinfo=UTC)
    assert unfinished(path, now) == DemoConfig(first_day=date(2026, 11, 9))
    write_truth(replace(small.truth, delivered=False), path)
    assert unfinished(path, now) == DemoConfig()
    write_truth(small.truth, path)
    assert unfinished(path, now) is None
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_truth_written_when_all_demos_were_of_the_same_days_is_that_of_a_demo_that_was_made(
    small: Demo, tmp_path: Path
) -> None:
    path = tmp_path / "truth.json"
    fields = json.loads(small.truth.to_json())
    del fields["delivered"]
    path.write_text(json.dumps(fields))
    assert unfinished(path, datetime(2026, 11, 26, tzinfo=UTC)) is None
    assert read_truth(path) == small.truth
