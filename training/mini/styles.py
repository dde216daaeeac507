"""Other ways to put a known question: capital letters, a phrase before it, or hardly any question at all.

Benchmarks write options as they like and ask in words of their own; the options often say what is asked.
"""

from dataclasses import replace

import numpy as np

from lalm_agent.training.synth.records import SynthQuestion
from lalm_agent.training.synth.wording import draw

_CAPITALS = 0.25
_LEAD_IN = 0.12
_VAGUE = 0.07
_LEAD_INS = (
    "{Listen|Listen closely}: ",
    "{Based on|According to|Given} the {given audio|audio|recording|sound clip|clip}, ",
    "{In|For|Regarding} this {audio|recording|clip}, ",
    "{Considering|From} what you hear, ",
)
_VAGUES = (
    "{Which|What} {one|option|of these} {is right|fits the audio|fits best|is correct}?",
    "{Choose|Pick|Select} {what fits|the right one|the best description} {|of the audio|of the recording}.",
    "{What|Which of the following} {describes|matches|applies to} {the audio|the recording|this clip} {|best}?",
    "{What|Which} {characteristic|property|attribute} does {the audio|the recording|it} {have|show}?",
)
_SAID_BY_OPTIONS = (
    "sound_class",
    "animal",
    "source",
    "trend",
    "distance",
    "instrument",
    "instrument_family",
    "tempo",
    "direction",
    "mode",
    "gender",
    "language",
    "rate",
)
"""Skills whose options alone tell what is asked."""


def restyled(question: SynthQuestion, rng: np.random.Generator) -> SynthQuestion:
    """The question as another benchmark might put it; mostly as it is."""
    if not question.choices:
        return question
    if rng.random() < _VAGUE and question.skill in _SAID_BY_OPTIONS:
        question = replace(question, text=draw(_VAGUES[int(rng.integers(len(_VAGUES)))], rng))
    elif rng.random() < _LEAD_IN:
        text = draw(_LEAD_INS[int(rng.integers(len(_LEAD_INS)))], rng)
        question = replace(question, text=f"{text} {question.text[0].lower()}{question.text[1:]}")
    return _capitalised(question) if rng.random() < _CAPITALS else question


def _capitalised(question: SynthQuestion) -> SynthQuestion:
    answer = None if question.answer is None else _capital(question.answer)
    return replace(question, choices=tuple(map(_capital, question.choices)), answer=answer)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
