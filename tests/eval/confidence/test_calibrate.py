import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lalm_agent.errors import DataError, LalmError, UsageError
from lalm_agent.eval.confidence import calibrate as c
from lalm_agent.eval.confidence.records import ESTIMATES, EstimateRow
from lalm_agent.eval.confidence.risk import fixed_sequence, one_a_clip
from lalm_agent.eval.grade import Outcome
from lalm_agent.policy import Policy, read_policy, write_policy

Rows = Callable[..., list[EstimateRow]]
Write = Callable[..., Path]


def changed(rows: list[EstimateRow], places: range, **fields: Any) -> list[EstimateRow]:
    return [row.model_copy(update=fields) if at in places else row for at, row in enumerate(rows)]


def calibrated(folder: Path, tell: c.Tell = lambda line: None, **fields: Any) -> Policy:
    return c.calibrate(c.CalibrateRequest(folder, **{"estimator": "option", "max_risk": 0.15, **fields}), tell)


def test_a_threshold_is_that_of_one_question_a_recording(make_rows: Rows, write_folder: Write) -> None:
    rows = make_rows(400)
    policy = calibrated(write_folder(rows))
    drawn = [rows[at] for at in one_a_clip([row.clip or "" for row in rows], [f"{row.question}\n0" for row in rows])]
    confidence = np.array([row.values["option"] for row in drawn])
    best = fixed_sequence(confidence, np.array([row.outcome == "wrong" for row in drawn]), 0.15, 0.1).best
    (threshold,) = policy.thresholds
    assert (threshold.n, threshold.kept, threshold.errors, threshold.threshold) == (
        400,
        best.kept,
        best.errors,
        best.threshold,
    )
    assert threshold.p is not None
    assert threshold.p <= 0.1
    assert (policy.n_questions, policy.n_clips, len(policy.clips)) == (800, 400, 400)
    assert threshold.coverage_interval[0] < threshold.kept / 400 < threshold.coverage_interval[1]
    assert policy.answers(threshold.threshold)
    assert not policy.answers(math.nextafter(threshold.threshold or 0, 0))
    assert "400 recordings" in policy.guarantee
    assert "90.0%" in policy.guarantee
    assert "15.0%" in policy.guarantee


def test_what_is_no_answer_is_never_given_and_what_says_nothing_is_left_out(
    make_rows: Rows, write_folder: Write
) -> None:
    rows = make_rows(400)
    told: list[str] = []
    unread = changed(rows, range(0, 40), outcome=Outcome.ABSTAINED)
    unread = changed(unread, range(40, 80), outcome=Outcome.UNPARSED)
    unread = changed(unread, range(80, 120), values={"option": None})
    refusing = calibrated(write_folder(unread, "refusing"), told.append).thresholds[0]
    # 60 of the recordings cannot be answered: they count in n, and no threshold keeps them.
    assert refusing.n == 400
    assert refusing.kept <= 340
    assert not [line for line in told if line.startswith("left out")]
    gone = changed(rows, range(0, 40), outcome=Outcome.FAILED)
    gone = changed(gone, range(40, 80), seen=True)
    gone = changed(gone, range(80, 120), clip=None)
    assert calibrated(write_folder(gone, "gone"), told.append).thresholds[0].n == 340
    left_out = [line for line in told if line.startswith("left out")]
    assert [line.split()[2] for line in left_out] == ["40"] * 3
    assert "failed" in left_out[0]


def test_the_limits_are_told_before(make_rows: Rows, write_folder: Write) -> None:
    told: list[str] = []
    rows = make_rows(400)
    wrong = np.mean(
        [
            rows[at].outcome == "wrong"
            for at in one_a_clip([row.clip or "" for row in rows], [f"{row.question}\n0" for row in rows])
        ]
    )
    calibrated(write_folder(rows), told.append, max_risk=0.1)
    assert f"{wrong:.1%} of these wrong" in told[0]
    assert f"{(wrong - 0.1) / 0.9:.1%} of these answers must be withheld" in told[1]
    assert "22 kept answers without an error" in told[1]


