"""A whole training: both classes come out of the adapter, and its folder is a plain PEFT folder."""

import json
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.agent import Agent
from lalm_agent.cli.main import run
from lalm_agent.eval.runs.controls import trained_clips
from lalm_agent.training.lora.adapter import LOG, SPEC
from lalm_agent.training.lora.data import read_rows

pytestmark = pytest.mark.timeout(600)

CHOICES = ("--choice", "dog", "--choice", "cat")


def command(rows: Path, model: Path | str, out: Path, *more: str) -> list[str]:
    arguments = ["train", "--data", str(rows), "--model", str(model), "--out", str(out), "--preset", "mini"]
    return [*arguments, "--device", "cpu", *more]


# A model of two layers of random weights learns by more than its attention.
OVERFIT = ("--epochs", "30", "--learning-rate", "0.01", "--rank", "16", "--target-modules", ".*language_model.*_proj")


@pytest.fixture
def trained(hub_folder: Path, make_rows: Any, tmp_path: Path) -> tuple[Path, Path]:
    """(rows, adapter) of a hub folder that was trained until it knows its sixteen rows by heart."""
    rows, out = make_rows(16), tmp_path / "adapter"
    assert run(command(rows, hub_folder, out, *OVERFIT)) == 0
    return rows, out


def test_an_overfitted_adapter_says_both_classes(
    trained: tuple[Path, Path], hub_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """That PEFT reads it without us, with the same replies, is tested in ../hub/test_hub_layout.py."""
    path, out = trained
    rows = read_rows(path)
    agent = Agent(model=str(hub_folder), method="lora", adapter=str(out), max_new_tokens=6)
    replies = [agent.ask(rows.root / row.audio, row.question, row.choices) for row in rows.rows]
    right = sum((reply.status == "abstained") == row.is_idk for row, reply in zip(rows.rows, replies, strict=True))
    assert right >= 15
    assert {reply.status for reply in replies} == {"abstained", "answered"}
    # The same through the command line.
    capsys.readouterr()
    row = next(row for row, reply in zip(rows.rows, replies, strict=True) if row.is_idk and reply.status == "abstained")
    question = ["ask", str(rows.root / row.audio), row.question, *CHOICES, "--model", str(hub_folder), "--json"]
    assert run([*question, "--method", "lora", "--adapter", str(out), "--max-new-tokens", "6"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "abstained"
    _the_folder_is_plain(trained, hub_folder)
    _a_finished_one_is_left_alone(trained, hub_folder, capsys)


def _the_folder_is_plain(trained: tuple[Path, Path], hub_folder: Path) -> None:
    path, out = trained
    names = {entry.name for entry in out.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "README.md", "trained_clips.json", SPEC, LOG} <= names
    assert not names & {"checkpoints", "export"}
    config = json.loads((out / "adapter_config.json").read_text())
    assert (config["peft_type"], config["r"]) == ("LORA", 16)
    assert config["base_model_name_or_path"] == str(hub_folder)
    assert trained_clips(str(out)) == {row.audio_sha256 for row in read_rows(path).rows}
    spec = json.loads((out / SPEC).read_text())
    lines = [json.loads(line) for line in (out / LOG).read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, spec["steps"] + 1))
    assert all(line["seconds"] > 0 and {"loss", "lr"} <= line.keys() for line in lines)
    assert lines[-1]["loss"] < lines[0]["loss"] / 4
    assert list((out / "tensorboard").glob("events.*"))
    assert spec["identity"]["weights_sha256"] in (out / "README.md").read_text()
    assert spec["identity"]["data"] == {
        **{"sha256": read_rows(path).sha256, "rows": 16, "idk": 8},
        **{"right_over_idk": 0, "idk_over_wrong": 0},
    }


def _a_finished_one_is_left_alone(
    trained: tuple[Path, Path], hub_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = trained
    before = {entry: entry.stat().st_mtime_ns for entry in out.rglob("*") if entry.name != "lock"}
    capsys.readouterr()
    assert run(command(path, hub_folder, out, *OVERFIT)) == 0
    assert "nothing to do" in capsys.readouterr().err
    assert {entry: entry.stat().st_mtime_ns for entry in out.rglob("*") if entry.name != "lock"} == before
    # Another training does not go into the same folder, and what differs is named.
    assert run(command(path, hub_folder, out, *OVERFIT, "--seed", "5")) == 2
    said = capsys.readouterr().err
    assert "differs: recipe.seed: 0 in the run, 5 now" in said
    assert "is another run" in said


def test_a_dry_run_estimates_and_writes_nothing(
    make_rows: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, out = make_rows(4), tmp_path / "adapter"
    assert run(["train", "--data", str(rows), "--model", "mini", "--out", str(out), "--dry-run", "--json"]) == 0
    said = capsys.readouterr()
    figures = json.loads(said.out)
    assert (figures["rows"], figures["idk"], figures["steps"], figures["trainable"]) == (4, 2, 3, 40_960)
    assert figures["seconds"] > 0
    assert figures["memory_bytes"] > figures["weight_bytes"]
    assert figures["audio_s"] == pytest.approx(4 * 0.6)
    assert "preset: mini" in said.err
    assert not out.exists()
    assert run(["train", "--data", str(rows), "--model", "mini", "--out", str(out), "--dry-run"]) == 0
    assert "estimated seconds" in capsys.readouterr().out


def test_the_adapter_of_mini_says_that_it_is_mini_s(make_rows: Any, tmp_path: Path) -> None:
    out = tmp_path / "adapter"
    assert run(command(make_rows(2), "mini", out, "--max-steps", "1", "--alpha", "32", "--adapt", "paper")) == 0
    config = json.loads((out / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "mini"
    assert (config["lora_alpha"], config["target_modules"]) == (32, r".*\.(q|k|v)_proj")
    from safetensors import safe_open

    with safe_open(out / "adapter_model.safetensors", "pt") as file:
        names = list(file.keys())
    assert any("audio_tower" in name for name in names)
    assert any("language_model" in name for name in names)
