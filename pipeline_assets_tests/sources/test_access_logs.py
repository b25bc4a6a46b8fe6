"""Lines of access logs are read by the format string that the server's configuration declares."""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.declarations.expressions import database
from pipeline_assets.sources.access_logs import NAMED_FORMATS, LogFormatError, advice, log_format
from pipeline_assets.sources.checking import find_problems
from pipeline_assets.sources.declaration import Source
from pipeline_assets.sources.formats import READY_FORMATS
from pipeline_assets.sql import literal
from pipeline_assets_tests.sources.staging_rows import source, stage

MAPPING = {"occurred_at": '"time"', "anonymous_id": "remote_host"}
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0"
COMMON = '203.0.113.1 - - [02/Mar/2024:10:00:01 +0000] "GET /p1 HTTP/1.1" 200 512'
COMBINED = f'{COMMON} "-" "{AGENT}"'
JSON_DIRECTIVE = (
    "log_format j escape=json "
    """'{"ip":"$remote_addr","status":$status,"trace":"$http_x_trace","own":"$mine"}';"""
)
NGINX_DIRECTIVE = (
    "log_format timed '$remote_addr - $remote_user [$time_local] '\n"
    '                 \'"$request" $status "$http_user_agent" $request_time\';'
)


def read(line: str, declared: str, **attributes: object) -> dict[str, str | None]:
    """The fields of one line, and `reason` where it does not fit."""
    text = NAMED_FORMATS.get(declared, declared)
    named = {"format": declared} if declared in NAMED_FORMATS else {"format": "access_log", "log_format": declared}
    mapping = {"occurred_at": "'2024-01-01'", "anonymous_id": "'v'", "event_id": "'e'"}
    (row,) = stage(source(**named, mapping=mapping, time={"format": "iso8601"}, **attributes), [line])
    found = dict.fromkeys(log_format(text).fields) | json.loads(row["properties"] or "{}")
    return {**found, "reason": row["reason"]}


# -- the formats that have names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "line", "fields"),
    [
        (
            "vhost_combined_log",
            f"www.example.com:443 {COMBINED}",
            {"virtual_host": "www.example.com", "port": "443", "remote_host": "203.0.113.1", "bytes_sent": "512"},
        ),
        ("vhost_common_log", "www.example.com " + COMMON, {"virtual_host": "www.example.com"}),
        ("nginx_main_log", f'{COMBINED} "198.51.100.7, 10.0.0.1"', {"forwarded_for": "198.51.100.7, 10.0.0.1"}),
        ("nginx_main_log", f'{COMBINED} "-"', {"forwarded_for": None, "user_agent": AGENT}),
        ("combinedio_log", f"{COMBINED} 345 6789", {"bytes": "512", "bytes_received": "345", "bytes_sent": "6789"}),
        ("combined_log", COMBINED, {"user_agent": AGENT, "referrer": None, "target": "/p1", "ident": None}),
        ("common_log", COMMON, {"method": "GET", "protocol": "HTTP/1.1", "status": "200"}),
    ],
)
def test_each_named_format_reads_its_lines(name: str, line: str, fields: dict[str, str | None]):
    found = read(line, name)
    assert {key: found[key] for key in fields} == fields
    assert found["reason"] is None


def test_a_line_of_one_named_format_fits_no_other_and_is_told_which_it_looks_like():
    lines = {
        "common_log": COMMON,
        "combined_log": COMBINED,
        "combinedio_log": f"{COMBINED} 345 6789",
        "vhost_common_log": "www.example.com " + COMMON,
        "vhost_combined_log": f"www.example.com:443 {COMBINED}",
        "nginx_main_log": f'{COMBINED} "-"',
    }
    assert lines.keys() == NAMED_FORMATS.keys()
    for declared in NAMED_FORMATS:
        for row, name in zip(stage(source(format=declared, mapping=MAPPING), list(lines.values())), lines, strict=True):
            if name == declared:
                assert row["reason"] is None
            else:
                assert row["reason"].startswith("not_a_log_line: ")
                assert row["reason"].endswith(f"; it looks like {name}")


