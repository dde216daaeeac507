"""The sound of a file, block by block, and whether it is all that the file promises.

libsndfile decodes where it is exact (PCM, FLAC, Vorbis), FFmpeg the rest. Both play a cut file to where it ends and say
nothing, so what the container promises is compared with what is there:

- bytes, before decoding: the sample chunks of WAV, AIFF, CAF, Wave64 and AU, the boxes of MP4, the segment of Matroska,
  the sizes of AVI and ASF, and every page of Ogg, since FFmpeg and libsndfile skip damaged pages silently;
- samples, after decoding: what FLAC, MP4, Matroska, WavPack and NIST SPHERE promise, and the frames of an MP3.

A promise above what is there is a cut, unless it is the placeholder of a writer that could not go back (0, or more than
any clip), or the size of the whole file in the same header is right. Not visible: a cut between two frames of ADTS AAC
or of an MP3 without a Xing header, two fragments of an MP4, two packets of AMR, AC-3, FLV and MPEG-TS, two pages of an
Ogg stream (it lacks its end mark then, which is a note), and anywhere in live WebM.

Several recordings in one file follow each other, and so do several sample chunks; a gap in the timestamps is silence.
"""

import io
import itertools
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from lalm_agent import ogg
from lalm_agent.errors import DataError

if TYPE_CHECKING:
    import av

