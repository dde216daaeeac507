"""Names of tools: how they are looked up, made and called, every way in which they can be wrong, and the extras."""

import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.agent import Agent, make_tool, tool_parameters
from lalm_agent.config import AgentConfig
from lalm_agent.errors import PermanentBackendError, TransientBackendError, UsageError
from lalm_agent.models.base import Decoding
from lalm_agent.models.scripted import ScriptedLALM
from lalm_agent.records import Answer, Status
from lalm_agent.registry import (
    BUILT_IN_TOOLS,
    EXTRAS,
    MODEL_GROUP,
    NEEDS,
    NODES,
    TOOL_GROUP,
    TOOLS,
    Reference,
    Task,
    ToolResult,
    find_tool,
    install_line,
    installed_plugins,
    is_installed,
    require_extra,
)

PACKAGED = """
from lalm_agent import ToolResult, LalmError, UsageError
from lalm_agent.errors import TransientBackendError

def shout(task):
    return f"HEARD {task.sound.ref.seconds:.0f} S"

def told(task, argument, *, mode="?"):
    return ToolResult(f"{argument} {mode}", warnings=("a warning",))

class Asked:
    def __init__(self, model, decoding, argument=None):
        self.name = f"asked-{argument}"
        self.said = f"{model.spec.info.ref} {decoding.max_new_tokens} {argument}"
    def __call__(self, task):
        return self.said

class Shelf:
    inner = shout

async def later(task):
    return "x"

def number(task):
    return 3

def nothing(task):
    pass

def empty(task):
    return ToolResult(None)

def broken(task):
    raise KeyError("what\\nlines")

def leaves(task):
    raise SystemExit(0)

def busy(task):
    raise UsageError("not this clip", "another")

def asks_too_much(task, microphone):
    return ""

def takes_nothing():
    return ""

class Mute:
    pass

class Refuses:
    def __init__(self):
        raise OSError("no weights")
    def __call__(self, task):
        return ""

a_text = "text"
"""


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with modules of one's own, forgotten afterwards."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "own_toolbox.py").write_text(PACKAGED)
    (folder / "own_syntax.py").write_text("def (")
    (folder / "own_needy.py").write_text("import no_such_library_anywhere")
    (folder / "own_exits.py").write_text("raise SystemExit(0)")
    monkeypatch.chdir(folder)
    before = set(sys.modules)
    yield folder
    assert str(folder) not in sys.path
    for name in set(sys.modules) - before:
        if name.startswith("own_"):
            del sys.modules[name]


@pytest.fixture
def clip(write_clip: Callable[..., Path]) -> Path:
    return write_clip()


def ask(clip: Path, replies: list[str], tools: dict[str, Any], **settings: Any) -> Answer:
    return Agent(model=ScriptedLALM(replies), preset="paper", tools=tools, **settings).ask(clip, "What?")


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"details": {"x": float("nan")}}, "details.x"),
        ({"details": {"x": 10**400}}, "details.x"),
        ({"details": {"x": object()}}, "details.x"),
        ({"heard_s": ("from", "to")}, "heard_s.0"),
        ({"option_probs": (("dog", float("inf")),)}, "option_probs.0.1"),
        ({"option_probs": "dog"}, "option_probs"),
        ({"warnings": (3,)}, "warnings.0"),
        ({"prompt": 3}, "prompt"),
    ],
)
def test_a_result_that_no_answer_could_keep_fails_its_question(clip: Path, fields: Any, where: str) -> None:
    failure = ask(clip, [], {"answer": lambda task: ToolResult("dog", **fields)}, method="baseline").failure
    assert failure is not None
    assert (failure.node, failure.exit_code) == ("answer", 2)
    assert f"returned a {where} that cannot be kept" in failure.message


# --- found -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("node", "name"), [(node, name) for node in NODES for name in TOOLS[node]])
def test_every_built_in_tool_is_there(node: str, name: str) -> None:
    tool = find_tool(node, name)
    tool_parameters(tool)
    assert not tool.own
    assert name in NEEDS


def test_a_function_of_the_working_folder_fills_a_node(own_folder: Path, clip: Path) -> None:
    answer = ask(clip, ["Speech", "dog"], {"asr": "own_toolbox:shout"})
    assert (answer.content, answer.answer) == ("HEARD 1 S", "dog")
    assert answer.tools["asr"] == "own_toolbox:shout"
    assert answer.steps[1].tool == "own_toolbox:shout"


