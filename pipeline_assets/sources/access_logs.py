r"""Formats of access logs, as web servers declare them.

A format is the string of Apache's `LogFormat` or nginx's `log_format`, or one of a few known names. It is compiled to
one regular expression with a group for each field, so that what a line means is known before any line is read.

A field between quotes may hold anything, with the server's escapes; one that stands alone may not hold a space; an
address is an address or a plausible host name, never a name with a port. Thus a line of another format does not fit.

https://httpd.apache.org/docs/current/mod/mod_log_config.html#formats, https://nginx.org/r/log_format
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

NAMED_FORMATS: Mapping[str, str] = {
    "common_log": '%h %l %u %t "%r" %>s %b',
    "combined_log": '%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"',
    "combinedio_log": '%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i" %I %O',
    "vhost_common_log": '%v %h %l %u %t "%r" %>s %b',
    "vhost_combined_log": '%v:%p %h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i"',
    "nginx_main_log": (
        '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" '
        '"$http_user_agent" "$http_x_forwarded_for"'
    ),
}
"""Formats that have a name, as the servers' own configuration files declare them. nginx's `combined` is Apache's."""

CLF_TIME = "%d/%b/%Y:%H:%M:%S %z"
"""strptime format of the times in access logs."""

UNFITTING = "not_a_log_line: "
"""How the reason of a line begins that does not fit its format; behind it stands what does not fit."""

LIKELY = "; it looks like "
"""What stands between that and the known format that the line does fit, if there is one."""

JSON_LINES = "JSON"

REQUEST_PARTS = ("method", "target", "protocol")
"""What a request line is divided into: `GET /a?b HTTP/1.1`."""


class LogFormatError(ValueError):
    """A format string that cannot be read; the message says what is wrong, where, and what to do."""


@dataclass(frozen=True)
class LogFormat:
    """A compiled format.

    Attributes:
        fields: what an expression can read: the fields in the order of the line, and the parts of the request line.
        pattern: regular expression (RE2) of a whole line.
        groups: names of its groups in their order.
        witness: a group that is never empty where a line fits.
        partly: regular expression that fits the beginning of any line, as far as it fits the format.
        stages: for each group of `partly` the field that is there where the group is not empty.
        times: field that is a time -> its format: `iso8601`, `epoch_s`, `epoch_ms`, `epoch_us` or strptime's.
        escapes: how the server writes what cannot stand between quotes: `backslash`, `hash` (HAProxy's
            `#22`), `json` or `none`.
    """

    fields: tuple[str, ...]
    pattern: str
    groups: tuple[str, ...]
    witness: str
    partly: str
    stages: tuple[str, ...]
    times: Mapping[str, str]
    escapes: str


@dataclass(frozen=True)
class _Field:
    """A field of a format.

    Attributes:
        name: how expressions call it.
        kind: what it may hold, see `_value`.
        pattern: regular expression in place of the kind's.
        time: format of a time.
        shown: how it is written in the declared string.
    """

    name: str
    kind: str = "word"
    pattern: str | None = None
    time: str | None = None
    shown: str = ""


_Piece = str | _Field

# A token with a colon is an IPv6 address (two at least) or nginx's `unix:`, but not a name and a port.
_IPV6_REST = r"[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?"
_ADDRESS = rf"[\w.-]+(?::(?:{_IPV6_REST})?)?|:{_IPV6_REST}|\[[0-9A-Fa-f:.]+\]"
_STRICT = {
    "address": _ADDRESS,
    "number": r"\d+|-",
    "decimal": r"-?\d+(?:\.\d+)?|-",
    "status": r"\d{3}|-",
    # No address: there it would be the field after a virtual host that nobody declared.
    "ident": r"[^\s\d:][^\s:]*|\d[^\s.:]*",
}
_DELIMITERS = ("\t", "|", ";")
"""Signs that stand between fields and in none: between them a field may hold spaces."""

_CLF = r"\d{2}/[A-Z][a-z]{2}/\d{4}:\d{2}:\d{2}:\d{2} [+-]\d{4}"
_ISO = r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:[.,]\d+)?(?:Z|[+-]\d{2}:?\d{2})"
_EPOCH = r"\d+(?:\.\d+)?"

