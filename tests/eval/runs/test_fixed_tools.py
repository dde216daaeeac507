"""Known content in an agent's nodes: what each mode says, what it refuses, and what the answering prompt becomes."""

import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_agent.agent import Agent
from lalm_agent.audio import Sound
from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.items import Item
from lalm_agent.eval.runs.controls import fixed_tools
from lalm_agent.models.scripted import ScriptedLALM
from lalm_agent.records import AudioRef, Method, Question
from lalm_agent.registry import Task, Tool


def item(number: int, modality: str | None, content: str | None, audio: str | None = None) -> Item:
    groups = (("modality", modality),) if modality else ()
    return Item(f"q{number}", audio or f"{number}.wav", "?", ("a", "b"), "a", groups, content)


ITEMS = (
    item(0, "speech", "hello there"),
    item(1, "speech", "good morning"),
    item(2, "sound", "a dog barks"),
    item(3, "sound", "rain"),
    item(4, "sound", "a bell"),
    item(5, "music", "slow piano music"),
    item(6, "music", "fast drums"),
    item(7, "sound", "a dog barks", audio="2.wav"),
)


def task(identity: str) -> Task:
    ref = AudioRef("a.wav", "0" * 64, 1.0, 16000, 1)
    return Task(Question("?", ref, ("a", "b"), identity), Method.AGENT, Sound(ref, np.zeros((16000, 1), np.float32)))


def says(tools: dict[str, Tool], node: str) -> dict[str, str]:
    return {question.id: tools[node](task(question.id)).text for question in ITEMS}


def test_nothing_stands_in_for_the_model_s_own_nodes() -> None:
    assert fixed_tools(ITEMS, "model", "model", 0) == {}


def test_the_type_s_oracle_names_the_data_s_modality() -> None:
    tools = fixed_tools(ITEMS, "oracle", "model", 0)
    assert list(tools) == ["type"]
    assert tools["type"].name == "oracle"
    assert says(tools, "type") == {question.id: str(question.modality).capitalize() for question in ITEMS}


def test_the_content_s_oracle_says_the_item_s_content_at_both_nodes() -> None:
    tools = fixed_tools(ITEMS, "model", "oracle", 0)
    assert sorted(tools) == ["asr", "caption"]
    assert tools["asr"].name == tools["caption"].name == "oracle"
    assert says(tools, "asr") == says(tools, "caption") == {question.id: question.content for question in ITEMS}


def test_none_says_nothing_and_needs_no_reference() -> None:
    tools = fixed_tools([item(0, "sound", None)], "model", "none", 0)
    assert {tool.name for tool in tools.values()} == {"none"}
    assert tools["caption"](task("q0")).text == ""


@pytest.mark.parametrize("seed", range(5))
def test_other_content_is_that_of_another_clip_of_the_same_modality(seed: int) -> None:
    tools = fixed_tools(ITEMS, "model", "other", seed)
    assert tools["asr"].name == "other clip"
    said = says(tools, "caption")
    for question in ITEMS:
        assert said[question.id] != question.content
        assert said[question.id] in {other.content for other in ITEMS if other.modality == question.modality}
    assert said["q2"] == said["q7"], "one clip, one content"
    assert {said["q2"], said["q3"], said["q4"]} == {"a dog barks", "rain", "a bell"}, "each is used once"


def test_other_content_depends_on_the_seed_and_on_no_order() -> None:
    items = [item(number, "sound", f"sound {number}") for number in range(30)]

    def draw(these: list[Item], seed: int) -> list[str]:
        tool = fixed_tools(these, "model", "other", seed)["caption"]
        return [tool(task(question.id)).text for question in items]

    assert draw(items, 1) == draw(items[::-1], 1)
    assert draw(items, 1) != draw(items, 2)


