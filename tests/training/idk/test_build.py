"""From counted questions to rows: which are left out, what the targets are, what is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from lalm_agent.answers import parse
from lalm_agent.errors import UsageError
from lalm_agent.eval.grade import RuleScorer
from lalm_agent.prompts import answer_prompt
from lalm_agent.prompts.refusing import held_out_refusals, refusal_pool, with_certainty
from lalm_agent.records import AudioType, Method, Status
from lalm_agent.training.idk.bank import Sample, SampledQuestion
from lalm_agent.training.idk.labels import Control, GradedQuestion, Rule, counts
from lalm_agent.training.idk.sets import (
    BuildPlan,
    BuiltSet,
    Origin,
    RowSource,
    TargetKind,
    build,
    class_counts,
    set_bytes,
)

SOURCE = RowSource(Origin("run", "b" * 64, "d" * 64), Method.BASELINE, "rule")
CHOICES = ("dog", "cat", "cow", "frog")
Built = Callable[..., BuiltSet]


@pytest.fixture
def bank(drawn: Any, counted: Any) -> list[GradedQuestion]:
    """Ten sound and ten music questions with 0 to 5 right samples, and two that are no rows."""
    questions = [
        drawn(f"{modality}{n}", ["dog"] * (n % 6) + ["cat"] * (5 - n % 6), modality=modality)
        for modality in ("sound", "music")
        for n in range(10)
    ]
    extra = [drawn("none", ["dog"] * 5, gold=None), drawn("short", ["cat", "cat", None, "cat", "cat"])]
    graded: list[GradedQuestion] = counted([*questions, *extra])
    return graded


@pytest.fixture
def built(bank: list[GradedQuestion]) -> Built:
    def make(**settings: Any) -> BuiltSet:
        return build(bank, SOURCE, BuildPlan(**{"k": 3, "n": 5, **settings}))

    return make


def test_the_papers_rule(built: Built) -> None:
    """Of 0 1 2 3 4 5 0 1 2 3 right, six are below three."""
    made = built()
    assert made.left_out == {
        "other modality": 0, "unanswerable": 1, "held out": 0, "undefined": 1, "ambiguous": 0, "blind": 0, "balance": 0,
    }  # fmt: skip
    assert class_counts(made.rows) == {
        "total": {"n": 20, "idk": 12, "kept": 8},
        "music": {"n": 10, "idk": 6, "kept": 4},
        "sound": {"n": 10, "idk": 6, "kept": 4},
    }
    for row in made.rows:
        assert row.is_idk is (row.n_right < 3)
        assert row.target == ("IDK" if row.is_idk else "dog")
        assert row.target_source == ("refusal" if row.is_idk else "gold")
        assert row.outcomes.count("correct") == row.n_right
        assert row.prompt == answer_prompt(Method.BASELINE, row.question, row.choices)
        assert row.origin == SOURCE.origin


def test_questions_that_need_no_clip(bank: list[GradedQuestion]) -> None:
    solved = {"sound3": True, "sound4": False, "sound5": None}
    marked = {row.id: row.blind for row in build(bank, SOURCE, BuildPlan(3, 5), solved).rows}
    assert (marked["sound3"], marked["sound4"], marked["sound5"], marked["sound9"]) == (True, False, None, None)
    dropped = build(bank, SOURCE, BuildPlan(3, 5, drop_blind=True), solved)
    assert set(marked) - {row.id for row in dropped.rows} == {"sound3"}
    assert dropped.left_out["blind"] == 1


@pytest.mark.parametrize("rule", [Rule.ENTROPY, Rule.CONFIDENCE])
def test_rules_have_the_share_of_k_at_n_over_the_same_questions(built: Built, rule: Rule) -> None:
    kn, other = built(drop_ambiguous=True, hold_out=0.2), built(drop_ambiguous=True, hold_out=0.2, rule=rule)
    assert [row.id for row in kn.rows] == [row.id for row in other.rows]
    assert class_counts(kn.rows)["total"] == class_counts(other.rows)["total"]


def test_a_sample_of_its_own_as_target(drawn: Any, counted: Any) -> None:
    replies = ["The answer is dog.", "cat", "dog", " Dog "]
    questions = [drawn("own", replies), drawn("none", ["cat"] * 4)]
    plan = BuildPlan(k=3, n=4, target=TargetKind.SELF)
    chosen = set()
    for seed in range(12):
        own, none = build(counted(questions, 4), SOURCE, replace(plan, seed=seed)).rows
        assert own.target_source == "self"
        assert own.draw in (0, 2, 3)
        assert own.target == replies[own.draw].strip()
        assert (none.target, none.target_source, none.draw) == ("IDK", "refusal", None)
        chosen.add(own.draw)
    assert len(chosen) == 3
    (_, fallen) = build(counted(questions, 4), SOURCE, replace(plan, control=Control.KEPT)).rows
    assert (fallen.target, fallen.target_source) == ("dog", "gold")


def test_an_own_sample_keeps_the_order_that_it_was_asked_in(drawn: Any) -> None:
    """The reply is "(b)": under the file's order that would be another choice."""
    turned = ("cat", "dog", "cow", "frog")
    known = SampledQuestion(drawn("q", []).item, (Sample("(b)", turned),), "sha")
    graded = counts([known, drawn("other", ["cat"])], RuleScorer(), 1)
    row = build(graded, SOURCE, BuildPlan(1, 1, target=TargetKind.SELF)).rows[0]
    assert (row.target, row.choices) == ("(b)", turned)
    assert row.prompt.endswith("cat dog cow frog")
    assert build(graded, SOURCE, BuildPlan(1, 1)).rows[0].choices == CHOICES


