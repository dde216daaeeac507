"""`evaluate`: a benchmark's questions asked of an agent, every answer kept. The command line only calls it.

    from lalm_agent import AgentConfig
    from lalm_agent.eval import EvaluateRequest, evaluate

    request = EvaluateRequest(data="questions.jsonl", out="runs/idk", config=AgentConfig(model="mini", method="idk"))
    run = evaluate(request)
    replies = {question: answer.reply for (question, draw), answer in run.answers.items()}

`evaluate_all` does several requests in one pass, such as those of `of_methods`: the model is loaded once, and each clip
is decoded and encoded once for all of them.

The same request resumes after a kill, a full disk or Ctrl-C; nothing complete is ever asked again. `estimate` says what
a request would cost. An `Observer` is told how it goes.
"""

import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from lalm_agent.artefacts import MismatchError, Record
from lalm_agent.audio import load
from lalm_agent.config import AgentConfig
from lalm_agent.errors import LalmError, UsageError, did_you_mean
from lalm_agent.eval.grade import kinds_of, missing_clip_warning
from lalm_agent.eval.items import Benchmark, audio_file
from lalm_agent.eval.runs import controls
from lalm_agent.eval.runs.ask import Asker, Tally, ask_all, by_clip, refuse_other_recording
from lalm_agent.eval.runs.folder import RESPONSES, SILENCE, RunFolder, is_run, responder_warnings, responders
from lalm_agent.eval.runs.plan import EvaluateRequest, Plan, check_clips, make_plan
from lalm_agent.eval.runs.records import (
    ContentSource,
    DataIdentity,
    Key,
    QuestionDraw,
    RunIdentity,
    Session,
    StoredAnswer,
    TypeSource,
)
from lalm_agent.models.base import ModelSpec
from lalm_agent.models.pretrained_clips import pretrained_clips_of
from lalm_agent.models.ray_engine import RayEngine, load_on_ray
from lalm_agent.models.wrappers import Budget
from lalm_agent.records import Failure, Method, Status

if TYPE_CHECKING:
    from lalm_agent.agent import Agent
    from lalm_agent.models.base import LALM

BANK_TEMPERATURE = 1.0
"""The model's own distribution. The paper does not print its temperature (arXiv 2505.19294, section 5.1)."""
TRIED = 3
"""So many questions are asked for real, where nothing else tells how long one takes."""
_DTYPES = ("float32", "bfloat16", "float16")
"""Those that a local model can be loaded as."""
_LOADING = {"model", "device", "dtype", "hears_audio", "max_audio_s", "timeout_s"}
_LOADING |= {"trust_env", "trust_remote_code", "allow_pickle"}
"""Settings that decide which model is loaded and how clips are opened."""
_COMPARED = 3
"""So many clips of a run that goes on are compared with what the run's answers heard, before a question is asked."""


@dataclass(frozen=True, slots=True)
class RunStart:
    """What is about to be asked, when everything is checked and the model is loaded.

    there: answers that the folder has already. device: where the model is. tally: of the answers, those there and those
    that come; it grows while the run goes on.
    """

    identity: RunIdentity
    plan: Plan
    there: int
    device: str
    batch_size: int
    tally: Tally

    @property
    def total(self) -> int:
        """How many answers there are in the end."""
        return len(self.plan.items) * self.identity.draws


class Observer:
    """Is told how an evaluation goes, in the thread that called `evaluate`. Every method does nothing here."""

    def note(self, text: str) -> None:
        """What happens now, such as `loading the model`, in one line."""

    def started(self, start: RunStart) -> None:
        """The first question is about to be asked."""

    def answered(self, answer: StoredAnswer) -> None:
        """An answer is kept."""

    def stopping(self, out: int) -> None:
        """A first Ctrl-C: `out` questions are waited for."""

    def interrupted(self, run: RunFolder) -> None:
        """The run ends early; an error follows."""

    def finished(self, run: RunFolder, questions: int) -> None:
        """All is answered. questions: those of this call; 0 where all were answered before."""


