"""Chat models of transformers behind the LALM protocol, one path for all families in `hf_families`.

Each clip is encoded once and each prompt computed once: all completions of a prompt and the scores of its options
start from the same computed prompt, prompts about one clip from the same computed beginning, and replies that are
begun in different ways from the same computed question (`hf_prefix`).
Prompts are computed one by one, which for hundreds of tokens is no slower than together and makes a prompt's numbers
the same in any company; options are scored prompt by prompt for the same reason. Rows of several prompts are decoded
together, because a step of many rows costs little more than a step of one.

Models whose cache cannot be shared answer row by row (`answer_rows`).
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from lalm_agent.errors import LalmError, PermanentBackendError
from lalm_agent.models.base import (
    Completion,
    ModelSpec,
    OptionScore,
    Request,
    Response,
    Turn,
    waveform,
    window_warnings,
)
from lalm_agent.models.hf_decoding import Computed, Draw, complete, compute, option_logprobs, stop_ids, write
from lalm_agent.models.hf_families import audio_token_id
from lalm_agent.models.hf_loading import (
    Checkpoint,
    LoadOptions,
    adapter_files,
    load_checkpoint,
    refuse_other_weights,
    weights_sha256,
)
from lalm_agent.models.hf_prefix import (
    KEPT_CLIPS,
    Prefilled,
    PrefixCache,
    extend,
    keeps_plain_cache,
    prefill,
    room_for_prefixes,
)
from lalm_agent.models.hf_prompt import (
    Clips,
    Hearing,
    audio_end,
    audio_token_counts,
    batch_inputs,
    begun_tokens,
    hearing_of,
    option_tokens,
    protect_from_control_tokens,
    remember_clips,
    require_place,
    text_tokens,
)
from lalm_agent.terminal import say

_Result = TypeVar("_Result")

_RECENT = 4
"""One prompt may be replied to and scored, about its clip and about silence."""
_CONTEXT_NAMES = ("max_position_embeddings", "n_positions", "max_sequence_length")


def load(ref: str, options: LoadOptions | None = None) -> "TransformersLALM":
    """Load a checkpoint by folder or hub id; see `hf_loading.load_checkpoint` for what is refused."""
    return TransformersLALM(load_checkpoint(ref, options or LoadOptions()))


@dataclass(frozen=True, slots=True, eq=False)
class PreparedRequest:
    """A request with the clip as the model takes it.

    samples: (n_samples,) float32 at the model's rate, of several clips a tuple. clip: SHA-256 of the samples; empty
        without a clip.
    heard_s: (start, end) in seconds of the clip that the samples are; several clips count as one after the other.
    """

    request: Request
    samples: Clips = None
    clip: str = ""
    heard_s: tuple[float, float] | None = None

    @property
    def prompt(self) -> tuple[tuple[Turn, ...], str]:
        """Equal where the model's input is the same."""
        return self.request.turns, self.clip

    def response(
        self, completions: Iterable[Completion], scores: tuple[OptionScore, ...] | None, audio_tokens: int | None
    ) -> Response:
        """What the model made of it; a clip of which only the beginning was heard gets a warning."""
        warnings = window_warnings(self.request.sounds, self.heard_s)
        tokens = None if self.samples is None else audio_tokens
        return Response(tuple(completions), scores, self.heard_s, tokens, warnings)


def prepare(requests: Sequence[Request], hearing: Hearing) -> list[PreparedRequest]:
    """Each request with its clip at the model's rate and in its window; a clip that several share is hashed once."""
    clips: dict[int, tuple[NDArray[np.float32], str, tuple[float, float]]] = {}
    for sound in (sound for request in requests for sound in request.sounds):
        if id(sound) not in clips:
            samples, heard_s = waveform(sound, hearing.rate, hearing.window_s)
            clips[id(sound)] = samples, hashlib.sha256(np.ascontiguousarray(samples).data).hexdigest(), heard_s

    def prepared(request: Request) -> PreparedRequest:
        if len(request.sounds) < 2:
            return PreparedRequest(request, *clips[id(request.sound)]) if request.sound else PreparedRequest(request)
        samples, names, spans = zip(*(clips[id(sound)] for sound in request.sounds), strict=True)
        return PreparedRequest(request, samples, " ".join(names), (0.0, sum(end for _, end in spans)))

    return [prepared(request) for request in requests]


