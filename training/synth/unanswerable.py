"""Questions that have no answer in what is heard, of seven families, each with the samples it is put to.

Five families are met in training: the right answer is taken away; a question is about another modality; no audio tells
the answer (built from nouns and patterns, `data/unanswerable.json`); the clip is silent; noise drowns the clip. Two
never are: a question about another clip of the same modality; a class of no training clip and no training question.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lalm_agent.records import AudioType
from lalm_agent.training.synth import questions as q
from lalm_agent.training.synth.clips import drown, make_clip, make_held_out, make_silence
from lalm_agent.training.synth.labels import SOUND_EVENTS
from lalm_agent.training.synth.levels import LEVELS
from lalm_agent.training.synth.records import Clip, Pool, Samples, SpeechFacts, Split, SynthQuestion
from lalm_agent.training.synth.tables import draw, read_data_file
from lalm_agent.training.synth.words import ENGLISH, HELD_OUT_LANGUAGES, share

TRAINED_FAMILIES = ("gold_removed", "wrong_modality", "unheard", "silence", "low_snr")
HELD_OUT_FAMILIES = ("swapped", "class_never_met")
FAMILIES = TRAINED_FAMILIES + HELD_OUT_FAMILIES
"""The names stand in benchmarks that exist; `unheard` is a question whose answer is in no audio."""
MIN_WRONG = 3
MAX_TRIES = 20
_OPEN_SHARE = {"wrong_modality": 0.25, "unheard": 0.5}
_ANY_SOUND = ("type", "sound_present", "instrument_present", "drums", "behind")
"""Skills that silence or another clip can leave answerable, so that they are not asked of one."""
_OWN_SKILLS = {
    AudioType.SOUND: "sound_class animal first_sound last_sound background most_frequent scene count next_sound",
    AudioType.MUSIC: "instrument accompaniment instrument_family tempo direction mode metre texture",
    AudioType.SPEECH: "gender language word_heard first_word last_word next_word word_count rate topic first_speaker",
}
"""Modality -> skills that make no sense for another modality."""


@dataclass(frozen=True, slots=True)
class NoAudioTells:
    """The table of questions that no audio answers.

    answers: name -> possible answers, none of which a clip can confirm. patterns: pool -> modality, or "any" ->
    (pattern, name of its answers or "" for nouns); in a pattern, `<w>` stands for a noun of the pool, `<v>` for a verb.
    """

    answers: dict[str, tuple[str, ...]]
    patterns: dict[Pool, dict[str, tuple[tuple[str, str], ...]]]


NO_AUDIO_TELLS: NoAudioTells = read_data_file("unanswerable", NoAudioTells)

Posed = tuple[Samples, Clip, SynthQuestion]
"""The samples (n,) float32 that are heard, the clip that they were made from, and a question."""


def pose_unanswerable(clip_seed: int, split: Split, kind: AudioType, family: str) -> Posed:
    """A question with choices and without an answer, of a family, with the samples that it is put to."""
    for attempt in range(MAX_TRIES):
        rng = np.random.default_rng([clip_seed, 29, attempt])
        seed = clip_seed + attempt * 1_000_000
        if family == "class_never_met":
            clip, name = make_held_out(seed, split, kind, LEVELS[int(rng.integers(len(LEVELS)))])
            return clip.samples, clip, _about_held_out(clip, name, rng)
        posed = _posed(family, make_clip(seed, split, kind), rng)
        if posed is not None and posed[2].choices:
            return posed
    raise AssertionError(f"no {family} question in {MAX_TRIES} clips from seed {clip_seed}")


def make_unanswerable(clip: Clip, rng: np.random.Generator) -> SynthQuestion:
    """A question that the clip cannot answer, of a drawn family of `gold_removed`, `wrong_modality` and `unheard`."""
    makers = tuple(_OF_THE_CLIP.values())
    return next(made for at in rng.permutation(len(makers)) if (made := makers[int(at)](clip, rng)) is not None)


def gold_removed(clip: Clip, rng: np.random.Generator) -> SynthQuestion | None:
    """A question with three or four choices, none of which is true; None where the clip is asked no such question."""
    draft = q.choose([draft for draft in q.make_drafts(clip, rng) if len(draft.wrong) >= MIN_WRONG], clip, rng)
    if draft is None:
        return None
    wrong = list(draft.wrong[: int(rng.integers(3, 5))])
    rng.shuffle(wrong)
    return q.without_answer(q.worded(draft, clip, tuple(wrong), rng), "gold_removed")


def wrong_modality(clip: Clip, rng: np.random.Generator) -> SynthQuestion:
    """A question about a modality of which nothing is in the clip: not music where it plays behind speech."""
    detail, present = clip.facts.detail, {clip.facts.modality}
    if isinstance(detail, SpeechFacts) and detail.background != "nothing":
        present.add({"music": AudioType.MUSIC, "noise": AudioType.SOUND}[detail.background])
    absent = [kind for kind in AudioType if kind not in present]
    skills = _OWN_SKILLS[absent[int(rng.integers(len(absent)))]].split()
    skill = skills[int(rng.integers(len(skills)))]
    answers = q.ANSWERS[skill]
    choices = _drawn(answers, min(4, len(answers)), rng)
    blank = str(rng.choice([choice for choice in answers if choice not in choices] or choices))
    blank = str(rng.choice(SOUND_EVENTS)) if skill == "count" else blank
    shown = () if rng.random() < _OPEN_SHARE["wrong_modality"] else choices
    return q.without_answer(q.worded(q.Draft(skill, "", (), blank), clip, shown, rng), "wrong_modality")


def untold(clip: Clip, rng: np.random.Generator) -> SynthQuestion:
    """A question that no clip answers: about a name, a year, a reason. Half of them have choices."""
    kind = str(clip.facts.modality) if rng.random() < 0.5 else "any"
    entries = NO_AUDIO_TELLS.patterns[clip.pool][kind]
    pattern, answers = entries[int(rng.integers(len(entries)))]
    nouns = share(ENGLISH.nouns, clip.pool)
    text = draw(pattern, rng)
    for mark, pool in (("<w>", nouns), ("<v>", ENGLISH.verbs)):
        while mark in text:
            text = text.replace(mark, pool[int(rng.integers(len(pool)))], 1)
    choices: tuple[str, ...] = ()
    if rng.random() >= _OPEN_SHARE["unheard"]:
        choices = _drawn(NO_AUDIO_TELLS.answers[answers] if answers else nouns, int(rng.integers(3, 5)), rng)
    category = {
        AudioType.SOUND: "Ambient Sound Interpretation",
        AudioType.MUSIC: "Socio-cultural Interpretation",
        AudioType.SPEECH: "Conversational Fact Retrieval",
    }[clip.facts.modality]
    return SynthQuestion(text, choices, None, "unheard", "Reasoning", category, clip.level, False, "unheard")


def _drawn(answers: tuple[str, ...], count: int, rng: np.random.Generator) -> tuple[str, ...]:
    return tuple(map(str, rng.choice(answers, count, replace=False)))


_OF_THE_CLIP: dict[str, Callable[[Clip, np.random.Generator], SynthQuestion | None]] = {
    "gold_removed": gold_removed,
    "wrong_modality": wrong_modality,
    "unheard": untold,
}
"""Family -> maker of a question that is put to the clip itself; None where the clip gives none."""


def _about_held_out(clip: Clip, name: str, rng: np.random.Generator) -> SynthQuestion:
    """Which of the classes that training knows a clip of a held-out class is."""
    skill = {AudioType.SOUND: "sound_class", AudioType.MUSIC: "instrument"}.get(clip.facts.modality, "word_heard")
    skill = "language" if name in HELD_OUT_LANGUAGES else skill
    choices = _drawn(q.ANSWERS[skill], 4, rng)
    return q.without_answer(q.worded(q.Draft(skill, "", ()), clip, choices, rng), "class_never_met")


def _posed(family: str, clip: Clip, rng: np.random.Generator) -> Posed | None:
    """A question of a family with what is heard; None where this clip gives none."""
    if family == "swapped":
        return _swapped(clip, rng)
    if family in _OF_THE_CLIP:
        question = _OF_THE_CLIP[family](clip, rng)
        return (clip.samples, clip, question) if question is not None else None
    draft = q.choose([draft for draft in q.make_drafts(clip, rng) if draft.skill not in _ANY_SOUND], clip, rng)
    if draft is None:
        return None
    question = q.without_answer(q.word(draft, clip, rng), family)
    if family == "silence":
        return make_silence(clip.seed), clip, question
    clip = drown(clip, rng)
    return clip.samples, clip, question


def _swapped(clip: Clip, rng: np.random.Generator) -> Posed | None:
    """A question about `clip` put to another clip that has an answer of its own, which is not among the choices."""
    other = make_clip(clip.seed + 500_000, clip.split, clip.facts.modality, clip.seen, clip.level)
    truths: dict[str, set[str]] = {}
    for draft in q.all_drafts(other, rng):
        truths.setdefault(draft.skill, set()).add(draft.gold)
    drafts = [draft for draft in q.make_drafts(clip, rng) if draft.skill not in _ANY_SOUND and not draft.blank]
    rng.shuffle(drafts)
    for draft in drafts:
        question = q.without_answer(q.word(draft, clip, rng), "swapped")
        true = truths.get(draft.skill)
        if true and not (true | set(other.facts.tags)) & set(question.choices):
            return other.samples, other, question
    return None
