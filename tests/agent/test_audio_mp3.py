"""The walk over MPEG frames, on streams built by hand."""

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_agent import mp3

HEAD = bytes([0xFF, 0xFB, 0x90, 0x00])  # MPEG-1 Layer III, 128 kbit/s, 44.1 kHz, stereo: 417 bytes, 1152 samples
FRAME = HEAD + bytes(413)
S = 1152 / 44100


def xing(frames_n: int | None = None, bytes_n: int | None = None, name: bytes = b"Xing") -> bytes:
    flags = (frames_n is not None) | (bytes_n is not None) << 1
    numbers = b"".join(struct.pack(">I", number) for number in (frames_n, bytes_n) if number is not None)
    return (HEAD + bytes(32) + name + struct.pack(">I", flags) + numbers).ljust(417, b"\0")


def vbri(frames_n: int, bytes_n: int) -> bytes:
    return (HEAD + bytes(32) + b"VBRI" + struct.pack(">HHHII", 1, 0, 0, bytes_n, frames_n)).ljust(417, b"\0")


def walk(data: bytes, start: int = 0) -> mp3.Stream | None:
    return mp3.inspect(io.BytesIO(data), start, len(data))


@pytest.mark.parametrize(
    ("head", "bytes_n", "samples_n", "rate"),
    [
        ("fffb9000", 417, 1152, 44100),
        ("fffb9200", 418, 1152, 44100),
        ("fff380c4", 208, 576, 22050),
        ("ffe318c4", 72, 576, 8000),
        ("fffdc400", 768, 1152, 48000),
        ("ffff1400", 32, 384, 48000),
        ("fff51800", 72, 1152, 16000),
        ("fff718c0", 96, 384, 16000),
    ],
)
def test_frame_headers(head: str, bytes_n: int, samples_n: int, rate: int) -> None:
    frame = mp3.parse_frame(bytes.fromhex(head))
    assert frame is not None
    assert (frame.bytes_n, frame.samples_n, frame.rate) == (bytes_n, samples_n, rate)


@pytest.mark.parametrize(
    "head", ["", "fffb90", "00000000", "ff1b9000", "ffeb9000", "fff99000", "fffb9c00", "fffb0000", "fffbf000"]
)
def test_what_is_no_frame_header(head: str) -> None:
    assert mp3.parse_frame(bytes.fromhex(head)) is None


@pytest.mark.parametrize(
    "data", [b"", b"\xff" * 100, b"text " * 100, HEAD + bytes(50), HEAD + bytes(413) + b"no more frames"]
)
def test_what_is_no_stream(data: bytes) -> None:
    assert walk(data) is None


@given(st.integers(1, 20))
def test_frames_are_counted(n: int) -> None:
    stream = walk(FRAME * n)
    assert stream is not None
    assert stream.problem is None
    assert stream.seconds == pytest.approx(n * S)


@given(st.integers(2, 12), st.integers(1, 416))
def test_a_cut_last_frame(n: int, cut: int) -> None:
    stream = walk((FRAME * n)[:-cut])
    if n == 2 and cut > 413:  # not even one and a header: no stream
        assert stream is None or stream.problem is not None
    else:
        assert stream is not None
        assert stream.problem == "is cut short: its last MPEG frame is incomplete"


@given(st.integers(3, 12), st.data())
def test_a_declared_length_sees_every_cut(n: int, data: st.DataObject) -> None:
    whole = n * 417
    header = data.draw(
        st.sampled_from(
            [xing(n - 1), xing(n - 1, whole), xing(None, whole), xing(n - 1, whole, b"Info"), vbri(n - 1, whole)]
        )
    )
    complete = walk(header + FRAME * (n - 1))
    assert complete is not None
    assert complete.problem is None
    length = data.draw(st.integers(2 * 417 + 4, whole - 1))
    cut = walk((header + FRAME * (n - 1))[:length])
    assert cut is not None
    assert "is cut short: its header promises" in str(cut.problem)


@pytest.mark.parametrize(
    "header", [xing(9, 10 * 417), xing(10, 10 * 417), xing(9, 11 * 417), xing(), vbri(0, 0), xing(0, 0)]
)
def test_encoders_disagree_by_one_frame_on_what_they_count(header: bytes) -> None:
    stream = walk(header + FRAME * 9)
    assert stream is not None
    assert stream.problem is None


@pytest.mark.parametrize(
    "tail", [b"TAG" + bytes(125), b"APETAGEX" + bytes(50), bytes(500), b"LYRICSBEGIN...LYRICS200", b"\0", b"junk" * 30]
)
def test_what_follows_the_frames_is_no_loss(tail: bytes) -> None:
    stream = walk(FRAME * 5 + tail)
    assert stream is not None
    assert stream.problem is None
    assert stream.seconds == pytest.approx(5 * S)


def test_the_tail_of_a_header() -> None:
    stream = walk(FRAME * 5 + HEAD[:2])
    assert stream is not None
    assert stream.problem == "is cut short: its last MPEG frame is incomplete"


def test_a_gap_between_frames() -> None:
    stream = walk(FRAME * 5 + b"gap" * 10 + FRAME * 5)
    assert stream is not None
    assert stream.problem == f"is damaged: 30 bytes at byte {5 * 417} are not MPEG audio"


@pytest.mark.parametrize("tag", [b"TAG" + bytes(125), b"ID3\x04\0\0\0\0\0\x20" + bytes(32), b"APETAGEX" + bytes(40)])
def test_recordings_joined_with_their_tags(tag: bytes) -> None:
    stream = walk(FRAME * 5 + tag + FRAME * 5)
    assert stream is not None
    assert stream.problem == "holds several MPEG recordings, one after another"


def test_a_stream_behind_padding() -> None:
    stream = walk(bytes(100) + FRAME * 5)
    assert stream is not None
    assert stream.problem is None


@pytest.mark.parametrize(
    ("head", "length"),
    [
        (b"ID3\x04\0\0\0\0\x01\x00", 138),
        (b"ID3\x04\0\x10\0\0\x01\x00", 148),
        (b"ID3\x04\0\0\x80\0\0\0", 0),
        (b"ID3", 0),
        (b"fLaC\0\0\0\0\0\0", 0),
    ],
)
def test_id3_length(head: bytes, length: int) -> None:
    assert mp3.id3_n(head) == length
