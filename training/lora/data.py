"""From rows of IDK data to batches: read strictly, then the prompt as inference renders it, the target, end of turn.

The prompt is made by the very functions that answer a question (`lalm_agent.prompts`, `lalm_agent.models.hf_prompt`);
nothing here knows a template or a token.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SkipValidation, ValidationError

from lalm_agent import prompts
from lalm_agent.audio import MAX_S, Sound, load
from lalm_agent.errors import DataError, LalmError, first_complaint
from lalm_agent.models.base import Request, Turn, waveform
from lalm_agent.models.hf_prompt import Hearing, batch_inputs, option_tokens
from lalm_agent.records import AudioType, Method

if TYPE_CHECKING:
    from torch import Tensor

IGNORED = -100
"""The label of a position that is no part of the target."""
_HINT = "lalm-agent idk build writes such a file"
_ONE_CLASS = "add rows of the other class, or pass --allow-one-class (a control with its labels kept has one)"


class TrainingRow(BaseModel):
    """A question with the reply that is to be learnt; `lalm_agent.training.idk.sets.IdkRow` says what the fields mean.

    Further keys of the file are passed over. target: without its end of turn. line: of the file, from 1.
    wrong: None in sets of versions that did not write it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    id: Annotated[str, Field(min_length=1)]
    audio: Annotated[str, Field(min_length=1)]
    audio_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    question: Annotated[str, Field(pattern=r"\S")]
    choices: tuple[str, ...]
    method: Literal["baseline", "agent"]
    audio_type: AudioType | None = None
    content: str | None = None
    target: Annotated[str, Field(pattern=r"\S")]
    is_idk: bool
    modality: str | None = None
    prompt: str | None = None
    gold: str | None = None
    target_source: str | None = None
    wrong: tuple[Annotated[str, Field(pattern=r"\S")], ...] | None = None
    line: SkipValidation[int] = 0


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
        """The row's clip. Raises DataError where it is missing, no audio, or another recording than that of the row."""
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
    """Read and check a file of rows without its clips. root: where relative clips are; None for the file's folder.

    Raises DataError for no such file, a row that cannot be used, no rows at all, or rows of one class only.
    """
    try:
        data = path.read_bytes()
        lines = data.decode("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise DataError(f"{path} cannot be read: {reason}", _HINT) from error
    rows, faults = [], []
    for number, line in enumerate(lines, 1):
        row = _row(line, number) if line.strip() else None
        if isinstance(row, TrainingRow):
            rows.append(row)
        elif row is not None:
            faults.append(f"{path}:{number}: {row}")
    if faults:
        more = f" (and {len(faults) - 1} more faulty rows)" if len(faults) > 1 else ""
        raise DataError(faults[0] + more, _HINT)
    row_set = RowSet(path, hashlib.sha256(data).hexdigest(), tuple(rows), root or path.parent)
    if not rows:
        raise DataError(f"{path} holds no rows", _HINT)
    if row_set.idk in (0, len(rows)) and not allow_one_class:
        kind = "a refusal" if row_set.idk else "an answer"
        raise DataError(f"{path} has one class: each of its {len(rows)} targets is {kind}", _ONE_CLASS)
    return row_set


def _row(line: str, number: int) -> TrainingRow | str:
    """A line as a row, or what is wrong with it."""
    try:
        row = TrainingRow.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return f"not JSON: {first['ctx']['error']}"
        if first["type"] == "model_type":
            return "not a JSON object"
        where, reason = first_complaint(error)
        return f"{'.'.join(where)}: {reason}"
    return "choices: there is only one" if len(row.choices) == 1 else row.model_copy(update={"line": number})


def check_clips(rows: RowSet) -> float:
    """Decode every clip once, as `RowSet.sound` does; the seconds of audio of all rows."""
    seconds: dict[tuple[str, str], float] = {}
    for row in rows.rows:
        key = row.audio, row.audio_sha256
        if key not in seconds:
            seconds[key] = rows.sound(row).ref.seconds
    return sum(seconds[row.audio, row.audio_sha256] for row in rows.rows)


def prompt_of(row: TrainingRow, method: Method) -> str:
    """The answering prompt of a row by a method, as the answering node renders it."""
    steps = (row.audio_type, row.content) if method is Method.AGENT else (None, None)
    return prompts.answer_prompt(method, row.question.strip(), row.choices, *steps)


def class_counts(rows: Sequence[TrainingRow]) -> str:
    """Such as `64 IDK, 176 answers (speech 64 + 176)`."""
    parts = []
    for group in sorted({row.modality for row in rows}, key=str):
        refused = [row.is_idk for row in rows if row.modality == group]
        parts.append(f"{group or 'no modality'} {sum(refused)} + {len(refused) - sum(refused)}")
    idk = sum(row.is_idk for row in rows)
    return f"{idk} IDK, {len(rows) - idk} answers ({', '.join(parts)})"


# --- batches ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Collator:
    """Rows to a batch of model inputs with labels.

    method: whose answering prompt. stop_ids: tokens that end a turn. pack: whether questions about one clip share it.
    """

    rows: RowSet
    processor: Any
    hearing: Hearing
    method: Method
    stop_ids: frozenset[int]
    pack: bool = False

    def __call__(self, rows: Sequence[TrainingRow]) -> dict[str, "Tensor"]:
        """Prompts padded on the left, targets on the right.

        Returns input_ids, attention_mask : (batch, tokens) int64; labels : the same, `IGNORED` outside targets and
        their end of turn; and the features of the clips as the processor makes them. Packed: as `packed`.
        Raises DataError where a clip is gone or has changed, PermanentBackendError where the template cannot be used.
        """
        if self.pack:
            groups: dict[str, list[TrainingRow]] = {}
            for row in rows:
                groups.setdefault(row.audio_sha256, []).append(row)
            packs = [self._pack(group) for group in groups.values()]
            return packed(packs, int(self.processor.tokenizer.pad_token_id))
        requests = [self.request(row) for row in rows]
        rate, window_s = self.hearing.rate, self.hearing.window_s
        sounds = [waveform(request.sound, rate, window_s)[0] for request in requests if request.sound is not None]
        inputs = dict(batch_inputs(self.processor, requests, sounds))
        targets = [option_tokens(self.processor, request, set(self.stop_ids))[0] for request in requests]
        return _with_targets(inputs, targets, int(self.processor.tokenizer.pad_token_id))

    def request(self, row: TrainingRow, sound: Sound | None = None) -> Request:
        """The request that inference would make about the row, its target as the only option. sound: its clip."""
        turns = (Turn("user", prompt_of(row, self.method)),)
        return Request(turns, sound or self.rows.sound(row), options=(row.target,), key=row.id)

    def _pack(self, rows: Sequence[TrainingRow]) -> "Pack":
        sound = self.rows.sound(rows[0])
        requests = [self.request(row, sound) for row in rows]
        # One array for all: the front end keeps what it made of it.
        samples = waveform(sound, self.hearing.rate, self.hearing.window_s)[0]
        inputs = [dict(batch_inputs(self.processor, [request], [samples])) for request in requests]
        prompts = [each["input_ids"][0].tolist() for each in inputs]
        targets = [option_tokens(self.processor, request, set(self.stop_ids))[0] for request in requests]
        return Pack(prompts, targets, {name: inputs[0][name] for name in inputs[0].keys() - _TOKENS})


_TOKENS = {"input_ids", "attention_mask"}


@dataclass(frozen=True, slots=True, eq=False)
class Pack:
    """Questions about one clip: tokens of each prompt and of each target, and the clip's features, once."""

    prompts: Sequence[list[int]]
    targets: Sequence[list[int]]
    features: dict[str, "Tensor"]


def packed(packs: Sequence[Pack], pad: int) -> dict[str, "Tensor"]:
    """A row for each clip: what its prompts begin with in common, then each question's rest and target.

    A question sees the common beginning and itself, at the places that it has alone, so that a model with rotary
    positions and full attention computes of each what it computes of it alone.

    Returns input_ids, position_ids : (clips, tokens) int64, padded on the right; attention_mask : (clips, 1, tokens,
    tokens) bool, True where a token looks; labels as `Collator`; and the features, clip after clip.
    """
    import torch

    columns: dict[str, list[Tensor]] = {"input_ids": [], "position_ids": [], "labels": [], "owner": []}
    for pack in packs:
        # The last token of a prompt is its own: the target is read off behind it.
        most = min(map(len, pack.prompts)) - 1
        # What the first and the last in order have in common, all have.
        pairs = zip(min(pack.prompts), max(pack.prompts), strict=False)
        start = min(most, next((place for place, (left, right) in enumerate(pairs) if left != right), most))
        tokens, places = pack.prompts[0][:start], [*range(start)]
        owners, labels = [0] * start, [IGNORED] * start
        for number, (prompt, target) in enumerate(zip(pack.prompts, pack.targets, strict=True), 1):
            own = [*prompt[start:], *target]
            tokens += own
            places += range(start, start + len(own))
            owners += [number] * len(own)
            labels += [IGNORED] * (len(prompt) - start) + target
        for name, values in zip(columns, (tokens, places, labels, owners), strict=True):
            columns[name].append(torch.tensor(values))
    fill = {"input_ids": pad, "position_ids": 0, "labels": IGNORED, "owner": -1}
    pad_rows = torch.nn.utils.rnn.pad_sequence
    whole = {name: pad_rows(rows, batch_first=True, padding_value=fill[name]) for name, rows in columns.items()}
    owner = whole.pop("owner")
    same = (owner[:, :, None] == owner[:, None]) & (owner >= 0)[:, None]
    sees = (same | (owner == 0)[:, None]).tril()
    features = {name: torch.cat([pack.features[name] for pack in packs]) for name in packs[0].features}
    return {**whole, "attention_mask": sees[:, None], **features}


def _with_targets(inputs: dict[str, "Tensor"], targets: Sequence[Sequence[int]], pad: int) -> dict[str, "Tensor"]:
    """The targets behind their prompts; whatever else runs along the tokens gets zeros there."""
    import torch

    prompt = inputs["input_ids"]
    replies = [torch.tensor(target) for target in targets]
    reply = torch.nn.utils.rnn.pad_sequence(replies, batch_first=True, padding_value=pad)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(target) for target in replies], batch_first=True)
    behind = {"input_ids": reply, "attention_mask": mask}
    whole = {}
    for name, value in inputs.items():
        more = behind.get(name, torch.zeros_like(reply)).to(value.dtype)
        whole[name] = torch.cat([value, more], dim=1) if value.shape == prompt.shape else value
    labels = torch.cat([torch.full_like(prompt, IGNORED), reply.masked_fill(mask == 0, IGNORED)], dim=1)
    return {**whole, "labels": labels}


def target_loss(outputs: Any, labels: "Tensor", num_items_in_batch: "Tensor | int | None" = None) -> "Tensor":
    """Cross-entropy of the target tokens given all that precedes them.

    The model's own loss is not used: Qwen2-Audio's ignores how many target tokens the whole step has, so that
    accumulated batches would weigh by their number and not by their tokens.

    outputs["logits"] : (batch, tokens, vocabulary); labels : (batch, tokens) int64, `IGNORED` outside the targets.
    num_items_in_batch: target tokens of the whole step, over which the sum is averaged; None for those of this batch.
    """
    import torch

    next_tokens = labels[:, 1:]
    of_target = next_tokens != IGNORED
    # Only the rows of the targets: float32 logits of a whole prompt would be the largest thing in memory.
    chosen = outputs["logits"][:, :-1][of_target].float()
    total = torch.nn.functional.cross_entropy(chosen, next_tokens[of_target], reduction="sum")
    return total / (of_target.sum() if num_items_in_batch is None else num_items_in_batch)
