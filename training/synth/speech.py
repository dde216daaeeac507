"""Composes speech: closed-vocabulary words, sentences, word salad, other languages, two speakers."""

from dataclasses import dataclass

import numpy as np

from lalm_agent.records import AudioType
from lalm_agent.training.synth.dsp import Dial, Wave, level, pause
from lalm_agent.training.synth.espeak import Utterance, phones, speak
from lalm_agent.training.synth.languages import LANGUAGES, NEVER_MET_LANGUAGES, sentence
from lalm_agent.training.synth.levels import SPECS, Level, Spec
from lalm_agent.training.synth.records import Facts, SpeechFacts
from lalm_agent.training.synth.sentences import english_sentence
from lalm_agent.training.synth.voices import draw_voice
from lalm_agent.training.synth.words import CLOSED_WORDS, WORD_GROUPS, salad_words

KINDS = ("words", "sentence", "foreign", "salad", "dialogue")
RATE_WEIGHTS = (0.3, 0.4, 0.3)
GENDERS = ("male", "female")
ONE_GROUP_SHARE = 0.4
"""Of the clips of few words, those whose words all belong to one thing."""


def make_speech(dial: Dial, difficulty: Level) -> tuple[Wave, Facts]:
    """An utterance (n,) float64 with peak near 1, and its facts; background and noise come later."""
    spec = SPECS[difficulty]
    kind = KINDS[int(dial.rng.choice(len(KINDS), p=spec.kinds))]
    if kind == "dialogue":
        return _dialogue(dial, spec)
    gender = dial.pick(GENDERS)
    rate = list(spec.rates)[int(dial.rng.choice(len(spec.rates), p=RATE_WEIGHTS))]
    language, words = "English", _words(dial, spec) if kind == "words" else ()
    if kind == "words":
        text = " ".join(words)
    elif kind == "sentence":
        text = english_sentence(dial)
    elif kind == "salad":
        pool = salad_words(dial.pool)
        text = " ".join(dial.pick(pool) for _ in range(dial.count(2, 7)))
    else:
        language = dial.pick([name for name in LANGUAGES if name != "English"])
        text = sentence(dial, language)
    spoken = ", ".join(words) if words and dial.chance(spec.paused) else text
    said = say(dial, spoken, language, gender, spec.rates[rate])
    label = "sentence" if kind == "foreign" else kind
    transcript = text if language == "English" else None
    detail = SpeechFacts(label, (gender,), language, rate, words, topic_of(words))
    return said.wave, speech_facts(detail, transcript, said.phones)


def _words(dial: Dial, spec: Spec) -> tuple[str, ...]:
    """Different closed words; sometimes all of one group, which then is their topic."""
    count = dial.count(*spec.words)
    group = dial.pick(tuple(WORD_GROUPS.values()))
    pool = group if count <= len(group) and dial.chance(ONE_GROUP_SHARE) else CLOSED_WORDS
    return tuple(pool[int(i)] for i in dial.rng.choice(len(pool), count, replace=False))


def topic_of(words: tuple[str, ...]) -> str | None:
    """What all the words belong to, None if they do not belong to one thing."""
    return next((topic for topic, group in WORD_GROUPS.items() if words and set(words) <= set(group)), None)


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """Speech with peak 1, and its phones."""

    wave: Wave
    phones: tuple[str, ...]


def say(dial: Dial, text: str, language: str, gender: str, wpm: tuple[int, int]) -> Said:
    """Speak a text with a voice of the dial's pool."""
    voice = draw_voice(dial, gender)
    accent = dial.pick((LANGUAGES | NEVER_MET_LANGUAGES)[language].voices)
    # The stretch of the voice speeds speech up or slows it down: taken back here.
    pace = int(dial.rng.integers(*wpm) / voice.stretch)
    asked = Utterance(text, f"{accent}+{voice.variant}", pace, voice.pitch, voice.pitch_range, voice.stretch)
    return Said(level(speak(asked), 1.0), phones(text, accent))


def _dialogue(dial: Dial, spec: Spec) -> tuple[Wave, Facts]:
    """Two voices, one sentence each."""
    first = dial.pick(GENDERS)
    second = first if dial.chance(spec.alike) else GENDERS[1 - GENDERS.index(first)]
    genders = (first, second)
    texts = [english_sentence(dial) for _ in genders]
    turns = [
        (say(dial, text, "English", gender, spec.rates["normal"]), dial.rng.uniform(0.6, 1.0))
        for text, gender in zip(texts, genders, strict=True)
    ]
    first_turn, second_turn = (said.wave * loudness for said, loudness in turns)
    wave = np.concatenate([first_turn, pause(float(dial.rng.uniform(0.1, 0.5))), second_turn])
    spoken = tuple(phone for said, _ in turns for phone in said.phones)
    return wave, speech_facts(SpeechFacts("dialogue", genders, "English", "normal"), " ".join(texts), spoken)


def speech_caption(detail: SpeechFacts) -> str:
    """What a caption tool should say about the voices and what is behind them."""
    if len(detail.genders) > 1:
        caption = f"a {detail.genders[0]} and a {detail.genders[1]} voice speaking {detail.language}"
    else:
        manner = {"slow": " slowly", "fast": " fast"}.get(detail.rate, "")
        caption = f"a {detail.genders[0]} voice speaking {detail.language}{manner}"
    behind = {"music": " over music", "noise": " over background noise"}
    return caption + behind.get(detail.background, "")


def speech_facts(detail: SpeechFacts, transcript: str | None, spoken: tuple[str, ...]) -> Facts:
    """Caption, tags and known groups of an utterance."""
    speakers = "one speaker" if len(detail.genders) == 1 else "two speakers"
    tags = [str(AudioType.SPEECH), *dict.fromkeys(detail.genders), detail.language, f"{detail.rate} speech", speakers]
    tags += list(detail.words)
    tags += [detail.topic] if detail.topic else []
    tags += [f"{detail.background} behind speech"] if detail.background != "nothing" else []
    known = ["modality", "gender", "language", "rate", "speakers", "background"]
    known += ["word"] if detail.words else []
    known += ["topic"] if detail.topic else []
    known += ["sound_event", "instrument"] if detail.background == "nothing" else []
    caption = speech_caption(detail)
    return Facts(AudioType.SPEECH, caption, transcript, detail.words, tuple(tags), tuple(known), detail, spoken)
