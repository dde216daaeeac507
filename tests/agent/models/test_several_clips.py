"""Several clips in one turn, by every family of the table, on random weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lalm_agent import Agent
from lalm_agent.audio import Sound, load
from lalm_agent.errors import UsageError
from lalm_agent.models.base import Decoding, Request, Response, Turn
from lalm_agent.models.hf_engine import TransformersLALM
from lalm_agent.models.hf_loading import LoadOptions, load_checkpoint

SEVERAL, ONE = ("qwen2-audio", "qwen2.5-omni", "qwen3-omni", "gemma-4"), ("audio-flamingo-3", "music-flamingo")


@pytest.fixture(scope="module", params=SEVERAL)
def lalm(request: pytest.FixtureRequest, tiny_family: Callable[[str], Path]) -> TransformersLALM:
    return TransformersLALM(load_checkpoint(str(tiny_family(request.param)), LoadOptions("cpu")))


def request_of(*sounds: Sound, **more: Any) -> Request:
    turns = (Turn("user", "Which is louder?"),)
    return Request(turns, sounds[0], Decoding(4), options=("first", "second"), more_sounds=sounds[1:], **more)


def scores(response: Response) -> list[float]:
    return [score.logprob for score in response.option_scores or ()]


def test_each_of_two_clips_is_heard_in_its_place(
    lalm: TransformersLALM, sound: Sound, write_clip: Callable[..., Path]
) -> None:
    other = load(write_clip(name="another.wav", level=0.9, seconds=1.5))
    assert lalm.spec.several_clips
    clip_sets = [(sound,), (other,), (sound, other), (other, sound), (sound, sound)]
    alone = [lalm.generate([request_of(*sounds)])[0] for sounds in clip_sets]
    first, second, both, swapped, same = alone
    assert both.audio_tokens == swapped.audio_tokens == (first.audio_tokens or 0) + (second.audio_tokens or 0)
    assert both.heard_s == (0.0, pytest.approx(sound.ref.seconds + other.ref.seconds))
    assert len({tuple(scores(response)) for response in (first, both, swapped, same)}) == 4
    together = lalm.generate([request_of(*sounds) for sounds in clip_sets])
    for one, many in zip(alone, together, strict=True):
        assert scores(many) == pytest.approx(scores(one), abs=1e-4)
        assert many.completions[0].text == one.completions[0].text


@pytest.mark.parametrize("name", ONE)
def test_a_family_that_takes_one_clip_says_so(
    name: str, tiny_family: Callable[[str], Path], write_clip: Callable[..., Path]
) -> None:
    clip = write_clip()
    agent = Agent(model=str(tiny_family(name)), device="cpu", dtype="float32")
    with pytest.raises(UsageError, match="takes one at a time"):
        agent.ask([clip, clip], "Which is louder?")