# -- what a line must hold -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("www.example.com:443 - - " + COMBINED.split(" - - ")[1], "remote_host"),
        ("203.0.113.1 - two words " + COMBINED.split(" - - ")[1], "remote_user"),
        ("203.0.113.1 two words - " + COMBINED.split(" - - ")[1], "remote_user"),
        ("www.example.com 203.0.113.1 ann " + COMBINED.split(" - - ")[1], "ident"),
        ("www.example.com 2001:db8::1 ann " + COMBINED.split(" - - ")[1], "ident"),
        ("- - " + COMBINED.split(" - - ")[1], "remote_user"),
        (COMBINED.replace("02/Mar/2024:", "2024-03-02 "), "time"),
        (COMBINED.replace(" 200 ", " OK "), "status"),
        (COMBINED.replace(" 512 ", " 5k "), "bytes"),
        (COMBINED[:-1], "user_agent"),
        (COMBINED + " 0.3", "more after user_agent"),
        ("nothing like it", "remote_user"),
    ],
)
def test_a_line_that_does_not_fit_says_which_field_does_not(line: str, reason: str):
    assert read(line, "combined_log")["reason"] == f"not_a_log_line: {reason}"


def test_a_blank_line_is_blank_and_json_looks_like_json():
    rows = stage(source(format="combined_log", mapping=MAPPING), ["", " \t", '{"a": 1}'])
    assert [row["reason"] for row in rows] == [
        "blank", "blank", "not_a_log_line: remote_host; it looks like JSON",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "address",
    ["203.0.113.1", "2001:db8::1", "::1", "::ffff:203.0.113.1", "fe80::1%eth0", "host-7.example.com", "203.0.113.x",
     "unix:"],
)  # fmt: skip
def test_an_address_is_an_address_or_a_host_name(address: str):
    assert read(COMBINED.replace("203.0.113.1", address, 1), "combined_log")["remote_host"] == address


@pytest.mark.parametrize("address", ["www.example.com:443", "bad.cafe:443", "203.0.113.1:80", "a/b", "a,b", '"x"'])
def test_a_name_with_a_port_or_other_signs_is_no_address(address: str):
    reason = read(COMBINED.replace("203.0.113.1", address, 1), "combined_log")["reason"]
    assert reason is not None
    assert reason.startswith("not_a_log_line: remote_host")


@pytest.mark.parametrize("request_line", ["-", r"\x16\x03\x01\x00\xf7", "", r"t3 12.1.2\n", "GET"])
def test_a_request_that_is_none_keeps_the_line_and_has_no_target(request_line: str):
    found = read(COMBINED.replace("GET /p1 HTTP/1.1", request_line), "combined_log")
    assert (found["reason"], found["method"], found["target"]) == (None, None, None)
    assert found["request"] == (request_line if request_line not in ("-", "") else None)


# -- what the server escapes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "written", "meant"),
    [
        ("combined_log", r"say \"hi\" \\x41 \\\\", r'say "hi" \x41 \\'),
        ("combined_log", r"caf\xc3\xa9 \x01\t100%41", "café \x01\t100%41"),
        ("nginx_main_log", r"say \x22hi\x22 \x5Cx41 caf\xC3\xA9", r'say "hi" \x41 café'),
        ("combined_log", r"broken \xff\xfe", r"broken \xff\xfe"),
        ("combined_log", r"nul \x00 gone", "nul  gone"),
        ("log_format j escape=json '$host \"$http_user_agent\"';", r"say \"hi\" \\ \u001f é", 'say "hi" \\ \x1f é'),
        ("log_format n escape=none '$host \"$http_user_agent\"';", r"say \x22hi\x22", r"say \x22hi\x22"),
    ],
)  # fmt: skip
def test_what_the_server_escaped_is_read_as_it_was_sent(declared: str, written: str, meant: str):
    line = COMBINED.replace(AGENT, written) if declared in NAMED_FORMATS else f'203.0.113.1 "{written}"'
    line += ' "-"' if declared == "nginx_main_log" else ""
    found = read(line, declared)
    assert (found["reason"], found["user_agent"]) == (None, meant)


