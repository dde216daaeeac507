"""Whether all pages of an Ogg file are there. No packet is decoded.

An Ogg file declares no length; its mark of completeness is the end-of-stream flag on the last page of every
logical stream (RFC 3533 section 6). A file without it is refused as cut short: some live captures lack the flag
too, and they are cut. Page checksums and sequence numbers are checked because decoders drop bad pages silently.
"""

import zlib
from dataclasses import dataclass, field
from typing import BinaryIO

_HEAD_N = 27
_FIRST, _LAST = 2, 4
_GAP = "is damaged: bytes that are no Ogg page lie between its pages"
_MIRROR = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True, slots=True)
class Stream:
    """What the walk over a file's pages found.

    codecs: first bytes of each logical stream's first packet; links: chained recordings, one after another;
    problem: a predicate ("is cut short: …"), or None where all is there.
    """

    codecs: tuple[bytes, ...]
    links: int
    problem: str | None


@dataclass(slots=True)
class _Walk:
    """Which logical streams are open (serial -> next page number) while the pages pass by."""

    next_page: dict[int, int] = field(default_factory=dict)
    codecs: list[bytes] = field(default_factory=list)
    links: int = 0

    def page(self, head: bytes, body: bytes) -> str | None:
        """Take one whole page; returns the problem that it shows, or None."""
        flags, serial = head[5], int.from_bytes(head[14:18], "little")
        number = int.from_bytes(head[18:22], "little")
        if checksum(head[:22] + bytes(4) + head[26:] + body) != int.from_bytes(head[22:26], "little"):
            return "is damaged: the checksum of an Ogg page is wrong"
        if flags & _FIRST:
            self.links += not self.next_page
            self.codecs.append(body[:8])
        elif self.next_page.get(serial) != number:
            return "is damaged: an Ogg page is missing"
        self.next_page[serial] = number + 1
        if flags & _LAST:
            del self.next_page[serial]
        return None


def checksum(data: bytes) -> int:
    """CRC of an Ogg page: polynomial 0x04C11DB7 from zero, bits not reflected, which is zlib's CRC in a mirror."""
    mirrored = zlib.crc32(data.translate(_MIRROR), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)


def inspect(file: BinaryIO, size: int) -> Stream:
    """Walk all pages of an Ogg file of `size` bytes; what follows the last end of stream is not looked at."""
    walk, pos = _Walk(), 0
    problem = None
    while pos < size and problem is None:
        file.seek(pos)
        head = file.read(_HEAD_N)
        if head[:4] != b"OggS"[: len(head)]:
            break
        lacing = file.read(head[26]) if len(head) == _HEAD_N else b""
        body_n = sum(lacing)
        pos += len(head) + len(lacing) + body_n
        if len(head) < _HEAD_N or len(lacing) < head[26] or pos > size:
            problem = "is cut short: its last Ogg page is incomplete"
        else:
            problem = walk.page(head + lacing, file.read(body_n))
    if problem is None and walk.next_page:
        problem = "is cut short: no Ogg page with the end-of-stream flag" if pos >= size else _GAP
    return Stream(tuple(walk.codecs), walk.links, problem)
