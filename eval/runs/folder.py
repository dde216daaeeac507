"""A run's folder: what lies in it, how it is held while a process asks, and how its answers are read.

    spec.json      what the run is: `records.RunSpec`. Replaced as a whole, never changed in place.
    items.jsonl    the questions of the run in the order of asking, one a line: id, audio, question, choices (the
                   file's order), gold, groups, content, orders (for each draw: place shown -> place in the file; empty
                   where nothing was shuffled). Scoring needs neither the data file nor the audio. Replaced as a whole.
    answers.jsonl  one complete line an answer, appended and never changed: `records.StoredAnswer`. Of several lines of
                   one question and draw (`--retry-failed`) the last counts.
    lock           held by the process that asks.
    silence/       the clips of `--audio silence`.
    responses/     replies of an endpoint, so that a resumed run does not pay for one twice.

Readers ignore a torn last line, so that a run can be scored while it goes on.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from lalm_agent.artefacts import (
    SPEC,
    Folder,
    Journal,
    Kind,
    MismatchError,
    json_line,
    read_lines,
    write_record,
    write_whole,
)
from lalm_agent.errors import DataError
from lalm_agent.eval.grade import Output, Outputs
from lalm_agent.eval.items import Item
from lalm_agent.eval.runs.plan import Plan
from lalm_agent.eval.runs.records import (
    SCHEMA,
    Key,
    RunIdentity,
    RunItem,
    RunSpec,
    Session,
    StoredAnswer,
    answer_fields,
    answer_of,
    item_fields,
    item_of,
    read_spec,
)
from lalm_agent.records import Method, Status

ITEMS, ANSWERS = "items.jsonl", "answers.jsonl"
SILENCE, RESPONSES = "silence", "responses"
RUN = Kind("run", "is asking the questions of", (SPEC, ITEMS), early=(f"{SPEC}.", ITEMS, RESPONSES))


class RunFolder(Folder):
    """A run's folder, held by this process alone; with `writes=False` it is only read.

        with RunFolder(Path("runs/mini"), writes=False) as run:
            replies = [answer.reply for answer in run.answers.values()]

    spec, items, answers: what is there; None and nothing for a new run.
    """

    kind = RUN

    def __init__(self, path: Path, writes: bool = True) -> None:
        """Look at nothing yet."""
        super().__init__(path, writes)
        self.spec: RunSpec | None = None
        self.items: list[RunItem] = []
        self.answers: dict[Key, StoredAnswer] = {}
        self._journal: Journal | None = None

    def read(self) -> None:
        """Read the run that is there. Raises DataError where its files are damaged."""
        if self.has_begun:
            self.spec = read_spec(self.path / SPEC)
            self.items = items_of(self.path, self.spec)
            self.answers = read_answers(self.path)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Make the disk keep the answers, and let go (see `Folder`)."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        super().__exit__(kind, error, trace)

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
        write_record(self.path / SPEC, self.spec)
        self._journal = self._journal or Journal(self.path / ANSWERS)
        return self.spec

    def keep(self, answer: StoredAnswer) -> None:
        """Append an answer; one thread at a time.

        Raises:
            StorageError: a full disk; nothing of the answer is kept then.
        """
        self._journal = self._journal or Journal(self.path / ANSWERS)
        self._journal.append(answer_fields(answer))
        self.answers[answer.key] = answer


def is_run(folder: Path) -> bool:
    """Whether the folder is that of a run."""
    return RUN.has_begun(folder)


def read_items(folder: Path) -> list[RunItem]:
    """The questions of a run in the order of asking.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / ITEMS
    return [item_of(fields, f"{path}:{number}") for number, fields in enumerate(read_lines(path), 1)]


def items_of(folder: Path, spec: RunSpec) -> list[RunItem]:
    """The questions of a run, all that its spec counts; a call that was killed may have added to them already.

    Raises:
        DataError: the file is damaged, or was cut off as by a copy that ended early.
    """
    items = read_items(folder)
    if len(items) < spec.selection.asked:
        raise DataError(
            f"{folder / ITEMS} holds {len(items)} of the run's {spec.selection.asked} questions",
            "the file is damaged: copy the run's folder again",
        )
    return items


