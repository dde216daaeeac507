"""The type and caption nodes filled by a tagger of AudioSet in ONNX, such as YAMNet (extra onnx).

No package with weights could be had, so the file is given: `--tool type=audioset:yamnet.onnx`. It takes a waveform of
16 kHz, (n,) or (1, n) float32, and its first output has a score in [0, 1] for each class in the last dimension, such as
(frames, 521). Beside it lies its list of classes under the same name with `.csv` (columns `index`, `mid`,
`display_name`, as YAMNet's `yamnet_class_map.csv`). Not measured on real weights here.
"""

import csv
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lalm_agent.errors import DataError, PermanentBackendError, UsageError
from lalm_agent.registry import Task, ToolResult, require_extra

RATE = 16_000
LEAST, MOST = 0.1, 5
"""Tags of a caption have at least this score, and are so many at most; the best one is always named."""
SPEECH = frozenset(
    {"Speech", "Child speech, kid speaking", "Conversation", "Narration, monologue", "Speech synthesizer"}
)
_FIRST_MUSIC, _LAST_MUSIC = "Music", "Scary music"
"""Between these AudioSet's order of classes has music, its instruments and genres."""
_SILENCE = "Silence"


class Tagger:
    """Scores of AudioSet's classes for a clip; the weights are loaded at the first call.

    argument: path of the ONNX file.

    Raises UsageError: no file, no list of classes beside it, or the extra is not installed.
    """

    def __init__(self, argument: str | None = None) -> None:
        require_extra("onnx")
        self._path = Path(argument or "").expanduser()
        if argument is None or not self._path.is_file():
            raise UsageError(f"audioset: no such file: {argument or '(none)'}", "audioset:yamnet.onnx")
        self.name = f"audioset:{self._path.name}"
        self._classes = read_classes(self._path.with_suffix(".csv"))
        self._session: Any = None
        self._lock = threading.Lock()

    def scores(self, task: Task) -> dict[str, float]:
        """Class -> mean score over the clip. Raises DataError: the file is no such model."""
        samples = task.sound.mono(RATE)
        with self._lock:
            if self._session is None:
                self._session = _load(self._path)
            entry = self._session.get_inputs()[0]
            waveform = samples if len(entry.shape) == 1 else samples[None]
            try:
                (made, *_) = self._session.run(None, {entry.name: np.ascontiguousarray(waveform, np.float32)})
            except Exception as error:  # onnxruntime has errors of its own for each cause
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                raise PermanentBackendError(
                    f"{self.name} failed: {reason}", "is the clip long enough for it?"
                ) from error
        values: NDArray[np.float32] = np.asarray(made)
        if values.ndim == 0 or values.shape[-1] != len(self._classes) or not values.size:
            message = (
                f"{self._path} gives scores of shape {values.shape}, and the list has {len(self._classes)} classes"
            )
            raise DataError(message, "put the list of its own classes beside it")
        mean = values.reshape(-1, len(self._classes)).mean(axis=0)
        return {name: round(float(score), 6) for name, score in zip(self._classes, mean, strict=True)}


class AudioSetTypeIdentifier(Tagger):
    """The type whose best class has the highest score; silence is none."""

    def __call__(self, task: Task) -> ToolResult:
        """`Sound`, `Music` or `Speech`; `details` has the best score of each."""
        scores = self.scores(task)
        names = list(scores)
        music: set[str] = set()
        if _FIRST_MUSIC in scores and _LAST_MUSIC in scores:
            music = set(names[names.index(_FIRST_MUSIC) : names.index(_LAST_MUSIC) + 1])
        groups = {"Speech": SPEECH, "Music": music, "Sound": set(names) - SPEECH - music - {_SILENCE}}
        best = {
            kind: max((scores[name] for name in own if name in scores), default=0.0) for kind, own in groups.items()
        }
        kind = max(best, key=lambda name: best[name])
        return ToolResult(kind, details={name.lower(): score for name, score in best.items()})


class AudioSetCaptioner(Tagger):
    """A list of what is heard, the likeliest first, with its score."""

    def __call__(self, task: Task) -> ToolResult:
        """`Dog 0.83, Bark 0.51`."""
        ranked = sorted(self.scores(task).items(), key=lambda pair: -pair[1])
        named = [pair for pair in ranked[:MOST] if pair[1] >= LEAST] or ranked[:1]
        return ToolResult(", ".join(f"{name} {score:.2f}" for name, score in named), details=dict(named))


def read_classes(path: Path) -> tuple[str, ...]:
    """The names of a list of classes in its order. Raises UsageError for none, DataError for one of another form."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            names = tuple(row["display_name"] for row in csv.DictReader(file))
    except OSError as error:
        raise UsageError(f"audioset: no list of classes: {path}", "put the model's class map there") from error
    except (KeyError, csv.Error, UnicodeError) as error:
        raise DataError(
            f"{path} is no list of classes: it has no column display_name", "index,mid,display_name"
        ) from error
    return names


def _load(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has errors of its own for each cause
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path} is no model in ONNX: {reason}", "download it again") from error
