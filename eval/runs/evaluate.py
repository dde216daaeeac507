"""`evaluate`: a benchmark's questions asked of an agent, every answer kept. The command line only calls it.

    from lalm_agent import AgentConfig
    from lalm_agent.eval import EvaluateRequest, evaluate

    request = EvaluateRequest(data="questions.jsonl", out="runs/idk", config=AgentConfig(model="mini", method="idk"))
    run = evaluate(request)
    replies = {question: answer.reply for (question, draw), answer in run.answers.items()}

The same request resumes after a kill, a full disk or Ctrl-C; nothing complete is ever asked again. `estimate` says what
a request would cost. An `Observer` is told how it goes.
"""

import tempfile
import time
from collections.abc import Callable, Container, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lalm_agent.artefacts import Record
from lalm_agent.audio import load
from lalm_agent.config import AgentConfig
from lalm_agent.errors import LalmError, UsageError
from lalm_agent.eval.items import Benchmark, Item, audio_file
from lalm_agent.eval.runs.ask import Asker, Tally, ask_all
from lalm_agent.eval.runs.controls import (
    PretrainedError,
    Real,
    Silence,
    Swap,
    fixed_tools,
    refuse_pretrained,
    trained_clips,
)
from lalm_agent.eval.runs.folder import RESPONSES, SILENCE, RunFolder, is_run, read_answers, read_items
from lalm_agent.eval.runs.plan import (
    EvaluateRequest,
    Plan,
    RunEstimate,
    audio_seconds,
    by_trying,
    check_clips,
    from_answers,
    make_plan,
    requests,
)
from lalm_agent.eval.runs.records import ClipFile, DataIdentity, Key, RunIdentity, Session, StoredAnswer
from lalm_agent.models.base import ModelSpec
from lalm_agent.models.pretrained_clips import pretrained_clips_of
from lalm_agent.prompts import prompt_hashes
from lalm_agent.records import Method

if TYPE_CHECKING:
    from lalm_agent.agent import Agent

BANK_TEMPERATURE = 1.0
"""The model's own distribution. The paper does not print its temperature (arXiv 2505.19294, section 5.1)."""


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

    def finished(self, run: RunFolder, asked: int) -> None:
        """All is answered. asked: questions of this call; 0 where all were answered before."""


def evaluate(request: EvaluateRequest, observer: Observer | None = None) -> RunFolder:
    """Ask what is left of a run and keep every answer; the run's folder, no longer held, with all its answers.

    Raises:
        UsageError: the request is wrong; `MismatchError` where the folder is another run's; `PretrainedError` where the
            model was pretrained on some of the clips.
        DataError: the data or the folder cannot be used; `StorageError` on a full disk.
        BackendError: the model cannot; `BudgetSpent` after `max_requests`. What was answered is kept.
        KeyboardInterrupt: Ctrl-C; what was answered is kept.
        Dropped: a second Ctrl-C, which does not wait for the questions that are out.
    """
    observer = observer or Observer()
    request = _settled(request)
    benchmark = _benchmark(request)
    with ExitStack() as stack:
        run = stack.enter_context(RunFolder(request.out))
        plan = make_plan(benchmark, request, run.items, run.answers)
        check_clips(plan)
        ready = _prepare(request, benchmark, plan, run.path / SILENCE, run.path / RESPONSES, stack)
        identity = _identity(ready, benchmark)
        run.check(identity, loaded=False)
        if request.loaded_model is None and (plan.left or run.spec is None):
            observer.note("loading the model")
        # Also for a finished run: weights that changed under the same name make it another run.
        identity = _with_weights(identity, ready.agent.spec)
        run.check(identity)
        there = (answer.audio_sha256 for answer in run.answers.values())
        refuse_pretrained(pretrained_clips_of(request.config.model), there, request.config.model, str(run.path))
        if plan.left or run.spec is None:
            _ask(ready, run, run.grown(identity), observer)
        observer.finished(run, len(plan.left))
    return run


