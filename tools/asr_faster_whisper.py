"""The content node for speech, filled by faster-whisper on this machine: Whisper in CTranslate2 (extra faster-whisper).

Nothing is downloaded: where the weights are absent, the error names the command that fetches them. Words that look
invented are withheld (`asr_guard`).
"""

import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lalm_agent.errors import DataError, PermanentBackendError, UsageError
from lalm_agent.registry import require_extra
from lalm_agent.tools.asr_guard import Segment, WhisperFamily, with_vad

DEFAULT = "base"
_FILES = ("model.bin", "config.json", "tokenizer.json")
"""Without its tokenizer faster-whisper would fetch OpenAI's."""


class FasterWhisperASR(WhisperFamily):
    """Transcribes the whole clip in the language that the model detects; the weights are loaded at the first call.

    Greedy (temperature 0, no fallback to sampling), each window of 30 s without the text of the one before, on a GPU
    where CTranslate2 finds one, in the numbers that the checkpoint is stored in as far as the machine has them.

    Args:
        argument: a size (`tiny` to `large-v3`, `turbo`, `.en` and `distil-` variants) or a folder with a checkpoint in
            CTranslate2's form; with `+vad` behind it only what silero-vad takes for speech is transcribed.

    Raises:
        UsageError: the argument is neither, or the extra is not installed.
        PermanentBackendError: the weights of the size are not on this machine.
    """

    def __init__(self, argument: str | None = None) -> None:
        size, vad = with_vad(argument, DEFAULT)
        super().__init__("faster-whisper", vad)
        require_extra("faster-whisper")
        self._folder = weights_folder(size)
        name = size if not Path(size).expanduser().is_dir() else self._folder.name
        self.name = f"faster-whisper:{name}{'+vad' if vad else ''}"
        self._model: Any = None
        self._lock = threading.Lock()

    def segments(
        self, samples: NDArray[np.float32], spans: Sequence[tuple[float, float]] | None
    ) -> tuple[Sequence[Segment], Sequence[float]]:
        """See `WhisperFamily`."""
        with self._lock:
            if self._model is None:
                self._model = _load(self._folder)
            try:
                stream, _ = self._model.transcribe(
                    samples,
                    beam_size=1,
                    temperature=0.0,
                    condition_on_previous_text=False,
                    # Silent windows come back, too: what is left out is said.
                    no_speech_threshold=None,
                    clip_timestamps="0" if spans is None else [second for span in spans for second in span],
                )
                segments = [asdict(segment) for segment in stream]
            except (RuntimeError, ValueError) as error:
                raise PermanentBackendError(
                    f"faster-whisper failed: {_first_line(error)}", "try another size"
                ) from error
        return segments, [segment["no_speech_prob"] for segment in segments]


def weights_folder(argument: str) -> Path:
    """The folder of a size in the hub's cache, or the given folder.

    Raises:
        UsageError: no such size and no such folder, or one that lacks a file.
        PermanentBackendError: the size is not in the cache.
    """
    from faster_whisper import available_models
    from faster_whisper.utils import download_model

    folder = Path(argument).expanduser()
    if folder.is_dir():
        if missing := [name for name in _FILES if not (folder / name).is_file()]:
            hint = "ct2-transformers-converter --model MODEL --copy_files tokenizer.json --output_dir FOLDER makes one"
            raise UsageError(f"{folder} is no checkpoint of CTranslate2 for Whisper: it lacks {missing[0]}", hint)
        return folder
    sizes = available_models()
    if argument not in sizes:
        raise UsageError(f"faster-whisper: no size and no folder: {argument}", f"one of: {', '.join(sizes)}")
    try:
        return Path(download_model(argument, local_files_only=True))
    except Exception as error:  # of the hub's client
        fetch = f"python -c \"from faster_whisper.utils import download_model; download_model('{argument}')\""
        raise PermanentBackendError(
            f"faster-whisper: the weights of {argument} are not on this machine", f"{fetch} downloads them"
        ) from error


def _load(folder: Path) -> Any:
    from faster_whisper import WhisperModel

    try:
        return WhisperModel(str(folder), local_files_only=True)
    except Exception as error:  # CTranslate2 raises RuntimeError, and ValueError for what it cannot compute here
        raise DataError(f"{folder} cannot be loaded: {_first_line(error)}", "convert or download it again") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
