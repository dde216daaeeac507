"""From a path to a clip: the samples at their native rate, their hash, and a mono copy at any rate.

Nothing is ever silently cut: a file that cannot be decoded whole is refused with one line (`DataError`), and a clip
is as long as its file. What cannot be seen to be missing is listed in `lalm_agent.containers`.
"""

import hashlib
import math
import os
import stat
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lalm_agent import containers, decoders
from lalm_agent.decoders import Samples
from lalm_agent.errors import DataError, UsageError
from lalm_agent.records import AudioRef

MAX_S = 3600.0
_AUDIO_HINT = "give a wav, flac, ogg, mp3 or m4a file"


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """A decoded clip.

    samples: (n_samples, n_channels) float32 at the native rate, read-only. Full scale is 1; float files and lossy
    codecs may exceed it and are not clipped.
    """

    ref: AudioRef
    samples: Samples
    _mono: dict[int, Samples] = field(default_factory=dict, init=False, repr=False)

    def mono(self, rate: int) -> Samples:
        """The mean over the channels at `rate` Hz: (n,) float32, C-contiguous, read-only, kept for the next call.

        Resampling (soxr, very high quality) rings at edges, so the result may exceed 1; it is not clipped either.
        n is n_samples * rate / native rate, rounded, and at least 1.

        Raises:
            ValueError: `rate` is not positive.
        """
        if rate < 1:
            raise ValueError(f"rate must be positive, not {rate}")
        if rate not in self._mono:
            mixed = mix(self.samples)
            self._mono[rate] = _read_only(resample(mixed, self.ref.rate, rate))
        return self._mono[rate]


def load(path: str | os.PathLike[str], max_s: float = MAX_S) -> Sound:
    """Decode an audio file whole: any format that libsndfile or FFmpeg reads, any rate, channels and bit depth.

    Of a file with several audio streams (a film) the first is taken.

    Raises:
        DataError: no regular file, not audio, empty, damaged, cut short, longer than `max_s` seconds, or with samples
            that are no numbers.
        UsageError: `max_s` is not a positive number.
    """
    if not (math.isfinite(max_s) and max_s > 0):
        raise UsageError(f"the longest clip must be a positive number of seconds, not {max_s}")
    name = _shown(path)
    try:
        size = _regular_size(path, name)
        with Path(path).open("rb") as file:
            decoded = _decode(file, size, name, max_s)
    except FileNotFoundError:
        raise DataError(f"{name} does not exist", "check the path") from None
    except PermissionError:
        raise DataError(f"{name} may not be read", "check its permissions") from None
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror}", "check the path") from error
    samples = _read_only(decoded.samples)
    n, channels = samples.shape
    digest = sha256(samples, decoded.rate)
    return Sound(AudioRef(os.fspath(path), digest, n / decoded.rate, decoded.rate, channels), samples)


def sha256(samples: Samples, rate: int) -> str:
    """Hash of what was decoded, hexadecimal, the same for the same audio in any lossless container.

    Over these bytes: rate in Hz and the number of channels as two little-endian uint32, then the samples as
    little-endian IEEE 754 float32, frames interleaved (all channels of sample 0, all of sample 1, …), not mixed.

    samples: (n_samples, n_channels).
    """
    digest = hashlib.sha256(struct.pack("<II", rate, samples.shape[1]))
    digest.update(np.ascontiguousarray(samples, dtype="<f4").data)
    return digest.hexdigest()


def mix(samples: Samples) -> Samples:
    """Mean over channels, summed in float64: (n_samples, n_channels) to (n_samples,) float32; one channel is exact."""
    total = samples[:, 0].astype(np.float64)
    for channel in range(1, samples.shape[1]):
        total += samples[:, channel]
    mixed: Samples = (total / samples.shape[1]).astype(np.float32)
    return mixed


def resample(samples: Samples, from_rate: int, to_rate: int) -> Samples:
    """(n,) float32 at `from_rate` to (m,) float32 at `to_rate`; m is at least 1 where n is. Not clipped."""
    if from_rate == to_rate:
        return np.ascontiguousarray(samples)
    import soxr

    out = soxr.resample(samples, from_rate, to_rate, quality="VHQ")
    return pad_to(np.ascontiguousarray(out, dtype=np.float32), min(1, len(samples)))


def pad_to(samples: Samples, min_n: int) -> Samples:
    """Zeros at the end up to `min_n` samples along the first axis; long enough samples come back as they are."""
    missing = min_n - len(samples)
    if missing <= 0:
        return samples
    return np.concatenate([samples, np.zeros((missing, *samples.shape[1:]), samples.dtype)])


def _regular_size(path: str | os.PathLike[str], name: str) -> int:
    """Size in bytes. Asked before opening, because opening a FIFO blocks and opening a device may do worse."""
    try:
        status = os.stat(path)
    except ValueError:
        raise DataError(f"{name} is not a path", "check the path") from None
    if stat.S_ISDIR(status.st_mode):
        raise DataError(f"{name} is a folder", "give one audio file")
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{name} is not a regular file", "save the stream to a file first")
    if status.st_size == 0:
        raise DataError(f"{name} is empty", _AUDIO_HINT)
    return status.st_size


def _decode(file: BinaryIO, size: int, name: str, max_s: float) -> decoders.Decoded:
    container = containers.inspect(file, size, name)
    decoded = decoders.decode(file, container, name, max_s)
    if not len(decoded.samples):
        raise DataError(f"{name} holds no samples", "record it again")
    if not np.isfinite(decoded.samples).all():
        raise DataError(f"{name} holds samples that are not finite numbers", "write it again without NaN or infinity")
    return decoded


def _shown(path: str | os.PathLike[str]) -> str:
    """The path as one printable line."""
    text = os.fspath(path)
    return text if text.isprintable() and text else repr(text)


def _read_only(samples: Samples) -> Samples:
    samples.flags.writeable = False
    return samples
