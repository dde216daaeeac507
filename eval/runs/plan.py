"""What a run asks: from a benchmark, what is requested and what is answered to the questions that are left.

Questions are chosen in the order of a hash of their id, which is the same for every run over the data: the first n are
a fair sample of the file, whatever its own order, a larger `--limit` only adds to a smaller one, and two methods with
the same limit are asked the same questions. They are asked in that order, too, but for those about a clip that has come
before, which follow each other: a model hears it once.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, InstanceOf, field_validator

from lalm_agent.artefacts import Record
from lalm_agent.config import AgentConfig
from lalm_agent.errors import DataError, UsageError, did_you_mean
from lalm_agent.eval.items import Benchmark, Item, audio_file
from lalm_agent.eval.runs.controls import FixedText
from lalm_agent.eval.runs.records import (
    AudioControl,
    ContentSource,
    Key,
    QuestionDraw,
    RunItem,
    Selection,
    StoredAnswer,
    TypeSource,
)
from lalm_agent.records import Status

ENDPOINT = "openai:"
ENDPOINT_THREADS, _SHOWN = 8, 3


class EvaluateRequest(Record):
    """What `evaluate` is to do.

    Which questions:
    data: the name of a benchmark, a file of questions, `hf:NAME`, or a benchmark that was loaded. out: the run's
        folder; the same request again goes on with what is there. data_file: file or folder of a benchmark that is
        called by its name. audio_root: folder that clips are named from; None for the data's own folder.
    limit: the first so many questions in the order of asking; None for all. modality: only questions of these.
    skip_missing, skip_faulty: leave out questions without their clip, and rows that cannot be used.
    retry_failed: ask failed questions again.

    How they are asked:
    config: the agent; a `preset` that nobody set is `paper`. loaded_model: in place of the model of the config.
    draws: how often each question is asked; needs a temperature. shuffle_choices: show the choices in a seeded order,
        each draw in its own. bank: the draws are a bank of samples: all those of a question before the next one, at
        temperature 1 where none is set.
    audio, type_source, content_source: blind controls and oracles.
    fixed: node -> what it says in place of its own work (`controls.FixedText`), for method agent.

    How fast, which changes no answer:
    concurrency: questions out at a time; None for the batch size, or 8 for an endpoint. batch_size: prompts that a
        local model computes at once. max_requests: stop after so many requests to the model.
    """

    data: str | Path | InstanceOf[Benchmark]
    out: Path
    config: AgentConfig = AgentConfig()
    loaded_model: Any = None
    data_file: Path | None = None
    audio_root: Path | None = None
    limit: int | None = Field(default=None, ge=1)
    modality: tuple[str, ...] = ()
    draws: int = Field(default=1, ge=1)
    shuffle_choices: bool = False
    bank: bool = False
    audio: AudioControl = AudioControl.REAL
    type_source: TypeSource = TypeSource.MODEL
    content_source: ContentSource = ContentSource.MODEL
    fixed: dict[str, InstanceOf[FixedText]] = Field(default_factory=dict)
    concurrency: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=1, ge=1)
    max_requests: int | None = Field(default=None, ge=1)
    retry_failed: bool = False
    skip_missing: bool = False
    skip_faulty: bool = False

    @field_validator("modality", mode="before")
    @classmethod
    def _sorted(cls, modality: Any) -> Any:
        return tuple(sorted(set(modality or ())))

    @property
    def is_remote(self) -> bool:
        """Whether an endpoint answers."""
        return self.config.model.startswith(ENDPOINT)

    @property
    def threads(self) -> int:
        """How many questions are out at a time."""
        return self.concurrency or (ENDPOINT_THREADS if self.is_remote else self.batch_size)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    pool: all questions of the modalities asked. items: those of the run. left: what is left to ask.
    absent: names of clips that are not there. lacking: questions left to ask whose clip is not there, with the reason.
    """

    benchmark: Benchmark
    pool: tuple[Item, ...]
    items: tuple[RunItem, ...]
    left: tuple[QuestionDraw, ...]
    selection: Selection
    absent: frozenset[str]
    lacking: Mapping[str, str]

    @property
    def audio_root(self) -> Path:
        """The folder that clips are named from."""
        return self.benchmark.audio_root or Path()


