"""What `lalm-agent transfer` does: check, work, report."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import typer
from filelock import FileLock, Timeout

from lalm_agent.artefacts import LOCK, write_record, write_whole
from lalm_agent.cli.transfer_study import Study, prepare, study_folder_is_free
from lalm_agent.errors import DataError, UsageError
from lalm_agent.jobs import Observer, Task, run_tasks
from lalm_agent.terminal import duration, say
from lalm_agent.training.transfer.design import Kind, Pace, Part, StudyFolder, read_spec
from lalm_agent.training.transfer.worker import Finished, StudyWorker, clear, tasks_of

_KINDS = {
    Kind.TRAIN: "trainings",
    Kind.EVALUATE: "evaluations",
    Kind.ALSO: "evaluations of --also",
    Kind.PROBE: "probes for forgetting",
}
_DONE = {Kind.TRAIN: "trained", Kind.EVALUATE: "asked", Kind.ALSO: "asked", Kind.PROBE: "probed"}


def run_transfer(given: Mapping[str, Any]) -> int:
    """Run `lalm-agent transfer`; the exit code. given: the parameters of the command.

    Raises:
        UsageError: the call is wrong, or the folder is another study's.
        DataError: bank, data or folder cannot be used, or nothing can be written.
        BackendError: the model cannot.
        KeyboardInterrupt: Ctrl-C; what was done is kept.
    """
    out: Path = given["out"]
    study_folder_is_free(out)
    if given["report_only"]:
        read_spec(StudyFolder(out).spec)
        return report(StudyFolder(out), given["resamples"], given["as_json"])
    study = prepare(given)
    if given["dry_run"]:
        from lalm_agent.cli.transfer_dry import dry_run

        return dry_run(study, given["as_json"])
    run_study(study)
    return report(study.folder, given["resamples"], given["as_json"])


def run_study(study: Study) -> None:
    """Do what is left of a study. Raises as `run_transfer`."""
    with ExitStack() as stack:
        _lock(study.folder, stack)
        left = study.left
        _say_before(study, left)
        if not left:
            _record_tried(study)
            return
        if clear(study.folder, study.spec.identity):
            say("replaced: what was there was another study, of which no adapter was begun")
        study.sets.write(study.folder)
        write_record(study.folder.spec, study.spec)
        progress = Progress(study.parts, left, study.workers)
        try:
            run_tasks(tasks_of(left), partial(StudyWorker, study.setup), study.workers, progress)
        except BaseException:
            say(f"kept {progress.done} of {len(study.parts)} parts in {study.folder.path}; the same command goes on")
            raise


def _record_tried(study: Study) -> None:
    there = read_spec(study.folder.spec)
    if study.spec.tried != there.tried:
        write_record(study.folder.spec, there.model_copy(update={"tried": study.spec.tried}))


class Progress(Observer):
    """Says a line for each part that is done, with what is left."""

    def __init__(self, parts: Sequence[Part], left: Sequence[Part], workers: int) -> None:
        """Nothing is done in this session yet."""
        self._total = len(parts)
        self._left = list(left)
        self._workers = workers
        self._seconds: dict[Kind, list[float]] = {kind: [] for kind in Kind}

    @property
    def done(self) -> int:
        """How many parts are done, those of earlier sessions among them."""
        return self._total - len(self._left)

    def ended(self, task: Task, result: Finished, seconds: float) -> None:
        """Say that a part is done."""
        part: Part = task.what
        self._left.remove(part)
        self._seconds[part.kind].append(result.seconds)
        left_s = Pace(self._workers, self._seconds).left_s(self._left)
        of = f" {part.benchmark}" if part.benchmark else ""
        rest = "" if left_s is None or not self._left else f"; {duration(left_s)} left"
        spent = duration(result.seconds)
        say(f"{self.done}/{self._total} {part.who}: {_DONE[part.kind]}{of}: {result.text} in {spent}{rest}")


def report(folder: StudyFolder, resamples: int, as_json: bool) -> int:
    """Analyse what is there, write the report's files, and print it; the exit code.

    Raises:
        DataError: a part of the study is damaged, or nothing can be written.
    """
    from lalm_agent.training.transfer.report import analyse, as_markdown, as_terminal, heatmap_svg
    from lalm_agent.training.transfer.report import as_json as json_text

    found = analyse(folder.path, resamples, 0)
    text = json_text(found)
    for path, data in (
        (folder.heatmap, heatmap_svg(found)),
        (folder.markdown, as_markdown(found)),
        (folder.report, text),
    ):
        write_whole(path, data.encode())
    if as_json:
        typer.echo(json.dumps(json.loads(text), ensure_ascii=False, allow_nan=False))
        return 0
    typer.echo(as_terminal(found))
    typer.echo(f"report: {folder.markdown}")
    return 0


def _lock(folder: StudyFolder, stack: ExitStack) -> None:
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        stack.enter_context(FileLock(folder.path / LOCK, timeout=0, thread_local=False))
    except Timeout:
        raise UsageError(f"another process is working on {folder.path}", "wait for it, or give another --out") from None
    except OSError as error:
        raise DataError(f"{folder.path} cannot be written: {error.strerror or error}", "another --out") from error


def _say_before(study: Study, left: Sequence[Part]) -> None:
    spec, total = study.spec, len(study.parts)
    if not left:
        say(f"nothing to do: all {total} parts of {study.folder.path} are done")
        return
    identity = spec.identity
    labels = f"{identity.labels.k}@{identity.labels.n}" if identity.labels.rule == "kn" else identity.labels.rule
    say(f"study: {spec.study_id}: {identity.model}, {labels}, {len(study.jobs)} adapters")
    for line in set_lines(study):
        say(line)
    say(f"data: {identity.data.name}{', the bank itself with 20 % of its clips held out' if identity.own_data else ''}")
    told = ", ".join(f"{count} {kind}" for kind, count in kind_counts(left).items())
    say(f"left: {len(left)} of {total} parts ({told}), {study.workers} at a time")


def kind_counts(parts: Sequence[Part]) -> dict[str, int]:
    """What the parts are -> how many, in the order in which an adapter passes through them."""
    counts = Counter(part.kind for part in parts)
    return {_KINDS[kind]: counts[kind] for kind in Kind if counts[kind]}


def set_lines(study: Study) -> list[str]:
    """A line for each source: rows, IDK and steps, which all its arms share."""
    from lalm_agent.training.lora.recipe import total_steps
    from lalm_agent.training.transfer.design import SOURCES, Arm, Job

    lines = []
    for source in SOURCES:
        manifest, _ = study.sets.by_job[Job(source, Arm.KN, study.spec.seeds[0])]
        counts = manifest.counts["total"]
        steps = total_steps(counts["n"], study.setup.recipe, 1)
        idk = f"{counts['idk']} IDK ({manifest.share:.1%})"
        lines.append(f"set: {source}: {counts['n']} rows, {idk}, {steps} steps for each adapter")
    return lines