def test_where_nothing_can_be_certified_the_figures_are_the_error(make_rows: Rows, write_folder: Write) -> None:
    with pytest.raises(UsageError, match=r"20 answers, and 22 are the fewest that can pass") as caught:
        calibrated(write_folder(make_rows(20), "few"), max_risk=0.1)
    assert caught.value.exit_code == 2
    hopeless = changed(make_rows(100), range(0, 200, 2), outcome=Outcome.WRONG)
    hopeless = changed(hopeless, range(1, 200, 2), outcome=Outcome.WRONG)
    with pytest.raises(UsageError, match=r"100\.0%; p = 1 > 0\.1\); at that rate no number of answers would pass"):
        calibrated(write_folder(hopeless, "hopeless"))


def test_each_modality_has_a_threshold_and_a_share_of_delta(make_rows: Rows, write_folder: Write) -> None:
    rows = make_rows(900)
    hopeless = [row.model_copy(update={"outcome": Outcome.WRONG}) if row.modality == "music" else row for row in rows]
    told: list[str] = []
    rest = changed(hopeless, range(0, 2), modality=None)
    policy = calibrated(write_folder(rest), told.append, by_modality=True)
    assert [row.modality for row in policy.thresholds] == ["music", "sound", "speech"]
    assert {row.delta for row in policy.thresholds} == {0.1 / 3}
    assert all(row.p is None or row.p <= 0.1 / 3 for row in policy.thresholds)
    # What cannot be certified is never given, and neither is what has no modality.
    assert policy.threshold("music") is None
    assert not policy.answers(1.0, "music")
    assert policy.answers(1.0, "sound")
    assert not policy.answers(1.0)
    assert not policy.answers(1.0, "mix-sound-music")
    assert any("2 answers of no modality" in line for line in told)
    assert "3 modalities" in policy.guarantee
    nameless = [row.model_copy(update={"modality": None}) for row in rows]
    with pytest.raises(UsageError, match="name no modality"):
        calibrated(write_folder(nameless, "nameless"), by_modality=True)


def test_the_best_estimator_is_that_of_one_half_and_calibrated_on_the_other(
    make_rows: Rows, write_folder: Write
) -> None:
    assert c.CalibrateRequest(Path()).estimator == c.BEST
    rows, told = make_rows(600), list[str]()

    def sure(row: EstimateRow, right: float, wrong: float) -> EstimateRow:
        margin = right if row.outcome is Outcome.CORRECT else wrong
        return row.model_copy(update={"values": {**row.values, "margin": margin, "agreement": 0.5}})

    halves = c.clip_parts([row.clip or "" for row in rows], 2, "half")
    # In the half that chooses, the margin tells right from wrong; in the half that calibrates, the wrong way round.
    rows = [sure(row, 0.9, 0.1) if half == 0 else sure(row, 0.1, 0.9) for row, half in zip(rows, halves, strict=True)]
    estimates = c.read_estimates(write_folder(rows))
    estimator, calibrating = c.estimator_of(c.BEST, estimates, estimates.rows, told.append)
    assert estimator.name == "margin"
    assert list(calibrating) == [row for row, half in zip(rows, halves, strict=True) if half]
    assert told == ["estimator: margin, whose excess AURC is the least on half of the recordings: 0.0000"]
    right = [sure(row, 0.9, 0.1) for row in rows]
    policy = calibrated(write_folder(right, "right"), estimator=c.BEST)
    assert policy.thresholds[0].n == 300
    assert "The estimator `margin` was chosen on 300 other recordings." in policy.guarantee
    # Known for few answers: it is no good, however well it ranks these.
    few = [
        row.model_copy(update={"values": {**row.values, "margin": None}}) if at % 50 else row
        for at, row in enumerate(right)
    ]
    assert calibrated(write_folder(few, "few"), estimator=c.BEST).estimator.name != "margin"
    # A run has one estimator: nothing is chosen, and every recording calibrates.
    alone = calibrated(write_folder(rows, "alone", estimators={"option": {}}), estimator=c.BEST)
    assert (alone.estimator.name, alone.thresholds[0].n) == ("option", 600)


