"""Every row with a prompt of its own, for models whose cache cannot be shared.

Of the audio families that is Gemma 4 (sliding windows) and Phi-4-multimodal with its `longrope` positions; of text
models those that `hf_prefix.keeps_plain_cache` turns away.

One `generate` call for all completions of requests with the same decoding; one forward pass of the prompt for each
completion, and one more where options are scored.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from lalm_agent.models.base import Completion, OptionScore
from lalm_agent.models.hf_asked import Answered, Asked, option_scores
from lalm_agent.models.hf_decoding import Draw, complete, stop_ids
from lalm_agent.models.hf_loading import Checkpoint
from lalm_agent.models.hf_prompt import audio_token_counts, batch_inputs, option_tokens
from lalm_agent.models.hf_scoring import option_logprobs


def answers_by_rows(checkpoint: Checkpoint, asked: Sequence[Asked], rows: int) -> list[Answered]:
    """What the model answers each request; at most `rows` rows go through it at once."""
    found: dict[int, list[Completion]] = {index: [] for index in range(len(asked))}
    counts: dict[int, int] = {}
    for batch in _batches(asked, checkpoint.family.mixes_lengths, rows):
        inputs = _inputs(checkpoint, [asked[index] for index, _ in batch])
        draws = [Draw(asked[index].request.key, asked[index].request.draw + number) for index, number in batch]
        decoding = asked[batch[0][0]].request.decoding
        completions = complete(checkpoint.model, checkpoint.processor.tokenizer, inputs, decoding, draws)
        tokens = audio_token_counts(checkpoint.processor, inputs["input_ids"]).tolist()
        for (index, _), completion, count in zip(batch, completions, tokens, strict=True):
            found[index].append(completion)
            counts[index] = count
    return [
        Answered(tuple(found[index]), _scores(checkpoint, one), counts.get(index) if one.hears else None)
        for index, one in enumerate(asked)
    ]


def _scores(checkpoint: Checkpoint, asked: Asked) -> tuple[OptionScore, ...] | None:
    if not asked.request.options:
        return None
    options = option_tokens(checkpoint.processor, asked.request, stop_ids(checkpoint.model))
    logprobs = option_logprobs(checkpoint.model, _inputs(checkpoint, [asked]), options)
    return option_scores(asked.request, logprobs)


def _inputs(checkpoint: Checkpoint, asked: Sequence[Asked]) -> Any:
    inputs = batch_inputs(checkpoint.processor, [one.request for one in asked], [one.samples for one in asked])
    return inputs.to(checkpoint.model.device, checkpoint.model.dtype)


def _batches(asked: Sequence[Asked], mixes: bool, rows: int) -> Iterator[list[tuple[int, int]]]:
    """(request index, draw number) in batches of requests of one length that can share one `generate` call."""
    alike: dict[tuple[object, ...], list[tuple[int, int]]] = {}
    for index, one in enumerate(asked):
        length = 0 if mixes or one.samples is None else len(one.samples)
        kind = (one.request.decoding, one.hears, one.request.turns[-1].role == "assistant", length)
        alike.setdefault(kind, []).extend((index, number) for number in range(one.request.n))
    for group in alike.values():
        yield from (group[start : start + rows] for start in range(0, len(group), rows))
