"""How many files of the project a command runs through on `mini`: fewer is easier to follow, and starts sooner."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lalm_agent.cli.main import run

RATE = 16_000
KINDS = ("sound", "music", "speech")
ANSWERS = ("dog", "cat")

# Files of which a function runs. A whole study runs through some 75; its plan (`--dry-run`) through these.
LIMITS = {"ask": 30, "ask under a policy": 35, "eval": 45, "train": 30, "transfer": 60}
COMMANDS = {
    "ask": ("ask", "bank0.wav", "Which animal is heard?", "-c", "dog", "-c", "cat", "--no-policy"),
    "ask under a policy": ("ask", "bank0.wav", "Which animal is heard?", "-c", "dog", "-c", "cat"),
    "eval": ("eval", "bench.jsonl", "--method", "agent", "--limit", "1", "--out", "runs/agent"),
    "train": ("train", "--data", "rows.jsonl", "--out", "adapter", "--max-steps", "1"),
    "transfer": (
        *("transfer", "--bank", "bank", "--data", "bench.jsonl", "--out", "study"),
        *("--seeds", "1", "--dry-run", "--k", "1"),
    ),
}
BEFORE = (
    ("idk", "sample", "bank.jsonl", "--n", "2", "--max-new-tokens", "4", "--out", "bank"),
    ("idk", "build", "bank", "--k", "2", "--out", "rows.jsonl"),
)
# Each command runs in a fork of a process that has loaded the libraries, where a trace of every call takes long.
COUNT = """
import json, os, sys, threading
from pathlib import Path
import accelerate, langgraph.graph, peft, pydantic, rich.console, scipy.stats, torch, transformers.trainer

files, optimised = set(), 1

def note(frame, event, argument):
    code = frame.f_code
    # A function: not the body of a module or a class, nor a comprehension in one.
    if event == "call" and code.co_flags & optimised and not code.co_name.endswith(("comp>", "genexpr>")):
        files.add(code.co_filename)

def trace(arguments):
    threading.settrace(note)
    sys.settrace(note)
    from lalm_agent.cli.main import run
    code = run(arguments)
    sys.settrace(None)
    import lalm_agent
    root = Path(lalm_agent.__file__).resolve().parent.parent
    inside = {Path(file).resolve() for file in files if file.endswith(".py")}
    names = [path.relative_to(root) for path in inside if path.is_relative_to(root)]
    ours = sorted(str(name) for name in names if name.parts[0] in ("agent", "tools", "eval", "training"))
    print("RUN", json.dumps([code, ours]), flush=True)

for arguments in json.loads(sys.argv[1]):
    assert not any(name.startswith("lalm_agent") for name in sys.modules)
    child = os.fork()
    if child == 0:
        trace(arguments)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, arguments
"""


@pytest.mark.timeout(900)
def test_a_command_runs_through_few_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On questions of three modalities: a benchmark, rows to train on, and a bank that `mini` has answered."""
    rng = np.random.default_rng(0)
    for name in ("bank", "bench"):
        rows = []
        for index in range(24):
            clip, kind = f"{name}{index}.wav", KINDS[index // 8]
            soundfile.write(tmp_path / clip, rng.standard_normal(RATE // 2) * 0.1, RATE)
            row = {"id": clip, "audio": clip, "question": "Which animal is heard?", "choices": ANSWERS}
            rows.append({**row, "answer": ANSWERS[index % 2], "modality": kind})
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.chdir(tmp_path)
    for arguments in BEFORE:
        assert run(arguments) == 0
    command = [sys.executable, "-c", COUNT, json.dumps(list(COMMANDS.values()))]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    runs = [json.loads(line[4:]) for line in done.stdout.splitlines() if line.startswith("RUN ")]
    assert [code for code, _ in runs] == [0] * len(COMMANDS), done.stderr
    files = dict(zip(COMMANDS, [names for _, names in runs], strict=True))
    assert {name: [len(names), *names] for name, names in files.items() if len(names) > LIMITS[name]} == {}
    assert min(map(len, files.values())) > 10
