"""The runner of tasks: order, needs, results, errors, and what happens where a process dies."""

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.errors import DataError, PermanentBackendError
from lalm_agent.jobs import ResumableTask, TaskObserver, WorkerError, next_task, run_tasks

MODULE = """
import os, pathlib, time
from lalm_agent.errors import DataError

class Work:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
    def __call__(self, what):
        if what == "fail":
            raise DataError("nothing there", "look again")
        if what == "bug":
            raise ValueError("a bug")
        if what == "die":
            os._exit(7)
        if what == "wait":
            (self.folder / "waits").touch()
            time.sleep(600)
        return what, os.getpid(), os.environ.get("OMP_NUM_THREADS")
"""


class Seen(TaskObserver):
    """Everything that is told."""

    def __init__(self) -> None:
        self.began_names: list[str] = []
        self.results: dict[str, Any] = {}
        self.stopped_names: list[str] = []

    def began(self, task: ResumableTask) -> None:
        self.began_names.append(task.name)

    def ended(self, task: ResumableTask, result: Any, seconds: float) -> None:
        assert seconds >= 0
        self.results[task.name] = result

    def stopped(self, task: ResumableTask, seconds: float) -> None:
        self.stopped_names.append(task.name)


def tasks(*whats: Any) -> list[ResumableTask]:
    return [ResumableTask(f"{at} {what}", what) for at, what in enumerate(whats)]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes what does tasks, from a module that the processes can import as well."""
    (tmp_path / "pool_work.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    import pool_work  # type: ignore[import-not-found]

    return partial(pool_work.Work, str(tmp_path))


def test_tasks_are_shared_between_processes_of_one_thread(make: Any) -> None:
    seen, before = Seen(), os.environ.get("OMP_NUM_THREADS")
    run_tasks(tasks(1, 2, 3, 4, 5), make, 2, seen)
    assert sorted(what for what, *_ in seen.results.values()) == [1, 2, 3, 4, 5]
    assert os.getpid() not in {pid for _, pid, _ in seen.results.values()}
    assert {threads for *_, threads in seen.results.values()} == {"1"}
    assert os.environ.get("OMP_NUM_THREADS") == before


def test_one_process_works_here_and_in_the_order_of_needs(make: Any) -> None:
    seen = Seen()
    run_tasks([ResumableTask("b", 2, needs=("a", "done before")), ResumableTask("a", 1)], make, 1, seen)
    assert [(name, what, pid) for name, (what, pid, _) in seen.results.items()] == [
        ("a", 1, os.getpid()),
        ("b", 2, os.getpid()),
    ]
    with pytest.raises(DataError, match="nothing there"):
        run_tasks(tasks("fail"), make, 1, seen)
    assert seen.stopped_names == ["0 fail"]
    run_tasks([], make, 2)
    for processes in (1, 2):
        with pytest.raises(ValueError, match="circle"):
            run_tasks([ResumableTask("a", 1, ("b",)), ResumableTask("b", 1, ("a",))], make, processes)


def test_a_fresh_process_for_each_task(make: Any) -> None:
    seen = Seen()
    run_tasks(
        [ResumableTask("a", 1), ResumableTask("b", 2, ("a",)), ResumableTask("c", 3, alone=True)],
        make,
        1,
        seen,
        threads=3,
        fresh=True,
    )
    assert seen.began_names == ["a", "b", "c"]
    assert len({pid for _, pid, _ in seen.results.values()} | {os.getpid()}) == 4
    assert [threads for *_, threads in seen.results.values()][:2] == ["3", "3"]


def test_a_task_waits_for_what_it_needs_and_one_alone_for_all() -> None:
    first, second, last = (
        ResumableTask("first", 0),
        ResumableTask("second", 0, ("first",)),
        ResumableTask("last", 0, alone=True),
    )
    assert next_task([first, second, last], []) is first
    assert next_task([second, last], [first]) is None
    assert next_task([second, last], []) is second
    assert next_task([last], [second]) is None
    assert next_task([last], []) is last
    assert next_task([second], [last]) is None


@pytest.mark.parametrize(
    ("task", "message", "hint", "code"),
    [("fail", "nothing there", "look again", 2), ("bug", "ValueError: a bug", "this is a bug; --debug shows where", 1)],
)
def test_an_error_ends_the_others_and_comes_with_its_words(
    make: Any, task: str, message: str, hint: str, code: int
) -> None:
    seen, start = Seen(), time.monotonic()
    with pytest.raises(WorkerError) as caught:
        run_tasks(tasks(task, "wait", 1), make, 2, seen)
    assert (caught.value.message, caught.value.hint, caught.value.exit_code) == (message, hint, code)
    assert "pool_work.py" in "".join(caught.value.__notes__)
    assert set(seen.stopped_names) == {f"0 {task}", "1 wait"}
    assert time.monotonic() - start < 300


def test_a_process_that_dies_is_missed(make: Any) -> None:
    with pytest.raises(PermanentBackendError, match="exit code 7"):
        run_tasks(tasks("die", "wait"), make, 2)


def test_ctrl_c_ends_all_processes(make: Any, tmp_path: Path) -> None:
    class Interrupts(Seen):
        def began(self, task: ResumableTask) -> None:
            super().began(task)
            if task.name == "second":
                raise KeyboardInterrupt

    seen = Interrupts()
    with pytest.raises(KeyboardInterrupt):
        run_tasks([ResumableTask("first", "wait"), ResumableTask("second", "wait")], make, 2, seen)
    assert set(seen.stopped_names) == {"first", "second"}


NESTED = """
import os, pathlib, sys, time
from functools import partial
from lalm_agent.jobs import ResumableTask, run_tasks

class Work:
    def __init__(self, folder, depth):
        self.folder, self.depth = pathlib.Path(folder), depth
    def __call__(self, what):
        (self.folder / f"{os.getpid()}.pid").touch()
        if self.depth:
            two = [ResumableTask("a", 1), ResumableTask("b", 2)]
            run_tasks(two, partial(Work, str(self.folder), self.depth - 1), 2)
        time.sleep(600)

if __name__ == "__main__":
    run_tasks([ResumableTask("outer", 1)], partial(Work, sys.argv[1], 1), 1, fresh=True)
"""


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to look for processes")
def test_a_kill_of_the_first_process_ends_those_of_its_tasks_too(tmp_path: Path) -> None:
    (tmp_path / "nested.py").write_text(NESTED)
    with subprocess.Popen([sys.executable, str(tmp_path / "nested.py"), str(tmp_path)]) as process:
        try:
            deadline = time.monotonic() + 100
            while len(list(tmp_path.glob("*.pid"))) < 3 and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:
            process.kill()
    pids = [int(path.stem) for path in tmp_path.glob("*.pid")]
    assert len(pids) == 3
    deadline = time.monotonic() + 50
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_alive, pids))
