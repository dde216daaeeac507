"""What `data check` finds, in questions and clips made up for it."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lalm_agent.eval.benchmarks.checking import check_clips, check_json, check_lines, check_questions, note_counts
from lalm_agent.eval.items import Benchmark, Fault, Item


def item(id_: str, choices: tuple[str, ...] = ("cat", "dog"), gold: str | None = "cat", audio: str = "a.wav") -> Item:
    return Item(id_, audio, f"What is {id_[0]}?", choices, gold, (("modality", "sound"), ("level", id_[0])))


def test_questions() -> None:
    items = (
        item("a1"),
        item("a2", ("dog", "cat")),
        item("a3", audio="b.wav"),
        item("b1", ("cat", "cat ", "dog")),
        item("b2", ("cat", "dog", "dog")),
        item("c1", ("cat", "Not sure")),
        item("d1", ("cat", "dog", "")),
        item("e1", (), "yes"),
        item("e2", ("cat", "Cannot be determined."), None),
    )
    check = check_questions(items)
    assert (check.n, check.open, check.unanswerable) == (9, 1, 1)
    assert check.groups == {"modality": {"sound": 9}, "level": {"a": 3, "b": 2, "c": 1, "d": 1, "e": 2}}
    assert check.choices == {2: 5, 3: 3}
    assert (check.doubled, check.doubled_gold) == (("b1", "b2"), ("b1",))
    assert check.refusals == ("c1", "e2")
    assert check.empty == ("d1",)
    assert check.duplicates == (("a1", "a2"),)
    assert check.guesses.positions == (6, 1)


def write(path: Path, seconds: float, level: float = 0.3, seed: int = 0) -> None:
    samples = np.random.default_rng(seed).uniform(-level, level, round(seconds * 8000))
    soundfile.write(path, samples, 8000, subtype="PCM_16")


@pytest.fixture
def clips(tmp_path: Path) -> Benchmark:
    write(tmp_path / "fine.wav", 6.0)
    write(tmp_path / "copy.wav", 6.0)
    write(tmp_path / "short.wav", 0.4, seed=1)
    write(tmp_path / "long.wav", 30.5, seed=2)
    write(tmp_path / "silent.wav", 3.0, level=0.0005)
    (tmp_path / "broken.wav").write_bytes(b"RIFF and no more")
    names = ["fine", "fine", "copy", "short", "long", "silent", "broken", "missing"]
    items = tuple(item(f"{name}{number}", audio=f"{name}.wav") for number, name in enumerate(names))
    return Benchmark("own", None, "0" * 64, items, tmp_path, (Fault("f", 3, "bad"),), (Fault("f", 1, "odd"),) * 2)


def test_clips(clips: Benchmark) -> None:
    steps: list[tuple[int, int]] = []
    check = check_clips(clips, progress=lambda done, n: steps.append((done, n)))
    assert (check.named, check.opened) == (7, 5)
    assert check.minutes == pytest.approx((6 + 6 + 0.4 + 30.5 + 3) / 60)
    assert check.asked_minutes == pytest.approx((6 * 3 + 0.4 + 30.5 + 3) / 60)
    assert [fault.file for fault in check.missing] == ["missing.wav"]
    assert [fault.file for fault in check.broken] == ["broken.wav"]
    assert (check.short, check.silent, check.long) == (("short.wav",), ("silent.wav",), ("long.wav",))
    assert check.copies == (("fine.wav", "copy.wav"),)
    lines = check_lines(clips, check_questions(clips.items), check)
    assert any(line.startswith("clips ") and line.endswith(", 4 different recordings") for line in lines)
    assert steps == [(number, 6) for number in range(1, 7)]
    assert check_clips(clips, window_s=31.0).long == ()


def test_json_is_json(clips: Benchmark) -> None:
    questions = check_questions(clips.items)
    record = json.loads(json.dumps(check_json(clips, questions, check_clips(clips)), allow_nan=False))
    assert record["choices"] == {"2": 8}
    assert record["gold_positions"] == [8]
    assert record["guess_rates"]["total"] == {"n": 8, "chance": 0.5, "always_first": 1.0, "most_frequent": 1.0}
    assert record["guess_rates"]["groups"]["level"]["s"]["n"] == 2
    assert record["faults"] == [{"file": "f", "line": 3, "reason": "bad"}]
    assert record["clips"]["missing"][0]["file"] == "missing.wav"
    assert check_json(clips, questions, None)["clips"] is None
    assert note_counts(clips.notes) == {"odd": 2}
