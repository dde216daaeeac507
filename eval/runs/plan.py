"""What a run asks: from a benchmark, what is requested and what is answered to the questions that are left.

Questions are chosen in the order of a hash of their id, which is the same for every run over the data: the first n are
a fair sample of the file, whatever its own order, a larger `--limit` only adds to a smaller one, and two methods with
the same limit are asked the same questions. They are asked in that order, too, but for those about a clip that has come
before, which follow each other: a model hears it once.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, InstanceOf, field_validator

from lalm_agent.artefacts import Record
from lalm_agent.config import AgentConfig
from lalm_agent.errors import DataError, UsageError, did_you_mean
from lalm_agent.eval.items import Benchmark, Item, audio_file, require_one_clip
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
from lalm_agent.models.ray_engine import RayEngine
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
    one_clip: leave out questions about several clips, which not every model takes.
    retry_failed: ask failed questions again.
    shard: `i/n`, only the i-th of n parts, counted from 1 (see `shard_of`); `merge` makes one run of all n.

    How they are asked:
    config: the agent; a `preset` that nobody set is `paper`. loaded_model: in place of the model of the config.
    draws: how often each question is asked; needs a temperature. shuffle_choices: show the choices in a seeded order,
        each draw in its own. bank: the draws are a bank of samples: all those of a question before the next one, at
        temperature 1 where none is set.
    audio, type_source, content_source: blind controls and oracles.
    fixed: node -> what it says in place of its own work (`controls.FixedText`), for method agent.

    How fast, which changes no answer:
    concurrency: questions out at a time; None for the batch size (of all workers), or 8 for an endpoint. batch_size:
        prompts that a local model, or each worker, computes at once. max_requests: stop after so many requests to the
        model. ray: workers that compute in place of this process.
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
    one_clip: bool = False
    shard: str | None = None
    ray: RayEngine | None = None

    @field_validator("shard")
    @classmethod
    def _is_shard(cls, shard: str | None) -> str | None:
        return shard if shard is None else "{}/{}".format(*read_shard(shard))

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
        return self.concurrency or (ENDPOINT_THREADS if self.is_remote else self.batch_size * self.workers)

    @property
    def workers(self) -> int:
        """How many models compute at a time."""
        return 1 if self.ray is None else self.ray.workers


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

    there, answers: the questions and answers in the run's folder. Raises UsageError for no such modality or shard, no
    question left, or a limit below what the run has, DataError for rows that cannot be used, unless they are skipped.
    """
    if benchmark.faults and not request.skip_faulty:
        raise DataError(
            f"{len(benchmark.faults)} rows of {benchmark.name} cannot be used: {_some(benchmark.faults)}",
            "mend them, or leave them out with --skip-faulty",
        )
    (pool, several), limit, known = _pool(benchmark, request), request.limit, answers or {}
    if limit is not None and request.shard is None and limit < len(there):
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
    if request.shard is not None:
        chosen, left_out = _shard(request, pool, chosen, left_out, absent)
        _refuse_shrinking(limit, there, selected(pool, limit, left_out, ()))
    if not chosen:
        why = ("every clip is missing", "give --audio-root") if left_out else ("the data are empty", "give questions")
        raise UsageError(f"there is no question to ask: {why[0]}", why[1])
    # Fewer draws than before must not take away the orders that the others were asked in.
    draws = max([request.draws, *(len(run_item.orders) for run_item in there)])
    items = tuple(with_orders(item, request.shuffle_choices, request.config.seed, draws) for item in chosen)
    left = [question for question in _draws_of(items, request) if is_left(*question.key)]
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
            several_clips=several,
            shard=request.shard,
        ),
        absent=frozenset(item.audio for item in pool if item.id in absent),
        lacking={id_: why for id_, why in absent.items() if id_ in to_hear},
    )


def _pool(benchmark: Benchmark, request: EvaluateRequest) -> tuple[list[Item], int]:
    """The questions that may be asked, and how many about several clips are left out of them."""
    pool = of_modality(benchmark.items, request.modality)
    kept = [item for item in pool if not (request.one_clip and item.more_audio)]
    if request.audio != AudioControl.REAL:
        require_one_clip(kept, f"--audio {request.audio}", "--one-clip leaves them out")
    if request.content_source in (ContentSource.ORACLE, ContentSource.OTHER):
        # The data's one text would stand for each clip.
        require_one_clip(kept, f"--content {request.content_source}", "--one-clip leaves them out")
    return kept, len(pool) - len(kept)


