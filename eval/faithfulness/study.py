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
from contextlib import ExitStack
from pathlib import Path

from lalm_agent.artefacts import Record
from lalm_agent.audio import load
from lalm_agent.eval.faithfulness import setup
from lalm_agent.eval.faithfulness.asking import QuestionTrials, TrialAsker
from lalm_agent.eval.faithfulness.folder import CHAINS, FaithfulnessFolder, open_study
from lalm_agent.eval.faithfulness.middle import ask_agent
from lalm_agent.eval.faithfulness.plan import PERTURBED, changes_of
from lalm_agent.eval.faithfulness.records import ChainUse, StudyData
from lalm_agent.eval.faithfulness.released import is_released, open_released
from lalm_agent.eval.faithfulness.schema import ReleasedReading
from lalm_agent.eval.items import audio_file
from lalm_agent.eval.runs.ask import ask_all
from lalm_agent.eval.runs.evaluate import TRIED, evaluate
from lalm_agent.eval.runs.folder import RunFolder
from lalm_agent.eval.runs.plan import check_clips, make_plan
from lalm_agent.models.base import Decoding, token_counter


def faithfulness(
    request: setup.FaithfulnessRequest, observer: setup.FaithfulnessObserver | None = None
) -> FaithfulnessFolder:
    """Ask what is left of a study and keep every trial; the study's folder, no longer held, to be read.

    Raises:
        UsageError: the request is wrong, or the model does not continue a reply that was begun; `MismatchError` where
            the folder is another study's.
        DataError: the data or the folder cannot be used; `StorageError` on a full disk.
        BackendError: the model cannot. What was asked is kept.
        KeyboardInterrupt: Ctrl-C; what was asked is kept. Dropped: a second one.
    """
    observer = observer or setup.FaithfulnessObserver()
    ready = setup.prepare(request)
    with FaithfulnessFolder(request.out) as study, ExitStack() as stack:
        study.check(ready.identity, loaded=False)
        if request.method == "agent":
            ask_agent(ready, study, observer, stack)
        else:
            _ask(ready, study, observer, stack)
    return open_study(request.out)


def _ask(ready: setup.Ready, study: FaithfulnessFolder, observer: setup.FaithfulnessObserver, stack: ExitStack) -> None:
    request = ready.request
    chains_request = request.run(ready.benchmark, study.path / CHAINS, None)
    with RunFolder(study.path / CHAINS, writes=False) as run:
        plan = make_plan(ready.benchmark, chains_request, run.items, run.answers)
    check_clips(plan)
    if study.spec is not None and not plan.left and not ready.left(run, study).questions:
        observer.study_finished(study, 0)
        return
    models = setup.load_study_models(ready, observer, stack)
    setup.begin(ready, study, models)
    run = evaluate(request.run(ready.benchmark, study.path / CHAINS, models.base), observer)
    _ask_trials(ready, study, models, run, observer)


def _ask_trials(
    ready: setup.Ready,
    study: FaithfulnessFolder,
    models: setup.Models,
    run: RunFolder,
    observer: setup.FaithfulnessObserver,
) -> None:
    request, left = ready.request, ready.left(run, study)
    root, max_s = ready.plan.audio_root, request.config.max_audio_s
    asker = TrialAsker(
        model=models.model,
        perturber=models.perturber,
        decoding=Decoding(request.config.max_new_tokens, request.config.temperature, seed=request.config.seed),
        interventions=ready.interventions,
        levels=request.levels,
        tokens_of=token_counter(models.model) or (lambda text: len(text.split())),
        scores=models.scores,
        chains=left.chains,
        others=left.others,
        kept=left.kept,
        own_clip=lambda item: load(audio_file(root, item.audio), max_s),
        swap=ready.swap,
        speak=request.speak,
        known=dict(study.perturbed),
        max_audio_s=max_s,
    )
    observer.trials_started(len(left.chains) - len(left.questions), len(left.chains))

    def keep(result: QuestionTrials) -> None:
        study.keep(result.perturbed, result.trials)
        observer.trials_kept(result.trials)

    try:
        ask_all(left.questions, asker, keep, request.threads, observer.stopping)
    except BaseException:
        observer.study_interrupted(study)
        raise
    observer.study_finished(study, len(left.questions))


