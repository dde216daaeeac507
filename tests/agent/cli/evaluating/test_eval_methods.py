"""`lalm-agent eval --method a,b,c`: several methods in one pass, each run as if it had been asked alone."""

import json
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lalm_agent import audio

ALL = ("baseline", "idk", "mcot", "agent", "lora")


@pytest.fixture
def adapter(place: Any) -> Path:
    folder = place.path / "adapter"
    folder.mkdir()
    return Path(folder)


def alone(place: Any, method: str, *arguments: str) -> None:
    flags = ("--adapter", "adapter") if method == "lora" else ()
    assert place.eval("--method", method, *flags, *arguments, out=f"alone/{method}") == 0


def same_run(place: Any, first: str, second: str) -> None:
    """Two folders hold the same run, but for times."""
    assert place.answers(first) == place.answers(second)
    items = [(place.path / out / "items.jsonl").read_bytes() for out in (first, second)]
    assert items[0] == items[1]
    specs = [place.spec(out) for out in (first, second)]
    for spec in specs:
        del spec["sessions"], spec["created"]
    assert specs[0] == specs[1]


@pytest.mark.usefixtures("adapter")
def test_five_methods_in_one_pass_are_the_five_runs(place: Any, said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []
    load = audio.load
    monkeypatch.setattr(audio, "_SETTLES_S", 0.0)
    monkeypatch.setattr(audio, "load", lambda path, *more: decoded.append(str(path)) or load(path, *more))
    assert place.eval("--method", ",".join(ALL), "--adapter", "adapter", "--json", out="all") == 0
    out, err = said()
    assert err.count("loading the model") <= len(ALL)
    assert [run["folder"] for run in json.loads(out)["runs"]] == [f"all/{method}" for method in ALL]
    assert len(decoded) == len(set(decoded)) == 12, "each clip is decoded once"
    assert len(place.asks()) == 4 * 24 + 24 + 12 + 12
    for method in ALL:
        alone(place, method)
        same_run(place, f"all/{method}", f"alone/{method}")
    before = len(place.asks())
    assert place.eval("--method", ",".join(ALL), "--adapter", "adapter", out="all") == 0
    assert "next: lalm-agent score all/baseline all/idk" in said()[0]
    assert len(place.asks()) == before


def test_what_is_asked_about_a_clip_is_asked_together(place: Any) -> None:
    assert place.eval("--method", "baseline,agent", "--batch-size", "1", out="all") == 0
    heard = [clip for *_, clip in place.asks()]
    assert len(heard) == 24 + 24 + 12 + 12
    assert sum(now != before for before, now in pairwise(heard)) == 11


def test_runs_go_on_together_and_one_by_one(place: Any) -> None:
    assert place.eval("--method", "baseline", "--limit", "6", out="all/baseline") == 0
    assert place.eval("--method", "baseline,idk", "--limit", "9", out="all") == 0
    assert len(place.asks()) == 6 + 3 + 9
    assert place.eval("--method", "idk", out="all/idk") == 0
    assert len(place.asks()) == 6 + 3 + 24
    alone(place, "idk")
    same_run(place, "all/idk", "alone/idk")


def test_a_kill_in_the_middle_of_a_pass_loses_nothing(place: Any) -> None:
    arguments = ["eval", "bench.jsonl", "--model", "eval_model:Hears:0.03", "--method", "baseline,idk", "--out", "all"]
    process = subprocess.Popen([sys.executable, "-c", "from lalm_agent.cli.main import main; main()", *arguments])
    limit = time.monotonic() + 300
    while len(place.asks()) < 12 and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    killed, kept = len(place.asks()), {m: set(place.answers(f"all/{m}")) for m in ("baseline", "idk")}
    assert sum(map(len, kept.values())) >= killed - 8, "no more than were out"
    assert place.eval("--method", "baseline,idk", out="all", model="eval_model:Hears:0.03") == 0
    assert len(place.asks()) == killed + 48 - sum(map(len, kept.values()))
    for method in kept:
        assert place.eval("--method", method, out=f"alone/{method}", model="eval_model:Hears:0.03") == 0
        same_run(place, f"all/{method}", f"alone/{method}")


def test_the_steps_of_the_agent_are_replaced_in_the_agent_alone(place: Any) -> None:
    assert place.eval("--method", "baseline,agent", "--type", "oracle", out="all") == 0
    assert place.spec("all/agent")["identity"]["type_source"] == "oracle"
    alone(place, "baseline")
    same_run(place, "all/baseline", "alone/baseline")


def test_requests_of_all_methods_are_counted_together(place: Any, said: Any) -> None:
    assert place.eval("--method", "baseline,idk", "--max-requests", "10", out="all") == 2
    assert "the limit of 10 requests is reached" in said()[1]
    assert len(place.asks()) == 10
    assert len(place.answers("all/baseline")) + len(place.answers("all/idk")) == 10


def test_a_method_that_always_fails_ends_the_pass_though_another_answers(place: Any, said: Any) -> None:
    source = (place.path / "eval_model.py").read_text("utf-8")
    broken = 'if "I don" in prompt or "IDK" in prompt or "know" in prompt: raise PermanentBackendError("no refusals")'
    (place.path / "eval_model.py").write_text(
        source.replace('if os.path.exists("broken"):', f'{broken}\n        if os.path.exists("broken"):'), "utf-8"
    )
    assert place.eval("--method", "baseline,idk", "--batch-size", "1", out="all") == 2
    assert "questions in a row failed: no refusals" in said()[1]
    assert len(place.asks()) < 48


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--method", "baseline,idl"), "unknown method: idl"),
        (("--method", "baseline,lora"), "the method lora needs an adapter"),
        (("--method", "baseline,idk", "--adapter", "x"), "lora alone takes the adapter"),
        (("--method", "baseline,idk", "--content", "none"), "need the steps of the agent"),
        (("--method", "baseline,idk", "--dry-run"), "--dry-run is for one method"),
    ],
)
def test_what_several_methods_refuse(place: Any, said: Any, arguments: tuple[str, ...], words: str) -> None:
    assert place.eval(*arguments, out="all") == 2
    assert words in said()[1]
    assert not place.asks()
    assert not list((place.path / "all").glob("*/spec.json"))


def test_a_run_is_no_folder_of_runs(place: Any, said: Any) -> None:
    assert place.eval("--method", "baseline", "--limit", "2") == 0
    said()
    assert place.eval("--method", "baseline,idk") == 2
    assert "error: out is a run" in said()[1]