Samples = npt.NDArray[np.float32]
Blocks = Generator[tuple[int, Samples], None, None]
MAX_VALUES = 2**30
"""Longest clip, samples times channels: an hour of five channels at 48 kHz, and more than one of stereo at 96 kHz."""
MIN_RATE, MAX_RATE, MAX_CHANNELS = 1_000, 768_000, 64
REENCODE = "get the file again, or convert what is left: ffmpeg -i FILE out.wav"
_BLOCK_N, _WINDOW_N = 1 << 16, 1 << 22
_NOTED_N = 1024
"""So many bytes that nothing accounts for are worth a note."""
_MAX_CHUNKS, _MAX_CHUNK_N, _MAX_HEADER_N = 10_000, 1 << 16, 1 << 20
_ENDLESS = 0x7F000000
"""From here on a size says that its writer did not know it: FFmpeg, SoX, arecord and others differ in the figure."""
_GAP_S, _LATE_S, _RESTART_S, _SLACK_S = 0.05, 0.1, 0.5, 1.5
# A playlist, a script or a subtitle is not audio, and some of FFmpeg's demuxers open other files or addresses.
_DEMUXERS = (
    "aac,ac3,aiff,amr,asf,au,avi,caf,eac3,flac,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpeg,mpegts,nistsphere,"
    "ogg,w64,wav,wv"
)
# Lossless formats whose header holds the duration; elsewhere FFmpeg may estimate it.
_DECLARING = ("nistsphere", "wv")
# Containers that add nothing to the frames of MPEG audio.
_AAC_HEADER_N = 7
_BARE_MPEG = (("mp3", "mp"), ("wav", "mp"))
_TIMED = ("matroska", "mov", "ogg", "mpeg", "flv")
# Their clocks do not start at 0.
_LIVE = ("mpeg",)
# Trimmed by the decoder at most: Opus skips up to 80 ms.
_DELAY_N = {"Matroska": 4800}
_INTEGER_BITS = {"u8": 8, "s16": 16, "s32": 32}
_W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_BOXES = re.compile(rb"ftyp|moov|mdat|free|skip|wide|styp|moof|mfra|sidx|uuid|meta|udta|pdin|prft|emsg|pnot|PICT")
# Kilobits a second by layer: MPEG 1 layer 1, 2, 3; MPEG 2 layer 1, then 2 and 3.
_KBPS = (
    (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)


@dataclass(frozen=True, slots=True)
class _Chunks:
    """How a family of chunked formats writes a chunk: where the first is, the widths, what the size counts.

    form: offset and width of the size of the whole, None where there is none.
    """

    first: int
    data: bytes
    order: Literal["little", "big"]
    form: tuple[int, int] | None = (4, 4)
    id_n: int = 4
    size_n: int = 4
    align: int = 2
    size_counts_head: bool = False


_LAYOUTS = {
    "WAV": _Chunks(12, b"data", "little"),
    "RIFX": _Chunks(12, b"data", "big"),
    "AIFF": _Chunks(12, b"SSND", "big"),
    "CAF": _Chunks(8, b"data", "big", None, size_n=8, align=1),
    "Wave64": _Chunks(40, b"data" + _W64_TAIL, "little", (16, 8), 16, 8, 8, True),
}
# Kind: bytes that start a recording, at this offset from its start, within this pattern from its start.
_STARTS: dict[str, tuple[bytes, int, bytes]] = {
    "WAV": (b"WAVE", 8, rb"(RIFF|RF64|BW64)....WAVE[ -~]{4}"),
    "RIFX": (b"WAVE", 8, rb"RIFX....WAVE[ -~]{4}"),
    "AIFF": (b"AIF", 8, rb"FORM....AIF[FC][ -~]{4}"),
    "CAF": (b"caff", 0, rb"caff\x00\x01\x00\x00desc"),
    "Wave64": (b"riff", 0, rb"riff\x2e\x91\xcf\x11"),
    "AU": (b".snd", 0, rb"\.snd\0\0......\0\0\0[\x01-\x1d]"),
    "FLAC": (b"fLaC", 0, rb"fLaC[\0\x80]\0\0\x22"),
    "Ogg": (b"OggS", 0, rb"OggS\0"),
    "Matroska": (b"\x1aE\xdf\xa3", 0, rb"\x1aE\xdf\xa3.{1,60}?(webm|matroska)"),
    "AVI": (b"AVI LIST", 8, rb"RIFF....AVI LIST"),
    "ASF": (_ASF, 0, re.escape(_ASF)),
    "MP4": (b"ftyp", 4, rb"\0\0\0[\x08-\xff]ftyp[ -~]{4}"),
    "NIST": (b"NIST_1A\n", 0, rb"NIST_1A\n"),
    "FLV": (b"FLV\1", 0, rb"FLV\x01[\x01\x04\x05]\0\0\0\x09"),
    "AMR": (b"#!AMR", 0, rb"#!AMR(-WB)?\n"),
    # The block of sample 0 that comes first among those of several pairs of channels.
    "WavPack": (b"wvpk", 0, rb"wvpk.{12}\0\0\0\0.{5}[%s]" % re.escape(bytes(n for n in range(256) if n & 8))),
    "MP3": (b"ID3", 0, rb"ID3[\x02-\x04]\0[\0-\xf0][\0-\x7f]{4}"),
}
_HEADS = {
    **{kind: re.compile(pattern, re.DOTALL) for kind, (_, _, pattern) in _STARTS.items() if kind != "MP3"},
    "AU": re.compile(rb"\.snd"),
    "Matroska": re.compile(rb"\x1aE\xdf\xa3"),
    "FLAC": re.compile(rb"fLaC"),
    "MP4": re.compile(rb"....(ftyp|moov|mdat|free|skip|wide|styp)", re.DOTALL),
    "WavPack": re.compile(rb"wvpk"),
    "AAC": re.compile(rb"\xff[\xf0\xf1\xf8\xf9]"),
    "MP3": re.compile(rb"\xff[\xfa\xfb\xf2\xf3\xe2\xe3]"),
}


@dataclass(slots=True)
class _Header:
    """What precedes the samples of a chunked file of `file_n` bytes; long_n: bytes of samples by a ds64 chunk."""

    layout: _Chunks
    data: bytearray
    file_n: int
    long_n: int = 0
    long_file_n: int = 0
    byte_rate: int = 0

    def number(self, data: bytes | bytearray, at: int, width: int = 0) -> int:
        return int.from_bytes(data[at : at + (width or self.layout.size_n)], self.layout.order)

    @property
    def is_right(self) -> bool:
        """Whether the size of the whole file is right, so that its writer came back to it."""
        if self.layout.form is None:
            return False
        declared = self.long_file_n or self.number(self.data, *self.layout.form)
        return 0 <= self.file_n - declared - (0 if self.layout.size_counts_head else 8) <= 1

    def add(self, head: bytes, content: bytes, n: int) -> None:
        """Keep a chunk of `n` bytes that is not very long."""
        if head.startswith(b"ds64"):
            self.long_file_n, self.long_n = self.number(content, 0, 8), self.number(content, 8, 8)
            self.data[:4] = b"RIFF"
        elif n <= len(content) and len(self.data) < _MAX_HEADER_N:
            self.byte_rate = self.number(content, 8, 4) if head.startswith(b"fmt ") else self.byte_rate
            self.data += head + content + bytes(-(len(head) + n) % self.layout.align)

    def sealed(self, head: bytes, n: int) -> bytes:
        """All of it for a file that ends with a chunk of `n` bytes of samples."""
        layout = self.layout
        sizes = {len(self.data) + layout.id_n: (layout.size_n, n + len(head) * layout.size_counts_head)}
        if layout.form is not None:
            at, width = layout.form
            sizes[at] = (width, len(self.data) + len(head) + n - (0 if layout.size_counts_head else 8))
        out = self.data + head
        for at, (width, value) in sizes.items():
            out[at : at + width] = min(value, 256**width - 1).to_bytes(width, layout.order)
        return bytes(out)


@dataclass(frozen=True, slots=True)
class _Part:
    """One recording: bytes `start` to `end` of the file, behind `head` where its own header had to be repaired."""

    kind: str
    start: int
    end: int
    head: bytes = b""
    av_only: bool = False


class _View(io.RawIOBase):
    """A part as a file of its own. Seeking before its start returns -1, which FFmpeg takes for a failure."""

    def __init__(self, file: BinaryIO, part: _Part) -> None:
        self._file, self._part, self._at = file, part, 0
        self._n = len(part.head) + part.end - part.start

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        at = (0, self._at, self._n)[whence] + offset
        if at < 0:
            return -1
        self._at = at
        return at

    def readinto(self, buffer: Any) -> int:
        head = self._part.head
        n = max(0, min(len(buffer), self._n - self._at))
        data = head[self._at : self._at + n]
        if not data and n:
            data = _read(self._file, self._part.start + self._at - len(head), n)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def decode(file: BinaryIO, size: int, name: str, max_s: float, notes: list[str]) -> Blocks:
    """Decode a seekable file of `size` bytes; `name` stands in the messages.

    Integers become floats by dividing by 2**(bits - 1), so that the same PCM gives the same floats in any container.

    Args:
        file: open for reading, binary.
        size: in bytes.
        name: of the file, on one line.
        max_s: a header that promises more seconds is refused before anything is decoded.
        notes: what was not as it should be and is no reason to refuse is appended here.

    Yields:
        (rate in Hz, (n_samples, n_channels) float32), a block of at most some seconds.

    Raises:
        DataError: not audio, damaged, cut short, or of a rate or channel count that no clip has.
    """
    for part in _parts(file, size, name, notes):
        if part.kind in (*_LAYOUTS, "AU", "FLAC", "Ogg") and not part.av_only:
            yield from _with_soundfile(file, part, name, max_s, notes)
        else:
            yield from _with_av(file, part, name, max_s, notes)


def check_size(n: int, rate: int, channels: int, name: str, max_s: float) -> None:
    """Refuse a clip of `n` samples a channel that is, or says that it is, too long."""
    if n > max_s * rate:
        hint = f"cut it first, for example: ffmpeg -i FILE -t {max_s:g} out.wav"
        raise DataError(f"{name} is longer than {max_s:g} s", hint)
    if n * channels > MAX_VALUES:
        raise DataError(
            f"{name} holds {channels} channels of {n} samples, too many together", "convert it: ffmpeg -i FILE -ac 1"
        )


# --- what a file is made of -------------------------------------------------------------------------------------------


def _parts(file: BinaryIO, size: int, name: str, notes: list[str]) -> list[_Part]:
    tag_n = _id3_n(_read(file, 0, 10))
    if tag_n >= size:
        raise _cut(name, "its ID3 tag does not end")
    head = _read(file, tag_n, 80)
    kind = next((kind for kind, pattern in _HEADS.items() if pattern.match(head)), "MP3" if tag_n else "")
    if kind == "Ogg":
        return _ogg_parts(file, size, name, notes)
    starts = [0, *(at for at in _later_starts(file, kind, size) if at > tag_n)]
    parts: list[_Part] = []
    for start, end in itertools.pairwise([*starts, size]):
        if kind in _LAYOUTS:
            parts += _chunk_parts(file, _Part(kind, start, end), name, notes)
        else:
            parts.append(_whole(file, _Part(kind, start, end), name, notes))
    return parts


def _later_starts(file: BinaryIO, kind: str, size: int) -> Iterator[int]:
    """Where further recordings of this kind begin."""
    if kind in _STARTS:
        literal, offset, text = _STARTS[kind]
        pattern = re.compile(text, re.DOTALL)
        for at in _offsets_of(file, literal, offset + 1, size):
            if pattern.match(_read(file, at - offset, 80)):
                yield at - offset


def _offsets_of(file: BinaryIO, literal: bytes, start: int, end: int) -> Iterator[int]:
    """Byte offsets of `literal` from `start` on."""
    for base in range(start, end, _WINDOW_N):
        window = _read(file, base, _WINDOW_N + len(literal) - 1)
        at = window.find(literal)
        while at >= 0:
            yield base + at
            at = window.find(literal, at + 1)


def _whole(file: BinaryIO, part: _Part, name: str, notes: list[str]) -> _Part:
    """Compare the bytes that a header declares with those that are there."""
    head, there = _read(file, part.start, 1 << 12), part.end - part.start
    if part.kind == "AU":
        offset, declared = int.from_bytes(head[4:8], "big"), int.from_bytes(head[8:12], "big")
        _samples_n(declared, there - offset, name, notes)
    elif part.kind == "AVI":
        _samples_n(int.from_bytes(head[4:8], "little"), there - 8, name, notes)
    elif part.kind == "ASF":
        at = head.find(_ASF_FILE)
        _samples_n(int.from_bytes(head[at + 40 : at + 48], "little") if at >= 0 else 0, there, name, notes)
    elif part.kind == "FLAC":
        total = int.from_bytes(head[(at := _id3_n(head)) + 18 : at + 26], "big") & ((1 << 36) - 1)
        # An encoder that wrote into a pipe leaves a total of 0, which libsndfile cannot read.
        return _Part("FLAC", part.start, part.end, av_only=not total)
    elif part.kind == "MP4":
        _check_boxes(file, part, name, notes)
    elif part.kind == "Matroska":
        return _matroska(head, part, name)
    return part


def _samples_n(declared: int, there: int, name: str, notes: list[str], right: bool = False, byte_rate: int = 0) -> int:
    """How many bytes of samples there are, where a header declares some.

    right: whether the size of the whole file in the same header is right; byte_rate: bytes a second, 0 if not known.
    """
    if declared == 0 and not right:
        return there
    if declared <= there or declared >= _ENDLESS:
        return min(declared, there)
    round_figure = declared >= 10**8 and declared % 10**6 == 0
    if not (right or round_figure or 0 < 3600 * byte_rate < declared):
        raise _cut(name, f"it declares {declared} bytes of samples and holds {max(there, 0)}")
    notes.append(f"the file declares {declared} bytes of samples and holds {there}: it is heard to its end")
    return there


def _chunk_parts(file: BinaryIO, part: _Part, name: str, notes: list[str]) -> list[_Part]:
    """Each sample chunk with the header before it, repaired where it is not as it should be."""
    layout, parts, repaired = _LAYOUTS[part.kind], list[_Part](), False
    header = _Header(layout, bytearray(_read(file, part.start, layout.first)), part.end - part.start)
    pos, head_n = part.start + layout.first, layout.id_n + layout.size_n
    for _ in range(_MAX_CHUNKS):
        head = _read(file, pos, head_n)
        if len(head) < head_n or not _is_id(head):
            break
        body, declared = pos + head_n, max(header.number(head, layout.id_n) - head_n * layout.size_counts_head, 0)
        if parts and body + declared > part.end and not head.startswith(layout.data):
            break
        if head.startswith(layout.data):
            declared = header.long_n if header.long_n and declared == 0xFFFFFFFF else declared
            right = header.is_right and (declared > 0 or _is_id(_read(file, body, 4)))
            n = _samples_n(declared, part.end - body, name, notes, right, header.byte_rate)
            repaired = repaired or n != declared or bool(parts)
            parts.append(_Part(part.kind, body, body + n, header.sealed(head, n)))
        else:
            n = declared
            header.add(head, _read(file, body, min(n, _MAX_CHUNK_N)), n)
        pos = min(body + n, part.end)
        padding, after = -(pos - part.start) % layout.align, _read(file, pos, 4)
        if padding and layout.align == 2 and _is_id(after):
            # A pad byte is 0, and its writer forgot it.
            repaired = repaired or not parts
        else:
            pos += padding
    if not parts:
        raise _cut(name, f"its {part.kind} header is not followed by samples")
    _note_rest(file, pos, part.end, notes)
    # What follows is not shown to libsndfile, which takes it for samples of some formats.
    return parts if repaired else [_Part(part.kind, part.start, min(pos, part.end))]


def _is_id(data: bytes) -> bool:
    return re.match(rb"[ -~]{4}", data) is not None


def _note_rest(file: BinaryIO, pos: int, end: int, notes: list[str]) -> None:
    if end - pos > _NOTED_N and _read(file, pos, min(end - pos, 1 << 16)).strip(b"\0"):
        notes.append(f"the file ends with {end - pos} bytes that are no part of its recording: they are not heard")


def _check_boxes(file: BinaryIO, part: _Part, name: str, notes: list[str]) -> None:
    """Walk the top-level boxes of an MP4; a size of 0 means to the end of the file, 1 that 64 bits follow."""
    pos, indexed = part.start, False
    while pos < part.end:
        head, there = _read(file, pos, 16), part.end - pos
        if not _BOXES.match(head, 4):
            break
        box_n = int.from_bytes(head[:4], "big")
        box_n = int.from_bytes(head[8:16], "big") if box_n == 1 else box_n or there
        if box_n > there:
            raise _cut(name, f"its last MP4 box declares {box_n} bytes and holds {there}")
        if box_n < 8:
            raise DataError(f"{name} is damaged: an MP4 box of {box_n} bytes at byte {pos}", REENCODE)
        indexed = indexed or head[4:8] == b"moov"
        pos += box_n
    if not indexed:
        raise _cut(name, "an MP4 file without its index (moov)")
    _note_rest(file, pos, part.end, notes)


def _matroska(head: bytes, part: _Part, name: str) -> _Part:
    header_n, pos = _vint(head, 4)
    pos += header_n or 0
    if head[pos : pos + 4] != b"\x18\x53\x80\x67":
        raise _cut(name, "a Matroska file without its segment")
    segment_n, pos = _vint(head, pos + 4)
    there = part.end - part.start - pos
    if segment_n is not None and segment_n > there:
        raise _cut(name, f"it declares {segment_n} bytes of media and holds {max(there, 0)}")
    return part if segment_n is not None else _Part("live Matroska", part.start, part.end)


def _vint(data: bytes, pos: int) -> tuple[int | None, int]:
    """EBML size at `pos` (None: undeclared, all ones) and the offset behind it."""
    width = 9 - (data[pos : pos + 1] or b"\0")[0].bit_length()
    value = int.from_bytes(data[pos : pos + width], "big") & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), pos + width


