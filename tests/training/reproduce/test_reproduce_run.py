"""The processes of a reproduction: what is done is not done again, and what fails or is stopped ends all of them."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lalm_agent import training
from lalm_agent.artefacts import Journal, read_lines
from lalm_agent.cli.main import run
from lalm_agent.config import AgentConfig
from lalm_agent.errors import LalmError
from lalm_agent.eval import EvaluateRequest
from lalm_agent.jobs import ResumableTask, WorkerError, run_tasks
from lalm_agent.training.reproduction import run as running
from lalm_agent.training.reproduction.design import (
    QUICK,
    PaperFolder,
    Part,
    Sources,
    SynthRequest,
    begin,
    end,
    finished,
    parts_of,
)
from lalm_agent.training.reproduction.run import PartWorker

EXAMPLES = Path(__file__).parents[3] / "examples"
QUESTIONS = SynthRequest(out="x", split="dev", n=1, seed=0)


@pytest.fixture
def folder(tmp_path: Path) -> PaperFolder:
    """A folder with questions and a model of scripted replies."""
    row = {"id": "q", "audio": "clip.wav", "question": "Which animal?", "choices": ["dog", "cat"], "answer": "dog"}
    (tmp_path / "own.jsonl").write_text(json.dumps(row), "utf-8")
    (tmp_path / "script.jsonl").write_text(json.dumps({"match": "animal", "reply": "dog"}), "utf-8")
    return PaperFolder(tmp_path)


def test_data_that_are_not_there_do_not_become_what_a_folder_is_about(tmp_path: Path) -> None:
    request = training.ReproduceRequest(out=tmp_path / "paper", data="mmau", data_file=tmp_path / "absent")
    with pytest.raises(LalmError, match="absent does not exist"):
        training.reproduce(request)
    assert not (tmp_path / "paper" / "spec.json").exists()


def part(name: str, needs: tuple[str, ...] = (), data: str = "own.jsonl", method: str = "baseline") -> Part:
    config = AgentConfig(model="scripted:script.jsonl", method=method, hears_audio=False)
    request = EvaluateRequest(data=data, audio_root=EXAMPLES, config=config, out=name)
    return Part(name, request, f"{name}/spec.json", needs)


def run_parts(folder: PaperFolder, parts: Sequence[Part]) -> list[str]:
    """Do what is left of some parts; what is said."""
    said: list[str] = []
    left = [own.task for own in parts if own.name not in finished(folder, parts)]
    with running._Follower(folder, said.append) as progress:
        run_tasks(left, partial(PartWorker, folder.path), 2, progress, 1, fresh=True)
    return said


def events(folder: PaperFolder) -> list[tuple[str, str]]:
    return [(line["part"], line["event"]) for line in read_lines(folder.journal) if line["part"] != "all"]


def test_what_is_done_is_not_done_again(folder: PaperFolder) -> None:
    parts = [part("a"), part("b", needs=("a",))]
    said = run_parts(folder, parts)
    assert finished(folder, parts) == {"a", "b"}
    assert events(folder) == [("a", "begin"), ("a", "end"), ("b", "begin"), ("b", "end")]
    assert said[0] == f"part a: {parts[0].command}"
    assert "a: 1 answers to give, 0 are there" in said
    assert folder.log("b").read_text("utf-8").count("answers to give") == 1
    (folder.path / "b" / "spec.json").unlink()
    assert finished(folder, [part("a", method="idk"), parts[1]]) == set()
    assert finished(folder, parts) == {"a"}
    (folder.path / "b" / "items.jsonl").unlink()
    (folder.path / "b" / "answers.jsonl").unlink()
    run_parts(folder, parts)
    assert [name for name, event in events(folder) if event == "begin"] == ["a", "b", "b"]


def test_what_decides_no_figure_is_free(folder: PaperFolder) -> None:
    """A report can be written again with another `--jobs`, and without saying `--tried` again."""
    config = AgentConfig(model="mini")

    def study_of(**fields: Any) -> Part:
        request = training.ReproduceRequest(out=folder.path, config=config, **fields)
        return parts_of(QUICK, Sources(), request)[-2]

    made = study_of(jobs=2, tried=4)
    (folder.path / made.makes).parent.mkdir()
    (folder.path / made.makes).touch()
    with Journal(folder.journal) as journal:
        journal.append(begin(made.name, "2026-01-01T00:00:00+00:00", made.words))
        journal.append(end(made.name, 1.0, 0))
    told = ("--jobs", "--tried")
    for same in (made, study_of(jobs=1, tried=4), study_of(tried=4)):
        assert finished(folder, [same]) == finished(folder, [same], told) == {"study"}
    for same in (study_of(jobs=1, tried=5), study_of()):
        assert finished(folder, [same]) == set()
        assert finished(folder, [same], told) == {"study"}
    assert finished(folder, [study_of(jobs=2, tried=4, also_limit=3)], told) == set()


def test_a_failure_is_told_in_its_own_words(folder: PaperFolder) -> None:
    parts = [part("bad", data="nowhere.jsonl"), part("later", needs=("bad",))]
    with pytest.raises(WorkerError, match=r"part bad: .*nowhere") as failed:
        run_parts(folder, parts)
    assert failed.value.exit_code == 2
    assert "error: " in folder.log("bad").read_text("utf-8")
    assert events(folder) == [("bad", "begin"), ("bad", "end")]
    assert finished(folder, parts) == set()


def test_a_marker_alone_says_that_data_are_there(folder: PaperFolder) -> None:
    (folder.path / "data").touch()
    parts = [Part("marked", QUESTIONS, "data", marker=True), Part("data", QUESTIONS, "data")]
    assert finished(folder, parts) == {"marked"}


def test_a_silent_part_is_said_to_run(folder: PaperFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_EVERY_S", 0.01)
    monkeypatch.setattr(running, "_QUIET_S", 0.01)
    said: list[str] = []
    task = ResumableTask("bank", part("bank"))
    with running._Follower(folder, said.append) as progress:
        progress.began(task)
        while not any(line.startswith("running: bank ") for line in said):
            pass
        folder.log("bank").parent.mkdir()
        folder.log("bank").write_text("loading\nhalf a li", "utf-8")
        progress.ended(task, None, 1.0)
    assert said[-2:] == ["bank: loading", "part bank: done in 1 s"]


def test_threads_are_shared_unless_the_user_says_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert running._threads(2) is None
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert running._threads(1000) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--bank-data", "mmau"), "--data is missing"),
        (("--model", "owner/name"), "owner/name needs recordings"),
        (("--data-file", "x.json"), "--data is not"),
        (("--also", "sakura"), "1 times --also, and 0 times --also-data"),
        (("--preset", "big"), "unknown preset"),
    ],
)
def test_a_wrong_call_is_one_clear_line(
    arguments: tuple[str, ...], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["reproduce", "--out", str(tmp_path / "paper"), "--device", "cpu", "--dry-run", *arguments]) == 2
    said = capsys.readouterr().err.splitlines()
    assert told in said[0]
    assert len(said) <= 2
    assert not (tmp_path / "paper").exists()


def test_a_dry_run_prints_the_commands_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "paper"
    own = ["--data", "mmau", "--data-file", str(tmp_path / "m.json"), "--bank-data", "hf:owner/name"]
    assert run(["reproduce", "--out", str(out), "--device", "cpu", "--dry-run", "--quick", *own]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    assert lines[-2].startswith("study: lalm-agent transfer --bank bank --model mini ")
    assert lines[-1].startswith("alpha: lalm-agent sweep alpha study/adapters/speech-kn-0 --model mini ")
    assert any(line.startswith("idk: lalm-agent eval mmau --data ../m.json --model mini ") for line in lines)
    assert not out.exists()


def test_a_folder_of_something_else_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").write_text("mine", "utf-8")
    assert run(["reproduce", "--out", str(tmp_path), "--device", "cpu", "--report-only"]) == 2
    assert "is no reproduction and not empty: it holds thesis.tex" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_report_of_what_is_not_finished_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["reproduce", "--out", str(tmp_path / "paper"), "--device", "cpu", "--report-only"]) == 2
    assert "not finished: bank-data, eval-data, agent" in capsys.readouterr().err


def test_the_function_is_not_hidden_by_its_package(tmp_path: Path) -> None:
    assert callable(training.reproduce)
    lines = training.plan_reproduction(training.ReproduceRequest(out=tmp_path, quick=True, jobs=1))
    assert [line.partition(":")[0] for line in lines][-2:] == ["study", "alpha"]
