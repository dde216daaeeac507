"""The model and its heads: the training forward is the official one, and each target costs what it should."""

import copy
import math

import numpy as np
import pytest
import torch
from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

from lalm_agent.training.mini.data import log_mel, stack
from lalm_agent.training.mini.export import export, make_processor
from lalm_agent.training.mini.model import (
    Encoded,
    HeadLabels,
    Heads,
    MelNormaliser,
    answer,
    build_model,
    encode,
    head_targets,
    pooled,
    timeline_loss,
)
from lalm_agent.training.mini.packing import Exchange, Packer
from lalm_agent.training.mini.recipe import Shape
from lalm_agent.training.synth.records import Facts, Span, SpeechFacts

LENGTHS = (9_000, 17_280, 32_000)
EXCHANGES = [
    [Exchange("Which animal is heard?", "dog"), Exchange("What else?", "river apple")],
    [Exchange("Type?", "Sound")],
    [Exchange("How many?", "IDK"), Exchange("Which?", "dog"), Exchange("Where?", "IDK")],
]


@pytest.fixture
def clips():
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.1, n).astype(np.float32) for n in LENGTHS]


@pytest.fixture
def processor(tokenizer, tiny_shape):
    return make_processor(tokenizer, tiny_shape)


@pytest.fixture
def packed_logits(tokenizer, processor, tiny_shape):
    """Logits at the trained places, by the training's own path, and the tokens expected there."""
    packer = Packer(tokenizer.backend_tokenizer)

    def run(model, normaliser, clips, exchanges):
        mels = [log_mel(processor.feature_extractor, clip).astype(np.float32) for clip in clips]
        mel, frames = map(torch.from_numpy, stack(mels, tiny_shape))
        text = packer.pack(frames.tolist(), exchanges)
        with torch.inference_mode():
            logits, expected, _ = answer(model, encode(model, normaliser, mel, frames), text)
        return logits, expected

    return run


def official_logits(model, processor, clip, exchange):
    """Logits at the places of the reply, by processor and model alone."""
    user = {"role": "user", "content": [{"type": "audio", "audio": clip}, {"type": "text", "text": exchange.prompt}]}
    turns = [user, {"role": "assistant", "content": exchange.reply}]
    options = {"tokenize": True, "return_dict": True, "return_tensors": "pt"}
    prompt = processor.apply_chat_template([user], add_generation_prompt=True, **options)["input_ids"].shape[1]
    inputs = processor.apply_chat_template(turns, **options)
    # Feature rounding as in the cache, which keeps half precision.
    inputs["input_features"] = inputs["input_features"].half().float()
    with torch.inference_mode():
        logits = model(**inputs).logits[0]
    # The template's newline behind the reply is never trained.
    return logits[prompt - 1 : -2]


def test_packed_questions_get_the_logits_that_they_get_alone(
    tiny, tokenizer, processor, tiny_shape, clips, packed_logits
):
    plain = MelNormaliser(torch.zeros(tiny_shape.mel_bins), torch.ones(tiny_shape.mel_bins))
    packed, expected = packed_logits(tiny, plain, clips, EXCHANGES)
    pairs = [(clip, exchange) for clip, exchanges in zip(clips, EXCHANGES, strict=True) for exchange in exchanges]
    alone = torch.cat([official_logits(tiny, processor, clip, exchange) for clip, exchange in pairs])
    replies = [tokenizer(f" {exchange.reply}").input_ids for _, exchange in pairs]
    assert expected.tolist() == [token for reply in replies for token in [*reply, tokenizer.eos_token_id]]
    # The official path hears a frame or two of decay behind the end of a clip; the cache ends with the clip.
    assert torch.allclose(packed, alone, atol=2e-2)
    assert torch.equal(packed.argmax(-1), alone.argmax(-1))


def test_neither_other_questions_nor_folding_change_the_logits(tiny, tiny_shape, clips, normaliser, packed_logits):
    together, _ = packed_logits(tiny, normaliser, clips, EXCHANGES)
    last, _ = packed_logits(tiny, normaliser, clips[2:], [EXCHANGES[2][2:]])
    assert torch.allclose(together[-len(last) :], last, atol=1e-4)
    normaliser.fold(tiny.model.audio_tower.conv1)
    folded, _ = packed_logits(tiny, normaliser, clips, EXCHANGES)
    assert torch.equal(normaliser.mean, torch.zeros(tiny_shape.mel_bins))
    assert torch.allclose(together, folded, atol=1e-4)


def test_the_exported_folder_loads_by_itself_and_answers_alike(
    tiny, tokenizer, processor, tiny_shape, clips, normaliser, tmp_path
):
    twin, beside = copy.deepcopy((tiny, normaliser))
    beside.fold(twin.model.audio_tower.conv1)
    for parameter in twin.parameters():
        parameter.data = parameter.data.bfloat16().float()
    exchange = Exchange("Which animal is heard?", "dog barking")
    expected = official_logits(twin, processor, clips[0], exchange)
    export(tiny, normaliser, tokenizer, tiny_shape, tmp_path / "model")
    loaded = Qwen2AudioForConditionalGeneration.from_pretrained(tmp_path / "model", dtype=torch.float32).eval()
    loaded.set_attn_implementation("eager")
    reloaded = AutoProcessor.from_pretrained(tmp_path / "model")
    assert torch.equal(official_logits(loaded, reloaded, clips[0], exchange), expected)
    assert loaded.generation_config.eos_token_id == tokenizer.eos_token_id
    assert loaded.generation_config.do_sample is False


