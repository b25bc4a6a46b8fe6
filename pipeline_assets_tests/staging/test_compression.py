"""Compressed files of any number of members are read whole, padding is ignored, and all else behind them is told."""

import bz2
import gzip
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline_assets.sources.records.cutting import Tally, UnreadableError, read_lines
from pipeline_assets.staging import compression
from pipeline_assets.staging.compression import open_stream

Compress = Callable[[bytes], bytes]


def zstd(data: bytes) -> bytes:
    return pa.Codec("zstd").compress(data, asbytes=True)


def skippable(data: bytes, number: int = 0) -> bytes:
    return struct.pack("<II", 0x184D2A50 + number, len(data)) + data


KINDS: dict[str, Compress] = {"gzip": gzip.compress, "bzip2": bz2.compress, "zstd": zstd}
WORDS = st.lists(st.sampled_from([b"a", b"bc\n", b"\0" * 40, b"x" * 500]), max_size=6).map(b"".join)
kinds = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


def content(path: Path, size: int = 1 << 20) -> bytes:
    stream = open_stream(path, "auto")
    parts = []
    while part := stream.read(size):
        assert len(part) <= size
        parts.append(part)
    return b"".join(parts)


def reason(path: Path) -> str:
    with pytest.raises(UnreadableError) as told:
        list(read_lines(open_stream(path, "auto"), Tally()))
    return str(told.value)


@kinds
@given(
    members=st.lists(WORDS, min_size=1, max_size=5),
    zeros=st.sampled_from([0, 1, 3, 512, 20_000]),
    read=st.tuples(st.sampled_from([1, 7, 1 << 20]), st.sampled_from([1, 5, 1 << 18])),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_members_follow_each_other_and_zeros_behind_them_are_padding(
    path: Path, kind: str, members: list[bytes], zeros: int, read: tuple[int, int]
) -> None:
    size, chunk = read
    path.write_bytes(b"".join(map(KINDS[kind], members)) + bytes(zeros))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compression, "_CHUNK", chunk if zeros < 20_000 else 1 << 18)
        assert content(path, size) == b"".join(members)


@kinds
def test_what_is_no_member_is_told_with_the_byte_it_begins_at(path: Path, kind: str) -> None:
    whole = KINDS[kind](b"a\n") + KINDS[kind](b"b\n")
    for zeros in (0, 3, 512):
        for other in (b"g", b"garbage", b'{"id": 1}\n'):
            path.write_bytes(whole + bytes(zeros) + other)
            begin = len(whole) + zeros
            assert reason(path) == (
                f"what begins at byte {begin} (from 0), behind complete {kind} data, is no {kind}; deliver the file "
                "again, or without it"
            )


@kinds
def test_a_file_that_was_cut_anywhere_is_not_complete(path: Path, kind: str) -> None:
    data = b"".join(b"%d\n" % number for number in range(50))
    first, second = KINDS[kind](data), KINDS[kind](data)
    complete = {0, len(first), len(first) + len(second)}
    for length in set(range(len(first) - 12, len(first) + len(second) + 1)) - complete:
        path.write_bytes((first + second)[:length])
        told = reason(path)
        assert "not completely written" in told or "is no zstd" in told, (length, told)


@pytest.mark.parametrize("kind", ["gzip", "bzip2"])
def test_damaged_data_is_told_as_damaged(path: Path, kind: str) -> None:
    data = bytearray(KINDS[kind](b"abc" * 1000))
    data[-6] ^= 0xFF
    path.write_bytes(data)
    assert "damaged" in reason(path)


def test_frames_of_zstd_that_are_to_be_skipped_are_skipped(path: Path) -> None:
    path.write_bytes(skippable(b"a") + zstd(b"one\n") + skippable(b"", 15) + zstd(b"two\n") + skippable(b"\0" * 9, 7))
    assert content(path) == b"one\ntwo\n"
    path.write_bytes(skippable(b"nothing"))
    assert content(path) == b""


def test_frames_of_zstd_of_every_kind_of_block_are_walked(path: Path) -> None:
    # Blocks that repeat a byte, that are stored as they are, and many compressed ones.
    noise = b"".join(zlib.crc32(b"%d" % number).to_bytes(4, "little") for number in range(60_000))
    text = b"".join(b"%d,%d\n" % (number, number * number) for number in range(60_000))
    written = pa.BufferOutputStream()
    with pa.CompressedOutputStream(written, "zstd") as stream:
        # Without its size in the header.
        stream.write(text)
    streamed = written.getvalue().to_pybytes()
    path.write_bytes(b"".join([zstd(b"\0" * 1_000_000), zstd(noise), zstd(text), zstd(b""), streamed, bytes(9)]))
    assert content(path) == b"\0" * 1_000_000 + noise + text + text


def test_little_of_a_file_that_unpacks_to_much_is_held_at_a_time(path: Path) -> None:
    for compress in KINDS.values():
        path.write_bytes(compress(bytes(30_000_000)))
        stream = open_stream(path, "auto")
        assert len(stream.read(1000)) == 1000
