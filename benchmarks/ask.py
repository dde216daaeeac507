"""What a cold `ask` costs beside bare imports, and what a further question costs where the model is loaded.

    .venv/bin/python benchmarks/ask.py [CLIP]
    .venv/bin/python benchmarks/ask.py --windows RECORDING [--model mini]

The first prints medians of interleaved runs on this machine; ratios compare runs of one call. The agent's own tools
only (`--tools paper`): the seconds of an external tool such as pocketsphinx are its own.

The second prints one JSON object, of which `mini.py` makes rows: `seconds`, one for each of eleven windows of 10 s of
the recording, asked by the model alone (type, content and answer); `again`, a second question about each, whose type
and content are known; `threads`; `bytes`, the peak memory of three processes of `lalm-agent ask` with default tools.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from harness import CLIP, ENTRY, measured, medians, script

from lalm_agent.errors import UsageError

RUNS = 5
QUESTION, CHOICES = "Which animal is heard?", ("dog", "cat", "cow", "frog")
PACKAGES = "import torch, transformers, langgraph.graph"
CLASSES = f"{PACKAGES}; from transformers import Qwen2AudioForConditionalGeneration, Qwen2AudioProcessor"
CLIP_S, HOP_S, WINDOWS, PROCESSES = 10.0, 0.1, 11, 3
SPOKEN = {
    "Is the speaker male or female?": ("male", "female"),
    "Which language is spoken?": ("English", "French", "German", "Spanish"),
}


def fresh(code: str, *arguments: str) -> Callable[[], object]:
    """A job: a fresh interpreter that runs `code`."""
    return lambda: subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)


def table(clip: str) -> None:
    """Print what a cold and a warm question cost."""
    from lalm_agent import Agent

    choices = [part for choice in CHOICES for part in ("--choice", choice)]
    ask = ("ask", clip, QUESTION, *choices, "--tools", "paper")
    agent = Agent(preset="paper")
    # Before anything is measured, so that a clip that cannot be read ends here.
    agent.ask(clip, QUESTION, CHOICES)
    jobs = {
        PACKAGES: fresh(PACKAGES),
        "the same and the Qwen2-Audio classes": fresh(CLASSES),
        "lalm-agent --help": fresh(ENTRY, "--help"),
        "lalm-agent ask": fresh(ENTRY, *ask),
    }
    seconds = {name: clock for name, (clock, _) in medians(jobs, RUNS).items()}
    for name, value in seconds.items():
        print(f"{value:6.2f} s  {name}")
    for name in list(jobs)[:2]:
        print(f"{seconds['lalm-agent ask'] / seconds[name]:6.2f}    ask : {name}")
    warm = []
    for number in range(RUNS):
        start = time.perf_counter()
        agent.ask(clip, f"{QUESTION} Say it for the {number + 2}nd time.", CHOICES)
        warm.append(time.perf_counter() - start)
    what = "a further question about the same clip in one process"
    print(f"{statistics.median(warm):6.3f} s  {what} (longest {max(warm):.3f} s)")


def cut(recording: Path, folder: Path) -> list[Path]:
    """The windows to measure and one more to warm up, each a file; contents differ, so nothing is remembered."""
    import soundfile

    if not recording.is_file():
        raise UsageError(f"{recording} is no recording", "--windows FILE")
    samples, rate = soundfile.read(recording)
    starts = [*(number * HOP_S for number in range(WINDOWS)), HOP_S / 2]
    if len(samples) < (max(starts) + CLIP_S) * rate:
        raise UsageError(f"{recording} is too short", f"it should be {max(starts) + CLIP_S:g} s long at least")
    paths = [folder / f"{number}.wav" for number in range(len(starts))]
    for path, start in zip(paths, starts, strict=True):
        soundfile.write(path, samples[int(start * rate) :][: int(CLIP_S * rate)], rate)
    return paths


def windows(model: str, recording: Path) -> dict[str, object]:
    """The object that `--windows` prints."""
    question, choices = next(iter(SPOKEN.items()))
    with tempfile.TemporaryDirectory() as folder:
        *clips, warm_up = cut(recording, Path(folder))
        ask = ["ask", str(clips[0]), question, "--choice", choices[0], "--choice", choices[1], "--model", model]
        # Before torch is loaded here, or the peak would be this process's.
        peaks = [measured(ask)[1] for _ in range(PROCESSES)]
        from lalm_agent import Agent

        agent = Agent(model=model, preset="paper")
        taken: dict[str, list[float]] = {question: [] for question in SPOKEN}
        for clip in (warm_up, *clips):
            for question, choices in SPOKEN.items():
                start = time.perf_counter()
                agent.ask(clip, question, choices)
                taken[question].append(time.perf_counter() - start)
    import torch

    first, again = (seconds[1:] for seconds in taken.values())
    return {"seconds": first, "again": again, "bytes": peaks, "threads": torch.get_num_threads()}


def main() -> None:
    """Print the table or the object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", nargs="?", default=str(CLIP))
    parser.add_argument("--windows", type=Path, metavar="RECORDING", help="measure windows of a recording")
    parser.add_argument("--model", default="mini", help="of --windows (default: mini)")
    options = parser.parse_args()
    if options.windows:
        print(json.dumps(windows(options.model, options.windows)))
    else:
        table(options.clip)


if __name__ == "__main__":
    script(main)
