"""The documents against what they speak of, and the commands of README, run as they are printed."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer.main

from lalm_agent.cli.main import make_app
from lalm_agent.cli.main import run as run_here
from lalm_agent.models.openai_ref import parse_ref

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(path for folder in (ROOT, ROOT / "docs") for path in folder.glob("*.md"))
# [text](target), without an address on the web and without the anchor.
LINK = re.compile(r"\]\((?!https?://|mailto:|#)([^)#\s]+)")
EXAMPLE = re.compile(r"<!-- example: (?P<name>\S+) -->\n```python\n(?P<code>.*?)```\n", re.DOTALL)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```\n", re.DOTALL | re.MULTILINE)
SET_UP = ("make ", ". .venv", "pip ")  # what a test has behind it
MAKE = re.compile(r"^\s*\$?\s*make ([a-z][a-z-]*)", re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_to_a_file_leads_to_it(document: Path) -> None:
    targets = LINK.findall(document.read_text("utf-8"))
    assert [target for target in targets if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_make_command_has_its_target(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert targets >= {"demo", "test", "check"}
    assert set(MAKE.findall(document.read_text("utf-8"))) <= targets


def test_the_changelog_has_this_version_and_says_which_numbers_changed() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    sections = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text("utf-8"), flags=re.MULTILINE)[1:]
    newest = sections[0]
    assert version in newest.splitlines()[0]
    assert "### Numbers that changed" in newest


def test_every_printed_example_is_its_file() -> None:
    texts = [path.read_text("utf-8") for path in DOCUMENTS]
    printed = {match["name"]: match["code"] for text in texts for match in EXAMPLE.finditer(text)}
    assert printed.keys() == {"from_python.py", "own_asr.py", "own_model.py", "workers/template.py"}
    assert {name: (ROOT / "examples" / name).read_text("utf-8") for name in printed} == printed


def commands_of(document: str) -> list[str]:
    """The lines of the blocks without a language, which are commands."""
    text = (ROOT / document).read_text("utf-8")
    blocks = [block for language, block in BLOCK.findall(text) if not language]
    return [line for block in blocks for line in block.splitlines() if line and not line.startswith(SET_UP)]


def run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    return subprocess.run(shlex.split(line), cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.usefixtures("needs_synth")
@pytest.mark.timeout(1200)
def test_the_commands_of_the_readme_run_in_order_as_they_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The others in this process, which has loaded torch, than the first, Python's and what imports an own module."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    commands = commands_of("README.md")
    assert len(commands) > 12
    for number, line in enumerate(commands):
        program, *arguments = shlex.split(line)
        if number == 0 or program != "lalm-agent" or "=examples." in line:
            done = run(line, tmp_path)
            code, out, err = done.returncode, done.stdout, done.stderr
        else:
            code = run_here(arguments)
            out, err = capfd.readouterr()
        assert code == 0, f"{line}\n{err}"
        assert out.strip() or err.strip(), line


def indented_commands(document: str) -> list[list[str]]:
    text = (ROOT / document).read_text("utf-8")
    return [shlex.split(line) for line in re.findall(r"^    (lalm-agent .*)$", text, re.MULTILINE)]


@pytest.mark.parametrize("document", ["docs/exec.md", "docs/models.md"])
def test_launch_lines_that_cannot_be_run_here_are_commands_and_references_of_ours(document: str) -> None:
    lines = indented_commands(document)
    assert len(lines) > 1
    for _, *arguments in lines:
        group = typer.main.get_command(make_app(arguments[:1]))
        with group.make_context("lalm-agent", list(arguments)) as context:
            _, command, rest = group.resolve_command(context, list(arguments))  # type: ignore[attr-defined]
            while hasattr(command, "resolve_command"):
                _, command, rest = command.resolve_command(context, rest)
            options = command.make_context(arguments[0], rest, parent=context).params
        ref = options.get("model") or ""
        if ref.startswith("openai:"):
            name, url = parse_ref(ref)
            assert (name in " ".join(map(str, arguments)), url) == (True, "http://HOST:8000/v1")
        elif ref.startswith("exec:"):
            worker = ref.split(":")[2]
            assert worker.endswith(".py")
            assert (ROOT / worker).is_file() or not worker.startswith("examples/")


def test_what_is_served_is_what_is_asked() -> None:
    text = (ROOT / "docs/models.md").read_text("utf-8")
    served = re.findall(r"^    vllm serve (\S+) .*\n    lalm-agent .*--model openai:(\S+)@http", text, re.MULTILINE)
    assert len(served) > 5
    assert [pair for pair in served if pair[0] != pair[1]] == []


def test_the_own_model_of_the_documents_runs_as_it_is_printed(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (line,) = [line for line in commands_of("docs/models.md") if line.startswith("lalm-agent")]
    assert run(line, tmp_path).stdout.startswith("IDK")
