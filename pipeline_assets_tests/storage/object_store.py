"""An object store for tests: moto's server in a process of its own, with what this process needs to reach it."""

import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

SECRET = "a-secret-that-nobody-may-read"
"""The secret key; it may be in no message, log or table."""


@contextmanager
def running_object_store() -> Generator[dict[str, str]]:
    """A server that lives as long as this; the variables that point everything at it."""
    if importlib.util.find_spec("moto") is None or importlib.util.find_spec("flask") is None:
        pytest.skip("moto is not installed (pip install -e '.[dev]')")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log
        )
        try:
            _wait(url, server)
            yield {
                "AWS_ENDPOINT_URL": url,
                "AWS_ACCESS_KEY_ID": "an-access-key",
                "AWS_SECRET_ACCESS_KEY": SECRET,
                "AWS_REGION": "us-east-1",
            }
        finally:
            server.kill()
            server.wait()


def new_bucket(variables: dict[str, str]) -> str:
    """Make a bucket of a new name."""
    bucket = f"test-{uuid.uuid4().hex}"
    urllib.request.urlopen(
        urllib.request.Request(f"{variables['AWS_ENDPOINT_URL']}/{bucket}", method="PUT"), timeout=60
    ).close()
    return bucket


def put_raw(url: str, content: bytes = b"") -> None:
    """Put an object of any name, as other tools may; the server asks nobody for credentials."""
    bucket, _, key = url.removeprefix("s3://").partition("/")
    address = f"{os.environ['AWS_ENDPOINT_URL']}/{bucket}/{urllib.parse.quote(key)}"
    urllib.request.urlopen(urllib.request.Request(address, data=content, method="PUT"), timeout=60).close()


@contextmanager
def in_environment(variables: dict[str, str], *, home: Path) -> Generator[None]:
    """While this process and those it starts find the object store, and no credentials of whoever runs the tests."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("AWS_", "GOOGLE_", "AZURE_")):
            del os.environ[name]
    os.environ.update(variables, AWS_CONFIG_FILE=str(home / "config"), AWS_SHARED_CREDENTIALS_FILE=str(home / "keys"))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if server.poll() is not None:
            raise RuntimeError(f"moto's server ended with {server.returncode}.")
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("moto's server does not answer.")
