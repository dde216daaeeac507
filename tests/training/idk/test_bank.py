"""A bank as it is read from a run folder, and its hash."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.artefacts import record_text
from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.items import Item
from lalm_agent.eval.runs.folder import write_items
from lalm_agent.eval.runs.records import SCHEMA, AudioControl, DataIdentity, RunIdentity, RunItem, RunSpec, Selection
from lalm_agent.training import BuildRequest, build_idk
from lalm_agent.training.idk.bank import Bank, bank_sha256, read_bank, require_draws
from lalm_agent.training.idk.sets import read_manifest

IDENTITY = RunIdentity(
    model="made",
    revision=None,
    weights_sha256=None,
    adapter_sha256=None,
    dtype="none",
    hears_audio=True,
    method="baseline",
    answer_mode="generate",
    tools={"answer": "lalm"},
    prompts={},
    max_new_tokens=8,
    temperature=1.0,
    top_p=1.0,
    top_k=0,
    seed=0,
    draws=3,
    data=DataIdentity(name="made", sha256="c" * 64),
    modality=(),
    shuffle_choices=True,
    audio="real",
    type_source="model",
    content_source="model",
    max_audio_s=60.0,
)


def line(draw: int, reply: str | None, **fields: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(
        "answer choice prompt audio_type content confidence reason audio_s heard_s heard_clip failure".split()
    )
    there = {"id": "q", "draw": draw, "status": "answered" if reply else "failed", "reply": reply}
    return {**nothing, **there, "audio_sha256": "a" * 64, "seen": False, "steps": [], "warnings": [], "seconds": 1.0,
            **fields}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    """A bank of one question, its choices shuffled; given its lines."""

    def make(*lines: dict[str, Any], identity: RunIdentity = IDENTITY) -> Path:
        spec = RunSpec(
            schema=SCHEMA, run_id=identity.run_id, created="", identity=identity, data_version=None,
            selection=Selection(limit=None, asked=1), sessions=(),
        )  # fmt: skip
        (tmp_path / "spec.json").write_text(record_text(spec), "utf-8")
        write_items(tmp_path, [RunItem(Item("q", "q.wav", "What?", ("dog", "cat"), "dog"), ((0, 1), (1, 0), (0, 1)))])
        (tmp_path / "answers.jsonl").write_text("".join(json.dumps(fields) + "\n" for fields in lines), "utf-8")
        return tmp_path

    return make


def test_samples_by_draw(folder: Any) -> None:
    bank = read_bank(folder(line(1, "(a)", confidence=0.5), line(2, None)))
    (question,) = bank.questions
    assert question.samples[0] is question.samples[2] is None
    sample = question.samples[1]
    assert sample is not None
    assert (sample.reply, sample.choices, sample.confidence) == ("(a)", ("cat", "dog"), 0.5)
    assert question.audio_sha256 == question.clip == "a" * 64
    assert (bank.identity.draws, bank.audio_root) == (3, None)


def test_a_bank_of_silence_does_not_know_its_clips(folder: Any) -> None:
    bank = read_bank(folder(line(0, "dog"), identity=IDENTITY.model_copy(update={"audio": AudioControl.SILENCE})))
    assert bank.questions[0].audio_sha256 is None
    assert bank.questions[0].clip == "q.wav"


def test_a_clip_that_changed_is_noticed(folder: Any) -> None:
    with pytest.raises(DataError, match="the clip of question 'q' changed between two draws"):
        read_bank(folder(line(0, "dog"), line(1, "dog", audio_sha256="b" * 64)))


def test_what_is_no_bank(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no bank"):
        read_bank(tmp_path)


def test_the_hash_is_that_of_the_samples_used(folder: Any) -> None:
    path = folder(line(0, "dog"), line(1, "dog"))
    first: Bank = read_bank(path)
    folder(line(1, "dog", seconds=9.0), line(0, "dog"), line(2, "cat"))
    grown = read_bank(path)
    assert bank_sha256(first, 2) == bank_sha256(grown, 2)
    assert bank_sha256(first, 3) != bank_sha256(grown, 3)
    assert bank_sha256(first, 1) != bank_sha256(first, 2)
    assert bank_sha256(replace(first, run_id="other"), 2) != bank_sha256(first, 2)
    folder(line(0, "dog"), line(1, "cat"))
    assert bank_sha256(read_bank(path), 2) != bank_sha256(first, 2)


def test_no_more_draws_than_were_asked_for(folder: Any) -> None:
    bank = read_bank(folder(line(0, "dog")))
    require_draws(bank, 3)
    for n in (0, 4):
        with pytest.raises(UsageError, match=f"the bank has 3 draws, not {n}"):
            require_draws(bank, n)


def test_a_set_is_built_without_the_command_line(folder: Any) -> None:
    bank, lines = folder(line(0, "dog"), line(1, "(b)"), line(2, "cat")), []
    request = BuildRequest(bank=bank, out=bank / "idk.jsonl", k=2, compare=("mmau",), one_class=True)
    idk = build_idk(request, lines.append)
    assert lines == ["note: the bank does not say where its clips are; the paths stay as in the data"]
    assert read_manifest(bank / "idk.jsonl") == idk.manifest
    assert (idk.manifest.n, idk.manifest.k, idk.manifest.scorer, idk.manifest.audio_root) == (3, 2, "rule", None)
    # The second draw showed cat first, so (b) is the dog; the string match does not read a label.
    assert idk.manifest.counts["total"] == {"n": 1, "idk": 0, "kept": 1}
    assert idk.manifest.flips == {"mmau": {"compared": 1, "to_idk": 1, "to_kept": 0}}
    rows = (bank / "idk.jsonl").read_bytes()
    with pytest.raises(UsageError, match="is there and differs"):
        build_idk(replace(request, k=1), lines.append)
    assert (bank / "idk.jsonl").read_bytes() == rows
    build_idk(replace(request, k=3, replace=True))
    assert json.loads((bank / "idk.jsonl").read_text("utf-8"))["target"] == "IDK"


def test_a_manifest_of_other_rows_or_of_a_newer_version_is_refused(folder: Any) -> None:
    bank = folder(line(0, "dog"), line(1, "dog"), line(2, "dog"))
    path, meta = bank / "idk.jsonl", bank / "idk.jsonl.meta.json"
    build_idk(BuildRequest(bank=bank, out=path, compare=(), one_class=True))
    text = meta.read_text("utf-8")
    meta.write_text(text.replace('"schema": 1', '"schema": 2'), "utf-8")
    with pytest.raises(DataError, match="is of version 2, this program reads up to 1"):
        read_manifest(path)
    meta.write_text(text, "utf-8")
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(DataError, match="is the manifest of other rows"):
        read_manifest(path)
