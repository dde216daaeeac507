import hashlib
from itertools import product

import numpy as np
import pytest

from lalm_agent.records import AudioType
from lalm_agent.training.synth.clips import MASKING, drown, make_clip, make_never_met, make_silence
from lalm_agent.training.synth.dsp import Dial, length, rms
from lalm_agent.training.synth.effects import COLOURS, add_noise, coloured_noise
from lalm_agent.training.synth.labels import LABEL_GROUPS, SEQUENCE_VOCAB
from lalm_agent.training.synth.levels import LEVELS, SKILL_MIX, SPECS, TRAIN_SHARES, Level
from lalm_agent.training.synth.pools import Pool
from lalm_agent.training.synth.records import SAMPLE_RATE, Clip, MusicFacts, SoundFacts, SpeechFacts, Split
from lalm_agent.training.synth.skills import SKILLS
from lalm_agent.training.synth.sound import PLANS
from lalm_agent.training.synth.sound_events import EVENTS, NEVER_MET_EVENTS
from lalm_agent.training.synth.sound_textures import NEVER_MET_TEXTURES, TEXTURES

SEEDS = range(12)
KINDS = tuple(AudioType)


@pytest.fixture(scope="module")
def clips(engines: None) -> list[Clip]:
    return [make_clip(seed, split, kind) for kind, split, seed in product(KINDS, Split, SEEDS)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_depends_on_its_arguments_and_not_on_the_clips_before_it(engines: None, kind: AudioType) -> None:
    there = [make_clip(seed, Split.DEV, kind) for seed in SEEDS]
    back = [make_clip(seed, Split.DEV, kind) for seed in reversed(SEEDS)][::-1]
    for first, second in zip(there, back, strict=True):
        assert first.facts == second.facts
        assert first.snr_db == second.snr_db
        np.testing.assert_array_equal(first.samples, second.samples)


def test_a_clip_is_finite_audible_in_range_and_of_a_usable_length(clips: list[Clip]) -> None:
    for clip in clips:
        assert clip.samples.dtype == np.float32
        assert clip.samples.ndim == 1
        assert np.isfinite(clip.samples).all()
        assert 0.02 < np.abs(clip.samples).max() <= 1.0
        assert 0.6 * SAMPLE_RATE <= len(clip.samples) <= 10 * SAMPLE_RATE


def test_most_clips_last_between_a_second_and_a_half_and_eight(clips: list[Clip]) -> None:
    seconds = np.array([len(clip.samples) / SAMPLE_RATE for clip in clips])
    assert np.mean((seconds >= 1.5) & (seconds <= 8)) > 0.7


def test_no_clip_is_in_two_splits(clips: list[Clip]) -> None:
    digests = [hashlib.sha256(clip.samples.tobytes()).hexdigest() for clip in clips]
    assert len(set(digests)) == len(digests)


def test_labels_come_from_the_groups_and_the_sequence_from_its_vocabulary(clips: list[Clip]) -> None:
    labels = [label for group in LABEL_GROUPS.values() for label in group]
    assert len(set(labels)) == len(labels)
    for clip in clips:
        assert set(clip.facts.tags) <= set(labels)
        assert len(set(clip.facts.tags)) == len(clip.facts.tags)
        assert set(clip.facts.known) <= set(LABEL_GROUPS)
        assert set(clip.facts.sequence) <= set(SEQUENCE_VOCAB)
        assert str(clip.facts.modality) in clip.facts.tags


def test_the_sequence_repeats_an_event_as_often_as_it_is_heard(clips: list[Clip]) -> None:
    counted = 0
    for clip in clips:
        if isinstance(clip.facts.detail, SoundFacts):
            for label, times in clip.facts.detail.runs:
                assert clip.facts.sequence.count(label) == max(times, 1)
                counted += times > 1
    assert counted > 5


def test_facts_fit_the_modality(clips: list[Clip]) -> None:
    kinds = {AudioType.SOUND: SoundFacts, AudioType.MUSIC: MusicFacts, AudioType.SPEECH: SpeechFacts}
    for clip in clips:
        detail = clip.facts.detail
        assert type(detail) is kinds[clip.facts.modality]
        english = isinstance(detail, SpeechFacts) and detail.language == "English"
        assert (clip.facts.transcript is not None) == english
        assert clip.facts.caption


def test_train_is_always_seen_and_the_other_splits_are_mixed(engines: None) -> None:
    assert all(make_clip(seed, Split.TRAIN, AudioType.SOUND).seen for seed in range(8))
    assert {make_clip(seed, Split.TEST, AudioType.SOUND).seen for seed in range(16)} == {True, False}
    assert make_clip(0, Split.TRAIN, AudioType.SOUND, seen=False).seen
    assert not make_clip(0, Split.TEST, AudioType.SOUND, seen=False).seen


def test_an_undemanded_modality_is_drawn(engines: None) -> None:
    assert {make_clip(seed, Split.TRAIN).facts.modality for seed in range(16)} == set(KINDS)


ALL_EVENTS, ALL_TEXTURES = EVENTS | NEVER_MET_EVENTS, TEXTURES | NEVER_MET_TEXTURES


@pytest.mark.parametrize("name", ALL_EVENTS)
@pytest.mark.parametrize("pool", Pool)
def test_every_event_sounds(name: str, pool: Pool) -> None:
    for seed in range(4):
        stroke = ALL_EVENTS[name](Dial(np.random.default_rng(seed), pool))
        assert np.isfinite(stroke).all()
        assert rms(stroke) > 1e-3
        assert length(0.05) <= len(stroke) <= length(2.5)


@pytest.mark.parametrize("name", ALL_TEXTURES)
@pytest.mark.parametrize("pool", Pool)
def test_every_texture_sounds_for_as_long_as_asked(name: str, pool: Pool) -> None:
    n = length(2.0)
    wave = ALL_TEXTURES[name](Dial(np.random.default_rng(3), pool), n)
    assert wave.shape == (n,)
    assert np.isfinite(wave).all()
    assert rms(wave) > 1e-3


def test_the_dials_of_two_pools_never_meet() -> None:
    found = {pool: {_stretch(Dial(np.random.default_rng(seed), pool)) for seed in range(300)} for pool in Pool}
    assert found == {Pool.TRAIN: {"train"}, Pool.DEV: {"dev"}, Pool.TEST: {"test"}}


def _stretch(dial: Dial) -> str:
    fraction = (dial.between(100, 200) - 100) / 100 % 0.5
    return "train" if fraction < 0.4 else "dev" if fraction < 0.45 else "test"


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_sets_noise_counts_and_words(engines: None, level: Level) -> None:
    spec, made = SPECS[level], [make_clip(seed, Split.TRAIN, level=level) for seed in range(40)]
    assert {clip.level for clip in made} == {level}
    noisy = [clip.snr_db for clip in made if clip.snr_db is not None]
    assert all(spec.snr_db[0] <= snr_db <= spec.snr_db[1] for snr_db in noisy)
    words = [len(clip.facts.sequence) for clip in made if clip.facts.modality is AudioType.SPEECH]
    assert max(words) <= spec.words[1]


def test_the_table_of_levels_is_whole() -> None:
    assert set(SKILL_MIX) == set(SKILLS)
    assert sum(TRAIN_SHARES) == pytest.approx(1)
    for spec in SPECS.values():
        assert len(spec.plans) == len(PLANS)
        for weights in (spec.plans, spec.kinds, spec.textures):
            assert sum(weights) == pytest.approx(1)
    ranges = [SPECS[level].snr_db for level in LEVELS]
    assert ranges[0][0] >= ranges[1][1] > ranges[1][0] >= ranges[2][1]


def test_an_undemanded_level_is_drawn_and_makes_the_clip_of_that_level(engines: None) -> None:
    drawn = [make_clip(seed, Split.DEV, AudioType.SOUND) for seed in range(16)]
    assert {clip.level for clip in drawn} == set(LEVELS)
    again = make_clip(3, Split.DEV, AudioType.SOUND, drawn[3].seen, drawn[3].level)
    np.testing.assert_array_equal(again.samples, drawn[3].samples)


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_never_met_is_in_no_training_clip(engines: None, kind: AudioType) -> None:
    made = [make_never_met(seed, Split.TEST, kind, Level.EASY) for seed in range(12)]
    assert len({name for _, name in made}) > 2
    for clip, name in made:
        assert not clip.seen
        assert clip.facts.tags == (str(kind),)
        assert clip.facts.sequence == ()
        assert all(name not in group for group in LABEL_GROUPS.values())
    with pytest.raises(ValueError, match="train"):
        make_never_met(0, Split.TRAIN, kind, Level.EASY)


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0])
@pytest.mark.parametrize("colour", [colour for colours in COLOURS.values() for colour in colours])
def test_noise_is_added_at_the_ratio_asked_for(colour: str, snr_db: float) -> None:
    dial = Dial(np.random.default_rng(1), Pool.TRAIN)
    tone = np.sin(np.arange(16000) * 0.2)
    noise = add_noise(tone, coloured_noise(dial, colour, 16000), snr_db) - tone
    measured = 20 * np.log10(rms(tone) / np.sqrt(np.mean(noise**2)))
    assert measured == pytest.approx(snr_db, abs=0.2)


def test_a_drowned_clip_keeps_its_facts_and_loses_its_sound(engines: None) -> None:
    clip = make_clip(4, Split.TEST, AudioType.SOUND)
    drowned = drown(clip, np.random.default_rng(0))
    assert drowned.facts == clip.facts
    assert drowned.snr_db is not None
    assert drowned.snr_db <= -18
    assert abs(np.corrcoef(drowned.samples, clip.samples)[0, 1]) < 0.2
    assert drown(clip, np.random.default_rng(0), -3.0).snr_db == -3.0
    assert len({colour for colours in MASKING.values() for colour in colours}) == sum(map(len, MASKING.values()))


def test_silence_is_silent_and_depends_on_its_seed() -> None:
    clips = [make_silence(seed) for seed in range(12)]
    assert all(np.abs(clip).max() < 0.005 for clip in clips)
    assert any(np.abs(clip).max() == 0 for clip in clips)
    np.testing.assert_array_equal(make_silence(3), make_silence(3))