def evaluate(request: EvaluateRequest, observer: Observer | None = None) -> RunFolder:
    """Ask what is left of a run and keep every answer; the run's folder, no longer held, with all its answers.

    Raises:
        UsageError: the request is wrong; `MismatchError` where the folder is another run's; `PretrainedError` where the
            model was pretrained on some of the clips.
        DataError: the data or the folder cannot be used, or a clip is another recording than earlier answers are about;
            `StorageError` on a full disk.
        BackendError: the model cannot; `BudgetSpent` after `max_requests`. What was answered is kept.
        KeyboardInterrupt: Ctrl-C; what was answered is kept.
        Dropped: a second Ctrl-C, which does not wait for the questions that are out.
    """
    return evaluate_all([request], observer)[0]


def evaluate_all(requests: Sequence[EvaluateRequest], observer: Observer | None = None) -> list[RunFolder]:
    """Do several requests in one pass; their runs in the same order, each as `evaluate` makes it.

    Requests that name one model, with or without adapters, share what is loaded, decoded and encoded. `max_requests`
    counts those of all runs together, and the smallest holds. A failure that ends one run ends the pass; what was
    answered is kept, and the requests go on from there together or one by one.

    Raises UsageError for two requests with one folder, and what `evaluate` raises.
    """
    observer = observer or Observer()
    if len({request.out.absolute() for request in requests}) < len(requests):
        raise UsageError("two runs have one folder", "give each an `out` of its own")
    limit = min((request.max_requests for request in requests if request.max_requests is not None), default=None)
    agents: dict[tuple[Any, ...], Agent] = {}
    budget = Budget(limit)
    with ExitStack() as stack:
        runs = [_opened(request, budget, agents, stack) for request in requests]
        # One with an adapter first: what is wrong with that is seen before the model is loaded.
        for run in sorted(runs, key=lambda run: run.ready.request.config.adapter is None):
            _load(run, observer)
        if asking := [run for run in runs if run.asks]:
            _ask(asking, observer)
        for run in runs:
            observer.finished(run.folder, len(run.ready.plan.left))
    return [run.folder for run in runs]


def _opened(
    request: EvaluateRequest, budget: Budget, agents: "dict[tuple[Any, ...], Agent]", stack: ExitStack
) -> "_Run":
    """A request's folder, held, with what is to be asked; all is checked that can be without the model.

    agents: those of earlier requests, by what decides their model; this one is added.
    """
    request, benchmark = _settled(request)
    folder = stack.enter_context(RunFolder(request.out))
    request = _in_its_order(request, folder)
    if folder.spec is not None and folder.spec.selection.shard != request.shard:
        there, now = (f"{shard}" if shard else "all" for shard in (folder.spec.selection.shard, request.shard))
        raise MismatchError(folder.path, [f"shard: {there} in the run, {now} now"])
    plan = make_plan(benchmark, request, folder.items, folder.answers)
    check_clips(plan)
    ready = _prepare(request, plan, folder.path, stack, budget, agents)
    identity = _identity(ready)
    folder.check(identity, loaded=False)
    run = _Run(ready, folder, identity, bool(plan.left) or folder.spec is None)
    if run.asks:
        run.recordings |= _recordings(folder, plan, request.config.max_audio_s)
    return run


def _load(run: "_Run", observer: Observer) -> None:
    """Load the model, and compare the folder's run with all that decides its answers. Raises as `evaluate` does."""
    request, folder = run.ready.request, run.folder
    # An adapter may have been trained again under its old name: it is looked at even where nothing is left to ask.
    if run.asks or request.config.adapter or request.loaded_model is not None:
        if request.loaded_model is None:
            observer.note("loading the model")
        spec = run.ready.agent.spec
        _require_clips(spec, run.ready.plan.left)
        loaded = {name: getattr(spec.info, name) for name in RunIdentity.when_loaded - {"dtype"}}
        run.identity = run.identity.model_copy(update={**loaded, "dtype": spec.dtype})
        folder.check(run.identity)
    elif folder.spec is not None:
        folder.check(_on_disk(run.identity, folder.spec.identity, request.config, observer))
    there = (sha256 for kept in folder.answers.values() for sha256 in (kept.audio_sha256, *kept.more_audio_sha256))
    model = request.config.model
    controls.refuse_pretrained(pretrained_clips_of(model), there, model, str(folder.path))


