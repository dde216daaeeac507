"""Fitting the classifier of the type tool `signal`."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lalm_agent.records import AudioType
from lalm_agent.tools.signal_features import NAMES, RATE
from lalm_agent.tools.type_signal import TYPES
from lalm_agent.training import type_signal
from lalm_agent.training.type_signal import Example, accuracies, cut, fit


def clusters(n: int, seed: int) -> list[Example]:
    """Three well separated clouds, one a type."""
    rng = np.random.default_rng(seed)
    return [
        Example(rng.standard_normal(len(NAMES)) + 2 * i, kind, "synthetic train", False)
        for i, kind in enumerate(TYPES)
        for _ in range(n)
    ]


def test_clusters_are_learned_and_newton_arrives() -> None:
    coefficients = fit(clusters(40, 0))
    assert accuracies(coefficients, clusters(30, 1)) == {"synthetic train": "90 of 90"}
    assert coefficients.weights.shape == (2 * len(NAMES) + 1, 3)
    assert np.abs(coefficients.weights).max() < 10


def test_a_rare_type_weighs_as_much_as_a_frequent_one() -> None:
    rng = np.random.default_rng(0)
    crowded = [
        Example(rng.standard_normal(len(NAMES)) + shift, kind, "synthetic train", False)
        for kind, shift, n in zip(TYPES, (0.0, 0.6, -0.6), (400, 40, 40), strict=True)
        for _ in range(n)
    ]
    rare = [example for example in crowded if example.kind is not AudioType.SOUND]
    right, _, n = accuracies(fit(crowded), rare)["synthetic train"].split()
    assert int(right) / int(n) > 0.9


def test_a_cut_is_short_sounds_and_is_the_same_again() -> None:
    clip = np.zeros(5 * RATE, np.float32)
    clip[4 * RATE : 4 * RATE + 1600] = 0.5
    for seed in range(20):
        short = cut(clip, np.random.default_rng(seed))
        assert 0.34 * RATE < len(short) <= 2.01 * RATE
        assert np.abs(short).max() > 0.1
        np.testing.assert_array_equal(short, cut(clip, np.random.default_rng(seed)))


@pytest.mark.usefixtures("needs_synth")
def test_the_command_writes_coefficients_with_where_they_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = ["esc10/a.wav,x,1", "sonicpi/loop_a.wav,x,y", "sonicpi/misc_other.wav,x,y", "fsdd/0.wav,x,y"]
    for row in rows:
        file = tmp_path / row.split(",")[0]
        file.parent.mkdir(exist_ok=True)
        soundfile.write(file, np.random.default_rng(len(row)).standard_normal(RATE) * 0.1, RATE)
    (tmp_path / "index.csv").write_text("\n".join(["file,label,group", *rows]), encoding="utf-8")
    out = tmp_path / "out.json"
    monkeypatch.setattr(sys, "argv", ["x", "--real", str(tmp_path), "--clips", "4", "--out", str(out)])
    type_signal.main()
    stored = json.loads(out.read_text(encoding="utf-8"))
    used = {**stored["fitted_on"], **dict.fromkeys(stored["held_out"], 1)}
    assert stored["fitted_on"]["synthetic train"] == 12
    assert {"esc10", "sonicpi"} <= set(used)
    assert not any("fsdd" in source for source in used)
    assert np.shape(stored["weights"]) == (2 * len(NAMES) + 1, 3)
    assert str(tmp_path) not in out.read_text(encoding="utf-8")
