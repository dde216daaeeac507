"""Five outcomes, one for each question; correct means that the chosen text is the gold text."""

from collections.abc import Sequence

import pytest

from lalm_agent.eval.grade import (
    OUTCOMES,
    SCORER_FAILED,
    WITHHELD,
    Grade,
    Outcome,
    Output,
    RuleScorer,
    grade,
    grades_of,
    kind_of,
    kinds_of,
    missing_clip_warning,
    outcome_of,
    unanswered,
)
from lalm_agent.eval.items import Item
from lalm_agent.records import AbstentionKind

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
        (PETS, "dog", "(A) dog", C, "label_and_text"),
        (PETS, "dog", "A", C, "label"),
        (PETS, "dog", "It is a cat", W, "named"),
        (PETS, "dog", "IDK", A, "refusal"),
        (PETS, "dog", "I don't know, maybe a dog", U, "refusal_and_choice"),
        (PETS, "dog", "dog or cat", U, "several_named"),
        (PETS, "dog", "a bird", U, "off_list"),
        (PETS, "dog", "", U, "empty"),
        (PETS, "dog", " \n", U, "empty"),
        (PETS, "dog", None, F, "no_reply"),
        (("Yes", "Not sure"), "Not sure", "Not sure", C, "equal"),
        (("Yes", "Unknown"), "Yes", "unknown.", W, "equal"),
        (NOTES, "A#", "A#", C, "equal"),
        (NOTES, "A#", "A", W, "label"),
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
    result = grade(item(choices, gold), text)
    assert (result.outcome, result.rule) == (outcome, rule)
    assert (result.chosen is None) == (outcome not in (C, W))


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
    result = unanswered(item(), text)
    assert result is not None
    assert result.outcome is outcome


@pytest.mark.parametrize("text", ["dog", "cat"])
def test_a_reply_with_an_answer_right_or_not_is_none_of_those(text: str) -> None:
    assert unanswered(item(), text) is None


def test_rules_of_a_scorer_s_own_failure_are_no_rules_of_the_parser() -> None:
    assert grade(item(), None) == Grade(F, None, "no_reply")
    assert "no_reply" not in SCORER_FAILED


# --- kinds of abstention ---------------------------------------------------------------------------------------------

UNHEARD = Grade(A, None, "", AbstentionKind.CANNOT_HEAR)


def test_only_an_abstention_has_a_kind() -> None:
    kinds = [grade(item(), text).abstention for text in ("IDK", "dog", "cat", "", None)]
    assert kinds == [AbstentionKind.DOES_NOT_KNOW, None, None, None, None]


def test_kinds_sum_to_the_abstained() -> None:
    grades = [UNHEARD, UNHEARD, Grade(A, None, "", AbstentionKind.DECLINES), WITHHELD, Grade(C, "dog", "")]
    assert kinds_of(grades) == {"does_not_know": 0, "cannot_hear": 2, "declines": 1, "not_confident": 1}
    assert kinds_of([]) == dict.fromkeys(AbstentionKind, 0)


def test_an_abstention_of_a_scorer_without_kinds_does_not_know() -> None:
    assert kind_of(Grade(A, None, "")) is AbstentionKind.DOES_NOT_KNOW
    assert kind_of(Grade(U, None, "")) is None


def test_an_answer_that_was_held_back_is_an_abstention_and_no_scorer_reads_it() -> None:
    class Asked(RuleScorer):
        texts: Sequence[str | None] = ()

        def __call__(self, items: Sequence[Item], texts: Sequence[str | None]) -> list[Grade]:
            self.texts = texts
            return super().__call__(items, texts)

    scorer = Asked()
    outputs = [Output("a", "dog"), Output("b", "dog", withheld=True), None, Output("d", None), Output("e", "cat")]
    result = grades_of(scorer, [item()] * 5, outputs)
    assert [one.outcome for one in result] == [C, A, F, F, W]
    assert (result[1], kind_of(result[1])) == (WITHHELD, AbstentionKind.NOT_CONFIDENT)
    assert scorer.texts == ["dog", None, None, "cat"]


@pytest.mark.parametrize(
    ("missing", "others", "failed", "said"),
    [
        (5, 95, 0, None),
        (6, 94, 0, "6 of 100 replies (6.0%) "),
        (6, 94, 50, "6 of 100 replies (6.0%) "),
        (5, 94, 1, "5 of 99 replies (5.1%) "),
        (0, 100, 0, None),
        (0, 0, 7, None),
        (0, 0, 0, None),
    ],
)
def test_many_replies_that_miss_the_clip_are_a_warning(
    missing: int, others: int, failed: int, said: str | None
) -> None:
    kinds = [Grade(A, None, ""), Grade(W, "cat", ""), Grade(A, None, "", AbstentionKind.DECLINES)]
    grades = [UNHEARD] * missing + [kinds[n % 3] for n in range(others)] + [Grade(F, None, "")] * failed
    result = missing_clip_warning(grades)
    assert (result is None) == (said is None)
    assert result is None or (result.startswith(said or "") and "may not reach the model" in result)
