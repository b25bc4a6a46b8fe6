"""A source guessed from files: what was written is found again, whatever it is called and however it is written."""

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.settings import Settings
from pipeline_assets.sources.checking import find_problems
from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.loading import load_sources
from pipeline_assets.starting.declaring import source_yaml
from pipeline_assets.starting.guessing import Guess, Wishes, guess
from pipeline_assets.starting.samples import SampleError, read_samples
from pipeline_assets.starting.trying import Step, Trial, try_source
from pipeline_assets_tests.formats.landed import FIXTURES, load

DATA = Path(__file__).parents[3] / "shared" / "data"
BERLIN = ZoneInfo("Europe/Berlin")

# Time format as a declaration says it, as Python writes it, and whether it says the zone.
TIMES = [
    ("iso8601", "%Y-%m-%dT%H:%M:%S", False),
    ("iso8601", "%Y-%m-%d %H:%M:%S", False),
    ("iso8601", "%Y-%m-%dT%H:%M:%S%z", True),
    ("%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M:%S", False),
    ("%d.%m.%y %H:%M:%S", "%d.%m.%y %H:%M:%S", False),
    ("%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S", False),
    ("%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M:%S %p", False),
    ("%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M:%S", False),
    ("%d-%b-%Y %H:%M:%S", "%d-%b-%Y %H:%M:%S", False),
    ("%d/%b/%Y:%H:%M:%S %z", "%d/%b/%Y:%H:%M:%S %z", True),
    ("epoch_s", "%s", True),
    ("epoch_ms", "%s000", True),
]
# Names of which each says what the column is; the random ones say nothing.
NAMES = {
    "time": ["timestamp", "Datum", "fecha", "event_time", "Bestelldatum", "horodatage", "InvoiceDate", "дата"],
    "visitor": ["visitor_id", "Besucher", "visitorId", "Client-ID", "visiteur", "anonymousId"],
    "amount": ["Betrag", "amount", "montant", "total", "Umsatz", "importe", "order_value"],
    "currency": ["Währung", "currency", "devise", "moneda", "xkqz"],
    "order": ["order_id", "Bestellnummer", "BelegNr", "commande", "Rechnung"],
}
TELLING = {"time", "visitor", "amount", "currency"}
"""What is also found by its values alone."""


@dataclass(frozen=True)
class Written:
    """A file, and what was meant by it."""

    content: bytes
    columns: dict[str, str]
    format: str
    zoned: bool
    rows: list[tuple[datetime, str, Decimal, str, str]]


def _at(moment: datetime, written: str) -> str:
    if written.startswith("%s"):
        return f"{int(moment.timestamp())}{written[2:]}"
    # Hours that are there twice, or never, cannot be written down without a zone.
    return moment.astimezone(BERLIN).strftime(written)


