"""The model: a stock Qwen2-Audio built small, initialised for its size, and run quickly in training with extra heads.

The class's own initialisation (everything N(0, 0.02), random and frozen positions) drowns the sound of a narrow model
in its positions; `initialise` replaces it. The training forward computes what the official forward computes, but at
the length of the batch instead of the window, and for several questions behind one clip (see `packing`).

The heads are part of the training only: tags of a clip, what sounds when, and CTC over what comes in which order. They
teach the encoder to hear before the language model can read; the exported model does not contain them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lalm_agent.training.mini.packing import IGNORED, MASKED, PackedText
from lalm_agent.training.mini.recipe import Shape
from lalm_agent.training.mini.tokenizer import AUDIO, TURN_END
from lalm_agent.training.synth import labels
from lalm_agent.training.synth.records import SAMPLE_RATE, Facts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen2AudioForConditionalGeneration
    from transformers.models.qwen2.modeling_qwen2 import Qwen2Attention, Qwen2DecoderLayer, Qwen2Model

_POSITION_SCALE = 0.1
_EMBEDDING_SCALE = 0.3
_HEAD_SCALE = 0.02
_ALIKE, _HANDED_ON = 0.7, 0.4
_RESIDUAL_SCALE = 0.5
_RESIDUAL_OUTPUTS = ("out_proj", "fc2", "o_proj", "down_proj")


def build_model(tokenizer: "PreTrainedTokenizerFast", shape: Shape, seed: int) -> "Qwen2AudioForConditionalGeneration":
    """A freshly initialised model for this tokenizer; the same weights for the same seed."""
    from transformers import Qwen2AudioConfig, Qwen2AudioEncoderConfig, Qwen2AudioForConditionalGeneration, Qwen2Config

    end = tokenizer.convert_tokens_to_ids(TURN_END)
    audio = Qwen2AudioEncoderConfig(
        num_mel_bins=shape.mel_bins,
        d_model=shape.audio_width,
        encoder_layers=shape.audio_layers,
        encoder_attention_heads=shape.audio_heads,
        encoder_ffn_dim=4 * shape.audio_width,
        max_source_positions=shape.audio_positions,
        dropout=0.0,
    )
    text = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=shape.text_width,
        intermediate_size=shape.text_inner,
        num_hidden_layers=shape.text_layers,
        num_attention_heads=shape.text_heads,
        num_key_value_heads=shape.text_kv_heads,
        max_position_embeddings=shape.max_tokens,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    slot = tokenizer.convert_tokens_to_ids(AUDIO)
    assert isinstance(slot, int)
    config = Qwen2AudioConfig(audio_config=audio, text_config=text, audio_token_index=slot)
    torch.manual_seed(seed)
    model = Qwen2AudioForConditionalGeneration(config)
    initialise(model)
    model.generation_config.eos_token_id = end
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.do_sample = False
    model.set_attn_implementation("eager")
    return model


@torch.no_grad()
def initialise(model: "Qwen2AudioForConditionalGeneration") -> None:
    """Kaiming convolutions, 1/sqrt(fan_in) linear layers, quiet sinusoidal positions, and what helps to repeat words.

    Most replies repeat an option of the prompt. So the head begins as the embedding, and attention begins with looking
    for what is alike and carrying it over (after "mimetic initialisation", Trockman and Kolter, 2023).
    """
    tower, language = model.model.audio_tower, model.model.language_model
    for convolution, scale in ((tower.conv1, 0.5), (tower.conv2, 0.35)):
        # Kaiming's scale is for inputs that do not correlate; neighbouring mels and frames do, and would grow to 8.
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        convolution.weight.mul_(scale)
    positions = tower.embed_positions.weight
    positions.copy_(sinusoids(*positions.shape) * _POSITION_SCALE)
    for part in (tower.layers, language):
        for name, weight in part.named_parameters():
            if "embed" in name:
                nn.init.normal_(weight, std=_EMBEDDING_SCALE)
            elif weight.dim() == 2:
                scale = _RESIDUAL_SCALE if any(output in name for output in _RESIDUAL_OUTPUTS) else 1.0
                nn.init.normal_(weight, std=scale / math.sqrt(weight.shape[1]))
    projector = model.model.multi_modal_projector.linear.weight
    nn.init.normal_(projector, std=_RESIDUAL_SCALE / math.sqrt(projector.shape[1]))
    for layer in language.layers:
        _mimetic(layer.self_attn)
    model.lm_head.weight.copy_(language.embed_tokens.weight * (_HEAD_SCALE / _EMBEDDING_SCALE))


def _mimetic(attention: "Qwen2Attention") -> None:
    """Make the first query head of each key head look for its own key, and all heads hand on what they see."""
    dim, shared = attention.head_dim, attention.num_key_value_groups
    query, out = attention.q_proj.weight, attention.o_proj.weight
    for head in range(query.shape[0] // dim):
        own, its = slice(head * dim, (head + 1) * dim), slice(head // shared * dim, (head // shared + 1) * dim)
        if head % shared == 0:
            query[own] = _ALIKE * attention.k_proj.weight[its] + (1 - _ALIKE) * query[own]
        out[:, own] = _HANDED_ON * attention.v_proj.weight[its].T + 0.5 * out[:, own]


def sinusoids(length: int, channels: int) -> Tensor:
    """(length, channels) sines and cosines of geometrically spaced periods."""
    rates = torch.exp(-math.log(10_000) / (channels // 2 - 1) * torch.arange(channels // 2))
    angles = torch.arange(length)[:, None] * rates[None]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class MelNormaliser(nn.Module):
    """Per-mel mean and deviation in front of the audio tower; `fold` moves them into its first convolution."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        """mean, deviation: (mel_bins,) float32."""
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)

    def forward(self, mel: Tensor) -> Tensor:
        """(batch, mel_bins, frames) in and out."""
        normal: Tensor = (mel - self.mean[:, None]) / self.deviation[:, None]
        return normal

    @torch.no_grad()
    def fold(self, convolution: nn.Conv1d) -> None:
        """Make the convolution compute on raw mels what it computed on normalised ones.

        Exact at the ends of the window too: there the stock convolution pads with raw zeros, and `first_convolution`
        shows the training the same.
        """
        weight, bias = convolution.weight, convolution.bias
        assert bias is not None
        bias -= (weight * (self.mean / self.deviation)[None, :, None]).sum((1, 2))
        weight /= self.deviation[None, :, None]
        self.mean.zero_()
        self.deviation.fill_(1.0)

    def edge(self) -> Tensor:
        """(mel_bins,) what a raw zero outside the window is after normalisation."""
        return -self.mean / self.deviation


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """A batch of clips after the encoder.

    tokens: (batch, tokens, text_width), what the language model reads. positions: (batch, positions, audio_width), the
    encoder's own output before it is pooled. valid_tokens, valid_positions: (batch,) how many of them count.
    """

    tokens: Tensor
    valid_tokens: Tensor
    positions: Tensor
    valid_positions: Tensor


def encode(
    model: "Qwen2AudioForConditionalGeneration", normaliser: MelNormaliser, mel: Tensor, frames: Tensor
) -> Encoded:
    """Clips through the encoder and the projector, computed at the batch's own length.

    mel: (batch, mel_bins, frames) float32, raw; frames: (batch,) how many of them are valid.
    """
    tower = model.model.audio_tower
    convolved = functional.gelu(first_convolution(tower.conv1, normaliser, mel))
    hidden = functional.gelu(tower.conv2(convolved)).permute(0, 2, 1)
    hidden = hidden + tower.embed_positions.weight[: hidden.shape[1]]
    positions = (frames - 1) // 2 + 1
    outside = torch.arange(hidden.shape[1])[None] >= positions[:, None]
    mask = torch.zeros(outside.shape).masked_fill(outside, MASKED)[:, None, None, :]
    mask = mask.expand(-1, 1, hidden.shape[1], -1)
    for layer in tower.layers:
        hidden = layer(hidden, mask)
    pooled = tower.avg_pooler(hidden.permute(0, 2, 1)).permute(0, 2, 1)
    return Encoded(
        tokens=model.model.multi_modal_projector(tower.layer_norm(pooled)),
        valid_tokens=(positions - 2) // 2 + 1,
        positions=tower.layer_norm(hidden),
        valid_positions=positions,
    )


def first_convolution(convolution: nn.Conv1d, normaliser: MelNormaliser, mel: Tensor) -> Tensor:
    """conv1 on normalised mels, with what a raw zero would be in the place of the zero padding at both ends."""
    edge = normaliser.edge()[None, :, None].expand(mel.shape[0], -1, 1)
    padded = torch.cat([edge, normaliser(mel), edge], dim=2)
    return functional.conv1d(padded, convolution.weight, convolution.bias)


def answer(
    model: "Qwen2AudioForConditionalGeneration", encoded: Encoded, text: PackedText
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the language model over packed questions.

    Returns:
        (targets, vocabulary) float32 logits at the places that are trained, (targets,) int64 tokens expected there,
        (targets,) float32 weights.
    """
    audio, valid = encoded.tokens, encoded.valid_tokens
    inside = torch.arange(audio.shape[1])[None] < valid[:, None]
    embedded = model.get_input_embeddings()(text.tokens)
    slots = (text.tokens == model.config.audio_token_id)[..., None]
    embedded = embedded.masked_scatter(slots, audio[inside].to(embedded.dtype))
    trained = text.labels[:, 1:] != IGNORED
    logits = model.lm_head(_read(model.model.language_model, embedded, text, trained))
    return logits.float(), text.labels[:, 1:][trained], text.weights[:, 1:][trained]


