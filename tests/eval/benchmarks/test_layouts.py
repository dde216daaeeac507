"""A made-up file for each benchmark of the table, in the shape in which it is published."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lalm_agent.cli import flags
from lalm_agent.cli.main import run
from lalm_agent.eval.benchmarks import NAMES, load_benchmark, missing_audio
from lalm_agent.eval.benchmarks.hub import clip_folder
from lalm_agent.eval.items import Benchmark, Item
from lalm_agent.eval.scorers import ASKING, SCORERS
from lalm_agent.eval.scorers.making import EMBEDDING

Row = dict[str, Any]
MMSU: Row = {
    "id": "emotion_1",
    "task_name": "emotion_recognition",
    "question": "How does the speaker feel?",
    "choice_a": "glad",
    "choice_b": "sad",
    "choice_c": "",
    "choice_d": None,
    "answer_gt": "sad",
    "category": "Perception",
    "sub-category": "Paralinguistics",
    "sub-sub-category": "Speaking style",
    "linguistics_sub_discipline": "Emotion",
}
PRO: Row = {
    "id": "p-1",
    "audio_path": ["data/a.wav", "data/b.wav"],
    "question": "Which of the two is louder?",
    "answer": "the second",
    "choices": ["the first", "the second", "neither"],
    "length_type": "short",
    "perceptual_skills": ["Loudness"],
    "reasoning_skills": ["Comparison", "Counting"],
    "category": "multi",
    "transcription": None,
    "task_classification": None,
    "task_identifier": None,
    "kwargs": None,
    "sub-cat": None,
}
OPEN: Row = PRO | {
    "id": "p-2",
    "audio_path": ["data/c.wav"],
    "answer": "A dog and a bell",
    "choices": [],
    "category": "open",
}
FOLLOW: Row = OPEN | {
    "id": "p-3",
    "answer": None,
    "category": "instruction following",
    "task_identifier": "Number Words (at most)",
    "kwargs": {"N": 3, "keywords": None},
}
ADQA: Row = {
    "id": "7",
    "audio_path": "dev_audios/7.wav",
    "question_text": "What rings?",
    "multi_choice": ["a bell", "a phone", "an alarm"],
    "answer": "a phone",
    "source_dataset": "made-up",
    "question_type": "sound",
}
AIR: Row = {
    "path": "x1.wav",
    "question": "When does the dog bark?",
    "choice_a": "0.0 to 1.0",
    "choice_b": "2.0 to 3.0",
    "answer_gt": "2.0 to 3.0",
    "task_name": "Audio_Grounding",
    "dataset_name": "AudioGrounding",
    "uniq_id": 12,
}
SPOKEN = "What does a sundial need?\nA. wind\nB. light\nC. rain\nD. dust\nPlease answer with one of A, B, C and D."


def aqua(number: int, family: str, last: str, answer: str) -> Row:
    options = ["Hen", "Cow", last]
    question = (
        f"Which animal is heard? {' '.join(f'({a}) {o}' for a, o in zip('abc', options, strict=True))}\nPick one."
    )
    clip = "/data/someone/ESC-50-master/audio_16k/5-1-A-0.wav"
    return {
        "id": number,
        "type": family,
        "question": question,
        "options": options,
        "answer": answer,
        "audio_filename": clip,
    }


AQUA = [aqua(0, "Solvable", "Dog", "Dog"), aqua(1, "AAD", "None of the above", "None of the above")]


def wav(seed: int = 0) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(seed).standard_normal(400) / 10, 8000, format="WAV")
    return file.getvalue()


def jsonl(rows: list[Row], path: Path) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return path


def parquet(rows: list[Row], path: Path) -> Path:
    datasets = pytest.importorskip("datasets")
    path.parent.mkdir(exist_ok=True, parents=True)
    datasets.Dataset.from_list(rows).to_parquet(path)
    return path


def items(benchmark: Benchmark) -> tuple[Item, ...]:
    assert benchmark.faults == ()
    assert [note.reason for note in benchmark.notes if "mean nothing" in note.reason] == []
    return benchmark.items


def test_mmsu_as_rows_of_its_script_and_as_parquet_of_the_hub_with_its_audio(tmp_path: Path) -> None:
    (item,) = items(load_benchmark("mmsu", jsonl([MMSU | {"audio_path": "a.wav"}], tmp_path / "out.jsonl")))
    assert (item.choices, item.gold, item.modality) == (("glad", "sad"), "sad", "speech")
    assert dict(item.groups)["discipline"] == "Emotion"
    folder = parquet([MMSU | {"audio": {"bytes": wav(), "path": "a.wav"}}], tmp_path / "hub" / "train-0.parquet").parent
    for ref, data in (("mmsu", folder), (f"hf:{folder}", None)):
        loaded = load_benchmark(ref, data)
        (same,) = items(loaded)
        assert (same.choices, same.gold, same.groups) == (item.choices, item.gold, item.groups)
        assert loaded.audio_root == clip_folder()
        assert missing_audio(loaded) == ()


def test_mmau_pro_with_several_clips_open_questions_and_instructions(tmp_path: Path) -> None:
    loaded = load_benchmark("mmau-pro", parquet([PRO, OPEN, FOLLOW], tmp_path / "test.parquet").parent)
    several, free, follows = items(loaded)
    assert several.audios == ("data/a.wav", "data/b.wav")
    assert (several.gold, several.choices[0], several.modality) == ("the second", "the first", None)
    assert dict(several.groups)["reasoning skills"] == "Comparison|Counting"
    assert (free.audios, free.choices, free.gold, free.constraint) == (("data/c.wav",), (), "A dog and a bell", None)
    assert (follows.gold, follows.answerable) == ("Number Words (at most)", True)
    assert json.loads(follows.constraint or "")["kwargs"]["N"] == 3
    assert {fault.file for fault in missing_audio(loaded)} == {"data/a.wav", "data/b.wav", "data/c.wav"}
    assert load_benchmark("mmau-pro", tmp_path / "test.parquet").sha256 == loaded.sha256


def test_adqa_and_its_evaluation_set_without_answers(tmp_path: Path) -> None:
    (item,) = items(load_benchmark("adqa", jsonl([ADQA], tmp_path / "dev.jsonl").parent))
    assert (item.question, item.choices[1], item.gold) == ("What rings?", "a phone", "a phone")
    jsonl([{key: value for key, value in ADQA.items() if key != "answer"}], tmp_path / "eval.jsonl")
    (fault,) = load_benchmark("adqa", tmp_path / "eval.jsonl").faults
    assert "no `answer`" in fault.reason


@pytest.mark.parametrize(
    ("changes", "clip", "modality"),
    [
        ({}, "Audio_Grounding_AudioGrounding/x1.flac", "sound"),
        ({"task_name": "Sound_AQA", "dataset_name": "avqa"}, "Sound_AQA_avqa/x1.wav", "sound"),
        ({"task_name": "Music_AQA", "dataset_name": "music_avqa"}, "Music_AQA_music_avqa/x1.wav", "music"),
        (
            {"task_name": "Speaker_Emotion_Recontion", "dataset_name": "meld"},
            "Speaker_Emotion_Recontion_meld/x1.wav",
            "speech",
        ),
    ],
)
def test_air_bench_names_clips_by_their_task(changes: Row, clip: str, modality: str, tmp_path: Path) -> None:
    (tmp_path / "Foundation_meta.json").write_text(json.dumps([AIR | changes]))
    (item,) = items(load_benchmark("air-bench", tmp_path))
    assert (item.id, item.audio, item.modality, item.gold) == ("12", clip, modality, "2.0 to 3.0")
    assert item.choices == ("0.0 to 1.0", "2.0 to 3.0")


def test_voicebench_shows_the_choices_and_never_the_spoken_question(tmp_path: Path) -> None:
    rows = [{"audio": {"bytes": wav(n), "path": None}, "prompt": SPOKEN, "reference": "B"} for n in range(2)]
    first, second = items(
        load_benchmark("voicebench", parquet(rows, tmp_path / "openbookqa" / "test-0.parquet").parent)
    )
    assert (first.id, second.id) == ("1", "2")
    assert (first.choices, first.gold) == (("wind", "light", "rain", "dust"), "light")
    assert "sundial" not in first.question
    assert first.content == SPOKEN
    for number, subject in enumerate(("law", "history")):
        more = {"question_id": number, "category": subject, "src": "made-up"}
        parquet([rows[number] | more], tmp_path / "mmsu" / f"{subject}-0.parquet")
    loaded = items(load_benchmark("voicebench", tmp_path / "mmsu"))
    assert {item.id for item in loaded} == {"law/0", "history/1"}


def test_aqua_has_families_and_relative_clips(tmp_path: Path) -> None:
    (tmp_path / "AQUA-Bench-Animal-Sounds-Track.json").write_text(json.dumps(AQUA))
    loaded = load_benchmark("aqua", tmp_path)
    solvable, absent = items(loaded)
    assert (solvable.id, solvable.question) == ("animal/0", "Which animal is heard?")
    assert solvable.audio == absent.audio == "ESC-50-master/audio_16k/5-1-A-0.wav"
    assert [dict(item.groups)["family"] for item in loaded.items] == ["Solvable", "AAD"]
    assert absent.gold == "None of the above"


def test_one_clip_or_several_in_a_file_of_ones_own(tmp_path: Path) -> None:
    rows = [
        {"id": name, "audio": clips, "question": "Which is louder?", "choices": ["first", "second"], "answer": "first"}
        for name, clips in (("one", "a.wav"), ("two", ["a.wav", "b.wav"]), ("out", ["a.wav", "../b.wav"]))
    ]
    loaded = load_benchmark(str(jsonl(rows, tmp_path / "own.jsonl")))
    assert [item.audios for item in loaded.items] == [("a.wav",), ("a.wav", "b.wav")]
    assert "outside the audio root" in loaded.faults[0].reason


@pytest.mark.parametrize(
    ("name", "make", "chance", "always_first"),
    [
        ("mmsu", lambda folder: jsonl([MMSU | {"audio_path": "a.wav"}], folder / "x.jsonl"), 1 / 2, 0.0),
        ("mmau-pro", lambda folder: parquet([PRO, OPEN, FOLLOW], folder / "test.parquet"), 1 / 3, 0.0),
        ("adqa", lambda folder: jsonl([ADQA], folder / "dev.jsonl"), 1 / 3, 0.0),
        ("aqua", lambda folder: jsonl(AQUA, folder / "a.jsonl"), 1 / 3, 0.0),
    ],
)
def test_data_check_says_what_guessing_scores(
    name: str,
    make: Callable[[Path], Path],
    chance: float,
    always_first: float,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["data", "check", name, "--data", str(make(tmp_path)), "--no-audio", "--json"]) == 0
    rates = json.loads(capsys.readouterr().out)["guess_rates"]["total"]
    assert (rates["chance"], rates["always_first"]) == (pytest.approx(chance), always_first)


def test_help_names_every_benchmark_and_every_scorer_without_a_model() -> None:
    assert tuple(flags.BENCHMARKS.split(", ")) == NAMES
    assert flags.SCORERS.split(", ") == [name for name in SCORERS if name not in ASKING | EMBEDDING]


@pytest.mark.parametrize(
    ("name", "row", "reason"),
    [
        ("aqua", AQUA[0] | {"audio_filename": ""}, "`clip` is empty"),
        ("aqua", AQUA[0] | {"audio_filename": "/"}, "outside the audio root"),
        ("air-bench", AIR | {"path": "/"}, "outside the audio root"),
        ("mmau-pro", FOLLOW | {"kwargs": ["N", 3]}, "`kwargs` is no object"),
        ("mmau-pro", FOLLOW | {"kwargs": "N=3"}, "`kwargs` is no object"),
        ("mmau-pro", FOLLOW | {"kwargs": {"N": "three"}}, "`kwargs` has 'three' as N"),
        ("mmau-pro", FOLLOW | {"kwargs": {"keywords": ["dog"]}}, "as keywords"),
        ("mmau-pro", FOLLOW | {"answer": "x", "task_identifier": ["Title"]}, "`task_identifier` is"),
    ],
)
def test_a_damaged_row_is_a_fault(name: str, row: Row, reason: str, tmp_path: Path) -> None:
    (fault,) = load_benchmark(name, jsonl([row], tmp_path / "x.jsonl")).faults
    assert reason in fault.reason


def test_an_instruction_without_a_rule_is_noted_and_one_with_an_empty_answer_is_read(tmp_path: Path) -> None:
    rows = [FOLLOW | {"answer": ""}, FOLLOW | {"id": "p-4", "task_identifier": "Sing"}]
    loaded = load_benchmark("mmau-pro", jsonl(rows, tmp_path / "x.jsonl"))
    assert [item.gold for item in loaded.items] == ["Number Words (at most)", "Sing"]
    assert [note.line for note in loaded.notes if "no rule is known" in note.reason] == [2]
