"""A run as a log of inspect: what inspect's own reader finds in it, and what ours makes of it again."""

import asyncio
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lalm_agent.cli.main import run
from lalm_agent.eval.grade import RuleScorer, grades_of, kind_of
from lalm_agent.eval.reading.predictions import read_outputs
from lalm_agent.eval.report import inspect_export
from lalm_agent.eval.runs.folder import ANSWERS

log_api = pytest.importorskip("inspect_ai.log")
Said = Callable[[], tuple[str, str]]

REPLIES = ["dog", "The answer is dog.", "I do not know.", "hm", "frog", "I cannot hear the audio.", "cow", ""]


def edited(folder: Path, changes: dict[str, dict[str, Any] | None]) -> None:
    """Other fields in the answers to some questions, or no answer at all."""
    rows = [json.loads(line) for line in (folder / ANSWERS).read_text("utf-8").splitlines()]
    kept = [row | (changes.get(row["id"]) or {}) for row in rows if changes.get(row["id"], row) is not None]
    (folder / ANSWERS).write_text("".join(json.dumps(row) + "\n" for row in kept), "utf-8")


WITHHELD = {"status": "abstained", "abstention": "not_confident", "withheld": "dog", "answer": None, "choice": None}
FAILED = {"status": "failed", "reply": None, "answer": None, "choice": None}
FAILED |= {"failure": {"node": "answer", "message": "out of memory", "hint": None, "exit_code": 2, "kind": None}}


@pytest.fixture(scope="module")
def folder(bench: Any) -> Path:
    """An agent's run with every outcome, a withheld answer and one that a failure took; q7 has no right answer."""
    bench.rows[7] |= {"answer": None, "answerable": False, "id": "a/b.wav/single"}
    made: Path = bench.ask("exported", [REPLIES[at % 8] for at in range(24)], "agent")
    edited(made, {"q8": WITHHELD, "q9": FAILED})
    return made


@pytest.fixture(scope="module")
def log_file(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "run.eval"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inspect_export, "_IN_MEMORY", 5)
        assert run(["export", str(folder), "-o", str(out)]) == 0
    return out


def outcomes(source: Path) -> dict[str, tuple[Any, ...]]:
    outputs = read_outputs(source)
    grades = grades_of(RuleScorer(), outputs.items, [outputs.by_id.get(item.id) for item in outputs.items])
    pairs = zip(outputs.items, grades, strict=True)
    return {
        item.id: (grade.outcome, kind_of(grade), grade.chosen, item.choices, item.gold, item.modality, item.audio)
        for item, grade in pairs
    }


def test_our_reader_finds_the_same_questions_and_outcomes(folder: Path, log_file: Path) -> None:
    expected = outcomes(folder)
    assert outcomes(log_file) == expected
    assert len({outcome for outcome, *_ in expected.values()}) == 5
    confidence = [{id: output.confidence for id, output in read_outputs(at).by_id.items()} for at in (folder, log_file)]
    assert confidence[0] == confidence[1]


def test_score_and_rescore_say_the_same_of_run_and_log(folder: Path, log_file: Path, said: Said) -> None:
    assert run(["score", str(folder), str(log_file), "--json", "--resamples", "10"]) == 0
    first, second = (method["groups"] for method in json.loads(said()[0])["methods"])
    assert [group["counts"] for group in first.values()] == [group["counts"] for group in second.values()]
    assert first["total"]["acc"]["value"] == second["total"]["acc"]["value"]
    accuracy = log_api.read_eval_log(str(log_file), header_only=True).results.scores[0].metrics["accuracy"].value
    assert accuracy == pytest.approx(first["total"]["acc"]["value"])
    figures = []
    for source in (folder, log_file):
        assert run(["rescore", str(source), "--with", "rule", "--json"]) == 0
        figures.append(json.loads(said()[0])["scorers"])
    assert figures[0] == figures[1]


