"""Holding a run's folder: the lock, other contents, another run's identity."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.artefacts import MismatchError
from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.runs.folder import ANSWERS, ITEMS, RunFolder, is_run, read_items
from lalm_agent.eval.runs.plan import EvaluateRequest
from lalm_agent.eval.runs.records import RunIdentity

HOLD = """
import sys
from pathlib import Path
from lalm_agent.eval.runs.folder import RunFolder
with RunFolder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def request_of(**fields: Any) -> EvaluateRequest:
    return EvaluateRequest(data="made", out=Path("out"), **fields)


def test_a_second_process_is_refused_in_one_line_and_a_kill_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "run"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match="another process is asking the questions of") as refused, RunFolder(path):
            pass
        assert refused.value.exit_code == 2
        holder.kill()
    with RunFolder(path) as folder:
        assert folder.spec is None


def test_a_run_that_never_began_leaves_no_folder(tmp_path: Path) -> None:
    def fail() -> None:
        with RunFolder(tmp_path / "run"):
            raise UsageError("no such model")

    with pytest.raises(UsageError, match="no such model"):
        fail()
    assert not (tmp_path / "run").exists()


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UsageError, match=r"no run and not empty: it holds thesis\.tex"), RunFolder(tmp_path):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(UsageError, match="is a file"), RunFolder(tmp_path / "thesis.tex"):
        pass


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"), RunFolder(tmp_path / "file" / "run"):
        pass


def test_another_run_is_refused_with_all_that_differs(
    tmp_path: Path, identity: Callable[..., RunIdentity], session: Any, plan_of: Any, make_items: Any
) -> None:
    plan = plan_of(make_items(3))
    with RunFolder(tmp_path / "run") as folder:
        folder.begin(identity(), plan, session)
    with RunFolder(tmp_path / "run") as folder:
        other = identity(method="idk", seed=4, dtype="bfloat16")
        with pytest.raises(MismatchError) as refused:
            folder.check(other)
        assert refused.value.fields == (
            "dtype: none in the run, bfloat16 now",
            "method: baseline in the run, idk now",
            "seed: 0 in the run, 4 now",
        )
        assert "dtype, method, seed" in refused.value.message
        with pytest.raises(MismatchError) as refused:
            folder.check(other, loaded=False)
        assert len(refused.value.fields) == 2
        with pytest.raises(MismatchError):
            folder.begin(other, plan, session)
        assert folder.spec is not None
        assert folder.spec.identity == identity()


def test_a_session_is_added_and_the_making_stays(
    tmp_path: Path, identity: Callable[..., RunIdentity], session: Any, plan_of: Any, make_items: Any
) -> None:
    items = make_items(10)
    for limit, started in ((3, "2026-01-01T00:00:00+00:00"), (7, "2026-02-02T00:00:00+00:00")):
        with RunFolder(tmp_path / "run") as folder:
            plan = plan_of(items, request_of(limit=limit), folder.items, folder.answers)
            spec = folder.begin(identity(), plan, session.model_copy(update={"started": started}))
    assert spec.created.startswith("2026-01")
    assert [one.started[:7] for one in spec.sessions] == ["2026-01", "2026-02"]
    assert spec.selection.asked == 7
    assert len(read_items(tmp_path / "run")) == 7


def test_a_kill_between_the_items_and_the_spec_is_no_obstacle(
    tmp_path: Path, identity: Callable[..., RunIdentity], session: Any, plan_of: Any, make_items: Any
) -> None:
    path = tmp_path / "run"
    with RunFolder(path) as folder:
        folder.begin(identity(), plan_of(make_items(3)), session)
    (path / "spec.json").rename(path / "spec.json.new")
    (path / ANSWERS).unlink()
    assert not is_run(path)
    assert (path / ITEMS).exists()
    with RunFolder(path) as folder:
        folder.begin(identity(), plan_of(make_items(3)), session)
    assert is_run(path)
