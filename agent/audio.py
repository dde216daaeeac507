"""From a path to a clip: its samples, their hash, and what a model gets of it: one channel at the model's rate.

Nothing is ever silently cut: a file that cannot be decoded whole is refused with one line (`DataError`), a clip is as
long as its file, and what is odd about it is a warning. `lalm_agent.decoding` says what cannot be seen to be missing.
"""

import asyncio
import hashlib
import itertools
import math
import os
import re
import ssl
import stat
import struct
import sys
import time
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lalm_agent.config import DEFAULT_MAX_AUDIO_S
from lalm_agent.decoding import REENCODE, Blocks, Samples, check_size, decode
from lalm_agent.errors import DataError, LalmError, UsageError
from lalm_agent.jobs import run_async
from lalm_agent.records import AudioRef

MAX_S = 3600.0
KEPT_VALUES = 2**24
"""So many values of a clip stay in memory: 64 MiB, 174 s of stereo at 48 kHz. The rest is decoded when it is heard."""
_STORE_CLIPS, _STORE_VALUES = 64, 2**26
_SETTLES_S = 2.0
"""Two writes within the resolution of a file system's clock leave the same time behind."""
MOST_BYTES = 2**30
"""Of a clip that is no file: from standard input or a URL."""
_MOST_REDIRECTS = 5
_URL = re.compile(r"https?://", re.IGNORECASE)
_AUDIO_HINT = "give a wav, flac, ogg, mp3 or m4a file"
_PART_SLACK_S = 0.05
"""So much may the end of a part lie behind the clip's: lengths are shown in tenths of a second."""
_MARGIN_S = 5.0
"""More than resampling looks ahead."""
_AUDIBLE = 1e-3
"""-60 dBFS."""
_HOT = 8.0
"""No recording at a full scale of 1 is 18 dB above it."""
_FULL_SCALES = (2.0**7, 2.0**15, 2.0**23, 2.0**31)
_CANCELLED = 0.05
"""-13 dB: the mean of n independent channels has 1/n of their mean energy, that of channels that cancel far less."""


