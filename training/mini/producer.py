"""A process that makes batches ahead of the training. A thread would share the interpreter's lock with it."""

import multiprocessing
import os
import queue
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lalm_agent.errors import PermanentBackendError
from lalm_agent.training.mini.batches import Batcher, Raw
from lalm_agent.training.mini.heads import all_labels
from lalm_agent.training.mini.packing import Packer
from lalm_agent.training.mini.recipe import Plan
from lalm_agent.training.mini.store import read_shards
from lalm_agent.training.mini.tokenizer import load_core

_AHEAD = 8
_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Source:
    """Where the producer finds what it needs; small enough to cross into its process."""

    cache: Path
    shards: tuple[str, ...]
    tokenizer: Path
    plan: Plan
    part: tuple[int, int] = (0, 1)


def open_batcher(source: Source) -> Batcher:
    """The batcher over the source's shards."""
    packer = Packer(load_core(source.tokenizer))
    return Batcher(read_shards(source.cache, source.shards), packer, all_labels(), source.plan, source.part)


def _produce(source: Source, first: int, out: Any, parent: int) -> None:
    """The process's work: batches into the queue until the parent is gone."""
    for raw in open_batcher(source).stream(first):
        while True:
            try:
                out.put(raw, timeout=5)
                break
            except queue.Full:
                if os.getppid() != parent:
                    out.cancel_join_thread()
                    return


class Producer:
    """Runs `_produce` in a process of its own; use it as a context manager."""

    def __init__(self, source: Source, first: int) -> None:
        """first: number of the first batch."""
        context = multiprocessing.get_context("spawn")
        self._queue: Any = context.Queue(_AHEAD)
        arguments = (source, first, self._queue, os.getpid())
        self._process = context.Process(target=_produce, args=arguments, daemon=True)

    def __enter__(self) -> "Producer":
        """Start the process."""
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the process; batches not taken are lost, which is no loss: they can be made again."""
        self._process.terminate()
        self._process.join()
        self._queue.close()
        self._queue.cancel_join_thread()

    def __iter__(self) -> Iterator[Raw]:
        """Batches in order.

        Raises:
            PermanentBackendError: the process died or makes nothing any more.
        """
        while True:
            try:
                yield self._queue.get(timeout=_PATIENCE_S)
            except queue.Empty as error:
                state = "is stuck" if self._process.is_alive() else f"ended with {self._process.exitcode}"
                raise PermanentBackendError(
                    f"the process that makes the batches {state}", "see its message above; run again to resume"
                ) from error
