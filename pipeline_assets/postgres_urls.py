"""PostgreSQL URLs: what a user may write, and what each driver is given for it.

What belongs here: reading a URL or key-value string as libpq reads it, the settings of our sessions, the forms that
psycopg, ADBC and SQLAlchemy want, and messages without passwords. What does not: connecting, and the embedded server.

A user may write whatever libpq understands: several hosts, a `service`, `options`, SSL files, a Unix socket, key-value
strings; PGPASSWORD, PGSSLMODE, `~/.pgpass` and the like hold too, as all drivers are built on libpq. Roles and
databases may have settings of their own (`alter role … set datestyle …`), which decide how values are written and what
a session may do. Sessions of the pipeline state what they rely on, in `options`, which outranks both.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote, unquote

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import PGconn

SPEAKING: Mapping[str, str] = {
    "datestyle": "iso,mdy",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
}
"""How values are written: what drivers read without a loss. For sessions in which users' own statements run."""

WORKING: Mapping[str, str] = {
    **SPEAKING,
    "timezone": "UTC",
    # What is neither there nor in pg_catalog, which comes first, is named with its schema.
    "search_path": "public",
    # How long work takes depends on how much there is. What waits for others says so and has limits of its own; here
    # is the one of what nobody thought would wait.
    "statement_timeout": "0",
    "lock_timeout": "10min",
    "idle_session_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "read\\ committed",
}
"""Settings of the sessions in which the pipeline works."""

_CONNECT_TIMEOUT_SECONDS = "10"
_SCHEMES = ("postgresql", "postgres")
_FILES = ("sslcert", "sslkey", "sslrootcert", "sslcrl", "sslcrldir", "passfile", "sslkeylogfile")
_SECRETS = ("password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key")
_IN_AUTHORITY = ("user", "password", "dbname", "host", "port")


class PostgresError(RuntimeError):
    """The server cannot be started, reached or used; the message says what to do and holds no password."""


# --- Reading ------------------------------------------------------------------------------------------


def libpq_url(url: str) -> str:
    """`url` as libpq, psql and ADBC understand it: `postgresql://…`, without SQLAlchemy's `+driver`.

    Args:
        url: a URL of `postgres`, `postgresql` or `postgresql+driver`, or libpq's `host=… dbname=…`.

    Raises:
        PostgresError: it is neither.
    """
    text = url.strip()
    if re.match(r"\w+\s*=", text):
        return _uri(_parsed(text))
    scheme, separator, rest = text.partition("://")
    if not separator or scheme.split("+")[0] not in _SCHEMES:
        raise PostgresError(
            "The PostgreSQL URL must look like postgresql://user:password@host:5432/database, or like "
            "host=… dbname=… user=…. Check PIPELINE_POSTGRES_URL, or unset it to use the embedded server."
        )
    return f"postgresql://{rest}"


def parameters(url: str, session: Mapping[str, str] = WORKING, **more: str | int) -> dict[str, str]:
    """What a driver is given to connect: the parameters of `url`, and the session's settings among its `options`.

    The user's own `options` are kept, be they in the URL, of the service or in PGOPTIONS; the session's come last.

    Args:
        url: see `libpq_url`.
        session: settings by name. In values, blanks and backslashes have a backslash in front.
        more: further parameters of libpq, e.g. `application_name`.

    Raises:
        PostgresError: libpq does not understand it; or a file is named by a relative path.
    """
    given = _parsed(libpq_url(url))
    around = _around(given)
    ours = " ".join(f"-c{name}={value}" for name, value in session.items())
    theirs = around.get("options", "").replace(ours, "").strip()
    # An explicit parameter, for PGCLIENTENCODING and one in the URL outrank `options`.
    found = {**given, "options": f"{theirs} {ours}".strip(), "client_encoding": "UTF8"}
    if not around.get("connect_timeout"):
        found["connect_timeout"] = _CONNECT_TIMEOUT_SECONDS
    return found | {name: str(value) for name, value in more.items()}


def _parsed(text: str) -> dict[str, str]:
    try:
        found = {name: str(value) for name, value in conninfo_to_dict(text).items() if value is not None}
    except psycopg.Error as error:
        raise PostgresError(
            f"The PostgreSQL URL {redacted(text)} cannot be read: {explanation(error, text)}. Special characters in "
            "user, password, host and database are percent-encoded (@ is %40, / is %2F); in host=… dbname=… values "
            "with blanks stand in single quotes."
        ) from None
    for name in _FILES:
        value = found.get(name)
        if value and (name, value) != ("sslrootcert", "system"):
            path = Path(value).expanduser()
            if not path.is_absolute():
                raise PostgresError(
                    f"The PostgreSQL URL names a relative path, {name}={value}. Dagster's processes run in several "
                    "folders: write the whole path."
                )
            found[name] = str(path)
    return found


