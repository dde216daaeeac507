"""The examples of README.md, run as they are printed.

A code block after `<!-- example: NAME -->` is the file examples/NAME, and the commands of the block behind it run in a
folder that holds these files, clip.wav and clip.txt.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lalm_agent import Agent
from lalm_agent.models.scripted import ScriptedLALM

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
BLOCK = re.compile(
    r"<!-- example: (?P<name>\S+) -->\n```python\n(?P<code>.*?)```\n```\n(?P<commands>.*?)```\n", re.DOTALL
)
EXAMPLES = {match["name"]: match for match in BLOCK.finditer(README)}
MAX_LINES = 15


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "clip.wav").write_bytes((ROOT / "examples" / "clip.wav").read_bytes())
    (tmp_path / "clip.txt").write_text("hello there")
    for name, match in EXAMPLES.items():
        (tmp_path / name).write_text(match["code"])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_readme_shows_every_example() -> None:
    assert sorted(EXAMPLES) == ["from_python.py", "own_asr.py", "own_model.py"]
    assert len(re.findall("<!-- example:", README)) == len(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_its_file(name: str) -> None:
    assert EXAMPLES[name]["code"] == (ROOT / "examples" / name).read_text("utf-8")


@pytest.mark.parametrize("name", ["own_asr.py", "own_model.py"])
def test_an_own_tool_or_model_is_short(name: str) -> None:
    match = EXAMPLES[name]
    assert len((match["code"] + match["commands"]).splitlines()) <= MAX_LINES


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_commands_run_as_printed(folder: Path, name: str) -> None:
    environment = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    for line in EXAMPLES[name]["commands"].splitlines():
        command = shlex.split(line, comments=True)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout


def test_the_own_asr_is_heard(folder: Path, write_clip: Callable[..., Path]) -> None:
    agent = Agent(model=ScriptedLALM(["Speech", "hello"]), tools={"asr": "own_asr:transcribe"})
    try:
        assert agent.ask("clip.wav", "What is said?").content == "hello there"
    finally:
        sys.modules.pop("own_asr", None)
