"""How the cost of an evaluation grows: with questions, questions a clip, choices, and the length of the clip.

    .venv/bin/python benchmarks/growth.py [--part questions|clips|choices|audio] [--most N]

Each row is a cost by itself and for each unit. `order` compares it with the row before: the cost grew with that power
of the size; above 1.15 it is worse than linear and marked. Seconds are of this process's CPUs: run it with
OMP_NUM_THREADS=1. `questions` is what graph, store and bookkeeping cost, because its model is a stub that answers at
once; `MB` is the process's resident memory after that many, in a process of its own for each row.
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
from harness import KIB, script

from lalm_agent import AgentConfig
from lalm_agent.eval import EvaluateRequest, evaluate
from lalm_agent.eval.items import Benchmark, Item
from lalm_agent.models.base import Completion, ModelSpec, OptionScore, Request, Response
from lalm_agent.records import ModelInfo

RATE, WORSE = 16_000, 1.15
LINE = "--one"
PARTS = {
    "questions": ((100, 1_000, 10_000), "questions to a stub, all three steps"),
    "clips": ((1, 2, 4, 8), "questions about one clip, asked of mini"),
    "choices": ((2, 5, 10, 20, 50, 100), "choices of one question, scored by mini"),
    "audio": ((1, 10, 60, 600, 3_600), "seconds of the clip of one question to a stub"),
}


class Stub:
    """Answers at once and keeps nothing."""

    spec = ModelSpec(ModelInfo("stub"), window_s=10.0, device="none", dtype="none")

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """`sound` to everything."""
        return [self._response(request) for request in requests]

    def _response(self, request: Request) -> Response:
        if request.sound is not None:
            request.sound.mono(RATE, self.spec.window_s)
        scores = tuple(OptionScore(text, -1.0, 1) for text in request.options)
        return Response((Completion("sound", None, "stop"),) * request.n, scores or None, (0.0, 1.0), None)


def clip(path: Path, seconds: float) -> None:
    """Noise of one channel, written second by second."""
    rng = np.random.default_rng(len(path.stem))
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        for _ in range(math.ceil(seconds)):
            file.write(0.1 * rng.standard_normal(round(RATE * min(seconds, 1))))
    # As a data set that has been there for a while.
    os.utime(path, (0, 0))


def benchmark(root: Path, part: str, size: int) -> Benchmark:
    """The questions of a row."""
    words = [f"sound number {number}" for number in range(size if part == "choices" else 4)]
    questions, clips = {"questions": (size, 20), "clips": (size, 1)}.get(part, (1, 1))
    for number in range(clips):
        clip(root / f"{number}.wav", size if part == "audio" else 1)
    items = (
        Item(f"q{n}", f"{n % clips}.wav", f"Which is heard, by the {n}th?", tuple(words), words[0])
        for n in range(questions)
    )
    return Benchmark("growth", None, f"{part} {size}", tuple(items), root)


def seconds(part: str, size: int) -> float:
    """Of the CPUs, for one evaluation; the second of two where the model is one that has to warm up."""
    from lalm_agent.eval.runs.evaluate import load_models

    stub, method = part in ("questions", "audio"), "agent" if part in ("questions", "audio") else "baseline"
    config = AgentConfig(model="mini", method=method, preset="paper", max_audio_s=3600, max_new_tokens=4)
    model = Stub() if stub else load_models(config, 1)[0]
    taken = 0.0
    with tempfile.TemporaryDirectory() as place:
        data = benchmark(Path(place), part, size)
        for number in range(1 if part == "questions" else 3):
            out, start = Path(place, f"run{number}"), time.process_time()
            evaluate(EvaluateRequest(data=data, out=out, config=config, loaded_model=model))
            taken = time.process_time() - start
    return taken


def rows(part: str, most: int) -> Iterator[str]:
    """The lines of a part's table, each size in a process of its own."""
    sizes, unit = PARTS[part]
    yield f"{unit:48} {'ms':>10} {'ms each':>9} {'MB':>6}  order"
    before: tuple[int, float] | None = None
    for size in (size for size in sizes if size <= most):
        command = [sys.executable, "-W", "ignore", __file__, "--part", part, LINE, str(size)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        taken, memory = map(float, done.stdout.split())
        order = math.log(taken / before[1]) / math.log(size / before[0]) if before else 0.0
        said = f"{order:5.2f}{'  worse than linear' if order > WORSE else ''}" if before else "    -"
        yield f"{size:48,} {1e3 * taken:10.1f} {1e3 * taken / size:9.3f} {memory / 1e6:6.0f}  {said}"
        before = (size, taken)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, help="one table alone")
    parser.add_argument("--most", type=int, default=10_000, metavar="N", help="no larger size than that")
    parser.add_argument(LINE, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        import resource

        taken = seconds(options.part, options.one)
        print(taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB)
        return
    for part in PARTS if options.part is None else (options.part,):
        for line in rows(part, options.most):
            print(line, flush=True)


if __name__ == "__main__":
    script(main)
