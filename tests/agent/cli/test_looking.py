"""`lalm-agent tools | models | graph | doctor`: what is here, drawn and told on this machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lalm_agent.cli.main import run
from lalm_agent.registry import MODEL_FORMS, NODES, TOOLS, install_line

QUICK = """
import sys
from lalm_agent.cli.main import run
assert run([sys.argv[1]]) == 0
print("LOADED", *(name for name in ("langgraph", "torch", "transformers", "huggingface_hub") if name in sys.modules))
"""


@pytest.mark.parametrize("command", ["tools", "models"])
def test_listings_load_nothing_heavy(command: str, tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", QUICK, command]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == ["LOADED"]


def test_tools_lists_every_node_and_tool(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tools"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line in NODES] == list(NODES)
    assert [line.split()[0] for line in lines if line.startswith("  ")] == [t for node in NODES for t in TOOLS[node]]


def test_tools_of_one_node(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lalm_agent.registry.is_installed", lambda module: module != "whisper")
    assert run(["tools", "asr"]) == 0
    out = capsys.readouterr().out
    assert "caption" not in out
    assert "lacks whisper: pip install openai-whisper" in out
    assert run(["tools", "asrr"]) == 2
    assert "did you mean asr? one of: type, asr, caption, answer" in capsys.readouterr().err


def test_models_lists_the_forms(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models"]) == 0
    out = capsys.readouterr().out
    assert [form for form in MODEL_FORMS if form not in out] == []
    assert "Qwen2AudioForConditionalGeneration" in out


@pytest.mark.parametrize(
    ("method", "nodes"),
    [("agent", set(NODES)), ("baseline", {"answer"}), ("idk", {"answer"}), ("mcot", {"answer"}), ("lora", {"answer"})],
)
def test_mermaid(capsys: pytest.CaptureFixture[str], method: str, nodes: set[str]) -> None:
    assert run(["graph", "--method", method]) == 0
    out = capsys.readouterr().out
    assert {node for node in NODES if f"\t{node}({node})" in out} == nodes
    assert "error_handler" not in out


def test_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["graph", "--format", "ascii"]) == 0
    assert "| caption |" in capsys.readouterr().out


def test_png(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "graph.png"
    assert run(["graph", "--format", "png", "--out", str(file)]) == 0
    assert file.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out == f"written: {file}\n"


def test_a_long_edge_goes_around_the_nodes_between() -> None:
    from lalm_agent.drawing import drawable_graph, layout
    from lalm_agent.records import Method

    graph = drawable_graph(Method.AGENT)
    centres, paths = layout(graph)
    (skipping,) = (
        points
        for edge, points in zip(graph.edges, paths, strict=True)
        if (edge.source, edge.target) == ("type", "answer")
    )
    assert len(skipping) == 3
    assert min(abs(skipping[1][0] - centres[node][0]) for node in ("asr", "caption")) > 1
    assert centres["__start__"][1] > centres["type"][1] > centres["answer"][1]


def test_the_method_is_a_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lalm-agent.toml").write_text('method = "idk"')
    monkeypatch.chdir(tmp_path)
    assert run(["graph"]) == 0
    assert "caption" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--method", "guess"], "mcot"),
        (["--format", "svg"], "mermaid"),
        (["--format", "png"], "--out graph.png"),
        (["--format", "png", "--out", "no/such/folder.png"], "cannot be written"),
        (["--out", "no/such/folder.txt"], "cannot be written"),
    ],
)
def test_graph_misuse(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert run(["graph", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert 1 <= len(err.splitlines()) <= 2
    assert said in err


@pytest.mark.parametrize("drawn_as", ["ascii", "png"])
def test_without_the_extra_its_line_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, drawn_as: str
) -> None:
    monkeypatch.setattr("lalm_agent.registry.is_installed", lambda module: module != "grandalf")
    assert run(["graph", "--format", drawn_as]) == 2
    err = capsys.readouterr().err
    assert "needs grandalf" in err
    assert install_line("draw") in err


def test_doctor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LALM_MODLE", "mini")
    monkeypatch.setenv("LALM_DTYPE", "float32")
    assert run(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "LALM_MODLE is ignored" in out
    assert "did you mean LALM_MODEL?" in out
    assert "LALM_DTYPE=float32" in out
    for part in ("libsndfile", "FFmpeg", "ask model", "tool whisper", "extra sqlite", "torch", "device"):
        assert part in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-m", "nobody"], "unknown model: nobody"),
        (["-m", "openai:some-model"], "OPENAI_API_KEY is not set"),
        (["-m", "openai:x@http://127.0.0.1:9/v1", "--online"], "cannot be reached"),
        (["-m", "scripted:no.jsonl"], "cannot read the script"),
        (["-m", "."], "holds no config.json"),
        (["-m", "some-owner/some-model"], "is not on this machine"),
        (["--tool", "asr=nobody"], "unknown tool"),
        (["--tool", "asr=openai"], "OPENAI_API_KEY is not set"),
        (["--tool", "asr=whisper:tiny"], "the weights of tiny are not at"),
        (["--adapter", "nowhere"], "no such adapter folder"),
    ],
)
def test_doctor_refuses_what_ask_cannot_use(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["doctor", *arguments]) == 2
    lines = [line for line in capsys.readouterr().out.splitlines() if "cannot work" in line]
    assert len(lines) == 1
    assert said in lines[0]


def test_doctor_as_json_names_what_ask_would_use(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LALM_MODEL", "openai:x@http://127.0.0.1:9/v1")
    assert run(["doctor", "--json", "--tool", "asr=pocketsphinx"]) == 0
    report = json.loads(capsys.readouterr().out)
    notes = {finding["name"]: (finding["state"], finding["note"]) for finding in report["findings"]}
    assert report["works"]
    assert "asr=pocketsphinx" in notes["ask tools"][0]
    assert notes["ask model"][1].startswith("openai:x@http://127.0.0.1:9/v1: --online")
    monkeypatch.setenv("LALM_METHOD", "guess")
    assert run(["doctor", "--json"]) == 2
    assert not json.loads(capsys.readouterr().out)["works"]


def test_doctor_says_what_a_lack_costs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lalm_agent.registry.is_installed", lambda module: False)
    assert run(["doctor"]) == 2
    out = capsys.readouterr().out
    assert "no clip can be read: pip install soundfile" in out
    assert install_line("sqlite") in out
