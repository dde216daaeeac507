"""One question about a 10 s clip, by a model that is loaded and a clip that is new; and the peak memory of `ask`.

    .venv/bin/python benchmarks/mini_speed.py mini ../shared/data/clips/jfk.flac

Prints one JSON object: `seconds`, one for each of eleven windows of 10 s of the recording, asked by the LALM alone
(`--tools paper`: type, content and answer); `again`, a second question about each, whose type and content are known;
`threads`; `bytes`, the peak resident memory of three processes of `lalm-agent ask` with its default tools.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

from measuring import measured

CLIP_S, HOP_S, WINDOWS, PROCESSES = 10.0, 0.1, 11, 3
QUESTIONS = ("Is the speaker male or female?", "Which language is spoken?")
CHOICES = (("male", "female"), ("English", "French", "German", "Spanish"))


def windows(recording: Path, folder: Path) -> list[Path]:
    """One window to warm up and those to measure, each a file; their contents differ, so nothing is remembered."""
    import soundfile

    samples, rate = soundfile.read(recording)
    length, paths = int(CLIP_S * rate), []
    for number in range(WINDOWS + 1):
        start = int(number * HOP_S * rate) if number < WINDOWS else int(HOP_S / 2 * rate)
        if len(samples) < start + length:
            raise SystemExit(f"{recording} is too short for windows of {CLIP_S:g} s")
        paths.append(folder / f"{number}.wav")
        soundfile.write(paths[-1], samples[start : start + length], rate)
    return paths


def seconds_of(model: str, clips: list[Path]) -> tuple[list[float], list[float]]:
    """Seconds of the first and of the second question about each clip; the last clip warms the process up."""
    from lalm_agent import Agent

    agent = Agent(model=model, preset="paper")
    taken: tuple[list[float], list[float]] = ([], [])
    for clip in [clips[-1], *clips[:-1]]:
        for which, (question, choices) in enumerate(zip(QUESTIONS, CHOICES, strict=True)):
            start = time.perf_counter()
            agent.ask(clip, question, choices)
            if clip != clips[-1]:
                taken[which].append(time.perf_counter() - start)
    return taken


def main() -> None:
    """Print the object."""
    model, recording = sys.argv[1], Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        clips = windows(recording, Path(folder))
        ask = ["ask", str(clips[0]), QUESTIONS[0], "--choice", "male", "--choice", "female", "--model", model]
        # Before torch is loaded here, or the peak would be this process's.
        peaks = [measured(ask)[1] for _ in range(PROCESSES)]
        first, again = seconds_of(model, clips)
    import torch

    print(json.dumps({"seconds": first, "again": again, "bytes": peaks, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
