"""What unseen clips are made of is never in train's pools."""

from itertools import product

import numpy as np
import pytest

from lalm_agent.errors import PermanentBackendError
from lalm_agent.training.synth.effects import SEEN_COLOURS, UNSEEN_COLOURS
from lalm_agent.training.synth.espeak import Utterance, speak
from lalm_agent.training.synth.fluid import Note, Room, render
from lalm_agent.training.synth.instruments import INSTRUMENTS
from lalm_agent.training.synth.languages import LANGUAGES, foreign_sentence
from lalm_agent.training.synth.sentences import TOPICS, english_sentence
from lalm_agent.training.synth.voices import VARIANTS
from lalm_agent.training.synth.wording import expand
from lalm_agent.training.synth.words import CLOSED_WORDS, OTHER_WORDS, salad_words, unheard_nouns

FOREIGN = [name for name in LANGUAGES if name != "English"]


def test_voices_are_disjoint() -> None:
    seen = {variant for pools in VARIANTS.values() for variant in pools[True]}
    unseen = {variant for pools in VARIANTS.values() for variant in pools[False]}
    assert not seen & unseen
    assert not {*VARIANTS["male"][True], *VARIANTS["male"][False]} & {
        *VARIANTS["female"][True],
        *VARIANTS["female"][False],
    }


def test_programs_are_disjoint() -> None:
    seen = [program for instrument in INSTRUMENTS.values() for program in instrument.train]
    unseen = [program for instrument in INSTRUMENTS.values() for program in instrument.held]
    assert len(set(seen + unseen)) == len(seen) + len(unseen)
    assert all(0 <= program < 128 for program in seen + unseen)


def test_noise_words_and_nouns_are_disjoint() -> None:
    assert not set(SEEN_COLOURS) & set(UNSEEN_COLOURS)
    assert not set(salad_words(True)) & set(salad_words(False))
    assert not set(unheard_nouns(True)) & set(unheard_nouns(False))
    assert not set(OTHER_WORDS) & set(CLOSED_WORDS)
    assert len(CLOSED_WORDS) == len(set(CLOSED_WORDS)) == 60


@pytest.mark.parametrize("topic", TOPICS)
def test_english_sentences_are_disjoint(topic: str) -> None:
    *train, held = TOPICS[topic]
    assert not {text for pattern in train for text in expand(pattern)} & set(expand(held))
    rng = np.random.default_rng(0)
    assert english_sentence(rng, topic, seen=False) in expand(held)
    assert english_sentence(rng, topic, seen=True) not in expand(held)


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_sentences_are_disjoint_and_many(name: str) -> None:
    rng = np.random.default_rng(0)
    train = {foreign_sentence(rng, name, True) for _ in range(600)}
    held = {foreign_sentence(rng, name, False) for _ in range(100)}
    assert not train & held
    assert len(train) >= 40


@pytest.mark.parametrize("gender", VARIANTS)
def test_every_voice_is_deterministic_and_a_voice_of_its_gender(engines: None, gender: str) -> None:
    for variant in VARIANTS[gender][True] + VARIANTS[gender][False]:
        utterance = Utterance("hello my friend where are you going", f"en-us+{variant}")
        first = speak(utterance)
        speak(Utterance("buongiorno", "it+f1", 220, 70))
        np.testing.assert_array_equal(first, speak(utterance))
        assert (_pitch_hz(first) > 150) == (gender == "female"), variant


def _pitch_hz(wave: np.ndarray) -> float:
    """Median pitch over the loud frames, from the highest peak of the autocorrelation."""
    found = []
    for start in range(0, len(wave) - 1024, 512):
        frame = wave[start : start + 1024] * np.hanning(1024)
        if np.sqrt(np.mean(frame**2)) > 0.2 * np.sqrt(np.mean(wave**2)):
            correlation = np.fft.irfft(np.abs(np.fft.rfft(frame, 4096)) ** 2)
            found.append(16000 / (40 + int(np.argmax(correlation[40:230]))))
    return float(np.median(found))


@pytest.mark.parametrize("name", LANGUAGES)
def test_every_language_has_a_voice(engines: None, name: str) -> None:
    rng = np.random.default_rng(0)
    for voice in LANGUAGES[name].voices:
        text = "hello there" if name == "English" else foreign_sentence(rng, name, True)
        assert 0.3 * 16000 < len(speak(Utterance(text, f"{voice}+m3"))) < 10 * 16000


def test_an_unknown_voice_is_refused(engines: None) -> None:
    with pytest.raises(PermanentBackendError, match="no voice"):
        speak(Utterance("hello", "xx-nowhere"))


def test_every_program_sounds_over_its_whole_range(engines: None) -> None:
    for instrument in INSTRUMENTS.values():
        keys = (instrument.low, (instrument.low + instrument.high) // 2, instrument.high)
        for program, key in product(instrument.train + instrument.held, keys):
            wave = render([Note(0.0, 0.4, 0, key, 100)], {0: program}, 0.5, Room())
            assert np.isfinite(wave).all()
            assert np.abs(wave).max() > 0.005, program


def test_a_piece_does_not_depend_on_the_one_before(engines: None) -> None:
    notes = [Note(k * 0.2, 0.18, 0, 60 + k, 90) for k in range(5)] + [Note(0.1, 0.1, 9, 38, 90)]
    first = render(notes, {0: 40}, 1.3, Room(level=0.6))
    render([Note(0, 2.0, 0, 70, 120)], {0: 90}, 0.7, Room(0.9, 0.1, 1.0))
    np.testing.assert_array_equal(first, render(notes, {0: 40}, 1.3, Room(level=0.6)))
