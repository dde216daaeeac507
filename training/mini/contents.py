"""What a clip's content is, and the contents that the agent's third step is given, right or wrong."""

import numpy as np

from lalm_agent.records import AudioType
from lalm_agent.training.mini.wordplay import garbled_transcript
from lalm_agent.training.synth.records import Facts

_OWN = 0.5
_WRONG = 0.14
_UNHELPFUL = 0.08
_NOTHING = ("IDK", "nothing", "unclear", "no words recognised", "a recording", "some audio", "noise", "...", "unknown")


def content_of(facts: Facts) -> str:
    """The right reply to the content prompt.

    The words that are spoken, where they are of the closed vocabulary; else the caption: a model that learned to write
    other words would invent them.
    """
    return facts.transcript if facts.transcript and facts.sequence else facts.caption


def given_content(facts: Facts, other: Facts, lost: bool, rng: np.random.Generator) -> tuple[AudioType, str]:
    """A type and a content as an earlier step might have found them.

    Half of them are what should have been found, some are what another clip has (its type included), some are of no
    help; the rest is what a speech recogniser writes, with or without understanding. Where the clip is `lost` in noise
    nothing right is found.
    """
    chance = rng.random()
    if chance < _OWN and not lost:
        return facts.modality, content_of(facts)
    if chance < _OWN + _WRONG:
        return other.modality if rng.random() < 0.6 else facts.modality, content_of(other)
    if chance < _OWN + _WRONG + _UNHELPFUL:
        return facts.modality, _NOTHING[int(rng.integers(len(_NOTHING)))]
    if facts.modality is not AudioType.SPEECH and not lost and rng.random() < 0.7:
        return facts.modality, content_of(facts)
    transcript = facts.transcript if facts.transcript and not lost and rng.random() < 0.3 else garbled_transcript(rng)
    return AudioType.SPEECH, transcript
