"""Texts in keys."""

import pkgutil
from importlib import import_module

import dataframely as dy
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets import analyses, tables
from pipeline_assets.io_managers.frames import storable
from pipeline_assets.key_texts import LONGEST_KEY_TEXT, capped, key_text, key_texts

# Letters of one to four bytes, so that the cut goes through some of them.
TEXTS = st.text(st.sampled_from("aé漢😀"), min_size=100, max_size=600)
INDEX_ENTRY = 2_704
"""Bytes of the largest entry of a b-tree in PostgreSQL."""


def every_contract() -> dict[str, type[dy.Schema]]:
    """The contracts of all tables, by name."""
    modules = [
        import_module(f"{package.__name__}.{module.name}")
        for package in (tables, analyses)
        for module in pkgutil.iter_modules(package.__path__)
    ]
    return {
        name: found
        for module in modules
        for name, found in vars(module).items()
        if isinstance(found, type) and issubclass(found, dy.Schema) and found.__module__ == module.__name__
    }


@given(st.lists(TEXTS, max_size=6))
def test_a_text_of_a_key_is_short_and_differs_where_texts_differ(texts: list[str]) -> None:
    found = [key_text(text) for text in texts]
    assert all(len(text.encode()) <= LONGEST_KEY_TEXT for text in found)
    assert len(set(found)) == len(set(texts))
    assert [key_text(text) for text in found] == found
    for text, short in zip(texts, found, strict=True):
        assert short == text if len(text.encode()) <= LONGEST_KEY_TEXT else text.startswith(short.rpartition("~")[0])
    frame = pl.DataFrame({"text": [*texts, None]}, schema={"text": pl.String})
    assert frame.select(capped(pl.col("text")))["text"].to_list() == [*found, None]
    as_categories = frame.lazy().select(capped(pl.col("text").cast(pl.Categorical)))
    assert as_categories.collect()["text"].to_list() == [*found, None]


def test_only_a_text_of_over_512_bytes_is_cut_and_ends_in_the_sha_256_of_the_whole() -> None:
    assert key_text("é" * 256) == "é" * 256
    assert key_text("é" * 256 + "a").startswith("é" * 223 + "~")
    assert key_text("a" * 513) == "a" * 447 + "~02425c0f5b0dabf3d2b9115f3f7723a02ad8bcfb1534a0d231614fd42b8188f6"


def test_the_key_of_every_table_fits_into_an_index() -> None:
    # Anything but a text takes 8 bytes at most; a text 4 more for its length, and up to 7 that align what follows.
    widths = {
        name: sum(LONGEST_KEY_TEXT + 11 if column in key_texts(contract) else 8 for column in contract.primary_key())
        for name, contract in every_contract().items()
    }
    assert len(widths) > 20
    assert {name: width for name, width in widths.items() if width + 16 > INDEX_ENTRY} == {}


@given(TEXTS)
def test_what_is_stored_has_no_null_character_and_no_long_text_in_an_index(text: str) -> None:
    frame = pl.DataFrame({"key": [f"\0{text}", "b\0", None], "other": [text, "\0", "c"], "number": [1, 2, 3]})
    expected = {"key": [key_text(text), "b", None], "other": [text, "", "c"], "number": [1, 2, 3]}
    assert storable(frame, ["key", "number"]).to_dict(as_series=False) == expected
