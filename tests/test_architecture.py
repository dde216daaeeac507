"""Who may import whom, how long a file may be, and what `--help` may load.

Every import counts, lazy ones and those for type checking included. Not covered: names that are resolved at run time
from a string, which is how a registry reaches a model or a tool.
"""

import ast
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from lalm_agent.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"lalm_agent": "agent"} | {f"lalm_agent.{name}": name for name in ("eval", "tools", "training")}
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_MODULES = 800, 60, 20
HEAVY = ("langgraph", "openai", "torch", "transformers")

# A module of the core, or a sub-package with all that is in it. A new file needs a rank here.
RANKS = {
    0: ("errors", "records", "terminal"),
    1: (
        *("artefacts", "audio", "decoding", "jobs", "ogg"),
        *("answers", "choices", "conclusions", "reasoning", "refusals"),
        *("config", "policy", "prompts", "registry"),
    ),
    2: ("models",),
    3: ("tools",),
    4: ("confidence", "graph"),
    5: ("agent", "drawing"),
    6: ("eval", "resident", "serve"),
    7: ("training", "web"),
    8: ("cli",),
    9: ("__main__",),
}
RANK_OF = {name: rank for rank, names in RANKS.items() for name in names}
# What stands for every model or tool; the rest of these two folders are concrete ones.
PROTOCOLS = ("lalm_agent.models", "lalm_agent.models.base", "lalm_agent.tools")
# Not a model but what every client of an OpenAI-compatible endpoint shares: references, keys, retries, errors.
PROTOCOLS += ("lalm_agent.models.endpoint", "lalm_agent.models.openai_ref")
# What is put around any model, the clips that one was pretrained on, and where one may be loaded.
PROTOCOLS += ("lalm_agent.models.wrappers", "lalm_agent.models.pretrained_clips", "lalm_agent.models.ray_engine")
MAY_NAME_CONCRETE = ("agent", "cli", "training")
# Beyond the ranks, (importer, imported): the graph receives its toolbox, and an evaluation asks an `Agent`.
FORBIDDEN = (("graph", "tools"), ("eval", "graph"))


def modules_on_disk() -> dict[str, Path]:
    """Dotted name -> file, for the whole package; a package has the name of its folder."""
    files = {}
    for package, folder in FOLDERS.items():
        for file in (ROOT / folder).rglob("*.py"):
            parts = file.relative_to(ROOT / folder).with_suffix("").parts
            files[".".join([package, *(part for part in parts if part != "__init__")])] = file
    return files


def python_files() -> list[Path]:
    folders = (*FOLDERS.values(), "tests", "benchmarks", "examples")
    return [file for folder in folders for file in (ROOT / folder).rglob("*.py")]


MODULES = modules_on_disk()


def imported(tree: ast.Module, known: set[str]) -> Iterator[str]:
    """The modules of the package that a module imports, wherever in the file; a name is followed to its module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in known else node.module for name in names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
            names = [node.args[0].value] if isinstance(node.args[0], ast.Constant) else []
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "lalm_agent")


def part_of(module: str) -> str:
    """The key of the module in RANKS: `lalm_agent.tools.lalm` -> `tools`, `lalm_agent.audio` -> `audio`."""
    return module.split(".")[1] if "." in module else ""


def is_concrete(module: str) -> bool:
    return part_of(module) in ("models", "tools") and module not in PROTOCOLS


def objection(importer: str, target: str) -> str | None:
    """Why `importer` may not import `target`, or None. The package's own `__init__` stands above everything."""
    here, there = part_of(importer), part_of(target)
    if here in ("", there):
        return None
    if there == "":
        return "nothing inside the package imports its top, which may re-export from everywhere"
    if here not in RANK_OF or there not in RANK_OF:
        return f"{here if here not in RANK_OF else there} has no rank"
    if RANK_OF[here] < RANK_OF[there]:
        return f"rank {RANK_OF[here]} imports rank {RANK_OF[there]}"
    if is_concrete(target) and here not in MAY_NAME_CONCRETE:
        return f"only {', '.join(MAY_NAME_CONCRETE)} may know a concrete model or tool"
    if (here, there) in FORBIDDEN:
        return f"{here} never imports {there}"
    return None


def objections(sources: dict[str, str], known: set[str]) -> list[str]:
    faults = []
    for module, source in sources.items():
        for target in sorted(set(imported(ast.parse(source), known))):
            reason = objection(module, target)
            if reason:
                faults.append(f"{module} imports {target}: {reason}")
    return faults


# --- imports ---------------------------------------------------------------------------------------------------------


def test_every_module_has_a_rank() -> None:
    assert [module for module in MODULES if part_of(module) and part_of(module) not in RANK_OF] == []


def test_every_module_that_a_rule_names_is_there() -> None:
    parts = {*RANK_OF, *MAY_NAME_CONCRETE, *(name for pair in FORBIDDEN for name in pair)}
    assert {f"lalm_agent.{name}" for name in parts} | set(PROTOCOLS) <= MODULES.keys()


def test_imports_follow_the_ranks() -> None:
    assert objections({module: file.read_text("utf-8") for module, file in MODULES.items()}, set(MODULES)) == []


