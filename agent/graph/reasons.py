"""Why an answer is withheld, what to ask next, and what a chat asks back: evidence in, words out.

Nothing here is guessed. A kind stands only where its evidence is there, and the first of them in the order of
`ReasonKind` is the reason; a policy's refusal is always its own reason, and the evidence beside it gives the advice.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lalm_agent.choices import fold, plain_text
from lalm_agent.records import AbstentionKind, AudioType, ReasonKind
from lalm_agent.refusals import says_not_in_clip

_SILENT_DBFS = -60.0
_CLOSE_MARGIN = 0.15
_LOGPROB_LIMIT, _NO_SPEECH_LIMIT = -1.0, 0.6
"""Beyond these Whisper's own `transcribe` takes a window for badly decoded, or for silent (its defaults)."""
_SAID = {
    AbstentionKind.DOES_NOT_KNOW: "the model said that it does not know",
    AbstentionKind.CANNOT_HEAR: "the model said that the audio is missing, silent or out of its reach",
    AbstentionKind.DECLINES: "the model declined to answer",
    AbstentionKind.NOT_CONFIDENT: "the model answered, and the policy held the answer back",
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an abstention can be explained by.

    peak_dbfs: loudest sample of what was to be heard relative to full scale, in dB; minus infinity for digital silence.
    heard_s: (start, end) of what the answering model heard; asked_s: of what the question is about; both in seconds.
    option_probs: (choice, probability) pairs, None where they are not known.
    sought_content: whether the method has a type and a content step at all.
    reply: what the model wrote. choices: of the question. transcript_figures: the ASR's, see `tools.asr_confidence`.
    confidence, threshold: of a policy; None where there is none, or it is not known.
    """

    audio_type: AudioType | None
    content: str | None
    sought_content: bool
    peak_dbfs: float
    heard_s: tuple[float, float]
    asked_s: tuple[float, float]
    option_probs: tuple[tuple[str, float], ...] | None
    reply: str = ""
    choices: tuple[str, ...] = ()
    transcript_figures: Mapping[str, float] | None = None
    confidence: float | None = None
    threshold: float | None = None

    @property
    def heard_seconds(self) -> float:
        """How much the answering model heard."""
        return self.heard_s[1] - self.heard_s[0]

    @property
    def asked_seconds(self) -> float:
        """How much there is to be heard."""
        return self.asked_s[1] - self.asked_s[0]

    @property
    def close(self) -> tuple[tuple[str, float], ...]:
        """The two likeliest choices with their probabilities where these are close, else nothing."""
        likeliest = sorted(self.option_probs or (), key=lambda pair: -pair[1])[:2]
        is_close = len(likeliest) == 2 and likeliest[0][1] - likeliest[1][1] < _CLOSE_MARGIN
        return tuple(likeliest) if is_close else ()


def abstention_reason(kind: AbstentionKind, evidence: Evidence) -> str:
    """What was said, then what was seen beside it, most telling first: evidence only, and never a cause."""
    notes = [_SAID[kind], *_notes_on_policy(kind, evidence), *_notes_on_level(kind, evidence.peak_dbfs)]
    if evidence.sought_content and evidence.audio_type is None:
        notes.append("the type step named no single one of sound, music and speech")
    elif evidence.sought_content:
        content = "transcript" if evidence.audio_type is AudioType.SPEECH else "caption"
        notes.append(f"the type step said {evidence.audio_type}")
        notes.append(f"a {content} was at hand" if evidence.content else f"the {content} came out empty")
    if evidence.heard_seconds < evidence.asked_seconds:
        notes.append(f"the answer step was given {evidence.heard_seconds:.1f} s of {evidence.asked_seconds:.1f} s")
    if evidence.close:
        shares = ", ".join(f"{choice} {probability:.0%}" for choice, probability in evidence.close)
        notes.append(f"the likeliest choices are close: {shares}")
    return "; ".join(notes)


def _notes_on_policy(kind: AbstentionKind, evidence: Evidence) -> list[str]:
    if kind is not AbstentionKind.NOT_CONFIDENT:
        return []
    if evidence.threshold is None:
        return ["it holds every answer of this kind back"]
    confidence = "unknown" if evidence.confidence is None else f"{evidence.confidence:.3f}"
    return [f"the confidence is {confidence}, and {evidence.threshold:.3f} is asked for"]


def _notes_on_level(kind: AbstentionKind, peak_dbfs: float) -> list[str]:
    """A quiet clip is always told; beside a claim about the audio the level is, whatever it is."""
    if peak_dbfs == float("-inf"):
        return ["every sample of the clip is zero: it is silent"]
    if peak_dbfs < _SILENT_DBFS:
        return [f"the clip is nearly silent, its peak is {peak_dbfs:.0f} dBFS"]
    return [f"the clip's peak is {peak_dbfs:.0f} dBFS"] if kind is AbstentionKind.CANNOT_HEAR else []


def reason_kind(kind: AbstentionKind, evidence: Evidence) -> ReasonKind | None:
    """What the abstention is put down to; None where nothing but the refusal was seen."""
    if kind is AbstentionKind.NOT_CONFIDENT:
        return ReasonKind.NOT_CONFIDENT
    return next(iter(_evident(kind, evidence)), None)


def suggestion(kind: AbstentionKind, evidence: Evidence) -> str | None:
    """What to do next, in figures of this very question; None where the evidence suggests nothing."""
    first = next(iter(_evident(kind, evidence)), None)
    if first is not None:
        return _advice(first, evidence)
    if not evidence.choices:
        return "give choices"
    if kind is AbstentionKind.NOT_CONFIDENT:
        return "leave out the choices that you can rule out"
    return None


@dataclass(frozen=True, slots=True)
class BackQuestion:
    """What a chat asks back. about: the evidence that it follows from; None where there is none but the refusal.

    close: the two close choices that it is about.
    """

    text: str
    about: ReasonKind | None = None
    close: tuple[str, ...] = ()


def question_back(kind: AbstentionKind, evidence: Evidence) -> BackQuestion:
    """The one question that a chat puts to its user. `clarify.read_reply` takes what is said to it."""
    first = next(iter(_evident(kind, evidence)), None)
    if first is not None:
        close = tuple(choice for choice, _ in evidence.close) if first is ReasonKind.CHOICES_CLOSE else ()
        return BackQuestion(_back(first, evidence), first, close)
    if not evidence.choices:
        return BackQuestion("Which answers are possible? Name two or more, with | between them.")
    return BackQuestion("Which of the choices can it be? Name two or more, with | between them, or say what you know.")


def _evident(kind: AbstentionKind, evidence: Evidence) -> list[ReasonKind]:
    """The kinds whose evidence is there, the most telling first; a policy's refusal is left out."""
    figures = evidence.transcript_figures or {}
    refuses = kind is not AbstentionKind.NOT_CONFIDENT
    holds = {
        ReasonKind.MODEL_DECLINES: kind is AbstentionKind.DECLINES,
        ReasonKind.SILENT_CLIP: evidence.peak_dbfs < _SILENT_DBFS,
        ReasonKind.INAUDIBLE: kind is AbstentionKind.CANNOT_HEAR or evidence.heard_seconds <= 0,
        ReasonKind.OUTSIDE_WINDOW: 0 < evidence.heard_seconds < evidence.asked_seconds,
        ReasonKind.NOT_IN_CLIP: refuses and says_not_in_clip(fold(plain_text(evidence.reply))),
        ReasonKind.TRANSCRIPT_UNSURE: figures.get("avg_logprob", 0.0) < _LOGPROB_LIMIT
        or figures.get("no_speech_prob_mean", 0.0) > _NO_SPEECH_LIMIT,
        ReasonKind.TYPE_UNCLEAR: evidence.sought_content and evidence.audio_type is None,
        ReasonKind.CHOICES_CLOSE: bool(evidence.close),
    }
    return [reason for reason in ReasonKind if holds.get(reason, False)]


def _advice(reason: ReasonKind, evidence: Evidence) -> str:
    match reason:
        case ReasonKind.MODEL_DECLINES:
            return "put the question in other words"
        case ReasonKind.SILENT_CLIP:
            return "ask about another clip or another part: there is nothing to hear in this one"
        case ReasonKind.INAUDIBLE if evidence.heard_seconds <= 0:
            return "ask a model that hears: this one was asked without the clip"
        case ReasonKind.INAUDIBLE:
            return f"ask another model: there is sound in the clip, its peak is {evidence.peak_dbfs:.0f} dBFS"
        case ReasonKind.OUTSIDE_WINDOW:
            start, end = _not_heard(evidence)
            return f"ask about the part from {_span(start, end)} (--window {start:g}-{end:g})"
        case ReasonKind.NOT_IN_CLIP:
            return f"name the sound you mean, as it is heard between {_span(*evidence.heard_s)}"
        case ReasonKind.TRANSCRIPT_UNSURE:
            return "transcribe with another tool (--tool asr=…), or ask about the part in which somebody speaks"
        case ReasonKind.TYPE_UNCLEAR:
            return "say in the question whether it is about a sound, music or speech"
        case _:
            return f"give choices: only {' and '.join(choice for choice, _ in evidence.close)}, which are close"


def _back(reason: ReasonKind, evidence: Evidence) -> str:
    match reason:
        case ReasonKind.MODEL_DECLINES:
            return "The model declines to answer that. How would you put the question in other words?"
        case ReasonKind.SILENT_CLIP:
            return f"Nothing is to be heard between {_span(*evidence.asked_s)}. Which other part shall I listen to?"
        case ReasonKind.INAUDIBLE if evidence.heard_seconds <= 0:
            return "The model was asked without the clip. What do you know of it?"
        case ReasonKind.INAUDIBLE:
            return "The model cannot make the clip out. Which part shall I listen to?"
        case ReasonKind.OUTSIDE_WINDOW:
            heard, part = _span(*evidence.heard_s), _span(*_not_heard(evidence))
            return f"I heard {heard} of {evidence.asked_s[1]:.1f} s. Which part shall I listen to, such as {part}?"
        case ReasonKind.NOT_IN_CLIP:
            return "I do not hear that in the clip. Which sound do you mean, or which part shall I listen to?"
        case ReasonKind.TRANSCRIPT_UNSURE:
            said = f"{evidence.content!r}" if evidence.content else "nothing"
            return f"I am unsure of the transcript, which is {said}. What is said there, or in which part?"
        case ReasonKind.TYPE_UNCLEAR:
            return "Is it a sound, music or speech?"
        case _:
            first, second = (choice for choice, _ in evidence.close)
            return f"It is close between {first!r} and {second!r}. Is it one of these (yes), or what do you know of it?"


def _not_heard(evidence: Evidence) -> tuple[float, float]:
    """The part after the heard one, as long as that or to the end; (start, end) in seconds."""
    start = evidence.heard_s[1]
    return round(start, 1), round(min(start + evidence.heard_seconds, evidence.asked_s[1]), 1)


def _span(start: float, end: float) -> str:
    return f"{start:.1f} to {end:.1f} s"
