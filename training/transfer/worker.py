"""What a worker of a study does: train an adapter, ask it everything, probe it; and what of it is done already.

One set of weights serves all adapters of a worker, and what the audio encoder made of a clip serves them as well where
the encoder is not adapted.
"""

import shutil
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lalm_agent.artefacts import MismatchError
from lalm_agent.config import AgentConfig
from lalm_agent.errors import DataError, LalmError
from lalm_agent.eval.items import Benchmark, Item
from lalm_agent.eval.runs.folder import is_run, read_answers, read_items
from lalm_agent.eval.runs.plan import EvaluateRequest
from lalm_agent.jobs import Task
from lalm_agent.records import Method
from lalm_agent.training.lora.adapter import CHECKPOINTS, CONFIG, WEIGHTS
from lalm_agent.training.lora.recipe import Recipe
from lalm_agent.training.transfer.design import Arm, Job, Kind, Part, StudyFolder, StudyIdentity, StudySpec, read_spec
from lalm_agent.training.transfer.probe import read_result

if TYPE_CHECKING:
    from lalm_agent.models.hf_engine import TransformersLALM
    from lalm_agent.training.lora.model import Base

_INPUT_BYTES = 2**29
"""What a worker keeps of what the processor made of its prompts: each adapter is asked the same."""


@dataclass(frozen=True, slots=True)
class Questions:
    """Evaluation data. limit: so many of the questions; None for all."""

    benchmark: Benchmark
    limit: int | None = None
    skip_missing: bool = False
    skip_faulty: bool = False

    def request(self, out: Path, config: AgentConfig, batch_size: int = 1, model: Any = None) -> EvaluateRequest:
        """An evaluation over these data. model: a loaded one, in place of that of the config."""
        return EvaluateRequest(
            data=self.benchmark,
            out=out,
            config=config,
            loaded_model=model,
            limit=self.limit,
            batch_size=batch_size,
            skip_missing=self.skip_missing,
            skip_faulty=self.skip_faulty,
        )


@dataclass(frozen=True, slots=True)
class Setup:
    """All that a worker needs. Picklable.

    config: of the model without an adapter. recipe: with seed 0. data: what is asked; also: other benchmarks by name.
    probe: questions of the probe for forgetting, of `data`. batch_size: questions that are answered at once.
    """

    folder: StudyFolder
    config: AgentConfig
    recipe: Recipe
    preset: str
    data: Questions
    also: Mapping[str, Questions]
    probe: tuple[Item, ...]
    batch_size: int
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """A part that is done. seconds: it took, without loading. text: what came of it; empty where it was done before."""

    part: Part
    seconds: float
    text: str


class StudyWorker:
    """Does parts, one after the other (`lalm_agent.jobs.Work`)."""

    def __init__(self, setup: Setup) -> None:
        """Load nothing yet."""
        self._setup = setup
        self._stack = ExitStack()

    def __call__(self, part: Part) -> Finished:
        """Do a part.

        Raises:
            LalmError: it failed; the message names the adapter.
        """
        _ = self._lalm  # loading is no part's time
        start = time.monotonic()
        try:
            text = self._done(part)
        except LalmError as error:
            error.message = f"{part.who}: {error.message}"
            raise
        return Finished(part, time.monotonic() - start, text)

    @cached_property
    def _base(self) -> "Base":
        from lalm_agent.training.lora.model import encode_once, load_base, quiet_libraries
        from lalm_agent.training.lora.recipe import matched_modules, pick_device

        config = self._setup.config
        with quiet_libraries():
            base = load_base(config, pick_device(config.device), self._stack)
        names = matched_modules(base.checkpoint.model, self._setup.recipe.targets)
        if not any("audio_tower" in name for name in names):
            base.checkpoint.model.requires_grad_(False)
            encode_once(base.checkpoint.model)
        return base

    @cached_property
    def _lalm(self) -> "TransformersLALM":
        from lalm_agent.agent import DEFAULT_ROWS
        from lalm_agent.models.hf_engine import InputCache, TransformersLALM

        checkpoint = self._base.checkpoint
        rows = max(DEFAULT_ROWS, self._setup.batch_size)
        return TransformersLALM(checkpoint, rows, self._setup.config.model, InputCache(checkpoint, _INPUT_BYTES))

    def _done(self, part: Part) -> str:
        if part.kind is Kind.TRAIN:
            return self._train(part)
        if part.kind is Kind.PROBE:
            return self._probe(part)
        questions = self._setup.data if part.benchmark is None else self._setup.also[part.benchmark]
        return self._evaluate(questions, self._setup.folder.run(part.job, part.benchmark), part.job)

    def _train(self, part: Part) -> str:
        from lalm_agent.training.lora.train import TrainRequest, train

        setup, job = self._setup, part.job
        if job is None:
            raise ValueError("a training without an adapter")
        request = TrainRequest(
            data=setup.folder.idk_set(job),
            out=setup.folder.adapter(job),
            config=setup.config,
            recipe=setup.recipe.model_copy(update={"seed": job.seed}),
            preset=setup.preset,
            prompt="baseline",
            allow_one_class=job.arm is Arm.KEPT,
            command=setup.command,
            progress=False,
        )
        self._base.checkpoint.adapters.drop()
        done = train(request, _silent, self._base)
        return f"{done.steps} steps" + ("" if done.loss is None else f", loss {done.loss:.3f}")

    def _evaluate(self, questions: Questions, out: Path, job: Job | None) -> str:
        from lalm_agent.eval import evaluate, summarise

        setup = self._setup
        changes: dict[str, Any] = {"method": Method.BASELINE, "adapter": None}
        if job is not None:
            changes = {"method": Method.LORA, "adapter": str(setup.folder.adapter(job))}
        self._base.checkpoint.adapters.drop()
        config = setup.config.model_copy(update=changes)
        told = summarise(evaluate(questions.request(out, config, setup.batch_size, self._lalm)))
        failed = f", {told.counts['failed']} FAILED" if told.counts["failed"] else ""
        return "; ".join([f"{told.answers} answers, {told.counts['abstained']} IDK{failed}", *told.warnings])

    def _probe(self, part: Part) -> str:
        from lalm_agent.eval.runs.controls import trained_clips
        from lalm_agent.training.transfer.probe import Probed, probe, sounds_under, write_result

        setup, job = self._setup, part.job
        self._base.checkpoint.adapters.drop()
        model, probed = self._lalm, Probed()
        if job is not None:
            adapter = str(setup.folder.adapter(job))
            model, probed = model.with_adapter(adapter), Probed(job.name, trained_clips(adapter))
        clip_of = sounds_under(setup.data.benchmark.audio_root or Path(), setup.config.max_audio_s)
        result = probe(model, setup.probe, clip_of, _silent, probed)
        write_result(setup.folder.probe(job), result)
        return f"{len(result.questions)} questions, {sum(one.right for one in result.questions.values())} right"


