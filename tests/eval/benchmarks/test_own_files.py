"""JSONL, JSON and CSV of one's own, and the synthetic benchmark."""

import csv
import gzip
import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.benchmarks import load_benchmark
from lalm_agent.eval.benchmarks.rows import missing_audio
from lalm_agent.eval.items import Benchmark, Item, audio_file

ROW = {"audio": "a.wav", "question": "What is it?", "choices": ["cat", "dog"], "answer": "dog"}
TABS = "audio\tquestion\tchoices\tanswer\n" + 'a.wav\tIs it 1,5 s?\t["cat", "dog"]\tdog\n' * 2
SYNTH = {
    "id": "dev-0-000001",
    "audio_id": "./audio/dev-0-000001.wav",
    "question": "Which instrument?",
    "choices": ["piano", "flute"],
    "answer": "flute",
    "dataset": "lalm-agent-synth",
    "task": "music",
    "split": "dev",
    "category": "Reasoning",
    "sub-category": "Instrumentation",
    "difficulty": "hard",
    "answerable": True,
    "seen": False,
    "skill": "instrument",
    "level": "hard",
    "seed": 1,
    "family": None,
}


def load_jsonl(folder: Path, *lines: str | dict[str, Any]) -> Benchmark:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / "own.jsonl").write_text("\n".join(texts), "utf-8")
    return load_benchmark(str(folder / "own.jsonl"))


def write_csv(path: Path, *rows: list[str]) -> str:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return str(path)


def test_the_least_that_a_row_needs(tmp_path: Path) -> None:
    loaded = load_jsonl(tmp_path, ROW, {"audio": "b.wav", "question": "What is said?", "answer": "hello"})
    assert loaded.items == (
        Item("1", "a.wav", "What is it?", ("cat", "dog"), "dog"),
        Item("2", "b.wav", "What is said?", (), "hello"),
    )
    assert (loaded.name, loaded.audio_root, loaded.faults, loaded.notes) == ("own.jsonl", tmp_path, (), ())


@pytest.mark.parametrize("key", ["audio", "audio_path", "audio_id", "file"])
def test_names_for_the_clip(tmp_path: Path, key: str) -> None:
    row = {key if name == "audio" else name: value for name, value in ROW.items()}
    assert load_jsonl(tmp_path, row).items[0].audio == "a.wav"


@pytest.mark.parametrize("key", ["content", "transcript", "caption"])
def test_names_for_the_content(tmp_path: Path, key: str) -> None:
    assert load_jsonl(tmp_path, {**ROW, key: "a dog barks"}).items[0].content == "a dog barks"


def test_groups(tmp_path: Path) -> None:
    more = {"task": "Speech", "sub_category": "x", "difficulty": "easy", "hop": 2, "seen": True, "category": ""}
    item = load_jsonl(tmp_path, {**ROW, **more, "language": ["en", "zh"]}).items[0]
    assert dict(item.groups) == {
        "modality": "speech",
        "difficulty": "easy",
        "sub-category": "x",
        "language": "en|zh",
        "hop": "2",
        "seen": "true",
    }
    assert item.audio_type == "speech"


def test_a_key_that_means_nothing_is_noted_once(tmp_path: Path) -> None:
    loaded = load_jsonl(tmp_path, ROW, {**ROW, "difficlty": "easy"}, {**ROW, "difficlty": "hard"})
    (note,) = loaded.notes
    assert (note.line, note.reason) == (2, "keys that mean nothing here: difficlty")


def test_unanswerable_questions(tmp_path: Path) -> None:
    rows = [{**ROW, "answer": answer, "answerable": False} for answer in (None, "")]
    loaded = load_jsonl(tmp_path, *rows, {**ROW, "answerable": True})
    assert [item.gold for item in loaded.items] == [None, None, "dog"]
    assert dict(loaded.items[0].groups) == {"answerable": "false"}
    refused = load_jsonl(tmp_path, {**ROW, "answerable": False}, {**ROW, "answer": ""}, {**ROW, "answerable": "maybe"})
    assert [fault.reason.split(";")[0] for fault in refused.faults] == [
        "`answerable` is false, and there is an answer",
        "no `answer`",
        "`answerable` is 'maybe'",
    ]


