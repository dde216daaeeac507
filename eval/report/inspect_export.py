"""A run as a log of inspect (UK AISI), which `inspect view` shows and `eval.reading.inspect_log` reads again.

A question becomes a sample: prompt and reply of the answering step are its messages, each step is an event, and the
grade of the `rule` scorer is its score: C correct, N abstained, I wrong, unparsed or failed. Questions outside N, which
have no right answer, have no score; those on clips that an adapter was trained on are left out.

inspect has no public way to write samples one after the other: its own recorder does, with some in memory at a time.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.grade import OUTCOMES, Outcome
from lalm_agent.eval.report.show import ShownQuestion, questions_of_run
from lalm_agent.eval.runs.folder import read_questions
from lalm_agent.eval.runs.records import RunSpec, StoredAnswer, StoredStep
from lalm_agent.jobs import run_async
from lalm_agent.records import AbstentionKind
from lalm_agent.registry import require_extra

SCORER = "rule"
_VALUES = {Outcome.CORRECT: "C", Outcome.ABSTAINED: "N"}
_IN_MEMORY = 250
"""So many samples are kept until they are written."""
_KEPT = ("abstention", "reason", "reason_kind", "suggestion", "audio_type", "content", "heard_s", "heard_clip", "raw")


def write_inspect_log(
    run: Path, out: Path, draw: int = 0, force: bool = False, tell: Callable[[str], None] = lambda text: None
) -> None:
    """Write one draw of a run as an `.eval` file, whole or not at all. A run that still goes on is cancelled in it.

    tell: told of questions that are left out, and of draws that are not written.

    Raises:
        UsageError: the extra `inspect` is not installed or writes in another way; the file is there, and not `force`.
        DataError: no run, a damaged one, or one without such a draw; the file cannot be written.
    """
    require_extra("inspect")
    if out.suffix != ".eval":
        raise UsageError(f"{out} is no name of a log of inspect", "end it in .eval")
    if out.exists() and not force:
        raise UsageError(f"{out} is there already", "--force replaces it")
    spec, items = read_questions(run, draw)
    if spec.identity.draws > 1:
        tell(f"draw {draw} of {spec.identity.draws} is written")
    beside = out.with_name(f"{out.stem}.{os.getpid()}.eval")
    try:
        seen = run_async(_write(run, draw, spec, len(items), beside))
        beside.replace(out)
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error.strerror}", "name another file") from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
    if seen:
        tell(f"{seen} questions are left out: the adapter was trained on their clips")


async def _write(run: Path, draw: int, spec: RunSpec, n: int, path: Path) -> int:
    """Write the log; how many questions were left out."""
    from inspect_ai.log import EvalPlan, EvalStats

    try:
        from inspect_ai.log._recorders.eval import EvalRecorder
    except ImportError:
        raise UsageError("this inspect_ai has another recorder", "pip install inspect_ai==0.3.285") from None
    header, counts, seconds = _header(spec, draw, n), Counter[str](), 0.0
    recorder = EvalRecorder(str(path.parent))
    await recorder.log_init(header, str(path.resolve()))
    await recorder.log_start(header, EvalPlan(name=str(spec.identity.method)))
    for number, question in enumerate(questions_of_run(run, draw), 1):
        counts[question.status] += 1
        counts["without an answer"] += question.answer is None
        seconds += 0 if question.answer is None else question.answer.seconds
        if question.status != "excluded":
            await recorder.log_sample(header, _sample(question, spec))
        if number % _IN_MEMORY == 0:
            await recorder.flush(header)
    status: Any = "cancelled" if counts["without an answer"] else "success"
    # A run knows when its calls began, not when they ended: what is shown as its duration is that of all questions.
    end = (datetime.fromisoformat(spec.created) + timedelta(seconds=seconds)).isoformat()
    stats = EvalStats(started_at=spec.created, completed_at=end)
    await recorder.log_finish(header, status, stats, _results(counts), None, header_only=True)
    return counts["excluded"]


def _header(spec: RunSpec, draw: int, n: int) -> Any:
    from inspect_ai.log import EvalConfig, EvalDataset, EvalSpec
    from inspect_ai.model import GenerateConfig

    identity = spec.identity
    decoding = GenerateConfig(max_tokens=identity.max_new_tokens, temperature=identity.temperature, seed=identity.seed)
    return EvalSpec(
        eval_id=spec.run_id,
        run_id=spec.run_id,
        task_id=spec.run_id,
        created=spec.created,
        task=identity.data.name,
        solver=f"lalm-agent {identity.method}",
        dataset=EvalDataset(name=spec.data_version or identity.data.name, samples=n, shuffled=identity.shuffle_choices),
        model=f"{identity.model}@{identity.revision}" if identity.revision else identity.model,
        model_generate_config=decoding,
        config=EvalConfig(limit=spec.selection.limit, epochs=1),
        packages=dict(spec.sessions[-1].versions) if spec.sessions else {},
        metadata={**identity.model_dump(mode="json"), "draw": draw},
    )


def _sample(question: ShownQuestion, spec: RunSpec) -> Any:
    """The sample of a question. What the reader of such logs takes from its metadata has the keys of that reader."""
    from inspect_ai.log import EvalError, EvalSample
    from inspect_ai.model import ChatMessageAssistant, ChatMessageUser, ModelOutput

    item, answer, model = question.item, question.answer, spec.identity.model
    failure = "not asked yet" if answer is None else answer.failure and answer.failure.message
    reply = None if answer is None else answer.output.text
    messages: list[Any] = []
    if answer is not None and answer.prompt is not None:
        messages = [ChatMessageUser(content=answer.prompt)]
    if reply is not None:
        messages.append(ChatMessageAssistant(content=reply, model=model, source="generate"))
    return EvalSample(
        id=item.id,
        epoch=1,
        input=item.question,
        choices=list(item.choices) or None,
        target=item.gold if item.gold is not None else [],
        messages=messages,
        output=ModelOutput(model=model) if reply is None else ModelOutput.from_content(model, reply),
        scores={SCORER: _score(question)} if question.item.answerable else None,
        metadata=_metadata(question, spec),
        events=[] if answer is None else list(_events(answer, spec)),
        total_time=None if answer is None else answer.seconds,
        error=None if reply is not None else EvalError(message=failure or "no reply", traceback="", traceback_ansi=""),
    )


def _score(question: ShownQuestion) -> Any:
    from inspect_ai.scorer import Score

    grade = question.grade
    kind = "" if grade.abstention is None else f", {grade.abstention.words}"
    said = f"{grade.outcome}{kind}; read by the rule {grade.rule}"
    return Score(value=_VALUES.get(grade.outcome, "I"), answer=grade.chosen, explanation=said)


def _metadata(question: ShownQuestion, spec: RunSpec) -> dict[str, Any]:
    item, answer = question.item, question.answer
    fields: dict[str, Any] = dict(item.groups) | {"audio": item.audio, "question": item.question}
    fields |= {"more_audio": list(item.more_audio)} if item.more_audio else {}
    fields |= {} if item.answerable else {"answerable": False}
    if answer is None:
        return fields
    known = {name: value for name in _KEPT if (value := getattr(answer, name)) is not None}
    fields |= known | {"confidence": answer.confidence, "warnings": list(answer.warnings)}
    # A blind control's clip is no name for the question's own.
    fields |= {"audio_sha256": answer.audio_sha256} if spec.identity.audio == "real" else {}
    if answer.abstention is AbstentionKind.NOT_CONFIDENT:
        fields |= {"withheld": True, "withheld_answer": answer.withheld}
    # In the file's order, as the run has them.
    return fields | ({"option_probs": list(answer.option_probs)} if answer.option_probs else {})


def _events(answer: StoredAnswer, spec: RunSpec) -> Iterator[Any]:
    """Each step as an event; the answering one last but for a policy's, which comes behind it."""
    from inspect_ai.event import InfoEvent

    answering = StoredStep("answer", answer.prompt, answer.reply, answer.seconds, False, None)
    before = [step for step in answer.steps if step.node != "policy"]
    after = [step for step in answer.steps if step.node == "policy"]
    for step in (*before, answering, *after):
        tool = spec.identity.tools.get("answer" if step.node == "first" else step.node)
        data: dict[str, Any] = {"tool": tool, "prompt": step.prompt, "output": step.output, "details": step.details}
        # The time of the answering step is within that of the whole question.
        if step is not answering:
            data |= {"seconds": step.seconds, "cached": step.cached}
        yield InfoEvent(source=step.node, data=data)


def _results(counts: Counter[str]) -> Any:
    """As `score` counts, of the questions with a right answer."""
    from inspect_ai.log import EvalMetric, EvalResults, EvalScore

    by_outcome = {str(outcome): counts[outcome] for outcome in OUTCOMES}
    n = sum(by_outcome.values())
    values: dict[str, float] = {"accuracy": by_outcome["correct"] / n} if n else {}
    metrics = {name: EvalMetric(name=name, value=value) for name, value in (values | by_outcome).items()}
    logged = n + counts["unanswerable"]
    score = EvalScore(name=SCORER, scorer=SCORER, scored_samples=n, unscored_samples=logged - n, metrics=metrics)
    completed = logged - by_outcome["failed"]
    return EvalResults(total_samples=logged, completed_samples=completed, scores=[score])