# name, kind
_APACHE: Mapping[str, tuple[str, str]] = {
    "a": ("remote_host", "address"),
    "A": ("local_address", "address"),
    "b": ("bytes", "number"),
    "B": ("bytes", "number"),
    "D": ("request_time_us", "number"),
    "f": ("file", "any"),
    "h": ("remote_host", "address"),
    "H": ("protocol", "word"),
    "I": ("bytes_received", "number"),
    "k": ("keepalive_requests", "number"),
    "l": ("ident", "ident"),
    "L": ("log_id", "word"),
    "m": ("method", "word"),
    "O": ("bytes_sent", "number"),
    "p": ("port", "number"),
    "P": ("process_id", "number"),
    "q": ("query", "query"),
    "r": ("request", "text"),
    "R": ("handler", "any"),
    "s": ("status", "status"),
    "S": ("bytes_transferred", "number"),
    "T": ("request_time", "decimal"),
    "u": ("remote_user", "word"),
    "U": ("path", "path"),
    "v": ("virtual_host", "host"),
    "V": ("server_name", "host"),
    "X": ("connection_status", "word"),
    "^FB": ("first_byte_time_us", "number"),
    "^FU": ("upload_time_us", "number"),
}
# Letter of a directive with a name in braces -> how its field begins.
_APACHE_NAMED = {
    "C": "cookie_", "e": "env_", "i": "http_", "n": "note_", "o": "sent_http_", "x": "", "c": "",
    "^ti": "trailer_", "^to": "sent_trailer_",
}  # fmt: skip
_APACHE_ARGUMENTS: Mapping[tuple[str, str], tuple[str, str]] = {
    ("c", "a"): ("peer_address", "address"),
    ("c", "h"): ("peer_host", "address"),
    ("canonical", "p"): ("port", "number"),
    ("local", "p"): ("local_port", "number"),
    ("remote", "p"): ("remote_port", "number"),
    ("pid", "P"): ("process_id", "number"),
    ("tid", "P"): ("thread_id", "number"),
    ("hextid", "P"): ("thread_id", "word"),
    ("c", "L"): ("connection_log_id", "word"),
    ("s", "T"): ("request_time", "decimal"),
    ("ms", "T"): ("request_time_ms", "number"),
    ("us", "T"): ("request_time_us", "number"),
}
_HEADERS: Mapping[str, tuple[str, str]] = {
    "referer": ("referrer", "any"),
    "user_agent": ("user_agent", "text"),
    "host": ("host", "any"),
    "x_forwarded_for": ("forwarded_for", "list"),
    "x_real_ip": ("http_x_real_ip", "address"),
}
"""Headers with names of their own; any other is `http_` and its name in lower case, with `_` for other signs."""

_NGINX: Mapping[str, tuple[str, str]] = {
    "remote_addr": ("remote_host", "address"),
    "remote_user": ("remote_user", "word"),
    "remote_port": ("remote_port", "number"),
    "realip_remote_addr": ("peer_address", "address"),
    "proxy_protocol_addr": ("proxy_protocol_addr", "address"),
    "request": ("request", "text"),
    "request_method": ("method", "word"),
    "request_uri": ("target", "word"),
    "server_protocol": ("protocol", "word"),
    "uri": ("path", "path"),
    "document_uri": ("path", "path"),
    "args": ("query", "query"),
    "query_string": ("query", "query"),
    "is_args": ("is_args", "mark"),
    "status": ("status", "status"),
    "body_bytes_sent": ("bytes", "number"),
    "bytes_sent": ("bytes_sent", "number"),
    "request_length": ("bytes_received", "number"),
    "request_time": ("request_time", "decimal"),
    "host": ("host", "any"),
    "server_name": ("virtual_host", "host"),
    "server_addr": ("local_address", "address"),
    "server_port": ("port", "number"),
    "scheme": ("scheme", "word"),
    "https": ("https", "any"),
    "hostname": ("hostname", "word"),
    "connection": ("connection", "number"),
    "connection_requests": ("keepalive_requests", "number"),
    "request_id": ("request_id", "word"),
    "pid": ("process_id", "number"),
    "pipe": ("pipe", "word"),
    "request_completion": ("request_completion", "any"),
    "gzip_ratio": ("gzip_ratio", "decimal"),
    "ssl_protocol": ("ssl_protocol", "word"),
    "ssl_cipher": ("ssl_cipher", "word"),
}
_NGINX_TIMES: Mapping[str, tuple[str, str]] = {
    "time_local": (CLF_TIME, _CLF),
    "time_iso8601": ("iso8601", _ISO),
    "msec": ("epoch_s", _EPOCH),
}

