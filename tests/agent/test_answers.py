"""The one parser, rule by rule. Each row is a reply, the choices, and what must come of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_agent.answers import MAX_CHARACTERS, parse, refuses, same_text
from lalm_agent.records import AbstentionKind, Status

ANIMALS = ("dog", "cat", "cow", "frog")
NOTES = ("G", "A#", "D", "E")
NUMBERS = ("2", "4", "5", "3")
UNSURE = ("Yes", "No", "Not sure")

ANSWERED = [
    # the whole text equals a choice
    ("dog", ANIMALS, "dog", "equal"),
    (" Dog.\n", ANIMALS, "dog", "equal"),
    ("**cat**", ANIMALS, "cat", "equal"),
    ('"cow"', ANIMALS, "cow", "equal"),
    ("“cow.”", ANIMALS, "cow", "equal"),
    ("`FROG`!", ANIMALS, "frog", "equal"),
    ("Not sure", UNSURE, "Not sure", "equal"),
    ("not sure.", UNSURE, "Not sure", "equal"),
    ("Cannot be determined.", ("Cannot be determined.", "Yes"), "Cannot be determined.", "equal"),
    ("cannot be determined", ("Cannot be determined.", "Yes"), "Cannot be determined.", "equal"),
    ("Unknown", ("Unknown", "Berlin"), "Unknown", "equal"),
    ("I don't know", ("I don't know", "Berlin"), "I don't know", "equal"),
    ("A#", NOTES, "A#", "equal"),
    ("e", NOTES, "E", "equal"),
    ("4", NUMBERS, "4", "equal"),
    ("2.", NUMBERS, "2", "equal"),
    ("['rain', 'dog']", ("['rain', 'dog']", "['dog', 'rain']"), "['rain', 'dog']", "equal"),
    ("🤷\u200d♂️", ("🤷\u200d♂️", "🙂"), "🤷\u200d♂️", "equal"),
    ("Yes.", ("Yes.", "yes"), "Yes.", "equal"),
    # the last "the answer is X"
    ("The answer is dog.", ANIMALS, "dog", "stated"),
    ("The answer is dog. No: the answer is cat.", ANIMALS, "cat", "stated"),
    ("It could be a cow or a frog. The correct answer is: **frog**", ANIMALS, "frog", "stated"),
    ("Answer: cow", ANIMALS, "cow", "stated"),
    ("the answer is (B) cat", ANIMALS, "cat", "label_and_text"),
    ("The answer is a dog because it barks", ANIMALS, "dog", "stated"),
    ("The answer is A#, not G.", NOTES, "A#", "stated"),
    ("I don't know much about cows, but the answer is cow.", ANIMALS, "cow", "stated"),
    ("The answer is Not sure.", UNSURE, "Not sure", "named"),
    ("The answer is dog barking", ("dog", "dog barking"), "dog barking", "stated"),
    # exactly one choice is named
    ("I hear a cat meowing.", ANIMALS, "cat", "named"),
    ("A CAT, a cat and again a cat", ANIMALS, "cat", "named"),
    ("(C) cow", ANIMALS, "cow", "label_and_text"),
    ("This is a woman: female.", ("male", "female"), "female", "named"),
    ("dog barking is heard", ("dog", "dog barking"), "dog barking", "named"),
    ("The note is A# here", NOTES, "A#", "named"),
    ("The key is E", NOTES, "E", "named"),
    ("There are 5 of them", NUMBERS, "5", "named"),
    ("答案是高兴", ("高兴", "悲伤"), "高兴", "stated"),
    # the words of a choice in other clothes
    ("four", NUMBERS, "4", "named"),
    ("I'm not sure", UNSURE, "Not sure", "named"),
    # a letter stands for a number, where no number stands for a letter
    ("The answer is B", NUMBERS, "4", "label"),
    # a letter or a number
    ("B", ANIMALS, "cat", "label"),
    ("(b)", ANIMALS, "cat", "label"),
    ("C.", ANIMALS, "cow", "label"),
    ("Option D", ANIMALS, "frog", "label"),
    ("The answer is B.", ANIMALS, "cat", "label"),
    ("The answer is B because it meows", ANIMALS, "cat", "label"),
    ("2", ANIMALS, "cat", "label"),
]

ABSTAINED = [
    ("IDK", ANIMALS),
    ("idk.", ANIMALS),
    ("'IDK'", ANIMALS),
    ("I don't know.", ANIMALS),
    ("I don’t know", ANIMALS),
    ("Sorry, I do not know the answer.", ANIMALS),
    ("I am not sure", ANIMALS),
    ("It cannot be determined from the audio.", ANIMALS),
    ("I can't tell.", ANIMALS),
    ("Not sure", ANIMALS),
    ("There is not enough information.", ANIMALS),
    ("Unknown", ANIMALS),
    ("IDK", UNSURE),
    ("IDK", NOTES),
    # reasoning that weighs choices and ends in a stated refusal
    ("It may be a dog or a cat. The answer is IDK.", ANIMALS),
    ("A dog? The answer is I don't know.", ANIMALS),
    ("I don't know, dog or cat", ANIMALS),
]

UNPARSED = [
    ("", ANIMALS),
    (" \n", ANIMALS),
    ("", ("", "dog")),
    ("IDK, maybe dog", ANIMALS),
    ("dog or cat", ANIMALS),
    ("It is not a dog", ANIMALS),
    ("This isn't a dog.", ANIMALS),
    ("horse", ANIMALS),
    ("dogma", ANIMALS),
    ("E.g. this", ("rain", "wind")),
    ("Z", ANIMALS),
    ("7", ANIMALS),
    ("0", ANIMALS),
    # labels are off where a choice is itself one
    ("1", NUMBERS),
    # one character is matched in its own case: an article is no note
    ("It is a note", ("A", "B", "C", "D")),
]


@pytest.mark.parametrize(("text", "choices", "chosen", "rule"), ANSWERED)
def test_answered(text: str, choices: tuple[str, ...], chosen: str, rule: str) -> None:
    verdict = parse(text, choices)
    assert (verdict.status, verdict.text, verdict.rule) == (Status.ANSWERED, chosen, rule)
    assert verdict.choice == choices.index(chosen)


@pytest.mark.parametrize(("text", "choices"), ABSTAINED)
def test_abstained(text: str, choices: tuple[str, ...]) -> None:
    verdict = parse(text, choices)
    assert (verdict.status, verdict.choice, verdict.text) == (Status.ABSTAINED, None, None)


@pytest.mark.parametrize(("text", "choices"), UNPARSED)
def test_unparsed(text: str, choices: tuple[str, ...]) -> None:
    verdict = parse(text, choices)
    assert (verdict.status, verdict.choice, verdict.text) == (Status.UNPARSED, None, None)


def test_first_of_equal_choices() -> None:
    assert parse("dog", ("cat", "dog", "dog")).choice == 1
    assert parse("I hear a dog", ("cat", "dog", "dog")).choice == 1


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("to the park", Status.ANSWERED),
        ("The speaker says: I don't know what to do", Status.ANSWERED),
        ("IDK", Status.ABSTAINED),
        ("I don't know.", Status.ABSTAINED),
        ("Sorry, I cannot tell.", Status.ABSTAINED),
        ("I'm sorry, but I can't hear the audio.", Status.ABSTAINED),
        ("<think>Hm.</think>I can't access the recording you mentioned.", Status.ABSTAINED),
        ("The woman asks whether she can't hear the music.", Status.ANSWERED),
        ("A man speaks. The answer is IDK.", Status.ABSTAINED),
        ("  ", Status.UNPARSED),
    ],
)
def test_open_questions(text: str, status: Status) -> None:
    verdict = parse(text)
    assert verdict.status is status
    assert verdict.text == (text.strip() if status is Status.ANSWERED else None)


KINDS = [
    ("I'm sorry, but I can't hear the recording.", AbstentionKind.CANNOT_HEAR),
    ("No clip is attached to your message.", AbstentionKind.CANNOT_HEAR),
    ("The file is silent, so I don't know.", AbstentionKind.CANNOT_HEAR),
    ("我无法听到这段音频。", AbstentionKind.CANNOT_HEAR),
    ("I must decline to say who this is.", AbstentionKind.DECLINES),
    ("I can't help with that.", AbstentionKind.DECLINES),
    ("There is no way to tell.", AbstentionKind.DOES_NOT_KNOW),
    ("我不知道", AbstentionKind.DOES_NOT_KNOW),
    ("<answer>N/A</answer>", AbstentionKind.DOES_NOT_KNOW),
    ("The clip was not sent.\n<answer>I am unable to determine it.</answer>", AbstentionKind.CANNOT_HEAR),
    ("The speech was never sent to me.\n<answer>N/A</answer>", AbstentionKind.CANNOT_HEAR),
]


@pytest.mark.parametrize(("text", "kind"), KINDS)
def test_kinds_of_abstention(text: str, kind: AbstentionKind) -> None:
    assert parse(text, ANIMALS).kind is kind


RULES = [
    ("<think>It meows. A dog would", ANIMALS, "unfinished_reasoning"),
    ("A (B) dog", ANIMALS, "text_over_label"),
    ("It is neither a dog nor a cat.", ANIMALS, "only_rejected"),
    ("None of the options fits.", ANIMALS, "off_list"),
    ("The answer is a horse.", ANIMALS, "off_list"),
    ("x" * (MAX_CHARACTERS + 1), ANIMALS, "too_long"),
    ("It is either a cow or a frog. Therefore, it is most likely a frog. A cow is bigger.", ANIMALS, "concluded"),
    ("A fog", ("dogs", "frog", "cow"), "off_list"),
    ("the ciolin", ("violin", "trumpet"), "off_list"),
    ("the violn", ("violin", "trumpet"), "near"),
    ("G# major", ("G#:maj/1", "C:min/1"), "named"),
    ("ﷺ" * 4000, ANIMALS, "too_long"),
    ("(D)", NOTES, "several_named"),
    ("(B), (C) cow", ANIMALS, "several_named"),
    ("(A) eagel", ("whale", "eagle", "horse"), "text_over_label"),
    ("The answer is, at the end of the clip and then again, a cat or a dog", ANIMALS, "several_named"),
    ("Answer: dog or cat", ANIMALS, "several_named"),
    ("Well.\ncat", ANIMALS, "stated"),
    ("It is not clear. What would a dog do? What would a cat do?", ANIMALS, "refusal"),
    ("No, I cannot hear the audio.", ("Yes", "No"), "refusal"),
    ("No, there is silence.", ("Yes", "No"), "stated"),
    ("I can't hear it, Dog", ANIMALS, "refusal_and_choice"),
    ("I don't know the dog", ANIMALS, "refusal"),
    ("It is unclear, but a dog and a cat may be there.", ANIMALS, "refusal_and_choice"),
    ("It could be a cat or a dog. It is hard to tell.", ANIMALS, "refusal"),
    ("A dog and a cat are heard. It cannot be determined.", ANIMALS, "refusal"),
    ("This is the one that barks. One can hear it.", ("one", "two"), "off_list"),
    ('The word is "a".', ("a", "to", "dog"), "named"),
    ("It is a dog to me", ("a", "to", "house"), "off_list"),
    ("A dog (option A, option A)", ANIMALS, "label"),
    (f"{'<answer>' * 9}dog{'</answer>' * 9}", ANIMALS, "equal"),
    ("\\boxed{dog} or {cat}", ANIMALS, "equal"),
    ("\\boxed{dog", ANIMALS, "equal"),
    ("\\boxed{a} and b}", ANIMALS, "label"),
    ('{"answer": "d\\u006fg", "why": "it barks"}', ANIMALS, "equal"),
    ('{"answer": "do\\xg"}', ANIMALS, "none"),
    ("<think>a</think>dog<think>b</think>", ANIMALS, "equal"),
    ("dog. About this answer: I am sure.", ANIMALS, "named"),
    ("Answer: (A) (B)", ANIMALS, "several_named"),
    ('{"answer": ' + "[" * 30000 + "]" * 30000 + "}", ANIMALS, "none"),
    ('{"answer": 3}', ANIMALS, "none"),
    ('{"answer": 3}', ("2", "3", "4"), "named"),
    ("What is not present in the clip is the dog", ANIMALS, "named"),
    ("It is unclear. A dog barking would be loud.", ("dog barking", "cat meowing"), "refusal"),
    ("It is C+ major", ("C+", "C-", "C+ major"), "named"),
    ("~~**__`*It is (B)*`__**~~", ANIMALS, "label"),
    ("<think>a<think>b</think>dog", ANIMALS, "equal"),
    ("I can't hear it\nDog", ANIMALS, "stated"),
    ("It is impossible to tell the dog", ANIMALS, "refusal"),
    ("I cannot determine who would have a dog", ANIMALS, "refusal"),
]


@pytest.mark.parametrize(("text", "choices", "rule"), RULES)
def test_rules(text: str, choices: tuple[str, ...], rule: str) -> None:
    assert parse(text, choices).rule == rule


def test_a_limit_of_ones_own() -> None:
    assert parse("dog " * 10, ANIMALS, max_characters=39).rule == "too_long"
    assert parse("dog " * 10, ANIMALS, max_characters=40).text == "dog"


TEXT = st.text(min_size=1).filter(str.strip)
CHOICES = st.lists(TEXT, min_size=2, max_size=6, unique_by=lambda choice: choice.strip().casefold())


@given(CHOICES, st.data())
def test_a_choice_in_its_own_words_is_always_that_choice(choices: list[str], data: st.DataObject) -> None:
    chosen = data.draw(st.sampled_from(choices))
    verdict = parse(chosen, tuple(choices))
    assert verdict.status is Status.ANSWERED
    assert verdict.text == chosen


@given(st.text(), st.lists(st.text(), max_size=5))
def test_any_text_gets_a_consistent_verdict(text: str, choices: list[str]) -> None:
    verdict = parse(text, tuple(choices))
    assert verdict.status is not Status.FAILED
    assert (verdict.text is not None) == (verdict.status is Status.ANSWERED)
    if verdict.choice is not None:
        assert choices[verdict.choice] == verdict.text


@given(st.text(), st.text())
def test_same_text_is_symmetric(one: str, other: str) -> None:
    assert same_text(one, other) == same_text(other, one)


def test_refuses() -> None:
    assert refuses("Well, I really don't know, but dog")
    assert not refuses("I know that it is a dog")


@pytest.mark.parametrize("text", ["D", "(D)", "4.", "The answer is D."])
def test_a_label_never_names_an_empty_choice(text: str) -> None:
    assert parse(text, ("dog", "cat", "cow", "")).status is Status.UNPARSED