def test_bad_lines_keep_their_numbers(tmp_path: Path) -> None:
    loaded = load_jsonl(
        tmp_path, ROW, "", "{", '["a"]', '{"id": 1, "id": 2}', {**ROW, "id": "x"}, "7" * 5000, {**ROW, "id": 9}
    )
    assert [item.id for item in loaded.items] == ["1", "x", "9"]
    assert [(fault.line, fault.reason[:30]) for fault in loaded.faults] == [
        (3, "not JSON: Expecting property n"),
        (4, "a question is a JSON object, a"),
        (5, "the key 'id' is given twice; k"),
        (7, "not JSON that can be read: Exc"),
    ]


def test_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    line = json.dumps(ROW).encode()
    (tmp_path / "x.jsonl").write_bytes(b"\xef\xbb\xbf" + line + b"\r\n" + line.replace(b"cat", b"c\xe9t") + b"\n")
    loaded = load_benchmark(str(tmp_path / "x.jsonl"))
    assert [item.id for item in loaded.items] == ["1"]
    assert [(fault.line, fault.reason) for fault in loaded.faults] == [(2, "not UTF-8; save the file as UTF-8")]
    (tmp_path / "x.json").write_bytes(b"[\n" + line.replace(b"cat", b"c\xe9t") + b"]")
    with pytest.raises(DataError, match=r"x.json:2 is not UTF-8"):
        load_benchmark(str(tmp_path / "x.json"))


def test_a_unicode_line_separator_ends_no_line(tmp_path: Path) -> None:
    loaded = load_jsonl(tmp_path, json.dumps({**ROW, "question": "a\u2028b\x85c"}, ensure_ascii=False))
    assert loaded.items[0].question == "a\u2028b\x85c"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("x.json", "{", "x.json: not JSON: .* line 1, column 2"),
        ("x.json", '{"a": 1}', "holds no JSON list"),
        ("x.json", "[]", "holds no questions"),
        ("x.jsonl", "\n \n", "is empty"),
        ("x.csv", "a,a\n1,2\n", "a column twice"),
        ("x.csv", "audio,question\n", "holds no questions"),
        ("x.csv", 'audio,question\na,"b\n', r"x.csv:\d+: "),
    ],
)
def test_a_file_that_cannot_be_read_at_all(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=said) as error:
        load_benchmark(str(tmp_path / name))
    assert error.value.hint


def test_csv(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path / "own.csv",
        ["id", "audio", "question", "choices", "answer", "modality", "answerable", "transcript"],
        ["q1", "a.wav", "What is\nit?", '["cat, black", "dog"]', "dog", "sound", "", "woof"],
        ["", "b.wav", "Open?", "", "yes", "", "true", ""],
        ["q3", "b.wav", "None?", '["cat", "dog"]', "", "", "false", ""],
        ["q4", "b.wav", "Bad?", "cat|dog", "cat", "", "", ""],
        ["q5", "b.wav", "Short?"],
    )
    loaded = load_benchmark(path)
    first, second, third = loaded.items
    assert first == Item(
        "q1", "a.wav", "What is\nit?", ("cat, black", "dog"), "dog", (("modality", "sound"),), content="woof"
    )
    assert (second.id, second.choices, second.gold, second.content) == ("4", (), "yes", None)
    assert third.gold is None
    assert [(fault.line, fault.reason.split(";")[0]) for fault in loaded.faults] == [
        (6, "`choices` is no JSON list"),
        (7, "3 cells, and the header has 8"),
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("own.json", '{"audio": "a.wav", "question": "Q?", "choices": ["cat", "dog"], "answer": "dog"}\n' * 2),
        ("own.jsonl", json.dumps([ROW, ROW])),
        ("own.jsonl", json.dumps([ROW, ROW], indent=2)),
        ("own.json", json.dumps({"data": [ROW, ROW]})),
        ("own.csv", TABS.replace("\t", ";")),
        ("own.csv", TABS.replace("\t", ";").replace('"', "'")),
        ("own.csv", TABS),
        ("own.tsv", TABS),
        ("own.csv", TABS.replace('["cat", "dog"]', "cat; dog")),
        ("own.csv", TABS.replace("\t", "|")),
        ("own.csv", "sep=;\r\n" + TABS.replace("\t", ";")),
        ("own.json", TABS),
        ("own.jsonl", TABS.replace("\t", ";")),
        ("own.csv", json.dumps([ROW, ROW])),
        ("own.tsv", "\n".join([json.dumps(ROW)] * 2)),
        ("own.csv", TABS.replace("\t", ",").replace("1,5", "1.5").replace('["cat", "dog"]', "(A) cat;(B) dog")),
    ],
)
def test_the_bytes_decide_where_the_suffix_is_at_odds_with_them(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, "utf-8")
    loaded = load_benchmark(str(tmp_path / name))
    assert loaded.faults == ()
    assert [(item.choices, item.gold) for item in loaded.items] == [(("cat", "dog"), "dog")] * 2


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv"])
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (gzip.compress(json.dumps([ROW]).encode(), mtime=0), "packed by gzip"),
        (b"PAR1" + bytes(60), "a Parquet file"),
        (b"PK\3\4" + bytes(60), "a zip archive"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4\nsize 9\n", "a pointer to a large file"),
        (b"\n<!DOCTYPE html>\n<html><body>404</body></html>", "a page of HTML"),
        (json.dumps([ROW]).encode("utf-16"), "in UTF-16"),
    ],
)
def test_a_file_of_another_kind_is_called_what_it_is(tmp_path: Path, suffix: str, data: bytes, said: str) -> None:
    (tmp_path / f"own.{suffix}").write_bytes(data)
    with pytest.raises(DataError, match=said) as caught:
        load_benchmark(str(tmp_path / f"own.{suffix}"))
    assert caught.value.hint != "mend it"


