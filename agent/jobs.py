"""One runner for independent tasks that can go on where they stopped: here, or in several processes at once.

A task must leave nothing half done that counts as whole: a Ctrl-C, a failure or the death of this process ends all
processes at once, and a later call begins with what is left. A task may need others that come before it.

A matrix of a small model gains little from a second thread; two processes side by side do twice as much.

Not `concurrent.futures`: its process pool ends no task that runs (before Python 3.14), says nothing of how a worker
died, and can hang where each task has a process of its own.

Beside it, `run_async`: what is asynchronous, from code that is not.
"""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from lalm_agent.errors import LalmError, PermanentBackendError

_T = TypeVar("_T")

Work = Callable[[Any], Any]
"""Does the tasks of one process in turn and keeps what they share: `ResumableTask.what` -> a picklable result."""

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class ResumableTask:
    """What is done once. Picklable.

    what: for whoever does it. needs: names of tasks that must be done before; one that is not in the list is done.
    alone: whether no other task may run beside it, because it shares the machine out by itself.
    """

    name: str
    what: Any
    needs: tuple[str, ...] = ()
    alone: bool = False


class TaskObserver:
    """Is told how the tasks go, in the process that called `run_tasks`. Every method does nothing here."""

    def began(self, task: ResumableTask) -> None:
        """A task is handed out."""

    def ended(self, task: ResumableTask, result: Any, seconds: float) -> None:
        """A task is done. result: what its work returned; seconds: since it was handed out."""

    def stopped(self, task: ResumableTask, seconds: float) -> None:
        """A task failed, or was stopped before its end."""


class WorkerError(LalmError):
    """What went wrong in another process, with its message, hint and exit code; its traceback is a note."""

    def __init__(self, message: str, hint: str | None, exit_code: int, trace: str) -> None:
        super().__init__(message, hint)
        self.exit_code = exit_code
        self.add_note(trace)


@dataclass(slots=True, eq=False)
class _Worker:
    """A process as seen from here. task: what it is at; None while it has nothing."""

    process: BaseProcess
    connection: Connection
    task: ResumableTask | None = None
    since: float = 0.0


def run_tasks(
    tasks: Sequence[ResumableTask],
    make: Callable[[], Work],
    processes: int,
    observer: TaskObserver | None = None,
    threads: int | None = 1,
    fresh: bool = False,
) -> None:
    """Have all tasks done, each as soon as what it needs is done, else in their order; returns when the last is.

    With one process they are done here, one after the other, and Ctrl-C reaches the task itself.

    tasks: of different names.
    make: makes what does them, once in each process; picklable.
    processes: how many at a time.
    threads: with which each of several processes computes, None for no limit; a task that runs alone has none.
    fresh: run each task in a process of its own, which ends with it, also where one runs at a time.

    Raises:
        WorkerError: a task failed in another process. In this one its own error comes through.
        PermanentBackendError: a process died.
        ValueError: tasks need one another in a circle.
    """
    observer = observer or TaskObserver()
    if fresh or (processes > 1 and len(tasks) > 1):
        _Pool(tasks, make, observer, threads, fresh).run(processes)
        return
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


def next_task(left: Sequence[ResumableTask], running: Sequence[ResumableTask]) -> ResumableTask | None:
    """The first task that may begin beside those that run; None where none may. left: not begun."""
    if any(task.alone for task in running):
        return None
    waiting = {task.name for task in (*left, *running)}
    for task in left:
        if waiting.isdisjoint(task.needs) and not (task.alone and running):
            return task
    return None


def _required(task: ResumableTask | None) -> ResumableTask:
    if task is None:
        raise ValueError("the tasks need one another in a circle")
    return task


