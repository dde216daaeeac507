"""What a worker of `lalm-agent transfer` does: train an adapter, ask it everything, probe it; the model stays loaded.

One set of weights serves all adapters of a worker, and what the audio encoder made of a clip serves them as well where
the encoder is not adapted.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lalm_agent.cli.eval_flags import EvalOptions
from lalm_agent.cli.eval_report import Report
from lalm_agent.config import AgentConfig
from lalm_agent.errors import LalmError
from lalm_agent.eval.grade import Outcome
from lalm_agent.eval.items import Benchmark, Item
from lalm_agent.eval.runs.plan import Plan
from lalm_agent.eval.runs.progress import Progress, Tally
from lalm_agent.records import Method
from lalm_agent.training.lora.recipe import Recipe
from lalm_agent.training.transfer.arms import Arm, Job
from lalm_agent.training.transfer.layout import StudyFolder
from lalm_agent.training.transfer.plan import Kind, Part
from lalm_agent.training.transfer.running import probe_path, run_path

if TYPE_CHECKING:
    from lalm_agent.eval.runs.folder import RunFolder
    from lalm_agent.eval.runs.spec import RunIdentity
    from lalm_agent.models.transformers_lalm import TransformersLALM
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
    """Does the parts of one adapter after the other. Callable as `transfer_workers.Work`."""

    def __init__(self, setup: Setup) -> None:
        """Load nothing yet."""
        self._setup = setup
        self._stack = ExitStack()

    def __call__(self, task: Sequence[Part], tell: Callable[[Finished], None]) -> None:
        """Do parts in their order; each is told as it ends.

        Raises:
            LalmError: a part failed; its message names the adapter.
        """
        for part in task:
            _ = self._lalm  # loading is no part's time
            start = time.monotonic()
            try:
                text = self._done(part)
            except LalmError as error:
                error.message = f"{part.who}: {error.message}"
                raise
            tell(Finished(part, time.monotonic() - start, text))

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
        from lalm_agent.loading import DEFAULT_ROWS
        from lalm_agent.models.kept_inputs import KeptInputs
        from lalm_agent.models.transformers_lalm import TransformersLALM

        checkpoint = self._base.checkpoint
        rows = max(DEFAULT_ROWS, self._setup.batch_size)
        return TransformersLALM(checkpoint, rows, self._setup.config.model, KeptInputs(checkpoint, _INPUT_BYTES))

    def _done(self, part: Part) -> str:
        if part.kind is Kind.TRAIN:
            return self._train(part)
        if part.kind is Kind.PROBE:
            return self._probe(part)
        questions = self._setup.data if part.benchmark is None else self._setup.also[part.benchmark]
        return self._evaluate(questions, run_path(part, self._setup.folder), part.job)

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
        from lalm_agent.cli.evaluating import run_folder

        setup = self._setup
        changes: dict[str, Any] = {"method": Method.BASELINE, "adapter": None}
        if job is not None:
            changes = {"method": Method.LORA, "adapter": str(setup.folder.adapter(job))}
        self._base.checkpoint.adapters.drop()
        told: list[str] = []

        def quiet(wanted: EvalOptions, identity: "RunIdentity", plan: Plan, device: str) -> Report:
            return _Quiet(wanted, identity, plan, device, told)

        with ExitStack() as stack:
            wanted = eval_options(questions, out, setup.batch_size)
            run_folder(
                setup.config.model_copy(update=changes), wanted, questions.benchmark, stack, self._lalm, quiet
            )
        return told[-1]

    def _probe(self, part: Part) -> str:
        from lalm_agent.eval.runs.trained import trained_clips
        from lalm_agent.training.transfer.forgetting import Probed, probe, sounds_under, write_result

        setup, job = self._setup, part.job
        self._base.checkpoint.adapters.drop()
        model, probed = self._lalm, Probed()
        if job is not None:
            adapter = str(setup.folder.adapter(job))
            model, probed = model.with_adapter(adapter), Probed(job.name, trained_clips(adapter))
        clip_of = sounds_under(setup.data.benchmark.audio_root or Path(), setup.config.max_audio_s)
        result = probe(model, setup.probe, clip_of, _silent, probed)
        write_result(probe_path(part, setup.folder), result)
        return f"{len(result.questions)} questions, {sum(one.right for one in result.questions.values())} right"


def eval_options(questions: Questions, out: Path, batch_size: int) -> EvalOptions:
    """The flags of an `eval` of these questions."""
    return EvalOptions(
        data=questions.benchmark.name,
        data_file=None,
        audio_root=None,
        out=out,
        limit=questions.limit,
        modality=(),
        concurrency=None,
        batch_size=batch_size,
        draws=1,
        shuffle_choices=False,
        audio="real",
        dry_run=False,
        max_requests=None,
        retry_failed=False,
        skip_missing=questions.skip_missing,
        skip_faulty=questions.skip_faulty,
        type_source="model",
        content_source="model",
        as_json=False,
    )


class _Unseen:
    """No progress of a single run."""

    def update(self) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Show nothing."""


@dataclass(frozen=True, slots=True)
class _Quiet(Report):
    """Says nothing but how it ended, into a list."""

    told: list[str]

    def before(self, answered: int) -> None:
        """Nothing."""

    def progress(self, tally: Tally, total: int) -> Progress:
        """Nothing to see."""
        return _Unseen()

    def stopping(self, out: int) -> None:
        """Nothing."""

    def kept(self, folder: "RunFolder", tally: Tally) -> None:
        """Nothing."""

    def nothing_to_do(self, folder: "RunFolder") -> int:
        """As after asking."""
        return self.after(folder)

    def after(self, folder: "RunFolder") -> int:
        """The counts."""
        tally = Tally({asked.item.id: asked for asked in folder.items}, folder.answers)
        failed = tally.counts[Outcome.FAILED]
        text = f"{tally.done} answers, {tally.counts[Outcome.ABSTAINED]} IDK"
        text = f"{text}, {failed} FAILED" if failed else text
        self.told.append(f"{text}; {warning}" if (warning := self._missing_clip(tally)) else text)
        return 0


def _silent(_: str) -> None:
    """A study has a line for each part, and no more."""
