"""Where other harnesses bend a score: one test for each way that concerns how a reply is graded.

Denominators and the names of prediction keys are tested with the files that they come in.
"""

import math

import numpy as np

from lalm_agent.errors import TransientBackendError
from lalm_agent.eval.grade import OUTCOMES, Outcome, Output, Outputs
from lalm_agent.eval.items import Item
from lalm_agent.eval.metrics import selective
from lalm_agent.eval.scorers import ASKING, SCORERS, make_scorer
from lalm_agent.eval.scorers.making import EMBEDDING
from lalm_agent.eval.scorers.nearest import Embedder
from lalm_agent.eval.scoring.rescoring import rescore
from lalm_agent.models.scripted import ScriptedLALM

C, W, A, U, F = OUTCOMES
N = 40
FIVE = ("dog", "cat", "cow", "frog", "bird")
WITHOUT_MODEL = [name for name in SCORERS if name not in ASKING | EMBEDDING]


def items(choices: tuple[str, ...] = FIVE, gold: str = "dog") -> list[Item]:
    return [Item(str(i), "", "Which animal?", choices, gold) for i in range(N)]


def judge_that_says(reply: str) -> ScriptedLALM:
    return ScriptedLALM(lambda request: reply)


def outcomes(name: str, text: str | None, model: ScriptedLALM | None = None) -> set[Outcome]:
    return {grade.outcome for grade in make_scorer(name, model)(items(), [text] * N)}


def test_lmms_eval_gives_a_random_choice_to_what_has_no_letter() -> None:
    # A quarter of each would be right by chance.
    for name in WITHOUT_MODEL:
        # AQUA-Bench's rule takes the article for a letter, as lmms-eval's does at the beginning of a sentence.
        assert outcomes(name, "a horse") == {C if name == "aqua" else U}
        assert outcomes(name, "I don't know") == {A}
        assert outcomes(name, "") == {U}
        assert outcomes(name, None) == {F}


def test_lmms_eval_cannot_reach_letters_after_d() -> None:
    last = items(gold="bird")
    assert {grade.outcome for grade in make_scorer("rule")(last, ["E"] * N)} == {C}
    # The rule itself is kept as published, but what it cannot reach is not guessed at.
    assert {(grade.outcome, grade.rule) for grade in make_scorer("lmms")(last, ["E"] * N)} == {(U, "letter_after_d")}


def test_sakura_audiobench_r1_aqa_call_choosing_nothing_wrong() -> None:
    for name in WITHOUT_MODEL:
        assert outcomes(name, "IDK") == {A}
    assert outcomes("sakura", "I don't know", judge_that_says("Verdict: incorrect")) == {A}
    assert outcomes("llm", "None of these can be told", judge_that_says("IDK")) == {A}


def test_au_harness_scores_a_dead_judge_zero() -> None:
    questions = tuple(items())
    outputs = Outputs("run", questions, {item.id: Output(item.id, f"reply {item.id}") for item in questions})
    for kind in ("llm", "sakura"):
        dead = make_scorer(kind, ScriptedLALM(lambda request: TransientBackendError("no reply")))
        alive = make_scorer("rule")
        scores = rescore(outputs, [alive, dead])
        assert scores.scorers[1].counts == {C: 0, W: 0, A: 0, U: 0, F: N}
        assert scores.scorers[1].acc is None
        assert scores.lowest == scores.scorers[0].acc


def test_au_harness_shows_its_judge_neither_question_nor_choices() -> None:
    normaliser, judge = judge_that_says("dog"), judge_that_says("Verdict: correct")
    outcomes("llm", "It barks.", normaliser)
    outcomes("sakura", "It barks.", judge)
    for shown in (*FIVE, "It barks."):
        assert shown in normaliser.asked[0].turns[0].text
        assert shown in judge.asked[0].turns[0].text
    assert "Which animal?" in judge.asked[0].turns[0].text


def test_inspect_ai_gives_a_regex_miss_and_a_refusal_one_value() -> None:
    for name in WITHOUT_MODEL:
        assert outcomes(name, "a horse") != outcomes(name, "IDK")


def test_lm_polygraph_makes_a_nan_uncertainty_the_most_confident() -> None:
    codes, confidence = np.array([0, 1, 0], np.int8), np.array([0.9, math.nan, 0.1])
    scores = selective.ranked(codes, confidence)
    assert scores.confidence.tolist() == [0.9, 0.1]
    assert scores.right.tolist() == [True, True]
    assert scores.n_unknown == 1
    nothing = selective.ranked(codes, np.full(3, math.nan))
    assert math.isnan(selective.aurc(nothing))


def test_simple_evals_counts_an_unparsable_grade_as_an_abstention() -> None:
    for kind in ("llm", "sakura"):
        assert outcomes(kind, "It barks.", judge_that_says("The reply is about some animal.")) == {U}


def test_every_scorer_gives_each_question_one_of_the_five() -> None:
    for name in SCORERS:
        model = judge_that_says("dog") if name in ASKING else None
        texts = ["dog", "cat", "IDK", "a horse", "", None, "A", "(E) bird"] * (N // 8)
        embedder = Embedder("e", lambda words: np.array([[len(word), 1.0] for word in words]))
        grades = make_scorer(name, model, embedder=embedder)(items(), texts)
        assert sum(sum(grade.outcome is outcome for grade in grades) for outcome in OUTCOMES) == N
