"""From a row to what the model is trained on: the prompt as inference renders it, then the target and end of turn.

The prompt is made by the very functions that answer a question (`lalm_agent.prompts`, `lalm_agent.models.hf_prompt`);
nothing here knows a template or a token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lalm_agent.models.base import Request, Turn
from lalm_agent.models.hf_prompt import Hearing, batch_inputs, option_tokens, waveform
from lalm_agent.records import Method
from lalm_agent.training.lora.rows import RowSet, TrainingRow, prompt_of

IGNORED = -100
"""The label of a position that is no part of the target."""


class Examples(torch.utils.data.Dataset[TrainingRow]):
    """The rows by number. Their clips are decoded when a batch is made, so memory does not grow with the data."""

    def __init__(self, rows: Sequence[TrainingRow]) -> None:
        """Take them as they are."""
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> TrainingRow:
        return self._rows[index]


@dataclass(frozen=True, slots=True, eq=False)
class Collator:
    """Rows to one batch of model inputs with labels.

    method: whose answering prompt. stop_ids: the tokens that end a turn.
    """

    rows: RowSet
    processor: Any
    hearing: Hearing
    method: Method
    stop_ids: frozenset[int]

    def __call__(self, rows: Sequence[TrainingRow]) -> dict[str, Tensor]:
        """Prompts padded on the left, targets on the right.

        Returns:
            input_ids, attention_mask : (batch, tokens) int64; labels : the same, `IGNORED` outside targets and their
            end of turn; and the features of the clips as the processor makes them.

        Raises:
            DataError: a clip is gone or has changed.
            PermanentBackendError: the checkpoint's processor or chat template cannot be used so.
        """
        requests = [self.request(row) for row in rows]
        sounds = [waveform(request.sound, self.hearing)[0] for request in requests if request.sound is not None]
        inputs = dict(batch_inputs(self.processor, requests, sounds))
        targets = [option_tokens(self.processor, request, set(self.stop_ids))[0] for request in requests]
        return _with_targets(inputs, targets, int(self.processor.tokenizer.pad_token_id))

    def request(self, row: TrainingRow) -> Request:
        """The request that inference would make about the row, its target as the one option."""
        turns = (Turn("user", prompt_of(row, self.method)),)
        return Request(turns, self.rows.sound(row), options=(row.target,), key=row.id)


def _with_targets(inputs: dict[str, Tensor], targets: Sequence[Sequence[int]], pad: int) -> dict[str, Tensor]:
    """The targets behind their prompts; whatever else runs along the tokens gets zeros there."""
    prompt = inputs["input_ids"]
    width = max(map(len, targets))
    reply = prompt.new_full((len(targets), width), pad)
    heard = prompt.new_zeros((len(targets), width))
    for row, target in enumerate(targets):
        reply[row, : len(target)] = torch.tensor(target)
        heard[row, : len(target)] = 1
    behind = {"input_ids": reply, "attention_mask": heard}
    whole = {}
    for name, value in inputs.items():
        along = value.shape == prompt.shape
        more = behind.get(name, torch.zeros_like(reply)).to(value.dtype)
        whole[name] = torch.cat([value, more], dim=1) if along else value
    labels = torch.cat([torch.full_like(prompt, IGNORED), reply.masked_fill(heard == 0, IGNORED)], dim=1)
    return {**whole, "labels": labels}


def target_loss(outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
    """Cross-entropy of the target tokens given all that precedes them.

    The model's own loss is not used: Qwen2-Audio's ignores how many target tokens the whole step has, so that
    accumulated batches would weigh by their number and not by their tokens.

    outputs["logits"] : (batch, tokens, vocabulary); labels : (batch, tokens) int64, `IGNORED` outside the targets.
    num_items_in_batch: target tokens of the whole step, over which the sum is averaged; of this batch by default.
    """
    wanted = labels[:, 1:]
    asked = wanted != IGNORED
    # Only the rows of the targets: float32 logits of a whole prompt would be the largest thing in memory.
    chosen = outputs["logits"][:, :-1][asked].float()
    total = torch.nn.functional.cross_entropy(chosen, wanted[asked], reduction="sum")
    return total / (asked.sum() if num_items_in_batch is None else num_items_in_batch)
