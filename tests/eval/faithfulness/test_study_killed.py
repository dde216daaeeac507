"""kill -9 at random moments over one study: the trials are those of a study that nobody disturbed."""

import json
import subprocess
import sys
from pathlib import Path

from lalm_agent.eval.faithfulness import open_study

KILLS, QUESTIONS = 4, 30
DRIVER = Path(__file__).with_name("kill_driver.py")


def drive(root: Path, kills: int) -> list[int]:
    """The exit codes of the sessions."""
    root.mkdir()
    command = [sys.executable, str(DRIVER), str(root), str(kills), str(QUESTIONS), "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return [int(line) for line in done.stdout.split()]


def test_kills_change_no_trial_and_no_complete_question_is_asked_again(tmp_path: Path) -> None:
    assert drive(tmp_path / "calm", 0) == [0]
    codes = drive(tmp_path / "killed", KILLS)
    assert codes[-1] == 0
    assert codes.count(-9) >= KILLS // 2, "the kills fell into the work"
    calm, killed = open_study(tmp_path / "calm" / "study"), open_study(tmp_path / "killed" / "study")
    each = len(calm.trials) // QUESTIONS
    assert each > 30
    assert killed.trials == calm.trials
    assert killed.chains == calm.chains
    assert killed.perturbed == calm.perturbed

    kept = [json.loads(line) for line in (tmp_path / "killed" / "kept.log").read_text("utf-8").splitlines()]
    complete = [{question for question, n in counts.items() if n == each} for counts in kept]
    assert any(0 < len(questions) < QUESTIONS for questions in complete)
    sessions = (tmp_path / "killed" / "asked.log").read_text("utf-8").split("session ")[1:]
    for text in sessions:
        number, *keys = text.splitlines()
        again = {key.split()[0] for key in keys if " " in key} & complete[int(number)]
        assert not again, "a complete question was asked again"
