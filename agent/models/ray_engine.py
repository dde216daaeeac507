"""Models and tasks on the workers of a Ray cluster: this machine's own, or one of many machines (the extra `ray`).

    engine = RayEngine(workers=8, address="auto")
    run = evaluate(EvaluateRequest(data="questions.jsonl", out="runs/idk", config=config, ray=engine))

Whoever calls stays the only writer of a run: it reads the clips, goes through the steps of the agent and keeps the
answers; a worker holds one model and computes what it is sent, clip included, so that it needs no file of the run. A
worker that dies is replaced, and what it was at is given to another one.
"""

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

from pydantic import Field

from lalm_agent.artefacts import Record
from lalm_agent.config import AgentConfig
from lalm_agent.errors import LalmError, PermanentBackendError, UsageError
from lalm_agent.jobs import ResumableTask, TaskObserver, Work, next_task
from lalm_agent.models.base import LALM, ModelSpec, Request, Response, token_counter
from lalm_agent.models.wrappers import MicroBatch, OneAtATime
from lalm_agent.registry import require_extra
from lalm_agent.terminal import say

Load = Callable[[AgentConfig, int], tuple[LALM, LALM]]
"""Loads the model of a config, and the same with the config's adapter on, in a worker: (config, rows)."""

_MOST_DEATHS = 3
"""So many workers may die of one piece of work, or while they load, before it counts as the cause."""
_KEPT_HOMES = 4096
_LOOK_S, _TELL_S, _REACH_S = 0.2, 15.0, 20.0
_STORE_BYTES = 2**29
"""Of a cluster of this machine's own, for the clips that are under way."""


class RayEngine(Record):
    """Which cluster computes.

    workers: how many at a time, each with a model of its own. address: of a running cluster, `auto` or HOST:PORT; None
    starts one of this machine alone, which lasts as long as this process. gpus: of each worker, a part such as 0.5 to
    share one; None for 1 where the cluster has GPUs and the device is not the CPU.
    """

    workers: int = Field(ge=1)
    address: str | None = None
    gpus: float | None = Field(default=None, ge=0)

    def __str__(self) -> str:
        return f"ray, {self.workers} workers"


