"""What clients of the formats get: the openai SDK, and whoever speaks `transformers serve`'s systemone."""

import asyncio
import json
import math
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from openai import APIError, AsyncOpenAI, NotFoundError, OpenAI

from lalm_agent import Agent
from lalm_agent.models.base import Completion
from lalm_agent.records import Status

ROOT = Path(__file__).parents[3]
Messages = Callable[..., list[dict[str, Any]]]
ANIMALS = ["dog", "cat", "cow"]


@pytest.fixture(scope="module")
def client(server: Any) -> OpenAI:
    return OpenAI(base_url=server.url, api_key="none", max_retries=0)


# --- chat completions ------------------------------------------------------------------------------------------------


def test_a_chat_completion_answers_with_the_probabilities_of_the_choices(client: OpenAI, messages: Messages) -> None:
    reply = client.chat.completions.create(
        model="echo",
        messages=messages("repeat cat."),
        logprobs=True,
        top_logprobs=2,
        max_tokens=64,
        temperature=0,
        extra_body={"choices": ANIMALS},
    )
    (choice,) = reply.choices
    assert (choice.message.content, choice.message.refusal, choice.finish_reason) == ("cat", None, "stop")
    assert choice.logprobs is not None
    (token,) = choice.logprobs.content or []
    assert token.token == "cat"
    assert math.exp(token.logprob) == pytest.approx((1 / 2) / (1 + 1 / 2 + 1 / 3))
    assert [entry.token for entry in token.top_logprobs] == ["dog", "cat"]
    said = reply.model_extra["lalm_agent"]
    assert (said["status"], said["confidence"]) == ("answered", pytest.approx(math.exp(token.logprob)))
    assert sum(row["probability"] for row in said["option_probs"]) == pytest.approx(1)


def test_without_being_asked_for_there_are_neither_logprobs_nor_steps(client: OpenAI, messages: Messages) -> None:
    reply = client.chat.completions.create(
        model="echo", messages=messages("repeat cat."), extra_body={"choices": ANIMALS}
    )
    assert reply.choices[0].logprobs is None
    assert "steps" not in reply.model_extra["lalm_agent"]


def test_a_refusal_stands_in_its_field(client: OpenAI, messages: Messages) -> None:
    reply = client.chat.completions.create(model="echo", messages=messages("What?"), logprobs=True)
    message = reply.choices[0].message
    assert message.content is None
    assert "does not know" in (message.refusal or "")
    assert reply.choices[0].logprobs is None
    said = reply.model_extra["lalm_agent"]
    assert (said["status"], said["abstention"], said["suggestion"]) == ("abstained", "does_not_know", "give choices")


def test_a_reply_that_is_neither_is_shown_as_it_is(client: OpenAI, messages: Messages) -> None:
    reply = client.chat.completions.create(
        model="echo", messages=messages("repeat a whale."), extra_body={"choices": ANIMALS}
    )
    assert reply.choices[0].message.content == "a whale"
    assert reply.model_extra["lalm_agent"]["status"] == "unparsed"


@pytest.mark.parametrize("part", ["data URL in input_audio", "audio_url", "mp3"])
def test_a_clip_comes_in_several_ways(client: OpenAI, messages: Messages, clip: str, mp3: str, part: str) -> None:
    said = messages("repeat cat.")
    if part == "mp3":
        said = messages("repeat cat.", mp3, "mp3")
    elif part == "audio_url":
        said[0]["content"][0] = {"type": "audio_url", "audio_url": {"url": f"data:audio/wav;base64,{clip}"}}
    else:
        said = messages("repeat cat.", f"data:audio/x-wav;base64,{clip}")
    reply = client.chat.completions.create(model="echo", messages=said)
    assert reply.choices[0].message.content == "cat"
    assert reply.model_extra["lalm_agent"]["heard_s"][1] == pytest.approx(1.0 if part == "mp3" else 0.5, abs=0.1)


