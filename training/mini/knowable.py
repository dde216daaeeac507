"""How likely it is that a listener cannot know: the chance that IDK is the right reply under a prompt that invites it.

It rises smoothly as noise covers a clip, and later for what survives noise better. So IDK belongs to what is heard
and not to a kind of question, and the model has a scale to learn instead of an edge.
"""

import math

from lalm_agent.training.mini.store import Heard, Kind

_HALF_LOST_DB = -8.0
_SLOPE_DB = 2.5
_SKILL_DB = {
    "type": -14.0,
    "gender": -11.0,
    "rate": -10.0,
    "drums": -10.0,
    "word_heard": -5.0,
    "first_word": -5.0,
    "last_word": -5.0,
    "next_word": -5.0,
    "language": -6.0,
    "count": -6.0,
    "instrument_count": -6.0,
    "mode": -6.0,
}
"""Skill -> signal-to-noise ratio in dB at which half of the answers are lost; others stand in `_HALF_LOST_DB`.

Set by hand from how much of the spectrum a skill needs, before any training."""
TOLD_DB = -6.0
"""Below this a clip's content is not asked for: half of it could not be written down."""


def chance_unknown(heard: Heard, skill: str) -> float:
    """The chance in [0, 1] that this skill's answer is lost in the clip: a logistic curve over its noise in dB."""
    if heard.kind is Kind.SILENCE:
        return 1.0
    if heard.clip.snr_db is None:
        return 0.0
    return 1 / (1 + math.exp((heard.clip.snr_db - _SKILL_DB.get(skill, _HALF_LOST_DB)) / _SLOPE_DB))


def told(heard: Heard) -> bool:
    """Whether what the clip holds can be told at all."""
    return heard.kind is Kind.SILENCE or heard.clip.snr_db is None or heard.clip.snr_db >= TOLD_DB