def _read(language: "Qwen2Model", embedded: Tensor, text: PackedText, trained: Tensor) -> Tensor:
    """The language model's output, only where it is trained, which is at one place of twelve: (targets, width)."""
    mask, turns = text.mask(), language.rotary_emb(embedded, text.positions)
    hidden = embedded
    for layer in language.layers[:-1]:
        hidden = layer(hidden, attention_mask=mask, position_ids=text.positions, position_embeddings=turns)
    counts = trained.sum(1)
    places = torch.argsort((~trained).to(torch.int8), dim=1, stable=True)[:, : max(1, int(counts.max()))]
    last = _last_layer(cast("Qwen2DecoderLayer", language.layers[-1]), hidden, mask, turns, places)
    out: Tensor = language.norm(last[torch.arange(places.shape[1])[None] < counts[:, None]])
    return out


def _last_layer(
    layer: "Qwen2DecoderLayer", hidden: Tensor, mask: Tensor, turns: tuple[Tensor, Tensor], places: Tensor
) -> Tensor:
    """What the layer gives at these places alone: (batch, places, width).

    hidden: (batch, length, width), what goes into it. mask: (batch, 1, length, length), additive. turns: cosines and
    sines of the rotary positions, (batch, length, head_dim) each. places: (batch, places) int64.
    """
    from transformers.models.qwen2.modeling_qwen2 import apply_rotary_pos_emb, eager_attention_forward

    rows, attention, (cosines, sines) = torch.arange(len(places))[:, None], layer.self_attn, turns
    normal, out = layer.input_layernorm(hidden), hidden[rows, places]

    def by_head(projected: Tensor) -> Tensor:
        return projected.view(*projected.shape[:-1], -1, attention.head_dim).transpose(1, 2)

    query, key = by_head(attention.q_proj(normal[rows, places])), by_head(attention.k_proj(normal))
    query, _ = apply_rotary_pos_emb(query, query, cosines[rows, places], sines[rows, places])
    _, key = apply_rotary_pos_emb(key, key, cosines, sines)
    value, own_mask = by_head(attention.v_proj(normal)), mask[:, 0][rows, places][:, None]
    mixed, _ = eager_attention_forward(attention, query, key, value, own_mask, scaling=attention.scaling)
    out = out + attention.o_proj(mixed.flatten(2))
    result: Tensor = out + layer.mlp(layer.post_attention_layernorm(out))
    return result


