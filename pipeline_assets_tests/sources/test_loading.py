from pathlib import Path

import pytest

from pipeline_assets.component_tree.loading import declared
from pipeline_assets.settings import Settings
from pipeline_assets.sources.dialect import Dialect
from pipeline_assets.sources.loading import DeclarationError, load_sources

DECLARATIONS = Path(__file__).parents[1] / "declarations"
DECLARED = """\
type: pipeline_assets.components.EventSource
attributes:
  path: web/*.jsonl
  format: jsonl
  mapping:
    occurred_at: time
    anonymous_id: id
"""


def declare(folder: Path, text: str, name: str = "web") -> Path:
    file = folder / name / "defs.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    return file


def mistakes(folder: Path, text: str) -> list[str]:
    """The messages about a declaration, without the file's name."""
    file = declare(folder, text)
    with pytest.raises(DeclarationError) as caught:
        load_sources(folder)
    return [line.removeprefix(f"{file}:") for line in str(caught.value).splitlines()]


def test_a_source_is_named_after_its_folder_and_keeps_the_defaults(tmp_path: Path):
    declare(tmp_path, DECLARED)
    declare(tmp_path, "type: dagster.DefsFolderComponent\n", "other")
    (declared,) = load_sources(tmp_path)
    assert (declared.name, declared.compression, declared.dedup_days) == ("web", "auto", 1)
    assert (declared.sessions.mode, declared.sessions.timeout_minutes) == ("inferred", 30)


@pytest.mark.parametrize(
    ("added", "messages"),
    [
        ("    anonymos_id: x\n", ["8:5: unknown column 'anonymos_id'; did you mean 'anonymous_id'?"]),
        ("    line: x\n", ["8:5: column 'line' is always computed and cannot be mapped"]),
        ("    event_id:\n", ["8:5: event_id has no value; give one or delete the line"]),
        ("    occurred_at: x\n", ["8:5: key 'occurred_at' is already in line 6"]),
        (
            "    event_name: lowr(x)\n",
            ['8:17: event_name: Scalar Function with name lowr does not exist! Did you mean "lower"?'],
        ),
        ("    event_name: lower(x\n", ['8:17: event_name: syntax error at or near ")"']),
        (
            "    order_id: order\n",
            [
                '8:15: order_id: syntax error at or near "order"; order is a word of SQL: '
                'a column of that name is written "order" with double quotes'
            ],
        ),
        ("    revenue: sum(x)\n", ["8:14: revenue: sum() is an aggregate: an expression sees only its own row"]),
        ("    event_id: uuid()\n", ["8:15: event_id: uuid() does not always give the same result for the same row"]),
        ("    event_id: hash(x)\n", ["8:15: event_id: hash() does not always give the same result for the same row"]),
        (
            "    event_name: current_localtimestamp()\n",
            ["8:17: event_name: current_localtimestamp() does not always give the same result for the same row"],
        ),
        (
            "    event_name: age(x::timestamp)\n",
            [
                "8:17: event_name: age() of one time does not always give the same result for the same row: "
                "it is measured from today; give both times"
            ],
        ),
        (
            "    event_name: get_block_size(x)\n    event_type: geomean(x::double)\n",
            [
                "8:17: event_name: a subquery is not allowed: an expression sees only its own row",
                "9:17: event_type: an aggregate is not allowed: an expression sees only its own row",
            ],
        ),
        (
            "    event_name: unnest([x])\n",
            ["8:17: event_name: unnest() gives several rows: an expression gives one value for its own row"],
        ),
        (
            "    event_name: (select content from read_text('/etc/passwd'))\n",
            ["8:17: event_name: a subquery is not allowed: an expression sees only its own row"],
        ),
        (
            "    event_name: read_text('/etc/passwd')\n",
            [
                '8:17: event_name: Function "read_text" is a table function but it was used as a scalar function. '
                "This function has to be called in a FROM clause (similar to a table)."
            ],
        ),
        ("    event_name: a) from x, (select b\n", ["8:17: event_name: not one expression"]),
        (
            "    user_id: context\n    page_url: context.url\n",
            [
                "8:14: user_id: context is read as a value here and as an object by page_url; "
                "write raw ->> '$.context' for its JSON text"
            ],
        ),
        (
            "    user_id: Time\n",
            [
                "8:14: user_id: Time differs from time (read by occurred_at) only in case; "
                "write one of them as raw ->> '$.Time'"
            ],
        ),
        (
            "    user_id: ids[1]\n",
            [
                "8:14: user_id: ids is text here and has no elements; "
                "write raw ->> '$.ids[0]' for the first element of a JSON array"
            ],
        ),
        (
            "  required: [revenu, user_id]\n",
            [
                "8:14: unknown column 'revenu'; did you mean 'revenue'?",
                "8:22: column 'user_id' is required but not mapped",
            ],
        ),
        (
            "  rules:\n    a: revnue > 0\n    b: revenue + 1\n",
            [
                "9:8: rule a: unknown column 'revnue'; did you mean 'revenue'?",
                "10:8: rule b: gives DECIMAL(19,6), but a rule must be true or false",
            ],
        ),
        (
            "  time: {format: iso8061, zone: Europe/Berln, columns: {sent: {format: '%Q'}}}\n",
            [
                "8:18: unknown time format 'iso8061'; did you mean 'iso8601'?, or a strptime format",
                "8:33: unknown time zone 'Europe/Berln'; did you mean 'Europe/Berlin'?",
                "8:57: unknown time column 'sent'; did you mean 'sent_at'?",
                "8:72: Failed to parse format specifier %Q: Unrecognized format for strftime/strptime: %Q",
            ],
        ),
        (
            "  time: {format: '%d.%m.%Y', columns: {occurred_at: {format: '%d.%m.%Y %z'}}}\n",
            [
                "8:18: times of this format say no zone; declare `zone` beside it, for instance Europe/Berlin or UTC",
            ],
        ),
        (
            "  sessions: {mode: supplied, timeout_minutes: 0}\n",
            [
                "8:20: mode 'supplied' needs the tracker's session id: map session_id_supplied",
                "8:47: timeout_minutes: must be greater than 0, not 0",
            ],
        ),
        (
            "  sessions: {timeout_minutes: 721}\n",
            ["8:31: timeout_minutes: must be less than or equal to 720, not 721"],
        ),
        ("  sessions: {max_session_days: 32}\n", ["8:32: max_session_days: must be less than or equal to 31, not 32"]),
        (
            "  ids: {Email: mail, user_id: u, hash: hash(x), deep: time.zone}\n",
            [
                "6:18: occurred_at: time is read as a value here and as an object by deep; "
                "write raw ->> '$.time' for its JSON text",
                "8:9: 'Email' cannot be a kind of further ids: lower-case letters, digits and _, a letter first, and "
                "no column of ids",
                "8:22: 'user_id' cannot be a kind of further ids: lower-case letters, digits and _, a letter first, "
                "and no column of ids",
                "8:40: hash: hash() does not always give the same result for the same row",
            ],
        ),
        ("  consent: {denied: anonymize}\n", ["8:21: unknown denied 'anonymize'; did you mean 'anonymise'?"]),
        ("  requird: [x]\n", ["8:3: unknown attribute 'requird'; did you mean 'required'?"]),
        ("  bounds: {botz: 1}\n", ["8:12: unknown attribute 'botz'; did you mean 'bots'?"]),
        ("  name: Web\n", ["8:9: 'Web' cannot be a source's name: lower-case letters, digits and _, a letter first"]),
        ("atributes: {}\n", ["8:1: unknown key 'atributes'; did you mean 'attributes'?"]),
        ("   bad: [\n", ["8:4: not valid YAML: expected <block end>, but found '<block mapping start>'"]),
    ],
)
def test_a_mistake_is_told_with_line_column_and_a_suggestion(tmp_path: Path, added: str, messages: list[str]):
    assert mistakes(tmp_path, DECLARED + added) == messages


