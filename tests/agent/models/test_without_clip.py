"""Any model asked by its text alone, as a blind control; and with the clip behind the examples of mcot."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.agent import Agent, load_model, with_adapter
from lalm_agent.audio import Sound
from lalm_agent.config import AgentConfig
from lalm_agent.errors import UsageError
from lalm_agent.models.base import DEAF, Decoding, Request, Response, Turn
from lalm_agent.models.scripted import ScriptedLALM
from lalm_agent.models.wrappers import WithoutClip, key_of
from lalm_agent.prompts import mcot_examples
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


@pytest.mark.parametrize(
    ("settings", "order"),
    [
        ({"model": "owner/name", "method": "mcot"}, "printed"),
        ({"model": "vllm:owner/name", "method": "mcot"}, "printed"),
        ({"model": "owner/name", "method": "mcot", "mcot_order": "clip-first"}, None),
        ({"model": "owner/name", "method": "mcot", "preset": "assist"}, None),
        ({"model": "owner/name", "method": "mcot", "hears_audio": False}, None),
        ({"model": "owner/name", "method": "idk", "mcot_order": "printed"}, None),
        ({"model": "mini", "method": "mcot"}, None),
        ({"model": "openai:owner/name", "method": "mcot"}, None),
        ({"model": "openai:owner/name", "method": "mcot", "mcot_order": "printed"}, "printed"),
    ],
)
def test_checkpoints_are_asked_as_the_paper_prints_mcot(settings: dict[str, Any], order: str | None) -> None:
    agent = Agent(**settings)
    loaded = {"revision": None, "weights_sha256": None, "adapter_sha256": None, "dtype": "float32"}
    assert agent.system(**loaded).mcot_order == order


@pytest.mark.parametrize(("order", "at"), [("printed", len(mcot_examples()) + 1), ("clip-first", 0)])
def test_the_examples_stand_before_the_clip_in_the_printed_order(
    write_clip: Callable[..., Path], order: str, at: int
) -> None:
    model = ScriptedLALM(lambda request: "cat")
    answer = Agent(model=model, method="mcot", mcot_order=order).ask(write_clip(), "Which?", ["dog", "cat"])
    (turn,) = model.asked[0].turns
    assert turn.clip_at == at
    assert "".join(turn.around_clip) == turn.text == answer.steps[-1].prompt


def test_the_place_of_the_clip_is_part_of_a_reply_s_key(sound: Sound) -> None:
    spec = ScriptedLALM([]).spec
    first, behind = (key_of(Request((Turn("user", "one two", at),), sound), 0, spec) for at in (0, 4))
    assert first != behind
