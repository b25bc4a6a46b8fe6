"""Where a deployment's files may be: a local folder, or a place in an object store. Nothing is asked or opened here."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

SCHEMES = ("s3", "gs", "az")
"""Of object stores: Amazon S3 and what speaks its language, Google Cloud Storage, Azure Blob Storage."""


@dataclass(frozen=True)
class Remote:
    """A place in an object store.

    Attributes:
        scheme: one of `SCHEMES`.
        bucket: bucket or container.
        prefix: what the names in it begin with, without a slash at either end; as it is in the names, without escapes.
    """

    scheme: str
    bucket: str
    prefix: str = ""

    def __str__(self) -> str:
        """The URL; there is no secret in it."""
        return f"{self.scheme}://{'/'.join(filter(None, (self.bucket, self.prefix)))}"


def parse_place(text: str) -> Path | Remote:
    """A folder, or a place in an object store.

    Args:
        text: a path, `file:///…`, `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`. In `file://`
            odd characters are escaped as in any URL; a prefix is taken as it is written.

    Raises:
        ValueError: it is none of these; the message says what is wrong with it, and quotes no password.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        return Path(text)
    if scheme == "file":
        if not rest.startswith("/"):
            raise ValueError("file:// names another machine or a relative path; write file:///absolute/path.")
        return Path(os.fsdecode(unquote_to_bytes(rest)))
    if scheme not in SCHEMES:
        known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise ValueError(f"the scheme {scheme!r} is not known; use a folder, file:///… or one of {known}.")
    bucket, _, prefix = rest.partition("/")
    if "@" in bucket or ":" in bucket:
        raise ValueError(
            f"no user, password or port belongs into {scheme}://; set the variables of the store's own tools, such as "
            "AWS_PROFILE and AWS_ENDPOINT_URL."
        )
    prefix = prefix.removesuffix("/")
    if not bucket or any(part in {"", ".", ".."} for part in prefix.split("/") if prefix):
        raise ValueError(f"{text!r} is not {scheme}://bucket/prefix.")
    return Remote(scheme, bucket, prefix)
