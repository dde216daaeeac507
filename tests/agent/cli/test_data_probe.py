"""`lalm-agent data probe`: a folder that `eval` reads as it is."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lalm_agent.cli.main import run
from lalm_agent.eval.benchmarks import load_benchmark, missing_audio

Said = Callable[[], tuple[str, str]]
TEXTS = (
    ("sound", "Which animal is it?", ["cat", "dog", "cow", "pig"]),
    ("speech", "What is his job?", ["cook", "judge", "nurse", "guard"]),
)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder, rows = tmp_path / "data", list[dict[str, Any]]()
    (folder / "clips").mkdir(parents=True)
    for n in range(20):
        modality, question, choices = TEXTS[n % 2]
        audio = f"clips/{n}.wav"
        samples = np.random.default_rng(n).uniform(-0.5, 0.5, (800 + n, 2))
        soundfile.write(folder / audio, samples, 8000)
        row = {"id": f"q{n}", "audio": audio, "question": question, "choices": choices}
        rows.append({**row, "answer": choices[n // 2 % 4], "modality": modality, "difficulty": "easy"})
    (folder / "own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder / "own.jsonl"


def test_the_folder_is_read_without_further_flags(own: Path, tmp_path: Path, said: Said) -> None:
    out = tmp_path / "probes"
    assert run(["data", "probe", str(own), "--n", "3", "--out", str(out)]) == 0
    lines = said()[0].splitlines()
    assert [line.split()[0] for line in lines[2:8]] == [
        "gold_removed", "choices_swapped", "clip_swapped", "silenced", "wrong_modality", "total"
    ]  # fmt: skip
    assert lines[-1] == f"{out / 'questions.jsonl'}: 30 questions"
    benchmark = load_benchmark(str(out / "questions.jsonl"))
    assert (benchmark.faults, benchmark.notes, missing_audio(benchmark)) == ((), (), ())
    for probe, source in zip(benchmark.items[::2], benchmark.items[1::2], strict=True):
        groups, of_source = dict(probe.groups), dict(source.groups)
        assert (probe.answerable, source.answerable) == (False, True)
        assert probe.id == f"{source.id}#{groups['family']}"
        assert groups["family"] == of_source["family"]
        assert groups["difficulty"] == "easy"
        assert (out / source.audio).samefile(own.parent / "clips" / Path(source.audio).name)
        if groups["family"] == "silenced":
            (samples, rate), whole = soundfile.read(out / probe.audio), soundfile.info(out / source.audio)
            assert (samples.shape, rate) == ((whole.frames, whole.channels), whole.samplerate)
            assert not samples.any()
    row = json.loads((out / "questions.jsonl").read_text().splitlines()[0])
    assert row["source"] == benchmark.items[1].id


def test_again_it_writes_the_same_and_other_probes_go_elsewhere(own: Path, tmp_path: Path, said: Said) -> None:
    command = ["data", "probe", str(own), "--out", str(tmp_path / "probes")]
    assert run(command) == 0
    before = (tmp_path / "probes" / "questions.jsonl").read_bytes()
    assert run(command) == 0
    assert (tmp_path / "probes" / "questions.jsonl").read_bytes() == before
    said()
    assert run([*command, "--seed", "1"]) == 2
    assert "what differs: seed" in said()[1]


def test_a_clip_is_copied_where_no_second_name_can_be_given(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    assert run(["data", "probe", str(own), "--family", "silenced", "--n", "1", "--out", str(tmp_path / "probes")]) == 0
    (clip,) = (tmp_path / "probes" / "audio" / "clips").iterdir()
    assert clip.read_bytes() == (own.parent / "clips" / clip.name).read_bytes()
    assert not clip.samefile(own.parent / "clips" / clip.name)


def test_clips_that_come_later_are_added(own: Path, tmp_path: Path) -> None:
    gone = own.parent / "clips" / "4.wav"
    data = gone.read_bytes()
    gone.unlink()
    command = ["data", "probe", str(own), "--family", "wrong_modality", "--out", str(tmp_path / "probes")]
    assert run(command) == 0
    questions = str(tmp_path / "probes" / "questions.jsonl")
    assert [fault.file for fault in missing_audio(load_benchmark(questions))] == ["audio/clips/4.wav"]
    gone.write_bytes(data)
    assert run(command) == 0
    assert missing_audio(load_benchmark(questions)) == ()


@pytest.mark.parametrize(
    ("rows", "flags", "reason"),
    [
        (None, ["--family", "silent"], "no family is called 'silent'"),
        (1, ["--family", "wrong_modality"], "wrong_modality: no question of another modality: 1"),
        (1, ["--family", "silenced", "--broken"], "0.wav"),
    ],
)
def test_what_cannot_be_made_is_said(
    own: Path, tmp_path: Path, rows: int | None, flags: list[str], reason: str, said: Said
) -> None:
    own.write_text("\n".join(own.read_text().splitlines()[:rows]))
    if "--broken" in flags:
        (own.parent / "clips" / "0.wav").write_bytes(b"no audio")
    flags = [flag for flag in flags if flag != "--broken"]
    assert run(["data", "probe", str(own), *flags, "--out", str(tmp_path / "probes")]) == 2
    assert reason in said()[1]
