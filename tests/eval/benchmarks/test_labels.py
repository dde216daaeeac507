"""Labels before choices, in lists and in prompts, and right answers that are labels."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lalm_agent.eval.benchmarks.labels import right_choice, split_prompt, unlabelled

STYLES = (
    "({}) ",
    "({})",
    "{}) ",
    "{}. ",
    "{}: ",
    "{}、",
    "[{}] ",
    "（{}）",
    "{} - ",
    "Option {}: ",
    "choice ({}) ",
    "**{}.** ",
    "({}). ",
)
ANIMALS = ("dog", "a cat", "cow (brown)", "")


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("letters", ["ABCD", "abcd"])
def test_labels_in_order_are_left_out(style: str, letters: str) -> None:
    labelled = [style.format(letter) + text for letter, text in zip(letters, ANIMALS, strict=True)]
    assert unlabelled(labelled) == ANIMALS


@pytest.mark.parametrize(
    "choices",
    [
        ("dog", "cat"),
        ("A", "B", "C"),
        ("A. dog", "cat"),
        ("B. dog", "A. cat"),
        ("B. dog", "C. cat"),
        ("(A) dog", "B. cat"),
        ("A. dog",),
        ("A.dog", "B.cat"),
        ("1. dog", "2. cat"),
        ("(A] dog", "(B] cat"),
        ("[A dog", "[B cat"),
        ("A-sharp", "B-flat"),
        ("A:min", "B:min"),
        ("Option A", "Option B"),
        ("1.5", "2.5"),
        ("A minor", "B minor"),
        (),
    ],
)
def test_what_only_looks_like_labels_stays(choices: tuple[str, ...]) -> None:
    assert unlabelled(choices) is None


@settings(max_examples=40)
@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=2, max_size=20))
def test_any_contents_come_back(texts: list[str]) -> None:
    labelled = [f"({chr(ord('A') + n)}) {text}" for n, text in enumerate(texts)]
    assert [text.strip() for text in unlabelled(labelled) or ()] == [text.strip() for text in texts]


@pytest.mark.parametrize(
    "answer",
    [
        "cat",
        " cat",
        "B",
        "b",
        "(B)",
        "B.",
        "B)",
        "(B) cat",
        "B. cat",
        "b: cat",
        "CAT",
        "[B]",
        "Option B",
        "option (b)",
        "**B**",
    ],
)
def test_an_answer_by_text_or_label(answer: str) -> None:
    assert right_choice(answer, ("dog", "cat"), by_label=True) == "cat"


@pytest.mark.parametrize("answer", ["C", "(B) dog", "bird", "", "1", "BB"])
def test_an_answer_that_is_no_choice(answer: str) -> None:
    assert right_choice(answer, ("dog", "cat"), by_label=True) is None


def test_a_letter_means_itself_where_choices_are_letters() -> None:
    assert right_choice("B", ("G", "B"), by_label=True) == "B"
    assert right_choice("C", ("A", "B", "D"), by_label=True) is None
    assert right_choice("B", ("1", "2"), by_label=True) == "2"
    assert right_choice("B", ("dog", "cat"), by_label=False) is None
    assert right_choice("dog", ("Dog", "DOG"), by_label=True) is None


def test_one_text_in_two_unicode_forms_is_one_text() -> None:
    assert right_choice("caf\u00e9", ("the\u0301", "cafe\u0301"), by_label=False) == "cafe\u0301"


@pytest.mark.parametrize(
    ("prompt", "split"),
    [
        ("Which?\nA. dog\nB. cat\nAnswer.", ("Which?", ("dog", "cat"))),
        ("Which?\n\n(A) dog\n\n(B) cat", ("Which?", ("dog", "cat"))),
        ("Which (a) dog (b) cat (c) cow\nAnswer.", ("Which", ("dog", "cat", "cow"))),
        ("Q\nA. x\nB. y\nAnswer: A\n\nWhich?\nA. dog\nB. cat", ("Q\nA. x\nB. y\nAnswer: A\n\nWhich?", ("dog", "cat"))),
        ("A dog barks.\nWhich?", ("A dog barks.\nWhich?", ())),
        ("Steps:\n1. listen\n2. answer", ("Steps:\n1. listen\n2. answer", ())),
        ("", ("", ())),
    ],
)
def test_choices_in_a_prompt(prompt: str, split: tuple[str, tuple[str, ...]]) -> None:
    assert split_prompt(prompt) == split