def _require_clips(spec: ModelSpec, left: Sequence[QuestionDraw]) -> None:
    """Refuse questions about more clips than the model takes, before any is asked."""
    several = {item.id: len(item.audios) for item in (question.run_item.item for question in left) if item.more_audio}
    try:
        spec.require_clips(max(several.values(), default=1))
    except UsageError as error:
        hint = f"{error.hint}; or leave these {len(several)} questions out with --one-clip"
        raise UsageError(error.message, hint) from None


def of_methods(request: EvaluateRequest, methods: Sequence[str]) -> tuple[EvaluateRequest, ...]:
    """One request for each of several methods, whose runs lie in the request's folder by the method's name.

    The adapter is for `lora` alone, and what replaces steps of the agent (`adaptive`, `type_source`, `content_source`,
    `fixed`) for `agent` alone: the others are what they are without. Where no batch size is set, prompts of all methods
    go through the model `DEFAULT_ROWS` at a time.

    Raises UsageError for an unknown method, a setting that none of the methods takes, or where the folder is a run.
    """
    from lalm_agent.agent import DEFAULT_ROWS

    for name in methods:
        if name not in set(Method):
            raise UsageError(f"unknown method: {name or '(empty)'}", did_you_mean(name, map(str, Method)))
    if is_run(request.out):
        raise UsageError(f"{request.out} is a run", "several methods make a folder of runs: give another --out")
    if request.config.adapter is not None and Method.LORA not in methods:
        raise UsageError("of several methods, lora alone takes the adapter", "add lora to --method, or ask one by one")
    defaults: dict[str, Any] = {"type_source": TypeSource.MODEL, "content_source": ContentSource.MODEL, "fixed": {}}
    replaces = request.config.adaptive is not None or any(getattr(request, key) != defaults[key] for key in defaults)
    if replaces and Method.AGENT not in methods:
        raise UsageError("--adaptive, --type and --content need the steps of the agent", "add agent to --method")
    rows = request.batch_size if "batch_size" in request.model_fields_set else DEFAULT_ROWS

    def of(method: Method) -> EvaluateRequest:
        left_out: dict[str, Any] = {} if method is Method.LORA else {"adapter": None}
        left_out |= {} if method is Method.AGENT else {"adaptive": None}
        fields: dict[str, Any] = {"out": request.out / str(method), "batch_size": rows}
        fields |= {} if method is Method.AGENT else defaults
        config = request.config.model_copy(update={"method": method, **left_out})
        return request.model_copy(update={**fields, "config": config})

    return tuple(of(Method(name)) for name in dict.fromkeys(methods))


def load_models(
    config: AgentConfig,
    rows: int,
    loaded: "LALM | None" = None,
    ray: RayEngine | None = None,
    stack: ExitStack | None = None,
) -> tuple["LALM", "LALM"]:
    """The model of a config, for the `loaded_model` of several requests, and the same with the config's adapter on.

    rows: how many prompts a checkpoint computes at once at most. loaded: a model in place of that of the config. ray:
        workers that it is loaded on, until the end of `stack`.
    Raises as `evaluate` does for a model.
    """
    from lalm_agent.agent import load_hearing_model, with_adapter

    if loaded is None and ray is not None and stack is not None:
        model: LALM = load_on_ray(load_models, ray, rows, stack, config, rows)
    else:
        model = load_hearing_model(config, rows, loaded)
    return model, with_adapter(model, config.adapter)


class RunSummary(Record):
    """What came of a run, as `eval --json` prints it.

    questions, draws: asked; answers: kept so far. counts: of each outcome by the `rule` scorer; abstained_kinds: why.
    seen: answers about clips that the adapter was trained on. missing, faulty: questions and rows left out.
    """

    run: str
    folder: str
    questions: int
    draws: int
    answers: int
    counts: dict[str, int]
    abstained_kinds: dict[str, int]
    seen: int
    missing: int
    faulty: int
    warnings: tuple[str, ...]


def summarise(run: RunFolder) -> RunSummary:
    """The counts of a run that `evaluate` gave, or that was opened. Raises UsageError where the folder holds no run."""
    if run.spec is None:
        raise UsageError(f"{run.path} is no run", "give the folder of one")
    identity, selection, tally = run.spec.identity, run.spec.selection, Tally(run.items, run.answers)
    grades = list(tally.grades.values())
    warning = None if identity.without_sound else missing_clip_warning(grades)
    return RunSummary(
        run=identity.run_id,
        folder=str(run.path),
        questions=len(run.items),
        draws=identity.draws,
        answers=len(grades),
        counts={str(outcome): count for outcome, count in tally.counts.items()},
        abstained_kinds={str(kind): count for kind, count in kinds_of(grades).items()},
        seen=sum(answer.seen for answer in run.answers.values()),
        missing=len(selection.missing),
        faulty=selection.faulty,
        warnings=(*([warning] if warning else ()), *responder_warnings(run.answers.values())),
    )


