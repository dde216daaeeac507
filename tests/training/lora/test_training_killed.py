"""A training that is killed goes on to the same loss curve and the same adapter."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.cli.main import run
from lalm_agent.training.lora.adapter import CHECKPOINTS, COMPLETE, LOG

STEPS = 12


def command(rows: Path, model: Path, out: Path) -> list[str]:
    arguments = ["train", "--data", str(rows), "--model", str(model), "--out", str(out), "--preset", "mini"]
    arguments += ["--batch-size", "2", "--grad-accum", "2", "--max-steps", str(STEPS), "--save-every", "3"]
    return [*arguments, "--dropout", "0.1", "--device", "cpu"]


def log(out: Path) -> list[dict[str, Any]]:
    path = out / LOG
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def curve(out: Path) -> list[tuple[float, ...]]:
    return [tuple(line[name] for name in ("step", "loss", "lr", "grad_norm", "epoch")) for line in log(out)]


def kill_after(arguments: list[str], out: Path, steps: int) -> None:
    """Kill -9 the command once it has written more steps than a whole checkpoint holds."""
    code = "import sys; from lalm_agent.cli.main import main; main(sys.argv[1:])"
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 400
        while len(log(out)) < steps and time.monotonic() < deadline:
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.mark.timeout(900)
def test_a_killed_training_ends_as_one_that_ran_through(
    hub_folder: Path, make_rows: Any, tmp_path: Path, capsys: Any
) -> None:
    rows, whole, out = make_rows(7), tmp_path / "whole", tmp_path / "killed"
    assert run(command(rows, hub_folder, whole)) == 0
    kill_after(command(rows, hub_folder, out), out, 4)
    assert not (out / "adapter_config.json").exists()
    done = [path.parent.name for path in (out / CHECKPOINTS).glob(f"*/{COMPLETE}")]
    assert done
    # What a kill in the middle of a checkpoint leaves: newer than the whole one, and not whole.
    torn = out / CHECKPOINTS / "checkpoint-11"
    if not torn.exists():
        torn.mkdir()
        (torn / "adapter_model.safetensors").write_bytes(b"torn")
    with (out / LOG).open("a") as file:
        file.write('{"step": 5, "lo')
    capsys.readouterr()
    assert run(command(rows, hub_folder, out)) == 0
    assert "resume: from the checkpoint of step" in capsys.readouterr().err
    assert [line["step"] for line in log(out)] == list(range(1, STEPS + 1))
    assert curve(out) == curve(whole)
    seconds = [line["seconds"] for line in log(out)]
    assert seconds == sorted(seconds)
    name = "adapter_model.safetensors"
    assert (out / name).read_bytes() == (whole / name).read_bytes()
    spec = json.loads((out / "spec.json").read_text())
    first, second = spec["sessions"]
    assert first["from_step"] == 0 < second["from_step"]
    assert os.path.basename(spec["base"]) == hub_folder.name
