"""The middle step of the agent as a chain: what the answer does when the content, or the type, says something else.

Each condition is an evaluation with method agent in which a node says a text that was fixed beforehand:

    own, own-again   nothing is changed
    oracle, none, other   the content is that of the data, empty, or that of another clip (`controls.fixed_tools`)
    corrupted        the agent's own content, rewritten by the perturber so that it is wrong
    contradicting    the content names a wrong choice
    type-oracle, type-wrong   the type is that of the data, or another
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from lalm_agent.eval.faithfulness.asking import QuestionTrials, is_settled, perturbed_by
from lalm_agent.eval.faithfulness.chains import sentences
from lalm_agent.eval.faithfulness.folder import RUNS, FaithfulnessFolder, trial_from
from lalm_agent.eval.faithfulness.plan import SOURCES, WRONG, Condition, option_to_speak, seed_of
from lalm_agent.eval.faithfulness.records import OWN, OWN_AGAIN, Intervention, Trial
from lalm_agent.eval.faithfulness.setup import FaithfulnessObserver, Ready, begin, load_study_models
from lalm_agent.eval.items import Item
from lalm_agent.eval.runs.ask import ask_all
from lalm_agent.eval.runs.controls import CONTENT_NODES, FixedText
from lalm_agent.eval.runs.evaluate import evaluate
from lalm_agent.eval.runs.folder import RunFolder
from lalm_agent.eval.runs.plan import EvaluateRequest, check_clips, make_plan
from lalm_agent.eval.runs.records import QuestionDraw, StoredAnswer
from lalm_agent.models.base import LALM, Decoding
from lalm_agent.prompts.perturbing import contradicting_content, mistake_prompt
from lalm_agent.records import AudioType, Status

_OF_TYPE = (Condition.TYPE_ORACLE, Condition.TYPE_WRONG)
_KEY = (Intervention.MISTAKE, 1)


def ask_agent(ready: Ready, study: FaithfulnessFolder, observer: FaithfulnessObserver, stack: ExitStack) -> None:
    """Ask what is left of the study of an agent. stack: ends its models. Raises as `faithfulness`."""
    check_clips(ready.plan)
    names = (OWN, OWN_AGAIN, *ready.identity.interventions)
    if study.spec is not None and all(_is_done(ready, study, name) for name in names):
        _keep(study)
        observer.study_finished(study, 0)
        return
    models = load_study_models(ready, observer, stack)
    begin(ready, study, models)

    def ask(name: str, **fields: Any) -> RunFolder:
        observer.note(f"the agent, {name}")
        return evaluate(ready.request.run(ready.benchmark, study.path / RUNS / name, models.base, **fields), observer)

    own = ask(OWN)
    # Another seed: with the same noise a sampled answer would be the same.
    ask(OWN_AGAIN, config={"seed": ready.request.config.seed + 1})
    for name in ready.identity.interventions:
        condition = Condition(name)
        if condition is Condition.CORRUPTED and models.perturber is not None:
            _corrupt(ready, study, models.perturber, own, observer)
        fields = SOURCES.get(condition) or {"fixed": _texts(condition, study, own, ready.request.config.seed)}
        ask(name, **fields)
    _keep(study)
    observer.study_finished(study, len(own.items))


def _keep(study: FaithfulnessFolder) -> None:
    """Write the answers of the runs as trials, those that are not there yet."""
    study.keep((), [trial for trial in trials_of_runs(study) if study.trials.get(trial.key) != trial])


def _is_done(ready: Ready, study: FaithfulnessFolder, name: str) -> bool:
    request: EvaluateRequest = ready.request.run(ready.benchmark, study.path / RUNS / name, None)
    with RunFolder(request.out, writes=False) as run:
        return run.spec is not None and not make_plan(ready.benchmark, request, run.items, run.answers).left


def _corrupt(
    ready: Ready, study: FaithfulnessFolder, perturber: LALM, own: RunFolder, observer: FaithfulnessObserver
) -> None:
    """Let the perturber rewrite the contents that it has not rewritten yet."""
    config, request = ready.request.config, ready.request

    def is_left(item: Item) -> bool:
        line = study.perturbed.get((item.id, *_KEY))
        if line is None:
            return bool(own.answers[item.id, 0].content)
        return request.retry_failed and not is_settled(line.failure)

    left = [QuestionDraw(run_item, 0) for run_item in own.items if is_left(run_item.item)]

    def rewrite(question: QuestionDraw) -> QuestionTrials:
        item = question.run_item.item
        content = own.answers[question.key].content or ""
        prompts = {_KEY: mistake_prompt(content, item.question)}
        lines = perturbed_by(perturber, item.id, {_KEY: content}, prompts, Decoding(config.max_new_tokens))
        return QuestionTrials(tuple(lines.values()), ())

    def keep(result: QuestionTrials) -> None:
        study.keep(result.perturbed, ())

    ask_all(left, rewrite, keep, request.threads, observer.stopping)


def _texts(condition: Condition, study: FaithfulnessFolder, own: RunFolder, seed: int) -> dict[str, FixedText]:
    """Node -> what it says to each question; nothing where the agent's own answer failed, which may be asked again."""
    answers = [(run_item.item, own.answers[run_item.item.id, 0]) for run_item in own.items]
    said = {
        item.id: _text(condition, item, answer, study, seed)
        for item, answer in answers
        if answer.status is not Status.FAILED
    }
    # The study's identity decides the texts; those of questions that are asked again, or later, are not another run.
    tool = FixedText(str(condition), {id_: text for id_, text in said.items() if text is not None})
    return {"type": tool} if condition in _OF_TYPE else dict.fromkeys(CONTENT_NODES, tool)


