"""The questions of an evaluation: clips that no training saw, made in memory, the same for the same seed."""

from dataclasses import dataclass, replace

import numpy as np

from lalm_agent.training.mini.sources import silent_clip
from lalm_agent.training.synth.clips import drown, make_clip
from lalm_agent.training.synth.questions import make_questions, make_unanswerable
from lalm_agent.training.synth.records import Clip, Split, SynthQuestion

OPEN_SHARE = 0.1
UNANSWERABLE_SHARE = 1 / 3
_STREAM = 29
_SEEDS_PER_EXAM = 1_000_000
_TOO_HARD = ("drowned", "silence")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with the clip it is about."""

    question: SynthQuestion
    clip: Clip


def make_exam(split: Split, n: int, seed: int) -> list[Asked]:
    """`n` answerable questions, each about a clip of its own, and a third as many unanswerable ones.

    About a tenth of the answerable questions are open. The unanswerable ones are, in turn, of the synthesiser's
    families, or answerable ones about a clip that is drowned in noise or silent.
    """
    base = seed * _SEEDS_PER_EXAM
    exam = [_answerable(split, base + i) for i in range(n)]
    return exam + [_unanswerable(split, base + n + i, i) for i in range(round(n * UNANSWERABLE_SHARE))]


def _answerable(split: Split, seed: int) -> Asked:
    rng = np.random.default_rng([_STREAM, seed])
    clip = make_clip(seed, split)
    return Asked(_pick(make_questions(clip, rng), rng), clip)


def _pick(questions: list[SynthQuestion], rng: np.random.Generator) -> SynthQuestion:
    """One question: each skill is as likely as the others; the type prompt is measured apart."""
    wants_open = rng.random() < OPEN_SHARE
    rest = [asked for asked in questions if asked.skill != "type"]
    fitting = [asked for asked in rest if wants_open != bool(asked.choices)] or rest
    return fitting[int(rng.integers(len(fitting)))]


def _unanswerable(split: Split, seed: int, turn: int) -> Asked:
    rng = np.random.default_rng([_STREAM, seed])
    clip = make_clip(seed, split)
    families: dict[str, list[SynthQuestion]] = {}
    for asked in make_unanswerable(clip, rng):
        families.setdefault(asked.family or "", []).append(asked)
    names = [*sorted(families), *_TOO_HARD]
    family = names[turn % len(names)]
    if family in families:
        questions = families[family]
        return Asked(questions[int(rng.integers(len(questions)))], clip)
    return Asked(_lost(_pick(make_questions(clip, rng), rng), family), _made_inaudible(clip, family, rng))


def _lost(question: SynthQuestion, family: str) -> SynthQuestion:
    """The question as one that its clip does not answer any more."""
    return replace(question, answer=None, answerable=False, family=family)


def _made_inaudible(clip: Clip, family: str, rng: np.random.Generator) -> Clip:
    return silent_clip(clip.seed, clip.split) if family == "silence" else drown(clip, rng)