def _settled(request: EvaluateRequest) -> tuple[EvaluateRequest, Benchmark]:
    """The request with the settings that an evaluation has where nobody set them, and its data.

    Raises UsageError for settings that contradict each other, and what `load_benchmark` raises.
    """
    config, changes = request.config, dict[str, Any]()
    # A failed node has to end its question, not the run.
    changes["debug"] = False
    if request.loaded_model is not None:
        changes["model"] = request.loaded_model.spec.info.ref
    if "preset" not in config.model_fields_set:
        changes["preset"] = "paper"
    if request.bank and "temperature" not in config.model_fields_set:
        changes["temperature"] = BANK_TEMPERATURE
    config = config.model_copy(update=changes)
    if request.draws > 1 and config.temperature == 0:
        raise UsageError(f"{request.draws} draws without a temperature would all be the same", "give --temperature 0.7")
    if request.bank and config.answer_mode != "generate":
        raise UsageError("a bank is sampled, and scored choices are not", "answer by generating")
    replaced = request.fixed or request.type_source != "model" or request.content_source != "model"
    if request.ray is not None and request.is_remote:
        raise UsageError("an endpoint needs no workers here", "--concurrency N asks it more at a time")
    if config.method is not Method.AGENT and replaced:
        raise UsageError(f"--type and --content need the steps of the agent, not {config.method}", "--method agent")
    benchmark = request.data
    if not isinstance(benchmark, Benchmark):
        from lalm_agent.eval.benchmarks import load_benchmark

        benchmark = load_benchmark(str(benchmark), request.data_file, request.audio_root)
    return request.model_copy(update={"config": config}), benchmark


def _in_its_order(request: EvaluateRequest, run: RunFolder) -> EvaluateRequest:
    """The request with the order of a run that is there, where it says none: a run goes on as it began."""
    if run.spec is None or request.config.mcot_order is not None:
        return request
    order = {"mcot_order": run.spec.identity.mcot_order or "clip-first"}
    return request.model_copy(update={"config": request.config.model_copy(update=order)})


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """What asks the questions of a plan; its model is not loaded yet. tools: node -> tool, or what replaces it."""

    request: EvaluateRequest
    plan: Plan
    agent: "Agent"
    tools: dict[str, str]
    clip: controls.ClipOf


@dataclass(slots=True, eq=False)
class _Run:
    """A run whose folder is held. asks: whether anything is left to ask, or the folder is new. recordings: see `Asker`.

    identity: without what only a loaded model knows until it is loaded. tally, asker: once it has begun.
    """

    ready: _Ready
    folder: RunFolder
    identity: RunIdentity
    asks: bool
    recordings: dict[str, str] = field(default_factory=dict)
    tally: Tally = field(init=False)
    asker: Asker = field(init=False)
    responders: dict[str, int] = field(init=False)


@dataclass(frozen=True, slots=True)
class _RunQuestion(QuestionDraw):
    """A question of one of several runs."""

    run: _Run


@dataclass(frozen=True, slots=True)
class _RunAnswer:
    """An answer of one of several runs."""

    run: _Run
    answer: StoredAnswer

    @property
    def failure(self) -> Failure | None:
        """Why there is no answer."""
        return self.answer.failure