def _apache_escaped(text: str) -> str:
    """As Apache writes a header: ap_escape_logitem."""
    short = {0x22: r"\"", 0x5C: r"\\", 0x0A: r"\n", 0x09: r"\t", 0x0D: r"\r", 0x0B: r"\v", 0x0C: r"\f"}
    return "".join(
        short.get(byte, chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}") for byte in text.encode("utf-8")
    )


def _nginx_escaped(text: str) -> str:
    """As nginx writes a variable."""
    return "".join(
        chr(byte) if 32 <= byte < 127 and byte not in (0x22, 0x5C) else f"\\x{byte:02X}"
        for byte in text.encode("utf-8")
    )


HEADER = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20).filter(
    lambda text: text.strip(" ") not in ("", "-") and text == text.strip()
)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(HEADER, HEADER, st.booleans()), min_size=20, max_size=40))
def test_any_headers_come_back_as_they_were_sent(headers: list[tuple[str, str, bool]]):
    lines = []
    for referrer, agent, apache in headers:
        escaped = _apache_escaped if apache else _nginx_escaped
        lines.append(f'{COMMON} "{escaped(referrer)}" "{escaped(agent)}"')
    rows = stage(_headers(), lines)
    assert [row["reason"] for row in rows] == [None] * len(rows)
    assert [tuple(json.loads(row["properties"]).values()) for row in rows] == [header[:2] for header in headers]


@cache
def _headers() -> Source:
    mapping = {
        **MAPPING, "event_id": "remote_user", "event_name": "method", "page_url": "target", "os": "protocol",
        "browser": "status", "language": "bytes", "user_id": "ident", "view_id": "request",
    }  # fmt: skip
    return source(format="combined_log", mapping=mapping)


# -- declared format strings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "line", "fields"),
    [
        (
            r'LogFormat "%h %l %u %t \"%r\" %>s %O %D" timed',
            COMMON + " 1042",
            {"status": "200", "bytes_sent": "512", "request_time_us": "1042"},
        ),
        (
            '%a "%m %U%q %H" %{X-Request-ID}i "%{Session}C" %{ms}T %{c}a',
            '203.0.113.1 "GET /a/b?c=d HTTP/2" 7f "s 1" 12 10.0.0.1',
            {
                "path": "/a/b", "query": "?c=d", "protocol": "HTTP/2", "http_x_request_id": "7f",
                "cookie_session": "s 1", "request_time_ms": "12", "peer_address": "10.0.0.1",
            },
        ),
        ('%h "%U%q" %p', '203.0.113.1 "/a" 80', {"path": "/a", "query": None, "port": "80"}),
        ("%a|%u|%{User-agent}i|%r", f"::1|ann|{AGENT}|GET / HTTP/1.1", {"user_agent": AGENT, "target": "/"}),
        ("%a %u %!200,304{User-Agent}i", "::1 ann An agent with words", {"user_agent": "An agent with words"}),
        ('%v:%p %a "%{Host}i"', '[2001:db8::1]:443 ::1 "h"', {"virtual_host": "[2001:db8::1]", "port": "443"}),
        ("%a 100%% %h", "::1 100% ::2", {"remote_host": "::1", "remote_host_2": "::2"}),
        (
            "$remote_addr\t$request_uri\t$http_user_agent\t${scheme}\t$upstream_response_time\t$upstream_addr",
            f"::1\t/a?b\t{AGENT}\thttps\t0.1, 0.2 : 0.3\t-",
            {"target": "/a?b", "scheme": "https", "upstream_response_time": "0.1, 0.2 : 0.3", "upstream_addr": None},
        ),
        (
            NGINX_DIRECTIVE,
            f'::1 - ann [02/Mar/2024:10:00:01 +0000] "GET / HTTP/1.1" 200 "{AGENT}" 0.003',
            {"remote_user": "ann", "request_time": "0.003", "user_agent": AGENT},
        ),
        (
            JSON_DIRECTIVE,
            r'{"ip":"::1","status":404,"trace":"","own":"a\"b"}',
            {"remote_host": "::1", "status": "404", "http_x_trace": None, "mine": 'a"b'},
        ),
        ('%h %u %{X-Id}i "%{X-B}i" $', '::1 ""  "a b" $', {"remote_user": None, "http_x_id": None, "http_x_b": "a b"}),
        ('"%{User-agent}i"', '""', {"user_agent": None}),
        ("$own|$remote_addr|$cookie_a|$own", "a b|::1||c d", {"own": "a b", "cookie_a": None, "own_2": "c d"}),
        ("%h %^FB", "::1 42", {"first_byte_time_us": "42"}),
        ("%h %r %>s", "::1 GET /a b HTTP/1.1 200", {"target": "/a b", "status": "200"}),
        ("$remote_addr $own $https $status", "::1   200", {"own": None, "https": None, "status": "200"}),
        ("$host $uri$is_args$args", "h /a?b=c", {"host": "h", "path": "/a", "is_args": "?", "query": "b=c"}),
    ],
)  # fmt: skip
def test_a_declared_format_string_names_the_fields_of_a_line(
    declared: str, line: str, fields: Mapping[str, str | None]
):
    found = read(line, declared)
    assert found["reason"] is None
    assert {key: found[key] for key in fields} == fields


