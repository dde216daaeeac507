"""Holds a run's folder while a process asks: the lock, what is in it already, and whether it may go on."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.runs.plan import Plan
from lalm_agent.eval.runs.spec import SCHEMA, Identity, RunSpec, Session, differences, read_spec
from lalm_agent.eval.runs.store import (
    ITEMS,
    LOCK,
    RESPONSES,
    SPEC,
    is_run,
    items_of,
    read_answers,
    write_items,
    write_spec,
)
from lalm_agent.eval.runs.stored import Asked, Key, StoredAnswer

_UNKNOWN_BEFORE_LOADING = ("revision", "weights_sha256", "adapter_sha256", "dtype")


class MismatchError(UsageError):
    """The folder is that of another run. `fields` has one line for each difference."""

    def __init__(self, folder: Path, fields: Sequence[str]) -> None:
        """Name the fields; their values are for whoever prints `fields`."""
        names = ", ".join(line.partition(":")[0] for line in fields)
        super().__init__(f"{folder} is another run; what differs: {names}", "give this one another --out")
        self.fields = tuple(fields)


class RunFolder:
    """A run's folder, held by this process alone. A context manager.

    spec, items, answers: what is there; None and nothing for a new run.
    """

    def __init__(self, path: Path) -> None:
        """Look at nothing yet."""
        self.path = path
        self.spec: RunSpec | None = None
        self.items: list[Asked] = []
        self.answers: dict[Key, StoredAnswer] = {}
        self._lock = FileLock(path / LOCK, timeout=0, thread_local=False)
        self._made = False

    def __enter__(self) -> Self:
        """Make the folder where there is none, lock it and read it.

        Raises:
            UsageError: another process holds it, or it holds something else than a run.
            DataError: it cannot be made, or its files are damaged.
        """
        self._refuse_other_contents()
        try:
            self._made = not self.path.exists()
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout:
            raise UsageError(
                f"another process is asking the questions of {self.path}", "wait for it, or give another --out"
            ) from None
        except OSError as error:
            reason = error.strerror or error
            raise DataError(f"{self.path} cannot be written: {reason}", "give another --out") from error
        try:
            if is_run(self.path):
                self.spec = read_spec(self.path / SPEC)
                self.items = items_of(self.path, self.spec)
                self.answers = read_answers(self.path)
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go; a folder that was made for a run that never came is taken away again."""
        if self._made and not is_run(self.path):
            with contextlib.suppress(OSError):
                for left in [*self.path.glob(f"{RESPONSES}*"), self.path / LOCK]:
                    left.unlink(missing_ok=True)
                self.path.rmdir()
        self._lock.release()

    def check(self, identity: Identity, loaded: bool = True) -> None:
        """Refuse a run whose identity is not that of the folder's.

        loaded: whether the fields that only a loaded model knows are known; without, they are not compared.

        Raises:
            MismatchError: with all differences.
        """
        if self.spec is None:
            return
        old = self.spec.identity
        if not loaded:
            identity = identity.model_copy(update={name: getattr(old, name) for name in _UNKNOWN_BEFORE_LOADING})
        fields = differences(old, identity)
        if fields:
            raise MismatchError(self.path, fields)

    def grown(self, identity: Identity) -> Identity:
        """The same with as many draws as the folder has, where that is more: a run never shrinks."""
        there = self.spec.identity.draws if self.spec else 0
        return identity.model_copy(update={"draws": max(identity.draws, there)})

    def begin(self, identity: Identity, plan: Plan, session: Session) -> RunSpec:
        """Write what the run is before its first question, or that it goes on, perhaps with more questions.

        Raises:
            MismatchError: see `check`.
            StorageError: nothing can be written.
        """
        self.check(identity)
        identity = self.grown(identity)
        # The items first: with a spec but without all of its items a folder would look complete too early.
        if list(plan.items) != self.items:
            write_items(self.path, plan.items)
            self.items = list(plan.items)
        self.spec = RunSpec(
            schema=SCHEMA,
            run_id=identity.run_id,
            created=self.spec.created if self.spec else session.started,
            identity=identity,
            data_version=plan.data_version,
            selection=plan.selection,
            sessions=(*(self.spec.sessions if self.spec else ()), session),
        )
        write_spec(self.path, self.spec)
        return self.spec

    def _refuse_other_contents(self) -> None:
        if not self.path.exists() or is_run(self.path):
            return
        if not self.path.is_dir():
            raise UsageError(f"{self.path} is a file", "--out is the folder of the run")
        strangers = sorted(entry.name for entry in self.path.iterdir() if not _ours(entry.name))
        if strangers:
            raise UsageError(f"{self.path} is no run and not empty: it holds {strangers[0]}", "give another --out")


def _ours(name: str) -> bool:
    """What a run that was killed before its first question leaves behind."""
    return name == LOCK or name.startswith((f"{SPEC}.", ITEMS, RESPONSES))