# --- heads ------------------------------------------------------------------------------------------------------------

_TAG_SCALE = 0.5
"""Brings a sum over some ten groups to the size of the other losses."""
_CTC_SCALE = 8.0
"""Of CTC's loss for each frame, which is small where most frames are blank."""
_QUIET_BIAS = -5.0
"""Where the logits of the timeline head begin: nearly always nearly nothing sounds."""
_SOUNDING = 5.0
"""How much more a position counts at which something sounds, of which there are few."""


@dataclass(frozen=True, slots=True)
class HeadLabels:
    """What the heads can name: tags by group, and the vocabularies of the two CTC heads (blank is index 0 before them).

    multi_label: the groups of which several tags, or none, can be true; of each other group exactly one is. timeline:
    what can sound at a position, by group. Without arguments, the labels of the synthesiser.
    """

    groups: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: labels.LABEL_GROUPS)
    multi_label: frozenset[str] = labels.MULTI_LABEL_GROUPS
    sequence: tuple[str, ...] = labels.SEQUENCE_VOCAB
    units: tuple[str, ...] = labels.UNITS
    timeline: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: labels.TIMED_LABELS)


@dataclass(frozen=True, slots=True, eq=False)
class HeadTargets:
    """The heads' targets of a batch.

    tags, known: (batch, tags) float32, 1 where true and where it is known. sequences, units: indices >= 1, empty if
    unknown. spans: (n, 4) int64 rows of clip, label, first position and the first one behind; timed: (batch, labels)
    float32, 1 where it is known when the label sounds.
    """

    tags: Tensor
    known: Tensor
    sequences: tuple[tuple[int, ...], ...]
    units: tuple[tuple[int, ...], ...]
    spans: Tensor
    timed: Tensor

    def sounding(self, positions: int) -> Tensor:
        """(batch, positions, labels) float32, 1 where the label sounds."""
        out = np.zeros((len(self.timed), positions, self.timed.shape[1]), dtype=np.float32)
        for clip, label, first, last in self.spans.tolist():
            out[clip, first:last, label] = 1.0
        return torch.from_numpy(out)


