"""The published string match, with its published faults."""

import json
from pathlib import Path

import pytest

from lalm_agent.eval.grade import OUTCOMES, Outcome
from lalm_agent.eval.items import Item
from lalm_agent.eval.scorers import make_scorer
from lalm_agent.eval.scorers.published import matches

C, W, A, U, F = OUTCOMES
PETS = ("a dog", "a cat", "cow")
FAR = ("From far to near", "From near to far", "Always near")


def outcome(choices: tuple[str, ...], gold: str | None, text: str | None, name: str = "mmau") -> Outcome:
    return make_scorer(name)([Item("q", "", "Which?", choices, gold)], [text])[0].outcome


@pytest.mark.parametrize(
    ("choices", "gold", "text", "expected"),
    [
        (PETS, "cow", "Cow", C),
        (PETS, "cow", "The answer is cow.", C),
        (PETS, "a dog", "(B) a dog", C),
        (PETS, "cow", "(A) cow", W),  # "a" is a word of other choices
        (PETS, "a dog", "dog", W),  # "a" is missing; the parser reads it
        (PETS, "a dog", "A", W),
        (PETS, "a dog", "a cat", W),
        (FAR, FAR[0], FAR[1], C),  # the same words in another order
        (PETS, "cow", "It is no cow", C),  # negation is not seen
        (PETS, "cow", "cow or a cat", U),
        (PETS, "cow", "I don't know", A),
        (PETS, "cow", "I don't know, perhaps the cow", C),
        (PETS, "cow", "nothing of that", U),
        (PETS, "cow", "", U),
        (PETS, "cow", "...", U),
        (PETS, "cow", None, F),
        (("Yes", "Not sure"), "Not sure", "Not sure", C),
        (("Yes", "Unknown"), "Yes", "Unknown", W),
        (("G", "A#", "D", "E"), "A#", "A", C),  # "#" is no part of a word here
        (("2", "4", "5", "3"), "4", "4", C),
        (("rain", "wind", "rain"), "rain", "rain", C),
        ((" angry", " sad"), " angry", "angry", C),
        (("😀", "😢"), "😢", "😢", W),  # a reply without any word is never right
        (("😀", "😢"), "😢", "anything", C),  # a gold answer without words is in every reply
        (("狗叫", "猫叫"), "猫叫", "猫叫。", C),
        (PETS, None, "cow", W),
        (PETS, None, "IDK", A),
        ((), "a barking dog", "a barking dog", C),
    ],
)
def test_what_is_accepted(choices: tuple[str, ...], gold: str | None, text: str | None, expected: Outcome) -> None:
    assert outcome(choices, gold, text) is expected


def test_mmar_s_rule_is_mmau_s() -> None:
    assert make_scorer("mmar").name == "mmar"
    for text in ("cow", "(A) cow", "IDK", "", None):
        assert outcome(PETS, "cow", text, "mmar") is outcome(PETS, "cow", text)


def test_a_wrong_grade_does_not_claim_a_choice() -> None:
    graded = make_scorer("mmau")([Item("q", "", "Which?", PETS, "cow")], ["(A) cow"])[0]
    assert (graded.outcome, graded.chosen, graded.rule) == (W, None, "not_matched")


# --- the figures of the published match on the published files -------------------------------------------------------

Row = tuple[tuple[str, ...], str]


def rows_of(file: Path) -> list[Row]:
    text = file.read_text(encoding="utf-8")
    rows = json.loads(text) if file.suffix == ".json" else [json.loads(line) for line in text.splitlines()]
    return [(tuple(row["choices"]), row["answer"]) for row in rows]


@pytest.fixture(params=["mmau", "mmar"])
def published(request: pytest.FixtureRequest, shared_data: Path) -> tuple[str, list[Row]]:
    name = {"mmau": "mmau-test-mini.json", "mmar": "MMAR-meta.jsonl"}[request.param]
    return request.param, rows_of(shared_data / request.param / name)


def test_right_answers_are_accepted_by_their_form_on_the_published_files(published: tuple[str, list[Row]]) -> None:
    name, rows = published
    letter = ["ABCDEFGH"[choices.index(gold)] for choices, gold in rows]
    accepted = {
        "text": sum(matches(gold, gold, choices) for choices, gold in rows),
        "letter": sum(matches(at, gold, choices) for at, (choices, gold) in zip(letter, rows, strict=True)),
        "(A) text": sum(matches(f"({at}) {gold}", gold, c) for at, (c, gold) in zip(letter, rows, strict=True)),
        "sentence": sum(matches(f"The answer is {gold}.", gold, choices) for choices, gold in rows),
    }
    assert (
        accepted
        == {
            "mmau": {"text": 1000, "letter": 2, "(A) text": 967, "sentence": 907},
            "mmar": {"text": 1000, "letter": 0, "(A) text": 985, "sentence": 910},
        }[name]
    )


def test_wrong_choices_are_accepted_on_the_published_files(published: tuple[str, list[Row]]) -> None:
    name, rows = published
    accepted = [[c for c in choices if c != gold and matches(c, gold, choices)] for choices, gold in rows]
    found = (sum(map(len, accepted)), sum(map(bool, accepted)))
    assert found == {"mmau": (12, 9), "mmar": (28, 20)}[name]  # choices, questions