def test_a_system_message_stands_before_the_question(serve: Any, messages: Messages) -> None:
    prompts: list[str] = []

    def script(request: Any) -> str:
        prompts.append(request.turns[-1].text)
        return "cat"

    with OpenAI(base_url=serve(script).url, api_key="none") as client:
        said = [{"role": "system", "content": "It is an animal."}, *messages("Which one?")]
        client.chat.completions.create(model="echo", messages=said)
    assert prompts == ["It is an animal.\nWhich one?"]


@pytest.mark.parametrize("steps", [False, True])
def test_a_stream_has_the_steps_where_they_are_asked_for_and_then_the_answer(
    serve: Any, messages: Messages, steps: bool
) -> None:
    replies = {"type of audio": "Sound", "Sound content is": "cat", "Sound content": "a cat"}
    server = serve(
        lambda request: next(text for key, text in replies.items() if key in request.turns[-1].text), method="agent"
    )
    with OpenAI(base_url=server.url, api_key="none") as client:
        stream = client.chat.completions.create(
            model="echo",
            messages=messages("Which?"),
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"steps": steps},
        )
        chunks = list(stream)
    nodes = [
        chunk.model_extra["lalm_agent"]["step"]["node"] for chunk in chunks if not chunk.choices and not chunk.usage
    ]
    assert nodes == (["type", "caption", "answer"] if steps else [])
    told = [choice for chunk in chunks for choice in chunk.choices]
    assert "".join(choice.delta.content or "" for choice in told) == "cat"
    assert [choice.finish_reason for choice in told] == [None, None, "stop"]
    assert chunks[-2].model_extra["lalm_agent"]["status"] == "answered"
    assert chunks[-1].usage is not None
    assert len({chunk.id for chunk in chunks}) == 1


def test_the_helper_of_the_sdk_collects_a_stream(client: OpenAI, messages: Messages) -> None:
    more = {"choices": ANIMALS, "steps": True}
    with client.chat.completions.stream(
        model="echo", messages=messages("repeat cat."), logprobs=True, extra_body=more
    ) as stream:
        (choice,) = stream.get_final_completion().choices
    assert choice.message.content == "cat"
    assert choice.logprobs is not None
    assert [token.token for token in choice.logprobs.content or ()] == ["cat"]


def test_the_asynchronous_client_streams_a_refusal(server: Any, messages: Messages) -> None:
    async def ask() -> tuple[str, str]:
        async with AsyncOpenAI(base_url=server.url, api_key="none") as client:
            said = await client.chat.completions.create(model="echo", messages=messages("repeat it."))
            stream = await client.chat.completions.create(model="echo", messages=messages("What?"), stream=True)
            deltas = [choice.delta async for chunk in stream for choice in chunk.choices]
            assert not any(delta.content for delta in deltas)
            return said.choices[0].message.content or "", "".join(delta.refusal or "" for delta in deltas)

    answer, refusal = asyncio.run(ask())
    assert answer == "it"
    assert "does not know" in refusal


def test_an_error_within_a_stream_reaches_the_client(serve: Any, messages: Messages) -> None:
    from lalm_agent.errors import PermanentBackendError

    def script(request: Any) -> Any:
        return "Sound" if "type" in request.turns[-1].text else PermanentBackendError("it broke")

    with OpenAI(base_url=serve(script, method="agent").url, api_key="none") as client:
        stream = client.chat.completions.create(model="echo", messages=messages("Which?"), stream=True)
        with pytest.raises(APIError, match="it broke"):
            list(stream)


