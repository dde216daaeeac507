"""Tools that installed packages register by entry points."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lalm_agent.agent import Agent
from lalm_agent.errors import UsageError
from lalm_agent.models.scripted import ScriptedLALM
from lalm_agent.registry import BUILT_IN_TOOLS, MODEL_GROUP, TOOL_GROUP, find_tool, installed_plugins

TOOLBOX = """
def shout(task):
    return "loud"

def told(task, argument, mode):
    return f"{argument} {mode}"
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Puts a package with entry points on the path: `install("name", "[group]\\nname = module:attribute")`."""

    def put(package: str, entries: str) -> None:
        site = tmp_path / f"site-{package}"
        info = site / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(entries)
        (site / "own_toolbox.py").write_text(TOOLBOX)
        monkeypatch.syspath_prepend(site)

    yield put
    sys.modules.pop("own_toolbox", None)


def test_an_entry_point_fills_a_node(install: Callable[[str, str], None], write_clip: Callable[..., Path]) -> None:
    install("ears", f"[{TOOL_GROUP}]\nears = own_toolbox:told\nsilent = own_toolbox:missing\n")
    agent = Agent(model=ScriptedLALM(["Speech", "dog"]), preset="paper", tools={"asr": "ears:left"})
    answer = agent.ask(write_clip(), "What?")
    assert answer.content == "left generate"
    with pytest.raises(UsageError, match="silent of the package ears cannot be loaded"):
        find_tool("asr", "silent")
    with pytest.raises(UsageError) as error:
        find_tool("asr", "eras")
    assert "did you mean ears?" in str(error.value.hint)


def test_a_built_in_name_cannot_be_taken(install: Callable[[str, str], None]) -> None:
    install("thief", f"[{TOOL_GROUP}]\nlalm = own_toolbox:told\n")
    assert not find_tool("asr", "lalm").own
    with pytest.raises(UsageError, match="the package thief registers lalm, which is built in"):
        find_tool("asr", "other")


def test_a_name_that_two_packages_take_is_refused(install: Callable[[str, str], None]) -> None:
    install("one", f"[{TOOL_GROUP}]\nears = own_toolbox:told\n")
    install("two", f"[{TOOL_GROUP}]\nears = own_toolbox:shout\n")
    with pytest.raises(UsageError, match="both register ears"):
        find_tool("asr", "ears")


def test_a_built_in_name_scans_no_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    def scan(**_: object) -> None:
        raise AssertionError("scanned")

    monkeypatch.setattr("lalm_agent.registry.entry_points", scan)
    Agent(model="mini", tools={"asr": "whisper:small"})
    with pytest.raises(AssertionError, match="scanned"):
        Agent(model="mini", tools={"asr": "own_ears"})


def test_nothing_here_registers_a_plugin_by_accident() -> None:
    assert installed_plugins(TOOL_GROUP, BUILT_IN_TOOLS) == {}
    assert installed_plugins(MODEL_GROUP, ()) == {}
