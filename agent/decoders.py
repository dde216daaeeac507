"""Decoding a whole file into samples, bounded in length, through libsndfile or FFmpeg.

Integer formats come out as floats by dividing by 2**(bits - 1), in both decoders, so that the same PCM gives the
same floats whatever it was packed in. Nothing is dropped in silence: a decoder's error, fewer samples than the
header promises, or a change of rate or channels midway is a `DataError`.
"""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from lalm_agent.containers import REENCODE, Container
from lalm_agent.errors import DataError

if TYPE_CHECKING:
    import av

MIN_RATE, MAX_RATE = 1_000, 768_000
MAX_CHANNELS = 64

Samples = npt.NDArray[np.float32]
_BLOCK_N = 1 << 20
_ONLY_SOUNDFILE = ("FLAC", "Ogg")
_INTEGER_BITS = {"u8": 8, "s16": 16, "s32": 32}
# A playlist, a script or a subtitle is not audio, and some of FFmpeg's demuxers open other files or addresses.
_DEMUXERS = (
    "aac,ac3,aiff,amr,asf,au,avi,caf,eac3,flac,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpeg,mpegts,nistsphere,"
    "ogg,w64,wav,wv"
)
# Lossless formats that `containers` leaves alone and whose header holds the duration; elsewhere FFmpeg may estimate it.
_DECLARING = ("nistsphere", "wv")
# Trimmed by the decoder at most: LAME's header has 12 bits each for delay and padding; Opus skips up to 80 ms.
_DELAY_N = {"MP3": 2 * 4095, "Matroska": 4800}
# What encoders add before and after the sound counts in a declared length and not in the decoded one.
_SLACK_S = 1.5


@dataclass(frozen=True, slots=True)
class Decoded:
    """samples: (n_samples, n_channels) float32, not clipped, C-contiguous; rate: in Hz."""

    samples: Samples
    rate: int


def decode(file: BinaryIO, container: Container, name: str, max_s: float) -> Decoded:
    """Decode all of a file that `lalm_agent.containers.inspect` let pass; at most `max_s` seconds are ever decoded.

    Raises:
        DataError: not audio, damaged, cut short, longer than `max_s`, or of a rate or channel count that no clip has.
    """
    if container.seconds is not None:
        check_length(container.seconds - _SLACK_S, name, max_s)
    file.seek(0)
    if container.decoder == "soundfile":
        return _with_soundfile(file, container, name, max_s)
    return _with_av(file, container, name, max_s)


def check_length(seconds: float, name: str, max_s: float) -> None:
    """Refuse a clip that is declared, or has turned out, to be too long."""
    if seconds > max_s:
        hint = f"cut it first, for example: ffmpeg -i FILE -t {max_s:g} out.wav"
        raise DataError(f"{name} is longer than {max_s:g} s", hint)


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


def _with_soundfile(file: BinaryIO, container: Container, name: str, max_s: float) -> Decoded:
    import soundfile

    try:
        source = soundfile.SoundFile(file)
    except soundfile.LibsndfileError as error:
        if container.kind in _ONLY_SOUNDFILE:
            raise _broken(name, container.kind, error.error_string) from error
        # A codec that libsndfile lacks (MP3 in WAV, AAC in CAF).
        file.seek(0)
        return _with_av(file, container, name, max_s)
    with source:
        rate, promised = source.samplerate, source.frames
        _check_form(rate, source.channels, name)
        check_length(promised / rate, name, max_s)
        blocks = (source.read(_BLOCK_N, dtype="float32", always_2d=True) for _ in itertools.count())
        try:
            samples = _join(blocks, rate, name, max_s)
        except soundfile.LibsndfileError as error:
            raise _broken(name, container.kind, error.error_string) from error
    if len(samples) < promised:
        raise _short(name, len(samples), promised)
    return Decoded(samples, rate)


def _join(blocks: Iterator[Samples], rate: int, name: str, max_s: float) -> Samples:
    """Concatenate up to the first empty block, and stop as soon as they are too long."""
    kept, total = [np.zeros((0, 1), np.float32)], 0
    for block in blocks:
        if not len(block):
            break
        total += len(block)
        check_length(total / rate, name, max_s)
        kept.append(block)
    return np.ascontiguousarray(np.concatenate(kept[1:] or kept))


