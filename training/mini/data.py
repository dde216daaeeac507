"""Training clips as features: synthetic ones and real recordings, kept on disk and changed a little in training.

A shard of the feature cache is `NAME.npy` (all frames one after another, float16, read by memory map) beside `NAME.pkl`
(the clips without their samples). The `.npy` is renamed into place last, so a shard either is whole or is not there:
that makes the making resumable. `NAME.u64` holds the hashes of its clips for `pretrained`.
"""

import csv
import pickle
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from lalm_agent import audio
from lalm_agent.artefacts import write_whole
from lalm_agent.errors import DataError
from lalm_agent.jobs import ResumableTask, TaskObserver, run_tasks
from lalm_agent.models.pretrained_clips import clips_bytes
from lalm_agent.records import AudioType
from lalm_agent.training.mini.recipe import MIN_SECONDS, RecipePlan, RunFolders, Say, Shape
from lalm_agent.training.synth.benchmark import pcm16
from lalm_agent.training.synth.clips import FAINT_DB, drown, make_clip, make_silence
from lalm_agent.training.synth.records import SAMPLE_RATE, Clip, Facts, Level, Pool, Samples, SoundFacts, Split

if TYPE_CHECKING:
    from transformers import WhisperFeatureExtractor

Mel = NDArray[np.float32]

HASHES_SUFFIX = ".u64"
_REPORT_EVERY_S = 10.0


class ClipKind(StrEnum):
    """How a clip came to be, as far as the targets depend on it."""

    CLEAR = "clear"
    FAINT = "faint"
    DROWNED = "drowned"
    SILENCE = "silence"
    REAL = "real"


@dataclass(frozen=True, slots=True)
class StoredClip:
    """A clip whose sound is kept as features. `clip.samples` is empty; frames: how many mel frames it has.

    label: the sound class of a real recording where the synthesiser has the same class.
    """

    clip: Clip
    frames: int
    kind: ClipKind
    label: str | None = None


@dataclass(frozen=True, slots=True)
class TrainingClip:
    """One entry of the cache: mel (frames, mel_bins) float16, memory-mapped."""

    mel: NDArray[np.float16]
    stored: StoredClip


# --- features ---------------------------------------------------------------------------------------------------------

FLOOR = -1.5
"""The value of digital silence after Whisper's scaling: (log10(1e-10) + 4) / 4."""
RANGE = 2.0
"""Whisper's scaling clips everything more than this below the loudest bin (8 decades / 4)."""


def feature_extractor(shape: Shape) -> "WhisperFeatureExtractor":
    """The extractor that is saved with the model."""
    from transformers import WhisperFeatureExtractor

    return WhisperFeatureExtractor(
        feature_size=shape.mel_bins,
        sampling_rate=SAMPLE_RATE,
        hop_length=shape.hop,
        chunk_length=shape.window_s,
        n_fft=shape.n_fft,
        padding_value=0.0,
    )


def log_mel(extractor: Any, samples: Samples) -> NDArray[np.float16]:
    """Log-mel frames of a clip, exactly those that the exported processor computes: (frames, mel_bins) float16.

    extractor: of `feature_extractor`. samples: (n,) float32 at 16 kHz; what lies beyond the window is dropped, and
    silence comes behind a clip that is shorter than the model can take.
    """
    made = extractor(
        np.pad(samples, (0, max(0, int(MIN_SECONDS * SAMPLE_RATE) - len(samples)))),
        sampling_rate=SAMPLE_RATE,
        padding="max_length",
        truncation=True,
        return_attention_mask=True,
        return_tensors="np",
    )
    frames = int(made["attention_mask"][0].sum())
    return np.ascontiguousarray(made["input_features"][0][:, :frames].T, dtype=np.float16)


# --- the cache --------------------------------------------------------------------------------------------------------


