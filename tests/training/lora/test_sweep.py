"""Sweeps on `mini`: each value is an artefact of its own, the strength decides the run, and a stopped sweep goes on."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lalm_agent.cli.main import run
from lalm_agent.eval.metrics.estimate import Figure
from lalm_agent.training.sweep_report import PointFigures, SweepPoint, SweepReport, table_of, write_picture

pytestmark = pytest.mark.timeout(600)
RATE = 16_000
KINDS = ("Sound", "Music", "Speech")
N = 8


def questions(folder: Path, name: str, first: int) -> Path:
    """Questions about N clips of noise and tones that no other `first` has."""
    rng, times = np.random.default_rng(first), np.arange(RATE) / RATE
    rows = []
    for n in range(first, first + N):
        samples = rng.normal(0, 0.1, RATE) if n % 2 else 0.3 * np.sin(2 * np.pi * 90 * (n + 1) * times)
        soundfile.write(folder / f"{n}.wav", samples, RATE, subtype="PCM_16")
        rows.append({"id": str(n), "audio": f"{n}.wav", "question": "What is mainly heard in the clip?",
                     "choices": KINDS, "answer": KINDS[n % 3], "modality": KINDS[n % 3].lower()})  # fmt: skip
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture
def bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bank of mini with three samples, in which question n has n modulo 4 right ones: 2 of each count."""
    monkeypatch.chdir(tmp_path)
    questions(tmp_path, "train", 0)
    questions(tmp_path, "test", 100)
    assert run("idk sample train.jsonl --model mini --n 3 --out bank".split()) == 0
    path = tmp_path / "bank" / "answers.jsonl"
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for line in lines:
        number = int(line["id"])
        line["reply"] = KINDS[number % 3] if line["draw"] < number % 4 else KINDS[(number + 1) % 3]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return tmp_path / "bank"


