"""`lalm-agent train`: presets and flags."""

from pathlib import Path

import pytest

from lalm_agent.cli.main import run
from lalm_agent.errors import UsageError
from lalm_agent.training.lora.recipe import NOTES, TARGETS, make_recipe, preset_of, shown, total_steps

GIVEN = ["train", "--data", "rows.jsonl", "--model", "mini", "--out", "adapter"]


def test_the_preset_follows_the_model_unless_it_is_named() -> None:
    assert preset_of(None, "mini") == "mini"
    assert preset_of(None, "Qwen/Qwen2-Audio-7B-Instruct") == "paper"
    assert preset_of("mini", "some/folder") == "mini"
    with pytest.raises(UsageError, match="unknown preset: papr"):
        preset_of("papr", "mini")


def test_the_paper_s_preset_has_the_figures_of_table_9_and_says_what_is_ambiguous() -> None:
    recipe = make_recipe("paper", {})
    assert (recipe.rank, recipe.alpha, recipe.learning_rate, recipe.epochs) == (8, 16, 3e-5, 1)
    assert recipe.targets == TARGETS["language-model"]
    assert "Alpha is ambiguous" in NOTES["paper"]
    assert "sound has 32, speech 16" in NOTES["paper"]
    assert "rank 8, alpha 16, learning rate 3e-05" in shown(recipe)


def test_flags_change_single_fields() -> None:
    recipe = make_recipe("mini", {"rank": 4, "alpha": None, "seed": 7})
    assert (recipe.rank, recipe.alpha, recipe.seed, recipe.learning_rate) == (4, 16, 7, 2e-3)


@pytest.mark.parametrize(
    ("rows", "changes", "processes", "steps"),
    [
        (240, {"epochs": 3}, 1, 90),
        (241, {"epochs": 1}, 1, 31),
        (10, {"epochs": 2, "batch_size": 2, "grad_accum": 2}, 1, 6),
        (10, {"epochs": 1, "batch_size": 2, "grad_accum": 2}, 2, 2),
        (10, {"max_steps": 5}, 1, 5),
    ],
)
def test_steps_are_counted_as_the_trainer_does(
    rows: int, changes: dict[str, float], processes: int, steps: int
) -> None:
    assert total_steps(rows, make_recipe("mini", changes), processes) == steps


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--rank", "0"], "--rank: "),
        (["--learning-rate", "nan"], "--learning-rate: "),
        (["--epochs", "0"], "--epochs: "),
        (["--preset", "papr"], "did you mean paper?"),
        ([], "rows.jsonl cannot be read"),
    ],
)
def test_impossible_values_are_one_line(
    flags: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run([*GIVEN, *flags]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 2
    assert list(tmp_path.iterdir()) == []
