"""The content node for speech, filled by pocketsphinx: offline, American English, its model in its wheel.

Passable on clearly read English (about three words in ten wrong on LibriSpeech); useless on synthetic voices and on
any other language, which it transcribes as English nonsense without a sign of doubt. The trace gets no figures: its
probabilities compare words with its own other guesses only, so that a sneeze is "oh" at 0.85 and a true word 0.08.
"""

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lalm_agent.errors import PermanentBackendError
from lalm_agent.registry import Task, ToolResult

_MODEL_RATE = 16_000
_FULL_SCALE = 32_767
_SILENT_PEAK = 1e-3
"""Below this peak (-60 dBFS) nothing is decoded: pocketsphinx writes a word for pure silence."""


class PocketsphinxASR:
    """Transcribes the whole clip, however long; the acoustic model is loaded at the first call."""

    name = "pocketsphinx"

    def __init__(self) -> None:
        self._decoder: Any = None
        self._lock = threading.Lock()

    def __call__(self, task: Task) -> ToolResult:
        """The transcript in lower case without punctuation; empty where no words were recognised.

        Raises:
            PermanentBackendError: pocketsphinx is not installed or failed.
        """
        samples = task.sound.mono(_MODEL_RATE)
        text = self._decoded(samples) if np.abs(samples).max() >= _SILENT_PEAK else ""
        warnings = () if text else ("pocketsphinx recognised no words",)
        return ToolResult(text, heard_s=(0.0, task.sound.ref.seconds), warnings=warnings)

    def _decoded(self, samples: NDArray[np.float32]) -> str:
        pcm = (np.clip(samples, -1, 1) * _FULL_SCALE).astype("<i2").tobytes()
        with self._lock:
            if self._decoder is None:
                self._decoder = _load()
            decoder = self._decoder
            try:
                decoder.start_utt()
                decoder.process_raw(pcm, no_search=False, full_utt=True)
                decoder.end_utt()
                hypothesis = decoder.hyp()
            except RuntimeError as error:
                raise PermanentBackendError(f"pocketsphinx failed: {error}") from error
        return str(hypothesis.hypstr).strip() if hypothesis else ""


def _load() -> Any:
    try:
        from pocketsphinx import Decoder
    except ImportError as error:
        raise PermanentBackendError("pocketsphinx is not installed", "pip install pocketsphinx") from error
    return Decoder(samprate=_MODEL_RATE, loglevel="FATAL")
