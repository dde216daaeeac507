"""Decoded clips of a process, found again by path and hash."""

from collections import OrderedDict
from threading import Lock

from lalm_agent.audio import Sound, load
from lalm_agent.config import DEFAULT_MAX_AUDIO_S
from lalm_agent.errors import DataError
from lalm_agent.records import AudioRef

_KEPT_CLIPS = 64
_KEPT_VALUES = 2**26
"""256 MiB of float32 samples."""


class ClipStore:
    """Loads clips and keeps the last few, so that the nodes of a graph share one decoded copy. For several threads.

    max_s: longest clip that is accepted, in seconds.
    """

    def __init__(self, max_s: float = DEFAULT_MAX_AUDIO_S) -> None:
        """Start empty."""
        self._max_s = max_s
        self._sounds: OrderedDict[tuple[str, str], Sound] = OrderedDict()
        self._lock = Lock()

    def open(self, path: str) -> Sound:
        """Decode a file afresh and keep it. Raises what `audio.load` raises."""
        sound = load(path, self._max_s)
        with self._lock:
            self._sounds[(path, sound.ref.sha256)] = sound
            self._sounds.move_to_end((path, sound.ref.sha256))
            while len(self._sounds) > 1 and self._holds_too_much():
                self._sounds.popitem(last=False)
        return sound

    def get(self, ref: AudioRef) -> Sound:
        """The clip that a reference names, decoded again if it was dropped.

        Raises:
            DataError: the file is gone, or is no longer the clip that the reference was made of.
        """
        kept = self._sounds.get((ref.path, ref.sha256))
        if kept is not None:
            return kept
        sound = self.open(ref.path)
        if sound.ref.sha256 != ref.sha256:
            raise DataError(f"{ref.path} has changed since it was first opened", "ask again about the new clip")
        return sound

    def _holds_too_much(self) -> bool:
        values = sum(sound.samples.size for sound in self._sounds.values())
        return len(self._sounds) > _KEPT_CLIPS or values > _KEPT_VALUES
