"""Several processes share a training: DDP and FSDP on two CPU processes; DeepSpeed's configs as accelerate parses them.

Not covered: DeepSpeed itself, which is not installed, and GPUs. FSDP on CPU is torch's own; accelerate switches it on
for accelerators only, and `LoraTrainer` does so for CPU processes.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from lalm_agent.cli.main import run
from lalm_agent.training.lora.recipe import launch_config

ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch"]


def command(rows: Path, model: Path, out: Path) -> list[str]:
    arguments = ["train", "--data", str(rows), "--model", str(model), "--out", str(out), "--preset", "mini"]
    return [*arguments, "--max-steps", "3", "--save-every", "2", "--device", "cpu"]


def launched(strategy: str, arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    script = folder / "lalm_agent_command.py"
    script.write_text("import sys\nfrom lalm_agent.cli.main import main\nmain(sys.argv[1:])\n")
    config = ["--config_file", str(launch_config(strategy)), "--main_process_port", "0"]
    return subprocess.run(
        [*ACCELERATE, *config, str(script), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=600,
    )


def losses(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "log.jsonl").read_text().splitlines()]


def counts(out: Path) -> list[tuple[int, int, int]]:
    lines = map(json.loads, (out / "log.jsonl").read_text().splitlines())
    return [(line["tokens"], line["clips"], line["questions"]) for line in lines]


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("strategy", "more"), [("ddp", ()), ("fsdp", ()), ("ddp", ("--pack",))])
def test_two_processes_make_the_adapter_that_one_makes(
    strategy: str, more: tuple[str, ...], hub_folder: Path, make_rows: Any, tmp_path: Path
) -> None:
    """Two processes with batches of two take the rows of one with batches of four."""
    rows, alone, out = make_rows(8), tmp_path / "alone", tmp_path / strategy
    assert run([*command(rows, hub_folder, alone), "--batch-size", "4", *more]) == 0
    done = launched(strategy, [*command(rows, hub_folder, out), "--batch-size", "2", *more], tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"2 processes by {strategy}" in done.stderr
    assert done.stdout.count("adapter: ") == 1
    spec = json.loads((out / "spec.json").read_text())
    assert (spec["identity"]["processes"], spec["identity"]["strategy"]) == (2, strategy)
    assert losses(out) == pytest.approx(losses(alone), rel=1e-4)
    # Every process counts for all.
    assert counts(out) == counts(alone)
    ours, theirs = (load_file(folder / "adapter_model.safetensors") for folder in (out, alone))
    assert ours.keys() == theirs.keys()
    assert all(abs(value - theirs[name]).max() < 1e-3 for name, value in ours.items())
    assert max(abs(value).max() for name, value in ours.items() if "lora_B" in name) > 1e-3
    assert json.loads((out / "adapter_config.json").read_text()) == json.loads(
        (alone / "adapter_config.json").read_text()
    )
    if strategy == "fsdp":
        here, whole = done.stderr.split("this process holds ")[1].split(" parameters")[0].split(" of ")
        assert int(here.replace(",", "")) < 0.6 * int(whole.replace(",", ""))


@pytest.mark.parametrize(("name", "stage"), [("zero2", 2), ("zero3", 3)])
def test_accelerate_parses_the_configs_of_deepspeed(name: str, stage: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not run here. The file is read, its fields become the launcher's environment, and that becomes the plugin."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils import DeepSpeedPlugin
    from accelerate.utils.launch import prepare_deepspeed_cmd_env

    command_line = ["--config_file", str(launch_config(name)), "script.py"]
    arguments, defaults, _ = _validate_launch_command(launch_command_parser().parse_args(command_line))
    arguments.deepspeed_fields_from_accelerate_config = ",".join(defaults.deepspeed_config)
    assert arguments.use_deepspeed
    assert arguments.zero_stage == stage
    _, environment = prepare_deepspeed_cmd_env(arguments)
    for key, value in environment.items():
        if key.startswith("ACCELERATE_"):
            monkeypatch.setenv(key, value)
    monkeypatch.setattr("accelerate.utils.dataclasses.is_deepspeed_available", lambda: True, raising=False)
    plugin = DeepSpeedPlugin()
    assert plugin.zero_stage == stage
    assert plugin.deepspeed_config["zero_optimization"]["stage"] == stage
    assert plugin.deepspeed_config["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] is (stage == 3)
    assert plugin.deepspeed_config["gradient_accumulation_steps"] == "auto"


def test_every_config_is_there_and_its_path_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("ddp", "fsdp", "zero2", "zero3"):
        assert run(["train", "--show-config", name]) == 0
        path = Path(capsys.readouterr().out.strip())
        assert path == launch_config(name)
        assert path.is_file()
