"""The questions of an evaluation: clips that no training saw, made in memory, the same for the same seed."""

from dataclasses import dataclass, replace

import numpy as np

from lalm_agent.records import AudioType
from lalm_agent.training.synth.clips import make_clip
from lalm_agent.training.synth.families import FAMILIES
from lalm_agent.training.synth.levels import LEVELS
from lalm_agent.training.synth.questions import choose, make_drafts, word, word_open
from lalm_agent.training.synth.records import Clip, Split, SynthQuestion
from lalm_agent.training.synth.unanswerable_clips import unanswerable

OPEN_SHARE = 0.1
UNANSWERABLE_SHARE = 1 / 3
_STREAM = 29
_SEEDS_PER_EXAM = 1_000_000
_KINDS = tuple(AudioType)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with the clip it is about; `clip.samples` are what is heard."""

    question: SynthQuestion
    clip: Clip


def make_exam(split: Split, n: int, seed: int) -> list[Asked]:
    """`n` answerable questions, each about a clip of its own, and a third as many unanswerable ones with choices.

    Modalities and levels take turns, and so do the families. About a tenth of the answerable questions are open.
    """
    base = seed * _SEEDS_PER_EXAM
    exam = [_answerable(split, base + i, i) for i in range(n)]
    return exam + [_unanswerable(split, base + n + i, i) for i in range(round(n * UNANSWERABLE_SHARE))]


def _answerable(split: Split, seed: int, turn: int) -> Asked:
    rng = np.random.default_rng([_STREAM, seed])
    clip = make_clip(seed, split, _KINDS[turn % 3], level=LEVELS[turn // 3 % 3])
    # The type prompt is measured apart.
    drafts = [draft for draft in make_drafts(clip, rng) if draft.skill != "type"]
    wanted = [draft for draft in drafts if draft.open] if rng.random() < OPEN_SHARE else []
    draft = choose(wanted or drafts, clip, rng)
    assert draft is not None
    return Asked(word_open(draft, clip, rng) if wanted else word(draft, clip, rng), clip)


def _unanswerable(split: Split, seed: int, turn: int) -> Asked:
    family = FAMILIES[turn % len(FAMILIES)]
    kind = _KINDS[turn // len(FAMILIES) % len(_KINDS)]
    samples, clip, question = unanswerable(seed, split, kind, family)
    return Asked(question, replace(clip, samples=samples))
