"""Rows about clips that the tests make themselves, and a checkpoint laid out as on the hub."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lalm_agent.audio import load

CHOICES = ("dog", "cat")
RATE = 16_000

MakeRows = Callable[..., Path]


@pytest.fixture(scope="session")
def hub_folder(make_tiny: Callable[[str, Path], None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random-weight Qwen2-Audio in several safetensors files, with the class's front end: 128 mel, hop 160, 30 s."""
    from transformers import Qwen2AudioForConditionalGeneration

    folder: Path = tmp_path_factory.mktemp("hub")
    make_tiny("qwen2-audio", folder)
    model = Qwen2AudioForConditionalGeneration.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="200KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    front_end = json.loads((folder / "preprocessor_config.json").read_text())
    assert (front_end["feature_size"], front_end["hop_length"], front_end["chunk_length"]) == (128, 160, 30)
    return folder


def sample(index: int, seconds: float) -> Any:
    """Noise for an even index, a tone for an odd one, (n,) float64."""
    n = round(seconds * RATE)
    if index % 2 == 0:
        return np.random.default_rng(index).standard_normal(n) * 0.1
    return 0.3 * np.sin(2 * np.pi * (200 + 30 * index) * np.arange(n) / RATE)


def row_of(index: int, clip: Path, **changes: Any) -> dict[str, Any]:
    """A row as `idk build` writes it: IDK for noise, a choice for a tone."""
    idk = index % 2 == 0
    return {
        "id": f"q{index}",
        "audio": clip.name,
        "audio_sha256": load(clip).ref.sha256,
        "question": "Which animal?",
        "choices": list(CHOICES),
        "gold": CHOICES[index // 2 % 2],
        "method": "baseline",
        "audio_type": None,
        "content": None,
        "target": "IDK" if idk else CHOICES[index // 2 % 2],
        "is_idk": idk,
        "modality": "sound",
        **changes,
    }


@pytest.fixture
def make_rows(tmp_path: Path) -> MakeRows:
    """Writes clips and rows: `make_rows(n, **changes)`; the path of the rows."""

    def make(n: int = 8, seconds: float = 0.6, name: str = "idk.jsonl", **changes: Any) -> Path:
        rows = []
        for index in range(n):
            clip = tmp_path / f"{index}.wav"
            soundfile.write(clip, sample(index, seconds), RATE)
            rows.append(row_of(index, clip, **changes))
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return make
