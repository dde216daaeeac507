"""The command line as a whole: its ways in, its help, and what one command loads."""

import subprocess
import sys
from pathlib import Path

import pytest

from lalm_agent.cli.main import COMMANDS, make_app, run


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