def _prepare(
    request: EvaluateRequest,
    plan: Plan,
    folder: Path,
    stack: ExitStack,
    budget: Budget,
    agents: "dict[tuple[Any, ...], Agent]",
) -> _Ready:
    """Check everything that can be without the model. folder: for silent clips and the replies of an endpoint.

    agents: see `_opened`.
    Raises UsageError for a node or tool that does not exist, data that have no content, or a single clip to be swapped.
    """
    from lalm_agent.agent import Agent
    from lalm_agent.models.wrappers import CachedResponses, WithBudget

    config, root = request.config, plan.audio_root
    fixed = controls.fixed_tools(plan.pool, request.type_source, request.content_source, config.seed) | request.fixed

    def wrap(model: Any) -> Any:
        counted = WithBudget(model, budget)
        if not request.is_remote:
            return counted
        cached = CachedResponses(counted, folder / RESPONSES)
        stack.callback(cached.close)
        return cached

    clip = controls.own_clips(root)
    if request.audio == "silence":
        clip = controls.silent_clips(root, folder / SILENCE, config.max_audio_s)
    if request.audio == "swap":
        clip = controls.swapped_clips(root, plan.pool, plan.absent, config.seed, config.max_audio_s)
    model, rows = request.loaded_model, request.batch_size
    load = None if request.ray is None else partial(load_on_ray, load_models, request.ray, rows, stack)
    key = (id(model), rows, request.ray, *config.model_dump(include=_LOADING).values())
    tools, beside = {**config.tools, **fixed}, agents.get(key)
    agent = Agent(config, model=model, tools=tools, batch_rows=rows, beside=beside, wrap=wrap, load=load)
    agents.setdefault(key, agent)
    return _Ready(request, plan, agent, {**agent.tool_names, **{node: tool.name for node, tool in fixed.items()}}, clip)


def _identity(ready: _Ready) -> RunIdentity:
    """All that decides the answers and is known without loading the model."""
    agent, benchmark = ready.agent, ready.plan.benchmark
    of_request = {"draws", "modality", "shuffle_choices", "audio", "type_source", "content_source"}
    system = agent.system(**{**dict.fromkeys(RunIdentity.when_loaded), "dtype": "not loaded"})
    return RunIdentity(
        **{**system.model_dump(), "tools": ready.tools},
        **ready.request.model_dump(include=of_request),
        seed=agent.decoding.seed,
        data=DataIdentity(name=benchmark.name, sha256=benchmark.sha256),
        policy=agent.policy.sha256 if agent.policy else None,
    )


def _on_disk(now: RunIdentity, there: RunIdentity, config: "AgentConfig", observer: Observer) -> RunIdentity:
    """The identity with the hash of the weights as they lie on the disk, where nothing is asked and nothing loaded.

    What cannot be seen without the model counts as it was. Raises DataError for a checkpoint that lacks its weights.
    """
    seen = {name: getattr(there, name) for name in RunIdentity.when_loaded}
    from lalm_agent.agent import weights_on_disk

    try:
        if there.weights_sha256 is not None and (weights := weights_on_disk(config)) is not None:
            seen["revision"], seen["weights_sha256"] = weights
    except UsageError:
        observer.note(f"the model {config.model} is not here: its weights are not compared")
    return now.model_copy(update=seen)


def _recordings(run: RunFolder, plan: Plan, max_s: float) -> dict[str, str]:
    """Clip's name -> sha256 of what the answers so far heard, nothing for a blind control.

    Raises DataError where one of the first few files is another recording now.
    """
    if run.spec is None or run.spec.identity.audio != "real":
        return {}
    clips = {run_item.item.id: run_item.item.audios for run_item in run.items}
    recordings = {
        name: sha256
        for answer in run.answers.values()
        if answer.status is not Status.FAILED
        for name, sha256 in zip(
            clips.get(answer.id, ()), (answer.audio_sha256, *answer.more_audio_sha256), strict=False
        )
        if sha256 is not None
    }
    for name in sorted(recordings)[:_COMPARED]:
        now = _hashes(audio_file(plan.audio_root, name), max_s)
        refuse_other_recording(name, recordings[name], now[0] if now else recordings[name])
    return recordings