def test_inspects_reader_finds_samples_scores_steps_and_errors(folder: Path, log_file: Path) -> None:
    log = log_api.read_eval_log(str(log_file))
    assert (log.status, log.eval.model.partition(":")[0], log.eval.dataset.samples) == ("success", "scripted", 24)
    samples = {sample.id: sample for sample in log.samples}
    start, end = (datetime.fromisoformat(text) for text in (log.stats.started_at, log.stats.completed_at))
    assert (end - start).total_seconds() == pytest.approx(sum(sample.total_time for sample in log.samples), abs=1e-4)
    values = {id: sample.scores and sample.scores["rule"].value for id, sample in samples.items()}
    by_outcome = {"correct": "C", "wrong": "I", "abstained": "N", "unparsed": "I", "failed": "I"}
    expected = {id: by_outcome[outcome] for id, (outcome, *_) in outcomes(folder).items()}
    assert values == expected | {"a/b.wav/single": None}
    counts = {name: metric.value for name, metric in log.results.scores[0].metrics.items()}
    assert sum(counts.pop(name) for name in by_outcome) == log.results.scores[0].scored_samples == 23
    assert counts == {"accuracy": pytest.approx(np.mean([value == "C" for value in values.values() if value]))}
    assert [event.source for event in samples["q0"].events] == ["type", "caption", "answer"]
    assert [message.role for message in samples["q0"].messages] == ["user", "assistant"]
    assert samples["q0"].output.completion == "dog"
    assert (samples["q8"].output.completion, samples["q8"].scores["rule"].value) == ("dog", "N")
    assert samples["q9"].error.message == "out of memory"
    assert {id for id, sample in samples.items() if sample.error} == {"q9"}


def test_inspects_list_of_samples_is_that_of_the_log(log_file: Path) -> None:
    summaries = log_api.read_eval_log_sample_summaries(str(log_file))
    assert len(summaries) == 24
    assert [path.name for path in log_file.parent.iterdir()] == ["run.eval"]


def test_a_run_that_goes_on_is_cancelled_and_seen_clips_are_left_out(folder: Path, tmp_path: Path, said: Said) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        if file.is_file():
            (copy / file.name).write_bytes(file.read_bytes())
    edited(copy, {"q1": None, "q2": {"seen": True}})
    said()
    assert run(["export", str(copy), "--to", "inspect", "-o", str(tmp_path / "run.eval")]) == 0
    assert "1 questions are left out" in said()[1]
    log = log_api.read_eval_log(str(tmp_path / "run.eval"))
    assert log.status == "cancelled"
    assert "q2" not in [sample.id for sample in log.samples]
    assert next(sample for sample in log.samples if sample.id == "q1").error.message == "not asked yet"


def test_a_notebook_whose_loop_runs_can_export(folder: Path, tmp_path: Path) -> None:
    async def cell() -> None:
        inspect_export.write_inspect_log(folder, tmp_path / "run.eval")

    asyncio.run(cell())
    assert len(log_api.read_eval_log(str(tmp_path / "run.eval")).samples) == 24


def test_misuse_is_said_and_a_file_stays(folder: Path, tmp_path: Path, said: Said) -> None:
    out = tmp_path / "run.eval"
    out.write_text("mine")
    said()
    for arguments, words in (
        ([str(folder), "-o", str(out)], "is there already"),
        ([str(folder), "-o", str(tmp_path / "run.json")], "end it in .eval"),
        ([str(tmp_path), "-o", str(tmp_path / "other.eval")], "spec.json"),
        ([str(folder), "-o", str(tmp_path / "other.eval"), "--draw", "3"], "has no draw 3"),
        ([str(folder), "-o", str(out / "other.eval")], "cannot be written"),
    ):
        assert run(["export", *arguments]) == 2
        err = said()[1]
        assert words in err
        assert len(err.splitlines()) <= 2
    assert out.read_text() == "mine"
    assert run(["export", str(folder), "-o", str(out), "--force"]) == 0
    assert len(log_api.read_eval_log(str(out)).samples) == 24
