"""The flags of `lalm-agent idk build` that choose rows, labels and wordings, each against the set without it."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.cli.main import run
from lalm_agent.prompts.refusing import held_out_refusals, refusal_pool
from lalm_agent.training.idk.bank import is_held_out
from lalm_agent.training.idk.sets import Manifest, read_manifest

Rows = dict[str, dict[str, Any]]


def built(*flags: str, out: str = "idk.jsonl") -> tuple[Rows, Manifest]:
    """The set of 2@5, by question."""
    assert run(["idk", "build", "bank", "--k", "2", "--out", out, *flags]) == 0
    rows = [json.loads(line) for line in Path(out).read_text("utf-8").splitlines()]
    return {row["id"]: row for row in rows}, read_manifest(Path(out))


def without_the_ambiguous(rows: Rows, plain: Rows, manifest: Manifest) -> None:
    ambiguous = {id_ for id_, row in plain.items() if row["n_right"] == 1}
    assert 0 < len(ambiguous) == manifest.left_out["ambiguous"]
    assert rows == {id_: row for id_, row in plain.items() if id_ not in ambiguous}


def as_many_of_each(rows: Rows, plain: Rows, manifest: Manifest) -> None:
    kept = sum(not row["is_idk"] for row in plain.values())
    assert manifest.counts["total"] == {"n": 2 * kept, "idk": kept, "kept": kept}
    assert manifest.left_out["balance"] == len(plain) - 2 * kept > 0
    assert rows.items() <= plain.items()


def clips_left_out_by_hash(rows: Rows, plain: Rows, manifest: Manifest) -> None:
    out = {row["audio_sha256"] for row in plain.values() if is_held_out(row["audio_sha256"], 0.4)}
    assert 0 < len(out) < 12
    assert sorted(out) == list(manifest.held_out["clips"])
    assert rows == {id_: row for id_, row in plain.items() if row["audio_sha256"] not in out}


def all_kept(rows: Rows, plain: Rows, manifest: Manifest) -> None:
    assert list(rows) == list(plain)
    assert [row["target"] for row in rows.values()] == [row["gold"] for row in plain.values()]
    assert (manifest.control, manifest.share) == ("kept", 0.0)


def idk_elsewhere(rows: Rows, plain: Rows, manifest: Manifest) -> None:
    def idk(some: Rows) -> dict[str, str]:
        return {id_: row["modality"] for id_, row in some.items() if row["is_idk"]}

    assert list(rows) == list(plain)
    assert Counter(idk(rows).values()) == Counter(idk(plain).values())
    assert idk(rows) != idk(plain)
    assert manifest.control == "random"


def worded_from_the_pool(rows: Rows, plain: Rows, manifest: Manifest) -> None:
    assert {id_: row["is_idk"] for id_, row in rows.items()} == {id_: row["is_idk"] for id_, row in plain.items()}
    assert {row["target"] for row in plain.values() if row["is_idk"]} == {"IDK"}
    said = {row["target"] for row in rows.values() if row["is_idk"]}
    assert len(said) > 3
    assert said <= set(refusal_pool()) == set(manifest.refusals)
    assert set(manifest.held_out_refusals) == set(held_out_refusals())
    assert not said & set(held_out_refusals())
    assert all(rows[id_] == row for id_, row in plain.items() if not row["is_idk"])


@pytest.mark.parametrize(
    ("flags", "holds"),
    [
        (["--drop-ambiguous"], without_the_ambiguous),
        (["--balance"], as_many_of_each),
        (["--hold-out", "0.4"], clips_left_out_by_hash),
        (["--control", "kept"], all_kept),
        (["--control", "random"], idk_elsewhere),
        (["--refusals", "pool"], worded_from_the_pool),
    ],
)
def test_a_flag_changes_what_it_says_and_nothing_else(
    flags: list[str], holds: Callable[[Rows, Rows, Manifest], None], place: Any
) -> None:
    assert run(["idk", "sample", "bench.jsonl", "--model", "eval_model:Hears", "--out", "bank"]) == 0
    plain, without = built(out="plain.jsonl")
    assert (without.counts["total"]["n"], sum(without.left_out.values())) == (24, 0)
    rows, manifest = built(*flags)
    holds(rows, plain, manifest)
    assert manifest.origin == without.origin


def test_flags_are_taken_together(place: Any) -> None:
    assert run(["idk", "sample", "bench.jsonl", "--model", "eval_model:Hears", "--out", "bank"]) == 0
    flags = ["--drop-ambiguous", "--balance", "--hold-out", "0.2", "--refusals", "pool"]
    rows, manifest = built(*flags)
    control, of_control = built(*flags, "--control", "random", out="control.jsonl")
    assert list(rows) == list(control)
    assert manifest.counts["total"] == of_control.counts["total"]
    assert not any(row["n_right"] == 1 or is_held_out(row["audio_sha256"], 0.2) for row in rows.values())