CSV = DECLARED.replace("format: jsonl", "format: csv")


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (DECLARED + "  csv: {skip: 1}\n", ["8:3: `csv` is for csv and tsv, not for jsonl"]),
        (CSV + "  csv: {delimter: ';'}\n", ["8:9: unknown attribute 'delimter'; did you mean 'delimiter'?"]),
        (CSV + "  csv: {delimiter: ''}\n", ["8:20: delimiter: must have at least 1 character, not ''"]),
        (
            CSV + "  csv: {delimiter: ';;;;;;;;;'}\n",
            ["8:20: delimiter: must have at most 8 characters, not ';;;;;;;;;'"],
        ),
        (CSV + '  csv: {delimiter: "\\n"}\n', ["8:20: delimiter: must not hold line ends or NUL"]),
        (CSV + "  csv: {delimiter: ';', quote: ';'}\n", ["8:32: quote: is part of the delimiter"]),
        (CSV + "  csv: {quote: ab}\n", ["8:16: quote: must have at most 1 character, not 'ab'"]),
        (CSV + "  csv: {quote: x}\n", ["8:16: quote: must be a sign of ASCII, or none, not 'x'"]),
        (CSV + "  csv: {escape: ','}\n", ["8:17: escape: is part of the delimiter"]),
        (CSV + "  csv: {comment: '\"#'}\n", ["8:18: comment: begins like a cell"]),
        (
            CSV + "  csv: {thousands: .}\n",
            ["8:20: decimal and thousands are both '.'; declare `decimal: \",\"`"],
        ),
        (
            CSV + "  csv: {decimal: ',', thousands: ','}\n",
            ["8:34: decimal and thousands are both ','; declare another one"],
        ),
        (CSV + "  csv: {decimal: comma}\n", ["8:18: decimal: must have at most 1 character, not 'comma'"]),
        (CSV + "  csv: {decimal: '5'}\n", ["8:18: decimal: must be a sign that is no part of a number, not '5'"]),
        (CSV + "  csv: {header: maybe}\n", ["8:17: header: must be true, false or a list of names, not 'maybe'"]),
        (
            CSV + "  csv: {header: [tim, id, ID]}\n",
            [
                "6:18: occurred_at: the declared header has no column 'time'; did you mean 'tim'?",
                "8:27: column 'ID' is there twice",
            ],
        ),
        (CSV + "  csv: {skip: -1}\n", ["8:15: skip: must be greater than or equal to 0, not -1"]),
        (CSV + "  csv: {encoding: latin-1}\n", ["8:9: unknown attribute 'encoding'; 'encoding' belongs beside 'csv'"]),
        (CSV + "  decimal: ','\n", ["8:3: unknown attribute 'decimal'; it belongs into 'csv'"]),
        (CSV + "  encoding: latn-1\n", ["8:13: unknown encoding 'latn-1'; did you mean 'latin-1'?"]),
        (CSV + "  records: csv\n", ["8:3: `records` is for ready formats of trackers, not for 'csv'"]),
        (
            CSV.replace("format: csv", "format: tsv") + "  csv: {delimiter: ;}\n",
            ["8:20: the delimiter of tsv is a tab; declare csv for another one"],
        ),
        (
            CSV.replace("format: csv", "format: parquet") + "  encoding: latin-1\n",
            ["8:3: `encoding` is for text formats, not for parquet"],
        ),
    ],
)
def test_a_mistake_in_how_files_are_written_is_told(tmp_path: Path, text: str, messages: list[str]):
    assert mistakes(tmp_path, text) == messages


