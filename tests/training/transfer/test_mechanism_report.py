"""What is said of measured adapters: on a study made by hand, in which one head follows the refusals."""

import hashlib
import io
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lalm_agent.artefacts import write_record, write_whole
from lalm_agent.errors import DataError
from lalm_agent.eval.items import Item
from lalm_agent.training.transfer.design import SOURCES, Arm, Job, StudyFolder, jobs_of
from lalm_agent.training.transfer.mechanism import (
    LayerAblation,
    MechanismRecord,
    asked_questions,
    record_path,
    study_spec,
)
from lalm_agent.training.transfer.mechanism_report import (
    MechanismReport,
    mechanism_lines,
    mechanism_sections,
    report_mechanism,
)
from lalm_agent.training.transfer.study import report_study

PLANTED = (1, 2)
"""Layer and head."""


def number(item: Item) -> int:
    return int("".join(letter for letter in item.id if letter.isdigit()))


def letter(job: Job | None, item: Item) -> str:
    """The rule's adapters refuse a third; those of music only in music, and the controls hardly."""
    refuses = job is not None and job.arm is Arm.KN and (job.source != "music" or item.id.startswith("music"))
    return "a" if refuses and number(item) % 3 == 0 else "c"


def write_measured(folder: StudyFolder, job: Job | None, refused: Sequence[str], ids: Sequence[str]) -> None:
    rng = np.random.default_rng(0)  # the same noise for all: an adapter moves one head, and the state along one axis
    mass = rng.uniform(0.1, 0.2, (len(ids), 3, 2, 4)).astype(np.float32)
    mass[:, 2] = np.nan
    hidden = rng.normal(size=(len(ids), 6)).astype(np.float32)
    if job is not None:
        mass[:, 0] += np.random.default_rng(job.seed).normal(0, 0.01, (len(ids), 2, 4)).astype(np.float32)
        hidden += np.random.default_rng(job.seed + 7).normal(0, 0.01, hidden.shape).astype(np.float32)
        of_refused = np.isin(ids, refused)
        mass[of_refused, 0, *PLANTED] -= 0.1
        hidden[of_refused, 3] += 1
    file = io.BytesIO()
    np.savez_compressed(file, mass=mass, hidden=hidden)
    path = record_path(folder, job)
    path.parent.mkdir(exist_ok=True)
    write_whole(path.with_suffix(".npz"), file.getvalue())
    layers = (LayerAblation(layer="0", refused=tuple(refused)), LayerAblation(layer="1", refused=()))
    record = MechanismRecord(
        name="baseline" if job is None else job.name,
        weights_sha256="w",
        adapter_sha256=None,
        questions=tuple(ids),
        unlocated={"audio": 0, "question": 0, "choices": len(ids)},
        logit_difference=1e-6,
        arrays_sha256=hashlib.sha256(file.getvalue()).hexdigest(),
        ablated=tuple(refused),
        layers=layers if refused else (),
    )
    write_record(path, record)


@pytest.fixture(scope="module")
def measured_once(
    write_study_to: Callable[..., StudyFolder],
    items_of: Callable[..., list[Item]],
    tmp_path_factory: pytest.TempPathFactory,
) -> StudyFolder:
    folder = write_study_to(tmp_path_factory.mktemp("measured") / "study", items_of(36), letter, seeds=(0, 1))
    with StudyFolder(folder.path, writes=False) as own:
        asked = asked_questions(own, study_spec(own))
    write_measured(folder, None, (), asked.ids)
    for job in jobs_of((0, 1)):
        refused = [item.id for item in asked.items if letter(job, item) == "a"]
        write_measured(folder, job, refused, asked.ids)
    return folder


@pytest.fixture
def measured(measured_once: StudyFolder, tmp_path: Path) -> StudyFolder:
    """A copy, to be changed."""
    return StudyFolder(Path(shutil.copytree(measured_once.path, tmp_path / "study")))


@pytest.fixture(scope="module")
def report(measured_once: StudyFolder, tmp_path_factory: pytest.TempPathFactory) -> MechanismReport:
    return report_mechanism(shutil.copytree(measured_once.path, tmp_path_factory.mktemp("reported") / "study"))


