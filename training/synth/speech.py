"""Composes speech with espeak-ng: closed-vocabulary words, sentences, word salad, other languages, two speakers.

espeak-ng keeps wave phase and flutter in static variables that nothing resets, so that an utterance depends on those
before it. The library is therefore opened afresh for every utterance and unloaded after it (0.3 ms).

A voice variant is spoken at a drawn pitch and then stretched as a whole, which moves its formants as the size of a
head does: so a few dozen variants become a wide range of heads.
"""

import _ctypes
import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lalm_agent.errors import PermanentBackendError
from lalm_agent.records import AudioType
from lalm_agent.training.synth import words as w
from lalm_agent.training.synth.dsp import Dial, Wave, level, pause
from lalm_agent.training.synth.levels import SPECS, LevelSpec
from lalm_agent.training.synth.records import SAMPLE_RATE, Facts, Level, SpeechFacts
from lalm_agent.training.synth.words import CLOSED_WORDS, ENGLISH, LANGUAGES

PHONES: tuple[str, ...] = tuple("abdefhijklmnopqrstuvwxyzäæçðøŋœɐɑɒɔɕəɚɛɜɡɣɨɪɭɯɲɵɹɽɾʁʃʉʊʌʑʒʲβθχᵝᵻũ")
"""The IPA letters that espeak-ng writes for the languages of the synthesiser. Stress and length are left out."""
PITCHES = {"male": (25.0, 99.0), "female": (28.0, 75.0)}
STRETCHES = {"male": (0.88, 1.06), "female": (0.95, 1.1)}
"""By how much pitch and formants are raised together; above 1 is a smaller head."""
PITCH_RANGE = (15.0, 90.0)
RATE_WEIGHTS = {"slow": 0.3, "normal": 0.4, "fast": 0.3}
GENDERS = ("male", "female")
ONE_GROUP_SHARE = 0.4
"""Of the clips of few words, those whose words all belong to one thing."""
_SYNCHRONOUS, _UTF8, _IPA = 2, 1, 2
_RATE, _PITCH, _RANGE = 1, 3, 4
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def make_speech(dial: Dial, difficulty: Level) -> tuple[Wave, Facts]:
    """An utterance (n,) float64 with peak near 1, and its facts; background and noise come later."""
    spec = SPECS[difficulty]
    kind = dial.weighted(spec.kinds)
    if kind == "dialogue":
        return _dialogue(dial, spec)
    gender = dial.pick(GENDERS)
    rate = dial.weighted(RATE_WEIGHTS)
    language, words = "English", _words(dial, spec) if kind == "words" else ()
    if kind == "words":
        text = " ".join(words)
    elif kind == "sentence":
        text = w.english_sentence(dial)
    elif kind == "salad":
        pool = w.share(ENGLISH.other, dial.pool)
        text = " ".join(dial.pick(pool) for _ in range(dial.count(2, 7)))
    else:
        language = dial.pick([name for name in LANGUAGES if name != "English"])
        text = w.sentence(dial, language)
    spoken = ", ".join(words) if words and dial.chance(spec.paused) else text
    wave, spoken_phones = say(dial, spoken, language, gender, spec.rates[rate])
    detail = SpeechFacts("sentence" if kind == "foreign" else kind, (gender,), language, rate, words, topic_of(words))
    return wave, speech_facts(detail, text if language == "English" else None, spoken_phones)


def _words(dial: Dial, spec: LevelSpec) -> tuple[str, ...]:
    """Different closed words; sometimes all of one group, which then is their topic."""
    count = dial.count(*spec.words)
    group = dial.pick(tuple(ENGLISH.closed_groups.values()))
    pool = group if count <= len(group) and dial.chance(ONE_GROUP_SHARE) else CLOSED_WORDS
    return tuple(pool[int(i)] for i in dial.rng.choice(len(pool), count, replace=False))


def topic_of(words: tuple[str, ...]) -> str | None:
    """What all the words belong to, None if they do not belong to one thing."""
    return next((topic for topic, group in ENGLISH.closed_groups.items() if words and set(words) <= set(group)), None)


def say(dial: Dial, text: str, language: str, gender: str, wpm: tuple[int, int]) -> tuple[Wave, tuple[str, ...]]:
    """Speak a text with a voice of the dial's pool: (n,) with peak 1, and its phones."""
    variant = dial.pick(w.VOICES[gender][dial.pool])
    pitch, pitch_range = round(dial.between(*PITCHES[gender])), round(dial.between(*PITCH_RANGE))
    stretch = dial.between(*STRETCHES[gender])
    accent = dial.pick(w.ALL_LANGUAGES[language].voices)
    # The stretch of the voice speeds speech up or slows it down: taken back here.
    pace = int(dial.rng.integers(*wpm) / stretch)
    utterance = Utterance(text, f"{accent}+{variant}", pace, pitch, pitch_range, stretch)
    return level(speak(utterance), 1.0), phones(text, accent)


