"""Pages of an Ogg file (RFC 3533): where each ends, what it carries, and whether its bytes are as they were written."""

import zlib
from dataclasses import dataclass
from typing import BinaryIO

_HEAD_N, _FIRST, _LAST = 27, 2, 4
_MIRROR = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True, slots=True)
class Page:
    """One page. data: all its bytes, fewer than it promises where the file ends within it."""

    data: bytes

    @property
    def is_whole(self) -> bool:
        """Whether the file holds all bytes that the page promises."""
        return len(self.data) >= _HEAD_N and len(self.data) == _HEAD_N + self.data[26] + sum(self._lacing)

    @property
    def is_sound(self) -> bool:
        """Whether the checksum holds."""
        return checksum(self.data[:22] + bytes(4) + self.data[26:]) == int.from_bytes(self.data[22:26], "little")

    @property
    def is_first(self) -> bool:
        """Whether a stream begins here."""
        return bool(self.data[5] & _FIRST)

    @property
    def is_last(self) -> bool:
        """Whether a stream says that it ends here."""
        return bool(self.data[5] & _LAST)

    @property
    def serial(self) -> bytes:
        """Of its stream."""
        return self.data[14:18]

    @property
    def number(self) -> int:
        """Of the page in its stream."""
        return int.from_bytes(self.data[18:22], "little")

    @property
    def content(self) -> bytes:
        """What the page carries; a stream's first page begins with the mark of its codec."""
        return self.data[_HEAD_N + self.data[26] :]

    @property
    def _lacing(self) -> bytes:
        return self.data[_HEAD_N : _HEAD_N + self.data[26]]


def page_at(file: BinaryIO, pos: int) -> Page | None:
    """The page at byte `pos`, perhaps cut by the file's end; None where no page begins."""
    file.seek(pos)
    head = file.read(_HEAD_N)
    if head[:4] != b"OggS"[: len(head)]:
        return None
    lacing = file.read(head[26]) if len(head) == _HEAD_N else b""
    return Page(head + lacing + file.read(sum(lacing)))


def checksum(page: bytes) -> int:
    """CRC of a page whose own checksum is zero: polynomial 0x04C11DB7 from zero, not reflected: zlib's in a mirror."""
    mirrored = zlib.crc32(page.translate(_MIRROR), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)
