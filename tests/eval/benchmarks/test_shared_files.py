"""The published files, where they lie beside the checkout: counts are those of the README there."""

from collections import Counter
from pathlib import Path

import pytest

from lalm_agent.eval.benchmarks import load_benchmark, missing_audio
from lalm_agent.eval.items import Benchmark, audio_file


def count(benchmark: Benchmark, dimension: str) -> Counter[str]:
    return Counter(value for item in benchmark.items for name, value in item.groups if name == dimension)


def reasons(benchmark: Benchmark) -> Counter[str]:
    return Counter(note.reason for note in benchmark.notes)


def test_mmau(shared_data: Path) -> None:
    mmau = load_benchmark("mmau", shared_data / "mmau" / "mmau-test-mini.json")
    assert (mmau.name, len(mmau.items), mmau.faults) == ("mmau", 1000, ())
    assert mmau.version == "MMAU test-mini v05.15.25; the paper used an earlier file"
    assert mmau.sha256 == "9f18fda99f8dbc2bc5ecd6323fb5063309f54969810b5c6f1caeb3b8d904cf1c"
    assert count(mmau, "modality") == {"sound": 333, "music": 334, "speech": 333}
    assert count(mmau, "difficulty") == {"easy": 224, "medium": 540, "hard": 236}
    assert count(mmau, "category") == {"Reasoning": 677, "Information Extraction": 323}
    assert len(count(mmau, "sub-category")) == 27
    assert Counter(len(item.choices) for item in mmau.items) == {4: 948, 2: 27, 5: 24, 8: 1}
    assert all(item.gold in item.choices for item in mmau.items)
    assert reasons(mmau) == {
        "`category` is a list": 13,
        "a choice is given twice": 11,
        "a choice is given twice, and it is the answer": 16,
        "spaces around a choice": 6,
        "a choice reads like a question": 1,
    }
    assert sum(item.gold != str(item.gold).strip() for item in mmau.items) == 4
    assert len(missing_audio(mmau)) == 999
    assert mmau.audio_root is not None
    assert audio_file(mmau.audio_root, mmau.items[0].audio).is_file()


def test_mmar(shared_data: Path) -> None:
    mmar = load_benchmark("mmar", shared_data / "mmar")
    assert (len(mmar.items), mmar.faults) == (1000, ())
    assert mmar.version is not None
    assert count(mmar, "modality") == {
        "speech": 294,
        "mix-sound-speech": 218,
        "music": 206,
        "sound": 165,
        "mix-music-speech": 82,
        "mix-sound-music-speech": 24,
        "mix-sound-music": 11,
    }
    assert count(mmar, "category").total() == 1000
    assert count(mmar, "language").total() == 1000 - 320
    assert Counter(len(item.choices) for item in mmar.items) == {4: 815, 2: 171, 3: 10, 5: 3, 6: 1}
    assert sum(item.choices[-1] == "" for item in mmar.items) == 4
    assert sum(item.id.startswith("-") for item in mmar.items) == 9
    assert reasons(mmar)["the id is not the clip's name"] == 46
    assert {name for item in mmar.items for name, _ in item.groups} == {
        *("modality", "category", "sub-category", "language")
    }
    assert all(item.content is None for item in mmar.items)


def test_sakura(shared_data: Path) -> None:
    sakura = load_benchmark("sakura", shared_data / "sakura")
    assert (len(sakura.items), sakura.faults) == (1668, ())
    assert sakura.version is not None
    assert sakura.version.startswith("SAKURA, a subset of 834 of the 2,000 clips")
    assert count(sakura, "track") == {"Animal": 360, "Emotion": 308, "Gender": 500, "Language": 500}
    assert count(sakura, "hop") == {"single": 834, "multi": 834}
    assert count(sakura, "modality") == {"sound": 360, "speech": 1308}
    assert len({item.id for item in sakura.items}) == 1668
    assert len({item.audio for item in sakura.items}) == 834
    assert all(item.gold in item.choices for item in sakura.items)
    assert Counter(len(item.choices) for item in sakura.items) == {2: 500, 4: 1168}
    assert reasons(sakura)["spaces around the answer"] == 154
    assert missing_audio(sakura) == ()
    dog = next(item for item in sakura.items if item.id == "Animal/dog7.flac/single")
    assert dog.gold == "dog"
    assert "(a)" not in dog.question


@pytest.mark.parametrize("track", ["Animal", "Language"])
def test_sakura_says_the_same_without_its_csv(shared_data: Path, tmp_path: Path, track: str) -> None:
    source = shared_data / "sakura" / "data" / track
    folder = tmp_path / "data" / track
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_bytes((source / "metadata.json").read_bytes())
    from_json = load_benchmark("sakura", tmp_path)
    (folder / "metadata.csv").write_bytes((source / "metadata.csv").read_bytes())
    both = load_benchmark("sakura", tmp_path)
    assert from_json.items == both.items
    assert from_json.sha256 != both.sha256
    assert from_json.version == both.version is not None
