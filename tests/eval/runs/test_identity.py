"""The identity of a run: what changes its id, and how a difference is said."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.errors import DataError
from lalm_agent.eval.runs.records import DataIdentity, RunIdentity, read_spec

CHANGES: dict[str, Any] = {
    "model": "other",
    "revision": "r2",
    "weights_sha256": "d" * 64,
    "adapter_sha256": "e" * 64,
    "dtype": "bfloat16",
    "hears_audio": False,
    "method": "idk",
    "answer_mode": "score",
    "tools": {"answer": "own:tool"},
    "prompts": {"answer": "f" * 64},
    "max_new_tokens": 8,
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 5,
    "seed": 1,
    "data": DataIdentity(name="made", sha256="0" * 64),
    "modality": ("music",),
    "shuffle_choices": True,
    "audio": "silence",
    "type_source": "oracle",
    "content_source": "none",
    "max_audio_s": 30.0,
    "adaptive": 0.9,
    "mcot_order": "printed",
    "policy": "1" * 64,
}


def test_every_field_of_the_identity_is_tried_below() -> None:
    assert set(CHANGES) == set(RunIdentity.model_fields) - {"draws"}


def test_a_run_of_an_older_version_keeps_its_id(identity: Callable[..., RunIdentity]) -> None:
    fields = identity().model_dump(mode="json", exclude={"draws", "adaptive", "mcot_order", "policy"})
    text = json.dumps(fields, sort_keys=True)
    assert identity().run_id == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_draws_are_free_to_grow(identity: Callable[..., RunIdentity]) -> None:
    assert identity(draws=5).run_id == identity().run_id
    assert identity().changes(identity(draws=5)) == []


@pytest.mark.parametrize("field", CHANGES)
def test_each_field_changes_the_id_and_is_named(identity: Callable[..., RunIdentity], field: str) -> None:
    old, new = identity(), identity(**{field: CHANGES[field]})
    assert old.run_id != new.run_id
    (line,) = old.changes(new)
    assert line.startswith(field)
    assert " in the run, " in line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be read"),
        ("[]", "spec.json"),
        ('{"schema": 99}', "version 99"),
        ('{"schema": 1}', "run_id"),
    ],
)
def test_a_spec_that_cannot_be_used_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "spec.json").write_text(text, "utf-8")
    with pytest.raises(DataError, match=said):
        read_spec(tmp_path / "spec.json")
