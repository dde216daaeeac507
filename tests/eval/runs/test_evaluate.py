"""`evaluate` as a Python user calls it: answers, an observer, a loaded model, values that cannot be kept."""

import gzip
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from lalm_agent import AgentConfig
from lalm_agent.artefacts import MismatchError
from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval import EvaluateRequest, Observer, RunFolder, estimate, evaluate, summarise
from lalm_agent.eval.runs.folder import run_outputs
from lalm_agent.models.base import Completion, ModelSpec, Response
from lalm_agent.records import ModelInfo, Status

CHOICES = ["dog", "cat", "cow", "frog"]


class Says:
    """A model of one's own that says `dog`."""

    def __init__(self) -> None:
        self.spec = ModelSpec(ModelInfo("own:Says", None, "a" * 64), None, "cpu", "float32")
        self.asked = 0

    def generate(self, requests: Any) -> list[Response]:
        self.asked += len(requests)
        heard = [(0.0, request.sound.ref.seconds) if request.sound else None for request in requests]
        return [Response((Completion("dog", None, "stop"),), None, each, None) for each in heard]


class Watch(Observer):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None:
        self.told.append(text)

    def started(self, start: Any) -> None:
        self.told.append(f"started {start.there} of {start.total}")

    def answered(self, answer: Any) -> None:
        self.told.append(f"answered {answer.id}")

    def interrupted(self, run: RunFolder) -> None:
        self.told.append(f"interrupted {len(run.answers)}")

    def finished(self, run: RunFolder, asked: int) -> None:
        self.told.append(f"finished {asked}")


@pytest.fixture
def data(tmp_path: Path, write_clip: Callable[..., Path]) -> Path:
    """Three questions about three clips."""
    rows = []
    for n in range(3):
        clip = write_clip(f"{n}.wav")
        rows.append(
            {"id": f"q{n}", "audio": clip.name, "question": "Which animal?", "choices": CHOICES, "answer": "dog"}
        )
    path = tmp_path / "audio" / "bench.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_mini_answers_a_file_of_three_questions(data: Path, tmp_path: Path) -> None:
    config = AgentConfig(model="mini", method="idk", max_new_tokens=8, device="cpu")
    run = evaluate(EvaluateRequest(data=data, out=tmp_path / "run", config=config))
    assert {key for key in run.answers} == {("q0", 0), ("q1", 0), ("q2", 0)}
    assert all(answer.reply is not None for answer in run.answers.values())
    assert run.spec is not None
    assert run.spec.identity.model == "mini"
    assert run.spec.identity.tools == {"answer": "lalm"}
    with RunFolder(tmp_path / "run", writes=False) as again:
        assert again.answers == run.answers
    told = summarise(again)
    assert (told.questions, told.answers, sum(told.counts.values())) == (3, 3, 3)


def test_a_loaded_model_an_observer_and_the_same_request_again(data: Path, tmp_path: Path) -> None:
    model, watch = Says(), Watch()
    request = EvaluateRequest(
        data=str(data), out=tmp_path / "run", config=AgentConfig(method="baseline"), loaded_model=model
    )
    run = evaluate(request, watch)
    assert {answer.answer for answer in run.answers.values()} == {"dog"}
    assert watch.told[0] == "started 0 of 3"
    assert sorted(watch.told[1:4]) == ["answered q0", "answered q1", "answered q2"]
    assert watch.told[4:] == ["finished 3"]
    watch = Watch()
    assert evaluate(request, watch).answers == run.answers
    assert watch.told == ["finished 0"]
    assert model.asked == 3
    other = request.model_copy(update={"config": AgentConfig(method="mcot")})
    with pytest.raises(MismatchError) as refused:
        evaluate(other)
    assert "method: baseline in the run, mcot now" in refused.value.fields


def test_a_run_goes_on_in_the_order_in_which_it_began(data: Path, tmp_path: Path) -> None:
    model = Says()
    model.spec = ModelSpec(ModelInfo("owner/name", None, "a" * 64), None, "cpu", "float32")
    orders = {}
    for name, order in (("default", None), ("older", "clip-first")):
        config = AgentConfig(method="mcot", mcot_order=order)
        request = EvaluateRequest(data=data, out=tmp_path / name, config=config, loaded_model=model, limit=2)
        evaluate(request)
        more = request.model_copy(update={"config": AgentConfig(method="mcot"), "limit": None})
        assert estimate(more).questions == 1
        run = evaluate(more)
        assert run.spec is not None
        orders[name] = run.spec.identity.mcot_order
    assert orders == {"default": "printed", "older": None}
    other = more.model_copy(update={"config": AgentConfig(method="mcot", mcot_order="printed")})
    with pytest.raises(MismatchError, match="mcot_order"):
        evaluate(other)


