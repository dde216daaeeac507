"""The only place where prompt text exists: rendered here, hashed here.

The sentences are those of "Towards Reliable Large Audio Language Model" (arXiv 2505.19294, section 3 and
appendix C), letter for letter. The audio itself precedes the text in the user turn. Parts are joined by one
space. Choices are written as their contents, without letters. The few-shot examples of MCoT are ours: the paper
does not print its own.

This file knows nothing about chat templates, tokens or models.
"""

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib import resources

from lalm_agent.records import AudioType, Method

SELECT = "Select one option from the provided choices:"
IDK = "IDK"
IDK_SENTENCE = "Output 'IDK' if you don't know the answer."
MCOT_SENTENCE = (
    "Let's think step by step. You can first analyze the sound, music, or speech and then answer the question."
)
TYPE_SENTENCE = "Identify the type of audio."
TYPE_CHOICES = ("Sound", "Music", "Speech")
CONTENT_TEMPLATE = "What is the {type} content?"
GIVEN_CONTENT_TEMPLATE = "The {type} content is: {content}"
CLIP_CONTENT_TEMPLATE = "Clip {number}: {content}"
"""Ours, for questions about several clips: the paper's sentence once for each."""

_INVITES_IDK = {Method.IDK, Method.MCOT, Method.AGENT}


def invites_idk(method: Method) -> bool:
    """Whether the method's answering prompt tells the model that it may say IDK."""
    return method in _INVITES_IDK


def select_one(question: str, choices: tuple[str, ...]) -> str:
    """The question with its choices; the question alone where there are none."""
    return _join(question, SELECT, *choices) if choices else question


def type_prompt() -> str:
    """The agent's first step."""
    return select_one(TYPE_SENTENCE, TYPE_CHOICES)


def content_prompt(audio_type: AudioType) -> str:
    """The agent's second step: a transcript for speech, a caption for sound and music."""
    return CONTENT_TEMPLATE.replace("{type}", audio_type.capitalize())


def answer_prompt(
    method: Method,
    question: str,
    choices: tuple[str, ...] = (),
    audio_type: AudioType | None = None,
    content: str | None = None,
    several: bool = False,
) -> str:
    """The prompt that is answered; for the agent its third step.

    The agent's first sentence stands only where both a type and its content were found; an empty text is no content.
    several: the content is `clip_contents` of several clips, and stands as it is.
    """
    parts = [select_one(question, choices)]
    if method is Method.MCOT:
        parts = [mcot_examples(), *parts, MCOT_SENTENCE]
    if several and content and content.strip():
        parts = [content, *parts]
    elif audio_type is not None and content and content.strip():
        opening = GIVEN_CONTENT_TEMPLATE.replace("{type}", audio_type.capitalize())
        # The content is replaced last: what a transcript says must never be read as a placeholder.
        parts = [opening.replace("{content}", content), *parts]
    if invites_idk(method):
        parts.append(IDK_SENTENCE)
    return _join(*parts)


def clip_contents(contents: Sequence[tuple[AudioType, str] | None]) -> str:
    """What was found in each of several clips, by their numbers; nothing of those without a type or a content."""
    parts = []
    for number, pair in enumerate(contents, start=1):
        if pair is not None and pair[1].strip():
            sentence = GIVEN_CONTENT_TEMPLATE.replace("{type}", pair[0].capitalize()).replace("{content}", pair[1])
            parts.append(CLIP_CONTENT_TEMPLATE.replace("{number}", str(number)).replace("{content}", sentence))
    return _join(*parts)


@cache
def mcot_examples() -> str:
    """The few-shot examples of MCoT, joined by one space."""
    text = resources.files(__package__).joinpath("mcot_examples.txt").read_text(encoding="utf-8")
    return _join(*text.splitlines())


def prompt_hashes(method: Method) -> dict[str, str]:
    """sha256 of each prompt that a method uses, with its slots left open.

    A run is the same run only if these are the same. Those of `lora` are the baseline's: only the weights differ.
    """
    slots = ("{choices}",)
    prompts = {"answer": answer_prompt(method, "{question}", slots)}
    if method is Method.AGENT:
        prompts = {
            "type": type_prompt(),
            "content": CONTENT_TEMPLATE,
            "answer": _join(GIVEN_CONTENT_TEMPLATE, prompts["answer"]),
        }
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in prompts.items()}


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)
