"""Chat models of transformers behind the LALM protocol, one path for all families in `hf_families` and `text_lm`.

What a request costs: one `generate` call for all completions of requests with the same decoding, one forward pass
of the prompt plus one of the options (sharing the prompt's cache) where options are scored.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lalm_agent.audio import Sound
from lalm_agent.errors import LalmError, PermanentBackendError
from lalm_agent.models.base import Completion, ModelSpec, OptionScore, Request, Response
from lalm_agent.models.hf_adapters import adapter_files
from lalm_agent.models.hf_loading import Checkpoint, LoadOptions, load_checkpoint, weights_sha256
from lalm_agent.models.hf_prompt import (
    audio_token_counts,
    batch_inputs,
    hearing_of,
    option_tokens,
    protect_from_control_tokens,
    waveform,
)


def load(ref: str, options: LoadOptions | None = None) -> "TransformersLALM":
    """Load a checkpoint by folder or hub id; see `hf_loading.load_checkpoint` for what is refused."""
    return TransformersLALM(load_checkpoint(ref, options or LoadOptions()))


class TransformersLALM:
    """A checkpoint that answers requests.

    Args:
        checkpoint: what `load_checkpoint` returned.
        batch_rows: how many prompts at most go through the model at once.
        ref: the reference to record in place of the checkpoint's own (`mini` for the embedded model).

    Raises:
        PermanentBackendError: control tokens in a user's text cannot be kept from the model.
    """

    def __init__(self, checkpoint: Checkpoint, batch_rows: int = 8, ref: str | None = None) -> None:
        """Check the tokenizer once; nothing is computed yet."""
        self._checkpoint = checkpoint
        self._model = checkpoint.model
        self._processor = checkpoint.processor
        self._hearing = hearing_of(checkpoint.processor, checkpoint.family)
        self._batch_rows = batch_rows
        self._adapter: str | None = None
        info = checkpoint.info if ref is None else replace(checkpoint.info, ref=ref)
        window_s = self._hearing.window_s if self._hearing else None
        self._spec = ModelSpec(info, window_s, checkpoint.device, checkpoint.dtype, checkpoint.family.hears)
        protect_from_control_tokens(self._processor, info.ref)

    def with_adapter(self, folder: str | Path) -> "TransformersLALM":
        """The same weights with a PEFT adapter on top; this object goes on answering without it.

        Raises:
            UsageError: no such folder, or an adapter of another model.
            DataError: no PEFT folder, or damaged files.
        """
        path = Path(folder).expanduser()
        name = self._checkpoint.adapters.add(path, self._checkpoint.info.ref)
        adapted = TransformersLALM(self._checkpoint, self._batch_rows)
        adapted._adapter = name
        info = replace(self._spec.info, adapter_sha256=weights_sha256(adapter_files(path)))
        adapted._spec = replace(self._spec, info=info)
        return adapted

    @property
    def spec(self) -> ModelSpec:
        """The weights, the window in seconds, device and dtype."""
        return self._spec

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """Answer each request. Errors of the library come as `PermanentBackendError`."""
        import torch

        try:
            with torch.inference_mode(), self._checkpoint.adapters.on(self._adapter):
                return self._generate(requests)
        except LalmError:
            raise
        except torch.OutOfMemoryError as error:
            raise PermanentBackendError(
                "the device ran out of memory", "try --dtype bfloat16, --device cpu, or a shorter clip"
            ) from error
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise PermanentBackendError(f"the model {self._spec.info.ref} failed: {reason}") from error

    def _generate(self, requests: Sequence[Request]) -> list[Response]:
        heard = [self._heard(r.sound) if r.sound else None for r in requests]
        sounds = [entry[0] if entry else None for entry in heard]
        completions = self._completions(requests, sounds)
        responses = []
        for index, request in enumerate(requests):
            scores = self._scores(request, sounds[index]) if request.options else None
            heard_s = entry[1] if (entry := heard[index]) else None
            texts, audio_tokens = completions.get(index, ((), None))
            responses.append(Response(texts, scores, heard_s, audio_tokens, _window_warning(request, heard_s)))
        return responses

    def _heard(self, sound: Sound) -> tuple[NDArray[np.float32], tuple[float, float]]:
        if self._hearing is None:
            raise PermanentBackendError(
                f"this model takes text only and cannot hear the clip: {self._spec.info.ref} is a "
                f"{self._checkpoint.family.model}",
                "name a model that hears; --text-only asks this one without the clip",
            )
        return waveform(sound, self._hearing)

    def _completions(
        self, requests: Sequence[Request], sounds: Sequence[Any]
    ) -> dict[int, tuple[tuple[Completion, ...], int | None]]:
        """Completions and audio token counts by request index; one `generate` a batch of like rows."""
        found: dict[int, list[tuple[Completion, int]]] = {}
        mixes = self._checkpoint.family.mixes_lengths
        lengths = [0 if mixes or sound is None else len(sound) for sound in sounds]
        for batch in _batches(requests, lengths, self._batch_rows):
            rows = self._one_batch([requests[i] for i, _ in batch], [sounds[i] for i, _ in batch], batch)
            for (index, _), row in zip(batch, rows, strict=True):
                found.setdefault(index, []).append(row)
        return {
            index: (tuple(text for text, _ in rows), rows[0][1] if sounds[index] is not None else None)
            for index, rows in found.items()
        }

    def _one_batch(
        self, requests: Sequence[Request], sounds: Sequence[Any], batch: Sequence[tuple[int, int]]
    ) -> list[tuple[Completion, int]]:
        from lalm_agent.models.hf_decoding import Draw, KeyedGumbel, LogprobRecorder

        inputs = batch_inputs(self._processor, requests, sounds).to(self._model.device, self._model.dtype)
        counts = audio_token_counts(self._processor, inputs["input_ids"]).tolist()
        prompt_tokens = inputs["input_ids"].shape[1]
        decoding = requests[0].decoding
        recorder = LogprobRecorder()
        processors: list[Any] = [recorder.before]
        if decoding.temperature > 0:
            numbered = zip(requests, batch, strict=True)
            draws = [Draw(request.key, request.draw + number) for request, (_, number) in numbered]
            processors.append(KeyedGumbel(decoding, draws, prompt_tokens))
        output = self._model.generate(
            **inputs,
            do_sample=False,
            num_beams=1,
            max_new_tokens=decoding.max_new_tokens,
            logits_processor=processors,
            stopping_criteria=[recorder.after],
        )
        replies = output[:, prompt_tokens:].tolist()
        found = list(map(self._completion, replies, recorder.rows(), recorder.gap_rows()))
        if decoding.temperature > 0:
            # What was drawn does not hang on the two likeliest tokens.
            found = [replace(completion, top_two_gap=None) for completion in found]
        return list(zip(found, counts, strict=True))

    def _completion(self, tokens: list[int], logprobs: list[float], gaps: list[float]) -> Completion:
        stops = self._stop_ids()
        end = next((i for i, token in enumerate(tokens) if token in stops), None)
        text = self._processor.tokenizer.decode(tokens[:end], skip_special_tokens=True).strip()
        length = len(tokens) if end is None else end + 1
        return Completion(text, tuple(logprobs[:length]), "length" if end is None else "stop", min(gaps[:length]))

    def _scores(self, request: Request, sound: Any) -> tuple[OptionScore, ...]:
        from lalm_agent.models.hf_scoring import option_logprobs

        options = option_tokens(self._processor, request, self._stop_ids())
        inputs = batch_inputs(self._processor, [request], [sound]).to(self._model.device, self._model.dtype)
        logprobs = option_logprobs(self._model, inputs, options)
        return tuple(OptionScore(text, sum(row), len(row)) for text, row in zip(request.options, logprobs, strict=True))

    def _stop_ids(self) -> set[int]:
        eos = self._model.generation_config.eos_token_id
        return set(eos) if isinstance(eos, list) else {eos}


def _batches(requests: Sequence[Request], lengths: Sequence[int], rows: int) -> Iterator[list[tuple[int, int]]]:
    """(request index, draw number) in batches of requests of one length that can share one `generate` call."""
    alike: dict[tuple[object, ...], list[tuple[int, int]]] = {}
    for index, request in enumerate(requests):
        kind = (request.decoding, request.sound is None, request.turns[-1].role == "assistant", lengths[index])
        alike.setdefault(kind, []).extend((index, number) for number in range(request.n))
    for group in alike.values():
        yield from (group[start : start + rows] for start in range(0, len(group), rows))


def _window_warning(request: Request, heard_s: tuple[float, float] | None) -> tuple[str, ...]:
    if request.sound is None or heard_s is None or heard_s[1] >= request.sound.ref.seconds:
        return ()
    whole = request.sound.ref.seconds
    return (
        f"the model hears {heard_s[1]:.1f} s at once: it heard the clip's first {heard_s[1]:.1f} s of {whole:.1f} s",
    )
