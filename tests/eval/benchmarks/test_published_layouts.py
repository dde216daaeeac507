"""Every odd thing in MMAU and MMAR, made up. SAKURA's are in `test_sakura`."""

import json
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.benchmarks import load_benchmark, missing_audio
from lalm_agent.eval.items import Benchmark, Item


def mmau_row(**changes: Any) -> dict[str, Any]:
    row = {
        "id": "m-1",
        "audio_id": "./clips/m-1.wav",
        "question": "What barks?",
        "choices": ["A fox", "A dog", "A seal"],
        "answer": "A dog",
        "dataset": "made-up",
        "task": "sound",
        "split": "test-mini",
        "category": "Reasoning",
        "sub-category": "Ambient",
        "difficulty": "easy",
    }
    return {**row, **changes}


def mmar_row(**changes: Any) -> dict[str, Any]:
    row = {
        "id": "r-1",
        "audio_path": "./audio/r-1.wav",
        "question": "Which key is it in?",
        "choices": ["C", "D"],
        "answer": "D",
        "modality": "mix-sound-music",
        "category": "Signal Layer",
        "sub-category": "Music Theory",
        "language": None,
        "source": "youtube",
        "url": "https://example.org/SECRET",
        "timestamp": "00:00:01,00:00:02;SECRET",
        "thinking": "SECRET",
        "cue": ["SECRET"],
        "rubric": [{"name": "SECRET"}],
    }
    return {**row, **changes}


def load_mmau(folder: Path, *rows: dict[str, Any]) -> Benchmark:
    (folder / "mmau-test-mini.json").write_text(json.dumps(list(rows)), "utf-8")
    return load_benchmark("mmau", folder)


def load_mmar(folder: Path, *rows: dict[str, Any]) -> Benchmark:
    # No newline after the last line, as published.
    (folder / "MMAR-meta.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    return load_benchmark("mmar", folder / "MMAR-meta.jsonl")


def only(benchmark: Benchmark) -> Item:
    assert benchmark.faults == ()
    (item,) = benchmark.items
    return item


def notes(benchmark: Benchmark) -> list[str]:
    return [note.reason for note in benchmark.notes]


# --- MMAU ------------------------------------------------------------------------------------------------------------


def test_mmau_row(tmp_path: Path) -> None:
    loaded = load_mmau(tmp_path, mmau_row())
    assert only(loaded) == Item(
        id="m-1",
        audio="./clips/m-1.wav",
        question="What barks?",
        choices=("A fox", "A dog", "A seal"),
        gold="A dog",
        groups=(
            *(("modality", "sound"), ("difficulty", "easy"), ("category", "Reasoning")),
            *(("sub-category", "Ambient"), ("dataset", "made-up")),
        ),
    )
    assert (loaded.audio_root, loaded.version, loaded.notes) == (tmp_path, None, ())
    (missing,) = missing_audio(loaded)
    assert missing.file == "./clips/m-1.wav"
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "m-1.wav").touch()
    assert missing_audio(loaded) == ()


def test_category_as_a_list_and_keys_in_another_order(tmp_path: Path) -> None:
    row = dict(reversed(mmau_row(category=["Reasoning"]).items()))
    loaded = load_mmau(tmp_path, row)
    assert dict(only(loaded).groups)["category"] == "Reasoning"
    assert notes(loaded) == ["`category` is a list"]


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"choices": ["A dog", "A fox", "A dog"]}, "a choice is given twice, and it is the answer"),
        ({"choices": ["A dog", "A fox", "A fox "]}, "a choice is given twice"),
        ({"choices": [" A dog", " A fox"], "answer": " A dog"}, "spaces around a choice"),
        ({"choices": ["A dog ", "A fox"]}, "the answer equals its choice only without outer spaces"),
        ({"choices": ["A dog", "LakeWhich place is it, judged by what is heard?"]}, "a choice reads like a question"),
    ],
)
def test_odd_choices_are_kept_as_they_are_and_noted(tmp_path: Path, changes: dict[str, Any], note: str) -> None:
    loaded = load_mmau(tmp_path, mmau_row(**changes))
    item = only(loaded)
    assert item.choices == tuple(changes["choices"])
    assert item.gold in item.choices
    assert note in notes(loaded)


