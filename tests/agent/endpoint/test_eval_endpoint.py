"""`lalm-agent eval` of an endpoint, end to end against a server on this machine."""

import hashlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lalm_agent.cli.main import run
from lalm_agent.eval.runs.folder import run_outputs
from lalm_agent.models import endpoint

CLIPS, QUESTIONS = 6, 12
WORDS = ("dog", "cat", "cow", "IDK")
COMMAND = "from lalm_agent.cli.main import main; main()"


@dataclass(frozen=True)
class Place:
    """A folder with a benchmark of two questions about each of six clips, and the server's model."""

    path: Path
    url: str
    capsys: pytest.CaptureFixture[str]

    def arguments(self, *more: str) -> list[str]:
        model = f"openai:tiny@{self.url}"
        return ["eval", "bench.jsonl", "--model", model, "--concurrency", "4", "--out", "out", *more]

    def eval(self, *more: str) -> tuple[int, list[str]]:
        """The exit code and the lines on stderr."""
        code = run(self.arguments(*(more or ("--method", "baseline"))))
        return code, self.capsys.readouterr().err.splitlines()

    def answers(self) -> dict[str, dict[str, Any]]:
        """The last line of each question."""
        lines = (self.path / "out" / "answers.jsonl").read_text("utf-8").splitlines()
        return {line["id"]: line for line in map(json.loads, lines)}

    def statuses(self) -> Counter[str]:
        return Counter(line["status"] for line in self.answers().values())


