"""The rows that an adapter is trained on: what `lalm-agent idk build` writes, read strictly, one JSON object a line."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lalm_agent import prompts
from lalm_agent.audio import MAX_S, Sound, load
from lalm_agent.errors import DataError, LalmError
from lalm_agent.eval.runs.controls import refuse_pretrained
from lalm_agent.models.pretrained_clips import pretrained_clips_of
from lalm_agent.records import AudioType, Method

_HINT = "lalm-agent idk build writes such a file"
_ONE_CLASS = "add rows of the other class, or pass --allow-one-class (a control with its labels kept has one)"


class TrainingRow(BaseModel):
    """One question with the reply that is to be learnt. Further keys of the file are passed over.

    audio: a path; a relative one is looked for under the audio root.
    audio_sha256: over the decoded samples (`lalm_agent.audio.sha256`).
    choices: in the order in which they are shown; empty for an open question.
    method: how the question was asked when the row was made. With `agent`, audio_type and content are what its first
        two steps found, or None.
    target: the reply without its end of turn.
    is_idk: whether the target is a refusal.
    prompt: what the model was asked with when the row was made; None where that is not recorded.
    line: where the row stands in its file, from 1.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    id: Annotated[str, Field(min_length=1)]
    audio: Annotated[str, Field(min_length=1)]
    audio_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    question: Annotated[str, Field(pattern=r"\S")]
    choices: tuple[str, ...]
    method: Literal["baseline", "agent"]
    audio_type: Literal["sound", "music", "speech"] | None = None
    content: str | None = None
    target: Annotated[str, Field(pattern=r"\S")]
    is_idk: bool
    modality: str | None = None
    prompt: str | None = None
    line: int = 0

    @property
    def kind(self) -> AudioType | None:
        """The type that the agent's first step found."""
        return None if self.audio_type is None else AudioType(self.audio_type)


@dataclass(frozen=True, slots=True)
class RowSet:
    """A file of rows. sha256: over its bytes. root: the folder that relative clips are looked for in."""

    path: Path
    sha256: str
    rows: tuple[TrainingRow, ...]
    root: Path

    @property
    def idk(self) -> int:
        """How many targets are refusals."""
        return sum(row.is_idk for row in self.rows)

    @property
    def clips(self) -> list[str]:
        """The sha256 of the clips, sorted, each once."""
        return sorted({row.audio_sha256 for row in self.rows})

    def sound(self, row: TrainingRow) -> Sound:
        """The row's clip, decoded and compared with its hash.

        Raises:
            DataError: it is missing, no audio, or another recording than the row was made of.
        """
        where = f"{self.path}:{row.line}"
        try:
            sound = load(self.root / row.audio, MAX_S)
        except LalmError as error:
            raise DataError(f"{where}: {error.message}", error.hint or _HINT) from error
        if sound.ref.sha256 != row.audio_sha256:
            raise DataError(
                f"{where}: {row.audio} is another recording than the row was made of: sha256 "
                f"{sound.ref.sha256[:12]}, expected {row.audio_sha256[:12]}",
                "restore the clip, or build the rows again",
            )
        return sound


def read_rows(path: Path, root: Path | None = None, allow_one_class: bool = False) -> RowSet:
    """Read and check a file of rows; the clips are left alone.

    root: where relative clips are; the file's own folder by default.

    Raises:
        DataError: no such file, a row that cannot be used, no rows at all, or rows of one class only.
    """
    try:
        data = path.read_bytes()
        lines = data.decode("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise DataError(f"{path} cannot be read: {reason}", _HINT) from error
    rows, faults = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            rows.append(_row(line, number))
        except ValueError as error:
            faults.append(f"{path}:{number}: {_reason(error)}")
    if faults:
        more = f" (and {len(faults) - 1} more faulty rows)" if len(faults) > 1 else ""
        raise DataError(faults[0] + more, _HINT)
    found = RowSet(path, hashlib.sha256(data).hexdigest(), tuple(rows), root or path.parent)
    _check_classes(found, allow_one_class)
    return found


def rows_for(model: str, path: Path, root: Path | None = None, allow_one_class: bool = False) -> RowSet:
    """The rows that a model is to be trained on. model: its reference.

    Raises:
        DataError: see `read_rows`.
        PretrainedError: the model was pretrained on some of the clips.
    """
    rows = read_rows(path, root, allow_one_class)
    refuse_pretrained(pretrained_clips_of(model), rows.clips, model, str(path))
    return rows


def check_clips(rows: RowSet, progress: Callable[[int], None] | None = None) -> float:
    """Decode every clip once; the seconds of audio that an epoch holds, each row's clip counted.

    Raises:
        DataError: see `RowSet.sound`.
    """
    seconds: dict[tuple[str, str], float] = {}
    for number, row in enumerate(rows.rows, 1):
        key = row.audio, row.audio_sha256
        if key not in seconds:
            seconds[key] = rows.sound(row).ref.seconds
        if progress is not None:
            progress(number)
    return sum(seconds[row.audio, row.audio_sha256] for row in rows.rows)


def prompt_of(row: TrainingRow, method: Method) -> str:
    """The answering prompt of a row by a method, as the answering node renders it."""
    found = (row.kind, row.content) if method is Method.AGENT else (None, None)
    return prompts.answer_prompt(method, row.question.strip(), row.choices, *found)


def class_counts(rows: Sequence[TrainingRow]) -> str:
    """Such as `64 IDK, 176 answers (speech 64 + 176)`."""
    groups = {row.modality for row in rows}
    parts = []
    for group in sorted(groups, key=str):
        refused = [row.is_idk for row in rows if row.modality == group]
        parts.append(f"{group or 'no modality'} {sum(refused)} + {len(refused) - sum(refused)}")
    idk = sum(row.is_idk for row in rows)
    return f"{idk} IDK, {len(rows) - idk} answers ({', '.join(parts)})"


def _row(line: str, number: int) -> TrainingRow:
    fields = json.loads(line)
    if not isinstance(fields, dict):
        raise ValueError("not a JSON object")
    choices = fields.get("choices")
    if isinstance(choices, list):
        fields["choices"] = tuple(choices)
        if len(choices) == 1:
            raise ValueError("choices: there is only one")
    return TrainingRow.model_validate({**fields, "line": number})


def _reason(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return f"not JSON: {error}" if isinstance(error, json.JSONDecodeError) else str(error)


def _check_classes(found: RowSet, allow_one_class: bool) -> None:
    if not found.rows:
        raise DataError(f"{found.path} holds no rows", _HINT)
    if found.idk in (0, len(found.rows)) and not allow_one_class:
        kept = "a refusal" if found.idk else "an answer"
        raise DataError(f"{found.path} has one class: each of its {len(found.rows)} targets is {kept}", _ONE_CLASS)
