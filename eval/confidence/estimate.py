"""`estimate_confidence`: how sure the answers of a run are, by several estimators at once.

    from lalm_agent.eval.confidence.estimate import ConfidenceRequest, estimate_confidence

    folder = estimate_confidence(ConfidenceRequest(run="runs/mini", out="conf", estimators=("option", "ptrue")))
    surest = max(folder.rows.values(), key=lambda row: row.values["option"] or 0)

The run is only read: what its model was asked, what it replied, and the clips under the run's audio root. All that the
estimators ask about one question goes to the model in one call. The same request goes on after a kill, and with the
answers that a run has gained since.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from lalm_agent import errors
from lalm_agent.answers import parse
from lalm_agent.artefacts import SPEC, Folder, FolderKind, Invocation, MismatchError, Record, write_record
from lalm_agent.audio import ClipStore, Sound
from lalm_agent.confidence import NAMES, make_estimators
from lalm_agent.confidence.base import Case, Estimator, estimate, lacking
from lalm_agent.confidence.silence import silence_of
from lalm_agent.config import AgentConfig
from lalm_agent.eval.confidence import records
from lalm_agent.eval.items import audio_file, require_one_clip
from lalm_agent.eval.runs.ask import STOP_AT_START
from lalm_agent.eval.runs.evaluate import answering_model
from lalm_agent.eval.runs.folder import RESPONSES, RunFolder
from lalm_agent.eval.runs.records import Key, RunIdentity, RunItem, RunSpec, StoredAnswer
from lalm_agent.models.base import LALM, ModelSpec
from lalm_agent.records import AbstentionKind, Method, Question, Verdict

_MIN_STORED = 2


class ConfidenceRequest(Record):
    """What `estimate_confidence` is to do.

    run: the run's folder. out: the folder of the estimates; the same request again goes on with what is there.
    estimators: names of `lalm_agent.confidence.NAMES`; None for all that the model can give.
    config: how the run's model is loaded (adapter, device, dtype); which model it is, the run says.
    loaded_model: in place of that model. audio_root: folder of the clips; None for where the run found them.
    draws: K, where the run has no draws of its own. permutations: orders of the choices that are tried.
    seed: of the draws and orders. max_requests: stop after so many requests to the model.
    """

    run: Path
    out: Path
    estimators: tuple[str, ...] | None = None
    config: AgentConfig = AgentConfig()
    loaded_model: Any = None
    audio_root: Path | None = None
    draws: int = Field(default=5, ge=2)
    permutations: int = Field(default=3, ge=1)
    seed: int = 0
    max_requests: int | None = Field(default=None, ge=1)


class ConfidenceFolder(Folder):
    """A folder of estimates, held by this process alone; with `writes=False` it is only read.

    spec, rows: what is there; None and nothing for a new one.
    """

    _EARLY = (f"{SPEC}.", records.ESTIMATES, RESPONSES)
    kind = FolderKind(
        "folder of estimates", "is estimating for", (SPEC, records.ESTIMATES), early=_EARLY, form=records.ConfidenceSpec
    )
    spec: records.ConfidenceSpec | None

    def __init__(self, path: Path, writes: bool = True) -> None:
        """Look at nothing yet."""
        super().__init__(path, writes)
        self.rows: dict[Key, records.EstimateRow] = {}

    def read(self) -> None:
        """Read what is there. Raises DataError where its files are damaged."""
        super().read()
        if self.spec is not None:
            self.rows = {row.key: row for row in records.read_estimates(self.path).rows}

    def begin(self, identity: records.ConfidenceIdentity, run: RunSpec) -> None:
        """Write what is estimated, or that it goes on.

        Raises MismatchError, with all differences, where the folder is another's; StorageError on a full disk.
        """
        if self.spec is not None:
            # How many draws a run has says how much was asked, not what.
            draws = {"draws": identity.run.draws}
            before = self.spec.identity.model_copy(update={"run": self.spec.identity.run.model_copy(update=draws)})
            if changes := before.changes(identity):
                raise MismatchError(self.path, changes, self.kind.name)
        # The rows' file first: the spec is what says that the folder has begun.
        self.append_to(records.ESTIMATES)
        session = Invocation.starting()
        self.spec = records.ConfidenceSpec(
            schema=records.SCHEMA,
            created=self.spec.created if self.spec else session.started,
            identity=identity,
            data_version=run.data_version,
            sessions=(*(self.spec.sessions if self.spec else ()), session),
        )
        write_record(self.path / SPEC, self.spec)

    def keep(self, row: records.EstimateRow) -> None:
        """Append a row. Raises StorageError on a full disk; nothing of it is kept then."""
        self.append_to(records.ESTIMATES, row)
        self.rows[row.key] = row


@dataclass(frozen=True, slots=True)
class ConfidenceStart:
    """What is about to be estimated. total: answers of the run; there: those of which the folder has all values."""

    identity: records.ConfidenceIdentity
    device: str
    total: int
    there: int


class ConfidenceObserver:
    """Is told how it goes, in the calling thread. Every method does nothing here."""

    def note(self, text: str) -> None:
        """What happens now, or what is left out, in one line."""

    def started(self, start: ConfidenceStart) -> None:
        """The first question is about to be asked."""

    def estimated(self, row: records.EstimateRow) -> None:
        """A row is kept."""

    def finished(self, folder: ConfidenceFolder) -> None:
        """All is estimated."""


def estimate_confidence(request: ConfidenceRequest, observer: ConfidenceObserver | None = None) -> ConfidenceFolder:
    """Estimate what is left; the folder, no longer held, with all its rows.

    Raises:
        UsageError: the request is wrong, the model is another than the run's, or lacks what a named estimator needs;
            `MismatchError` where the folder is another's.
        DataError: the run or a clip cannot be used; `StorageError` on a full disk.
        BackendError: the model cannot; `BudgetSpent` after `max_requests`. What was estimated is kept.
    """
    observer = observer or ConfidenceObserver()
    # A misspelt name should not have to wait for the loading of the model.
    make_estimators(request.estimators or NAMES)
    with RunFolder(request.run, writes=False) as run:
        if run.spec is None:
            raise errors.UsageError(f"{request.run} is no run", "give the folder that `lalm-agent eval` wrote")
    spec = run.spec
    if (tool := spec.identity.tools.get("answer")) != "lalm":
        raise errors.UsageError(
            f"{request.run} was answered by the tool {tool}", "a run of the model's own answers is needed"
        )
    answers = _Answers(run, request)
    with ExitStack() as stack:
        folder = stack.enter_context(ConfidenceFolder(request.out))
        observer.note("loading the model")
        model = _model(request, spec.identity, folder.path, stack)
        estimators = _able(request, spec.identity, model.spec, observer)
        parameters = {estimator.name: estimator.parameters for estimator in estimators}
        identity = records.ConfidenceIdentity(run=spec.identity, estimators=parameters)
        folder.begin(identity, spec)
        rows = [row for row in records.graded_rows(request.run) if answers.is_complete(row)]
        # An answer that failed may have been asked again since.
        there = {row.key: row.outcome for row in folder.rows.values()}
        left = [row for row in rows if there.get(row.key) is not row.outcome]
        observer.started(ConfidenceStart(identity, model.spec.device, len(rows), len(rows) - len(left)))
        failures = _estimate_all(left, answers, model, estimators, folder, observer)
        observer.finished(folder)
    if failures:
        kind = errors.DataError if isinstance(failures[0], errors.DataError) else errors.PermanentBackendError
        raise kind(
            f"{len(failures)} of {len(rows)} answers could not be estimated: {failures[0].message}",
            f"{failures[0].hint}; then the same command asks them again" if failures[0].hint else "run it again",
        )
    return folder


# --- what is asked ---------------------------------------------------------------------------------------------------


def _model(request: ConfidenceRequest, identity: RunIdentity, folder: Path, stack: ExitStack) -> LALM:
    """The model that answered the run. An endpoint's replies are kept, so that a resumed study pays for none twice."""
    from lalm_agent.models.wrappers import Budget, CachedResponses, WithBudget

    model: LALM = WithBudget(
        answering_model(identity, request.config, request.loaded_model), Budget(request.max_requests)
    )
    if identity.model.startswith("openai:"):
        cached = CachedResponses(model, folder / RESPONSES)
        stack.callback(cached.close)
        return cached
    return model


