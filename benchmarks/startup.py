"""What `lalm-agent ask` takes from the shell's prompt to the answer, with a model that is up and without; and `--help`.

    .venv/bin/python benchmarks/startup.py [CLIP] [--model mini] [--pairs 5]

Each pair is one `ask` with and one without `up`, in turn, in processes of their own; medians, with the smallest and the
largest, and the ratio within pairs. A model of its own is brought up in a folder of its own, and taken down again.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from harness import CLIP, ENTRY, script

ASK = ("Which animal is heard?", "--choice", "dog", "--choice", "cat", "--choice", "cow", "--json")


def seconds(*arguments: str) -> float:
    """Of one command, which has to end well."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", ENTRY, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return time.perf_counter() - start


def line(name: str, values: Sequence[float], unit: str = " s") -> str:
    """A row of the table."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:8.2f}{unit}  {low:7.2f} to {high:.2f}{unit}  {name}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", nargs="?", default=str(CLIP))
    parser.add_argument("--model", default="mini")
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    ask = ("ask", options.clip, *ASK, "--model", options.model)
    rows: dict[str, list[float]] = {"python -c pass": [], "--help": [], "ask, up": [], "ask --no-resident": []}
    rows["up, once"] = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LALM_HOME"] = folder
        rows["up, once"].append(seconds("up", "--model", options.model))
        try:
            for _ in range(options.pairs):
                start = time.perf_counter()
                subprocess.run([sys.executable, "-c", "pass"], check=True)
                rows["python -c pass"].append(time.perf_counter() - start)
                rows["--help"].append(seconds("--help"))
                rows["ask, up"].append(seconds(*ask))
                rows["ask --no-resident"].append(seconds(*ask, "--no-resident"))
        finally:
            seconds("down")
    for name, values in rows.items():
        print(line(name, values))
    pairs = zip(rows["ask --no-resident"], rows["ask, up"], strict=True)
    print(line("ask --no-resident : ask, up, in one pair", [without / with_up for without, with_up in pairs], ""))


if __name__ == "__main__":
    script(main)
