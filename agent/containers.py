"""What a media file is by its first bytes, which decoder reads it, and whether it is as long as it says it is.

Decoders play a cut file to where it ends and say nothing, so the lengths that the container declares are compared
with the file before anything is decoded.

Checked: WAV (RIFF, RIFX, RF64, BW64), AIFF, AU, CAF and Wave64 by the size of the sample chunk; MP4/M4A/MOV by the
size of every top-level box and the presence of the index; Matroska/WebM by the size of its segment; AVI and ASF/WMA
by their own size; ADTS AAC by its last frame; MP3 by `lalm_agent.mp3`; Ogg by `lalm_agent.ogg`. The samples that the
headers of FLAC, MP4, Matroska, WavPack and NIST SPHERE promise are counted in `lalm_agent.decoders`.
Not visible: a cut between two frames of ADTS AAC or of an MP3 without a Xing header, between two fragments of a
fragmented MP4, between two packets of AMR, AC-3, FLV and MPEG-TS, and anywhere in live WebM (a Matroska stream of
undeclared size).

A sample chunk whose size is one of the figures that writers into a pipe leave behind (0xFFFFFFFF of FFmpeg,
0x7FFFF000 to 0x80000000 of SoX and arecord) reaches to the end of the file and is valid. So is size 0 followed by
data, if the size of the whole file is not right in the header either; if it is right, 0 means that it is empty.
"""

from dataclasses import dataclass
from typing import BinaryIO, Literal

from lalm_agent import mp3, ogg
from lalm_agent.errors import DataError

REENCODE = "get the file again, or convert what is left: ffmpeg -i FILE out.wav"
_HEAD_N = 48
_MAX_CHUNKS = 10_000
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_LAYER_3 = (b"\xff\xfa", b"\xff\xfb", b"\xff\xf2", b"\xff\xf3", b"\xff\xe2", b"\xff\xe3")
_ADTS = (b"\xff\xf0", b"\xff\xf1", b"\xff\xf8", b"\xff\xf9")


@dataclass(frozen=True, slots=True)
class Container:
    """A file that holds what it declares.

    kind: name for messages, "" where the first bytes are unknown; seconds: duration where a walk over the file gave it.
    """

    kind: str
    decoder: Literal["soundfile", "av"]
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class _Chunks:
    """How a family of chunked formats writes a chunk: where the first is, the widths, what the size counts."""

    kind: str
    first: int
    data: bytes
    order: Literal["little", "big"]
    id_n: int = 4
    size_n: int = 4
    align: int = 2
    size_counts_head: bool = False


_RIFF = _Chunks("WAV", 12, b"data", "little")
_RIFX = _Chunks("WAV", 12, b"data", "big")
_AIFF = _Chunks("AIFF", 12, b"SSND", "big")
_CAF = _Chunks("CAF", 8, b"data", "big", size_n=8, align=1)
_W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_W64 = _Chunks("Wave64", 40, b"data" + _W64_TAIL, "little", 16, 8, 8, True)


def inspect(file: BinaryIO, size: int, name: str) -> Container:
    """Recognise a seekable file of `size` bytes and check what it declares; `name` stands in the messages.

    Raises:
        DataError: the file is shorter than it declares, or damaged in a way that a decoder would hide.
    """
    file.seek(0)
    head = file.read(_HEAD_N)
    tag_n = mp3.id3_n(head)
    if tag_n:
        if tag_n >= size:
            raise _cut(name, "its ID3 tag does not end")
        file.seek(tag_n)
        head = file.read(_HEAD_N)
    layout = _chunk_layout(head)
    if layout is not None:
        return _check_chunks(file, size, name, layout)
    for offset, magic, check in _CHECKS:
        if head[offset:].startswith(magic):
            return check(file, size, name)
    return _check_mpeg(file, tag_n, size, name)


def _cut(name: str, how: str) -> DataError:
    return DataError(f"{name} is cut short: {how}", REENCODE)