def read_shard(text: str) -> tuple[int, int]:
    """`2/4` -> (2, 4). Raises UsageError where it is not of that form, or not one of 1 to n."""
    first, _, last = text.partition("/")
    shard = (int(first), int(last)) if first.isdecimal() and last.isdecimal() else (0, 0)
    if not 1 <= shard[0] <= shard[1]:
        raise UsageError(f"{text!r} is no shard", "--shard i/n, with i from 1 to n, such as 2/4")
    return shard


def shard_of(items: Sequence[Item], shards: int) -> dict[str, int]:
    """Clip's name -> its shard, 1 to `shards`: in the order of asking, each next clip goes to the next shard.

    items: the whole pool, so that neither a limit nor a missing clip moves a clip to another shard. Under any limit
    the shards differ by one clip at most.
    """
    clips = dict.fromkeys(item.audio for item in sorted(items, key=order_key))
    return {clip: number % shards + 1 for number, clip in enumerate(clips)}


def _shard(
    request: EvaluateRequest,
    pool: Sequence[Item],
    chosen: Sequence[Item],
    left_out: Mapping[str, str],
    absent: Mapping[str, str],
) -> tuple[list[Item], dict[str, str]]:
    """Those of the chosen questions, and of those left out, that are in the request's shard.

    Raises UsageError for more shards than clips, and where the shard would depend on which clips this machine has.
    """
    number, shards = read_shard(request.shard or "")
    if request.skip_missing and request.limit is not None:
        raise UsageError(
            "--shard with --limit and --skip-missing would ask other questions on each machine", "leave out one of them"
        )
    if request.audio == AudioControl.SWAP and absent:
        raise UsageError(f"--audio swap needs all clips in every shard; {len(absent)} questions lack theirs", None)
    due = pool if request.limit is None else chosen
    if (clips := len({item.audio for item in due})) < shards:
        raise UsageError(f"{clips} clips cannot be {shards} shards", f"--shard i/n with n at most {clips}")
    shard = shard_of(pool, shards)
    own = {item.id for item in pool if shard[item.audio] == number}
    return [item for item in chosen if item.id in own], {id_: why for id_, why in left_out.items() if id_ in own}


def _draws_of(items: Sequence[RunItem], request: EvaluateRequest) -> list[QuestionDraw]:
    """All that is asked, in order: draw by draw, but for a bank of a model here question by question.

    It can share work between the draws of a question; an endpoint shares none.
    """
    if request.bank and not request.is_remote:
        return [QuestionDraw(run_item, draw) for run_item in items for draw in range(request.draws)]
    return [QuestionDraw(run_item, draw) for draw in range(request.draws) for run_item in items]


def _refuse_shrinking(limit: int | None, there: Sequence[RunItem], chosen: Sequence[Item]) -> None:
    """Raise UsageError where a limit leaves out questions that a shard has already."""
    if limit is not None and (gone := {run_item.item.id for run_item in there} - {item.id for item in chosen}):
        raise UsageError(f"--limit {limit} leaves out {len(gone)} questions of the run", "a run only grows")


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
    return _id_key(item.id)


def sorted_ids(ids: Iterable[str]) -> tuple[str, ...]:
    """Ids in the order of asking."""
    return tuple(sorted(ids, key=_id_key))


def _id_key(id_: str) -> bytes:
    return hashlib.sha256(id_.encode("utf-8", "surrogatepass")).digest()


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
    """Id -> reason for the items one of whose clips is no file under the audio root; each clip is looked at once."""
    named = dict.fromkeys(audio for item in items for audio in item.audios)
    reasons = {audio: reason for audio in named if (reason := _why_missing(root, audio)) is not None}
    absent = ((item.id, next((audio for audio in item.audios if audio in reasons), None)) for item in items)
    return {id_: reasons[audio] for id_, audio in absent if audio is not None}


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
