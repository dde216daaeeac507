"""`hf:`: small data sets written here, in every layout that is read; nothing is asked of the hub."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lalm_agent import audio
from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.benchmarks import load_benchmark, missing_audio
from lalm_agent.eval.benchmarks.hub import clip_folder, keep_clip
from lalm_agent.eval.items import Benchmark, audio_file
from lalm_agent.registry import install_line

datasets = pytest.importorskip("datasets")


def wav(seed: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(seed).standard_normal(800) / 10, 8000, format="WAV")
    return file.getvalue()


def make(rows: list[dict[str, Any]], column: str | None = "audio") -> Any:
    """A data set whose column is of the Audio type; without one, a plain struct stays a struct."""
    made = datasets.Dataset.from_list(rows)
    return made if column is None else made.cast_column(column, datasets.Audio())


def own_rows() -> list[dict[str, Any]]:
    fields = {"question": "What is it?", "choices": ["cat", "dog"], "answer": "dog", "modality": "sound"}
    return [{"id": f"q{n}", "audio": {"bytes": wav(n), "path": f"{n}.wav"}, **fields} for n in range(2)]


def hub_rows(**changes: Any) -> list[dict[str, Any]]:
    """MMAU as the hub has it: labelled choices, a struct for the clip, the rest in `other_attributes`."""
    row = {
        "context": {"bytes": wav(3), "path": "x.wav"},
        "instruction": "Who speaks?",
        "choices": ["(A) Man", "(B) Woman"],
        "answer": "(B) Woman",
        "other_attributes": json.dumps({"id": "u-1", "task": "speech", "sub-category": "x", "difficulty": "hard"}),
    }
    return [{**row, **changes}]


def load(folder: Path, split: str = "") -> Benchmark:
    return load_benchmark(f"hf:{folder}{split}")


def save(made: Any, folder: Path, layout: str) -> Path:
    if layout == "parquet":
        folder.mkdir()
        made.to_parquet(folder / "test-00000-of-00001.parquet")
    elif layout == "splits":
        datasets.DatasetDict({"test": made}).save_to_disk(folder)
    else:
        made.save_to_disk(folder)
    return folder


@pytest.mark.parametrize("layout", ["saved", "splits", "parquet"])
def test_embedded_audio_becomes_files(tmp_path: Path, layout: str, lalm_home: Path) -> None:
    loaded = load(save(make(own_rows()), tmp_path / "set", layout))
    assert (loaded.name, loaded.faults, loaded.notes) == ("set", (), ())
    assert [(item.id, item.gold, item.modality) for item in loaded.items] == [
        ("q0", "dog", "sound"),
        ("q1", "dog", "sound"),
    ]
    assert loaded.audio_root == clip_folder() == lalm_home / "clips"
    assert missing_audio(loaded) == ()
    for number, item in enumerate(loaded.items):
        path = audio_file(loaded.audio_root, item.audio)
        assert path.read_bytes() == wav(number)
        assert audio.load(path).ref.rate == 8000


def test_the_hash_does_not_depend_on_the_container(tmp_path: Path) -> None:
    hashes = {load(save(make(own_rows()), tmp_path / layout, layout)).sha256 for layout in ("saved", "parquet")}
    assert len(hashes) == 1
    changed = own_rows()
    changed[0]["audio"]["bytes"] = wav(9)
    assert load(save(make(changed), tmp_path / "changed", "saved")).sha256 not in hashes


@pytest.mark.parametrize("column", ["context", None])
def test_mmau_as_the_hub_has_it(tmp_path: Path, column: str | None) -> None:
    loaded = load(save(make(hub_rows(), column), tmp_path / "set", "parquet"))
    (item,) = loaded.items
    assert (item.id, item.question, item.choices, item.gold) == ("u-1", "Who speaks?", ("Man", "Woman"), "Woman")
    assert dict(item.groups) == {"modality": "speech", "difficulty": "hard", "sub-category": "x"}


@pytest.mark.parametrize(
    ("changes", "choices"),
    [
        ({"choices": '["Man", "Woman"]', "answer": "Woman"}, ("Man", "Woman")),
        ({"choices": ["(B) Man", "(A) Woman"], "answer": "(A) Woman"}, ("(B) Man", "(A) Woman")),
        ({"choices": ["(A) Man", "Woman"], "answer": "Woman"}, ("(A) Man", "Woman")),
        ({"other_attributes": {"id": "u-1", "task": "speech"}}, ("Man", "Woman")),
    ],
)
def test_choices_of_the_hub(tmp_path: Path, changes: dict[str, Any], choices: tuple[str, ...]) -> None:
    (item,) = load(save(make(hub_rows(**changes), "context"), tmp_path / "set", "saved")).items
    assert (item.id, item.choices) == ("u-1", choices)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"answer": "E"}, "the answer 'E' is none of the choices"),
        ({"other_attributes": "{"}, "`other_attributes` is not JSON"),
        ({"other_attributes": "[]"}, "`other_attributes` is no JSON object"),
        ({"context": {"bytes": None, "path": "/etc/hostname"}}, "outside the audio root"),
        ({"context": {"bytes": None, "path": None}}, "no audio"),
        ({"context": {"bytes": None, "path": "nowhere.wav"}}, "cannot be read"),
    ],
)
def test_a_bad_row_of_a_data_set(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    made = datasets.Dataset.from_list(hub_rows() + hub_rows(**changes))
    loaded = load(save(made, tmp_path / "set", "parquet"))
    (fault,) = loaded.faults
    assert (fault.line, fault.file) == (2, f"hf:{tmp_path / 'set'}")
    assert said in fault.reason
    assert len(loaded.items) == 1


def test_audio_as_a_name_beside_the_data(tmp_path: Path) -> None:
    rows = [{**row, "audio": f"clips/{row['id']}.wav"} for row in own_rows()]
    loaded = load(save(datasets.Dataset.from_list(rows), tmp_path / "set", "saved"))
    assert loaded.audio_root == tmp_path / "set"
    assert [item.audio for item in loaded.items] == ["clips/q0.wav", "clips/q1.wav"]
    elsewhere = load_benchmark(f"hf:{tmp_path / 'set'}", None, tmp_path)
    assert elsewhere.audio_root == tmp_path


@pytest.mark.parametrize("place", ["", "test"])
def test_an_audio_folder_needs_no_datasets(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lalm_agent.registry.is_installed", lambda module: False)
    folder = tmp_path / "set" / place
    folder.mkdir(parents=True)
    (folder / "x.wav").write_bytes(wav(1))
    row = {"file_name": "x.wav", "question": "What?", "choices": ["a", "b"], "answer": "a"}
    (folder / "metadata.jsonl").write_text(json.dumps(row))
    loaded = load(tmp_path / "set")
    assert (loaded.name, loaded.audio_root, missing_audio(loaded)) == ("set", folder, ())
    if place:
        assert load(tmp_path / "set", "@test").items == loaded.items


def test_splits(tmp_path: Path) -> None:
    made = make(own_rows())
    datasets.DatasetDict({"dev": made, "test": made.select([0])}).save_to_disk(tmp_path / "set")
    assert len(load(tmp_path / "set", "@test").items) == 1
    with pytest.raises(UsageError, match="several splits") as error:
        load(tmp_path / "set")
    assert "dev, test" in str(error.value.hint)
    with pytest.raises(UsageError, match="no split 'tset'") as error:
        load(tmp_path / "set", "@tset")
    assert "did you mean test" in str(error.value.hint)


def test_what_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="no folder nobody/nothing here, and the hub cannot be reached"):
        load_benchmark("hf:nobody/nothing")
    with pytest.raises(UsageError, match="names no data set"):
        load_benchmark("hf:")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        load(tmp_path / "empty")
    saved = save(make(own_rows()), tmp_path / "set", "saved")
    with pytest.raises(UsageError, match="is embedded"):
        load_benchmark(f"hf:{saved}", None, tmp_path)
    with pytest.raises(UsageError, match="is itself the data"):
        load_benchmark(f"hf:{saved}", tmp_path)
    monkeypatch.setattr("lalm_agent.registry.is_installed", lambda module: False)
    with pytest.raises(UsageError, match="needs datasets") as error:
        load(saved)
    assert error.value.hint == install_line("hf")


def test_a_clip_is_written_once(lalm_home: Path) -> None:
    name = keep_clip(b"abc", "folder/x.WAV")
    path = lalm_home / "clips" / name
    assert (path.read_bytes(), path.suffix) == (b"abc", ".wav")
    before = path.stat().st_mtime_ns
    assert keep_clip(b"abc", "y.wav") == name
    assert path.stat().st_mtime_ns == before
    path.write_bytes(b"")
    keep_clip(b"abc", "x.wav")
    assert path.read_bytes() == b"abc"
    assert "." not in keep_clip(b"abc", "x.exe")
    assert len(list((lalm_home / "clips").rglob("*.part"))) == 0


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LALM_HOME", str(tmp_path / "file"))
    with pytest.raises(DataError, match="cannot be written to"):
        keep_clip(b"abc", None)


def test_the_default_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LALM_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert clip_folder() == tmp_path / "lalm-agent" / "clips"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert clip_folder() == tmp_path / ".cache" / "lalm-agent" / "clips"
