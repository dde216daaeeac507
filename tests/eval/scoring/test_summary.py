"""The report as a whole, on counts that were worked out by hand."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from lalm_agent.eval.grade import Output, Outputs
from lalm_agent.eval.items import Item
from lalm_agent.eval.scorers import make_scorer
from lalm_agent.eval.scoring.compare import Grading, Resampling, study
from lalm_agent.eval.scoring.schema import MatchedFigures, Report
from lalm_agent.eval.scoring.summary import Config, summarise

UNHEARD = "I cannot hear the audio."
REPLY = {"c": "dog", "w": "cat", "a": "IDK", "h": UNHEARD, "u": "hm hm", "n": None}
QUICK = Config(resampling=Resampling(resamples=200))


def items(n: int, gold: Sequence[str | None] | None = None) -> tuple[Item, ...]:
    golds = gold or ["dog"] * n
    groups = (("modality", "sound"),)
    return tuple(Item(str(at), f"{at}.wav", "What?", ("dog", "cat"), golds[at], groups) for at in range(n))


def outputs(name: str, letters: str, confidence: Sequence[float | None] = (), **more: object) -> Outputs:
    """One letter a question: c correct, w wrong, a abstained, u unparsed, n no reply."""
    known = confidence or [None] * len(letters)
    by_id = {str(at): Output(str(at), REPLY[letter], known[at]) for at, letter in enumerate(letters)}
    return Outputs(**{"name": name, "items": items(len(letters)), "by_id": by_id, **more})  # type: ignore[arg-type]


def report(*methods: Outputs, config: Config = QUICK) -> Report:
    return summarise(study(methods, Grading(published=make_scorer("mmau"))), config)


def test_figures_by_hand() -> None:
    """Baseline 6 right, 4 wrong; the method refuses 1 of the right and 2 of the wrong, and flips one each way."""
    result = report(outputs("base", "ccccccwwww"), outputs("idk", "ccccawaacw"))
    total = result.methods[1].groups["total"]
    assert total.n == total.n_paired == 10
    assert total.counts == {"correct": 5, "wrong": 2, "abstained": 3, "unparsed": 0, "failed": 0}
    assert total.acc.value == pytest.approx(0.5)
    assert total.tru.value == pytest.approx(0.8)
    assert total.rej.value == pytest.approx(0.3)
    assert total.rel.value == pytest.approx(0.3 * 0.5 + 0.7 * 0.8)
    strict = total.rgi["strict"]
    assert (strict.d_con, strict.d_hum) == (pytest.approx(1 / 6), pytest.approx(2 / 4))
    assert strict.value == pytest.approx(0.4771, abs=1e-4)  # log10(3)
    assert total.rgi["equation"].value == pytest.approx(0.3522, abs=1e-4)  # log10((3 / 4) / (2 / 6))
    assert total.rgi["table"].value == pytest.approx(0.1761, abs=1e-4)  # log10(3 / 2)
    assert total.transitions["correct"] == {"correct": 4, "wrong": 1, "abstained": 1, "unparsed": 0, "failed": 0}
    assert sum(sum(row.values()) for row in total.transitions.values()) == 10
    assert total.mcnemar is not None
    assert (total.mcnemar.b, total.mcnemar.c) == (2, 1)
    assert total.published is not None
    assert (total.published.scorer, total.published.acc) == ("mmau", pytest.approx(0.5))
    assert result.methods[1].groups["sound"] == total.model_copy(update={"selective": None})


def test_the_baseline_is_the_first_method_and_its_rgi_is_undefined() -> None:
    base = report(outputs("base", "ccw"), outputs("idk", "caw")).methods[0]
    assert base.name == "base"
    strict = base.groups["total"].rgi["strict"]
    assert (strict.value, strict.kind, strict.low_kind) == (None, "undefined", "undefined")
    assert base.claim is None
    assert base.labels == []


def test_unparsed_and_failed_count_as_wrong_and_are_counted() -> None:
    total = report(outputs("base", "cccc"), outputs("m", "cuna")).methods[1].groups["total"]
    assert total.counts == {"correct": 1, "wrong": 0, "abstained": 1, "unparsed": 1, "failed": 1}
    assert total.tru.value == pytest.approx(0.5)
    assert total.rgi["equation"].d_con == pytest.approx(3 / 4)


def test_abstentions_are_counted_by_kind(unheard: str) -> None:
    assert unheard == UNHEARD
    methods = report(outputs("base", "cwun"), outputs("m", "ahha"), outputs("seen", "ahhc", excluded=frozenset("1")))
    kinds = [method.groups["total"].abstained_kinds for method in methods.methods]
    none = {"does_not_know": 0, "cannot_hear": 0, "declines": 0, "not_confident": 0}
    assert kinds == [none, none | {"does_not_know": 2, "cannot_hear": 2}, none | {"does_not_know": 1, "cannot_hear": 1}]
    for method in methods.methods:
        for group in method.groups.values():
            assert group.abstained_kinds is not None
            assert sum(group.abstained_kinds.values()) == group.counts["abstained"]


def test_unanswerable_questions_are_outside_the_kinds_as_outside_the_counts(unheard: str) -> None:
    one = Outputs("base", items(2, ["dog", None]), {"0": Output("0", "IDK"), "1": Output("1", unheard)})
    kinds = report(one).methods[0].groups["total"].abstained_kinds
    assert kinds == {"does_not_know": 1, "cannot_hear": 0, "declines": 0, "not_confident": 0}


@pytest.mark.parametrize("scorer", ["rule", "lmms"])
def test_many_replies_that_miss_the_clip_are_said_once_whoever_scores(unheard: str, scorer: str) -> None:
    methods = (outputs("base", "c" * 19 + "h"), outputs("m", "c" * 37 + "hhn"))
    found = summarise(study(methods, Grading(make_scorer(scorer), make_scorer("mmau"))), QUICK).warnings
    said = [warning for warning in found if "may not reach the model" in warning]
    assert len(said) == 1
    assert said[0].startswith("m: 2 of 39 replies (5.1%) say")


def test_a_run_without_sound_misses_the_clip_rightly(unheard: str) -> None:
    assert not [one for one in report(outputs("base", "hhhh", without_sound=True)).warnings if "reach" in one]


def test_no_claim_below_ten_clips_with_a_refusal_and_a_label_below_ten_on_either_side() -> None:
    base = outputs("base", "c" * 50 + "w" * 50)
    few, many = outputs("few", "c" * 50 + "a" * 9 + "w" * 41), outputs("many", "c" * 49 + "a" * 31 + "w" * 20)
    both = outputs("both", "a" * 10 + "c" * 40 + "a" * 40 + "w" * 10)
    _, few_, many_, both_ = report(base, few, many, both).methods
    assert few_.claim is not None
    assert few_.claim.text.startswith("no claim: clips with a refusal are 9, fewer than 10: strict RGI +inf")
    assert many_.claim is not None
    assert many_.claim.holds
    assert many_.labels == ["few refused clips: 1 right, 30 wrong"]
    assert (both_.groups["total"].refused_clips, both_.labels) == ({"right": 10, "wrong": 40, "any": 50}, [])
    # Ten questions about one recording are one clip.
    one_clip = tuple(replace(item, audio="same.wav") if int(item.id) >= 50 else item for item in items(100))
    together = report(*(replace(of, items=one_clip) for of in (base, many))).methods[1]
    assert together.groups["total"].refused_clips == {"right": 1, "wrong": 1, "any": 2}


def test_what_the_unparsed_of_the_baseline_do_to_the_gain_is_said_where_they_are_many() -> None:
    method = "c" * 35 + "a" * 5 + "w" * 20 + "a" * 10 + "a" * 30
    many = report(outputs("base", "c" * 40 + "w" * 30 + "u" * 30), outputs("idk", method)).methods[1]
    without, claim = many.groups["total"].rgi_without_unparsed, many.claim
    assert without is not None
    assert (without.value, without.n) == (pytest.approx(math.log10((10 / 30) / (5 / 40))), 70)
    assert claim is not None
    assert "30.0 % (30 of 100) of the baseline are unparsed: strict RGI 0.73 [" in claim.text
    assert "] with these, 0.43 [" in claim.text
    few = report(outputs("base", "c" * 40 + "w" * 50 + "u" * 10), outputs("idk", method)).methods[1]
    assert few.groups["total"].rgi_without_unparsed is None
    assert few.claim is not None
    assert "unparsed" not in few.claim.text


def test_an_infinite_gain_is_said_by_its_kind() -> None:
    method = report(outputs("base", "ccww"), outputs("m", "ccaw")).methods[1]
    strict = method.groups["total"].rgi["strict"]
    assert (strict.value, strict.kind) == (None, "+inf")
    assert any("infinite" in label for label in method.labels)
    assert method.claim is not None
    assert not method.claim.holds  # one refusal falls on a wrong answer half of the time


def test_excluded_clips_leave_n() -> None:
    result = report(outputs("base", "ccww"), outputs("lora", "caww", excluded=frozenset("0")))
    base, lora = (method.groups["total"] for method in result.methods)
    assert (base.n, base.excluded) == (4, 0)
    assert (lora.n, lora.excluded, lora.n_paired) == (3, 1, 3)
    assert lora.transitions["correct"]["abstained"] == 1
    assert sum(lora.counts.values()) == 3


def test_unanswerable_questions_feed_only_precision_and_recall() -> None:
    gold = ["dog", "dog", None, None]
    methods = [
        Outputs(name, items(4, gold), {str(at): Output(str(at), REPLY[letter]) for at, letter in enumerate(letters)})
        for name, letters in (("base", "ccww"), ("idk", "caaw"))
    ]
    result = report(*methods)
    total = result.methods[1].groups["total"]
    assert result.n == total.n == 2
    assert total.acc.value == pytest.approx(0.5)
    assert total.refusing is not None
    assert (total.refusing.n_unanswerable, total.refusing.n_answerable) == (2, 2)
    assert total.refusing.precision.value == pytest.approx(0.5)
    assert total.refusing.recall.value == pytest.approx(0.5)
    assert result.methods[0].groups["total"].refusing is not None
    assert report(outputs("base", "cw")).methods[0].groups["total"].refusing is None


def test_a_group_of_unanswerable_questions_has_undefined_figures() -> None:
    methods = [Outputs("base", items(2, [None, None]), {"0": Output("0", "IDK")})]
    total = report(*methods).methods[0].groups["total"]
    assert (total.n, total.acc.value, total.acc.low) == (0, None, None)
    assert total.refusing is not None
    assert total.refusing.recall.value == pytest.approx(0.5)


# --- what may be claimed ---------------------------------------------------------------------------------------------


def test_a_method_that_re_rolls_and_never_refuses_earns_no_claim() -> None:
    """82 % right, a tenth drawn again: of those 82 right ones 15 turn wrong, of those 18 wrong ones 15 turn right."""
    base, method = "c" * 820 + "w" * 180, "c" * 805 + "w" * 15 + "c" * 15 + "w" * 165
    found = report(outputs("base", base), outputs("re-roll", method)).methods[1]
    equation = found.groups["total"].rgi["equation"]
    assert equation.value == pytest.approx(0.6586, abs=1e-4)  # log10(820 / 180)
    assert equation.low is not None
    assert equation.low > 0  # the trap: by `equation` alone this would be a gain
    assert found.labels == ["no refusals: not evidence"]
    assert found.claim is not None
    assert not found.claim.holds
    assert found.claim.text == "no claim: no refusals: not evidence"
    assert found.groups["total"].rgi["strict"].kind == "undefined"


def test_random_refusals_earn_no_claim() -> None:
    """30 % right, a fifth of both kinds refused."""
    base, method = "c" * 300 + "w" * 700, "a" * 60 + "c" * 240 + "a" * 140 + "w" * 560
    found = report(outputs("base", base), outputs("random", method)).methods[1]
    table = found.groups["total"].rgi["table"]
    assert table.value == pytest.approx(0.368, abs=1e-3)  # log10(700 / 300)
    assert table.low is not None
    assert table.low > 0  # the trap: by `table` alone this would be a gain
    assert found.groups["total"].rgi["strict"].value == pytest.approx(0)
    assert found.claim is not None
    assert not found.claim.holds
    assert "no claim" in found.claim.text


def test_refusals_of_wrong_answers_earn_one() -> None:
    base, method = "c" * 60 + "w" * 40, "a" * 5 + "c" * 55 + "a" * 20 + "w" * 20
    found = report(outputs("base", base), outputs("good", method)).methods[1]
    assert found.claim is not None
    assert found.claim.holds
    assert found.claim.beats_matched_coverage is None
    assert "confidence is not known" in found.claim.text


def test_matched_coverage_is_the_control() -> None:
    base, method = "c" * 60 + "w" * 40, "a" * 5 + "c" * 55 + "a" * 20 + "w" * 20
    good = [0.9] * 60 + [0.1] * 40
    bad = [0.1] * 60 + [0.9] * 40
    for confidence, beats in ((good, False), (bad, True)):
        found = report(outputs("base", base, confidence), outputs("m", method)).methods[1]
        matched = found.groups["total"].matched
        assert matched is not None
        assert (matched.n_rejected, matched.confidence_known) == (25, 1.0)
        assert matched.rej is not None
        assert matched.rej.value == pytest.approx(0.25)
        assert matched.beaten is beats
        assert found.claim is not None
        assert found.claim.beats_matched_coverage is beats


def at_equal_coverage(base: str, confidence: list[float | None], method: str) -> MatchedFigures:
    matched = report(outputs("base", base, confidence), outputs("m", method)).methods[1].groups["total"].matched
    assert matched is not None
    assert matched.acc_answered_difference is not None
    return matched


def test_at_equal_coverage_what_is_answered_is_compared() -> None:
    # The method gives 60 answers, 54 right. Of the baseline's 60 most confident 30, 48 or 60 are right.
    method = "c" * 54 + "a" * 30 + "w" * 6 + "a" * 10
    for right, verdict in ((30, "better"), (48, "no claim"), (60, "worse")):
        base = "c" * right + "w" * (60 - right) + "w" * 40
        matched = at_equal_coverage(base, [0.9] * 60 + [0.1] * 40, method)
        assert matched.own_acc_answered is not None
        assert matched.acc_answered is not None
        assert matched.own_acc_answered.value == pytest.approx(54 / 60)
        assert matched.acc_answered.value == pytest.approx(right / 60)
        assert matched.acc_answered_difference is not None
        assert matched.acc_answered_difference.value == pytest.approx((54 - right) / 60)
        assert matched.acc_answered_difference.n == 60
        assert matched.verdict == verdict


def test_equal_confidences_at_the_threshold_count_as_their_mean() -> None:
    # All are equally confident, so every choice of 30 of the 100 is as good: 70 % right whichever are kept.
    matched = at_equal_coverage("c" * 70 + "w" * 30, [0.5] * 100, "c" * 30 + "a" * 70)
    assert matched.n_tied == 100
    assert matched.acc_answered is not None
    assert matched.acc_answered.value == pytest.approx(0.7)


def test_few_clips_make_no_claim_at_equal_coverage() -> None:
    base, confidence = "c" * 60 + "w" * 40, [0.9] * 60 + [0.1] * 40
    # Nine answers, all wrong, against nine right ones; then ten.
    for answers, verdict in ((9, "no claim: few clips"), (10, "worse")):
        assert at_equal_coverage(base, confidence, "a" * (100 - answers) + "w" * answers).verdict == verdict
    # Many answers, of which few end differently.
    for flipped, verdict in ((9, "no claim: few clips"), (10, "worse")):
        method = "w" * flipped + "c" * (60 - flipped) + "a" * 40
        assert at_equal_coverage(base, confidence, method).verdict == verdict


def test_confidence_of_too_few_answers_gives_a_reason_and_no_figure() -> None:
    base = outputs("base", "ccww", [0.5, None, None, None])
    matched = report(base, outputs("m", "caaw")).methods[1].groups["total"].matched
    assert matched is not None
    assert matched.reason is not None
    assert (matched.rgi, matched.beaten) == (None, None)


def test_selective_answering_by_the_methods_own_confidence() -> None:
    total = report(outputs("base", "ccww", [0.9, 0.8, 0.2, None])).methods[0].groups["total"]
    assert total.selective is not None
    assert (total.selective.n, total.selective.n_unknown) == (3, 1)
    assert total.selective.auroc == pytest.approx(1.0)
    assert total.selective.curve[-1] == (pytest.approx(1.0), pytest.approx(1 / 3))


# --- the rest of the report ------------------------------------------------------------------------------------------


def test_every_pair_of_methods_is_tested_and_adjusted() -> None:
    result = report(outputs("a", "c" * 20), outputs("b", "w" * 20), outputs("c", "c" * 10 + "w" * 10))
    assert [(pair.first, pair.second) for pair in result.mcnemar] == [("a", "b"), ("a", "c"), ("b", "c")]
    first = result.mcnemar[0]
    assert (first.b, first.c, first.p) == (20, 0, pytest.approx(2 * 0.5**20))
    assert first.p_holm == pytest.approx(3 * first.p)


def test_reference_rows_are_computed_on_the_questions_at_hand() -> None:
    total = report(outputs("base", "ccww")).guessing["total"]
    assert (total.chance, total.always_first, total.most_frequent) == (0.5, 1.0, 1.0)


def test_clips_are_those_of_the_questions_that_count() -> None:
    asked = items(12)
    without = tuple(replace(one, id=f"u{n}", audio=f"u{n}.wav", gold=None) for n, one in enumerate(asked))
    by_id = {one.id: Output(one.id, "dog") for one in (*asked, *without)}
    found = report(Outputs("base", (*asked, *without), by_id))
    assert (found.n, found.n_clips) == (12, 12)


def test_the_same_seed_gives_the_same_report_whatever_the_order_of_rows() -> None:
    base, idk = outputs("base", "ccccccwwww"), outputs("idk", "ccccawaacw")
    turned = [Outputs(one.name, one.items[::-1], one.by_id) for one in (base, idk)]
    one, other = report(base, idk), report(*turned)
    assert one == report(base, idk)
    assert one.methods[1].groups["total"].rgi == other.methods[1].groups["total"].rgi


def test_no_number_of_the_report_is_nan_or_infinite() -> None:
    def numbers(value: object) -> list[float]:
        if isinstance(value, Mapping):
            return [number for part in value.values() for number in numbers(part)]
        if isinstance(value, list):
            return [number for part in value for number in numbers(part)]
        return [value] if isinstance(value, float) else []

    found = numbers(report(outputs("base", "cwn"), outputs("m", "caa")).model_dump(mode="json"))
    assert found
    assert all(abs(number) < 1e6 for number in found)