def test_combined_is_fitted_on_one_half_and_calibrated_on_the_other(make_rows: Rows, write_folder: Write) -> None:
    rows = make_rows(600)
    policy = calibrated(write_folder(rows), estimator="combined")
    (threshold,), combination = policy.thresholds, policy.estimator.combination
    assert combination is not None
    assert set(policy.estimator.inputs) == {"option", "margin", "agreement"}
    assert threshold.n == 300
    assert policy.n_clips == 600
    assert "fitted on 300 other recordings" in policy.guarantee
    # Wrong answers in the half that is calibrated on leave the coefficients alone; in the other half they do not.
    halves = c.clip_parts([row.clip or "" for row in rows], 2, "half")
    same = [
        row.model_copy(update={"outcome": Outcome.CORRECT}) if half == 1 else row
        for row, half in zip(rows, halves, strict=True)
    ]
    assert calibrated(write_folder(same, "same"), estimator="combined").estimator.combination == combination
    # It knows more than the option probability alone: `margin` is independent evidence.
    alone = calibrated(write_folder(rows, "again")).thresholds[0]
    assert threshold.coverage > alone.coverage
    with pytest.raises(UsageError, match="two others"):
        calibrated(write_folder(rows, "one", estimators={"option": {}}), estimator="combined")


def test_what_cannot_be_calibrated_is_refused(make_rows: Rows, write_folder: Write, tmp_path: Path) -> None:
    rows = make_rows(50)
    folder = write_folder(rows)
    for fields in ({"max_risk": 0.0}, {"max_risk": 1.0}, {"delta": math.nan}, {"delta": 0.0}):
        with pytest.raises(UsageError, match="between 0 and 1"):
            calibrated(folder, **fields)
    with pytest.raises(UsageError, match="no estimates of margn") as caught:
        calibrated(folder, estimator="margn")
    assert "margin" in str(caught.value.hint)
    with pytest.raises(UsageError, match="control run"):
        calibrated(write_folder(rows, "silence", audio="silence"))
    with pytest.raises(UsageError, match="control run"):
        calibrated(write_folder(rows, "oracle", type_source="oracle"))
    with pytest.raises(DataError, match="no estimates and no run"):
        calibrated(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="no answer that counts"):
        calibrated(write_folder([], "empty"))
    (folder / ESTIMATES).write_text('{"question": "q", "values": {"option": 1.5}}\n')
    with pytest.raises(DataError, match=r"estimates\.jsonl:1"):
        calibrated(folder)


# --- the check -------------------------------------------------------------------------------------------------------


@pytest.fixture
def policy(make_rows: Rows, write_folder: Write, tmp_path: Path) -> Policy:
    write_policy(tmp_path / "policy.json", calibrated(write_folder(make_rows(400), "calibration")))
    return read_policy(tmp_path / "policy.json")


def test_a_check_says_held_broken_or_cannot_tell(policy: Policy, make_rows: Rows, write_folder: Write) -> None:
    def promise(rows: list[EstimateRow], name: str) -> tuple[str, c.CheckedThreshold]:
        (row,) = c.check(write_folder(rows, name), policy).rows
        return str(row.promise), row

    new = make_rows(1500, seed=1, prefix="new")
    right = [row.model_copy(update={"outcome": Outcome.CORRECT}) for row in new]
    wrong = [row.model_copy(update={"outcome": Outcome.WRONG}) for row in new]
    assert promise(right, "right")[0] == "held"
    assert promise(wrong, "wrong")[0] == "broken"
    assert promise(right[:8], "few")[0] == "cannot tell"
    _, row = promise(new, "as calibrated")
    assert row.n == 1500
    assert row.interval[0] < row.errors / row.kept < row.interval[1]
    none = [row.model_copy(update={"values": {"option": None}}) for row in new[:20]]
    undecided, row = promise(none, "unknown")
    assert (undecided, row.kept, row.error, row.interval) == ("cannot tell", 0, None, (0.0, 1.0))


def test_recordings_of_the_calibration_are_left_out_whatever_their_names(
    policy: Policy, make_rows: Rows, write_folder: Write
) -> None:
    old = [row.model_copy(update={"question": f"renamed {row.question}"}) for row in make_rows(400)]
    new = make_rows(100, seed=1, prefix="new")
    checked = c.check(write_folder(old + new, "both", data={"name": "made", "sha256": "d" * 64}), policy)
    assert (checked.n_overlapping, checked.rows[0].n, checked.same_data) == (400, 100, False)
    with pytest.raises(UsageError, match="every recording"):
        c.check(write_folder(old, "old"), policy)


