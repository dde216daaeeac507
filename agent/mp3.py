"""How much audio an MPEG audio file (MP1, MP2, MP3) says it has, and whether all of it is there.

The decoders resynchronise silently after a gap and play to wherever the file ends, so the frames are
counted here: header by header, no sample is decoded. An encoder's Xing/Info or VBRI header gives the number
of frames and bytes that there should be. Without one only the last frame can be seen to be cut; a file cut
exactly between two frames is then indistinguishable from a shorter file.
"""

from dataclasses import dataclass
from typing import BinaryIO

_KBPS = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_HEAD_N = 4
_SEARCH_N = 1 << 16
_CHAIN_N = 4
_TAIL_TAGS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"3DI")


@dataclass(frozen=True, slots=True)
class Frame:
    """One MPEG audio frame header. bytes_n: length with the header; samples_n: per channel; rate in Hz."""

    bytes_n: int
    samples_n: int
    rate: int
    side_n: int


@dataclass(frozen=True, slots=True)
class Stream:
    """What the walk over a file's frames found.

    seconds: of all whole frames, encoder delay and padding included;
    problem: a predicate ("is cut short: …"), or None where all is there.
    """

    seconds: float
    problem: str | None


def parse_frame(head: bytes) -> Frame | None:
    """Read four bytes as an MPEG audio frame header; None where they are none or the bitrate is free-format."""
    if len(head) < _HEAD_N or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    rate_at, kbps_at = head[2] >> 2 & 3, head[2] >> 4
    if version == 1 or layer == 4 or rate_at == 3 or kbps_at in (0, 15):
        return None
    family = 1 if version == 3 else 2
    bits = _KBPS[(family, layer if family == 1 else min(layer, 2))][kbps_at] * 1000
    rate, pad = _HZ[version][rate_at], head[2] >> 1 & 1
    mono = head[3] >> 6 == 3
    side_n = {(1, False): 32, (1, True): 17, (2, False): 17, (2, True): 9}[(family, mono)]
    if layer == 1:
        return Frame((12 * bits // rate + pad) * 4, 384, rate, side_n)
    samples_n = 576 if layer == 3 and family == 2 else 1152
    return Frame(samples_n // 8 * bits // rate + pad, samples_n, rate, side_n)


def id3_n(head: bytes) -> int:
    """Length in bytes of an ID3v2 tag that starts with the ten bytes `head`, 0 where there is none."""
    if len(head) < 10 or head[:3] != b"ID3" or max(head[6:10]) > 0x7F:
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size + (10 if head[5] & 0x10 else 0)


def find_first(file: BinaryIO, start: int, size: int) -> int | None:
    """Byte offset of the first frame within 64 KiB of `start`; None where there is none.

    Four frames in a row make a stream, because other media holds single look-alikes; so do fewer where the file ends.
    """
    file.seek(start)
    window = file.read(_SEARCH_N)
    at = window.find(b"\xff")
    while at >= 0:
        if parse_frame(window[at : at + _HEAD_N]) is not None and _is_chain(file, start + at, size, at == 0):
            return start + at
        at = window.find(b"\xff", at + 1)
    return None


def _is_chain(file: BinaryIO, pos: int, size: int, alone_will_do: bool) -> bool:
    for found in range(_CHAIN_N):
        if pos >= size:
            return found >= 2 or (alone_will_do and pos == size)
        frame = parse_frame(_peek(file, pos))
        if frame is None:
            # A tag, or the last bytes of a cut file: the walk will tell.
            return alone_will_do and (found >= 2 or size - pos < _HEAD_N)
        pos += frame.bytes_n
    return True


def inspect(file: BinaryIO, start: int, size: int) -> Stream | None:
    """Walk the frames from byte `start` (after an ID3v2 tag) to `size`; None where it is not an MPEG audio stream."""
    first = find_first(file, start, size)
    if first is None:
        return None
    declared = _declared(file, first)
    frames_n, seconds, pos = 0, 0.0, first
    problem = None
    while pos < size:
        frame = parse_frame(_peek(file, pos))
        if frame is None or pos + frame.bytes_n > size:
            problem = _break(file, pos, size, frame is not None)
            break
        frames_n, seconds, pos = frames_n + 1, seconds + frame.samples_n / frame.rate, pos + frame.bytes_n
    if declared is not None:
        short = declared.missing(frames_n - 1, size - first)
        problem = short or problem
    return Stream(seconds, problem)


@dataclass(frozen=True, slots=True)
class _Declared:
    """What a Xing/Info or VBRI header promises; None where it does not say."""

    frames_n: int | None
    bytes_n: int | None

    def missing(self, frames_n: int, bytes_n: int) -> str | None:
        """Name the shortage. Encoders disagree by one on both figures, so a file that meets either is whole."""
        too_few = self.frames_n is not None and frames_n < self.frames_n
        too_small = self.bytes_n is not None and bytes_n < self.bytes_n
        if too_few and (too_small or self.bytes_n is None):
            return f"is cut short: its header promises {self.frames_n} MPEG frames, {max(frames_n, 0)} are there"
        if too_small and self.frames_n is None:
            return f"is cut short: its header promises {self.bytes_n} bytes of audio, {bytes_n} are there"
        return None


def _declared(file: BinaryIO, first: int) -> _Declared | None:
    frame = parse_frame(_peek(file, first))
    assert frame is not None
    file.seek(first + _HEAD_N)
    body = file.read(32 + 16)
    xing = body[frame.side_n : frame.side_n + 16]
    if xing[:4] in (b"Xing", b"Info") and len(xing) == 16:
        flags = int.from_bytes(xing[4:8], "big")
        numbers = [int.from_bytes(xing[8:12], "big"), int.from_bytes(xing[12:16], "big")]
        frames_n = numbers.pop(0) if flags & 1 else None
        bytes_n = numbers.pop(0) if flags & 2 else None
        return _Declared(frames_n or None, bytes_n or None)
    vbri = body[32:]
    if vbri[:4] == b"VBRI":
        file.seek(first + _HEAD_N + 32 + 10)
        numbers = [int.from_bytes(file.read(4), "big") for _ in range(2)]
        return _Declared(numbers[1] or None, numbers[0] or None)
    return None


def _peek(file: BinaryIO, pos: int) -> bytes:
    file.seek(pos)
    return file.read(_HEAD_N)


def _break(file: BinaryIO, pos: int, size: int, inside_frame: bool) -> str | None:
    """Say why the chain of frames ends at `pos`: a cut, a gap, or (None) tags and padding that no frame follows."""
    if inside_frame or (size - pos < _HEAD_N and _peek(file, pos)[0] == 0xFF):
        return "is cut short: its last MPEG frame is incomplete"
    file.seek(pos)
    head = file.read(32)
    found = find_first(file, pos + (128 if head.startswith(b"TAG") else id3_n(head)), size)
    if found is None:
        return None
    if head.startswith((b"ID3", *_TAIL_TAGS)):
        # FFmpeg stumbles over the tag.
        return "holds several MPEG recordings, one after another"
    return f"is damaged: {found - pos} bytes at byte {pos} are not MPEG audio"
