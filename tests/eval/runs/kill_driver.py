"""One run of `evaluate`, killed again and again: a program for `test_run_killed`.

Arguments: folder, kills, questions, seed. Each session is a fork of this process, so that what it imports is paid for
once. Each request to the model appends one line to `asked.log` before it is answered; each session begins with a line
of its own. `kept.log` has, for each session, the ids that were complete before it.
"""

import hashlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

import lalm_agent.agent  # noqa: F401 - before the forks
from lalm_agent import AgentConfig
from lalm_agent.eval import EvaluateRequest, evaluate
from lalm_agent.eval.items import Benchmark, Item
from lalm_agent.eval.runs.folder import read_answers
from lalm_agent.models.base import Completion, ModelSpec, Response
from lalm_agent.records import ModelInfo

THREADS = 3
ASK_S = 0.006
CHOICES = ("dog", "cat", "cow", "frog")


class Sleeps:
    """A model whose reply is a hash of the question."""

    spec = ModelSpec(ModelInfo("own:Sleeps", None, "a" * 64), None, "cpu", "float32")

    def __init__(self, log: int) -> None:
        self._log = log

    def generate(self, requests: Any) -> list[Response]:
        replies = []
        for request in requests:
            os.write(self._log, f"{request.key}\n".encode())
            time.sleep(ASK_S)
            choice = CHOICES[hashlib.sha256(request.key.encode()).digest()[0] % len(CHOICES)]
            replies.append(Response((Completion(choice, None, "stop"),), None, (0.0, 0.1), None))
        return replies


def session(root: Path, benchmark: Benchmark, number: int) -> None:
    log = os.open(root / "asked.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(log, f"session {number}\n".encode())
    config = AgentConfig(method="baseline")
    choices = {"shuffle_choices": True, "concurrency": THREADS}
    evaluate(EvaluateRequest(data=benchmark, out=root / "run", config=config, loaded_model=Sleeps(log), **choices))


def wait_for_an_ask(log: Path, number: int) -> None:
    """Until the session has asked its first question."""
    begun, limit = f"session {number}\nq".encode(), time.monotonic() + 100
    while not (log.exists() and begun in log.read_bytes()):
        if time.monotonic() > limit:
            raise TimeoutError(f"session {number} asked nothing")
        time.sleep(0.001)


def main() -> None:
    root, kills, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    moments = random.Random(int(sys.argv[4]))
    soundfile.write(root / "a.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 1600), 16000)
    items = tuple(Item(f"q{n}", "a.wav", "Which?", CHOICES, "cow") for n in range(count))
    benchmark = Benchmark("made", None, "c" * 64, items, root)
    with (root / "kept.log").open("w", encoding="utf-8") as kept:
        for number in range(kills + 1):
            print(json.dumps([id_ for id_, _ in read_answers(root / "run")]), file=kept, flush=True)
            child = os.fork()
            if child == 0:
                session(root, benchmark, number)
                os._exit(0)
            if number < kills:
                # Every fifth may fall into the start, the others into the asking.
                if number % 5:
                    wait_for_an_ask(root / "asked.log", number)
                time.sleep(moments.uniform(0.0, 0.06))
                os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            print(os.waitstatus_to_exitcode(status), flush=True)


main()