def _around(given: Mapping[str, str]) -> Mapping[str, str]:
    """What holds for `options` and `connect_timeout` with what the service and the environment add."""
    # libpq tells only of a connection what it has gathered for it, so one is begun that goes nowhere.
    begun = PGconn.connect_start(
        make_conninfo(**{**given, "host": "/nonexistent", "hostaddr": "", "port": ""}).encode()
    )
    try:
        message = " ".join(begun.error_message.decode(errors="replace").split())
        if "service" in message:
            raise PostgresError(
                f"The PostgreSQL URL names a service: {message.rstrip('.')}. Services are defined in "
                "~/.pg_service.conf, or in the file that PGSERVICEFILE names."
            )
        found = {each.keyword.decode(): each.val.decode() for each in begun.info if each.val}
    finally:
        begun.finish()
    # The rest, passwords among it, is left to the drivers.
    return {name: found[name] for name in ("options", "connect_timeout") if name in found}


# --- What drivers want --------------------------------------------------------------------------------


def adbc_url(url: str) -> str:
    """`url` for ADBC, with the settings of the pipeline's sessions."""
    return _uri(parameters(url))


def sqlalchemy_url(url: str, driver: str = "psycopg", **session: str) -> str:
    """`url` for SQLAlchemy with an explicit driver, and the settings of the pipeline's sessions.

    Args:
        url: see `libpq_url`.
        driver: `psycopg`, or `psycopg2`, which Dagster needs.
        session: settings by name that replace or extend `WORKING`.
    """
    return _uri(parameters(url, {**WORKING, **session}), f"postgresql+{driver}")


def _uri(found: Mapping[str, str], scheme: str = "postgresql") -> str:
    """A URL that libpq and SQLAlchemy read alike."""
    host, port = found.get("host", ""), found.get("port", "")
    query = {name: value for name, value in found.items() if name not in _IN_AUTHORITY}
    hosts = host.split(",")
    if len(hosts) > 1 or "/" in host or host.startswith("@"):
        query["host"], place = host, ""
        if port:
            # libpq takes one port for all hosts, SQLAlchemy wants one for each.
            query["port"] = ",".join([port] * len(hosts)) if "," not in port else port
    else:
        place = f"[{host}]" if ":" in host else quote(host, safe="")
        place += f":{port}" if port else ""
    user = quote(found.get("user", ""), safe="")
    if "password" in found:
        user += f":{quote(found['password'], safe='')}"
    rest = "&".join(f"{name}={quote(value, safe='/,')}" for name, value in query.items())
    database = quote(found.get("dbname", ""), safe="")
    return f"{scheme}://{user}{'@' if user else ''}{place}/{database}{'?' if rest else ''}{rest}"


# --- Messages -----------------------------------------------------------------------------------------


def redacted(url: str) -> str:
    """`url` without passwords, for messages."""
    secret = "|".join(_SECRETS)
    if re.match(r"\s*\w+\s*=", url):
        return re.sub(rf"(?i)\b({secret})(\s*=\s*)('(?:[^'\\]|\\.)*'?|(?:\\.|\S)*)", r"\1\2***", url)
    scheme, separator, rest = url.partition("://")
    # An unescaped "@" or "/" in a password is a common mistake, so everything up to the last "@" is taken.
    before, at, after = rest.rpartition("@")
    user = before.split(":", 1)[0] + (":***" if ":" in before else "")
    after = re.sub(rf"(?i)([?&](?:{secret})=)[^&]*", r"\1***", after)
    return f"{scheme}{separator}{user}{at}{after}"


def explanation(error: Exception, url: str) -> str:
    """The driver's message in one line, unless it repeats a part of the password."""
    message = " ".join(str(error).split())
    userinfo = url.partition("://")[2].rpartition("@")[0].partition(":")[2]
    secrets = [userinfo, *(found for name in _SECRETS for found in _values(name, url))]
    secrets += [unquote(secret) for secret in secrets]
    # A password that was not percent-encoded is cut at these characters; single letters occur in any message.
    pieces = {piece for secret in secrets for piece in re.split(r"[@:/?#&'\s]", secret) if len(piece) > 2}
    if any(piece and piece in message for piece in {*secrets, *pieces}):
        return "the driver's message is withheld because it repeats a part of the password"
    return message.rstrip(".")


def _values(name: str, url: str) -> Iterable[str]:
    if "://" in url.split("=", 1)[0]:
        return re.findall(rf"(?i)\b{name}=([^&]*)", url)
    quoted = re.findall(rf"(?i)\b{name}\s*=\s*'((?:[^'\\]|\\.)*)", url)
    return [re.sub(r"\\(.)", r"\1", value) for value in quoted + re.findall(rf"(?i)\b{name}\s*=\s*([^\s']\S*)", url)]