@dataclass(frozen=True, slots=True)
class Mixing:
    """How the channels become one, measured on all of a clip.

    channel: the only channel that is used, where the mean of all cancels; None for the mean.
    scale: every sample is divided by it; above 1 where floats are not at a full scale of 1.
    peak: the loudest sample of what is left, at the native rate, after that.
    sha256: of the mean as a clip of one channel (see `sha256`): the hash of a mono clip that was saved as stereo.
    """

    channel: int | None
    scale: float
    peak: float
    sha256: str

    def mix(self, samples: Samples) -> Samples:
        """(n_samples, n_channels) to (n_samples,) float32."""
        mixed = mix(samples) if self.channel is None else samples[:, self.channel]
        return mixed if self.scale == 1 else (mixed / self.scale).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """A decoded clip.

    samples: (n_samples, n_channels) float32 at the native rate, read-only: all of the clip, or the start of one of
        more than `KEPT_VALUES` values. Full scale is 1; float files and lossy codecs may exceed it, unclipped.
    warnings: what was odd about the file, a sentence each.
    mixing: by default that of `samples`.
    """

    ref: AudioRef
    samples: Samples
    warnings: tuple[str, ...] = ()
    mixing: Mixing = None  # type: ignore[assignment]
    _mono: dict[int, Samples] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        """Measure what was not measured."""
        if self.mixing is None:
            meter = _Meter(self.ref.rate, self.samples.shape[1])
            meter.add(self.samples)
            object.__setattr__(self, "mixing", meter.mixing())

    @property
    def is_whole(self) -> bool:
        """Whether all samples are in memory."""
        return len(self.samples) >= round(self.ref.seconds * self.ref.rate)

    @property
    def kept_values(self) -> int:
        """How many float32 values this object holds in memory."""
        return self.samples.size + sum(mono.size for mono in list(self._mono.values()))

    def mono(self, rate: int, max_s: float | None = None) -> Samples:
        """What a model gets, at `rate` Hz: (n,) float32, C-contiguous, read-only.

        The mean over the channels, or what `mixing` says. Resampling (soxr, very high quality) rings at edges, so the
        result may exceed 1; it is not clipped. n is n_samples * rate / native rate, rounded, at least 1, and at most
        what `max_s` seconds hold. Of a long clip no more is decoded and resampled than that needs.

        Raises:
            ValueError: `rate` is not positive.
            DataError: a long clip is decoded again, and its file is gone or has changed; or there is no memory for it.
        """
        if rate < 1:
            raise ValueError(f"rate must be positive, not {rate}")
        n, native = round(self.ref.seconds * self.ref.rate), self.ref.rate
        end = None if max_s is None else round(max_s * rate)
        if max_s is not None and n > len(self.samples) >= (head_n := math.ceil((max_s + _MARGIN_S) * native)):
            return _read_only(resample(self.mixing.mix(self.samples[:head_n]), native, rate)[:end])
        if rate not in self._mono:
            with _within_memory(self.ref.path):
                mixed = self.mixing.mix(self.samples) if self.is_whole else None
                whole = self._decoded_again(rate, n) if mixed is None else resample(mixed, native, rate)
            self._mono[rate] = _read_only(whole)
        whole = self._mono[rate]
        # The very array, by which a model's front end knows a clip that it has heard before.
        return whole if end is None or end >= len(whole) else whole[:end]

    def _decoded_again(self, rate: int, n: int) -> Samples:
        """Mix and resample block by block."""
        import soxr

        digest, at = _Digest(), 0
        out = np.zeros(round(n * rate / self.ref.rate) + 1, np.float32)
        # A rate to itself would not be exact.
        resampler = soxr.ResampleStream(self.ref.rate, rate, 1, quality="VHQ") if rate != self.ref.rate else None
        with closing(_blocks(self.ref.path, self.ref.seconds + 1, [])) as blocks:
            for native, block in itertools.chain(blocks, [(self.ref.rate, None)]):
                mixed = np.zeros(0, np.float32) if block is None else self.mixing.mix(block)
                if block is not None:
                    digest.add(native, block)
                made = resampler.resample_chunk(mixed, last=block is None) if resampler is not None else mixed
                out[at : at + len(made)] = made[: len(out) - at]
                at += len(made)
        if digest.hexdigest() != self.ref.sha256:
            raise DataError(f"{self.ref.path} has changed since it was first opened", "ask again about the new clip")
        return out[:at]