def _ogg_parts(file: BinaryIO, size: int, name: str, notes: list[str]) -> list[_Part]:
    """Check every page, and part chained recordings. The mark of a whole stream is the flag on its last page."""
    starts, codecs, pos = list[int](), list[list[bytes]](), 0
    next_page: dict[bytes, int] = {}
    data_seen = marked = True
    while pos < size:
        page = _ogg_page(file, pos, name)
        if page is None:
            later = next(_offsets_of(file, b"OggS", pos, size), size)
            if later < size and next_page:
                raise DataError(f"{name} is damaged: bytes that are no Ogg page lie between its pages", REENCODE)
            _note_rest(file, pos, later, notes)
            pos = later
            continue
        serial = page.serial
        if page.is_first:
            if data_seen:
                marked, next_page = marked and not next_page, {}
                starts, codecs, data_seen = [*starts, pos], [*codecs, []], False
            codecs[-1].append(page.content[:7])
        elif next_page.get(serial) != page.number:
            raise DataError(f"{name} is damaged: an Ogg page is missing", REENCODE)
        data_seen = data_seen or not page.is_first or page.is_last
        next_page[serial] = page.number + 1
        if page.is_last:
            del next_page[serial]
        pos += len(page.data)
    if next_page or not marked:
        notes.append("the file lacks the mark of its end: its last sounds may be missing")
    plain = [[b"\x01vorbis"]]
    pairs = zip(itertools.pairwise([*starts, size]), codecs, strict=True)
    return [_Part("Ogg", start, end, av_only=[codec] != plain) for (start, end), codec in pairs]


