"""A run's folder: what lies in it, how it is held while a process asks, and how its answers are read.

    spec.json      what the run is: `records.RunSpec`. Replaced as a whole, never changed in place.
    items.jsonl    the questions of the run in the order of their choice, one a line: id, audio, question, choices (the
                   file's order), gold, groups, content, orders (for each draw: place shown -> place in the file; empty
                   where nothing was shuffled). Scoring needs neither the data file nor the audio. Replaced as a whole.
    answers.jsonl  one complete line an answer, appended and never changed: `records.StoredAnswer`. Of several lines of
                   one question and draw (`--retry-failed`) the last counts.
    lock           held by the process that asks.
    silence/       the clips of `--audio silence`.
    responses/     replies of an endpoint, so that a resumed run does not pay for one twice.

Readers ignore a torn last line, so that a run can be scored while it goes on.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from lalm_agent.artefacts import (
    SPEC,
    Folder,
    FolderKind,
    Journal,
    MismatchError,
    json_line,
    read_lines,
    write_record,
    write_whole,
)
from lalm_agent.errors import DataError
from lalm_agent.eval.grade import Outputs, RuleScorer, grades_of
from lalm_agent.eval.items import Item
from lalm_agent.eval.runs import records
from lalm_agent.eval.runs.plan import Plan
from lalm_agent.eval.runs.records import Key, RunIdentity, RunItem, RunSpec, Session, StoredAnswer, read_spec
from lalm_agent.records import Method, Status
from lalm_agent.registry import require_extra

ITEMS, ANSWERS = "items.jsonl", "answers.jsonl"
SILENCE, RESPONSES = "silence", "responses"
RUN = FolderKind("run", "is asking the questions of", (SPEC, ITEMS), early=(f"{SPEC}.", ITEMS, RESPONSES))


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
            self.spec, self.items = read_questions(self.path)
            self.answers = read_answers(self.path)

    def __exit__(self, *error: Any) -> None:
        """Make the disk keep the answers, and let go (see `Folder`)."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        super().__exit__(*error)

    def check(self, identity: RunIdentity, loaded: bool = True) -> None:
        """Raise MismatchError, with all differences, where the folder is another run's.

        loaded: whether the fields that only a loaded model knows are known; without, they are not compared.
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

        Raises MismatchError as `check`, DataError where a question is another one now, and StorageError where nothing
        can be written.
        """
        self.check(identity)
        self._refuse_other_questions(plan)
        identity = self.grown(identity)
        digest = items_digest(plan.items)
        # The items first: with a spec but without all of its items a folder would look complete too early.
        if list(plan.items) != self.items:
            if self.spec and self.spec.items_sha256:
                # A kill between the items and the spec must leave neither of them unknown to the other.
                both = {"items_sha256": (*self.spec.items_sha256, digest)}
                write_record(self.path / SPEC, self.spec.model_copy(update=both))
            write_items(self.path, plan.items)
            self.items = list(plan.items)
        self.spec = RunSpec(
            schema=records.SCHEMA,
            run_id=identity.run_id,
            created=self.spec.created if self.spec else session.started,
            identity=identity,
            data_version=plan.benchmark.version,
            selection=plan.selection,
            sessions=(*(self.spec.sessions if self.spec else ()), session),
            items_sha256=(digest,),
        )
        write_record(self.path / SPEC, self.spec)
        self._journal = self._journal or Journal(self.path / ANSWERS)
        return self.spec

    def _refuse_other_questions(self, plan: Plan) -> None:
        """Of runs that have no hash of their questions, or of data that this version reads in another way."""
        there = {run_item.item.id: run_item for run_item in self.items}
        for new in plan.items:
            old = there.get(new.item.id, new)
            if (old.item, old.orders) != (new.item, new.orders[: len(old.orders)]):
                raise DataError(
                    f"question {new.item.id!r} of {self.path} is another one than in {plan.benchmark.name}",
                    "its answers are about what stood there: give another --out",
                )

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` of the answers so far, a row each, in the order of the questions and then of the draws.

        Columns: `id`, `draw`, `audio`, `question`, `choices` (tuple, as shown), `gold` (missing: it has none);
        a `group_…` for each group of the data, such as `group_modality`; `outcome`, `chosen` and `rule` by the `rule`
        scorer; `counts` (False outside N: no right answer, or a clip that the adapter was trained on); and these of
        `StoredAnswer`: `abstention`, `reply`, `confidence`, `audio_type`, `content`, `reason_kind`, `withheld`,
        `audio_sha256`, `audio_s`, `seen`, `seconds`. Figures are numbers and flags bool, whatever the run holds.

        Raises UsageError: pandas is not installed.
        """
        require_extra("pandas")
        import pandas

        draws = self.spec.identity.draws if self.spec else 0
        keys = ((run_item, draw) for run_item in self.items for draw in range(draws))
        rows = []
        for run_item, draw in keys:
            answer = self.answers.get((run_item.item.id, draw))
            if answer is not None:
                rows.append(_row(replace(run_item.item, choices=run_item.shown(draw)), answer))
        groups = dict.fromkeys(f"group_{name}" for run_item in self.items for name, _ in run_item.item.groups)
        return pandas.DataFrame(rows, columns=[*_OF_ITEM, *groups, *_OF_GRADE, *_OF_ANSWER]).astype(_DTYPES)

    def keep(self, answer: StoredAnswer) -> None:
        """Append an answer; one thread at a time. Raises StorageError on a full disk; nothing of it is kept then."""
        self._journal = self._journal or Journal(self.path / ANSWERS)
        self._journal.append(records.answer_fields(answer))
        self.answers[answer.key] = answer


_OF_ITEM = ("id", "draw", "audio", "question", "choices", "gold")
_OF_GRADE = ("outcome", "chosen", "rule", "counts")
_OF_ANSWER = (
    *("abstention", "reply", "confidence", "audio_type", "content", "reason_kind", "withheld"),
    *("audio_sha256", "audio_s", "seen", "seconds"),
)
_DTYPES = {"draw": "int64", "counts": "bool", "seen": "bool"} | dict.fromkeys(
    ("confidence", "audio_s", "seconds"), "float64"
)


def _row(item: Item, answer: StoredAnswer) -> dict[str, Any]:
    (grade,) = grades_of(RuleScorer(), [item], [answer.output])
    row: dict[str, Any] = {"id": item.id, "draw": answer.draw, "audio": item.audio, "question": item.question}
    row |= {"choices": item.choices, "gold": item.gold, "outcome": str(grade.outcome), "chosen": grade.chosen}
    row |= {"rule": grade.rule, "counts": item.answerable and not answer.seen}
    fields = {name: getattr(answer, name) for name in _OF_ANSWER}
    row |= {name: str(value) if isinstance(value, StrEnum) else value for name, value in fields.items()}
    return row | {f"group_{name}": value for name, value in item.groups}


def is_run(folder: Path) -> bool:
    """Whether the folder is that of a run."""
    return RUN.has_begun(folder)


def read_items(folder: Path, spec: RunSpec | None = None) -> list[RunItem]:
    """The questions of a run in the order of asking; with a spec, a call that was killed may have added to them.

    Raises DataError where the file is damaged, or holds other or fewer questions than the spec says.
    """
    path = folder / ITEMS
    items = [records.item_of(fields, f"{path}:{number}") for number, fields in enumerate(read_lines(path), 1)]
    if spec is not None and len(items) < spec.selection.asked:
        raise DataError(
            f"{path} holds {len(items)} of the run's {spec.selection.asked} questions",
            "the file is damaged: copy the run's folder again",
        )
    known = spec.items_sha256 if spec is not None else ()
    if known and hashlib.sha256(path.read_bytes()).hexdigest() not in known:
        hint = "its files are not to be changed by hand: copy the run's folder again"
        raise DataError(f"{path} was changed after it was written", hint)
    return items


def read_answers(folder: Path) -> dict[Key, StoredAnswer]:
    """The answers of a run so far; of several about one question and draw the last.

    Raises DataError where the file is damaged before its last line.
    """
    path = folder / ANSWERS
    answers = (records.answer_of(fields, f"{path}:{number}") for number, fields in enumerate(read_lines(path), 1))
    return {answer.key: answer for answer in answers}


def items_bytes(items: Iterable[RunItem]) -> bytes:
    """What `items.jsonl` holds."""
    return b"".join(json_line({**records.item_fields(run_item.item), "orders": run_item.orders}) for run_item in items)


def items_digest(items: Iterable[RunItem]) -> str:
    """Its sha256."""
    return hashlib.sha256(items_bytes(items)).hexdigest()


def write_items(folder: Path, items: Iterable[RunItem]) -> None:
    """Write `items.jsonl`. Raises StorageError where that fails."""
    write_whole(folder / ITEMS, items_bytes(items))


def read_questions(folder: Path, draw: int = 0) -> tuple[RunSpec, list[RunItem]]:
    """What a run is and its questions, of one moment even where another process lets the run grow meanwhile.

    Whoever reads the answers after them may meet some about questions that came later. Raises DataError for no run, a
    damaged one, or one without such a draw.
    """
    spec = read_spec(folder / SPEC)
    if not 0 <= draw < spec.identity.draws:
        raise DataError(f"{folder} has no draw {draw}", f"it has {spec.identity.draws}, counted from 0")
    try:
        return spec, read_items(folder, spec)
    except DataError:
        if read_spec(folder / SPEC) == spec:
            raise
        return read_questions(folder, draw)


def run_outputs(folder: Path, draw: int = 0) -> Outputs:
    """What a run gave in one draw, for scoring: nothing but the folder is read.

    The items have their choices in the order in which they were shown, because a reply such as "(B)" means that order.
    Raises DataError for no run, a damaged one, or one without such a draw.
    """
    spec, run_items = read_questions(folder, draw)
    identity, selection, of_all_draws = spec.identity, spec.selection, read_answers(folder)
    answers = {id_: answer for (id_, of), answer in of_all_draws.items() if of == draw}
    items = tuple(replace(run_item.item, choices=run_item.shown(draw)) for run_item in run_items)
    by_id = {item.id: answers[item.id].output for item in items if item.id in answers}
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
        fixed_items=bool(identity.modality or selection.limit or selection.missing or selection.shard),
        without_sound=identity.without_sound,
        facts=_facts(spec)
        | ({"responder": ", ".join(models)} if (models := responders(of_all_draws.values())) else {}),
        warnings=(
            *_warnings(spec, items, [answers[id_] for id_ in by_id]),
            *responder_warnings(of_all_draws.values()),
        ),
    )


def responders(answers: Iterable[StoredAnswer]) -> dict[str, int]:
    """How many answers each model gave, by the name that the endpoint calls it, in the order of appearance."""
    return dict(Counter(answer.responder for answer in answers if answer.responder is not None))


def responder_warnings(answers: Iterable[StoredAnswer]) -> list[str]:
    """What to say where the endpoint answered by several models: nothing is refused, for all these answers are paid."""
    names = responders(answers)
    listed = ", ".join(f"{name} ({count} answers)" for name, count in names.items())
    return [f"the endpoint answered by {len(names)} models: {listed}"] if len(names) > 1 else []


def _facts(spec: RunSpec) -> dict[str, str]:
    identity = spec.identity
    return {
        "run": spec.run_id,
        "model": f"{identity.model}@{identity.revision}" if identity.revision else identity.model,
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


def _warnings(spec: RunSpec, items: Sequence[Item], answers: Sequence[StoredAnswer]) -> Iterable[str]:
    identity, selection = spec.identity, spec.selection
    if unanswered := len(items) - len(answers):
        yield f"unfinished run: {unanswered} of {len(items)} questions have no answer yet and count as failed"
    if failed := sum(answer.status is Status.FAILED for answer in answers):
        yield f"{failed} questions failed; eval --retry-failed asks them again"
    if selection.shard:
        yield f"shard {selection.shard} of a run: `lalm-agent merge` makes one of all shards"
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
