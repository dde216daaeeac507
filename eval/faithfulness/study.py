"""`faithfulness`: a model's chains of thought, and its answers when they, or the clips, are changed.

    from lalm_agent import AgentConfig
    from lalm_agent.eval.faithfulness import FaithfulnessRequest, faithfulness

    request = FaithfulnessRequest(data="questions.jsonl", out="study", interventions=("early", "mask"))
    study = faithfulness(request)
    answers = {key: trial.choice for key, trial in study.trials.items()}

One evaluation with method mcot gives the chains; then all trials of a question are asked together, question by
question. The same request resumes after a kill, a full disk or Ctrl-C, and no question whose trials are all there is
asked again. `estimate_faithfulness` says what a request would cost. What can be checked is checked before anything is
computed.
"""

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, InstanceOf

from lalm_agent.artefacts import Invocation, Record
from lalm_agent.audio import load
from lalm_agent.config import AgentConfig
from lalm_agent.errors import PermanentBackendError, UsageError
from lalm_agent.eval.benchmarks.loading import load_benchmark
from lalm_agent.eval.faithfulness.asking import (
    QuestionTrials,
    TrialAsker,
    may_be_asked_again,
)
from lalm_agent.eval.faithfulness.chains import TokensOf, other_chains
from lalm_agent.eval.faithfulness.folder import (
    CHAINS,
    SCHEMA,
    SELF,
    FaithfulnessFolder,
    FaithfulnessIdentity,
    FaithfulnessSpec,
    TrialKey,
    chains_of,
    open_study,
)
from lalm_agent.eval.faithfulness.plan import PERTURBED, Levels, changes_of, interventions_of
from lalm_agent.eval.faithfulness.records import Chain, Intervention, Trial
from lalm_agent.eval.items import Benchmark, Item, audio_file
from lalm_agent.eval.runs.ask import ask_all
from lalm_agent.eval.runs.controls import ClipOf, swapped_clips
from lalm_agent.eval.runs.evaluate import TRIED, Observer, evaluate, load_models
from lalm_agent.eval.runs.folder import RunFolder
from lalm_agent.eval.runs.plan import ENDPOINT, EvaluateRequest, Plan, check_clips, make_plan
from lalm_agent.eval.runs.records import DataIdentity, QuestionDraw
from lalm_agent.models.base import LALM, Decoding, Request, Turn
from lalm_agent.prompts import prompt_hashes
from lalm_agent.prompts.perturbing import ANSWER_CUE, perturbing_hashes
from lalm_agent.records import Method
from lalm_agent.registry import install_line

_PACKAGES = ("pysbd", "espeakng-loader")
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

    @property
    def is_remote(self) -> bool:
        """Whether an endpoint answers."""
        ref = self.config.model if self.loaded_model is None else self.loaded_model.spec.info.ref
        return bool(ref.startswith(ENDPOINT))

    def run(self, benchmark: Benchmark, out: Path, model: LALM | None, **fields: Any) -> EvaluateRequest:
        """An evaluation of the study."""
        config = {"method": Method(self.method), "preset": "paper", "tools": {}, "answer_mode": "generate"}
        own = {"limit", "modality", "concurrency", "batch_size", "retry_failed", "skip_missing", "skip_faulty"}
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

    @property
    def tokens_of(self) -> TokensOf | None:
        """How many tokens a text has for the model; None where it cannot say."""
        counts = getattr(self.model, "tokens_of", None) or getattr(getattr(self.model, "inner", None), "tokens_of", None)
        return counts if callable(counts) else None


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
        return interventions_of(self.identity.interventions)

    def keys(self, item: Item, chain: Chain) -> set[TrialKey]:
        """The keys of a question's trials."""
        changes = changes_of(item, chain.sentences, self.interventions, self.request.levels)
        return {(item.id, c.intervention, c.use, c.variant, c.level, c.position) for c in changes}

    def left(self, run: RunFolder, study: FaithfulnessFolder) -> list[QuestionDraw]:
        """The questions with a chain whose trials are not all there, or are to be asked again."""
        chains = {chain.question: chain for chain in chains_of(run)}
        again = set[str]()
        if self.request.retry_failed:
            again = {trial.question for trial in study.trials.values() if may_be_asked_again(trial)}
        return [
            QuestionDraw(run_item, 0)
            for run_item in run.items
            if (chain := chains.get(run_item.item.id)) is not None
            and (run_item.item.id in again or not self.keys(run_item.item, chain) <= study.trials.keys())
        ]


def faithfulness(request: FaithfulnessRequest, observer: FaithfulnessObserver | None = None) -> FaithfulnessFolder:
    """Ask what is left of a study and keep every trial; the study's folder, no longer held, to be read.

    Raises:
        UsageError: the request is wrong, or the model does not continue a reply that was begun; `MismatchError` where
            the folder is another study's.
        DataError: the data or the folder cannot be used; `StorageError` on a full disk.
        BackendError: the model cannot. What was asked is kept.
        KeyboardInterrupt: Ctrl-C; what was asked is kept. Dropped: a second one.
    """
    observer = observer or FaithfulnessObserver()
    ready = _prepare(request)
    with FaithfulnessFolder(request.out) as study:
        study.check(ready.identity, loaded=False)
        if request.method == "agent":
            from lalm_agent.eval.faithfulness.middle import ask_agent

            ask_agent(ready, study, observer)
        else:
            _ask(ready, study, observer)
    return open_study(request.out)