def connect(engine: RayEngine) -> Any:
    """The module `ray`, connected to the cluster; a connection that this process has already is used as it is.

    Raises UsageError where Ray is not installed, or the cluster cannot be reached.
    """
    require_extra("ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # By default Ray tries to reach a cluster that is not there for a quarter of an hour.
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")
    if engine.address is None or engine.address.startswith(("127.", "localhost:")):
        # Ray has a switch for a cluster on the loopback, which nobody else reaches, but only under this name.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    if engine.address is None:
        # As fast as in one process, and another user of this machine has to know a secret.
        os.environ.setdefault("RAY_worker_niceness", "0")
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    ray: Any = import_module("ray")
    if ray.is_initialized():
        return ray
    own: dict[str, Any] = {"num_cpus": engine.workers, "object_store_memory": _STORE_BYTES, "include_dashboard": False}
    more = own if engine.address is None else {}
    # Ray writes of each worker that dies to stdout, which belongs to what a command prints; there is no setting for it.
    ray._private.worker.print_to_stdstream = lambda *_, **__: None
    try:
        if engine.address is not None and engine.address != "auto":
            host, _, port = engine.address.rpartition(":")
            socket.create_connection((host, int(port)), _REACH_S).close()
        ray.init(engine.address or "local", log_to_driver=False, logging_level="ERROR", **more)
    except Exception as error:  # of gRPC, the file system, and what Ray makes of them
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        where = f"the Ray cluster {engine.address} cannot be used" if engine.address else "Ray does not start here"
        raise UsageError(f"{where}: {reason}", "ray start --head starts one, and prints its --address") from error
    return ray


# --- in a worker -----------------------------------------------------------------------------------------------------


class _Worker:
    """An actor. Its work is made by a call of its own, because Ray passes on no error of an actor's making."""

    def begin(self, make: Callable[[], Work], folder: str) -> tuple[str, Any]:
        """(host, what the work says of itself). folder: the caller's, from which relative paths count."""
        with suppress(OSError):  # a model of the hub needs no folder; what does need one says so itself
            os.chdir(folder)
        try:
            self._work = make()
        except LalmError as error:
            error.message = f"the worker on {socket.gethostname()}: {error.message}"
            raise
        return socket.gethostname(), getattr(self._work, "described", None)

    def do(self, what: Any) -> Any:
        return self._work(what)


@dataclass(frozen=True, slots=True)
class _Described:
    """What there is to know of a worker's model: adapter, or None -> spec; whether it counts tokens."""

    specs: dict[str | None, ModelSpec]
    counts_tokens: bool


class _ModelWork:
    """Answers requests: (adapter or None, requests) -> responses, (adapter or None, text) -> number of tokens."""

    def __init__(self, load: Load, config: AgentConfig, rows: int, batch: int) -> None:
        model, adapted = load(config, rows)
        models = {None: model, config.adapter: adapted}
        lock, counter = threading.Lock(), token_counter(model)
        alone = {name: OneAtATime(own, lock) for name, own in models.items()}
        self._models: Mapping[str | None, LALM] = (
            alone if batch == 1 else {name: MicroBatch(own, batch) for name, own in alone.items()}
        )
        self._lock, self._tokens_of = lock, counter
        self.described = _Described({name: own.spec for name, own in models.items()}, counter is not None)

    def __call__(self, what: tuple[str | None, Sequence[Request] | str]) -> list[Response] | int:
        adapter, asked_for = what
        if not isinstance(asked_for, str):
            return self._models[adapter].generate(asked_for)
        assert self._tokens_of is not None
        with self._lock:
            return self._tokens_of(asked_for)


# --- the pool --------------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Actor:
    """A worker as seen from here. ready: what its beginning returns. host: None until it has begun. out: its calls."""

    handle: Any
    ready: Any
    host: str | None = None
    out: int = 0


class RayPool:
    """Workers that do calls of any thread; a call that a worker dies of is done again by another one.

    make: makes what does the work, once in each worker; picklable. room: calls that a worker takes at a time.
    device: that of the config, which says whether a worker needs a GPU.

    Raises:
        UsageError: there is no Ray or no cluster, or it has no room for so many workers; and what `make` raises where
            no worker can begin.
    """

    def __init__(self, engine: RayEngine, make: Callable[[], Work], room: int = 1, device: str = "auto") -> None:
        self._ray = ray = connect(engine)
        there = ray.cluster_resources()
        gpus = engine.gpus if engine.gpus is not None else float(there.get("GPU", 0) > 0 and device != "cpu")
        self._needs = {"CPU": 1.0, "GPU": gpus}
        for name, each in self._needs.items():
            if there.get(name, 0) < each * engine.workers:
                raise UsageError(
                    f"{engine.workers} workers need {each * engine.workers:g} {name}s, and the Ray cluster has "
                    f"{there.get(name, 0):g}",
                    "--workers FEWER, --gpus-per-worker 0.5 to share a GPU, or more nodes",
                )
        options = {"num_cpus": 1, "num_gpus": gpus, "max_concurrency": room, "max_restarts": 0}
        self._make_actor = ray.remote(_Worker).options(**options).remote
        self._make, self._room, self._workers = ray.put(make), room, engine.workers
        self._change, self._closed = threading.Condition(), False
        self._homes = dict[str, _Actor]()
        self._early_deaths, self._told = 0, time.monotonic()
        self._actors = [self._started() for _ in range(engine.workers)]
        self.described: Any = None
        try:
            self._give_back(self._take(None))
        except BaseException:
            self.close()
            raise

    def call(self, what: Any, key: str | None = None) -> Any:
        """Have a worker do it, and wait. key: the same for calls that one worker should do while it has room.

        Raises what the work raises, and PermanentBackendError where several workers died of it, or none is left.
        """
        for _ in range(_MOST_DEATHS):
            actor = self._take(key)
            try:
                return self._ray.get(actor.handle.do.remote(what))
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from error
            except self._ray.exceptions.RayError:
                self._bury(actor)
            finally:
                self._give_back(actor)
        raise PermanentBackendError(
            f"{_MOST_DEATHS} workers died of the same work, the last one on {actor.host}",
            "is its memory full? a smaller batch, or fewer workers on a machine",
        )

    def run_tasks(self, tasks: Sequence[ResumableTask], observer: TaskObserver) -> None:
        """`jobs.run_tasks` on the workers, of tasks none of which is to be alone; the pool is closed after it."""
        left, out = list(tasks), dict[Future[Any], tuple[ResumableTask, float]]()
        threads = ThreadPoolExecutor(self._workers, "ray")
        try:
            while left or out:
                running = [task for task, _ in out.values()]
                while len(out) < self._workers and (task := next_task(left, running)) is not None:
                    left.remove(task)
                    running.append(task)
                    observer.began(task)
                    out[threads.submit(self.call, task.what)] = task, time.monotonic()
                if not out:
                    raise ValueError("the tasks need one another in a circle")
                for done in wait(out, _LOOK_S, FIRST_COMPLETED).done:
                    result = done.result()
                    task, since = out.pop(done)
                    observer.ended(task, result, time.monotonic() - since)
        finally:
            self.close()
            threads.shutdown()
            for task, since in out.values():
                observer.stopped(task, time.monotonic() - since)

    def close(self) -> None:
        """End all workers, whatever they are at."""
        with self._change:
            self._closed = True
            for actor in self._actors:
                self._ray.kill(actor.handle)
            self._change.notify_all()

    def _started(self) -> _Actor:
        handle = self._make_actor()
        return _Actor(handle, handle.begin.remote(self._make, os.getcwd()))

    def _take(self, key: str | None) -> _Actor:
        """A worker with room, the same for the same key where that one has some; waits for one."""
        with self._change:
            while True:
                if self._closed:
                    raise PermanentBackendError("the workers were ended")
                self._welcome()
                up = [actor for actor in self._actors if actor.host is not None]
                if not up:
                    self._tell()
                free = [actor for actor in up if actor.out < self._room]
                if free:
                    actor = min(free, key=lambda actor: actor.out)
                    if key is not None:
                        if len(self._homes) > _KEPT_HOMES:
                            self._homes.clear()
                        home = self._homes.setdefault(key, actor)
                        actor = self._homes[key] = home if home in free else actor
                    actor.out += 1
                    return actor
                self._change.wait(_LOOK_S)

    def _give_back(self, actor: _Actor) -> None:
        with self._change:
            actor.out -= 1
            self._change.notify_all()

    def _welcome(self) -> None:
        """Look after workers that begin. Raises what making their work raised, and UsageError for unlike models."""
        for place, actor in enumerate(self._actors):
            if actor.host is not None or not self._ray.wait([actor.ready], timeout=0)[0]:
                continue
            try:
                host, described = self._ray.get(actor.ready)
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from error
            except self._ray.exceptions.RayError as error:
                self._early_deaths += 1
                if self._early_deaths == _MOST_DEATHS:
                    raise PermanentBackendError("workers die while they load", "is their memory full?") from error
                self._actors[place] = self._started()
                continue
            self.described = self.described or described
            if described != self.described:
                raise UsageError(
                    f"the worker on {host} loaded another model than the first one", "the same files on all"
                )
            actor.host, self._early_deaths = host, 0

    def _tell(self) -> None:
        """Say that no worker is there yet. Raises PermanentBackendError where none can come."""
        there = self._ray.cluster_resources()
        if any(there.get(name, 0) < each for name, each in self._needs.items()):
            hint = "the same command goes on from what is there, once the cluster has nodes again"
            raise PermanentBackendError("no worker is left, and the Ray cluster has no room for another one", hint)
        if time.monotonic() > self._told + _TELL_S:
            free, self._told = self._ray.available_resources(), time.monotonic()
            say(f"waiting for a worker and its model; free: {free.get('CPU', 0):g} CPUs, {free.get('GPU', 0):g} GPUs")

    def _bury(self, actor: _Actor) -> None:
        """Put another worker in the place of one that died."""
        with self._change:
            if self._closed or actor not in self._actors:
                return
            self._actors[self._actors.index(actor)] = self._started()
            say(f"warning: the worker on {actor.host} died; what it was at is done again by another one")
            self._ray.kill(actor.handle)  # it may live on behind a cut connection


# --- the model -------------------------------------------------------------------------------------------------------


class RayLALM:
    """A model that computes on the workers of a pool, for as many threads as these have room for."""

    takes_threads = True

    def __init__(self, pool: RayPool, adapter: str | None = None) -> None:
        self._pool, self._adapter = pool, adapter
        self.spec: ModelSpec = pool.described.specs[adapter]

    def with_adapter(self, folder: str) -> "RayLALM":
        """The same workers with the config's adapter on."""
        return RayLALM(self._pool, folder)

    @property
    def tokens_of(self) -> Callable[[str], int] | None:
        """The model's own (`base.token_counter`), counted by a worker."""
        return self._count if self._pool.described.counts_tokens else None

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """Have all of them answered by one worker, which keeps what it made of their clip. Raises as `RayPool.call`."""
        key = next((request.sound.ref.sha256 for request in requests if request.sound is not None), None)
        responses: list[Response] = self._pool.call((self._adapter, list(requests)), key)
        return responses

    def _count(self, text: str) -> int:
        tokens: int = self._pool.call((self._adapter, text))
        return tokens


def load_on_ray(load: Load, engine: RayEngine, batch: int, stack: ExitStack, config: AgentConfig, rows: int) -> RayLALM:
    """The model of a config on each of the workers, with the config's adapter at hand. Raises as `RayPool`.

    batch: prompts of several threads that a worker computes at once. stack: ends the workers. rows: as of `load_model`.
    """
    pool = RayPool(engine, partial(_ModelWork, load, config, rows, batch), batch, config.device)
    stack.callback(pool.close)
    return RayLALM(pool)
