"""A tool's own figures on their way into the trace of an answer, first hand and kept from an earlier question."""

import json
from pathlib import Path

import pytest

from lalm_agent.assemble import Agent
from lalm_agent.audio import Sound
from lalm_agent.cli.render import answer_json
from lalm_agent.config import AgentConfig
from lalm_agent.models.scripted import ScriptedLALM
from lalm_agent.state import ToolResult
from lalm_agent.tools.type_signal import SignalTypeIdentifier


@pytest.fixture
def clip(sound: Sound) -> Path:
    return Path(sound.ref.path)


def test_a_tools_figures_are_in_its_step_and_in_no_other(clip: Path) -> None:
    model = ScriptedLALM(["rustling", "dog", "rustling", "dog"])
    agent = Agent(AgentConfig(model="scripted:-", preset="paper", tools={"type": "signal"}), model=model)
    for again in (False, True):
        answer = agent.ask(clip, "Which animal is heard?", ("dog", "cat"))
        first, *others = json.loads(json.dumps(answer_json(answer), allow_nan=False))["steps"]
        assert (first["tool"], first["cached"], set(first["details"])) == (
            "signal",
            again,
            {"sound", "music", "speech"},
        )
        assert [step["details"] for step in others] == [None, None]


def test_the_argument_of_a_tool_reaches_it(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.pt").write_bytes(b"no weights")
    monkeypatch.setattr(SignalTypeIdentifier, "__call__", lambda tool, task: _speech())
    model = ScriptedLALM(["dog"])
    tools = {"type": "signal", "asr": f"whisper:{tmp_path}/own.pt"}
    answer = Agent(AgentConfig(model="scripted:-", preset="paper", tools=tools), model=model).ask(clip, "Who?")
    assert answer.failure is not None
    assert answer.failure.node == "asr"
    assert answer.failure.message.startswith(f"{tmp_path}/own.pt holds no weights of whisper")


def test_an_endpoint_as_a_tool_is_named_with_its_url() -> None:
    tools = {"type": "signal", "asr": "openai:whisper-1@http://127.0.0.1:9/v1"}
    agent = Agent(AgentConfig(model="scripted:-", preset="paper", tools=tools), model=ScriptedLALM(["dog"]))
    assert agent.runner.tools["asr"] == "openai:whisper-1@http://127.0.0.1:9/v1"


def _speech() -> ToolResult:
    return ToolResult("Speech")
