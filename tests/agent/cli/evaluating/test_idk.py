"""`lalm-agent idk` end to end: what a bank asks for, and what is made of it, with a model of one's own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.cli.main import run
from lalm_agent.registry import install_line
from lalm_agent.training.idk.bank import bank_sha256, read_bank
from lalm_agent.training.idk.sets import read_manifest

Said = Callable[[], tuple[str, str]]


def sample(*arguments: str, out: str = "bank") -> int:
    return run(["idk", "sample", "bench.jsonl", "--model", "eval_model:Hears", "--out", out, *arguments])


def rows_of(name: str = "idk.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(name).read_text("utf-8").splitlines()]


@pytest.fixture
def bank(place: Any, said: Said) -> Any:
    """Five samples of each question; a sample is right one time in six."""
    assert sample() == 0
    said()
    return place


def test_a_bank_is_a_run_that_asks_question_by_question(place: Any, said: Said) -> None:
    assert sample("--n", "3") == 0
    out, _ = said()
    assert "next: lalm-agent idk curve bank\n" in out
    spec = place.spec("bank")
    assert (spec["identity"]["draws"], spec["identity"]["temperature"]) == (3, 1.0)
    assert (spec["sessions"][0]["batch_size"], spec["sessions"][0]["concurrency"]) == (3, 3)
    assert spec["sessions"][0]["audio_root"] == str(place.path)
    assert len(place.asks()) == 72
    (place.path / "asks.log").unlink()
    assert sample("--n", "3", "--concurrency", "1", "--batch-size", "1", out="one") == 0
    draws = [(key, draw) for key, draw, *_ in place.asks()]
    assert [draw for _, draw in draws] == [0, 1, 2] * 24
    assert [key for key, _ in draws[::3]] == [key for key, _ in draws[2::3]]
    assert place.answers("one") == place.answers("bank")


def test_a_larger_n_asks_for_the_missing_samples_alone(place: Any, said: Said) -> None:
    assert sample("--n", "2", "--shuffle-choices") == 0
    first, run_id = place.answers("bank"), place.spec("bank")["run_id"]
    assert sample("--n", "5", "--shuffle-choices") == 0
    assert "resume: 48 answers are there, 72 are left" in said()[1]
    draws = [(key, draw) for key, draw, *_ in place.asks()]
    assert len(draws) == len(set(draws)) == 120
    grown = place.answers("bank")
    assert {key: grown[key] for key in first} == first
    assert place.spec("bank")["run_id"] == run_id
    assert sample("--n", "5", "--shuffle-choices", out="at-once") == 0
    assert place.answers("at-once") == grown
    assert bank_sha256(read_bank(Path("bank")), 5) == bank_sha256(read_bank(Path("at-once")), 5)


def test_a_smaller_n_uses_the_first_samples(bank: Any, said: Said) -> None:
    before = (bank.path / "bank" / "items.jsonl").read_bytes()
    assert sample("--n", "2") == 0
    assert "nothing to do" in said()[1]
    assert len(bank.asks()) == 120
    assert (bank.path / "bank" / "items.jsonl").read_bytes() == before
    assert bank.spec("bank")["identity"]["draws"] == 5
    assert run(["idk", "curve", "bank", "--n", "2", "--json"]) == 0
    assert json.loads(said()[0])["n"] == 2


def test_other_settings_are_another_bank(bank: Any, said: Said) -> None:
    assert sample("--temperature", "0.5") == 2
    assert "differs: temperature: 1.0 in the run, 0.5 now" in said()[1]
    assert sample("--temperature", "0", out="greedy") == 2
    assert "5 draws without a temperature would all be the same" in said()[1]
    assert sample("--method", "idk", out="other") == 2


def test_the_curve(bank: Any, said: Said) -> None:
    assert run(["idk", "curve", "bank", "--json", "--with", "mmau,lmms"]) == 0
    printed = json.loads(said()[0])
    assert list(printed["groups"]) == ["total", "music", "sound", "speech"]
    total = printed["groups"]["total"]
    assert (total["n"], total["n_clips"], len(total["shares"])) == (24, 12, 5)
    right = [
        sum(line["reply"] == row["answer"] for (key, _), line in bank.answers("bank").items() if key == row["id"])
        for row in bank.rows()
    ]
    assert total["by_right"] == [right.count(n) for n in range(6)]
    assert [flip["scorer"] for flip in printed["flips"]] == ["mmau", "lmms"]
    assert sum(printed["draws"][0][outcome] for outcome in ("correct", "wrong", "abstained", "unparsed")) == 24
    assert run(["idk", "curve", "bank", "--markdown"]) == 0
    out = said()[0]
    assert "| IDK %" in out
    assert "| mmau" in out


@pytest.mark.parametrize("name", ["curve.png", "curve.svg"])
def test_the_picture_names_its_bank(bank: Any, said: Said, name: str) -> None:
    assert run(["idk", "curve", "bank", "--plot", name]) == 0
    first = (bank.path / name).read_bytes()
    assert bank.spec("bank")["run_id"].encode() in first
    assert run(["idk", "curve", "bank", "--plot", name]) == 0
    assert (bank.path / name).read_bytes() == first


def test_pictures_that_cannot_be_made(bank: Any, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(["idk", "curve", "bank", "--plot", "curve.pdf"]) == 2
    assert "neither a .png nor an .svg" in said()[1]
    monkeypatch.setattr("lalm_agent.registry.is_installed", lambda module: module != "matplotlib")
    assert run(["idk", "curve", "bank", "--plot", "curve.png"]) == 2
    assert f"try: {install_line('draw')}" in said()[1]


def test_a_set_and_its_manifest(bank: Any, said: Said) -> None:
    assert run(["idk", "build", "bank", "--k", "1", "--out", "idk.jsonl"]) == 0
    assert "written: idk.jsonl" in said()[0]
    rows, manifest = rows_of(), read_manifest(Path("idk.jsonl"))
    assert manifest.counts["total"] == {"n": 24, "idk": sum(row["is_idk"] for row in rows),
                                        "kept": sum(not row["is_idk"] for row in rows)}  # fmt: skip
    assert manifest.origin.bank_sha256 == bank_sha256(read_bank(Path("bank")), 5)
    answers = bank.answers("bank")
    for row in rows:
        stored = [answers[row["id"], draw] for draw in range(5)]
        assert row["n_right"] == sum(line["reply"] == row["gold"] for line in stored)
        assert row["is_idk"] is (row["n_right"] == 0)
        assert row["prompt"] == stored[0]["prompt"]
        assert row["audio_sha256"] == stored[0]["audio_sha256"]
        assert Path(row["audio"]) == bank.path / f"{row['id'][:-1]}.wav"
        assert row["origin"]["run"] == bank.spec("bank")["run_id"]
    before = Path("idk.jsonl").read_bytes(), Path("idk.jsonl.meta.json").read_bytes()
    assert run(["idk", "build", "bank", "--k", "1", "--out", "idk.jsonl", "--json"]) == 0
    assert json.loads(said()[0])["counts"] == manifest.counts
    assert (Path("idk.jsonl").read_bytes(), Path("idk.jsonl.meta.json").read_bytes()) == before
    assert len(bank.asks()) == 120


def test_a_file_that_differs_is_not_replaced(bank: Any, said: Said) -> None:
    Path("idk.jsonl").write_text("mine\n", "utf-8")
    command = ["idk", "build", "bank", "--k", "1", "--out", "idk.jsonl"]
    assert run(command) == 2
    assert "error: idk.jsonl is there and differs" in said()[1]
    assert Path("idk.jsonl").read_text("utf-8") == "mine\n"
    assert run([*command, "--force"]) == 0
    assert len(rows_of()) == 24


def test_nothing_is_written_for_a_set_that_teaches_nothing(bank: Any, said: Said) -> None:
    for arguments, message in (
        (["--k", "5"], "error: all 24 questions are IDK, so nothing would be left to answer"),
        (["--k", "0"], "error: all 24 questions are kept, so no refusal would be learned"),
        (["--n", "9"], "error: the bank has 5 draws, not 9"),
        (["--rule", "luck"], "'luck' is not one of 'kn', 'entropy', 'confidence'"),
        (["--rule", "confidence", "--k", "1"], "error: the bank has no confidence for question"),
        (["--scorer", "nobody"], "error: unknown scorer: nobody"),
        (["--drop-blind"], "error: --drop-blind needs a blind bank"),
        (["--audio-root", "elsewhere", "--k", "1"], "error: 12 clips are not under elsewhere"),
    ):
        assert run(["idk", "build", "bank", "--out", "idk.jsonl", *arguments]) == 2
        assert message in said()[1]
        assert not list(bank.path.glob("idk.jsonl*"))
    assert run(["idk", "build", "bank", "--k", "0", "--out", "idk.jsonl", "--allow-one-class"]) == 0
    assert not any(row["is_idk"] for row in rows_of())
    assert run(["idk", "build", ".", "--out", "x.jsonl"]) == 2
    assert "error: . is no bank" in said()[1]


def test_failed_samples_are_undefined(place: Any, said: Said) -> None:
    assert sample("--n", "2") == 0
    (place.path / "broken").write_text("out of order", "utf-8")
    assert sample("--n", "3", "--concurrency", "1") == 2
    (place.path / "broken").unlink()
    said()
    assert run(["idk", "curve", "bank", "--json"]) == 0
    printed = json.loads(said()[0])
    assert (printed["n"], printed["undefined"], printed["groups"]["total"]["n"]) == (3, 24, 0)
    assert run(["idk", "build", "bank", "--out", "idk.jsonl"]) == 2
    assert "no question is left to build from: 24 undefined" in said()[1]
    assert run(["idk", "build", "bank", "--n", "2", "--k", "1", "--out", "idk.jsonl"]) == 0


def test_a_blind_bank_marks_what_needs_no_clip(bank: Any, said: Said) -> None:
    assert sample("--audio", "silence", out="blind") == 0
    build = ["idk", "build", "bank", "--k", "1", "--blind"]
    assert run([*build, "blind", "--out", "idk.jsonl"]) == 0
    marked = [row for row in rows_of() if row["blind"]]
    assert 0 < len(marked) < 24
    assert read_manifest(Path("idk.jsonl")).blind["solved"] == len(marked)
    assert run([*build, "blind", "--out", "dropped.jsonl", "--drop-blind"]) == 0
    assert not any(row["blind"] for row in rows_of("dropped.jsonl"))
    assert len(rows_of("dropped.jsonl")) == 24 - len(marked)
    said()
    assert run([*build, "bank", "--out", "x.jsonl"]) == 2
    assert "the blind bank was sampled with the clips" in said()[1]
    assert run(["idk", "build", "blind", "--out", "x.jsonl"]) == 2
    assert "blind was sampled without the clips" in said()[1]
    assert sample("--audio", "silence", "--temperature", "0.5", out="other") == 0
    assert run([*build, "other", "--out", "x.jsonl"]) == 2
    assert "the blind bank differs in more than the clip: temperature" in said()[1]


def test_an_agents_bank_samples_the_answer_alone(place: Any) -> None:
    assert sample("--method", "agent", "--n", "3") == 0
    assert len(place.asks()) == 24 * 3 + 12 + 12
    assert run(["idk", "build", "bank", "--k", "1", "--out", "idk.jsonl"]) == 0
    row = rows_of()[0]
    assert (row["method"], row["audio_type"], row["content"]) == ("agent", "sound", "something")
    assert row["prompt"].startswith("The Sound content is: something Which animal")
    assert row["prompt"].endswith("Output 'IDK' if you don't know the answer.")


def test_a_bank_of_other_prompts_is_refused(place: Any, said: Said) -> None:
    assert place.eval("--method", "mcot", "--draws", "2", "--temperature", "1") == 0
    assert run(["idk", "curve", "out"]) == 0
    said()
    assert run(["idk", "build", "out", "--k", "1", "--out", "idk.jsonl"]) == 2
    assert "out was asked by mcot" in said()[1]


def test_labels_by_a_language_model(bank: Any, said: Said) -> None:
    """The normaliser's model selects cow for everything; what it said is kept in the bank's folder."""
    Path("script.jsonl").write_text('{"match": "According to the answer", "reply": "cow"}\n', "utf-8")
    command = ["idk", "build", "bank", "--k", "1", "--scorer", "llm:scripted:script.jsonl", "--with", "rule"]
    assert run([*command, "--out", "idk.jsonl"]) == 0
    assert all(row["is_idk"] is (row["gold"] != "cow") for row in rows_of())
    manifest = read_manifest(Path("idk.jsonl"))
    assert manifest.scorer == "llm:scripted:script.jsonl"
    assert sum(manifest.flips["rule"][way] for way in ("to_idk", "to_kept")) > 0
    assert len(list((bank.path / "bank" / "scores").iterdir())) == 1
    said()
    assert run([*command, "--out", "again.jsonl"]) == 0
    assert " asked" not in said()[1]