@pytest.mark.parametrize("node", ["type", "caption", "answer"])
def test_any_node_takes_one(own_folder: Path, clip: Path, node: str) -> None:
    replies = {"type": ["dog"], "caption": ["Sound", "dog"], "answer": ["Sound", "a dog"]}
    answer = ask(clip, replies[node], {node: "own_toolbox:shout"})
    assert {step.node: step.output for step in answer.steps}[node] == "HEARD 1 S"


def test_parameters_are_filled_by_name(own_folder: Path, clip: Path) -> None:
    told = ask(clip, ["Speech", "dog"], {"asr": "own_toolbox:told:a:b"})
    assert told.content == "a:b generate"
    assert "a warning" in told.warnings
    made = ask(clip, ["Speech", "dog"], {"asr": "own_toolbox:Asked:x"}, max_new_tokens=7)
    assert made.content == "scripted:- 7 x"
    assert made.tools["asr"] == "asked-x"
    assert ask(clip, ["Speech", "dog"], {"asr": "own_toolbox:Asked"}).content == "scripted:- 256 None"


def test_a_path_of_attributes(own_folder: Path, clip: Path) -> None:
    assert ask(clip, ["Speech", "dog"], {"asr": "own_toolbox:Shelf.inner"}).content == "HEARD 1 S"


def test_the_folder_of_the_settings_file_counts_too(
    own_folder: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_folder / "lalm-agent.toml").touch()
    (own_folder / "deep").mkdir()
    monkeypatch.chdir(own_folder / "deep")
    assert ask(clip, ["Speech", "dog"], {"asr": "own_toolbox:shout"}).content == "HEARD 1 S"


def test_a_file_of_the_working_folder_stands_in_for_no_library(own_folder: Path) -> None:
    (own_folder / "soundfile.py").write_text("raise SystemExit")
    before = sys.modules.pop("soundfile", None)
    try:
        assert callable(find_tool("asr", "soundfile:read").target)
    finally:
        if before is not None:
            sys.modules["soundfile"] = before


def test_from_python_a_tool_can_be_an_object(clip: Path) -> None:
    def hear(task: Task) -> str:
        return "a bell"

    answer = ask(clip, ["Sound", "dog"], {"caption": hear, "asr": "lalm"})
    assert answer.content == "a bell"
    assert answer.tools["caption"].endswith("hear")


def test_results_are_kept_only_where_a_tool_says_so(clip: Path) -> None:
    calls: list[str] = []

    def listening(task: Task) -> str:
        calls.append(task.question.text)
        return "a bell"

    for per_clip, texts in ((False, ["One?", "Two?"]), (True, ["One?"])):
        calls.clear()
        listening.per_clip = per_clip  # type: ignore[attr-defined]
        agent = Agent(model=ScriptedLALM(["Sound", "x", "y"]), preset="paper", tools={"caption": listening})
        assert [agent.ask(clip, text).content for text in ("One?", "Two?")] == ["a bell"] * 2
        assert calls == texts


# --- refused before anything is loaded -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ref", "said", "hint"),
    [
        (
            "nobody",
            "unknown tool for the node asr: nobody",
            "one of: faster-whisper, lalm, openai, pocketsphinx, whisper",
        ),
        ("wisper", "unknown tool", "did you mean whisper?"),
        ("", "unknown tool", "module:attribute"),
        (":", "unknown tool", "module:attribute"),
        ("own toolbox:shout", "unknown tool", "module:attribute"),
        ("own_toolbox:", "unknown tool", "module:attribute"),
        ("sphinx", "unknown tool for the node asr: sphinx", "one of:"),
        ("pocketsphinx:en", "takes no argument", "leave out"),
        ("wisper:small", "there is no module wisper", "did you mean whisper?"),
        ("own_missing:shout", "there is no module own_missing", "working folder"),
        ("own_toolbox.deeper:shout", "there is no module own_toolbox.deeper", "working folder"),
        ("own_syntax:shout", "own_syntax cannot be imported: SyntaxError", "--debug"),
        ("own_needy:shout", "No module named 'no_such_library_anywhere'", "install"),
        ("own_exits:shout", "own_exits cannot be imported: SystemExit", "--debug"),
        ("own_toolbox:shoot", "own_toolbox has no shoot", "did you mean shout?"),
        ("own_toolbox:qqqqq", "own_toolbox has no qqqqq", "after the colon"),
        ("own_toolbox:a_text", "is no class and no function", "lalm-agent tools"),
        ("own_toolbox:Mute", "has no __call__", "def __call__"),
        ("own_toolbox:later", "asynchronous", "plain function"),
        ("own_toolbox:asks_too_much", "asks for microphone", "model, decoding, mode, argument"),
        ("own_toolbox:takes_nothing", "takes no task", "def tool(task)"),
        ("own_toolbox:shout:loud", "takes no argument", "leave out"),
    ],
)
def test_a_wrong_reference_is_refused(own_folder: Path, ref: str, said: str, hint: str) -> None:
    with pytest.raises(UsageError) as error:
        Agent(AgentConfig(tools={"asr": ref}, preset="paper"))
    assert said in error.value.message
    assert hint in str(error.value.hint)
    assert len(error.value.message.splitlines()) == 1