@pytest.mark.parametrize("n", [2, 5, 8])
def test_any_number_of_choices(tmp_path: Path, n: int) -> None:
    choices = [f"animal {number}" for number in range(n)]
    assert only(load_mmau(tmp_path, mmau_row(choices=choices, answer=choices[-1]))).choices == tuple(choices)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"answer": "A cat"}, "the answer 'A cat' is none of the choices; give a choice's text"),
        ({"answer": "B"}, "the answer 'B' is none of the choices"),
        ({"answer": None}, "no `answer`"),
        ({"question": "  "}, "`question` is empty"),
        ({"question": 7}, "`question` is 7 and no text"),
        ({"choices": ["A dog"]}, "one choice"),
        ({"choices": ["A dog", "A dog "]}, "one choice"),
        ({"choices": None}, "no `choices`"),
        ({"choices": {"a": "A dog"}}, "`choices` is no list"),
        ({"choices": ["A dog", 5]}, "choice 2 is 5 and no text"),
        ({"choices": ["A dog", "\ud83d"]}, "choice 2 holds half of a surrogate pair"),
        ({"task": None}, "no `task`"),
        ({"category": {"a": 1}}, "`category` is neither a text nor a list"),
        ({"audio_id": None}, "no `audio_id`"),
        ({"audio_id": "../m-1.wav"}, "outside the audio root"),
        ({"audio_id": "/etc/passwd"}, "outside the audio root"),
        ({"audio_id": "a\0b.wav"}, "is not a path"),
        ({"id": None}, "no `id`"),
        ({"id": True}, "`id` is true and no text"),
    ],
)
def test_an_unusable_row_is_a_fault_with_its_place(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    loaded = load_mmau(tmp_path, mmau_row(id="good"), mmau_row(**changes))
    assert [item.id for item in loaded.items] == ["good"]
    (fault,) = loaded.faults
    assert (fault.file, fault.line) == (str(tmp_path / "mmau-test-mini.json"), 2)
    assert said in fault.reason


def test_a_second_use_of_an_id_is_a_fault(tmp_path: Path) -> None:
    loaded = load_mmau(tmp_path, mmau_row(), mmau_row(question="Another?"))
    assert [item.question for item in loaded.items] == ["What barks?"]
    assert "'m-1' was given before, in line 1" in loaded.faults[0].reason


def test_a_link_may_not_lead_out_of_the_audio_root(tmp_path: Path) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    (tmp_path / "secret.wav").touch()
    (inside / "file.wav").symlink_to(tmp_path / "secret.wav")
    (inside / "folder").symlink_to(tmp_path)
    (inside / "fine.wav").symlink_to(inside / "real.wav")
    names = ["file.wav", "folder/secret.wav", "fine.wav"]
    loaded = load_mmau(inside, *(mmau_row(id=name, audio_id=name) for name in names))
    assert [item.id for item in loaded.items] == ["fine.wav"]
    assert [fault.line for fault in loaded.faults] == [1, 2]


def test_the_audio_root_can_be_given(tmp_path: Path) -> None:
    clips = tmp_path / "elsewhere"
    clips.mkdir()
    (clips / "x.wav").touch()
    (tmp_path / "file.json").write_text(json.dumps([mmau_row(audio_id="x.wav")]))
    loaded = load_benchmark("mmau", tmp_path / "file.json", clips)
    assert (loaded.audio_root, missing_audio(loaded)) == (clips, ())
    with pytest.raises(DataError, match="is no folder"):
        load_benchmark("mmau", tmp_path / "file.json", tmp_path / "nowhere")


# --- MMAR ------------------------------------------------------------------------------------------------------------


def test_mmar_row_without_what_gives_the_answer_away(tmp_path: Path) -> None:
    loaded = load_mmar(tmp_path, mmar_row())
    item = only(loaded)
    assert item.groups == (
        *(("modality", "mix-sound-music"), ("category", "Signal Layer"), ("sub-category", "Music Theory")),
    )
    assert item.audio_type is None
    assert "SECRET" not in repr(item)
    assert loaded.notes == ()


def test_mmar_oddities(tmp_path: Path) -> None:
    rows = [
        mmar_row(id="-dash", audio_path="./audio/-dash.wav", language="zh|en|ja|ko"),
        mmar_row(choices=["C", "D", ""], audio_path="./audio/r-1_combined.wav"),
        mmar_row(id="e", audio_path="./audio/e.wav", choices=["👩‍👩‍👧", "👨‍👧"], answer="👨‍👧"),
    ]
    loaded = load_mmar(tmp_path, *rows)
    assert loaded.faults == ()
    assert [item.id for item in loaded.items] == ["-dash", "r-1", "e"]
    assert dict(loaded.items[0].groups)["language"] == "zh|en|ja|ko"
    assert loaded.items[1].choices == ("C", "D", "")
    assert loaded.items[1].audio == "./audio/r-1_combined.wav"
    assert loaded.items[2].gold == "👨‍👧"
    assert notes(loaded) == ["the id is not the clip's name", "a choice is empty"]


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "hint"),
    [("mmau", "mmau-test-mini.json"), ("mmar", "MMAR-meta.jsonl"), ("sakura", "data/Animal"), ("synth", "data synth")],
)
def test_a_named_benchmark_needs_its_data(name: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{name} needs its data") as error:
        load_benchmark(name)
    assert hint in str(error.value.hint)
    with pytest.raises(DataError, match="does not exist"):
        load_benchmark(name, tmp_path / "nowhere")


def test_a_misspelt_name() -> None:
    with pytest.raises(UsageError, match="no benchmark is called 'mmua'") as error:
        load_benchmark("mmua")
    assert str(error.value.hint).startswith("did you mean mmau?")