def test_a_check_of_another_system_is_refused(policy: Policy, make_rows: Rows, write_folder: Write) -> None:
    rows = make_rows(50, seed=1, prefix="new")
    with pytest.raises(LalmError) as caught:
        c.check(write_folder(rows, "other", method="idk", prompts={"answer": "e" * 64}, seed=7), policy)
    assert caught.value.exit_code == 2
    assert sorted(line.partition(":")[0] for line in caught.value.fields) == ["method", "prompts.answer"]
    assert "baseline in the policy, idk now" in " ".join(caught.value.fields)
    with pytest.raises(DataError, match="no estimates of option"):
        c.check(write_folder(rows, "lacking", estimators={"margin": {}}), policy)


def test_estimates_of_other_parameters_are_refused(make_rows: Rows, write_folder: Write) -> None:
    policy = calibrated(write_folder(make_rows(600), "five"), estimator="combined")
    estimators = {"option": {}, "margin": {}, "agreement": {"draws": 10}}
    folder = write_folder(make_rows(50, seed=1, prefix="new"), "ten", estimators=estimators)
    with pytest.raises(LalmError) as caught:
        c.check(folder, policy)
    assert caught.value.fields == ("agreement: {'draws': 5} in the policy, {'draws': 10} now",)


def test_a_check_of_each_modality(make_rows: Rows, write_folder: Write) -> None:
    policy = calibrated(write_folder(make_rows(900), "cal"), by_modality=True)
    new = [row for row in make_rows(300, seed=1, prefix="new") if row.modality != "speech"]
    checked = c.check(write_folder(new, "new"), policy)
    assert [(row.modality, row.n) for row in checked.rows] == [("music", 100), ("sound", 100)]


def test_a_run_that_a_policy_held_back_is_not_calibrated_and_checks_that_policy_alone(
    policy: Policy, make_rows: Rows, write_folder: Write
) -> None:
    rows = make_rows(200, seed=9, prefix="new")
    folder = write_folder(rows, "withheld", policy=policy.sha256)
    with pytest.raises(UsageError, match="policy withheld"):
        calibrated(folder)
    assert c.check(folder, policy).rows
    with pytest.raises(UsageError, match="policy withheld"):
        c.check(write_folder(rows, "other", policy="f" * 64), policy)


@pytest.mark.parametrize("max_risk", [1e-6, 1e-4, 0.9999])
def test_limits_beyond_reach_are_words_and_no_share_is_rounded_away(
    make_rows: Rows, write_folder: Write, max_risk: float
) -> None:
    told: list[str] = []
    try:
        told.append(calibrated(write_folder(make_rows(50)), told.append, max_risk=max_risk).guarantee)
    except UsageError as error:
        told.append(error.message)
    assert "None" not in " ".join(told)
    assert f"at most {max_risk:.{4 if max_risk < 1e-5 else 2}%} " in " ".join(told)


def test_modalities_that_the_policy_does_not_know_are_said(make_rows: Rows, write_folder: Write) -> None:
    policy = calibrated(write_folder(make_rows(400)), by_modality=True, max_risk=0.3)
    told: list[str] = []
    new = make_rows(90, seed=1, prefix="new")
    rows = [row.model_copy(update={"modality": "noise"}) if row.modality == "music" else row for row in new]
    assert {row.modality for row in c.check(write_folder(rows, "some"), policy, told.append).rows} == {
        "sound",
        "speech",
    }
    assert any("noise" in line and "no threshold" in line for line in told)
    none = [row.model_copy(update={"modality": "noise"}) for row in new]
    with pytest.raises(UsageError, match="no threshold"):
        c.check(write_folder(none, "none"), policy)


def test_thresholds_by_modality_of_a_method_without_a_type_step_are_said(make_rows: Rows, write_folder: Write) -> None:
    told: list[str] = []
    calibrated(write_folder(make_rows(400)), told.append, by_modality=True, max_risk=0.3)
    assert any("no type step" in line for line in told)
