"""Token choice, token log-probabilities, and the scores of given replies.

`write` goes on from prompts that are computed; what was computed for the options serves the reply as far as it says
the same, so that a reply that is one of the options needs no run of the model of its own. `complete` is the way over
transformers' `generate`, for models whose cache cannot be shared.

Sampling adds Gumbel noise to the filtered logits and takes the largest (the Gumbel-max trick draws from their
softmax). The noise is keyed by (seed, request, draw, position), so a draw is the same alone, in any batch and after
a resume.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import LogitsProcessor

from lalm_agent.models.base import Completion, Decoding
from lalm_agent.models.hf_prefix import Prefilled, Prefix, continue_from, positions_for, row_inputs, without_last


@dataclass(frozen=True, slots=True)
class Draw:
    """One completion: how its tokens are chosen, and what names it for the sampling noise."""

    key: str
    number: int
    decoding: Decoding


def complete(model: Any, tokenizer: Any, inputs: Mapping[str, Any], draws: Sequence[Draw]) -> list[Completion]:
    """One completion for each row of a batch, by the model's own `generate`.

    inputs: input_ids (rows, tokens), padded on the left, and what else `generate` takes.
    draws: what each row is; rows of several decodings may be in one batch.
    """
    prompt_tokens = inputs["input_ids"].shape[1]
    limits = [draw.decoding.max_new_tokens for draw in draws]
    recorder = LogprobRecorder(prompt_tokens, limits)
    processors: list[Any] = [recorder.before]
    if any(draw.decoding.temperature > 0 for draw in draws):
        processors.append(KeyedGumbel(draws, prompt_tokens))
    output = model.generate(
        **inputs,
        do_sample=False,
        num_beams=1,
        max_new_tokens=max(limits),
        logits_processor=processors,
        stopping_criteria=[recorder.after],
    )
    stops, replies = stop_ids(model), output[:, prompt_tokens:].tolist()
    rows = zip(draws, replies, recorder.rows(), recorder.gap_rows(), strict=True)
    return [_completion(tokenizer, stops, *row) for row in rows]


def _completion(
    tokenizer: Any, stops: set[int], draw: Draw, reply: Sequence[int], logprobs: Sequence[float], gaps: Sequence[float]
) -> Completion:
    """A reply, up to its end; what stands behind that is passed over."""
    tokens = reply[: draw.decoding.max_new_tokens]
    end = next((i for i, token in enumerate(tokens) if token in stops), None)
    text = tokenizer.decode(tokens[:end], skip_special_tokens=True).strip()
    length = len(tokens) if end is None else end + 1
    # What was drawn does not hang on the two likeliest tokens.
    gap = None if draw.decoding.temperature > 0 else min(gaps[:length])
    return Completion(text, tuple(logprobs[:length]), "length" if end is None else "stop", gap)


def stop_ids(model: Any) -> set[int]:
    """The tokens that end a reply."""
    eos = model.generation_config.eos_token_id
    return set(eos) if isinstance(eos, list) else {eos}


class LogprobRecorder:
    """Collects the log-probability of each chosen token without keeping the logits.

    `before` goes first among the logits processors and sees the untouched logits of a position; `after` is a stopping
    criterion that sees the token chosen there, and ends a row at its own limit of new tokens.
    """

    def __init__(self, prompt_tokens: int, limits: Sequence[int]) -> None:
        self._prompt_tokens = prompt_tokens
        self._limits = torch.tensor(limits)
        self._logprobs = torch.empty(0)
        self._chosen: list[torch.Tensor] = []
        self._gaps: list[torch.Tensor] = []

    def before(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Take the logits, (rows, vocabulary), and leave them as they are."""
        self._logprobs = scores.float().log_softmax(dim=-1)
        return scores

    def after(self, input_ids: torch.Tensor, scores: object, **_: object) -> torch.Tensor:
        """Take the chosen tokens, the last of (rows, tokens)."""
        self._chosen.append(self._logprobs.gather(1, input_ids[:, -1:]).squeeze(1))
        first, second = self._logprobs.topk(2).values.unbind(dim=1)
        self._gaps.append(first - second)
        return (self._limits <= input_ids.shape[1] - self._prompt_tokens).to(input_ids.device)

    def rows(self) -> list[list[float]]:
        """Per row the log-probability at each generated position, padding positions included."""
        return torch.stack(self._chosen, dim=1).tolist() if self._chosen else []

    def gap_rows(self) -> list[list[float]]:
        """Per row and position, by how much the largest log-probability exceeds the second."""
        return torch.stack(self._gaps, dim=1).tolist() if self._gaps else []


