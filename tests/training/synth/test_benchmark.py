"""The benchmark's files: their form, their balance, the same bytes for the same call, and what is refused."""

import hashlib
import json
import wave
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lalm_agent.errors import DataError, UsageError
from lalm_agent.records import AudioType
from lalm_agent.registry import install_line
from lalm_agent.training.synth import fluid, tables
from lalm_agent.training.synth.benchmark import write_benchmark
from lalm_agent.training.synth.clips import make_clip, make_held_out
from lalm_agent.training.synth.fluid import find_soundfont, require_synth
from lalm_agent.training.synth.levels import SPECS
from lalm_agent.training.synth.records import Level, Split
from lalm_agent.training.synth.unanswerable import FAMILIES, TRAINED_FAMILIES

MMAU_KEYS = ["id", "audio_id", "question", "choices", "answer", "dataset", "task", "split", "category", "sub-category"]
OUR_KEYS = ["difficulty", "answerable", "seen", "skill", "level", "seed", "family", "content"]
N = 105
QUESTIONS_SHA256 = "be7ffe27fa978f57d2cbfc4059d6e7ebd008c336d3e32092150c65eb6873d47a"
"""Of questions.json of the fixture below: benchmarks that exist are made again by the same call."""


@pytest.fixture(scope="module")
def folder(needs_synth: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "made"
    ticks: list[tuple[int, int]] = []
    write_benchmark(folder, Split.TEST, N, 7, lambda done, n: ticks.append((done, n)))
    assert ticks == [(k, N) for k in range(1, N + 1)]
    return folder


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[dict]:
    return json.loads((folder / "questions.json").read_text(encoding="utf-8"))


def test_the_questions_are_those_of_every_version(folder: Path) -> None:
    assert hashlib.sha256((folder / "questions.json").read_bytes()).hexdigest() == QUESTIONS_SHA256


def test_rows_have_mmau_s_keys_and_ours_and_clips_are_sixteen_bit_mono(folder: Path, rows: list[dict]) -> None:
    assert len(rows) == len({row["id"] for row in rows}) == N
    for row in rows:
        assert list(row) == MMAU_KEYS + OUR_KEYS
        with wave.open(str(folder / row["audio_id"])) as file:
            assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16000)
            assert 0.6 * 16000 <= file.getnframes() <= 160_000
    assert sorted(path.name for path in folder.iterdir()) == ["audio", "questions.json"]


def test_modalities_levels_families_and_places_of_the_truth_are_balanced(rows: list[dict]) -> None:
    tasks = Counter(row["task"] for row in rows)
    assert max(tasks.values()) - min(tasks.values()) <= 1
    assert Counter(row["family"] for row in rows if not row["answerable"]) == dict.fromkeys(FAMILIES, 3)
    levels = Counter(row["level"] for row in rows if row["answerable"])
    assert max(levels.values()) - min(levels.values()) <= 0.15 * N
    for row in rows:
        assert (row["answer"] is None) == (not row["answerable"]) == (row["family"] is not None)
        assert row["answerable"] == (row["choices"].count(row["answer"]) == 1)
    places = Counter((len(row["choices"]), row["choices"].index(row["answer"])) for row in rows if row["answerable"])
    for size in {size for size, _ in places}:
        counts = [places[size, place] for place in range(size)]
        assert max(counts) - min(counts) <= 1


def test_content_is_what_a_perfect_content_step_says_of_the_clip_heard(folder: Path, rows: list[dict]) -> None:
    masked = {"silence": "silence", "low_snr": "noise"}
    assert {row["content"] for row in rows if row["family"] in masked} == set(masked.values())
    for row in [row for at, row in enumerate(rows) if row["family"] is not None or at % 8 == 0]:
        arguments = (row["seed"], Split.TEST, AudioType(row["task"]))
        if row["family"] == "class_never_met":
            made = make_held_out(*arguments, Level(row["level"]))[0]
        else:
            made = make_clip(*arguments, row["seen"], Level(row["level"]))
        if row["family"] in masked:
            assert row["content"] == masked[row["family"]]
            continue
        with wave.open(str(folder / row["audio_id"])) as file:
            pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        assert np.array_equal(pcm, np.round(made.samples * 32767)), "the facts are those of the clip that is heard"
        assert row["content"] == (made.facts.transcript or made.facts.caption)


@pytest.mark.usefixtures("needs_synth")
def test_train_has_no_question_of_a_family_that_training_never_meets(tmp_path: Path) -> None:
    write_benchmark(tmp_path / "train", Split.TRAIN, 75, 0)
    rows = json.loads((tmp_path / "train" / "questions.json").read_text(encoding="utf-8"))
    assert {row["family"] for row in rows if row["family"]} == set(TRAINED_FAMILIES)


def test_the_same_call_writes_the_same_bytes_and_goes_on_after_a_stop(folder: Path, tmp_path: Path) -> None:
    def stop(done: int, _: int) -> None:
        if done == 7:
            raise KeyboardInterrupt

    again = tmp_path / "again"
    with pytest.raises(KeyboardInterrupt):
        write_benchmark(again, Split.TEST, N, 7, stop)
    assert not (again / "questions.json").exists()
    write_benchmark(again, Split.TEST, N, 7)
    for path in sorted(folder.rglob("*.*")):
        assert (again / path.relative_to(folder)).read_bytes() == path.read_bytes()


def test_a_folder_that_holds_something_else_is_left_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="already holds something else"):
        write_benchmark(tmp_path, Split.TEST, 3, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(UsageError, match="already holds a finished benchmark"):
        write_benchmark(folder, Split.TEST, 3, 0)
    with pytest.raises(UsageError, match="0 questions"):
        write_benchmark(tmp_path / "none", Split.TEST, 0, 0)


@pytest.mark.parametrize(
    ("name", "value", "message", "hint"),
    [
        ("EXTRA_MODULES", {"no_such_module": "espeakng-loader"}, "espeakng-loader", install_line("synth")),
        ("find_library", lambda name: None, "FluidSynth library", "apt-get install libfluidsynth3 fluid-soundfont-gm"),
        ("SOUNDFONT_FOLDERS", (), "soundfont", "apt-get install libfluidsynth3 fluid-soundfont-gm"),
    ],
)
@pytest.mark.usefixtures("needs_synth")
def test_what_is_missing_names_its_install_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object, message: str, hint: str
) -> None:
    monkeypatch.delenv("LALM_SOUNDFONT", raising=False)
    monkeypatch.setattr(fluid, name, value)
    with pytest.raises(UsageError, match=message) as caught:
        require_synth()
    assert (caught.value.hint or "").startswith(hint)


def test_the_variable_names_the_soundfont(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    font = tmp_path / "mine.sf2"
    monkeypatch.setenv("LALM_SOUNDFONT", str(font))
    with pytest.raises(UsageError, match=r"mine\.sf2, which is not a file"):
        find_soundfont()
    font.touch()
    assert find_soundfont() == font


def test_a_table_that_does_not_fit_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "levels.json").write_text('{"easy": {"noisy": 0.5}}')
    monkeypatch.setattr(tables.resources, "files", lambda _: tmp_path)
    for name in ("levels", "none"):
        with pytest.raises(DataError, match=rf"the table {name}\.json") as caught:
            tables.read_data_file(name, dict[Level, type(SPECS[Level.EASY])])
        assert "\n" not in caught.value.message