def read_answers(folder: Path) -> dict[Key, StoredAnswer]:
    """The answers of a run so far; of several about one question and draw the last.

    Raises:
        DataError: the file is damaged before its last line.
    """
    path = folder / ANSWERS
    lines = enumerate(read_lines(path), 1)
    return {answer.key: answer for answer in (answer_of(fields, f"{path}:{number}") for number, fields in lines)}


def write_items(folder: Path, items: Iterable[RunItem]) -> None:
    """Write `items.jsonl`. Raises StorageError where that fails."""
    write_whole(folder / ITEMS, b"".join(json_line(item_fields(run_item)) for run_item in items))


def run_outputs(folder: Path, draw: int = 0) -> Outputs:
    """What a run gave in one draw, for scoring: nothing but the folder is read.

    The items have their choices in the order in which they were shown, because a reply such as "(B)" means that order.

    Raises:
        DataError: no run, a damaged one, or one without such a draw.
    """
    spec = read_spec(folder / SPEC)
    identity = spec.identity
    if not 0 <= draw < identity.draws:
        raise DataError(f"{folder} has no draw {draw}", f"it has {identity.draws}, counted from 0")
    run_items = items_of(folder, spec)
    answers = {id_: answer for (id_, of), answer in read_answers(folder).items() if of == draw}
    items = tuple(replace(run_item.item, choices=run_item.shown(draw)) for run_item in run_items)
    by_id: dict[str, Output] = {item.id: answers[item.id].output for item in items if item.id in answers}
    if identity.audio != "real":
        # Silence or another's clip is no name for the question's own.
        by_id = {id_: replace(output, audio_sha256=None) for id_, output in by_id.items()}
    return Outputs(
        name=folder.resolve().name,
        items=items,
        by_id=by_id,
        excluded=frozenset(id_ for id_ in by_id if answers[id_].seen),
        method=identity.method,
        # An oracle's types are the data's own: a matrix of them would show nothing.
        has_types=identity.method == Method.AGENT and identity.type_source == "model",
        fixed_items=spec.selection.limit is not None or bool(identity.modality or spec.selection.missing),
        without_sound=identity.without_sound,
        facts=_facts(spec),
        warnings=tuple(_warnings(spec, items, answers)),
    )


def _facts(spec: RunSpec) -> dict[str, str]:
    identity = spec.identity
    revision = f"@{identity.revision}" if identity.revision else ""
    return {
        "run": spec.run_id,
        "model": f"{identity.model}{revision}",
        "weights": identity.weights_sha256 or "unknown",
        **({"adapter": identity.adapter_sha256} if identity.adapter_sha256 else {}),
        "method": identity.method,
        "tools": ", ".join(f"{node}={tool}" for node, tool in identity.tools.items()),
        "decoding": f"max_new_tokens={identity.max_new_tokens}, temperature={identity.temperature:g}",
        "data": spec.data_version or f"{identity.data.name} {identity.data.sha256[:12]}",
        "dtype": identity.dtype,
        "choices": "shuffled" if identity.shuffle_choices else "in the file's order",
        "audio": str(identity.audio) if identity.hears_audio else "text only",
    }


def _warnings(spec: RunSpec, items: tuple[Item, ...], answers: dict[str, StoredAnswer]) -> Iterable[str]:
    unanswered = sum(item.id not in answers for item in items)
    failed = sum(answers[item.id].status is Status.FAILED for item in items if item.id in answers)
    identity, selection = spec.identity, spec.selection
    if unanswered:
        yield f"unfinished run: {unanswered} of {len(items)} questions have no answer yet and count as failed"
    if failed:
        yield f"{failed} questions failed; eval --retry-failed asks them again"
    if selection.missing:
        yield f"{len(selection.missing)} questions were left out because their clip is missing"
    if selection.faulty:
        yield f"{selection.faulty} faulty rows of the data were left out"
    if identity.audio != "real":
        what = "digital silence" if identity.audio == "silence" else "another question's clip"
        yield f"blind control: each question was asked with {what} in place of its clip"
    if not identity.hears_audio:
        yield "blind control: the model was asked by text only, without the clip"
    if identity.type_source != "model" or identity.content_source != "model":
        yield f"node attribution: type by {identity.type_source}, content by {identity.content_source}"
