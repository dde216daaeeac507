"""When what sounds: it is heard where the timeline says, and the timeline agrees with the other facts."""

from collections import Counter

import numpy as np
import pytest

from lalm_agent.records import AudioType
from lalm_agent.training.synth.clips import make_clip
from lalm_agent.training.synth.fluid import DRUM_CHANNEL, Note
from lalm_agent.training.synth.labels import MOMENTS, SOUND_EVENTS
from lalm_agent.training.synth.levels import Level
from lalm_agent.training.synth.records import SAMPLE_RATE, Split
from lalm_agent.training.synth.sound_textures import TEXTURES
from lalm_agent.training.synth.units import chord_name, note_spans


def clips(kind, count=24, level=Level.EASY):
    return [make_clip(seed, Split.TRAIN, kind, level=level) for seed in range(count)]


def inside(clip, spans):
    """(samples,) true where one of these spans is."""
    out = np.zeros(len(clip.samples), dtype=bool)
    for span in spans:
        out[int(span.start_s * SAMPLE_RATE) : int(span.end_s * SAMPLE_RATE)] = True
    return out


@pytest.mark.parametrize("kind", [AudioType.SOUND, AudioType.MUSIC])
def test_a_clip_is_loud_where_something_is_said_to_sound(kind):
    compared = 0
    for clip in clips(kind):
        sounding = inside(clip, clip.facts.timeline)
        if sounding.sum() < 800 or (~sounding).sum() < 800:
            continue
        compared += 1
        loud, quiet = np.abs(clip.samples[sounding]), np.abs(clip.samples[~sounding])
        assert np.sqrt(np.mean(loud**2)) > np.sqrt(np.mean(quiet**2))
    assert compared >= 12


@pytest.mark.parametrize("level", Level)
def test_the_timeline_of_sounds_is_the_sequence_with_times(level):
    for clip in clips(AudioType.SOUND, level=level):
        facts = clip.facts
        assert facts.timed == ("event",)
        counted = Counter(span.label for span in facts.timeline)
        assert set(counted) == set(facts.sequence)
        for label, times in facts.detail.runs:
            assert times in (0, counted[label])
        starts = [span.start_s for span in facts.timeline if span.label != facts.detail.background]
        assert starts == sorted(starts)


@pytest.mark.parametrize("level", Level)
def test_the_timeline_of_music_has_beats_bars_and_the_mode(level):
    for clip in clips(AudioType.MUSIC, level=level):
        facts, detail = clip.facts, clip.facts.detail
        beats = sorted(span.start_s for span in facts.timeline if span.label == "beat")
        bars = sorted(span.start_s for span in facts.timeline if span.label == "bar")
        assert np.allclose(np.diff(beats), 60 / detail.bpm)
        assert ("chord" in facts.timed) == (detail.mode is not None)
        assert ("bar" in facts.timed) == (detail.mode is not None or detail.drums)
        if detail.metre:
            assert bars == beats[:: {"three": 3, "four": 4}[detail.metre]]
        chords = [span for span in facts.timeline if span.label in MOMENTS["chord"]]
        assert len(chords) == (len(bars) if detail.mode else 0)
        if detail.mode:
            assert chords[0].label.startswith(detail.mode)


@pytest.mark.parametrize("kind", AudioType)
def test_only_known_moments_of_timed_groups_are_told(kind):
    for clip in clips(kind, 12, Level.HARD):
        allowed = {label for group in clip.facts.timed for label in MOMENTS[group]}
        assert {span.label for span in clip.facts.timeline} <= allowed
        assert all(span.end_s > span.start_s >= 0 for span in clip.facts.timeline)


def test_notes_and_strokes_are_named_for_each_channel():
    played = [Note(0.5, 0.25, 0, 60, 90), Note(0.5, 0.1, DRUM_CHANNEL, 36, 90)]
    assert [(span.label, span.start_s, span.end_s) for span in note_spans(played)] == [
        ("note 60", 0.5, 0.75),
        ("kick", 0.5, 0.6),
    ]
    assert chord_name([57, 60, 64]) == "minor chord 9"


def test_no_moment_has_two_names():
    labels = [label for group in MOMENTS.values() for label in group]
    assert len(labels) == len(set(labels))
    assert set(TEXTURES) < set(SOUND_EVENTS) < set(labels)