class TransformersLALM:
    """A checkpoint that answers requests.

    batch_rows: how many completions at most go through the model at once.
    ref: the reference to record in place of the checkpoint's own (`mini` for the embedded model).
    inputs: keeps what the processor makes, for this model and those `with_adapter`; None keeps nothing.

    Raises as `protect_from_control_tokens` does.
    """

    def __init__(
        self, checkpoint: Checkpoint, batch_rows: int = 8, ref: str | None = None, inputs: "InputCache | None" = None
    ) -> None:
        self._checkpoint = checkpoint
        self._inputs = inputs
        # Of its own for each adapter: what is kept of a clip is what this adapter heard.
        self._engine = Engine(checkpoint, batch_rows, inputs)
        self._hearing = hearing_of(checkpoint.processor, checkpoint.family)
        self._batch_rows = batch_rows
        self._adapter: str | None = None
        info = checkpoint.info if ref is None else replace(checkpoint.info, ref=ref)
        window_s = self._hearing.window_s if self._hearing else None
        family, of = checkpoint.family, (checkpoint.device, checkpoint.dtype)
        self.spec = ModelSpec(info, window_s, *of, family.hears, several_clips=family.several_clips)
        protect_from_control_tokens(checkpoint.processor, info.ref)
        if self._hearing is not None:
            remember_clips(checkpoint.processor)

    def with_adapter(self, folder: str | Path) -> "TransformersLALM":
        """The same weights with a PEFT adapter on top; this object goes on answering without it.

        Raises:
            UsageError: no such folder, an adapter of another model, or of other weights of the same shapes.
            DataError: no PEFT folder, or damaged files.
        """
        path = Path(folder).expanduser()
        refuse_other_weights(path, self.spec.info.weights_sha256, self.spec.info.ref)
        name = self._checkpoint.adapters.add(path, self._checkpoint.info.ref)
        adapted = TransformersLALM(self._checkpoint, self._batch_rows, inputs=self._inputs)
        adapted._adapter = name
        info = replace(self.spec.info, adapter_sha256=weights_sha256(adapter_files(path)))
        adapted.spec = replace(self.spec, info=info)
        return adapted

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """Answer each request.

        Raises:
            PermanentBackendError: also for errors of the library, and for a prompt longer than the model's context.
        """
        try:
            with torch.inference_mode(), self._checkpoint.adapters.on(self._adapter):
                return self._engine.answers(self._prepared(requests))
        except LalmError:
            raise
        except torch.OutOfMemoryError as error:
            raise PermanentBackendError(
                "the device ran out of memory", "try --dtype bfloat16, --device cpu, or a shorter clip"
            ) from error
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise PermanentBackendError(f"the model {self.spec.info.ref} failed: {reason}") from error

    def _prepared(self, requests: Sequence[Request]) -> list[PreparedRequest]:
        if self._hearing is not None:
            return prepare(requests, self._hearing)
        if any(request.sound for request in requests):
            raise PermanentBackendError(
                f"this model takes text only and cannot hear the clip: {self.spec.info.ref} is a "
                f"{self._checkpoint.family.model}",
                "name a model that hears; --text-only asks this one without the clip",
            )
        return [PreparedRequest(request) for request in requests]

    def require_place(self) -> None:
        """Raise PermanentBackendError where the chat template puts a clip before all text, wherever it stands."""
        if self._hearing is not None:
            require_place(self._checkpoint.processor)

    def tokens_of(self, text: str) -> int:
        """How many tokens a text takes at the beginning of a reply that is begun for the model.

        Raises:
            PermanentBackendError: the chat template does not let a reply be begun so.
        """
        # A tokenizer is for one thread at a time, too.
        with self._checkpoint.adapters.on(self._adapter):
            return text_tokens(self._checkpoint.processor, text)


