"""The scripts of `benchmarks/` run from any folder, or end in one clear line."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from lalm_agent.audio import load
from lalm_agent.eval.grade import Grade, Outcome

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize(
    "arguments",
    [
        ("tools.py", "nowhere.wav", "Which animal?", "dog", "cat"),
        ("replies.py", "nowhere.jsonl"),
        ("results.py", "nowhere", "work"),
        ("ask.py", "--windows", "nowhere.wav"),
        ("robustness.py", "nowhere", "work"),
        ("risk_control.py", "nowhere"),
        ("coverage.py", "nowhere"),
        ("passes.py", "--data", "nowhere"),
        ("serve.py", "--model", "nowhere"),
    ],
)
def test_what_is_not_there_is_named_in_one_line(arguments: tuple[str, ...], tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / arguments[0]), *arguments[1:]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    first, *others = done.stderr.splitlines()
    assert first.startswith("error: ")
    assert "nowhere" in first
    assert len(others) <= 1
    assert done.stdout == ""


def test_a_python_without_the_package_is_told_in_one_line(tmp_path: Path) -> None:
    # -S: without site-packages, where the package is.
    command = [sys.executable, "-S", str(FOLDER / "tools.py"), "clip.wav", "Which animal?"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "has no lalm-agent" in done.stderr.splitlines()[0]
    assert "Traceback" not in done.stderr


def test_every_script_ends_by_the_same_rule() -> None:
    modules = {"harness.py", "mini_figures.py"}
    scripts = [path for path in FOLDER.glob("*.py") if path.name not in modules]
    assert scripts
    assert [path.name for path in scripts if not path.read_text("utf-8").endswith("    script(main)\n")] == []


@pytest.fixture
def robustness(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("robustness")


def test_a_flip_is_another_answer_and_nothing_else(robustness: ModuleType) -> None:
    dog, cat = Grade(Outcome.CORRECT, "dog", "letter"), Grade(Outcome.WRONG, "cat", "letter")
    idk, odd = Grade(Outcome.ABSTAINED, None, "idk"), Grade(Outcome.UNPARSED, None, "none")
    moves = [("a", dog, dog), ("b", dog, cat), ("a", dog, idk), ("c", odd, cat), ("c", odd, odd), ("d", cat, cat)]
    sure = {"a": 0.9, "b": 0.4, "c": 0.1, "d": 0.6}
    pairs = [robustness.Pair(clip, "mp3", before, after, sure[clip]) for clip, before, after in moves]
    header, kind, total = robustness.by_kind(pairs).cells(str)
    assert kind[1:] == total[1:]
    cells = dict(zip(header, kind, strict=True))
    assert [cells[name] for name in ("asked", "answered twice", "another answer")] == ["6", "3", "1"]
    assert cells["% of these"].startswith("33.3 [")
    assert [cells[name] for name in ("answer lost", "answer new", "none")] == ["1", "1", "1"]
    correct, wrong, _, unparsed, _ = robustness.five_way(pairs).rows
    assert (correct[1:], wrong[1:]) == (("1", "1", "1", "0", "0"), ("0", "1", "0", "0", "0"))
    assert unparsed[1:] == ("0", "1", "0", "1", "0")
    # The clip without an answer is in no tercile.
    low, middle, high = robustness.by_confidence(pairs).rows
    assert [row[1] for row in (low, middle, high)] == ["0.40 to 0.40", "0.60 to 0.60", "0.90 to 0.90"]
    assert [row[4] for row in (low, middle, high)] == ["1", "0", "0"]
    assert [row[3] for row in (low, middle, high)] == ["0", "1", "0"]


def test_changes_are_what_they_are_called(robustness: ModuleType, tmp_path: Path) -> None:
    rate, clips, audio = 16_000, tmp_path / "clips", tmp_path / "audio"
    clips.mkdir()
    audio.mkdir()
    wave = np.sin(np.arange(rate) * 0.2, dtype=np.float32)[:, None] / 4
    robustness.write(clips / "a.wav", wave, rate, "tone")
    row = {"audio": "a.wav", "question": "Which?", "choices": ["x", "y", "z"], "answer": "y"}
    rows = list(robustness.variants(row, clips, audio))
    assert len({changed["id"] for changed in rows}) == len(rows)
    assert {tuple(changed["choices"]) for changed in rows} == {("x", "y", "z"), ("y", "z", "x"), ("z", "x", "y")}
    assert {changed["question"] for changed in rows} == {"Which?", "Which", "Which."}
    sounds = {changed["category"]: load(audio / changed["audio"]) for changed in rows if changed["audio"] != "a.wav"}
    assert set(sounds) == set(robustness.SOUNDS)
    before, after = sounds["0.3 s of silence before"].samples, sounds["0.3 s of silence after"].samples
    assert not before[:4800].any()
    assert np.array_equal(before[4800:], after[:-4800])
    assert np.abs(sounds["+6 dB"].samples).max() == pytest.approx(0.5, abs=1e-3)
    assert np.abs(sounds["-12 dB"].samples).max() == pytest.approx(1 / 16, abs=1e-3)
    assert sounds["DC offset 0.01"].samples.mean() - wave.mean() == pytest.approx(0.01, abs=1e-4)
    assert sounds["stereo copy"].ref.channels == 2
    assert len(sounds["8 kHz and back"].samples) == len(wave)
    for name, limit in {"24 bit": 1e-6, "flac": 1e-4, "dither": 1e-4}.items():
        assert np.abs(sounds[name].samples - wave).max() < limit


def test_a_change_that_would_clip_or_change_nothing_is_left_out(robustness: ModuleType) -> None:
    loud = np.full((800, 2), 0.6, np.float32)
    for kind in ("8 kHz and back", "+6 dB", "stereo copy"):
        assert robustness.SOUNDS[kind](loud, 8000) is None


def test_the_floors_of_a_gpu_are_what_the_model_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes by the parameters, FLOP by torch's counter, on the shapes of the rehearsal."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    monkeypatch.syspath_prepend(str(FOLDER))
    gpu = importlib.import_module("gpu")
    shapes, tokens = gpu.TWENTIETH, 50
    model = gpu.random_model(shapes, "cpu")._checkpoint.model
    model.set_attn_implementation("eager")  # the counter does not know the CPU's own kernel
    language, tower = model.model.language_model, model.model.audio_tower
    matrices = [weight for layer in language.layers for weight in layer.parameters() if weight.ndim == 2]
    read = sum(weight.nbytes for weight in [*matrices, model.lm_head.weight])
    assert gpu.weight_bytes(shapes) == read

    def flops(run: Callable[[], Any]) -> float:
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            run()
        return float(counter.get_total_flops())

    heard = flops(lambda: model.model.multi_modal_projector(tower(torch.zeros(1, 128, 3000)).last_hidden_state))
    assert gpu.encoder_flops(shapes) == pytest.approx(heard, rel=0.01)
    # The counter takes all pairs of tokens, the floor those that a causal model needs.
    unseen = shapes.layers * 4 * shapes.size * tokens**2 / 2
    counted = flops(lambda: language(input_ids=torch.zeros(1, tokens, dtype=torch.long)))
    assert gpu.prefill_flops(shapes, tokens) + unseen == pytest.approx(counted, rel=0.01)
    cache = language(input_ids=torch.zeros(1, tokens, dtype=torch.long), use_cache=True).past_key_values
    assert gpu.cache_bytes(shapes, tokens) == sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    card = gpu.Card("a card", 1e12, 1e14)
    once, anew = (card.floor_s(shapes, (800, 800), (1, 1), 8, repeat) for repeat in (False, True))
    assert anew == pytest.approx(2 * (gpu.encoder_flops(shapes) + gpu.prefill_flops(shapes, 800)) / 1e14)
    assert once < 0.6 * anew


def test_a_benchmark_of_a_gpu_says_that_there_is_none(tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / "gpu.py")]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "error: there is no GPU here"