class _Source:
    """A file for FFmpeg, which seeks before the start of broken ones; an exception from there would be printed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.read, self.tell = file.read, file.tell

    def seek(self, offset: int, whence: int) -> int:
        """The new position, or -1, which FFmpeg takes for a failure."""
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError):
            return -1


def _with_av(file: BinaryIO, container: Container, name: str, max_s: float) -> Decoded:
    import av

    options = {"format_whitelist": _DEMUXERS}
    with _quiet():
        try:
            media = av.open(_Source(file), "r", options=options, metadata_errors="replace")
        except av.FFmpegError as error:
            raise _broken(name, container.kind, str(error.strerror)) if container.kind else _not_audio(name) from error
        with media:
            try:
                return _drain(media, container, name, max_s)
            except (av.FFmpegError, ValueError) as error:
                raise _broken(name, container.kind, getattr(error, "strerror", None) or str(error)) from error


def _drain(media: "av.container.InputContainer", container: Container, name: str, max_s: float) -> Decoded:
    if not media.streams.audio:
        raise DataError(f"{name} has no audio stream", "give a file with sound in it")
    stream = media.streams.audio[0]
    if stream.codec_context is None:
        raise DataError(f"{name} is in a codec that FFmpeg cannot decode", REENCODE)
    rate, channels = stream.rate, stream.channels
    _check_form(rate, channels, name)
    promised_s = _promised_s(media, stream, container)
    check_length((promised_s or 0.0) - _SLACK_S, name, max_s)
    longest = 0
    # FFmpeg marks what it read in part. PCM it reads in blocks, of which the last is always partial.
    packed = not stream.codec_context.name.startswith("pcm_")

    def frames() -> Iterator[Samples]:
        nonlocal longest
        for packet in media.demux(stream):
            if packed and packet.is_corrupt:
                raise _broken(name, container.kind, "a packet is marked as corrupt")
            for frame in packet.decode():
                if (frame.sample_rate, frame.layout.nb_channels) != (rate, channels):
                    raise DataError(f"{name} changes its sampling rate or channels midway", REENCODE)
                longest = max(longest, frame.samples)
                yield _to_float(frame)

    samples = _join(frames(), rate, name, max_s)
    # The decoder trims encoder delay and the padding of the last frame: two frames are no shortage in lossy formats.
    spare_n = 0 if media.format.name in _DECLARING else 2 * longest + _DELAY_N.get(container.kind, 0)
    if promised_s is not None and len(samples) + spare_n < promised_s * rate:
        raise _short(name, len(samples), round(promised_s * rate))
    return Decoded(samples, rate)


def _promised_s(media: "av.container.InputContainer", stream: Any, container: Container) -> float | None:
    """What the header says, in seconds; None for formats whose duration FFmpeg only estimates."""
    if container.seconds is not None:
        return container.seconds
    if (container.kind == "MP4" or media.format.name in _DECLARING) and stream.duration is not None:
        return float(stream.duration * stream.time_base)
    if container.kind == "Matroska" and len(media.streams) == 1 and media.duration is not None:
        # The duration is that of the longest stream.
        return media.duration / 1e6
    return None


def _to_float(frame: "av.AudioFrame") -> Samples:
    """(n_samples, n_channels) float32 of one frame, planar or packed, integer or float."""
    raw = frame.to_ndarray()
    bits = _INTEGER_BITS.get(frame.format.name.removesuffix("p"))
    samples = raw.T if frame.format.is_planar else raw.reshape(-1, frame.layout.nb_channels)
    if bits is None:
        return samples.astype(np.float32)
    middle = 128 if bits == 8 else 0
    return ((samples.astype(np.float64) - middle) / 2.0 ** (bits - 1)).astype(np.float32)


_quiet_lock = threading.Lock()
_quiet_depth = 0
_quiet_level: int | None = None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep FFmpeg from printing. Its log level belongs to the process, so threads share one silence."""
    import av.logging

    global _quiet_depth, _quiet_level
    with _quiet_lock:
        if _quiet_depth == 0:
            _quiet_level = av.logging.get_level()
            av.logging.set_level(None)
        _quiet_depth += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_depth -= 1
            if _quiet_depth == 0:
                av.logging.set_level(_quiet_level)
