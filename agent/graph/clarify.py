"""What a chat's user says to a question back, and what it changes about the question that was refused."""

from dataclasses import dataclass, replace
from typing import Any

from langgraph.types import interrupt

from lalm_agent.answers import parse
from lalm_agent.audio import ClipStore, read_span
from lalm_agent.errors import UsageError
from lalm_agent.graph.reasons import BackQuestion
from lalm_agent.prompts import TYPE_CHOICES
from lalm_agent.records import AudioType, Question, ReasonKind, Status, check_question

_YES = {"yes", "y", "yes.", "one of these", "one of them", "either"}


@dataclass(frozen=True, slots=True)
class Clarified:
    """A question as the user's reply changed it. audio_type, content: told by the user; None where they were not."""

    question: Question
    reply: str
    audio_type: AudioType | None = None
    content: str | None = None


def read_reply(reply: str, back: BackQuestion, question: Question) -> Clarified | None:
    """A part of the clip, choices with | between them, what was asked for, or a hint that goes behind the question.

    None for an empty reply: the refusal stands.

    Raises:
        UsageError: choices that cannot be asked, or what is no text.
    """
    text = " ".join(reply.split())
    if not text:
        return None
    check_question(text, ())
    if (span := read_span(text, question.audio.seconds)) is not None:
        return Clarified(replace(question, window_s=span), text)
    words, choices = split_choices(text)
    if choices:
        choices = tuple(dict.fromkeys((words, *choices)))
        check_question(question.text, choices)
        return Clarified(replace(question, choices=choices), text)
    verdict = parse(text, TYPE_CHOICES)
    if back.about is ReasonKind.TYPE_UNCLEAR and verdict.status is Status.ANSWERED and verdict.text:
        return Clarified(question, text, audio_type=AudioType(verdict.text.lower()))
    if back.about is ReasonKind.CHOICES_CLOSE and text.lower() in _YES:
        return Clarified(replace(question, choices=back.close), text)
    if back.about is ReasonKind.TRANSCRIPT_UNSURE:
        return Clarified(question, text, content=text)
    if back.about is ReasonKind.MODEL_DECLINES:
        return Clarified(replace(question, text=text), text)
    return Clarified(replace(question, text=f"{question.text} {text}"), text)


def split_choices(line: str) -> tuple[str, tuple[str, ...]]:
    """`Which animal? | dog | cat` as the question and its choices."""
    text, *choices = (part.strip() for part in line.split("|"))
    return text, tuple(choices)


def ask_user(back: BackQuestion, state: dict[str, Any], question: Question, clips: ClipStore) -> Clarified | None:
    """Interrupt the graph until the user has replied; a reply that cannot be used is told, and asked for again.

    The interrupt's value has the text to show under `question`. LangGraph runs the node anew at each resumption and
    gives the earlier replies back in their order.
    """
    shown = {name: state.get(name) for name in ("reason_kind", "reason", "suggestion")}
    complaint = ""
    while True:
        reply = interrupt({"question": complaint + back.text, **shown})
        try:
            if not isinstance(reply, str):
                raise UsageError("the reply is no text", "write one")
            clarified = read_reply(reply, back, question)
            if clarified is not None and clarified.question.window_s is not None:
                clips.get(question.audio, clarified.question.window_s)
            return clarified
        except UsageError as error:
            complaint = f"{error.message}. "
