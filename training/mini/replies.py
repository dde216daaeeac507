"""The step-by-step reply of MCoT: two or three short sentences that name what is heard, then the answer."""

import numpy as np

from lalm_agent import prompts
from lalm_agent.records import AudioType
from lalm_agent.training.mini.contents import content_of
from lalm_agent.training.synth.records import Facts

_KINDS = {AudioType.SOUND: "a sound", AudioType.MUSIC: "music", AudioType.SPEECH: "speech"}
_UNHEARD = (
    "Nothing that is heard tells the answer.",
    "What is heard does not tell.",
    "The audio does not show it.",
)
_UNCLEAR = ("It is too unclear to tell.", "Noise covers it.")


def reasoned(facts: Facts, answer: str) -> str:
    """The reply for a question that has this answer."""
    return f"{_kind(facts)} {_heard(facts)} The answer is {answer}."


def reasoned_idk(facts: Facts, unclear: bool, rng: np.random.Generator) -> str:
    """The reply where the answer cannot be known; `unclear` where even what is heard is not."""
    options = _UNCLEAR if unclear else (f"{_heard(facts)} {_UNHEARD[int(rng.integers(len(_UNHEARD)))]}",)
    return f"{_kind(facts)} {options[int(rng.integers(len(options)))]} The answer is {prompts.IDK}."


def _kind(facts: Facts) -> str:
    return f"The audio is {_KINDS[facts.modality]}."


def _heard(facts: Facts) -> str:
    if facts.modality is not AudioType.SPEECH:
        return f"What is heard is {facts.caption}."
    content = content_of(facts)
    return f"A voice says: {content}." if content == facts.transcript else f"{content[0].upper()}{content[1:]}."
