"""Every code block of the documents: run as a reader would run it, or checked as far as that goes without running.

A block runs unless `<!-- not run: WHY -->` stands before it, or `<!-- not run below: WHY -->` above it on its page.
Blocks of one page run in order in one folder, which has examples/, benchmarks/ and stand-ins for what a reader brings
(see `stand_ins`). README runs as it is printed; elsewhere sizes are cut (see `SMALLER`). A server that a page starts
runs beside the blocks below. `text` is what a command prints, compared where its command ran uncut, or a synopsis.
"""

import ast
import inspect
import json
import re
import runpy
import shlex
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, chdir, contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from markdown_it import MarkdownIt
from typer.core import TyperGroup
from typer.exceptions import Exit, TyperException

from lalm_agent.cli.main import COMMANDS, make_app
from lalm_agent.cli.main import run as run_here
from lalm_agent.config import load_config
from lalm_agent.models.openai_ref import parse_ref

ROOT = Path(__file__).resolve().parents[1]
README, CARD = "README.md", "agent/models/mini/README.md"
DOCUMENTS = [README, CARD, *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))]
NOT_RUN = re.compile(r"<!-- not run(?P<all> below)?: (?P<why>\S.*?) -->")
COMMAND_LINE = re.compile(r"lalm-agent [^)]*")
SYNOPSIS = re.compile(r"^(?:[A-Z_]+=\S+ )*(lalm-agent .*)", re.MULTILINE)
HERE_DOCUMENT = re.compile(r"<<(\w+)\n.*?^\1\n", re.DOTALL | re.MULTILINE)
SHELL, DATA = ("", "bash"), ("toml", "yaml", "json")
SET_UP = (".", "make", "pip")  # what a test has behind it
STAYS = {"down", "status", "up", "web"}  # do not end by themselves, or look for what does not
SERVED = "8000"  # the port that the documents name; the server of a page has a free one
SMALLER = {"--n": 9, "--limit": 4}
SMALLEST = {"train": ("--max-steps", "2"), "faithfulness synth": ("--limit", "1")}
PREFIXES = re.compile(r"^(?:(?:do|then|time|[A-Z_a-z]+=\S*)$)")


@dataclass(frozen=True)
class Block:
    """A fenced block. reason: why it is not run."""

    place: str
    language: str
    text: str
    reason: str | None

    @property
    def commands(self) -> Iterator[list[str]]:
        """The words of each simple command, operators of the shell being words of their own."""
        for line in HERE_DOCUMENT.sub("\n", self.text).replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            if words := list(lexer):
                yield words


def blocks_of(document: str) -> list[Block]:
    blocks, reason, below = [], None, None
    for token in MarkdownIt().parse((ROOT / document).read_text("utf-8")):
        place = f"{document}:{token.map[0] + 1}" if token.map else document
        if match := NOT_RUN.search(token.content) if token.type == "html_block" else None:
            reason, below = match["why"], match["why"] if match["all"] else below
        elif token.type in ("fence", "code_block"):
            language = token.info if token.type == "fence" else "indented"
            blocks.append(Block(place, language, token.content, reason or below))
            reason = None
    return blocks


# --- checked ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_block_is_of_a_known_kind_and_right_as_far_as_reading_tells(document: str) -> None:
    for block in blocks_of(document):
        assert block.language in (*SHELL, *DATA, "python", "text"), f"{block.place} is {block.language}: who checks it?"
        try:
            check(block)
        except Exception as error:
            raise AssertionError(f"{block.place}: {error}") from error


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_in_the_text_has_its_flags(document: str) -> None:
    texts = [token.content for token in MarkdownIt().parse((ROOT / document).read_text("utf-8")) if token.children]
    for span in (span for text in texts for span in re.findall(r"`(lalm-agent [^`]+)`", text)):
        check_flags(span)


def check(block: Block) -> None:
    if block.language in SHELL:
        done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        for words in block.commands:
            check_words(words)
    elif block.language == "python":
        check_python(block.text)
    elif block.language == "toml":
        tomllib.loads(block.text)
    elif block.language == "yaml":
        for text in filter(COMMAND_LINE.search, texts_in(list(yaml.safe_load_all(block.text)))):
            check_words(shlex.split(text))
    elif block.language == "json":
        json.loads(block.text)
    else:
        for line in SYNOPSIS.findall(block.text):
            check_flags(line)


def texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts_in(part)


