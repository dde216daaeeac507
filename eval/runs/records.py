"""What a run folder holds, as records: what the run is, its questions, its answers; and their JSON.

`spec.json` says what the run is: its identity, which decides the answers, and what is recorded and free to change. The
run's id is a hash of the identity, and a run is resumed only where the identity is the same, field by field. The
number of draws is the exception: like the limit it says how much is asked, not what, and may grow.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError

from lalm_agent.artefacts import Invocation, Record, read_record
from lalm_agent.errors import DataError, first_complaint
from lalm_agent.eval.grade import Output
from lalm_agent.eval.items import Item
from lalm_agent.policy import SystemIdentity
from lalm_agent.records import ANSWERING, AbstentionKind, Answer, AudioType, Failure, ReasonKind, Status, Step

SCHEMA = 1
"""Version of the run folder's files. A reader refuses a newer one."""
Key = tuple[str, int]
"""A question's id and the number of the draw, from 0."""


class AudioControl(StrEnum):
    """What the model hears: the questions' own clips, silence, or the clips of other questions."""

    REAL = "real"
    SILENCE = "silence"
    SWAP = "swap"


class TypeSource(StrEnum):
    """Where an agent's audio type comes from: the model, or the data."""

    MODEL = "model"
    ORACLE = "oracle"


class ContentSource(StrEnum):
    """Where an agent's content comes from: the model, the data, nowhere, or another clip of the data."""

    MODEL = "model"
    ORACLE = "oracle"
    NONE = "none"
    OTHER = "other"


class DataIdentity(Record):
    """Which questions: `sha256` is over the bytes of the data files."""

    name: str
    sha256: str


class RunIdentity(SystemIdentity):
    """What decides the answers of a run: the system that is asked, the seed, and what it is asked.

    modality: the values of the groups `modality` that are asked, sorted; empty for all.
    type_source, content_source: `model`, or what replaces the node's own work.
    draws: how often each question has been asked for at most; no part of the run's id, and free to grow.
    policy: sha256 of the policy that held answers back; None without one.
    """

    free: ClassVar[frozenset[str]] = frozenset({"draws"})
    later: ClassVar[frozenset[str]] = SystemIdentity.later | {"policy"}
    when_loaded: ClassVar[frozenset[str]] = frozenset({"revision", "weights_sha256", "adapter_sha256", "dtype"})

    seed: int
    draws: int
    data: DataIdentity
    modality: tuple[str, ...]
    shuffle_choices: bool
    audio: AudioControl
    type_source: TypeSource
    content_source: ContentSource
    policy: str | None = None

    @property
    def system(self) -> SystemIdentity:
        """What is asked, but for the questions and the seed."""
        return SystemIdentity(**{name: getattr(self, name) for name in SystemIdentity.model_fields})

    @property
    def without_sound(self) -> bool:
        """Whether the model was asked with silence or without the clip on purpose."""
        return self.audio == "silence" or not self.hears_audio

    @property
    def run_id(self) -> str:
        """What the run is called: see `Identity.short_hash`."""
        return self.short_hash


class Session(Invocation):
    """One call of `eval` that worked on the run.

    audio_root: the folder that clips were named from, as an absolute path; None where it was not recorded.
    """

    device: str
    batch_size: int
    concurrency: int
    audio_root: str | None = None


class Selection(Record):
    """Which of the data's questions are in the run.

    limit: the first so many by `plan.order_key`; None for all. missing: ids of questions left out because their clip
    is not there. faulty: rows of the data files that could not be used. several_clips: questions about more than one
    clip that were left out. shard: which part of these, as `2/4`; None for all of them.
    """

    limit: int | None
    asked: int
    missing: tuple[str, ...] = ()
    faulty: int = 0
    several_clips: int = 0
    shard: str | None = None


class RunSpec(Record):
    """`spec.json`.

    data_version: what the data files are known as by their sha256, in words; None for files that nobody knows.
    sessions: one entry for each call that asked something, the first being the run's making.
    items_sha256: of `items.jsonl`, so that a changed question or gold answer shows; two while a run grows, none in runs
        that older versions made.
    """

    schema_version: int = Field(default=SCHEMA, alias="schema")
    run_id: str
    created: str
    identity: RunIdentity
    data_version: str | None
    selection: Selection
    sessions: tuple[Session, ...]
    items_sha256: tuple[str, ...] = ()


