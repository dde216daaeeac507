"""Several scorers over the same replies: counts, range, agreement, disagreements."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_agent.eval.grade import JUDGE_FAILED, OUTCOMES, Grade, Outcome, Output, Outputs
from lalm_agent.eval.items import Item
from lalm_agent.eval.metrics.estimate import wilson
from lalm_agent.eval.scorers import make_scorer
from lalm_agent.eval.scoring.rescoring import agreement, rescore

C, W, A, U, F = OUTCOMES


@dataclass
class Fixed:
    """Gives each question the outcome that its id is mapped to."""

    name: str
    outcomes: dict[str, Outcome]
    rule: str = "fixed"

    def __call__(self, items: Sequence[Item], texts: Sequence[str | None]) -> list[Grade]:
        return [Grade(self.outcomes[item.id], None, self.rule) for item in items]


def outputs(ids: str, gold: str | None = "dog", **changed: object) -> Outputs:
    items = tuple(Item(id, "", "Which?", ("dog", "cat"), gold) for id in ids)
    fields: dict[str, object] = {"by_id": {id: Output(id, f"reply {id}") for id in ids}, **changed}
    return Outputs("run", items, **fields)  # type: ignore[arg-type]


def fixed(name: str, ids: str, *outcomes: Outcome) -> Fixed:
    return Fixed(name, dict(zip(ids, outcomes, strict=True)))


def test_counts_accuracy_and_range_of_a_worked_example() -> None:
    found = rescore(outputs("abcd"), [fixed("x", "abcd", C, C, W, A), fixed("y", "abcd", C, U, W, F)])
    x, y = found.scorers
    assert (x.counts, x.acc) == ({C: 2, W: 1, A: 1, U: 0, F: 0}, 0.5)
    assert (y.counts, y.acc) == ({C: 1, W: 1, A: 0, U: 1, F: 1}, 0.25)
    assert (found.n, found.lowest, found.highest) == (4, 0.25, 0.5)
    assert (x.unscored, x.acc_bounds) == (0, (0.5, 0.5))
    assert [row.id for row in found.disagreements] == ["b", "d"]
    assert found.disagreements[0].reply == "reply b"
    assert {name: grade.outcome for name, grade in found.disagreements[1].grades.items()} == {"x": A, "y": F}


def test_kappa_of_a_worked_example() -> None:
    # 20 and 15 of 50 in agreement, margins 25/25 and 30/20: p_o = 0.7, p_e = 0.5, kappa = 0.4.
    cells = [(C, C, 20), (C, W, 5), (W, C, 10), (W, W, 15)]
    one = [Grade(a, None, "") for a, _, n in cells for _ in range(n)]
    other = [Grade(b, None, "") for _, b, n in cells for _ in range(n)]
    found = agreement(("x", "y"), one, other)
    assert found.agreement == pytest.approx(0.7)
    assert found.kappa == pytest.approx(0.4)
    assert found.table[C] == {C: 20, W: 5, A: 0, U: 0, F: 0}


def test_kappa_is_undefined_where_both_say_one_thing_only() -> None:
    same = [Grade(C, None, "")] * 3
    found = agreement(("x", "y"), same, same)
    assert (found.agreement, found.kappa) == (1.0, None)
    none = agreement(("x", "y"), [], [])
    assert (none.n, none.agreement, none.kappa) == (0, None, None)


@given(st.lists(st.tuples(st.sampled_from(OUTCOMES), st.sampled_from(OUTCOMES))))
def test_agreement_is_symmetric_and_bounded(pairs: list[tuple[Outcome, Outcome]]) -> None:
    one, other = ([Grade(pair[k], None, "") for pair in pairs] for k in (0, 1))
    there, back = agreement(("x", "y"), one, other), agreement(("y", "x"), other, one)
    assert (there.agreement, there.kappa) == (back.agreement, back.kappa)
    assert there.kappa is None or -1 <= there.kappa <= 1
    assert sum(n for row in there.table.values() for n in row.values()) == len(pairs)
    assert there.kappa is None or (there.kappa == 1) == (one == other)


def test_a_question_without_a_reply_stays_in_n() -> None:
    found = rescore(outputs("ab", by_id={"a": Output("a", "dog")}), [make_scorer("rule"), make_scorer("mmau")])
    assert [(s.n, s.acc, s.counts[F]) for s in found.scorers] == [(2, 0.5, 1)] * 2


def test_excluded_questions_are_outside_n_and_counted() -> None:
    found = rescore(outputs("abc", excluded=frozenset("c")), [fixed("x", "abc", C, W, C)])
    assert (found.n, found.excluded, found.scorers[0].acc) == (2, 1, 0.5)


def test_unanswerable_questions_are_outside_accuracy_and_inside_agreement() -> None:
    found = rescore(outputs("ab", gold=None), [fixed("x", "ab", A, W), fixed("y", "ab", A, A)])
    assert (found.n, found.unanswerable, found.lowest) == (0, 2, None)
    assert found.scorers[0].acc is None
    assert found.scorers[0].acc_bounds is None
    assert found.scorers[0].unanswerable == {C: 0, W: 1, A: 1, U: 0, F: 0}
    assert (found.pairs[0].n, found.pairs[0].agreement) == (2, 0.5)
    assert [row.id for row in found.disagreements] == ["b"]


def test_a_dead_judge_has_no_accuracy_and_widens_no_range() -> None:
    dead = Fixed("judge", dict.fromkeys("abcd", F), JUDGE_FAILED)
    found = rescore(outputs("abcd"), [fixed("x", "abcd", C, C, W, A), dead])
    judge = found.scorers[1]
    assert (judge.acc, judge.unscored, judge.acc_bounds) == (None, 4, (0.0, 1.0))
    assert (found.lowest, found.highest) == (0.5, 0.5)


def test_scorers_of_one_name_count_once_and_rules_are_counted() -> None:
    found = rescore(outputs("ab"), [fixed("x", "ab", C, W), fixed("x", "ab", C, W)])
    assert [(s.name, s.rules) for s in found.scorers] == [("x", {"fixed": 2})]
    assert found.pairs == ()
    assert found.disagreements == ()


def test_nothing_at_all() -> None:
    found = rescore(outputs(""), [fixed("x", "")])
    assert (found.n, found.lowest, found.highest, found.scorers[0].acc) == (0, None, None, None)


@pytest.mark.parametrize("names", [("rule", "lmms"), ("lmms",)])
def test_abstentions_have_kinds_and_many_that_miss_the_clip_are_said_once(unheard: str, names: tuple[str, ...]) -> None:
    by_id = {id: Output(id, text) for id, text in zip("abcd", (unheard, "IDK", "dog", "A"), strict=True)}
    found = rescore(outputs("abcde", by_id=by_id), [make_scorer(name) for name in names])
    assert [s.name for s in found.scorers] == list(names)
    kinds = {"does_not_know": 1, "cannot_hear": 1, "declines": 0, "not_confident": 0}
    assert all(s.abstained_kinds == kinds for s in found.scorers)
    (warning,) = found.warnings
    assert warning.startswith("1 of 4 replies (25.0%) say")
    assert rescore(outputs("abcd", by_id=by_id, without_sound=True), [make_scorer("rule")]).warnings == ()


def test_an_answer_that_was_held_back_is_an_abstention_by_every_scorer() -> None:
    by_id = {"a": Output("a", "dog", withheld=True), "b": Output("b", "dog")}
    found = rescore(outputs("ab", by_id=by_id), [make_scorer("rule"), make_scorer("mmau")])
    assert [(s.counts[C], s.abstained_kinds["not_confident"]) for s in found.scorers] == [(1, 1), (1, 1)]


def test_shares_have_intervals_and_clips_move_together() -> None:
    found = rescore(outputs("abcd"), [fixed("x", "abcd", C, C, W, A)])
    (x,) = found.scorers
    assert list(x.shares) == ["correct", "wrong", "abstained", "unparsed", "failed", "off_list"]
    # One clip, of which nothing is known but its own shares: no resample differs from it.
    assert (x.shares["correct"].n, x.shares["correct"].share, x.shares["correct"].low) == (2, 0.5, 0.5)
    apart = tuple(replace(item, audio=f"{item.id}.wav") for item in outputs("abcd").items)
    found = rescore(replace(outputs("abcd"), items=apart), [fixed("x", "abcd", C, C, W, A)])
    share = found.scorers[0].shares["correct"]
    assert (share.low, share.high) == wilson(2, 4)


def test_an_unanswerable_question_has_no_share() -> None:
    assert rescore(outputs("a", None), [fixed("x", "a", A)]).scorers[0].shares == {}


def test_replies_off_the_list_are_counted_among_the_unparsed() -> None:
    found = rescore(outputs("abc"), [Fixed("rule", dict(zip("abc", (U, U, W), strict=True)), "off_list")])
    shares = found.scorers[0].shares
    assert (shares["unparsed"].n, shares["off_list"].n, shares["wrong"].n) == (2, 2, 1)
    assert found.treatments == ()


def test_what_scorers_make_of_refusals_and_off_list_answers() -> None:
    class Parser(Fixed):
        def __call__(self, items: Sequence[Item], texts: Sequence[str | None]) -> list[Grade]:
            return [Grade(C, "dog", "x"), Grade(A, None, "x"), Grade(A, None, "x"), Grade(U, None, "off_list")]

    found = rescore(outputs("abcd"), [Parser("rule", {}), fixed("other", "abcd", C, C, W, W)])
    refusals, off = found.treatments
    assert [scorer.shares["off_list"].n for scorer in found.scorers] == [1, 0]
    assert (refusals.read_as, refusals.scorer, refusals.n) == ("abstained", "other", 2)
    assert refusals.counts == {C: 1, W: 1, A: 0, U: 0, F: 0}
    assert (off.read_as, off.n, off.counts[W]) == ("off_list", 1, 1)


def test_a_refusal_with_an_article_is_an_answer_by_letter() -> None:
    by_id = {"a": Output("a", "I hear no sound, not even that of A dog"), "b": Output("b", "IDK")}
    (refusals,) = rescore(outputs("ab", by_id=by_id), [fixed("rule", "ab", A, A), make_scorer("lmms")]).treatments
    assert (refusals.scorer, refusals.n, refusals.counts[C], refusals.counts[A]) == ("lmms", 2, 1, 1)


@pytest.mark.parametrize(
    ("replies", "applies", "said"),
    [
        (["dog"] * 9, False, "lmms does not apply: it is a rule for replies in letters, and 0 of the 9 replies"),
        (["A", *["dog"] * 8], True, "lmms is a rule for replies in letters, and 1 of the 9 replies"),
        (["A"] * 5 + ["dog"] * 4, True, None),
        (["IDK"] * 9, True, None),
    ],
)
def test_a_letter_rule_over_texts_is_said_not_to_apply(replies: list[str], applies: bool, said: str | None) -> None:
    by_id = {id: Output(id, text) for id, text in zip("abcdefghi", replies, strict=True)}
    found = rescore(outputs("abcdefghi", by_id=by_id), [make_scorer("rule"), make_scorer("lmms")])
    assert found.scorers[1].applies is applies
    assert (found.lowest == found.highest) is (not applies or replies[0] == "IDK")
    assert [note[: len(said or "")] for note in found.warnings] == ([said] if said else [])
