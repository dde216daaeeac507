"""Questions that a clip cannot answer by their construction, of the families that need no other clip.

The truth is not among the choices; another modality is asked about; nothing audio tells is asked for; or, in clips of
a class that training never meets, every choice is a class that it does.
"""

import numpy as np

from lalm_agent.records import AudioType
from lalm_agent.training.synth import questions_music as music
from lalm_agent.training.synth import questions_sound as sound
from lalm_agent.training.synth import questions_speech as speech
from lalm_agent.training.synth.drafts import Draft
from lalm_agent.training.synth.labels import SOUND_EVENTS
from lalm_agent.training.synth.languages import LANGUAGES, NEVER_MET_LANGUAGES
from lalm_agent.training.synth.questions import choose, make_drafts, without_answer, worded
from lalm_agent.training.synth.records import Clip, SpeechFacts, SynthQuestion
from lalm_agent.training.synth.sound_textures import TEXTURES
from lalm_agent.training.synth.unheard import unheard_question
from lalm_agent.training.synth.words import CLOSED_WORDS, WORD_GROUPS

MIN_WRONG = 3
_OPEN_SHARE = 0.25

POOLS: dict[AudioType, dict[str, tuple[str, ...]]] = {
    AudioType.SOUND: {
        "sound_class": SOUND_EVENTS,
        "animal": tuple(sound.ANIMALS.values()),
        "first_sound": SOUND_EVENTS,
        "last_sound": SOUND_EVENTS,
        "background": tuple(TEXTURES),
        "most_frequent": SOUND_EVENTS,
        "scene": sound.PLACE_NAMES,
        "count": sound.NUMBERS[1:7],
        "next_sound": SOUND_EVENTS,
    },
    AudioType.MUSIC: {
        "instrument": music.NAMES,
        "accompaniment": music.NAMES,
        "instrument_family": music.FAMILIES,
        "tempo": music.TEMPI,
        "direction": music.DIRECTIONS,
        "mode": music.MODES,
        "metre": music.METRES,
        "texture": music.TEXTURES,
    },
    AudioType.SPEECH: {
        "gender": speech.GENDERS,
        "language": tuple(LANGUAGES),
        "word_heard": CLOSED_WORDS,
        "first_word": CLOSED_WORDS,
        "last_word": CLOSED_WORDS,
        "next_word": CLOSED_WORDS,
        "word_count": sound.NUMBERS[1:7],
        "rate": speech.RATES,
        "topic": tuple(WORD_GROUPS),
        "first_speaker": speech.VOICES,
    },
}
"""Modality -> skill that makes no sense for another modality -> what its choices are drawn from."""


def make_unanswerable(clip: Clip, rng: np.random.Generator) -> SynthQuestion:
    """A question that the clip cannot answer, of a drawn family of `gold_removed`, `wrong_modality` and `unheard`."""
    makers = (gold_removed, wrong_modality, unheard_question)
    order = rng.permutation(len(makers))
    return next(made for at in order if (made := makers[at](clip, rng)) is not None)


def gold_removed(clip: Clip, rng: np.random.Generator) -> SynthQuestion | None:
    """A question with three or four choices, none of which is true; None where the clip is asked no such one."""
    draft = choose([draft for draft in make_drafts(clip, rng) if len(draft.wrong) >= MIN_WRONG], clip, rng)
    if draft is None:
        return None
    wrong = list(draft.wrong[: int(rng.integers(3, 5))])
    rng.shuffle(wrong)
    return without_answer(worded(draft, clip, tuple(wrong), rng), "gold_removed")


def foreign_modalities(clip: Clip) -> list[AudioType]:
    """The modalities of which nothing at all is in the clip: not music where it plays behind speech, and so on."""
    absent = [kind for kind in AudioType if kind is not clip.facts.modality]
    detail = clip.facts.detail
    if isinstance(detail, SpeechFacts):
        behind = {"music": AudioType.MUSIC, "noise": AudioType.SOUND}.get(detail.background)
        absent = [kind for kind in absent if kind is not behind]
    return absent


def wrong_modality(clip: Clip, rng: np.random.Generator) -> SynthQuestion:
    """A question about a modality that the clip does not have."""
    kinds = foreign_modalities(clip)
    pools = POOLS[kinds[int(rng.integers(len(kinds)))]]
    name = list(pools)[int(rng.integers(len(pools)))]
    choices = tuple(str(choice) for choice in rng.choice(pools[name], min(4, len(pools[name])), replace=False))
    blank = str(rng.choice([one for one in pools[name] if one not in choices] or choices))
    blank = str(rng.choice(SOUND_EVENTS)) if name == "count" else blank
    shown = () if rng.random() < _OPEN_SHARE else choices
    return without_answer(worded(Draft(name, "", (), blank), clip, shown, rng), "wrong_modality")


def class_never_met(clip: Clip, name: str, rng: np.random.Generator) -> SynthQuestion:
    """What a clip of a class never met is asked: which of the classes that training knows it is."""
    kind = clip.facts.modality
    skill = {AudioType.SOUND: "sound_class", AudioType.MUSIC: "instrument"}.get(kind, "word_heard")
    skill = "language" if name in NEVER_MET_LANGUAGES else skill
    pool = POOLS[kind][skill]
    choices = tuple(str(choice) for choice in rng.choice(pool, 4, replace=False))
    return without_answer(worded(Draft(skill, "", ()), clip, choices, rng), "class_never_met")
