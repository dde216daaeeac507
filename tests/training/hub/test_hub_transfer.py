"""`lalm-agent transfer` on a folder as on the hub, over the bank's own clips, with real trainings."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.cli.main import run
from lalm_agent.training.transfer.design import SOURCES, Arm, Job, StudyFolder

pytestmark = pytest.mark.timeout(600)

Said = Callable[[], tuple[str, str]]
OF_EACH = 14
"""Questions of a modality, each about a clip of its own."""


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def replies(run_folder: Path) -> dict[str, str]:
    return {line["id"]: line["reply"] for line in lines_of(run_folder / "answers.jsonl")}


def test_a_study_over_the_banks_own_clips(overfitted: Any, said: Said) -> None:
    bank, folder = overfitted.bank(), StudyFolder(overfitted.place / "study")
    arguments = ["transfer", "--bank", str(bank), "--model", str(overfitted.folder), "--out", str(folder.path)]
    arguments += ["--seeds", "1", "--jobs", "1", "--forgetting", "6", "--resamples", "100", "--max-new-tokens", "12"]
    arguments += [*overfitted.recipe, "--max-steps", "25"]
    assert run(arguments) == 0, said()[1]
    report = json.loads(folder.report.read_text("utf-8"))
    _the_arms_have_the_same_rows(folder)
    _the_diagonal_is_about_held_out_clips(report, folder)
    _only_refusals_that_were_taught_are_made(folder)
    assert {(claim["source"], claim["target"]) for claim in report["claims"]} == {
        (source, target) for source in SOURCES for target in SOURCES if source != target
    }
    assert folder.markdown.is_file()
    assert "<svg" in folder.heatmap.read_text("utf-8")
    _an_adapter_of_the_study_is_one_for_eval(overfitted, folder)
    said()
    assert run(arguments) == 0
    assert "nothing to do" in said()[1]


def _the_arms_have_the_same_rows(folder: StudyFolder) -> None:
    for source in SOURCES:
        kn, kept, random = (lines_of(folder.idk_set(Job(source, arm, 0))) for arm in Arm)
        assert [row["id"] for row in kn] == [row["id"] for row in kept] == [row["id"] for row in random]
        assert {row["modality"] for row in kn} == {source}
        idk, of_random = sum(row["is_idk"] for row in kn), sum(row["is_idk"] for row in random)
        assert 0 < idk == of_random < len(kn)
        assert not any(row["is_idk"] for row in kept)


def _the_diagonal_is_about_held_out_clips(report: dict[str, Any], folder: StudyFolder) -> None:
    cells = {(cell["source"], cell["arm"], cell["target"]): cell for cell in report["cells"]}
    for source in SOURCES:
        trained = len(lines_of(folder.idk_set(Job(source, Arm.KN, 0))))
        assert 0 < trained <= OF_EACH
        for target in SOURCES:
            cell = cells[source, "kn", target]
            seen = trained if source == target else 0
            assert (cell["n"], cell["excluded"]) == (OF_EACH - seen, seen)
            assert (cell["blank"] is None) is (cell["n"] > 0)


def _only_refusals_that_were_taught_are_made(folder: StudyFolder) -> None:
    """The model itself never says IDK, nor does what was trained on answers alone; the others learned it."""
    assert "IDK" not in replies(folder.run(None)).values()
    for source in SOURCES:
        rows = {row["id"]: row for row in lines_of(folder.idk_set(Job(source, Arm.KN, 0)))}
        taught = replies(folder.run(Job(source, Arm.KN, 0)))
        as_taught = sum((taught[name] == "IDK") is row["is_idk"] for name, row in rows.items())
        assert as_taught >= 0.8 * len(rows)
        assert "IDK" not in replies(folder.run(Job(source, Arm.KEPT, 0))).values()
        assert "IDK" in replies(folder.run(Job(source, Arm.RANDOM, 0))).values()


def _an_adapter_of_the_study_is_one_for_eval(made: Any, folder: StudyFolder) -> None:
    job, out = Job("speech", Arm.KN, 0), made.place / "runs" / "again"
    assert run(made.asking("eval", "--method", "lora", "--adapter", str(folder.adapter(job)), "--out", str(out))) == 0
    assert replies(out) == replies(folder.run(job))
