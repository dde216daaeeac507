"""pocketsphinx on real speech, on silence, and as often as asked."""

from pathlib import Path

import numpy as np
import soundfile

from lalm_agent.audio import Sound, load
from lalm_agent.records import Method, Question
from lalm_agent.registry import Task
from lalm_agent.tools.asr_pocketsphinx import PocketsphinxASR

JFK = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"


def task_of(sound: Sound) -> Task:
    return Task(Question("What?", sound.ref), Method.AGENT, sound)


def test_real_english_is_recognisable(shared_data: Path) -> None:
    result = PocketsphinxASR()(task_of(load(shared_data / "clips" / "jfk.flac")))
    words = set(JFK.split())
    assert len(words & set(result.text.split())) / len(words) >= 0.6
    assert result.heard_s == (0.0, 11.0)


def test_silence_has_no_words_and_says_so(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(16_000), 16_000)
    result = PocketsphinxASR()(task_of(load(tmp_path / "silence.wav")))
    assert result.text == ""
    assert result.warnings == ("pocketsphinx recognised no words",)


def test_the_same_clip_twice_gives_the_same_words(sound: Sound) -> None:
    tool = PocketsphinxASR()
    assert tool(task_of(sound)).text == tool(task_of(sound)).text