def _text(condition: Condition, item: Item, answer: StoredAnswer, study: FaithfulnessFolder, seed: int) -> str | None:
    if condition is Condition.CORRUPTED:
        line = study.perturbed.get((item.id, *_KEY))
        return line.text if line is not None else None
    kind = item.audio_type or answer.audio_type
    if condition is Condition.CONTRADICTING:
        option = target_of(item, answer, seed)
        return None if option is None else contradicting_content(item.choices[option], kind or AudioType.SOUND)
    others = [other for other in AudioType if other != kind]
    return None if kind is None else str(others[seed_of(seed, item.id, condition) % len(others)]).capitalize()


def target_of(item: Item, answer: StoredAnswer, seed: int) -> int | None:
    """The wrong choice that a contradicting content names; None where the question has none."""
    return option_to_speak(item, WRONG, answer.choice, seed_of(seed, item.id, Condition.CONTRADICTING))


def trials_of_runs(study: FaithfulnessFolder) -> Iterator[Trial]:
    """The answers under each condition as trials; the agent's own content is what they are compared with."""
    own = study.run(f"{RUNS}/{OWN}")
    items = {run_item.item.id: run_item.item for run_item in own.items}
    seed, lengths = study.identity.seed, dict[str, int]()
    for id_ in items:
        answer = own.answers[id_, 0]
        lengths[id_] = len(sentences(answer.content or ""))
        yield trial_from(answer, lengths[id_], intervention=Intervention.CONTENT, variant=OWN)
    for name in (OWN_AGAIN, *study.identity.interventions):
        answers = study.run(f"{RUNS}/{name}").answers
        for id_, item in items.items():
            answer = answers[id_, 0]
            target = target_of(item, own.answers[id_, 0], seed) if name == Condition.CONTRADICTING else None
            fields = {"intervention": Intervention.CONTENT, "variant": name, "target": target}
            trial = trial_from(answer, lengths[id_], **fields)
            reason = _why_not(name, answer, study)
            failed = {"status": Status.FAILED, "choice": None, "failure": reason}
            yield trial if reason is None else trial.model_copy(update=failed)


def _why_not(name: str, answer: StoredAnswer, study: FaithfulnessFolder) -> str | None:
    """Why an answer is none to its condition."""
    line = study.perturbed.get((answer.id, *_KEY))
    if name == Condition.CORRUPTED and line is not None and line.text is None:
        return line.failure
    told = name in (Condition.ORACLE, Condition.OTHER, Condition.CORRUPTED, Condition.CONTRADICTING)
    if told and answer.status is not Status.FAILED and not answer.content:
        return "the type step named no type, so that no content was told"
    return None