def _dialogue(dial: Dial, spec: LevelSpec) -> tuple[Wave, Facts]:
    first = dial.pick(GENDERS)
    second = first if dial.chance(spec.alike) else GENDERS[1 - GENDERS.index(first)]
    genders = (first, second)
    texts = [w.english_sentence(dial) for _ in genders]
    turns = [
        (say(dial, text, "English", gender, spec.rates["normal"]), dial.rng.uniform(0.6, 1.0))
        for text, gender in zip(texts, genders, strict=True)
    ]
    first_turn, second_turn = (wave * loudness for (wave, _), loudness in turns)
    wave = np.concatenate([first_turn, pause(float(dial.rng.uniform(0.1, 0.5))), second_turn])
    spoken = tuple(phone for (_, turn_phones), _ in turns for phone in turn_phones)
    return wave, speech_facts(SpeechFacts("dialogue", genders, "English", "normal"), " ".join(texts), spoken)


def speech_facts(detail: SpeechFacts, transcript: str | None, spoken: tuple[str, ...]) -> Facts:
    """Caption, tags and known groups of an utterance; spoken: its phones."""
    quiet = detail.background == "nothing"
    if len(detail.genders) == 1:
        speakers = "one speaker"
        manner = {"slow": " slowly", "fast": " fast"}.get(detail.rate, "")
        caption = f"a {detail.genders[0]} voice speaking {detail.language}{manner}"
    else:
        speakers = "two speakers"
        caption = f"a {detail.genders[0]} and a {detail.genders[1]} voice speaking {detail.language}"
    caption += {"music": " over music", "noise": " over background noise"}.get(detail.background, "")
    tags = [str(AudioType.SPEECH), *dict.fromkeys(detail.genders), detail.language, f"{detail.rate} speech", speakers]
    tags += [*detail.words, *([detail.topic] if detail.topic else [])]
    tags += [] if quiet else [f"{detail.background} behind speech"]
    known = ["modality", "gender", "language", "rate", "speakers", "background"]
    known += ["word"] if detail.words else []
    known += ["topic"] if detail.topic else []
    known += ["sound_event", "instrument"] if quiet else []
    return Facts(AudioType.SPEECH, caption, transcript, detail.words, tuple(tags), tuple(known), detail, spoken)


@dataclass(frozen=True, slots=True)
class Utterance:
    """What to say and how. `voice`: an espeak-ng voice such as "en-us+f2"; `wpm`: words a minute; pitch, range 0-99.

    stretch: by how much pitch and formants are raised together; the rate of speaking rises with them.
    """

    text: str
    voice: str
    wpm: int = 165
    pitch: int = 50
    pitch_range: int = 50
    stretch: float = 1.0


@contextmanager
def _opened(voice: str) -> Iterator[tuple[ctypes.CDLL, int]]:
    """The library as if nothing had ever been spoken, with a voice, and its sampling rate in Hz."""
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    try:
        rate = int(library.espeak_Initialize(_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0))
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise PermanentBackendError(f"espeak-ng has no voice {voice!r}")
        yield library, rate
        library.espeak_Terminate()
    finally:
        if sys.platform == "win32":
            _ctypes.FreeLibrary(library._handle)
        else:
            _ctypes.dlclose(library._handle)


def phones(text: str, voice: str) -> tuple[str, ...]:
    """The phones of a text in the pronunciation of a voice such as "en-us", as far as `PHONES` has them.

    Raises:
        PermanentBackendError: espeak-ng does not know the voice.
    """
    rest, written = ctypes.c_char_p(text.encode()), ""
    with _opened(voice) as (library, _):
        library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        while rest.value:
            written += (library.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, _IPA) or b"").decode()
    return tuple(letter for letter in written if letter in PHONES)


def speak(utterance: Utterance) -> Wave:
    """Synthesise an utterance: (n,) float64 mono at 16 kHz, without the silence around it.

    Raises:
        PermanentBackendError: espeak-ng does not know the voice or said nothing.
    """
    import soxr

    chunks: list[NDArray[np.int16]] = []

    def collect(samples: Any, count: int, _: Any) -> int:
        if samples and count > 0:
            chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    callback = _CALLBACK(collect)
    with _opened(utterance.voice) as (library, rate):
        library.espeak_SetSynthCallback(callback)
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        settings = ((_RATE, utterance.wpm), (_PITCH, utterance.pitch), (_RANGE, utterance.pitch_range))
        for parameter, value in settings:
            library.espeak_SetParameter(parameter, value, 0)
        text = utterance.text.encode()
        library.espeak_Synth(text, ctypes.c_size_t(len(text) + 1), 0, 0, 0, _UTF8, None, None)
        library.espeak_Synchronize()
    if not chunks:
        raise PermanentBackendError(f"espeak-ng said nothing for {utterance.text!r}")
    said = np.concatenate(chunks).astype(np.float64) / 32768
    wave: Wave = soxr.resample(said, rate * utterance.stretch, SAMPLE_RATE, quality="MQ")
    loud = np.flatnonzero(np.abs(wave) > 0.005)
    return wave[loud[0] : loud[-1] + 1] if len(loud) else wave


def spoken(text: str) -> tuple[NDArray[np.float32], int]:
    """A text in one plain voice: (n,) float32 mono with peak 1, and its rate in Hz. Raises as `speak`."""
    return level(speak(Utterance(text, "en-us")), 1.0).astype(np.float32), SAMPLE_RATE
