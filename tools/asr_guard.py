"""What Whisper's family has in common: where somebody speaks, and which of the words that came back are invented.

Whisper writes words for silence and music. With `+vad` behind its argument, silero-vad looks for speech first, and only
that is transcribed. Words are withheld, and the step says so, where Whisper itself takes the part for silence, where
the text compresses as no speech does, or where it goes round in a loop. The limits of the first two are Whisper's own
defaults (`no_speech_threshold` with `logprob_threshold`, `compression_ratio_threshold`); none was tuned here. Its
no-speech probability alone is high on some true speech, too (arXiv 2212.04356, section 4.5): where Whisper is sure of
the words they stay, and the step says that they may be invented.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lalm_agent.registry import Task, ToolResult, require_extra
from lalm_agent.tools.asr_confidence import is_number, segment_confidence

RATE = 16_000
NO_SPEECH, UNSURE, COMPRESSION = 0.6, -1.0, 2.4
LOOP = 4
"""So often in a row a phrase of two words or more is a loop; a single word twice as often."""
SAME_SEGMENTS = 3
"""So many equal segments of two words or more in a row are a loop; of a single word as many as in one segment."""
_SILENT_PEAK = 1e-3
"""Below this peak (-60 dBFS) nothing is decoded: Whisper writes a phrase for pure silence."""
_VAD = "+vad"

Segment = Mapping[str, Any]
"""In Whisper's form: `text`, and as far as they are known `avg_logprob`, `no_speech_prob`, `compression_ratio`."""


class WhisperFamily(ABC):
    """A tool that transcribes by a model of Whisper's family.

    family: what its warnings call it. vad: look for speech first, by silero-vad.

    Raises UsageError: `vad` without its extra.
    """

    name: str

    def __init__(self, family: str, vad: bool) -> None:
        if vad:
            require_extra("vad")
        self._family, self._vad = family, vad
        self._finder: SpeechFinder | None = None

    def __call__(self, task: Task) -> ToolResult:
        """The transcript; empty where no words were recognised, or none that were not invented.

        `details`: the figures of `segment_confidence`, of withheld parts, too, whose number is `withheld_segments`;
        with `+vad` the seconds of speech, `speech_s`.

        Raises:
            PermanentBackendError: the package of the family is not installed or failed.
            DataError: there are no weights where they should be.
        """
        samples = task.sound.mono(RATE)
        text, warnings, details = "", tuple[str, ...](), dict[str, float]()
        if np.abs(samples).max() >= _SILENT_PEAK:
            text, warnings, details = self._heard(samples)
        if not text:
            warnings = (*warnings, f"{self._family} recognised no words")
        return ToolResult(text, heard_s=(0.0, task.sound.ref.seconds), warnings=warnings, details=details or None)

    def _heard(self, samples: NDArray[np.float32]) -> tuple[str, tuple[str, ...], dict[str, float]]:
        spans, details = None, {}
        if self._vad:
            spans = self._speech(samples)
            details = {"speech_s": round(sum(end - start for start, end in spans), 3)}
            if not spans:
                return "", ("silero-vad hears nobody speak: nothing was transcribed",), details
        segments, silent = self.segments(samples, spans)
        details |= segment_confidence(segments, silent)
        reasons = invented(segments)
        withheld = [reason for reason in reasons if reason is not None]
        warnings: tuple[str, ...] = ()
        if withheld:
            details["withheld_segments"] = len(withheld)
            why = ", ".join(dict.fromkeys(withheld))
            warnings = (
                f"{len(withheld)} of {len(segments)} parts of the transcript look invented and are left out: {why}",
            )
        kept = [segment for segment, reason in zip(segments, reasons, strict=True) if reason is None]
        text = "".join(segment["text"] for segment in kept).strip()
        if not _words(text):
            return "", warnings, details
        if doubtful := sum(_is_silence(segment) for segment in kept if _words(segment["text"])):
            warnings += (
                f"{doubtful} of {len(segments)} parts of the transcript may be invented: their no-speech probability "
                f"is above {NO_SPEECH}",
            )
        return text, warnings, details

    @abstractmethod
    def segments(
        self, samples: NDArray[np.float32], spans: Sequence[tuple[float, float]] | None
    ) -> tuple[Sequence[Segment], Sequence[float]]:
        """The parts of a transcript, and the no-speech probability of each window.

        samples: (n,) at `RATE`. spans: (start, end) in seconds of what is to be transcribed; None for all.
        """

    def _speech(self, samples: NDArray[np.float32]) -> list[tuple[float, float]]:
        if self._finder is None:
            self._finder = SpeechFinder()
        return self._finder.spans(samples)


def with_vad(argument: str | None, default: str) -> tuple[str, bool]:
    """`small+vad` -> (`small`, True); `+vad` -> (default, True)."""
    argument = argument or ""
    return argument.removesuffix(_VAD) or default, argument.endswith(_VAD)


class SpeechFinder:
    """silero-vad, whose weights are in its wheel."""

    def __init__(self) -> None:
        """Load it. Raises UsageError where it is not installed."""
        require_extra("vad")
        from silero_vad import load_silero_vad

        self._model = load_silero_vad(onnx=True)

    def spans(self, samples: NDArray[np.float32]) -> list[tuple[float, float]]:
        """(start, end) in seconds of speech in samples (n,) at `RATE`, with 0.4 s around and pauses below 2 s."""
        import torch
        from silero_vad import get_speech_timestamps

        settings = {"sampling_rate": RATE, "min_silence_duration_ms": 2000, "speech_pad_ms": 400}
        # A copy, because torch warns of arrays that it may not write to.
        spans = get_speech_timestamps(torch.from_numpy(samples.copy()), self._model, **settings)
        return [(span["start"] / RATE, span["end"] / RATE) for span in spans]


def invented(segments: Sequence[Segment]) -> list[str | None]:
    """Why the words of each segment are taken for invented; None where they are not."""
    same = [len(list(group)) for _, group in groupby(segments, key=lambda segment: _words(segment["text"]))]
    runs = [length for length in same for _ in range(length)]
    return [_reason(segment, run) for segment, run in zip(segments, runs, strict=True)]


def _reason(segment: Segment, run: int) -> str | None:
    words = _words(segment["text"])
    if not words:
        return None
    logprob, ratio = segment.get("avg_logprob"), segment.get("compression_ratio")
    if _is_silence(segment) and not (is_number(logprob) and logprob > UNSURE):
        return "nobody speaks there"
    if is_number(ratio) and ratio > COMPRESSION:
        return "the text repeats itself"
    same = SAME_SEGMENTS if len(words) > 1 else 2 * LOOP
    return "it goes round in a loop" if run >= same or loops(words) else None


def _is_silence(segment: Segment) -> bool:
    silence = segment.get("no_speech_prob")
    return is_number(silence) and silence > NO_SPEECH


def loops(words: Sequence[str]) -> bool:
    """Whether at least half of the words are one phrase again and again."""
    for size in range(1, len(words) // LOOP + 1):
        least = LOOP if size > 1 else 2 * LOOP
        for start in range(len(words) - size * least + 1):
            phrase, times = words[start : start + size], 1
            while words[start + times * size : start + (times + 1) * size] == phrase:
                times += 1
            if times >= least and 2 * times * size >= len(words):
                return True
    return False


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", str(text).lower())