def _chunk_layout(head: bytes) -> _Chunks | None:
    form, kind = head[:4], head[8:12]
    if kind == b"WAVE":
        return {b"RIFF": _RIFF, b"RF64": _RIFF, b"BW64": _RIFF, b"RIFX": _RIFX}.get(form)
    if form == b"FORM" and kind in (b"AIFF", b"AIFC"):
        return _AIFF
    if form == b"caff":
        return _CAF
    if form == b"riff" and head[4:8] == bytes.fromhex("2e91cf11"):
        return _W64
    return None


def _check_chunks(file: BinaryIO, size: int, name: str, layout: _Chunks) -> Container:
    """Compare the sample chunk with the file. Chunks behind it hold no samples and may be cut."""
    head_n, pos, long_size = layout.id_n + layout.size_n, layout.first, None
    for _ in range(_MAX_CHUNKS):
        file.seek(pos)
        head = file.read(head_n)
        if len(head) < head_n:
            break
        declared = int.from_bytes(head[layout.id_n :], layout.order) - (head_n if layout.size_counts_head else 0)
        if head.startswith(b"ds64"):
            long_size = int.from_bytes(file.read(16)[8:], "little")
        if head[: layout.id_n] == layout.data:
            if long_size is not None and declared == 0xFFFFFFFF:
                declared = long_size
            return _check_samples(file, name, layout, declared, size - pos - head_n)
        pos += head_n + max(declared, 0)
        pos += -pos % layout.align
    raise _cut(name, f"its {layout.kind} header is not followed by samples")


def _check_samples(file: BinaryIO, name: str, layout: _Chunks, declared: int, there: int) -> Container:
    if declared == 0 and there > 0 and not _knows_its_size(file, layout):
        # libsndfile takes the zero at its word; FFmpeg reads to the end of the file.
        return Container(layout.kind, "av")
    if declared > there and not _from_a_pipe(declared, layout.size_n):
        raise _cut(name, f"it declares {declared} bytes of samples and holds {there}")
    return Container(layout.kind, "soundfile")


def _from_a_pipe(declared: int, width: int) -> bool:
    if width == 8:
        return declared >= 1 << 63
    return declared == 0xFFFFFFFF or 0x7FFFF000 - 0xFF <= declared <= 0x80000000


def _knows_its_size(file: BinaryIO, layout: _Chunks) -> bool:
    """Whether the size of the whole file in the header (RIFF, FORM) is right, so that its writer came back to it."""
    if layout.kind not in ("WAV", "AIFF"):
        return True
    end = file.seek(0, 2)
    file.seek(4)
    return 0 <= end - 8 - int.from_bytes(file.read(4), layout.order) <= 1


def _check_au(file: BinaryIO, size: int, name: str) -> Container:
    file.seek(4)
    head = file.read(8)
    offset, declared = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:], "big")
    if declared > size - offset and declared != 0xFFFFFFFF:
        raise _cut(name, f"it declares {declared} bytes of samples and holds {max(size - offset, 0)}")
    return Container("AU", "soundfile")


def _check_avi(file: BinaryIO, size: int, name: str) -> Container:
    file.seek(4)
    declared = int.from_bytes(file.read(4), "little")
    if declared > size - 8 and not _from_a_pipe(declared, 4):
        raise _cut(name, f"it declares {declared} bytes of media and holds {size - 8}")
    return Container("AVI", "av")


def _check_asf(file: BinaryIO, size: int, name: str) -> Container:
    """Look for the file properties in the header: GUID, size (8 bytes), file id (16), size of the file (8)."""
    file.seek(0)
    header = file.read(1 << 16)
    at = header.find(_ASF_FILE)
    declared = int.from_bytes(header[at + 40 : at + 48], "little") if at >= 0 else 0
    if declared > size:
        raise _cut(name, f"it declares {declared} bytes and holds {size}")
    return Container("ASF", "av")


def _check_flac(file: BinaryIO, size: int, name: str) -> Container:
    file.seek(0)
    start = mp3.id3_n(file.read(10))
    file.seek(start + 18)
    total = int.from_bytes(file.read(8), "big") & ((1 << 36) - 1)
    # An encoder that wrote into a pipe leaves a total of 0, which libsndfile cannot read.
    return Container("FLAC", "soundfile" if total else "av")


