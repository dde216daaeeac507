"""A study small enough for a test: a random-weight checkpoint, a bank written by hand, and clips to evaluate on."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lalm_agent.artefacts import SPEC, json_line, write_record, write_whole
from lalm_agent.audio import load
from lalm_agent.cli.main import run
from lalm_agent.eval.items import Item
from lalm_agent.eval.runs.folder import ANSWERS, write_items
from lalm_agent.eval.runs.plan import order_key
from lalm_agent.eval.runs.records import RunIdentity, RunItem, RunSpec, Selection, Session, StoredAnswer, answer_fields
from lalm_agent.models.hf_loading import find_weights
from lalm_agent.prompts import prompt_hashes
from lalm_agent.records import Method, Status

KINDS = ("sound", "music", "speech")
CHOICES = ("dog", "cat")
RATE = 16_000
DRAWS = 3
FAST = ("--preset", "mini", "--max-steps", "2", "--batch-size", "2", "--device", "cpu", "--max-new-tokens", "3")


def question(kind: str, index: int, clip: str) -> dict[str, Any]:
    """A row of a benchmark's file."""
    return {
        "id": f"{kind}{index}",
        "audio": clip,
        "question": f"Which animal is in {kind} {index}?",
        "choices": list(CHOICES),
        "answer": CHOICES[index % 2],
        "modality": kind,
        "content": f"the {kind} of a {CHOICES[index % 2]}",
    }


def write_clips(folder: Path, seed: int, of_each: int) -> list[dict[str, Any]]:
    """Clips of noise, and a question about each."""
    rng, rows = np.random.default_rng(seed), []
    folder.mkdir()
    for kind in KINDS:
        for index in range(of_each):
            clip = f"{kind}{index}.wav"
            soundfile.write(folder / clip, rng.standard_normal(RATE // 2) * 0.1, RATE)
            rows.append(question(kind, index, clip))
    return rows


def item_of(row: dict[str, Any]) -> Item:
    groups = (("modality", row["modality"]),)
    return Item(row["id"], row["audio"], row["question"], CHOICES, row["answer"], groups, row["content"])


def identity_of(model: Path, **changes: Any) -> RunIdentity:
    fields = {
        "model": str(model),
        "revision": None,
        "weights_sha256": find_weights(str(model))[1],
        "adapter_sha256": None,
        "dtype": "float32",
        "hears_audio": True,
        "method": "baseline",
        "answer_mode": "generate",
        "tools": {"answer": "lalm"},
        "prompts": prompt_hashes(Method.BASELINE),
        "max_new_tokens": 256,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "seed": 0,
        "draws": DRAWS,
        "data": {"name": "bank.jsonl", "sha256": "d" * 64},
        "modality": (),
        "shuffle_choices": False,
        "audio": "real",
        "type_source": "model",
        "content_source": "model",
        "max_audio_s": 3600.0,
    }
    return RunIdentity.model_validate({**fields, **changes})


def _answer(item: Item, draw: int, reply: str, sha256: str) -> StoredAnswer:
    fields: dict[str, Any] = dict.fromkeys(StoredAnswer.__dataclass_fields__)
    fields |= {"id": item.id, "draw": draw, "status": Status.ANSWERED, "answer": reply, "reply": reply}
    fields |= {"choice": CHOICES.index(reply), "audio_sha256": sha256, "seen": False, "seconds": 0.1}
    return StoredAnswer(**{**fields, "steps": (), "warnings": (), "confidence": 0.6})


def write_bank(folder: Path, model: Path, audio: Path, rows: list[dict[str, Any]], **changes: Any) -> None:
    """A bank as `idk sample` leaves it: questions of even index are known, the others are not."""
    folder.mkdir()
    identity = identity_of(model, **changes)
    items = sorted((item_of(row) for row in rows), key=order_key)
    write_items(folder, [RunItem(item) for item in items])
    session = Session(
        started="2026-01-01T00:00:00+00:00",
        command=("lalm-agent",),
        versions={},
        commit=None,
        dirty=None,
        device="cpu",
        batch_size=1,
        concurrency=1,
        audio_root=str(audio),
    )
    selection = Selection(limit=None, asked=len(items))
    write_record(
        folder / SPEC,
        RunSpec(
            schema=1,
            run_id=identity.run_id,
            created=session.started,
            identity=identity,
            data_version=None,
            selection=selection,
            sessions=(session,),
        ),
    )
    answers = []
    for item in items:
        known = int("".join(letter for letter in item.id if letter.isdigit())) % 4 < 2
        wrong = CHOICES[item.gold == CHOICES[0]]
        clip = load(audio / item.audio).ref.sha256
        for draw in range(DRAWS):
            answers.append(_answer(item, draw, item.gold if known and item.gold else wrong, clip))
    write_whole(folder / ANSWERS, b"".join(json_line(answer_fields(answer)) for answer in answers))


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of a test: `bank`, its clips in `bank-audio`, and `eval/bench.jsonl` with other clips."""

    path: Path
    model: Path

    @property
    def out(self) -> Path:
        return self.path / "study"

    def arguments(self, *more: str, own: bool = False, bank: str = "bank") -> list[str]:
        data = [] if own else ["--data", str(self.path / "eval" / "bench.jsonl")]
        given = ["transfer", "--bank", str(self.path / bank), "--model", str(self.model), "--out", str(self.out)]
        return [*given, *data, *FAST, "--seeds", "1", "--resamples", "100", *more]

    def transfer(self, *more: str, own: bool = False, bank: str = "bank") -> int:
        return run(self.arguments(*more, own=own, bank=bank))

    def files(self) -> dict[str, int]:
        """Every file of the adapters and runs with the time of its last change."""
        parts = [path for name in ("adapters", "runs", "forgetting") for path in (self.out / name).rglob("*")]
        return {str(path): path.stat().st_mtime_ns for path in parts if path.is_file() and path.name != "lock"}


@pytest.fixture
def study_place(tmp_path: Path, tiny_checkpoint: Path) -> Place:
    """Eight questions of each modality in the bank, four in the evaluation data."""
    rows = write_clips(tmp_path / "bank-audio", 1, 8)
    write_bank(tmp_path / "bank", tiny_checkpoint, tmp_path / "bank-audio", rows)
    asked = write_clips(tmp_path / "eval", 2, 4)
    (tmp_path / "eval" / "bench.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    return Place(tmp_path, tiny_checkpoint)
