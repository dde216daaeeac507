"""What a training refuses, in one line, and that nothing is lost where it stops."""

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from lalm_agent import artefacts
from lalm_agent.cli.main import run
from lalm_agent.training.lora.adapter import CHECKPOINTS, COMPLETE, LOG

pytestmark = pytest.mark.timeout(600)


def command(rows: Path, model: Path | str, out: Path, *more: str) -> list[str]:
    given = ["train", "--data", str(rows), "--model", str(model), "--out", str(out), "--preset", "mini"]
    return [*given, "--device", "cpu", "--batch-size", "2", *more]


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    """The error line; exit 2, and one hint."""
    capsys.readouterr()
    assert run(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1
    assert lines[-2] == errors[0]
    assert lines[-1].startswith("try: ")
    return errors[0]


def test_unknown_target_modules_list_the_candidates(
    hub_folder: Path, make_rows: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "adapter"
    said = refused(capsys, command(make_rows(2), hub_folder, out, "--target-modules", ".*query"))
    assert "language_model.layers.N.self_attn.q_proj" in said
    assert not out.exists()
    said = refused(capsys, command(make_rows(2), hub_folder, out, "--target-modules", "("))
    assert "no regular expression" in said


@pytest.mark.parametrize("idk", [True, False])
def test_one_class_needs_a_flag(
    idk: bool, hub_folder: Path, make_rows: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, out = make_rows(2, is_idk=idk), tmp_path / "adapter"
    assert "has one class" in refused(capsys, command(rows, hub_folder, out))
    assert run(command(rows, hub_folder, out, "--max-steps", "1", "--allow-one-class")) == 0


def test_an_empty_set_and_a_changed_clip_are_refused(
    make_rows: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "adapter"
    (tmp_path / "empty.jsonl").write_text("")
    assert "holds no rows" in refused(capsys, command(tmp_path / "empty.jsonl", "mini", out))
    rows = make_rows(2)
    (tmp_path / "1.wav").write_bytes((tmp_path / "0.wav").read_bytes())
    assert "idk.jsonl:2: 1.wav is another recording" in refused(capsys, command(rows, "mini", out))
    assert not out.exists()


def test_models_that_take_no_adapter_are_refused(
    make_rows: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = make_rows(2)
    for model in ("openai:gpt-audio", "scripted:replies.jsonl"):
        assert "takes no adapter" in refused(capsys, command(rows, model, tmp_path / "adapter"))


def test_the_prompt_must_fit_the_rows(make_rows: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "adapter"
    rows = make_rows(2)
    assert "no type and content" in refused(capsys, command(rows, "mini", out, "--prompt", "agent"))
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    lines[0]["method"] = "agent"
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "both methods" in refused(capsys, command(rows, "mini", out))
    rows = make_rows(2, prompt="Which animal? Choose: dog cat")
    assert "another prompt" in refused(capsys, command(rows, "mini", out))


def test_a_loss_that_is_no_number_stops_and_keeps_the_checkpoint(
    hub_folder: Path, make_rows: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "adapter"
    arguments = command(make_rows(4), hub_folder, out, "--max-steps", "6", "--save-every", "1")
    # A rate that throws the weights out of float32's range after the first step.
    said = refused(capsys, [*arguments, "--learning-rate", "1e30"])
    assert "is no finite number" in said
    kept = list((out / CHECKPOINTS).glob(f"*/{COMPLETE}"))
    assert [path.parent.name for path in kept] == ["checkpoint-1"]
    assert len((out / LOG).read_text().splitlines()) == 1
    assert not (out / "adapter_config.json").exists()


def _full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("where", ["checkpoint", "log", "export"])
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(
    where: str, hub_folder: Path, make_rows: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import Trainer


    rows, whole, out = make_rows(4), tmp_path / "whole", tmp_path / "adapter"
    arguments = ("--max-steps", "4", "--save-every", "2")
    assert run(command(rows, hub_folder, whole, *arguments)) == 0
    with pytest.MonkeyPatch.context() as patch:
        if where == "checkpoint":
            patch.setattr(Trainer, "_save_optimizer_and_scheduler", _full)
        elif where == "log":
            patch.setattr(artefacts, "_write", _full)
        else:
            patch.setattr("lalm_agent.training.lora.adapter.write_whole", _full)
        said = refused(capsys, command(rows, hub_folder, out, *arguments))
    assert "cannot be written: No space left on device" in said
    assert not (out / "adapter_config.json").exists()
    assert all((path / COMPLETE).is_file() for path in (out / CHECKPOINTS).glob("checkpoint-*"))
    assert run(command(rows, hub_folder, out, *arguments)) == 0
    name = "adapter_model.safetensors"
    assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_an_adapter_of_another_base_is_refused(
    hub_folder: Path, make_rows: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, out = make_rows(2), tmp_path / "adapter"
    assert run(command(rows, hub_folder, out, "--max-steps", "1")) == 0
    asked = ["ask", str(tmp_path / "0.wav"), "Which?", "--choice", "a", "--choice", "b", "--method", "lora"]
    said = refused(capsys, [*asked, "--model", "mini", "--adapter", str(out)])
    assert "was trained on other weights" in said
    # Nor is it trained on with another model.
    assert "is another run; what differs: model" in refused(
        capsys, command(rows, "mini", out, "--max-steps", "1")
    )


def test_a_folder_with_something_else_is_not_touched(
    make_rows: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("words")
    assert "holds thesis.txt" in refused(capsys, command(make_rows(2), "mini", out))
    assert [entry.name for entry in out.iterdir()] == ["thesis.txt"]
