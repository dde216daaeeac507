"""What a training refuses, in one line, and that nothing is lost where it stops."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from lalm_agent import artefacts
from lalm_agent.cli.main import run
from lalm_agent.training.lora.adapter import CHECKPOINTS, CLIPS, COMPLETE, LOG, WEIGHTS

pytestmark = pytest.mark.timeout(600)


def command(rows: Path, model: Path | str, out: Path, *more: str) -> list[str]:
    arguments = ["train", "--data", str(rows), "--model", str(model), "--out", str(out), "--preset", "mini"]
    return [*arguments, "--device", "cpu", "--batch-size", "2", *more]


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


def _full_for_torch(*_: Any, **__: Any) -> None:
    raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 47936 vs 47824")


def _full_at(name: str) -> Any:
    """Like `write_whole`, on a disk that is full when it comes to this file."""
    return lambda path, data: _full() if path.name == name else artefacts.write_whole(path, data)


STEPS = ("--max-steps", "4", "--save-every", "2")
_WHOLE: list[bytes] = []


def whole_weights(rows: Path, model: Path, out: Path) -> bytes:
    """Of a training that nothing stops: the same for the same rows, so it is made once."""
    if not _WHOLE:
        assert run(command(rows, model, out, *STEPS)) == 0
        _WHOLE.append((out / WEIGHTS).read_bytes())
    return _WHOLE[0]


@pytest.mark.parametrize("where", ["checkpoint", "log", "export"])
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(
    where: str, hub_folder: Path, make_rows: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import Trainer

    rows, out = make_rows(4), tmp_path / "adapter"
    whole = whole_weights(rows, hub_folder, tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch:
        if where == "checkpoint":
            patch.setattr(Trainer, "_save_optimizer_and_scheduler", _full_for_torch)
        elif where == "log":
            patch.setattr(os, "write", _full)
        else:
            patch.setattr("lalm_agent.training.lora.adapter.write_whole", _full_at("README.md"))
        said = refused(capsys, command(rows, hub_folder, out, *STEPS))
    assert "cannot be written: " in said
    assert not (out / "adapter_config.json").exists()
    assert all((path / COMPLETE).is_file() for path in (out / CHECKPOINTS).glob("checkpoint-*"))
    assert run(command(rows, hub_folder, out, *STEPS)) == 0
    assert (out / WEIGHTS).read_bytes() == whole


def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    hub_folder: Path, make_rows: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, out = make_rows(4), tmp_path / "adapter"
    whole = whole_weights(rows, hub_folder, tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lalm_agent.training.lora.adapter.write_whole", _full_at(CLIPS))
        refused(capsys, command(rows, hub_folder, out, *STEPS))
    for name in ("optimizer.pt", WEIGHTS, "rng_state.pth", "trainer_state.json"):
        damaged = Path(shutil.copytree(out, tmp_path / name))
        with (damaged / CHECKPOINTS / "checkpoint-4" / name).open("r+b") as file:
            file.truncate(100)
        assert run(command(rows, hub_folder, damaged, *STEPS)) == 0
        said = capsys.readouterr().err
        assert "note: the checkpoint of step 4 is damaged and is not used" in said
        assert "resume: from the checkpoint of step 2 of 4" in said
        assert (damaged / WEIGHTS).read_bytes() == whole
        assert len((damaged / LOG).read_text().splitlines()) == 4


def test_an_adapter_of_another_base_is_refused(
    hub_folder: Path, make_rows: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, out = make_rows(2), tmp_path / "adapter"
    assert run(command(rows, hub_folder, out, "--max-steps", "1")) == 0
    question = ["ask", str(tmp_path / "0.wav"), "Which?", "--choice", "a", "--choice", "b", "--method", "lora"]
    said = refused(capsys, [*question, "--model", "mini", "--adapter", str(out)])
    assert "was trained on other weights" in said
    # Nor is it trained on with another model.
    assert "is another run; what differs: model" in refused(capsys, command(rows, "mini", out, "--max-steps", "1"))


def test_a_folder_with_something_else_is_not_touched(
    make_rows: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("words")
    assert "holds thesis.txt" in refused(capsys, command(make_rows(2), "mini", out))
    assert [entry.name for entry in out.iterdir()] == ["thesis.txt"]