@pytest.mark.parametrize(
    ("declared", "written", "meant"),
    [
        ("%h %t", "[02/Mar/2024:11:00:01 +0100]", "2024-03-02T10:00:01+00:00"),
        ("%h [%{%Y-%m-%d %H:%M:%S}t]", "[2024-03-02 10:00:01]", "2024-03-02T10:00:01+00:00"),
        ("%h %{%d/%b/%Y %T}t.%{msec_frac}t %{%z}t", "02/Mar/2024 11:00:01.042 +0100", "2024-03-02T10:00:01.042+00:00"),
        ("%h %{sec}t", "1709373601", "2024-03-02T10:00:01+00:00"),
        ("%h %{msec}t", "1709373601042", "2024-03-02T10:00:01.042000+00:00"),
        ("%h %{begin:usec}t", "1709373601042001", "2024-03-02T10:00:01.042001+00:00"),
        ("%h %{end:%FT%T}t", "2024-03-02T10:00:01", "2024-03-02T10:00:01+00:00"),
        ("$remote_addr $time_local", "02/Mar/2024:11:00:01 +0100", "2024-03-02T10:00:01+00:00"),
        ("$remote_addr $time_iso8601", "2024-03-02T11:00:01+01:00", "2024-03-02T10:00:01+00:00"),
        ("$remote_addr $msec", "1709373601.042", "2024-03-02T10:00:01.042000+00:00"),
    ],
)  # fmt: skip
def test_a_time_is_read_as_the_directive_writes_it(declared: str, written: str, meant: str):
    log = source(format="access_log", log_format=declared, mapping=MAPPING)
    (row,) = stage(log, [f"::1 {written}"])
    assert (row["reason"], row["occurred_at"]) == (None, datetime.fromisoformat(meant))


def test_each_time_of_a_line_has_its_own_format_and_a_declared_one_wins():
    mapping = {**MAPPING, "received_at": "time_2"}
    log = source(format="access_log", log_format="%h %t %{msec}t", mapping=mapping)
    (row,) = stage(log, ["::1 [02/Mar/2024:10:00:01 +0000] 1709373602000"])
    assert (row["reason"], row["received_at"]) == (None, datetime.fromisoformat("2024-03-02T10:00:02+00:00"))
    zoned = source(format="access_log", log_format="%h %{%F %T}t", mapping=MAPPING, time={"zone": "Europe/Berlin"})
    assert stage(zoned, ["::1 2024-03-02 11:00:01"])[0]["occurred_at"] == row["occurred_at"]