def _ogg_page(file: BinaryIO, pos: int, name: str) -> ogg.Page | None:
    """The whole page at `pos`, None where there is none."""
    page = ogg.page_at(file, pos)
    if page is not None and not page.is_whole:
        raise _cut(name, "its last Ogg page is incomplete")
    if page is not None and not page.is_sound:
        raise DataError(f"{name} is damaged: the checksum of an Ogg page is wrong", REENCODE)
    return page


def _id3_n(head: bytes) -> int:
    """Length in bytes of an ID3v2 tag that starts with these ten bytes, 0 where there is none."""
    if len(head) < 10 or head[:3] != b"ID3" or max(head[6:10]) > 0x7F:
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size + (10 if head[5] & 0x10 else 0)


def _read(file: BinaryIO, at: int, n: int) -> bytes:
    file.seek(at)
    return file.read(n)


def _cut(name: str, how: str) -> DataError:
    return DataError(f"{name} is cut short: {how}", REENCODE)


# --- decoders ---------------------------------------------------------------------------------------------------------


def _with_soundfile(file: BinaryIO, part: _Part, name: str, max_s: float, notes: list[str]) -> Blocks:
    import soundfile

    try:
        source = soundfile.SoundFile(_View(file, part))
    except soundfile.LibsndfileError as error:
        if part.kind == "FLAC":
            raise _broken(name, part.kind, error.error_string) from error
        # A codec that libsndfile lacks (AC-3 in WAV, AAC in CAF).
        yield from _with_av(file, part, name, max_s, notes)
        return
    with source:
        if source.subtype.startswith("MPEG"):
            # libsndfile only estimates its length, and prints what it skips.
            yield from _with_av(file, part, name, max_s, notes)
            return
        rate, promised, n = source.samplerate, source.frames, 0
        _check_form(rate, source.channels, name)
        check_size(promised, rate, source.channels, name, max_s)
        try:
            while len(block := source.read(_BLOCK_N, dtype="float32", always_2d=True)):
                n += len(block)
                yield rate, block
        except soundfile.LibsndfileError as error:
            raise _broken(name, part.kind, error.error_string) from error
        if n < promised:
            raise _short(name, n, promised)


