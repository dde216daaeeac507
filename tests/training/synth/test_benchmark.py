import json
import wave
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lalm_agent.errors import UsageError
from lalm_agent.records import AudioType
from lalm_agent.training.synth import requirements
from lalm_agent.training.synth.benchmark import write_benchmark
from lalm_agent.training.synth.clips import make_clip, make_never_met
from lalm_agent.training.synth.families import FAMILIES, MET, NEVER_MET
from lalm_agent.training.synth.levels import Level
from lalm_agent.training.synth.records import Split
from lalm_agent.training.synth.requirements import find_soundfont, require_synth

MMAU_KEYS = ["id", "audio_id", "question", "choices", "answer", "dataset", "task", "split", "category", "sub-category"]
OUR_KEYS = ["difficulty", "answerable", "seen", "skill", "level", "seed", "family", "content"]
N = 120


@pytest.fixture(scope="module")
def folder(engines: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "made"
    ticks: list[tuple[int, int]] = []
    write_benchmark(folder, Split.TEST, N, 3, lambda done, n: ticks.append((done, n)))
    assert ticks == [(k, N) for k in range(1, N + 1)]
    return folder


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[dict]:
    return json.loads((folder / "questions.json").read_text(encoding="utf-8"))


def test_rows_have_mmau_s_keys_and_ours(rows: list[dict]) -> None:
    assert len(rows) == len({row["id"] for row in rows}) == N
    for row in rows:
        assert list(row) == MMAU_KEYS + OUR_KEYS
        assert len(row["choices"]) >= 2
        assert row["difficulty"] in ("easy", "medium", "hard")


def test_every_clip_is_sixteen_bit_mono(folder: Path, rows: list[dict]) -> None:
    for row in rows:
        with wave.open(str(folder / row["audio_id"])) as file:
            assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16000)
            assert 0.6 * 16000 <= file.getnframes() <= 160_000
    assert sorted(path.name for path in folder.iterdir()) == ["audio", "questions.json"]
    assert len(list((folder / "audio").iterdir())) == N


def test_modalities_answers_and_families_are_balanced(rows: list[dict]) -> None:
    tasks = Counter(row["task"] for row in rows)
    assert max(tasks.values()) - min(tasks.values()) <= 1
    unknown = [row for row in rows if not row["answerable"]]
    assert 0.15 <= len(unknown) / N <= 0.25
    assert {row["family"] for row in unknown} == set(FAMILIES)
    levels = Counter(row["level"] for row in rows if row["answerable"])
    assert max(levels.values()) - min(levels.values()) <= 0.15 * N
    for row in rows:
        assert (row["answer"] is None) == (not row["answerable"]) == (row["family"] is not None)
        assert row["answerable"] == (row["choices"].count(row["answer"]) == 1)


def test_content_is_what_a_perfect_content_step_says_of_the_clip_heard(folder: Path, rows: list[dict]) -> None:
    masked = {"silence": "silence", "low_snr": "noise"}
    assert {row["content"] for row in rows if row["family"] in masked} == set(masked.values())
    for row in [row for at, row in enumerate(rows) if row["family"] is not None or at % 8 == 0]:
        asked_for = (row["seed"], Split.TEST, AudioType(row["task"]))
        if row["family"] == "class_never_met":
            made = make_never_met(*asked_for, Level(row["level"]))[0]
        else:
            made = make_clip(*asked_for, row["seen"], Level(row["level"]))
        if row["family"] in masked:
            assert row["content"] == masked[row["family"]]
            continue
        with wave.open(str(folder / row["audio_id"])) as file:
            heard = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        assert np.array_equal(heard, np.round(made.samples * 32767)), "the facts are those of the clip that is heard"
        assert row["content"] == (made.facts.transcript or made.facts.caption)


def test_content_is_a_transcript_only_of_known_english_words(rows: list[dict]) -> None:
    spoken = [row["content"] for row in rows if row["task"] == "speech" and row["family"] is None]
    captions = [content for content in spoken if content.startswith("a ") and " voice" in content]
    assert 0 < len(captions) < len(spoken)


def test_the_truth_goes_round_the_places(rows: list[dict]) -> None:
    places = Counter((len(row["choices"]), row["choices"].index(row["answer"])) for row in rows if row["answerable"])
    for size in {size for size, _ in places}:
        counts = [places[size, place] for place in range(size)]
        assert max(counts) - min(counts) <= 1


def test_train_has_no_question_of_a_family_that_training_never_meets(engines: None, tmp_path: Path) -> None:
    write_benchmark(tmp_path / "train", Split.TRAIN, 90, 0)
    rows = json.loads((tmp_path / "train" / "questions.json").read_text(encoding="utf-8"))
    assert {row["family"] for row in rows if row["family"]} == set(MET)
    assert not set(MET) & set(NEVER_MET)


def test_the_same_call_writes_the_same_bytes_and_goes_on_after_a_stop(folder: Path, tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop(done: int, _: int) -> None:
        if done == 7:
            raise StoppedError

    again = tmp_path / "again"
    with pytest.raises(StoppedError):
        write_benchmark(again, Split.TEST, N, 3, stop)
    assert not (again / "questions.json").exists()
    write_benchmark(again, Split.TEST, N, 3)
    for path in sorted(folder.rglob("*.*")):
        assert (again / path.relative_to(folder)).read_bytes() == path.read_bytes()


def test_a_folder_that_holds_something_else_is_left_alone(engines: None, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="already holds something else"):
        write_benchmark(tmp_path, Split.TEST, 3, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(UsageError, match="already holds a finished benchmark"):
        write_benchmark(folder, Split.TEST, 3, 0)


def test_no_questions_are_refused(engines: None, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="0 questions"):
        write_benchmark(tmp_path / "none", Split.TEST, 0, 0)


def test_a_missing_package_names_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "EXTRA_MODULES", {"no_such_module_of_ours": "espeakng-loader"})
    with pytest.raises(UsageError, match="espeakng-loader") as caught:
        require_synth()
    assert caught.value.hint == "pip install 'lalm-agent[synth]'"


def test_a_missing_library_names_the_install_line(engines: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "find_library", lambda name: None)
    with pytest.raises(UsageError, match="FluidSynth library") as caught:
        require_synth()
    assert "apt-get install libfluidsynth3 fluid-soundfont-gm" in (caught.value.hint or "")


def test_a_missing_soundfont_names_the_install_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LALM_SOUNDFONT", raising=False)
    monkeypatch.setattr(requirements, "SOUNDFONT_FOLDERS", (tmp_path,))
    with pytest.raises(UsageError, match="soundfont") as caught:
        find_soundfont()
    assert "apt-get install" in (caught.value.hint or "")


def test_the_variable_names_the_soundfont(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    font = tmp_path / "mine.sf2"
    monkeypatch.setenv("LALM_SOUNDFONT", str(font))
    with pytest.raises(UsageError, match=r"mine\.sf2, which is not a file"):
        find_soundfont()
    font.touch()
    assert find_soundfont() == font
