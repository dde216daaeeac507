"""What goes over the wire."""

import base64
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import soundfile

from lalm_agent.audio import Sound
from lalm_agent.errors import UsageError
from lalm_agent.models.base import Decoding, Request, Turn
from lalm_agent.models.openai_ref import endpoint_of
from lalm_agent.models.openai_wire import Dialect, audio_part, chat_body, check, seed_of
from lalm_agent.records import AudioRef

OWN = endpoint_of("openai:tiny@http://host/v1", {"LALM_API_KEY": "sk-secret-of-mine"})
OPENAI = endpoint_of("openai:gpt-audio", {"OPENAI_API_KEY": "sk-secret-of-mine"})
FULL = Dialect("max_tokens")
SAMPLED = Decoding(max_new_tokens=7, temperature=0.8, top_p=0.9, top_k=5, seed=3)


def request(*turns: Turn, **more: Any) -> Request:
    return Request(turns or (Turn("user", "What?"),), **more)


def sound_of(samples: np.ndarray[Any, Any], rate: int) -> Sound:
    samples = samples.astype(np.float32).reshape(len(samples), -1)
    return Sound(AudioRef("clip", "0" * 64, len(samples) / rate, rate, samples.shape[1]), samples)


def test_the_clip_is_a_mono_wav_file_of_16_bits_at_16_khz() -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(44_100) / 44_100)
    part = audio_part(sound_of(np.stack([tone, tone], axis=1), 44_100))
    assert (part["type"], part["input_audio"]["format"]) == ("input_audio", "wav")
    file = io.BytesIO(base64.b64decode(part["input_audio"]["data"], validate=True))
    info = soundfile.info(file)
    assert (info.samplerate, info.channels, info.subtype, info.frames) == (16_000, 1, "PCM_16", 16_000)
    file.seek(0)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    assert np.abs(soundfile.read(file)[0] - expected)[100:-100].max() < 1e-3


def test_a_clip_beyond_full_scale_keeps_its_shape() -> None:
    loud = 3.0 * np.sin(2 * np.pi * 100 * np.arange(1600) / 16_000)
    data = base64.b64decode(audio_part(sound_of(loud, 16_000))["input_audio"]["data"])
    assert np.abs(soundfile.read(io.BytesIO(data))[0] - loud / 3).max() < 1e-3


