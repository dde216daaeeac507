"""Real recordings beside the synthetic ones: environmental sounds and music, to tell the types apart on real audio.

The folder is laid out as `index.csv` (file, modality, label, licence, group, sha256) with the files beside it. Only
the parts named in `PARTS` are used: their licences allow it with attribution, which the model card gives.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from lalm_agent import audio
from lalm_agent.errors import DataError
from lalm_agent.records import AudioType
from lalm_agent.training.mini.features import feature_extractor, log_mel
from lalm_agent.training.mini.recipe import SAMPLE_RATE, Shape
from lalm_agent.training.mini.store import Heard, Kind, without_samples
from lalm_agent.training.synth.levels import Level
from lalm_agent.training.synth.pools import Pool
from lalm_agent.training.synth.records import Clip, Facts, SoundFacts, Split

ESC10, SONIC_PI = "esc10", "sonicpi"
PARTS = (ESC10, SONIC_PI)
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
_SOUNDS = ("vinyl",)
_VARIANTS = {ESC10: 3, SONIC_PI: 6}
_BEATS = 500
_HELD_OUT_OF = 10
_STREAM = 23


@dataclass(frozen=True, slots=True)
class Recording:
    """One row of the index. `group`: recordings that must not be split between training and testing."""

    file: Path
    part: str
    label: str
    group: str

    @property
    def held_out(self) -> bool:
        """Whether the group is kept away from the training; about one in ten is."""
        return crc32(f"{self.part}/{self.group}".encode()) % _HELD_OUT_OF == 0

    @property
    def used(self) -> bool:
        """Whether anything of it is heard in training."""
        heard = self.part == ESC10 or self.label.split("_")[0] in (*_HITS, *_LOOPS, *_SOUNDS)
        return heard and not self.held_out


def read_index(folder: Path) -> list[Recording]:
    """The recordings of the used parts.

    Raises:
        DataError: the index is missing or lacks a column.
    """
    try:
        with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        found = [Recording(folder / row["file"], row["file"].split("/")[0], row["label"], row["group"]) for row in rows]
    except (OSError, KeyError) as error:
        raise DataError(f"real recordings: {folder}/index.csv cannot be used: {error}", "leave --real out") from error
    # Sonic Pi's group is the kind of sample: holding out whole kinds would leave no kind to learn.
    return [one if one.part == ESC10 else _by_name(one) for one in found if one.part in PARTS]


def _by_name(recording: Recording) -> Recording:
    return Recording(recording.file, recording.part, recording.label, recording.file.stem)


def real_items(folder: Path, shape: Shape, seed: int) -> Iterator[tuple[NDArray[np.float16], Heard]]:
    """Several cuts of every training recording, and beats made of single drum hits."""
    extractor = feature_extractor(shape)
    for clip, label in real_clips(folder, seed):
        mel = log_mel(extractor, clip.samples)
        yield mel, Heard(without_samples(clip), len(mel), Kind.REAL, label)


def real_clips(folder: Path, seed: int) -> Iterator[tuple[Clip, str | None]]:
    """The training clips with the synthesiser's name of their sound, where it has one."""
    rng = np.random.default_rng([seed, _STREAM])
    hits: list[NDArray[np.float32]] = []
    for recording in read_index(folder):
        if not recording.used:
            continue
        prefix = recording.label.split("_")[0]
        samples = audio.load(recording.file).mono(SAMPLE_RATE)
        if recording.part == ESC10:
            name = SYNTHETIC_NAMES[recording.label]
            for _ in range(_VARIANTS[ESC10]):
                yield _clip(_cut(samples, rng), AudioType.SOUND, name), name
        elif prefix in _HITS:
            hits.append(samples[:SAMPLE_RATE])
        elif prefix in (*_LOOPS, *_SOUNDS):
            kind = AudioType.MUSIC if prefix in _LOOPS else AudioType.SOUND
            for _ in range(_VARIANTS[SONIC_PI]):
                yield _clip(_cut(samples, rng), kind, ""), None
    for _ in range(_BEATS if len(hits) >= 3 else 0):
        yield _clip(_beat(hits, rng), AudioType.MUSIC, ""), None


def _clip(samples: NDArray[np.float32], modality: AudioType, caption: str) -> Clip:
    """A clip of which only the modality and, with a caption, one sound is known."""
    runs = ((caption, 0),) if caption else ()
    tags = (str(modality), caption) if caption else (str(modality),)
    known = ("modality", "word", "language", *(("sound_event",) if modality is AudioType.MUSIC else ()))
    facts = Facts(modality, caption, None, (), tags, known, SoundFacts(runs))
    return Clip(samples, facts, 0, Pool.TRAIN, Split.TRAIN, None, Level.EASY)


def _cut(samples: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """A stretch of 1.5 to 8 s that is not silent, at a random level; short recordings whole or repeated."""
    if len(samples) < SAMPLE_RATE and rng.random() < 0.5:
        samples = np.tile(samples, int(rng.integers(2, 5)))
    length = min(len(samples), int(rng.uniform(1.5, 8) * SAMPLE_RATE))
    starts = rng.integers(0, len(samples) - length + 1, size=5)
    cuts = [samples[start : start + length] for start in starts]
    loudest = max(cuts, key=lambda cut: float(np.abs(cut).mean()))
    return _levelled(loudest, rng)


def _beat(hits: list[NDArray[np.float32]], rng: np.random.Generator) -> NDArray[np.float32]:
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


def _levelled(samples: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    peak = float(np.abs(samples).max())
    return (samples * (rng.uniform(0.1, 0.95) / peak)).astype(np.float32) if peak > 0 else samples.copy()