def test_a_suffix_keeps_the_answer(built: Built) -> None:
    for row in built(target=TargetKind.SURE).rows:
        assert row.target == f"dog. About this answer: I am {'unsure' if row.is_idk else 'sure'}."
        status = Status.ABSTAINED if row.is_idk else Status.ANSWERED
        assert parse(row.target, row.choices).status is status
    assert with_certainty("What a day!", True) == "What a day! About this answer: I am sure."


def test_refusals_from_the_pool_and_held_out_ones() -> None:
    assert not set(refusal_pool()) & set(held_out_refusals())
    for text in (*refusal_pool(), *held_out_refusals()):
        assert parse(text, CHOICES).status is Status.ABSTAINED
        assert parse(text, ()).status is Status.ABSTAINED


def test_an_agents_row_has_what_its_prompt_was_given(drawn: Any) -> None:
    item = drawn("q", []).item
    known = SampledQuestion(item, (Sample("dog", CHOICES, None, AudioType.SOUND, "barking"),), "sha")
    graded = counts([known, drawn("other", ["cat"])], RuleScorer(), 1)
    row = build(graded, replace(SOURCE, method=Method.AGENT), BuildPlan(1, 1)).rows[0]
    assert (row.audio_type, row.content) == ("sound", "barking")
    assert row.prompt.startswith("The Sound content is: barking What is q?")


def test_what_is_refused(built: Built, bank: list[GradedQuestion]) -> None:
    for settings, said in (
        ({"k": 6}, "K is 0 to N = 5, not 6"),
        ({"hold_out": 1.0}, "in \\[0, 1\\), not at 1"),
        ({"share": 0.5}, "the share of IDK that the samples give"),
        ({"share": 1.5, "rule": Rule.ENTROPY}, "in \\[0, 1\\], not at 1.5"),
        ({"k": 0}, "all 20 questions are kept"),
        ({"share": 1.0, "rule": Rule.ENTROPY}, "all 20 questions are IDK"),
        ({"modality": ("speech",)}, "no question has the modality speech"),
        ({"k": 0, "one_class": True, "balance": True}, "nothing to balance"),
    ):
        with pytest.raises(UsageError, match=said):
            built(**settings)
    with pytest.raises(UsageError, match="no question is left to build from: 1 unanswerable, 1 undefined"):
        build(bank[-2:], SOURCE, BuildPlan(3, 5))
    assert {row.is_idk for row in built(k=0, one_class=True).rows} == {False}


def test_chat_turns_of_a_row(built: Built) -> None:
    row = built().rows[0]
    fields = json.loads(set_bytes([row]))
    user, assistant = fields["messages"]
    assert [part["type"] for part in user["content"]] == ["audio", "text"]
    assert user["content"][1]["text"] == row.prompt
    assert assistant["content"][0]["text"] == row.target
