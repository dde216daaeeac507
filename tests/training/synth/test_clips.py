"""Clips: the same for the same arguments, audible, with facts that fit one another and what is heard."""

import hashlib
from collections import Counter
from itertools import product

import numpy as np
import pytest

from lalm_agent.errors import PermanentBackendError
from lalm_agent.records import AudioType
from lalm_agent.training.synth.clips import MASKING, drown, make_clip, make_held_out, make_silence
from lalm_agent.training.synth.dsp import COLOURS, Dial, add_noise, coloured_noise, length, rms
from lalm_agent.training.synth.fluid import DRUM_CHANNEL, Note
from lalm_agent.training.synth.labels import LABEL_GROUPS, SEQUENCE_VOCAB, TIMED_LABELS, UNITS
from lalm_agent.training.synth.levels import LEVELS, SPECS, TRAIN_SHARES
from lalm_agent.training.synth.music import chord_name, note_spans, note_units
from lalm_agent.training.synth.questions import SKILLS
from lalm_agent.training.synth.records import SAMPLE_RATE, Clip, Level, MusicFacts, Pool, SoundFacts, SpeechFacts, Split
from lalm_agent.training.synth.sound_sources import EVENTS, HELD_OUT_EVENTS, HELD_OUT_TEXTURES, TEXTURES
from lalm_agent.training.synth.speech import Utterance, phones, speak

SEEDS = range(8)
KINDS = tuple(AudioType)


@pytest.fixture(scope="module")
def clips(needs_synth: None) -> list[Clip]:
    return [make_clip(seed, split, kind) for kind, split, seed in product(KINDS, Split, SEEDS)]


@pytest.fixture(scope="module")
def levelled(needs_synth: None) -> list[Clip]:
    return [make_clip(seed, Split.TRAIN, kind, level=level) for kind, level, seed in product(KINDS, LEVELS, range(10))]


@pytest.mark.usefixtures("needs_synth")
@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_depends_on_its_arguments_and_not_on_the_clips_before_it(kind: AudioType) -> None:
    there = [make_clip(seed, Split.DEV, kind) for seed in SEEDS]
    back = [make_clip(seed, Split.DEV, kind) for seed in reversed(SEEDS)][::-1]
    for first, second in zip(there, back, strict=True):
        assert (first.facts, first.snr_db) == (second.facts, second.snr_db)
        np.testing.assert_array_equal(first.samples, second.samples)


def test_clips_are_audible_in_range_of_a_usable_length_and_all_different(clips: list[Clip]) -> None:
    for clip in clips:
        assert clip.samples.dtype == np.float32
        assert np.isfinite(clip.samples).all()
        assert 0.02 < np.abs(clip.samples).max() <= 1.0
        assert 0.6 * SAMPLE_RATE <= len(clip.samples) <= 10 * SAMPLE_RATE
    seconds = np.array([len(clip.samples) / SAMPLE_RATE for clip in clips])
    assert np.mean((seconds >= 1.5) & (seconds <= 8)) > 0.7
    assert len({hashlib.sha256(clip.samples.tobytes()).hexdigest() for clip in clips}) == len(clips)


def test_facts_are_made_of_the_vocabularies_and_fit_the_modality(clips: list[Clip]) -> None:
    labels = [label for group in LABEL_GROUPS.values() for label in group]
    assert len(set(labels)) == len(labels)
    kinds = {AudioType.SOUND: SoundFacts, AudioType.MUSIC: MusicFacts, AudioType.SPEECH: SpeechFacts}
    for clip in clips:
        facts = clip.facts
        assert {str(facts.modality)} <= set(facts.tags) <= set(labels)
        assert len(set(facts.tags)) == len(facts.tags)
        assert set(facts.known) <= set(LABEL_GROUPS)
        assert set(facts.sequence) <= set(SEQUENCE_VOCAB)
        assert set(facts.units) <= set(UNITS)
        assert bool(facts.units) == (facts.modality is not AudioType.SOUND)
        assert type(facts.detail) is kinds[facts.modality]
        english = isinstance(facts.detail, SpeechFacts) and facts.detail.language == "English"
        assert (facts.transcript is not None) == english
        assert facts.caption
        if isinstance(facts.detail, SoundFacts):
            assert all(facts.sequence.count(label) == max(times, 1) for label, times in facts.detail.runs)