def make_plan(
    benchmark: Benchmark,
    request: EvaluateRequest,
    there: Sequence[RunItem] = (),
    answers: Mapping[Key, StoredAnswer] | None = None,
) -> Plan:
    """Choose the questions. What is in the run already stays in it: a run can only grow.

    there, answers: the questions and answers in the run's folder. Raises UsageError for no such modality, no question
    left, or a limit below what the run has, DataError for rows that cannot be used, unless they are to be skipped.
    """
    if benchmark.faults and not request.skip_faulty:
        raise DataError(
            f"{len(benchmark.faults)} rows of {benchmark.name} cannot be used: {_some(benchmark.faults)}",
            "mend them, or leave them out with --skip-faulty",
        )
    pool, limit, known = of_modality(benchmark.items, request.modality), request.limit, answers or {}
    if limit is not None and limit < len(there):
        raise UsageError(
            f"the run has {len(there)} questions, and --limit {limit} asks for fewer",
            f"a run only grows: give --limit {len(there)} or more, or another --out",
        )

    def is_left(id_: str, draw: int) -> bool:
        answer = known.get((id_, draw))
        return answer is None or (request.retry_failed and answer.status is Status.FAILED)

    # The clip of a question about which nothing is left to ask is not needed any more.
    settled = {item.id for item in pool if not any(is_left(item.id, draw) for draw in range(request.draws))}
    absent = missing_clips(pool, benchmark.audio_root or Path())
    left_out = {id_: why for id_, why in absent.items() if id_ not in settled} if request.skip_missing else {}
    chosen = selected(pool, limit, left_out, settled & {run_item.item.id for run_item in there})
    if not chosen and left_out:
        raise UsageError("there is no question to ask: every clip is missing", "give --audio-root")
    if not chosen:
        raise UsageError("there is no question to ask: the data are empty", "give a file with questions")
    # Fewer draws than before must not take away the orders that the others were asked in.
    draws = max([request.draws, *(len(run_item.orders) for run_item in there)])
    items = tuple(with_orders(item, request.shuffle_choices, request.config.seed, draws) for item in chosen)
    in_order = by_clip(items)
    every = [QuestionDraw(run_item, draw) for draw in range(request.draws) for run_item in in_order]
    if request.bank and not request.is_remote:
        # Question by question, so that a model here can share work between the draws; an endpoint shares none.
        every = [QuestionDraw(run_item, draw) for run_item in in_order for draw in range(request.draws)]
    left = [question for question in every if is_left(*question.key)]
    to_hear = {question.run_item.item.id for question in left}
    return Plan(
        benchmark=benchmark,
        pool=tuple(pool),
        items=items,
        left=tuple(left),
        selection=Selection(
            limit=limit,
            asked=len(items),
            missing=tuple(_passed_over(pool, chosen, left_out, limit)),
            faulty=len(benchmark.faults),
        ),
        absent=frozenset(item.audio for item in pool if item.id in absent),
        lacking={id_: why for id_, why in absent.items() if id_ in to_hear},
    )


def by_clip(items: Sequence[RunItem]) -> list[RunItem]:
    """The questions in order, but for those about a clip that has come before, which follow each other."""
    places: dict[str, int] = {}
    for place, run_item in enumerate(items):
        places.setdefault(run_item.item.audio, place)
    return sorted(items, key=lambda run_item: places[run_item.item.audio])


def check_clips(plan: Plan) -> None:
    """Raise DataError where clips are missing: of how many questions, and the first few reasons."""
    if plan.lacking:
        reasons = list(dict.fromkeys(plan.lacking.values()))
        raise DataError(
            f"the clips of {len(plan.lacking)} of {len(plan.items)} questions are missing: {_some(reasons)}",
            "give --audio-root, fetch the clips, or leave these questions out with --skip-missing",
        )


def _passed_over(
    pool: Sequence[Item], chosen: Sequence[Item], left_out: Mapping[str, str], limit: int | None
) -> list[str]:
    """The ids that would be in the run if their clip were there; under a limit those before its last question."""
    ids = [item.id for item in sorted(pool, key=order_key)]
    due = ids if limit is None or len(chosen) < limit else ids[: ids.index(chosen[-1].id)]
    return [id_ for id_ in due if id_ in left_out]


def _some(reasons: Sequence[object]) -> str:
    return "; ".join([*map(str, reasons[:_SHOWN]), *(["…"] if len(reasons) > _SHOWN else [])])


def order_key(item: Item) -> bytes:
    """Where a question stands in the order of asking: sha256 of its id. No seed goes into it."""
    return hashlib.sha256(item.id.encode("utf-8", "surrogatepass")).digest()


def shuffled(item: Item, seed: int, draw: int) -> tuple[int, ...]:
    """A permutation of the choices (place shown -> place in the file), uniform, keyed by seed, item and draw."""
    key = f"choices\0{seed}\0{item.id}\0{draw}".encode("utf-8", "surrogatepass")
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(key).digest()[:16], "big")))
    return tuple(int(place) for place in rng.permutation(len(item.choices)))


def with_orders(item: Item, shuffle: bool, seed: int, draws: int) -> RunItem:
    """A question with the order of its choices in each draw."""
    return RunItem(item, tuple(shuffled(item, seed, draw) for draw in range(draws)) if shuffle and item.choices else ())


def of_modality(items: Sequence[Item], modality: Collection[str]) -> list[Item]:
    """The items of these modalities, all where none is named. Raises UsageError for a modality that no item has."""
    known = sorted({item.modality for item in items if item.modality is not None})
    for name in modality:
        if name not in known:
            raise UsageError(f"no question has the modality {name}", did_you_mean(name, known) if known else None)
    return [item for item in items if not modality or item.modality in modality]


def missing_clips(items: Sequence[Item], root: Path) -> dict[str, str]:
    """Id -> reason for the items whose clip is no file under the audio root; each distinct clip is looked at once."""
    reasons = {audio: _why_missing(root, audio) for audio in dict.fromkeys(item.audio for item in items)}
    return {item.id: reason for item in items if (reason := reasons[item.audio]) is not None}


def _why_missing(root: Path, audio: str) -> str | None:
    try:
        path = audio_file(root, audio)
        return None if path.is_file() else f"{path} does not exist"
    except DataError as error:
        return error.message
    except (OSError, ValueError):
        return f"{audio!r} is not a path"


def selected(items: Sequence[Item], limit: int | None, missing: Mapping[str, str], kept: Collection[str]) -> list[Item]:
    """The questions to ask, in order.

    limit: so many of those whose clip is there. missing: ids left out, see `missing_clips`. kept: ids that stay in the
        run in any case, because they have been answered.
    """
    there = [item for item in sorted(items, key=order_key) if item.id not in missing or item.id in kept]
    chosen = {item.id for item in there[:limit]} | set(kept)
    return [item for item in there if item.id in chosen]
