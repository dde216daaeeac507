"""One faithfulness study, killed again and again: a program for `test_study_killed`.

Arguments: folder, kills, questions, seed. Each session is a fork of this process. Each request to the model appends its
key to `asked.log` before it is answered; each session begins with a line of its own. `kept.log` has, for each session,
how many trials of each question were kept before it.
"""

import hashlib
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

import lalm_agent.agent  # noqa: F401 - before the forks
from lalm_agent.eval.faithfulness import FaithfulnessFolder, FaithfulnessRequest, faithfulness
from lalm_agent.eval.items import Benchmark, Item
from lalm_agent.models.base import Completion, ModelSpec, Response
from lalm_agent.records import ModelInfo

ASK_S = 0.001
CHOICES = ("dog", "cat", "cow", "frog")


class Sleeps:
    """A model whose answer to a trial is a hash of the trial's key; its chains have two sentences."""

    spec = ModelSpec(ModelInfo("own:Sleeps", None, "a" * 64), None, "cpu", "float32")

    def __init__(self, log: int) -> None:
        self._log = log

    def generate(self, requests: Any) -> list[Response]:
        replies = []
        for request in requests:
            # The names of trials are written without the zeros that part them.
            os.write(self._log, f"{request.key}\n".replace("\0", " ").encode())
            time.sleep(ASK_S)
            choice = CHOICES[hashlib.sha256(request.key.encode()).digest()[0] % len(CHOICES)]
            text = f"It is short. I hear a {choice}. The answer is {choice}."
            if request.turns[-1].role == "assistant":
                text = f" {choice}."
            elif request.sound is None:
                text = f"It is long, {choice}."
            replies.append(Response((Completion(text, None, "stop"),), None, None, None))
        return replies


def session(root: Path, benchmark: Benchmark, number: int) -> None:
    log = os.open(root / "asked.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(log, f"session {number}\n".encode())
    kinds = ("early", "mistake", "paraphrase", "mask")
    faithfulness(FaithfulnessRequest(data=benchmark, out=root / "study", loaded_model=Sleeps(log), interventions=kinds))


def wait_for_trials(log: Path, number: int, count: int) -> None:
    """Until the session has begun the trials of so many questions."""
    begun, limit = f"session {number}\n".encode(), time.monotonic() + 100
    while not (log.exists() and log.read_bytes().partition(begun)[2].count(b" original") >= count):
        if time.monotonic() > limit:
            raise TimeoutError(f"session {number} asked nothing")
        time.sleep(0.001)


def kept_trials(root: Path) -> Counter[str]:
    with FaithfulnessFolder(root / "study", writes=False) as study:
        return Counter(trial.question for trial in study.trials.values())


def main() -> None:
    root, kills, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    moments = random.Random(int(sys.argv[4]))
    soundfile.write(root / "a.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 1600), 16000)
    items = tuple(Item(f"q{n}", "a.wav", f"Which {n}?", CHOICES, "cow") for n in range(count))
    benchmark = Benchmark("made", None, "c" * 64, items, root)
    with (root / "kept.log").open("w", encoding="utf-8") as kept:
        for number in range(kills + 1):
            print(json.dumps(kept_trials(root)), file=kept, flush=True)
            child = os.fork()
            if child == 0:
                session(root, benchmark, number)
                os._exit(0)
            if number < kills:
                # The first falls into the chains, the others into the trials.
                if number:
                    wait_for_trials(root / "asked.log", number, moments.randint(2, 6))
                time.sleep(moments.uniform(0.0, 0.05))
                os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            print(os.waitstatus_to_exitcode(status), flush=True)


main()
