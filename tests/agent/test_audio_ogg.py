"""The walk over Ogg pages, on streams built by hand."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_agent import ogg

FIRST, LAST = 2, 4


def page(number: int, flags: int = 0, body: bytes = b"\x01vorbis and so on", serial: int = 7) -> bytes:
    head = b"OggS\0" + bytes([flags]) + bytes(8) + serial.to_bytes(4, "little") + number.to_bytes(4, "little")
    lacing = bytes([len(body) // 255 + 1] + [255] * (len(body) // 255) + [len(body) % 255])
    checksum = ogg.checksum(head + bytes(4) + lacing + body)
    return head + checksum.to_bytes(4, "little") + lacing + body


WHOLE = page(0, FIRST) + page(1, body=b"x" * 600) + page(2, LAST)


def walk(data: bytes) -> ogg.Stream:
    return ogg.inspect(io.BytesIO(data), len(data))


def reference_checksum(data: bytes) -> int:
    """The CRC bit by bit, as RFC 3533 defines it."""
    crc = 0
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return crc


@given(st.binary(max_size=200))
def test_checksum(data: bytes) -> None:
    assert ogg.checksum(data) == reference_checksum(data)


def test_whole() -> None:
    assert walk(WHOLE) == ogg.Stream((b"\x01vorbis ",), 1, None)


def test_one_page_is_enough() -> None:
    assert walk(page(0, FIRST | LAST)).problem is None


@given(st.integers(1, len(WHOLE) - 1))
def test_every_cut_is_seen(length: int) -> None:
    assert str(walk(WHOLE[:length]).problem).startswith("is cut short")


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_every_changed_byte_is_seen(at: int, change: int) -> None:
    data = bytearray(WHOLE)
    data[at] ^= change
    stream = walk(bytes(data))
    # A changed first mark leaves no stream at all, which the decoder refuses.
    assert stream.problem is not None or (stream.links == 0 and at < 4)


def test_a_missing_page() -> None:
    assert walk(page(0, FIRST) + page(2, LAST)).problem == "is damaged: an Ogg page is missing"
    assert walk(page(1) + page(2, LAST)).problem == "is damaged: an Ogg page is missing"


def test_bytes_between_pages() -> None:
    data = page(0, FIRST) + b"gap" + page(1, LAST)
    assert walk(data).problem == "is damaged: bytes that are no Ogg page lie between its pages"


def test_bytes_after_the_last_page_are_not_looked_at() -> None:
    assert walk(WHOLE + b"padding").problem is None


def test_interleaved_streams_are_one_link_and_each_must_end() -> None:
    start = page(0, FIRST, b"\x80theora", 1) + page(0, FIRST, b"OpusHead", 2)
    both = walk(start + page(1, LAST, serial=1) + page(1, LAST, serial=2))
    assert both == ogg.Stream((b"\x80theora", b"OpusHead"), 1, None)
    assert "end-of-stream" in str(walk(start + page(1, LAST, serial=1)).problem)


@pytest.mark.parametrize("links", [1, 2, 3])
def test_chained_recordings_are_counted(links: int) -> None:
    assert walk(WHOLE * links).links == links