def test_the_clip_precedes_the_text_of_the_first_user_turn() -> None:
    clip = {"type": "input_audio"}
    turns = (Turn("system", "s"), Turn("user", "one"), Turn("assistant", "a"), Turn("user", "two"))
    messages = chat_body("m", request(*turns), [clip], FULL)["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert messages[1]["content"] == [clip, {"type": "text", "text": "one"}]
    assert messages[3]["content"] == "two"
    assert chat_body("m", request(*turns), [], FULL)["messages"][1]["content"] == "one"
    several = [{"type": "input_audio", "uuid": name} for name in "ab"]
    content = chat_body("m", request(*turns), several, replace(FULL, uuids=True))["messages"][1]["content"]
    assert content == [*several, {"type": "text", "text": "one"}]


def test_the_clip_stands_where_the_turn_says() -> None:
    clip, turn = {"type": "input_audio"}, Turn("user", "examples question", clip_at=9)
    content = chat_body("m", request(turn), [clip], FULL)["messages"][0]["content"]
    assert content == [{"type": "text", "text": "examples "}, clip, {"type": "text", "text": "question"}]
    assert chat_body("m", request(turn), (), FULL)["messages"][0]["content"] == "examples question"


def test_a_lone_surrogate_which_no_request_can_carry_is_replaced() -> None:
    assert chat_body("m", request(Turn("user", "\ud800dog")), [], FULL)["messages"][0]["content"] == "?dog"


def test_greedy_decoding_says_so_and_nothing_of_sampling() -> None:
    body = chat_body("m", request(decoding=Decoding(max_new_tokens=7)), [], FULL)
    assert {**body, "messages": 0} == {"model": "m", "messages": 0, "temperature": 0, "max_tokens": 7, "logprobs": True}


def test_sampling_is_said_in_full() -> None:
    asked = request(decoding=SAMPLED, n=4, key="q1")
    body = chat_body("m", asked, [], FULL)
    assert (body["temperature"], body["top_p"], body["n"]) == (0.8, 0.9, 4)
    assert body["seed"] == seed_of(asked, 0)
    assert body["top_k"] == 5
    assert chat_body("m", asked, [], FULL, first_draw=1)["n"] == 3
    assert "n" not in chat_body("m", asked, [], FULL, first_draw=3)


def test_the_seed_differs_by_key_seed_and_draw_only() -> None:
    seeds = [
        seed_of(request(decoding=Decoding(temperature=1, seed=seed), key=key), draw)
        for seed in (0, 1)
        for key in ("a", "b")
        for draw in (0, 1)
    ]
    assert len(set(seeds)) == 8
    assert all(0 <= seed < 2**31 for seed in seeds)
    once, again = (request(Turn("user", text), decoding=SAMPLED, key="a") for text in ("x", "y"))
    assert seed_of(once, 2) == seed_of(again, 2)


def test_the_seed_of_a_draw_is_the_same_wherever_the_request_begins() -> None:
    first, third = (request(decoding=SAMPLED, key="a", draw=draw) for draw in (0, 2))
    assert chat_body("m", third, [], FULL)["seed"] == seed_of(first, 2) != seed_of(first, 0)
    assert seed_of(third, 1) == seed_of(first, 3)


def test_a_begun_reply_is_continued_by_servers_that_can() -> None:
    begun = request(Turn("user", "What?"), Turn("assistant", "It is"))
    body = chat_body("m", begun, [], FULL)
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    check(begun, OWN)
    with pytest.raises(UsageError, match="continue"):
        check(begun, OPENAI)


def test_top_k_is_refused_for_the_openai_api_alone() -> None:
    check(request(decoding=SAMPLED), OWN)
    with pytest.raises(UsageError, match="top_k"):
        check(request(decoding=SAMPLED), OPENAI)


def test_a_clip_needs_a_user_turn() -> None:
    with pytest.raises(UsageError, match="user turn"):
        check(request(Turn("system", "s"), sound=sound_of(np.zeros(8), 16_000)), OWN)


@pytest.mark.parametrize(
    ("complaint", "feature"),
    [
        ("max_tokens Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens'.", "limit"),
        ("This model does not support logprobs.", "logprobs"),
        ("top_logprobs is unknown", "logprobs"),
        ("Unexpected fields in the request: {'seed'}", "seed"),
        ("n must be 1", "n"),
        ("temperature Unsupported value: 'temperature' does not support 0 with this model.", "temperature"),
        ("Unsupported parameter: top_p", "top_p"),
        ("Only one completion choice is allowed", "n"),
        ("tool_choice is missing", None),
        ("The audio is too long", None),
        ("", None),
    ],
)
def test_a_complaint_names_what_to_leave_out(complaint: str, feature: str | None) -> None:
    body = chat_body("m", request(decoding=SAMPLED, n=2), [], FULL)
    assert FULL.refused(complaint, body) == feature


def test_what_is_not_in_the_body_cannot_be_left_out() -> None:
    body = chat_body("m", request(), [], FULL)
    assert [FULL.refused(complaint, body) for complaint in ("seed", "n must be 1")] == [None, None]


def test_the_limit_is_renamed_once() -> None:
    renamed = FULL.without("limit")
    assert renamed.limit == "max_completion_tokens"
    assert renamed.without("limit") == renamed
    assert renamed.refused("max_completion_tokens is too large", {"max_completion_tokens"}) is None
    assert chat_body("m", request(), [], renamed).keys() >= {"max_completion_tokens"}


@pytest.mark.parametrize("feature", ["logprobs", "seed", "n", "temperature", "top_p"])
def test_what_is_left_out_is_in_no_further_body(feature: Any) -> None:
    asked = request(decoding=SAMPLED, n=2)
    assert feature in chat_body("m", asked, [], FULL)
    assert feature not in chat_body("m", asked, [], FULL.without(feature))
