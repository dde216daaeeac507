"""The feature cache: shards of log-mels and facts on disk, each made once and read by memory map.

A shard is `NAME.npy` (all frames one after another, float16) beside `NAME.pkl` (the clips without their samples). The
`.npy` is renamed into place last, so a shard either is whole or is not there: that makes the making resumable.
"""

import pickle
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lalm_agent.errors import DataError
from lalm_agent.training.synth.records import Clip


class Kind(StrEnum):
    """How a clip came to be, as far as the targets depend on it."""

    CLEAR = "clear"
    FAINT = "faint"
    DROWNED = "drowned"
    SILENCE = "silence"
    REAL = "real"


@dataclass(frozen=True, slots=True)
class Heard:
    """A clip whose sound is kept as features. `clip.samples` is empty; frames: how many mel frames it has.

    label: the sound class of a real recording where the synthesiser has the same class.
    """

    clip: Clip
    frames: int
    kind: Kind
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of the store: mel (frames, mel_bins) float16, memory-mapped."""

    mel: NDArray[np.float16]
    heard: Heard


def without_samples(clip: Clip) -> Clip:
    """The clip's facts alone."""
    return replace(clip, samples=np.zeros(0, dtype=np.float32))


def write_shard(folder: Path, name: str, made: Iterable[tuple[NDArray[np.float16], Heard]]) -> None:
    """Write a shard; what was there under this name is replaced."""
    mels, heard = zip(*made, strict=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.pkl").write_bytes(pickle.dumps(list(heard)))
    part = folder / f"{name}.part"
    with part.open("wb") as out:
        np.save(out, np.concatenate(mels))
    part.replace(folder / f"{name}.npy")


def has_shard(folder: Path, name: str) -> bool:
    """Whether the shard is whole."""
    return (folder / f"{name}.npy").is_file()


def read_shards(folder: Path, names: Sequence[str]) -> list[Item]:
    """All items of the named shards in order.

    Raises:
        DataError: a shard is missing or its two files do not belong together.
    """
    items: list[Item] = []
    hint = f"delete {folder} and run again"
    for name in names:
        try:
            frames = np.load(folder / f"{name}.npy", mmap_mode="r")
            heard: list[Heard] = pickle.loads((folder / f"{name}.pkl").read_bytes())
        except (OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
            raise DataError(f"feature shard {name} cannot be read: {error}", hint) from error
        if sum(entry.frames for entry in heard) != len(frames):
            raise DataError(f"feature shard {name} is not whole", hint)
        start = 0
        for entry in heard:
            items.append(Item(frames[start : start + entry.frames], entry))
            start += entry.frames
    return items


def mel_statistics(items: Sequence[Item], every: int = 20) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Per-mel mean and deviation over every so manyth clip: two (mel_bins,) float32 arrays."""
    frames = np.concatenate([np.asarray(item.mel, dtype=np.float32) for item in items[::every]])
    return frames.mean(0), frames.std(0) + 0.05
