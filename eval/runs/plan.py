"""What a run asks: from a benchmark, what is requested and what is answered to the questions left, and what they cost.

Questions are asked in the order of a hash of their id, which is the same for every run over the data: the first n are
a fair sample of the file, whatever its own order, a larger `--limit` only adds to a smaller one, and two methods with
the same limit are asked the same questions.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from pydantic import Field, InstanceOf, field_validator

from lalm_agent.artefacts import Record
from lalm_agent.audio import load
from lalm_agent.config import AgentConfig
from lalm_agent.errors import DataError, UsageError, did_you_mean
from lalm_agent.eval.items import Benchmark, Item, audio_file
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

TRIED = 3
"""So many questions are asked for real, where nothing else tells how long one takes."""
ENDPOINT = "openai:"
_ENDPOINT_THREADS, _SHOWN = 8, 3
_BY_THE_MODEL = "lalm"


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
        return self.concurrency or (_ENDPOINT_THREADS if self.is_remote else self.batch_size)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    pool: all questions of the modalities asked. items: those of the run. left: what is left to ask.
    absent: names of clips that are not there. lacking: questions left to ask whose clip is not there, with the reason.
    audio_root: the folder that clips are named from.
    """

    pool: tuple[Item, ...]
    items: tuple[RunItem, ...]
    left: tuple[QuestionDraw, ...]
    selection: Selection
    absent: frozenset[str]
    lacking: Mapping[str, str]
    data_version: str | None = None
    audio_root: Path | None = None