@pytest.mark.parametrize(
    ("importer", "source"),
    [
        ("lalm_agent.records", "from lalm_agent.audio import Sound"),
        ("lalm_agent.records", "from lalm_agent import audio"),
        ("lalm_agent.records", "import lalm_agent.audio as a"),
        ("lalm_agent.records", "def f():\n    import lalm_agent.graph"),
        ("lalm_agent.records", "if TYPE_CHECKING:\n    from lalm_agent.audio import Sound"),
        ("lalm_agent.records", "import importlib\nimportlib.import_module('lalm_agent.graph')"),
        ("lalm_agent.audio", "from lalm_agent import __version__"),
        ("lalm_agent.audio", "from lalm_agent.brand_new import thing"),
        ("lalm_agent.brand_new", "from lalm_agent.audio import Sound"),
        ("lalm_agent.tools.lalm", "from lalm_agent.models.scripted import ScriptedLALM"),
        ("lalm_agent.graph", "from lalm_agent.tools import lalm"),
        ("lalm_agent.graph", "import lalm_agent.tools"),
        ("lalm_agent.graph", "from lalm_agent.tools.lalm import LalmASR"),
        ("lalm_agent.eval.runs.ask", "from lalm_agent.graph import build"),
        ("lalm_agent.eval.runs.ask", "from lalm_agent.models.scripted import ScriptedLALM"),
        ("lalm_agent.eval.runs.ask", "from lalm_agent.training.idk import build"),
    ],
)
def test_an_import_against_the_rules_is_found(importer: str, source: str) -> None:
    known = {"lalm_agent.audio", "lalm_agent.tools.lalm"}
    assert len(objections({importer: source}, known)) == 1


@pytest.mark.parametrize(
    ("importer", "source"),
    [
        ("lalm_agent", "from lalm_agent.agent import build"),
        ("lalm_agent.audio", "from lalm_agent.errors import DataError\nfrom lalm_agent.answers import parse"),
        ("lalm_agent.models.hf_engine", "from lalm_agent.models.scripted import ScriptedLALM"),
        ("lalm_agent.tools.lalm", "from lalm_agent.models.base import LALM\nfrom lalm_agent.registry import Tool"),
        ("lalm_agent.graph", "from lalm_agent.answers import parse\nimport langgraph"),
        ("lalm_agent.agent", "from lalm_agent.models.scripted import ScriptedLALM\nimport lalm_agent.tools.lalm"),
        ("lalm_agent.training.mini.train", "from lalm_agent.models.mini import load"),
    ],
)
def test_an_import_by_the_rules_passes(importer: str, source: str) -> None:
    assert objections({importer: source}, set()) == []


def importers_of(target: str, within: str) -> set[str]:
    """The modules of a package that import a module."""
    sources = {module: file.read_text("utf-8") for module, file in MODULES.items() if module.startswith(within)}
    return {module for module, source in sources.items() if target in imported(ast.parse(source), set(MODULES))}


def test_one_module_of_the_evaluation_makes_an_agent() -> None:
    assert importers_of("lalm_agent.agent", "lalm_agent.eval") == {"lalm_agent.eval.runs.evaluate"}


def test_commands_define_no_record_and_ask_no_question() -> None:
    records = {"dataclass", "NamedTuple", "Record", "BaseModel", "ask_all", "Journal"}
    faults = {}
    for file in (ROOT / "agent" / "cli").glob("*.py"):
        names = {node.id for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Name)}
        if names & records:
            faults[file.name] = names & records
    assert faults == {}


def circles(imports: dict[str, set[str]]) -> list[str]:
    """The modules that import themselves, over however many others."""
    reached: dict[str, set[str]] = {}
    for start in imports:
        seen, new = set[str](), set(imports[start])
        while new:
            seen |= new
            new = {target for module in new for target in imports.get(module, ())} - seen
        reached[start] = seen
    return sorted(module for module, seen in reached.items() if module in seen)


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == ["b", "c"]


def test_no_import_goes_in_a_circle() -> None:
    """Lazy imports count, inside packages too, and what `lalm-agent` looks up by the name of a command."""
    sources = {module: ast.parse(file.read_text("utf-8")) for module, file in MODULES.items()}
    imports = {module: set(imported(tree, set(MODULES))) - {module} for module, tree in sources.items()}
    imports["lalm_agent.cli.main"] |= {f"lalm_agent.cli.{home.partition(':')[0]}" for home in COMMANDS.values()}
    assert circles(imports) == []


# --- size and docstrings ---------------------------------------------------------------------------------------------


def test_no_file_is_too_long() -> None:
    lengths = {file: len(file.read_text("utf-8").splitlines()) for file in python_files()}
    assert {str(file.relative_to(ROOT)): n for file, n in lengths.items() if n > MAX_FILE_LINES} == {}


def test_no_folder_holds_too_many_modules() -> None:
    counts = Counter(file.parent for folder in FOLDERS.values() for file in (ROOT / folder).rglob("*.py"))
    many = {str(folder.relative_to(ROOT)): n for folder, n in counts.items() if n > MAX_MODULES}
    assert many == {}


def test_no_function_is_too_long() -> None:
    too_long = {}
    for file in python_files():
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    too_long[f"{file.relative_to(ROOT)}:{node.lineno} {node.name}"] = length
    assert too_long == {}


def test_every_module_says_what_it_is() -> None:
    sources = {module: file.read_text("utf-8") for module, file in MODULES.items()}
    assert [module for module, source in sources.items() if not ast.get_docstring(ast.parse(source))] == []


# --- what the command line loads -------------------------------------------------------------------------------------

HELP = """
import sys
from lalm_agent.cli.main import main
sys.argv = ["lalm-agent", "--help"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("LOADED", *(name for name in {heavy!r} if name in sys.modules))
"""


def test_help_loads_no_heavy_library(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HELP.format(heavy=HEAVY)]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout
    assert done.stdout.splitlines()[-1].split() == ["LOADED"]
