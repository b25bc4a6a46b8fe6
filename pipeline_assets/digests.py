"""Short texts that differ where what they are made of does: of versions, of what something was built from, of names.

All of them are SHA-256, cut to as many digits as the place they stand in has room for. Content of files is hashed where
it is read; what code is made of, in `code_version`.
"""

import hashlib
import json
from typing import Any


def digest(value: Any, digits: int = 32) -> str:
    """Digest of a plain value: of its JSON, keys sorted.

    Args:
        value: texts, numbers, booleans, None, and lists and mappings of them; anything else counts by its text.
        digits: hex digits, at most 64.
    """
    return digest_of(json.dumps(value, sort_keys=True, default=str).encode(), digits)


def digest_of(content: bytes, digits: int = 64) -> str:
    """Digest of bytes."""
    return hashlib.sha256(content).hexdigest()[:digits]
