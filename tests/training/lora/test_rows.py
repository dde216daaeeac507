"""Rows are read strictly: what is wrong with one is said with its file and line."""

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile

from lalm_agent.errors import DataError
from lalm_agent.training.lora.data import check_clips, class_counts, read_rows


def test_rows_are_read_as_they_are_written(make_rows: Any) -> None:
    rows = read_rows(make_rows(4, extra_key={"kept": "out"}))
    assert [row.target for row in rows.rows] == ["IDK", "dog", "IDK", "cat"]
    assert (rows.idk, len(rows.clips), rows.rows[2].line) == (2, 4, 3)
    assert class_counts(rows.rows) == "2 IDK, 2 answers (sound 2 + 2)"
    assert check_clips(rows) == pytest.approx(4 * 0.6)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"target": " "}, "target"),
        ({"target": 3}, "target"),
        ({"audio_sha256": None}, "audio_sha256"),
        ({"audio_sha256": "abc"}, "audio_sha256"),
        ({"choices": ["dog"]}, "choices"),
        ({"choices": "dog cat"}, "choices"),
        ({"is_idk": "yes"}, "is_idk"),
        ({"method": "mcot"}, "method"),
        ({"audio_type": "noise"}, "audio_type"),
        ({"question": ""}, "question"),
    ],
)
def test_a_faulty_row_is_named_by_file_and_line(make_rows: Any, changes: dict[str, Any], named: str) -> None:
    path = make_rows(3)
    lines = path.read_text().splitlines()
    lines[1] = json.dumps({**json.loads(lines[1]), **changes})
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError) as error:
        read_rows(path)
    assert error.value.message.startswith(f"{path}:2: {named}: ")
    assert "\n" not in error.value.message


@pytest.mark.parametrize("line", ["{", "[]", "nonsense", "[" * 100_000])
def test_a_line_that_is_no_object_is_named(make_rows: Any, line: str) -> None:
    path = make_rows(2)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DataError, match=r"idk\.jsonl:3: not "):
        read_rows(path)


def test_an_empty_or_missing_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(DataError, match="holds no rows"):
        read_rows(tmp_path / "empty.jsonl")
    with pytest.raises(DataError, match="cannot be read"):
        read_rows(tmp_path / "nothing.jsonl")


@pytest.mark.parametrize(("idk", "kind"), [(True, "a refusal"), (False, "an answer")])
def test_one_class_is_refused_unless_it_is_meant(make_rows: Any, idk: bool, kind: str) -> None:
    path = make_rows(2, is_idk=idk)
    with pytest.raises(DataError, match=f"has one class: each of its 2 targets is {kind}"):
        read_rows(path)
    assert len(read_rows(path, allow_one_class=True).rows) == 2


def test_another_recording_under_the_same_name_is_refused(make_rows: Any) -> None:
    path = make_rows(2)
    samples, rate = soundfile.read(path.parent / "1.wav")
    soundfile.write(path.parent / "1.wav", samples[:-1], rate)
    with pytest.raises(DataError, match=r"idk\.jsonl:2: 1\.wav is another recording"):
        check_clips(read_rows(path))


def test_a_missing_clip_is_named_by_its_row(make_rows: Any) -> None:
    path = make_rows(2)
    (path.parent / "0.wav").unlink()
    with pytest.raises(DataError, match=r"idk\.jsonl:1: .*0\.wav does not exist"):
        check_clips(read_rows(path))


def test_relative_clips_are_found_under_another_root(make_rows: Any, tmp_path: Path) -> None:
    path = make_rows(2)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = elsewhere / path.name
    path.rename(moved)
    with pytest.raises(DataError, match="does not exist"):
        check_clips(read_rows(moved))
    assert check_clips(read_rows(moved, root=tmp_path)) > 0
