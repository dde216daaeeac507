"""A run's folder: identity, calls, questions. What every artefact's folder does: tests/agent/test_artefacts.py."""

import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.artefacts import MismatchError, write_whole
from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.report.show import questions_of_run
from lalm_agent.eval.runs.folder import ITEMS, RunFolder, is_run, read_items, run_outputs
from lalm_agent.eval.runs.plan import EvaluateRequest
from lalm_agent.eval.runs.records import RunIdentity, failed_answer
from lalm_agent.records import AbstentionKind, Failure, Status
from lalm_agent.training.idk.bank import read_bank


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


class Killed(BaseException):
    """Stands for kill -9: nothing of the program's own runs after it."""


@pytest.mark.parametrize("whole", range(4))
def test_a_kill_between_two_writes_leaves_a_run_that_reads_and_grows(
    tmp_path: Path,
    identity: Callable[..., RunIdentity],
    session: Any,
    plan_of: Any,
    make_items: Any,
    monkeypatch: pytest.MonkeyPatch,
    whole: int,
) -> None:
    """`whole` files are written before the kill, of the making (items, spec) and the growing (spec, items, spec)."""
    path, items = tmp_path / "run", make_items(7)
    left = whole

    def until_killed(file: Path, data: bytes) -> None:
        nonlocal left
        if not left:
            raise Killed
        left -= 1
        write_whole(file, data)

    monkeypatch.setattr("lalm_agent.eval.runs.folder.write_whole", until_killed)
    monkeypatch.setattr("lalm_agent.artefacts.write_whole", until_killed)
    with suppress(Killed):
        for limit in (3, 7):
            with RunFolder(path) as folder:
                folder.begin(identity(), plan_of(items, request_of(limit=limit), folder.items), session)
    assert is_run(path) == (whole > 1)
    if whole > 1:
        assert len(run_outputs(path).items) == (7 if whole > 3 else 3)
        assert len(list(questions_of_run(path))) == (7 if whole > 3 else 3)
    monkeypatch.undo()
    with RunFolder(path) as folder:
        spec = folder.begin(identity(), plan_of(items, None, folder.items), session)
    assert spec.selection.asked == len(run_outputs(path).items) == 7


@pytest.mark.parametrize("growths", [1, 2])
def test_a_run_that_grows_while_it_is_read_is_read_as_it_was_at_one_moment(
    tmp_path: Path,
    identity: Callable[..., RunIdentity],
    session: Any,
    plan_of: Any,
    make_items: Any,
    monkeypatch: pytest.MonkeyPatch,
    growths: int,
) -> None:
    """Another process adds questions after the spec has been read and before the questions are."""
    path, items, limits = tmp_path / "run", make_items(9), [3, 6, 9]

    def grow() -> None:
        with RunFolder(path) as folder:
            folder.begin(identity(), plan_of(items, request_of(limit=limits.pop(0)), folder.items), session)

    def read_and_grow(folder: Path, spec: Any) -> Any:
        nonlocal due
        if due:
            due -= 1
            with monkeypatch.context() as patch:
                patch.setattr("lalm_agent.eval.runs.folder.read_items", read_items)
                grow()
        return read_items(folder, spec)

    due = 0
    grow()
    monkeypatch.setattr("lalm_agent.eval.runs.folder.read_items", read_and_grow)
    readers: list[Callable[[], Any]] = [
        lambda: run_outputs(path).items,
        lambda: list(questions_of_run(path)),
        lambda: read_bank(path).questions,
        lambda: RunFolder(path, writes=False).__enter__().items,
    ]
    for read in readers:
        limits[:], due = [3, 6, 9], 0
        shutil.rmtree(path)
        grow()
        due = growths
        assert len(read()) == 3 * (1 + growths)