def estimate(request: EvaluateRequest, observer: Observer | None = None) -> RunEstimate:
    """What is left of a run to do and what it costs; its folder is read where there is one, and never written.

    Where no answers tell how long a question takes, up to `plan.TRIED` are asked of a local model.

    Raises:
        UsageError: the request is wrong.
        DataError: the data or the folder cannot be used.
        BackendError: a local model cannot be loaded.
    """
    observer = observer or Observer()
    request = _settled(request)
    benchmark = _benchmark(request)
    there = is_run(request.out)
    items, answers = (read_items(request.out), read_answers(request.out)) if there else ([], {})
    plan = make_plan(benchmark, request, items, answers)
    with ExitStack() as stack:
        # Silent clips of a trial go away again, and its replies are not kept.
        silence = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lalm-agent-")))
        ready = _prepare(request, benchmark, plan, silence, None, stack)
        clips = sorted({question.run_item.item.audio for question in plan.left})
        audio_s, unread = audio_seconds(benchmark.audio_root or Path(), clips, request.config.max_audio_s)
        seconds, basis = _seconds(ready, answers, observer)
    return RunEstimate(
        questions=len(plan.left),
        requests=requests(plan.left, ready.tools),
        audio_s=audio_s,
        unread=unread,
        seconds=seconds,
        basis=basis,
        missing=len(plan.lacking) + len(plan.selection.missing),
        lacking=len(plan.lacking),
    )


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
    """The counts of a run that `evaluate` gave, or that was opened.

    Raises:
        UsageError: the folder holds no run.
    """
    if run.spec is None:
        raise UsageError(f"{run.path} is no run", "give the folder of one")
    tally = Tally(run.items, run.answers)
    identity, selection = run.spec.identity, run.spec.selection
    warning = None if identity.without_sound else tally.missing_clip
    return RunSummary(
        run=identity.run_id,
        folder=str(run.path),
        questions=len(run.items),
        draws=identity.draws,
        answers=tally.done,
        counts={str(outcome): count for outcome, count in tally.counts.items()},
        abstained_kinds={str(kind): count for kind, count in tally.kinds.items()},
        seen=sum(answer.seen for answer in run.answers.values()),
        missing=len(selection.missing),
        faulty=selection.faulty,
        warnings=() if warning is None else (warning,),
    )


# --- what is settled before a question is asked ----------------------------------------------------------------------


