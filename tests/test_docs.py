"""The documents against what they speak of: links, make, extras, examples. Their code: test_docs_blocks.py."""

import re
import tomllib
from pathlib import Path

import pytest

from lalm_agent.cli.main import run

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(path for folder in (ROOT, ROOT / "docs") for path in folder.glob("*.md"))
# [text](target), without an address on the web and without the anchor.
LINK = re.compile(r"\]\((?!https?://|mailto:|#)([^)#\s]+)")
EXAMPLE = re.compile(r"<!-- example: (?P<name>\S+) -->\n```python\n(?P<code>.*?)```\n", re.DOTALL)
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


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_extra_is_one_of_the_package(document: Path) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    named = ",".join(re.findall(r"'(?:\.|lalm-agent)\[([\w,-]+)\]'", document.read_text("utf-8")))
    assert set(filter(None, named.split(","))) <= extras.keys()


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


def test_the_table_of_families_is_that_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "--families"]) == 0
    assert capsys.readouterr().out in (ROOT / "docs/models.md").read_text("utf-8")


def test_what_is_served_is_what_is_asked() -> None:
    text = (ROOT / "docs/models.md").read_text("utf-8")
    served = re.findall(r"^vllm serve (\S+) .*\nlalm-agent .*--model openai:(\S+)@http", text, re.MULTILINE)
    assert len(served) > 5
    assert [pair for pair in served if pair[0] != pair[1]] == []
