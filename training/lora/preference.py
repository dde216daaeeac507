"""Preference training (DPO, arXiv 2305.18290): pairs of replies to one question, and their loss.

The reference is the base model itself: the same weights with the LoRA layers switched off, so that nothing is loaded
twice. TRL's trainer is not used: its collators take text and images only, and its loss is part of that trainer.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lalm_agent.errors import UsageError
from lalm_agent.prompts import IDK
from lalm_agent.training.lora.data import IGNORED, Collator, RowSet, TrainingRow

if TYPE_CHECKING:
    from torch import Tensor

RIGHT_OVER_IDK, IDK_OVER_WRONG = "right_over_idk", "idk_over_wrong"


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """Two replies to one question, as targets of the row. kind: `RIGHT_OVER_IDK` or `IDK_OVER_WRONG`."""

    kind: str
    chosen: TrainingRow
    rejected: TrainingRow


def preference_pairs(rows: RowSet, seed: int) -> tuple[PreferencePair, ...]:
    """The pairs of a set, in its order. Known: the target over IDK, and IDK over wrong. Unknown: IDK over wrong.

    Wrong is each wrong answer among the samples; where there is none, another choice, which the seed picks; of an open
    question then nothing. Raises UsageError for rows that say no wrong answers, or whose targets are no refusals.
    """
    pairs = []
    for row in rows.rows:
        if row.wrong is None:
            raise UsageError(
                f"{rows.path}:{row.line}: the row does not say what the wrong samples answered, which --loss dpo needs",
                "build the set again with this version's lalm-agent idk build",
            )
        if row.is_idk and row.target_source == "gold":
            raise UsageError(
                f"{rows.path}:{row.line}: an unsure answer is no refusal, so --loss dpo cannot prefer it",
                "lalm-agent idk build --target gold or self",
            )
        refusal = row if row.is_idk else row.model_copy(update={"target": IDK, "is_idk": True})
        if not row.is_idk:
            pairs.append(PreferencePair(RIGHT_OVER_IDK, row, refusal))
        for text in row.wrong or _other_choice(row, seed):
            wrong = row.model_copy(update={"target": text, "is_idk": False})
            pairs.append(PreferencePair(IDK_OVER_WRONG, refusal, wrong))
    if not pairs:
        raise UsageError(f"{rows.path} makes no pair of replies: no question has a wrong answer", "use --loss sft")
    return tuple(pairs)


def pair_counts(pairs: Sequence[PreferencePair]) -> dict[str, int]:
    """Kind -> pairs, both kinds always."""
    counts = Counter(pair.kind for pair in pairs)
    return {kind: counts[kind] for kind in (RIGHT_OVER_IDK, IDK_OVER_WRONG)}


def _other_choice(row: TrainingRow, seed: int) -> tuple[str, ...]:
    others = [choice for choice in row.choices if choice not in (row.gold, row.target)]
    if row.gold is None or not others:
        return ()
    digest = hashlib.sha256(f"{seed}\0{row.id}".encode()).digest()
    return (others[int.from_bytes(digest[:8], "big") % len(others)],)


def collate_pairs(collator: Collator, pairs: Sequence[PreferencePair]) -> dict[str, "Tensor"]:
    """One batch of twice as many rows: all chosen ones, then all rejected ones; else as `Collator`."""
    return collator([*(pair.chosen for pair in pairs), *(pair.rejected for pair in pairs)])


def reply_log_probs(logits: "Tensor", labels: "Tensor") -> "Tensor":
    """The log-probability of each reply, the sum over its tokens: (rows,) float32, in nats.

    logits : (rows, tokens, vocabulary); labels : (rows, tokens) int64, `IGNORED` outside the replies.
    """
    import torch

    next_tokens = labels[:, 1:]
    of_reply = next_tokens != IGNORED
    lost = torch.nn.functional.cross_entropy(logits[:, :-1][of_reply].float(), next_tokens[of_reply], reduction="none")
    return -torch.zeros(of_reply.shape, device=lost.device).masked_scatter(of_reply, lost).sum(dim=1)


def dpo(policy: "Tensor", reference: "Tensor", beta: float) -> tuple["Tensor", "Tensor"]:
    """Loss and margin, each the mean over the pairs, (); arXiv 2305.18290, equation 7.

    margin = beta ((policy - reference) of the chosen - that of the rejected); loss = -log sigmoid(margin).
    policy, reference : (2 pairs,) log-probabilities in nats, chosen ones first.
    """
    import torch

    chosen, rejected = (policy - reference).chunk(2)
    margins = beta * (chosen - rejected)
    return -torch.nn.functional.logsigmoid(margins).mean(), margins.detach().mean()


def pair_loss(model: Any, batch: Mapping[str, "Tensor"], beta: float, lora: Any = None) -> tuple["Tensor", "Tensor"]:
    """`dpo` of a batch of `collate_pairs`. lora: peft's model inside of what processes wrap it in; None for `model`."""
    import torch

    lora, inputs = lora or model, dict(batch)
    labels = inputs.pop("labels")
    training = model.training
    # In evaluation: no dropout, and no random number is drawn for the reference.
    model.eval()
    with torch.no_grad(), lora.disable_adapter():
        reference = reply_log_probs(model(**inputs)["logits"], labels)
    model.train(training)
    return dpo(reply_log_probs(model(**inputs)["logits"], labels), reference, beta)
