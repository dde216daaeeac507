"""The processes of a reproduction: what is done is not done again, and what fails or is stopped ends all of them."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lalm_agent.cli import reproduce_parts
from lalm_agent.cli.main import run
from lalm_agent.cli.reproduce_parts import PartFailed, environment, finished, run_parts
from lalm_agent.training.reproduce.layout import PaperFolder
from lalm_agent.training.reproduce.plan import Part

# The words of a part: what it does and the file that it makes; each start is a line of starts.log.
WORKER = """
import pathlib, signal, sys, time
def stopped(*_):
    pathlib.Path(sys.argv[2] + ".stopped").touch()
    raise SystemExit(130)
signal.signal(signal.SIGINT, stopped)
with open("starts.log", "a") as log:
    log.write(sys.argv[2] + "\\n")
if sys.argv[1] == "fail":
    print("error: no such thing\\ntry: another one", file=sys.stderr)
    raise SystemExit(2)
if sys.argv[1] == "wait":
    pathlib.Path(sys.argv[2] + ".waits").touch()
    time.sleep(60)
if sys.argv[1] == "make":
    pathlib.Path(sys.argv[2]).touch()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PaperFolder:
    monkeypatch.setattr(reproduce_parts, "_COMMAND", (sys.executable, "-S", "-c", WORKER))
    return PaperFolder(tmp_path)


def part(name: str, does: str = "make", needs: tuple[str, ...] = (), alone: bool = False) -> Part:
    return Part(name, (does, name), name, needs, alone=alone)


def starts(folder: PaperFolder) -> list[str]:
    return (folder.path / "starts.log").read_text("utf-8").split()


def quiet(_: str) -> None:
    pass


def test_what_is_done_is_not_done_again(folder: PaperFolder) -> None:
    parts = [part("a"), part("b", needs=("a",)), part("c", needs=("a", "b"), alone=True)]
    run_parts(folder, parts, 2, quiet)
    assert starts(folder) == ["a", "b", "c"]
    assert finished(folder, parts) == {"a", "b", "c"}
    run_parts(folder, parts, 2, quiet)
    assert starts(folder) == ["a", "b", "c"]
    (folder.path / "b").unlink()
    changed = [parts[0], parts[1], Part("c", ("make", "c", "more"), "c", ("b",))]
    run_parts(folder, changed, 2, quiet)
    assert starts(folder) == ["a", "b", "c", "b", "c"]


def test_a_failure_is_told_in_its_own_words_and_stops_the_others(folder: PaperFolder) -> None:
    parts = [part("slow", "wait"), part("bad", "fail"), part("later", needs=("bad",))]
    with pytest.raises(PartFailed, match="part bad: no such thing") as failed:
        run_parts(folder, parts, 2, quiet)
    assert (failed.value.hint, failed.value.exit_code) == ("another one", 2)
    assert "later" not in starts(folder)
    ends = [json.loads(line) for line in folder.journal.read_text("utf-8").splitlines()]
    assert {line["part"]: line["code"] for line in ends if line["event"] == "end"}["all"] == 1
    assert "slow" in {line["part"] for line in ends if line["event"] == "end"}


def test_a_part_that_makes_nothing_is_not_taken_for_done(folder: PaperFolder) -> None:
    with pytest.raises(reproduce_parts.UsageError, match="left no a"):
        run_parts(folder, [part("a", "nothing")], 1, quiet)
    assert finished(folder, [part("a", "nothing")]) == set()


def test_ctrl_c_reaches_the_parts_once_and_they_may_keep_what_they_have(folder: PaperFolder) -> None:
    def interrupt(line: str) -> None:
        if line.startswith("part second"):
            deadline = time.monotonic() + 30
            while not (folder.path / "first.waits").exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_parts(folder, [part("first", "wait"), part("second", "wait")], 2, interrupt)
    assert (folder.path / "first.stopped").exists()


def test_a_marker_alone_says_that_data_are_there(folder: PaperFolder) -> None:
    data = Part("data", ("make", "data"), "data", marker=True)
    (folder.path / "data").touch()
    assert finished(folder, [data, part("data")]) == {"data"}
    run_parts(folder, [data], 1, quiet)
    assert not (folder.path / "starts.log").exists()


def test_settings_of_the_environment_do_not_reach_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LALM_TEMPERATURE", "0.7")
    monkeypatch.setenv("LALM_API_KEY", "kept")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = environment(2)
    assert "LALM_TEMPERATURE" not in found
    assert (found["LALM_API_KEY"], found["OMP_NUM_THREADS"]) == ("kept", "3")
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert int(environment(1000)["OMP_NUM_THREADS"]) == 1


def test_a_part_ends_with_the_process_that_began_it() -> None:
    script = (
        "import threading, time; from lalm_agent.cli.reproduce_child import _end_with_parent as end;"
        "threading.Thread(target=end, args=(0,), daemon=True).start(); print('up', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == b"up\n"
        child.stdin.close()
        assert child.wait(30) == -signal.SIGKILL


def test_a_part_is_a_command_of_this_program() -> None:
    command = [sys.executable, "-m", "lalm_agent.cli.reproduce_child", "--version"]
    # Its stdin stays open until it has ended by itself.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.wait(60) == 0
        assert child.stdout is not None
        assert child.stdout.read().startswith(b"lalm-agent ")


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
