"""What is particular to object stores: how they are reached, and what is told where they refuse."""

import http.client
import http.server
import os
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from email.message import Message
from pathlib import Path

import polars as pl
import pytest

from pipeline_assets.storage import objects
from pipeline_assets.storage.opening import open_store
from pipeline_assets.storage.parquet import scan_parquet
from pipeline_assets.storage.patience import GLANCE, waiting
from pipeline_assets.storage.store import DRAFTS, Level, StoreError, UnreachableError
from pipeline_assets_tests.storage.object_store import SECRET, in_environment, new_bucket, put_raw


@contextmanager
def answering(status: int, body: str = "", *, delay: float = 0) -> Generator[str]:
    """A server that answers every request in one way; its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            time.sleep(delay)
            self.send_response(status)
            # Some stores quote the request, and with it a token.
            sent = body.replace("TOKEN", self.headers.get("x-amz-security-token", "")).encode()
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            with suppress(BrokenPipeError):
                self.wfile.write(sent)

        do_GET = do_PUT = do_HEAD = do_POST = answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with served(Handler) as url:
        yield url


@contextmanager
def served(handler: type[http.server.BaseHTTPRequestHandler]) -> Generator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


KEYS = {"AWS_ACCESS_KEY_ID": "an-access-key", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": f"token-{SECRET}"}
REFUSALS = {
    "AccessDenied": (403, "access is denied"),
    "InvalidAccessKeyId": (403, "the access key is not known there"),
    "SignatureDoesNotMatch": (403, "the secret does not belong to the access key"),
    "ExpiredToken": (400, "the token has expired"),
    "NoSuchBucket": (404, "there is no such bucket"),
    "AuthorizationHeaderMalformed": (400, "is in another region"),
    "NotImplemented": (501, "knows no conditional writes"),
    "Unheard": (418, "the store answered 418 Unheard"),
}


@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_says_where_why_and_what_to_do_and_no_secret(code: str, tmp_path: Path) -> None:
    status, told = REFUSALS[code]
    body = f"<Error><Code>{code}</Code><Message>no</Message><CanonicalRequest>TOKEN</CanonicalRequest></Error>"
    with (
        answering(status, body) as url,
        in_environment(KEYS | {"AWS_ENDPOINT_URL": url}, home=tmp_path),
        waiting(GLANCE),
    ):
        store = open_store("s3://bucket/lake")
        for verb in (
            lambda: store.put("name", b"x"),
            lambda: list(store.list()),
            store.level,
            lambda: store.level(seconds=60),
        ):
            with pytest.raises(StoreError) as refused:
                verb()
            assert "s3://bucket/lake" in str(refused.value)
            assert told in str(refused.value)
            text = f"{refused.value!r} {refused.value.__cause__!r}"
            assert SECRET not in text
            assert refused.value.__suppress_context__


@pytest.mark.parametrize("way", ["nobody", "silence", "overload"])
def test_a_store_that_does_not_answer_is_given_up_and_told(way: str, tmp_path: Path) -> None:
    with answering(503 if way == "overload" else 200, delay=10 if way == "silence" else 0) as url:
        address = "http://user:password@127.0.0.1:1" if way == "nobody" else url
        with in_environment(KEYS | {"AWS_ENDPOINT_URL": address}, home=tmp_path), waiting(GLANCE):
            store = open_store("s3://bucket/lake")
            with pytest.raises(UnreachableError) as error:
                store.stat("name")
            assert "s3://bucket/lake/name" in str(error.value)
            assert "password" not in str(error.value)


def test_variables_that_say_nothing_of_use_are_told(tmp_path: Path) -> None:
    with in_environment({"AWS_PROFILE": "no such profile"}, home=tmp_path):
        store = open_store("s3://bucket/lake")
        with pytest.raises(StoreError, match=r"no such profile.*Correct AWS_PROFILE"):
            store.stat("name")


@contextmanager
def forwarding(where: str, seen: Callable[[str, Message], bool] = lambda *_: True) -> Generator[str]:
    """A server that hands requests on, and the answers back where `seen` says so; otherwise it says 503."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def forward(self) -> None:
            data = self._body()
            skipped = {"host", "content-length", "transfer-encoding", "connection"}
            headers = {name: value for name, value in self.headers.items() if name.lower() not in skipped}
            connection = http.client.HTTPConnection(where.removeprefix("http://"), timeout=60)
            connection.request(self.command, self.path, data, headers)
            response = connection.getresponse()
            content = response.read()
            if not seen(self.command, self.headers):
                # As a load balancer does when the server behind it has gone.
                self.send_response(503)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(response.status)
            for name, value in response.getheaders():
                if name.lower() not in {"transfer-encoding", "connection", "date", "server"}:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
            connection.close()

        def _body(self) -> bytes:
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        do_GET = do_PUT = do_HEAD = do_POST = forward  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with served(Handler) as url:
        yield url