# -- mistakes in a format string -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("%h %G", "unknown directive '%G' at character 4; one of %a, %A"),
        ("%h %d", "unknown directive '%d' at character 4; did you mean '%D' (request_time_us)?"),
        ("%h %{Referer} %u", "'%{Referer}' at character 4 is no directive; a letter is missing, as in %{Referer}i"),
        ("%h %i", "'%i' at character 4 needs a name in braces, as in %{Name}i"),
        ("%h %{h}T", "'%{h}T' at character 4: unknown argument 'h'; in the braces of %T may stand s, ms, us"),
        ("%h %{%Q}t", "'%{%Q}t' at character 4: the time's '%Q' cannot be read"),
        ("%h %{msec_frac}t", "'%{msec_frac}t' is part of a time; put it next to the rest of the time"),
        ("%h%u", "nothing stands between %h and %u, so they cannot be told apart"),
        ("%h %r %{User-Agent}i", "%r and %{User-Agent}i may hold spaces and are not between quotes"),
        ("$remote_adr [$time_local]", "unknown variable '$remote_adr' at character 1; did you mean '$remote_addr'?"),
        ("%h $status", "both '%h' (Apache) and '$status' (nginx); give the whole directive"),
        ("combined", "no directive such as %h (Apache's LogFormat) and no variable such as $remote_addr"),
        ("", "no directive such as %h"),
        ("%h %u\n%t", "it has a line break, and a record is one line"),
        ("%h\\n%t", "it has a line break, and a record is one line"),
        ("%{User-agent}i", "it holds nothing that is there in every line"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_format_string_is_told_with_its_place(declared: str, message: str):
    with pytest.raises(LogFormatError, match=re.escape(message)):
        log_format(declared)


def _matching(pattern: str) -> st.SearchStrategy[str]:
    return st.from_regex(pattern, fullmatch=True)


DIGITS = st.integers(0, 10**12).map(str)
APACHE_FIELDS: dict[str, tuple[str, tuple[st.SearchStrategy[str], ...]]] = {
    "%t": (
        "[{}]",
        (st.datetimes().map(lambda time: f"{time:%d}/Mar/{time.year:04}:{time:%H}:{time:%M}:{time:%S} +0100"),),
    ),
    "%l": ("{}", (_matching(r"-|[a-z_][a-z.0-9-]{0,9}"),)),
    "%h": ("{}", (st.ip_addresses().map(str) | _matching(r"[a-z][a-z0-9-]{0,8}(\.[a-z]{2,6}){0,2}"),)),
    "%u": ("{}", (_matching("[!-~]{1,9}"),)),
    "%>s": ("{}", (st.integers(100, 599).map(str) | st.just("-"),)),
    "%O": ("{}", (DIGITS | st.just("-"),)),
    "%T": ("{}", (st.decimals(0, 99, places=3).map(str),)),
    "%v:%p": ("{}:{}", (_matching(r"[a-z]{1,9}\.[a-z]{2,4}"), DIGITS)),
    '"%r"': ('"{}"', (_matching(r"[A-Z]{3,5} /[!#-\[\]-~ ]{0,20}"),)),
    '"%{User-Agent}i"': ('"{}"', (HEADER.map(_apache_escaped),)),
    '"%{X-B}i %U%q"': (
        '"{} {}{}"',
        (_matching(r"[!#-\[\]-~]{0,9}"), _matching("/[a-z]{0,5}"), _matching(r"(\?[a-z=&]{0,5})?")),
    ),
    "%{X-A}i": ("{}", (_matching("[!-~]{0,9}"),)),
}
"""Directives, how Apache writes them, and what it may write."""


@st.composite
def formats_and_lines(draw: st.DrawFn) -> tuple[str, str, list[str]]:
    """A format string, a line that Apache may write with it, and the values in the line."""
    chosen = ["%t", *draw(st.lists(st.sampled_from(list(APACHE_FIELDS)[1:]), unique=True))]
    values = [[draw(value) for value in APACHE_FIELDS[directives][1]] for directives in chosen]
    written = [APACHE_FIELDS[directives][0].format(*parts) for directives, parts in zip(chosen, values, strict=True)]
    return " ".join(chosen), " ".join(written), [value for parts in values for value in parts]


@settings(max_examples=100, deadline=None)
@given(formats_and_lines(), _matching("[a-z]{1,5}"))
def test_any_format_reads_the_values_of_its_own_lines_and_no_line_that_goes_on(
    made: tuple[str, str, list[str]], word: str
):
    declared, line, values = made
    compiled = log_format(declared)
    query = f"SELECT regexp_extract($1, {literal(compiled.pattern)}, {list(compiled.groups)})"

    def groups(text: str) -> dict[str, str]:
        ((found,),) = database().cursor().execute(query, [text]).fetchall()
        return found

    assert list(groups(line).values()) == values
    assert groups(f"{line} {word}")[compiled.witness] == ""


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("%{}$\"[] |:htrsabTUqimx<>!0\\'_"), max_size=24) | st.text(max_size=24))
def test_any_text_is_a_format_with_fields_or_a_mistake_that_is_told(text: str):
    try:
        compiled = log_format(text)
    except LogFormatError as error:
        assert str(error)
    else:
        assert compiled.fields
        assert "raw" not in compiled.fields
        assert len(set(compiled.groups)) == len(compiled.groups)
        for pattern, groups in ((compiled.pattern, compiled.groups), (compiled.partly, compiled.stages)):
            assert re.compile(pattern).groups == len(groups)
            # DuckDB understands it as well.
            database().cursor().execute("SELECT regexp_matches('', $1)", [pattern]).fetchall()