@st.composite
def files(draw: st.DrawFn) -> Written:
    declared, written, zoned = draw(st.sampled_from(TIMES))
    opaque = draw(st.booleans()) and not declared.startswith("epoch")
    delimiter = draw(st.sampled_from([",", ";", "\t", "|"]))
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "windows-1252", "utf-16"]))
    comma = draw(st.booleans())
    roles = ["time", "visitor", "amount", "currency", "order"]
    random_name = st.from_regex(r"xq[bcdfghjkmpvwz]{4,6}", fullmatch=True)
    columns = {
        role: draw(random_name if opaque and role in TELLING else st.sampled_from(NAMES[role])) for role in roles
    }
    if encoding == "windows-1252":
        columns = {role: name if name.isascii() or name == "Währung" else "ts" for role, name in columns.items()}
    extra = draw(st.lists(random_name, max_size=3))
    header = draw(st.permutations([*columns.values(), *extra]).filter(lambda all_: len(set(all_)) == len(all_)))
    count = draw(st.integers(4, 25))
    # From the 13th on, so that day and month can be told apart.
    begin = datetime(2024, 3, draw(st.integers(13, 20)), 9, tzinfo=UTC)
    visitors = draw(st.lists(st.uuids() if opaque else st.integers(100, 999), min_size=2, max_size=3, unique=True))
    word = st.sampled_from(["Käse", "Brot und Butter", "Größe M", 'he said "no"', f"a{delimiter}b", "x\ny", ""])
    rows = []
    lines = []
    for number in range(count):
        visitor = visitors[number % len(visitors)]
        row = (
            begin + timedelta(hours=number, minutes=number * 7, seconds=number),
            str(visitor) if isinstance(visitor, UUID) else f"B{visitor}",
            Decimal(draw(st.integers(1, 999_999))) / 100,
            draw(st.sampled_from(["EUR", "USD"])),
            f"A-{1000 + number}",
        )
        rows.append(row)
        amount = f"{row[2]:.2f}".replace(".", ",") if comma else f"{row[2]:.2f}"
        cells = dict(zip(roles, (_at(row[0], written), row[1], amount, row[3], row[4]), strict=True))
        by_name = {columns[role]: text for role, text in cells.items()} | {name: draw(word) for name in extra}
        lines.append([by_name[name] for name in header])
    text = io.StringIO(newline="")
    # Text that cannot be mistaken for a word, so that what the file is in does matter.
    writer = csv.writer(text, delimiter=delimiter, lineterminator=draw(st.sampled_from(["\n", "\r\n"])))
    writer.writerows([header, *lines])
    return Written(text.getvalue().encode(encoding), columns, declared, zoned, rows)


