"""`lalm-agent reproduce` on a folder as on the hub and one file of MMAU's rows, up to the report."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from lalm_agent import jobs
from lalm_agent.cli.main import run
from lalm_agent.training.reproduction import design

pytestmark = pytest.mark.timeout(600)


def _in_two_processes(run_tasks: Any, tasks: Any, make: Any, *settings: Any, fresh: bool) -> None:
    """Each part in one of two processes, which import torch once: a process for each part takes minutes."""
    assert fresh
    run_tasks(tasks, make, 2, *settings[1:])


def test_the_papers_tables_of_a_checkpoint_on_one_file(
    overfitted: Any, said: Callable[[], tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = replace(design.QUICK, n=2, k=2, eval_limit=12, forgetting=0, resamples=50)
    monkeypatch.setattr(design, "QUICK", tiny)
    monkeypatch.setattr(jobs, "run_tasks", partial(_in_two_processes, jobs.run_tasks))
    out = overfitted.place / "paper"
    data = ["--data", "mmau", "--data-file", str(overfitted.data), "--audio-root", str(overfitted.data.parent)]
    arguments = ["reproduce", "--model", str(overfitted.folder), *data, "--device", "cpu", "--quick", "--jobs", "1"]
    arguments += ["--other", f"salmonn={overfitted.folder}", "--out", str(out)]
    assert run(arguments) == 0, said()[1]
    told = said()[1]
    assert told.index("cost: 12 questions, 42 in the bank") < told.index("9 parts to do")
    report = (out / "report.md").read_text("utf-8")
    for heading in ("Tables 1 and 2", "Table 3", "Figure 5", "Figure 3 and tables 10 to 12", "Figure 4"):
        assert f"\n## {heading}: " in report
    assert {path.name for path in (out / "figures").iterdir()} == {f"figure{number}.svg" for number in (3, 4, 5)}
    assert (out / "runs" / "mcot" / "spec.json").read_text("utf-8").count('"mcot_order": "printed"') == 1
    assert run(arguments) == 0
    assert "nothing to do: every part is done" in said()[1]
