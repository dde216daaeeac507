"""What a study needs before its first question: the request, checked; the models, loaded; the spec, written."""

from collections.abc import Mapping, Sequence, Set
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, InstanceOf

from lalm_agent.artefacts import Invocation, Record
from lalm_agent.config import AgentConfig
from lalm_agent.errors import PermanentBackendError, UsageError
from lalm_agent.eval.benchmarks.loading import load_benchmark
from lalm_agent.eval.faithfulness.asking import may_be_asked_again
from lalm_agent.eval.faithfulness.chains import joined, other_chains
from lalm_agent.eval.faithfulness.folder import (
    CHAINS,
    SCHEMA,
    SELF,
    FaithfulnessFolder,
    FaithfulnessIdentity,
    FaithfulnessSpec,
    TrialKey,
    chains_of,
)
from lalm_agent.eval.faithfulness.plan import (
    PERTURBED,
    Levels,
    changes_of,
    conditions_of,
    interventions_of,
    needs_perturber,
)
from lalm_agent.eval.faithfulness.records import Chain, Intervention, Trial
from lalm_agent.eval.items import Benchmark, Item, require_one_clip
from lalm_agent.eval.runs.controls import ClipOf, swapped_clips
from lalm_agent.eval.runs.evaluate import Observer, load_models
from lalm_agent.eval.runs.folder import RunFolder
from lalm_agent.eval.runs.plan import ENDPOINT, ENDPOINT_THREADS, EvaluateRequest, Plan, make_plan
from lalm_agent.eval.runs.records import DataIdentity, QuestionDraw
from lalm_agent.models.base import LALM, Decoding, Request, Turn, token_counter
from lalm_agent.models.ray_engine import RayEngine
from lalm_agent.prompts import prompt_hashes
from lalm_agent.prompts.perturbing import ANSWER_CUE, perturbing_hashes
from lalm_agent.records import Method
from lalm_agent.registry import install_line

_PACKAGES = ("sentencex", "espeakng-loader")
_PROBE = "Repeat this sentence and write nothing else: The answer is elephant."
_PROBE_BEGUN, _PROBE_REST = "The answer is eleph", "ant"
"""A reply that is cut in the middle of a word: only a model that continues it writes the rest of the word first."""


class FaithfulnessRequest(Record):
    """What `faithfulness` is to do.

    data, data_file, audio_root, limit, modality, skip_missing, skip_faulty, retry_failed: as of `evaluate`.
    out: the study's folder; the same request again goes on with what is there.
    config: the model and how it decodes; `temperature` is of the chains and of every answer. loaded_model: in place of
        the model of the config.
    method: `mcot` for chains of thought, `agent` for its middle step.
    interventions: beside the controls; None for all that the method has (and, for the agent, that the data allow).
    perturber: `self`, the model itself asked by text only, or another model's reference. loaded_perturber: in its
        place. levels: how much is changed.
    speak: the voice of the spoken options (`sound.Speak`), which `adversarial` needs.
    concurrency: questions out at a time at an endpoint. batch_size: prompts that a local model computes at once.
    ray: workers that compute in place of this process.
    """

    data: str | Path | InstanceOf[Benchmark]
    out: Path
    config: AgentConfig = AgentConfig()
    method: Literal["mcot", "agent"] = "mcot"
    loaded_model: Any = None
    interventions: tuple[str, ...] | None = None
    perturber: str = SELF
    loaded_perturber: Any = None
    levels: Levels = Levels()
    speak: Any = None
    data_file: Path | None = None
    audio_root: Path | None = None
    limit: int | None = Field(default=None, ge=1)
    modality: tuple[str, ...] = ()
    concurrency: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=8, ge=1)
    retry_failed: bool = False
    skip_missing: bool = False
    skip_faulty: bool = False
    ray: RayEngine | None = None

    @property
    def is_remote(self) -> bool:
        """Whether an endpoint answers."""
        ref = self.config.model if self.loaded_model is None else self.loaded_model.spec.info.ref
        return bool(ref.startswith(ENDPOINT))

    @property
    def threads(self) -> int:
        """How many questions' trials are out at a time: several at an endpoint, one for each worker."""
        local = 1 if self.ray is None else self.ray.workers
        return (self.concurrency or ENDPOINT_THREADS) if self.is_remote else local

    def run(self, benchmark: Benchmark, out: Path, model: LALM | None, **fields: Any) -> EvaluateRequest:
        """An evaluation of the study."""
        config: dict[str, Any] = {"method": Method(self.method), "answer_mode": "generate", "mcot_order": "clip-first"}
        config |= {"preset": "paper", "tools": {}}
        own = {"limit", "modality", "concurrency", "batch_size", "retry_failed", "skip_missing", "skip_faulty", "ray"}
        shared = {name: getattr(self, name) for name in own} | fields
        settings = self.config.model_copy(update={**config, "checkpoint": None, **shared.pop("config", {})})
        return EvaluateRequest(data=benchmark, out=out, config=settings, loaded_model=model, **shared)