def report_of(out: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((out / "sweep.json").read_text())
    return report


def answers(folder: Path) -> dict[str, str]:
    lines = (json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines())
    return {line["id"]: line["reply"] for line in lines}


K_FLAGS = "--train --data test.jsonl --max-steps 3 --learning-rate 0.01 --resamples 100 --device cpu".split()


def test_k_over_one_bank(bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from lalm_agent.training import sweep

    assert run(["sweep", "k", "bank", "--out", "shares", "--resamples", "100"]) == 0
    assert not (tmp_path / "shares" / "adapters").exists()
    points = report_of(tmp_path / "shares")["points"]
    assert [(p["value"], p["idk_share"]["share"], p["rows"], p["idk"]) for p in points] == [
        (1, 0.25, 8, 2), (2, 0.5, 8, 4), (3, 0.75, 8, 6),
    ]  # fmt: skip
    assert all(p["idk_share"]["low"] <= p["idk_share"]["share"] <= p["idk_share"]["high"] for p in points)
    command = ["sweep", "k", "bank", "--ks", "1,3", *K_FLAGS]
    assert run([*command, "--out", "whole"]) == 0
    trained, out = 0, tmp_path / "stopped"

    def stopping(*arguments: Any) -> Any:
        nonlocal trained
        trained += 1
        if trained == 2:
            raise KeyboardInterrupt
        return train(*arguments)

    train = sweep.train
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "train", stopping)
        assert run([*command, "--out", "stopped"]) == 130
    first = (out / "adapters" / "1" / "adapter_model.safetensors").stat().st_mtime_ns
    assert run([*command, "--out", "stopped"]) == 0
    assert (out / "adapters" / "1" / "adapter_model.safetensors").stat().st_mtime_ns == first
    assert (out / "sweep.json").read_bytes() == (tmp_path / "whole" / "sweep.json").read_bytes()
    for point in report_of(out)["points"]:
        replies = answers(out / "runs" / point["name"])
        figures = point["figures"]
        assert figures["n"] == len(replies) == N
        assert figures["rej"]["value"] == sum("idk" in reply.casefold() for reply in replies.values()) / N
    assert "<svg" in (out / "sweep.svg").read_text()
    assert "matched RGI" in (out / "sweep.md").read_text()
    capsys.readouterr()
    for more, said in {
        ("--ks", "0,1"): "K is 1 to N = 3, not 0, 1",
        ("--ks", "1,x"): "--ks takes whole numbers separated by commas",
        ("--train",): "--train and --data go together",
        ("--scorer", "mmau", "--train-modality", "birds"): "the bank has no questions of birds",
    }.items():
        assert run(["sweep", "k", "bank", "--out", "other", *more]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_alpha_of_one_adapter(bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("idk build bank --k 2 --out rows.jsonl".split()) == 0
    command = "train --data rows.jsonl --max-steps 12 --learning-rate 0.02 --alpha 8 --device cpu --out adapter".split()
    assert run(command) == 0
    sweep = "sweep alpha adapter --data test.jsonl --resamples 100 --device cpu".split()
    assert run([*sweep, "--factors", "0,1,4", "--out", "dial"]) == 0
    report = report_of(tmp_path / "dial")
    assert [(point["name"], point["value"]) for point in report["points"]] == [("0", 0), ("1", 8), ("4", 32)]
    runs = tmp_path / "dial" / "runs"
    assert answers(runs / "0") == answers(runs / "baseline")
    assert run("eval test.jsonl --method lora --adapter adapter --device cpu --out direct".split()) == 0
    assert answers(runs / "1") == answers(tmp_path / "direct") != answers(runs / "baseline")
    # The strength is a part of what a run is.
    identities = [json.loads((runs / name / "spec.json").read_text())["identity"] for name in ("0", "1", "4")]
    assert len({identity["adapter_sha256"] for identity in identities}) == 3
    capsys.readouterr()
    assert run([*sweep, "--factors", "1", "--anew", "train.jsonl", "--out", "anew"]) == 2
    assert run([*sweep, "--factors", "-1", "--out", "anew"]) == 2
    assert "a factor of alpha is a number from 0 on" in capsys.readouterr().err
    assert run([*sweep, "--factors", "1,2", "--anew", "rows.jsonl", "--out", "dial"]) == 2
    assert "is another sweep; what differs: kind" in capsys.readouterr().err
    assert run([*sweep, "--factors", "1,2", "--anew", "rows.jsonl", "--out", "anew"]) == 0
    adapters = tmp_path / "anew" / "adapters"
    alphas = [json.loads((adapters / n / "spec.json").read_text())["identity"]["recipe"]["alpha"] for n in ("1", "2")]
    assert alphas == [8, 16]
    weights = [path / "adapter_model.safetensors" for path in (tmp_path / "adapter", adapters / "1", adapters / "2")]
    assert weights[0].read_bytes() == weights[1].read_bytes() != weights[2].read_bytes()


def test_what_is_undefined_is_in_the_table_and_not_in_the_picture(tmp_path: Path) -> None:
    finite = Figure(value=0.5, low=0.4, high=0.6, kind="finite", low_kind="finite", high_kind="finite")
    infinite = Figure(value=None, kind="+inf")
    figures = PointFigures(n=9, n_clips=9, acc=finite, rej=finite, rel=finite, rgi=infinite, no_match="why")
    points = (
        SweepPoint(name="1", value=1, blank="one class: nothing to train on"),
        SweepPoint(name="2", value=2, figures=figures),
    )
    report = SweepReport(kind="k", model="m", source="s", data="d", points=points, resamples=100, seed=0, level=0.95)
    first, second = table_of(report).rows
    assert first == ("1", *"-" * 10, "one class: nothing to train on")
    assert second[4:] == ("9", *["50.0 [40.0, 60.0]"] * 3, infinite.text, "-", "-", "why")
    write_picture(tmp_path / "a.svg", report)
    write_picture(tmp_path / "b.svg", report)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