class ClipStore:
    """Loads clips and keeps the last few, so that the nodes of a graph share one decoded copy. For several threads.

    A clip is known by its samples: one that was opened under another name is not read again. Nor is a file that has
    not been written to since.

    max_s: longest clip that is accepted, in seconds.
    """

    def __init__(self, max_s: float = DEFAULT_MAX_AUDIO_S) -> None:
        """Start empty."""
        self._max_s = max_s
        self._sounds: OrderedDict[tuple[str, tuple[float, float] | None], Sound] = OrderedDict()
        self._opened: dict[str, tuple[tuple[int, ...], Sound]] = {}
        self._lock = Lock()
        # Threads that open one file at the same time wait for the first of them.
        self._turns = tuple(Lock() for _ in range(_STORE_CLIPS))

    def open(self, path: str) -> Sound:
        """Decode a file and keep it; as long as it is kept, only where the file was written since. Raises as `load`."""
        with self._turns[hash(path) % len(self._turns)]:
            state = _file_state(path)
            before, sound = self._opened.get(path, (None, None))
            if sound is None or before != state:
                sound = load(path, self._max_s)
            self._keep((sound.ref.sha256, None), sound)
            with self._lock:
                kept = set(map(id, self._sounds.values()))
                self._opened = {name: pair for name, pair in self._opened.items() if id(pair[1]) in kept}
                if state is not None and state == _file_state(path):
                    self._opened[path] = state, sound
            return sound

    def get(self, ref: AudioRef, window_s: tuple[float, float] | None = None) -> Sound:
        """The clip that a reference names, or the part of it between two times; decoded again if it was dropped.

        Raises:
            DataError: the file is gone, or is no longer the clip that the reference was made of.
        """
        kept = self._sounds.get((ref.sha256, window_s))
        # A long one reads on in the file that it was opened from, which may be gone where another has the same samples.
        if kept is not None and (kept.is_whole or kept.ref.path == ref.path):
            return kept
        if window_s is not None:
            sound = part_of(self.get(ref), window_s)
            self._keep((ref.sha256, window_s), sound)
            return sound
        sound = self.open(ref.path)
        if sound.ref.sha256 != ref.sha256:
            raise DataError(f"{ref.path} has changed since it was first opened", "ask again about the new clip")
        return sound

    def _keep(self, key: tuple[str, tuple[float, float] | None], sound: Sound) -> None:
        with self._lock:
            self._sounds[key] = sound
            self._sounds.move_to_end(key)
            while len(self._sounds) > 1 and self._holds_too_much():
                self._sounds.popitem(last=False)

    def _holds_too_much(self) -> bool:
        values = sum(sound.kept_values for sound in self._sounds.values())
        return len(self._sounds) > _STORE_CLIPS or values > _STORE_VALUES


def _file_state(path: str) -> tuple[int, ...] | None:
    """Another one after each writing of a file, and for another file of that name; None where it cannot be told yet."""
    try:
        now = os.stat(path)
    except (OSError, ValueError):
        return None
    if abs(time.time() - now.st_mtime) < _SETTLES_S:
        return None
    return now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns


def load(path: str | os.PathLike[str], max_s: float = MAX_S) -> Sound:
    """Decode an audio file whole: any format that libsndfile or FFmpeg reads, any rate, channels and bit depth.

    Of a file with several audio streams (a film) the first is taken. Decoding goes block by block: a long clip takes no
    more memory than `KEPT_VALUES` do.

    Raises:
        DataError: no regular file, not audio, empty, damaged, cut short, longer than `max_s` seconds, with more than
            2**30 samples over its channels, with samples that are no numbers, or too large for the memory.
        UsageError: `max_s` is not a positive number.
    """
    if not (math.isfinite(max_s) and max_s > 0):
        raise UsageError(f"the longest clip must be a positive number of seconds, not {max_s}")
    notes: list[str] = []
    kept, kept_n, digest, meter, rate = list[Samples](), 0, _Digest(), None, 0
    with _within_memory(path), closing(_blocks(path, max_s, notes)) as blocks:
        for rate, block in blocks:
            meter = meter or _Meter(rate, block.shape[1])
            digest.add(rate, block)
            meter.add(block)
            kept_n += block.size
            if kept_n <= KEPT_VALUES or not kept:
                kept.append(block)
        if meter is None:
            raise DataError(f"{_shown(path)} holds no samples", "record it again")
        samples = _read_only(np.ascontiguousarray(np.concatenate(kept)))
    ref = AudioRef(os.fspath(path), digest.hexdigest(), meter.n / rate, rate, samples.shape[1])
    mixing = meter.mixing()
    return Sound(ref, samples, (*notes, *meter.warnings(mixing)), mixing)