class FaithfulnessObserver(Observer):
    """Is told how a study goes; its evaluations as of `Observer`. Every method does nothing here."""

    def trials_started(self, done: int, total: int) -> None:
        """The first question's trials are about to be asked. done: questions whose trials are all there."""

    def trials_kept(self, trials: Sequence[Trial]) -> None:
        """All trials of a question are kept."""

    def study_interrupted(self, study: FaithfulnessFolder) -> None:
        """The study ends early; an error follows."""

    def study_finished(self, study: FaithfulnessFolder, questions: int) -> None:
        """All is asked. questions: those whose trials were asked by this call."""


@dataclass(frozen=True, slots=True, eq=False)
class Models:
    """What a study asks. base: without the config's adapter, for evaluations, which put it on themselves."""

    base: LALM
    model: LALM
    perturber: LALM | None
    scores: bool


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """A request whose every part is checked that can be without the model.

    skipped: interventions that the data do not allow, with the reason.
    """

    request: FaithfulnessRequest
    benchmark: Benchmark
    plan: Plan
    identity: FaithfulnessIdentity
    swap: ClipOf | None
    skipped: Mapping[str, str]

    @property
    def interventions(self) -> tuple[Intervention, ...]:
        """Those of a study of chains, beside the controls."""
        return interventions_of(self.identity.interventions)

    def left(self, run: RunFolder, study: FaithfulnessFolder) -> "Left":
        """What is left of a study whose chains are there."""
        chains = {chain.question: chain for chain in chains_of(run)}
        others = other_chains(
            list(chains.values()), {it.item.id: len(it.item.choices) for it in run.items}, self.request.config.seed
        )

        def stands(trial: Trial) -> bool:
            if may_be_asked_again(trial):
                return not self.request.retry_failed
            # With more questions than before, the chains of others go round in another way.
            other = others.get(trial.question)
            return trial.intervention is not Intervention.OTHER or trial.prefix == (
                joined(chains[other].sentences) if other is not None else ""
            )

        kept = {key for key, trial in study.trials.items() if stands(trial)}

        def has_all(item: Item) -> bool:
            changes = changes_of(item, chains[item.id].sentences, self.interventions, self.request.levels)
            return all(change.key(item.id) in kept for change in changes)

        asked = (it for it in run.items if it.item.id in chains and not has_all(it.item))
        return Left(chains, others, kept, [QuestionDraw(it, 0) for it in asked])


@dataclass(frozen=True, slots=True, eq=False)
class Left:
    """What is left to ask. chains: by question. others: see `other_chains`. kept: keys of the trials that stand."""

    chains: Mapping[str, Chain]
    others: Mapping[str, str | None]
    kept: Set[TrialKey]
    questions: Sequence[QuestionDraw]


# --- what is settled before the first question -----------------------------------------------------------------------


def prepare(request: FaithfulnessRequest) -> Ready:
    """Check a request; nothing is loaded or written. Raises as `faithfulness`."""
    benchmark = request.data
    if not isinstance(benchmark, Benchmark):
        benchmark = load_benchmark(str(benchmark), request.data_file, request.audio_root)
    plan = make_plan(benchmark, request.run(benchmark, request.out / CHAINS, None))
    require_one_clip((run_item.item for run_item in plan.items), "faithfulness")
    if request.ray is not None and request.perturber != SELF and not request.perturber.startswith(ENDPOINT):
        raise UsageError("a worker holds one model", "--perturber self, or one behind an endpoint")
    swap, skipped = None, dict[str, str]()
    if request.method == "agent":
        conditions, skipped = conditions_of(plan, request.interventions, request.config.seed)
        names: tuple[str, ...] = conditions
        perturbs = needs_perturber(conditions)
    else:
        names = interventions_of(request.interventions, request.config.hears_audio)
        perturbs = bool(set(names) & set(PERTURBED))
        swap = _swap(request, plan) if Intervention.SWAP in names else None
        if Intervention.ADVERSARIAL in names and request.speak is None:
            hint = f"{install_line('synth')}, or name the other interventions with --intervention"
            raise UsageError("the intervention adversarial speaks an option, and espeak-ng is not installed", hint)
    return Ready(request, benchmark, plan, _identity(request, benchmark, names, perturbs), swap, skipped)


def _swap(request: FaithfulnessRequest, plan: Plan) -> ClipOf:
    config = request.config
    try:
        return swapped_clips(plan.audio_root, plan.pool, plan.absent, config.seed, config.max_audio_s)
    except UsageError as error:
        raise UsageError("the intervention swap needs at least two clips", "leave it out of --intervention") from error


