"""Clips that a benchmark names and that are not there. A benchmark loads without them: metrics need no audio."""

import os
from pathlib import Path

from lalm_agent.eval.items import Benchmark, Fault, in_any_form


def missing_audio(benchmark: Benchmark) -> tuple[Fault, ...]:
    """One fault for each clip that is no file under the audio root, in the order of the questions.

    `file` is the clip as the data names it; the reason says how many questions are about it.
    """
    questions: dict[str, int] = {}
    for item in benchmark.items:
        questions[item.audio] = questions.get(item.audio, 0) + 1
    root = "" if benchmark.audio_root is None else os.fspath(benchmark.audio_root)
    where = f"under {root}" if root else "in the current folder"
    return tuple(
        Fault(audio, None, f"no such file {where}, and {count} question{'s' if count > 1 else ''} about it")
        for audio, count in questions.items()
        if not _is_file(root, audio)
    )


def _is_file(root: str, audio: str) -> bool:
    """Whether there is such a file, its name in any Unicode form."""
    there = os.path.isfile(os.path.join(root, audio))
    return there or (not audio.isascii() and in_any_form(Path(root), audio).is_file())
