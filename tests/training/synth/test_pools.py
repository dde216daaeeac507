"""What the pools are made of: everything expanded, no two pools share a piece."""

import re
from itertools import chain, combinations, product

import numpy as np
import pytest

from lalm_agent.errors import PermanentBackendError
from lalm_agent.training.mini import wordplay
from lalm_agent.training.synth import unheard, words
from lalm_agent.training.synth.clips import MASKING
from lalm_agent.training.synth.drums import KITS
from lalm_agent.training.synth.dsp import Dial
from lalm_agent.training.synth.effects import COLOURS
from lalm_agent.training.synth.espeak import Utterance, speak
from lalm_agent.training.synth.fluid import DRUM_CHANNEL, Note, Room, render
from lalm_agent.training.synth.instruments import INSTRUMENTS, NEVER_MET_INSTRUMENTS
from lalm_agent.training.synth.labels import LABEL_GROUPS
from lalm_agent.training.synth.languages import LANGUAGES, NEVER_MET_LANGUAGES, parts, sentence
from lalm_agent.training.synth.pools import Pool, share
from lalm_agent.training.synth.sentences import SUBJECTS, english_sentence, patterns
from lalm_agent.training.synth.skills import SKILLS
from lalm_agent.training.synth.strange import NEVER_MET_SOUNDS
from lalm_agent.training.synth.voices import VARIANTS
from lalm_agent.training.synth.wording import expand
from lalm_agent.training.synth.words import CLOSED_WORDS, NEVER_MET_WORDS, NOUNS, OTHER_WORDS, WORD_GROUPS

POOLS = {
    "voices": lambda pool: [name for pools in VARIANTS.values() for name in pools[pool]],
    "programs": lambda pool: [program for one in INSTRUMENTS.values() for program in one.programs(pool)],
    "drum kits": lambda pool: KITS[pool],
    "noise": lambda pool: COLOURS[pool],
    "masking noise": lambda pool: MASKING[pool],
    "scattered words": words.salad_words,
    "nouns": words.unheard_nouns,
    "unheard": lambda pool: [text for one in unheard.unheard_patterns(pool) for text in expand(one)],
    "wordings": lambda pool: [t for skill in SKILLS.values() for one in skill.wordings[pool] for t in expand(one)],
    "sentences": lambda pool: [text for name in SUBJECTS for one in patterns(name, pool) for text in expand(one)],
}


@pytest.mark.parametrize("name", POOLS)
def test_no_two_pools_share_a_piece(name: str) -> None:
    pools = {pool: list(POOLS[name](pool)) for pool in Pool}
    assert all(pools.values())
    for one, other in combinations(Pool, 2):
        assert not set(pools[one]) & set(pools[other])


@pytest.mark.parametrize("name", LANGUAGES)
def test_no_two_pools_share_a_part_of_a_sentence(name: str) -> None:
    lists = {pool: parts(name, pool) for pool in Pool}
    for one, other in combinations(Pool, 2):
        assert all(not set(a) & set(b) for a, b in zip(lists[one], lists[other], strict=True))
    assert np.prod([len(items) for items in lists[Pool.TRAIN]]) > 1000
    rng = np.random.default_rng(0)
    assert len({sentence(Dial(rng, Pool.TRAIN), name) for _ in range(400)}) > 250


def test_every_skill_and_every_kind_of_unheard_question_is_worded_for_every_pool() -> None:
    assert all(skill.wordings[pool] for skill in SKILLS.values() for pool in Pool)
    train = {text for skill in SKILLS.values() for one in skill.wordings[Pool.TRAIN] for text in expand(one)}
    assert len(train) > 500


def test_a_held_out_wording_uses_no_word_that_train_has_not_read() -> None:
    """Otherwise a model that was taught not to know what it has not read is asked about words, not about audio."""

    def used(pool: Pool) -> set[str]:
        texts = chain.from_iterable(expand(one) for skill in SKILLS.values() for one in skill.wordings[pool])
        return {word for text in texts for word in re.findall(r"[a-z']+", text.lower())}

    assert used(Pool.DEV) | used(Pool.TEST) <= used(Pool.TRAIN)


def test_every_instrument_class_has_a_train_program_and_all_are_different() -> None:
    programs = [p for one in INSTRUMENTS.values() for p in (*one.train, *one.dev, *one.test)]
    programs += [p for one in NEVER_MET_INSTRUMENTS.values() for p in one.train]
    assert len(set(programs)) == len(programs)
    assert all(one.train for one in INSTRUMENTS.values())


