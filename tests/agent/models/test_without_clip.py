"""Any model asked by its text alone, as a blind control."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lalm_agent.agent import Agent, load_model, with_adapter
from lalm_agent.audio import Sound
from lalm_agent.config import AgentConfig
from lalm_agent.errors import UsageError
from lalm_agent.models.base import DEAF, Decoding, Request, Response, Turn
from lalm_agent.models.scripted import ScriptedLALM
from lalm_agent.models.wrappers import WithoutClip
from lalm_agent.records import Status

USER = (Turn("user", "Which animal is heard? choices: dog, cat"),)


def test_nothing_of_the_clip_reaches_the_model_and_the_response_says_so(sound: Sound) -> None:
    inner = ScriptedLALM(lambda request: "cat")
    heard, without = WithoutClip(inner).generate([Request(USER, sound), Request(USER)])
    assert [request.sound for request in inner.asked] == [None, None]
    assert (heard.warnings, without.warnings) == ((DEAF,), ())
    assert (heard.heard_s, heard.audio_tokens) == (None, None)
    assert inner.spec.hears_audio
    assert not WithoutClip(inner).spec.hears_audio


def test_a_response_says_it_once(sound: Sound) -> None:
    inner = ScriptedLALM(lambda request: Response((), None, None, None, ("else", DEAF)))
    assert WithoutClip(inner).generate([Request(USER, sound)])[0].warnings == (DEAF, "else")


def test_mini_is_asked_without_its_clip(sound: Sound) -> None:
    decoding = Decoding(8)
    blind = load_model(AgentConfig(model="mini", device="cpu", hears_audio=False))
    asked = Request(USER, sound, decoding, options=("dog", "cat"))
    (response,) = blind.generate([asked])
    (alone,) = blind.generate([Request(USER, None, decoding, options=("dog", "cat"))])
    assert response.completions == alone.completions
    assert response.option_scores == alone.option_scores
    assert (response.warnings, response.heard_s, response.audio_tokens) == ((DEAF,), None, None)


def test_a_model_that_was_handed_over_is_asked_so_too(write_clip: Callable[..., Path]) -> None:
    inner = ScriptedLALM(lambda request: "cat")
    answer = Agent(model=inner, hears_audio=False, method="idk", preset="paper").ask(
        write_clip(), "Which animal is heard?", ["dog", "cat"]
    )
    assert (answer.status, answer.answer) == (Status.ANSWERED, "cat")
    assert DEAF in answer.warnings
    assert [request.sound for request in inner.asked] == [None]


def test_a_model_without_adapters_is_refused_as_before(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes no adapter"):
        with_adapter(WithoutClip(ScriptedLALM([])), str(tmp_path))
