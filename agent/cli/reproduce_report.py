"""From the finished parts of a reproduction to all that its report says, and its pictures."""

import os
import platform
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lalm_agent.artefacts import SPEC, read_lines, source_state, versions, write_whole
from lalm_agent.errors import DataError
from lalm_agent.eval.reading.predictions import read_run
from lalm_agent.eval.runs.records import RunSpec, read_spec
from lalm_agent.eval.scoring.compare import Grading, Resampling, study
from lalm_agent.eval.scoring.schema import Report
from lalm_agent.eval.scoring.summary import Config, summarise
from lalm_agent.training.idk.labels import Bootstrap
from lalm_agent.training.idk.make import BankRequest, bank_curve, grade_bank
from lalm_agent.training.idk.plot import write_plot
from lalm_agent.training.reproduce.design import METHODS, WATERMARK, PaperFolder, worked
from lalm_agent.training.reproduce.report import BankFacts, Findings, Provenance, watermarked
from lalm_agent.training.transfer.design import StudyFolder
from lalm_agent.training.transfer.schema import StudyReport

if TYPE_CHECKING:
    from lalm_agent.cli.reproducing import Work

_CPU_INFO = Path("/proc/cpuinfo")


def found_in(work: "Work", command: str) -> Findings:
    """Everything that the report says; the pictures are written.

    Raises:
        DataError: a part's files are damaged, or two parts asked different weights.
    """
    folder = work.folder
    specs = {str(method): read_spec(folder.run(method) / SPEC) for method in METHODS}
    specs["bank"] = read_spec(folder.bank / SPEC)
    report = _study_report(folder)
    weights = _same_weights(specs, report)
    return Findings(
        frozen=work.frozen,
        quick=work.quick,
        synthetic=work.sources.bank is None,
        provenance=_provenance(work, specs, weights),
        methods=_methods(folder, work.frozen.resamples),
        run_ids={name: spec.run_id for name, spec in specs.items() if name != "bank"},
        bank=_bank(work),
        study=report,
        study_text=_study_text(report),
        figures=_figures(work),
        parts=work.parts,
        worked=worked(read_lines(folder.journal)),
        command=command,
    )


def _methods(folder: PaperFolder, resamples: int) -> Report:
    outputs = [replace(read_run(folder.run(method)), name=str(method)) for method in METHODS]
    return summarise(study(outputs, Grading()), Config(resampling=Resampling(resamples)))


def _study_report(folder: PaperFolder) -> StudyReport:
    from pydantic import ValidationError

    path = StudyFolder(folder.study).report
    try:
        return StudyReport.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise DataError(f"{path} is no report of a study", "run the same command again") from error


def _study_text(report: StudyReport) -> str:
    """The study's own report, without its title and its picture, which stand above it."""
    from lalm_agent.training.transfer.report import as_markdown

    return as_markdown(report, image=None).partition("\n")[2]


def _same_weights(specs: Mapping[str, RunSpec], report: StudyReport) -> str | None:
    found = {name: spec.identity.weights_sha256 for name, spec in specs.items()}
    found["study"] = report.study.identity.weights_sha256
    if len(set(found.values())) > 1:
        shown = ", ".join(f"{name} {str(one)[:12]}" for name, one in found.items())
        raise DataError(f"the parts are of different weights: {shown}", "make the report in a new folder")
    return next(iter(found.values()))


def _bank(work: "Work") -> BankFacts:
    """The bank's curve; figure 5 is drawn."""
    request = BankRequest(bank=work.folder.bank, n=work.frozen.n, compare=())
    curve = bank_curve(grade_bank(request), Bootstrap(work.frozen.resamples))
    write_plot(work.folder.figure5, curve)
    return BankFacts(
        run_id=curve.run,
        sha256=curve.bank_sha256,
        n=curve.n,
        temperature=curve.temperature,
        scorer=curve.scorer,
        groups=curve.groups,
    )


def _figures(work: "Work") -> dict[str, str]:
    """Where the pictures are, relative to the report; those of `--quick` say what they are."""
    folder = work.folder
    write_whole(folder.figure3, StudyFolder(folder.study).heatmap.read_bytes())
    pictures = {"figure3": folder.figure3, "figure5": folder.figure5}
    if work.quick:
        for path in pictures.values():
            write_whole(path, watermarked(path.read_text(encoding="utf-8"), WATERMARK).encode())
    return {name: path.relative_to(folder.path).as_posix() for name, path in pictures.items()}


def _provenance(work: "Work", specs: Mapping[str, RunSpec], weights: str | None) -> Provenance:
    commit, dirty = source_state()
    data: dict[str, Any] = {"bank": specs["bank"], "evaluation": specs["baseline"]}
    return Provenance(
        model=work.machine.model[1],
        weights_sha256=weights,
        data={name: _data_words(work, name, spec) for name, spec in data.items()},
        commit=commit,
        dirty=dirty,
        versions=versions(),
        processor=_processor(),
        cores=os.cpu_count() or 1,
    )


def _data_words(work: "Work", name: str, spec: RunSpec) -> str:
    frozen, identity = work.frozen, spec.identity
    known = spec.data_version or f"{identity.data.name}, sha256 {identity.data.sha256[:12]}"
    n = f"{spec.selection.asked:,} questions"
    if work.sources.bank is not None:
        return f"{n} of {known}"
    split, seed = ("train", frozen.bank_seed) if name == "bank" else (work.sources.split, frozen.eval_seed)
    return f"{n} of {known}, split {split}, seed {seed}"


def _processor() -> str:
    """The processor's own name where the system tells it."""
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
