"""`lalm-agent transfer --dry-run`: what a study would be and how long it would take; its folder is not touched."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from lalm_agent.cli.transfer_command import kind_counts, set_lines
from lalm_agent.cli.transfer_data import plan_of_questions
from lalm_agent.cli.transfer_study import Study
from lalm_agent.eval import estimate
from lalm_agent.terminal import duration, say
from lalm_agent.training.transfer.design import Arm, Job, Kind, Part, StudyFolder
from lalm_agent.training.transfer.worker import Questions


def dry_run(study: Study, as_json: bool) -> int:
    """Print the plan; train two steps and ask up to three questions for real to say how long; the exit code.

    Raises:
        UsageError: the targets match nothing.
        DataError: clips or the model cannot be used.
        BackendError: the model cannot.
    """
    left = study.left
    say("loading the model")
    with tempfile.TemporaryDirectory(prefix="lalm-agent-") as folder:
        training_s = _training_s(study, Path(folder))
        asking_s = _asking_s(study, study.setup.data, Path(folder))
    seconds = sum(_seconds(study, part, training_s, asking_s or 0.0) for part in left) / study.workers
    known = seconds if asking_s is not None else None
    if as_json:
        typer.echo(json.dumps(_fields(study, left, known), ensure_ascii=False, allow_nan=False))
        return 0
    for line in set_lines(study):
        typer.echo(line)
    for kind, count in kind_counts(left).items():
        typer.echo(f"{kind}: {count}")
    typer.echo(f"questions of an evaluation: {_questions(study, Part(Kind.EVALUATE, None))}")
    basis = f"from two real passes and three questions, {study.workers} at a time"
    told = "unknown: no question could be asked" if known is None else f"{known:.0f} ({duration(known)}; {basis})"
    typer.echo(f"estimated seconds: {told}")
    return 0


def _training_s(study: Study, folder: Path) -> dict[str, float]:
    """Seconds of a training by source: those of one, by the number of rows."""
    from lalm_agent.training.lora.train import TrainRequest, estimate

    place, setup = StudyFolder(folder), study.setup
    job = Job("sound", Arm.KN, 0)
    place.sets.mkdir()
    rows = {one.source: manifest.counts["total"]["n"] for one, (manifest, _) in study.sets.by_job.items()}
    replace(study.sets, by_job={job: study.sets.by_job[job]}).write(place)
    request = TrainRequest(place.idk_set(job), place.adapter(job), setup.config, setup.recipe, setup.preset)
    seconds = estimate(request, lambda _: None).seconds
    return {source: seconds * n / rows[job.source] for source, n in rows.items()}


def _asking_s(study: Study, questions: Questions, folder: Path) -> float | None:
    """Seconds of a question; None where none could be asked."""
    setup = study.setup
    found = estimate(questions.request(folder / "run", setup.config, setup.batch_size))
    return None if found.seconds is None else found.seconds / found.questions


def _seconds(study: Study, part: Part, training_s: dict[str, float], asking_s: float) -> float:
    if part.kind is Kind.TRAIN:
        return training_s[part.job.source] if part.job else 0.0
    return _questions(study, part) * asking_s


def _questions(study: Study, part: Part) -> int:
    """How many are asked. A question of the probe counts as one, though it has up to three requests."""
    if part.kind is Kind.PROBE:
        return len(study.setup.probe)
    data = study.setup.data if part.benchmark is None else study.setup.also[part.benchmark]
    return len(plan_of_questions(data).items)


def _fields(study: Study, left: tuple[Part, ...], seconds: float | None) -> dict[str, Any]:
    return {
        "study": study.spec.study_id,
        "adapters": len(study.jobs),
        "sets": {job.name: dict(manifest.counts["total"]) for job, (manifest, _) in study.sets.by_job.items()},
        "left": {str(kind): sum(part.kind is kind for part in left) for kind in Kind},
        "questions": _questions(study, Part(Kind.EVALUATE, None)),
        "probe": len(study.setup.probe),
        "jobs": study.workers,
        "seconds": seconds,
    }
