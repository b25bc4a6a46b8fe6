"""Moments are read as RFC 3339, databases and people write them, in every format alike."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.declarations.expressions import database
from pipeline_assets.sources.checking import find_problems
from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.times import microseconds
from pipeline_assets_tests.sources.staging_rows import source, stage

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS = st.integers(-2_208_988_800_000_000, 253_402_128_000_000_000).map(lambda n: EPOCH + timedelta(microseconds=n))
"""From 1900 on, and with room for any offset before the year 10000."""


def read(texts: Sequence[str | None], zone: str = "UTC", kind: str = "iso8601") -> list[datetime | None]:
    with database().cursor() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.register("texts", pa.table({"text": pa.array(texts, pa.string())}))
        rows = connection.execute(f"select {microseconds('text', kind, zone)} from texts").fetchall()
    return [None if value is None else EPOCH + timedelta(microseconds=value) for (value,) in rows]


@given(
    moments=st.lists(
        st.tuples(
            MOMENTS,
            st.integers(-18 * 60, 18 * 60),
            st.sampled_from("Tt "),
            st.sampled_from(["{hours:02}:{minutes:02}", "{hours:02}{minutes:02}"]),
            st.sampled_from(["", " "]),
            st.sampled_from(".,"),
            st.integers(0, 15),
        ),
        min_size=1,
        max_size=20,
    )
)
@settings(deadline=None, max_examples=25)
def test_what_is_written_as_rfc_3339_or_iso_8601_is_read_as_the_same_moment(moments: list[tuple]) -> None:
    texts, expected = [], []
    for moment, minutes, between, form, space, mark, digits in moments:
        local = moment.astimezone(timezone(timedelta(minutes=minutes)))
        # Up to nanoseconds and beyond; what is below a microsecond is cut.
        fraction = f"{moment.microsecond:06}123456789"[:digits]
        offset = form.format(hours=abs(minutes) // 60, minutes=abs(minutes) % 60)
        texts.append(
            f"{local.year:04}-{local:%m-%d}{between}{local:%H:%M:%S}{mark * bool(digits)}{fraction}"
            f"{space}{'-' if minutes < 0 else '+'}{offset}"
        )
        expected.append(moment.replace(microsecond=int(f"{fraction:0<6}"[:6])))
    assert read(texts) == expected


@given(st.lists(st.tuples(MOMENTS, st.sampled_from(["Z", "z", " UTC", " utc", "UTC", " GMT", " Z", "+00", " +00"]))))
@settings(deadline=None, max_examples=25)
def test_every_way_to_write_utc_is_utc_whatever_zone_is_declared(moments: list[tuple[datetime, str]]) -> None:
    texts = [moment.replace(tzinfo=None).isoformat(" ", "microseconds") + utc for moment, utc in moments]
    assert read(texts, "Europe/Berlin") == [moment for moment, _ in moments]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00"),
        ("2016-12-31t23:59:60.25z", "2017-01-01T00:00:00.25"),
        ("2017-01-01T00:59:60+01:00", "2017-01-01T00:00:00"),
        ("2016-12-31 23:59:60", "2016-12-31T23:00:00"),
        ("2026-03-02 10:00:00.123456 UTC", "2026-03-02T10:00:00.123456"),
        ("2026-03-02t10:00", "2026-03-02T09:00:00"),
        ("2026-03-02T10:00:00,5", "2026-03-02T09:00:00.5"),
        ("2026-03-02T10:00:00.9999999z", "2026-03-02T10:00:00.999999"),
        ("1969-12-31T23:59:59,9999999Z", "1969-12-31T23:59:59.999999"),
    ],
)
def test_leap_seconds_begin_the_next_minute_and_nanoseconds_are_cut(text: str, expected: str) -> None:
    assert read([text], "Europe/Berlin") == [datetime.fromisoformat(expected).replace(tzinfo=UTC)]


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-02T10:00:61Z",
        "2026-03-02T25:00:00z",
        "2026-13-02t10:00:00z",
        "2026-02-30 10:00:00 UTC",
        "2026-03-02 10:00:00 Europe/Berlin UTC",
        "2026-03-02 10:00:00 CET",
        "2026-03-02T10:00:00+19:00",
        "2026-03-02T10:00:00z+01:00",
        "2026-03-02T10:00:00 UTC\n",
        "2026-03-02  10:00:00z",
        "now",
        "infinity",
    ],
)
def test_what_is_not_certain_is_no_time(text: str) -> None:
    assert read([text]) == [None]


def test_a_strptime_format_reads_what_it_says_and_nothing_else() -> None:
    texts = ["02.03.2026 10:00:00", "2026-03-02T10:00:00z", "02.03.2026 10:00:00 UTC", None]
    assert read(texts, kind="%d.%m.%Y %H:%M:%S") == [datetime(2026, 3, 2, 10, tzinfo=UTC), None, None, None]


def test_json_csv_and_parquet_read_the_same_text_as_the_same_moment() -> None:
    text = "2024-05-01 10:00:00.123456 UTC"
    rows = [
        *stage(source(), [f'{{"id": "e", "time": "{text}", "visitor": "v"}}']),
        *stage(source(format="csv"), [f"e,{text},v"], fields=["id", "time", "visitor"]),
        *stage(source(format="parquet"), pa.table({"id": ["e"], "time": [text], "visitor": ["v"]})),
    ]
    assert [row["occurred_at"] for row in rows] == [datetime(2024, 5, 1, 10, 0, 0, 123456, tzinfo=UTC)] * 3


@pytest.mark.parametrize(
    ("time", "place"),
    [
        ({"format": "epoch_ms", "zone": "Europe/Berlin"}, ("time", "zone")),
        ({"format": "%d.%m.%Y %H:%M %z", "zone": "Europe/Berlin"}, ("time", "zone")),
        (
            {"columns": {"received_at": {"format": "epoch_s", "zone": "Europe/Berlin"}}},
            ("time", "columns", "received_at", "zone"),
        ),
        ({"format": "epoch_ms", "zone": "UTC"}, None),
        ({"zone": "Europe/Berlin", "columns": {"received_at": {"format": "epoch_s"}}}, None),
    ],
)
def test_a_zone_in_which_no_time_is_read_is_a_mistake(time: dict, place: tuple | None) -> None:
    mapping = {"occurred_at": "t", "received_at": "r", "anonymous_id": "v"}
    declared = Source.model_validate({"name": "web", "path": "*", "format": "jsonl", "mapping": mapping, "time": time})
    assert [problem.location for problem in find_problems(declared)] == ([] if place is None else [place])