def test_train_is_always_seen_and_what_is_not_asked_for_is_drawn(clips: list[Clip]) -> None:
    for split in Split:
        made = [clip for clip in clips if clip.split is split]
        assert {clip.seen for clip in made} == ({True} if split is Split.TRAIN else {True, False})
        assert {clip.level for clip in made} == set(LEVELS)
    assert make_clip(0, Split.TRAIN, AudioType.SOUND, seen=False).seen
    assert not make_clip(0, Split.TEST, AudioType.SOUND, seen=False).seen
    assert {make_clip(seed, Split.TRAIN).facts.modality for seed in range(16)} == set(KINDS)
    again = make_clip(clips[3].seed, clips[3].split, KINDS[0], clips[3].seen, clips[3].level)
    np.testing.assert_array_equal(again.samples, clips[3].samples)


ALL_EVENTS, ALL_TEXTURES = EVENTS | HELD_OUT_EVENTS, TEXTURES | HELD_OUT_TEXTURES


@pytest.mark.parametrize("name", [*ALL_EVENTS, *ALL_TEXTURES])
def test_every_sound_sounds_for_as_long_as_it_should(name: str) -> None:
    for pool in Pool:
        dial = Dial(np.random.default_rng(3), pool)
        wave = ALL_EVENTS[name](dial) if name in ALL_EVENTS else ALL_TEXTURES[name](dial, length(2.0))
        assert np.isfinite(wave).all()
        assert rms(wave) > 1e-3
        assert length(0.05) <= len(wave) <= length(2.5) if name in ALL_EVENTS else len(wave) == length(2.0)


def test_the_dials_of_two_pools_never_meet() -> None:
    def part(pool: Pool, seed: int) -> str:
        fraction = (Dial(np.random.default_rng(seed), pool).between(100, 200) - 100) / 100 % 0.5
        return "train" if fraction < 0.4 else "dev" if fraction < 0.45 else "test"

    assert {pool: {part(pool, seed) for seed in range(300)} for pool in Pool} == {pool: {str(pool)} for pool in Pool}


def test_a_level_sets_noise_and_words(levelled: list[Clip]) -> None:
    for clip in levelled:
        spec = SPECS[clip.level]
        assert clip.snr_db is None or spec.snr_db[0] <= clip.snr_db <= spec.snr_db[1]
        assert clip.facts.modality is not AudioType.SPEECH or len(clip.facts.sequence) <= spec.words[1]


def test_the_tables_of_levels_and_skills_are_whole() -> None:
    assert sum(TRAIN_SHARES) == pytest.approx(1)
    for spec in SPECS.values():
        assert set(spec.plans) == set("texture event repeat order2 order3 over trend distance".split())
        for weights in (spec.plans, spec.kinds, spec.textures):
            assert sum(weights.values()) == pytest.approx(1)
    ranges = [SPECS[level].snr_db for level in LEVELS]
    assert ranges[0][0] >= ranges[1][1] > ranges[1][0] >= ranges[2][1]
    assert all(set(skill.weights) == set(LEVELS) for skill in SKILLS.values())


@pytest.mark.usefixtures("needs_synth")
@pytest.mark.parametrize("kind", KINDS)
def test_a_held_out_class_is_in_no_training_clip(kind: AudioType) -> None:
    made = [make_held_out(seed, Split.TEST, kind, Level.EASY) for seed in range(12)]
    assert len({name for _, name in made}) > 2
    for clip, name in made:
        assert not clip.seen
        assert (clip.facts.tags, clip.facts.sequence) == ((str(kind),), ())
        assert all(name not in group for group in LABEL_GROUPS.values())
    with pytest.raises(ValueError, match="train"):
        make_held_out(0, Split.TRAIN, kind, Level.EASY)


@pytest.mark.parametrize("colour", [colour for colours in COLOURS.values() for colour in colours])
def test_noise_is_added_at_the_ratio_asked_for(colour: str) -> None:
    dial, tone = Dial(np.random.default_rng(1), Pool.TRAIN), np.sin(np.arange(16000) * 0.2)
    for snr_db in (-5.0, 20.0):
        noise = add_noise(tone, coloured_noise(dial, colour, 16000), snr_db) - tone
        assert 20 * np.log10(rms(tone) / np.sqrt(np.mean(noise**2))) == pytest.approx(snr_db, abs=0.2)


