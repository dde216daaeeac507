"""A run's folder: what lies in it, and how the answers in it are read.

    spec.json      what the run is: `lalm_agent.eval.runs.spec.RunSpec`. Replaced as a whole, never changed in place.
    items.jsonl    the questions of the run in the order of asking, one a line: id, audio, question, choices (the
                   file's order), gold, groups, content, orders (for each draw: place shown -> place in the file; empty
                   where nothing was shuffled). Scoring needs neither the data file nor the audio. Replaced as a whole.
    answers.jsonl  one complete line an answer, appended and never changed: `lalm_agent.eval.runs.stored.StoredAnswer`.
                   Of several lines of one question and draw (`--retry-failed`) the last counts.
    lock           held by the process that asks.
    silence/       the clips of `--audio silence`.
    responses.sqlite   replies of an endpoint, so that a resumed run does not pay for one twice.

Readers ignore a torn last line, so that a run can be scored while it goes on.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from lalm_agent.artefacts import SPEC, Journal, json_line, read_lines, write_record, write_whole
from lalm_agent.errors import DataError
from lalm_agent.eval.grade import Outputs
from lalm_agent.eval.items import Item
from lalm_agent.eval.runs.spec import RunSpec, read_spec
from lalm_agent.eval.runs.stored import Asked, Key, StoredAnswer, answer_fields, answer_of, item_fields, item_of
from lalm_agent.records import Method, Status

ITEMS, ANSWERS = "items.jsonl", "answers.jsonl"
SILENCE, RESPONSES = "silence", "responses.sqlite"


def is_run(folder: Path) -> bool:
    """Whether the folder is that of a run."""
    return (folder / SPEC).is_file() and (folder / ITEMS).is_file()


def read_items(folder: Path) -> list[Asked]:
    """The questions of a run in the order of asking.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / ITEMS
    return [item_of(fields, f"{path}:{number}") for number, fields in enumerate(read_lines(path), 1)]


def items_of(folder: Path, spec: RunSpec) -> list[Asked]:
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


def write_spec(folder: Path, spec: RunSpec) -> None:
    """Write `spec.json`. Raises DataError where that fails."""
    write_record(folder / SPEC, spec)


def write_items(folder: Path, items: Iterable[Asked]) -> None:
    """Write `items.jsonl`. Raises DataError where that fails."""
    write_whole(folder / ITEMS, b"".join(json_line(item_fields(asked)) for asked in items))


class AnswerLog:
    """Appends answers to a run; one thread at a time."""

    def __init__(self, folder: Path) -> None:
        """Cut off a torn line and open for appending. Raises DataError where that fails."""
        self._journal = Journal(folder / ANSWERS)

    def append(self, answer: StoredAnswer) -> None:
        """Keep an answer. Raises DataError on a full disk, and then nothing of it is kept."""
        self._journal.append(answer_fields(answer))

    def close(self) -> None:
        """Make the disk keep everything."""
        self._journal.close()


def run_outputs(folder: Path, draw: int = 0) -> Outputs:
    """What a run gave in one draw, for scoring: nothing but the folder is read.

    The items have their choices in the order in which they were shown, because a reply such as "(B)" means that order.

    Raises:
        DataError: no run, a damaged one, or one without such a draw.
    """
    spec = read_spec(folder / SPEC)
    if not 0 <= draw < spec.identity.draws:
        raise DataError(f"{folder} has no draw {draw}", f"it has {spec.identity.draws}, counted from 0")
    asked = items_of(folder, spec)
    answers = {id_: answer for (id_, of), answer in read_answers(folder).items() if of == draw}
    items = tuple(replace(one.item, choices=one.shown(draw)) for one in asked)
    by_id = {item.id: answers[item.id].output for item in items if item.id in answers}
    if spec.identity.audio != "real":
        # Silence or another's clip is no name for the question's own.
        by_id = {id_: replace(output, audio_sha256=None) for id_, output in by_id.items()}
    return Outputs(
        name=folder.resolve().name,
        items=items,
        by_id=by_id,
        excluded=frozenset(id_ for id_ in by_id if answers[id_].seen),
        method=spec.identity.method,
        # An oracle's types are the data's own: a matrix of them would show nothing.
        has_types=spec.identity.method == Method.AGENT and spec.identity.type_source == "model",
        fixed_items=spec.selection.limit is not None or bool(spec.identity.modality or spec.selection.missing),
        without_sound=spec.identity.without_sound,
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
        "audio": identity.audio if identity.hears_audio else "text only",
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
