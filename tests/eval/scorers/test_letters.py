"""lmms-eval's letter rules: letters where theirs finds them, an outcome of its own where theirs would guess."""

import json
from pathlib import Path

import pytest

from lalm_agent.eval.grade import OUTCOMES, Outcome
from lalm_agent.eval.items import Item
from lalm_agent.eval.scorers import make_scorer
from lalm_agent.eval.scorers.published import mmar_letter, mmau_letter

C, W, A, U, F = OUTCOMES
FIVE = ("dog", "cat", "cow", "frog", "bird")
NOTES = ("G", "A#", "D", "E")


@pytest.mark.parametrize(
    ("reply", "mmau", "mmar"),
    [
        ("A", "A", "A"),
        ("B.", "B", "B"),
        ("(C)", "C", "C"),
        ("(C) cow", "C", "C"),
        ("B. cat", "B", "B"),
        ("The answer is B", "B", "B"),
        ("The answer is (B).", "B", "B"),
        ("B: cat", None, None),
        ("b", None, None),
        ("cat", None, None),
        ("A dog barks", "A", "A"),  # the article
        ("NASA said so", None, "A"),  # their MMAR form asks for no space before the letter
        ("A or B", "B", "B"),
        ("B or A", "A", "A"),
        ("(B) or (A)", "A", "A"),
        ("(A) or (B)", "A", "B"),  # MMAU's takes the first letter of the alphabet where none stands between spaces
        ("E", None, "E"),
        ("I don't know", None, None),
        ("what I hear there must be a Cow", None, "C"),
        ("a Cow", None, None),
        ("what I hear is a cow and then a dog", None, "A"),  # the one named last, which is the letter of dog
        ("", None, None),
    ],
)
def test_the_letter_that_is_read(reply: str, mmau: str | None, mmar: str | None) -> None:
    assert (mmau_letter(reply, FIVE), mmar_letter(reply, FIVE)) == (mmau, mmar)


def test_a_choice_without_a_text_is_never_named() -> None:
    assert mmar_letter("none of the words that are here", ("dog", "cat", "")) is None


@pytest.mark.parametrize(
    ("choices", "gold", "text", "outcome", "rule"),
    [
        (FIVE, "cat", "B", C, "letter"),
        (FIVE, "cat", "(A) dog", W, "letter"),
        (FIVE, "cat", "cat", U, "no_letter"),
        (FIVE, "cat", "The answer is cat.", U, "no_letter"),
        (FIVE, "bird", "E", U, "letter_after_d"),
        (FIVE[:2], "cat", "C", U, "letter_beyond_choices"),
        (FIVE, "cat", "IDK", A, "refusal"),
        (FIVE, "cat", "I don't know, B", C, "letter"),
        (FIVE, "cat", "", U, "empty"),
        (FIVE, "cat", None, F, "no_reply"),
        (NOTES, "D", "D", W, "letter"),  # the fourth choice is E
        (NOTES, "G", "G", U, "no_letter"),
        (("2", "4", "5", "3"), "4", "4", U, "no_letter"),
        (("Not sure", "Yes"), "Not sure", "Not sure", U, "no_letter"),
        (("rain", "wind", "rain"), "rain", "C", C, "letter"),
        ((" sad", " angry"), " angry", "B", C, "letter"),
        (("狗", "猫"), "猫", "猫", U, "no_letter"),
        (FIVE, None, "B", W, "letter"),
        (FIVE, None, "IDK", A, "refusal"),
        ((), "a cat", "a cat", U, "no_letter"),
    ],
)
def test_outcomes(choices: tuple[str, ...], gold: str | None, text: str | None, outcome: Outcome, rule: str) -> None:
    found = make_scorer("lmms")([Item("q", "", "Which?", choices, gold)], [text])[0]
    assert (found.outcome, found.rule) == (outcome, rule)
    assert (found.chosen is not None) == (rule == "letter")


def test_the_mmar_rule_reaches_every_letter_and_long_texts() -> None:
    items = [Item("q", "", "Which?", FIVE, "bird")] * 2
    grades = make_scorer("lmms-mmar")(items, ["E", "in this clip one hears a bird"])
    assert [(g.outcome, g.rule) for g in grades] == [(C, "letter"), (C, "letter")]


@pytest.mark.parametrize(
    ("folder", "file", "guesses"), [("mmau", "mmau-test-mini.json", 906), ("mmar", "MMAR-meta.jsonl", 873)]
)
def test_gold_texts_at_which_lmms_eval_would_guess(folder: str, file: str, guesses: int, shared_data: Path) -> None:
    text = (shared_data / folder / file).read_text(encoding="utf-8")
    rows = json.loads(text) if file.endswith(".json") else [json.loads(line) for line in text.splitlines()]
    find = {"mmau": mmau_letter, "mmar": mmar_letter}[folder]
    assert sum(find(row["answer"], row["choices"]) is None for row in rows) == guesses