def _with_av(file: BinaryIO, part: _Part, name: str, max_s: float, notes: list[str]) -> Blocks:
    import av

    options = {"format_whitelist": _DEMUXERS}
    try:
        media = av.open(_View(file, part), "r", options=options, metadata_errors="replace")
    except av.FFmpegError as error:
        raise _broken(name, part.kind, str(error.strerror)) if part.kind else _not_audio(name) from error
    with media:
        try:
            yield from _drain(media, file, part, name, max_s, notes)
        except (av.FFmpegError, ValueError) as error:
            raise _broken(name, part.kind, getattr(error, "strerror", None) or str(error)) from error


def _drain(
    media: "av.container.InputContainer", file: BinaryIO, part: _Part, name: str, max_s: float, notes: list[str]
) -> Blocks:
    import av

    stream = _audio_stream(media, name)
    rate, channels = stream.rate, stream.channels
    mpeg = _Mpeg(file, part, name) if (media.format.name, stream.codec.name[:2]) in _BARE_MPEG else None
    promised_s, clock, longest = _promised_s(media, stream, part, mpeg), _Clock(media, rate), 0
    check_size(round(((promised_s or 0) - _SLACK_S) * rate), rate, channels, name, max_s)
    try:
        for hole_n, frame in _frames(media, stream, mpeg, file, part, name):
            if (frame.sample_rate, frame.layout.nb_channels) != (rate, channels):
                raise DataError(f"{name} changes its sampling rate or channels midway", REENCODE)
            gap_n, longest = clock.gap_n(frame), max(longest, frame.samples)
            if gap_n and hole_n > _NOTED_N:
                raise _broken(name, part.kind, f"{hole_n} bytes hold no packet")
            check_size(clock.n + gap_n, rate, channels, name, max_s)
            for start in range(0, gap_n, _BLOCK_N):
                yield rate, np.zeros((min(_BLOCK_N, gap_n - start), channels), np.float32)
            clock.n += gap_n + frame.samples
            if promised_s is not None and media.format.name in _DECLARING and clock.n >= promised_s * rate:
                # NIST SPHERE is read to the end of the file, whatever follows its samples.
                yield rate, _to_float(frame)[: frame.samples - clock.n + round(promised_s * rate)]
                break
            yield rate, _to_float(frame)
    except av.InvalidDataError:
        # What cannot be decoded behind all that was promised is no part of the recording.
        if not (mpeg.is_all if mpeg else promised_s is not None and clock.n >= promised_s * rate):
            raise
    if mpeg is not None:
        mpeg.check(notes)
    else:
        # The decoder trims encoder delay and the padding of the last frame: two frames are no shortage if it is lossy.
        spare_n = 0 if media.format.name in _DECLARING else 2 * longest + _DELAY_N.get(part.kind, 0)
        clock.check(promised_s, spare_n, name)
    notes += clock.notes()