@given(st.lists(st.sampled_from("abcd"), min_size=2, max_size=40), st.integers(0, 5))
def test_equal_contents_are_never_exchanged_for_each_other(contents: list[str], seed: int) -> None:
    items = [item(number, "music", content) for number, content in enumerate(contents)]
    if 2 * max(contents.count(content) for content in contents) > len(contents):
        with pytest.raises(UsageError, match="have the same content"):
            fixed_tools(items, "model", "other", seed)
        return
    tool = fixed_tools(items, "model", "other", seed)["caption"]
    said = [tool(task(question.id)).text for question in items]
    assert all(text != content for text, content in zip(said, contents, strict=True))
    assert sorted(said) == sorted(contents)


def test_mixes_and_untyped_questions_are_refused_with_their_number() -> None:
    items = [*ITEMS, item(8, "mix-sound-speech", "x"), item(9, None, "y"), item(10, None, "z")]
    with pytest.raises(UsageError) as caught:
        fixed_tools(items, "oracle", "model", 0)
    said = "oracle type: 3 of 11 questions have no single modality (mix-sound-speech 1, not said 2)"
    assert (caught.value.message, caught.value.exit_code) == (said, 2)


@pytest.mark.parametrize("mode", ["oracle", "other"])
@pytest.mark.parametrize("empty", [None, "", " "])
def test_missing_references_are_refused_with_their_number(mode: str, empty: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        fixed_tools([*ITEMS, item(8, "sound", empty)], "model", mode, 0)
    assert caught.value.message == f"{mode} content: 1 of 9 questions have no reference content"


def test_a_clip_alone_in_its_modality_has_no_other() -> None:
    with pytest.raises(UsageError, match="1 of 1 speech clips"):
        fixed_tools([*ITEMS[2:5], item(8, "speech", "alone")], "model", "other", 0)


def test_a_question_from_elsewhere_is_an_error() -> None:
    with pytest.raises(DataError, match="'q99'"):
        fixed_tools(ITEMS, "oracle", "model", 0)["type"](task("q99"))


# --- in a graph -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "first", "named"),
    [
        ("oracle", "The Sound content is: a dog barks What?", "oracle"),
        ("none", "What?", "none"),
        ("other", "The Sound content is: rain What?", "other clip"),
    ],
)
def test_the_answering_prompt_holds_what_was_given(tmp_path: Path, content: str, first: str, named: str) -> None:
    items = (item(0, "sound", "a dog barks"), item(1, "sound", "rain"))
    model = ScriptedLALM(["dog", "dog"])
    agent = Agent(model=model, preset="paper", method="agent", tools=fixed_tools(items, "oracle", content, 0))
    answer = agent.ask_item(noise(tmp_path / "0.wav"), "What?", ("dog", "cat"), "q0")
    assert answer.answer == "dog"
    assert answer.tools == {"type": "oracle", "asr": named, "caption": named, "answer": "lalm"}
    assert answer.audio_type == "sound"
    select = "Select one option from the provided choices: dog cat Output 'IDK' if you don't know the answer."
    assert answer.steps[-1].prompt == f"{first} {select}"
    assert len(model.asked) == 1, "the model is asked for the answer only"


def test_two_questions_about_one_clip_each_get_their_own(tmp_path: Path) -> None:
    items = (item(0, "sound", "a dog barks", "one.wav"), item(1, "speech", "hello", "one.wav"))
    model = ScriptedLALM(["dog", "dog"])
    agent = Agent(model=model, preset="paper", method="agent", tools=fixed_tools(items, "oracle", "oracle", 0))
    clip = noise(tmp_path / "one.wav")
    answers = [agent.ask_item(clip, "What?", ("dog", "cat"), identity) for identity in ("q0", "q1")]
    assert [(answer.audio_type, answer.content) for answer in answers] == [
        ("sound", "a dog barks"),
        ("speech", "hello"),
    ]


def noise(path: Path) -> Path:
    samples = np.random.default_rng(0).integers(-3000, 3000, 16_000).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    return path
