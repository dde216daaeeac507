"""The content node for speech, filled by openai-whisper on this machine: some hundred languages, clips of any length.

Nothing is downloaded: where the weights are absent, the error names the command that fetches them. Words that look
invented are withheld (`asr_guard`).
"""

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lalm_agent.errors import DataError, PermanentBackendError, UsageError
from lalm_agent.tools.asr_guard import Segment, WhisperFamily, with_vad

DEFAULT = "base"
SIZES = (
    *("tiny", "tiny.en", "base", "base.en", "small", "small.en", "medium", "medium.en"),
    *("large-v1", "large-v2", "large-v3", "large", "large-v3-turbo", "turbo"),
)
_FILE_OF = {"large": "large-v3", "turbo": "large-v3-turbo"}


class WhisperASR(WhisperFamily):
    """Transcribes the whole clip in the language that Whisper detects; the weights are loaded at the first call.

    Greedy (temperature 0, no fallback to sampling), each window of 30 s without the text of the one before, in
    float16 on a GPU and float32 on a CPU. On a CPU the same clip gives the same text.

    Args:
        argument: a size (`tiny` to `large-v3`, `turbo`, `.en` variants) or the path of a `.pt` file of Whisper's own;
            with `+vad` behind it only what silero-vad takes for speech is transcribed.

    Raises:
        UsageError: the argument is neither.
        PermanentBackendError: the weights of the size are not on this machine.
    """

    def __init__(self, argument: str | None = None) -> None:
        size, vad = with_vad(argument, DEFAULT)
        super().__init__("whisper", vad)
        self._path = weights_path(size)
        self.name = f"whisper:{size if size in SIZES else self._path.name}{'+vad' if vad else ''}"
        self._model: Any = None
        self._windows: list[Any] = []
        self._lock = threading.Lock()

    def segments(
        self, samples: NDArray[np.float32], spans: Sequence[tuple[float, float]] | None
    ) -> tuple[Sequence[Segment], Sequence[float]]:
        """See `WhisperFamily`; windows that are left out as silent have a probability, too."""
        with self._lock:
            if self._model is None:
                self._model = _load(self._path)
                self._model.decode = self._recording(self._model.decode)
            self._windows.clear()
            try:
                # A copy, because torch warns of arrays that it may not write to.
                result = self._model.transcribe(
                    samples.copy(),
                    temperature=0.0,
                    condition_on_previous_text=False,
                    fp16=self._model.device.type == "cuda",
                    verbose=None,
                    clip_timestamps="0" if spans is None else [second for span in spans for second in span],
                )
            except RuntimeError as error:
                raise PermanentBackendError(f"whisper failed: {_first_line(error)}", "try a smaller size") from error
            return result["segments"], [window.no_speech_prob for window in self._windows]

    def _recording(self, decode: Callable[..., Any]) -> Callable[..., Any]:
        """`transcribe` says nothing of the windows that it leaves out as silent, so each is noted as it is decoded."""

        def recorded(*arguments: Any) -> Any:
            window = decode(*arguments)
            self._windows.append(window)
            return window

        return recorded


def weights_path(argument: str) -> Path:
    """The file of a size in Whisper's cache, or the given file.

    Raises:
        UsageError: no such size and no such file.
        PermanentBackendError: the size is not in the cache.
    """
    if argument not in SIZES:
        path = Path(argument).expanduser()
        if path.is_file():
            return path
        raise UsageError(f"whisper: no size and no file: {argument}", f"a .pt file, or one of: {', '.join(SIZES)}")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "whisper"
    path = cache / f"{_FILE_OF.get(argument, argument)}.pt"
    if path.is_file():
        return path
    fetch = f"python -c \"import whisper; whisper.load_model('{argument}', device='cpu')\""
    raise PermanentBackendError(f"whisper: the weights of {argument} are not at {path}", f"{fetch} downloads them")


def _load(path: Path) -> Any:
    try:
        import whisper
    except ImportError as error:
        raise PermanentBackendError("openai-whisper is not installed", "pip install openai-whisper") from error
    try:
        # By its path: by its name it would be downloaded where the file is absent or does not have the known hash.
        return whisper.load_model(str(path)).eval()
    except MemoryError as error:
        raise PermanentBackendError(f"whisper: too little memory for {path}", "try a smaller size") from error
    except Exception as error:
        # Unpickling what is no checkpoint raises anything; whisper loads weights only, no code.
        raise DataError(f"{path} holds no weights of whisper: {_first_line(error)}", "download it again") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