def _audio_stream(media: "av.container.InputContainer", name: str) -> "av.AudioStream":
    if not media.streams.audio:
        raise DataError(f"{name} has no audio stream", "give a file with sound in it")
    stream = media.streams.audio[0]
    if stream.codec_context is None:
        raise DataError(f"{name} is in a codec that FFmpeg cannot decode", REENCODE)
    _check_form(stream.rate, stream.channels, name)
    return stream


def _frames(
    media: "av.container.InputContainer", stream: Any, mpeg: "_Mpeg | None", file: BinaryIO, part: _Part, name: str
) -> Iterator[tuple[int, "av.AudioFrame"]]:
    """Each frame, and how many bytes of the file before its packet belong to no packet of a single stream."""
    # FFmpeg marks what it read in part. PCM it reads in blocks, of which the last is always partial.
    packed, end = not stream.codec_context.name.startswith("pcm_"), None
    for packet in _packets(media, stream, file, part):
        if packed and packet.is_corrupt:
            raise _broken(name, part.kind, "a packet is marked as corrupt")
        if mpeg is not None and packet.size and not mpeg.takes(bytes(packet)):
            continue
        hole_n = packet.pos - end if None not in (end, packet.pos) and len(media.streams) == 1 else 0
        end = packet.pos + packet.size if packet.pos is not None else end
        yield from ((hole_n, frame) for frame in packet.decode())
    if media.format.name == "aac" and re.fullmatch(rb"\xff.{0,6}", _read(file, part.start + (end or 0), 8), re.DOTALL):
        raise _cut(name, "its last AAC frame is incomplete")


