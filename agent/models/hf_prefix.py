"""What a model has computed of a prompt, kept so that several rows, and several prompts about one clip, start from it.

A prompt is computed in two runs: up to the end of its clip, and the text after that, all but its last token. The keys
and values of a position depend on what stands before it alone, so the first run serves every prompt that begins the
same, and both serve any number of replies. Where the assistant's turn is begun in the prompt, the prompt without it is
computed so, and serves every beginning of a reply to one question: what begins the reply is computed with the reply,
and with each option that is scored. The split does not depend on what is kept: a clip or a question met again gives
the very same numbers.
"""

import copy
import inspect
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from lalm_agent.errors import PermanentBackendError

KEPT_CLIPS = 8
KEPT_BYTES = 2**30
"""A clip of 30 s takes 0.4 GB in Qwen2-Audio-7B at bfloat16."""

ROOM = 64
"""Tokens that a `GrowingCache` makes room for at a time."""

_TRIMMABLE_TOWERS = ("Qwen2AudioEncoder",)
_STRIDE = 2
"""Mel frames per position: the first convolution of an audio tower has a stride of 1, the second of 2."""

_PER_TOKEN = ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids")
_BY_LENGTH = {"dynamic", "longrope"}

Layers = tuple[tuple[torch.Tensor, torch.Tensor], ...]
"""Keys and values of each layer, (1, heads, tokens, head size)."""


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """The first tokens of a prompt and what the model's layers hold of them."""

    tokens: tuple[int, ...]
    layers: Layers

    @property
    def nbytes(self) -> int:
        """Bytes that the layers hold."""
        return sum(keys.nbytes + values.nbytes for keys, values in self.layers)


@dataclass(frozen=True, slots=True, eq=False)
class Prefilled:
    """A prompt of which the beginning is computed; rest: the tokens that are not, one at least."""

    prefix: Prefix
    rest: tuple[int, ...]

    @property
    def tokens(self) -> tuple[int, ...]:
        """The whole prompt."""
        return (*self.prefix.tokens, *self.rest)


class PrefixCache:
    """The prompts' beginnings of the last `KEPT_CLIPS` clips, or questions; one for each name.

    All but the last take at most `most_bytes`, by default `KEPT_BYTES`.
    """

    def __init__(self, most_bytes: int | None = None) -> None:
        self._most_bytes = KEPT_BYTES if most_bytes is None else most_bytes
        self._by_name: OrderedDict[Hashable, Prefix] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_name)

    def get(self, name: Hashable, tokens: tuple[int, ...] | None = None) -> Prefix | None:
        """The beginning under this name, if it is these very tokens; None where the name says which."""
        prefix = self._by_name.get(name)
        if prefix is None or tokens not in (None, prefix.tokens):
            return None
        self._by_name.move_to_end(name)
        return prefix

    def put(self, name: Hashable, prefix: Prefix) -> None:
        """Keep it, in place of those unused for longest."""
        self._by_name.pop(name, None)
        self._by_name[name] = prefix
        kept = self._by_name.values()
        while len(kept) > KEPT_CLIPS or (len(kept) > 1 and sum(prefix.nbytes for prefix in kept) > self._most_bytes):
            self._by_name.popitem(last=False)

    def clear(self) -> None:
        """Give the memory back."""
        self._by_name.clear()