def test_what_it_would_cost_writes_nothing(data: Path, tmp_path: Path) -> None:
    model = Says()
    cost = estimate(EvaluateRequest(data=data, out=tmp_path / "run", loaded_model=model, limit=2))
    assert (cost.questions, cost.requests, cost.unread) == (2, 2 + 2 + 2, 0)
    assert cost.audio_s == pytest.approx(0.4)
    assert cost.seconds is not None
    assert model.asked > 0
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"draws": 2}, "2 draws without a temperature"),
        ({"type_source": "oracle", "config": AgentConfig(method="idk")}, "need the steps of the agent"),
        ({"bank": True, "config": AgentConfig(answer_mode="score")}, "a bank is sampled"),
        ({"limit": 1, "data": "no-such-benchmark"}, "no-such-benchmark"),
    ],
)
def test_requests_that_contradict_themselves_are_refused(
    data: Path, tmp_path: Path, fields: dict[str, Any], said: str
) -> None:
    request = EvaluateRequest(**{"data": data, "out": tmp_path / "run", "loaded_model": Says(), **fields})
    with pytest.raises(UsageError, match=said):
        evaluate(request)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**401, "much"])
def test_a_value_that_no_file_can_hold_fails_its_question_and_the_run_stays_readable(
    data: Path, tmp_path: Path, value: Any, answer_to: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from lalm_agent.agent import Agent

    def ask_item(self: Any, audio: str, text: str, choices: Any, id: str, draw: int) -> Any:
        answer = replace(answer_to("x", text, choices, "q0", draw), failure=None, status=Status.ANSWERED)
        return replace(answer, confidence=value) if id == "q1" else answer

    monkeypatch.setattr(Agent, "ask_item", ask_item)
    run = evaluate(EvaluateRequest(data=data, out=tmp_path / "run", loaded_model=Says()))
    failed = {answer.id: answer.failure for answer in run.answers.values() if answer.status is Status.FAILED}
    assert set(failed) == {"q1"}
    assert "cannot be kept: confidence" in failed["q1"].message
    with RunFolder(tmp_path / "run", writes=False) as again:
        assert again.answers == run.answers


def test_a_tool_that_ends_the_process_fails_its_question(
    data: Path, tmp_path: Path, answer_to: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lalm_agent.agent import Agent

    def ask_item(self: Any, audio: str, text: str, choices: Any, id: str, draw: int) -> Any:
        if id == "q1":
            sys.exit(0)
        return answer_to("x", text, choices, "q0", draw)

    monkeypatch.setattr(Agent, "ask_item", ask_item)
    run = evaluate(EvaluateRequest(data=data, out=tmp_path / "run", loaded_model=Says()))
    assert len(run.answers) == 3
    assert run.answers["q1", 0].status is Status.FAILED


def without_the_middle(data: bytes) -> bytes:
    return data[: len(data) // 2 - 40] + data[len(data) // 2 + 40 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "UTF-16": lambda data: data.decode().encode("utf-16"),
    "gzip": gzip.compress,
    "pointer": lambda data: b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4" * 64 + b"\nsize 9\n",
    "middle": without_the_middle,
    "NUL": lambda data: data[:200] + bytes(80) + data[280:],
    "a last line of something else": lambda data: data + b"not JSON at all",
}


@pytest.mark.parametrize(
    ("file", "damage"),
    [*(("answers.jsonl", damage) for damage in DAMAGES), ("items.jsonl", "middle"), ("spec.json", "UTF-16")],
)
def test_a_damaged_run_is_refused_in_one_line_and_stays(data: Path, tmp_path: Path, file: str, damage: str) -> None:
    run = tmp_path / "run"
    request = EvaluateRequest(data=data, out=run, loaded_model=Says())
    evaluate(request)
    damaged = DAMAGES[damage]((run / file).read_bytes())
    (run / file).write_bytes(damaged)
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    for read in (lambda: evaluate(request), lambda: run_outputs(run), lambda: estimate(request)):
        with pytest.raises(DataError) as refused:
            read()
        assert file in refused.value.message
        assert "\n" not in refused.value.message
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_a_torn_last_line_is_asked_again(data: Path, tmp_path: Path) -> None:
    request = EvaluateRequest(data=data, out=tmp_path / "run", loaded_model=Says())
    before = evaluate(request).answers
    answers = tmp_path / "run" / "answers.jsonl"
    answers.write_bytes(answers.read_bytes()[:-30])
    assert len(run_outputs(tmp_path / "run").by_id) == 2
    assert evaluate(request).answers.keys() == before.keys()


@pytest.mark.parametrize("field", ["question", "gold", "choices"])
def test_a_question_that_was_changed_in_the_folder_is_noticed(data: Path, tmp_path: Path, field: str) -> None:
    request = EvaluateRequest(data=data, out=tmp_path / "run", loaded_model=Says())
    evaluate(request)
    rows = [json.loads(line) for line in (tmp_path / "run" / "items.jsonl").read_text("utf-8").splitlines()]
    rows[1][field] = ["dog", "cat"] if field == "choices" else "cat"
    (tmp_path / "run" / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    for read in (lambda: evaluate(request), lambda: run_outputs(tmp_path / "run")):
        with pytest.raises(DataError, match=r"items\.jsonl was changed"):
            read()


def test_a_run_of_a_version_without_the_hash_of_its_questions_still_opens(data: Path, tmp_path: Path) -> None:
    request = EvaluateRequest(data=data, out=tmp_path / "run", loaded_model=Says(), limit=2)
    evaluate(request)
    spec = json.loads((tmp_path / "run" / "spec.json").read_text("utf-8"))
    del spec["items_sha256"]
    (tmp_path / "run" / "spec.json").write_text(json.dumps(spec), "utf-8")
    assert len(evaluate(request.model_copy(update={"limit": 3})).answers) == 3


def test_other_recordings_under_the_same_names_are_refused(
    data: Path, tmp_path: Path, write_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a question is asked, and, where those few clips are the same, at the first other one that is heard."""
    config, model = AgentConfig(method="baseline", temperature=0.5), Says()
    request = EvaluateRequest(data=data, out=tmp_path / "run", config=config, loaded_model=model, limit=2)
    evaluate(request)
    other = tmp_path / "other"
    shutil.copytree(tmp_path / "audio", other)
    for n in range(3):
        write_clip(f"{n}.wav", like=f"other {n}").rename(other / f"{n}.wav")
    lines = (tmp_path / "run" / "answers.jsonl").read_bytes()
    for changes in ({"limit": 3}, {"draws": 2}):
        with pytest.raises(DataError, match="is another recording"):
            evaluate(request.model_copy(update={**changes, "audio_root": other}))
    assert model.asked == 2
    monkeypatch.setattr("lalm_agent.eval.runs.evaluate._COMPARED", 0)
    with pytest.raises(DataError, match="is another recording"):
        evaluate(request.model_copy(update={"draws": 2, "audio_root": other}))
    assert model.asked == 3
    assert (tmp_path / "run" / "answers.jsonl").read_bytes() == lines


def test_a_finished_run_compares_the_weights_without_loading_them(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with resources.as_file(resources.files("lalm_agent.models.mini")) as mini:
        shutil.copytree(mini, tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    config = AgentConfig(model=str(tmp_path / "model"), method="baseline", max_new_tokens=2, device="cpu")
    request = EvaluateRequest(data=data, out=tmp_path / "run", config=config, limit=1)
    before, watch = evaluate(request), Watch()
    monkeypatch.setattr("lalm_agent.models.hf_loading.load_checkpoint", None)
    assert evaluate(request, watch).answers == before.answers
    assert watch.told == ["finished 0"]
    last = weights.read_bytes()[-1]
    with weights.open("r+b") as file:
        file.seek(-1, 2)
        file.write(bytes([last ^ 1]))
    with pytest.raises(MismatchError, match="weights_sha256"):
        evaluate(request)
    shutil.rmtree(tmp_path / "model")
    watch = Watch()
    assert evaluate(request, watch).answers == before.answers
    assert "its weights are not compared" in watch.told[0]


def test_what_it_would_cost_is_refused_for_another_runs_folder(data: Path, tmp_path: Path) -> None:
    request = EvaluateRequest(data=data, out=tmp_path / "run", config=AgentConfig(method="idk"), loaded_model=Says())
    evaluate(request)
    assert estimate(request).questions == 0
    with pytest.raises(MismatchError, match="method"):
        estimate(request.model_copy(update={"config": AgentConfig(method="baseline")}))


@pytest.mark.parametrize("name", ["answers.jsonl", "silence"])
def test_nothing_is_written_through_a_link(data: Path, tmp_path: Path, name: str) -> None:
    request = EvaluateRequest(data=data, out=tmp_path / "run", loaded_model=Says(), limit=2)
    evaluate(request)
    (tmp_path / "run" / name).unlink(missing_ok=True)
    (tmp_path / "run" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="is a symbolic link"):
        evaluate(request.model_copy(update={"limit": 3}))
    assert not (tmp_path / "elsewhere").exists()


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, lalm_agent.eval as e; e.EvaluateRequest, e.evaluate; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "langgraph"} & set(done.stdout.split())