def answering_model(run: RunIdentity, config: "AgentConfig", loaded_model: "LALM | None" = None) -> "LALM":
    """The model that answered a run, loaded to be asked more, in the run's order. config: its adapter, device and such.

    loaded_model: in place of what would be loaded. Raises UsageError, with all differences, where it is not the run's
    model, and what loading it raises.
    """
    from lalm_agent.agent import load_model, with_adapter
    from lalm_agent.models.wrappers import in_order

    if run.adapter_sha256 is not None and config.adapter is None and loaded_model is None:
        raise UsageError("the run was answered by a model with an adapter", "give its folder with --adapter")
    fields: dict[str, Any] = {"model": run.model, "hears_audio": run.hears_audio}
    if "dtype" not in config.model_fields_set and run.dtype in _DTYPES:
        fields["dtype"] = run.dtype
    settings = config.model_copy(update=fields)
    model = loaded_model or with_adapter(load_model(settings), settings.adapter)
    of = model.spec.info
    loaded = {"model": of.ref, "dtype": model.spec.dtype, "hears_audio": model.spec.hears_audio}
    loaded |= {name: getattr(of, name) for name in RunIdentity.when_loaded - {"dtype"}}
    if changes := run.changes(run.model_copy(update=loaded)):
        error = UsageError("the model is not the one that answered the run", "load it as the run did: see `differs`")
        error.fields = tuple(changes)
        raise error
    return in_order(model, run.mcot_order)


def _clips_used(plan: Plan, clip: controls.ClipOf) -> set[str]:
    """Names of the questions' own clips, and of those that are heard in their place."""
    names = {audio for run_item in plan.items for audio in run_item.item.audios}
    for run_item in plan.items:
        with suppress(LalmError):
            names.add(clip(run_item.item).swapped or run_item.item.audio)
    return names


def _hashes(path: Path, max_s: float) -> tuple[str, ...]:
    """Of a clip and of its mono mix; () where it cannot be read."""
    try:
        sound = load(path, max_s)
    except LalmError:
        return ()
    return sound.ref.sha256, sound.mixing.sha256


def _ask(runs: Sequence[_Run], observer: Observer) -> None:
    """Write the specs, and ask what is left of some runs, one at least. Raises as `evaluate` does."""
    for run in runs:
        _begin(run, observer)

    questions = [_RunQuestion(left.run_item, left.draw, run) for run in runs for left in run.ready.plan.left]
    if not any(run.ready.request.is_remote for run in runs):
        questions = by_clip(questions)
    threads = max(run.ready.request.threads for run in runs)

    def answer(question: _RunQuestion) -> _RunAnswer:
        return _RunAnswer(question.run, question.run.asker(question))

    try:
        keep = partial(_keep, observer=observer)
        ask_all(questions, answer, keep, threads, observer.stopping, lambda kept: id(kept.run))
    except controls.PretrainedError as error:
        observer.note("a clip of the pretraining was met; counting them")
        for run in runs:
            _refuse_pretrained_data(run.ready, error)
        raise
    except BaseException:
        for run in runs:
            observer.interrupted(run.folder)
        raise


def _keep(kept: _RunAnswer, observer: Observer) -> None:
    """Keep an answer, and tell of it."""
    run, answer = kept.run, kept.answer
    run.folder.keep(answer)
    if answer.responder is not None and answer.responder not in run.responders:
        if run.responders:
            observer.note(f"warning: the endpoint answers by another model now: {answer.responder}")
        run.responders[answer.responder] = 1
    run.tally.add(answer)
    observer.answered(answer)


def _begin(run: _Run, observer: Observer) -> None:
    """Write the spec of a run that asks."""
    ready, folder, identity = run.ready, run.folder, run.folder.grown(run.identity)
    request, plan, agent = ready.request, ready.plan, ready.agent
    trained, pretrained = controls.trained_clips(request.config.adapter), pretrained_clips_of(request.config.model)
    run.tally, device, root = Tally(plan.items, folder.answers), agent.spec.device, plan.benchmark.audio_root
    run.asker = Asker(agent.ask_item, ready.clip, trained, pretrained, run.recordings, agent.clips)
    run.responders = responders(folder.answers.values())
    observer.started(RunStart(identity, plan, len(folder.answers), device, request.batch_size, run.tally))
    session = Session.starting(
        device=device,
        batch_size=request.batch_size,
        concurrency=request.threads,
        audio_root=None if root is None else str(root.resolve()),
        engine=None if request.ray is None else str(request.ray),
    )
    folder.begin(identity, plan, session)


def _refuse_pretrained_data(ready: _Ready, error: controls.PretrainedError) -> None:
    """Raise the error with the number of all clips of a plan that its model was pretrained on, where there are some."""
    config, plan = ready.request.config, ready.plan
    pretrained, names = pretrained_clips_of(config.model), sorted(_clips_used(plan, ready.clip))
    hashes = {name: _hashes(audio_file(plan.audio_root, name), config.max_audio_s) for name in names}
    if known := [name for name in names if any(sha256 in pretrained for sha256 in hashes[name])]:
        raise controls.PretrainedError(known, len(names), config.model, "the data") from error


