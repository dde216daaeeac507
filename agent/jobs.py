"""One runner for independent tasks that can go on where they stopped: here, or in several processes at once.

A task must leave nothing half done that counts as whole: a Ctrl-C, a failure or the death of this process ends all
processes at once, and a later call begins with what is left. A task may need others that come before it.

A matrix of a small model gains little from a second thread; two processes side by side do twice as much.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from lalm_agent.errors import LalmError, PermanentBackendError

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_PATIENCE_S = 5.0
_BUG = "this is a bug; --debug shows where"


@dataclass(frozen=True, slots=True)
class Task:
    """What is done once. Picklable.

    what: for whoever does it. needs: names of tasks that must be done before; one that is not in the list is done.
    alone: whether no other task may run beside it, because it shares the machine out by itself.
    """

    name: str
    what: Any
    needs: tuple[str, ...] = ()
    alone: bool = False


class Work(Protocol):
    """Does one task after the other in a process, and keeps what they share."""

    def __call__(self, what: Any, /) -> Any:
        """Do a task; what came of it, picklable."""
        ...


class Observer:
    """Is told how the tasks go, in the process that called `run_tasks`. Every method does nothing here."""

    def began(self, task: Task) -> None:
        """A task is handed out."""

    def ended(self, task: Task, result: Any, seconds: float) -> None:
        """A task is done. result: what its work gave; seconds: since it was handed out."""

    def stopped(self, task: Task, seconds: float) -> None:
        """A task failed, or was stopped before its end."""


class WorkerError(LalmError):
    """What went wrong in another process, with its message, hint and exit code."""

    def __init__(self, message: str, hint: str | None, exit_code: int) -> None:
        """Keep all three."""
        super().__init__(message, hint)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class _Failure:
    """An error as it travels."""

    message: str
    hint: str | None
    exit_code: int
    trace: str

    @classmethod
    def of(cls, error: BaseException) -> "_Failure":
        trace = "".join(traceback.format_exception(error))
        if isinstance(error, LalmError):
            return cls(error.message, error.hint, error.exit_code, trace)
        return cls(f"{type(error).__name__}: {error}", _BUG, 1, trace)

    def error(self) -> WorkerError:
        error = WorkerError(self.message, self.hint, self.exit_code)
        error.add_note(self.trace)
        return error


@dataclass(slots=True, eq=False)
class _Worker:
    """A process as seen from here. task: what it is at; None while it has nothing."""

    process: BaseProcess
    connection: Connection
    task: Task | None = None
    since: float = 0.0


def run_tasks(
    tasks: Sequence[Task],
    make: Callable[[], Work],
    processes: int,
    observer: Observer | None = None,
    threads: int | None = 1,
    fresh: bool = False,
) -> None:
    """Have all tasks done, each as soon as what it needs is done, else in their order; returns when the last is.

    With one process they are done here, one after the other, and Ctrl-C reaches the task itself.

    Args:
        tasks: of different names.
        make: makes what does them, once in each process; picklable.
        processes: how many at a time.
        observer: is told how it goes.
        threads: with which each of several processes computes, None for no limit; a task that runs alone has none.
        fresh: give each task a process of its own, which ends with it, also where one runs at a time.

    Raises:
        WorkerError: a task failed in another process. In this one its own error comes through.
        PermanentBackendError: a process died.
        ValueError: tasks need one another in a circle.
    """
    observer = observer or Observer()
    if not fresh and (processes == 1 or len(tasks) < 2):
        _run_here(tasks, make, observer)
    else:
        _Pool(tasks, make, observer, threads, fresh).run(processes)


def next_task(left: Sequence[Task], running: Sequence[Task]) -> Task | None:
    """The first task that may begin beside those that run; None where none may. left: not begun."""
    if any(task.alone for task in running):
        return None
    waiting = {task.name for task in (*left, *running)}
    for task in left:
        if waiting.isdisjoint(task.needs) and not (task.alone and running):
            return task
    return None


def _run_here(tasks: Sequence[Task], make: Callable[[], Work], observer: Observer) -> None:
    left, work = list(tasks), make()
    while left:
        task = _required(next_task(left, ()))
        left.remove(task)
        observer.began(task)
        start = time.monotonic()
        try:
            result = work(task.what)
        except BaseException:
            observer.stopped(task, time.monotonic() - start)
            raise
        observer.ended(task, result, time.monotonic() - start)


def _required(task: Task | None) -> Task:
    if task is None:
        raise ValueError("the tasks need one another in a circle")
    return task


class _Pool:
    """Processes that take tasks as they are free."""

    def __init__(
        self, tasks: Sequence[Task], make: Callable[[], Work], observer: Observer, threads: int | None, fresh: bool
    ) -> None:
        self._left, self._workers = list(tasks), list[_Worker]()
        self._make, self._observer, self._threads, self._fresh = make, observer, threads, fresh

    def run(self, processes: int) -> None:
        try:
            while self._left or self._busy:
                self._hand_out(processes)
                for connection in wait([worker.connection for worker in self._busy]):
                    self._hear(next(worker for worker in self._workers if worker.connection is connection))
        finally:
            self._end()

    @property
    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.task is not None]

    def _hand_out(self, processes: int) -> None:
        while len(self._busy) < processes:
            running = [worker.task for worker in self._busy if worker.task is not None]
            task = next_task(self._left, running)
            if task is None:
                if not running and self._left:
                    _required(None)
                return
            worker = next((one for one in self._workers if one.task is None), None)
            if worker is None:
                worker = _started(self._make, None if task.alone else self._threads)
                self._workers.append(worker)
            self._left.remove(task)
            worker.task, worker.since = task, time.monotonic()
            self._observer.began(task)
            try:
                worker.connection.send(task.what)
            except OSError:
                raise _died(worker) from None

    def _hear(self, worker: _Worker) -> None:
        try:
            kind, result = worker.connection.recv()
        except (EOFError, OSError):
            raise _died(worker) from None
        if kind == "failed":
            raise result.error()
        task, worker.task = _required(worker.task), None
        if self._fresh:
            self._workers.remove(worker)
            worker.connection.close()
            worker.process.join(_PATIENCE_S)
        self._observer.ended(task, result, time.monotonic() - worker.since)

    def _end(self) -> None:
        for worker in self._workers:
            worker.connection.close()
            if worker.task is not None:
                worker.process.terminate()
        for worker in self._workers:
            worker.process.join(_PATIENCE_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            if worker.task is not None:
                self._observer.stopped(worker.task, time.monotonic() - worker.since)


def _died(worker: _Worker) -> PermanentBackendError:
    worker.process.join(_PATIENCE_S)
    return PermanentBackendError(
        f"a worker process ended with exit code {worker.process.exitcode} in the middle of its work",
        "is the memory full? --jobs 1 needs less; the same command goes on from what is there",
    )


def _started(make: Callable[[], Work], threads: int | None) -> _Worker:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    # Not a daemon: a task may have processes of its own. `_end_with_parent` ends it with this process.
    process = context.Process(target=_child, args=(there, make))
    with _limited_threads(threads), _deaf_to_ctrl_c():
        process.start()
    there.close()
    return _Worker(process, here)


@contextlib.contextmanager
def _limited_threads(threads: int | None) -> Iterator[None]:
    """Processes that are started within compute in so many threads: libraries read this as they are loaded."""
    before = {name: os.environ.get(name) for name in _THREADS}
    if threads is not None:
        os.environ.update(dict.fromkeys(_THREADS, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Processes that are started within do not hear it, not even while they load."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _child(connection: Connection, make: Callable[[], Work]) -> None:
    _leave_the_terminal()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work = make()
        while True:
            connection.send(("done", work(connection.recv())))
    except (EOFError, BrokenPipeError):
        return
    except BaseException as error:  # what is not sent would look like a death
        with contextlib.suppress(OSError):
            connection.send(("failed", _Failure.of(error)))


def _leave_the_terminal() -> None:
    """Ctrl-C is the first process's affair, which then ends this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgrp"):
        os.setpgrp()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
