"""One line of `answers.jsonl` and one of `items.jsonl`, as records and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lalm_agent.errors import DataError
from lalm_agent.eval.grade import Output
from lalm_agent.eval.items import Item
from lalm_agent.records import AbstentionKind, Answer, AudioType, Failure, Status, Step

Key = tuple[str, int]
"""A question's id and the number of the draw, from 0."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question of a run with the order in which its choices are shown.

    orders: for each draw a permutation: place shown -> place in the file. Empty where the file's order is shown.
    """

    item: Item
    orders: tuple[tuple[int, ...], ...] = ()

    def shown(self, draw: int) -> tuple[str, ...]:
        """The choices in the order in which a draw shows them."""
        if not self.orders:
            return self.item.choices
        return tuple(self.item.choices[place] for place in self.orders[draw])


@dataclass(frozen=True, slots=True)
class StoredStep:
    """One node's work, as `records.Step` has it, without the tool, which the spec names."""

    node: str
    prompt: str | None
    output: str | None
    seconds: float
    cached: bool
    details: dict[str, float] | None


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What a run keeps of an answer: all that cannot be computed again, nothing that the spec says already.

    status, abstention, answer, choice: as they were read when it was asked; grading reads the reply again. The kind of
        an abstention is None in runs that older versions made. The choice counts from 0 in the order of the data file,
        first of equals.
    reply, prompt: what the answering node's model wrote and was asked; None where it was not reached.
    confidence: length-normalised probability of the answer given, in [0, 1] or None.
    audio_sha256: of the clip that was heard (see `heard_clip`); None where it could not be read.
    heard_clip: the file that was heard in place of the question's own (`--audio swap`); None for its own.
    heard_s: (start, end) in seconds; None where nothing was heard. audio_s: length of the clip in seconds.
    seen: the question's own clip is among those that the adapter was trained on.
    steps: those before the answering one, which is `prompt` and `reply`.
    seconds: wall-clock time of the whole question, waiting for other threads included.
    """

    id: str
    draw: int
    status: Status
    abstention: AbstentionKind | None = field(default=None, kw_only=True)
    answer: str | None
    choice: int | None
    reply: str | None
    prompt: str | None
    audio_type: AudioType | None
    content: str | None
    confidence: float | None
    reason: str | None
    audio_sha256: str | None
    audio_s: float | None
    heard_s: tuple[float, float] | None
    heard_clip: str | None
    seen: bool
    steps: tuple[StoredStep, ...]
    warnings: tuple[str, ...]
    seconds: float
    failure: Failure | None

    @property
    def key(self) -> Key:
        """Which question and draw."""
        return self.id, self.draw

    @property
    def output(self) -> Output:
        """What is graded: the reply, none where the question failed; the sha256 is that of the clip heard."""
        reply = None if self.status is Status.FAILED else self.reply
        withheld = self.abstention is AbstentionKind.NOT_CONFIDENT
        return Output(self.id, reply, self.confidence, self.audio_type, self.audio_sha256, withheld)


@dataclass(frozen=True, slots=True)
class Heard:
    """The clip that a question is asked about: the file, and what it stands in for.

    swapped: the clip's name in the data where it is not the question's own. own_sha256: of the question's own clip
    where that is not the file heard; None where the two are one.
    """

    path: str
    swapped: str | None = None
    own_sha256: str | None = None


def stored(asked: Asked, draw: int, answer: Answer, heard: Heard, seconds: float) -> StoredAnswer:
    """What to keep of an answer. `seen` is left to whoever knows the training clips."""
    last = next((step for step in reversed(answer.steps) if step.node == "answer"), None)
    return StoredAnswer(
        id=asked.item.id,
        draw=draw,
        status=answer.status,
        abstention=answer.abstention,
        answer=answer.answer,
        choice=None if answer.choice is None else asked.item.choices.index(asked.shown(draw)[answer.choice]),
        reply=last.output if last else None,
        prompt=last.prompt if last else None,
        audio_type=answer.audio_type,
        content=answer.content,
        confidence=answer.confidence,
        reason=answer.reason,
        audio_sha256=answer.audio.sha256,
        audio_s=answer.audio.seconds,
        heard_s=answer.heard_s if last else None,
        heard_clip=heard.swapped,
        seen=False,
        steps=tuple(_stored_step(step) for step in answer.steps if step.node != "answer"),
        warnings=answer.warnings,
        seconds=round(seconds, 6),
        failure=answer.failure,
    )


def unheard(item: Item, draw: int, error: Failure, seconds: float) -> StoredAnswer:
    """A question whose clip could not be read."""
    nothing = dict.fromkeys(
        ("answer", "choice", "reply", "prompt", "audio_type", "content", "confidence", "reason", "audio_sha256")
    )
    return StoredAnswer(
        id=item.id,
        draw=draw,
        status=Status.FAILED,
        **nothing,
        audio_s=None,
        heard_s=None,
        heard_clip=None,
        seen=False,
        steps=(),
        warnings=(),
        seconds=round(seconds, 6),
        failure=error,
    )


def answer_fields(answer: StoredAnswer) -> dict[str, Any]:
    """An answer as a JSON object; a clip's length is rounded to microseconds, everything else is as it is."""
    fields = {name: getattr(answer, name) for name in StoredAnswer.__slots__}
    return {
        **fields,
        "audio_s": None if answer.audio_s is None else round(answer.audio_s, 6),
        "heard_s": None if answer.heard_s is None else list(answer.heard_s),
        "steps": [_record_fields(step) for step in answer.steps],
        "warnings": list(answer.warnings),
        "failure": None if answer.failure is None else _record_fields(answer.failure),
    }


