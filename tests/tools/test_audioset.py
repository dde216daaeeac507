"""A tagger of AudioSet in ONNX: the type and the caption come of its scores. The tagger is made by the test."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lalm_agent.agent import Agent
from lalm_agent.audio import Sound
from lalm_agent.errors import DataError, PermanentBackendError, UsageError
from lalm_agent.models.scripted import ScriptedLALM
from lalm_agent.records import Method, Question
from lalm_agent.registry import Task
from lalm_agent.tools.audioset import AudioSetCaptioner, AudioSetTypeIdentifier

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

CLASSES = ("Speech", "Child speech, kid speaking", "Dog", "Music", "Guitar", "Scary music", "Wind", "Silence")
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes a tagger whose scores of two frames are `scores` twice, whatever it hears, and its list of classes."""

    def write(scores: dict[str, float], rank: int = 1, classes: tuple[str, ...] = CLASSES) -> Path:
        from onnx import TensorProto, helper, numpy_helper

        row = np.array([[scores.get(name, 0.0) for name in CLASSES]] * 2, np.float32)
        shape: list[str | int] = ["n"] if rank == 1 else [1, "n"]
        waveform = helper.make_tensor_value_info("waveform", TensorProto.FLOAT, shape)
        made = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [2, len(CLASSES)])
        zero = [numpy_helper.from_array(np.zeros(1, np.float32), "zero"), numpy_helper.from_array(row, "row")]
        nodes = [
            helper.make_node("ReduceMean", ["waveform"], ["mean"], keepdims=0),
            helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
            helper.make_node("Add", ["row", "nothing"], ["scores"]),
        ]
        graph = helper.make_graph(nodes, "tagger", [waveform], [made], zero)
        path = tmp_path / "tagger.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
        lines = [f'{at},/m/{at},"{name}"' for at, name in enumerate(classes)]
        path.with_suffix(".csv").write_text("\n".join(["index,mid,display_name", *lines]), "utf-8")
        return path

    return write


def task_of(sound: Sound) -> Task:
    return Task(Question("What?", sound.ref), Method.AGENT, sound)


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize(
    ("scores", "kind"),
    [
        ({"Speech": 0.9, "Music": 0.2}, "Speech"),
        ({"Guitar": 0.6, "Dog": 0.5}, "Music"),
        ({"Wind": 0.3, "Silence": 0.9}, "Sound"),
    ],
)
def test_the_type_is_that_of_the_best_class(
    make: Make, sound: Sound, scores: dict[str, float], kind: str, rank: int
) -> None:
    tool = AudioSetTypeIdentifier(str(make(scores, rank)))
    result = tool(task_of(sound))
    assert (result.text, tool.name) == (kind, "audioset:tagger.onnx")
    best = max(score for name, score in scores.items() if name != "Silence")
    assert result.details is not None
    assert result.details[kind.lower()] == pytest.approx(best) == max(result.details.values())


def test_a_caption_lists_tags_with_scores_the_likeliest_first(make: Make, sound: Sound) -> None:
    result = AudioSetCaptioner(str(make({"Dog": 0.8, "Wind": 0.12, "Music": 0.05})))(task_of(sound))
    assert result.text == "Dog 0.80, Wind 0.12"
    assert AudioSetCaptioner(str(make({"Dog": 0.02})))(task_of(sound)).text == "Dog 0.02"


def test_an_agent_takes_both_nodes_from_the_tagger(make: Make, sound: Sound) -> None:
    tagger, model = f"audioset:{make({'Dog': 0.8})}", ScriptedLALM(lambda request: "dog")
    agent = Agent(model=model, tools={"type": tagger, "caption": tagger})
    answer = agent.ask(sound.ref.path, "Which animal?", ["dog", "cat"])
    assert (answer.audio_type, answer.content, answer.answer) == ("sound", "Dog 0.80", "dog")
    assert len(model.asked) == 1


def test_what_is_no_tagger_is_refused(make: Make, sound: Sound, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        AudioSetCaptioner(str(tmp_path / "none.onnx"))
    with pytest.raises(UsageError, match="no such file"):
        AudioSetCaptioner()
    path = make({"Dog": 0.8}, classes=CLASSES[:-1])
    with pytest.raises(DataError, match="the list has 7 classes"):
        AudioSetCaptioner(str(path))(task_of(sound))
    path.write_bytes(b"not a model")
    with pytest.raises(DataError, match="is no model in ONNX"):
        AudioSetCaptioner(str(path))(task_of(sound))
    path.with_suffix(".csv").write_text("name\nDog", "utf-8")
    with pytest.raises(DataError, match="no column display_name"):
        AudioSetCaptioner(str(path))
    path.with_suffix(".csv").unlink()
    with pytest.raises(UsageError, match="no list of classes"):
        AudioSetCaptioner(str(path))


def test_a_clip_that_the_tagger_cannot_take(make: Make, sound: Sound, tmp_path: Path) -> None:
    path = make({"Dog": 0.8})
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3
    onnx.save(model, path)
    with pytest.raises(PermanentBackendError, match="failed"):
        AudioSetCaptioner(str(path))(task_of(sound))