class InputCache:
    """Makes a checkpoint's inputs, and keeps them as far as there is room. One thread at a time.

    A prompt's tokens, a clip's mel features and an option's tokens depend on the processor alone. On a small model,
    making them takes as long as the forward passes. What does not fit any more is made each time: questions that are
    asked in the same order again and again would push each other out of a memory that drops the oldest.

    most_bytes: of the tensors that are kept for good; with 0 only the last `_RECENT` are.
    """

    def __init__(self, checkpoint: Checkpoint, most_bytes: int = 0) -> None:
        self._checkpoint = checkpoint
        self._left = most_bytes
        self._inputs: dict[object, Any] = {}
        self._options: dict[object, list[list[int]]] = {}
        self._recent: OrderedDict[object, Any] = OrderedDict()

    def of(self, prepared: PreparedRequest) -> Any:
        """`model_inputs` of one prompt; not to be written to."""
        inputs = self._inputs.get(prepared.prompt) or self._recent.get(prepared.prompt)
        if inputs is None:
            inputs = model_inputs(self._checkpoint, [prepared])
            self._keep(self._inputs, prepared.prompt, inputs, sum(value.nbytes for value in inputs.values()))
        return inputs

    def options(self, request: Request) -> list[list[int]]:
        """`option_tokens` of a request."""
        key = request.turns, request.options
        tokens = self._options.get(key) or self._recent.get(key)
        if tokens is None:
            tokens = option_tokens(self._checkpoint.processor, request, stop_ids(self._checkpoint.model))
            self._keep(self._options, key, tokens, 8 * sum(map(len, tokens)))
        return tokens

    def _keep(self, memory: dict[object, Any], key: object, value: Any, nbytes: int) -> None:
        if nbytes <= self._left:
            self._left -= nbytes
            memory[key] = value
            return
        self._recent[key] = value
        if len(self._recent) > _RECENT:
            self._recent.popitem(last=False)


def model_inputs(checkpoint: Checkpoint, prepared: Sequence[PreparedRequest]) -> Any:
    """The processor's BatchFeature of requests that all have a clip, or all have none, on the model's device.

    Raises:
        PermanentBackendError: as `batch_inputs`, and for a prompt that is longer than the model's context.
    """
    requests, samples = [row.request for row in prepared], [row.samples for row in prepared]
    inputs = batch_inputs(checkpoint.processor, requests, samples)
    refuse_too_long(checkpoint, int(inputs["attention_mask"].sum(dim=1).max()))
    return moved(inputs, checkpoint.model.device, checkpoint.model.dtype)