def test_curl(server: Any, messages: Messages, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"model": "echo", "messages": messages("repeat cat.")}), "utf-8")
    command = [
        "curl",
        "-sS",
        "-H",
        "Content-Type: application/json",
        "-d",
        f"@{body}",
        f"{server.url}/chat/completions",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["choices"][0]["message"]["content"] == "cat"


def test_our_own_client_asks_our_own_server(server: Any, write_clip: Callable[..., Path]) -> None:
    with Agent(model=f"openai:echo@{server.url}", method="baseline") as agent:
        answer = agent.ask(write_clip(), "repeat cat.", ANIMALS)
        refused = agent.ask(write_clip(), "What?", ANIMALS)
    assert (answer.status, answer.answer) == (Status.ANSWERED, "cat")
    assert (refused.status, refused.abstention) == (Status.ABSTAINED, "does_not_know")


def test_the_examples_of_the_document_run(
    serve: Any, echo: Any, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    """Of a model that likes the first choice best; the document has `mini`."""
    monkeypatch.chdir(ROOT)

    def script(request: Any) -> Any:
        kinds = ("type of audio", "Sound content?")
        return replace(echo(request), completions=(Completion(_first_of(request, kinds), None, "stop"),))

    server = serve(script, method="agent", name="mini")
    text = (ROOT / "docs" / "serve.md").read_text("utf-8").replace("http://127.0.0.1:8000", server.root)
    blocks = re.findall(r"^```(bash|python)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    python = "".join(block for kind, block in blocks if kind == "python")
    names: dict[str, Any] = {}
    exec(python, names)
    names["client"].close()
    printed = capsys.readouterr().out
    assert re.match(r"dog 0\.48\d*\nSound\na dog\ndog\ndog\n", printed)
    assert "choice animal answered" in printed
    assert "predicate barks answered" in printed
    assert "'choice': 'dog'" in printed
    (shell,) = (block for kind, block in blocks if kind == "bash")
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["choices"][0]["message"]["content"] == "dog"


def _first_of(request: Any, kinds: tuple[str, str]) -> str:
    prompt = request.turns[-1].text
    if kinds[0] in prompt:
        return "Sound"
    if kinds[1] in prompt:
        return "a dog"
    return request.options[0] if request.options else "dog"


# --- decisions -------------------------------------------------------------------------------------------------------

CHOICE: dict[str, Any] = {
    "type": "choice",
    "name": "pick",
    "instructions": "repeat cat.",
    "choices": [{"value": "dog"}, {"value": "cat", "description": "it meows"}, {"value": True}],
}


def test_decisions_have_a_probability_for_each_choice(client: OpenAI, messages: Messages) -> None:
    decision = client.decisions.create(
        model="echo",
        input=messages("Listen."),
        questions=[
            CHOICE,
            {"type": "predicate", "instructions": "repeat yes."},
            {
                "type": "score",
                "instructions": [{"type": "input_text", "text": "repeat loud."}],
                "levels": [{"label": "quiet"}, {"label": "loud"}, {"label": "deafening"}],
            },
            {"type": "choice", "name": "none", "instructions": "What?", "choices": CHOICE["choices"]},
        ],
    )
    pick, predicate, score, refusal = decision.answers
    assert pick.type == "choice"
    assert (pick.name, pick.choice) == ("pick", "cat")
    assert [row.value for row in pick.probabilities] == ["dog", "cat", True]
    assert [row.probability for row in pick.probabilities] == pytest.approx([6 / 11, 3 / 11, 2 / 11])
    assert pick.confidence == pytest.approx(3 / 11)
    assert predicate.type == "predicate"
    assert predicate.probability == pytest.approx(2 / 3)
    assert score.type == "score"
    assert [(row.value, row.label) for row in score.probabilities] == [(0, "quiet"), (1, "loud"), (2, "deafening")]
    assert score.score == pytest.approx(3 / 11 + 2 * 2 / 11)
    assert (refusal.type, refusal.name) == ("refusal", "none")
    assert refusal.model_extra["lalm_agent"]["abstention"] == "does_not_know"
    assert decision.model_extra["metadata"] == {"policy": None}


def test_a_decision_is_asked_about_its_input_and_what_its_choices_mean(serve: Any, messages: Messages) -> None:
    prompts: list[str] = []

    def script(request: Any) -> str:
        prompts.append(request.turns[-1].text)
        return "unsure"

    said = [{"role": "developer", "content": "In a zoo."}, *messages("At night.")]
    said[1]["content"].append({"type": "input_json", "data": {"cages": 2}})
    with OpenAI(base_url=serve(script).url, api_key="none") as client:
        client.decisions.create(model="echo", input=said, questions=[CHOICE])
        client.decisions.create(
            model="echo", input=messages(" "), questions=[{"type": "predicate", "instructions": "A dog barks."}]
        )
    first, second = prompts
    assert first.startswith('In a zoo.\nAt night.\n{"cages": 2}\nrepeat cat.\ncat: it meows')
    assert second.startswith("Is this true? A dog barks.")


def test_the_guarantee_of_a_policy_stands_in_the_metadata(serve: Any, messages: Messages, policy_file: Any) -> None:
    """Of the policy of 0.4 the second of two choices, with a third of the probability, is withheld."""
    server = serve(policy=policy_file(0.4))
    with OpenAI(base_url=server.url, api_key="none") as client:
        questions = [{"type": "predicate", "instructions": f"repeat {word}."} for word in ("yes", "no")]
        decision = client.decisions.create(model="echo", input=messages(" "), questions=questions)
        chat = client.chat.completions.create(
            model="echo", messages=messages("repeat cat."), extra_body={"choices": ["dog", "cat"]}
        )
    promise = decision.model_extra["metadata"]["policy"]
    assert (promise["guarantee"], promise["holds"], promise["max_risk"]) == ("few errors", True, 0.1)
    assert [answer.type for answer in decision.answers] == ["predicate", "refusal"]
    assert decision.answers[0].model_extra["lalm_agent"]["answer"] == "yes"
    said = decision.answers[1].model_extra["lalm_agent"]
    assert (said["abstention"], said["reason_kind"], said["withheld"]) == ("not_confident", "not_confident", "no")
    assert chat.choices[0].message.content is None
    assert "the confidence is 0.333, and 0.400 is asked for" in (chat.choices[0].message.refusal or "")
    assert chat.model_extra["lalm_agent"]["policy"] == promise


def test_a_model_without_probabilities_decides_nothing(serve: Any, messages: Messages) -> None:
    with OpenAI(base_url=serve(lambda request: "yes").url, api_key="none", max_retries=0) as client:
        question: Any = {"type": "predicate", "instructions": "Is it loud?"}
        with pytest.raises(APIError) as caught:
            client.decisions.create(model="echo", input=messages(" "), questions=[question])
    assert caught.value.code == "no_probabilities"


# --- systemone -------------------------------------------------------------------------------------------------------


def test_systemone_answers_as_transformers_serves_it(server: Any, clip: str) -> None:
    """The keys and the arithmetic are those of transformers' own `Question.answer`."""
    from transformers.decision import DecisionConfig, parse_questions

    questions = {
        "animal": {"type": "choice", "instructions": "repeat dog.", "criteria": {"dog": "in <clip>", "cat": None}},
        "loud": {"type": "score", "instructions": "repeat soft.", "criteria": ["soft", "medium", "loud"]},
        "speech": {"type": "noul", "instructions": "repeat yes.", "criteria": {"true": "words", "false": None}},
        "what": {"type": "noul", "instructions": "What?"},
    }
    asset = {"type": "audio", "format": "wav", "data_base64": clip}
    body = {"model": "echo", "state": {"heard": "<clip>"}, "questions": questions, "assets": {"<clip>": asset}}
    reply = server.http.post(f"{server.url}/systemone", json=body).json()
    probabilities = {"animal": [2 / 3, 1 / 3], "loud": [6 / 11, 3 / 11, 2 / 11], "speech": [2 / 3, 1 / 3]}
    for question in parse_questions(questions, DecisionConfig())[:3]:
        expected = question.answer(probabilities[question.name])
        answer = reply["answers"][question.name]
        assert answer.pop("lalm_agent")["status"] == "answered"
        assert answer == {key: _close(value) for key, value in expected.items()}
    assert reply["answers"]["what"]["type"] == "refusal"
    assert (reply["model"], reply["usage"]) == ("echo", {"input_tokens": 0, "output_tokens": 0})


def _close(value: Any) -> Any:
    return value if isinstance(value, str) or _has_texts(value) else pytest.approx(value)


def _has_texts(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(inner, str) for inner in value.values())


# --- models ----------------------------------------------------------------------------------------------------------


def test_models_are_listed(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["echo"]
    assert client.models.retrieve("echo").owned_by == "lalm-agent"
    with pytest.raises(NotFoundError):
        client.models.retrieve("gpt-6-luna")
