"""Questions packed behind one clip: loss and gradients are those that they have alone, and a resume keeps the order."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from lalm_agent.audio import load
from lalm_agent.cli.main import run
from lalm_agent.config import AgentConfig
from lalm_agent.errors import UsageError
from lalm_agent.models.hf_prompt import remember_clips
from lalm_agent.records import Method
from lalm_agent.training.lora.data import Collator, read_rows, target_loss
from lalm_agent.training.lora.model import encode_once, load_base, require_packing, with_lora
from lalm_agent.training.lora.recipe import PRESETS
from lalm_agent.training.lora.trainer import ByClip, LoraTrainer, counted

pytestmark = pytest.mark.timeout(600)

QUESTIONS = ("Which animal?", "Which animal is heard in this clip, and what else could it be?", "Is it a dog or a cat?")


@pytest.fixture
def shared_rows(make_rows: Any, tmp_path: Path) -> Path:
    """Seven rows: three questions about each of two clips of unequal lengths, one of them twice."""
    rows: list[dict[str, Any]] = []
    for clip, row in enumerate(map(json.loads, make_rows(2).read_text().splitlines())):
        noise = np.random.default_rng(clip).standard_normal(11_000 + 15_000 * clip) * 0.1
        soundfile.write(tmp_path / row["audio"], noise, 16_000)
        row["audio_sha256"] = load(tmp_path / row["audio"]).ref.sha256
        rows += [row | {"id": f"{clip}.{n}", "question": text} for n, text in enumerate(QUESTIONS)]
    rows.append(rows[-1] | {"id": "again", "target": "IDK", "is_idk": True})
    path = tmp_path / "idk.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def folder_of(make_tiny: Callable[[str, Path], None], tmp_path_factory: Any) -> Callable[[str], str]:
    def folder(name: str) -> str:
        if name == "mini":
            return name
        path: Path = tmp_path_factory.mktemp(name)
        make_tiny(name, path)
        return str(path)

    return folder


@pytest.mark.parametrize("family", ["mini", "qwen2-audio", "audio-flamingo-3"])
def test_loss_and_gradients_are_those_of_questions_alone(
    family: str, folder_of: Callable[[str], str], shared_rows: Path
) -> None:
    with ExitStack() as stack:
        base = load_base(AgentConfig(model=folder_of(family)), "cpu", stack)
    require_packing(base.checkpoint.model)
    remember_clips(base.checkpoint.processor)
    # In double precision, so that what differs by more than rounding shows.
    model = with_lora(base, PRESETS["mini"]).double()
    encode_once(base.checkpoint.model)
    trained = [value for value in model.parameters() if value.requires_grad]
    for value in trained:
        torch.nn.init.normal_(value, std=0.1)
    rows = read_rows(shared_rows)

    def losses(pack: bool, **changes: Any) -> tuple[float, list[torch.Tensor], list[int]]:
        collate = Collator(rows, base.checkpoint.processor, base.hearing, Method.BASELINE, base.stop_ids, pack)
        batch = {name: v.double() if v.is_floating_point() else v for name, v in collate(rows.rows).items()}
        counts, labels = counted(batch), batch.pop("labels")
        loss = target_loss(model(**batch | changes), labels)
        model.zero_grad()
        loss.backward()
        return loss.item(), [value.grad.clone() for value in trained], counts

    (alone, gradients, counts), (together, packed, fewer) = losses(False), losses(True)
    assert together == pytest.approx(alone, rel=1e-5)
    # Norms and rotations are rounded to float32 by the classes themselves.
    assert (
        max(float((left - right).norm() / right.norm()) for left, right in zip(packed, gradients, strict=True)) < 1e-3
    )
    assert min(float(value.abs().max()) for value in gradients) > 1e-4
    assert (counts[1:], fewer[1:]) == ([7, 7], [2, 7])
    assert fewer[0] < counts[0]
    # Were each question to see those before it, it would show.
    assert losses(True, attention_mask=None)[0] != pytest.approx(alone, rel=1e-3)


def test_a_class_that_makes_masks_or_positions_of_its_own_is_refused(folder_of: Callable[[str], str]) -> None:
    for family in ("qwen2.5-omni", "gemma-4"):
        with ExitStack() as stack:
            base = load_base(AgentConfig(model=folder_of(family)), "cpu", stack)
        with pytest.raises(UsageError, match="cannot be packed exactly"):
            require_packing(base.checkpoint.model)


def test_rows_of_a_clip_come_side_by_side_in_another_order_each_epoch() -> None:
    clips = [f"clip {index % 5}" for index in range(20)]
    sampler, orders = ByClip(clips, 3), []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
        assert list(sampler) == orders[-1]
        assert sorted(orders[-1]) == list(range(20))
        assert all(len({clips[index] for index in orders[-1][i : i + 4]}) == 1 for i in range(0, 20, 4))
    assert orders[0] != orders[1]
    assert list(ByClip(clips, 4)) != orders[0]


def command(rows: Path, model: Path, out: Path, *more: str) -> list[str]:
    arguments = ["train", "--data", str(rows), "--model", str(model), "--out", str(out), "--preset", "mini", "--json"]
    return [*arguments, "--device", "cpu", "--batch-size", "3", "--save-every", "1", *more]


def test_a_packed_training_is_interrupted_and_ends_as_one_that_ran_through(
    hub_folder: Path, shared_rows: Path, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "interrupted"
    assert run(command(shared_rows, hub_folder, whole, "--pack")) == 0
    told = capsys.readouterr()
    assert ", packed, " in told.err
    speed = json.loads(told.out)
    log = [json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines()]
    assert [line["questions"] for line in log] == [3, 3, 1] * 3
    assert all(1 <= line["clips"] <= 2 for line in log)
    for name in ("tokens", "clips", "questions"):
        assert speed[f"{name}_per_s"] > 0
        assert f"{speed[f'{name}_per_s']:.4g} {name}" in told.err
    assert speed["tokens_per_s"] / speed["questions_per_s"] == pytest.approx(
        sum(line["tokens"] for line in log) / sum(line["questions"] for line in log), rel=0.01
    )

    saves = LoraTrainer._save_checkpoint

    def interrupted(self: Any, *arguments: Any) -> None:
        saves(self, *arguments)
        if self.state.global_step == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(LoraTrainer, "_save_checkpoint", interrupted)
    assert run(command(shared_rows, hub_folder, out, "--pack")) == 130
    monkeypatch.undo()
    assert run(command(shared_rows, hub_folder, out)) == 2
    assert "recipe.pack" in capsys.readouterr().err
    assert run(command(shared_rows, hub_folder, out, "--pack")) == 0
    again = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line | {"seconds": 0} for line in again] == [line | {"seconds": 0} for line in log]
    name = "adapter_model.safetensors"
    assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_pairs_are_not_packed(shared_rows: Path, tmp_path: Path, capsys: Any) -> None:
    assert run(["train", "--data", str(shared_rows), "--out", str(tmp_path / "out"), "--pack", "--loss", "dpo"]) == 2
    assert "--pack" in capsys.readouterr().err
