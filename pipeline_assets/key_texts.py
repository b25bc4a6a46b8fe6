"""Texts in keys: short enough for an index of PostgreSQL, and as different as what they stand for.

PostgreSQL refuses an entry of over 2,704 bytes in a b-tree, and with it the whole transaction, and anybody can send a
page a path of any length. So a text of a key that may come from anywhere is cut before rows are grouped by it: two
texts that become one are one row.
"""

import dataframely as dy
import polars as pl

from pipeline_assets.digests import digest_of

LONGEST_KEY_TEXT = 512
"""Bytes that a text in a key may have. The widest key has five texts."""

_MARK = "~"
_DIGEST_LETTERS = 64
_CUT = LONGEST_KEY_TEXT - len(_MARK) - _DIGEST_LETTERS


def key_text(text: str) -> str:
    """The text as it stands in a key: a longer one than 512 bytes is cut and ends in ~ and the SHA-256 of the whole."""
    encoded = text.encode()
    if len(encoded) <= LONGEST_KEY_TEXT:
        return text
    # A letter that the cut goes through is left out.
    return encoded[:_CUT].decode(errors="ignore") + _MARK + digest_of(encoded)


def capped(text: pl.Expr) -> pl.Expr:
    """`key_text` of each text; null stays null."""
    return text.cast(pl.String).map_batches(_capped, return_dtype=pl.String, is_elementwise=True)


def capped_key(contract: type[dy.Schema]) -> list[pl.Expr]:
    """The text columns of a table's primary key, as they stand in it: for `with_columns` before rows are grouped."""
    return [capped(pl.col(name)) for name in key_texts(contract)]


def key_texts(contract: type[dy.Schema]) -> list[str]:
    """Names of the text columns of a table's primary key."""
    return [name for name in contract.primary_key() if contract.columns()[name].dtype == pl.String]


def _capped(texts: pl.Series) -> pl.Series:
    too_long = texts.str.len_bytes() > LONGEST_KEY_TEXT
    if not too_long.any():
        return texts
    distinct = texts.filter(too_long).unique().to_list()
    return texts.replace(distinct, [key_text(text) for text in distinct])