def test_the_keys_of_a_profile_are_used_by_the_store_and_by_polars(
    object_store: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text(f"[ours]\naws_access_key_id = of-the-profile\naws_secret_access_key = {SECRET}\n")
    (tmp_path / "config").write_text("[profile ours]\nregion = eu-central-1\n")
    used: set[str] = set()

    def seen(method: str, headers: Message) -> bool:
        # Whose key it is, the day, and the region.
        scope = headers["Authorization"].partition("Credential=")[2].split("/")
        used.add(f"{scope[0]} {scope[2]}")
        return True

    bucket = new_bucket(object_store)
    with (
        forwarding(object_store["AWS_ENDPOINT_URL"], seen) as url,
        in_environment({"AWS_PROFILE": "ours", "AWS_ENDPOINT_URL": url}, home=tmp_path),
    ):
        store = open_store(f"s3://{bucket}")
        pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "a")
        store.put("a", tmp_path / "a")
        assert used == {"of-the-profile eu-central-1"}
        used.clear()
        assert scan_parquet([store.locate("a")]).collect().height == 1
        assert used == {"of-the-profile eu-central-1"}


def test_a_put_whose_answer_is_lost_is_known_to_have_been_ones_own(
    object_store: dict[str, str], tmp_path: Path
) -> None:
    puts: list[str] = []

    def seen(method: str, _: Message) -> bool:
        puts.extend([method] * (method == "PUT"))
        return method != "PUT" or len(puts) > 1

    bucket = new_bucket(object_store)
    with (
        forwarding(object_store["AWS_ENDPOINT_URL"], seen) as url,
        in_environment(object_store | {"AWS_ENDPOINT_URL": url}, home=tmp_path),
    ):
        store = open_store(f"s3://{bucket}")
        assert store.put("name", b"mine").size == 4
        assert len(puts) == 2
        with pytest.raises(FileExistsError):
            store.put("name", b"another's")


def test_a_large_file_is_seen_whole_and_writes_nothing_over_and_its_parts_go(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "_ONE_REQUEST", 1000)
    store = open_store(s3)
    content = tmp_path / "content"
    content.write_bytes(b"a" * 12_000_000)
    assert store.put("name", content).size == 12_000_000
    assert not content.exists()
    with pytest.raises(FileExistsError):
        store.put("name", b"b" * 12_000_000)
    assert store.open("name").read() == b"a" * 12_000_000
    assert list(store.list(f"{DRAFTS}/")) == []


def test_what_no_request_can_hold_is_refused_before_it_is_sent(s3: str, tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate((5 << 30) + 1)
    with pytest.raises(StoreError, match="the most is 5 GiB"):
        open_store(s3).put("name", large)
    assert large.exists()


def test_an_object_that_is_replaced_while_it_is_open_is_not_read_on(s3: str) -> None:
    store = open_store(s3)
    store.put("name", os.urandom(3_000_000))
    with store.open("name") as file:
        file.read(10)
        store.delete(["name"])
        store.put("name", os.urandom(3_000_000))
        file.seek(2_000_000)
        with pytest.raises(StoreError, match="replaced"):
            file.read(10)


def test_folders_as_consoles_make_them_are_no_objects(s3: str) -> None:
    store = open_store(s3)
    store.put("folder/empty", b"")
    put_raw(f"{s3}/folder/")
    put_raw(f"{s3}/other/")
    assert [found.name for found in store.list()] == ["folder/empty"]
    assert [found.name for found in store.level("folder").objects] == ["folder/empty"]
    assert store.level("other") == Level([], [])
