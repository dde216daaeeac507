"""Which of what a server sends is a reply."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_agent.errors import PermanentBackendError, TransientBackendError
from lalm_agent.models.base import Completion
from lalm_agent.models.endpoint import FailedAttempt
from lalm_agent.models.openai_ref import endpoint_of
from lalm_agent.models.openai_wire import NO_FINISH, Reply, read_reply

OWN = endpoint_of("openai:tiny@http://host/v1", {"LALM_API_KEY": "sk-secret-of-mine"})


def read(data: object, has_clip: bool = True) -> Reply | FailedAttempt:
    content = data if isinstance(data, bytes) else json.dumps(data).encode()
    return read_reply(content, "application/json", OWN, has_clip)


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
        (choice(None, "length", reasoning_content="hm"), Completion("", None, "length", reasoning="hm")),
        (choice("dog", refusal=None), Completion("dog", None, "stop")),
        (choice("dog", refusal=""), Completion("dog", None, "stop")),
        (choice("\ud800dog"), Completion("?dog", None, "stop")),
        *(
            (choice("dog", end), Completion("dog", None, "stop"))
            for end in ("eos", "eos_token", "EOS", "end_turn", "done", "FINISH_REASON_STOP", "<|eot_id|>", None)
        ),
        *((choice("dog", end), Completion("dog", None, "length")) for end in ("max_tokens", "model_length")),
        (choice([{"type": "text", "text": "a "}, {"type": "text", "text": "dog"}]), Completion("a dog", None, "stop")),
        (choice([{"text": "dog"}]), Completion("dog", None, "stop")),
        (choice("dog", role="assistant", tool_calls=[], function_call=None), Completion("dog", None, "stop")),
        *(
            (choice("dog", **{name: "it barks"}), Completion("dog", None, "stop", reasoning="it barks"))
            for name in ("reasoning_content", "reasoning")
        ),
        (choice(None, reasoning_content="hm"), Completion("", None, "stop", reasoning="hm")),
        (
            choice(
                [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "dog"}]
            ),
            Completion("dog", None, "stop", reasoning="hm"),
        ),
        (choice("<think>hm</think>dog"), Completion("<think>hm</think>dog", None, "stop")),
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
        ({"content": [{"logprob": -(10**400)}]}, None),
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
    *({"choices": [choice(None)]}, {"choices": [choice(7)]}, {"choices": [choice([7])]}),
    *({"choices": [choice([part])]} for part in ({"type": "image", "text": "dog"}, {"type": "text"})),
    *({"error": {"message": "out of memory"}, "choices": choices} for choices in ([], [choice()])),
    {"choices": [{**choice(), "error": "out of memory"}]},
    {"success": False, "message": "out of memory", "choices": [choice()]},
    {"object": "error", "message": "out of memory", "choices": [choice()]},
    {"choices": [choice(), choice(None)]},
]
REFUSED = [
    {"choices": [choice("dog", "content_filter")]},
    {"choices": [choice(None, "stop", refusal="I will not.")]},
    {"choices": [choice(), choice(None, "content_filter")]},
    {"choices": [choice([{"type": "refusal", "refusal": "I will not."}])]},
    *({"choices": [choice("dog", finish)]} for finish in ("abort", "tool_calls", "error", 1, [])),
    {"choices": [choice("dog", tool_calls=[{"function": {"name": "play"}}])]},
    {"choices": [choice("dog", function_call={"name": "play"})]},
    {"choices": [choice("dog", role="user")]},
    {"error": {"message": "no credit", "code": 402}, "choices": [choice()]},
]


@pytest.mark.parametrize("content", NOT_JSON)
def test_what_is_no_json_may_pass(content: bytes) -> None:
    failed = read(content)
    assert isinstance(failed, FailedAttempt)
    assert failed.again
    assert isinstance(failed.as_error(1), TransientBackendError)


@pytest.mark.parametrize("data", INCOMPLETE)
def test_json_without_a_whole_choice_is_asked_for_again_and_then_permanent(data: object) -> None:
    failed = read(data)
    assert isinstance(failed, FailedAttempt)
    assert failed.again
    assert isinstance(failed.as_error(3), PermanentBackendError)


@pytest.mark.parametrize("data", REFUSED)
def test_what_was_filtered_or_refused_is_never_an_answer(data: object) -> None:
    failed = read(data)
    assert isinstance(failed, FailedAttempt)
    assert not failed.again
    assert isinstance(failed.as_error(1), PermanentBackendError)


def test_an_error_in_a_good_status_is_passed_on() -> None:
    failed = read({"error": {"message": "the GPU is on fire"}})
    assert isinstance(failed, FailedAttempt)
    assert "the GPU is on fire" in failed.message


def test_a_reply_that_holds_the_key_is_not_passed_on() -> None:
    failed = read({"choices": [choice("you sent sk-secret-of-mine")]})
    assert isinstance(failed, FailedAttempt)
    assert not failed.again
    assert "sk-secret" not in failed.message


def test_an_error_that_names_its_status_is_judged_as_that() -> None:
    failed = read({"error": {"message": "rate limited upstream", "code": 429}})
    assert isinstance(failed, FailedAttempt)
    assert (failed.again, failed.passing) == (True, True)
    assert "rate limited upstream" in failed.message


def test_the_responding_model_is_named_without_the_key() -> None:
    names = [("tiny-2026", "tiny-2026"), ("a\nb", "a b"), ("sk-SECRET-of-mine", "[key]"), (7, None), (" ", None)]
    for name, expected in names:
        reply = read({"choices": [choice()], "model": name})
        assert isinstance(reply, Reply)
        assert reply.model == expected


def test_an_end_that_the_server_does_not_name_is_recorded() -> None:
    reply = read({"choices": [choice("dog", None)]})
    assert isinstance(reply, Reply)
    assert reply.warnings == (NO_FINISH,)


USAGE = {"prompt_tokens_details": {"audio_tokens": 25}}


@pytest.mark.parametrize("usage", [None, 3, {}, {"prompt_tokens_details": 3}, {"prompt_tokens_details": {}}])
def test_audio_tokens_are_counted_where_the_server_counts(usage: object) -> None:
    for reported, expected in ((USAGE, 25), (usage, None)):
        reply = read({"choices": [choice()], "usage": reported})
        assert isinstance(reply, Reply)
        assert reply.audio_tokens == expected


def test_a_clip_of_no_audio_tokens_was_not_heard() -> None:
    data = {"choices": [choice()], "usage": {"prompt_tokens_details": {"audio_tokens": 0}}}
    failed = read(data)
    assert isinstance(failed, FailedAttempt)
    assert not failed.again
    assert isinstance(failed.as_error(1), PermanentBackendError)
    assert isinstance(read(data, has_clip=False), Reply)


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
    assert isinstance(read(data), Reply | FailedAttempt)


@given(st.binary())
def test_no_bytes_whatever_break_the_reader(content: bytes) -> None:
    assert isinstance(read(content), FailedAttempt)
