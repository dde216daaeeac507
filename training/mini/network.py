"""The model: a stock Qwen2-Audio built small, initialised for its size, and run quickly in training.

The class's own initialisation (everything N(0, 0.02), random and frozen positions) drowns the sound of a narrow model
in its positions; `initialise` replaces it. The training forward computes what the official forward computes, but at
the length of the batch instead of the window, and for several questions behind one clip (see `packing`).
"""

import math
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from lalm_agent.training.mini.heads import Encoded
from lalm_agent.training.mini.packing import IGNORED, Batch
from lalm_agent.training.mini.recipe import Shape
from lalm_agent.training.mini.template import AUDIO, TURN_END

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen2AudioForConditionalGeneration
    from transformers.models.qwen2.modeling_qwen2 import Qwen2Attention, Qwen2DecoderLayer, Qwen2Model

MASKED = -1e4
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


class Normaliser(nn.Module):
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


def encode(model: "Qwen2AudioForConditionalGeneration", normaliser: Normaliser, batch: Batch) -> Encoded:
    """A batch of clips through the encoder and the projector, computed at the batch's own length."""
    tower = model.model.audio_tower
    convolved = functional.gelu(first_convolution(tower.conv1, normaliser, batch.mel))
    hidden = functional.gelu(tower.conv2(convolved)).permute(0, 2, 1)
    hidden = hidden + tower.embed_positions.weight[: hidden.shape[1]]
    positions = (batch.frames - 1) // 2 + 1
    outside = torch.arange(hidden.shape[1])[None] >= positions[:, None]
    mask = torch.zeros(outside.shape).masked_fill(outside, MASKED)[:, None, None, :]
    mask = mask.expand(-1, 1, hidden.shape[1], -1)
    for layer in tower.layers:
        hidden = layer(hidden, mask)
    pooled = tower.avg_pooler(hidden.permute(0, 2, 1)).permute(0, 2, 1)
    return Encoded(
        tokens=model.model.multi_modal_projector(tower.layer_norm(pooled)),
        valid=(positions - 2) // 2 + 1,
        positions=tower.layer_norm(hidden),
        lasting=positions,
    )


def first_convolution(convolution: nn.Conv1d, normaliser: Normaliser, mel: Tensor) -> Tensor:
    """conv1 on normalised mels, with what a raw zero would be in the place of the zero padding at both ends."""
    edge = normaliser.edge()[None, :, None].expand(mel.shape[0], -1, 1)
    padded = torch.cat([edge, normaliser(mel), edge], dim=2)
    return functional.conv1d(padded, convolution.weight, convolution.bias)


def answer(
    model: "Qwen2AudioForConditionalGeneration", heard: Encoded, batch: Batch
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the language model over packed questions.

    Args:
        model: the model.
        heard: what `encode` returned.
        batch: the packed batch.

    Returns:
        (targets, vocabulary) float32 logits at the places that are trained, (targets,) int64 tokens expected there,
        (targets,) float32 weights.
    """
    audio, valid = heard.tokens, heard.valid
    inside = torch.arange(audio.shape[1])[None] < valid[:, None]
    embedded = model.get_input_embeddings()(batch.tokens)
    slots = (batch.tokens == model.config.audio_token_id)[..., None]
    embedded = embedded.masked_scatter(slots, audio[inside].to(embedded.dtype))
    trained = batch.labels[:, 1:] != IGNORED
    logits = model.lm_head(_read(model.model.language_model, embedded, batch, trained))
    return logits.float(), batch.labels[:, 1:][trained], batch.weights[:, 1:][trained]


def _read(language: "Qwen2Model", embedded: Tensor, batch: Batch, trained: Tensor) -> Tensor:
    """The language model's output, only where it is trained, which is at one place of twelve: (targets, width)."""
    mask, turns = batch.mask(), language.rotary_emb(embedded, batch.positions)
    hidden = embedded
    for layer in language.layers[:-1]:
        hidden = layer(hidden, attention_mask=mask, position_ids=batch.positions, position_embeddings=turns)
    counts = trained.sum(1)
    places = torch.argsort((~trained).to(torch.int8), dim=1, stable=True)[:, : max(1, int(counts.max()))]
    found = _last_layer(cast("Qwen2DecoderLayer", language.layers[-1]), hidden, mask, turns, places)
    inside = torch.arange(places.shape[1])[None] < counts[:, None]
    out: Tensor = language.norm(found[inside])
    return out


def _last_layer(
    layer: "Qwen2DecoderLayer", hidden: Tensor, mask: Tensor, turns: tuple[Tensor, Tensor], places: Tensor
) -> Tensor:
    """What the layer gives at these places alone.

    Args:
        layer: the layer.
        hidden: (batch, length, width), what goes into it.
        mask: (batch, 1, length, length), additive.
        turns: cosines and sines of the rotary positions, (batch, length, head_dim) each.
        places: (batch, places) int64.

    Returns:
        (batch, places, width).
    """
    from transformers.models.qwen2.modeling_qwen2 import apply_rotary_pos_emb, eager_attention_forward

    rows, attention = torch.arange(len(places))[:, None], layer.self_attn
    normal, wanted = layer.input_layernorm(hidden), hidden[rows, places]
    query = _by_head(attention.q_proj(normal[rows, places]), attention.head_dim)
    key = _by_head(attention.k_proj(normal), attention.head_dim)
    value = _by_head(attention.v_proj(normal), attention.head_dim)
    cosines, sines = turns
    query, _ = apply_rotary_pos_emb(query, query, cosines[rows, places], sines[rows, places])
    _, key = apply_rotary_pos_emb(key, key, cosines, sines)
    seen, _ = eager_attention_forward(
        attention, query, key, value, mask[:, 0][rows, places][:, None], scaling=attention.scaling
    )
    wanted = wanted + attention.o_proj(seen.flatten(2))
    out: Tensor = wanted + layer.mlp(layer.post_attention_layernorm(wanted))
    return out


def _by_head(projected: Tensor, head_dim: int) -> Tensor:
    """(batch, length, heads * head_dim) -> (batch, heads, length, head_dim)."""
    return projected.view(*projected.shape[:-1], -1, head_dim).transpose(1, 2)
