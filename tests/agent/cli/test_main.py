"""The command line as a whole: its ways in, its help, and what one command loads."""

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from lalm_agent.cli.main import COMMANDS, make_app, run
from lalm_agent.config import FIELDS, FILE_NAME, AgentConfig, load_config


@pytest.mark.parametrize("arguments", [["-h"], ["--help"]])
def test_help_names_every_command_with_a_whole_summary(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 0
    out = capsys.readouterr().out
    assert [name for name in COMMANDS if f"\n  {name} " not in out] == []
    assert "..." not in out.partition("Commands:")[2]


def test_the_help_that_loads_no_command_is_that_of_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    make_app()(args=["--help"], standalone_mode=False, prog_name="lalm-agent")
    assert capsys.readouterr().out == out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "-h"]) == 0
    out = capsys.readouterr().out
    assert f"Usage: lalm-agent {name}" in out
    assert "..." not in out.partition("Commands:")[2]


def test_a_choice_that_does_not_exist_is_said_in_our_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", "a.wav", "Which?", "--method", "guess"]) == 2
    assert "error: Invalid value for '--method': 'guess' is not one of" in capsys.readouterr().err


def test_a_command_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["aks"]) == 2
    assert "'ask'" in capsys.readouterr().err


def test_the_package_runs_as_a_module(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lalm_agent", "--version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()[0]) == (0, "lalm-agent")


@pytest.mark.parametrize(("closed", "clip"), [("<&-", "-"), ("2>&-", "absent.wav")])
def test_a_closed_stream_is_an_empty_one(closed: str, clip: str, tmp_path: Path) -> None:
    command = ["sh", "-c", f'"$@" {closed}', "sh", sys.executable, "-m", "lalm_agent", "ask", clip, "Which?"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: standard input is empty" if clip == "-" else "")


def test_what_a_terminal_has_no_letters_for_is_escaped() -> None:
    command = [sys.executable, "-m", "lalm_agent", "eval", "--help"]
    latin = os.environ | {"PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(command, env=latin, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"METHOD[,METHOD\u2026]" in done.stdout


def test_a_reader_that_went_is_no_error_and_a_full_disk_no_bug() -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    with open(theirs, "wb") as gone, open("/dev/full", "wb") as full:
        for stdout, code, said in ((gone, 0, ""), (full, 2, "error: there is no space left on the disk")):
            command = [sys.executable, "-m", "lalm_agent", "--help"]
            done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)
            assert (done.returncode, done.stderr.partition("\n")[0]) == (code, said)


# --- short options, completion, settings file ------------------------------------------------------------------------

SHORT = {"--model": "-m", "--choice": "-c", "--out": "-o", "--quiet": "-q"}


def leaves(command: Any) -> Iterator[Any]:
    """Every command that can be run, those of groups too."""
    members = getattr(command, "commands", None)
    yield from [command] if members is None else itertools.chain.from_iterable(map(leaves, members.values()))


def test_the_common_flags_have_their_short_form_wherever_they_are() -> None:
    names = [set(parameter.opts) for leaf in leaves(typer.main.get_command(make_app())) for parameter in leaf.params]
    assert len([opts for opts in names if "--out" in opts]) > 10
    assert [opts for opts in names for long, short in SHORT.items() if long in opts and short not in opts] == []


COMPLETE = """
import atexit, sys
from lalm_agent.cli.main import run
heavy = {"langgraph", "openai", "torch", "transformers", "numpy"}
atexit.register(lambda: print("HEAVY", sorted(heavy & set(sys.modules)), file=sys.stderr))
run([])
"""


@pytest.mark.parametrize(
    ("line", "there", "absent"),
    [
        ("lalm-agent ", {"ask", "eval", "idk", "init"}, "--model"),
        ("lalm-agent ask --ch", {"--choice", "--checkpoint"}, "--model"),
        ("lalm-agent ask --method ", {"baseline", "idk", "mcot", "agent", "lora"}, "ask"),
        ("lalm-agent train --out", {"--out"}, "--model"),
        ("lalm-agent data s", {"synth"}, "probe"),
    ],
)
def test_a_shell_completes_commands_flags_and_values_and_loads_nothing_heavy(
    line: str, there: set[str], absent: str
) -> None:
    variables = {"_LALM_AGENT_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    command, environment = [sys.executable, "-c", COMPLETE], os.environ | variables | {"LALM_NO_SUCH": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) >= there
    assert absent not in done.stdout.split()
    assert done.stderr == "HEAVY []\n", "nothing may stand between what is typed"


def test_a_completion_of_fish_is_one_line() -> None:
    variables = {"_LALM_AGENT_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    environment = os.environ | variables | {"_TYPER_COMPLETE_ARGS": "lalm-agent ask --", "COLUMNS": "40"}
    command = [sys.executable, "-m", "lalm_agent"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert [line for line in done.stdout.splitlines() if not line.startswith("--")] == []
    assert "--tool\t" in done.stdout


def test_completion_is_installed_for_the_shell(tmp_path: Path) -> None:
    """In a shell that typer knows by its process, of a user with an empty home."""
    line = f"{sys.executable} -m lalm_agent --install-completion; true"
    environment = os.environ | {"HOME": str(tmp_path)}
    done = subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True, check=True)
    assert "bash completion installed" in done.stdout
    assert "lalm-agent.sh" in (tmp_path / ".bashrc").read_text()


def test_init_writes_every_setting_as_a_comment_that_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["init"]) == 0
    file = tmp_path / FILE_NAME
    assert capsys.readouterr().out == f"written: {file}\n"
    assert load_config(environment={}) == AgentConfig()
    text = file.read_text("utf-8")
    lines = [line for line in text.splitlines() if re.match(r"#\w+ = ", line)]
    assert [line[1:].partition(" ")[0] for line in lines] == list(FIELDS)
    for line in lines:
        file.write_text(text.replace(line, line[1:]))
        name = line[1:].partition(" ")[0]
        assert name in load_config(environment={}).model_fields_set
    file.write_text(re.sub(r"(?m)^#(?=\w+ = )", "", text))
    assert load_config(environment={}).model_fields_set == set(FIELDS)


def test_init_replaces_a_file_only_by_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / FILE_NAME).write_text('method = "idk"\n')
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run(["init"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert (tmp_path / FILE_NAME).read_text() == 'method = "idk"\n'
    monkeypatch.chdir(tmp_path / "inner")
    assert run(["init"]) == 0
    assert f"note: {tmp_path / FILE_NAME} does not count here" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    old = os.umask(0)
    try:
        assert run(["init", "--force"]) == 0
    finally:
        os.umask(old)
    assert load_config(environment={}) == AgentConfig()
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [FILE_NAME]
    (tmp_path / "inner" / FILE_NAME).unlink()
    (tmp_path / "inner" / FILE_NAME).mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    assert run(["init", "--force"]) == 2
    assert [path.name for path in (tmp_path / "inner").iterdir()] == [FILE_NAME], "nothing is left beside"