class RunEstimate(Record):
    """What is left of a run to do, and what it costs.

    requests: to the model: an answer for each question and draw; for the agent also the type and the content of each
        clip, once a process, where these nodes are the model. Neither retries are in it, nor a clip that two
        threads meet at.
    audio_s: summed over the distinct clips that could be opened, in seconds. unread: clips that could not.
    seconds: wall-clock time; None where nothing tells. basis: what it was estimated from, or why it is not known.
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


def estimate(request: EvaluateRequest, observer: Observer | None = None) -> RunEstimate:
    """What is left of a run to do and what it costs; its folder is read where there is one, and never written.

    Where no answers tell how long a question takes, up to `TRIED` are asked of a local model. Raises UsageError for a
    wrong request, MismatchError where the folder is another run's, DataError for data or a folder that cannot be
    used, BackendError for a model that cannot be loaded.
    """
    request, benchmark = _settled(request)
    # Silent clips of a trial go away again, and its replies are not kept.
    with RunFolder(request.out, writes=False) as run, ExitStack() as stack:
        request = _in_its_order(request, run)
        plan = make_plan(benchmark, request, run.items, run.answers)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lalm-agent-")))
        ready = _prepare(request, plan, folder, stack, Budget(request.max_requests), {})
        run.check(_identity(ready), loaded=False)
        clips = sorted({audio for question in plan.left for audio in question.run_item.item.audios})
        audio_s, unread = audio_seconds(plan.audio_root, clips, request.config.max_audio_s)
        seconds, basis = _seconds_left(ready, run.answers, observer or Observer())
    return RunEstimate(
        questions=len(plan.left),
        requests=requests(plan.left, ready.tools, request.config.adaptive is not None),
        audio_s=audio_s,
        unread=unread,
        seconds=seconds,
        basis=basis,
        missing=len(plan.lacking) + len(plan.selection.missing),
        lacking=len(plan.lacking),
    )


def requests(left: Sequence[QuestionDraw], tools: Mapping[str, str], tries_first: bool = False) -> int:
    """How many requests the questions left need, at most. `tools`: node -> tool, only nodes that the method uses.

    The type step may find no type, and then no content is asked for. tries_first: each is asked as the baseline first.
    """
    clips = len({audio for question in left for audio in question.run_item.item.audios})
    asks_content = "lalm" in (tools.get("asr"), tools.get("caption"))
    return len(left) * (1 + tries_first) * (tools.get("answer") == "lalm") + clips * (
        (tools.get("type") == "lalm") + asks_content
    )


def audio_seconds(root: Path, clips: Collection[str], max_s: float) -> tuple[float, int]:
    """(seconds of all clips that can be opened, how many cannot). A header is enough where libsndfile reads it."""
    import soundfile

    total, unread = 0.0, 0
    for clip in clips:
        try:
            path = audio_file(root, clip)
            try:
                total += float(soundfile.info(str(path)).duration)
            except (OSError, RuntimeError):
                total += load(path, max_s).ref.seconds
        except LalmError:
            unread += 1
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


def _seconds_left(ready: _Ready, answers: Mapping[Key, StoredAnswer], observer: Observer) -> tuple[float | None, str]:
    """(seconds, what they come from)."""
    left, request = ready.plan.left, ready.request
    if not left:
        return 0.0, "nothing is left to ask"
    known = from_answers(answers, len(left), request.threads)
    if known is not None:
        return known, f"the {len(answers)} answers that are there"
    if request.is_remote:
        return None, "not estimated: a dry run sends nothing"
    hearable = [question for question in left if question.run_item.item.id not in ready.plan.lacking]
    if not hearable:
        return None, "not estimated: no clip is there"
    observer.note("loading the model")
    ready.agent.spec  # noqa: B018 - loading is not part of what is timed
    per_question, tried = by_trying(hearable, Asker(ready.agent.ask_item, ready.clip), time.monotonic)
    if per_question is None:
        return None, f"not estimated: {tried} questions failed"
    seconds = per_question * len(left) / request.workers
    return seconds, f"asking {tried} for real, one after the other; nothing of them is kept"