def _able(
    request: ConfidenceRequest, run: RunIdentity, spec: ModelSpec, observer: ConfidenceObserver
) -> list[Estimator]:
    """The estimators that the model can give. Those it cannot are said in a line each, or refused where named."""
    stored = stored_draws(run, request.draws)
    names = NAMES if request.estimators is None else request.estimators
    draws = min(request.draws, run.draws - 1) if stored else request.draws
    estimators = make_estimators(names, draws, request.permutations, request.seed, stored)
    without: dict[str, list[str]] = {}
    able = []
    for estimator in estimators:
        if (why := lacking(spec, estimator, Method(run.method))) is None:
            able.append(estimator)
        else:
            without.setdefault(why, []).append(estimator.name)
    lines = [f"{', '.join(names)}: {why}" for why, names in without.items()]
    if request.estimators is not None and lines:
        raise errors.UsageError("; ".join(lines), "leave these out of --with")
    for line in lines:
        observer.note(f"left out: {line}")
    if not able:
        raise errors.UsageError("no estimator is named that asks or computes anything", f"--with {', '.join(NAMES)}")
    return able


def stored_draws(run: RunIdentity, draws: int) -> bool:
    """Whether a run has sampled draws beside the first that can stand for K new ones."""
    return min(draws, run.draws - 1) >= _MIN_STORED