def test_a_cell_too_many_names_the_separator(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("audio;question;answer\na.wav;Q;x;dog\n", "utf-8")
    (fault,) = load_benchmark(str(tmp_path / "own.csv")).faults
    assert "quote cells that hold semicolons" in fault.reason


@pytest.mark.parametrize("answer", ["(B) dog", "dog", "B", "(B)"])
def test_labelled_choices_are_read_without_their_labels_and_noted(tmp_path: Path, answer: str) -> None:
    loaded = load_jsonl(tmp_path, {**ROW, "choices": ["(A) cat", "(B) dog"], "answer": answer})
    (item,) = loaded.items
    assert (item.choices, item.gold) == (("cat", "dog"), "dog")
    assert [note.reason for note in loaded.notes] == ["the choices carry labels, which are left out"]


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_clip_whose_name_is_in_another_unicode_form_is_there(tmp_path: Path, forms: tuple[str, str]) -> None:
    on_disk, in_data = (unicodedata.normalize(form, "caf\u00e9/\u00fcber.wav") for form in forms)
    clip = tmp_path / on_disk
    clip.parent.mkdir()
    clip.write_bytes(b"x")
    loaded = load_jsonl(tmp_path, {**ROW, "audio": in_data}, {**ROW, "audio": "\u00e9.wav"})
    assert [fault.file for fault in missing_audio(loaded)] == ["\u00e9.wav"]
    assert audio_file(tmp_path, in_data) == clip.resolve()


def test_a_link_out_of_the_root_is_refused_in_any_unicode_form(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "secret.wav").write_bytes(b"x")
    (tmp_path / "root" / "e\u0301.wav").symlink_to(tmp_path / "secret.wav")
    with pytest.raises(DataError, match="outside the audio root"):
        audio_file(tmp_path / "root", "\u00e9.wav")


def test_the_suffix_decides(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(UsageError, match=r"no .jsonl, .json, .csv, .tsv, .xlsx file"):
        load_benchmark(str(tmp_path / "x.txt"))
    with pytest.raises(DataError, match="does not exist"):
        load_benchmark(str(tmp_path / "x.jsonl"))
    with pytest.raises(UsageError, match="is itself the data"):
        load_benchmark(str(tmp_path / "x.jsonl"), tmp_path)


def test_synth(tmp_path: Path) -> None:
    unknown = {**SYNTH, "id": "dev-0-2", "answer": None, "answerable": False, "family": "silence", "content": "nothing"}
    (tmp_path / "questions.json").write_text(json.dumps([SYNTH, unknown, {**SYNTH, "id": "3", "answerable": None}]))
    loaded = load_benchmark("synth", tmp_path)
    first, second = loaded.items
    assert dict(first.groups) == {
        "modality": "music",
        "difficulty": "hard",
        "category": "Reasoning",
        "sub-category": "Instrumentation",
        "dataset": "lalm-agent-synth",
        "answerable": "true",
        "seen": "false",
        "skill": "instrument",
        "level": "hard",
    }
    assert (second.gold, second.answerable, second.content) == (None, False, "nothing")
    assert dict(second.groups)["family"] == "silence"
    assert [fault.reason for fault in loaded.faults] == ["no `answerable`; add it"]
    assert load_benchmark("synth", tmp_path / "questions.json").sha256 == loaded.sha256