def test_classes_never_met_are_named_nowhere_in_training() -> None:
    never = (*NEVER_MET_SOUNDS, *NEVER_MET_INSTRUMENTS, *NEVER_MET_LANGUAGES, *NEVER_MET_WORDS)
    known = [label for group in LABEL_GROUPS.values() for label in group]
    spoken = chain(
        (text for name in SUBJECTS for pool in Pool for one in patterns(name, pool) for text in expand(one)),
        (item for pool in Pool for items in parts("English", pool) for item in items),
        (*OTHER_WORDS, *NOUNS, *wordplay._PLAIN, *wordplay._SMALL, *CLOSED_WORDS),
        (text for skill in SKILLS.values() for pool in Pool for one in skill.wordings[pool] for text in expand(one)),
        (answer for answers in unheard.POOLS.values() for answer in answers),
    )
    said = {word for text in spoken for word in re.findall(r"[a-z]+", text.lower())}
    assert not set(never) & set(known)
    assert not {name.lower() for name in never} & said


def test_a_list_is_shared_out_whole() -> None:
    items = tuple(range(45))
    assert sorted(chain.from_iterable(share(items, pool) for pool in Pool)) == list(items)
    assert len(set(OTHER_WORDS)) == len(OTHER_WORDS)
    assert len(set(NOUNS)) == len(NOUNS)


def test_closed_words_are_few_and_grouped() -> None:
    assert len(CLOSED_WORDS) == len(set(CLOSED_WORDS)) == 4 * len(WORD_GROUPS)
    assert not set(OTHER_WORDS) & set(CLOSED_WORDS)
    assert all(set(words.alike(word)) <= set(CLOSED_WORDS) - {word} and words.alike(word) for word in CLOSED_WORDS)


def test_english_sentences_come_from_their_pool() -> None:
    held = {text for name in SUBJECTS for one in patterns(name, Pool.TEST) for text in expand(one)}
    made = [english_sentence(Dial(np.random.default_rng(seed), Pool.TEST)) for seed in range(60)]
    assert 0.3 < sum(text in held for text in made) / len(made) < 0.9


@pytest.mark.parametrize("gender", VARIANTS)
def test_every_voice_is_deterministic_and_a_voice_of_its_gender(engines: None, gender: str) -> None:
    for variant in chain.from_iterable(VARIANTS[gender].values()):
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


def test_a_stretched_voice_is_higher_and_shorter(engines: None) -> None:
    plain = speak(Utterance("where are you going", "en-us+m1"))
    small = speak(Utterance("where are you going", "en-us+m1", stretch=1.2))
    assert len(small) == pytest.approx(len(plain) / 1.2, rel=0.05)
    assert _pitch_hz(small) == pytest.approx(1.2 * _pitch_hz(plain), rel=0.06)


@pytest.mark.parametrize("name", [*LANGUAGES, *NEVER_MET_LANGUAGES])
def test_every_language_has_a_voice(engines: None, name: str) -> None:
    text = sentence(Dial(np.random.default_rng(0), Pool.TRAIN), name)
    for voice in (LANGUAGES | NEVER_MET_LANGUAGES)[name].voices:
        assert 0.3 * 16000 < len(speak(Utterance(text, f"{voice}+m3"))) < 10 * 16000


def test_an_unknown_voice_is_refused(engines: None) -> None:
    with pytest.raises(PermanentBackendError, match="no voice"):
        speak(Utterance("hello", "xx-nowhere"))


def test_every_program_and_kit_sounds(engines: None) -> None:
    for instrument in (INSTRUMENTS | NEVER_MET_INSTRUMENTS).values():
        keys = (instrument.low, (instrument.low + instrument.high) // 2, instrument.high)
        for program, key in product(instrument.train + instrument.dev + instrument.test, keys):
            wave = render([Note(0.0, 0.4, 0, key, 100)], {0: program}, 0.5, Room())
            assert np.isfinite(wave).all()
            assert np.abs(wave).max() > 0.005, (program, key)
    for kit in chain.from_iterable(KITS.values()):
        wave = render([Note(0.0, 0.1, DRUM_CHANNEL, 38, 100)], {DRUM_CHANNEL: kit}, 0.3, Room())
        assert np.abs(wave).max() > 0.005, kit


def test_programs_of_another_bank_sound_different(engines: None) -> None:
    note = [Note(0.0, 0.4, 0, 60, 100)]
    assert not np.array_equal(render(note, {0: 24}, 0.5, Room()), render(note, {0: 1024}, 0.5, Room()))


def test_a_piece_does_not_depend_on_the_one_before(engines: None) -> None:
    notes = [Note(k * 0.2, 0.18, 0, 60 + k, 90) for k in range(5)] + [Note(0.1, 0.1, 9, 38, 90)]
    first = render(notes, {0: 40}, 1.3, Room(level=0.6))
    render([Note(0, 2.0, 0, 70, 120)], {0: 90}, 0.7, Room(0.9, 0.1, 1.0))
    np.testing.assert_array_equal(first, render(notes, {0: 40}, 1.3, Room(level=0.6)))