class Losses(NamedTuple):
    """One scalar for each kind of target."""

    tags: Tensor
    sequence: Tensor
    units: Tensor
    timeline: Tensor


def head_targets(facts: Sequence[Facts], later: Sequence[int], names: HeadLabels, shape: Shape) -> HeadTargets:
    """The targets for these clips, each of which was moved `later` by so many mel frames."""
    tags, timed = _pairs(names.groups), _pairs(names.timeline)
    known = [[group in clip.known for group, _ in tags] for clip in facts]
    true = [[group in clip.known and tag in clip.tags for group, tag in tags] for clip in facts]
    sequence = {label: i for i, label in enumerate(names.sequence, start=1)}
    unit = {label: i for i, label in enumerate(names.units, start=1)}
    place = {label: i for i, (_, label) in enumerate(timed)}
    # One position for every two mel frames.
    per_second = SAMPLE_RATE / shape.hop / 2
    spans = []
    for at, (clip, by) in enumerate(zip(facts, later, strict=True)):
        for span in clip.timeline:
            first = round(span.start_s * per_second + by / 2)
            spans.append((at, place[span.label], first, max(first + 1, round(span.end_s * per_second + by / 2))))
    return HeadTargets(
        tags=torch.tensor(true, dtype=torch.float32),
        known=torch.tensor(known, dtype=torch.float32),
        sequences=tuple(tuple(sequence[label] for label in clip.sequence) for clip in facts),
        units=tuple(tuple(unit[label] for label in clip.units) for clip in facts),
        spans=torch.tensor(spans, dtype=torch.int64).reshape(-1, 4),
        timed=torch.tensor([[group in clip.timed for group, _ in timed] for clip in facts], dtype=torch.float32),
    )


