"""Graphs: decisions, routing, traces, retries, failures, JSON-safe state, checkpoints."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from langgraph.checkpoint.sqlite import SqliteSaver

from lalm_agent.agent import Agent
from lalm_agent.audio import ClipStore
from lalm_agent.config import AgentConfig
from lalm_agent.errors import DataError, PermanentBackendError, RetriesExhausted, TransientBackendError, UsageError
from lalm_agent.graph import RETRY, Context, Runner, build_graph, content_node, named_type
from lalm_agent.models.scripted import ScriptedLALM
from lalm_agent.records import AbstentionKind, Answer, AudioType, Method, Question, Status, Step
from lalm_agent.registry import Task, ToolResult

ANIMALS = ("dog", "cat")


def ask(
    clip: Path, replies: list[Any], choices: tuple[str, ...] = ANIMALS, checkpointer: Any = None, **settings: Any
) -> tuple[Answer, ScriptedLALM]:
    model = ScriptedLALM(replies)
    config = AgentConfig(**{"model": "scripted:-", "preset": "paper", **settings})
    return Agent(config, checkpointer, model).ask(clip, "Which animal is heard?", choices), model


@pytest.fixture
def clip(write_clip: Callable[..., Path]) -> Path:
    return write_clip()


def nodes_of(answer: Answer) -> list[str]:
    return [step.node for step in answer.steps]


@pytest.mark.parametrize(
    ("said", "visited", "prompt"),
    [
        ("Speech", ["type", "asr", "answer"], "What is the Speech content?"),
        ("Sound", ["type", "caption", "answer"], "What is the Sound content?"),
        ("Music", ["type", "caption", "answer"], "What is the Music content?"),
    ],
)
def test_agent_routes_by_type(clip: Path, said: str, visited: list[str], prompt: str) -> None:
    answer, _ = ask(clip, [said, "the content", "dog"])
    assert nodes_of(answer) == visited
    assert (answer.status, answer.answer, answer.choice) == (Status.ANSWERED, "dog", 0)
    assert (answer.audio_type, answer.content) == (said.lower(), "the content")
    assert answer.steps[1].prompt == prompt
    assert answer.steps[2].prompt is not None
    assert answer.steps[2].prompt.startswith(f"The {said} content is: the content Which animal")


def test_what_is_odd_about_the_clip_is_told_once_and_silence_is_judged_by_what_is_heard(tmp_path: Path) -> None:
    tone = np.sin(np.arange(8000) / 5)
    soundfile.write(tmp_path / "a.wav", np.stack([tone, -tone], axis=1), 16_000)
    answer, _ = ask(tmp_path / "a.wav", ["Sound", "a tone", "IDK"])
    assert answer.warnings == ("the channels cancel when they are mixed: only channel 1 is heard",)
    assert "silent" not in str(answer.reason)
    # Heard through the mean of eight, the only channel is 18 dB quieter.
    soundfile.write(tmp_path / "b.wav", np.stack([0.005 * tone] + [0 * tone] * 7, axis=1), 16_000, subtype="FLOAT")
    answer, _ = ask(tmp_path / "b.wav", ["Sound", "a tone", "IDK"])
    assert "silent" in str(answer.reason)


@pytest.mark.parametrize("said", ["Speech and Music", "no idea", ""])
def test_unclear_type_skips_the_content_step(clip: Path, said: str) -> None:
    answer, _ = ask(clip, [said, "cat"])
    assert nodes_of(answer) == ["type", "answer"]
    assert answer.audio_type is None
    assert answer.content is None
    assert answer.steps[1].prompt is not None
    assert answer.steps[1].prompt.startswith("Which animal")
    assert any("no single type" in warning for warning in answer.warnings)


@pytest.mark.parametrize("method", [Method.BASELINE, Method.IDK, Method.MCOT])
def test_other_methods_ask_once(clip: Path, method: Method) -> None:
    answer, model = ask(clip, ["dog"], method=method)
    assert nodes_of(answer) == ["answer"]
    assert answer.tools == {"answer": "lalm"}
    assert len(model.asked) == 1
    assert answer.method is method


def test_every_step_hears_the_clip(clip: Path) -> None:
    _, model = ask(clip, ["Speech", "words", "dog"])
    assert all(request.sound is not None for request in model.asked)


def test_abstention_has_a_reason_and_no_answer(clip: Path) -> None:
    answer, _ = ask(clip, ["Speech", "words", "IDK"])
    assert answer.status is Status.ABSTAINED
    assert (answer.answer, answer.choice, answer.confidence) == (None, None, None)
    assert answer.reason is not None
    assert "does not know" in answer.reason
    assert answer.abstention is AbstentionKind.DOES_NOT_KNOW


def test_an_abstention_says_what_kind_it_is(clip: Path, unheard: str) -> None:
    answer, _ = ask(clip, ["Speech", "words", unheard])
    assert (answer.status, answer.abstention) == (Status.ABSTAINED, AbstentionKind.CANNOT_HEAR)
    assert answer.reason is not None
    assert answer.reason.startswith("the model said that the audio is missing")
    assert "dBFS" in answer.reason


def test_unparsed(clip: Path) -> None:
    answer, _ = ask(clip, ["Speech", "words", "horse"])
    assert (answer.status, answer.answer, answer.reason) == (Status.UNPARSED, None, None)
    assert answer.abstention is None


def test_open_question(clip: Path) -> None:
    answer, _ = ask(clip, ["Speech", "words", "to the park"], choices=())
    assert (answer.status, answer.answer, answer.choice) == (Status.ANSWERED, "to the park", None)


def test_a_permanent_error_is_a_failed_answer(clip: Path) -> None:
    answer, _ = ask(clip, ["Speech", PermanentBackendError("it broke", "mend it")])
    assert answer.status is Status.FAILED
    assert answer.failure is not None
    assert (answer.failure.node, answer.failure.message, answer.failure.hint) == ("asr", "it broke", "mend it")
    assert answer.failure.exit_code == 2
    assert nodes_of(answer) == ["type"]


def test_a_bug_is_a_failed_answer_with_exit_code_1(clip: Path) -> None:
    def broken(_: Any) -> str:
        raise ZeroDivisionError("oops")

    answer = Agent(AgentConfig(preset="paper"), model=ScriptedLALM(broken)).ask(clip, "What?")
    assert answer.failure is not None
    assert answer.failure.exit_code == 1
    assert "ZeroDivisionError" in answer.failure.message


def test_debug_raises_the_error(clip: Path) -> None:
    with pytest.raises(PermanentBackendError, match="it broke"):
        ask(clip, [PermanentBackendError("it broke")], debug=True)


def quick_runner(model: ScriptedLALM, tools: dict[str, Any]) -> Runner:
    retry = RETRY._replace(initial_interval=0.001, jitter=False)
    context = Context(tools, ClipStore())
    return Runner(build_graph(Method.BASELINE, context, retry=retry), context, Method.BASELINE, {}, model.spec)


class Flaky:
    """Fails some times, then answers."""

    name = "flaky"

    def __init__(self, failures: int, error: Exception) -> None:
        self.calls = 0
        self._failures = failures
        self._error = error

    def __call__(self, task: Task) -> ToolResult:
        self.calls += 1
        if self.calls <= self._failures:
            raise self._error
        return ToolResult("dog")


@pytest.mark.parametrize(
    ("error", "failures", "calls", "status"),
    [
        (TransientBackendError("busy"), 2, 3, Status.ANSWERED),
        (TransientBackendError("busy"), 9, 3, Status.FAILED),
        (RetriesExhausted("busy (5 attempts)"), 1, 1, Status.FAILED),
        (PermanentBackendError("broken"), 1, 1, Status.FAILED),
        (RuntimeError("a bug"), 1, 1, Status.FAILED),
        (ConnectionError("not mapped"), 1, 1, Status.FAILED),
    ],
)
def test_only_transient_errors_are_tried_again(
    clip: Path, error: Exception, failures: int, calls: int, status: Status
) -> None:
    tool = Flaky(failures, error)
    runner = quick_runner(ScriptedLALM([]), {"answer": tool})
    sound = runner.context.clips.open(str(clip))
    *_, answer = runner.stream(Question("Which?", sound.ref, ANIMALS))
    assert isinstance(answer, Answer)
    assert (tool.calls, answer.status) == (calls, status)


def test_steps_are_reported_as_they_happen(clip: Path) -> None:
    seen: list[tuple[str, int]] = []
    model = ScriptedLALM(["Speech", "words", "dog"])

    def on_step(step: Step) -> None:
        seen.append((step.node, len(model.asked)))

    Agent(AgentConfig(preset="paper"), model=model).ask(clip, "Which?", ANIMALS, on_step)
    assert seen == [("type", 1), ("asr", 2), ("answer", 3)]


def test_state_is_json_and_can_be_checkpointed(clip: Path, tmp_path: Path) -> None:
    with SqliteSaver.from_conn_string(str(tmp_path / "states.sqlite")) as saver:
        model = ScriptedLALM(["Speech", "words", "IDK"])
        agent = Agent(AgentConfig(preset="paper"), saver, model)
        answer = agent.ask(clip, "Which?", ANIMALS, thread_id="one")
        states = list(saver.list({"configurable": {"thread_id": "one"}}))
        values = agent.runner.graph.get_state({"configurable": {"thread_id": "one"}}).values
    assert len(states) >= 4
    assert json.loads(json.dumps(values)) == values
    assert values["status"] == answer.status


def test_content_of_a_clip_is_found_once(clip: Path) -> None:
    model = ScriptedLALM(["Speech", "words", "dog", "cat"])
    agent = Agent(AgentConfig(preset="paper"), model=model)
    first = agent.ask(clip, "Which?", ANIMALS)
    second = agent.ask(clip, "And which else?", ANIMALS)
    assert [step.cached for step in first.steps] == [False, False, False]
    assert [step.cached for step in second.steps] == [True, True, False]
    assert (second.content, second.answer) == ("words", "cat")


def test_a_clip_that_changes_between_nodes_is_refused(write_clip: Callable[..., Path]) -> None:
    path = write_clip()
    store = ClipStore()
    ref = store.open(str(path)).ref
    fresh = ClipStore()
    write_clip(2.0)
    with pytest.raises(DataError, match="changed"):
        fresh.get(ref)


def test_a_store_keeps_few_clips_and_finds_dropped_ones_again(write_clip: Callable[..., Path]) -> None:
    store = ClipStore()
    refs = [store.open(str(write_clip(0.01, name=f"{'x' * i}.wav"))).ref for i in range(1, 12)]
    assert store.get(refs[0]).ref == refs[0]


@pytest.mark.parametrize(
    ("question", "choices"),
    [("", ()), ("  ", ()), ("Which?", ("dog",)), ("Which?", ("dog", " ")), ("Which?", ("", "x"))],
)
def test_questions_that_cannot_be_asked(clip: Path, question: str, choices: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        Agent(AgentConfig(preset="paper"), model=ScriptedLALM([])).ask(clip, question, choices)


@pytest.mark.parametrize("changes", [{"nose": "lalm"}, {"asr": "nobody"}, {"answer": "pocketsphinx"}])
def test_unknown_nodes_and_tools_list_the_right_ones(changes: dict[str, str]) -> None:
    with pytest.raises(UsageError) as error:
        Agent(AgentConfig(tools=changes))
    assert error.value.hint is not None
    assert "one of:" in error.value.hint


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Speech", AudioType.SPEECH),
        ("speech.", AudioType.SPEECH),
        ("The type of audio is Music.", AudioType.MUSIC),
        ("**Sound**", AudioType.SOUND),
        ("Sound or Music", None),
        ("Speech with Music", None),
        ("Speech, with background music.", None),
        ("This is a music clip.", AudioType.MUSIC),
        ("The sound is music.", AudioType.MUSIC),
        ("The clip is not music but speech.", AudioType.SPEECH),
        ("<think>Music? No.</think>Sound", AudioType.SOUND),
        ("I'm sorry, but I can't hear the audio.", None),
        ("IDK", None),
        ("a dog", None),
        ("", None),
    ],
)
def test_found_type(reply: str, expected: AudioType | None) -> None:
    assert named_type(reply) is expected


def test_content_node() -> None:
    assert [content_node(t) for t in (AudioType.SPEECH, AudioType.SOUND, AudioType.MUSIC, None)] == [
        "asr",
        "caption",
        "caption",
        "answer",
    ]
