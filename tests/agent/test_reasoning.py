"""A thinking model's words for itself are in no answer, no prompt and no transcript, and stay in the trace."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_agent import Agent, ToolResult
from lalm_agent.models.base import Completion, Request, Response
from lalm_agent.models.scripted import ScriptedLALM
from lalm_agent.reasoning import strip_reasoning


@pytest.mark.parametrize(
    ("reply", "stripped"),
    [
        ("dog", "dog"),
        (" dog\n", " dog\n"),
        ("a < b > c, I think> so", "a < b > c, I think> so"),
        ("<think>it barks</think>\n\ndog", "dog"),
        ("<thinking>\nit barks\n</thinking> dog", "dog"),
        ("<THINK>it barks</Think>dog", "dog"),
        ('<seed:think budget="5">it barks</seed:think>dog', "dog"),
        ("<Reasoning>it barks</Reasoning>dog", "<Reasoning>it barks</Reasoning>dog"),
        ("< think >it barks< / think >dog", "dog"),
        ("[THINK]it barks[/THINK]dog", "dog"),
        ("◁think▷it barks◁/think▷dog", "dog"),
        ("<|begin_of_thought|>it barks<|end_of_thought|>dog", "dog"),
        ("<|thinking|>it barks<|/thinking|>dog", "dog"),
        ("<think></think>dog<think>sure?</think>", "dog"),
        ("<think>a <think> tag in it</think>dog", "dog"),
        ("<think>one <think>two</think> still</think>dog", "dog"),
        ("it barks</think>\ndog", "dog"),
        ("dog <think>or a cat", "dog"),
        ("<think>it barks, or is it", ""),
        ("it barks</think>", ""),
        ("<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>dog<|return|>", "dog"),
        ("<|channel|>analysis<|message|>hm", ""),
    ],
)
def test_only_the_answer_is_left(reply: str, stripped: str) -> None:
    assert strip_reasoning(reply) == stripped


@given(st.lists(st.sampled_from(["<think>", "</think>", "<thinking>", "[/THINK]", "dog", " ", "<", "\n"])).map("".join))
def test_nothing_is_left_to_strip(reply: str) -> None:
    once = strip_reasoning(reply)
    assert strip_reasoning(once) == once
    assert len(once) <= len(reply)


@pytest.mark.parametrize(
    "piece",
    ["<think>", "</think>", "<", "<think ", "<a:", "<   ", "<|end|>", "[THINK]", "<|channel|>final<|message|>", "◁"],
)
def test_it_takes_time_linear_in_the_length(piece: str) -> None:
    start = time.perf_counter()
    strip_reasoning(piece * (400_000 // len(piece)))
    assert time.perf_counter() - start < 20


# --- in every node ---------------------------------------------------------------------------------------------------


def thinks(request: Request) -> str:
    prompt = request.turns[-1].text
    if prompt.startswith("Identify"):
        return "<think>It could be music or speech.</think>\n\nSound"
    if prompt.startswith("What is the Sound content"):
        return "I hear barks.\n</think>\n\nA dog barks."
    assert "I hear barks" not in prompt
    return "<thinking>A cat would meow.</thinking>\n\ndog"


def test_no_node_reads_or_passes_on_what_a_model_thinks(write_clip: Callable[..., Path]) -> None:
    answer = Agent(model=ScriptedLALM(thinks), preset="paper").ask(write_clip(), "Which?", ["dog", "cat"])
    assert (answer.audio_type, answer.content, answer.answer) == ("sound", "A dog barks.", "dog")
    assert [step.output for step in answer.steps] == ["Sound", "A dog barks.", "dog"]
    raw = [step.raw or "" for step in answer.steps]
    assert ["music or speech" in raw[0], "I hear barks" in raw[1], "would meow" in raw[2]] == [True] * 3


def test_reasoning_beside_the_text_is_kept_in_the_trace(write_clip: Callable[..., Path]) -> None:
    whole = Response((Completion("dog", None, "stop", reasoning="it barks"),), None, (0.0, 1.0), None, (), "tiny-2026")
    answer = Agent(model=ScriptedLALM([whole]), method="baseline").ask(write_clip(), "Which?", ["dog", "cat"])
    (step,) = answer.steps
    assert (step.output, step.raw, step.responder) == ("dog", "<think>\nit barks\n</think>\n\ndog", "tiny-2026")


@pytest.mark.parametrize("method", ["baseline", "idk"])
def test_a_reply_of_nothing_but_reasoning_is_no_answer(method: str, write_clip: Callable[..., Path]) -> None:
    model = ScriptedLALM(["<think>It is a dog. Or a"])
    answer = Agent(model=model, method=method).ask(write_clip(), "Which?", ["dog", "cat"])
    assert (answer.status, answer.answer, answer.steps[0].output) == ("unparsed", None, "")
    assert any("reasoning and no answer" in warning for warning in answer.warnings)


def test_a_reply_without_reasoning_has_no_raw_text(write_clip: Callable[..., Path]) -> None:
    answer = Agent(model=ScriptedLALM(["dog"]), method="baseline").ask(write_clip(), "Which?", ["dog", "cat"])
    assert answer.steps[0].raw is None


def test_the_reply_of_an_own_tool_is_stripped_too(write_clip: Callable[..., Path]) -> None:
    def own(task: Any) -> Any:
        return ToolResult("<think>hm</think>dog", "What?")

    answer = Agent(model=ScriptedLALM([]), method="baseline", tools={"answer": own}).ask(
        write_clip(), "Which?", ["dog", "cat"]
    )
    assert (answer.answer, answer.steps[0].raw) == ("dog", "<think>hm</think>dog")