def write_shard(folder: Path, name: str, made: Iterable[tuple[NDArray[np.float16], StoredClip]]) -> None:
    """Write a shard; what was there under this name is replaced."""
    mels, stored = zip(*made, strict=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.pkl").write_bytes(pickle.dumps(list(stored)))
    part = folder / f"{name}.part"
    with part.open("wb") as out:
        np.save(out, np.concatenate(mels))
    part.replace(folder / f"{name}.npy")


def read_shards(folder: Path, names: Sequence[str]) -> list[TrainingClip]:
    """All items of the named shards in order.

    Raises:
        DataError: a shard is missing, of another version, or its two files do not belong together.
    """
    items: list[TrainingClip] = []
    hint = f"delete {folder} and run again"
    for name in names:
        try:
            frames = np.load(folder / f"{name}.npy", mmap_mode="r")
            stored: list[StoredClip] = pickle.loads((folder / f"{name}.pkl").read_bytes())
        except (OSError, EOFError, ValueError, pickle.UnpicklingError, ImportError, AttributeError) as error:
            raise DataError(f"feature shard {name} cannot be read: {error}", hint) from error
        ends = np.cumsum([entry.frames for entry in stored])
        if ends[-1] != len(frames):
            raise DataError(f"feature shard {name} is not whole", hint)
        items += [
            TrainingClip(frames[end - entry.frames : end], entry) for end, entry in zip(ends, stored, strict=True)
        ]
    return items


def mel_statistics(items: Sequence[TrainingClip], every: int = 20) -> tuple[Mel, Mel]:
    """Per-mel mean and deviation over one clip in `every`: two (mel_bins,) float32 arrays."""
    frames = np.concatenate([np.asarray(item.mel, dtype=np.float32) for item in items[::every]])
    return frames.mean(0), frames.std(0) + 0.05


def make_features(folders: RunFolders, plan: RecipePlan, say: Say) -> tuple[str, ...]:
    """Make the shards that are not there yet with `plan.workers` processes; returns the names of all."""
    names = (*shard_names(plan), *(["real"] if folders.real else []))
    left = [name for name in names if not (folders.cache / f"{name}.npy").is_file()]
    if folders.real and "real" in left:
        write_shard(folders.cache, left.pop(), real_items(folders.real, plan.shape, plan.seed))
        say("features: real recordings done")
    in_shards("features", partial(_make_shard, folders.cache, plan), left, plan, say)
    return names


def _make_shard(cache: Path, plan: RecipePlan, name: str) -> None:
    extractor = feature_extractor(plan.shape)
    hashes: list[bytes | None] = []

    def items() -> Iterator[tuple[NDArray[np.float16], StoredClip]]:
        for clip, kind in shard_clips(plan, name):
            hashes.append(clip_hash(clip.samples))
            yield _stored(extractor, clip, kind)

    write_shard(cache, name, items())
    write_hashes(cache / f"{name}{HASHES_SUFFIX}", hashes)


def _stored(
    extractor: Any, clip: Clip, kind: ClipKind, label: str | None = None
) -> tuple[NDArray[np.float16], StoredClip]:
    mel = log_mel(extractor, clip.samples)
    return mel, StoredClip(replace(clip, samples=np.zeros(0, dtype=np.float32)), len(mel), kind, label)


def shard_names(plan: RecipePlan) -> list[str]:
    """What the files of the synthetic shards are called, by number."""
    return [f"synthetic-{plan.seed}-{shard:05d}" for shard in range(max(1, round(plan.clips / plan.shard_clips)))]


def shard_clips(plan: RecipePlan, name: str) -> Iterator[tuple[Clip, ClipKind]]:
    """The clips of a shard. The clips of runs of different seeds never meet."""
    first = plan.seed * _SEEDS_PER_RUN + shard_names(plan).index(name) * plan.shard_clips
    return map(synthetic, range(first, first + plan.shard_clips))


def in_shards(what: str, work: Callable[[str], None], left: Sequence[str], plan: RecipePlan, say: Say) -> None:
    """Do the work for each shard that is left, in `plan.workers` processes. what: how its progress lines begin."""
    tasks = [ResumableTask(name, name) for name in left]
    run_tasks(tasks, partial(partial, work), plan.workers, _Countdown(what, plan, len(left), say))


class _Countdown(TaskObserver):
    """Says every ten seconds, and at the end, how many shards are done and how long the rest takes."""

    def __init__(self, what: str, plan: RecipePlan, left: int, say: Say) -> None:
        self._what, self._plan, self._left, self._say = what, plan, left, say
        self._done, self._started = 0, time.monotonic()
        self._told = self._started

    def ended(self, task: ResumableTask, result: Any, seconds: float) -> None:
        """A shard is done."""
        self._done += 1
        now = time.monotonic()
        if now - self._told >= _REPORT_EVERY_S or self._done == self._left:
            self._told, rate = now, self._done / max(1e-9, now - self._started)
            total, left = len(shard_names(self._plan)), self._left - self._done
            speed = f"{rate * self._plan.shard_clips:.0f} clips/s, {left / rate:.0f} s left"
            self._say(f"{self._what}: {total - left} of {total} shards, {speed}")


def clip_hash(samples: Samples) -> bytes | None:
    """The hash of what a 16-bit WAV of samples (n,) decodes to; None for digital silence, which says nothing."""
    pcm = pcm16(samples)
    if not pcm.any():
        return None
    # The decoder's scale is 1/32768, the writer's 32767.
    decoded = (pcm.astype(np.float32) / np.float32(32768))[:, None]
    return bytes.fromhex(audio.sha256(decoded, SAMPLE_RATE))


def write_hashes(path: Path, hashes: Iterable[bytes | None]) -> None:
    """Write the hashes that there are, whole or not at all.

    Raises:
        StorageError: that failed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, clips_bytes(digest for digest in hashes if digest is not None))


# --- synthetic clips --------------------------------------------------------------------------------------------------

SILENCE = Facts(AudioType.SOUND, "silence", None, (), (), ("sound_event", "instrument", "word"), SoundFacts(()))
"""What is known about a silent clip: that nothing is in it."""
_SEEDS_PER_RUN = 10_000_000
_SYNTHETIC_STREAM, _REAL_STREAM = 21, 23
_SILENT, _DROWNED, _FAINT = 0.02, 0.04, 0.1
"""Shares of the clips."""


def synthetic(seed: int) -> tuple[Clip, ClipKind]:
    """The training clip of this seed: from the synthesiser, a few of them faint, drowned or silent."""
    rng = np.random.default_rng([_SYNTHETIC_STREAM, seed])
    chance = rng.random()
    if chance < _SILENT:
        return _clip(make_silence(seed), SILENCE, seed), ClipKind.SILENCE
    clip = make_clip(seed, Split.TRAIN)
    if chance < _SILENT + _DROWNED:
        return drown(clip, rng), ClipKind.DROWNED
    if chance < _SILENT + _DROWNED + _FAINT:
        return drown(clip, rng, float(rng.uniform(*FAINT_DB))), ClipKind.FAINT
    return clip, ClipKind.CLEAR


def _clip(samples: Samples, facts: Facts, seed: int = 0) -> Clip:
    return Clip(samples, facts, seed, Pool.TRAIN, Split.TRAIN, None, Level.EASY)


# --- real recordings --------------------------------------------------------------------------------------------------

ESC10, SONIC_PI = "esc10", "sonicpi"
"""The parts of the folder that are used: their licences allow it with attribution, which the model card gives."""
SYNTHETIC_NAMES = {
    "rain": "rain",
    "sea waves": "sea waves",
    "baby cry": "baby crying",
    "clock tick": "clock ticking",
    "person sneeze": "sneezing",
    "helicopter": "helicopter",
    "chainsaw": "chainsaw",
    "fire crackling": "fire crackling",
}
"""Labels of ESC-10 -> what the synthesiser calls the same sound."""
_HITS = ("bd", "drum", "hat", "sn", "tabla", "ride", "elec", "perc")
_LOOPS = ("loop", "arovane", "bass")
_NOISES = ("vinyl",)
_CUTS = {ESC10: 3, SONIC_PI: 6}
_BEATS = 500
_HELD_OUT_OF = 10


@dataclass(frozen=True, slots=True)
class Recording:
    """One row of the index. `group`: recordings that must not be split between training and testing."""

    file: Path
    part: str
    label: str
    group: str

    @property
    def prefix(self) -> str:
        """The kind of a sample of Sonic Pi's."""
        return self.label.split("_")[0]

    @property
    def held_out(self) -> bool:
        """Whether the group is kept away from the training; about one in ten is."""
        return crc32(f"{self.part}/{self.group}".encode()) % _HELD_OUT_OF == 0

    @property
    def used(self) -> bool:
        """Whether anything of it is heard in training."""
        return not self.held_out and (self.part == ESC10 or self.prefix in (*_HITS, *_LOOPS, *_NOISES))


def read_index(folder: Path) -> list[Recording]:
    """The recordings of the used parts: `index.csv` (file, modality, label, licence, group, sha256), files beside it.

    Raises:
        DataError: the index is missing or lacks a column.
    """
    try:
        with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        listed = [(row["file"], row["file"].split("/")[0], row["label"], row["group"]) for row in rows]
    except (OSError, KeyError) as error:
        raise DataError(f"real recordings: {folder}/index.csv cannot be used: {error}", "leave --real out") from error
    # Sonic Pi's group is the kind of sample: holding out whole kinds would leave no kind to learn.
    return [
        Recording(folder / name, part, label, group if part == ESC10 else Path(name).stem)
        for name, part, label, group in listed
        if part in (ESC10, SONIC_PI)
    ]


def real_items(folder: Path, shape: Shape, seed: int) -> Iterator[tuple[NDArray[np.float16], StoredClip]]:
    """Several cuts of every training recording, and beats made of single drum hits, as features."""
    extractor = feature_extractor(shape)
    for clip, label in real_clips(folder, seed):
        yield _stored(extractor, clip, ClipKind.REAL, label)


def real_clips(folder: Path, seed: int) -> Iterator[tuple[Clip, str | None]]:
    """The training clips with the synthesiser's name of their sound, where it has one.

    Raises:
        DataError: the folder cannot be used.
    """
    rng = np.random.default_rng([seed, _REAL_STREAM])
    hits: list[Samples] = []
    for recording in read_index(folder):
        if not recording.used:
            continue
        samples = audio.load(recording.file).mono(SAMPLE_RATE)
        if recording.part == SONIC_PI and recording.prefix in _HITS:
            hits.append(samples[:SAMPLE_RATE])
            continue
        name = SYNTHETIC_NAMES[recording.label] if recording.part == ESC10 else None
        kind = AudioType.MUSIC if recording.part == SONIC_PI and recording.prefix in _LOOPS else AudioType.SOUND
        for _ in range(_CUTS[recording.part]):
            yield _real_clip(_cut(samples, rng), kind, name or ""), name
    for _ in range(_BEATS if len(hits) >= 3 else 0):
        yield _real_clip(_beat(hits, rng), AudioType.MUSIC, ""), None


def _real_clip(samples: Samples, modality: AudioType, caption: str) -> Clip:
    """A clip of which only the modality and, with a caption, one sound is known."""
    runs = ((caption, 0),) if caption else ()
    tags = (str(modality), caption) if caption else (str(modality),)
    known = ("modality", "word", "language", *(("sound_event",) if modality is AudioType.MUSIC else ()))
    return _clip(samples, Facts(modality, caption, None, (), tags, known, SoundFacts(runs)))


def _cut(samples: Samples, rng: np.random.Generator) -> Samples:
    """A stretch of 1.5 to 8 s that is not silent, at a random level; short recordings whole or repeated."""
    if len(samples) < SAMPLE_RATE and rng.random() < 0.5:
        samples = np.tile(samples, int(rng.integers(2, 5)))
    length = min(len(samples), int(rng.uniform(1.5, 8) * SAMPLE_RATE))
    starts = rng.integers(0, len(samples) - length + 1, size=5)
    cuts = [samples[start : start + length] for start in starts]
    return _levelled(max(cuts, key=lambda cut: float(np.abs(cut).mean())), rng)


def _beat(hits: list[Samples], rng: np.random.Generator) -> Samples:
    """A rhythm of two to five drum hits, 2 to 6 s."""
    step = int(SAMPLE_RATE * rng.uniform(0.09, 0.28))
    steps = int(rng.uniform(2, 6) * SAMPLE_RATE / step)
    out = np.zeros((steps + 2) * step + SAMPLE_RATE, dtype=np.float32)
    for hit in rng.choice(len(hits), min(len(hits), int(rng.integers(2, 6))), replace=False):
        pattern = rng.random(8) < rng.uniform(0.2, 0.6)
        gain = float(rng.uniform(0.3, 1.0))
        for k in range(steps):
            if pattern[k % 8]:
                out[k * step : k * step + len(hits[hit])] += gain * hits[hit]
    return _levelled(out[: steps * step], rng)


def _levelled(samples: Samples, rng: np.random.Generator) -> Samples:
    peak = float(np.abs(samples).max())
    return (samples * (rng.uniform(0.1, 0.95) / peak)).astype(np.float32) if peak > 0 else samples.copy()


# --- augmentation -----------------------------------------------------------------------------------------------------

_TILT_KNOTS = 6
_TILT = 0.12
"""Whisper's scaling makes one decade of power 0.25, so this is about 5 dB."""
_WIDEST = 10
"""Bands that are masked have at most this part of all."""
_ROOM_BEHIND = 4
"""Frames of padding behind the longest clip: as far as the convolutions look."""


def augment(mel: Mel, rng: np.random.Generator) -> tuple[Mel, int]:
    """Changes that leave a clip's facts true: a random equaliser, spectral floor, masked bands, a small shift in time.

    mel: (frames, mel_bins) float32, not changed. Returns a new array of this shape, and by how many frames it is later.
    """
    chances, later = rng.random(4), 0
    frames, bins = mel.shape
    if chances[0] < 0.6:
        curve = np.interp(np.arange(bins), np.linspace(0, bins - 1, _TILT_KNOTS), rng.normal(0, _TILT, _TILT_KNOTS))
        mel = mel + curve[None].astype(np.float32)
    if chances[1] < 0.3:
        mel = np.maximum(mel, mel.max() - rng.uniform(0.7, 1.8))
    if chances[2] < 0.35:
        mel, average = mel.copy(), mel.mean()
        for _ in range(2):
            width = int(rng.integers(1, 1 + bins // _WIDEST))
            start = int(rng.integers(0, bins - width))
            mel[:, start : start + width] = average
    if chances[3] < 0.3:
        # Later by fewer than ten frames; the first frame fills the gap, the end is lost.
        later = int(rng.integers(0, max(1, min(frames // 10, 10))))
        mel = np.concatenate([np.repeat(mel[:1], later, axis=0), mel[: frames - later]])
    changed: Mel = np.maximum(mel, mel.max() - RANGE)
    return changed, later


def stack(mels: list[Mel], shape: Shape) -> tuple[Mel, NDArray[np.int64]]:
    """Clips padded as the feature extractor pads them: (batch, mel_bins, frames) float32 and (batch,) valid frames."""
    longest = max(len(mel) for mel in mels)
    length = min(shape.window_frames, (longest + 3) // 4 * 4 + _ROOM_BEHIND)
    out = np.empty((len(mels), shape.mel_bins, length), dtype=np.float32)
    for i, mel in enumerate(mels):
        out[i] = max(float(mel.max()) - RANGE, FLOOR)
        out[i, :, : len(mel)] = mel.T
    return out, np.array([len(mel) for mel in mels], dtype=np.int64)
