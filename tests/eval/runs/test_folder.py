"""A run's folder: identity, calls, questions. What every artefact's folder does: tests/agent/test_artefacts.py."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.artefacts import MismatchError
from lalm_agent.eval.runs.folder import ANSWERS, ITEMS, RunFolder, is_run, read_items
from lalm_agent.eval.runs.plan import EvaluateRequest
from lalm_agent.eval.runs.records import RunIdentity


def request_of(**fields: Any) -> EvaluateRequest:
    return EvaluateRequest(data="made", out=Path("out"), **fields)


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
    assert [call.started[:7] for call in spec.sessions] == ["2026-01", "2026-02"]
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