def _packets(media: "av.container.InputContainer", stream: Any, file: BinaryIO, part: _Part) -> Iterator[Any]:
    """The packets of a stream. FFmpeg fails on fewer bytes behind the last AAC frame than a frame's header has."""
    import av

    packets, end = media.demux(stream), 0
    while True:
        try:
            packet = next(packets, None)
        except av.InvalidDataError:
            if media.format.name == "aac" and len(_read(file, part.start + end, _AAC_HEADER_N)) < _AAC_HEADER_N:
                return
            raise
        if packet is None:
            return
        end = packet.pos + packet.size if packet.pos is not None else end
        yield packet


def _promised_s(media: "av.container.InputContainer", stream: Any, part: _Part, mpeg: "_Mpeg | None") -> float | None:
    """What the header says, in seconds; None for formats whose duration FFmpeg only estimates."""
    if mpeg is not None and mpeg.frames_n:
        return mpeg.frames_n * mpeg.samples_n / float(stream.rate)
    if (part.kind == "MP4" or media.format.name in _DECLARING) and stream.duration is not None:
        return float(stream.duration * stream.time_base)
    if part.kind == "Matroska" and len(media.streams) == 1 and media.duration is not None:
        # The duration is that of the longest stream.
        return media.duration / 1e6
    return None


class _Clock:
    """Where the samples of a stream stand by its timestamps. n: samples so far, silence included."""

    def __init__(self, media: "av.container.InputContainer", rate: int) -> None:
        self.n, self.late_s = 0, 0.0
        self._rate, self._timed = rate, media.format.name.startswith(_TIMED)
        self._zero_s = (media.start_time or 0) / 1e6 if media.format.name.startswith(_LIVE) else 0.0
        self._origin: float | None = None
        self._gaps: list[int] = []

    def gap_n(self, frame: "av.AudioFrame") -> int:
        """How many samples are missing before this frame; a few may be rounding or jitter."""
        if not self._timed or frame.time is None:
            return 0
        at = (frame.time - self._zero_s) * self._rate
        if self._origin is None:
            self._origin, self.late_s = at, max(0.0, at / self._rate)
        gap_n = round(at - self._origin) - self.n
        if gap_n < -_RESTART_S * self._rate:
            self._origin = at - self.n
        if gap_n <= _GAP_S * self._rate:
            return 0
        self._gaps.append(gap_n)
        return gap_n

    def check(self, promised_s: float | None, spare_n: int, name: str) -> None:
        """Compare with what the header promises, which counts from 0; `spare_n` samples may be missing."""
        if promised_s is not None and self.n + spare_n < (promised_s - self.late_s) * self._rate:
            raise _short(name, self.n, round(promised_s * self._rate))

    def notes(self) -> Iterator[str]:
        """What the timestamps tell."""
        if self.late_s > _LATE_S:
            yield f"the clip starts {self.late_s:.1f} s late by its timestamps: it is heard from its first sound"
        if self._gaps:
            gaps_s = sum(self._gaps) / self._rate
            yield f"the clip has gaps in its timestamps ({len(self._gaps)}, {gaps_s:.1f} s together), heard as silence"