def _check_adts(file: BinaryIO, size: int, name: str) -> Container:
    """Walk the frames: ADTS declares no total, but the last frame can be seen to be cut."""
    pos = 0
    while pos < size:
        file.seek(pos)
        head = file.read(7)
        if not head.startswith(_ADTS if len(head) > 1 else b"\xff"):
            break  # a tag
        frame_n = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5 if len(head) == 7 else 7
        if frame_n > size - pos:
            raise _cut(name, "its last AAC frame is incomplete")
        pos += max(frame_n, 7)
    return Container("AAC", "av")


def _check_ogg(file: BinaryIO, size: int, name: str) -> Container:
    stream = ogg.inspect(file, size)
    if stream.problem is not None:
        raise DataError(f"{name} {stream.problem}", REENCODE)
    if stream.links > 1:
        # Decoders play the first recording only, or glue the others on with extra samples.
        hint = "split it, or convert it to one stream: ffmpeg -i FILE out.wav"
        raise DataError(f"{name} holds {stream.links} Ogg recordings one after another", hint)
    plain = len(stream.codecs) == 1 and stream.codecs[0].startswith((b"\x01vorbis", b"\x7fFLAC"))
    return Container("Ogg", "soundfile" if plain else "av")


def _check_mpeg(file: BinaryIO, start: int, size: int, name: str) -> Container:
    stream = mp3.inspect(file, start, size)
    if stream is None:
        file.seek(start)
        # Less than two frames of an MP3, or something else that FFmpeg may know.
        return Container("MP3" if file.read(2) in _LAYER_3 else "", "av")
    if stream.problem is not None:
        raise DataError(f"{name} {stream.problem}", REENCODE)
    return Container("MP3", "av", stream.seconds)


def _check_boxes(file: BinaryIO, size: int, name: str) -> Container:
    """Walk the top-level boxes of an MP4; a size of 0 means to the end of the file, 1 that 64 bits follow."""
    pos, indexed = 0, False
    for _ in range(_MAX_CHUNKS):
        if pos >= size:
            break
        file.seek(pos)
        head = file.read(16)
        box_n = int.from_bytes(head[:4], "big")
        if box_n == 1:
            box_n = int.from_bytes(head[8:16], "big")
        if box_n == 0 and len(head) >= 8:
            box_n = size - pos
        if len(head) < 8 or box_n > size - pos:
            raise _cut(name, f"its last MP4 box declares {box_n} bytes and holds {size - pos}")
        if box_n < 8:
            raise DataError(f"{name} is damaged: an MP4 box of {box_n} bytes at byte {pos}", REENCODE)
        indexed = indexed or head[4:8] == b"moov"
        pos += box_n
    if not indexed:
        raise _cut(name, "an MP4 file without its index (moov)")
    return Container("MP4", "av")


def _check_matroska(file: BinaryIO, size: int, name: str) -> Container:
    pos = 4
    header_n, pos = _vint(file, pos)
    pos += header_n or 0
    file.seek(pos)
    if file.read(4) != b"\x18\x53\x80\x67":
        raise _cut(name, "a Matroska file without its segment")
    segment_n, pos = _vint(file, pos + 4)
    if segment_n is not None and segment_n > size - pos:
        raise _cut(name, f"it declares {segment_n} bytes of media and holds {max(size - pos, 0)}")
    return Container("Matroska" if segment_n is not None else "live Matroska", "av")


def _vint(file: BinaryIO, pos: int) -> tuple[int | None, int]:
    """EBML size at `pos` (None: undeclared, all ones) and the offset behind it."""
    file.seek(pos)
    first = file.read(1) or b"\x00"
    width = 9 - first[0].bit_length()
    body = (first + file.read(width - 1))[:8]
    value = int.from_bytes(body, "big") & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), pos + width


_CHECKS = (
    (0, b"fLaC", _check_flac),
    (0, b"OggS", _check_ogg),
    (0, b".snd", _check_au),
    (0, b"\x1a\x45\xdf\xa3", _check_matroska),
    (8, b"AVI ", _check_avi),
    (0, bytes.fromhex("3026b2758e66cf11"), _check_asf),
    (4, (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp"), _check_boxes),
    (0, _ADTS, _check_adts),
)
