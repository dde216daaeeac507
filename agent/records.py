"""The frozen records that pass between stages. None of them holds a gold answer or a waveform."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from html import escape
from typing import Any

from lalm_agent.errors import DataError, UsageError
from lalm_agent.terminal import printable


class AudioType(StrEnum):
    """The three modalities of the paper (P1 section 3)."""

    SOUND = "sound"
    MUSIC = "music"
    SPEECH = "speech"


class Method(StrEnum):
    """The ways of asking (P1 section 3). `lora` asks as the baseline does, of a model with an adapter."""

    BASELINE = "baseline"
    IDK = "idk"
    MCOT = "mcot"
    AGENT = "agent"
    LORA = "lora"


class Status(StrEnum):
    """How an answer ended. Whether it is right is not known here: see the grade in `eval`."""

    ANSWERED = "answered"
    ABSTAINED = "abstained"
    UNPARSED = "unparsed"
    FAILED = "failed"


class AbstentionKind(StrEnum):
    """Why a reply that abstains does so.

    does_not_know: it says that it does not know, or that the question cannot be decided.
    cannot_hear: it says that the audio is missing, silent, unusable or beyond what it can take.
    declines: it will not answer, for a policy or another reason.
    not_confident: the model answered, and a policy held the answer back. No parser says this one.
    """

    DOES_NOT_KNOW = "does_not_know"
    CANNOT_HEAR = "cannot_hear"
    DECLINES = "declines"
    NOT_CONFIDENT = "not_confident"

    @property
    def words(self) -> str:
        """The kind for a person, such as `cannot hear`."""
        return self.value.replace("_", " ")


class ReasonKind(StrEnum):
    """What an abstention is put down to: the most telling evidence that was at hand, never a guess.

    model_declines: the model will not answer. silent_clip: the clip's peak is below -60 dBFS.
    inaudible: the model says that it cannot hear, or was asked without the clip.
    outside_window: the model heard only a part of the clip. not_in_clip: the reply says that the clip does not hold it.
    transcript_unsure: the ASR's own figures are beyond the limits at which it drops text.
    type_unclear: the type step named no single type. choices_close: the two likeliest choices are close.
    not_confident: a policy held the answer back.
    """

    MODEL_DECLINES = "model_declines"
    SILENT_CLIP = "silent_clip"
    INAUDIBLE = "inaudible"
    OUTSIDE_WINDOW = "outside_window"
    NOT_IN_CLIP = "not_in_clip"
    TRANSCRIPT_UNSURE = "transcript_unsure"
    TYPE_UNCLEAR = "type_unclear"
    CHOICES_CLOSE = "choices_close"
    NOT_CONFIDENT = "not_confident"

    @property
    def words(self) -> str:
        """The kind for a person, such as `outside window`."""
        return self.value.replace("_", " ")


@dataclass(frozen=True, slots=True)
class AudioRef:
    """A decoded clip by name: where it is, what it is, never its samples.

    sha256: over the decoded samples at their native rate, before mixing (rate, channels, float32 little-endian).
    seconds: duration in seconds; rate: native sampling rate in Hz.
    """

    path: str
    sha256: str
    seconds: float
    rate: int
    channels: int


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about a clip. `choices` is empty for an open question.

    id: names the question for the sampling noise and for whoever collects answers.
    draw: which of several sampled answers is asked for, from 0; greedy answers are the same for each.
    window_s: (start, end) in seconds of the part that is asked about; None for the whole clip.
    more_audio: further clips that the question is about, in the order in which it names them; none for most.
    """

    text: str
    audio: AudioRef
    choices: tuple[str, ...] = ()
    id: str = ""
    draw: int = 0
    window_s: tuple[float, float] | None = None
    more_audio: tuple[AudioRef, ...] = ()

    @property
    def audios(self) -> tuple[AudioRef, ...]:
        """All clips, in the order in which the question names them."""
        return (self.audio, *self.more_audio)

    @property
    def part_s(self) -> tuple[float, float]:
        """(start, end) in seconds of what is asked about; several clips count as one after the other."""
        return self.window_s or (0.0, sum(ref.seconds for ref in self.audios))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the parser made of a reply: never `failed`, which only a graph can say.

    choice: index of the first choice equal to the chosen text, or None.
    text: the chosen text, the open answer, or None where there is none.
    rule: the name of the parser rule that decided.
    kind: why it abstains; None unless it does.
    """

    status: Status
    rule: str
    choice: int | None = None
    text: str | None = None
    kind: AbstentionKind | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One node's work, as the trace shows it. `seconds` is wall-clock time.

    cached: the output was kept from an earlier question about the same clip.
    details: figures of the tool's own, such as an ASR's `avg_logprob`; all finite. None where it gives none.
    raw: the reply as the model wrote it, with its hidden reasoning; None where that is `output`.
    responder: the name by which an endpoint calls the model that replied; None where there is none.
    """

    node: str
    tool: str
    prompt: str | None
    output: str | None
    seconds: float
    cached: bool = False
    details: dict[str, float] | None = None
    raw: str | None = None
    responder: str | None = None


