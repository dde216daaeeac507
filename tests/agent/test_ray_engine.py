"""A real Ray cluster of two workers on this machine: the same answers as in one process, whoever is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lalm_agent import AgentConfig
from lalm_agent.cli.main import run
from lalm_agent.errors import DataError, PermanentBackendError
from lalm_agent.eval import EvaluateRequest, Observer, evaluate
from lalm_agent.eval.faithfulness import open_study
from lalm_agent.eval.runs.folder import read_answers
from lalm_agent.eval.runs.records import Key, StoredAnswer
from lalm_agent.jobs import ResumableTask, TaskObserver
from lalm_agent.models.ray_engine import RayEngine, RayPool, connect

ENGINE = RayEngine(workers=2)
ON_RAY = ("--engine", "ray", "--workers", "2")
CLIPS, CHOICES = 6, ("dog", "cat", "cow")
CODE = "import sys; from lalm_agent.cli.main import main; main(sys.argv[1:])"
PATIENCE_S, STARTS = 500.0, 5
pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to look for processes"),
]

MODEL = '''
import hashlib, time
from lalm_agent.models.base import Completion, ModelSpec, Response
from lalm_agent.records import ModelInfo

class Hears:
    """Its reply is a hash of what it is asked."""
    def __init__(self):
        self.spec = ModelSpec(ModelInfo("ray_model:Hears", None, "f" * 64), None, "cpu", "float32")
    def generate(self, requests):
        time.sleep(0.2)
        return [Response(tuple(map(self.reply(request), range(request.n))), None, None, None) for request in requests]
    def reply(self, request):
        said = f"{request.key} {request.sound.ref.sha256} {request.sound.samples.sum()}"
        return lambda at: Completion(hashlib.sha256(f"{said} {request.draw + at}".encode()).hexdigest(), None, "stop")
'''


def descendants(pid: int) -> dict[int, str]:
    """Process -> its command line, of those that a process has started and of theirs."""
    parents, lines = dict[int, int](), dict[int, str]()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            lines[int(stat.parent.name)] = (stat.parent / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if fields[0] != "Z":
            parents[int(stat.parent.name)] = int(fields[1])
    below, new = dict[int, str](), {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new}
        below |= {child: lines[child] for child in new}
    return below


def kill_a_worker() -> None:
    workers = [pid for pid, line in descendants(os.getpid()).items() if line.startswith("ray::_Worker")]
    assert len(workers) >= 2
    os.kill(workers[0], signal.SIGKILL)


def wait_for(what: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


CLUSTER = """
import os, secrets, sys
from lalm_agent.models.ray_engine import RayEngine, connect
print(connect(RayEngine(workers=2)).get_runtime_context().gcs_address, os.environ["RAY_AUTH_TOKEN"], flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster as the first command with `--engine ray` starts it; this process is connected.

    Its process is another one, because Ray gives up where a busy machine takes more than 30 s to start it.
    """
    before, command = dict(os.environ), [sys.executable, "-c", CLUSTER]
    for _ in range(STARTS):
        owner = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert owner.stdout is not None
        if line := owner.stdout.readline():
            break
        owner.communicate()
    address, token = line.split()
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    try:
        ray = connect(RayEngine(workers=2, address=address))
        yield address
        ray.shutdown()
    finally:
        started = descendants(owner.pid)
        owner.communicate()
        os.environ.clear()
        os.environ.update(before)
    wait_for(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in started))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two questions about each of a few clips, in the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ray_model.py").write_text(MODEL)
    rng, rows = np.random.default_rng(0), []
    for clip in range(CLIPS):
        soundfile.write(tmp_path / f"{clip}.wav", rng.standard_normal(16_000) * 0.1, 16_000)
        for text in ("Which animal is heard?", "Which animal is loudest?"):
            rows.append({"id": f"q{len(rows)}", "audio": f"{clip}.wav", "question": text, "choices": CHOICES})
    path = tmp_path / "bench.jsonl"
    path.write_text("".join(json.dumps(row | {"answer": "dog", "modality": "sound"}) + "\n" for row in rows))
    return path


def untimed(answers: dict[Key, StoredAnswer]) -> dict[Key, StoredAnswer]:
    """Without what two runs on one machine do not share either: times, and which of two questions met a clip first."""
    return {
        key: replace(
            answer, seconds=0.0, steps=tuple(replace(step, seconds=0.0, cached=False) for step in answer.steps)
        )
        for key, answer in answers.items()
    }


@dataclass
class Killer(Observer):
    """Kills a worker after the third answer."""

    left: int = 3

    def answered(self, answer: StoredAnswer) -> None:
        self.left -= 1
        if self.left == 0:
            kill_a_worker()


def test_an_evaluation_whose_worker_is_killed_gives_the_same_answers(cluster: str, bench: Path, capfd: Any) -> None:
    config = AgentConfig(model="mini", method="agent", max_new_tokens=8)
    alone = evaluate(EvaluateRequest(data=bench, out="alone", config=config, batch_size=2))
    killer = Killer()
    spread = evaluate(EvaluateRequest(data=bench, out="spread", config=config, batch_size=2, ray=ENGINE), killer)
    assert killer.left < 0
    assert len(alone.answers) == 2 * CLIPS
    assert untimed(spread.answers) == untimed(alone.answers)
    assert spread.spec.identity == alone.spec.identity
    assert [run.spec.sessions[0].engine for run in (alone, spread)] == [None, "ray, 2 workers"]
    said = capfd.readouterr()
    assert said.out == ""
    assert "died; what it was at is done again by another one" in said.err


def test_a_bank_whose_driver_is_killed_goes_on(cluster: str, bench: Path, said: Any) -> None:
    command = ["idk", "sample", "bench.jsonl", "--model", "ray_model:Hears", "--n", "3"]
    assert run([*command, "--out", "alone"]) == 0
    spread = [*command, "--out", "spread", *ON_RAY]
    driver = subprocess.Popen([sys.executable, "-c", CODE, *spread, "--address", cluster], stderr=subprocess.DEVNULL)
    lines = Path("spread/answers.jsonl")
    try:
        wait_for(lambda: (lines.is_file() and lines.read_bytes().count(b"\n") >= 3) or driver.poll() is not None)
        assert driver.poll() is None
    finally:
        driver.kill()
        driver.wait()
    kept = len(read_answers(Path("spread")))
    assert 3 <= kept < 3 * 2 * CLIPS
    assert run(spread) == 0
    assert f"resume: {kept} answers are there" in said()[1]
    assert untimed(read_answers(Path("spread"))) == untimed(read_answers(Path("alone")))


def test_a_study_of_faithfulness_has_the_same_trials(cluster: str, bench: Path) -> None:
    command = ["faithfulness", "bench.jsonl", "--limit", "2", "--intervention", "filler", "--max-new-tokens", "8"]
    assert run([*command, "--out", "alone"]) == 0
    assert run([*command, "--out", "spread", *ON_RAY]) == 0
    alone, spread = open_study(Path("alone")), open_study(Path("spread"))
    assert len(alone.trials) > 20
    assert (spread.trials, spread.chains) == (alone.trials, alone.chains)
    assert spread.identity == alone.identity


class Part:
    """Stands for a worker of a study: keeps what it did in a folder; one of its tasks kills it the first time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, what: str) -> str:
        (self.folder / f"{what}-{os.getpid()}").touch()
        if what == "deadly" or (what == "once" and len(list(self.folder.glob("once-*"))) == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "fail":
            raise DataError("it failed", "mend it")
        return what


@dataclass
class Told(TaskObserver):
    results: list[Any]

    def ended(self, task: ResumableTask, result: Any, seconds: float) -> None:
        self.results.append(result)


def test_tasks_of_a_worker_that_is_killed_are_done_by_another(cluster: str, tmp_path: Path) -> None:
    """What a study of transfer does with its parts."""
    pool, told = RayPool(ENGINE, partial(Part, tmp_path)), Told([])
    with pytest.raises(DataError, match="it failed") as error:
        pool.call("fail")
    assert error.value.hint == "mend it"
    with pytest.raises(PermanentBackendError, match="3 workers died of the same work"):
        pool.call("deadly")
    needs = {"1": ("0",), "2": ("1",)}
    pool.run_tasks([ResumableTask(name, name, needs.get(name, ())) for name in ("1", "once", "0", "2")], told)
    assert sorted(told.results) == ["0", "1", "2", "once"]
    assert [name for name in told.results if name != "once"] == ["0", "1", "2"]
    assert len(list(tmp_path.glob("once-*"))) == 2


def test_what_cannot_be_is_refused(cluster: str, bench: Path, said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["eval", "bench.jsonl", "--out", "refused"]
    for more, words in (
        (("--engine", "ray", "--workers", "3"), "3 workers need 3 CPUs, and the Ray cluster has 2"),
        (("--engine", "ray"), "--workers N"),
        (("--workers", "2"), "--engine ray"),
        ((*ON_RAY, "--model", "nowhere:at_all"), "the worker on "),
        ((*ON_RAY, "--model", "openai:gpt@http://127.0.0.1:1/v1"), "an endpoint needs no workers"),
    ):
        assert run([*command, *more]) == 2
        assert words in said()[1]
    assert not Path("refused/spec.json").exists()
    monkeypatch.setattr("lalm_agent.registry.is_installed", lambda module: module != "ray")
    assert run([*command, *ON_RAY]) == 2
    assert "error: --engine ray needs ray\ntry: pip install" in said()[1]
