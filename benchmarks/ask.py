"""What a cold `ask` costs beside bare imports, and what a second question about the same clip costs.

    .venv/bin/python benchmarks/ask.py [CLIP]

Every figure is the median of interleaved runs on this machine; ratios compare runs of one call. The agent's own tools
only (`--tools paper`): the seconds of an external tool such as pocketsphinx are its own.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 5
QUESTION = "Which animal is heard?"
CHOICES = ("dog", "cat", "cow", "frog")
PACKAGES = "import torch, transformers, langgraph.graph"
CLASSES = f"{PACKAGES}; from transformers import Qwen2AudioForConditionalGeneration, Qwen2AudioProcessor"
ASK = "from lalm_agent.cli.main import main; main()"


def seconds_of(code: str, *arguments: str) -> float:
    """Wall-clock seconds of a fresh interpreter running `code`."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


def cold(clip: str) -> dict[str, float]:
    """Median seconds of each kind of fresh process."""
    choices = [part for choice in CHOICES for part in ("--choice", choice)]
    commands = {
        "import torch, transformers, langgraph.graph": (PACKAGES,),
        "the same and the Qwen2-Audio classes": (CLASSES,),
        "lalm-agent --help": (ASK, "--help"),
        "lalm-agent ask": (ASK, "ask", clip, QUESTION, *choices, "--tools", "paper"),
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for run in range(RUNS + 1):
        for name, command in commands.items():
            taken = seconds_of(*command)
            if run:
                times[name].append(taken)
    return {name: statistics.median(values) for name, values in times.items()}


def warm(clip: str) -> list[float]:
    """Seconds of each further question about one clip in one process."""
    from lalm_agent.agent import Agent
    from lalm_agent.config import AgentConfig

    agent = Agent(AgentConfig(preset="paper"))
    agent.ask(clip, QUESTION, CHOICES)
    taken = []
    for number in range(RUNS):
        start = time.perf_counter()
        agent.ask(clip, f"{QUESTION} Say it for the {number + 2}nd time.", CHOICES)
        taken.append(time.perf_counter() - start)
    return taken


def main() -> None:
    """Print the table."""
    clip = sys.argv[1] if len(sys.argv) > 1 else str(Path(__file__).parents[1] / "examples" / "clip.wav")
    medians = cold(clip)
    for name, seconds in medians.items():
        print(f"{seconds:6.2f} s  {name}")
    ask = medians["lalm-agent ask"]
    for name in list(medians)[:2]:
        print(f"{ask / medians[name]:6.2f}    ask : {name}")
    further = warm(clip)
    median, longest = statistics.median(further), max(further)
    print(f"{median:6.3f} s  a further question about the same clip in one process (longest {longest:.3f} s)")


if __name__ == "__main__":
    main()
