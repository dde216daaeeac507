"""Which of what a server sends is a reply."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_agent.errors import PermanentBackendError, TransientBackendError
from lalm_agent.models.base import Completion
from lalm_agent.models.openai_errors import Setback
from lalm_agent.models.openai_ref import endpoint_of
from lalm_agent.models.openai_wire import Reply, read_reply

OWN = endpoint_of("openai:tiny@http://host/v1", {"LALM_API_KEY": "sk-secret-of-mine"})


def read(data: object, heard: bool = True) -> Reply | Setback:
    content = data if isinstance(data, bytes) else json.dumps(data).encode()
    return read_reply(content, "application/json", OWN, heard)


def choice(content: object = "dog", finish: object = "stop", **message: object) -> dict[str, Any]:
    return {"finish_reason": finish, "message": {"content": content, **message}}


def one(given: dict[str, Any]) -> Completion:
    reply = read({"choices": [given]})
    assert isinstance(reply, Reply)
    return reply.completions[0]


@pytest.mark.parametrize(
    ("given", "completion"),
    [
        (choice(), Completion("dog", None, "stop")),
        (choice(" dog\n"), Completion("dog", None, "stop")),
        (choice(""), Completion("", None, "stop")),
        (choice("the answer is d", "length"), Completion("the answer is d", None, "length")),
        (choice(None, "length", reasoning_content="hm"), Completion("", None, "length")),
        (choice("dog", refusal=None), Completion("dog", None, "stop")),
        (choice("dog", refusal=""), Completion("dog", None, "stop")),
        (choice("\ud800dog"), Completion("?dog", None, "stop")),
    ],
)
def test_a_whole_choice_is_a_completion(given: dict[str, Any], completion: Completion) -> None:
    assert one(given) == completion


@pytest.mark.parametrize(
    ("logprobs", "expected"),
    [
        ({"content": [{"logprob": -0.5}, {"logprob": 0}]}, (-0.5, 0.0)),
        ({"content": [{"logprob": 1e-9}]}, (0.0,)),
        ({"content": [{"logprob": -0.5}, {}]}, None),
        ({"content": [{"logprob": -0.5}, {"logprob": float("-inf")}]}, None),
        ({"content": [{"logprob": "-0.5"}]}, None),
        ({"content": ["x"]}, None),
        ({"content": []}, None),
        ({"content": None}, None),
        ([], None),
        (None, None),
    ],
)
def test_log_probabilities_are_taken_whole_or_not_at_all(logprobs: object, expected: object) -> None:
    assert one({**choice(), "logprobs": logprobs}).token_logprobs == expected


NOT_JSON = [b"", b"{", b"<html>", b"\xff\xfe\xff", b"[" * 100_000, b'{"choices": [1' + b"0" * 5000 + b"]}"]
INCOMPLETE = [
    *(None, 7, "text", [], {}, {"choices": None}, {"choices": []}, {"choices": {}}, {"choices": [None]}),
    *({"choices": [{}]}, {"choices": [{"message": "dog", "finish_reason": "stop"}]}),
    *({"choices": [choice(None)]}, {"choices": [choice(7)]}, {"choices": [choice([{"text": "dog"}])]}),
    *({"choices": [choice("dog", finish)]} for finish in (None, "abort", "tool_calls", "STOP", 1)),
    {"choices": [choice(), choice(None)]},
]
REFUSED = [
    {"choices": [choice("dog", "content_filter")]},
    {"choices": [choice(None, "stop", refusal="I will not.")]},
    {"choices": [choice(), choice(None, "content_filter")]},
]


@pytest.mark.parametrize("content", NOT_JSON)
def test_what_is_no_json_may_pass(content: bytes) -> None:
    setback = read(content)
    assert isinstance(setback, Setback)
    assert setback.again
    assert isinstance(setback.as_error(1), TransientBackendError)


@pytest.mark.parametrize("data", INCOMPLETE)
def test_json_without_a_whole_choice_is_asked_for_again_and_then_permanent(data: object) -> None:
    setback = read(data)
    assert isinstance(setback, Setback)
    assert setback.again
    assert isinstance(setback.as_error(3), PermanentBackendError)


@pytest.mark.parametrize("data", REFUSED)
def test_what_was_filtered_or_refused_is_never_an_answer(data: object) -> None:
    setback = read(data)
    assert isinstance(setback, Setback)
    assert not setback.again
    assert isinstance(setback.as_error(1), PermanentBackendError)


def test_an_error_in_a_good_status_is_passed_on() -> None:
    setback = read({"error": {"message": "the GPU is on fire"}})
    assert isinstance(setback, Setback)
    assert "the GPU is on fire" in setback.message


def test_a_reply_that_holds_the_key_is_not_passed_on() -> None:
    setback = read({"choices": [choice("you sent sk-secret-of-mine")]})
    assert isinstance(setback, Setback)
    assert not setback.again
    assert "sk-secret" not in setback.message


USAGE = {"prompt_tokens_details": {"audio_tokens": 25}}


@pytest.mark.parametrize("usage", [None, 3, {}, {"prompt_tokens_details": 3}, {"prompt_tokens_details": {}}])
def test_audio_tokens_are_counted_where_the_server_counts(usage: object) -> None:
    for reported, expected in ((USAGE, 25), (usage, None)):
        reply = read({"choices": [choice()], "usage": reported})
        assert isinstance(reply, Reply)
        assert reply.audio_tokens == expected


def test_a_clip_of_no_audio_tokens_was_not_heard() -> None:
    data = {"choices": [choice()], "usage": {"prompt_tokens_details": {"audio_tokens": 0}}}
    setback = read(data)
    assert isinstance(setback, Setback)
    assert not setback.again
    assert isinstance(setback.as_error(1), PermanentBackendError)
    assert isinstance(read(data, heard=False), Reply)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.sampled_from(["stop", "length"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "content", "finish_reason", "refusal", "logprobs", "usage", "error"]
            ),
            inner,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_no_json_whatever_breaks_the_reader(data: object) -> None:
    assert isinstance(read(data), Reply | Setback)


@given(st.binary())
def test_no_bytes_whatever_break_the_reader(content: bytes) -> None:
    assert isinstance(read(content), Setback)
