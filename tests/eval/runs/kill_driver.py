"""One eval, killed again and again: a program for `test_run_killed`. Arguments: folder, kills, questions, seed.

Each session is a fork of this process, so that what it imports is paid for once. Each ask appends one line to
`asked.log` before it is answered; each session begins with a line of its own. `kept.log` has, for each session, the
keys that were complete before it.
"""

import hashlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lalm_agent.eval.items import Benchmark, Item
from lalm_agent.eval.runs.ask import Asker, ask_all
from lalm_agent.eval.runs.folder import RunFolder, read_answers
from lalm_agent.eval.runs.plan import EvaluateRequest, make_plan
from lalm_agent.eval.runs.records import ClipFile, DataIdentity, RunIdentity, Session
from lalm_agent.records import Answer, AudioRef, Method, ModelInfo, Status, Step


def request_of(**fields: Any) -> EvaluateRequest:
    return EvaluateRequest(data="made", out=Path("out"), **fields)


THREADS = 3
ASK_S = 0.006
IDENTITY = RunIdentity(
    model="scripted:-",
    revision=None,
    weights_sha256=None,
    adapter_sha256=None,
    dtype="none",
    hears_audio=True,
    method="baseline",
    answer_mode="generate",
    tools={"answer": "lalm"},
    prompts={},
    max_new_tokens=256,
    temperature=0.0,
    top_p=1.0,
    top_k=0,
    seed=0,
    draws=1,
    data=DataIdentity(name="made", sha256="c" * 64),
    modality=(),
    shuffle_choices=True,
    audio="real",
    type_source="model",
    content_source="model",
    max_audio_s=60.0,
)
SESSION = Session(
    started="2026-01-01T00:00:00+00:00",
    command=(),
    versions={},
    commit=None,
    dirty=None,
    device="cpu",
    batch_size=1,
    concurrency=THREADS,
)


def benchmark(root: Path, count: int) -> Benchmark:
    (root / "a.wav").touch()
    items = tuple(Item(f"q{n}", "a.wav", "?", ("dog", "cat", "cow", "frog"), "cow") for n in range(count))
    return Benchmark("made", None, "c" * 64, items, root)


def session(root: Path, count: int, number: int) -> None:
    """What `lalm-agent eval` does, with a model that sleeps and whose reply is a hash of the question."""
    log = os.open(root / "asked.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(log, f"session {number}\n".encode())

    def ask(audio: str, text: str, choices: Sequence[str], id: str, draw: int) -> Answer:
        os.write(log, f"{id}\n".encode())
        time.sleep(ASK_S)
        choice = hashlib.sha256(id.encode()).digest()[0] % len(choices)
        ref = AudioRef(audio, "0" * 64, 1.0, 16000, 1)
        return Answer(
            status=Status.ANSWERED,
            answer=choices[choice],
            choice=choice,
            audio_type=None,
            content=None,
            confidence=None,
            reason=None,
            heard_s=(0.0, 1.0),
            audio=ref,
            method=Method.BASELINE,
            tools={},
            model=ModelInfo("scripted:-"),
            steps=(Step("answer", "lalm", "a long prompt " * 40, choices[choice], 0.0),),
        )

    with RunFolder(root / "run") as folder:
        plan = make_plan(benchmark(root, count), request_of(shuffle_choices=True), folder.items, folder.answers)
        folder.begin(IDENTITY, plan, SESSION)
        ask_all(plan.left, Asker(ask, lambda item: ClipFile(item.audio)), folder.keep, THREADS)


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
    with (root / "kept.log").open("w", encoding="utf-8") as kept:
        for number in range(kills + 1):
            print(json.dumps([id_ for id_, _ in read_answers(root / "run")]), file=kept, flush=True)
            child = os.fork()
            if child == 0:
                session(root, count, number)
                os._exit(0)
            if number < kills:
                # Every fifth may fall into the start, the others into the asking.
                if number % 5:
                    wait_for_an_ask(root / "asked.log", number)
                time.sleep(moments.uniform(0.0, 0.1))
                os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            print(os.waitstatus_to_exitcode(status), flush=True)


main()