def moved(inputs: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """A BatchFeature on a device, what has fractions in that dtype; to a GPU from pinned memory, without a wait."""
    if device.type != "cuda":
        return inputs.to(device, dtype)
    for name, value in inputs.items():
        inputs[name] = value.pin_memory()
    # The dtype changes there: a change on the way would need memory that is not pinned.
    return inputs.to(device, non_blocking=True).to(dtype)


def refuse_too_long(checkpoint: Checkpoint, tokens: int) -> None:
    """Raise PermanentBackendError for a prompt of more tokens than the model's context."""
    context = context_tokens(checkpoint.model)
    if context is not None and tokens > context:
        raise PermanentBackendError(
            f"the prompt has {tokens} tokens, and {checkpoint.info.ref} takes at most {context}",
            "ask with a shorter clip or text, or name a model with a longer context",
        )


def context_tokens(model: Any) -> int | None:
    """The longest text in tokens that a model is made for; None where its configuration does not say."""
    config = model.config.get_text_config(decoder=True)
    lengths = (getattr(config, name, None) for name in _CONTEXT_NAMES)
    return next((length for length in lengths if isinstance(length, int) and length > 0), None)


class Engine:
    """A checkpoint, under one adapter or none, and the computed beginnings of the last clips.

    rows: how many completions, options or computed prompts are in memory at once.
    inputs: makes the checkpoint's inputs, where it is shared with engines of other adapters.
    """

    def __init__(self, checkpoint: Checkpoint, rows: int, inputs: InputCache | None = None) -> None:
        self._checkpoint = checkpoint
        self._model = checkpoint.model
        self._processor = checkpoint.processor
        self._rows = rows
        self._inputs = inputs or InputCache(checkpoint)
        room = room_for_prefixes(self._model.device)
        self._prefixes = PrefixCache(room)
        # Whole prompts, for replies that are begun in different ways; of these alone.
        self._questions = PrefixCache(room)

    @cached_property
    def shares(self) -> bool:
        """Whether rows start from a shared prompt; where that would not be exact, each row has its own."""
        return keeps_plain_cache(self._model)

    def _fitting(self, run: Callable[[int], _Result]) -> _Result:
        """`run(rows)`; where the device runs out of memory, without what was kept of earlier clips, then with half.

        Rows that were too many once are for good. Raises torch.OutOfMemoryError where one row is too many.
        """
        kept = len(self._prefixes) + len(self._questions) > 0
        while True:
            try:
                return run(self._rows)
            except torch.OutOfMemoryError:
                if not kept and self._rows == 1:
                    raise
            # Behind the handler: the error holds on to the tensors of the run that failed.
            if not kept:
                self._rows //= 2
                say(f"note: the device ran out of memory, going on with {self._rows} rows at once")
            kept = False
            self._prefixes.clear()
            self._questions.clear()
            if self._model.device.type == "cuda":
                torch.cuda.empty_cache()

    def answers(self, prepared: Sequence[PreparedRequest]) -> list[Response]:
        """What the model answers to each request; with fewer rows at once where memory is short."""
        if not self.shares:
            return self._fitting(lambda rows: answer_rows(self._checkpoint, prepared, rows))
        groups: dict[object, list[int]] = {}
        for index, row in enumerate(prepared):
            # What is only scored is computed with the options, in one run.
            groups.setdefault((row.prompt, row.request.n > 0), []).append(index)
        responses: dict[int, Response] = {}
        clips = {clip: number for number, clip in enumerate(dict.fromkeys(row.clip for row in prepared))}

        def order(sharing: list[int]) -> tuple[int, bool, int]:
            """What is replied to goes through `generate` side by side, for as many clips as keep their beginnings."""
            first = prepared[sharing[0]]
            clip = clips[first.clip]
            return clip // KEPT_CLIPS, first.request.n > 0, clip

        for _, alike in groupby(sorted(groups.values(), key=order), lambda sharing: order(sharing)[:2]):
            prompts = list(alike)
            while prompts:
                responses |= self._fitting(partial(self._of_prompts, prepared, prompts))
                prompts = prompts[self._rows :]
        return [responses[index] for index in range(len(prepared))]

    def _of_prompts(
        self, prepared: Sequence[PreparedRequest], prompts: Sequence[Sequence[int]], rows: int
    ) -> dict[int, Response]:
        """Responses by request index, for the requests of the first `rows` prompts: each the indices that share it."""
        computed: dict[int, Computed] = {}
        audio_tokens: dict[int, int] = {}
        scores: dict[int, tuple[OptionScore, ...]] = {}
        for sharing in prompts[:rows]:
            prompt, count = self._prefill(prepared[sharing[0]])
            audio_tokens.update(dict.fromkeys(sharing, count))
            # Each from the same beginning, so that no request's scores hang on another's.
            by_options: dict[tuple[str, ...], tuple[Computed, list[list[float]]]] = {}
            for index in sharing:
                request = prepared[index].request
                if request.options not in by_options:
                    options = self._inputs.options(request) if request.options else ()
                    by_options[request.options] = compute(self._model, prompt, options)
                computed[index], logprobs = by_options[request.options]
                if request.options:
                    scores[index] = _option_scores(request, logprobs)
        completions: dict[int, list[Completion]] = {index: [] for index in computed}
        for batch in _batches(prepared, computed, self._rows):
            whole = [computed[index] for index, _ in batch]
            made = write(self._model, self._processor.tokenizer, whole, _draws(prepared, batch))
            for (index, _), completion in zip(batch, made, strict=True):
                completions[index].append(completion)
        return {
            index: prepared[index].response(completions[index], scores.get(index), audio_tokens[index])
            for index in computed
        }

    def _prefill(self, prepared: PreparedRequest) -> tuple[Prefilled, int]:
        """The prompt, computed up to the end of its clip; its audio tokens."""
        begun = begun_tokens(self._processor, prepared.request.turns)
        if begun is not None:
            return self._prefill_begun(prepared, begun)
        inputs = self._inputs.of(prepared)
        count = end = 0
        if prepared.samples is not None:
            count = int(audio_token_counts(self._processor, inputs["input_ids"])[0])
            end = audio_end(self._processor, inputs["input_ids"][0])
        return prefill(self._model, inputs, end, prepared.clip, self._prefixes), count

    def _prefill_begun(self, prepared: PreparedRequest, begun: tuple[int, ...]) -> tuple[Prefilled, int]:
        """The same where the prompt goes on into the assistant's turn by `begun_tokens`: its question is kept."""
        question = replace(prepared, request=replace(prepared.request, turns=prepared.request.turns[:-1]))
        prefix = self._questions.get(question.prompt)
        if prefix is None:
            prefix = extend(self._model, self._prefill(question)[0]).prefix
            self._questions.put(question.prompt, prefix)
        refuse_too_long(self._checkpoint, len(prefix.tokens) + len(begun))
        count = 0 if prepared.samples is None else prefix.tokens.count(audio_token_id(self._processor))
        return Prefilled(prefix, begun), count


def answer_rows(checkpoint: Checkpoint, prepared: Sequence[PreparedRequest], rows: int) -> list[Response]:
    """What the model answers each request, every row with a prompt of its own; at most `rows` rows at once.

    For models whose cache cannot be shared (`hf_prefix.keeps_plain_cache`): Gemma 4 with its sliding windows,
    Phi-4-multimodal with its `longrope` positions, and some text models. One `generate` call for all completions of
    requests with the same decoding; one forward pass of the prompt for each completion, and one more for options.
    """
    completions: dict[int, list[Completion]] = {index: [] for index in range(len(prepared))}
    audio_tokens: dict[int, int] = {}

    def kind(row: PreparedRequest) -> object:
        """Equal for what can share one `generate` call."""
        length: object = 0
        if row.samples is not None and not checkpoint.family.mixes_lengths:
            length = tuple(map(len, row.samples)) if isinstance(row.samples, tuple) else len(row.samples)
        return row.request.decoding, row.samples is None, row.request.turns[-1].role == "assistant", length

    def scores(row: PreparedRequest) -> tuple[OptionScore, ...] | None:
        if not row.request.options:
            return None
        options = option_tokens(checkpoint.processor, row.request, stop_ids(checkpoint.model))
        inputs = model_inputs(checkpoint, [row])
        return _option_scores(row.request, option_logprobs(checkpoint.model, inputs, options))

    for batch in _batches(prepared, range(len(prepared)), rows, kind):
        inputs = model_inputs(checkpoint, [prepared[index] for index, _ in batch])
        made = complete(checkpoint.model, checkpoint.processor.tokenizer, inputs, _draws(prepared, batch))
        tokens = audio_token_counts(checkpoint.processor, inputs["input_ids"]).tolist()
        for (index, _), completion, count in zip(batch, made, tokens, strict=True):
            completions[index].append(completion)
            audio_tokens[index] = count
    return [
        row.response(completions[index], scores(row), audio_tokens.get(index)) for index, row in enumerate(prepared)
    ]


def _option_scores(request: Request, logprobs: Sequence[Sequence[float]]) -> tuple[OptionScore, ...]:
    return tuple(OptionScore(text, sum(row), len(row)) for text, row in zip(request.options, logprobs, strict=True))


def _draws(prepared: Sequence[PreparedRequest], batch: Sequence[tuple[int, int]]) -> list[Draw]:
    requests = [prepared[index].request for index, _ in batch]
    return [
        Draw(request.key, request.draw + number, request.decoding)
        for request, (_, number) in zip(requests, batch, strict=True)
    ]


def _batches(
    prepared: Sequence[PreparedRequest],
    indices: Iterable[int],
    rows: int,
    kind: Callable[[PreparedRequest], object] = lambda row: None,
) -> Iterator[list[tuple[int, int]]]:
    """(request index, draw number) of requests of one kind, those of one request side by side, at most `rows` each."""
    alike: dict[object, list[tuple[int, int]]] = {}
    for index in indices:
        draws = [(index, number) for number in range(prepared[index].request.n)]
        alike.setdefault(kind(prepared[index]), []).extend(draws)
    for group in alike.values():
        yield from (group[start : start + rows] for start in range(0, len(group), rows))