def _ask(ready: Ready, study: FaithfulnessFolder, observer: FaithfulnessObserver) -> None:
    request = ready.request
    chains_request = request.run(ready.benchmark, study.path / CHAINS, None)
    with RunFolder(study.path / CHAINS, writes=False) as run:
        plan = make_plan(ready.benchmark, chains_request, run.items, run.answers)
    check_clips(plan)
    if study.spec is not None and not plan.left and not ready.left(run, study):
        observer.study_finished(study, 0)
        return
    models = load_study_models(ready, observer)
    begin(ready, study, models)
    run = evaluate(request.run(ready.benchmark, study.path / CHAINS, models.base), observer)
    _ask_trials(ready, study, models, run, observer)


def _ask_trials(
    ready: Ready, study: FaithfulnessFolder, models: Models, run: RunFolder, observer: FaithfulnessObserver
) -> None:
    request, left = ready.request, ready.left(run, study)
    items = [run_item.item for run_item in run.items]
    chains = chains_of(run)
    root, max_s = ready.plan.audio_root, request.config.max_audio_s
    asker = TrialAsker(
        model=models.model,
        perturber=models.perturber,
        decoding=Decoding(request.config.max_new_tokens, request.config.temperature, seed=request.config.seed),
        interventions=ready.interventions,
        levels=request.levels,
        tokens_of=models.tokens_of or _words,
        scores=models.scores,
        chains={chain.question: chain for chain in chains},
        others=other_chains(chains, {item.id: len(item.choices) for item in items}, request.config.seed),
        own_clip=lambda item: load(audio_file(root, item.audio), max_s),
        swap=ready.swap,
        speak=request.speak,
        known=dict(study.perturbed),
        max_audio_s=max_s,
    )
    observer.trials_started(len(chains) - len(left), len(chains))

    def keep(result: QuestionTrials) -> None:
        study.keep(result.perturbed, result.trials)
        observer.trials_kept(result.trials)

    try:
        ask_all(left, asker, keep, (request.concurrency or 8) if request.is_remote else 1, observer.stopping)
    except BaseException:
        observer.study_interrupted(study)
        raise
    observer.study_finished(study, len(left))


def _words(text: str) -> int:
    """Stands for a model's tokens where it does not count them."""
    return len(text.split())


# --- what is settled before the first question -----------------------------------------------------------------------


def _prepare(request: FaithfulnessRequest) -> Ready:
    """Check a request; nothing is loaded or written. Raises as `faithfulness`."""
    benchmark = request.data
    if not isinstance(benchmark, Benchmark):
        benchmark = load_benchmark(str(benchmark), request.data_file, request.audio_root)
    plan = make_plan(benchmark, request.run(benchmark, request.out / CHAINS, None))
    swap, skipped = None, dict[str, str]()
    if request.method == "agent":
        from lalm_agent.eval.faithfulness.middle import conditions_of, needs_perturber

        conditions, skipped = conditions_of(plan, request.interventions, request.config.seed)
        names: tuple[str, ...] = conditions
        perturbs = needs_perturber(conditions)
    else:
        names = interventions_of(request.interventions)
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


def load_study_models(ready: Ready, observer: Observer) -> Models:
    """The model, with what it can do, and the perturber. Raises as `faithfulness`."""
    request, perturber = ready.request, None
    rows = max(1, request.batch_size)
    if request.loaded_model is None:
        observer.note("loading the model")
    base, model = load_models(request.config, rows, request.loaded_model)
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
    session = Invocation.starting(packages=_PACKAGES)
    study.begin(
        FaithfulnessSpec(
            schema=SCHEMA,
            study_id=identity.short_hash,
            created=session.started,
            identity=identity,
            data_version=ready.benchmark.version,
            scores=models.scores,
            counts_tokens=models.tokens_of is not None,
            skipped=dict(ready.skipped),
            sessions=(session,),
        )
    )


# --- what it costs ---------------------------------------------------------------------------------------------------


class FaithfulnessEstimate(Record):
    """What is left of a study to do, and what it costs.

    requests: at most, to the model and the perturber; those for chains that are not there are estimated from the basis.
    seconds: wall-clock time; None where nothing tells. basis: what both come from.
    """

    questions: int
    requests: int | None
    seconds: float | None
    basis: str


def estimate_faithfulness(
    request: FaithfulnessRequest, observer: FaithfulnessObserver | None = None
) -> FaithfulnessEstimate:
    """What is left of a study; a local model does three questions for real, and nothing of them is kept.

    Raises as `faithfulness`.
    """
    observer, ready = observer or FaithfulnessObserver(), _prepare(request)
    total = len(ready.plan.items)
    with FaithfulnessFolder(request.out, writes=False) as study:
        study.check(ready.identity, loaded=False)
    done = len({trial.question for trial in study.trials.values()}) if study.spec is not None else 0
    left = max(0, total - done)
    if not left:
        return FaithfulnessEstimate(questions=0, requests=0, seconds=0.0, basis="nothing is left to ask")
    if request.is_remote:
        basis = "not estimated: a dry run sends nothing, and the trials depend on how long the chains are"
        return FaithfulnessEstimate(questions=left, requests=None, seconds=None, basis=basis)
    check_clips(ready.plan)
    with tempfile.TemporaryDirectory(prefix="lalm-agent-") as place:
        # The model is loaded once, outside of what is timed.
        loaded = load_study_models(ready, observer)
        trial = {"out": Path(place) / "study", "limit": min(TRIED, total), "loaded_model": loaded.base}
        start = time.monotonic()
        tried = faithfulness(request.model_copy(update=trial))
        seconds = time.monotonic() - start
    requests = len(tried.trials) + len(tried.perturbed) + len(tried.items)
    return FaithfulnessEstimate(
        questions=left,
        requests=round(requests / len(tried.items) * left),
        seconds=seconds / len(tried.items) * left,
        basis=f"{len(tried.items)} questions asked for real; nothing of them is kept",
    )
