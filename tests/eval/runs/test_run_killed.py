"""kill -9 at eight random moments over one eval: the answers are those of a run that nobody disturbed."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from lalm_agent.eval.runs.folder import read_answers, read_items

KILLS, QUESTIONS, THREADS = 8, 200, 3
DRIVER = Path(__file__).with_name("kill_driver.py")


def drive(root: Path, kills: int) -> list[int]:
    """The exit codes of the sessions."""
    root.mkdir()
    command = [sys.executable, str(DRIVER), str(root), str(kills), str(QUESTIONS), "7"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return [int(line) for line in done.stdout.split()]


@pytest.mark.timeout(1200)
def test_kills_change_no_answer_and_nothing_complete_is_asked_again(tmp_path: Path) -> None:
    assert drive(tmp_path / "calm", 0) == [0]
    assert drive(tmp_path / "killed", KILLS) == [-9] * KILLS + [0]
    calm, killed = read_answers(tmp_path / "calm" / "run"), read_answers(tmp_path / "killed" / "run")
    assert len(calm) == QUESTIONS
    assert {key: replace(answer, seconds=0.0) for key, answer in killed.items()} == {
        key: replace(answer, seconds=0.0) for key, answer in calm.items()
    }
    assert read_items(tmp_path / "killed" / "run") == read_items(tmp_path / "calm" / "run")

    kept = [set(json.loads(line)) for line in (tmp_path / "killed" / "kept.log").read_text("utf-8").splitlines()]
    asks = asked_by_session(tmp_path / "killed" / "asked.log")
    assert len(kept) == KILLS + 1
    assert sum(bool(asks.get(number)) for number in range(KILLS)) >= 0.7 * KILLS, "the kills fell into the asking"
    for number, complete in enumerate(kept):
        later = {id_ for session, ids in asks.items() if session >= number for id_ in ids}
        assert not complete & later, "a complete answer was asked for again"
    counts = Counter(id_ for ids in asks.values() for id_ in ids)
    assert set(counts) == {f"q{n}" for n in range(QUESTIONS)}
    assert sum(counts.values()) - QUESTIONS <= KILLS * THREADS, "only what was out is asked again"
    assert sum(counts.values()) > QUESTIONS


def asked_by_session(path: Path) -> dict[int, list[str]]:
    """The ids that each session asked; one that was killed before it began is not there."""
    sessions: dict[int, list[str]] = {}
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("session "):
            current = sessions.setdefault(int(line.split()[1]), [])
        else:
            current.append(line)
    return sessions
