"""A tool's own figures on their way into the trace of an answer, first hand and kept from an earlier question."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from lalm_agent.agent import Agent
from lalm_agent.audio import Sound
from lalm_agent.config import AgentConfig
from lalm_agent.models.scripted import ScriptedLALM
from lalm_agent.registry import Task, ToolResult


@pytest.fixture
def clip(sound: Sound) -> Path:
    return Path(sound.ref.path)


def always_speech(task: Task) -> ToolResult:
    """A type tool with a figure of its own."""
    return ToolResult("Speech", details={"speech": 1.0})


always_speech.per_clip = True  # type: ignore[attr-defined]


def test_a_tools_figures_are_in_its_step_and_in_no_other(clip: Path) -> None:
    model = ScriptedLALM(["rustling", "dog", "dog"])
    agent = Agent(AgentConfig(model="scripted:-", preset="paper"), model=model, tools={"type": always_speech})
    for again in (False, True):
        answer = agent.ask(clip, "Which animal is heard?", ("dog", "cat"))
        first, *others = json.loads(json.dumps(asdict(answer), allow_nan=False))["steps"]
        assert (first["cached"], first["details"]) == (again, {"speech": 1.0})
        assert [step["details"] for step in others] == [None, None]


def test_the_argument_of_a_tool_reaches_it(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "own.pt").write_bytes(b"no weights")
    tools = {"type": always_speech, "asr": f"whisper:{tmp_path}/own.pt"}
    config = AgentConfig(model="scripted:-", preset="paper")
    answer = Agent(config, model=ScriptedLALM(["dog"]), tools=tools).ask(clip, "Who?")
    assert answer.failure is not None
    assert answer.failure.node == "asr"
    assert answer.failure.message.startswith(f"{tmp_path}/own.pt holds no weights of whisper")


def test_an_endpoint_as_a_tool_is_named_with_its_url() -> None:
    tools = {"asr": "openai:whisper-1@http://127.0.0.1:9/v1"}
    agent = Agent(AgentConfig(model="scripted:-", preset="paper", tools=tools), model=ScriptedLALM(["dog"]))
    assert agent.runner.tools["asr"] == "openai:whisper-1@http://127.0.0.1:9/v1"