_DIGITS = dict.fromkeys("mdHIMSy", r"\d{2}") | {"Y": r"\d{4}", "j": r"\d{3}"}
_STRFTIME = _DIGITS | dict.fromkeys("aAbB", "[A-Za-z]+") | {"p": "[AaPp][Mm]", "z": r"[+-]\d{4}", "Z": "[A-Z]+"}
_STRFTIME_SHORT = {"T": "%H:%M:%S", "D": "%m/%d/%y", "F": "%Y-%m-%d", "R": "%H:%M", "h": "%b"}

_DIRECTIVE = re.compile(
    r"%(?:!?\d{3}(?:,\d{3})*)?[<>]?(?:\{(?P<argument>[^}]*)\})?(?:!?\d{3}(?:,\d{3})*)?[<>]?(?P<letter>\^\w\w|[A-Za-z])"
)
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_APACHE_LINE = re.compile(r'\s*LogFormat\s+"((?:[^"\\]|\\.)*)"(?:\s+\S+)?\s*', re.IGNORECASE)
_NGINX_LINE = re.compile(
    r"""\s*log_format\s+\S+\s+(?:escape=(?P<escape>default|json|none)\s+)?"""
    r"""(?P<strings>(?:(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\s*)+);?\s*"""
)
_NGINX_STRING = re.compile(r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)\"""")


@cache
def log_format(text: str) -> LogFormat:
    """Compile a format string: Apache's or nginx's, alone or in the whole directive of the server's configuration.

    Raises:
        LogFormatError: an unknown directive, fields that cannot be told apart, or no format at all.
    """
    if directive := _APACHE_LINE.fullmatch(text):
        return _compiled(_merged_times(_apache(_unquoted(directive[1]))), "backslash")
    if directive := _NGINX_LINE.fullmatch(text):
        strings = (single or double for single, double in _NGINX_STRING.findall(directive["strings"]))
        escape = {"json": "json", "none": "none"}.get(directive["escape"] or "", "backslash")
        return _compiled(_nginx("".join(map(_unquoted, strings))), escape)
    bare = _unquoted(text.strip())
    is_apache, is_nginx = _DIRECTIVE.search(bare), _VARIABLE.search(bare)
    if is_apache and is_nginx:
        raise LogFormatError(
            f"both '{is_apache[0]}' (Apache) and '{is_nginx[0]}' (nginx); give the whole directive as it stands in the "
            "server's configuration: LogFormat \"…\" or log_format name '…';"
        )
    if is_nginx:
        return _compiled(_nginx(bare), "backslash")
    if "%" in bare:
        return _compiled(_merged_times(_apache(bare)), "backslash")
    raise LogFormatError(
        "no directive such as %h (Apache's LogFormat) and no variable such as $remote_addr (nginx's log_format)"
    )


def advice(declared: str, reasons: Mapping[str, int]) -> str | None:
    """What to declare where no line of a file or source fits its format; None where that is not what is wrong.

    Args:
        declared: the declared format.
        reasons: quarantined lines by reason, of a file or source without a good line.
    """
    unfitting = {reason: count for reason, count in reasons.items() if reason.startswith(UNFITTING) or LIKELY in reason}
    known = sum(count for reason, count in unfitting.items() if LIKELY in reason)
    # A few damaged lines are in any file.
    if not unfitting or (len(unfitting) < len(reasons) and 2 * known <= sum(reasons.values())):
        return None
    field, _, likely = max(unfitting, key=lambda reason: unfitting[reason]).removeprefix(UNFITTING).partition(LIKELY)
    if likely == JSON_LINES:
        hint = "The lines look like JSON: declare `format: jsonl`, or a ready format of JSON"
    elif " " in likely:
        # No name of a format: what is to be done is said with it.
        hint = f"The lines look like {likely}"
    elif likely:
        hint = f"The lines look like {likely}: declare `format: {likely}`"
    else:
        hint = "Declare `format: access_log` and, as `log_format`, the format string of the server's configuration"
    return f"no line fits the format {declared} (what does not fit: {field}). {hint}."


def lines_of(
    text: str,
    kinds: Mapping[str, str],
    *,
    appended: str | None = None,
    bare_dash: bool = False,
    escapes: str = "backslash",
) -> LogFormat:
    """Compile a format whose fields have their own documentation, for ready formats.

    Args:
        text: fields as `$name`, and what is between them.
        kinds: field -> what it may hold (see `_value`), `time:<format>` or `pattern:<regular expression>`; a field
            that is missing is a word, or a text where it is between quotes.
        appended: the first field that older lines do not have; what follows the last one is `further_fields`.
        bare_dash: whether a field between quotes is written `-` without them where it is absent.
        escapes: see `LogFormat`.
    """
    pieces: list[_Piece] = []
    for piece in _split(text, _VARIABLE):
        if isinstance(piece, str):
            pieces.append(piece)
            continue
        name = piece[1] or piece[2]
        kind = kinds.get(name, "word")
        what, _, rest = kind.partition(":")
        if what == "time":
            pieces.append(_Field(name, pattern=_of_strftime(rest) if "%" in rest else _ISO, time=rest))
        elif what == "pattern":
            pieces.append(_Field(name, pattern=rest))
        else:
            pieces.append(_Field(name, kind))
    return _compiled(_with_dashes(pieces) if bare_dash else pieces, escapes, appended)


def _unquoted(text: str) -> str:
    signs = {"n": "\n", "t": "\t", "r": "\r"}
    return re.sub(r"\\(.)", lambda found: signs.get(found[1], found[1]), text)


def _split(text: str, fields: re.Pattern[str]) -> Iterator[str | re.Match[str]]:
    end = 0
    for found in fields.finditer(text):
        if found.start() > end:
            yield text[end : found.start()]
        yield found
        end = found.end()
    if end < len(text):
        yield text[end:]


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "unnamed"


def _header(name: str) -> tuple[str, str]:
    return _HEADERS.get(_slug(name), (f"http_{_slug(name)}", "any"))


# -- Apache ------------------------------------------------------------------------------------------------------------


def _apache(text: str) -> list[_Piece]:
    pieces: list[_Piece] = []
    position = 0
    while position < len(text):
        if text[position] != "%":
            end = text.find("%", position)
            end = len(text) if end < 0 else end
            pieces.append(text[position:end])
            position = end
        elif text.startswith("%%", position):
            pieces.append("%")
            position += 2
        else:
            found = _DIRECTIVE.match(text, position)
            if found is None:
                shown = text[position : position + 12].split(" ", maxsplit=1)[0]
                hint = "; a letter is missing, as in %{Referer}i" if text.startswith("%{", position) else ""
                raise LogFormatError(f"'{shown}' at character {position + 1} is no directive{hint}; write %% for a %")
            pieces += _apache_field(found, f"'{found[0]}' at character {position + 1}")
            position = found.end()
    return pieces


def _apache_field(found: re.Match[str], place: str) -> list[_Piece]:
    argument, letter, shown = found["argument"], found["letter"], found[0]
    if letter == "t":
        return _apache_time(argument, shown, place)
    if argument is not None:
        if letter == "i":
            return [_Field(*_header(argument), shown=shown)]
        if (argument, letter) in _APACHE_ARGUMENTS:
            return [_Field(*_APACHE_ARGUMENTS[argument, letter], shown=shown)]
        if letter in _APACHE_NAMED:
            return [_Field(f"{_APACHE_NAMED[letter]}{_slug(argument)}", "any", shown=shown)]
        if letter in _APACHE:
            known = [name for name, of in _APACHE_ARGUMENTS if of == letter]
            hint = f"; in the braces of %{letter} may stand {', '.join(known)}" if known else f"; write %{letter}"
            raise LogFormatError(f"{place}: unknown argument '{argument}'{hint}")
    elif letter in _APACHE:
        return [_Field(*_APACHE[letter], shown=shown)]
    elif letter in _APACHE_NAMED:
        raise LogFormatError(f"{place} needs a name in braces, as in %{{Name}}{letter}")
    if (other := letter.swapcase()) in _APACHE:
        hint = f"; did you mean '%{other}' ({_APACHE[other][0]})?"
    else:
        hint = f"; one of {', '.join(f'%{one}' for one in _APACHE)}, %t, %{{Name}}i"
    raise LogFormatError(f"unknown directive {place}{hint}")


def _apache_time(argument: str | None, shown: str, place: str) -> list[_Piece]:
    if argument is None:
        return ["[", _Field("time", pattern=_CLF, time=CLF_TIME, shown=shown), "]"]
    text = re.sub("^(begin|end):", "", argument)
    epochs = {"sec": "epoch_s", "msec": "epoch_ms", "usec": "epoch_us", "%s": "epoch_s"}
    if text in ("", *epochs):
        if not text:
            return _apache_time(None, shown, place)
        return [_Field("time", pattern=r"\d+", time=epochs[text], shown=shown)]
    if text in ("msec_frac", "usec_frac"):
        letter, digits = ("%g", r"\d{3}") if text == "msec_frac" else ("%f", r"\d{6}")
        return [_Field("time", pattern=digits, time=letter, shown=shown)]
    try:
        text = re.sub("%(.)", lambda found: _STRFTIME_SHORT.get(found[1], found[0]), text)
        return [_Field("time", pattern=_of_strftime(text), time=text, shown=shown)]
    except LogFormatError as error:
        raise LogFormatError(f"{place}: {error}") from error


def _of_strftime(text: str) -> str:
    """The regular expression of what a strftime format writes."""
    pattern = ""
    for piece in _split(text, re.compile("%(.?)")):
        if isinstance(piece, str):
            pattern += _as_pattern(piece)
        elif piece[1] in _STRFTIME:
            pattern += _STRFTIME[piece[1]]
        elif piece[1] in ("f", "g"):
            pattern += r"\d{6}" if piece[1] == "f" else r"\d{3}"
        elif piece[1] == "%":
            pattern += "%"
        else:
            raise LogFormatError(
                f"the time's '{piece[0]}' cannot be read; one of {', '.join(f'%{c}' for c in _STRFTIME)}"
            )
    return pattern


def _merged_times(pieces: Sequence[_Piece]) -> list[_Piece]:
    """One time from parts of one that follow one another: `%{%d/%b/%Y %T}t.%{msec_frac}t %{%z}t`."""
    merged: list[_Piece] = []
    for piece in pieces:
        between = merged[-1] if merged and isinstance(merged[-1], str) else ""
        before = merged[-2 if between else -1] if len(merged) > bool(between) else None
        if (
            isinstance(piece, _Field)
            and isinstance(before, _Field)
            and all(one.time is not None and "%" in one.time and one.time != CLF_TIME for one in (before, piece))
            and not re.search(r'["\[\]|]', str(between))
        ):
            text = str(between)
            del merged[-2 if between else -1 :]
            merged.append(
                replace(
                    before,
                    pattern=f"{before.pattern}{_as_pattern(text)}{piece.pattern}",
                    time=f"{before.time}{text.replace('%', '%%')}{piece.time}",
                )
            )
        else:
            merged.append(piece)
    for piece in merged:
        if isinstance(piece, _Field) and piece.time in ("%g", "%f"):
            raise LogFormatError(f"'{piece.shown}' is part of a time; put it next to the rest of the time")
    return merged


# -- nginx -------------------------------------------------------------------------------------------------------------


def _nginx(text: str) -> list[_Piece]:
    pieces: list[_Piece] = []
    for piece in _split(text, _VARIABLE):
        if isinstance(piece, str):
            pieces.append(piece)
            continue
        name, shown = piece[1] or piece[2], piece[0]
        if name in _NGINX_TIMES:
            form, pattern = _NGINX_TIMES[name]
            pieces.append(_Field("time", pattern=pattern, time=form, shown=shown))
        elif name in _NGINX:
            pieces.append(_Field(*_NGINX[name], shown=shown))
        elif name.startswith("http_"):
            pieces.append(_Field(*_header(name.removeprefix("http_")), shown=shown))
        elif name.startswith("upstream_"):
            pieces.append(_Field(name, "list", shown=shown))
        else:
            # A configuration may make variables of its own; one that is nearly a known one is a slip of the pen.
            near = difflib.get_close_matches(name, [*_NGINX, *_NGINX_TIMES], n=1, cutoff=0.88)
            if near:
                raise LogFormatError(
                    f"unknown variable '{shown}' at character {piece.start() + 1}; did you mean '${near[0]}'? "
                    "If it is one of your own, call it otherwise here"
                )
            pieces.append(_Field(name.lower(), "any", shown=shown))
    return pieces


# -- from fields to one pattern ----------------------------------------------------------------------------------------


def _as_pattern(text: str) -> str:
    return re.sub(r"([\\.^$|?*+()\[\]{}])", r"\\\1", text)


def _without_groups(pattern: str) -> str:
    return re.sub(r"(?<!\\)\((?!\?)", "(?:", pattern)


def _value(field: _Field, *, quoted: bool, escapes: str, before: str, stop: str | None) -> str:
    r"""The regular expression of what a field may hold.

    Kinds: `address`, `number`, `decimal`, `status`, `ident` (strict); `word` (no space unless between quotes), `any` (a
    word, or nothing); `host` (a word without a port); `list` (words with commas); `path`, `query` and `mark` (its `?`);
    `text` (anything up to what follows).

    Args:
        field: the field.
        quoted: whether it stands between quotes.
        escapes: see `LogFormat`.
        before: the character that stands before it, if there is one.
        stop: the character that follows; None at the end of the line.
    """
    if field.pattern is not None:
        return field.pattern
    if field.kind in _STRICT:
        return _STRICT[field.kind] + ("|" if quoted else "")
    if field.kind == "mark":
        return r"\??"
    if quoted:
        # Between quotes a field ends with them, or else with what follows.
        others = "" if stop in ('"', "?", None) or field.kind == "text" else _in_class(stop)
        others += "?" if field.kind == "path" else ""
        lazy = "?" if stop not in ('"', None) and field.kind == "text" else ""
        return rf'[^"{others}]*{lazy}' if escapes == "none" else rf'(?:[^"\\{others}]|\\.)*{lazy}'
    if field.kind == "text":
        if stop is None:
            return ".*"
        return ".*?" if stop == " " else f"[^{_in_class(stop)}]*"
    others = "" if stop is None or stop == "?" or stop.isspace() else _in_class(stop)
    if field.kind == "any" and (stop or before) in _DELIMITERS:
        return f"[^{_in_class(stop or before)}]*"
    if field.kind == "list":
        one = rf"[^\s,{others}]+"
        return rf"{one}(?:(?:, ?| : ){one})*"
    if field.kind == "host":
        return r"\[[^\]\s]*\]|[^\s:\[]*"
    if field.kind == "path":
        return rf"[^\s?{others}]*"
    word = rf"[^\s{others}]" if others else r"\S"
    return f"{word}{'*' if field.kind in ('any', 'query') else '+'}"


def _in_class(sign: str) -> str:
    return f"\\{sign}" if sign in "\\]^-[" else sign


def _compiled(pieces: Sequence[_Piece], escapes: str, appended: str | None = None) -> LogFormat:
    fields: list[_Field] = []
    before: list[str] = []
    literal = ""
    for piece in pieces:
        if isinstance(piece, str):
            literal += piece
        else:
            fields.append(piece)
            before.append(literal)
            literal = ""
    if not fields:
        raise LogFormatError("it holds no field")
    before.append(literal)
    if any("\n" in text for text in before):
        raise LogFormatError("it has a line break, and a record is one line; in YAML `>-` makes one line of several")
    _check_apart(fields, before)
    names = _distinct([field.name for field in fields])
    values: list[str] = []
    witness = None
    quotes = 0
    free: list[_Field] = []
    for index, field in enumerate(fields):
        quotes += before[index].count('"')
        last = index == len(fields) - 1
        # Nothing stands but between a path and its query.
        following = before[index + 1] or ("" if last else "?")
        value = _value(
            field,
            quoted=quotes % 2 == 1,
            escapes=escapes,
            before=before[index][-1:],
            stop=following[:1] or None,
        )
        if field.kind == "text" and field.pattern is None and quotes % 2 == 0 and following[:1] in ("", " "):
            free.append(field)
        values.append(value if re.search(r"(?<!\\)\((?!\?)", value) else f"({value})")
        if witness is None and not re.fullmatch(_without_groups(value), ""):
            witness = names[index]
    if len(free) > 1:
        raise LogFormatError(
            f"{free[0].shown} and {free[1].shown} may hold spaces and are not between quotes, so they cannot be told "
            "apart; put quotes around them in the server's configuration"
        )
    groups = list(names)
    literals = [_as_pattern(text) for text in before]
    if witness is None:
        # Every field may be empty, so it is something between them that tells whether a line fits.
        certain = next((index for index, text in enumerate(before) if text), None)
        if certain is None:
            raise LogFormatError("it holds nothing that is there in every line")
        witness = "~between"
        literals[certain] = f"({literals[certain]})"
        groups.insert(certain, witness)
    parts = [text + value for text, value in zip(literals, values, strict=False)]
    kept = len(parts) if appended is None else names.index(appended)
    for index in range(kept, len(parts)):
        # A quote that closes the field before is part of what older lines have.
        closing, space, opening = before[index].partition(" ")
        parts[index - 1] += _as_pattern(closing)
        parts[index] = _as_pattern(space + opening) + values[index]
    parts[-1] += literals[-1]
    further = ""
    if appended is not None:
        groups.append("further_fields")
        further = "(?: (.*))?"
    for part in reversed(parts[kept:]):
        further = f"(?:{part}{further})?"
    pattern = "^" + "".join(parts[:kept]) + further + r"\s*$"
    readable: list[str] = []
    for name in groups:
        if not name.startswith("~"):
            readable.append(name)
        if name == "request":
            readable += [part for part in REQUEST_PARTS if part not in groups]
    return LogFormat(
        fields=tuple(readable),
        pattern=pattern,
        groups=tuple(groups),
        witness=witness,
        partly=_partly([*before[:kept], "" if appended else before[-1]], values[:kept]),
        stages=tuple(names[:kept]),
        times={name: field.time for name, field in zip(names, fields, strict=True) if field.time is not None},
        escapes=escapes,
    )


def _partly(before: Sequence[str], values: Sequence[str]) -> str:
    """A pattern that fits as much of a line as fits; of each field that does, with what follows it, a group is filled.

    Args:
        before: what stands before each field, and behind the last one.
        values: the regular expression of each field.
    """
    pattern = ""
    for index in reversed(range(len(values))):
        # What stands around a field is there for certain, a field may be empty.
        around = _as_pattern(before[0]) if index == 0 else "", _as_pattern(before[index + 1])
        pattern = f"(?:({around[0]}{_grouped(values[index])}{around[1]}){pattern})?"
    return "^" + pattern


def _grouped(value: str) -> str:
    """A value as one unit whose parts are no groups."""
    return f"(?:{_without_groups(value)})"


def _check_apart(fields: Sequence[_Field], before: Sequence[str]) -> None:
    for left, right, between in zip(fields, fields[1:], before[1:], strict=False):
        if between or left.kind in ("path", "mark") or (left.pattern or "").endswith("?"):
            continue
        raise LogFormatError(
            f"nothing stands between {left.shown or left.name} and {right.shown or right.name}, so they cannot be told "
            "apart; put a space or quotes there in the server's configuration"
        )


def _distinct(names: Sequence[str]) -> list[str]:
    """Names as they are, the second of the same with `_2` behind it, and so on."""
    found: list[str] = []
    for name in names:
        own, number = name, 1
        # `raw` is the whole line.
        while own in (*found, "raw"):
            number += 1
            own = f"{name}_{number}"
        found.append(own)
    return found


def _with_dashes(pieces: Sequence[_Piece]) -> list[_Piece]:
    """Fields between quotes that may also be a dash without quotes."""
    made: list[_Piece] = []
    for index, piece in enumerate(pieces):
        around = [pieces[at] if 0 <= at < len(pieces) else "" for at in (index - 1, index + 1)]
        if isinstance(piece, _Field) and str(around[0]).endswith('"') and str(around[1]).startswith('"'):
            made.append(replace(piece, pattern=r'(?:"((?:[^"\\]|\\.)*)"|-)'))
        elif isinstance(piece, str):
            made.append(piece.replace('"', ""))
        else:
            made.append(piece)
    return [piece for piece in made if piece != ""]