def check_words(words: list[str]) -> None:
    """Check each `lalm-agent …` and each script among the words, in quotes and behind operators too."""
    ends = [i for i, word in enumerate(words) if re.fullmatch(r"[|&;<>()]+", word)]
    for start, end in zip([0, *(i + 1 for i in ends)], [*ends, len(words)], strict=True):
        command = words[start:end]
        while command and PREFIXES.match(command[0]):
            command = command[1:]
        program, *arguments = command or [""]
        if program == "lalm-agent":
            check_arguments(arguments)
        elif program == "python" and arguments[0].endswith(".py"):
            check_script(*arguments)
        for inner in (match[0] for word in arguments for match in COMMAND_LINE.finditer(word)):
            check_words(shlex.split(inner))


def check_arguments(arguments: list[str]) -> None:
    """The command line takes these arguments."""
    command: Any = typer.main.get_command(make_app(arguments[:1] if arguments[0] in COMMANDS else COMMANDS))
    try:
        context = command.make_context("lalm-agent", list(arguments))
        while isinstance(command, TyperGroup):
            name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
            context = command.make_context(name, rest, parent=context)
        check_model(context.params.get("model") or "")
    except Exit:
        pass
    except TyperException as error:
        raise AssertionError(f"lalm-agent {shlex.join(arguments)}: {error.format_message()}") from error


def check_model(ref: str) -> None:
    if ref.startswith("openai:"):
        parse_ref(ref)
    elif ref.startswith("exec:"):
        worker = ref.split(":")[2]
        assert not worker.startswith("examples/") or (ROOT / worker).is_file(), ref


def check_flags(synopsis: str) -> None:
    """The command that a synopsis names has its flags."""
    words = re.findall(r"[\w-]+", synopsis)[1:]
    if words[0].startswith("-"):
        return
    assert words[0] in COMMANDS, f"{synopsis}: there is no {words[0]}"
    command: Any = typer.main.get_command(make_app(words[:1])).commands[words[0]]
    group = getattr(command, "commands", {})
    commands = [group[words[1]]] if len(words) > 1 and words[1] in group else [command, *group.values()]
    options = [option for command in commands for option in command.params]
    flags = {flag for option in options for flag in (*option.opts, *option.secondary_opts)}
    named = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", synopsis))
    assert named <= flags | {"--help", "-h"}, f"{synopsis}: there is no {', '.join(sorted(named - flags))}"


def check_script(script: str, *arguments: str) -> None:
    """There is such a script, and its source has the flags."""
    folder = (ROOT / script).parent
    source = (ROOT / script).read_text("utf-8") + "".join(path.read_text("utf-8") for path in folder.glob("harness.py"))
    flags = [word.removeprefix("--") for word in arguments if word.startswith("--")]
    assert [flag for flag in flags if not re.search(rf'"(?:--)?{flag}"', source)] == [], script


def check_python(code: str) -> None:
    """It compiles, its imports are there, and the functions that it imports take its keywords."""
    tree = ast.parse(code)
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = import_module(node.module)
            names |= {name.asname or name.name: getattr(module, name.name) for name in node.names}
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        if isinstance(call.func, ast.Name) and call.func.id in names:
            takes = inspect.signature(names[call.func.id]).parameters
            open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes.values())
            unknown = {keyword.arg for keyword in call.keywords if keyword.arg} - takes.keys()
            assert open_ended or not unknown, f"{call.func.id} takes no {unknown}"


# --- run -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory: pytest.TempPathFactory, needs_synth: None) -> Path:
    """What a reader brings: a model M, an adapter A, a benchmark file with its clips DIR, a set, files of replies."""
    folder = tmp_path_factory.mktemp("documents")
    shutil.copytree(ROOT / "examples", folder / "examples")
    (folder / "benchmarks").symlink_to(ROOT / "benchmarks")
    (folder / "M").symlink_to(ROOT / "agent" / "models" / "mini")
    replies = ROOT / "tests" / "recorded" / "data"
    for name, source in {"base.json": "base", "idk.json": "idk", "predictions.json": "idk"}.items():
        shutil.copy(replies / f"{source}.json", folder / name)
    row = {"doc_id": 0, "target": "cat", "filtered_resps": ["B"], "input": "Which?\nA. dog\nB. cat\nGive the letter."}
    row |= {"doc_hash": "0", "prompt_hash": "1", "target_hash": "2", "accuracy": {"overall": 1.0}}
    (folder / "20260101_samples_mmau_test_mini.jsonl").write_text(json.dumps(row) + "\n", "utf-8")
    commands = (
        "data synth --split dev --n 9 --seed 5 --out DIR",
        "data synth --split train --n 9 --seed 3 --out clips",
        "idk sample synth --data clips --n 2 --out clips-bank",
        "idk build clips-bank --k 2 --out idk.jsonl",
        "train --data idk.jsonl --max-steps 1 --out A",
    )
    with chdir(folder):
        assert [run_here(line.split()) for line in commands] == [0] * len(commands)
    rows = json.loads((folder / "DIR" / "questions.json").read_text("utf-8"))
    answerable = [row for row in rows if row["answer"] is not None]
    (folder / "mmau-test-mini.json").write_text(json.dumps(answerable), "utf-8")
    return folder