def test_declarations_of_access_logs_are_checked():
    def messages(**attributes: object) -> list[str]:
        declared = {"name": "web", "path": "*", "format": "access_log", "mapping": MAPPING, **attributes}
        return [problem.message for problem in find_problems(Source.model_validate(declared))]

    assert messages(log_format="%h %t") == []
    (missing,) = messages()
    assert missing.startswith("an access_log needs `log_format`")
    assert "vhost_combined_log" in missing
    assert messages(format="combined_log", log_format="%h %t") == [
        "'combined_log' takes no `log_format`; declare `format: access_log` with it"
    ]
    assert messages(log_format="%h %t %G")[0].startswith("log_format: unknown directive '%G' at character 7")
    assert messages(log_format="%h %t %u", mapping={**MAPPING, "user_id": "remote_usr"}) == [
        "user_id: an access_log line has no field 'remote_usr'; did you mean 'remote_user'?"
    ]


@pytest.mark.parametrize(
    ("reasons", "hint"),
    [
        (
            {"not_a_log_line: remote_host; it looks like vhost_combined_log": 4},
            "no line fits the format combined_log (what does not fit: remote_host). The lines look like "
            "vhost_combined_log: declare `format: vhost_combined_log`.",
        ),
        ({"not_a_log_line: remote_host; it looks like JSON": 1}, "declare `format: jsonl`, or a ready format of JSON"),
        (
            {"not_a_log_line: time": 1},
            "Declare `format: access_log` and, as `log_format`, the format string of the server",
        ),
        ({"not_a_log_line: time": 1, "missing:anonymous_id or user_id": 3}, None),
        (
            {"missing:occurred_at; it looks like mixpanel": 2},
            "(what does not fit: missing:occurred_at). The lines look like mixpanel: declare `format: mixpanel`.",
        ),
        ({"missing:occurred_at; it looks like visits: do so": 2}, "The lines look like visits: do so."),
        ({"missing:occurred_at; it looks like mixpanel": 2, "not_json": 1}, "declare `format: mixpanel`."),
        ({"missing:occurred_at; it looks like mixpanel": 1, "missing:occurred_at": 1}, None),
        ({}, None),
    ],
)
def test_where_no_line_fits_the_advice_names_what_does(reasons: dict[str, int], hint: str | None):
    found = advice("combined_log", reasons)
    assert found is None if hint is None else hint in str(found)


def test_the_documented_names_of_formats_and_fields_are_those_that_are_read():
    text = (Path(__file__).parents[2] / "docs/sources.md").read_text()
    (table,) = re.findall(r"(?<=\| field \| Apache \| nginx \|\n\|---\|---\|---\|\n)(?:\|.*\n)+", text)
    for names, *directives in (line.strip("|\n ").split("|") for line in table.splitlines()):
        for directive in re.findall("`([%$][^`…]+)`", "".join(directives)):
            # Between quotes and with a word behind it any field may stand alone.
            assert log_format(f'"{directive}" end').fields[0] in re.findall("`([^`]+)`", names)
    for name in (*NAMED_FORMATS, "log_format"):
        assert f"`{name}`" in text
    formats = (Path(__file__).parents[2] / "docs/formats.md").read_text()
    assert all(f"`{name}`" in formats for name in READY_FORMATS)