@pytest.fixture
def place(tmp_path: Path, stub: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Place:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    rows = []
    for n in range(CLIPS):
        soundfile.write(tmp_path / f"{n}.wav", rng.integers(-9000, 9000, 800).astype(np.int16), 8000)
        rows += [
            {
                "id": f"{n}{part}",
                "audio": f"{n}.wav",
                "question": f"Which animal is {n}{part}?",
                "choices": WORDS[:3],
                "answer": WORDS[n % 3],
                "modality": "sound",
            }
            for part in "ab"
        ]
    (tmp_path / "bench.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    stub.script = lambda asked: stub.says(reply_to(asked.text))
    return Place(tmp_path, stub.url, capsys)


def reply_to(text: str) -> str:
    if text.startswith("Identify"):
        return "Sound"
    if text.startswith("What is the Sound content"):
        return "something"
    return WORDS[hashlib.sha256(text.encode()).digest()[0] % len(WORDS)]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """What servers asked to wait, for each wait; none takes time."""
    asked: list[float | None] = []

    def wait_s(attempts: int, asked_s: float | None) -> float:
        asked.append(asked_s)
        return 0.0

    monkeypatch.setattr(endpoint, "wait_s", wait_s)
    return asked


def errors(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith(("error:", "try:"))]


def test_it_finishes_and_nothing_is_sent_twice(place: Place, stub: Any) -> None:
    assert place.eval()[0] == 0
    assert (len(stub.asked), stub.most_at_once <= 4) == (QUESTIONS, True)
    answers = place.answers()
    assert set(place.statuses()) == {"answered", "abstained"}
    assert len(answers) == QUESTIONS

    code, err = place.eval()
    assert (code, len(stub.asked)) == (0, QUESTIONS)
    assert f"nothing to do: all {QUESTIONS} questions of out are answered" in err

    (place.path / "out" / "answers.jsonl").unlink()
    assert place.eval()[0] == 0
    assert len(stub.asked) == QUESTIONS, "the responses are kept beside the answers"
    assert {id_: line["reply"] for id_, line in place.answers().items()} == {
        id_: line["reply"] for id_, line in answers.items()
    }


def test_a_budget_stops_in_one_line_and_the_next_call_goes_on(place: Place, stub: Any) -> None:
    for answered in (5, 10):
        code, err = place.eval("--method", "baseline", "--max-requests", "5")
        assert code == 2
        assert [line for line in errors(err) if "the limit of 5 requests is reached" in line] == errors(err)[:1]
        assert len(errors(err)) == 2
        assert (len(place.answers()), len(stub.asked)) == (answered, answered)
        assert "failed" not in place.statuses()
    assert place.eval("--method", "baseline", "--max-requests", "5")[0] == 0
    assert (len(place.answers()), len(stub.asked)) == (QUESTIONS, QUESTIONS)


def test_three_requests_a_question_of_which_two_are_the_clips(place: Place, stub: Any) -> None:
    assert place.eval("--method", "agent", "--limit", "1")[0] == 0
    assert [reply_to(asked.text) for asked in stub.asked][:2] == ["Sound", "something"]
    assert len(stub.asked) == 3
    assert place.eval("--method", "agent")[0] == 0
    kinds = Counter(asked.text.split()[0] for asked in stub.asked if not asked.text.startswith("There is"))
    assert len(stub.asked) == CLIPS + CLIPS + QUESTIONS, kinds
    assert "failed" not in place.statuses()


def test_a_budget_within_a_question_pays_for_nothing_twice(place: Place, stub: Any) -> None:
    codes = []
    while not codes or (codes[-1] == 2 and len(codes) < 10):
        before = len(stub.asked)
        codes.append(place.eval("--method", "agent", "--max-requests", "7")[0])
        assert len(stub.asked) - before <= 7
        answers = place.path / "out" / "answers.jsonl"
        assert not answers.exists() or "failed" not in place.statuses()
    assert codes == [2, 2, 2, 0]
    assert len(stub.asked) == CLIPS + CLIPS + QUESTIONS


def test_a_dead_server_stops_the_run_and_the_failed_are_asked_once_it_lives(
    place: Place, stub: Any, waits: list[float | None]
) -> None:
    port = free_port()
    dead = Place(place.path, f"http://127.0.0.1:{port}/v1", place.capsys)
    code, err = dead.eval()
    assert code == 2
    error, hint = errors(err)
    assert error.startswith(f"error: stopped after 5 questions in a row failed: no reply from {dead.url}: ")
    assert "--retry-failed" in hint
    # Those that were out when the fifth failed are kept as well.
    failed = len(dead.answers())
    assert 5 <= failed <= 5 + 3
    assert dead.statuses() == {"failed": failed}
    with serving_at(port, stub) as server:
        assert dead.eval()[0] == 0
        assert (len(server.asked), dead.statuses()["failed"]) == (QUESTIONS - failed, failed)
        assert dead.eval("--method", "baseline", "--retry-failed")[0] == 0
        assert (len(server.asked), "failed" in dead.statuses()) == (QUESTIONS, False)


def test_a_server_that_is_never_well_gets_five_requests_a_question(
    place: Place, stub: Any, waits: list[float | None]
) -> None:
    """One layer of retries: neither the graph nor the evaluation multiplies the endpoint's own."""
    stub.plays(stub.refuses(503, "busy"))
    for method in ("baseline", "agent"):
        del stub.asked[:]
        code, _ = place.eval("--method", method, "--out", method, "--limit", "2")
        answers = list(map(json.loads, (place.path / method / "answers.jsonl").read_text("utf-8").splitlines()))
        assert code == 2 or [line["status"] for line in answers] == ["failed", "failed"]
        assert len(stub.asked) == 2 * 5
        assert all("(5 attempts)" in line["failure"]["message"] for line in answers)


def test_a_wait_is_told_on_the_screen(place: Place, stub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "LONGEST_ASKED_S", 1.0)
    stub.plays(stub.refuses(429, "slow down", Retry_After="86400"), stub.says("dog"))
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            COMMAND.replace(
                "import main;", "import main; from lalm_agent.models import endpoint; endpoint.LONGEST_ASKED_S = 1.0;"
            ),
            *place.arguments("--method", "baseline", "--limit", "1"),
        ],
        cwd=place.path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"{stub.url} answered 429: slow down: waiting 1 s before attempt 2" in done.stderr


def test_the_responding_model_and_the_raw_reply_are_kept(place: Place, stub: Any) -> None:
    message = {"choices": [stub.choice("<think>barks</think> dog")], "model": "tiny-2026-11-28"}
    stub.plays(stub.json(message))
    assert place.eval("--method", "baseline", "--limit", "1")[0] == 0
    (answer,) = place.answers().values()
    assert (answer["reply"], answer["raw"]) == ("dog", "<think>barks</think> dog")
    assert answer["responder"] == "tiny-2026-11-28"


def test_a_change_of_the_responding_model_is_told(place: Place, stub: Any) -> None:
    def says(model: str) -> Any:
        return stub.json({"choices": [stub.choice("dog")], "model": model})

    stub.plays(says("tiny-1"))
    assert place.eval("--method", "baseline", "--limit", "1")[0] == 0
    stub.plays(says("tiny-1"), says("tiny-2"))
    code, said = place.eval("--method", "baseline", "--limit", "4", "--concurrency", "1")
    assert code == 0
    assert sum("the endpoint answers by another model now: tiny-2" in line for line in said) == 1
    outputs = run_outputs(place.path / "out")
    assert outputs.facts["responder"] == "tiny-1, tiny-2"
    assert "the endpoint answered by 2 models: tiny-1 (2 answers), tiny-2 (2 answers)" in outputs.warnings


def test_rate_limits_in_between_lose_nothing(place: Place, stub: Any, waits: list[float | None]) -> None:
    met: set[str] = set()

    def busy(asked: Any) -> Any:
        first = asked.text not in met
        met.add(asked.text)
        return stub.refuses(429, "slow down", Retry_After="3") if first else stub.says(reply_to(asked.text))

    stub.script = busy
    assert place.eval()[0] == 0
    assert len(stub.asked) == 2 * QUESTIONS
    assert waits == [3.0] * QUESTIONS
    assert "failed" not in place.statuses()
    assert sum(place.statuses().values()) == QUESTIONS


def test_ctrl_c_keeps_what_is_complete(place: Place, stub: Any) -> None:
    stub.thinks_s = 0.1
    command = [sys.executable, "-c", COMMAND, *place.arguments("--method", "baseline", "--concurrency", "2")]
    process = subprocess.Popen(command, cwd=place.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    limit = time.monotonic() + 60
    while len(stub.asked) < 3 and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), err
    assert "Traceback" not in err
    complete, sent = set(place.answers()), len(stub.asked)
    assert 3 <= sent < QUESTIONS
    assert len(complete) == sent, "what was out was waited for"
    stub.thinks_s = 0.0
    code, lines = place.eval()
    assert code == 0
    assert f"resume: {len(complete)} answers are there, {QUESTIONS - len(complete)} are left" in lines
    assert len(stub.asked) == QUESTIONS
    assert len({asked.text for asked in stub.asked}) == QUESTIONS, "nothing complete was asked for again"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def serving_at(port: int, like: Any) -> Iterator[Any]:
    """Another server of the same kind and script, at a port."""
    make: Callable[[int], Any] = type(like)
    with make(port) as server:
        server.script = like.script
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
