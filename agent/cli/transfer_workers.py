"""Several processes of one thread each that take tasks from a list, end with this process, and say what they finish.

A matrix of a small model gains little from a second thread; two processes side by side do twice as much.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from lalm_agent.errors import LalmError, PermanentBackendError

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_PATIENCE_S = 5.0
_BUG = "this is a bug; --debug shows where"

Tell = Callable[[Any], None]


class Work(Protocol):
    """Does one task after the other in a process, and keeps what they share."""

    def __call__(self, task: Any, tell: Tell) -> None:
        """Do a task. tell: takes a picklable message for the process that waits."""
        ...


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
    task: Any = None


def run_tasks(tasks: Sequence[Any], make: Callable[[], Work], processes: int, told: Callable[[Any], None]) -> None:
    """Have all tasks done, in their order; returns when the last is.

    With one process they are done here, one after the other, and Ctrl-C reaches the task itself. With several, each
    takes the next task as it is free; a Ctrl-C, a failure or the death of this process ends them all at once, so a
    task must leave nothing half done that counts as whole.

    Args:
        tasks: picklable.
        make: makes what does them, once in each process; picklable.
        processes: how many.
        told: is called here with each message.

    Raises:
        WorkerError: a task failed in another process. In this one its own error comes through.
        PermanentBackendError: a process died.
    """
    if processes == 1 or len(tasks) < 2:
        work = make()
        for task in tasks:
            work(task, told)
        return
    workers: list[_Worker] = []
    try:
        with _one_thread(), _deaf_to_ctrl_c():
            for _ in range(min(processes, len(tasks))):
                workers.append(_started(make))
        _serve(deque(tasks), workers, told)
    finally:
        _end(workers)


def _serve(tasks: deque[Any], workers: Sequence[_Worker], told: Callable[[Any], None]) -> None:
    for worker in workers:
        _hand_out(worker, tasks)
    by_connection = {worker.connection: worker for worker in workers}
    while busy := [worker.connection for worker in workers if worker.task is not None]:
        for connection in wait(busy):
            worker = by_connection[connection]  # type: ignore[index]
            try:
                kind, message = worker.connection.recv()
            except (EOFError, OSError):
                raise _died(worker) from None
            if kind == "failed":
                raise message.error()
            if kind == "done":
                _hand_out(worker, tasks)
            else:
                told(message)


def _hand_out(worker: _Worker, tasks: deque[Any]) -> None:
    worker.task = tasks.popleft() if tasks else None
    try:
        worker.connection.send(worker.task)
    except OSError:
        raise _died(worker) from None


def _died(worker: _Worker) -> PermanentBackendError:
    worker.process.join(_PATIENCE_S)
    return PermanentBackendError(
        f"a worker process ended with exit code {worker.process.exitcode} in the middle of its work",
        "is the memory full? --jobs 1 needs less; the same command goes on from what is there",
    )


def _started(make: Callable[[], Work]) -> _Worker:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_child, args=(there, make), daemon=True)
    process.start()
    there.close()
    return _Worker(process, here)


def _end(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        worker.connection.close()
        if worker.task is not None:
            worker.process.terminate()
    for worker in workers:
        worker.process.join(_PATIENCE_S)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Processes that are started within compute in one thread: libraries read this as they are loaded."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
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
        while (task := connection.recv()) is not None:
            work(task, lambda message: connection.send(("told", message)))
            connection.send(("done", None))
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