ANSWERING = ("first", "answer")
"""The nodes whose reply may be the answer: an adaptive agent's first try, and the answering step."""
OnStep = Callable[[Step], None]
"""What is called as each node ends."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which weights answered. `weights_sha256` is None where the weights cannot be seen.

    adapter_sha256: over the configuration and the weights of the PEFT adapter on top; None without one.
    """

    ref: str
    revision: str | None = None
    weights_sha256: str | None = None
    adapter_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a graph ended as `failed`: where, the error's two lines, and the exit code that belongs to it.

    kind: the name of the error's class, such as `TransientBackendError`; None in states that older versions wrote.
    """

    node: str
    message: str
    hint: str | None
    exit_code: int
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What an agent says about a question, with the evidence for it (CONTRACT: `ask --json`).

    abstention: why it abstains; None unless it does.
    confidence: length-normalised probability of the answer given, softmax over the choices; in [0, 1] or None.
    option_probs: (distinct choice, probability) pairs in the order of the choices, which sum to 1; none where they are
        not known.
    reason: what was said and seen, where it abstains: evidence, and no cause. reason_kind: the most telling of it; None
        where nothing but the refusal was seen. suggestion: what to ask next; None where the evidence suggests nothing.
    withheld: the answer that a policy held back.
    heard_s: (start, end) in seconds of what the answering model heard; several clips count as one after the other.
    more_audio: further clips that the question was about.
    """

    status: Status
    abstention: AbstentionKind | None = field(default=None, kw_only=True)
    answer: str | None
    choice: int | None
    audio_type: AudioType | None
    content: str | None
    confidence: float | None
    option_probs: tuple[tuple[str, float], ...] = field(default=(), kw_only=True)
    reason: str | None
    reason_kind: ReasonKind | None = field(default=None, kw_only=True)
    suggestion: str | None = field(default=None, kw_only=True)
    withheld: str | None = field(default=None, kw_only=True)
    heard_s: tuple[float, float]
    audio: AudioRef
    more_audio: tuple[AudioRef, ...] = field(default=(), kw_only=True)
    method: Method
    tools: dict[str, str]
    model: ModelInfo
    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    failure: Failure | None = None

    def _repr_html_(self) -> str:
        """The answer in a notebook: choices with bars, the steps to fold out. Texts of strangers stay texts."""
        label = {Status.ANSWERED: self.answer or "", Status.ABSTAINED: "IDK"}.get(
            self.status, self.status.value.upper()
        )
        facts: list[str | None] = [
            self.status.value,
            self.abstention and self.abstention.words,
            self.reason,
            self.suggestion,
        ]
        facts += [None if self.confidence is None else f"confidence {self.confidence:.2f}", *self.warnings]
        facts.append(self.failure.message if self.failure else None)
        parts = [f"<div><b>{_html(label)}</b> <small>{_html('; '.join(filter(None, facts)))}</small></div>"]
        bars = "".join(
            f"<tr><td>{_html(choice, 80)}</td><td style='width:12em'><div style='width:{probability:.1%};"
            f"height:.8em;background:#4c78a8'></div></td><td>{probability:.0%}</td></tr>"
            for choice, probability in self.option_probs
        )
        parts.append(f"<table>{bars}</table>" if bars else "")
        steps = "".join(
            f"<li>{_html(step.node)} ({_html(step.tool, 80)}, {step.seconds:.2f} s)"
            f"<pre>{_html(step.prompt or '')}</pre><pre>{_html(step.output or '')}</pre></li>"
            for step in self.steps
        )
        parts.append(f"<details><summary>{len(self.steps)} steps</summary><ol>{steps}</ol></details>" if steps else "")
        return "".join(parts)


def _html(text: str, longest: int = 2000) -> str:
    """The start of a text, of so many characters, as HTML that is nothing but text."""
    return escape(printable(text if len(text) <= longest else text[: longest - 1] + "…"))


def check_question(question: str, choices: tuple[str, ...], empty_choices: bool = False) -> None:
    """Refuse what cannot be asked, before anything is loaded.

    empty_choices: let empty choices pass, which benchmarks have; no prompt shows one.

    Raises:
        UsageError: an empty question, a single choice or an empty one, a text that no tokenizer takes.
    """
    # What is no UTF-8 in an argument or on stdin comes as lone surrogates. A benchmark's question fails in the model.
    if not empty_choices and any("\ud800" <= character <= "\udfff" for character in "".join((question, *choices))):
        raise UsageError("the question is no text in UTF-8", "write it in UTF-8")
    if not question.strip():
        raise UsageError("the question is empty", "ask something about the clip")
    if len(choices) == 1:
        raise UsageError("one choice leaves nothing to choose", "give at least two choices, or none")
    if not all(choice.strip() for choice in choices) and not empty_choices:
        raise UsageError("a choice is empty", "give each --choice a text")


def question_row(line: bytes) -> dict[str, Any]:
    """A line of a batch: JSON with `audio`, `question` and `choices`, which may be left out; equal ones once.

    Raises DataError: it is none.
    """
    hint = 'a line is {"audio": "clip.wav", "question": "Which animal?", "choices": ["dog", "cat"]}'
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError("not JSON", hint) from error
    if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("audio", "question")):
        raise DataError("no audio and question, each a text", hint)
    choices = row.get("choices") or []
    if not isinstance(choices, list) or not all(isinstance(text, str) for text in choices):
        raise DataError("the choices are no list of texts", hint)
    return {**row, "choices": tuple(dict.fromkeys(choices))}
