"""What a call of `eval` has to do: from a benchmark, what is wanted and what is answered to the questions left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.items import Benchmark, Item
from lalm_agent.eval.runs.run import Work, by_question, to_ask
from lalm_agent.eval.runs.selection import missing_clips, of_modality, order_key, selected, with_orders
from lalm_agent.eval.runs.spec import Selection
from lalm_agent.eval.runs.stored import Asked, Key, StoredAnswer
from lalm_agent.records import Status

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which questions, how often, and in which form.

    limit: the first so many in the order of `selection`; None for all. modality: values of the group; empty for all.
    draws: how often each question is asked. shuffle: whether each draw shows the choices in an order of its own.
    by_question: all draws of a question before the next question, so that a model can share work between them.
    """

    limit: int | None = None
    modality: tuple[str, ...] = ()
    draws: int = 1
    seed: int = 0
    shuffle: bool = False
    by_question: bool = False
    retry_failed: bool = False
    skip_missing: bool = False
    skip_faulty: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    pool: all questions of the wanted modalities. items: those of the run. works: what is left to ask.
    absent: names of clips that are not there. lacking: questions left to ask whose clip is not there, with the reason.
    audio_root: the folder that clips are named from.
    """

    pool: tuple[Item, ...]
    items: tuple[Asked, ...]
    works: tuple[Work, ...]
    selection: Selection
    absent: frozenset[str]
    lacking: Mapping[str, str]
    data_version: str | None = None
    audio_root: Path | None = None


def make_plan(
    benchmark: Benchmark, wanted: Wanted, there: Sequence[Asked] = (), answers: Mapping[Key, StoredAnswer] | None = None
) -> Plan:
    """Choose the questions. What is in the run already stays in it: a run can only grow.

    there, answers: the questions and answers in the run's folder.

    Raises:
        UsageError: no such modality, no question left, or a limit below what the run has.
        DataError: rows that cannot be used, unless they are to be skipped.
    """
    check_faults(benchmark, wanted.skip_faulty)
    pool = of_modality(benchmark.items, wanted.modality)
    if wanted.limit is not None and wanted.limit < len(there):
        raise UsageError(
            f"the run has {len(there)} questions, and --limit {wanted.limit} asks for fewer",
            f"a run only grows: give --limit {len(there)} or more, or another --out",
        )
    known = dict(answers or {})
    absent = missing_clips(pool, benchmark.audio_root or Path())
    kept = {item.id for item in pool if _is_settled(item, wanted, known)}
    left_out = {id_: why for id_, why in absent.items() if id_ not in kept} if wanted.skip_missing else {}
    chosen = selected(pool, wanted.limit, left_out, kept & {asked.item.id for asked in there})
    if not chosen:
        if left_out:
            raise UsageError("there is no question to ask: every clip is missing", "give --audio-root")
        raise UsageError("there is no question to ask: the data are empty", "give a file with questions")
    # Fewer draws than before must not take away the orders that the others were asked in.
    draws = max([wanted.draws, *(len(asked.orders) for asked in there)])
    items = tuple(with_orders(item, wanted.shuffle, wanted.seed, draws) for item in chosen)
    left = to_ask(items, wanted.draws, known, wanted.retry_failed)
    works = tuple(by_question(items, left) if wanted.by_question else left)
    to_hear = {work.asked.item.id for work in works}
    return Plan(
        pool=tuple(pool),
        items=items,
        works=works,
        selection=Selection(
            limit=wanted.limit,
            asked=len(items),
            missing=tuple(_passed_over(pool, chosen, left_out, wanted.limit)),
            faulty=len(benchmark.faults),
        ),
        absent=frozenset(item.audio for item in pool if item.id in absent),
        lacking={id_: why for id_, why in absent.items() if id_ in to_hear},
        data_version=benchmark.version,
        audio_root=benchmark.audio_root,
    )


def check_faults(benchmark: Benchmark, skip: bool) -> None:
    """Refuse data with rows that cannot be used, unless they are to be left out.

    Raises:
        DataError: naming the first few.
    """
    if benchmark.faults and not skip:
        raise DataError(
            f"{len(benchmark.faults)} rows of {benchmark.name} cannot be used: {_some(benchmark.faults)}",
            "mend them, or leave them out with --skip-faulty",
        )


def check_clips(plan: Plan) -> None:
    """Refuse to start with clips missing.

    Raises:
        DataError: how many questions that is, and the first few reasons.
    """
    if plan.lacking:
        reasons = list(dict.fromkeys(plan.lacking.values()))
        raise DataError(
            f"the clips of {len(plan.lacking)} of {len(plan.items)} questions are missing: {_some(reasons)}",
            "give --audio-root, fetch the clips, or leave these questions out with --skip-missing",
        )


def _is_settled(item: Item, wanted: Wanted, answers: Mapping[Key, StoredAnswer]) -> bool:
    """Whether nothing is left to ask about it, so that its clip is not needed any more."""
    found = [answers.get((item.id, draw)) for draw in range(wanted.draws)]
    return all(one is not None and not (wanted.retry_failed and one.status is Status.FAILED) for one in found)


def _passed_over(
    pool: Sequence[Item], chosen: Sequence[Item], left_out: Mapping[str, str], limit: int | None
) -> list[str]:
    """The ids that would be in the run if their clip were there; under a limit those before its last question."""
    ids = [item.id for item in sorted(pool, key=order_key)]
    due = ids if limit is None or len(chosen) < limit else ids[: ids.index(chosen[-1].id)]
    return [id_ for id_ in due if id_ in left_out]


def _some(reasons: Sequence[object]) -> str:
    shown = "; ".join(map(str, reasons[:_SHOWN]))
    return f"{shown}; …" if len(reasons) > _SHOWN else shown
