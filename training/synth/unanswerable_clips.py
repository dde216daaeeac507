"""Unanswerable questions of every family, each with the samples it is put to: what benchmark and exam are made of."""

from collections.abc import Callable

import numpy as np

from lalm_agent.records import AudioType
from lalm_agent.training.synth.clips import drown, make_clip, make_never_met, make_silence
from lalm_agent.training.synth.levels import LEVELS
from lalm_agent.training.synth.questions import all_drafts, choose, make_drafts, without_answer, word
from lalm_agent.training.synth.records import Clip, Samples, Split, SynthQuestion
from lalm_agent.training.synth.unanswerable import class_never_met, gold_removed, wrong_modality
from lalm_agent.training.synth.unheard import unheard_question

MAX_TRIES = 20
NEVER_UNKNOWN = ("type", "sound_present", "instrument_present", "drums", "behind")
"""Skills that silence or another clip can leave answerable, so that they are not asked of one."""

Made = tuple[Samples, Clip, SynthQuestion] | None


def unanswerable(clip_seed: int, split: Split, kind: AudioType, family: str) -> tuple[Samples, Clip, SynthQuestion]:
    """What is heard, the clip that it was made from, and a question with choices and without an answer, of a family."""
    for attempt in range(MAX_TRIES):
        rng = np.random.default_rng([clip_seed, 29, attempt])
        seed = clip_seed + attempt * 1_000_000
        if family == "class_never_met":
            clip, name = make_never_met(seed, split, kind, LEVELS[int(rng.integers(len(LEVELS)))])
            return clip.samples, clip, class_never_met(clip, name, rng)
        clip = make_clip(seed, split, kind)
        made = _MAKERS[family](clip, rng)
        if made is not None and made[2].choices:
            return made
    raise AssertionError(f"no {family} question in {MAX_TRIES} clips from seed {clip_seed}")


def _about_itself(make: Callable[[Clip, np.random.Generator], SynthQuestion | None]) -> Callable[..., Made]:
    """A maker of questions that are put to the clip itself."""

    def made(clip: Clip, rng: np.random.Generator) -> Made:
        question = make(clip, rng)
        return (clip.samples, clip, question) if question is not None else None

    return made


def _silent(clip: Clip, rng: np.random.Generator) -> Made:
    asked = _lost(clip, "silence", rng)
    return (make_silence(clip.seed), clip, asked) if asked else None


def _drowned(clip: Clip, rng: np.random.Generator) -> Made:
    asked = _lost(clip, "low_snr", rng)
    drowned = drown(clip, rng)
    return (drowned.samples, drowned, asked) if asked else None


def _lost(clip: Clip, family: str, rng: np.random.Generator) -> SynthQuestion | None:
    """A question of the clip as one that is put to what cannot be heard."""
    drafts = [draft for draft in make_drafts(clip, rng) if draft.skill not in NEVER_UNKNOWN]
    draft = choose(drafts, clip, rng)
    return without_answer(word(draft, clip, rng), family) if draft else None


def _swapped(clip: Clip, rng: np.random.Generator) -> Made:
    """A question about `clip` put to another clip that has an answer of its own, which is not among the choices."""
    other = make_clip(clip.seed + 500_000, clip.split, clip.facts.modality, clip.seen, clip.level)
    truths: dict[str, set[str]] = {}
    for draft in all_drafts(other, rng):
        truths.setdefault(draft.skill, set()).add(draft.gold)
    drafts = [draft for draft in make_drafts(clip, rng) if draft.skill not in NEVER_UNKNOWN and not draft.blank]
    rng.shuffle(drafts)
    for draft in drafts:
        asked = without_answer(word(draft, clip, rng), "swapped")
        true = truths.get(draft.skill)
        if true and not true & set(asked.choices) and not _holds(other, asked.choices):
            return other.samples, other, asked
    return None


_MAKERS: dict[str, Callable[[Clip, np.random.Generator], Made]] = {
    "gold_removed": _about_itself(gold_removed),
    "wrong_modality": _about_itself(wrong_modality),
    "unheard": _about_itself(unheard_question),
    "silence": _silent,
    "low_snr": _drowned,
    "swapped": _swapped,
}
"""Family -> maker of what is heard, its clip and a question; None where this clip gives none."""


def _holds(clip: Clip, choices: tuple[str, ...]) -> bool:
    """Whether any choice is true of the clip."""
    return any(choice in clip.facts.tags for choice in choices)
