"""`lalm-agent transfer` end to end on a tiny checkpoint."""

import json
import shutil
from typing import Any

import pytest

from lalm_agent.artefacts import SPEC, read_record
from lalm_agent.cli.main import run
from lalm_agent.config import AgentConfig
from lalm_agent.eval.runs.controls import trained_clips
from lalm_agent.eval.runs.folder import read_answers
from lalm_agent.training import StudyObserver, StudyRequest, plan_study, report_study, study
from lalm_agent.training.lora.recipe import PRESETS
from lalm_agent.training.transfer.design import SOURCES, Arm, Job, StudyFolder, StudySpec
from lalm_agent.training.transfer.probe import read_result
from lalm_agent.training.transfer.schema import StudyReport
from lalm_agent.training.transfer.study import _prepare

pytestmark = pytest.mark.timeout(600)
JOBS = [Job(source, arm, 0) for source in SOURCES for arm in Arm]
QUIET = ("--jobs", "1", "--forgetting", "0")
PROBED = ("--jobs", "1", "--forgetting", "1")


def rows_of(folder: StudyFolder, job: Job) -> list[dict[str, Any]]:
    return [json.loads(line) for line in folder.idk_set(job).read_text().splitlines()]


def test_a_study_from_end_to_end(study_place: Any, said: Any) -> None:
    also = ("--also", str(study_place.path / "eval" / "bench.jsonl"), "--also-limit", "2")
    assert study_place.transfer(*PROBED, "--tried", "4", *also) == 0, said()[1]
    out, err = said()
    folder = StudyFolder(study_place.out)
    kinds = "9 trainings, 10 evaluations, 10 evaluations of --also, 10 probes for forgetting"
    assert f"left: 39 of 39 parts ({kinds}), 1 at a time" in err
    assert "39/39 speech-random-0: probed: 1 questions" in err
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
    assert len({frozenset(read_result(folder.probe(job)).questions) for job in (None, *JOBS)}) == 1
    spec = read_record(folder.path / SPEC, StudySpec, "")
    assert (spec.tried, spec.seeds, spec.identity.labels.k, spec.identity.own_data) == (4, (0,), 3, False)
    report = json.loads(folder.report.read_text())
    assert report["study"]["study_id"] == spec.study_id
    assert "<svg" in folder.heatmap.read_text()
    assert not list(folder.path.rglob("*.new"))
    _a_finished_study_has_nothing_to_do(study_place, said, also)
    _a_call_of_python_is_the_same_study(study_place, folder)
    _an_adapter_is_what_train_makes(study_place, folder, Job("speech", Arm.RANDOM, 0))
    _another_study_is_refused(study_place, said)


def _a_finished_study_has_nothing_to_do(place: Any, said: Any, also: tuple[str, ...]) -> None:
    before, folder = place.files(), StudyFolder(place.out)
    spec = (folder.path / SPEC).read_bytes()
    folder.markdown.unlink()
    assert place.transfer(*PROBED, *also) == 0
    assert "nothing to do: all 39 parts" in said()[1]
    assert place.files() == before
    assert (folder.path / SPEC).read_bytes() == spec
    assert folder.markdown.is_file()
    folder.markdown.unlink()
    assert run(["transfer", "--out", str(place.out), "--report-only", "--json", "--resamples", "100"]) == 0
    assert json.loads(said()[0])["study"]["tried"] == 4
    assert folder.markdown.is_file()


def _a_call_of_python_is_the_same_study(place: Any, folder: StudyFolder) -> None:
    """Also with an agent's settings that an evaluation of a study does not have."""
    bench, before, notes = place.path / "eval" / "bench.jsonl", place.files(), list[str]()
    config = AgentConfig(model=str(place.model), device="cpu", max_new_tokens=3, method="idk", temperature=0.5)
    recipe = PRESETS["mini"].model_copy(update={"max_steps": 2, "batch_size": 2, "seed": 7})
    request = StudyRequest(
        **{"out": folder.path, "bank": place.path / "bank", "config": config, "preset": "mini", "recipe": recipe},
        **{"data": bench, "also": (str(bench),), "also_limit": 2, "seeds": 1, "forgetting": 1, "jobs": 1},
    )
    again = study(request, StudyObserver(notes.append))
    assert notes == [f"nothing to do: all 39 parts of {folder.path} are done"]
    assert again.spec == read_record(folder.path / SPEC, StudySpec, "")
    assert place.files() == before
    with StudyFolder(folder.path):  # it is held no longer
        pass
    plan = plan_study(request.model_copy(update={"forgetting": 2, "seeds": 2}))
    (power,) = (line for line in plan.lines if line.startswith("smallest true difference of strict RGI shown in 80 %"))
    assert "of 4 clips of a target" in power
    assert plan.left == {"train": 9, "evaluate": 9, "also": 9, "probe": 19}
    assert (plan.probe, plan.questions, len(plan.sets)) == (2, 12, 18)
    with StudyFolder(folder.path, writes=False) as there:
        fewer = request.model_copy(update={"also_limit": 1, "limit": 1, "seeds": 2})
        spec = _prepare(fewer, there, StudyObserver()).spec
    assert (spec.limit, spec.also["bench"].limit) == (None, 2), "a study never shrinks"
    report = report_study(folder.path, resamples=100)
    assert StudyReport.model_validate_json(folder.report.read_bytes()) == report
    assert {row.seeds for row in report.forgetting} == {(0,)}


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
    assert place.transfer(*PROBED, "--k", "2", "--learning-rate", "0.5") == 2
    err = said()[1]
    assert "differs: labels.k: 3 in the run, 2 now" in err
    assert "differs: recipe.learning_rate: 0.002 in the run, 0.5 now" in err
    assert err.count("error: ") == 1


def test_without_data_the_bank_s_own_questions_are_asked(study_place: Any, said: Any) -> None:
    assert study_place.transfer(*QUIET, own=True) == 0, said()[1]
    folder = StudyFolder(study_place.out)
    assert read_record(folder.path / SPEC, StudySpec, "").identity.own_data
    for job in JOBS:
        answers = read_answers(folder.run(job))
        trained = {row["id"] for row in rows_of(folder, job)}
        assert {id_ for (id_, _), answer in answers.items() if answer.seen} == trained
        assert len(answers) == 24
        assert len(trained) >= 2
    assert sum(len(rows_of(folder, job)) for job in JOBS if job.arm is Arm.KN) < 24
    # More seeds add adapters, and change none that is there; an estimate writes nothing.
    before = study_place.files()
    said()
    assert study_place.transfer(*QUIET, "--seeds", "2", "--dry-run", "--json", own=True) == 0
    plan = json.loads(said()[0])
    assert plan["left"] == {"train": 9, "evaluate": 9, "also": 0, "probe": 0}
    assert plan["seconds"] > 0
    assert plan["least_difference"] is None
    assert len(plan["sets"]) == 18
    assert study_place.files() == before
    assert not folder.idk_set(Job("sound", Arm.KN, 1)).exists()


def test_what_is_wrong_is_said_before_anything_is_made(study_place: Any, said: Any) -> None:
    place = study_place

    def refused(*more: str, **how: Any) -> str:
        assert place.transfer(*QUIET, *more, **how) == 2
        assert not place.out.exists()
        err: str = said()[1]
        assert err.count("error: ") == err.count("try: ") == 1
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
