"""The whole way to an honest server: what is sent, and what is made of its replies."""

import base64
import io
from typing import Any

import pytest
import soundfile

from lalm_agent.audio import Sound
from lalm_agent.errors import PermanentBackendError, UsageError
from lalm_agent.models.base import DEAF, Decoding, Request, Turn
from lalm_agent.models.endpoint import EndpointOptions
from lalm_agent.models.openai_lalm import OpenAICompatLALM, load
from lalm_agent.models.openai_ref import endpoint_of
from lalm_agent.models.openai_wire import NO_TEMPERATURE

KEY = "sk-lalm-0123456789abcdef"
SAMPLED = Decoding(max_new_tokens=8, temperature=1.0, seed=3)


def ask(text: str = "What?", sound: Sound | None = None, decoding: Decoding = SAMPLED, **more: Any) -> Request:
    return Request((Turn("user", text),), sound, decoding, **more)


# --- what is sent ----------------------------------------------------------------------------------------------------


def test_a_clip_is_sent_and_its_hearing_recorded(stub: Any, connect: Any, sound: Sound) -> None:
    response = connect().lalm.generate([ask("What?", sound)])[0]
    content = stub.asked[0].body["messages"][0]["content"]
    clip = soundfile.info(io.BytesIO(base64.b64decode(content[0]["input_audio"]["data"])))
    assert (clip.samplerate, clip.frames) == (16_000, 16_000)
    assert content[1] == {"type": "text", "text": "What?"}
    assert (response.heard_s, response.audio_tokens, response.warnings) == ((0.0, sound.ref.seconds), None, ())
    assert response.option_scores is None


def test_a_text_only_model_is_asked_without_the_clip_and_says_so(stub: Any, connect: Any, sound: Sound) -> None:
    deaf = connect(hears_audio=False).lalm
    with_clip, without = deaf.generate([ask("What?", sound), ask("What?")])
    assert [asked.body["messages"] for asked in stub.asked] == [[{"role": "user", "content": "What?"}]] * 2
    assert (with_clip.heard_s, with_clip.warnings) == (None, (DEAF,))
    assert (without.heard_s, without.warnings) == (None, ())