def room_for_prefixes(device: torch.device) -> int:
    """Bytes that a `PrefixCache` may take: an eighth of what a GPU has free, and `KEPT_BYTES` at least.

    Eight clips of 30 s behind Qwen2-Audio-7B take 3.2 GB; were they dropped, each step of an agent would hear anew.
    """
    if device.type != "cuda":
        return KEPT_BYTES
    return max(KEPT_BYTES, torch.cuda.mem_get_info(device)[0] // 8)


def keeps_plain_cache(model: Any) -> bool:
    """Whether what a model holds of a prompt can be cut, copied and put beside another's without changing a reply.

    Not so where a layer forgets (sliding windows) or holds a state in place of keys and values, nor where the length
    of the whole text decides how positions are encoded. Runs the model on one token.
    """
    rope = getattr(model.config.get_text_config(decoder=True), "rope_parameters", None) or {}
    kinds = {part.get("rope_type") for part in (rope, *rope.values()) if isinstance(part, dict)}
    if kinds & _BY_LENGTH:
        return False
    output = model.base_model(input_ids=torch.zeros(1, 1, dtype=torch.long, device=model.device), use_cache=True)
    cache = getattr(output, "past_key_values", None)
    return isinstance(cache, DynamicCache) and all(type(layer) is DynamicLayer for layer in cache.layers)


def prefill(model: Any, inputs: Mapping[str, Any], clip_end: int, clip: str, kept: PrefixCache) -> Prefilled:
    """Compute a prompt up to the end of its clip.

    model: one that `keeps_plain_cache`. inputs: for the one prompt, without padding.
    clip_end: how many tokens the prompt has up to the end of its clip; 0 without one.
    clip: names the clip in `kept`, where the beginning is looked up and left.

    Raises:
        PermanentBackendError: no text follows the clip, or there is but one token.
    """
    tokens = tuple(inputs["input_ids"][0].tolist())
    if clip_end >= len(tokens) or len(tokens) < 2:
        raise PermanentBackendError(
            "the prompt has no text that a reply could follow",
            "the checkpoint's chat template must write something after the clip",
        )
    if not clip_end:
        return Prefilled(Prefix((), ()), tokens)
    # Behind worked examples, which end elsewhere, a clip has a beginning of its own.
    name = clip, clip_end
    beginning = kept.get(name, tokens[:clip_end])
    if beginning is None:
        cut = {name: value[:, :clip_end] if name in _PER_TOKEN else value for name, value in inputs.items()}
        with trimmed_window(model, cut) as shorter:
            beginning = Prefix(tokens[:clip_end], _layers(model.base_model(**shorter, use_cache=True)))
        kept.put(name, beginning)
    return Prefilled(beginning, tokens[clip_end:])


def extend(model: Any, prompt: Prefilled) -> Prefilled:
    """The prompt with all its tokens computed but the last."""
    return Prefilled(_run(model, prompt.prefix, prompt.rest[:-1]), prompt.rest[-1:])


def without_last(prefix: Prefix) -> Prefilled:
    """The same tokens, of which the last is not computed."""
    layers = tuple((keys[:, :, :-1], values[:, :, :-1]) for keys, values in prefix.layers)
    return Prefilled(Prefix(prefix.tokens[:-1], layers), prefix.tokens[-1:])


def row_inputs(model: Any, prompts: Sequence[Prefilled]) -> dict[str, Any]:
    """What the model needs to go on from computed prompts, a row each.

    input_ids (rows, tokens that are not computed) int64, position_ids of them where the model takes these,
    attention_mask (rows, all tokens), past_key_values for the tokens that are computed. What is computed, and what is
    not, is each padded on the left.
    """
    kept, left = (max(map(len, parts)) for parts in ([p.prefix.tokens for p in prompts], [p.rest for p in prompts]))

    def padded(parts: Iterable[Sequence[int]], width: int) -> torch.Tensor:
        return torch.tensor([[0] * (width - len(part)) + list(part) for part in parts], device=model.device)

    def ones(parts: Iterable[Sequence[int]], width: int) -> torch.Tensor:
        return padded(([1] * len(part) for part in parts), width)

    mask = torch.cat([ones((p.prefix.tokens for p in prompts), kept), ones((p.rest for p in prompts), left)], dim=1)
    # Said outright: the Qwen omni classes would take them from a state that the last prompt left in the model.
    return {
        "input_ids": padded((p.rest for p in prompts), left),
        "attention_mask": mask,
        "past_key_values": _batched([prompt.prefix for prompt in prompts]),
    } | positions_for(model, (mask.cumsum(1) - 1).clamp(min=0)[:, kept:])


def continue_from(
    model: Any, prompt: Prefilled, replies: Sequence[Sequence[int]]
) -> tuple[torch.Tensor, list[torch.Tensor], Prefix]:
    """Logits after the prompt, (vocabulary,); after each of n tokens of each reply, (n, vocabulary); the whole prompt.

    One run of one row: the rest of the prompt, then all replies side by side, none of which sees another. So nothing is
    computed twice, and no reply needs a copy of what the prompt's beginning left.
    """
    start, end = len(prompt.prefix.tokens), len(prompt.tokens)
    tokens = [*prompt.rest, *(token for reply in replies for token in reply)]
    # Which reply a token belongs to; 0 is the prompt, which all of them see.
    owners = [0] * len(prompt.rest) + [number for number, reply in enumerate(replies, 1) for _ in reply]
    places = [*range(start, end), *(end + place for reply in replies for place in range(len(reply)))]
    owner = torch.tensor(owners, device=model.device)
    sees = ((owner[:, None] == owner) | (owner == 0)).tril()
    mask = torch.zeros(1, 1, len(tokens), start + len(tokens), device=model.device, dtype=model.dtype)
    mask[..., start:].masked_fill_(~sees, torch.finfo(model.dtype).min)
    # Nobody asks for the logits of the prompt's other positions.
    read = len(tokens) - len(prompt.rest) + 1
    with _head_on_last(model, read):
        output = model(
            input_ids=torch.tensor([tokens], device=model.device),
            attention_mask=mask,
            past_key_values=DynamicCache(prompt.prefix.layers) if prompt.prefix.layers else None,
            use_cache=True,
            **positions_for(model, torch.tensor([places], device=model.device)),
        )
    logits = output.logits[0, -read:]
    own = list(logits[1:].split([len(reply) for reply in replies]))
    layers = tuple((keys[:, :, :end], values[:, :, :end]) for keys, values in _layers(output))
    return logits[0], own, Prefix(prompt.tokens, layers)


@contextmanager
def _head_on_last(model: Any, positions: int) -> Iterator[None]:
    """Within this context a model's head works on the last positions alone."""
    head = model.get_output_embeddings()
    handle = head.register_forward_pre_hook(lambda _, states: (states[0][:, -positions:],))
    try:
        yield
    finally:
        handle.remove()


def _run(model: Any, before: Prefix, tokens: tuple[int, ...]) -> Prefix:
    """Text after what is computed already. The model without its head: nobody asks for these positions' logits."""
    if not tokens:
        return before
    start = len(before.tokens)
    ids = torch.tensor([tokens], device=model.device)
    cache = DynamicCache(before.layers) if before.layers else None
    positions = positions_for(model, torch.arange(start, start + len(tokens), device=model.device)[None])
    output = model.base_model(input_ids=ids, past_key_values=cache, use_cache=True, **positions)
    return Prefix((*before.tokens, *tokens), _layers(output))


def positions_for(model: Any, positions: torch.Tensor) -> dict[str, torch.Tensor]:
    """`position_ids` for a model that takes them."""
    return {"position_ids": positions} if _takes_positions(type(model).forward) else {}


@cache
def _takes_positions(forward: Hashable) -> bool:
    return "position_ids" in inspect.signature(cast(Callable[..., Any], forward)).parameters


def _layers(output: Any) -> Layers:
    return tuple((layer.keys, layer.values) for layer in output.past_key_values.layers)


def _batched(prompts: Sequence[Prefix]) -> "GrowingCache":
    """A cache with a row for each prompt, padded on the left to the longest."""
    width = max(len(prompt.tokens) for prompt in prompts)

    def rows(parts: Sequence[torch.Tensor]) -> torch.Tensor:
        if len(set(prompts)) == 1:
            return parts[0].expand(len(prompts), -1, -1, -1)
        return torch.cat([torch.nn.functional.pad(part, (0, 0, width - part.shape[2], 0)) for part in parts])

    layers = zip(*(prompt.layers for prompt in prompts), strict=True)
    return GrowingCache([(rows([k for k, _ in parts]), rows([v for _, v in parts])) for parts in layers])


# --- a cache with room for the tokens to come -------------------------------------------------------------------------


class GrowingCache(DynamicCache):
    """A cache that copies what it holds once in `ROOM` tokens, where that of transformers does for each new one.

    Behind a clip of 30 s, five rows of 32 tokens take a tenth less time so (LOG.md, 2026-11-28).

    Its `keys` and `values` are views that a later token may be written behind: who cuts the cache and goes on writes
    over what was cut.
    """

    def __init__(self, layers: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Copy the keys and values of each layer, (rows, heads, tokens, head size)."""
        super().__init__()
        self.layer_class_to_replicate = GrowingLayer
        for index, (keys, values) in enumerate(layers):
            self.update(keys, values, index)


class GrowingLayer(DynamicLayer):
    """One layer of a `GrowingCache`."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._memories = (_Memory(), _Memory())

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add keys and values, (rows, heads, new tokens, head size); returns all there are."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states[..., :0, :], value_states[..., :0, :]
        assert self.keys is not None
        assert self.values is not None
        key_memory, value_memory = self._memories
        self.keys = key_memory.extended(self.keys, key_states)
        self.values = value_memory.extended(self.values, value_states)
        return self.keys, self.values


class _Memory:
    """Memory in which a tensor grows along its last axis but one."""

    def __init__(self) -> None:
        self._memory: torch.Tensor | None = None

    def extended(self, part: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        """`part` and `new` behind it; nothing is copied where `part` is the beginning of this memory."""
        start, end = part.shape[-2], part.shape[-2] + new.shape[-2]
        memory = self._memory
        if (
            memory is None
            or end > memory.shape[-2]
            or (part.data_ptr(), part.stride(), len(part)) != (memory.data_ptr(), memory.stride(), len(memory))
        ):
            memory = self._memory = new.new_empty((*new.shape[:-2], end + ROOM, new.shape[-1]))
            memory[..., :start, :] = part
        memory[..., start:end, :] = new
        return memory[..., :end, :]


# --- an audio tower on a clip's own frames ---------------------------------------------------------------------------
#
# Whisper's front end pads each clip with silence to the window (30 s in Qwen2-Audio), so that the tower costs the same
# however short the clip is. Where the class hides the padding (attention looks at no key that stands for it, and all
# else in the tower is local), only the first frames of the padding can change what the language model gets; the others
# are left out. Most towers of Whisper's kind do hear the padding: only `_TRIMMABLE_TOWERS` run on less than the window.


class TrimsPadding:
    """Base of what replaces a tower's `forward` and runs it on each clip's own frames (`encode_trimmed`)."""


def ignores_padding(tower: Any) -> bool:
    """Whether a tower is of a class in which a clip's outputs depend on no more of the padding than its first frame."""
    return type(tower).__name__ in _TRIMMABLE_TOWERS


@contextmanager
def trimmed_window(model: Any, inputs: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Inputs with no more frames than the longest of their clips needs, which the model takes within this context.

    A model whose tower hears the padding, or does this by itself (`TrimsPadding`), and inputs without a clip, stay as
    they are. Another tower stands in the model meanwhile, so one thread at a time uses it (`AdapterSwitch.on`).

    inputs: input_features (clips, mels, frames) and feature_attention_mask (clips, frames) among them.
    """
    core = model.base_model
    tower: Any = getattr(core, "audio_tower", None)
    if "input_features" not in inputs or not ignores_padding(tower) or isinstance(tower.forward, TrimsPadding):
        yield inputs
        return
    features, mask = inputs["input_features"], inputs["feature_attention_mask"]
    frames = frames_for(positions_of(int(mask.sum(-1).max())), features.shape[-1])
    core.audio_tower = with_window(tower, frames)
    try:
        yield {**inputs, "input_features": features[..., :frames], "feature_attention_mask": mask[..., :frames]}
    finally:
        core.audio_tower = tower


def encode_trimmed(tower: Any, features: torch.Tensor, mask: Any, **arguments: Any) -> torch.Tensor:
    """What a tower that `ignores_padding` makes of one clip: (1, outputs, size), with at most one of the padding.

    Args:
        tower: of its `forward` only the class's own is used.
        features: (1, mels, frames), the whole window.
        mask: of the model for its tower: (1, positions) with zeros for padding; (1, 1, positions, positions), additive,
            or boolean with True where a query looks at a key; or None where nothing is padding.
        arguments: further ones of `forward`.
    """
    positions = tower.config.max_source_positions
    if isinstance(mask, torch.Tensor):
        keys = mask[0] if mask.ndim == 2 else mask[0, 0, -1]
        seen = keys == 0 if mask.ndim == 4 and mask.is_floating_point() else keys.bool()
        frames = frames_for(int(seen.sum()), features.shape[-1])
        positions = frames // _STRIDE
        features = features[..., :frames]
        mask = mask[:, :positions] if mask.ndim == 2 else mask[..., :positions, :positions]
    output = with_window(tower, _STRIDE * positions).forward(features, attention_mask=mask, **arguments)
    hidden: torch.Tensor = output.last_hidden_state
    return hidden


def positions_of(frames: int) -> int:
    """How many of the tower's positions are a clip of so many mel frames, as the class counts them."""
    return (frames - 1) // _STRIDE + 1


def frames_for(positions: int, window: int) -> int:
    """How many mel frames, of a window of so many, a tower must be given for its first positions to come out right.

    Through two convolutions of width 3 position p sees the frames 2 p - 2 to 2 p + 2. So the last position sees one
    frame of the padding; one position more is computed, for which the class counts two frames.
    """
    return min(window, _STRIDE * (positions + 1))


def with_window(tower: Any, frames: int) -> Any:
    """A tower of the same class for a window of so many frames, an even number, with the class's own `forward`.

    It shares every part with this tower, but has only the beginning of its table of positions.
    """
    shorter = copy.copy(tower)
    vars(shorter).pop("forward", None)
    vars(shorter)["_modules"] = dict(tower._modules)
    shorter.config = copy.copy(tower.config)
    shorter.config.max_source_positions = frames // _STRIDE
    table = tower.embed_positions.weight.detach()[: frames // _STRIDE]
    shorter.embed_positions = torch.nn.Embedding.from_pretrained(table)  # type: ignore[no-untyped-call]
    return shorter
