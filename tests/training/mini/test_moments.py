"""Targets of the encoder's positions: where a moment lies, what of it is taught, and what it costs to know nothing."""

import math
from dataclasses import replace

import pytest
import torch

from lalm_agent.training.mini.moments import moment_loss, moments
from lalm_agent.training.mini.recipe import Shape
from lalm_agent.training.synth.records import Facts, Span, SpeechFacts

GROUPS = {"beat": ("beat",), "event": ("dog", "rain")}
NOTHING = Facts("sound", "", None, (), (), (), SpeechFacts("words", ("male",), "English", "slow"))


def targets(*timelines, later=0, timed=("beat", "event")):
    some = [replace(NOTHING, timeline=tuple(Span(*one) for one in spans), timed=timed) for spans in timelines]
    return moments(some, [later] * len(some), GROUPS, Shape())


def test_a_position_lasts_40_ms_and_a_moment_at_least_one():
    true = targets([("dog", 0.4, 0.8), ("rain", 0.0, 9.0), ("beat", 0.2, 0.201)], []).true(30)
    assert true.shape == (2, 30, 3)
    assert true[0, :, 1].nonzero().flatten().tolist() == list(range(10, 20))
    assert true[0, :, 2].all()
    assert true[0, :, 0].nonzero().flatten().tolist() == [5]
    assert not true[1].any()


def test_moments_move_with_the_clip():
    assert targets([("dog", 0.4, 0.8)], later=4).spans.tolist() == [[0, 1, 12, 22]]


def test_a_head_that_knows_nothing_pays_a_bit_for_each_timed_label_and_position():
    lasting, logits = torch.tensor([6, 10]), torch.zeros(2, 10, 3)
    assert moment_loss(logits, lasting, targets([], [])).item() == pytest.approx(3 * math.log(2))
    assert moment_loss(logits, lasting, targets([], [], timed=("event",))).item() == pytest.approx(2 * math.log(2))
    assert moment_loss(logits, lasting, targets([], [], timed=())).item() == 0


def test_what_sounds_counts_five_times():
    logits, lasting = torch.zeros(1, 6, 3), torch.tensor([6])
    # Of 18 labels and positions three sound.
    assert moment_loss(logits, lasting, targets([("dog", 0.0, 0.12)])).item() == pytest.approx(
        (15 + 3 * 5) * math.log(2) / 6
    )


def test_what_is_said_behind_the_end_of_a_clip_costs_nothing():
    target = targets([("dog", 0.0, 0.24)])
    logits = torch.full((1, 10, 3), -9.0)
    logits[0, :6, 1] = 9.0
    right = moment_loss(logits, torch.tensor([6]), target).item()
    logits[0, 6:] = 50.0
    assert moment_loss(logits, torch.tensor([6]), target).item() == pytest.approx(right, rel=1e-6)
    assert right < 0.01
