"""Folders of estimates made by hand; nothing here loads a model."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lalm_agent.artefacts import SPEC, json_line, write_record
from lalm_agent.eval.confidence.records import ESTIMATES, ConfidenceIdentity, ConfidenceSpec, EstimateRow
from lalm_agent.eval.runs.records import DataIdentity, RunIdentity

RUN: dict[str, Any] = {
    "model": "scripted:-",
    "revision": None,
    "weights_sha256": "a" * 64,
    "adapter_sha256": None,
    "dtype": "float32",
    "hears_audio": True,
    "method": "baseline",
    "answer_mode": "score",
    "tools": {"answer": "lalm"},
    "prompts": {"answer": "b" * 64},
    "max_new_tokens": 256,
    "temperature": 0.0,
    "top_p": 1.0,
    "top_k": 0,
    "seed": 0,
    "draws": 1,
    "data": DataIdentity(name="made", sha256="c" * 64),
    "modality": (),
    "shuffle_choices": False,
    "audio": "real",
    "type_source": "model",
    "content_source": "model",
    "max_audio_s": 3600.0,
}
ESTIMATORS: dict[str, dict[str, Any]] = {"option": {}, "margin": {}, "agreement": {"draws": 5}}


def sha(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


@pytest.fixture
def make_rows() -> Callable[..., list[EstimateRow]]:
    """Two questions about each of n recordings, 70 % right; `margin` knows something that `option` does not."""

    def make(n: int, seed: int = 0, prefix: str = "clip") -> list[EstimateRow]:
        rng = np.random.default_rng(seed)
        rows = []
        for question in range(2 * n):
            right = bool(rng.random() < 0.7)
            option, margin = (1 / (1 + np.exp(-rng.normal(1.1 if right else -1.1, 1.0))) for _ in range(2))
            values = {"option": float(option), "margin": float(margin), "agreement": float(rng.integers(0, 6) / 5)}
            rows.append(
                EstimateRow(
                    question=f"{prefix}-q{question}",
                    draw=0,
                    clip=sha(f"{prefix}{question // 2}"),
                    modality=("sound", "music", "speech")[question // 2 % 3],
                    outcome="correct" if right else "wrong",
                    seen=False,
                    values=values,
                )
            )
        return rows

    return make


@pytest.fixture
def write_folder(tmp_path: Path) -> Callable[..., Path]:
    """A folder of estimates with these rows; further fields are of the run's identity."""

    def write(rows: list[EstimateRow], name: str = "conf", estimators: Any = None, **run: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        identity = ConfidenceIdentity(
            run=RunIdentity.model_validate({**RUN, **run}), estimators=ESTIMATORS if estimators is None else estimators
        )
        spec = ConfidenceSpec(created="2026-01-01T00:00:00+00:00", identity=identity, data_version=None, sessions=())
        write_record(folder / SPEC, spec)
        (folder / ESTIMATES).write_bytes(b"".join(json_line(row.model_dump(mode="json")) for row in rows))
        return folder

    return write