def part_of(sound: Sound, window_s: tuple[float, float]) -> Sound:
    """The part of a clip between two times in seconds: a clip of one channel, mixed as the whole clip is, held whole.

    Its hash, length and peak are the part's own.

    Raises:
        UsageError: the clip has no such part.
        DataError: a long clip is decoded again, and its file is gone.
    """
    (start_s, end_s), rate = window_s, sound.ref.rate
    if not 0 <= start_s < end_s <= sound.ref.seconds + _PART_SLACK_S or round(start_s * rate) == round(end_s * rate):
        message = f"the clip has no part from {start_s:g} to {end_s:g} s: it is {sound.ref.seconds:.1f} s long"
        raise UsageError(message, "give START-END in seconds, such as 0-10")
    start, end, at = round(start_s * rate), round(end_s * rate), 0
    if end <= len(sound.samples):
        pieces = [sound.samples[start:end]]
    else:
        pieces = []
        with _within_memory(sound.ref.path), closing(_blocks(sound.ref.path, sound.ref.seconds + 1, [])) as blocks:
            for _, block in blocks:
                pieces.append(block[max(0, start - at) : max(0, end - at)])
                at += len(block)
    samples = _read_only(np.concatenate([sound.mixing.mix(piece) for piece in pieces])[:, None])
    ref = AudioRef(sound.ref.path, sha256(samples, rate), len(samples) / rate, rate, 1)
    return Sound(ref, samples, sound.warnings)


_SECONDS = r"(\d+(?:\.\d+)?) ?(?:s|seconds?)?"
_SPAN = re.compile(rf"(?:from )?{_SECONDS} ?(?:-|–|to|until) ?{_SECONDS}|(?:the )?(first|last) {_SECONDS}")


def read_span(text: str, seconds: float) -> tuple[float, float] | None:
    """`10-20`, `10 to 20 s`, `the first 10 s` or `last 5 s` as (start, end) in seconds; None where it is no such text.

    seconds: the length of the clip, from whose end `last` counts; infinite where it is not known, so that `last` is
    no such text.
    """
    match = _SPAN.fullmatch(text.strip().lower().rstrip("."))
    if match is None:
        return None
    start, end, edge, length = match.groups()
    if edge is None:
        span = float(start), float(end)
    else:
        span = (0.0, float(length)) if edge == "first" else (max(0.0, seconds - float(length)), seconds)
    return span if all(map(math.isfinite, span)) else None


def _blocks(path: str | os.PathLike[str], max_s: float, notes: list[str]) -> Blocks:
    """(rate, samples) of each block of a file, all of one rate and number of channels; what `load` raises."""
    name, form, n = _shown(path), None, 0
    try:
        size = _regular_size(path, name)
        with Path(path).open("rb") as file, closing(decode(file, size, name, max_s, notes)) as blocks:
            for rate, block in blocks:
                form, n = form or (rate, block.shape[1]), n + len(block)
                if form != (rate, block.shape[1]):
                    raise DataError(f"{name} holds recordings of different rates or channels", REENCODE)
                check_size(n, *form, name, max_s)
                if not np.isfinite(block).all():
                    hint = "write it again without NaN or infinity"
                    raise DataError(f"{name} holds samples that are not finite numbers", hint)
                yield rate, block
    except FileNotFoundError:
        raise DataError(*_absence(os.fspath(path), name)) from None
    except PermissionError:
        raise DataError(f"{name} may not be read", "check its permissions") from None
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror}", "check the path") from error


def _absence(path: str, name: str) -> tuple[str, str]:
    """Message and hint for a path without a file."""
    if path == "-":
        return "a clip is a file: standard input is not read", "write it to a file first"
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", path):
        hint = ", or `ask --allow-url`" if _URL.match(path) else ""
        return f"{name} is a URL: a clip is a file on this machine", f"download it first{hint}"
    return f"{name} does not exist", "check the path"