class KeyedGumbel(LogitsProcessor):
    """`with_noise` for `generate`. draws: of each row. prompt_tokens: length of the padded prompt."""

    def __init__(self, draws: Sequence[Draw], prompt_tokens: int) -> None:
        self._draws = draws
        self._prompt_tokens = prompt_tokens

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Logits, (rows, vocabulary), filtered and with the noise added; those of greedy rows as they are."""
        return with_noise(scores, self._draws, [input_ids.shape[1] - self._prompt_tokens] * len(self._draws))


def with_noise(logits: torch.Tensor, draws: Sequence[Draw], positions: Sequence[int]) -> torch.Tensor:
    """Turns greedy choice into sampling in the rows that have a temperature, with noise that is the draw's own.

    logits: (rows, vocabulary). positions: of each row, how many tokens its reply has already.
    """
    by_decoding: dict[Decoding, list[int]] = {}
    for row, draw in enumerate(draws):
        if draw.decoding.temperature > 0:
            by_decoding.setdefault(draw.decoding, []).append(row)
    chosen = logits.float().clone()
    for decoding, rows in by_decoding.items():
        kept = filtered_logits(chosen[rows] / decoding.temperature, decoding)
        noise = [_gumbel(decoding.seed, draws[row], positions[row], kept.shape[1]) for row in rows]
        chosen[rows] = kept + torch.from_numpy(np.stack(noise)).to(kept.device)
    return chosen


def filtered_logits(logits: torch.Tensor, decoding: Decoding) -> torch.Tensor:
    """Logits (rows, vocabulary) with those outside top-k and the nucleus at minus infinity; the top one stays."""
    if decoding.top_k:
        threshold = logits.topk(min(decoding.top_k, logits.shape[1])).values[:, -1:]
        logits = logits.masked_fill(logits < threshold, -torch.inf)
    if decoding.top_p < 1:
        ordered, order = logits.sort(dim=1, descending=True)
        before = ordered.softmax(dim=1).cumsum(dim=1) - ordered.softmax(dim=1)
        outside = (before >= decoding.top_p).scatter(1, order, before >= decoding.top_p)
        logits = logits.masked_fill(outside, -torch.inf)
    return logits


def _gumbel(seed: int, draw: Draw, position: int, size: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    name = f"{seed}\x1f{draw.key}\x1f{draw.number}\x1f{position}".encode()
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(hashlib.sha256(name).digest()[:16], "little")))
    return generator.gumbel(size=size).astype(np.float32)


# --- from a computed prompt: scores of given replies, and replies ---------------------------------------------------


_SIDE_BY_SIDE = 256
"""So many tokens of options go through the model at once; their logits, and their masks, are to be small."""


@dataclass(frozen=True, slots=True, eq=False)
class Computed:
    """A prompt that is computed whole. logits: after some beginnings of a reply, the empty one at least."""

    prefix: Prefix
    logits: Mapping[tuple[int, ...], torch.Tensor]


def compute(model: Any, prompt: Prefilled, options: Sequence[Sequence[int]]) -> tuple[Computed, list[list[float]]]:
    """The prompt, and the natural log-probability of each token of each option, none empty, after it."""
    logits: dict[tuple[int, ...], torch.Tensor] = {}
    logprobs: list[list[float]] = []
    for some in _side_by_side(options):
        after, own, whole = continue_from(model, prompt, [option[:-1] for option in some])
        for option, rows in zip(some, own, strict=True):
            logprobs += _chosen(torch.cat([after[None], rows])[None], torch.tensor([option], device=rows.device))
            for end, row in enumerate(rows, 1):
                logits.setdefault(tuple(option[:end]), row)
        logits.setdefault((), after)
        prompt = without_last(whole)
    return Computed(whole, logits), logprobs


def _side_by_side(options: Sequence[Sequence[int]]) -> list[list[Sequence[int]]]:
    """The options in order, in parts of at most `_SIDE_BY_SIDE` tokens; one part at least, an option in each."""
    parts: list[list[Sequence[int]]] = [[]]
    for option in options:
        if parts[-1] and sum(map(len, parts[-1])) + len(option) > _SIDE_BY_SIDE:
            parts.append([])
        parts[-1].append(option)
    return parts


def write(model: Any, tokenizer: Any, prompts: Sequence[Computed], draws: Sequence[Draw]) -> list[Completion]:
    """One completion for each of several prompts, some of which may be the same.

    A row takes its tokens from the logits that are known already as far as these go. The others are then written token
    by token, side by side.
    """
    stops = stop_ids(model)
    replies = [_Reply(draw, stops) for draw in draws]
    for reply, prompt in zip(replies, prompts, strict=True):
        while not reply.is_whole and (known := prompt.logits.get(tuple(reply.tokens))) is not None:
            _add_tokens(known[None], [reply])
    left = [place for place, reply in enumerate(replies) if not reply.is_whole]
    if left:
        starts = [Prefilled(prompts[place].prefix, tuple(replies[place].tokens)) for place in left]
        _write_on(model, row_inputs(model, starts), [replies[place] for place in left])
    return [_completion(tokenizer, stops, reply.draw, reply.tokens, reply.logprobs, reply.gaps) for reply in replies]


@dataclass(slots=True, eq=False)
class _Reply:
    """A reply that is being written: its tokens so far, their log-probabilities, and the gaps between the likeliest."""

    draw: Draw
    stops: set[int]
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        return len(self.tokens) >= self.draw.decoding.max_new_tokens or self.stops.issuperset(self.tokens[-1:] or (-1,))


def _write_on(model: Any, inputs: dict[str, Any], replies: Sequence[_Reply]) -> None:
    """Write rows to their ends. inputs: see `row_inputs`. A row that has ended goes on, and nobody reads that."""
    while True:
        output = model(**inputs, use_cache=True)
        _add_tokens(output.logits[:, -1], replies)
        if all(reply.is_whole for reply in replies):
            return
        mask = torch.nn.functional.pad(inputs["attention_mask"], (0, 1), value=1)
        tokens = torch.tensor([reply.tokens[-1:] for reply in replies], device=mask.device)
        inputs = {"input_ids": tokens, "attention_mask": mask, "past_key_values": output.past_key_values}
        inputs |= positions_for(model, mask.sum(1, keepdim=True) - 1)


def _add_tokens(logits: torch.Tensor, replies: Sequence[_Reply]) -> None:
    """Choose each row's next token by its logits, (rows, vocabulary). What has ended stays as it is."""
    logprobs = logits.float().log_softmax(dim=-1)
    chosen, draws = logits, [reply.draw for reply in replies]
    if any(draw.decoding.temperature > 0 for draw in draws):
        chosen = with_noise(logits, draws, [len(reply.tokens) for reply in replies])
    tokens = chosen.argmax(dim=-1)
    own = logprobs.gather(1, tokens[:, None]).squeeze(1).tolist()
    first, second = logprobs.topk(2).values.unbind(dim=1)
    for reply, token, logprob, gap in zip(replies, tokens.tolist(), own, (first - second).tolist(), strict=True):
        if not reply.is_whole:
            reply.tokens.append(token)
            reply.logprobs.append(logprob)
            reply.gaps.append(gap)


# --- scores of given replies, each row with a prompt of its own -------------------------------------------------------


def option_logprobs(model: Any, inputs: Any, options: Sequence[Sequence[int]]) -> list[list[float]]:
    """Natural log-probability of each token of each option, none empty, after the inputs of one prompt, unpadded."""
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
    chosen: list[list[float]] = logits.float().log_softmax(dim=-1).gather(2, tokens[..., None]).squeeze(2).tolist()
    return chosen
