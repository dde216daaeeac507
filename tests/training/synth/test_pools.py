"""What the pools are made of: everything expanded, no two pools share a piece. And each piece can be heard."""

import re
from itertools import chain, combinations, product

import numpy as np
import pytest

from lalm_agent.training.mini.targets import TABLE
from lalm_agent.training.synth.clips import MASKING
from lalm_agent.training.synth.dsp import COLOURS, Dial
from lalm_agent.training.synth.fluid import DRUM_CHANNEL, Note, Room, render
from lalm_agent.training.synth.labels import LABEL_GROUPS
from lalm_agent.training.synth.music import DRUM_KITS, HELD_OUT_INSTRUMENTS, INSTRUMENTS
from lalm_agent.training.synth.questions import SKILLS
from lalm_agent.training.synth.records import Pool
from lalm_agent.training.synth.sound_sources import HELD_OUT_EVENTS, HELD_OUT_TEXTURES
from lalm_agent.training.synth.speech import Utterance, speak
from lalm_agent.training.synth.tables import confusable, draw
from lalm_agent.training.synth.unanswerable import NO_AUDIO_TELLS
from lalm_agent.training.synth.words import (
    CLOSED_WORDS,
    ENGLISH,
    HELD_OUT_LANGUAGES,
    LANGUAGES,
    VOICES,
    english_sentence,
    parts,
    patterns,
    sentence,
    share,
)


def expand(pattern):
    """Every wording of a pattern."""
    options = [part.split("|") if i % 2 else [part] for i, part in enumerate(re.split(r"[{}]", pattern))]
    texts = (" ".join("".join(parts).split()) for parts in product(*options))
    return [re.sub(r"\s+([?.,!])", r"\1", text) for text in texts]


def expanded(texts):
    return [text for pattern in texts for text in expand(pattern)]


def wordings(pool):
    return expanded(pattern for skill in SKILLS.values() for pattern in skill.wordings[pool])


def english(pool):
    return expanded(pattern for subject in ENGLISH.subjects for pattern in patterns(subject, pool))


POOLS = {
    "voices": lambda pool: [name for pools in VOICES.values() for name in pools[pool]],
    "programs": lambda pool: [program for item in INSTRUMENTS.values() for program in item.programs(pool)],
    "drum kits": lambda pool: DRUM_KITS[pool],
    "noise": lambda pool: COLOURS[pool],
    "masking noise": lambda pool: MASKING[pool],
    "scattered words": lambda pool: share(ENGLISH.other, pool),
    "nouns": lambda pool: share(ENGLISH.nouns, pool),
    "unheard": lambda pool: expanded(
        pattern for entries in NO_AUDIO_TELLS.patterns[pool].values() for pattern, _ in entries
    ),
    "wordings": wordings,
    "sentences": english,
} | {
    f"{name}, {part}": lambda pool, name=name, part=part: parts(name, pool)[part]
    for name in LANGUAGES
    for part in LANGUAGES[name].order
}


def test_no_two_pools_share_a_piece() -> None:
    for name, pieces in POOLS.items():
        pools = {pool: set(pieces(pool)) for pool in Pool}
        assert all(pools.values()), name
        assert not any(pools[item] & pools[other] for item, other in combinations(Pool, 2)), name


def test_wordings_are_many_and_the_unseen_ones_use_no_word_that_train_has_not_read() -> None:
    """Otherwise a model that was taught not to know what it has not read is asked about words, not about audio."""
    used = {pool: set(re.findall(r"[a-z']+", " ".join(wordings(pool)).lower())) for pool in Pool}
    assert used[Pool.DEV] | used[Pool.TEST] <= used[Pool.TRAIN]
    assert all(skill.wordings[pool] for skill in SKILLS.values() for pool in Pool)
    assert len(set(wordings(Pool.TRAIN))) > 500


def test_held_out_classes_are_named_nowhere_in_training() -> None:
    held_out = (*HELD_OUT_EVENTS, *HELD_OUT_TEXTURES, *HELD_OUT_INSTRUMENTS, *HELD_OUT_LANGUAGES, *ENGLISH.held_out)
    labels = [label for group in LABEL_GROUPS.values() for label in group]
    texts = chain(
        *(english(pool) + wordings(pool) for pool in Pool),
        *(items for pool in Pool for items in parts("English", pool).values()),
        *(ENGLISH.other, ENGLISH.nouns, TABLE["common_words"], TABLE["function_words"], CLOSED_WORDS),
        *NO_AUDIO_TELLS.answers.values(),
    )
    said = {word for text in texts for word in re.findall(r"[a-z]+", text.lower())}
    assert not set(held_out) & set(labels)
    assert not {name.lower() for name in held_out} & said


def test_lists_are_shared_out_whole_and_hold_nothing_twice() -> None:
    items = tuple(range(45))
    assert sorted(chain.from_iterable(share(items, pool) for pool in Pool)) == list(items)
    instruments = (INSTRUMENTS | HELD_OUT_INSTRUMENTS).values()
    programs = tuple(program for item in instruments for program in (*item.train, *item.dev, *item.test))
    assert all(item.train for item in instruments)
    for values in (ENGLISH.other, ENGLISH.nouns, programs, CLOSED_WORDS):
        assert len(set(values)) == len(values)
    assert not set(ENGLISH.other) & set(CLOSED_WORDS)
    for word in CLOSED_WORDS:
        near = confusable(ENGLISH.confusable, word)
        assert near
        assert set(near) <= set(CLOSED_WORDS) - {word}