@contextmanager
def _within_memory(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        hint = "cut it, or convert it: ffmpeg -i FILE -ac 1 -ar 16000 out.wav"
        raise DataError(f"{_shown(path)} needs more memory than there is", hint) from None


# --- clips that are no files ------------------------------------------------------------------------------------------


def is_file_name(clip: str) -> bool:
    """Whether a clip is neither `-`, which is standard input, nor a URL of http or https."""
    return clip != "-" and not _URL.match(clip)


@contextmanager
def as_files(
    clips: Sequence[str], allow_url: bool = False, timeout_s: float = 120.0, trust_env: bool = False
) -> Iterator[dict[str, str]]:
    """A path for each clip; those that are no files are kept as files in a folder of this process until the end.

    Errors that are raised meanwhile call such a clip by its name.

    allow_url: fetch what stands behind URLs, at most `MOST_BYTES` of each; redirects lead to http and https only, and
        from https to https only. timeout_s: for each wait; a whole clip has three times that.
    trust_env: use the proxies of the environment.

    Raises:
        UsageError: a URL without `allow_url`, standard input twice or where it is a terminal.
        DataError: nothing can be had from a URL, or more than `MOST_BYTES`.
    """
    with TemporaryDirectory(prefix="lalm-agent-", ignore_cleanup_errors=True) as folder:
        if clips.count("-") > 1:
            raise UsageError("standard input holds one clip", "give - once")
        paths = {}
        for number, clip in enumerate(dict.fromkeys(clips)):
            path = clip if is_file_name(clip) else str(Path(folder) / f"{number}")
            if clip == "-":
                _save(_standard_input(), Path(path), "standard input")
            elif path != clip:
                if not allow_url:
                    raise UsageError(
                        f"{_shown(clip)} is a URL: a clip is a file on this machine", "--allow-url fetches it"
                    )
                run_async(_fetch(clip, Path(path), timeout_s, trust_env))
            paths[clip] = path
        try:
            yield paths
        except LalmError as error:
            for clip, path in paths.items():
                error.message = error.message.replace(path, "standard input" if clip == "-" else _shown(clip))
            raise


def _standard_input() -> Iterator[bytes]:
    if sys.stdin.isatty():
        raise UsageError("standard input is a terminal", "lalm-agent ask - QUESTION < clip.wav")
    return iter(lambda: sys.stdin.buffer.read(2**20), b"")


def _save(blocks: Iterable[bytes], path: Path, name: str) -> None:
    with path.open("wb") as file:
        for block in blocks:
            file.write(block)
            _check_length(file.tell(), name)


def _check_length(n: int, name: str) -> None:
    if n > MOST_BYTES:
        raise DataError(f"{name} holds more than {MOST_BYTES:,} bytes", "cut it, or give a file")


async def _fetch(url: str, path: Path, timeout_s: float, trust_env: bool) -> None:
    """Save what stands behind a URL. Raises DataError."""
    import httpx

    name, secure = _shown(url), url.lower().startswith("https")

    async def check(request: Any) -> None:
        if request.url.scheme not in ({"https"} if secure else {"http", "https"}):
            raise DataError(
                f"{name} leads to {request.url.scheme}, which is not followed", "give the clip's own address"
            )

    settings: dict[str, Any] = {"follow_redirects": True, "max_redirects": _MOST_REDIRECTS, "trust_env": trust_env}
    settings |= {"timeout": timeout_s, "headers": {"User-Agent": "lalm-agent", "Accept-Encoding": "identity"}}
    settings |= {"verify": ssl.create_default_context(), "event_hooks": {"request": [check]}}
    try:
        # httpx's own limit is for each wait, and a server that drips its headers never lets it pass.
        async with (
            asyncio.timeout(3 * timeout_s),
            httpx.AsyncClient(**settings) as client,
            client.stream("GET", url) as response,
        ):
            response.raise_for_status()
            with path.open("wb") as file:
                async for block in response.aiter_bytes():
                    file.write(block)
                    _check_length(file.tell(), name)
    except TimeoutError:
        raise DataError(f"{name} takes too long", "allow it more time: --timeout-s SECONDS") from None
    except httpx.HTTPStatusError as error:
        reply = f"{error.response.status_code} {error.response.reason_phrase}"
        raise DataError(f"{name} cannot be fetched: {reply}", "check the address") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"{name} cannot be fetched: {reason}", "check the address, or try again later") from None


