"""`lalm-agent transfer mechanism`: on a study of a random-weight checkpoint, stopped and gone on with."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.cli.main import run
from lalm_agent.training.transfer import attention, mechanism
from lalm_agent.training.transfer.design import Job, jobs_of

pytestmark = pytest.mark.timeout(600)

Said = Callable[[], tuple[str, str]]


def records(out: Path) -> dict[str, int]:
    return {path.stem: path.stat().st_mtime_ns for path in (out / "mechanism").glob("*.npz")}


def test_a_study_is_measured_and_goes_on_after_a_stop(
    study_place: Any, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert study_place.transfer("--forgetting", "0", "--jobs", "1") == 0, said()[1]
    command = ["transfer", "mechanism", str(study_place.out), "--device", "cpu", "--limit", "3"]
    real, passes = attention.reply_start, list[str | None]()

    def stopped(checkpoint: Any, adapter: str | None, inputs: Any) -> Any:
        passes.append(adapter)
        if len(passes) == 13:
            raise KeyboardInterrupt
        return real(checkpoint, adapter, inputs)

    monkeypatch.setattr(attention, "reply_start", stopped)
    assert run(command) == 130
    before = records(study_place.out)
    assert set(before) == {"baseline"}
    assert passes[:9] == [None] * 9
    passes.append(None)
    assert run(command) == 0, said()[1]
    after = records(study_place.out)
    assert after["baseline"] == before["baseline"]
    assert set(after) == {"baseline", *(job.name for job in jobs_of((0,)))}
    assert len(passes) == 14 + 9 * 9
    _the_report_says_nothing_of_so_few(study_place.out, said()[0])
    assert run([*command, "--json"]) == 0
    out, err = said()
    assert "nothing to measure: all 10 are done" in err
    assert json.loads(out)["questions"] == {"sound": 3, "music": 3, "speech": 3}
    assert records(study_place.out) == after
    assert run([*command[:-1], "4"]) == 0  # other questions are asked anew
    assert json.loads((study_place.out / "mechanism" / "report.json").read_text())["questions"]["sound"] == 4


def _the_report_says_nothing_of_so_few(out: Path, said: str) -> None:
    report = json.loads((out / "mechanism" / "report.json").read_text())
    assert all("fewer than 10" in cell["blank"] for cell in report["cells"])
    assert report["agreement"] == report["shifts"] == report["ablations"] == []
    assert report["logit_difference"] < 1e-4
    assert "and so nothing is said" in " ".join(said.split())
    assert "## Where the adapters learned it" in (out / "study.md").read_text("utf-8")


def test_the_adapter_is_as_it_was_after_its_layers_were_left_out(study_place: Any, said: Said) -> None:
    """Every reply that is asked again with all layers is the study's own."""
    assert study_place.transfer("--forgetting", "0", "--jobs", "1") == 0, said()[1]
    request = mechanism.MechanismRequest(out=study_place.out, config={"device": "cpu"})
    job = Job("sound", jobs_of((0,))[0].arm, 0)
    with mechanism.StudyFolder(study_place.out) as folder, mechanism.ExitStack() as stack:
        own = mechanism._Measuring(request, folder, mechanism.MechanismObserver(), stack)
        ablations = list(own._ablations(job, range(len(own.asked.items))))
        assert [of.layer for of in ablations] == ["0", "1"]
        replies = own._lalm.with_adapter(folder.adapter(job)).generate([of.request for of in own._prepared])
        stored = {id_: answer.reply for (id_, _), answer in mechanism.read_answers(folder.run(job)).items()}
        assert [reply.completions[0].text for reply in replies] == [stored[id_] for id_ in own.asked.ids]


@pytest.mark.parametrize("there", [False, True])
def test_what_is_no_study_is_refused(tmp_path: Path, said: Said, there: bool) -> None:
    if there:
        (tmp_path / "no").mkdir()
    assert run(["transfer", "mechanism", str(tmp_path / "no")]) == 2
    err = said()[1]
    assert "is no study" in err
    assert "try: give the --out folder of lalm-agent transfer" in err
    assert (tmp_path / "no").exists() is there
