"""K@N by hand, and what must hold for every bank."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lalm_agent.eval.grade import Grade, Outcome, RuleScorer
from lalm_agent.eval.items import Item
from lalm_agent.training.idk.bank import Sample, SampledQuestion
from lalm_agent.training.idk.labels import counts, is_idk

CHOICES = ("dog", "cat")
REPLIES = st.sampled_from(["dog", "cat", "IDK", "hm", "The answer is dog.", None])
BANKS = st.lists(st.lists(REPLIES, min_size=1, max_size=6), min_size=1, max_size=5)


def question(number: int, replies: Sequence[str | None]) -> SampledQuestion:
    samples = tuple(None if reply is None else Sample(reply, CHOICES) for reply in replies)
    return SampledQuestion(Item(str(number), "a.wav", "What?", CHOICES, "dog"), samples)


def rights(bank: Sequence[Sequence[str | None]], n: int) -> list[int | None]:
    questions = [question(number, replies) for number, replies in enumerate(bank)]
    return [row.n_right for row in counts(questions, RuleScorer(), n)]


def test_by_hand(drawn: Any, counted: Any) -> None:
    """Five samples: dog (right), "(a)" is a label for dog, cat wrong, IDK abstained, hm unparsed."""
    (graded,) = counted([drawn("q", ["dog", "(a)", "cat", "IDK", "hm"])])
    assert [str(grade.outcome) for grade in graded.grades] == ["correct", "correct", "wrong", "abstained", "unparsed"]
    assert graded.n_right == 2
    assert [is_idk(graded.n_right, k) for k in range(6)] == [False, False, False, True, True, True]


def test_a_missing_sample_is_undefined_and_never_idk(drawn: Any, counted: Any) -> None:
    (graded,) = counted([drawn("q", ["cat", "cat", None])], n=3)
    assert graded.n_right is None
    assert is_idk(graded.n_right, 3) is None
    (short,) = counted([drawn("q", ["cat", "cat", None])], n=2)
    assert short.n_right == 0
    (never,) = counted([drawn("q", ["cat", "cat"])], n=3)
    assert never.n_right is None


def test_an_unanswerable_question_has_nothing_right(drawn: Any, counted: Any) -> None:
    (graded,) = counted([drawn("q", ["dog", "IDK"], gold=None)], n=2)
    assert graded.n_right == 0


def test_a_label_means_the_order_that_its_own_draw_showed() -> None:
    samples = (Sample("(a)", ("dog", "cat")), Sample("(a)", ("cat", "dog")))
    (graded,) = counts([SampledQuestion(Item("q", "a.wav", "What?", CHOICES, "dog"), samples)], RuleScorer(), 2)
    assert graded.n_right == 1


def test_what_a_scorers_model_could_not_grade_is_undefined() -> None:
    class Failing:
        name = "failing"

        def __call__(self, items: Sequence[Item], texts: Sequence[str | None]) -> list[Grade]:
            failed = Grade(Outcome.FAILED, None, "normaliser_failed")
            return [failed if text == "cat" else Grade(Outcome.CORRECT, text, "x") for text in texts]

    graded = counts([question(0, ["dog", "cat"]), question(1, ["dog", "dog"])], Failing(), 2)
    assert [row.n_right for row in graded] == [None, 2]


@given(BANKS, st.integers(1, 6))
def test_more_demanded_is_never_less_idk(bank: list[list[str | None]], n: int) -> None:
    for right in rights(bank, n):
        labels = [is_idk(right, k) for k in range(n + 1)]
        if right is None:
            assert labels == [None] * (n + 1)
        else:
            assert labels == sorted(labels)
            assert labels[0] is False
            assert labels[n] is (right < n)


@given(BANKS, st.integers(1, 6), st.randoms(use_true_random=False))
def test_neither_the_order_of_samples_nor_of_questions_matters(
    bank: list[list[str | None]], n: int, random: Any
) -> None:
    full = [replies[:n] for replies in bank if len(replies) >= n]
    shuffled = [random.sample(replies, len(replies)) for replies in full]
    assert rights(full, n) == rights(shuffled, n)
    assert rights(full, n) == rights(full[::-1], n)[::-1]


@given(BANKS, st.integers(1, 5), st.integers(1, 6))
def test_raising_n_changes_no_count_of_a_smaller_n(bank: list[list[str | None]], n: int, more: int) -> None:
    grown = [[*replies, *["cat"] * more] for replies in bank if len(replies) >= n]
    assert rights([replies for replies in bank if len(replies) >= n], n) == rights(grown, n)
    for few, many in zip(rights(grown, n), rights(grown, n + 1), strict=True):
        if few is not None and many is not None:
            assert many - few in (0, 1)
