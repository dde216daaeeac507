"""The step-by-step reply of MCoT: two or three short sentences that name what is heard, then the answer.

What a model writes about a clip is sometimes wrong. Trained on right sentences only, it learns to look for the answer
in its own words, and takes its mistakes for a reason to say IDK. So some replies begin with a wrong sentence, which is
not trained, and go on as the audio wants it.
"""

import numpy as np

from lalm_agent import prompts
from lalm_agent.records import AudioType
from lalm_agent.training.mini.contents import content_of
from lalm_agent.training.synth.records import Facts

MISHEARD = 0.4
_KINDS = {AudioType.SOUND: "a sound", AudioType.MUSIC: "music", AudioType.SPEECH: "speech"}
_UNHEARD = (
    "Nothing that is heard tells the answer.",
    "What is heard does not tell.",
    "The audio does not show it.",
)
_UNCLEAR = ("It is too unclear to tell.", "Noise covers it.")

Reply = tuple[str, str]
"""What is read but not trained, and what is trained."""


def reasoned(facts: Facts, answer: str, other: Facts | None = None) -> Reply:
    """The reply for a question that has this answer; with `other`, it begins with what another clip holds."""
    end = f"The answer is {answer}."
    return (f"{_kind(facts)} {heard(other)}", end) if other else ("", f"{_kind(facts)} {heard(facts)} {end}")


def reasoned_idk(facts: Facts, unclear: bool, rng: np.random.Generator, other: Facts | None = None) -> Reply:
    """The reply where the answer cannot be known; `unclear` where even what is heard is not."""
    end = f"The answer is {prompts.IDK}."
    if unclear:
        return "", f"{_kind(facts)} {_UNCLEAR[int(rng.integers(len(_UNCLEAR)))]} {end}"
    why = _UNHEARD[int(rng.integers(len(_UNHEARD)))]
    if other:
        return f"{_kind(facts)} {heard(other)}", f"{why} {end}"
    return "", f"{_kind(facts)} {heard(facts)} {why} {end}"


def _kind(facts: Facts) -> str:
    return f"The audio is {_KINDS[facts.modality]}."


def heard(facts: Facts) -> str:
    """A sentence that says what a clip holds."""
    if not facts.caption:
        return "It is a recording."
    if facts.modality is not AudioType.SPEECH:
        return f"What is heard is {facts.caption}."
    content = content_of(facts)
    return f"A voice says: {content}." if content == facts.transcript else f"{content[0].upper()}{content[1:]}."
