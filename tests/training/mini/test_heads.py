"""What the encoder is taught by: targets that follow what is known, and losses that do not outweigh one another."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from lalm_agent.training.mini import heads as module
from lalm_agent.training.mini.heads import Encoded, Heads, Labels, pooled
from lalm_agent.training.mini.recipe import Shape
from lalm_agent.training.synth.records import Facts, SpeechFacts

LABELS = Labels(
    {"gender": ("male", "female"), "word": ("river", "dog"), "rate": ("slow", "fast")},
    frozenset({"word"}),
    ("river", "dog"),
    ("d", "o", "g"),
    {"beat": ("beat",), "event": ("dog", "rain")},
)


def facts(tags, known, units=(), sequence=()):
    return Facts("speech", "", None, sequence, tags, known, SpeechFacts("words", ("male",), "English", "slow"), units)


def marks(some):
    return module.marks(some, [0] * len(some), LABELS, Shape())


def heads():
    torch.manual_seed(0)
    made = Heads((4, 6), LABELS)
    for parameter in made.parameters():
        torch.nn.init.zeros_(parameter)
    return made


def encoded(clips, tokens=5, positions=9):
    return Encoded(
        torch.randn(clips, tokens, 6),
        torch.full((clips,), tokens),
        torch.randn(clips, positions, 4),
        torch.full((clips,), positions),
    )


def test_targets_are_the_labels_places_and_empty_where_nothing_is_known():
    target = marks([facts(("male", "dog"), ("gender", "word"), ("d", "o", "g"), ("dog",)), facts((), ())])
    assert target.units == ((1, 2, 3), ())
    assert target.sequences == ((2,), ())
    assert target.tags[0].tolist() == [1, 0, 0, 1, 0, 0]
    assert target.known[0].tolist() == [1, 1, 1, 1, 0, 0]
    assert not target.known[1].any()


def test_a_group_of_which_one_is_true_is_a_choice_and_another_is_one_by_one():
    one = marks([facts(("male", "dog"), ("gender", "word"))])
    tags, sequence, units, _ = heads().losses(encoded(1), one)
    # Weights of zero: one choice of two, and two labels at a half.
    assert tags.item() == pytest.approx(0.5 * (math.log(2) + 2 * math.log(2)), rel=1e-5)
    assert (sequence.item(), units.item()) == (0, 0)


def test_what_is_not_known_and_two_of_a_choice_teach_nothing():
    tags, *_ = heads().losses(encoded(2), marks([facts((), ()), facts(("male", "female"), ("gender",))]))
    assert tags.item() == 0


def test_ctc_is_counted_by_frames_and_leaves_out_what_does_not_fit():
    fits = facts((), (), ("d", "o", "g"))
    units = heads().losses(encoded(1), marks([fits])).units
    # Uniform log-probabilities: every path has 1/4 a frame, and C(9 + 3, 6) paths write three different labels.
    expected = 9 * math.log(4) - math.log(math.comb(12, 6))
    assert units.item() == pytest.approx(8 * expected / 9, rel=1e-4)
    half = heads().losses(encoded(2), marks([fits, facts((), ())])).units
    assert half.item() == pytest.approx(units.item() / 2, rel=1e-4)
    for unfit in (("d", "o") * 5, ("d",) * 6):
        assert heads().losses(encoded(1), marks([facts((), (), unfit)])).units.item() == 0


def test_pooling_sees_the_valid_tokens_alone():
    tokens = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 6, 3)).astype(np.float32))
    short = pooled(tokens, torch.tensor([4]))
    other = tokens.clone()
    other[:, 4:] = 100
    assert torch.equal(short, pooled(other, torch.tensor([4])))
    assert torch.allclose(short[:, :3], tokens[:, :4].mean(1))
    assert torch.allclose(short[:, 3:6], tokens[:, :4].amax(1))
    assert torch.allclose(short[:, 6:], tokens[:, :4].std(1, correction=0), atol=1e-4)


def test_labels_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        LABELS.units = ()