def _silent(_: str) -> None:
    """A study has a line for each part, and no more."""


# --- what is done already ---------------------------------------------------------------------------------------------


def is_done(part: Part, folder: StudyFolder, ids: Collection[str]) -> bool:
    """Whether a part's result is there whole. ids: of the questions of an evaluation or a probe.

    Raises:
        DataError: a run folder is damaged.
    """
    if part.kind is Kind.TRAIN:
        adapter = folder.adapter(_job(part))
        return (adapter / CONFIG).is_file() and (adapter / WEIGHTS).is_file()
    if part.kind is Kind.PROBE:
        return is_probed(folder.probe(part.job), ids)
    return is_answered(folder.run(part.job, part.benchmark), ids)


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


def tasks_of(parts: Sequence[Part]) -> list[Task]:
    """The parts that are left as tasks: what is asked of an adapter needs its training."""
    return [
        Task(part.name, part, () if part.kind is Kind.TRAIN else (Part(Kind.TRAIN, part.job).name,)) for part in parts
    ]


def _job(part: Part) -> Job:
    if part.job is None:
        raise ValueError("a training without an adapter")
    return part.job


# --- a study that may become another one ------------------------------------------------------------------------------

# A study in which no adapter was begun may become another one: nothing that took long is lost by it. So a call whose
# first adapter fails (targets that match nothing, a rate that gives no finite loss) can be corrected with the same
# folder. What the model without an adapter was asked stays, and only what an adapter is made of may differ.

OF_ADAPTERS = ("labels", "preset", "recipe", "arms")
"""The fields of the identity that no answer of the model without an adapter depends on."""


@dataclass(frozen=True, slots=True)
class Begun:
    """What there is of a study. adapters: one is trained, or has a checkpoint. asked: there are answers or probes."""

    adapters: bool
    asked: bool

    @classmethod
    def of(cls, folder: StudyFolder) -> "Begun":
        """Look into a folder."""
        trained = (f"*/{CONFIG}", f"*/{CHECKPOINTS}/*")
        return cls(
            adapters=any(True for pattern in trained for _ in folder.adapters.glob(pattern)),
            asked=any(
                path.stat().st_size > 0
                for place, pattern in (("runs", "*"), ("also", "*/*"))
                for path in (folder.path / place).glob(f"{pattern}/answers.jsonl")
            )
            or any(True for _ in folder.forgetting.glob("*.json")),
        )


def spec_there(folder: StudyFolder) -> StudySpec | None:
    """What a folder's study is; None where there is none, or where nothing of it was done.

    Raises:
        DataError: it is damaged.
    """
    there = read_spec(folder.spec) if folder.spec.is_file() else None
    begun = Begun.of(folder)
    return there if begun.adapters or begun.asked else None


def require_same(folder: StudyFolder, there: StudySpec, identity: StudyIdentity) -> None:
    """Refuse another study, unless it differs only in what an adapter is made of and no adapter was begun.

    Raises:
        MismatchError: with all differences.
    """
    as_there = {name: getattr(there.identity, name) for name in OF_ADAPTERS}
    replaceable = not Begun.of(folder).adapters
    fields = there.identity.changes(identity.model_copy(update=as_there) if replaceable else identity)
    if fields:
        raise MismatchError(folder.path, fields)


def clear(folder: StudyFolder, identity: StudyIdentity) -> bool:
    """Remove what another study has left that may be replaced; whether there was any. The folder is locked.

    Raises:
        MismatchError: it may not be: another process has worked on it since it was looked at.
        DataError: something cannot be removed.
    """
    if not folder.spec.is_file() or (there := read_spec(folder.spec)).study_id == identity.short_hash:
        return False
    begun = Begun.of(folder)
    if begun.adapters or begun.asked:
        require_same(folder, there, identity)
    if begun.adapters:
        return False
    stale = [folder.sets, folder.adapters]
    if not begun.asked:
        stale += [folder.path / "runs", folder.path / "also", folder.forgetting]
    try:
        for path in stale:
            if path.exists():
                shutil.rmtree(path)
        for path in (folder.report, folder.markdown, folder.heatmap):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{error.filename} cannot be removed: {error.strerror}", "give another --out") from error
    return True