def _identity(
    request: FaithfulnessRequest, benchmark: Benchmark, names: Sequence[str], perturbs: bool
) -> FaithfulnessIdentity:
    config, method = request.config, Method(request.method)
    of_config = {"hears_audio", "max_new_tokens", "temperature", "seed", "max_audio_s"}
    unknown: dict[str, Any] = {**dict.fromkeys(FaithfulnessIdentity.when_loaded), "dtype": "not loaded"}
    perturber = request.perturber if request.loaded_perturber is None else request.loaded_perturber.spec.info.ref
    return FaithfulnessIdentity(
        **unknown,
        **config.model_dump(include=of_config),
        model=config.model if request.loaded_model is None else request.loaded_model.spec.info.ref,
        method=method,
        data=DataIdentity(name=benchmark.name, sha256=benchmark.sha256),
        modality=tuple(sorted(set(request.modality))),
        limit=request.limit,
        interventions=tuple(names),
        levels=request.levels,
        perturber=perturber if perturbs else None,
        prompts={**prompt_hashes(method), **perturbing_hashes()},
    )


# --- the models ------------------------------------------------------------------------------------------------------


def load_study_models(ready: Ready, observer: Observer, stack: ExitStack) -> Models:
    """The model, with what it can do, and the perturber. stack: what ends them. Raises as `faithfulness`."""
    request, perturber = ready.request, None
    rows = max(1, request.batch_size)
    if request.loaded_model is None:
        observer.note("loading the model")
    base, model = load_models(request.config, rows, request.loaded_model, request.ray, stack)
    if ready.identity.perturber is not None:
        perturber = request.loaded_perturber
        if perturber is None and request.perturber == SELF:
            perturber = model
        elif perturber is None:
            observer.note("loading the perturber")
            changes = {"model": request.perturber, "adapter": None, "hears_audio": False}
            perturber = load_models(request.config.model_copy(update=changes), rows)[0]
    scores = False if request.method == "agent" else refuse_unless_continues(model, request.is_remote)
    return Models(base, model, perturber, scores)


def refuse_unless_continues(model: LALM, is_remote: bool) -> bool:
    """Whether a model scores options, once it is sure that it continues a reply that was begun.

    A local model is asked for one token of such a reply: its chat template may not allow one. An endpoint is asked to
    finish a word: many servers answer anew. Raises UsageError with the reason, and what the model raises otherwise.
    """
    ref, hint = model.spec.info.ref, "a chain of thought is put into the assistant's turn: name another model"
    user = Turn("user", _PROBE)
    if is_remote:
        turns = user, Turn("assistant", _PROBE_BEGUN)
        text = model.generate([Request(turns, None, Decoding(8))])[0].completions[0].text
        if not text.lstrip().lower().startswith(_PROBE_REST):
            message = f"{ref} does not continue a reply that was begun: after {_PROBE_BEGUN!r} it wrote {text[:60]!r}"
            raise UsageError(message, f"{hint}, such as one behind vLLM")
        return False
    turns, tiny = (user, Turn("assistant", ANSWER_CUE)), Decoding(1)
    with suppress(PermanentBackendError):
        return bool(model.generate([Request(turns, None, tiny, options=(" dog.", " cat."))])[0].option_scores)
    try:
        model.generate([Request(turns, None, tiny)])
    except PermanentBackendError as error:
        # Where it cannot be asked at all, that is the error.
        model.generate([Request((user,), None, tiny)])
        raise UsageError(f"{ref} does not continue a reply that was begun: {error.message}", hint) from error
    return False


def begin(ready: Ready, study: FaithfulnessFolder, models: Models) -> None:
    """Write what the study is, now that its model is known. Raises MismatchError where the folder is another's."""
    spec, info = models.model.spec, models.model.spec.info
    loaded = {name: getattr(info, name) for name in ("revision", "weights_sha256", "adapter_sha256")}
    sha256 = models.perturber.spec.info.weights_sha256 if models.perturber is not None else None
    identity = ready.identity.model_copy(update={**loaded, "dtype": spec.dtype, "perturber_sha256": sha256})
    engine = None if ready.request.ray is None else str(ready.request.ray)
    session = Invocation.starting(packages=_PACKAGES, engine=engine)
    study.begin(
        FaithfulnessSpec(
            schema=SCHEMA,
            study_id=identity.short_hash,
            created=session.started,
            identity=identity,
            data_version=ready.benchmark.version,
            scores=models.scores,
            counts_tokens=token_counter(models.model) is not None,
            skipped=dict(ready.skipped),
            sessions=(session,),
        )
    )