def declared(guessed: Guess, folder: Path) -> Source:
    """The source as it is read from the YAML that is written of a guess."""
    file = folder / "defs" / "till" / "defs.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source_yaml(guessed, path="till/*"), encoding="utf-8")
    (source,) = load_sources(folder / "defs")
    return source


@settings(max_examples=40, deadline=None)
@given(written=files())
def test_what_was_written_as_csv_is_found_again_and_all_rows_land(
    written: Written, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("sample")
    file = folder / "till.csv"
    file.write_bytes(written.content)
    guessed = guess(read_samples([file]), Wishes(zone="Europe/Berlin"), name="till")
    source = declared(guessed, folder)
    roles = {"occurred_at": "time", "anonymous_id": "visitor", "revenue": "amount", "currency": "currency",
             "order_id": "order"}  # fmt: skip
    assert {role: source.mapping[column].strip('"') for column, role in roles.items()} == written.columns
    # A zone that the files say is not declared, for it would mean nothing.
    expected = {"time": written.format, "zone": None if written.zoned else "Europe/Berlin"}
    assert {"time": source.time.format or "iso8601", "zone": source.time.zone} == expected
    rows, booked = load(source, file)
    assert (booked.landed, booked.quarantined) == (len(written.rows), [])
    columns = ("occurred_at", "anonymous_id", "revenue", "currency", "order_id")
    found = [tuple(row[column] for column in columns) for row in rows]
    assert found == written.rows


@pytest.mark.parametrize("suffix", ["jsonl", "json", "parquet"])
def test_the_same_is_found_in_json_lines_a_json_array_and_parquet(tmp_path: Path, suffix: str) -> None:
    moments = [datetime(2024, 3, 13, 10, minute, tzinfo=UTC) for minute in range(6)]
    records = [
        {
            "at": moment.isoformat(),
            "user": {"id": f"u{number % 2}"},
            "event": ["view", "buy"][number % 2],
            "amount": 12.5,
        }
        for number, moment in enumerate(moments)
    ]
    file = tmp_path / f"events.{suffix}"
    if suffix == "jsonl":
        file.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    elif suffix == "json":
        file.write_text(json.dumps(records))
    else:
        pl.DataFrame(records).with_columns(pl.col("at").str.to_datetime(time_zone="UTC")).write_parquet(file)
    guessed = guess(read_samples([file]), Wishes(), name="app")
    assert guessed.attributes["format"] == {"jsonl": "jsonl", "json": "json_array", "parquet": "parquet"}[suffix]
    mapping = guessed.attributes["mapping"]
    assert (mapping["occurred_at"], mapping["user_id"], mapping["event_name"]) == ('"at"', "user.id", "event")
    rows, _ = load(declared(guessed, tmp_path), file)
    assert [(row["occurred_at"], row["revenue"]) for row in rows] == [(moment, Decimal("12.5")) for moment in moments]


READY = {
    "segment.jsonl": "segment",
    "snowplow.tsv": "snowplow",
    "ga4.jsonl": "ga4",
    "posthog.jsonl": "posthog",
    "amplitude.jsonl": "amplitude",
    "mixpanel.jsonl": "mixpanel",
    "matomo_visits.json": "matomo",
    "cloudevents.jsonl": "cloudevents",
    "iis.log": "w3c_log",
    "cloudfront.log": "cloudfront_log",
}


@pytest.mark.parametrize("name", READY)
def test_a_ready_format_is_known_by_its_marks(name: str, tmp_path: Path) -> None:
    guessed = guess(read_samples([FIXTURES / name]), Wishes(), name="web")
    assert guessed.attributes["format"] == READY[name]
    source = declared(guessed, tmp_path)
    # Of an envelope that says what happened the payload says to whom.
    assert {"anonymous_id", "user_id"} & source.mapping.keys()
    assert load(source, FIXTURES / name)[1].landed > 0


@pytest.mark.parametrize(
    ("columns", "tracker"),
    [
        ("id,anonymous_id,user_id,original_timestamp,event", "segment"),
        ("collector_tstamp,event_id,derived_tstamp,domain_userid,event_name", "snowplow"),
    ],
)
def test_rows_of_a_warehouse_are_known_as_a_table_and_not_as_the_objects_of_a_tracker(
    tmp_path: Path, columns: str, tracker: str
) -> None:
    rows = [[f"{column}-{number}" for column in columns.split(",")] for number in range(5)]
    file = tmp_path / "export.csv"
    file.write_text("".join(f"{','.join(row)}\n" for row in (columns.split(","), *rows)))
    found = read_samples([file])
    assert (found.format, found.attributes) == (tracker, {"records": "csv"})
    objects = tmp_path / "export.jsonl"
    objects.write_text("".join(f"{json.dumps(dict(zip(columns.split(','), row, strict=True)))}\n" for row in rows))
    assert read_samples([objects]).format == "jsonl"


def test_of_a_ready_format_what_was_named_counts(tmp_path: Path) -> None:
    sample = read_samples([FIXTURES / "cloudevents.jsonl"])
    mapping = guess(sample, Wishes(visitor="subject"), name="web").attributes["mapping"]
    assert (mapping["anonymous_id"], mapping["revenue"]) == ("subject", "data.amount")
    assert "user_id" not in mapping
    file = tmp_path / "access.log"
    file.write_text(LINES["combined_log"])
    mapping = guess(read_samples([file]), Wishes(visitor="remote_user"), name="web").attributes["mapping"]
    assert mapping["anonymous_id"] == "remote_user"
    with pytest.raises(
        SampleError, match=r"--visitor remote_usr: there is no such field; did you mean 'remote_user'\?"
    ):
        guess(read_samples([file]), Wishes(visitor="remote_usr"), name="web")


LINES = {
    "common_log": '203.0.113.7 - - [02/Mar/2024:10:00:01 +0000] "GET /a HTTP/1.1" 200 5',
    "combined_log": '203.0.113.7 - - [02/Mar/2024:10:00:01 +0000] "GET /a HTTP/1.1" 200 5 "-" "Mozilla/5.0"',
    "vhost_combined_log": 'www.example.com:443 203.0.113.7 - - [02/Mar/2024:10:00:01 +0000] "GET /a HTTP/1.1" 200 5 '
    '"-" "Mozilla/5.0"',
    "nginx_main_log": '203.0.113.7 - - [02/Mar/2024:10:00:01 +0000] "GET /a HTTP/1.1" 200 5 "-" "Mozilla/5.0" "-"',
    "nginx_json": '{"time_iso8601": "2024-03-02T10:00:01+00:00", "remote_addr": "203.0.113.7", "request": '
    '"GET /a HTTP/1.1", "status": "200", "http_user_agent": "Mozilla/5.0"}',
    "caddy_json": '{"ts": 1709373601.5, "request": {"client_ip": "203.0.113.7", "method": "GET", "host": "a.example", '
    '"uri": "/a", "headers": {"User-Agent": ["Mozilla/5.0"]}}, "status": 200}',
    "traefik_json": '{"StartUTC": "2024-03-02T10:00:01Z", "ClientHost": "203.0.113.7", "RequestMethod": "GET", '
    '"RequestPath": "/a", "DownstreamStatus": 200}',
}


@pytest.mark.parametrize("name", LINES)
def test_a_log_of_a_web_server_is_known_and_a_visitor_is_no_address(name: str, tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    file.write_text(f"{LINES[name]}\n" * 3)
    guessed = guess(read_samples([file]), Wishes(), name="web")
    assert guessed.attributes["format"] == name
    rows, booked = load(declared(guessed, tmp_path), file)
    assert (booked.landed, {row["event_type"] for row in rows}) == (3, {"page"})
    assert not any("203.0.113.7" in row["anonymous_id"] for row in rows)
    assert {row["page_url"] for row in rows} <= {
        "/a", "http://www.example.com/a", "http://a.example/a", "https://a.example/a",
    }  # fmt: skip


TILL = "Datum;Filiale;Besucher;Artikel;Betrag;Währung\r\n" + "".join(
    f"{1 + number % 7:02}.03.2024 {10 + number % 8:02}:05:{number % 10:02};München;B{number % 4};Käse {number};"
    f"{12 + number},{50 + number % 10};EUR\r\n"
    for number in range(12)
)


def tried(file: Path, wishes: Wishes, folder: Path) -> tuple[Guess, Trial]:
    guessed = guess(read_samples([file]), wishes, name="till")
    source = declared(guessed, folder)
    assert find_problems(source) == []
    return guessed, try_source(source, [file], Settings.for_data_dir(folder, timezone="Europe/Berlin"))


def test_a_till_s_export_with_semicolons_decimal_commas_and_latin_1_lands_whole(tmp_path: Path) -> None:
    file = tmp_path / "kasse.csv"
    file.write_bytes(TILL.encode("latin-1"))
    guessed, trial = tried(file, Wishes(zone="Europe/Berlin"), tmp_path)
    assert (trial.landed, trial.lines, trial.visitors, dict(trial.reasons)) == (12, 12, 4, {})
    assert guessed.attributes["csv"] == {"delimiter": ";", "decimal": ","}
    assert guessed.attributes["encoding"] == "windows-1252"
    assert (guessed.currencies, trial.earning) == (("EUR",), "purchase")
    assert trial.first == datetime(2024, 3, 1, 9, 5, tzinfo=UTC)
    rows, _ = load(declared(guessed, tmp_path), file)
    assert sum(row["revenue"] for row in rows) == Decimal("216.46")
    assert {(row["event_type"], row["event_name"], row["currency"]) for row in rows} == {("track", "purchase", "EUR")}
    # Who comes back is the one thing a funnel of one kind of event can show.
    assert trial.steps == (Step("purchase", "track"),) * 2


def test_a_zone_that_nobody_named_is_declared_as_a_guess_and_one_that_the_files_say_is_not(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("time,visitor\n2024-03-13 10:00:00,a\n")
    guessed = guess(read_samples([file]), Wishes(default_zone="America/New_York"), name="till")
    assert guessed.attributes["time"] == {"format": "iso8601", "zone": "America/New_York"}
    assert "America/New_York is a guess" in guessed.comments["time"]
    assert "# the times in the files do not say their zone" in source_yaml(guessed, path="a.csv")
    file.write_text("time,visitor\n2024-03-13 10:00:00+01:00,a\n")
    guessed = guess(read_samples([file]), Wishes(default_zone="America/New_York"), name="till")
    assert "time" not in guessed.attributes


def test_a_date_and_a_time_of_day_in_two_columns_make_one_moment(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("Datum;Uhrzeit;Kunde\n13.03.2024;10:05;K1\n14.03.2024;9:30;K2\n")
    guessed, trial = tried(file, Wishes(zone="Europe/Berlin"), tmp_path)
    assert guessed.attributes["mapping"]["occurred_at"] == "Datum || ' ' || Uhrzeit"
    assert (trial.landed, trial.first) == (2, datetime(2024, 3, 13, 9, 5, tzinfo=UTC))


@pytest.mark.parametrize("step", [1, -1])
def test_of_day_and_month_that_look_alike_the_reading_in_order_counts_and_is_told(tmp_path: Path, step: int) -> None:
    file = tmp_path / "a.csv"
    dates = ["03/01/2024 10:00", "03/02/2024 10:00", "04/01/2024 10:00"][::step]
    file.write_text("".join(["date,visitor\n", *(f"{date},a\n" for date in dates)]))
    guessed = guess(read_samples([file]), Wishes(zone="UTC"), name="till")
    assert guessed.attributes["time"]["format"] == "%m/%d/%Y %H:%M"
    assert "%d/%m/%Y %H:%M" in guessed.comments["mapping.occurred_at"]


def test_amounts_with_the_sign_of_a_currency_and_groups_of_digits_are_read(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('date;customer;total\n2024-03-13;c1;"1.234,50 €"\n2024-03-14;c2;"-3,00 €"\n', encoding="utf-8")
    guessed, _ = tried(file, Wishes(zone="UTC"), tmp_path)
    rows, booked = load(declared(guessed, tmp_path), file)
    assert booked.landed == 2
    assert [(row["event_name"], row["revenue"], row["currency"]) for row in rows] == [
        ("purchase", Decimal("1234.50"), "EUR"),
        ("refund", Decimal("-3.00"), "EUR"),
    ]


def test_rows_of_an_invoice_earn_quantity_times_price_and_an_unknown_customer_s_order_stands_for_them(
    tmp_path: Path,
) -> None:
    file = tmp_path / "a.csv"
    file.write_text(
        "InvoiceNo,StockCode,Quantity,InvoiceDate,UnitPrice,CustomerID\n"
        "536365,85123A,6,2024-03-13 08:26:00,2.55,17850.0\n"
        "536366,71053,1,2024-03-13 08:28:00,3.39,\n"
        "C536367,71053,-1,2024-03-13 08:30:00,3.39,17850.0\n"
    )
    guessed, trial = tried(file, Wishes(zone="Europe/London"), tmp_path)
    rows, _ = load(declared(guessed, tmp_path), file)
    assert [(row["user_id"], row["anonymous_id"], row["order_id"], row["revenue"]) for row in rows] == [
        ("17850", None, "536365", Decimal("15.30")),
        (None, "536366", "536366", Decimal("3.39")),
        ("17850", None, "C536367", Decimal("-3.39")),
    ]
    assert [row["event_name"] for row in rows] == ["purchase", "purchase", "refund"]
    assert json.loads(rows[0]["items"])[0]["sku"] == "85123A"
    assert (trial.landed, trial.visitors) == (3, 2)


def test_a_column_that_merely_counts_is_no_event_id_because_it_begins_again_in_each_file(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("event_id,time,visitor\n1,2024-03-13T10:00:00Z,a\n2,2024-03-13T10:01:00Z,a\n")
    guessed = guess(read_samples([file]), Wishes(), name="till")
    assert "event_id" not in guessed.attributes["mapping"]
    assert "event_id" in guessed.open
    assert "    # event_id: …" in source_yaml(guessed, path="a.csv")


def test_the_currency_may_stand_in_the_name_of_the_amount_and_a_receipt_for_the_visitor(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("Filiale Nord\n\nBon-Nr;Datum;Summe EUR\nB17;13.03.2024 10:00;3,50\nB18;13.03.2024 10:05;4,00\n")
    guessed, trial = tried(file, Wishes(visitor="Bon-Nr"), tmp_path)
    mapping = guessed.attributes["mapping"]
    assert (mapping["currency"], guessed.currencies) == ("'EUR'", ("EUR",))
    assert mapping["anonymous_id"] == mapping["order_id"] == '"Bon-Nr"'
    # What is above the header is skipped, and counts as blank.
    assert (guessed.attributes["csv"]["skip"], trial.landed, trial.blank) == (2, 2, 2)


def test_names_that_sql_reserves_are_quoted(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('timestamp,user,order,"say ""hi"""\n2024-03-13T10:00:00Z,u1,o1,x\n2024-03-13T10:00:00Z,u2,o2,y\n')
    guessed, trial = tried(file, Wishes(event='say "hi"'), tmp_path)
    rows, _ = load(declared(guessed, tmp_path), file)
    assert [(row["user_id"], row["event_name"]) for row in rows] == [("u1", "x"), ("u2", "y")]
    assert trial.visitors == 2


def test_steps_of_the_funnel_are_events_that_visitors_come_to_in_this_order(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    ways = {"a": ["view", "cart", "buy"], "b": ["view", "cart"], "c": ["buy", "view"]}
    lines = [
        json.dumps({"time": f"2024-03-13T10:{minute:02}:00Z", "visitor": visitor, "event": event})
        for visitor, way in ways.items()
        for minute, event in enumerate(way)
    ]
    file.write_text("\n".join(lines))
    _, trial = tried(file, Wishes(), tmp_path)
    assert [step.event for step in trial.steps] == ["view", "cart", "buy"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "when_,visitor\nyesterday,a\n",
            "no column was found that says when the events happened. There are: when_, visitor",
        ),
        ("time,city\n2024-03-13T10:00:00Z,Rome\n2024-03-13T10:00:00Z,Oslo\n", "--visitor COLUMN"),
        ("just some words\nand more of them\n", "this is no format that is known here"),
        ('{\n "a": 1\n}\n', "JSON over several lines"),
        ("", "there is nothing in it"),
        ("time,visitor\n", "there are columns but no records in it"),
        ("PK\x03\x04\x14\0", "save the sheet as CSV"),
        ("\0\1,\2\n" * 9, "this is no format that is known here"),
    ],
)
def test_what_cannot_be_guessed_is_said_with_the_columns_and_what_to_do(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "a.txt"
    file.write_text(text)
    with pytest.raises(SampleError) as error:
        guess(read_samples([file]), Wishes(), name="till")
    assert message in str(error.value)
    # Columns may be named; what is in them may be personal data.
    assert not re.search("Rome|yesterday|some words", str(error.value))


def test_columns_that_are_named_count_more_than_guesses_and_a_misspelt_one_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("created,shipped,city,customer\n2024-03-13T10:00:00Z,2024-03-14T10:00:00Z,Rome,c1\n")
    wishes = Wishes(time="shipped", visitor="city", event="order shipped")
    mapping = guess(read_samples([file]), wishes, name="till").attributes["mapping"]
    assert (mapping["occurred_at"], mapping["anonymous_id"], mapping["event_name"]) == (
        "shipped", "city", "'order shipped'",
    )  # fmt: skip
    with pytest.raises(SampleError, match=r"--time shiped: there is no such column; did you mean 'shipped'\?"):
        guess(read_samples([file]), Wishes(time="shiped"), name="till")


def test_an_app_s_events_with_names_of_its_own_of_which_a_few_earn_are_not_all_purchases(tmp_path: Path) -> None:
    file = tmp_path / "app.jsonl"
    rows = [
        {"whenMs": 1_775_030_400_000 + 60_000 * i, "who": {"installUid": f"i{i % 9}"}, "step": f"s{i}"}
        | ({} if i % 7 else {"amt": 1.99, "cur": "USD"})
        for i in range(60)
    ]
    file.write_text("\n".join(json.dumps(row) for row in rows))
    sample = read_samples([file])
    guessed = guess(sample, Wishes(), name="app")
    mapping = guessed.attributes["mapping"]
    assert (mapping["occurred_at"], mapping["anonymous_id"]) == ("whenMs", "who.installUid")
    assert mapping["event_name"] == "'app'"
    assert guessed.kept(sample) == ["step"]


def test_an_event_that_names_no_product_has_no_items(tmp_path: Path) -> None:
    file = tmp_path / "app.jsonl"
    rows = [
        {"time": f"2024-03-02T10:00:{i:02}Z", "device_id": f"i{i % 9}", "event": "bought" if i % 7 == 0 else "opened"}
        | ({} if i % 7 else {"sku": "S1", "total": 1.99, "currency": "EUR"})
        for i in range(60)
    ]
    file.write_text("\n".join(json.dumps(row) for row in rows))
    guessed, trial = tried(file, Wishes(), tmp_path)
    assert trial.filled["items"] == trial.filled["revenue"] == 9
    loaded, _ = load(declared(guessed, tmp_path), file)
    assert {row["event_name"] for row in loaded if row["items"] is not None} == {"bought"}


def test_a_log_that_does_not_say_its_host_is_told_what_becomes_of_referrers(tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    told = {}
    for name in ("common_log", "combined_log", "vhost_combined_log"):
        file.write_text(f"{LINES[name]}\n" * 3)
        told[name] = guess(read_samples([file]), Wishes(), name="web").comments.get("mapping.page_url", "")
    assert [name for name, comment in told.items() if "'https://www.example.com' || target" in comment] == [
        "combined_log"
    ]


def test_turkish_headers_are_known(tmp_path: Path) -> None:
    file = tmp_path / "kasa.csv"
    rows = "".join(f"01.04.2026 10:{i:02}:00;M{i % 4};iade;{i},50;T{i}\n" for i in range(20))
    file.write_text(f"Tarih;Müşteri No;İşlem;Tutar;Sipariş No\n{rows}", encoding="windows-1254")
    mapping = guess(read_samples([file]), Wishes(), name="kasa").attributes["mapping"]
    assert [mapping[column] for column in ("occurred_at", "user_id", "event_name", "revenue", "order_id")] == [
        "Tarih", '"Müşteri No"', '"İşlem"', "Tutar", '"Sipariş No"',
    ]  # fmt: skip


def test_files_of_two_formats_are_two_sources(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("time,visitor\n2024-03-13T10:00:00Z,a\n")
    (tmp_path / "b.jsonl").write_text('{"time": "2024-03-13T10:00:00Z", "visitor": "a"}\n')
    with pytest.raises(SampleError, match=r"a\.csv is csv and b\.jsonl is jsonl"):
        read_samples([tmp_path / "a.csv", tmp_path / "b.jsonl"])


LETTERS: Sequence[tuple[str, str]] = [
    ("windows-1252", "Größe;Straße;Müller;Café;12 €"),
    ("cp850", "Größe;Straße;Müller;Café"),
    ("mac-roman", "Größe;Straße;Müller;Café"),
    ("windows-1250", "Zażółć gęślą jaźń;Příliš žluťoučký kůň"),
    ("windows-1251", "Привет мир;Москва"),
    ("windows-1254", "Müşteri;Sipariş;İşlem"),
    ("koi8-r", "Привет мир;Москва"),
    ("shift_jis", "東京;日本語;日付"),
    ("gb18030", "北京;中文数据"),
]


@pytest.mark.parametrize(("encoding", "text"), LETTERS)
def test_the_encoding_is_that_in_which_the_letters_make_words(tmp_path: Path, encoding: str, text: str) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(f"time;visitor;{text}\n2024-03-13T10:00:00Z;a;{text}\n".encode(encoding))
    assert read_samples([file]).attributes["encoding"] == encoding


@pytest.mark.skipif(not DATA.is_dir(), reason="the real data are not here")
def test_real_files_of_a_shop_and_of_a_web_server_land_as_they_are(tmp_path: Path) -> None:
    shop = DATA / "online_retail" / "2010-12-01.csv"
    _, trial = tried(shop, Wishes(zone="Europe/London"), tmp_path)
    assert (trial.landed, trial.lines, dict(trial.reasons)) == (3108, 3108, {})
    _, trial = tried(DATA / "access_logs" / "apache_logs", Wishes(), tmp_path)
    # Line 8899 is malformed.
    assert (trial.landed, dict(trial.reasons)) == (9999, {"not_a_log_line: user_agent": 1})
    # What is no page of a log of requests is no step for anybody.
    assert {step.event for step in trial.steps} == {"page_viewed"}
