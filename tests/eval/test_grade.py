"""Five outcomes, one for each question; correct means that the chosen text is the gold text."""

import pytest

from lalm_agent.eval.grade import OUTCOMES, SCORER_FAILED, Grade, Outcome, RuleScorer, grade, outcome_of, unanswered
from lalm_agent.eval.items import Item

C, W, A, U, F = OUTCOMES
PETS = ("dog", "cat", "cow")
NOTES = ("G", "A#", "D", "E")


def item(choices: tuple[str, ...] = PETS, gold: str | None = "dog") -> Item:
    return Item("q", "q.wav", "Which?", choices, gold)


def test_the_order_of_outcomes_is_that_of_every_array() -> None:
    assert [str(outcome) for outcome in OUTCOMES] == ["correct", "wrong", "abstained", "unparsed", "failed"]


@pytest.mark.parametrize(
    ("choices", "gold", "text", "outcome", "rule"),
    [
        (PETS, "dog", "Dog.", C, "equal"),
        (PETS, "dog", "(A) dog", C, "named"),
        (PETS, "dog", "A", C, "label"),
        (PETS, "dog", "It is a cat", W, "named"),
        (PETS, "dog", "IDK", A, "refusal"),
        (PETS, "dog", "I don't know, maybe a dog", U, "refusal_and_choice"),
        (PETS, "dog", "dog or cat", U, "several_named"),
        (PETS, "dog", "a bird", U, "none"),
        (PETS, "dog", "", U, "empty"),
        (PETS, "dog", " \n", U, "empty"),
        (PETS, "dog", None, F, "no_reply"),
        (("Yes", "Not sure"), "Not sure", "Not sure", C, "equal"),
        (("Yes", "Unknown"), "Yes", "unknown.", W, "equal"),
        (NOTES, "A#", "A#", C, "equal"),
        (NOTES, "A#", "A", U, "none"),
        (("2", "4", "5", "3"), "4", "4", C, "equal"),
        (("2", "4", "5", "3"), "4", "2", W, "equal"),
        (("rain", "wind", "rain"), "rain", "C", C, "label"),
        ((" (d) angry", " (a) sad"), " (d) angry", "(d) angry", C, "equal"),
        (("😀", "😢"), "😢", "😢", C, "equal"),
        (("狗", "猫"), "猫", "这是猫。", C, "named"),
        (("dog", "cat", ""), "cat", "", U, "empty"),
        ((), "a barking dog", "A barking dog!", C, "open"),
        ((), "a barking dog", "a cat", W, "open"),
        ((), "a barking dog", "I don't know", A, "refusal"),
        (PETS, None, "dog", W, "equal"),
        (PETS, None, "IDK", A, "refusal"),
        ((), None, "a cat", W, "open"),
    ],
)
def test_a_reply_gets_one_outcome(
    choices: tuple[str, ...], gold: str | None, text: str | None, outcome: Outcome, rule: str
) -> None:
    found = grade(item(choices, gold), text)
    assert (found.outcome, found.rule) == (outcome, rule)
    assert (found.chosen is None) == (outcome not in (C, W))


def test_choices_are_compared_as_they_are_but_for_outer_spaces() -> None:
    two = item(("Bb", "bb"), "bb")
    assert outcome_of(two, " bb ") is C
    assert outcome_of(two, "Bb") is W


def test_the_scorer_grades_each_reply_and_wants_one_for_each_question() -> None:
    items = [item(), item(), item()]
    assert [g.outcome for g in RuleScorer()(items, ["dog", "IDK", None])] == [C, A, F]
    with pytest.raises(ValueError, match="shorter"):
        RuleScorer()(items, ["dog"])


@pytest.mark.parametrize(("text", "outcome"), [("IDK", A), ("dog or cat", U), ("", U), (None, F)])
def test_a_reply_without_an_answer_is_told_from_the_others(text: str | None, outcome: Outcome) -> None:
    found = unanswered(item(), text)
    assert found is not None
    assert found.outcome is outcome


@pytest.mark.parametrize("text", ["dog", "cat"])
def test_a_reply_with_an_answer_right_or_not_is_none_of_those(text: str) -> None:
    assert unanswered(item(), text) is None


def test_rules_of_a_scorer_s_own_failure_are_no_rules_of_the_parser() -> None:
    assert grade(item(), None) == Grade(F, None, "no_reply")
    assert "no_reply" not in SCORER_FAILED