def test_the_same_seed_makes_the_same_model(tokenizer, tiny_shape):
    first, again, other = (build_model(tokenizer, tiny_shape, seed) for seed in (3, 3, 4))
    pairs = list(zip(first.parameters(), again.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


# --- heads ------------------------------------------------------------------------------------------------------------

LABELS = HeadLabels(
    {"gender": ("male", "female"), "word": ("river", "dog"), "rate": ("slow", "fast")},
    frozenset({"word"}),
    ("river", "dog"),
    ("d", "o", "g"),
    {"beat": ("beat",), "event": ("dog", "rain")},
)


def facts(tags=(), known=(), units=(), sequence=(), timeline=(), timed=()):
    detail, spans = SpeechFacts("words", ("male",), "English", "slow"), tuple(Span(*span) for span in timeline)
    return Facts("speech", "", None, sequence, tags, known, detail, units, spans, timed)


def targets(*clips, later=0):
    return head_targets(clips, [later] * len(clips), LABELS, Shape())


def losses(*clips, tokens=5, positions=9):
    """Of heads whose weights are zero."""
    heads, n = Heads(4, 6, LABELS), len(clips)
    for parameter in heads.parameters():
        torch.nn.init.zeros_(parameter)
    shapes = (
        torch.randn(n, tokens, 6),
        torch.full((n,), tokens),
        torch.randn(n, positions, 4),
        torch.full((n,), positions),
    )
    return heads.losses(Encoded(*shapes), targets(*clips))


def test_targets_are_the_labels_places_and_empty_where_nothing_is_known():
    target = targets(facts(("male", "dog"), ("gender", "word"), ("d", "o", "g"), ("dog",)), facts())
    assert target.units == ((1, 2, 3), ())
    assert target.sequences == ((2,), ())
    assert target.tags[0].tolist() == [1, 0, 0, 1, 0, 0]
    assert target.known[0].tolist() == [1, 1, 1, 1, 0, 0]
    assert not target.known[1].any()


def test_a_group_of_which_one_is_true_is_a_choice_and_another_is_one_by_one():
    made = losses(facts(("male", "dog"), ("gender", "word")))
    # Weights of zero: one choice of two, and two labels at a half.
    assert made.tags.item() == pytest.approx(0.5 * (math.log(2) + 2 * math.log(2)), rel=1e-5)
    assert (made.sequence.item(), made.units.item()) == (0, 0)
    # What is not known, and two of a choice, teach nothing.
    assert losses(facts(), facts(("male", "female"), ("gender",))).tags.item() == 0


def test_ctc_is_counted_by_frames_and_leaves_out_what_does_not_fit():
    fits = facts(units=("d", "o", "g"))
    units = losses(fits).units.item()
    # Uniform log-probabilities: every path has 1/4 a frame, and C(9 + 3, 6) paths write three different labels.
    assert units == pytest.approx(8 * (9 * math.log(4) - math.log(math.comb(12, 6))) / 9, rel=1e-4)
    assert losses(fits, facts()).units.item() == pytest.approx(units / 2, rel=1e-4)
    for unfit in (("d", "o") * 5, ("d",) * 6):
        assert losses(facts(units=unfit)).units.item() == 0


def test_pooling_sees_the_valid_tokens_alone():
    tokens = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 6, 3)).astype(np.float32))
    short, other = pooled(tokens, torch.tensor([4])), tokens.clone()
    other[:, 4:] = 100
    assert torch.equal(short, pooled(other, torch.tensor([4])))
    expected = [tokens[:, :4].mean(1), tokens[:, :4].amax(1), tokens[:, :4].std(1, correction=0)]
    assert torch.allclose(short, torch.cat(expected, 1), atol=1e-4)


def test_a_position_lasts_40_ms_a_span_at_least_one_and_spans_move_with_the_clip():
    spans = [("dog", 0.4, 0.8), ("rain", 0.0, 9.0), ("beat", 0.2, 0.201)]
    true = targets(facts(timeline=spans), facts()).sounding(30)
    assert true.shape == (2, 30, 3)
    assert true[0, :, 1].nonzero().flatten().tolist() == list(range(10, 20))
    assert true[0, :, 2].all()
    assert true[0, :, 0].nonzero().flatten().tolist() == [5]
    assert not true[1].any()
    assert targets(facts(timeline=spans[:1]), later=4).spans.tolist() == [[0, 1, 12, 22]]


def test_the_timeline_costs_a_bit_for_each_timed_label_and_position_and_five_where_something_sounds():
    def cost(*clips, n=10):
        return timeline_loss(torch.zeros(len(clips), n, 3), torch.tensor([6, 10][: len(clips)]), targets(*clips)).item()

    for timed, labels in ((("beat", "event"), 3), (("event",), 2), ((), 0)):
        assert cost(facts(timed=timed), facts(timed=timed)) == pytest.approx(labels * math.log(2))
    # Of 18 labels and positions three sound.
    dog = facts(timeline=[("dog", 0.0, 0.12)], timed=("beat", "event"))
    assert cost(dog, n=6) == pytest.approx((15 + 3 * 5) * math.log(2) / 6)


def test_what_is_said_behind_the_end_of_a_clip_costs_nothing():
    target = targets(facts(timeline=[("dog", 0.0, 0.24)], timed=("beat", "event")))
    logits = torch.full((1, 10, 3), -9.0)
    logits[0, :6, 1] = 9.0
    right = timeline_loss(logits, torch.tensor([6]), target).item()
    logits[0, 6:] = 50.0
    assert timeline_loss(logits, torch.tensor([6]), target).item() == pytest.approx(right, rel=1e-6)
    assert right < 0.01
