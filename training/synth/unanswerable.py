"""Questions that have no answer in what is heard, of seven families, each with the samples it is put to.

Five families are met in training: the right answer taken away; a question about another modality; what no audio tells
(built from a grammar of nouns and patterns, `data/unanswerable.json`); nothing to hear; noise alone. Two never are: a
question about another clip of the same modality; a class that is in no training clip and no training question.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lalm_agent.records import AudioType
from lalm_agent.training.synth import questions as q
from lalm_agent.training.synth.clips import drown, make_clip, make_held_out, make_silence
from lalm_agent.training.synth.labels import SOUND_EVENTS
from lalm_agent.training.synth.levels import LEVELS
from lalm_agent.training.synth.music import INSTRUMENTS
from lalm_agent.training.synth.records import Clip, Pool, Samples, SpeechFacts, Split, SynthQuestion
from lalm_agent.training.synth.sound import SOUND_TABLE
from lalm_agent.training.synth.sound_sources import TEXTURES
from lalm_agent.training.synth.tables import draw, read_data_file
from lalm_agent.training.synth.words import CLOSED_WORDS, ENGLISH, HELD_OUT_LANGUAGES, LANGUAGES, share

TRAINED_FAMILIES = ("gold_removed", "wrong_modality", "unheard", "silence", "low_snr")
HELD_OUT_FAMILIES = ("swapped", "class_never_met")
FAMILIES = TRAINED_FAMILIES + HELD_OUT_FAMILIES
"""The names stand in benchmarks that exist; `unheard` is what no audio tells."""
MIN_WRONG = 3
MAX_TRIES = 20
_OPEN_SHARE = {"wrong_modality": 0.25, "unheard": 0.5}
_ANY_SOUND = ("type", "sound_present", "instrument_present", "drums", "behind")
"""Skills that silence or another clip can leave answerable, so that they are not asked of one."""

CHOICES: dict[AudioType, dict[str, tuple[str, ...]]] = {
    AudioType.SOUND: {
        "sound_class": SOUND_EVENTS,
        "animal": tuple(SOUND_TABLE.animals.values()),
        "first_sound": SOUND_EVENTS,
        "last_sound": SOUND_EVENTS,
        "background": tuple(TEXTURES),
        "most_frequent": SOUND_EVENTS,
        "scene": tuple(SOUND_TABLE.places),
        "count": q.NUMBERS[1:7],
        "next_sound": SOUND_EVENTS,
    },
    AudioType.MUSIC: {
        "instrument": tuple(INSTRUMENTS),
        "accompaniment": tuple(INSTRUMENTS),
        "instrument_family": q.INSTRUMENT_FAMILIES,
        "tempo": q.TEMPI,
        "direction": q.DIRECTIONS,
        "mode": q.MODES,
        "metre": q.METRES,
        "texture": q.MUSIC_PARTS,
    },
    AudioType.SPEECH: {
        "gender": q.GENDERS,
        "language": tuple(LANGUAGES),
        "word_heard": CLOSED_WORDS,
        "first_word": CLOSED_WORDS,
        "last_word": CLOSED_WORDS,
        "next_word": CLOSED_WORDS,
        "word_count": q.NUMBERS[1:7],
        "rate": q.RATES,
        "topic": tuple(ENGLISH.closed_groups),
        "first_speaker": q.VOICES,
    },
}
"""Modality -> skill that makes no sense for another modality -> what its choices are drawn from."""


@dataclass(frozen=True, slots=True)
class UnheardTable:
    """answers: name -> possible answers, none of which a clip can confirm.

    patterns: pool -> modality, or "any" -> (pattern, name of its answers or "" for nouns); in a pattern, `<w>` stands
    for a noun of the pool and `<v>` for a verb.
    """

    answers: dict[str, tuple[str, ...]]
    patterns: dict[Pool, dict[str, tuple[tuple[str, str], ...]]]


UNHEARD: UnheardTable = read_data_file("unanswerable", UnheardTable)

Posed = tuple[Samples, Clip, SynthQuestion]
"""What is heard, the clip that it was made from, and a question."""


def pose_unanswerable(clip_seed: int, split: Split, kind: AudioType, family: str) -> Posed:
    """A question with choices and without an answer, of a family, with the samples that it is put to."""
    for attempt in range(MAX_TRIES):
        rng = np.random.default_rng([clip_seed, 29, attempt])
        seed = clip_seed + attempt * 1_000_000
        if family == "class_never_met":
            clip, name = make_held_out(seed, split, kind, LEVELS[int(rng.integers(len(LEVELS)))])
            return clip.samples, clip, _about_held_out(clip, name, rng)
        posed = _POSERS[family](make_clip(seed, split, kind), rng)
        if posed is not None and posed[2].choices:
            return posed
    raise AssertionError(f"no {family} question in {MAX_TRIES} clips from seed {clip_seed}")


def make_unanswerable(clip: Clip, rng: np.random.Generator) -> SynthQuestion:
    """A question that the clip cannot answer, of a drawn family of `gold_removed`, `wrong_modality` and `unheard`."""
    makers = (gold_removed, wrong_modality, unheard)
    order = rng.permutation(len(makers))
    return next(made for at in order if (made := makers[at](clip, rng)) is not None)


def gold_removed(clip: Clip, rng: np.random.Generator) -> SynthQuestion | None:
    """A question with three or four choices, none of which is true; None where the clip is asked no such one."""
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
    pools = CHOICES[absent[int(rng.integers(len(absent)))]]
    name = list(pools)[int(rng.integers(len(pools)))]
    choices = tuple(str(choice) for choice in rng.choice(pools[name], min(4, len(pools[name])), replace=False))
    blank = str(rng.choice([choice for choice in pools[name] if choice not in choices] or choices))
    blank = str(rng.choice(SOUND_EVENTS)) if name == "count" else blank
    shown = () if rng.random() < _OPEN_SHARE["wrong_modality"] else choices
    return q.without_answer(q.worded(q.Draft(name, "", (), blank), clip, shown, rng), "wrong_modality")


def unheard_patterns(pool: Pool) -> tuple[str, ...]:
    """All patterns of what no audio tells that clips of a pool are asked."""
    return tuple(pattern for entries in UNHEARD.patterns[pool].values() for pattern, _ in entries)


def unheard(clip: Clip, rng: np.random.Generator) -> SynthQuestion:
    """A question that no clip answers: about a name, a year, a reason. Half of them have choices."""
    kind = str(clip.facts.modality) if rng.random() < 0.5 else "any"
    entries = UNHEARD.patterns[clip.pool][kind]
    pattern, answers = entries[int(rng.integers(len(entries)))]
    nouns = share(ENGLISH.nouns, clip.pool)
    text = draw(pattern, rng)
    for mark, pool in (("<w>", nouns), ("<v>", ENGLISH.verbs)):
        while mark in text:
            text = text.replace(mark, pool[int(rng.integers(len(pool)))], 1)
    choices: tuple[str, ...] = ()
    if rng.random() >= _OPEN_SHARE["unheard"]:
        drawn = rng.choice(UNHEARD.answers[answers] if answers else nouns, int(rng.integers(3, 5)), replace=False)
        choices = tuple(map(str, drawn))
    category = {
        AudioType.SOUND: "Ambient Sound Interpretation",
        AudioType.MUSIC: "Socio-cultural Interpretation",
        AudioType.SPEECH: "Conversational Fact Retrieval",
    }[clip.facts.modality]
    return SynthQuestion(text, choices, None, "unheard", "Reasoning", category, clip.level, False, "unheard")


def _about_held_out(clip: Clip, name: str, rng: np.random.Generator) -> SynthQuestion:
    """What a clip of a held-out class is asked: which of the classes that training knows it is."""
    kind = clip.facts.modality
    skill = {AudioType.SOUND: "sound_class", AudioType.MUSIC: "instrument"}.get(kind, "word_heard")
    skill = "language" if name in HELD_OUT_LANGUAGES else skill
    choices = tuple(str(choice) for choice in rng.choice(CHOICES[kind][skill], 4, replace=False))
    return q.without_answer(q.worded(q.Draft(skill, "", ()), clip, choices, rng), "class_never_met")


def _about_itself(make: Callable[[Clip, np.random.Generator], SynthQuestion | None]) -> Callable[..., Posed | None]:
    """A poser of questions that are put to the clip itself."""

    def pose(clip: Clip, rng: np.random.Generator) -> Posed | None:
        question = make(clip, rng)
        return (clip.samples, clip, question) if question is not None else None

    return pose


def _of_masked(family: str, clip: Clip, rng: np.random.Generator) -> Posed | None:
    """A question of the clip that is put to silence, or to noise that covers the clip."""
    drafts = [draft for draft in q.make_drafts(clip, rng) if draft.skill not in _ANY_SOUND]
    draft = q.choose(drafts, clip, rng)
    question = q.without_answer(q.word(draft, clip, rng), family) if draft else None
    if family == "silence":
        samples = make_silence(clip.seed)
    else:
        clip = drown(clip, rng)
        samples = clip.samples
    return (samples, clip, question) if question else None


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


_POSERS: dict[str, Callable[[Clip, np.random.Generator], Posed | None]] = {
    "gold_removed": _about_itself(gold_removed),
    "wrong_modality": _about_itself(wrong_modality),
    "unheard": _about_itself(unheard),
    "silence": lambda clip, rng: _of_masked("silence", clip, rng),
    "low_snr": lambda clip, rng: _of_masked("low_snr", clip, rng),
    "swapped": _swapped,
}
"""Family -> poser of what is heard, its clip and a question; None where this clip gives none."""