def _settled(request: EvaluateRequest) -> EvaluateRequest:
    """The request with the settings that an evaluation has where nobody set them.

    Raises:
        UsageError: settings that contradict each other.
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
    if config.method is not Method.AGENT and (request.type_source != "model" or request.content_source != "model"):
        raise UsageError(f"--type and --content need the steps of the agent, not {config.method}", "--method agent")
    return request.model_copy(update={"config": config})


def _benchmark(request: EvaluateRequest) -> Benchmark:
    if isinstance(request.data, Benchmark):
        return request.data
    from lalm_agent.eval.benchmarks import load_benchmark

    return load_benchmark(str(request.data), request.data_file, request.audio_root)


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """What asks the questions of a plan; its model is not loaded yet. tools: node -> tool, or what stands in for it."""

    request: EvaluateRequest
    plan: Plan
    agent: "Agent"
    tools: dict[str, str]
    clip: Callable[[Item], ClipFile]


def _prepare(
    request: EvaluateRequest, benchmark: Benchmark, plan: Plan, silence: Path, replies: Path | None, stack: ExitStack
) -> _Ready:
    """Check everything that can be without the model.

    silence: folder for silent clips. replies: the file for the replies of an endpoint; None to keep none.

    Raises:
        UsageError: a node or tool that does not exist, data that have no content, or a single clip to be swapped.
    """
    from lalm_agent.agent import Agent
    from lalm_agent.models.wrappers import Budget, CachedResponses, WithBudget

    config, budget, root = request.config, Budget(request.max_requests), benchmark.audio_root or Path()
    fixed = fixed_tools(plan.pool, request.type_source, request.content_source, config.seed)

    def wrap(model: Any) -> Any:
        counted = WithBudget(model, budget)
        if replies is None or not request.is_remote:
            return counted

        cached = CachedResponses(counted, replies)
        stack.callback(cached.close)
        return cached

    clip: Callable[[Item], ClipFile] = Real(root)
    if request.audio == "silence":
        clip = Silence(root, silence, config.max_audio_s)
    if request.audio == "swap":
        clip = Swap(root, plan.pool, plan.absent, config.seed, config.max_audio_s)
    model, rows = request.loaded_model, request.batch_size
    agent = Agent(config, model=model, tools={**config.tools, **fixed}, batch_rows=rows, wrap=wrap)
    tools = {**agent.tool_names, **{node: tool.name for node, tool in fixed.items()}}
    return _Ready(request, plan, agent, tools, clip)


def _identity(ready: _Ready, benchmark: Benchmark) -> RunIdentity:
    """All that decides the answers and is known without loading the model."""
    request, config, decoding = ready.request, ready.agent.config, ready.agent.decoding
    return RunIdentity(
        model=config.model,
        revision=None,
        weights_sha256=None,
        adapter_sha256=None,
        dtype="not loaded",
        hears_audio=config.hears_audio,
        method=str(config.method),
        answer_mode=config.answer_mode,
        tools=ready.tools,
        prompts=prompt_hashes(config.method),
        max_new_tokens=decoding.max_new_tokens,
        temperature=decoding.temperature,
        top_p=decoding.top_p,
        top_k=decoding.top_k,
        seed=decoding.seed,
        draws=request.draws,
        data=DataIdentity(name=benchmark.name, sha256=benchmark.sha256),
        modality=request.modality,
        shuffle_choices=request.shuffle_choices,
        audio=request.audio,
        type_source=request.type_source,
        content_source=request.content_source,
        max_audio_s=config.max_audio_s,
    )


def _with_weights(identity: RunIdentity, spec: ModelSpec) -> RunIdentity:
    """The same with what only the loaded model knows."""
    known = {name: getattr(spec.info, name) for name in ("revision", "weights_sha256", "adapter_sha256")}
    return identity.model_copy(update={**known, "dtype": spec.dtype})


# --- asking ----------------------------------------------------------------------------------------------------------


def _ask(ready: _Ready, run: RunFolder, identity: RunIdentity, observer: Observer) -> None:
    """Write the spec, and ask what is left. Raises as `evaluate` does."""
    request, plan, agent = ready.request, ready.plan, ready.agent
    trained, pretrained = trained_clips(request.config.adapter), pretrained_clips_of(request.config.model)
    tally, device = Tally(plan.items, run.answers), agent.spec.device
    observer.started(RunStart(identity, plan, len(run.answers), device, request.batch_size, tally))
    session = Session.starting(
        device=device,
        batch_size=request.batch_size,
        concurrency=request.threads,
        audio_root=None if plan.audio_root is None else str(plan.audio_root.resolve()),
    )
    run.begin(identity, plan, session)

    def keep(answer: StoredAnswer) -> None:
        run.keep(answer)
        tally.add(answer)
        observer.answered(answer)

    asker = Asker(agent.ask_item, ready.clip, trained, pretrained)
    try:
        ask_all(plan.left, asker, keep, request.threads, observer.stopping)
    except PretrainedError:
        observer.note("a clip of the pretraining was met; counting them")
        _refuse_all_pretrained(pretrained, plan, agent.config)
        raise
    except BaseException:
        observer.interrupted(run)
        raise


def _refuse_all_pretrained(pretrained: Container[str], plan: Plan, config: AgentConfig) -> None:
    """Hash every clip of a run that is refused for one of them, to say how many there are.

    Raises:
        PretrainedError: with that number and the names of the first.
    """
    names = sorted({run_item.item.audio for run_item in plan.items})
    root = plan.audio_root or Path()
    known = [name for name in names if _sha256(audio_file(root, name), config.max_audio_s) in pretrained]
    if known:
        raise PretrainedError(known, len(names), config.model, "the data")


def _sha256(path: Path, max_s: float) -> str:
    """Of a clip; empty where it cannot be read."""
    try:
        return load(path, max_s).ref.sha256
    except LalmError:
        return ""


def _seconds(ready: _Ready, answers: Mapping[Key, StoredAnswer], observer: Observer) -> tuple[float | None, str]:
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
    return per_question * len(left), f"asking {tried} for real, one after the other; nothing of them is kept"
