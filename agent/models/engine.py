"""Requests through one checkpoint: each clip encoded once, each prompt computed once, whatever is asked of it.

All completions of a prompt, and the scores of its options, start from the same computed prompt; prompts about one clip
start from the same computed beginning (`hf_prefix`), for which the audio tower ran on the clip's own frames where its
class allows that (`own_frames`). Prompts are computed one by one, which for hundreds of tokens is no slower than
together, and makes a prompt's numbers the same in any company. Rows of several prompts are decoded together, because a
step of many rows costs little more than a step of one. Options are scored prompt by prompt: at `rows` options at once
there is little to gain, and scores that are compared between questions keep their bits in any company.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property

import torch

from lalm_agent.models.base import Completion, Decoding, OptionScore
from lalm_agent.models.hf_asked import Answered, Asked, option_scores
from lalm_agent.models.hf_decoding import Draw, complete
from lalm_agent.models.hf_loading import Checkpoint
from lalm_agent.models.hf_prefix import KeptPrefixes, Prefilled, keeps_plain_cache, prefill, row_inputs
from lalm_agent.models.hf_prompt import audio_end, audio_token_counts
from lalm_agent.models.hf_rows import answers_by_rows
from lalm_agent.models.hf_scoring import logprobs_after
from lalm_agent.models.kept_inputs import KeptInputs


class Engine:
    """A checkpoint, under one adapter or none, and what it still holds of the clips last heard.

    Args:
        checkpoint: what `load_checkpoint` returned.
        rows: how many completions, or options, at most go through the model at once, and how many computed prompts
            are held for them.
        inputs: makes the checkpoint's inputs, where it is shared with engines of other adapters.
    """

    def __init__(self, checkpoint: Checkpoint, rows: int, inputs: KeptInputs | None = None) -> None:
        """Nothing is computed yet."""
        self._checkpoint = checkpoint
        self._model = checkpoint.model
        self._processor = checkpoint.processor
        self._rows = rows
        self._inputs = inputs or KeptInputs(checkpoint)
        self._kept = KeptPrefixes()

    @cached_property
    def shares(self) -> bool:
        """Whether rows start from a shared prompt; where that would not be exact, each row has its own."""
        return keeps_plain_cache(self._model)

    def answers(self, asked: Sequence[Asked]) -> list[Answered]:
        """What the model makes of each request.

        Raises:
            PermanentBackendError: a request's clip yields no audio tokens, or its options cannot be scored.
            torch.OutOfMemoryError: also without what was kept of earlier clips.
        """
        try:
            return self._answers(asked)
        except torch.OutOfMemoryError:
            if not len(self._kept):
                raise
            self._kept.clear()
        return self._answers(asked)

    def _answers(self, asked: Sequence[Asked]) -> list[Answered]:
        if not self.shares:
            return answers_by_rows(self._checkpoint, asked, self._rows)
        groups: dict[object, list[int]] = {}
        for index, one in enumerate(asked):
            groups.setdefault(one.prompt, []).append(index)
        found: dict[int, Answered] = {}
        prompts = list(groups.values())
        for start in range(0, len(prompts), self._rows):
            found.update(self._of_prompts(asked, prompts[start : start + self._rows]))
        return [found[index] for index in range(len(asked))]

    def _of_prompts(self, asked: Sequence[Asked], prompts: Sequence[Sequence[int]]) -> dict[int, Answered]:
        """Answers by request index, for the requests of a few prompts: for each prompt the indices that share it."""
        computed: dict[int, Prefilled] = {}
        audio_tokens: dict[int, int | None] = {}
        for sharing in prompts:
            prompt, count = self._prefill(asked[sharing[0]])
            computed.update(dict.fromkeys(sharing, prompt))
            audio_tokens.update(dict.fromkeys(sharing, count))
        completions = self._completions(asked, computed)
        return {
            index: Answered(tuple(completions[index]), self._scores(asked[index], prompt), audio_tokens[index])
            for index, prompt in computed.items()
        }

    def _prefill(self, asked: Asked) -> tuple[Prefilled, int | None]:
        """The computed prompt and its number of audio tokens, None without a clip."""
        inputs = self._inputs.of(asked)
        if not asked.hears:
            return prefill(self._model, inputs, 0, "", self._kept), None
        count = int(audio_token_counts(self._processor, inputs["input_ids"])[0])
        end = audio_end(self._processor, inputs["input_ids"][0])
        return prefill(self._model, inputs, end, asked.clip, self._kept), count

    def _completions(self, asked: Sequence[Asked], computed: dict[int, Prefilled]) -> dict[int, list[Completion]]:
        found: dict[int, list[Completion]] = {index: [] for index in computed}
        for decoding, batch in _batches(asked, computed, self._rows):
            prompts = list(dict.fromkeys(computed[index] for index, _ in batch))
            inputs = row_inputs(self._model, prompts, [prompts.index(computed[index]) for index, _ in batch])
            draws = [Draw(asked[index].request.key, asked[index].request.draw + number) for index, number in batch]
            rows = complete(self._model, self._processor.tokenizer, inputs, decoding, draws)
            for (index, _), completion in zip(batch, rows, strict=True):
                found[index].append(completion)
        return found

    def _scores(self, asked: Asked, prompt: Prefilled) -> tuple[OptionScore, ...] | None:
        if not asked.request.options:
            return None
        options = self._inputs.options(asked.request)
        return option_scores(asked.request, logprobs_after(self._model, prompt, options, self._rows))


def _batches(
    asked: Sequence[Asked], computed: dict[int, Prefilled], rows: int
) -> Iterator[tuple[Decoding, list[tuple[int, int]]]]:
    """(request index, draw number) by decoding, those of one prompt side by side, at most `rows` at once."""
    alike: dict[Decoding, list[tuple[int, int]]] = {}
    for index in computed:
        request = asked[index].request
        alike.setdefault(request.decoding, []).extend((index, number) for number in range(request.n))
    for decoding, group in alike.items():
        for start in range(0, len(group), rows):
            yield decoding, group[start : start + rows]