@pytest.mark.parametrize("name", LANGUAGES)
def test_sentences_of_train_vary(name: str) -> None:
    rng = np.random.default_rng(0)
    assert len({sentence(Dial(rng, Pool.TRAIN), name) for _ in range(400)}) > 250


def test_english_sentences_come_from_their_pool() -> None:
    made = [english_sentence(Dial(np.random.default_rng(seed), Pool.TEST)) for seed in range(60)]
    assert 0.3 < sum(text in english(Pool.TEST) for text in made) / len(made) < 0.9


@pytest.mark.parametrize(("pattern", "count"), [("a b", 1), ("{a|b} c {d|e|f}", 6), ("x {|y}?", 2)])
def test_a_drawn_wording_is_one_of_the_expansions(pattern: str, count: int) -> None:
    texts, rng = expand(pattern), np.random.default_rng(0)
    assert len(set(texts)) == count
    assert {draw(pattern, rng) for _ in range(100)} == set(texts)


# --- what is heard of them --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("needs_synth")
@pytest.mark.parametrize("gender", VOICES)
def test_every_voice_is_deterministic_and_a_voice_of_its_gender(gender: str) -> None:
    for variant in chain.from_iterable(VOICES[gender].values()):
        utterance = Utterance("hello my friend where are you going", f"en-us+{variant}")
        first = speak(utterance)
        speak(Utterance("buongiorno", "it+f1", 220, 70))
        np.testing.assert_array_equal(first, speak(utterance))
        assert (_pitch_hz(first) > 150) == (gender == "female"), variant


def _pitch_hz(wave: np.ndarray) -> float:
    """Median pitch over the loud frames, from the highest peak of the autocorrelation."""
    pitches = []
    for start in range(0, len(wave) - 1024, 512):
        frame = wave[start : start + 1024] * np.hanning(1024)
        if np.sqrt(np.mean(frame**2)) > 0.2 * np.sqrt(np.mean(wave**2)):
            correlation = np.fft.irfft(np.abs(np.fft.rfft(frame, 4096)) ** 2)
            pitches.append(16000 / (40 + int(np.argmax(correlation[40:230]))))
    return float(np.median(pitches))


@pytest.mark.usefixtures("needs_synth")
def test_a_stretched_voice_is_higher_and_shorter() -> None:
    plain, small = (speak(Utterance("where are you going", "en-us+m1", stretch=stretch)) for stretch in (1.0, 1.2))
    assert len(small) == pytest.approx(len(plain) / 1.2, rel=0.05)
    assert _pitch_hz(small) == pytest.approx(1.2 * _pitch_hz(plain), rel=0.06)


@pytest.mark.usefixtures("needs_synth")
@pytest.mark.parametrize("name", [*LANGUAGES, *HELD_OUT_LANGUAGES])
def test_every_language_has_a_voice(name: str) -> None:
    text = sentence(Dial(np.random.default_rng(0), Pool.TRAIN), name)
    for voice in (LANGUAGES | HELD_OUT_LANGUAGES)[name].voices:
        assert 0.3 * 16000 < len(speak(Utterance(text, f"{voice}+m3"))) < 10 * 16000


@pytest.mark.usefixtures("needs_synth")
def test_every_program_and_kit_sounds() -> None:
    for instrument in (INSTRUMENTS | HELD_OUT_INSTRUMENTS).values():
        keys = (instrument.low, (instrument.low + instrument.high) // 2, instrument.high)
        for program, key in product(instrument.train + instrument.dev + instrument.test, keys):
            wave = render([Note(0.0, 0.4, 0, key, 100)], {0: program}, 0.5, Room())
            assert np.isfinite(wave).all()
            assert np.abs(wave).max() > 0.005, (program, key)
    for kit in chain.from_iterable(DRUM_KITS.values()):
        wave = render([Note(0.0, 0.1, DRUM_CHANNEL, 38, 100)], {DRUM_CHANNEL: kit}, 0.3, Room())
        assert np.abs(wave).max() > 0.005, kit


@pytest.mark.usefixtures("needs_synth")
def test_a_piece_depends_on_its_bank_and_not_on_the_piece_before() -> None:
    note = [Note(0.0, 0.4, 0, 60, 100)]
    assert not np.array_equal(render(note, {0: 24}, 0.5, Room()), render(note, {0: 1024}, 0.5, Room()))
    notes = [Note(k * 0.2, 0.18, 0, 60 + k, 90) for k in range(5)] + [Note(0.1, 0.1, 9, 38, 90)]
    first = render(notes, {0: 40}, 1.3, Room(level=0.6))
    render([Note(0, 2.0, 0, 70, 120)], {0: 90}, 0.7, Room(0.9, 0.1, 1.0))
    np.testing.assert_array_equal(first, render(notes, {0: 40}, 1.3, Room(level=0.6)))