def read_study(path: Path) -> tuple[StudyData, ReleasedReading | None]:
    """What a report is made of: a study of ours, or released outputs that were imported, with what was read of these.

    Raises DataError where the folder holds neither, or is damaged.
    """
    return open_released(path) if is_released(path) else (open_study(path).data, None)


# --- what it costs ---------------------------------------------------------------------------------------------------


GUESSED_SENTENCES = 5
"""Of a chain at an endpoint that is not there yet."""


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
    request: setup.FaithfulnessRequest, observer: setup.FaithfulnessObserver | None = None
) -> FaithfulnessEstimate:
    """What is left of a study; a local model does three questions for real, and nothing of them is kept.

    Raises as `faithfulness`.
    """
    observer, ready = observer or setup.FaithfulnessObserver(), setup.prepare(request)
    total = len(ready.plan.items)
    with FaithfulnessFolder(request.out, writes=False) as study:
        study.check(ready.identity, loaded=False)
    if request.is_remote and request.method == "mcot":
        return _counted(ready, study)
    done = len({trial.question for trial in study.trials.values()}) if study.spec is not None else 0
    left = max(0, total - done)
    if not left:
        return FaithfulnessEstimate(questions=0, requests=0, seconds=0.0, basis="nothing is left to ask")
    if request.is_remote:
        basis = "not estimated: a dry run sends nothing to an endpoint"
        return FaithfulnessEstimate(questions=left, requests=None, seconds=None, basis=basis)
    check_clips(ready.plan)
    with tempfile.TemporaryDirectory(prefix="lalm-agent-") as place, ExitStack() as stack:
        # The model is loaded once, outside of what is timed.
        loaded = setup.load_study_models(ready, observer, stack)
        trial = {"out": Path(place) / "study", "limit": min(TRIED, total), "loaded_model": loaded.base}
        start = time.monotonic()
        observer.note(f"asking {trial['limit']} questions to see how long they take")
        tried = faithfulness(request.model_copy(update=trial))
        seconds, n = time.monotonic() - start, len(tried.items)
    return FaithfulnessEstimate(
        questions=left,
        requests=round((len(tried.trials) + len(tried.perturbed) + n) / n * left),
        seconds=seconds / n * left,
        basis=f"{n} questions asked for real; nothing of them is kept",
    )


def _counted(ready: setup.Ready, study: FaithfulnessFolder) -> FaithfulnessEstimate:
    """The requests to an endpoint, at most: a trial that is written anew may need the cue, and so a second one."""
    with RunFolder(study.path / CHAINS, writes=False) as run:
        left = ready.left(run, study)
    questions = requests = 0
    for item in (run_item.item for run_item in ready.plan.items):
        chain = left.chains.get(item.id)
        sentences = ("",) * GUESSED_SENTENCES if chain is None else chain.sentences
        changes = changes_of(item, sentences, ready.interventions, ready.request.levels)
        asked = [1 + (change.use is ChainUse.ANEW) for change in changes if change.key(item.id) not in left.kept]
        rewritten = sum(
            (item.id, kind, k) not in study.perturbed
            for kind in set(PERTURBED) & set(ready.interventions)
            for k in range(1, len(sentences) + 1)
        )
        questions += bool(asked)
        requests += sum(asked) + (rewritten if asked else 0) + (chain is None)
    basis = f"counted, chains that are not there as of {GUESSED_SENTENCES} sentences; a dry run sends nothing"
    return FaithfulnessEstimate(questions=questions, requests=requests, seconds=None, basis=basis)
