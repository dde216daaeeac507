"""What a worker of a study does: train an adapter, ask it everything, probe it; and what of it is done already.

One set of weights serves all adapters of a worker, and what the audio encoder made of a clip serves them as well where
the encoder is not adapted.
"""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lalm_agent.artefacts import SPEC
from lalm_agent.config import AgentConfig
from lalm_agent.errors import DataError, LalmError
from lalm_agent.eval.items import Benchmark, Item
from lalm_agent.eval.runs.plan import EvaluateRequest
from lalm_agent.records import Method
from lalm_agent.training.lora.recipe import Recipe
from lalm_agent.training.transfer.design import Arm, PartKind, StudyFolder, StudyPart

if TYPE_CHECKING:
    from lalm_agent.models.hf_engine import TransformersLALM
    from lalm_agent.training.lora.model import Base

INPUT_BYTES = 2**29
"""What a worker keeps of what the processor made of its prompts: each adapter is asked the same."""


@dataclass(frozen=True, slots=True)
class Questions:
    """What all adapters are asked. request: an evaluation without its folder and model. ids: of its questions."""

    benchmark: Benchmark
    request: EvaluateRequest
    ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class Setup:
    """All that a worker needs. Picklable.

    config: of the model without an adapter. recipe: with seed 0. questions: the evaluation data by None, other
    benchmarks by name. probe: questions of the probe for forgetting, of the evaluation data.
    """

    out: Path
    config: AgentConfig
    recipe: Recipe
    preset: str
    questions: Mapping[str | None, Questions]
    probe: tuple[Item, ...]
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """What came of a part. seconds: it took, without loading. text: in a few words."""

    seconds: float
    text: str


def load_for_adapters(config: AgentConfig, recipe: Recipe, stack: ExitStack) -> "Base":
    """The model of a study; its encoder remembers clips where the recipe's adapters leave it alone.

    Raises as `load_base`.
    """
    from lalm_agent.training.lora.model import encode_once, load_base, quiet_libraries
    from lalm_agent.training.lora.recipe import matched_modules, pick_device

    with quiet_libraries():
        base = load_base(config, pick_device(config.device), stack)
    names = matched_modules(base.checkpoint.model, recipe.targets)
    if not any("audio_tower" in name for name in names):
        base.checkpoint.model.requires_grad_(False)
        encode_once(base.checkpoint.model)
    return base


def shared_worker(setup: Setup) -> "StudyWorker":
    """A worker on what may be another machine. Raises DataError where the study's folder is not there."""
    if not (setup.out / SPEC).is_file():
        raise DataError(
            f"{setup.out} is not there", "the study, its bank and its clips are to lie where all nodes see them"
        )
    return StudyWorker(setup)


class StudyWorker:
    """Does parts, one after the other (`lalm_agent.jobs.Work`)."""

    def __init__(self, setup: Setup) -> None:
        """Load nothing yet."""
        self._setup, self._folder = setup, StudyFolder(setup.out, writes=False)
        self._stack = ExitStack()

    def __call__(self, part: StudyPart) -> Finished:
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
        return Finished(time.monotonic() - start, text)

    @cached_property
    def _base(self) -> "Base":
        return load_for_adapters(self._setup.config, self._setup.recipe, self._stack)

    @cached_property
    def _lalm(self) -> "TransformersLALM":
        from lalm_agent.agent import DEFAULT_ROWS
        from lalm_agent.models.hf_engine import InputCache, TransformersLALM

        checkpoint = self._base.checkpoint
        rows = max(DEFAULT_ROWS, self._setup.questions[None].request.batch_size)
        return TransformersLALM(checkpoint, rows, self._setup.config.model, InputCache(checkpoint, INPUT_BYTES))

    def _done(self, part: StudyPart) -> str:
        self._base.checkpoint.adapters.drop()
        if part.kind is PartKind.TRAIN:
            return self._train(part)
        return self._probe(part) if part.kind is PartKind.PROBE else self._evaluate(part)

    def _train(self, part: StudyPart) -> str:
        from lalm_agent.training.lora.train import TrainRequest, train

        setup, job = self._setup, part.job
        if job is None:
            raise ValueError("a training without an adapter")
        request = TrainRequest(
            data=self._folder.idk_set(job),
            out=self._folder.adapter(job),
            config=setup.config,
            recipe=setup.recipe.model_copy(update={"seed": job.seed}),
            preset=setup.preset,
            prompt="baseline",
            allow_one_class=job.arm is Arm.KEPT,
            command=setup.command,
            progress=False,
        )
        done = train(request, base=self._base)
        return f"{done.steps} steps" + ("" if done.loss is None else f", loss {done.loss:.3f}")

    def _evaluate(self, part: StudyPart) -> str:
        from lalm_agent.eval import evaluate, summarise

        changes: dict[str, Any] = {"method": Method.BASELINE, "adapter": None}
        if part.job is not None:
            changes = {"method": Method.LORA, "adapter": str(self._folder.adapter(part.job))}
        changes = {
            "config": self._setup.config.model_copy(update=changes),
            "out": self._folder.run(part.job, part.benchmark),
            "loaded_model": self._lalm,
        }
        run = summarise(evaluate(self._setup.questions[part.benchmark].request.model_copy(update=changes)))
        failed = f", {run.counts['failed']} FAILED" if run.counts["failed"] else ""
        return "; ".join([f"{run.answers} answers, {run.counts['abstained']} IDK{failed}", *run.warnings])

    def _probe(self, part: StudyPart) -> str:
        from lalm_agent.eval.runs.controls import trained_clips
        from lalm_agent.training.transfer.probe import BEFORE, probe, write_result

        setup, job, model = self._setup, part.job, self._lalm
        name, seen = BEFORE, frozenset[str]()
        if job is not None:
            adapter = str(self._folder.adapter(job))
            model, name, seen = model.with_adapter(adapter), job.name, trained_clips(adapter)
        root = setup.questions[None].benchmark.audio_root or Path()
        result = probe(model, setup.probe, root, name, seen, setup.config.max_audio_s)
        write_result(self._folder.probe(job), result)
        return f"{len(result.questions)} questions, {sum(choice.right for choice in result.questions.values())} right"