def test_a_url_s_server_gets_its_own_key_and_no_other_header(
    stub: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("API_KEY", "BASE_URL", "ORG_ID", "PROJECT_ID", "ADMIN_KEY", "WEBHOOK_SECRET"):
        monkeypatch.setenv(f"OPENAI_{name}", "http://127.0.0.1:1/elsewhere")
    headers = "Host: elsewhere\nAuthorization: Bearer other\nX-Own: 1\nUser-Agent: other"
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", headers)
    connect(key=KEY).lalm.generate([ask()])
    sent = stub.asked[0].headers
    assert sent.keys() == {
        *("host", "accept", "accept-encoding", "connection", "content-type", "content-length", "user-agent"),
        "authorization",
    }
    assert sent["authorization"] == f"Bearer {KEY}"
    assert sent["host"] == stub.url.split("/")[2]
    assert (sent["user-agent"], sent["content-type"]) == ("lalm-agent", "application/json")
    assert stub.asked[0].path == "/v1/chat/completions"


def test_without_a_key_there_is_no_authorization(stub: Any, connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    connect().lalm.generate([ask()])
    assert "authorization" not in stub.asked[0].headers


def test_load_takes_the_key_of_the_environment(stub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LALM_API_KEY", KEY)
    lalm = load(f"openai:tiny@{stub.url}/")
    assert lalm.generate([ask(decoding=Decoding())])[0].completions[0].text == "reply to What?"
    assert stub.asked[0].headers["authorization"] == f"Bearer {KEY}"
    assert (lalm.spec.info.ref, lalm.spec.window_s) == (f"openai:tiny@{stub.url}", None)


def test_scoring_alone_asks_nothing_and_scores_nothing(stub: Any, connect: Any, sound: Sound) -> None:
    response = connect().lalm.generate([ask("What?", sound, n=0, options=("dog", "cat"))])[0]
    assert (response.completions, response.option_scores, stub.asked) == ((), None, [])


def test_what_the_api_cannot_say_is_refused_before_anything_is_sent(stub: Any) -> None:
    endpoint = endpoint_of("openai:gpt-audio", {"OPENAI_API_KEY": KEY})
    with pytest.raises(UsageError):
        OpenAICompatLALM(endpoint).generate([ask(), ask(decoding=Decoding(temperature=1.0, top_k=4))])


@pytest.mark.parametrize(
    "settings",
    [{"timeout_s": 0}, {"timeout_s": float("inf")}, {"deadline_s": 0}, {"max_attempts": 0}, {"concurrency": 0}],
)
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        EndpointOptions(**settings)


# --- N completions ---------------------------------------------------------------------------------------------------


def test_completions_are_asked_for_at_once(stub: Any, connect: Any) -> None:
    completions = connect().lalm.generate([ask(n=5)])[0].completions
    assert len({completion.text for completion in completions}) == 5
    assert [asked.body["n"] for asked in stub.asked] == [5]


def test_what_is_missing_of_them_is_asked_for_again_with_another_seed(stub: Any, connect: Any) -> None:
    stub.script = lambda asked: stub.says(*[f"seed {asked.body['seed']}"] * min(2, asked.body.get("n", 1)))
    completions = connect().lalm.generate([ask(n=5)])[0].completions
    assert [asked.body.get("n", 1) for asked in stub.asked] == [5, 3, 1]
    assert [len({c.text for c in completions[i:j]}) for i, j in ((0, 2), (2, 4), (4, 5), (0, 5))] == [1, 1, 1, 3]


def test_more_than_asked_for_is_cut(stub: Any, connect: Any) -> None:
    stub.plays(stub.says("a", "b", "c"))
    assert [c.text for c in connect().lalm.generate([ask(n=2)])[0].completions] == ["a", "b"]


def test_one_bad_choice_spoils_the_reply(stub: Any, connect: Any, failure: Any) -> None:
    spoilt = stub.json({"choices": [stub.choice("a"), stub.choice(None, "content_filter")]})
    stub.plays(spoilt)
    assert isinstance(failure(connect().lalm, ask(n=2)), PermanentBackendError)


# --- what servers do not take ----------------------------------------------------------------------------------------


def test_parts_that_a_server_refuses_are_left_out_from_then_on(stub: Any, connect: Any) -> None:
    def picky(asked: Any) -> Any:
        for part in ("max_tokens", "logprobs", "seed", "n", "temperature", "top_p"):
            if part in asked.body:
                return stub.refuses(400, f"'{part}' is not supported with this model")
        return stub.says(asked.text)

    stub.script = picky
    connected = connect(max_attempts=1)
    completions = connected.lalm.generate([ask(n=2)])[0].completions
    assert [c.text for c in completions] == ["What?", "What?"]
    assert len(stub.asked) == 8
    response = connected.lalm.generate([ask(n=2)])[0]
    assert len(stub.asked) == 10
    assert stub.asked[-1].body.keys() == {"model", "messages", "max_completion_tokens"}
    assert response.warnings == (NO_TEMPERATURE,)
    assert connected.waits == []


def test_a_server_that_refuses_both_names_of_the_limit_ends_in_an_error(stub: Any, connect: Any, failure: Any) -> None:
    stub.plays(stub.refuses(400, "max_tokens and max_completion_tokens exceed 7, as do seed, logprobs and n"))
    assert "exceed 7" in failure(connect().lalm, ask(n=2)).message
    assert len(stub.asked) == 5


def test_log_probabilities_of_tokens_are_kept(stub: Any, connect: Any) -> None:
    assert connect().lalm.generate([ask()])[0].completions[0].token_logprobs == (-0.25, -1.5)
