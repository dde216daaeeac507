"""The decisions of an agent, as pure functions: where to go next, and why it abstained."""

import re
from dataclasses import dataclass

from lalm_agent.answers import parse
from lalm_agent.prompts import TYPE_CHOICES
from lalm_agent.records import AbstentionKind, AudioType, Status

_SILENT_DBFS = -60.0
_CLOSE_MARGIN = 0.15
_SAID = {
    AbstentionKind.DOES_NOT_KNOW: "the model said that it does not know",
    AbstentionKind.CANNOT_HEAR: "the model said that the audio is missing, silent or out of its reach",
    AbstentionKind.DECLINES: "the model declined to answer",
    AbstentionKind.NOT_CONFIDENT: "the model answered, and the policy held the answer back",
}
_THE_CLIP = re.compile(r"\b(?:the|this) sound(?= (?:is|of|was)\b)", re.IGNORECASE)


def found_type(reply: str) -> AudioType | None:
    """The one type that a reply names; None where it names none, two, or refuses."""
    verdict = parse(reply, TYPE_CHOICES)
    if verdict.rule == "several_named":
        # "The sound is music" calls the clip a sound and names music.
        verdict = parse(_THE_CLIP.sub("the clip", reply), TYPE_CHOICES)
    return AudioType(verdict.text.lower()) if verdict.status is Status.ANSWERED and verdict.text else None


def content_node(audio_type: AudioType | None) -> str:
    """The node after type identification: asr, caption, or straight to the answer where no type was found."""
    if audio_type is None:
        return "answer"
    return "asr" if audio_type is AudioType.SPEECH else "caption"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an abstention can be explained by.

    peak_dbfs: loudest sample of the clip relative to full scale, in dB; minus infinity for digital silence.
    option_probs: (choice, probability) pairs, None where they are not known.
    sought_content: whether the method has a type and a content step at all.
    """

    audio_type: AudioType | None
    content: str | None
    sought_content: bool
    peak_dbfs: float
    heard_s: tuple[float, float]
    seconds: float
    option_probs: tuple[tuple[str, float], ...] | None


def abstention_reason(kind: AbstentionKind, evidence: Evidence) -> str:
    """What was said, then what was seen beside it, most telling first: evidence only, and never a cause."""
    notes = [
        _note_on_level(kind, evidence),
        _note_on_type(evidence),
        _note_on_content(evidence),
        _note_on_window(evidence),
        _note_on_options(evidence),
    ]
    return "; ".join([_SAID[kind], *(note for note in notes if note)])


def _note_on_level(kind: AbstentionKind, evidence: Evidence) -> str | None:
    """A quiet clip is always told; beside a claim about the audio the level is, whatever it is."""
    if evidence.peak_dbfs == float("-inf"):
        return "every sample of the clip is zero: it is silent"
    if evidence.peak_dbfs < _SILENT_DBFS:
        return f"the clip is nearly silent, its peak is {evidence.peak_dbfs:.0f} dBFS"
    return f"the clip's peak is {evidence.peak_dbfs:.0f} dBFS" if kind is AbstentionKind.CANNOT_HEAR else None


def _note_on_type(evidence: Evidence) -> str | None:
    if not evidence.sought_content:
        return None
    if evidence.audio_type is None:
        return "the type step named no single one of sound, music and speech"
    return f"the type step said {evidence.audio_type}"


def _note_on_content(evidence: Evidence) -> str | None:
    if evidence.audio_type is None or not evidence.sought_content:
        return None
    kind = "transcript" if evidence.audio_type is AudioType.SPEECH else "caption"
    return f"a {kind} was at hand" if evidence.content else f"the {kind} came out empty"


def _note_on_window(evidence: Evidence) -> str | None:
    heard = evidence.heard_s[1] - evidence.heard_s[0]
    if heard >= evidence.seconds:
        return None
    return f"the answer step was given {heard:.1f} s of {evidence.seconds:.1f} s"


def _note_on_options(evidence: Evidence) -> str | None:
    if not evidence.option_probs or len(evidence.option_probs) < 2:
        return None
    ranked = sorted(evidence.option_probs, key=lambda pair: -pair[1])
    (best, high), (second, low) = ranked[:2]
    if high - low >= _CLOSE_MARGIN:
        return None
    return f"the likeliest choices are close: {best} {high:.0%}, {second} {low:.0%}"