def test_the_planted_head_is_the_one_that_separates(report: MechanismReport) -> None:
    told = {(cell.source, cell.target): cell for cell in report.cells if cell.blank is None}
    assert set(told) == {(s, t) for s in SOURCES for t in SOURCES if s != "music" or t == "music"}
    for cell in told.values():
        assert cell.arm == Arm.KN
        assert (cell.n_refused, cell.n_answered, cell.seeds) == ((12, 12), (24, 24), (0, 1))
        assert cell.separating == (PLANTED,)
        layer, head = PLANTED
        assert cell.auroc[layer][head] == cell.low[layer][head] == 0  # it falls, always
        assert cell.p[layer][head] == pytest.approx(1 / 2000)
        of_audio = cell.mass["audio"]
        assert of_audio.after_refused[layer][head] == pytest.approx(
            of_audio.before_refused[layer][head] - 0.1, abs=0.01
        )
        assert of_audio.after_answered[layer][head] == pytest.approx(of_audio.before_answered[layer][head], abs=0.01)
        assert cell.mass["choices"].after_refused == ((None,) * 4,) * 2


def test_nothing_is_said_of_fewer_than_ten_refusals(report: MechanismReport) -> None:
    blank = [cell for cell in report.cells if cell.blank is not None]
    assert {cell.arm for cell in blank} == set(Arm)
    assert all("fewer than 10 refused" in (cell.blank or "") for cell in blank)
    assert all(cell.auroc == () and cell.separating == () and cell.mass == {} for cell in blank)
    assert {(pair.source, pair.target) for pair in report.agreement} == {
        ("sound", "music"),
        ("sound", "speech"),
        ("speech", "sound"),
        ("speech", "music"),
    }
    assert {row.arm for row in report.ablations} == {Arm.KN}


def test_shifts_towards_the_same_state_have_a_cosine_near_one(report: MechanismReport) -> None:
    cosines = {(pair.first, pair.second): pair for pair in report.shifts}
    assert set(cosines) == {(f"{a}-kn", f"{b}-kn") for i, a in enumerate(SOURCES) for b in SOURCES[i:]}
    assert cosines["sound-kn", "sound-kn"].pairs == 1
    assert cosines["sound-kn", "speech-kn"].pairs == 4
    for pair in report.shifts:
        assert pair.cosine.value == pytest.approx(1, abs=0.01)
        assert pair.cosine.low is not None
        assert pair.cosine.low > 0.98


def test_the_share_of_refusals_that_are_left_is_by_layer_and_modality(report: MechanismReport) -> None:
    shares = {(row.source, row.target, row.layer): row.share for row in report.ablations}
    assert {layer for _, _, layer in shares} == {"0", "1"}
    assert all(share.value == (1 if layer == "0" else 0) for (_, _, layer), share in shares.items())
    assert shares["sound", "speech", "0"].n == 24  # 12 of each seed


def test_the_study_s_report_has_it_from_then_on(measured: StudyFolder) -> None:
    before = report_study(measured.path, 100)
    assert "Where the adapters learned it" not in measured.markdown.read_text("utf-8")
    report_mechanism(measured.path)
    text = measured.markdown.read_text("utf-8")
    assert "## Where the adapters learned it" in text
    assert "mechanism/heads.svg" in text
    assert (measured.path / "mechanism" / "heads.svg").read_text("utf-8").count("rule: ") == 9
    assert report_study(measured.path, 100) == before
    assert measured.markdown.read_text("utf-8") == text


def test_what_could_not_be_located_is_said(report: MechanismReport) -> None:
    lines = list(mechanism_lines(report))
    assert "not located in the prompt: choices in 108 questions" in lines
    assert any(
        line.startswith("fewer than 10 ") and "kept sound -> sound (0, 0 of 36 refused)" in line for line in lines
    )


def test_what_is_not_there_or_damaged_is_refused(measured: StudyFolder) -> None:
    job = Job("sound", Arm.KN, 0)
    arrays = record_path(measured, job).with_suffix(".npz")
    arrays.write_bytes(arrays.read_bytes()[:-1])
    with pytest.raises(DataError, match="does not belong"):
        report_mechanism(measured.path)
    record_path(measured, job).unlink()
    report = report_mechanism(measured.path)
    assert job.name not in report.adapters
    _one_seed_is_left(report)
    record_path(measured, None).unlink()
    with pytest.raises(DataError, match="nothing was measured"):
        report_mechanism(measured.path)


def _one_seed_is_left(report: MechanismReport) -> None:
    seeds: dict[str, Any] = {cell.source: cell.seeds for cell in report.cells if cell.blank is None}
    assert seeds["sound"] == (1,)
    assert seeds["speech"] == (0, 1)


def test_a_study_without_measuring_has_no_section(
    write_study: Callable[..., StudyFolder], items_of: Callable[..., list[Item]]
) -> None:
    assert mechanism_sections(write_study(items_of(4), letter, seeds=(0,))) == ()
