"""Composes speech: closed-vocabulary words, sentences, word salad, other languages, two speakers."""

import numpy as np

from lalm_agent.records import AudioType
from lalm_agent.training.synth.dsp import Wave, level, pause
from lalm_agent.training.synth.espeak import Utterance, speak
from lalm_agent.training.synth.languages import LANGUAGES, foreign_sentence
from lalm_agent.training.synth.records import Facts, SpeechFacts
from lalm_agent.training.synth.sentences import TOPICS, english_sentence
from lalm_agent.training.synth.voices import draw_voice
from lalm_agent.training.synth.words import CLOSED_WORDS, salad_words

KINDS = ("words", "sentence", "foreign", "salad", "dialogue")
KIND_WEIGHTS = (0.46, 0.16, 0.2, 0.07, 0.11)
RATES: dict[str, tuple[int, int]] = {"slow": (95, 120), "normal": (150, 185), "fast": (250, 320)}
RATE_WEIGHTS = (0.25, 0.5, 0.25)
GENDERS = ("male", "female")
MAX_WORDS = 6


def make_speech(rng: np.random.Generator, seen: bool) -> tuple[Wave, Facts]:
    """An utterance (n,) float64 with peak near 1, and its facts; background and noise come later."""
    kind = KINDS[int(rng.choice(len(KINDS), p=KIND_WEIGHTS))]
    if kind == "dialogue":
        return _dialogue(rng, seen)
    gender = GENDERS[int(rng.integers(2))]
    rate = list(RATES)[int(rng.choice(len(RATES), p=RATE_WEIGHTS))]
    language, words, topic = "English", (), None
    if kind == "words":
        count = int(rng.integers(1, MAX_WORDS + 1))
        words = tuple(CLOSED_WORDS[i] for i in rng.choice(len(CLOSED_WORDS), count, replace=False))
        text = " ".join(words)
    elif kind == "sentence":
        topic = _topic(rng)
        text = english_sentence(rng, topic, seen)
    elif kind == "salad":
        pool = salad_words(seen)
        text = " ".join(pool[int(i)] for i in rng.integers(len(pool), size=int(rng.integers(2, 8))))
    else:
        others = [name for name in LANGUAGES if name != "English"]
        language = others[int(rng.integers(len(others)))]
        text = foreign_sentence(rng, language, seen)
    spoken = ", ".join(words) if words and rng.random() < 0.5 else text
    wave = _say(rng, spoken, (language, gender, rate), seen)
    label = "sentence" if kind == "foreign" else kind
    transcript = text if language == "English" else None
    return wave, speech_facts(SpeechFacts(label, (gender,), language, rate, words, topic), transcript)


def _topic(rng: np.random.Generator) -> str:
    return list(TOPICS)[int(rng.integers(len(TOPICS)))]


def _say(rng: np.random.Generator, text: str, manner: tuple[str, str, str], seen: bool) -> Wave:
    """Speak a text in a (language, gender, rate) with a voice of the pool."""
    language, gender, rate = manner
    variant, pitch, pitch_range = draw_voice(rng, gender, seen)
    accents = LANGUAGES[language].voices
    voice = f"{accents[int(rng.integers(len(accents)))]}+{variant}"
    wpm = int(rng.integers(*RATES[rate]))
    return level(speak(Utterance(text, voice, wpm, pitch, pitch_range)), 1.0)


def _dialogue(rng: np.random.Generator, seen: bool) -> tuple[Wave, Facts]:
    """Two voices, one sentence each, about one topic."""
    topic = _topic(rng)
    genders = tuple(GENDERS[int(i)] for i in rng.integers(2, size=2)) if rng.random() < 0.3 else GENDERS
    if rng.random() < 0.5:
        genders = genders[::-1]
    texts = [english_sentence(rng, topic, seen) for _ in genders]
    turns = [
        _say(rng, text, ("English", gender, "normal"), seen) * rng.uniform(0.6, 1.0)
        for text, gender in zip(texts, genders, strict=True)
    ]
    wave = np.concatenate([turns[0], pause(float(rng.uniform(0.1, 0.5))), turns[1]])
    return wave, speech_facts(SpeechFacts("dialogue", genders, "English", "normal", (), topic), " ".join(texts))


def speech_caption(detail: SpeechFacts) -> str:
    """What a caption tool should say about the voices and what is behind them."""
    if len(detail.genders) > 1:
        caption = f"a {detail.genders[0]} and a {detail.genders[1]} voice speaking {detail.language}"
    else:
        manner = {"slow": " slowly", "fast": " fast"}.get(detail.rate, "")
        caption = f"a {detail.genders[0]} voice speaking {detail.language}{manner}"
    behind = {"music": " over music", "noise": " over background noise"}
    return caption + behind.get(detail.background, "")


def speech_facts(detail: SpeechFacts, transcript: str | None) -> Facts:
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
    return Facts(AudioType.SPEECH, speech_caption(detail), transcript, detail.words, tuple(tags), tuple(known), detail)
