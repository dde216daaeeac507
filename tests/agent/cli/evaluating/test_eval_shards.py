"""`eval --shard i/n` and `lalm-agent merge`: the shards of a run are the run."""

import json
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.cli.main import run
from lalm_agent.eval.runs.folder import run_outputs

FIRST = ("--method", "agent", "--shuffle-choices")


def shards(place: Any, of: int, *arguments: str, among: Any = None) -> list[str]:
    """Ask some shards, all by default; their folders."""
    numbers = list(among or range(1, of + 1))
    for number in numbers:
        assert place.eval(*(arguments or FIRST), "--shard", f"{number}/{of}", out=f"s{number}") == 0
    return [f"s{number}" for number in numbers]


def timeless(path: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for line in lines:
        line.pop("seconds")
        for step in line["steps"]:
            step.pop("seconds")
    return lines


@pytest.mark.parametrize("arguments", [FIRST, (*FIRST, "--limit", "13"), ("--method", "idk", "--modality", "music")])
def test_merged_shards_are_the_unsharded_run_file_by_file(place: Any, said: Any, arguments: tuple[str, ...]) -> None:
    assert place.eval(*arguments) == 0
    folders = shards(place, 3, *arguments)
    heard = [{row["audio"] for row in items(place, folder)} for folder in folders]
    assert all(heard)
    assert sum(map(len, heard)) == len(set().union(*heard)), "a clip is in one shard"
    said()
    assert run(["merge", *reversed(folders), "--out", "merged"]) == 0
    assert f"{len(items(place, 'out'))} answers: " in said()[0]
    whole, merged = place.path / "out", place.path / "merged"
    assert {path.name for path in merged.iterdir()} <= {path.name for path in whole.iterdir()}
    assert (merged / "items.jsonl").read_bytes() == (whole / "items.jsonl").read_bytes()
    assert timeless(merged / "answers.jsonl") == timeless(whole / "answers.jsonl")
    specs = [place.spec("out"), place.spec("merged")]
    assert len(specs[1]["sessions"]) == 3
    for spec in specs:
        del spec["sessions"], spec["created"]
    assert specs[0] == specs[1]
    scores = [run_outputs(path) for path in (whole, merged)]
    assert (scores[0].items, scores[0].by_id) == (scores[1].items, scores[1].by_id)
    asked = len(place.asks())
    assert place.eval(*arguments, out="merged") == 0, "it is a run as any"
    assert len(place.asks()) == asked
    assert run(["merge", *folders, "--out", "merged"]) == 0, "the same again changes nothing"


def items(place: Any, folder: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (place.path / folder / "items.jsonl").read_text("utf-8").splitlines()]


def test_a_shard_is_resumed_grows_and_says_what_it_is(place: Any, said: Any) -> None:
    assert place.eval("--method", "idk", "--limit", "10", "--shard", "1/2") == 0
    few = len(place.asks())
    assert place.eval("--method", "idk", "--shard", "1/2") == 0
    assert len(place.asks()) == 12 > few
    assert "shard 1/2 of a run" in " ".join(run_outputs(place.path / "out").warnings)
    said()
    for arguments in (("--shard", "2/2"), ()):
        assert place.eval("--method", "idk", *arguments) == 2
        assert "differs: shard: 1/2 in the run, " in said()[1]
    assert place.eval("--method", "idk", "--shard", "1/2", "--limit", "10") == 2
    assert "error: --limit 10 leaves out " in said()[1]


def test_a_bank_is_merged_as_a_run_is(place: Any) -> None:
    command = ["idk", "sample", "bench.jsonl", "--model", "eval_model:Hears", "--n", "3"]
    for out, more in {"bank": [], "b1": ["--shard", "1/2"], "b2": ["--shard", "2/2"]}.items():
        assert run([*command, "--out", out, *more]) == 0
    assert run(["merge", "b1", "b2", "--out", "merged"]) == 0
    assert place.answers("merged") == place.answers("bank")
    assert len(place.answers("merged")) == 72
    assert place.spec("merged")["items_sha256"] == place.spec("bank")["items_sha256"]


def test_shards_that_are_missing_or_not_finished_are_named(place: Any, said: Any) -> None:
    folders = shards(place, 4, "--method", "baseline", among=(1, 3))
    said()
    assert run(["merge", *folders, "--out", "merged"]) == 2
    assert "error: shards are missing: 2/4, 4/4" in said()[1]
    assert place.eval("--method", "baseline", "--shard", "2/4", "--max-requests", "2", out="s2") == 2
    shards(place, 4, "--method", "baseline", among=(4,))
    said()
    assert run(["merge", *folders, "s2", "s4", "--out", "merged"]) == 2
    err = said()[1]
    assert "error: s2 (shard 2/4) is not finished: 4 of 6 answers are missing" in err
    assert not (place.path / "merged").exists()


def test_shards_of_other_runs_are_refused_field_by_field(place: Any, said: Any) -> None:
    shards(place, 2, "--method", "baseline", among=(1,))
    assert place.eval("--method", "idk", "--shard", "2/2", out="s2") == 0
    assert place.eval("--method", "baseline", "--shard", "3/3", out="s3") == 0
    assert place.eval("--method", "baseline", out="whole") == 0
    said()
    for other, words in {
        "s2": "differs: method: baseline there, idk here",
        "s3": "differs: shards: 2 there, 3 here",
        "whole": "error: whole is no shard of a run",
        "adapter": "error: adapter is no run",
    }.items():
        assert run(["merge", "s1", other, "--out", "merged"]) == 2
        assert words in said()[1]


def test_one_shard_twice_must_say_the_same(place: Any, said: Any) -> None:
    folders = shards(place, 2, "--method", "baseline")
    assert place.eval("--method", "baseline", "--shard", "1/2", out="again") == 0
    assert run(["merge", *folders, "again", "--out", "merged"]) == 0
    path = place.path / "again" / "answers.jsonl"
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    lines[0]["reply"] = "something else"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    said()
    assert run(["merge", *folders, "again", "--out", "other"]) == 2
    assert f"again has another answer to question {lines[0]['id']!r}" in said()[1]
    assert run(["merge", *folders, "--out", "again"]) == 2
    assert "again is there and is not the run of these shards" in said()[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--shard", "0/4"), "'0/4' is no shard"),
        (("--shard", "5/4"), "'5/4' is no shard"),
        (("--shard", "two"), "'two' is no shard"),
        (("--shard", "1/13"), "12 clips cannot be 13 shards"),
        (("--shard", "1/2", "--limit", "9", "--skip-missing"), "would ask other questions on each machine"),
    ],
)
def test_what_is_no_shard_is_refused(place: Any, said: Any, arguments: tuple[str, ...], words: str) -> None:
    assert place.eval("--method", "baseline", *arguments) == 2
    assert words in said()[1]
    assert not place.asks()


def test_only_the_clips_of_a_shard_have_to_be_there(place: Any, said: Any) -> None:
    assert place.eval("--method", "baseline") == 0
    shards(place, 2, "--method", "baseline", among=(1,))
    for row in items(place, "s1"):
        (place.path / row["audio"]).unlink(missing_ok=True)
    shards(place, 2, "--method", "baseline", among=(2,))
    said()
    assert place.eval("--method", "baseline", "--audio", "swap", "--shard", "2/2", out="swapped") == 2
    assert "--audio swap needs all clips in every shard" in said()[1]
    assert run(["merge", "s1", "s2", "--out", "merged"]) == 0
    assert place.answers("merged") == place.answers("out")
