"""Models of one's own, and which reference leads where."""

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.agent import Agent, load_model
from lalm_agent.config import AgentConfig
from lalm_agent.errors import LalmError, UsageError
from lalm_agent.models.base import Completion, ModelSpec, Request, Response
from lalm_agent.models.scripted import ScriptedLALM
from lalm_agent.records import Answer, ModelInfo, Status

MODELS = """
from lalm_agent.models.base import Completion, ModelSpec, Response
from lalm_agent.records import ModelInfo

class Says:
    def __init__(self, argument="Sound", device="?"):
        self.spec = ModelSpec(ModelInfo(f"says-{argument}-{device}"), None, "cpu", "float32")
        self.text = argument
    def generate(self, requests):
        return [Response((Completion(self.text, None, "stop"),) * r.n, None, None, None) for r in requests]

ready = Says("IDK")

def build():
    return Says("built")

class Wrong(Says):
    pass

class Breaks(Says):
    def generate(self, requests):
        raise ValueError("broke")

class Short(Says):
    def generate(self, requests):
        return []

class Texts(Says):
    def generate(self, requests):
        return ["text" for _ in requests]

class Fewer(Says):
    def generate(self, requests):
        return [Response((), None, None, None) for _ in requests]

class Specless:
    def generate(self, requests):
        return []

class Greedy(Says):
    def __init__(self, gpu):
        pass

class Falls(Says):
    def __init__(self):
        raise OSError("no weights")

def builds_nothing():
    return None

number = 3
"""


@pytest.fixture(autouse=True)
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "own_models.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("own_models", None)


@pytest.fixture
def clip(write_clip: Callable[..., Path]) -> Path:
    return write_clip()


def ask(clip: Path, model: str, **settings: Any) -> Answer:
    return Agent(model=model, method="baseline", **settings).ask(clip, "What?")


@pytest.mark.parametrize(
    ("ref", "said", "recorded"),
    [
        ("own_models:Says", "Sound", "says-Sound-auto"),
        ("own_models:Says:a bell", "a bell", "says-a bell-auto"),
        ("own_models:build", "built", "says-built-?"),
    ],
)
def test_a_class_or_a_function_makes_a_model(clip: Path, ref: str, said: str, recorded: str) -> None:
    answer = ask(clip, ref)
    assert (answer.answer, answer.model.ref) == (said, recorded)


def test_an_object_is_a_model(clip: Path) -> None:
    assert ask(clip, "own_models:ready").status is Status.ABSTAINED


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        ("own_models:ready:x", "takes no argument"),
        ("own_models:build:x", "takes no argument"),
        ("own_models:number", "no class, function or model"),
        ("own_models:Specless", "no .generate or no .spec"),
        ("own_models:builds_nothing", "no .generate or no .spec"),
        ("own_models:Greedy", "asks for gpu"),
        ("own_models:Falls", "failed: OSError: no weights"),
        ("own_models:Missing", "has no Missing"),
        ("own_modles:Says", "there is no module own_modles"),
        ("mimi", "unknown model: mimi"),
        ("", "unknown model: (empty)"),
        ("own_models.py", "is a file"),
    ],
)
def test_a_wrong_reference_is_refused(clip: Path, ref: str, said: str) -> None:
    with pytest.raises(LalmError) as error:
        ask(clip, ref)
    assert error.value.exit_code == 2
    assert said in error.value.message


def test_a_misspelt_model_lists_the_right_ones() -> None:
    with pytest.raises(UsageError) as error:
        load_model(AgentConfig(model="Mimi"))
    assert error.value.hint is not None
    assert error.value.hint.startswith("did you mean mini? one of: mini, ")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Breaks", "own_models:Breaks failed: ValueError: broke"),
        ("Short", "a Response for each of 1 requests"),
        ("Texts", "a Response for each of 1 requests"),
        ("Fewer", "0 completions for n=1"),
    ],
)
def test_a_model_that_fails_is_named_and_no_bug_of_ours(clip: Path, name: str, said: str) -> None:
    answer = ask(clip, f"own_models:{name}")
    assert answer.failure is not None
    assert answer.failure.exit_code == 2
    assert said in answer.failure.message


def test_an_entry_point_is_a_model(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "site" / "bells-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bells\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lalm_agent.models]\nbells = own_models:Says\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert ask(clip, "bells:a bell").answer == "a bell"
    (tmp_path / "bells").mkdir()
    with pytest.raises(LalmError, match="holds no checkpoint"):
        ask(clip, "bells")


@pytest.mark.parametrize("ref", ["mini", "scripted:script.jsonl", "openai:x", "owner/name", "."])
def test_other_forms_scan_no_entry_points(ref: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scan(**_: object) -> None:
        raise AssertionError("scanned")

    monkeypatch.setattr("lalm_agent.registry.entry_points", scan)
    monkeypatch.setattr("lalm_agent.agent._load_checkpoint", lambda *_: None)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    (tmp_path / "script.jsonl").touch()
    load_model(AgentConfig(model=ref))
    with pytest.raises(AssertionError, match="scanned"):
        load_model(AgentConfig(model="another"))


def test_an_adapter_goes_on_the_answering_node_only(clip: Path) -> None:
    class Adaptable(ScriptedLALM):
        def with_adapter(self, folder: str) -> ScriptedLALM:
            return ScriptedLALM(["adapted"], f"with {folder}")

    answer = Agent(model=Adaptable(["Sound", "a bell"]), preset="paper", adapter="lora").ask(clip, "What?")
    assert (answer.content, answer.answer, answer.model.ref) == ("a bell", "adapted", "with lora")


def test_a_model_that_takes_no_adapter_says_so(clip: Path) -> None:
    with pytest.raises(UsageError, match="takes no adapter"):
        ask(clip, "own_models:Says", adapter="lora")


def test_threads_enter_a_model_one_after_the_other(write_clip: Callable[..., Path]) -> None:
    inside, most = 0, 0
    pause = threading.Event()

    class Watched:
        spec = ModelSpec(ModelInfo("watched"), None, "cpu", "float32")

        def generate(self, requests: Sequence[Request]) -> list[Response]:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            pause.wait(0.02)
            inside -= 1
            return [Response((Completion("IDK", None, "stop"),), None, None, None) for _ in requests]

    agent = Agent(model=Watched(), method="baseline")
    clips = [write_clip(name=f"{number}.wav") for number in range(4)]
    threads = [threading.Thread(target=agent.ask, args=(path, "What?")) for path in clips]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
