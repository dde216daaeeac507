"""`lalm-agent transfer` end to end on a tiny checkpoint."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.artefacts import SPEC
from lalm_agent.cli.main import run
from lalm_agent.config import AgentConfig
from lalm_agent.eval.runs.controls import trained_clips
from lalm_agent.eval.runs.folder import read_answers
from lalm_agent.training import StudyObserver, StudyRequest, plan_study, report_study, study
from lalm_agent.training.lora.recipe import PRESETS
from lalm_agent.training.transfer.design import SOURCES, Arm, Job, StudyFolder, read_spec
from lalm_agent.training.transfer.probe import read_result
from lalm_agent.training.transfer.schema import StudyReport

JOBS = [Job(source, arm, 0) for source in SOURCES for arm in Arm]
QUIET = ("--jobs", "1", "--forgetting", "0")


def rows_of(folder: StudyFolder, job: Job) -> list[dict[str, Any]]:
    return [json.loads(line) for line in folder.idk_set(job).read_text().splitlines()]


def test_a_study_from_end_to_end(study_place: Any, said: Any) -> None:
    also = ("--also", str(study_place.path / "eval" / "bench.jsonl"), "--also-limit", "2")
    assert study_place.transfer(*QUIET, "--tried", "4", *also) == 0, said()[1]
    out, err = said()
    folder = StudyFolder(study_place.out)
    assert "left: 29 of 29 parts (9 trainings, 10 evaluations, 10 evaluations of --also), 1 at a time" in err
    assert "29/29 speech-random-0: asked" in err
    assert f"report: {folder.markdown}" in out
    for job in JOBS:
        rows = rows_of(folder, job)
        assert {row["modality"] for row in rows} == {job.source}
        assert trained_clips(str(folder.adapter(job))) == {row["audio_sha256"] for row in rows}
        answers = read_answers(folder.run(job))
        assert len(answers) == 12
        assert not any(answer.seen for answer in answers.values())
        identity = json.loads((folder.run(job) / "spec.json").read_text())["identity"]
        assert (identity["method"], identity["temperature"]) == ("lora", 0.0)
        steps = json.loads((folder.adapter(job) / "spec.json").read_text())["steps"]
        assert steps == 2
    assert len(read_answers(folder.run(None))) == 12
    assert len(read_answers(folder.run(JOBS[0], "bench"))) == 2
    spec = read_spec(folder.path / SPEC)
    assert (spec.tried, spec.seeds, spec.identity.labels.k, spec.identity.own_data) == (4, (0,), 3, False)
    report = json.loads(folder.report.read_text())
    assert report["study"]["study_id"] == spec.study_id
    assert "<svg" in folder.heatmap.read_text()
    assert not list(folder.path.rglob("*.new"))
    _a_finished_study_has_nothing_to_do(study_place, said, also)
    _an_adapter_is_what_train_makes(study_place, folder, Job("speech", Arm.RANDOM, 0))
    _another_study_is_refused(study_place, said)


def _a_finished_study_has_nothing_to_do(place: Any, said: Any, also: tuple[str, ...]) -> None:
    before, folder = place.files(), StudyFolder(place.out)
    spec = (folder.path / SPEC).read_bytes()
    folder.markdown.unlink()
    assert place.transfer(*QUIET, *also) == 0
    assert "nothing to do: all 29 parts" in said()[1]
    assert place.files() == before
    assert (folder.path / SPEC).read_bytes() == spec
    assert folder.markdown.is_file()
    folder.markdown.unlink()
    assert run(["transfer", "--out", str(place.out), "--report-only", "--json", "--resamples", "100"]) == 0
    assert json.loads(said()[0])["study"]["tried"] == 4
    assert folder.markdown.is_file()


def _an_adapter_is_what_train_makes(place: Any, folder: StudyFolder, job: Job) -> None:
    """The ninth adapter that one loaded model was trained and asked with is that of a process of its own."""
    alone = place.path / "alone"
    given = ["train", "--data", str(folder.idk_set(job)), "--model", str(place.model), "--out", str(alone)]
    assert run([*given, "--preset", "mini", "--max-steps", "2", "--batch-size", "2", "--device", "cpu"]) == 0
    weights = "adapter_model.safetensors"
    assert (alone / weights).read_bytes() == (folder.adapter(job) / weights).read_bytes()
    asked = ["eval", str(place.path / "eval" / "bench.jsonl"), "--model", str(place.model), "--method", "lora"]
    asked += ["--adapter", str(alone), "--max-new-tokens", "3", "--device", "cpu", "--out", str(place.path / "run")]
    assert run(asked) == 0
    ours, theirs = (read_answers(path) for path in (folder.run(job), place.path / "run"))
    assert {key: answer.reply for key, answer in ours.items()} == {key: one.reply for key, one in theirs.items()}
    assert all(ours[key].confidence == pytest.approx(theirs[key].confidence, abs=1e-4) for key in ours)
    # The run folder is one of `eval`: it finds nothing to do there either.
    asked[-1] = str(folder.run(job))
    assert run(asked) == 0


def _another_study_is_refused(place: Any, said: Any) -> None:
    said()
    assert place.transfer(*QUIET, "--k", "2", "--learning-rate", "0.5") == 2
    err = said()[1]
    assert "differs: labels.k: 3 in the run, 2 now" in err
    assert "differs: recipe.learning_rate: 0.002 in the run, 0.5 now" in err
    assert err.count("error: ") == 1


def test_without_data_the_bank_s_own_questions_are_asked(study_place: Any, said: Any) -> None:
    assert study_place.transfer(*QUIET, own=True) == 0, said()[1]
    folder = StudyFolder(study_place.out)
    assert read_spec(folder.path / SPEC).identity.own_data
    for job in JOBS:
        answers = read_answers(folder.run(job))
        trained = {row["id"] for row in rows_of(folder, job)}
        assert {id_ for (id_, _), answer in answers.items() if answer.seen} == trained
        assert len(answers) == 24
        assert len(trained) >= 2
    assert sum(len(rows_of(folder, job)) for job in JOBS if job.arm is Arm.KN) < 24
    # More seeds add adapters, and change none that is there.
    before = study_place.files()
    said()
    assert study_place.transfer(*QUIET, "--seeds", "2", "--dry-run", "--json", own=True) == 0
    plan = json.loads(said()[0])
    assert plan["left"] == {"train": 9, "evaluate": 9, "also": 0, "probe": 0}
    assert plan["seconds"] > 0
    assert len(plan["sets"]) == 18
    assert study_place.files() == before
    assert not folder.idk_set(Job("sound", Arm.KN, 1)).exists()


def test_what_is_wrong_is_said_before_anything_is_made(study_place: Any, said: Any) -> None:
    place = study_place

    def refused(*more: str, **how: Any) -> str:
        assert place.transfer(*QUIET, *more, **how) == 2
        assert not place.out.exists()
        err: str = said()[1]
        assert err.count("error: ") == 1
        return err

    assert "K is 0 to N = 3, not 4" in refused("--k", "4")
    assert "no bank" in refused(bank="eval")
    assert "the bank has 3 draws, not 5" in refused("--n", "5")
    assert "--rule is not most" in refused("--rule", "most")
    assert "unknown preset" in refused("--preset", "huge")
    assert "takes no adapter" in refused("--model", "openai:gpt")
    assert "no benchmark is called" in refused("--also", "sakra")
    assert "sakura needs its data" in refused("--also", "sakura")
    shutil.copy(place.path / "bank-audio" / "music3.wav", place.path / "eval" / "speech1.wav")
    err = refused()
    assert "1 of the 12 clips of bench.jsonl are in the bank as well, such as speech1.wav: 1 questions" in err


def test_a_bank_of_another_model_or_method_is_refused(study_place: Any, said: Any) -> None:
    path = study_place.path / "bank" / "spec.json"
    spec = json.loads(path.read_text())

    def refused(**changes: Any) -> str:
        path.write_text(json.dumps({**spec, "identity": {**spec["identity"], **changes}}))
        assert study_place.transfer(*QUIET) == 2
        assert not study_place.out.exists()
        err: str = said()[1]
        return err

    assert "was sampled from" in refused(weights_sha256="e" * 64)
    assert "was asked by agent" in refused(method="agent")
    assert "without the clips" in refused(audio="silence")
    assert "sampled with an adapter" in refused(adapter_sha256="a" * 64)


def test_a_source_of_one_class_ends_with_one_line(study_place: Any, said: Any, tmp_path: Path) -> None:
    path = study_place.path / "bank" / "answers.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    gold = {row["id"]: row["gold"] for row in map(json.loads, (path.parent / "items.jsonl").read_text().splitlines())}
    for line in lines:
        if line["id"].startswith("music"):
            line["reply"] = gold[line["id"]]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert study_place.transfer(*QUIET) == 2
    err = said()[1]
    assert "error: music: all " in err
    assert "are kept" in err
    assert not study_place.out.exists()


def test_a_training_that_diverges_ends_with_one_line(study_place: Any, said: Any) -> None:
    assert study_place.transfer(*QUIET, "--learning-rate", "1e30", "--max-steps", "4") == 2
    err = said()[1]
    assert "error: sound-kn-0: " in err
    assert "no finite number" in err
    assert "kept 1 of 19 parts" in err
    folder = StudyFolder(study_place.out)
    assert len(read_answers(folder.run(None))) == 12
    assert not folder.report.exists()


def test_a_study_is_a_call_of_python(study_place: Any) -> None:
    """Also with an agent's settings that an evaluation of a study does not have."""
    notes: list[str] = []
    config = AgentConfig(model=str(study_place.model), device="cpu", max_new_tokens=3, method="idk", temperature=0.5)
    request = StudyRequest(
        **{"out": study_place.out, "bank": study_place.path / "bank", "config": config, "seeds": 1, "jobs": 1},
        data=study_place.path / "eval" / "bench.jsonl",
        preset="mini",
        recipe=PRESETS["mini"].model_copy(update={"max_steps": 1, "batch_size": 2, "seed": 7}),
        forgetting=1,
    )
    plan = plan_study(request)
    assert not study_place.out.exists()
    assert plan.left == {"train": 9, "evaluate": 10, "also": 0, "probe": 10}
    folder = study(request, StudyObserver(notes.append))
    assert folder.spec is not None
    assert folder.spec.study_id == plan.study
    assert folder.spec.forgetting == plan.probe == 1
    assert sum("probed: 1 questions" in note for note in notes) == 10
    assert set(read_result(folder.probe(JOBS[0])).questions) == set(read_result(folder.probe(None)).questions)
    with StudyFolder(study_place.out):  # it is held no longer
        pass
    report = report_study(study_place.out, resamples=100)
    assert StudyReport.model_validate_json(folder.report.read_bytes()) == report
    assert plan_study(request.model_copy(update={"forgetting": 2})).left["probe"] == 10
