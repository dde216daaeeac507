"""Log-probabilities of given replies to one prompt: the prompt once, then all replies on copies of its cache."""

from collections.abc import Sequence
from typing import Any

import torch

from lalm_agent.models.hf_prefix import Prefilled, continue_from


def logprobs_after(model: Any, prompt: Prefilled, options: Sequence[Sequence[int]], rows: int) -> list[list[float]]:
    """Natural log-probability of each token of each option after a computed prompt, `rows` options at a time.

    options: token ids of each reply; none is empty. Returns one number for each token of each option.
    """
    found: list[list[float]] = []
    for start in range(0, len(options), rows):
        some = options[start : start + rows]
        tokens = _padded(some, model.device)
        logits = continue_from(model, prompt, tokens[:, :-1])
        found.extend(row[: len(option)] for row, option in zip(_chosen(logits, tokens), some, strict=True))
    return found


def option_logprobs(model: Any, inputs: Any, options: Sequence[Sequence[int]]) -> list[list[float]]:
    """Natural log-probability of each token of each option after a prompt.

    Args:
        model: a transformers model that generates.
        inputs: its inputs for the one prompt, without padding.
        options: token ids of each reply; none is empty.

    Returns:
        One list for each option, one number for each of its tokens.
    """
    prompt = model(**inputs, use_cache=True)
    cache = prompt.past_key_values
    try:
        cache.batch_repeat_interleave(len(options))
    except (AttributeError, NotImplementedError):
        return [_whole_conversation(model, inputs, option) for option in options]
    tokens = _padded(options, inputs["input_ids"].device)
    logits = prompt.logits[:, -1:].expand(len(options), -1, -1)
    if tokens.shape[1] > 1:
        # No mask: nothing precedes the prompt, and what follows a shorter option is never looked at. The Qwen omni
        # classes would take a mask's length for that of the new tokens.
        later = model(input_ids=tokens[:, :-1], past_key_values=cache, use_cache=True).logits
        logits = torch.cat([logits, later], dim=1)
    return [row[: len(option)] for row, option in zip(_chosen(logits, tokens), options, strict=True)]


def _padded(options: Sequence[Sequence[int]], device: Any) -> torch.Tensor:
    """(options, tokens of the longest) int64, zeros at the end of shorter ones."""
    width = max(map(len, options))
    return torch.tensor([[*option, *[0] * (width - len(option))] for option in options], device=device)


def _whole_conversation(model: Any, inputs: Any, option: Sequence[int]) -> list[float]:
    """The same numbers from a pass over prompt and reply, for caches that cannot be copied."""
    length = inputs["input_ids"].shape[1]
    reply = inputs["input_ids"].new_tensor([list(option)])
    whole = dict(inputs)
    for name, value in inputs.items():
        if value.shape == inputs["input_ids"].shape:
            more = {"input_ids": reply, "attention_mask": torch.ones_like(reply)}.get(name, torch.zeros_like(reply))
            whole[name] = torch.cat([value, more.to(value.dtype)], dim=1)
    logits = model(**whole, use_cache=False).logits[:, length - 1 : -1]
    return _chosen(logits, reply)[0]


def _chosen(logits: torch.Tensor, tokens: torch.Tensor) -> list[list[float]]:
    found: list[list[float]] = logits.float().log_softmax(dim=-1).gather(2, tokens[..., None]).squeeze(2).tolist()
    return found
