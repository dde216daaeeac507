from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lalm_agent.errors import UsageError
from lalm_agent.eval.confidence.measures import ConfidenceReport, measure
from lalm_agent.eval.confidence.records import EstimateRow, read_estimates
from lalm_agent.eval.grade import Outcome
from lalm_agent.eval.metrics import selective
from lalm_agent.eval.metrics.estimate import ClipResamples
from lalm_agent.eval.metrics.mcnemar import holm
from lalm_agent.eval.report.confidence import measures_lines
from lalm_agent.eval.scoring.compare import Resampling

Rows = Callable[..., list[EstimateRow]]
Write = Callable[..., Path]
HOW = Resampling(resamples=200)


def measured(folder: Path, how: Resampling = HOW) -> ConfidenceReport:
    return measure(read_estimates(folder), how)


def test_figures_are_those_of_the_answers_alone(make_rows: Rows, write_folder: Write) -> None:
    rows = make_rows(150)
    fields = [{"outcome": Outcome.ABSTAINED}, {"outcome": Outcome.FAILED}, {"seen": True}, {"values": {"option": None}}]
    rows[:4] = [row.model_copy(update=update) for row, update in zip(rows, fields, strict=False)]
    report = measured(write_folder(rows, estimators={"option": {}, "verbal": {}}))
    assert (report.n, report.best) == (297, "option")
    (option,) = report.estimators
    assert (option.n, option.n_unknown) == (296, 1)
    right = np.array([row.outcome == "correct" for row in rows[4:]])
    values = np.array([row.values["option"] for row in rows[4:]])
    answers = selective.ranked(np.where(right, 0, 1), values)
    assert option.figures["auroc"].value == pytest.approx(selective.auroc(answers))
    assert option.figures["ece"].value == pytest.approx(selective.ece(answers, equal_mass=True))
    assert option.figures["accuracy_at_80%"].value == pytest.approx(selective.selective_accuracy(answers, 0.8))
    assert sum(n for _, _, n in option.reliability) == 296
    for name, figure in option.figures.items():
        assert figure.low is not None, name
        assert figure.low < (figure.value or 0) < (figure.high or 0)
    assert "verbal is known for no answer" in report.notes


def test_an_interval_is_over_recordings_and_not_over_questions(make_rows: Rows, write_folder: Write) -> None:
    rows = make_rows(60)
    # Each question four times: no more is known than before.
    copies = [row.model_copy(update={"draw": draw}) for row in rows for draw in range(4)]
    alone, repeated = (
        measured(write_folder(of, name, estimators={"option": {}})).estimators[0].figures["auroc"]
        for of, name in ((rows, "alone"), (copies, "repeated"))
    )
    assert alone.value == pytest.approx(repeated.value)
    assert alone.low == pytest.approx(repeated.low)


def test_a_resample_has_all_questions_of_each_recording_that_it_drew() -> None:
    for places in ClipResamples(["a", "b", "a", "c", "b", "a"], 50, seed=0).places():
        drawn = np.bincount(places, minlength=6)
        assert drawn[0] == drawn[2] == drawn[5]
        assert drawn[1] == drawn[4]
        assert drawn[0] + drawn[1] + drawn[3] == 3


def test_combined_is_compared_with_the_option_probability_and_the_best_single(
    make_rows: Rows, write_folder: Write
) -> None:
    rows = [
        row.model_copy(update={"values": row.values | {"option": 0.5 + row.values["agreement"] / 9}})
        for row in make_rows(400)
    ]
    report = measured(write_folder(rows))
    assert [(of.first, of.second) for of in report.comparisons] == [
        ("margin", "option"),
        ("agreement", "option"),
        ("combined", "option"),
        ("combined", "margin"),
    ]
    assert [of.p_holm for of in report.comparisons] == list(holm([of.p for of in report.comparisons]))
    margin, agreement, combined, _ = report.comparisons
    # `agreement` is noise here, and so is `option`; `margin` tells right from wrong.
    assert margin.excess_aurc.high is not None
    assert margin.excess_aurc.high < 0
    assert margin.p_holm is not None
    assert margin.p_holm < 0.05
    assert agreement.excess_aurc.low is not None
    assert agreement.excess_aurc.low <= 0 <= (agreement.excess_aurc.high or 0)
    assert combined.lower_by.value is not None
    excess = {of.estimator: of.figures["excess_aurc"].value or 0 for of in report.estimators}
    assert combined.excess_aurc.value == pytest.approx(excess["combined"] - excess["option"])
    assert combined.lower_by.value == pytest.approx(1 - excess["combined"] / excess["option"])


def test_noise_that_is_combined_is_no_better_than_chance(make_rows: Rows, write_folder: Write) -> None:
    """Out of fold, coefficients cannot know the answers that they are tried on."""
    rng = np.random.default_rng(5)
    rows = [
        row.model_copy(update={"values": dict(zip("abcdefgh", rng.random(8).tolist(), strict=True))})
        for row in make_rows(60)
    ]
    report = measured(write_folder(rows, estimators={name: {} for name in "abcdefgh"}))
    auroc = next(of for of in report.estimators if of.estimator == "combined").figures["auroc"]
    assert auroc.value is not None
    assert auroc.value < 0.6


def test_estimators_are_compared_where_both_are_known(make_rows: Rows, write_folder: Write) -> None:
    rows = make_rows(100)
    half = [row.model_copy(update={"values": row.values | {"margin": None}}) for row in rows[:100]] + rows[100:]
    report = measured(write_folder(half, estimators={"option": {}, "margin": {}}))
    margin = next(of for of in report.comparisons if (of.first, of.second) == ("margin", "option"))
    assert margin.n == 100
    alone = measured(write_folder(rows[100:], "alone", estimators={"option": {}, "margin": {}})).comparisons[0]
    assert margin.excess_aurc.value == pytest.approx(alone.excess_aurc.value)


def test_what_cannot_be_measured_is_refused_and_what_cannot_be_combined_is_said(
    make_rows: Rows, write_folder: Write
) -> None:
    rows = make_rows(30)
    with pytest.raises(UsageError, match="no answer to measure"):
        measured(write_folder([], "empty"))
    with pytest.raises(UsageError, match="has a confidence"):
        measured(write_folder(rows, "unknown", estimators={"verbal": {}}))
    right = [row.model_copy(update={"outcome": Outcome.CORRECT}) for row in rows]
    report = measured(write_folder(right, "right"))
    assert "are right" in report.notes[0]
    assert [of.estimator for of in report.estimators] == ["option", "margin", "agreement"]
    auroc = report.estimators[0].figures["auroc"]
    assert (auroc.value, auroc.kind) == (None, "undefined")


def test_the_report_is_two_tables_and_says_which_is_best(make_rows: Rows, write_folder: Write) -> None:
    lines = list(measures_lines(measured(write_folder(make_rows(100)))))
    assert "200 answers on 100 recordings" in lines[0]
    assert lines[1].splitlines()[2].startswith(("combined", "margin", "option"))
    assert "excess AURC" in lines[1]
    assert "p (Holm)" in lines[4]
    assert any(line.startswith("Least excess AURC: ") for line in lines)
