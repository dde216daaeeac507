"""From Python: one agent asked in several ways, graphs of one's own, checkpoints, and what an import loads."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import ormsgpack
import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

import lalm_agent
from lalm_agent import Agent, AgentConfig, Answer, Status, Step, UsageError, build_graph
from lalm_agent.errors import DataError, PermanentBackendError
from lalm_agent.models.base import Request
from lalm_agent.models.scripted import ScriptedLALM
from lalm_agent.registry import install_line

ANIMALS = ["dog", "cat"]


@pytest.fixture
def clip(write_clip: Callable[..., Path]) -> str:
    return str(write_clip())


def agent_of(*replies: Any, **settings: Any) -> Agent:
    return Agent(model=ScriptedLALM(list(replies)), preset="paper", **settings)


# --- the package's top -----------------------------------------------------------------------------------------------

BARE = """
import sys
import lalm_agent
assert set(lalm_agent.__all__) <= set(dir(lalm_agent))
lalm_agent.AgentConfig, lalm_agent.LalmError, lalm_agent.load_config()
print("LOADED", *(name for name in ("langgraph", "torch", "transformers") if name in sys.modules))
"""


def test_importing_the_package_loads_nothing_heavy(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", BARE], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["LOADED"]


def test_every_name_of_the_top_is_there() -> None:
    assert sorted(lalm_agent.__all__) == lalm_agent.__all__
    assert {name: getattr(lalm_agent, name).__name__ for name in lalm_agent.__all__} == {
        name: name for name in lalm_agent.__all__
    }
    assert lalm_agent.__version__ == version("lalm-agent")
    with pytest.raises(AttributeError, match="no attribute 'Agnet'"):
        _ = lalm_agent.Agnet


# --- asking ----------------------------------------------------------------------------------------------------------


def test_settings_are_keywords_a_record_or_both(clip: str) -> None:
    assert Agent(model="owner/name", dtype="float16").config == AgentConfig(model="owner/name", dtype="float16")
    both = Agent(AgentConfig(model="owner/name", method="idk"), dtype="float16")
    assert both.config == AgentConfig(model="owner/name", method="idk", dtype="float16")
    assert Agent().config == AgentConfig()
    with pytest.raises(UsageError, match="modle: no such setting"):
        Agent(modle="mini")


def test_beside_a_model_that_was_handed_over_every_node_is_that_model(clip: str) -> None:
    answer = Agent(model=ScriptedLALM(["Speech", "words", "dog"])).ask(clip, "Which?", ANIMALS)
    assert answer.tools["asr"] == "lalm"
    assert answer.model.ref == "scripted:-"


def test_choices_are_any_sequence_but_a_text(clip: str) -> None:
    assert agent_of("Sound", "a dog", "dog").ask(clip, "Which?", choices=ANIMALS).choice == 0
    with pytest.raises(UsageError, match="the choices are one text"):
        agent_of().ask(clip, "Which?", choices="dog")


@pytest.mark.parametrize(
    "samples", [np.full(1600, 0.5), np.full((1600, 2), 0.5, np.float32), np.full(1600, 16384, np.int16)]
)
def test_samples_in_place_of_a_file(samples: Any) -> None:
    model = ScriptedLALM(["dog"])
    with Agent(model=model, method="baseline") as agent:
        answer = agent.ask((samples, 16_000), "Which?", ANIMALS)
        assert (answer.answer, answer.audio.seconds, answer.audio.rate) == ("dog", 0.1, 16_000)
    sound = model.asked[0].sound
    assert sound is not None
    np.testing.assert_allclose(sound.mono(16_000), 0.5, atol=1e-3)
    assert not Path(answer.audio.path).exists()


@pytest.mark.parametrize("samples", [[], [[[0.1]]], ["a"]])
def test_what_is_no_array_of_samples(samples: Any) -> None:
    with pytest.raises(UsageError, match="no audio: an array of"):
        agent_of().ask((samples, 16_000), "Which?", ANIMALS)


def test_a_stream_ends_with_the_answer(clip: str) -> None:
    model = ScriptedLALM(["Sound", "a dog", "dog"])
    items = []
    for item in Agent(model=model).stream(clip, "Which?", ANIMALS):
        items.append(item)
        assert len(model.asked) == min(len(items), 3)
    assert [item.node for item in items if isinstance(item, Step)] == ["type", "caption", "answer"]
    assert isinstance(items[-1], Answer)
    assert items[-1].steps == tuple(items[:-1])


def test_a_stream_of_a_failed_question_ends_with_an_answer_too(clip: str) -> None:
    items = list(agent_of("Sound", PermanentBackendError("it broke")).stream(clip, "Which?", ANIMALS))
    assert isinstance(items[-1], Answer)
    assert items[-1].status is Status.FAILED


def test_async_questions_leave_the_loop_free(write_clip: Callable[..., Path]) -> None:
    go_on = threading.Event()

    def reply(request: Request) -> str:
        assert go_on.wait(20)
        return f"heard {request.key or 'it'}"

    async def main() -> list[Answer]:
        agent = Agent(model=ScriptedLALM(reply), method="baseline")
        clips = [write_clip(name=f"{number}.wav") for number in range(3)]
        waiting = asyncio.gather(*(agent.aask(clip, "What?") for clip in clips))
        await asyncio.sleep(0)
        go_on.set()
        return await waiting

    assert [answer.answer for answer in asyncio.run(main())] == ["heard it"] * 3


def test_the_model_is_loaded_once_for_many_threads(
    write_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []

    def load(config: AgentConfig, rows: int) -> ScriptedLALM:
        loaded.append(config.model)
        threading.Event().wait(0.05)
        return ScriptedLALM(lambda _: "IDK")

    monkeypatch.setattr("lalm_agent.agent.load_model", load)
    agent = Agent(model="owner/name", method="baseline")
    clips = [write_clip(name=f"{number}.wav") for number in range(4)]
    threads = [threading.Thread(target=agent.ask, args=(path, "What?")) for path in clips]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loaded == ["owner/name"]


# --- graphs of one's own ---------------------------------------------------------------------------------------------


class Outer(TypedDict, total=False):
    audio: str
    question: str
    choices: list[str]
    status: str
    answer: str | None
    action: str


def test_the_graph_is_a_node_of_another(clip: str) -> None:
    def act(state: Outer) -> Outer:
        return {"action": f"feed the {state['answer']}" if state["status"] == "answered" else "ask a person"}

    outer = StateGraph(Outer)
    outer.add_node("listener", build_graph(agent_of("Sound", "a dog barks", "dog")))
    outer.add_node("act", act)
    outer.add_edge(START, "listener")
    outer.add_edge("listener", "act")
    outer.add_edge("act", END)
    inquiry: Outer = {"audio": clip, "question": "Which animal?", "choices": ANIMALS}
    end = outer.compile().invoke(inquiry)
    assert end == {**inquiry, "status": "answered", "answer": "dog", "action": "feed the dog"}


def test_the_graph_alone_takes_and_gives_json(clip: str) -> None:
    graph = build_graph(model=ScriptedLALM(["Speech", "hello", "IDK"]), preset="paper")
    reply = graph.invoke({"audio": clip, "question": "Who?"})
    assert json.loads(json.dumps(reply)) == reply
    assert (reply["status"], reply["content"], len(reply["steps"])) == ("abstained", "hello", 3)
    assert set(graph.get_input_jsonschema()["properties"]) == {"audio", "question", "choices", "window_s"}
    assert "question" not in graph.get_output_jsonschema()["properties"]


@pytest.mark.parametrize(
    ("inquiry", "said"),
    [
        ({"question": "Who?"}, "no text under 'audio'"),
        ({"audio": "missing.wav"}, "no text under 'question'"),
        ({"audio": "missing.wav", "question": "Who?"}, "missing.wav does not exist"),
        ({"audio": "missing.wav", "question": " "}, "the question is empty"),
        ({"audio": "missing.wav", "question": "Who?", "choices": ["x"]}, "one choice"),
    ],
)
def test_a_wrong_input_is_a_failed_reply(inquiry: Any, said: str) -> None:
    reply = build_graph(agent_of()).invoke(inquiry)
    assert reply["status"] == "failed"
    assert said in reply["failure"]["message"]
    assert reply["failure"]["exit_code"] == 2


def test_a_thread_keeps_nothing_of_an_earlier_question(clip: str) -> None:
    graph = build_graph(agent_of("Sound", "a dog", "dog", "a bird", "a bell"), InMemorySaver())
    config: Any = {"configurable": {"thread_id": "one"}}
    first = graph.invoke({"audio": clip, "question": "Which?", "choices": ANIMALS}, config)
    assert (first["answer"], first["choice"], len(first["steps"])) == ("dog", 0, 3)
    failed = graph.invoke({"audio": "missing.wav", "question": "Which?"}, config)
    assert (failed["status"], failed["answer"], failed["content"], failed["steps"]) == ("failed", None, None, [])
    open_one = graph.invoke({"audio": clip, "question": "What?"}, config)
    assert (open_one["status"], open_one["choice"], open_one["failure"]) == ("answered", None, None)


# --- checkpoints -----------------------------------------------------------------------------------------------------


def test_a_file_keeps_the_states_of_each_question(clip: str, tmp_path: Path) -> None:
    file = tmp_path / "states.sqlite"
    with agent_of("Sound", "a dog", "dog", "Speech and Music", "cat", checkpoint=str(file)) as agent:
        agent.ask(clip, "Which?", ANIMALS, thread_id="one")
        again = agent.ask(clip, "Which else?", ANIMALS, thread_id="one")
        kept = agent.runner.graph.get_state({"configurable": {"thread_id": "one"}}).values
    assert [step.node for step in again.steps] == ["type", "caption", "answer"]
    assert kept["answer"] == again.answer
    with sqlite3.connect(file) as connection:
        assert connection.execute("select count(*) from checkpoints where thread_id = 'one'").fetchone()[0] >= 8
    connection.close()


@pytest.mark.parametrize("form", ["msgpack", "json"])
def test_a_row_that_names_a_class_builds_nothing(
    clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "planted.py").write_text("class Planted:\n    pass\n")
    built = ormsgpack.Ext(0, ormsgpack.packb(("planted", "Planted", None)))
    named = {"lc": 2, "type": "constructor", "id": ["planted", "Planted"]}
    row = ormsgpack.packb(built) if form == "msgpack" else json.dumps(named).encode()
    file = tmp_path / "states.sqlite"
    with agent_of("dog", method="baseline", checkpoint=str(file)) as agent:
        agent.ask(clip, "Which?", ANIMALS, thread_id="one")
    with sqlite3.connect(file) as connection:
        connection.execute("update checkpoints set type = ?, checkpoint = ?", (form, row))
    connection.close()
    again = agent_of("dog", method="baseline", checkpoint=str(file))
    with again as agent, pytest.raises(DataError, match="no state of a question"):
        agent.ask(clip, "Which?", ANIMALS, thread_id="one")
    assert "planted" not in sys.modules


@pytest.mark.parametrize(("name", "said"), [("no/folder.sqlite", "does not exist"), ("clip.wav", "not a database")])
def test_a_file_that_cannot_keep_them(clip: str, tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises((UsageError, DataError), match=said), agent_of(checkpoint=str(tmp_path / name)) as agent:
        agent.ask(clip, "Which?")


def test_a_file_that_another_process_holds(clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "states.sqlite"
    with agent_of("dog", method="baseline", checkpoint=str(file)) as agent:
        saver = agent.runner.graph.checkpointer
        assert not isinstance(saver, bool)
        saver.conn.execute("pragma busy_timeout = 1")
        with sqlite3.connect(file) as holder:
            holder.execute("begin exclusive")
            with pytest.raises(DataError, match="locked"):
                agent.ask(clip, "Which?")
        holder.close()


def test_without_the_extra_its_line_is_named(clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lalm_agent.registry.is_installed", lambda _: False)
    with pytest.raises(UsageError) as error:
        agent_of(checkpoint=str(tmp_path / "x.sqlite")).ask(clip, "Which?")
    assert error.value.hint == install_line("sqlite")


def test_the_graph_of_langgraph_json_answers(clip: str, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    graphs = json.loads((root / "langgraph.json").read_text("utf-8"))["graphs"]
    path, _, name = graphs["agent"].partition(":")
    (tmp_path / "script.jsonl").write_text('{"reply": "Sound"}\n{"reply": "a dog"}\n{"reply": "dog"}\n')
    code = f"import json, runpy; graph = runpy.run_path({str(root / path)!r})[{name!r}]\n"
    code += f"print(json.dumps(graph.invoke({{'audio': {clip!r}, 'question': 'Which?'}})))"
    environment = os.environ | {"LALM_MODEL": "scripted:script.jsonl"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["answer"] == "dog"
