"""Holds a run's folder while a process asks: what is in it already, and whether it may go on."""

from pathlib import Path

from lalm_agent.artefacts import SPEC, Folder, Kind, MismatchError
from lalm_agent.eval.runs.plan import Plan
from lalm_agent.eval.runs.spec import SCHEMA, RunIdentity, RunSpec, Session, read_spec
from lalm_agent.eval.runs.store import ITEMS, RESPONSES, items_of, read_answers, write_items, write_spec
from lalm_agent.eval.runs.stored import Asked, Key, StoredAnswer

RUN = Kind("run", "is asking the questions of", (SPEC, ITEMS), early=(f"{SPEC}.", ITEMS, RESPONSES))


class RunFolder(Folder):
    """A run's folder, held by this process alone. A context manager.

    spec, items, answers: what is there; None and nothing for a new run.
    """

    kind = RUN

    def __init__(self, path: Path) -> None:
        """Look at nothing yet."""
        super().__init__(path)
        self.spec: RunSpec | None = None
        self.items: list[Asked] = []
        self.answers: dict[Key, StoredAnswer] = {}

    def read(self) -> None:
        """Read the run that is there. Raises DataError where its files are damaged."""
        if self.has_begun:
            self.spec = read_spec(self.path / SPEC)
            self.items = items_of(self.path, self.spec)
            self.answers = read_answers(self.path)

    def check(self, identity: RunIdentity, loaded: bool = True) -> None:
        """Refuse a run whose identity is not that of the folder's.

        loaded: whether the fields that only a loaded model knows are known; without, they are not compared.

        Raises:
            MismatchError: with all differences.
        """
        changes = self.spec.identity.changes(identity, loaded) if self.spec else []
        if changes:
            raise MismatchError(self.path, changes)

    def grown(self, identity: RunIdentity) -> RunIdentity:
        """The same with as many draws as the folder has, where that is more: a run never shrinks."""
        there = self.spec.identity.draws if self.spec else 0
        return identity.model_copy(update={"draws": max(identity.draws, there)})

    def begin(self, identity: RunIdentity, plan: Plan, session: Session) -> RunSpec:
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
