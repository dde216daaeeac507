"""Questions that a clip cannot answer: the truth not among the choices, another modality, or nothing audio tells."""

from dataclasses import replace

import numpy as np

from lalm_agent.records import AudioType
from lalm_agent.training.synth import questions_music as music
from lalm_agent.training.synth import questions_sound as sound
from lalm_agent.training.synth import questions_speech as speech
from lalm_agent.training.synth.drafts import Draft, level_of
from lalm_agent.training.synth.labels import SOUND_EVENTS
from lalm_agent.training.synth.languages import LANGUAGES
from lalm_agent.training.synth.records import Clip, SpeechFacts, SynthQuestion
from lalm_agent.training.synth.sentences import TOPICS
from lalm_agent.training.synth.skills import SKILLS
from lalm_agent.training.synth.sound_textures import TEXTURES
from lalm_agent.training.synth.unheard import unheard_question
from lalm_agent.training.synth.wording import draw
from lalm_agent.training.synth.words import CLOSED_WORDS

MIN_WRONG = 3
UNHEARD_PER_CLIP = 3

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
        "topic": tuple(TOPICS),
        "first_speaker": speech.VOICES,
    },
}
"""Modality -> skill that makes no sense for another modality -> what its choices are drawn from."""


def unanswerable_questions(clip: Clip, drafts: list[Draft], rng: np.random.Generator) -> list[SynthQuestion]:
    """All families for one clip: `drafts` are its answerable questions, from which the truth is taken away."""
    questions = [_removed(draft, clip, rng) for draft in drafts if len(draft.wrong) >= MIN_WRONG]
    questions += [_elsewhere(kind, clip, rng) for kind in foreign_modalities(clip)]
    questions += [unheard_question(clip, rng) for _ in range(UNHEARD_PER_CLIP)]
    return questions


def foreign_modalities(clip: Clip) -> list[AudioType]:
    """The modalities of which nothing at all is in the clip: not music where it plays behind speech, and so on."""
    absent = [kind for kind in AudioType if kind is not clip.facts.modality]
    detail = clip.facts.detail
    if isinstance(detail, SpeechFacts):
        behind = {"music": AudioType.MUSIC, "noise": AudioType.SOUND}.get(detail.background)
        absent = [kind for kind in absent if kind is not behind]
    return absent


def _removed(draft: Draft, clip: Clip, rng: np.random.Generator) -> SynthQuestion:
    """The question with three or four choices, none of which is true."""
    wrong = list(draft.wrong[: int(rng.integers(3, 5))])
    rng.shuffle(wrong)
    return _unanswerable(draft, clip, tuple(wrong), rng, "gold_removed")


def _elsewhere(kind: AudioType, clip: Clip, rng: np.random.Generator) -> SynthQuestion:
    """A question about a modality that the clip does not have."""
    pools = POOLS[kind]
    name = list(pools)[int(rng.integers(len(pools)))]
    choices = [str(choice) for choice in rng.choice(pools[name], min(4, len(pools[name])), replace=False)]
    blank = str(rng.choice([word for word in pools[name] if word not in choices] or choices))
    blank = str(rng.choice(SOUND_EVENTS)) if name == "count" else blank
    open_question = rng.random() < 0.25
    return _unanswerable(
        Draft(name, "", (), blank), clip, () if open_question else tuple(choices), rng, "wrong_modality"
    )


def _unanswerable(
    draft: Draft, clip: Clip, choices: tuple[str, ...], rng: np.random.Generator, family: str
) -> SynthQuestion:
    skill = SKILLS[draft.skill]
    patterns = skill.train if clip.seen else skill.held
    text = draw(patterns[int(rng.integers(len(patterns)))], rng).replace("<x>", draft.blank)
    level = level_of(clip, draft)
    question = SynthQuestion(text, choices, None, skill.name, skill.category, skill.sub_category, level)
    return replace(question, answerable=False, family=family)