def make_plan(
    benchmark: Benchmark,
    request: EvaluateRequest,
    there: Sequence[RunItem] = (),
    answers: Mapping[Key, StoredAnswer] | None = None,
) -> Plan:
    """Choose the questions. What is in the run already stays in it: a run can only grow.

    there, answers: the questions and answers in the run's folder.

    Raises:
        UsageError: no such modality, no question left, or a limit below what the run has.
        DataError: rows that cannot be used, unless they are to be skipped.
    """
    _check_faults(benchmark, request.skip_faulty)
    pool = of_modality(benchmark.items, request.modality)
    limit, known = request.limit, dict(answers or {})
    if limit is not None and limit < len(there):
        raise UsageError(
            f"the run has {len(there)} questions, and --limit {limit} asks for fewer",
            f"a run only grows: give --limit {len(there)} or more, or another --out",
        )
    absent = missing_clips(pool, benchmark.audio_root or Path())
    settled = {item.id for item in pool if _is_settled(item, request, known)}
    left_out = {id_: why for id_, why in absent.items() if id_ not in settled} if request.skip_missing else {}
    chosen = selected(pool, limit, left_out, settled & {run_item.item.id for run_item in there})
    if not chosen:
        if left_out:
            raise UsageError("there is no question to ask: every clip is missing", "give --audio-root")
        raise UsageError("there is no question to ask: the data are empty", "give a file with questions")
    # Fewer draws than before must not take away the orders that the others were asked in.
    draws = max([request.draws, *(len(run_item.orders) for run_item in there)])
    items = tuple(with_orders(item, request.shuffle_choices, request.config.seed, draws) for item in chosen)
    left = _left(items, request, known)
    to_hear = {question.run_item.item.id for question in left}
    return Plan(
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
        data_version=benchmark.version,
        audio_root=benchmark.audio_root,
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


def _check_faults(benchmark: Benchmark, skip: bool) -> None:
    if benchmark.faults and not skip:
        raise DataError(
            f"{len(benchmark.faults)} rows of {benchmark.name} cannot be used: {_some(benchmark.faults)}",
            "mend them, or leave them out with --skip-faulty",
        )


def _left(
    items: Sequence[RunItem], request: EvaluateRequest, answers: Mapping[Key, StoredAnswer]
) -> list[QuestionDraw]:
    """What is left to ask, draw by draw in the order of the items.

    The draws of a bank come question by question, so that a model here can share work between them; an endpoint
    shares none.
    """
    every = (QuestionDraw(run_item, draw) for draw in range(request.draws) for run_item in items)
    left = [question for question in every if _is_left(answers.get(question.key), request.retry_failed)]
    if request.bank and not request.is_remote:
        place = {run_item.item.id: number for number, run_item in enumerate(items)}
        left.sort(key=lambda question: (place[question.run_item.item.id], question.draw))
    return left


def _is_left(answer: StoredAnswer | None, retry_failed: bool) -> bool:
    return answer is None or (retry_failed and answer.status is Status.FAILED)


def _is_settled(item: Item, request: EvaluateRequest, answers: Mapping[Key, StoredAnswer]) -> bool:
    """Whether nothing is left to ask about it, so that its clip is not needed any more."""
    return not any(_is_left(answers.get((item.id, draw)), request.retry_failed) for draw in range(request.draws))


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


# --- which questions, in which order ---------------------------------------------------------------------------------


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
    """The items of these modalities, all of them where none is named.

    Raises:
        UsageError: a modality that no item has.
    """
    known = sorted({item.modality for item in items if item.modality is not None})
    for name in modality:
        if name not in known:
            raise UsageError(f"no question has the modality {name}", did_you_mean(name, known) if known else None)
    return [item for item in items if not modality or item.modality in modality]


def missing_clips(items: Sequence[Item], root: Path) -> dict[str, str]:
    """Id -> reason for the items whose clip is no file under the audio root; each distinct clip is looked at once."""
    reasons: dict[str, str | None] = {}
    for item in items:
        if item.audio not in reasons:
            reasons[item.audio] = _why_missing(root, item.audio)
    return {item.id: reason for item in items if (reason := reasons[item.audio]) is not None}


def selected(items: Sequence[Item], limit: int | None, missing: Mapping[str, str], kept: Collection[str]) -> list[Item]:
    """The questions to ask, in order.

    limit: so many of those whose clip is there. missing: ids left out, see `missing_clips`. kept: ids that stay in the
        run in any case, because they have been answered.
    """
    ordered = sorted(items, key=order_key)
    there = [item for item in ordered if item.id not in missing or item.id in kept]
    chosen = {item.id for item in there[:limit]} | set(kept)
    return [item for item in there if item.id in chosen]


def _why_missing(root: Path, audio: str) -> str | None:
    try:
        path = audio_file(root, audio)
    except DataError as error:
        return error.message
    try:
        return None if path.is_file() else f"{path} does not exist"
    except (OSError, ValueError):
        return f"{audio!r} is not a path"


# --- what it costs ---------------------------------------------------------------------------------------------------


class RunEstimate(Record):
    """What is left of a run to do, and what it costs.

    requests: to the model: an answer for each question and draw; for the agent also the type and the content of each
        clip, once a process, where these nodes are the model. Neither retries are in it, nor a clip that two
        threads meet at.
    audio_s: summed over the distinct clips that could be opened, in seconds. unread: clips that could not.
    seconds: wall-clock time; None where nothing tells.
    basis: what `seconds` was estimated from, or why it is not known.
    missing: questions without their clip: `lacking` of these would stop the run, the others are left out.
    """

    questions: int
    requests: int
    audio_s: float
    unread: int
    seconds: float | None
    basis: str
    missing: int
    lacking: int


def requests(left: Sequence[QuestionDraw], tools: Mapping[str, str]) -> int:
    """How many requests the questions left need, at most. `tools`: node -> tool, only nodes that the method uses.

    The type step may find no type, and then no content is asked for.
    """
    clips = len({question.run_item.item.audio for question in left})
    asks_type = tools.get("type") == _BY_THE_MODEL
    asks_content = _BY_THE_MODEL in (tools.get("asr"), tools.get("caption"))
    answers = len(left) if tools.get("answer") == _BY_THE_MODEL else 0
    return answers + clips * (asks_type + asks_content)


def audio_seconds(root: Path, clips: Collection[str], max_s: float) -> tuple[float, int]:
    """(seconds of all clips that can be opened, how many cannot). A header is enough where libsndfile reads it."""
    total, unread = 0.0, 0
    for clip in clips:
        seconds = _seconds(root, clip, max_s)
        total += seconds or 0.0
        unread += seconds is None
    return total, unread


def from_answers(answers: Mapping[Key, StoredAnswer], left: int, concurrency: int) -> float | None:
    """Seconds for the questions left, from the mean of those answered, which waited for each other as these will."""
    times = [answer.seconds for answer in answers.values() if answer.failure is None]
    return fmean(times) * left / max(1, min(concurrency, left)) if times else None


def by_trying(
    left: Sequence[QuestionDraw], answer: Callable[[QuestionDraw], StoredAnswer], clock: Callable[[], float]
) -> tuple[float | None, int]:
    """(mean seconds for a question, how many were asked) from the first few; nothing is stored.

    The first warms up, and counts only where it is the only one. A failed one does not count.
    """
    times, tried = [], left[:TRIED]
    for question in tried:
        start = clock()
        if answer(question).failure is None:
            times.append(clock() - start)
    return (fmean(times[1:] or times) if times else None), len(tried)


def _seconds(root: Path, clip: str, max_s: float) -> float | None:
    import soundfile

    try:
        path = audio_file(root, clip)
        try:
            return float(soundfile.info(str(path)).duration)
        except (OSError, RuntimeError):
            return load(path, max_s).ref.seconds
    except DataError:
        return None