class _Answers:
    """From a row to its case: the prompt that was asked, the reply, the clip that was heard."""

    def __init__(self, run: RunFolder, request: ConfidenceRequest) -> None:
        assert run.spec is not None
        self._identity = run.spec.identity
        require_one_clip((run_item.item for run_item in run.items), "an estimator")
        self._items = {run_item.item.id: run_item for run_item in run.items}
        self._answers = run.answers
        self._draws = min(request.draws, self._identity.draws - 1) if stored_draws(self._identity, request.draws) else 0
        self._root = _clip_root(run.spec, request)
        self._clips = ClipStore(self._identity.max_audio_s)

    def is_complete(self, row: records.EstimateRow) -> bool:
        """Whether all draws that belong to a row's answer are there."""
        return all((row.question, row.draw + more) in self._answers for more in range(self._draws + 1))

    def case(self, row: records.EstimateRow, spec: ModelSpec) -> Case | None:
        """What the estimators take; None where there is no answer whose confidence could be known.

        Raises DataError: the clip cannot be read, or is another recording than the one heard.
        """
        answer, run_item = self._answers[row.key], self._items[row.question]
        verdict = self._verdict(answer, run_item)
        if verdict is None or row.seen or answer.prompt is None:
            return None
        item, sound = run_item.item, self._sound(answer, run_item)
        ref = self._clips.open(str(self._path(answer, run_item))).ref if sound is None else sound.ref
        draws = [self._answers[row.question, row.draw + 1 + more] for more in range(self._draws)]
        verdicts = [self._verdict(draw, run_item) for draw in draws]
        steps = {step.node: step.details for step in answer.steps}
        return Case(
            question=Question(item.question.strip(), ref, run_item.shown(row.draw), item.id, row.draw),
            sound=sound,
            prompt=answer.prompt,
            reply=answer.reply or "",
            verdict=verdict,
            method=Method(self._identity.method),
            scores_options=spec.scores_options,
            draws=tuple(verdict for verdict in verdicts if verdict is not None),
            asr=steps.get("asr"),
        )

    def _verdict(self, answer: StoredAnswer, run_item: RunItem) -> Verdict | None:
        """How a reply reads; None where there is none, or where it was withheld."""
        if answer.output.text is None or answer.abstention is AbstentionKind.NOT_CONFIDENT:
            return None
        return parse(answer.output.text, run_item.shown(answer.draw))

    def _path(self, answer: StoredAnswer, run_item: RunItem) -> Path:
        own = self._identity.audio == "silence" or answer.heard_clip is None
        return audio_file(self._root, run_item.item.audio if own else str(answer.heard_clip))

    def _sound(self, answer: StoredAnswer, run_item: RunItem) -> Sound | None:
        """What the model heard; None where it was asked by text only."""
        if not self._identity.hears_audio:
            return None
        sound = self._clips.open(str(self._path(answer, run_item)))
        if self._identity.audio == "silence":
            return silence_of(round(sound.ref.seconds * sound.ref.rate), sound.ref.rate)
        if sound.ref.sha256 != answer.audio_sha256:
            name = answer.heard_clip or run_item.item.audio
            raise errors.DataError(
                f"the clip {name!r} is another recording than the run heard", "give its --audio-root"
            )
        return sound


def _clip_root(spec: RunSpec, request: ConfidenceRequest) -> Path:
    roots = [session.audio_root for session in spec.sessions if session.audio_root is not None]
    root = request.audio_root or (Path(roots[-1]) if roots else None)
    if root is None:
        raise errors.UsageError(f"{request.run} does not say where its clips are", "give --audio-root")
    if not root.is_dir():
        raise errors.DataError(f"the clips' folder {root} does not exist", "give --audio-root")
    return root


def _estimate_all(
    rows: Sequence[records.EstimateRow],
    answers: _Answers,
    model: LALM,
    estimators: Sequence[Estimator],
    folder: ConfidenceFolder,
    observer: ConfidenceObserver,
) -> list[errors.LalmError]:
    """Estimate and keep each row; what failed. A failed row is not kept.

    Raises what may pass or concerns all, and the last of `STOP_AT_START` failures in a row with the same words.
    """
    failures: list[errors.LalmError] = []
    unknown: dict[str, float | None] = dict.fromkeys(estimator.name for estimator in estimators)
    streak = 0
    for row in rows:
        try:
            case = answers.case(row, model.spec)
            values = unknown if case is None else estimate(model, case, estimators)
        except (errors.BudgetSpent, errors.TransientBackendError):
            raise
        except errors.LalmError as error:
            streak = streak + 1 if failures and failures[-1].message == error.message else 1
            failures.append(error)
            if streak == STOP_AT_START:
                raise
            continue
        streak = 0
        folder.keep(row.model_copy(update={"values": values}))
        observer.estimated(row)
    return failures