def read_spec(path: Path) -> RunSpec:
    """Read `spec.json`. Raises DataError where it is not there, not of this form, or of a newer version."""
    return read_record(path, RunSpec, "give the folder of a run; its files are not to be changed by hand")


@dataclass(frozen=True, slots=True)
class RunItem:
    """A question of a run with the order in which its choices are shown.

    orders: for each draw a permutation: place shown -> place in the file. Empty where the file's order is shown.
    """

    item: Item
    orders: tuple[tuple[int, ...], ...] = ()

    def shown(self, draw: int) -> tuple[str, ...]:
        """The choices in the order in which a draw shows them."""
        return tuple(self.item.choices[place] for place in self.orders[draw]) if self.orders else self.item.choices


@dataclass(frozen=True, slots=True)
class QuestionDraw:
    """A question to ask once: draw `draw`, from 0, of its draws."""

    run_item: RunItem
    draw: int

    @property
    def key(self) -> Key:
        """Which question and draw."""
        return self.run_item.item.id, self.draw


@dataclass(frozen=True, slots=True)
class ClipFile:
    """The file that the model hears for a question.

    more: the files of further clips of the question.
    swapped: the clip's name in the data where it is not the question's own. own_sha256, own_mix_sha256: of the
    question's own clip, and of its mono mix (see `audio.Mixing`), where that is not this file; None where it is.
    """

    path: str
    swapped: str | None = None
    own_sha256: str | None = None
    own_mix_sha256: str | None = None
    more: tuple[str, ...] = ()

    @property
    def clips(self) -> str | list[str]:
        """What `Ask` takes: the file, or all where there are several."""
        return [self.path, *self.more] if self.more else self.path


@dataclass(frozen=True, slots=True)
class StoredStep:
    """One node's work, as `records.Step` has it, without the tool, which the spec names."""

    node: str
    prompt: str | None
    output: str | None
    seconds: FiniteFloat
    cached: bool
    details: dict[str, int | FiniteFloat] | None
    raw: str | None = None
    responder: str | None = None


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What a run keeps of an answer: all that cannot be computed again, nothing that the spec says already.

    status, abstention, answer, choice: as they were read when it was asked; grading reads the reply again. The kind of
        an abstention is None in runs that older versions made. The choice counts from 0 in the order of the data file,
        first of equals.
    reply, prompt: what the answering node's model wrote and was asked; None where it was not reached.
    confidence: length-normalised probability of the answer, in [0, 1] or None.
    option_probs: the same of each choice, in the order of the data file; None where it is not known.
    audio_sha256: of the clip that the model heard (see `heard_clip`); None where it could not be read.
    more_audio_sha256: of the question's further clips; not in the file where there are none.
    heard_clip: the file that was heard in place of the question's own (`--audio swap`); None for its own.
    heard_s: (start, end) in seconds; None where nothing was heard. audio_s: length of the clip in seconds, of several
        clips their sum; audio_sha256 is that of the first.
    seen: the question's own clip is among those that the adapter was trained on.
    steps: all but the answering one, which is `prompt` and `reply`.
    raw: the reply with its hidden reasoning, where it had some. responder: the name by which the endpoint calls the
        model that replied. reason_kind, suggestion, withheld: as in `records.Answer`. None of these is in what older
        versions wrote, nor are `option_probs`.
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
    confidence: FiniteFloat | None
    reason: str | None
    audio_sha256: str | None
    audio_s: FiniteFloat | None
    heard_s: tuple[FiniteFloat, FiniteFloat] | None
    heard_clip: str | None
    seen: bool
    steps: tuple[StoredStep, ...]
    warnings: tuple[str, ...]
    seconds: FiniteFloat
    failure: Failure | None
    raw: str | None = None
    responder: str | None = None
    reason_kind: ReasonKind | None = None
    suggestion: str | None = None
    withheld: str | None = None
    option_probs: tuple[FiniteFloat | None, ...] | None = None
    more_audio_sha256: tuple[str, ...] = ()

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


