"""Clips of classes that training never meets: two sounds, two textures, instruments, languages, words."""

from lalm_agent.records import AudioType
from lalm_agent.training.synth.dsp import Dial, Wave, length, level
from lalm_agent.training.synth.instruments import NEVER_MET_INSTRUMENTS
from lalm_agent.training.synth.languages import NEVER_MET_LANGUAGES, sentence
from lalm_agent.training.synth.levels import SPECS, Level
from lalm_agent.training.synth.music import make_music
from lalm_agent.training.synth.records import Facts, MusicFacts, SoundFacts, SpeechFacts
from lalm_agent.training.synth.sound import faded
from lalm_agent.training.synth.sound_events import NEVER_MET_EVENTS
from lalm_agent.training.synth.sound_textures import NEVER_MET_TEXTURES
from lalm_agent.training.synth.speech import say
from lalm_agent.training.synth.words import NEVER_MET_WORDS

NEVER_MET_SOUNDS: tuple[str, ...] = (*NEVER_MET_EVENTS, *NEVER_MET_TEXTURES)
Strange = tuple[Wave, Facts, str]


def strange_sound(dial: Dial, _: Level) -> Strange:
    """One sound never met."""
    name = dial.pick(NEVER_MET_SOUNDS)
    if name in NEVER_MET_EVENTS:
        wave = level(NEVER_MET_EVENTS[name](dial), 1.0)
    else:
        wave = faded(level(NEVER_MET_TEXTURES[name](dial, length(dial.rng.uniform(1.2, 6))), 1.0))
    detail = SoundFacts(((name, 0),))
    return wave, Facts(AudioType.SOUND, name, None, (), (str(AudioType.SOUND),), ("modality",), detail), name


def strange_music(dial: Dial, difficulty: Level) -> Strange:
    """A melody of an instrument never met."""
    name = dial.pick(tuple(NEVER_MET_INSTRUMENTS))
    wave, facts = make_music(dial, difficulty, (name,))
    assert isinstance(facts.detail, MusicFacts)
    tags, known = (str(AudioType.MUSIC),), ("modality",)
    return wave, Facts(AudioType.MUSIC, facts.caption, None, (), tags, known, facts.detail), name


def strange_speech(dial: Dial, difficulty: Level) -> Strange:
    """A language never met, or one English word."""
    gender, rates = dial.pick(("male", "female")), SPECS[difficulty].rates
    if dial.chance(0.5):
        name = text = dial.pick(NEVER_MET_WORDS)
        language, kind, transcript = "English", "salad", name
    else:
        language = name = dial.pick(tuple(NEVER_MET_LANGUAGES))
        text, kind, transcript = sentence(dial, language), "sentence", None
    wave = say(dial, text, language, gender, rates["normal"]).wave
    detail = SpeechFacts(kind, (gender,), language, "normal")
    caption = f"a {gender} voice speaking {language}"
    tags, known = (str(AudioType.SPEECH),), ("modality",)
    return wave, Facts(AudioType.SPEECH, caption, transcript, (), tags, known, detail), name