def _pairs(groups: Mapping[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    """(group, label) of all labels in order."""
    return [(group, label) for group, members in groups.items() for label in members]


class Heads(nn.Module):
    """Tags and sequence are read from the projected audio tokens, units and timeline from the encoder's output."""

    def __init__(self, audio: int, text: int, names: HeadLabels) -> None:
        """audio, text: widths of the encoder and of the language model, which the projected audio tokens have."""
        super().__init__()
        self._groups, self._multi_label = names.groups, names.multi_label
        self.tags = nn.Linear(3 * text, len(_pairs(names.groups)))
        self.sequence = nn.Linear(text, len(names.sequence) + 1)
        self.units = nn.Linear(audio, len(names.units) + 1)
        self.timeline = nn.Linear(audio, len(_pairs(names.timeline)))
        nn.init.constant_(self.timeline.bias, _QUIET_BIAS)

    def losses(self, encoded: Encoded, target: HeadTargets) -> Losses:
        """The losses of a batch."""
        tokens, positions = encoded.tokens.float(), encoded.positions.float()
        return Losses(
            self._tag_loss(pooled(tokens, encoded.valid_tokens), target),
            _ctc(self.sequence(tokens), encoded.valid_tokens, target.sequences),
            _ctc(self.units(positions), encoded.valid_positions, target.units),
            timeline_loss(self.timeline(positions), encoded.valid_positions, target),
        )

    def _tag_loss(self, clips: Tensor, target: HeadTargets) -> Tensor:
        """Cross-entropy within each group of which one tag is true, binary within the others; a sum over groups."""
        logits, total, start = self.tags(clips), torch.zeros(()), 0
        for group, tags in self._groups.items():
            place, start = slice(start, start + len(tags)), start + len(tags)
            told = target.known[:, place.start] > 0
            if group in self._multi_label:
                total = total + functional.binary_cross_entropy_with_logits(
                    logits[told][:, place], target.tags[told][:, place], reduction="sum"
                )
            else:
                told = told & (target.tags[:, place].sum(1) == 1)
                total = total + functional.cross_entropy(
                    logits[told][:, place], target.tags[told][:, place].argmax(1), reduction="sum"
                )
        return _TAG_SCALE * total / len(clips)


def pooled(tokens: Tensor, valid: Tensor) -> Tensor:
    """Mean, maximum and deviation over the valid tokens: (batch, 3 * width)."""
    inside = (torch.arange(tokens.shape[1])[None] < valid[:, None])[..., None]
    mean = (tokens * inside).sum(1) / valid[:, None]
    deviation = ((tokens - mean[:, None]).square() * inside).sum(1) / valid[:, None]
    loudest = tokens.masked_fill(~inside, -1e4).amax(1)
    return torch.cat([mean, loudest, (deviation + 1e-5).sqrt()], dim=1)


def _ctc(logits: Tensor, valid: Tensor, targets: Sequence[Sequence[int]]) -> Tensor:
    """CTC's loss for each frame: for each target it would outweigh everything else twenty times."""
    # Equal neighbours need a blank between them.
    needed = [len(target) + sum(a == b for a, b in pairwise(target)) for target in targets]
    rows = [i for i, target in enumerate(targets) if target and needed[i] <= int(valid[i])]
    if not rows:
        return torch.zeros(())
    log_probs = logits[rows].float().log_softmax(-1).transpose(0, 1)
    lengths = torch.tensor([len(targets[i]) for i in rows])
    joined = torch.tensor([label for i in rows for label in targets[i]])
    total: Tensor = functional.ctc_loss(log_probs, joined, valid[rows], lengths, reduction="sum")
    return _CTC_SCALE * total / valid[rows].sum() * (len(rows) / len(targets))


def timeline_loss(logits: Tensor, valid: Tensor, target: HeadTargets) -> Tensor:
    """Binary cross-entropy, summed over labels, for each valid position; what sounds counts `_SOUNDING` times.

    CTC alone was slow with notes, which last for many positions, and never learned chords, several of them at once.
    logits: (batch, positions, labels) float32; valid: (batch,) valid positions.
    """
    true, weight = target.sounding(logits.shape[1]), torch.tensor(_SOUNDING)
    each = functional.binary_cross_entropy_with_logits(logits, true, reduction="none", pos_weight=weight)
    each = each * target.timed[:, None]
    inside = torch.arange(logits.shape[1])[None] < valid[:, None]
    loss: Tensor = each.sum(2)[inside].sum() / valid.sum()
    return loss
