"""The pool of processes: order, messages, errors, and what happens where one dies."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.cli.transfer_workers import WorkerError, run_tasks
from lalm_agent.errors import DataError, PermanentBackendError

MODULE = '''
import os, sys, threading, time
from lalm_agent.errors import DataError

class Work:
    def __init__(self, folder):
        self.folder = folder
    def __call__(self, task, tell):
        if task == "fail":
            raise DataError("nothing there", "look again")
        if task == "bug":
            raise ValueError("a bug")
        if task == "die":
            os._exit(7)
        if task == "wait":
            time.sleep(60)
        tell((task, os.getpid(), os.environ.get("OMP_NUM_THREADS")))
'''


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes what does tasks, from a module that the processes can import as well."""
    (tmp_path / "pool_work.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    import pool_work  # type: ignore[import-not-found]

    return partial(pool_work.Work, str(tmp_path))


def test_tasks_are_shared_between_processes_of_one_thread(make: Any) -> None:
    told: list[Any] = []
    before = os.environ.get("OMP_NUM_THREADS")
    run_tasks([1, 2, 3, 4, 5], make, 2, told.append)
    assert sorted(task for task, *_ in told) == [1, 2, 3, 4, 5]
    assert os.getpid() not in {pid for _, pid, _ in told}
    assert {threads for *_, threads in told} == {"1"}
    assert os.environ.get("OMP_NUM_THREADS") == before


def test_one_process_works_here(make: Any) -> None:
    told: list[Any] = []
    run_tasks([1, 2], make, 1, told.append)
    assert [(task, pid) for task, pid, _ in told] == [(1, os.getpid()), (2, os.getpid())]
    with pytest.raises(DataError, match="nothing there"):
        run_tasks(["fail"], make, 1, told.append)
    run_tasks([], make, 2, told.append)
    assert len(told) == 2


@pytest.mark.parametrize(
    ("task", "message", "hint", "code"),
    [("fail", "nothing there", "look again", 2), ("bug", "ValueError: a bug", "this is a bug; --debug shows where", 1)],
)
def test_an_error_ends_the_others_and_comes_with_its_words(
    make: Any, task: str, message: str, hint: str, code: int
) -> None:
    with pytest.raises(WorkerError) as caught:
        run_tasks([task, "wait", 1], make, 2, lambda _: None)
    assert (caught.value.message, caught.value.hint, caught.value.exit_code) == (message, hint, code)
    assert "pool_work.py" in "".join(caught.value.__notes__)


def test_a_process_that_dies_is_missed(make: Any) -> None:
    with pytest.raises(PermanentBackendError, match="exit code 7"):
        run_tasks(["die", "wait"], make, 2, lambda _: None)