class _Pool:
    """Processes that take tasks as they are free."""

    def __init__(
        self,
        tasks: Sequence[ResumableTask],
        make: Callable[[], Work],
        observer: TaskObserver,
        threads: int | None,
        fresh: bool,
    ) -> None:
        self._left, self._workers = list(tasks), list[_Worker]()
        self._make, self._observer, self._threads, self._fresh = make, observer, threads, fresh

    def run(self, processes: int) -> None:
        try:
            while self._left or self._busy:
                while len(self._busy) < processes and self._hand_out():
                    pass
                for connection in wait([worker.connection for worker in self._busy]):
                    self._receive(next(worker for worker in self._workers if worker.connection is connection))
        finally:
            self._end()

    @property
    def _busy(self) -> dict[_Worker, ResumableTask]:
        return {worker: worker.task for worker in self._workers if worker.task is not None}

    def _hand_out(self) -> bool:
        """Give one task to a process; False where none may begin now."""
        running = list(self._busy.values())
        task = next_task(self._left, running)
        if task is None:
            if self._left and not running:
                _required(None)
            return False
        worker = next((worker for worker in self._workers if worker.task is None), None)
        if worker is None:
            worker = _started(self._make, None if task.alone else self._threads)
            self._workers.append(worker)
        self._left.remove(task)
        worker.task, worker.since = task, time.monotonic()
        self._observer.began(task)
        with _death_of(worker):
            worker.connection.send(task.what)
        return True

    def _receive(self, worker: _Worker) -> None:
        with _death_of(worker):
            is_done, result = worker.connection.recv()
        if not is_done:
            raise WorkerError(*result)
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


@contextlib.contextmanager
def _death_of(worker: _Worker) -> Iterator[None]:
    """An end of the connection is the process's death."""
    try:
        yield
    except (EOFError, OSError):
        worker.process.join(_PATIENCE_S)
        raise PermanentBackendError(
            f"a worker process ended with exit code {worker.process.exitcode} in the middle of its work",
            "is the memory full? --jobs 1 needs less; the same command goes on from what is there",
        ) from None


def _started(make: Callable[[], Work], threads: int | None) -> _Worker:
    """A process that computes in so many threads (libraries read that as they are loaded) and is deaf to Ctrl-C."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    # Not a daemon: a task may have processes of its own. `_end_with_parent` ends it with this process.
    process = context.Process(target=_child, args=(there, make))
    before = {name: os.environ.get(name) for name in _THREADS}
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if is_main else None
    try:
        if threads is not None:
            os.environ.update(dict.fromkeys(_THREADS, str(threads)))
        process.start()
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ |= {} if value is None else {name: value}
        if is_main:
            signal.signal(signal.SIGINT, handler)
    there.close()
    return _Worker(process, here)


def _child(connection: Connection, make: Callable[[], Work]) -> None:
    # Ctrl-C is the first process's affair, which then ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work = make()
        while True:
            connection.send((True, work(connection.recv())))
    except (EOFError, BrokenPipeError):
        return
    except BaseException as error:  # what is not sent would look like a death
        trace = "".join(traceback.format_exception(error))
        message, hint, exit_code = f"{type(error).__name__}: {error}", "this is a bug; --debug shows where", 1
        if isinstance(error, LalmError):
            message, hint, exit_code = error.message, error.hint or "", error.exit_code
        with contextlib.suppress(OSError):
            connection.send((False, (message, hint or None, exit_code, trace)))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


# --- asynchronous work ----------------------------------------------------------------------------------------------


def run_async(work: Coroutine[Any, Any, _T]) -> _T:
    """The coroutine's result, from the loop of all requests; a caller may be inside a loop of its own (a notebook)."""

    async def outcome() -> _T | Exception:
        try:
            return await work
        except ExceptionGroup as failed:
            return failed.exceptions[0]
        except Exception as error:
            return error

    # It takes the caller's context along.
    future = asyncio.run_coroutine_threadsafe(outcome(), request_loop())
    try:
        result = future.result()
    except BaseException:
        # Ctrl-C: nobody waits for what is under way.
        future.cancel()
        raise
    # Raised here and not where it arose: nothing foreign is chained to it that a traceback would print.
    if isinstance(result, Exception):
        raise result
    return result


_LOOPS: dict[int, asyncio.AbstractEventLoop] = {}
_LOOPS_LOCK = threading.Lock()


def request_loop() -> asyncio.AbstractEventLoop:
    """The event loop of this process's requests; a process that was forked has its own."""
    with _LOOPS_LOCK:
        loop = _LOOPS.get(os.getpid())
        if loop is None:
            loop = _LOOPS[os.getpid()] = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="endpoints", daemon=True).start()
    return loop