_ANSWER, _ITEM = TypeAdapter(StoredAnswer), TypeAdapter(Item)
_ORDERS = TypeAdapter(tuple[tuple[int, ...], ...])
_AS_ANSWERED = (
    "status abstention answer audio_type content confidence reason reason_kind suggestion withheld warnings failure"
).split()
Parsed = TypeVar("Parsed")


def stored(run_item: RunItem, draw: int, answer: Answer, clip: ClipFile, seconds: float) -> StoredAnswer:
    """What to keep of an answer. `seen` is left to whoever knows the training clips.

    Raises DataError where a value could not be read again from the file, such as a NaN among a tool's details.
    """
    unreached = Step("answer", "", None, None, 0.0)
    last = next((step for step in reversed(answer.steps) if step.node in ANSWERING), unreached)
    step_fields = [field.name for field in fields(StoredStep)]
    probability = dict(answer.option_probs)
    kept = StoredAnswer(
        **{name: getattr(answer, name) for name in _AS_ANSWERED},
        id=run_item.item.id,
        draw=draw,
        choice=None if answer.choice is None else run_item.item.choices.index(run_item.shown(draw)[answer.choice]),
        reply=last.output,
        prompt=last.prompt,
        raw=last.raw,
        responder=last.responder,
        option_probs=tuple(probability.get(choice) for choice in run_item.item.choices) if probability else None,
        audio_sha256=answer.audio.sha256,
        more_audio_sha256=tuple(ref.sha256 for ref in answer.more_audio),
        audio_s=sum(ref.seconds for ref in (answer.audio, *answer.more_audio)),
        heard_s=None if last is unreached else answer.heard_s,
        heard_clip=clip.swapped,
        seen=False,
        steps=tuple(
            StoredStep(**{name: getattr(step, name) for name in step_fields})
            for step in answer.steps
            if step is not last
        ),
        seconds=round(seconds, 6),
    )
    _parsed(_ANSWER, answer_fields(kept), f"what came of question {kept.id!r} cannot be kept", "mend the tool or model")
    return kept


def failed_answer(item: Item, draw: int, failure: Failure, seconds: float) -> StoredAnswer:
    """What is kept of a question of whose answer there is nothing else to keep."""
    values: dict[str, Any] = {field.name: None for field in fields(StoredAnswer)}
    values |= {"id": item.id, "draw": draw, "status": Status.FAILED, "failure": failure, "seconds": round(seconds, 6)}
    return StoredAnswer(**{**values, "seen": False, "steps": (), "warnings": (), "more_audio_sha256": ()})


def answer_fields(answer: StoredAnswer) -> dict[str, Any]:
    """An answer as a JSON object; a clip's length is rounded to microseconds, everything else is as it is."""
    values = {**asdict(answer), "audio_s": None if answer.audio_s is None else round(answer.audio_s, 6)}
    if not answer.more_audio_sha256:
        del values["more_audio_sha256"]
    return values


def answer_of(fields: Mapping[str, Any], where: str) -> StoredAnswer:
    """An answer from its JSON object; keys that are not known are passed over.

    Raises DataError where a key is missing or has a value of another kind; `where` names the line.
    """
    return _parsed(_ANSWER, fields, f"{where} is no answer")


def item_fields(item: Item) -> dict[str, Any]:
    """A question as a JSON object; what only some benchmarks have is left out where there is none, as in older runs."""
    optional = ("more_audio", "constraint")
    return {name: value for name, value in asdict(item).items() if value or name not in optional}


def item_of(fields: Mapping[str, Any], where: str) -> RunItem:
    """A question of a run from its JSON object. Raises as `answer_of`."""
    what = f"{where} is no item"
    return RunItem(_parsed(_ITEM, fields, what), _parsed(_ORDERS, fields.get("orders"), f"{what}: orders"))


def _parsed(form: TypeAdapter[Parsed], fields: Any, what: str, hint: str = "the file is damaged") -> Parsed:
    try:
        return form.validate_python(fields)
    except ValidationError as error:
        where, reason = first_complaint(error)
        raise DataError(": ".join([what, *where, reason]), hint) from error