@pytest.mark.parametrize("field", ["question", "gold", "choices"])
def test_answers_are_not_given_to_other_questions_of_the_same_names(
    tmp_path: Path, identity: Callable[..., RunIdentity], session: Any, plan_of: Any, make_items: Any, field: str
) -> None:
    """A run of a version that kept no hash of its questions, or of data that are read in another way now."""
    path, items = tmp_path / "run", make_items(3)
    with RunFolder(path) as folder:
        folder.begin(identity(), plan_of(items), session)
    items[1] = replace(items[1], **{field: ("dog", "cat") if field == "choices" else "frog"})
    before = (path / ITEMS).read_bytes()
    with RunFolder(path) as folder, pytest.raises(DataError, match=r"question .q1. of .* is another one"):
        folder.begin(identity(), plan_of(items, None, folder.items), session)
    assert (path / ITEMS).read_bytes() == before


# --- pandas ----------------------------------------------------------------------------------------------------------


def test_a_frame_has_a_row_for_each_answer_with_its_grade(
    tmp_path: Path, identity: Callable[..., RunIdentity], session: Any, plan_of: Any, make_items: Any
) -> None:
    """Of four questions in two draws: right, wrong, refused, withheld; one on a trained clip, and three not asked."""
    pytest.importorskip("pandas")
    items = make_items(4)
    withheld = {"status": Status.ABSTAINED, "abstention": AbstentionKind.NOT_CONFIDENT, "withheld": "frog"}
    made = [("q0", 0, "dog", {}), ("q0", 1, "cat", {"seen": True}), ("q1", 0, "IDK", {}), ("q3", 0, "frog", withheld)]
    failure = Failure("answer", "none", None, 2)
    with RunFolder(tmp_path / "run") as folder:
        folder.begin(identity(draws=2, temperature=0.5), plan_of(items, request_of(draws=2)), session)
        for id, draw, reply, more in made:
            answer = failed_answer(next(item for item in items if item.id == id), draw, failure, 1.5)
            fields: dict[str, Any] = {"status": Status.ANSWERED, "reply": reply, "failure": None, **more}
            folder.keep(replace(answer, **fields))
    with RunFolder(tmp_path / "run", writes=False) as folder:
        frame = folder.to_pandas()
        order = [run_item.item.id for run_item in folder.items]
    rows = {(row["id"], row["draw"]): row for row in frame.to_dict("records")}
    assert list(rows) == sorted(rows, key=lambda key: (order.index(key[0]), key[1]))
    assert {key: (row["outcome"], row["counts"]) for key, row in rows.items()} == {
        ("q0", 0): ("correct", True),
        ("q0", 1): ("wrong", False),
        ("q1", 0): ("abstained", True),
        ("q3", 0): ("abstained", True),
    }
    assert list(frame[frame.abstention == "not_confident"].withheld) == ["frog"]
    assert dict(frame.groupby("group_modality").size()) == {"sound": 3, "music": 1}
    assert rows["q1", 0]["choices"] == items[1].choices
    assert rows["q1", 0]["seconds"] == 1.5
    assert (frame.confidence > 0.5).sum() == 0, "nobody has one"
    documented = re.findall(r"`(\w+)`", RunFolder.to_pandas.__doc__ or "")
    assert {column for column in frame if not column.startswith("group_")} <= set(documented)


def test_a_run_without_answers_is_a_frame_of_the_same_columns(
    tmp_path: Path, identity: Callable[..., RunIdentity], session: Any, plan_of: Any, make_items: Any
) -> None:
    pytest.importorskip("pandas")
    with RunFolder(tmp_path / "run") as folder:
        assert "outcome" in folder.to_pandas().columns
        folder.begin(identity(), plan_of(make_items(2)), session)
        frame = folder.to_pandas()
    assert list(frame[frame.counts & ~frame.seen].columns) == list(frame.columns)
    assert frame.seconds.sum() == 0
    assert frame.confidence.isna().sum() == 0


def test_without_pandas_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lalm_agent.registry.is_installed", lambda module: False)
    with RunFolder(tmp_path / "run") as folder, pytest.raises(UsageError) as refused:
        folder.to_pandas()
    assert "[pandas]" in str(refused.value.hint)
