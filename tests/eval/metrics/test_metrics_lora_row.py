import math
from collections.abc import Callable

import numpy as np
import pytest

from lalm_agent.errors import DataError
from lalm_agent.eval.metrics.counts import Counts
from lalm_agent.eval.metrics.rgi import Convention, lora_cell, lora_row, rgi

Made = Callable[..., Counts]
Cells = dict[tuple[str, str], Counts]


@pytest.fixture
def cells(made: Made) -> Cells:
    """Six adapters' cells of ten questions each, on baselines that have 6, 5 and 4 of ten right."""
    return {
        ("music", "sound"): made(cc=5, cr=1, wr=2, ww=2),
        ("speech", "sound"): made(cc=4, cr=1, cw=1, wr=1, ww=3),
        ("sound", "music"): made(cc=4, cr=1, wr=1, ww=4),
        ("speech", "music"): made(cc=3, cr=2, wr=4, ww=1),
        ("sound", "speech"): made(cc=3, cr=1, wc=1, wr=2, ww=3),
        ("music", "speech"): made(cc=3, cr=1, wr=1, ww=5),
    }


def test_every_figure_is_the_mean_of_the_two_cells_own_figures(cells: Cells) -> None:
    row = lora_row(cells, Convention.TABLE)
    assert list(row) == ["sound", "music", "speech", "total"]
    sound = row["sound"]
    assert float(sound["acc"]) == pytest.approx((0.5 + 0.4) / 2)
    assert float(sound["tru"]) == pytest.approx((0.8 + 0.6) / 2)
    assert float(sound["rel"]) == pytest.approx(((0.3 * 0.5 + 0.7 * 0.8) + (0.2 * 0.4 + 0.8 * 0.6)) / 2)
    assert float(sound["d_con"]) == pytest.approx((0.1 + 0.2) / 2)
    assert float(sound["d_hum"]) == pytest.approx((0.2 + 0.1) / 2)
    # log10 2 and log10 1/2.
    assert float(sound["rgi"]) == pytest.approx(0.0, abs=1e-12)


def test_pooling_the_counts_would_give_something_else(cells: Cells) -> None:
    music = lora_row(cells, Convention.TABLE)["music"]
    assert float(music["rgi"]) == pytest.approx((math.log10(1) + math.log10(2)) / 2)
    pooled = rgi(cells["sound", "music"] + cells["speech", "music"], Convention.TABLE)
    assert float(pooled) == pytest.approx(math.log10(5 / 3))


def test_the_total_is_the_mean_of_the_modality_rows(cells: Cells) -> None:
    row = lora_row(cells, Convention.STRICT)
    for name, value in row.pop("total").items():
        assert float(value) == pytest.approx(np.mean([float(figures[name]) for figures in row.values()]))


def test_an_adapter_is_not_averaged_into_its_own_modality(cells: Cells, made: Made) -> None:
    before = lora_row(cells, Convention.TABLE)
    after = lora_row(cells | {("sound", "sound"): made(cr=6, wr=4)}, Convention.TABLE)
    assert float(after["total"]["rel"]) == float(before["total"]["rel"])
    assert float(after["total"]["rgi"]) == float(before["total"]["rgi"])


def test_an_infinite_cell_makes_the_mean_undefined_and_leaves_the_others(cells: Cells, made: Made) -> None:
    cells["music", "sound"] = made(cc=6, wr=2, ww=2)
    row = lora_row(cells, Convention.TABLE)
    figures = row
    assert np.isposinf(lora_cell(cells["music", "sound"], Convention.TABLE)["rgi"])
    assert np.isnan(figures["sound"]["rgi"])
    assert np.isnan(row["total"]["rgi"])
    assert np.isfinite(figures["music"]["rgi"])
    assert float(figures["sound"]["d_con"]) == pytest.approx((0.0 + 0.2) / 2)


def test_an_undefined_delta_makes_the_mean_undefined(cells: Cells, made: Made) -> None:
    cells["music", "sound"] = made(wr=2, ww=2)
    figures = lora_row(cells, Convention.TABLE)
    assert np.isnan(figures["sound"]["d_con"])
    assert np.isfinite(figures["sound"]["d_hum"])
    assert np.isfinite(figures["sound"]["acc"])


def test_the_row_runs_over_resamples(cells: Cells) -> None:
    stacked = {pair: np.stack([t, 3 * t]) for pair, t in cells.items()}
    row = lora_row(stacked, Convention.EQUATION)
    once = lora_row(cells, Convention.EQUATION)
    assert row["total"]["rgi"].tolist() == pytest.approx([float(once["total"]["rgi"])] * 2)


def test_a_cell_that_is_missing_is_named(cells: Cells) -> None:
    del cells["music", "speech"]
    del cells["sound", "music"]
    with pytest.raises(DataError, match="lacks sound -> music, music -> speech"):
        lora_row(cells, Convention.TABLE)


def test_one_modality_is_no_row(made: Made) -> None:
    for few in ({}, {("sound", "sound"): made(cc=1)}):
        with pytest.raises(DataError, match="at least two modalities"):
            lora_row(few, Convention.TABLE)
