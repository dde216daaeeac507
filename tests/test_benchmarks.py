"""The scripts of `benchmarks/` run from any folder, or end in one clear line."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize(
    "arguments",
    [
        ("tools.py", "nowhere.wav", "Which animal?", "dog", "cat"),
        ("replies.py", "nowhere.jsonl"),
        ("results.py", "nowhere", "work"),
        ("ask.py", "--windows", "nowhere.wav"),
    ],
)
def test_what_is_not_there_is_named_in_one_line(arguments: tuple[str, ...], tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / arguments[0]), *arguments[1:]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    first, *others = done.stderr.splitlines()
    assert first.startswith("error: ")
    assert "nowhere" in first
    assert len(others) <= 1
    assert done.stdout == ""


def test_a_python_without_the_package_is_told_in_one_line(tmp_path: Path) -> None:
    # -S: without site-packages, where the package is.
    command = [sys.executable, "-S", str(FOLDER / "tools.py"), "clip.wav", "Which animal?"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "has no lalm-agent" in done.stderr.splitlines()[0]
    assert "Traceback" not in done.stderr


def test_every_script_ends_by_the_same_rule() -> None:
    modules = {"harness.py", "mini_figures.py"}
    scripts = [path for path in FOLDER.glob("*.py") if path.name not in modules]
    assert scripts
    assert [path.name for path in scripts if not path.read_text("utf-8").endswith("    script(main)\n")] == []
