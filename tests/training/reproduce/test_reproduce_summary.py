"""The first paragraph says what the figures say, and no more."""

from collections.abc import Callable

from lalm_agent.training.reproduction.report import summary
from lalm_agent.training.transfer.schema import StudyReport

Make = Callable[..., StudyReport]
ONE = (("speech", "music"),)
QUESTION = "Does knowing that one does not know transfer between modalities in `mini`?"


def test_no_pair_is_claimed(study_of: Make) -> None:
    said = summary(study_of(p={("music", "sound"): 0.07}), "mini")
    assert said.startswith(f"{QUESTION} **It is not shown:")
    assert "in none of the 6 pairs" in said
    assert "The nearest is music → sound, p after Holm 0.070." in said
    assert "That is no proof that there is none" in said
    assert "Yes" not in said


def test_one_pair_is_claimed(study_of: Make) -> None:
    said = summary(study_of(ONE), "mini")
    assert "**Yes, in 1 of 6 pairs of modalities:** speech → music (strict RGI 0.20 [0.10, +inf]" in said
    assert "p after Holm 0.010)." in said
    assert "It is not shown for sound → music, sound → speech, music → sound, music → speech, speech → sound." in said
    assert "In 0 of these 1 the adapters also beat the model's own confidence" in said
    assert "no proof" not in said


def test_all_pairs_are_claimed(study_of: Make) -> None:
    pairs = tuple((a, b) for a in ("sound", "music", "speech") for b in ("sound", "music", "speech") if a != b)
    said = summary(study_of(pairs, beats=True), "mini")
    assert "**Yes, in all of them:**" in said
    assert "It is not shown" not in said
    assert "In 6 of these 6" in said


def test_what_could_not_be_tested_is_no_answer(study_of: Make) -> None:
    nothing = {(a, b): None for a in ("sound", "music", "speech") for b in ("sound", "music", "speech")}
    said = summary(study_of(p=nothing), "mini")
    assert "**It cannot be said:** none of the 6 pairs of modalities could be tested (the controls are not" in said
    assert "not shown" not in said
    without = study_of().model_copy(update={"claims": ()})
    assert "nothing was compared with both controls" in summary(without, "mini")


def test_home_refusals_and_sizes_are_said(study_of: Make) -> None:
    said = summary(study_of(), "mini")
    assert "strict RGI is: sound 0.40 [0.30, +inf], music" in said
    assert "random places" not in said
    assert "sound 60.00 % of its own and 10.00 % of music, 10.00 % of speech;" in said
    assert "3 seeds of training, and on 500 answerable questions a pair; intervals are 95%" in said
    few = summary(study_of(seeds=(0,)), "mini")
    assert "1 seed of training, fewer than the 3 that a claim should have" in few


def test_home_stands_beside_refusing_at_random(study_of: Make) -> None:
    study = study_of()
    home = [cell for cell in study.cells if cell.source == cell.target]
    control = [cell.model_copy(update={"arm": "random"}) for cell in home[:2]]
    said = summary(study.model_copy(update={"cells": (*study.cells, *control)}), "mini")
    assert "; with as many IDK at random places: sound 0.40 [0.30, +inf], music 0.40 [0.30, +inf] (compared" in said
    assert said.count("strict RGI is: sound") == 1
