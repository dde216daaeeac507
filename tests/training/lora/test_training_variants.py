"""Trainings whose numbers are made in another way: less memory, another precision."""

import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lalm_agent.artefacts import MismatchError
from lalm_agent.cli.main import run
from lalm_agent.config import AgentConfig
from lalm_agent.training import TrainRequest, train
from lalm_agent.training.lora.model import load_base
from lalm_agent.training.lora.recipe import make_recipe

pytestmark = pytest.mark.timeout(600)

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


def test_an_adapter_is_trained_without_the_command_line(hub_folder: Path, make_rows: Any, tmp_path: Path) -> None:
    """The folder's files are those of earlier versions, and one loaded model serves several trainings."""
    said: list[str] = []
    config = AgentConfig(model=str(hub_folder), device="cpu")
    recipe = make_recipe("mini", {"max_steps": 1, "batch_size": 2})
    request = TrainRequest(make_rows(4), tmp_path / "one", config, recipe)
    adapter = train(request, said.append)
    assert (adapter.out, adapter.steps) == (tmp_path / "one", 1)
    assert adapter.loss is not None
    spec = json.loads((tmp_path / "one" / "spec.json").read_text("utf-8"))
    assert list(spec) == ["schema", "identity", "base", "preset", "trainable", "steps", "sessions"]
    assert list(spec["sessions"][0]) == "started command versions commit dirty engine device from_step".split()
    assert spec["preset"] == "paper"
    assert any(line.startswith("trained: ") for line in said)
    assert train(request, said.append).loss is None
    assert said[-1] == f"nothing to do: {tmp_path / 'one'} holds the adapter, 1 steps"
    with pytest.raises(MismatchError) as error:
        train(replace(request, recipe=recipe.model_copy(update={"seed": 3})))
    assert error.value.fields == ("recipe.seed: 0 in the run, 3 now",)

    with ExitStack() as stack:
        base = load_base(config, "cpu", stack)
    for name in ("two", "three"):
        train(replace(request, out=tmp_path / name), base=base)
    assert [type(module) for module in base.checkpoint.model.modules() if "lora" in type(module).__module__] == []
    weights = [(tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("one", "two", "three")]
    assert len(set(weights)) == 1
