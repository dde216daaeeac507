"""Word error rate and token F1, by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_agent.training.transfer.probe import token_f1, word_edits, word_score, words

WORDS = st.lists(st.sampled_from("abc"), max_size=6)


@pytest.mark.parametrize(
    ("reference", "reply", "score"),
    [
        ("the cat sat down", "The cat sat down.", 1.0),
        ("the cat sat down", "the cat sat", 0.75),  # one deletion of four
        ("the cat sat down", "a cat sat right down", 0.5),  # one substitution, one insertion
        ("the cat sat down", "IDK", 0.0),
        ("yes", "no no no", 0.0),  # three edits of one word: a rate of 3, cut at 1
        ("the cat sat down", "", 0.0),
        ("don\u2019t", "don't", 1.0),
        ("", "something", None),
        ("...", "something", None),
    ],
)
def test_word_score(reference: str, reply: str, score: float | None) -> None:
    assert word_score(reference, reply) == score


@pytest.mark.parametrize(
    ("reference", "reply", "score"),
    [
        ("a dog barking", "dog barking", 1.0),
        ("a dog barking twice", "a dog", 0.5),  # one of one word right, one of three found
        ("bell bell", "bell", 2 / 3),  # with multiplicity
        ("a dog", "a cat", 0.0),  # an article in common is nothing
        ("a dog", "", 0.0),
        ("the", "the", None),
    ],
)
def test_token_f1(reference: str, reply: str, score: float | None) -> None:
    assert token_f1(reference, reply) == (score if score is None else pytest.approx(score))


def test_words_are_those_of_any_script() -> None:
    assert words("Caf\u00e9, ONE-two \uff21\uff22!") == ["caf\u00e9", "one", "two", "ab"]


@given(WORDS, WORDS, WORDS)
def test_edits_are_a_distance(one: list[str], other: list[str], third: list[str]) -> None:
    assert word_edits(one, other) == word_edits(other, one)
    assert (word_edits(one, other) == 0) == (one == other)
    assert word_edits(one, third) <= word_edits(one, other) + word_edits(other, third)
    assert abs(len(one) - len(other)) <= word_edits(one, other) <= max(len(one), len(other))
