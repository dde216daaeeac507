"""The processes of a reproduction: what is done is not done again, and what fails or is stopped ends all of them."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.artefacts import read_lines
from lalm_agent.cli.main import run
from lalm_agent.cli.reproduce_parts import CommandWork, threads_of
from lalm_agent.jobs import WorkerError, run_tasks
from lalm_agent.training.reproduce.design import PaperFolder, Part, PartsJournal, finished, tasks_of

QUESTIONS = ("data", "synth", "--split", "dev", "--n", "0", "--out", "x")


@pytest.fixture
def folder(tmp_path: Path) -> PaperFolder:
    return PaperFolder(tmp_path)


def part(name: str, *words: str, makes: str = "", needs: tuple[str, ...] = ()) -> Part:
    """A command that writes a file without loading a model: by default the graph of the agent."""
    made = makes or f"{name}.txt"
    return Part(name, words or ("graph", "--out", made), made, needs)


def run_parts(folder: PaperFolder, parts: Sequence[Part]) -> None:
    left = [one for one in parts if one.name not in finished(folder, parts)]
    with PartsJournal(folder, lambda _: None) as journal:
        run_tasks(tasks_of(left), partial(CommandWork, folder.path), 2, journal, 1, fresh=True)


def events(folder: PaperFolder) -> list[tuple[str, str]]:
    return [(line["part"], line["event"]) for line in read_lines(folder.journal) if line["part"] != "all"]


def test_what_is_done_is_not_done_again(folder: PaperFolder) -> None:
    parts = [part("a"), part("b", needs=("a",))]
    run_parts(folder, parts)
    assert finished(folder, parts) == {"a", "b"}
    assert events(folder) == [("a", "begin"), ("a", "end"), ("b", "begin"), ("b", "end")]
    (folder.path / "b.txt").unlink()
    changed = [part("a", "graph", "--out", "a.txt", "--method", "agent", makes="a.txt"), parts[1]]
    assert finished(folder, changed) == set()
    assert finished(folder, parts) == {"a"}
    run_parts(folder, parts)
    assert [name for name, event in events(folder) if event == "begin"] == ["a", "b", "b"]


def test_a_failure_is_told_in_its_own_words(folder: PaperFolder) -> None:
    parts = [part("bad", "score", "nowhere"), part("later", needs=("bad",))]
    with pytest.raises(WorkerError, match="part bad: ") as failed:
        run_parts(folder, parts)
    assert "nowhere" in failed.value.message
    assert failed.value.exit_code == 2
    assert "error: " in folder.log("bad").read_text("utf-8")
    assert events(folder) == [("bad", "begin"), ("bad", "end")]
    assert finished(folder, parts) == set()


def test_a_part_that_makes_nothing_is_not_taken_for_done(folder: PaperFolder) -> None:
    with pytest.raises(WorkerError, match="left no a"):
        run_parts(folder, [part("a", "--version", makes="a")])
    assert finished(folder, [part("a", "--version", makes="a")]) == set()


def test_a_marker_alone_says_that_data_are_there(folder: PaperFolder) -> None:
    data = Part("data", QUESTIONS, "data", marker=True)
    (folder.path / "data").touch()
    assert finished(folder, [data, part("data", *QUESTIONS, makes="data")]) == {"data"}


def test_settings_of_the_environment_do_not_reach_the_parts(folder: PaperFolder, monkeypatch: Any) -> None:
    monkeypatch.setenv("LALM_TEMPERATURE", "hot")
    run_parts(folder, [part("a")])
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads_of(2) is None
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert threads_of(1000) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--data", "mmau"), "--bank-data is missing"),
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
    assert len(lines) == 6
    assert lines[-1].startswith("study: lalm-agent transfer --bank bank --model mini ")
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