class _Digest:
    """The hash of a clip that comes block by block."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._begun = False

    def add(self, rate: int, block: Samples) -> None:
        if not self._begun:
            self._hash.update(struct.pack("<II", rate, block.shape[1]))
            self._begun = True
        self._hash.update(np.ascontiguousarray(block, dtype="<f4").data)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


class _Meter:
    """Levels of a clip that comes block by block. n: samples so far."""

    def __init__(self, rate: int, channels: int) -> None:
        self.n = 0
        self._rate, self._digest = rate, _Digest()
        # Of the mean, and of each channel; sums of squares by the second.
        self._peaks = np.zeros(channels + 1)
        self._energy: dict[int, NDArray[np.float64]] = defaultdict(lambda: np.zeros(channels + 1))

    def add(self, block: Samples) -> None:
        for start in range(0, len(block), self._rate):
            piece = block[start : start + self._rate]
            mixed = mix(piece)
            self._digest.add(self._rate, mixed[:, None])
            # Made row by row: `concatenate` would keep the order of interleaved channels, whose maxima are slow.
            rows = np.empty((len(self._peaks), len(piece)), np.float32)
            rows[0], rows[1:] = mixed, piece.T
            self._peaks = np.maximum(self._peaks, np.maximum(rows.max(axis=1), -rows.min(axis=1)))
            if len(rows) > 2:
                self._energy[self.n // self._rate] += np.square(rows, dtype=np.float64).sum(axis=1)
            self.n += len(piece)

    def mixing(self) -> Mixing:
        peak, channel = float(self._peaks.max()), None
        scale = next((full for full in _FULL_SCALES if peak <= full), peak) if peak > _HOT else 1.0
        cancelled, audible = self._cancelled(scale)
        if 2 * cancelled > audible:
            energy = np.sum([*self._energy.values()], axis=0)[1:]
            channel = int(np.argmax(energy > 0.9 * energy.max()))  # the first of those that are as loud
        loudest = float(self._peaks[0 if channel is None else channel + 1])
        return Mixing(channel, scale, loudest / scale, self._digest.hexdigest())

    def _cancelled(self, scale: float) -> tuple[int, int]:
        """In how many seconds the mean is far quieter than that of independent channels, of those with any sound."""
        n, floor = len(self._peaks) - 1, (_AUDIBLE * scale) ** 2 * self._rate
        audible = [energy for energy in self._energy.values() if energy[1:].mean() > floor]
        return sum(bool(energy[0] < _CANCELLED * energy[1:].mean() / n) for energy in audible), len(audible)

    def warnings(self, mixing: Mixing) -> Iterator[str]:
        if mixing.scale != 1:
            reach = f"the samples reach {self._peaks.max():.6g} where full scale is 1"
            yield f"{reach}: they are heard divided by {mixing.scale:.6g}"
        cancelled, audible = self._cancelled(mixing.scale)
        if mixing.channel is not None:
            yield f"the channels cancel when they are mixed: only channel {mixing.channel + 1} is heard"
        elif cancelled:
            yield f"the channels cancel when they are mixed, in {cancelled} of {audible} s: these are hardly heard"


def sha256(samples: Samples, rate: int) -> str:
    """Hash of what was decoded, hexadecimal, the same for the same audio in any lossless container.

    Over these bytes: rate in Hz and the number of channels as two little-endian uint32, then the samples as
    little-endian IEEE 754 float32, frames interleaved (all channels of sample 0, all of sample 1, …), not mixed.

    samples: (n_samples, n_channels).
    """
    digest = _Digest()
    digest.add(rate, samples)
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


def _shown(path: str | os.PathLike[str]) -> str:
    """The path as one printable line."""
    text = os.fspath(path)
    return text if text.isprintable() and text else repr(text)


def _read_only(samples: Samples) -> Samples:
    samples.flags.writeable = False
    return samples
