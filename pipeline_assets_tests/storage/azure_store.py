"""An Azure Blob Storage for tests: Azurite's server, where it is installed, with what is needed to reach it."""

import base64
import hashlib
import hmac
import http.client
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from email.utils import formatdate

import pytest

_ACCOUNT = "testaccount"
_KEY = base64.b64encode(b"a key of the tests").decode()
_VERSION = "2021-12-02"


@contextmanager
def running_azurite() -> Generator[dict[str, str]]:
    """A server that lives as long as this; the variables that point everything at it."""
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("Azurite is not installed (npm install --global azurite)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = ("--silent", "--disableTelemetry", "--skipApiVersionCheck", "--inMemoryPersistence")
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            [program, "--blobHost", "127.0.0.1", "--blobPort", str(port), *quiet],
            env={"AZURITE_ACCOUNTS": f"{_ACCOUNT}:{_KEY}", "PATH": os.environ["PATH"]},
            stdout=log,
            stderr=log,
        )
        try:
            _wait(port, server)
            yield {
                "AZURE_STORAGE_ACCOUNT_NAME": _ACCOUNT,
                "AZURE_STORAGE_ACCOUNT_KEY": _KEY,
                "AZURE_STORAGE_ENDPOINT": f"http://127.0.0.1:{port}/{_ACCOUNT}",
            }
        finally:
            server.kill()
            server.wait()


def new_container(variables: dict[str, str]) -> str:
    """Make a container of a new name."""
    container = f"test-{uuid.uuid4().hex}"
    address, _, account = variables["AZURE_STORAGE_ENDPOINT"].removeprefix("http://").partition("/")
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": _VERSION}
    named = "".join(f"{name}:{value}\n" for name, value in headers.items())
    # No other header is sent that would have to be signed.
    signed = f"PUT{12 * chr(10)}{named}/{account}/{account}/{container}\nrestype:container"
    signature = hmac.new(base64.b64decode(_KEY), signed.encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey {account}:{base64.b64encode(signature).decode()}"
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.request("PUT", f"/{account}/{container}?restype=container", headers={**headers, "Content-Length": "0"})
    answer = connection.getresponse()
    if answer.status != http.HTTPStatus.CREATED:
        raise RuntimeError(f"Azurite answers {answer.status}: {answer.read().decode()}")
    connection.close()
    return container


def _wait(port: int, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if server.poll() is not None:
            raise RuntimeError(f"Azurite ended with {server.returncode}.")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("Azurite does not answer.")
