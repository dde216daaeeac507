"""A model that names its pretraining clips: no evaluation, bank, set or training with them, and nothing is lost."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.audio import load
from lalm_agent.cli.main import run
from lalm_agent.models.pretrained_clips import FILE_NAME, clips_bytes, read_pretrained_clips

Said = Callable[[], tuple[str, str]]
NameClips = Callable[..., None]
MODEL = "eval_model:Hears"
USERS = ("lalm_agent.eval.runs.evaluate", "lalm_agent.training.idk.make")


def hashes_of(*clips: str) -> bytes:
    return clips_bytes(bytes.fromhex(load(clip).ref.sha256) for clip in clips)


@pytest.fixture
def name_clips(place: Any, monkeypatch: pytest.MonkeyPatch) -> NameClips:
    """The test's model was pretrained on these; a checkpoint's folder would say so."""

    def name(*clips: str) -> None:
        (place.path / FILE_NAME).write_bytes(hashes_of(*clips))
        clips = read_pretrained_clips(place.path / FILE_NAME)
        for user in USERS:
            monkeypatch.setattr(f"{user}.pretrained_clips_of", {MODEL: clips}.__getitem__)

    return name


def error_of(err: str) -> str:
    """The one error line; a hint follows."""
    lines = err.splitlines()
    assert [line.startswith("error: ") for line in lines].count(True) == 1
    assert lines[-1].startswith("try: ")
    return lines[-2]


@pytest.mark.parametrize("audio", ["real", "swap", "silence"])
def test_an_evaluation_stops_and_counts(audio: str, place: Any, name_clips: NameClips, said: Said) -> None:
    name_clips("3.wav", "7.wav")
    assert place.eval("--audio", audio) == 2
    err = said()[1]
    text = f"error: 2 of the 12 clips of the data were used in the pretraining of {MODEL}: 3.wav, 7.wav"
    assert error_of(err) == text
    assert "the same command goes on" not in err
    kept = place.path / "out" / "answers.jsonl"
    assert not kept.exists() or not {key[0][:-1] for key in place.answers()} & {"3", "7"}


def test_a_clip_that_is_heard_in_place_of_the_questions_own_is_counted(
    place: Any, name_clips: NameClips, said: Said
) -> None:
    assert place.eval("--limit", "1") == 0
    ((id_, _),) = place.answers()
    name_clips(*(path.name for path in place.path.glob("*.wav") if path.stem != id_[:-1]))
    said()
    assert place.eval("--limit", "1", "--audio", "swap", out="other") == 2
    assert "error: 1 of the 2 clips of the data were used in the pretraining" in error_of(said()[1])


def test_what_was_answered_is_kept(place: Any, name_clips: NameClips, said: Said) -> None:
    name_clips("11.wav")
    assert place.eval("--concurrency", "1") == 2
    before = place.answers()
    assert 0 < len(before) < 24
    name_clips()
    said()
    assert place.eval() == 0
    assert f"resume: {len(before)} answers are there" in said()[1]
    after = place.answers()
    assert {key: after[key] for key in before} == before


@pytest.mark.parametrize("limit", [4, 24])
def test_answers_of_before_the_list_are_refused(limit: int, place: Any, name_clips: NameClips, said: Said) -> None:
    """A run half done and a finished one; neither is asked on, and neither loses a line."""
    assert place.eval("--limit", str(limit)) == 0
    there, asks = place.answers(), len(place.asks())
    name_clips(*{f"{key[0][:-1]}.wav" for key in there})
    said()
    assert place.eval("--limit", "24") == 2
    assert f"clips of out were used in the pretraining of {MODEL}" in error_of(said()[1])
    assert place.answers() == there
    assert len(place.asks()) == asks


def test_a_bank_and_what_is_built_from_one(place: Any, name_clips: NameClips, said: Said) -> None:
    sample = ["idk", "sample", "bench.jsonl", "--model", MODEL, "--n", "2"]
    build = ["idk", "build", "bank", "--k", "1", "--out", "idk.jsonl"]
    assert run([*sample, "--out", "bank"]) == 0
    name_clips("5.wav")
    said()
    assert run([*sample, "--out", "another"]) == 2
    assert "1 of the 12 clips of the data" in error_of(said()[1])
    assert run(build) == 2
    assert error_of(said()[1]).startswith(f"error: 1 of the 12 clips of bank were used in the pretraining of {MODEL}: ")
    assert not (place.path / "idk.jsonl").exists()
    name_clips()
    assert run(build) == 0


def test_a_training_is_refused_before_a_model_is_loaded(place: Any, said: Said) -> None:
    assert run(["idk", "sample", "bench.jsonl", "--model", MODEL, "--n", "2", "--out", "bank"]) == 0
    assert run(["idk", "build", "bank", "--k", "1", "--out", "idk.jsonl"]) == 0
    (place.path / "model").mkdir()
    (place.path / "model" / FILE_NAME).write_bytes(hashes_of("5.wav", "6.wav"))
    train = ["train", "--data", "idk.jsonl", "--model", "model", "--out", "adapter"]
    for more in ([], ["--dry-run"]):
        said()
        assert run([*train, *more]) == 2
        assert error_of(said()[1]).startswith("error: 2 of the 12 clips of idk.jsonl were used in the pretraining of ")
    assert not (place.path / "adapter").exists()


def test_a_checkpoint_s_own_list(place: Any, tiny_checkpoint: Path, said: Said) -> None:
    shutil.copytree(tiny_checkpoint, place.path / "model")
    (place.path / "model" / FILE_NAME).write_bytes(clips_bytes([bytes(32), b"\xff" * 32]))
    given = ("--limit", "2", "--max-new-tokens", "2", "--device", "cpu")
    assert place.eval(*given, model="model") == 0
    (place.path / "model" / FILE_NAME).write_bytes(hashes_of("3.wav"))
    said()
    assert place.eval("--max-new-tokens", "2", "--device", "cpu", model="model", out="whole") == 2
    assert "1 of the 12 clips of the data were used in the pretraining of model: 3.wav" in error_of(said()[1])
