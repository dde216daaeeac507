"""An adapter of a base with the same shapes and other weights would load, answer, and be wrong: it is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.cli.main import run

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def trained(hub_folder: Path, make_rows: Any, tmp_path: Path) -> Path:
    """An adapter of one step."""
    out = tmp_path / "adapter"
    arguments = ["train", "--data", str(make_rows(2)), "--model", str(hub_folder), "--out", str(out)]
    assert run([*arguments, "--preset", "mini", "--device", "cpu", "--batch-size", "2", "--max-steps", "1"]) == 0
    return out


@pytest.fixture
def other(hub_folder: Path, tmp_path: Path) -> Path:
    """The same checkpoint but for one weight."""
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(hub_folder, tmp_path / "other"))
    shard = sorted(folder.glob("model-*.safetensors"))[-1]
    weights = load_file(shard)
    next(iter(weights.values())).view(-1)[0] += 1
    save_file(weights, shard, {"format": "pt"})
    return folder


def asking(command: str, model: Path, adapter: Path, tmp_path: Path) -> list[str]:
    flags = ["--model", str(model), "--method", "lora", "--adapter", str(adapter), "--max-new-tokens", "2"]
    if command == "ask":
        return ["ask", str(tmp_path / "0.wav"), "Which?", "--choice", "dog", "--choice", "cat", *flags]
    row = {"audio": "0.wav", "question": "Which?", "choices": ["dog", "cat"], "answer": "dog"}
    (tmp_path / "bench.jsonl").write_text(json.dumps(row) + "\n", "utf-8")
    return ["eval", str(tmp_path / "bench.jsonl"), "--out", str(tmp_path / "run"), *flags]


@pytest.mark.parametrize("command", ["ask", "eval"])
def test_other_weights_of_the_same_shapes_are_refused(
    command: str, trained: Path, other: Path, hub_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in trained.iterdir() if path.is_file()}
    capsys.readouterr()
    assert run(asking(command, other, trained, tmp_path)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-2].startswith(f"error: the adapter {trained} was trained on other weights: ")
    assert err.splitlines()[-1].startswith("try: ")
    assert not (tmp_path / "run" / "answers.jsonl").exists()
    assert {path: path.read_bytes() for path in trained.iterdir() if path.is_file()} == before
    # The folder may move; the weights decide.
    moved = Path(shutil.copytree(hub_folder, tmp_path / "moved"))
    assert run(asking(command, moved, trained, tmp_path)) == 0


def test_a_run_does_not_go_on_with_another_adapter(
    trained: Path, hub_folder: Path, make_rows: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = asking("eval", hub_folder, trained, tmp_path)
    assert run(arguments) == 0
    answers = (tmp_path / "run" / "answers.jsonl").read_bytes()
    second = Path(shutil.copytree(trained, tmp_path / "second"))
    config = json.loads((second / "adapter_config.json").read_text("utf-8"))
    (second / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": 64}), "utf-8")
    capsys.readouterr()
    assert run(asking("eval", hub_folder, second, tmp_path)) == 2
    assert "adapter_sha256" in capsys.readouterr().err
    assert (tmp_path / "run" / "answers.jsonl").read_bytes() == answers
