"""Blind controls: what a model scores when it cannot hear the clip that it is asked about.

`silence`: digital silence of the clip's own length, rate and channels. `swap`: the clip of another question, any other
of the data set and of any modality; the assignment is a cycle over the clips in a seeded order, so each clip is heard
once, and one with the same content under another name is passed over.
"""

import hashlib
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from lalm_agent.artefacts import StorageError
from lalm_agent.audio import load
from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.items import Item, audio_file
from lalm_agent.eval.runs.stored import Heard
from lalm_agent.records import AudioRef

_KEPT_REFS = 65536


class Real:
    """No control: each question is asked about its own clip. `root` is the audio root."""

    def __init__(self, root: Path) -> None:
        """Keep the root."""
        self._root = root

    def __call__(self, item: Item) -> Heard:
        """The question's own clip.

        Raises:
            DataError: the path leads out of the root.
        """
        return Heard(str(audio_file(self._root, item.audio)))


class Silence:
    """Digital silence in place of each clip; one file in `folder` for each distinct length, rate and channels."""

    def __init__(self, root: Path, folder: Path, max_s: float) -> None:
        """Write nothing yet. `max_s`: longest clip that is accepted, in seconds."""
        self._root, self._folder, self._max_s = root, folder, max_s
        self._writing = threading.Lock()

    def __call__(self, item: Item) -> Heard:
        """A silent clip as long as the question's own.

        Raises:
            DataError: the question's clip cannot be read.
            StorageError: the silence cannot be written.
        """
        sound = load(audio_file(self._root, item.audio), self._max_s)
        n, channels = round(sound.ref.seconds * sound.ref.rate), sound.ref.channels
        path = self._folder / f"{n}x{channels}-{sound.ref.rate}.flac"
        with self._writing:
            if not path.exists():
                _write_silence(path, n, channels, sound.ref.rate)
        return Heard(str(path), None, sound.ref.sha256)


class Swap:
    """Another question's clip in place of each.

    items: all questions of the data set, so that the assignment does not depend on a limit.
    missing: clips that are not there, by name; they take no part.
    """

    def __init__(self, root: Path, items: Sequence[Item], missing: frozenset[str], seed: int, max_s: float) -> None:
        """Put the clips in their seeded order.

        Raises:
            UsageError: the data set has a single clip.
        """
        names = sorted({item.audio for item in items} - missing, key=lambda name: _swap_key(seed, name))
        if len(names) < 2:
            raise UsageError("--audio swap needs at least two clips", "choose --audio silence")
        self._root, self._names = root, names
        self._place = {name: place for place, name in enumerate(names)}
        self._ref = lru_cache(_KEPT_REFS)(lambda name: load(audio_file(root, name), max_s).ref)

    def __call__(self, item: Item) -> Heard:
        """The next clip of the cycle that is another recording and can be read.

        Raises:
            DataError: the question's own clip cannot be read, or there is no other.
        """
        own: AudioRef = self._ref(item.audio)
        start = self._place[item.audio]
        for step in range(1, len(self._names)):
            name = self._names[(start + step) % len(self._names)]
            try:
                other = self._ref(name)
            except DataError:
                continue
            if other.sha256 != own.sha256:
                return Heard(other.path, name, own.sha256)
        raise DataError(f"no other recording than {item.audio!r} can be read", "choose --audio silence")


def _swap_key(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"swap\0{seed}\0{name}".encode("utf-8", "surrogatepass")).digest()


def _write_silence(path: Path, n: int, channels: int, rate: int) -> None:
    import soundfile

    beside = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(exist_ok=True)
        soundfile.write(beside, np.zeros((n, channels), np.int16), rate, format="FLAC", subtype="PCM_16")
        beside.replace(path)
    except (OSError, soundfile.LibsndfileError) as error:
        beside.unlink(missing_ok=True)
        raise StorageError(f"{path} cannot be written: {error}", "free space, or choose --audio swap") from error
