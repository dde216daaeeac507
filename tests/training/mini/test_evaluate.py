"""The evaluation: its questions, its grades and its numbers."""

import numpy as np
import pytest

from lalm_agent import prompts
from lalm_agent.eval.metrics.estimate import wilson
from lalm_agent.records import Method
from lalm_agent.training.mini import evaluate
from lalm_agent.training.mini.evaluate import EvaluationQuestion, make_evaluation_questions, replies_to, table
from lalm_agent.training.synth.records import Level, Split, SynthQuestion

DOG = SynthQuestion("Which?", ("dog barking", "rain"), "dog barking", "sound_class", "", "", Level.EASY)
LOST = SynthQuestion("Whose?", ("Anna", "Hugo"), None, "unheard", "", "", Level.EASY, False, "unheard")
OPEN = SynthQuestion("Which sound?", (), "dog barking", "sound_class", "", "", Level.EASY)


class Fixed:
    """A model that always gives the same reply and remembers what it was asked."""

    def __init__(self, reply):
        self.answer = reply
        self.asked = []

    def reply(self, clips, texts, length):
        self.asked += texts
        return [self.answer for _ in texts]


@pytest.fixture
def questions(stored):
    return [EvaluationQuestion(question, stored[0].clip) for question in (DOG, LOST, OPEN)]


@pytest.mark.parametrize(
    ("reply", "right", "abstained"),
    [
        ("dog barking", [True, False, True], [False] * 3),
        ("IDK", [False] * 3, [True] * 3),
        ("cow", [False] * 3, [False] * 3),
    ],
)
def test_replies_are_marked_by_the_parser(questions, reply, right, abstained):
    marked = evaluate.grade(Fixed(reply), questions, Method.IDK)
    assert [one.right for one in marked] == right
    assert [one.abstained for one in marked] == abstained


def test_the_tables_count_each_question_where_it_belongs(questions):
    marked = evaluate.grade(Fixed("dog barking"), questions, Method.IDK)
    accuracy = "\n".join(evaluate.accuracy_lines(marked))
    assert "100.0 % [20.7, 100.0] n 1, chance 50.0" in accuracy
    assert "sound: sound_class" in accuracy
    assert any("open question right" in line and "100.0 %" in line for line in evaluate.open_lines(marked))
    idk = "\n".join(evaluate.idk_lines(marked))
    assert "unanswerable, met in training: unheard" in idk
    assert "100.0 % [20.7, 100.0] n 1, chance 50.0" in next(line for line in accuracy.splitlines() if "  easy" in line)


def test_idk_is_needless_where_the_baseline_is_right(questions):
    right, refused = (evaluate.grade(Fixed(reply), questions, Method.IDK) for reply in ("dog barking", "IDK"))
    assert "100.0 % [20.7, 100.0] n 1" in evaluate.needless_lines(refused, right)[1]
    assert evaluate.needless_lines(refused, refused) == ["IDK where it was not needed:"]


def test_the_agent_is_given_its_own_type_and_content(questions):
    model = Fixed("Sound")
    replies_to(model, questions, Method.AGENT)
    assert model.asked[:3] == [prompts.type_prompt()] * 3
    assert model.asked[3] == "What is the Sound content?"
    assert model.asked[6].startswith("The Sound content is: Sound Which?")


def test_the_agent_is_given_nothing_where_the_type_is_none_of_the_three(questions):
    model = Fixed("Noise")
    replies_to(model, questions, Method.AGENT)
    assert model.asked[6] == prompts.answer_prompt(Method.IDK, DOG.text, DOG.choices)


def test_wilson_interval_of_a_known_case():
    # 8 of 10, computed by hand from Wilson's formula with z = 1.96: centre 0.717, half width 0.227.
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-3)
    assert wilson(0, 5)[0] == pytest.approx(0.0)
    assert wilson(5, 5)[1] == pytest.approx(1.0)


def test_a_row_without_trials_is_left_out():
    assert table("t", [("full", True, 0.25)], ("empty", "full")) == [
        "t:",
        f"  {'full':<38} 100.0 % [20.7, 100.0] n 1, chance 25.0",
    ]


@pytest.mark.usefixtures("needs_synth")
def test_the_questions_are_repeatable_and_as_many_as_they_say():
    made, again = make_evaluation_questions(Split.DEV, 12, 3), make_evaluation_questions(Split.DEV, 12, 3)
    assert [one.question for one in made] == [one.question for one in again]
    assert all(np.array_equal(a.clip.samples, b.clip.samples) for a, b in zip(made, again, strict=True))
    assert [one.question.answerable for one in made] == [True] * 12 + [False] * 4
    assert {one.clip.split for one in made} == {Split.DEV}
    assert [one.question for one in make_evaluation_questions(Split.TEST, 12, 3)] != [one.question for one in made]


def test_a_missing_model_is_one_line(tmp_path, capsys):
    assert evaluate.main(["--model", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