def has_what_runs(document: str) -> bool:
    return any(block.reason is None and block.language in (*SHELL, "python") for block in blocks_of(document))


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("document", list(filter(has_what_runs, DOCUMENTS)))
def test_the_blocks_of_a_page_run_in_order(
    document: str,
    stand_ins: Path,
    servers: ExitStack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "reader"
    shutil.copytree(stand_ins, folder, symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    printed, is_cut, names = "", False, {"__name__": "__main__"}
    for block in with_free_port(blocks_of(document)):
        if block.language == "text":
            lines = [line.rstrip("… ") for line in block.text.splitlines()]
            assert is_cut or not printed or [line for line in lines if line not in printed] == [], block.place
        printed = ""
        if block.reason is not None:
            continue
        if block.language == "python":
            exec(compile(block.text, block.place, "exec"), names)
        elif block.language == "toml":
            Path("lalm-agent.toml").write_text(block.text, "utf-8")
            load_config()
            Path("lalm-agent.toml").unlink()
        for words in block.commands if block.language in SHELL else ():
            smaller = words if document == README else cut(words)
            is_cut = is_cut or smaller != words
            if words[:2] == ["lalm-agent", "serve"]:
                servers.enter_context(server(words[1:]))
                continue
            run(smaller, block, monkeypatch)
            out, err = capfd.readouterr()
            printed += out
            assert words[0] in SET_UP or out.strip() or err.strip(), f"{block.place}: {words} prints nothing"


def with_free_port(blocks: list[Block]) -> list[Block]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    return [replace(block, text=block.text.replace(SERVED, str(port))) for block in blocks]


@contextmanager
def server(arguments: list[str]) -> Iterator[None]:
    """`lalm-agent serve … --port PORT` in a process of its own, from where it listens."""
    command = [sys.executable, "-m", "lalm_agent", *arguments]
    with Path("server.log").open("wb") as log, subprocess.Popen(command, stderr=log, stdout=log) as process:
        try:
            while process.poll() is None and not listens(int(arguments[-1])):
                time.sleep(0.1)
            assert process.poll() is None, Path("server.log").read_text("utf-8")
            yield
        finally:
            process.terminate()


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def cut(words: list[str]) -> list[str]:
    """The same command on less."""
    words = [
        str(min(SMALLER[before], int(word))) if before in SMALLER and word.isdigit() else word
        for before, word in zip(["", *words], words, strict=False)
    ]
    more = next((more for name, more in SMALLEST.items() if " ".join(words).startswith(f"lalm-agent {name} ")), ())
    return [*words, *more] if more and more[0] not in words and ">" not in words else words


def run(words: list[str], block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run `[echo TEXT |] PROGRAM ARGUMENTS [< FILE] [> FILE]` in this process, which has loaded torch."""
    place = block.place
    if words[0] == "curl":  # with what it sends behind it
        subprocess.run(["bash", "-euc", block.text], check=True)
        return
    files = {"<": "typed.txt"}
    Path(files["<"]).write_text(words[1] + "\n" if words[0] == "echo" else "", "utf-8")
    words = words[3:] if words[0] == "echo" else words
    while words[-2:-1] in (["<"], [">"]):
        *words, sign, file = words
        files[sign] = file
    program, *arguments = words
    if program in SET_UP:
        return
    assert arguments[0] not in STAYS, f"{place}: `{arguments[0]}` stays; write <!-- not run: WHY --> before the block"
    with monkeypatch.context() as patch, ExitStack() as stack:
        patch.setattr(sys, "stdin", stack.enter_context(Path(files["<"]).open(encoding="utf-8")))
        if ">" in files:
            patch.setattr(sys, "stdout", stack.enter_context(Path(files[">"]).open("w", encoding="utf-8")))
        if program == "python":
            patch.setattr(sys, "argv", arguments)
            patch.syspath_prepend(str(Path(arguments[0]).parent))
            code = script_code(arguments[0])
        else:
            assert program == "lalm-agent", f"{place}: who runs {program}?"
            code = run_here(arguments)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("examples", "harness")]:
        del sys.modules[name]
    assert code == 0, f"{place}: {shlex.join(words)}"


def script_code(path: str) -> int:
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        return int(end.code or 0)
    return 0
