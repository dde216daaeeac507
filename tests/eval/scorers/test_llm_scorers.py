"""The paper's normaliser and SAKURA's judge: what they are shown, what their words mean, and what a failure is."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lalm_agent.errors import LalmError, PermanentBackendError, TransientBackendError, UsageError
from lalm_agent.eval.grade import OUTCOMES, SCORER_FAILED, Grade, Outcome
from lalm_agent.eval.items import Item
from lalm_agent.eval.scorers import make_scorer
from lalm_agent.eval.scorers.llm import CHUNK, GIVE_UP_AFTER, LLMScorer
from lalm_agent.models.base import Request
from lalm_agent.models.scripted import Reply, ScriptedLALM
from lalm_agent.records import AbstentionKind

C, W, A, U, F = OUTCOMES
PETS = ("dog", "cat")
IDK = AbstentionKind.DOES_NOT_KNOW
DEAD = TransientBackendError("no reply", "is the server running?")


def item(choices: tuple[str, ...] = PETS, gold: str | None = "dog", id: str = "q") -> Item:
    return Item(id, "", "Which animal?", choices, gold)


def says(reply: Reply | Callable[[Request], Reply]) -> ScriptedLALM:
    return ScriptedLALM(reply if callable(reply) else lambda request: reply)


def scorer(kind: str, model: ScriptedLALM, cache: Path | None = None) -> LLMScorer:
    made = make_scorer(kind, model, cache)
    assert isinstance(made, LLMScorer)
    return made


def graded(kind: str, reply: Reply, of: Item, text: str | None) -> Grade:
    return scorer(kind, says(reply))([of], [text])[0]


# --- the normaliser --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "choices", "gold", "outcome", "rule"),
    [
        ("dog", PETS, "dog", C, "normaliser_choice"),
        ("Cat.", PETS, "dog", W, "normaliser_choice"),
        ("IDK", PETS, "dog", A, "normaliser_idk"),
        ("I don't know", PETS, "dog", A, "normaliser_idk"),
        ("'IDK'", PETS, "dog", A, "normaliser_idk"),
        ("a bird", PETS, "dog", U, "normaliser_unreadable"),
        ("dog or cat", PETS, "dog", U, "normaliser_unreadable"),
        ("<think>cat? no</think>\n dog", PETS, "dog", C, "normaliser_choice"),
        ("IDK", ("dog", "IDK"), "IDK", C, "normaliser_choice"),
        ("Not sure", ("Yes", "Not sure"), "Not sure", C, "normaliser_choice"),
        ("A#", ("G", "A#", "D", "E"), "A#", C, "normaliser_choice"),
        ("4", ("2", "4", "5", "3"), "4", C, "normaliser_choice"),
        ("rain", ("rain", "wind", "rain"), "rain", C, "normaliser_choice"),
        ("猫", ("狗", "猫"), "猫", C, "normaliser_choice"),
        ("dog", PETS, None, W, "normaliser_choice"),
        ("IDK", PETS, None, A, "normaliser_idk"),
    ],
)
def test_the_normaliser_s_word_is_read_against_the_choices_and_idk(
    reply: str, choices: tuple[str, ...], gold: str | None, outcome: Outcome, rule: str
) -> None:
    found = graded("llm", reply, item(choices, gold), "a long reply")
    assert (found.outcome, found.rule) == (outcome, rule)


def test_the_normaliser_is_sent_the_paper_s_prompt_without_a_clip_and_greedily() -> None:
    model = says("dog")
    scorer("llm", model)([item()], ["It barks."])
    (request,) = model.asked
    assert [turn.text for turn in request.turns] == [
        "According to the answer, select one option from the provided choices. The answer is: It barks. "
        "The choices are: dog cat IDK Don't output any other information."
    ]
    assert (request.sound, request.n, request.decoding.temperature) == (None, 1, 0.0)


# --- the judge -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ("It settles on the dog.\nVerdict: correct", C),
        ("It names both.\nVerdict: incorrect", W),
        ("**Verdict:** Correct.", C),
        ("Explanation: none\nJudgement: incorrect", W),
        ("Verdict: incorrect? No.\nVerdict: correct", C),
        ("Incorrect.", W),
        ("correct", C),
        ("The answer is correct, I think", U),
        ("Verdict: not correct", U),
        ("Verdict: correctness is hard", U),
        ("<think>Verdict: correct</think> Verdict: incorrect", W),
    ],
)
def test_the_judge_s_verdict(reply: str, outcome: Outcome) -> None:
    found = graded("sakura", reply, item(), "barking")
    assert (found.outcome, found.rule) == (outcome, "judge_unreadable" if outcome is U else "judge")
    assert found.chosen == ("dog" if outcome is C else None)


def test_the_judge_sees_question_options_right_option_and_reply() -> None:
    model = says("Verdict: correct")
    scorer("sakura", model)([item((" dog", " cat"), " cat")], ["It meows."])
    lines = model.asked[0].turns[0].text.splitlines()
    for line in ("Question: Which animal?", "Options: (a) dog (b) cat", "Right option: (b) cat", "Reply: It meows."):
        assert line in lines


def test_a_refusal_is_no_matter_for_the_judge() -> None:
    model = says("Verdict: incorrect")
    assert scorer("sakura", model)([item()], ["I don't know"])[0] == Grade(A, None, "refusal", IDK)
    assert model.asked == []


def test_a_refusal_beside_a_choice_is_left_to_the_judge() -> None:
    assert graded("sakura", "Verdict: incorrect", item(), "I don't know, dog").outcome is W


@pytest.mark.parametrize(("text", "outcome"), [("dog", W), ("IDK", A), ("a bird", U)])
def test_a_question_without_a_right_answer_is_not_judged(text: str, outcome: Outcome) -> None:
    model = says("Verdict: correct")
    assert scorer("sakura", model)([item(gold=None)], [text])[0].outcome is outcome
    assert model.asked == []


def test_the_kind_of_a_normalised_refusal_is_that_of_the_reply(unheard: str) -> None:
    assert graded("llm", "IDK", item(), unheard).abstention is AbstentionKind.CANNOT_HEAR
    assert graded("llm", "IDK", item(), "Neither of them.").abstention is IDK
    assert graded("llm", "dog", item(), unheard).abstention is None


# --- both ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["llm", "sakura"])
def test_missing_empty_and_open_need_no_model(kind: str) -> None:
    model = says("dog")
    items = [item(), item(), item((), "a dog"), item((), "a dog")]
    grades = scorer(kind, model)(items, [None, " ", "A dog.", "a cat"])
    outcomes = [(g.outcome, g.rule) for g in grades]
    assert outcomes == [(F, "no_reply"), (U, "empty"), (C, "open:open"), (W, "open:open")]
    assert model.asked == []


def test_a_refusal_to_an_open_question_is_one() -> None:
    assert graded("llm", "dog", item((), "a dog"), "IDK") == Grade(A, None, "open:refusal", IDK)
    assert graded("sakura", "dog", item((), "a dog"), "IDK").outcome is A


@pytest.mark.parametrize(("kind", "rule"), [("llm", "normaliser_failed"), ("sakura", "judge_failed")])
@pytest.mark.parametrize("reply", [DEAD, PermanentBackendError("refused"), "", "<think>on and on"])
def test_a_model_that_fails_or_says_nothing_makes_the_question_failed(kind: str, rule: str, reply: Reply) -> None:
    made = scorer(kind, says(reply))
    assert made([item()], ["barking"]) == [Grade(F, None, rule)]
    assert rule in SCORER_FAILED
    assert made.trouble is not None
    assert (made.trouble.failed, made.asked) == (1, 1)


def test_what_failed_is_asked_again_and_nothing_else(tmp_path: Path) -> None:
    cache = tmp_path / "replies.jsonl"
    items, texts = [item(id=str(i)) for i in range(4)], ["one", "two", "three", "four"]

    def once(request: Request) -> Reply:
        return DEAD if "three" in request.turns[0].text else "dog"

    first = scorer("llm", says(once), cache)
    assert [g.outcome for g in first(items, texts)] == [C, C, F, C]
    assert (first.trouble is not None and first.trouble.error) == DEAD
    model = says("cat")
    second = scorer("llm", model, cache)
    assert [g.outcome for g in second(items, texts)] == [C, C, W, C]
    assert second.trouble is None
    assert ["three" in request.turns[0].text for request in model.asked] == [True]
    third = scorer("llm", says(DEAD), cache)
    assert [g.outcome for g in third(items, texts)] == [C, C, W, C]
    assert third.asked == 0


def test_an_equal_prompt_is_asked_once_also_without_a_cache() -> None:
    model = says("dog")
    grades = scorer("llm", model)([item(id="1"), item(id="2"), item(gold="cat", id="3")], ["woof"] * 3)
    assert [g.outcome for g in grades] == [C, C, W]
    assert len(model.asked) == 1


def test_a_dead_model_is_given_up_before_every_question_was_tried() -> None:
    model = says(DEAD)
    n = 3 * CHUNK
    made = scorer("llm", model)
    grades = made([item(id=str(i)) for i in range(n)], [f"reply {i}" for i in range(n)])
    assert {g.outcome for g in grades} == {F}
    assert made.trouble is not None
    assert made.trouble.failed == n
    assert len(model.asked) == 1 + GIVE_UP_AFTER  # a chunk stops at its first, then one by one


def test_one_refused_prompt_costs_no_other_its_grade() -> None:
    n = 2 * CHUNK

    def one_bad(request: Request) -> Reply:
        return PermanentBackendError("filtered") if "reply 7." in request.turns[0].text else "dog"

    grades = scorer("llm", says(one_bad))([item(id=str(i)) for i in range(n)], [f"reply {i}." for i in range(n)])
    assert [i for i, g in enumerate(grades) if g.outcome is F] == [7]


def test_other_errors_are_the_caller_s() -> None:
    def broken(request: Request) -> LalmError:
        return UsageError("cannot be said")

    with pytest.raises(UsageError, match="cannot be said"):
        scorer("llm", says(broken))([item()], ["woof"])


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    made = make_scorer("llm", says("dog"), None, lambda done, total: told.append((done, total)))
    made([item(id="1"), item(id="2")], ["woof", "miaow"])
    assert told == [(1, 2), (2, 2)]