def test_signs_that_are_hard_to_see_have_words(tmp_path: Path):
    declare(tmp_path, CSV + "  csv: {delimiter: tab, quote: none, escape: '\\', comment: '#', skip: 2, header: no}\n")
    (declared,) = load_sources(tmp_path)
    assert declared.csv.dialect(",") == Dialect("\t", "", "\\", "#", 2, header=False)


def test_all_mistakes_of_all_files_are_told(tmp_path: Path):
    first = declare(tmp_path, DECLARED.replace("format: jsonl", "format: json").replace("time", "tim()"), "a")
    second = declare(tmp_path, DECLARED.replace("  path", "  pth").replace("anonymous_id", "anonymos_id"), "b")
    with pytest.raises(DeclarationError) as caught:
        load_sources(tmp_path)
    assert str(caught.value).splitlines() == [
        f"{first}:4:11: unknown format 'json'; did you mean 'jsonl'?",
        f'{first}:6:18: occurred_at: Scalar Function with name tim does not exist! Did you mean "trim"?',
        f"{second}:2:1: attribute 'path' is missing",
        f"{second}:3:3: unknown attribute 'pth'; did you mean 'path'?",
        f"{second}:7:5: unknown column 'anonymos_id'; did you mean 'anonymous_id'?",
    ]


def test_an_unknown_field_of_a_log_line_is_told(tmp_path: Path):
    text = DECLARED.replace("jsonl\n  mapping", "common_log\n  mapping").replace(
        "anonymous_id: id", "anonymous_id: remote_hots"
    )
    message = "7:19: anonymous_id: a common_log line has no field 'remote_hots'; did you mean 'remote_host'?"
    assert mistakes(tmp_path, text) == [message]


LOG_DIRECTIVE = """\
  log_format: |
    log_format timed '$remote_addr - $remote_user [$time_local] '
                     '"$request" $status $request_time';
"""


def test_a_log_format_may_be_the_directive_of_the_server_over_several_lines(tmp_path: Path):
    declare(
        tmp_path,
        DECLARED.replace("jsonl\n  mapping", f"access_log\n{LOG_DIRECTIVE}  mapping").replace(": id", ": remote_host"),
    )
    (declared,) = load_sources(tmp_path)
    assert declared.record_format.known_fields[-2:] == ("status", "request_time")


def test_a_mistake_in_a_log_format_is_told_with_its_place(tmp_path: Path):
    text = DECLARED.replace("format: jsonl\n", "format: access_log\n  log_format: '%h %t %G'\n")
    (message,) = mistakes(tmp_path, text)
    assert message.startswith("5:15: log_format: unknown directive '%G' at character 7; one of %a, ")
    (missing,) = mistakes(tmp_path / "other", DECLARED.replace(": jsonl\n", ": access_log\n"))
    assert missing.startswith("4:11: an access_log needs `log_format`: ")


def test_a_source_needs_an_id_and_a_time(tmp_path: Path):
    text = DECLARED.replace("occurred_at", "sent_at").replace("anonymous_id", "event_id")
    assert mistakes(tmp_path, text) == [
        "5:3: an event needs a time: map occurred_at or device_at",
        "5:3: an event needs an id: map anonymous_id, user_id or both",
    ]


def test_two_sources_of_one_name_are_refused(tmp_path: Path):
    first = declare(tmp_path / "a", DECLARED)
    second = declare(tmp_path / "b", DECLARED)
    with pytest.raises(DeclarationError) as caught:
        load_sources(tmp_path)
    assert str(caught.value) == f"{second}:1:1: source 'web' is already declared at {first}:1"


def test_a_folder_of_declarations_that_does_not_exist_is_told(tmp_path: Path):
    settings = Settings.for_data_dir(tmp_path, defs_dir=tmp_path / "absent")
    with pytest.raises(DeclarationError, match="PIPELINE_DEFS_DIR names no folder"):
        declared(settings)
