"""Phones and notes in order, and that asking for phones changes no utterance."""

import numpy as np
import pytest

from lalm_agent.errors import PermanentBackendError
from lalm_agent.records import AudioType
from lalm_agent.training.synth.clips import make_clip
from lalm_agent.training.synth.espeak import Utterance, phones, speak
from lalm_agent.training.synth.fluid import DRUM_CHANNEL, Note
from lalm_agent.training.synth.records import MusicFacts, SpeechFacts, Split
from lalm_agent.training.synth.units import UNITS, note_units


def notes(*played, channel=0):
    return [Note(start, 0.5, channel, key, 90) for start, key in played]


def test_a_melody_is_its_keys_in_order():
    assert note_units(notes((1.0, 62), (0.0, 60), (2.0, 200)), (0, 1)) == ("note 60", "note 62", "note 108")


def test_notes_of_one_onset_are_a_chord():
    played = notes((0, 60), (0, 64), (0, 67), (1, 57), (1, 60), (1, 64), (2, 60), (2, 62), (3, 60), channel=1)
    assert note_units(played, (0, 1)) == ("major chord 0", "minor chord 9", "other chord 0", "note 60")


def test_the_first_voice_that_plays_is_written_and_drums_where_none_does():
    drums = notes((0, 42), (0, 36), (0.5, 42), (1.0, 38), channel=DRUM_CHANNEL)
    assert note_units(notes((0, 50), channel=2) + drums, (0, 1, 2)) == ("note 50",)
    assert note_units(drums, (0, 1, 2)) == ("kick", "cymbal", "snare")
    assert note_units([], (0,)) == ()


def test_phones_are_letters_of_the_vocabulary_and_differ_by_voice():
    assert phones("dog", "en-us") == ("d", "ɑ", "ɡ")
    assert phones("dog", "en-gb-x-rp") != phones("dog", "en-us")
    assert phones("", "en-us") == ()
    with pytest.raises(PermanentBackendError, match="no voice"):
        phones("dog", "xx-none")


def test_asking_for_phones_changes_no_utterance():
    asked = Utterance("one river", "en-us")
    first = speak(asked)
    phones("something else entirely", "de")
    assert np.array_equal(first, speak(asked))


@pytest.mark.parametrize("kind", [AudioType.SPEECH, AudioType.MUSIC])
def test_clips_of_speech_and_music_have_units_of_the_vocabulary(kind):
    clips = [make_clip(seed, Split.TRAIN, kind) for seed in range(6)]
    assert all(set(clip.facts.units) <= set(UNITS) for clip in clips)
    assert all(clip.facts.units for clip in clips)
    assert all(isinstance(clip.facts.detail, SpeechFacts | MusicFacts) for clip in clips)


def test_a_sound_has_none():
    assert make_clip(3, Split.TRAIN, AudioType.SOUND).facts.units == ()