def answer_of(fields: Mapping[str, Any], where: str) -> StoredAnswer:
    """An answer from its JSON object. Keys that are not known are passed over.

    Raises:
        DataError: a key is missing or has a value of another kind; `where` names the line.
    """
    try:
        fields = {"abstention": None, **fields}
        known = {name: fields[name] for name in StoredAnswer.__slots__}
        return StoredAnswer(
            **{
                **known,
                "status": Status(fields["status"]),
                "abstention": None if fields["abstention"] is None else AbstentionKind(fields["abstention"]),
                "audio_type": None if fields["audio_type"] is None else AudioType(fields["audio_type"]),
                "heard_s": None if fields["heard_s"] is None else _pair(fields["heard_s"]),
                "steps": tuple(_known(StoredStep, step) for step in fields["steps"]),
                "warnings": tuple(fields["warnings"]),
                "failure": None if fields["failure"] is None else _known(Failure, fields["failure"]),
            }
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where} is no answer: {type(error).__name__}: {error}", "the file is damaged") from error


def item_fields(asked: Asked) -> dict[str, Any]:
    """An item of a run as a JSON object, with the orders in which its choices are shown."""
    item = asked.item
    return {
        "id": item.id,
        "audio": item.audio,
        "question": item.question,
        "choices": list(item.choices),
        "gold": item.gold,
        "groups": [list(pair) for pair in item.groups],
        "content": item.content,
        "orders": [list(order) for order in asked.orders],
    }


def item_of(fields: Mapping[str, Any], where: str) -> Asked:
    """An item of a run from its JSON object.

    Raises:
        DataError: a key is missing or has a value of another kind; `where` names the line.
    """
    try:
        item = Item(
            id=fields["id"],
            audio=fields["audio"],
            question=fields["question"],
            choices=tuple(fields["choices"]),
            gold=fields["gold"],
            groups=tuple((name, value) for name, value in fields["groups"]),
            content=fields["content"],
        )
        return Asked(item, tuple(tuple(order) for order in fields["orders"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where} is no item: {type(error).__name__}: {error}", "the file is damaged") from error


def _stored_step(step: Step) -> StoredStep:
    return StoredStep(step.node, step.prompt, step.output, step.seconds, step.cached, step.details)


def _record_fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in type(record).__slots__}


def _known(record: type[Any], fields: Mapping[str, Any]) -> Any:
    return record(**{name: fields[name] for name in record.__slots__ if name in fields})


def _pair(values: Sequence[float]) -> tuple[float, float]:
    start, end = values
    return float(start), float(end)
