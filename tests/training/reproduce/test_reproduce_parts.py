"""Which commands a reproduction consists of, in which order they are begun, and what they took."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from lalm_agent.artefacts import MismatchError, record_text
from lalm_agent.config import AgentConfig
from lalm_agent.errors import DataError, UsageError
from lalm_agent.jobs import ResumableTask, next_task
from lalm_agent.models.ray_engine import RayEngine
from lalm_agent.training.reproduction import design as journal
from lalm_agent.training.reproduction.design import (
    FULL,
    QUICK,
    Data,
    PaperFolder,
    ReproduceRequest,
    ReproduceSpec,
    Sources,
    cuts,
    for_preset,
    parts_of,
)
from lalm_agent.training.reproduction.report import watermarked

REQUEST = ReproduceRequest(out="paper", config=AgentConfig(model="mini"), jobs=2, tried=4)
SYNTHESISED = Sources()
OWN = Sources(Data("hf:x"), Data("mmau", "../mmau", "../clips"))


def words(part: str, sources: Sources = SYNTHESISED, request: ReproduceRequest = REQUEST) -> str:
    return next(" ".join(own.words) for own in parts_of(FULL, sources, request) if own.name == part)


def test_synthesised_data_have_other_splits_and_seeds() -> None:
    bank, evaluation = words("bank-data"), words("eval-data", Sources(split="dev"))
    assert bank.startswith("data synth --split train ")
    assert evaluation.startswith("data synth --split dev ")
    seeds = {line.split("--seed ")[1].split()[0] for line in (bank, evaluation)}
    assert len(seeds) == 2
    assert not seeds & {"0", "1"}


def test_every_modality_has_enough_answerable_questions() -> None:
    # As the synthesiser does it: three modalities take turns, and of five questions of one the fifth has no answer.
    assert FULL.eval_questions % 15 == 0
    assert FULL.eval_questions // 3 * 4 // 5 >= 500


def test_own_data_are_asked_as_they_are_given() -> None:
    names = [part.name for part in parts_of(FULL, OWN, REQUEST)]
    assert "bank-data" not in names
    assert "eval-data" not in names
    data = "mmau --data ../mmau --audio-root ../clips"
    assert words("idk", OWN) == f"eval {data} --model mini --method idk --out runs/idk"
    assert words("bank", OWN).startswith("idk sample hf:x --model mini --n 5 ")
    assert "--data mmau --data-file ../mmau --audio-root ../clips " in words("study", OWN)


def test_one_file_is_the_banks_and_the_evaluations_as_in_the_paper() -> None:
    same = Sources(None, Data("mmau", "../mmau", "../clips"))
    hub = REQUEST.model_copy(update={"config": AgentConfig(model="owner/Qwen-7B")})
    data = "--data ../mmau --audio-root ../clips --model owner/Qwen-7B"
    assert words("bank", same, hub).startswith(f"idk sample mmau {data} --n 5 ")
    assert words("idk", same, hub) == f"eval mmau {data} --method idk --batch-size 8 --out runs/idk"
    assert "mmau" not in words("study", same, hub)
    assert "--data mmau --data-file ../mmau --audio-root ../clips --modality sound --modality music" in words(
        "alpha", same
    )


def test_other_models_and_workers_are_in_the_commands() -> None:
    ray = RayEngine(workers=4, address="auto", gpus=0.5)
    request = REQUEST.model_copy(update={"others": ("salmonn=openai:s@http://h:1/v1",), "ray": ray})
    engine = "--engine ray --workers 4 --address auto --gpus-per-worker 0.5"
    asked = words("salmonn-idk", request=request)
    assert "--model openai:s@http://h:1/v1 " in asked
    assert asked.endswith(f"--method idk {engine} --out others/salmonn/idk")
    for name in ("bank", "agent", "study", "alpha"):
        assert engine in words(name, request=request)
    with pytest.raises(UsageError, match="is no NAME=MODEL"):
        words("idk", request=request.model_copy(update={"others": ("../x=mini",)}))
    with pytest.raises(UsageError, match="--other with the same name"):
        words("idk", request=request.model_copy(update={"others": ("x=mini", "x=owner/model")}))


def test_the_agent_has_the_papers_tools_and_the_study_what_was_frozen() -> None:
    assert "--tools paper" in words("agent")
    also = {"also": ("sakura",), "also_data": (Path("../sakura"),), "also_limit": 9}
    study = words("study", request=REQUEST.model_copy(update=also))
    for told in ("--bank bank", "--seeds 3", "--tried 4", "--jobs 2", "--also-limit 9"):
        assert told in study
    assert "--also sakura --also-data ../sakura" in study
    assert "--learning-rate" not in study
    tuned = parts_of(replace(FULL, learning_rate=1e-3), Sources(), REQUEST)[-2]
    assert "--learning-rate 0.001" in tuned.command


def test_what_was_tuned_for_mini_stays_with_mini() -> None:
    tuned = replace(FULL, learning_rate=1e-3, epochs=2.0, rank=4, alpha=8.0)
    assert for_preset(tuned, "mini") == replace(tuned, preset="mini")
    assert for_preset(tuned, "paper") == replace(FULL, preset="paper", epochs=None)


def test_a_quick_try_does_not_look_at_the_questions_that_count() -> None:
    assert QUICK.eval_seed != FULL.eval_seed
    assert QUICK.bank_seed != FULL.bank_seed


def test_quick_says_what_it_cuts_and_the_full_one_cuts_nothing() -> None:
    assert cuts(FULL) == ()
    assert [line.partition(":")[0] for line in cuts(QUICK)] == [
        "evaluation",
        "bank",
        "seeds",
        "probe for forgetting",
        "bootstrap",
    ]


def test_parts_wait_for_what_they_need_and_the_study_for_all_processes() -> None:
    parts = parts_of(FULL, Sources(), REQUEST)
    left, running, begun = [part.task for part in parts], list[ResumableTask](), list[str]()
    while left or running:
        while len(running) < 2 and (task := next_task(left, running)) is not None:
            left.remove(task)
            running.append(task)
            begun.append(task.name)
            assert task.name != "study" or running == [task]
        running.pop(0)
    assert begun[:3] == ["bank-data", "eval-data", "bank"]
    assert begun[-2:] == ["study", "alpha"]


def test_a_command_reads_back_as_the_request_of_its_part() -> None:
    config = AgentConfig(model="../my model", device="cpu", dtype="float32", allow_pickle=True)
    for part in parts_of(QUICK, OWN, REQUEST.model_copy(update={"config": config})):
        typed = shlex.split(part.command)
        assert typed[0] == "lalm-agent"
        assert typed[-2:] == ["--out", str(part.request.out)]
        assert typed[typed.index("--model") + 1] == "../my model"
        assert typed[typed.index("--limit") + 1] == str(part.request.limit)
        assert {"--device", "--dtype", "--allow-pickle"} < set(typed)
        assert "--trust-remote-code" not in typed


def test_every_need_is_a_part() -> None:
    for sources in (Sources(), OWN):
        parts = parts_of(FULL, sources, REQUEST)
        names = {part.name for part in parts}
        assert len(names) == len(parts)
        assert all(set(part.needs) <= names for part in parts)


def test_times_of_killed_sessions_are_not_made_up() -> None:
    lines = [
        journal.begin("idk", "t", ["eval"]),
        journal.begin("idk", "t", ["eval"]),
        journal.end("idk", 2.5, 130),
        journal.begin("idk", "t", ["eval", "x"]),
        journal.end("idk", 4.0, 0),
        journal.begin("bank", "t", ["idk"]),
    ]
    times = journal.worked(json.loads(json.dumps(lines)))
    assert times["idk"] == journal.Worked(6.5, 3, 1, True, ("eval", "x"))
    assert times["bank"] == journal.Worked(0.0, 1, 1, False, ("idk",))


def spec(**changes: object) -> ReproduceSpec:
    fields = {"schema": 1, "model": "mini", "weights_sha256": "a", "quick": False, "sources": Sources(), "frozen": FULL}
    return ReproduceSpec.model_validate({**fields, **changes})


def test_a_folder_is_held_to_what_it_was_made_for(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    # As it was before a spec had sessions.
    fields = json.loads(record_text(spec()))
    del fields["sessions"]
    path.write_text(json.dumps(fields), "utf-8")
    for calls in (1, 2):
        with PaperFolder(tmp_path) as folder:
            folder.begin(spec())
        assert folder.spec is not None
        assert len(folder.spec.sessions) == calls
    other = spec(weights_sha256="b", frozen=replace(FULL, seeds=1), sources=OWN)
    with PaperFolder(tmp_path) as folder, pytest.raises(MismatchError, match="another reproduction") as refused:
        folder.begin(other)
    assert {line.partition(":")[0] for line in refused.value.fields} >= {"weights_sha256", "frozen.seeds"}
    path.write_text("{}", "utf-8")
    with pytest.raises(DataError, match=r"spec\.json: model") as error, PaperFolder(tmp_path):
        pass
    assert "not that of a reproduction" in (error.value.hint or "")


def test_a_watermark_stands_on_the_picture_and_is_text() -> None:
    made = watermarked('<svg viewBox="0 0 200 100"><rect/></svg>', "a < b")
    assert made.startswith('<svg viewBox="0 0 200 100"><rect/><text x="100" y="50"')
    assert made.endswith("a &lt; b</text>\n</svg>")
    with pytest.raises(ValueError, match="viewBox"):
        watermarked("<svg></svg>", "x")