class _Mpeg:
    """The frames of an MP1, MP2 or MP3, which FFmpeg cuts out of a file and does not compare with its header."""

    def __init__(self, file: BinaryIO, part: _Part, name: str) -> None:
        head = _read(file, part.start + _id3_n(_read(file, part.start, 10)), 1 << 12)
        xing, vbri = re.search(rb"(Xing|Info)\0\0\0([\x01-\x0f])(........)", head, re.DOTALL), head.find(b"VBRI")
        self.samples_n = self.frames_n = self._bytes_n = self._taken_n = self._n = self._junk_n = 0
        self._name = name
        if xing:
            numbers = [int.from_bytes(xing[3][at : at + 4], "big") for at in (0, 4)]
            self.frames_n, self._bytes_n = (numbers.pop(0) if xing[2][0] & bit else 0 for bit in (1, 2))
        elif vbri >= 0:
            self.frames_n, self._bytes_n = (int.from_bytes(head[vbri + at : vbri + at + 4], "big") for at in (14, 10))
        if xing or vbri >= 0:
            # FFmpeg keeps the frame that says so for itself.
            at = head.rfind(b"\xff", 0, xing.start() if xing else vbri)
            self._taken_n, self.samples_n = _mpeg_frame(head[max(at, 0) :]) or (0, 1152)

    @property
    def is_all(self) -> bool:
        """Whether all frames are there that the header promises."""
        return 0 < self.frames_n <= self._n

    def takes(self, packet: bytes) -> bool:
        """Whether a packet is a frame. Other bytes may stand before the first and after the last."""
        frame_n = (_mpeg_frame(packet) or (None,))[0]
        if frame_n is None and len(packet) < 4 and packet[0] == 0xFF:
            frame_n = 4
        if frame_n is None:
            self._junk_n += len(packet) if self._n else 0
            return False
        if self._junk_n:
            how = f"{self._junk_n} bytes between its MPEG frames are no audio"
            raise DataError(f"{self._name} is damaged, or several recordings joined: {how}", REENCODE)
        if frame_n > len(packet):
            raise _cut(self._name, "its last MPEG frame is incomplete")
        self._n, self._taken_n = self._n + 1, self._taken_n + len(packet)
        return True

    def check(self, notes: list[str]) -> None:
        """Compare with the header. Encoders disagree by one frame on both figures: one that is met is enough."""
        too_few, too_small = self._n < self.frames_n, self._taken_n < self._bytes_n
        if (too_small and not self.frames_n) or (too_few and (too_small or not self._bytes_n)):
            promised = f"{self.frames_n} MPEG frames" if self.frames_n else f"{self._bytes_n} bytes"
            raise _cut(
                self._name, f"its header promises {promised}, {self._n} frames of {self._taken_n} bytes are there"
            )
        if self._junk_n > _NOTED_N:
            notes.append(f"the file ends with {self._junk_n} bytes that are no audio: they are not heard")


def _mpeg_frame(head: bytes) -> tuple[int, int] | None:
    """(bytes, samples) of the MPEG audio frame that starts so; None where none does."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer, at, rate_at = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3), head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or rate_at == 3 or at in (0, 15):
        return None
    kbps = _KBPS[layer - 1 if version == 3 else 3 + (layer > 1)][at - 1]
    rate = (44100, 48000, 32000)[rate_at] >> {3: 0, 2: 1, 0: 2}[version]
    samples_n = {1: 384, 2: 1152, 3: 1152 if version == 3 else 576}[layer]
    slot_n = 4 if layer == 1 else 1
    return (samples_n // 8 // slot_n * kbps * 1000 // rate + (head[2] >> 1 & 1)) * slot_n, samples_n


def _to_float(frame: "av.AudioFrame") -> Samples:
    """(n_samples, n_channels) float32 of one frame, planar or packed, integer or float."""
    raw = frame.to_ndarray()
    bits = _INTEGER_BITS.get(frame.format.name.removesuffix("p"))
    samples = raw.T if frame.format.is_planar else raw.reshape(-1, frame.layout.nb_channels)
    if bits is None:
        return samples.astype(np.float32)
    middle = 128 if bits == 8 else 0
    return ((samples.astype(np.float64) - middle) / 2.0 ** (bits - 1)).astype(np.float32)


def _check_form(rate: int, channels: int, name: str) -> None:
    if not MIN_RATE <= rate <= MAX_RATE:
        raise DataError(f"{name} has a sampling rate of {rate} Hz, not {MIN_RATE} to {MAX_RATE}", REENCODE)
    if not 1 <= channels <= MAX_CHANNELS:
        raise DataError(f"{name} has {channels} channels, not 1 to {MAX_CHANNELS}", REENCODE)


def _not_audio(name: str) -> DataError:
    return DataError(f"{name} is not an audio file that can be read", "give a wav, flac, ogg, mp3 or m4a file")


def _broken(name: str, kind: str, reason: str) -> DataError:
    detail = " ".join(reason.split()).rstrip(".")
    return DataError(f"{name} is damaged or cut short: {kind or 'its audio'} cannot be decoded ({detail})", REENCODE)


def _short(name: str, there: int, promised: int) -> DataError:
    return DataError(f"{name} is cut short: its header promises {promised} samples and {there} are there", REENCODE)