def test_a_tool_that_is_not_installed_names_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lalm_agent.registry.is_installed", lambda module: module != "whisper")
    with pytest.raises(UsageError, match="whisper needs whisper") as error:
        find_tool("asr", "whisper:small")
    assert error.value.hint == "pip install openai-whisper"


# --- called ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("number", "own_toolbox:number returned a int"),
        ("nothing", "own_toolbox:nothing returned a NoneType"),
        ("empty", "own_toolbox:empty returned a ToolResult without text"),
        ("broken", "own_toolbox:broken failed: KeyError: 'what"),
        ("leaves", "own_toolbox:leaves failed: SystemExit: 0"),
        ("busy", "not this clip"),
    ],
)
def test_a_tool_that_fails_is_named_and_no_bug_of_ours(own_folder: Path, clip: Path, name: str, said: str) -> None:
    answer = ask(clip, ["Speech"], {"asr": f"own_toolbox:{name}"})
    assert answer.status is Status.FAILED
    assert answer.failure is not None
    assert answer.failure.exit_code == 2
    assert said in answer.failure.message
    assert answer.failure.node == "asr"


def test_debug_keeps_the_cause(own_folder: Path, clip: Path) -> None:
    with pytest.raises(PermanentBackendError) as error:
        ask(clip, ["Speech"], {"asr": "own_toolbox:broken"}, debug=True)
    assert isinstance(error.value.__cause__, KeyError)


def test_a_class_that_cannot_be_made(own_folder: Path, clip: Path) -> None:
    with pytest.raises(PermanentBackendError, match="own_toolbox:Refuses failed: OSError: no weights"):
        ask(clip, [], {"asr": "own_toolbox:Refuses"})


def test_tools_are_made_before_the_model_is_loaded_and_only_if_used(own_folder: Path, clip: Path) -> None:
    agent = Agent(model="scripted:missing.jsonl", tools={"asr": "own_toolbox:Refuses"})
    with pytest.raises(PermanentBackendError, match="no weights"):
        agent.ask(clip, "What?")
    answer = ask(clip, ["dog"], {"asr": "own_toolbox:Refuses"}, method="baseline")
    assert (answer.answer, answer.tools) == ("dog", {"answer": "lalm"})


def test_an_own_tool_may_ask_for_another_try() -> None:
    def busy(task: Task) -> str:
        raise TransientBackendError("busy")

    offers = {"model": None, "decoding": Decoding(), "mode": "generate", "argument": None}
    with pytest.raises(TransientBackendError):
        make_tool(Reference("x:busy", busy), offers)(None)  # type: ignore[arg-type]
    made = make_tool(Reference("x:made", lambda task: ToolResult("text")), offers)
    assert made(None).text == "text"  # type: ignore[arg-type]


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


PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_every_extra_for_users_is_in_the_table() -> None:
    declared = tomllib.loads(PROJECT.read_text("utf-8"))["project"]["optional-dependencies"]
    assert set(EXTRAS) == set(declared) - {"docs", "lint", "test"}


def test_a_missing_extra_is_refused_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lalm_agent.registry.is_installed", lambda module: module != "matplotlib")
    require_extra("sqlite")
    with pytest.raises(UsageError, match="needs matplotlib") as error:
        require_extra("draw")
    assert error.value.hint == install_line("draw")


@pytest.mark.parametrize(
    ("module", "expected"),
    [("json", True), ("no_such", False), ("no_such.part", False), ("json.tool.x", False), ("", False)],
)
def test_is_installed(module: str, expected: bool) -> None:
    assert is_installed(module) is expected


def test_the_install_line_fits_where_the_package_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("lalm_agent.registry._CHECKOUT", tmp_path)
    assert install_line("draw") == "pip install 'lalm-agent[draw]'"
    (tmp_path / "pyproject.toml").touch()
    assert install_line("draw") == f"pip install -e '{tmp_path}[draw]'"
