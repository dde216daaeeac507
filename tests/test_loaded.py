"""How many files of the project a command runs through on `mini`: fewer is easier to follow, and starts sooner."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

RATE = 16_000
KINDS = ("sound", "music", "speech")
ANSWERS = ("dog", "cat")

# Files of which a function runs. A whole study runs through some 75; its plan (`--dry-run`) through these.
LIMITS = {"ask": 30, "eval": 45, "train": 30, "transfer": 60}
COMMANDS = {
    "ask": ("ask", "bank0.wav", "Which animal is heard?", "-c", "dog", "-c", "cat"),
    "eval": ("eval", "bench.jsonl", "--method", "agent", "--limit", "1", "--out", "runs/agent"),
    "train": ("train", "--data", "rows.jsonl", "--out", "adapter", "--max-steps", "1"),
    "transfer": (
        "transfer",
        "--bank",
        "bank",
        "--data",
        "bench.jsonl",
        "--out",
        "study",
        "--seeds",
        "1",
        "--dry-run",
        "--k",
        "1",
    ),
}
COUNT = """
import sys, threading
files, optimised = set(), 1
def note(frame, event, argument):
    code = frame.f_code
    if event == "call" and code.co_flags & optimised:  # a function, not the body of a module or a class
        files.add(code.co_filename)
threading.settrace(note)
sys.settrace(note)
from lalm_agent.cli.main import run
code = run(sys.argv[1:])
sys.settrace(None)
import lalm_agent
from pathlib import Path
root = Path(lalm_agent.__file__).resolve().parent.parent
inside = {Path(file).resolve() for file in files if file.endswith(".py")}
names = [path.relative_to(root) for path in inside if path.is_relative_to(root)]
print("RUN", code, *sorted(str(name) for name in names if name.parts[0] in ("agent", "tools", "eval", "training")))
"""


def files_run(folder: Path, arguments: tuple[str, ...]) -> list[str]:
    """The files of the project of which a command calls a function."""
    command = [sys.executable, "-c", COUNT, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    _, code, *names = done.stdout.splitlines()[-1].split()
    assert code == "0", done.stderr
    return names


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Questions of three modalities as a benchmark, as rows to train on, and as a bank that `mini` has answered."""
    path = tmp_path_factory.mktemp("loaded")
    rng = np.random.default_rng(0)
    for name in ("bank", "bench"):
        rows = []
        for index in range(24):
            clip, kind = f"{name}{index}.wav", KINDS[index // 8]
            soundfile.write(path / clip, rng.standard_normal(RATE // 2) * 0.1, RATE)
            row = {"id": clip, "audio": clip, "question": "Which animal is heard?", "choices": ANSWERS}
            rows.append({**row, "answer": ANSWERS[index % 2], "modality": kind})
        (path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files_run(path, ("idk", "sample", "bank.jsonl", "--n", "2", "--max-new-tokens", "4", "--out", "bank"))
    files_run(path, ("idk", "build", "bank", "--k", "2", "--out", "rows.jsonl"))
    return path


@pytest.mark.timeout(900)  # one process a command, each of which loads torch
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_runs_through_few_files(folder: Path, name: str) -> None:
    names = files_run(folder, COMMANDS[name])
    assert len(names) <= LIMITS[name], "\n".join(names)
