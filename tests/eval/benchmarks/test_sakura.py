"""Every odd thing in SAKURA, made up."""

import csv
import json
from pathlib import Path

import pytest

from lalm_agent.errors import DataError
from lalm_agent.eval.benchmarks import load_benchmark
from lalm_agent.eval.benchmarks.sakura import split_choices
from lalm_agent.eval.items import Item

FIELDS = ("file", "attribute_label", "single_instruction", "single_answer", "multi_instruction", "multi_answer")
ANIMAL = (
    "dog1.wav",
    "dog",
    "Which   animal is it? (a) cat (b) dog (c) cow (d) hen",
    "(b) dog",
    "What would it say? (a) “Meow, I’m here” (b) “Woof”",
    " (b) “Woof”",
)


def write_track(
    folder: Path, track: str, rows: list[tuple[str, ...]], formats: tuple[str, ...] = ("csv", "json")
) -> None:
    place = folder / "data" / track
    place.mkdir(parents=True)
    if "csv" in formats:
        with (place / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([FIELDS, *rows])
    if "json" in formats:
        fields = {row[0]: dict(zip(FIELDS[1:], row[1:], strict=True)) for row in rows}
        table = {f"data/{track}/audio/{file}": {**row, "gender": "x"} for file, row in fields.items()}
        (place / "metadata.json").write_text(json.dumps(table, ensure_ascii=False, indent=4), "utf-8")


@pytest.mark.parametrize("formats", [("csv",), ("json",), ("csv", "json")])
def test_sakura_questions(tmp_path: Path, formats: tuple[str, ...]) -> None:
    write_track(tmp_path, "Animal", [ANIMAL], formats)
    loaded = load_benchmark("sakura", tmp_path)
    assert loaded.faults == ()
    groups = (("modality", "sound"), ("track", "Animal"))
    audio = "data/Animal/audio/dog1.wav"
    assert loaded.items == (
        Item(
            id="Animal/dog1.wav/single",
            audio=audio,
            question="Which   animal is it?",
            choices=("cat", "dog", "cow", "hen"),
            gold="dog",
            groups=(*groups, ("hop", "single"), ("attribute", "dog")),
        ),
        Item(
            id="Animal/dog1.wav/multi",
            audio=audio,
            question="What would it say?",
            choices=("“Meow, I’m here”", "“Woof”"),
            gold="“Woof”",
            groups=(*groups, ("hop", "multi"), ("attribute", "dog")),
        ),
    )
    assert [note.reason for note in loaded.notes] == ["several spaces in a row", "spaces around the answer"]


def test_one_file_name_in_two_tracks(tmp_path: Path) -> None:
    write_track(tmp_path, "Gender", [ANIMAL])
    write_track(tmp_path, "Language", [ANIMAL])
    loaded = load_benchmark("sakura", tmp_path)
    assert loaded.faults == ()
    assert len({item.audio for item in loaded.items}) == 2
    assert {item.modality for item in loaded.items} == {"speech"}
    assert load_benchmark("sakura", tmp_path / "data").items[0].audio == "Gender/audio/dog1.wav"


@pytest.mark.parametrize(
    ("place", "text", "said"),
    [
        (2, "Which animal?", "single-hop: the question does not split at (a), (b)"),
        (2, "(a) cat (b) dog", "single-hop: the question does not split"),
        (2, "Which? (a) cat (b) ", "single-hop: the question does not split"),
        (3, "dog", "single-hop: the answer 'dog' does not begin with its letter"),
        (5, "(a) “Woof”", "multi-hop: the answer '(a) “Woof”' is not the choice of its letter"),
        (5, "(z) “Woof”", "is not the choice of its letter"),
        (5, "", "multi-hop: `multi_answer` is empty"),
        (1, "", "`attribute_label` is empty"),
        (0, "../../../../x.wav", "outside the audio root"),
    ],
)
def test_a_bad_sakura_row(tmp_path: Path, place: int, text: str, said: str) -> None:
    row = (*ANIMAL[:place], text, *ANIMAL[place + 1 :])
    write_track(tmp_path, "Animal", [("cat1.wav", *ANIMAL[1:]), row], ("csv",))
    loaded = load_benchmark("sakura", tmp_path)
    assert len(loaded.items) + len(loaded.faults) == 4
    assert {fault.line for fault in loaded.faults} == {3}
    assert all(said in fault.reason for fault in loaded.faults)
    assert loaded.faults[0].file.endswith("metadata.csv")


def test_sakura_files_that_disagree_are_noted(tmp_path: Path) -> None:
    write_track(tmp_path, "Animal", [ANIMAL, ("only_csv.wav", *ANIMAL[1:])])
    changed = {
        "data/Animal/audio/dog1.wav": dict(zip(FIELDS[1:], ("cat", *ANIMAL[2:]), strict=True)),
        "data/Animal/audio/only_json.wav": {},
    }
    (tmp_path / "data" / "Animal" / "metadata.json").write_text(json.dumps(changed))
    loaded = load_benchmark("sakura", tmp_path)
    assert [note.reason for note in loaded.notes][:3] == [
        "metadata.json says something else; this file counts",
        "not in metadata.json",
        "only_json.wav is not in metadata.csv, and not asked about",
    ]
    assert len(loaded.items) == 4


def test_a_folder_without_tracks(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data/<Track>/metadata") as error:
        load_benchmark("sakura", tmp_path)
    assert "Animal" in str(error.value.hint)


def test_choices_may_hold_letters_in_brackets_of_their_own() -> None:
    assert split_choices("Which? (a) a note (d) (b) another") == ("Which?", ("a note (d)", "another"))
