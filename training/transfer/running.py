"""Which parts of a study are done already, and how workers take the rest."""

from collections.abc import Collection, Iterable
from pathlib import Path

from lalm_agent.eval.runs.store import is_run, read_answers, read_items
from lalm_agent.training.lora.adapter import CONFIG, WEIGHTS
from lalm_agent.training.transfer.arms import Job
from lalm_agent.training.transfer.layout import StudyFolder
from lalm_agent.training.transfer.plan import Kind, Part
from lalm_agent.training.transfer.probe_result import read_result


def is_done(part: Part, folder: StudyFolder, ids: Collection[str]) -> bool:
    """Whether a part's result is there whole. ids: of the questions of an evaluation or a probe.

    Raises:
        DataError: a run folder is damaged.
    """
    if part.kind is Kind.TRAIN:
        adapter = folder.adapter(_job(part))
        return (adapter / CONFIG).is_file() and (adapter / WEIGHTS).is_file()
    if part.kind is Kind.PROBE:
        return is_probed(probe_path(part, folder), ids)
    return is_answered(run_path(part, folder), ids)


def is_answered(run: Path, ids: Collection[str]) -> bool:
    """Whether a run folder has an answer to each of these questions, and to all of its own."""
    if not is_run(run):
        return False
    answers = read_answers(run)
    own = [asked.item.id for asked in read_items(run)]
    return all((id_, 0) in answers for id_ in (*ids, *own))


def is_probed(path: Path, ids: Collection[str]) -> bool:
    """Whether a probe was asked all of these questions.

    Raises:
        DataError: its file is damaged.
    """
    if not path.is_file():
        return False
    found = read_result(path)
    return set(ids) <= found.questions.keys() | set(found.excluded)


def run_path(part: Part, folder: StudyFolder) -> Path:
    """Run folder of an evaluation."""
    if part.benchmark is None:
        return folder.baseline if part.job is None else folder.run(part.job)
    return (
        folder.also_baseline(part.benchmark) if part.job is None else folder.also_run(part.benchmark, part.job)
    )


def probe_path(part: Part, folder: StudyFolder) -> Path:
    """File of a probe."""
    return folder.forgetting_before if part.job is None else folder.forgetting_after(part.job)


def by_worker(parts: Iterable[Part]) -> list[tuple[Part, ...]]:
    """The parts that are left, those of one adapter together, which one worker takes in their order."""
    groups: dict[str, list[Part]] = {}
    for part in parts:
        groups.setdefault(part.who, []).append(part)
    return [tuple(group) for group in groups.values()]


def _job(part: Part) -> Job:
    if part.job is None:
        raise ValueError("a training without an adapter")
    return part.job
