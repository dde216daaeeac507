"""What a report looks like: the sentences first, every form of the same figures, and curves as SVG."""

import json
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.artefacts import StorageError
from lalm_agent.errors import UsageError
from lalm_agent.eval.faithfulness.records import ChainUse, Intervention, StudyData, Trial
from lalm_agent.eval.faithfulness.report import report_of, write_curves, written
from lalm_agent.eval.faithfulness.schema import FaithfulnessReport
from lalm_agent.eval.items import Item
from lalm_agent.records import Status


def trial(at: int, kind: Intervention, choice: int, n: int, **fields: Any) -> Trial:
    fields = {"use": ChainUse.FIXED, "status": Status.ANSWERED, **fields}
    return Trial(question=str(at), intervention=kind, choice=choice, sentences=n, **fields)


@pytest.fixture(scope="module")
def report() -> FaithfulnessReport:
    """A copier of its chains: 35 of two sentences, 5 of four; two masks and a control."""
    items, trials = [], []
    for at in range(40):
        n = 2 if at < 35 else 4
        items.append(
            Item(str(at), f"{at}.wav", "?", ("dog", "cat"), "dog", (("hop", "multi" if at % 2 else "single"),))
        )
        trials += [trial(at, kind, 0, n) for kind in (Intervention.ORIGINAL, Intervention.SAME)]
        trials += [trial(at, Intervention.EARLY, int(k < n), n, position=k) for k in range(n + 1)]
        trials += [trial(at, Intervention.MASK, 0, n, variant="start", level=level) for level in (0.5, 1.0)]
        trials.append(trial(at, Intervention.NONE, 1, n))
    return report_of(StudyData("a $study$", tuple(items), (), tuple(trials), {"model": "made up"}), resamples=200)


def test_the_terminal_leads_with_what_may_be_said(report: FaithfulnessReport) -> None:
    text = written(report, "", 200)
    first, second, third = text.splitlines()[:3]
    assert first.startswith("early: AOC above floor 0.77 [")
    assert "], 40 chains, 40 clips: the answer depends on the chain" in first
    assert second.startswith("mask start: AOC above floor 0.00 [0.00, 0.00], 40 chains, 40 clips: no claim")
    assert third.startswith("none: changed above floor 1.00 [1.00, 1.00], 40 chains, 40 clips: the answer depends on")
    places = [
        text.index(title) for title in ("How the trials ended", "With the chain against without", "By chain length")
    ]
    assert places == sorted(places)
    assert "floor: 0.0" in text
    assert max(map(len, written(report, "", 100).splitlines())) <= 100


def test_json_has_everything(report: FaithfulnessReport) -> None:
    fields = json.loads(written(report, "json"))
    assert FaithfulnessReport.model_validate(fields) == report
    early = next(arm for arm in fields["arms"] if arm["intervention"] == "early")
    assert [length["claim"] for length in early["lengths"]][1] == "no claim: 5 chains of length 4, 30 are needed"
    assert {group["group"] for group in early["groups"]} == {"multi", "single"}
    assert [len(curve["points"]) for curve in early["curves"]] == [3, 5]


def test_markdown_and_latex_have_every_table(report: FaithfulnessReport) -> None:
    markdown, latex = written(report, "markdown"), written(report, "latex")
    titles = (
        "Interventions",
        "How the trials ended",
        "With the chain against",
        "By chain length",
        "Curves",
        "By group",
    )
    for title in titles:
        assert f"### {title}" in markdown
        assert f"\\caption{{{title}" in latex
    assert r"a \$study\$" in latex
    assert "no claim: 5 chains of length 4" not in latex


def test_another_form_is_refused(report: FaithfulnessReport) -> None:
    with pytest.raises(UsageError, match="html"):
        written(report, "html")


def test_curves_are_drawn_for_lengths_with_enough_chains(report: FaithfulnessReport, tmp_path: Path) -> None:
    files = write_curves(report, tmp_path / "new" / "curves")
    assert [file.name for file in files] == ["early.svg", "mask-start.svg"]
    svg = files[0].read_text("utf-8")
    assert "2 sentences (n = 35)" in svg
    assert "4 sentences" not in svg
    assert "stroke-dasharray" in svg
    assert "a $study$: early" in svg
    before = [file.read_bytes() for file in files]
    assert [file.read_bytes() for file in write_curves(report, files[0].parent)] == before
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be made"):
        write_curves(report, tmp_path / "file")


def test_no_curve_without_enough_chains(report: FaithfulnessReport, tmp_path: Path) -> None:
    assert write_curves(report.model_copy(update={"minimum": 41}), tmp_path) == ()


def test_the_same_study_gives_the_same_report_in_any_order() -> None:
    items = tuple(Item(str(at), f"{at}.wav", "?", ("dog", "cat"), "dog") for at in range(12))
    trials = [
        trial(at, kind, at * place % 2, 1)
        for at in range(12)
        for place, kind in enumerate((Intervention.ORIGINAL, Intervention.SAME, Intervention.NONE))
    ]
    one_way = report_of(StudyData("x", items, (), tuple(trials)), resamples=100)
    other_way = report_of(StudyData("x", items[::-1], (), tuple(trials[::-1])), resamples=100)
    assert one_way == other_way


def test_a_study_without_an_answer_to_a_chain_has_an_empty_report() -> None:
    report = report_of(StudyData("x", (Item("0", "0.wav", "?", ("dog", "cat"), "dog"),), (), ()), resamples=10)
    assert (report.n_items, report.n_questions, report.arms, report.with_without) == (1, 0, (), None)
    assert all("floor unknown" in written(report, form) for form in ("", "markdown", "latex"))


def test_every_part_of_a_wide_table_names_the_length_of_its_rows(report: FaithfulnessReport) -> None:
    text = written(report, "", 80).partition("By chain length")[2]
    headers = [line for line in text.splitlines() if line.startswith("intervention")]
    assert len(headers) > 1
    assert all(header.split()[1] == "length" for header in headers)


def test_chains_without_a_readable_end_are_counted_beside_the_figure(report: FaithfulnessReport) -> None:
    arm = report.arms[0].model_copy(update={"n_no_curve": 7})
    text = written(report.model_copy(update={"arms": (arm,)}), "", 200)
    assert "40 chains (7 without a readable end are left out), 40 clips" in text.splitlines()[0]
