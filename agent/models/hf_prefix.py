"""What a model has computed of a prompt, kept so that several rows, and several prompts about one clip, start from it.

A prompt is computed in two runs: up to the end of its clip, and the text after that, all but its last token. The keys
and values of a position depend on what stands before it alone, so the first run serves every prompt that begins the
same, and both serve any number of replies. The split does not depend on what is kept: a clip met again gives the very
same numbers.
"""

import inspect
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from lalm_agent.errors import PermanentBackendError
from lalm_agent.models.hf_cache import RoomyCache
from lalm_agent.models.own_frames import own_frames

KEPT_CLIPS = 8
KEPT_BYTES = 2**30
"""A clip of 30 s takes 0.4 GB in Qwen2-Audio-7B at bfloat16."""

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
    """A prompt of which all tokens but the last are computed."""

    prefix: Prefix
    last: int

    @property
    def tokens(self) -> tuple[int, ...]:
        """The whole prompt."""
        return (*self.prefix.tokens, self.last)


class KeptPrefixes:
    """The prompts' beginnings, up to the end of the clip, of the clips last heard; one for each clip.

    At most `KEPT_CLIPS` of them, and, the last one aside, at most `KEPT_BYTES` together.
    """

    def __init__(self) -> None:
        """Nothing is kept yet."""
        self._by_clip: OrderedDict[str, Prefix] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_clip)

    def get(self, clip: str, tokens: tuple[int, ...]) -> Prefix | None:
        """The beginning of a prompt about this clip, if it is these very tokens."""
        found = self._by_clip.get(clip)
        if found is None or found.tokens != tokens:
            return None
        self._by_clip.move_to_end(clip)
        return found

    def put(self, clip: str, prefix: Prefix) -> None:
        """Keep it, in place of those unused for longest."""
        self._by_clip.pop(clip, None)
        self._by_clip[clip] = prefix
        while len(self) > KEPT_CLIPS or (len(self) > 1 and self._nbytes() > KEPT_BYTES):
            self._by_clip.popitem(last=False)

    def clear(self) -> None:
        """Give the memory back."""
        self._by_clip.clear()

    def _nbytes(self) -> int:
        return sum(prefix.nbytes for prefix in self._by_clip.values())


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


def prefill(model: Any, inputs: Mapping[str, Any], clip_end: int, clip: str, kept: KeptPrefixes) -> Prefilled:
    """Compute a prompt up to its last token.

    Args:
        model: one that `keeps_plain_cache`.
        inputs: its inputs for the one prompt, without padding.
        clip_end: how many tokens the prompt has up to the end of its clip; 0 without one.
        clip: names the clip in `kept`.
        kept: where the beginning is looked up and left.

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
        return Prefilled(_run(model, Prefix((), ()), tokens[:-1]), tokens[-1])
    heard = kept.get(clip, tokens[:clip_end])
    if heard is None:
        cut = {name: value[:, :clip_end] if name in _PER_TOKEN else value for name, value in inputs.items()}
        with own_frames(model, cut) as shorter:
            heard = Prefix(tokens[:clip_end], _layers(model.base_model(**shorter, use_cache=True)))
        kept.put(clip, heard)
    return Prefilled(_run(model, heard, tokens[clip_end:-1]), tokens[-1])


def row_inputs(model: Any, prompts: Sequence[Prefilled], rows: Sequence[int]) -> dict[str, Any]:
    """What `generate` needs to go on from computed prompts: row i continues prompt `rows[i]`.

    Returns:
        input_ids, attention_mask and, where the model takes them, position_ids, (rows, tokens) int64, padded on the
        left; past_key_values for all tokens but the last.
    """
    width = max(len(prompt.tokens) for prompt in prompts)
    padding = [width - len(prompt.tokens) for prompt in prompts]
    padded = [[0] * left + list(prompt.tokens) for left, prompt in zip(padding, prompts, strict=True)]
    chosen = torch.tensor(rows, device=model.device)
    mask = torch.tensor([[0] * left + [1] * (width - left) for left in padding], device=model.device)[chosen]
    inputs = {
        "input_ids": torch.tensor(padded, device=model.device)[chosen],
        "attention_mask": mask,
        "past_key_values": _batched([prompt.prefix.layers for prompt in prompts], chosen),
    }
    # Said outright: the Qwen omni classes would take them from a state that the last prompt left in the model.
    return inputs | _positions(model, (mask.cumsum(1) - 1).clamp(min=0))


def continue_from(model: Any, prompt: Prefilled, tokens: torch.Tensor) -> torch.Tensor:
    """Logits after the prompt's last token and after each of `tokens` (rows, n): (rows, 1 + n, vocabulary)."""
    rows, more = tokens.shape
    start = len(prompt.prefix.tokens)
    last = tokens.new_full((rows, 1), prompt.last)
    cache = _batched([prompt.prefix.layers], tokens.new_zeros(rows))
    # No mask: nothing precedes the prompt, and what follows a shorter reply is never looked at.
    positions = _positions(model, torch.arange(start, start + 1 + more, device=tokens.device).expand(rows, -1))
    ids = torch.cat([last, tokens], dim=1)
    logits: torch.Tensor = model(input_ids=ids, past_key_values=cache, use_cache=True, **positions).logits
    return logits


def _run(model: Any, before: Prefix, tokens: tuple[int, ...]) -> Prefix:
    """Text after what is computed already. The model without its head: nobody asks for these positions' logits."""
    if not tokens:
        return before
    start = len(before.tokens)
    ids = torch.tensor([tokens], device=model.device)
    cache = DynamicCache(before.layers) if before.layers else None
    positions = _positions(model, torch.arange(start, start + len(tokens), device=model.device)[None])
    output = model.base_model(input_ids=ids, past_key_values=cache, use_cache=True, **positions)
    return Prefix((*before.tokens, *tokens), _layers(output))


def _positions(model: Any, positions: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"position_ids": positions} if "position_ids" in inspect.signature(model.forward).parameters else {}


def _layers(output: Any) -> Layers:
    return tuple((layer.keys, layer.values) for layer in output.past_key_values.layers)


def _batched(prompts: Sequence[Layers], chosen: torch.Tensor) -> RoomyCache:
    """A cache whose row i is that of prompt `chosen[i]`, padded on the left to the longest."""
    width = max(layers[0][0].shape[2] for layers in prompts)

    def rows(parts: Sequence[torch.Tensor]) -> torch.Tensor:
        if len(parts) == 1:
            return parts[0].expand(len(chosen), -1, -1, -1)
        pad = torch.nn.functional.pad
        return torch.cat([pad(part, (0, 0, width - part.shape[2], 0)) for part in parts])[chosen]

    data = [(rows([k for k, _ in parts]), rows([v for _, v in parts])) for parts in zip(*prompts, strict=True)]
    return RoomyCache(data)
