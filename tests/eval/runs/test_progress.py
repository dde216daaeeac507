"""Counts, rate and time left, and how they are shown."""

import io
from typing import Any

import pytest

from lalm_agent.eval.grade import Outcome
from lalm_agent.eval.runs.progress import EVERY_S, Bar, Lines, Pace, Tally, duration, show_progress
from lalm_agent.eval.runs.run import Asker, Work
from lalm_agent.eval.runs.stored import Heard
from lalm_agent.records import Status


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def tally_of(make_items: Any, answer_to: Any, plan_of: Any) -> Any:
    def make(count: int) -> tuple[Tally, list[Any]]:
        plan = plan_of(make_items(count))
        asker = Asker(answer_to, lambda item: Heard(item.audio))
        answers = [asker(Work(asked, 0)) for asked in plan.items]
        return Tally({asked.item.id: asked for asked in plan.items}, {}), answers

    return make


def test_outcomes_are_those_of_the_rule_scorer_and_sum_to_the_answers(tally_of: Any) -> None:
    tally, answers = tally_of(60)
    for answer in answers:
        tally.add(answer)
    assert tally.done == sum(tally.counts.values()) == 60
    for status, outcome in (
        (Status.ABSTAINED, Outcome.ABSTAINED),
        (Status.UNPARSED, Outcome.UNPARSED),
        (Status.FAILED, Outcome.FAILED),
    ):
        assert tally.counts[outcome] == sum(answer.status is status for answer in answers) > 0
    right = sum(answer.answer == ("dog", "cat", "cow", "frog")[int(answer.id[1:]) % 4] for answer in answers)
    assert tally.counts[Outcome.CORRECT] == right
    assert "IDK" in str(tally)


def test_a_question_asked_again_counts_once(tally_of: Any) -> None:
    tally, answers = tally_of(5)
    tally.add(answers[0])
    tally.add(answers[0])
    assert tally.done == 1


def test_rate_and_time_left_are_of_this_session_alone() -> None:
    clock = Clock()
    pace = Pace(400, 1000, clock)
    assert pace.rate(400) is None
    assert pace.text(400) == "400/1000"
    clock.now += 20
    assert pace.rate(440) == 2.0
    assert pace.left_s(440) == 280.0
    assert pace.text(440) == "440/1000, 2/s, 5 min left"


@pytest.mark.parametrize(("seconds", "said"), [(0, "0 s"), (89, "89 s"), (120, "2 min"), (9000, "2.5 h")])
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_line_comes_every_ten_seconds(tally_of: Any) -> None:
    tally, answers = tally_of(30)
    clock, stream = Clock(), io.StringIO()
    lines = Lines(tally, Pace(0, 30, clock), stream, clock)
    for answer in answers:
        clock.now += EVERY_S / 5
        tally.add(answer)
        lines.update()
    lines.close()
    shown = stream.getvalue().splitlines()
    assert len(shown) == 6
    assert shown[0].startswith("  5/30, 0.5/s, 50 s left: correct ")


def test_a_terminal_gets_a_bar_and_a_log_gets_lines(
    tally_of: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tally, answers = tally_of(3)
    assert isinstance(show_progress(tally, 3), Lines)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    bar = show_progress(tally, 3)
    assert isinstance(bar, Bar)
    for answer in answers:
        tally.add(answer)
        bar.update()
    bar.close()
    bar.close()
    assert capsys.readouterr().out == ""
