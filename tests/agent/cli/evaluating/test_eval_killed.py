"""The real command killed, interrupted and run twice at once."""

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

COMMAND = "from lalm_agent.cli.main import main; main()"
SLOW, VERY_SLOW = "eval_model:Hears:0.03", "eval_model:Hears:60"
STARTING_S = 60.0


@pytest.fixture
def started(place: Any) -> Callable[..., subprocess.Popen[str]]:
    """`lalm-agent eval` in a process of its own, returned once it has asked a few questions."""

    def start(more_asks: int = 5, model: str = SLOW) -> subprocess.Popen[str]:
        before = len(place.asks())
        command = [sys.executable, "-c", COMMAND, "eval", "bench.jsonl", "--model", model, "--method", "baseline"]
        process = subprocess.Popen(
            [*command, "--out", "out", "--concurrency", "2"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=place.path,
        )
        limit = time.monotonic() + STARTING_S
        while len(place.asks()) < before + more_asks and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.005)
        return process

    return start


def test_a_kill_and_a_ctrl_c_change_no_answer_and_nothing_complete_is_asked_again(
    place: Any, started: Any, said: Any
) -> None:
    assert place.eval("--method", "baseline", out="calm", model=SLOW) == 0
    (place.path / "asks.log").unlink()
    with started() as process:
        process.kill()
    assert process.returncode == -signal.SIGKILL
    killed = len(place.asks()), set(place.answers())
    process = started(3)
    said()
    assert place.eval("--method", "baseline", model=SLOW) == 2
    refused = [line for line in said()[1].splitlines() if line.startswith(("error", "try"))]
    assert refused == [
        "error: another process is asking the questions of out",
        "try: wait for it, or give another --out",
    ]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=100)
    assert (process.returncode, out) == (130, ""), err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith(f"kept {len(place.answers())} of 24 answers in out; the same command goes")
    interrupted = len(place.asks()), set(place.answers())
    asks = [(key, draw) for key, draw, *_ in place.asks()]
    assert set(asks[killed[0] :]) <= interrupted[1], "what was out was waited for"
    assert place.eval("--method", "baseline", model=SLOW) == 0
    assert f"resume: {len(interrupted[1])} answers are there" in said()[1]
    assert place.answers() == place.answers("calm")
    asks = [(key, draw) for key, draw, *_ in place.asks()]
    for count, complete in (killed, interrupted):
        assert not complete & set(asks[count:]), "a complete answer was asked for again"
    assert sum(Counter(asks).values()) - 24 <= 2
    assert len(place.spec()["sessions"]) == 3
    assert place.spec()["run_id"] == place.spec("calm")["run_id"]


def test_a_second_ctrl_c_ends_at_once(place: Any, started: Any) -> None:
    process = started(1, VERY_SLOW)
    process.send_signal(signal.SIGINT)
    line = ""
    while not line.startswith("stopping: waiting for "):
        line = process.stderr.readline()
        assert line, "it ended before the second Ctrl-C"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 130
    assert err.splitlines()[0].startswith("kept 0 of 24 answers in out")
    assert err.splitlines()[-1] == "interrupted"