def test_a_drowned_clip_keeps_its_facts_and_loses_its_sound(clips: list[Clip]) -> None:
    clip = clips[4]
    drowned = drown(clip, np.random.default_rng(0))
    assert drowned.facts == clip.facts
    assert drowned.snr_db is not None
    assert drowned.snr_db <= -18
    assert abs(np.corrcoef(drowned.samples, clip.samples)[0, 1]) < 0.2
    assert drown(clip, np.random.default_rng(0), -3.0).snr_db == -3.0
    assert len({colour for colours in MASKING.values() for colour in colours}) == sum(map(len, MASKING.values()))


def test_silence_is_silent_and_depends_on_its_seed() -> None:
    made = [make_silence(seed) for seed in range(12)]
    assert all(np.abs(samples).max() < 0.005 for samples in made)
    assert any(np.abs(samples).max() == 0 for samples in made)
    np.testing.assert_array_equal(make_silence(3), made[3])


# --- timeline and units -----------------------------------------------------------------------------------------------


def test_a_clip_is_loud_where_something_is_said_to_sound(levelled: list[Clip]) -> None:
    compared = 0
    for clip in [clip for clip in levelled if clip.level is Level.EASY and clip.facts.timeline]:
        sounding = np.zeros(len(clip.samples), dtype=bool)
        for span in clip.facts.timeline:
            sounding[int(span.start_s * SAMPLE_RATE) : int(span.end_s * SAMPLE_RATE)] = True
        if sounding.sum() >= 800 and (~sounding).sum() >= 800:
            compared += 1
            assert np.std(clip.samples[sounding]) > np.std(clip.samples[~sounding])
    assert compared >= 10


def test_the_timeline_agrees_with_the_other_facts(levelled: list[Clip]) -> None:
    for facts in [clip.facts for clip in levelled]:
        timed = {label for group in facts.timed for label in TIMED_LABELS[group]}
        # Bars are listed even where nothing marks them; they are then not taught.
        assert {span.label for span in facts.timeline} - {"bar"} <= timed
        assert all(span.end_s > span.start_s >= 0 for span in facts.timeline)
        if isinstance(facts.detail, SoundFacts):
            counted = Counter(span.label for span in facts.timeline)
            assert set(counted) == set(facts.sequence)
            assert all(times in (0, counted[label]) for label, times in facts.detail.runs)
        if isinstance(facts.detail, MusicFacts):
            detail = facts.detail
            beats, bars = (sorted(s.start_s for s in facts.timeline if s.label == name) for name in ("beat", "bar"))
            assert np.allclose(np.diff(beats), 60 / detail.bpm)
            assert ("bar" in facts.timed) == (detail.mode is not None or detail.drums)
            if detail.metre:
                assert bars == beats[:: {"three": 3, "four": 4}[detail.metre]]
            chords = [span for span in facts.timeline if span.label in TIMED_LABELS["chord"]]
            assert len(chords) == (len(bars) if detail.mode else 0)
            assert not detail.mode or chords[0].label.startswith(detail.mode)


def notes(*played, channel=0):
    return [Note(start, 0.5, channel, key, 90) for start, key in played]


def test_notes_become_units_and_spans() -> None:
    assert note_units(notes((1.0, 62), (0.0, 60), (2.0, 200)), (0, 1)) == ("note 60", "note 62", "note 108")
    chords = notes((0, 60), (0, 64), (0, 67), (1, 57), (1, 60), (1, 64), (2, 60), (2, 62), (3, 60), channel=1)
    assert note_units(chords, (0, 1)) == ("major chord 0", "minor chord 9", "other chord 0", "note 60")
    drums = notes((0, 42), (0, 36), (0.5, 42), (1.0, 38), channel=DRUM_CHANNEL)
    assert note_units(notes((0, 50), channel=2) + drums, (0, 1, 2)) == ("note 50",)
    assert note_units(drums, (0, 1, 2)) == ("kick", "cymbal", "snare")
    assert [(span.label, span.start_s, span.end_s) for span in note_spans(drums[1:2])] == [("kick", 0, 0.5)]
    assert chord_name([57, 60, 64]) == "minor chord 9"


@pytest.mark.usefixtures("needs_synth")
def test_phones_differ_by_voice_and_asking_for_them_changes_no_utterance() -> None:
    first = speak(Utterance("one river", "en-us"))
    assert phones("dog", "en-us") == ("d", "ɑ", "ɡ")
    assert phones("dog", "en-gb-x-rp") != phones("dog", "en-us")
    assert np.array_equal(first, speak(Utterance("one river", "en-us")))
    for ask in (lambda: phones("dog", "xx-none"), lambda: speak(Utterance("hello", "xx-nowhere"))):
        with pytest.raises(PermanentBackendError, match="no voice"):
            ask()
