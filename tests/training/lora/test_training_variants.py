"""Trainings whose numbers are made in another way: less memory, another precision."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from lalm_agent.cli.main import run

STEPS = ("--max-steps", "2", "--preset", "mini", "--learning-rate", "0.01", "--device", "cpu")


def trained(rows: Path, model: Path, out: Path, *more: str) -> dict[str, torch.Tensor]:
    """The adapter of two steps."""
    assert run(["train", "--data", str(rows), "--model", str(model), "--out", str(out), *STEPS, *more]) == 0
    return load_file(out / "adapter_model.safetensors")


def test_what_saves_memory_or_rounds_changes_an_adapter_little(
    hub_folder: Path, make_rows: Any, tmp_path: Path
) -> None:
    rows = make_rows(8)
    plain = trained(rows, hub_folder, tmp_path / "plain", "--dtype", "float32")
    frugal = trained(rows, hub_folder, tmp_path / "frugal", "--dtype", "float32", "--gradient-checkpointing")
    assert plain.keys() == frugal.keys()
    assert all(torch.allclose(plain[name], frugal[name], rtol=1e-4, atol=1e-6) for name in plain)

    rounded = trained(rows, hub_folder, tmp_path / "rounded", "--dtype", "bfloat16")
    # The base is rounded, what is trained is not: Adam's steps are lost in 8 bits.
    assert {value.dtype for value in rounded.values()} == {torch.float32}
    assert any(value.abs().max() > 0 for name, value in rounded.items() if "lora_B" in name)
    losses = {
        name: [json.loads(line)["loss"] for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("plain", "frugal", "rounded")
    }
    assert abs(losses["plain"][0] - losses["frugal"][0]) < 1e-4
    assert abs(losses["plain"][0] - losses["rounded"][0]) < 0.05 * losses["plain"][0]
