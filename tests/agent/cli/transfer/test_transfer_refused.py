"""`lalm-agent transfer` where it cannot go on: one clear line, exit 2, and what was done stays."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.training.lora.adapter import CONFIG
from lalm_agent.training.transfer.design import Arm, Job, StudyFolder

FIRST = Job("sound", Arm.KN, 0)


def refused(place: Any, said: Any, *more: str, **given: Any) -> str:
    """The error line; exit 2, and one hint behind it."""
    said()
    assert place.transfer("--jobs", "1", "--forgetting", "0", *more, **given) == 2
    lines = said()[1].splitlines()
    assert [line.split(":")[0] for line in lines[-2:]] == ["error", "try"]
    assert sum(line.startswith("error: ") for line in lines) == 1
    assert isinstance(lines[-2], str)
    return lines[-2]


def change(path: Path, how: Any) -> None:
    """Change the lines of a file of JSON lines."""
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    path.write_text("".join(f"{json.dumps(line | how(line))}\n" for line in lines), "utf-8")


@pytest.mark.parametrize(
    ("modality", "reply", "message"), [("music", "cow", "questions are IDK"), ("speech", None, "are kept")]
)
def test_a_source_of_one_class_is_refused(
    modality: str, reply: str | None, message: str, study_place: Any, said: Any
) -> None:
    bank = study_place.path / "bank"
    gold = {line["id"]: line["gold"] for line in map(json.loads, (bank / "items.jsonl").read_text().splitlines())}

    def answered(line: dict[str, Any]) -> dict[str, Any]:
        return {"reply": reply or gold[line["id"]]} if line["id"].startswith(modality) else {}

    change(bank / "answers.jsonl", answered)
    line = refused(study_place, said)
    assert line.startswith(f"error: {modality}: ")
    assert message in line
    assert not study_place.out.exists()


def test_a_loss_that_is_no_number_names_the_adapter_and_keeps_the_rest(study_place: Any, said: Any) -> None:
    # A rate that throws the weights out of float32's range after the first step.
    line = refused(study_place, said, "--learning-rate", "1e30", "--max-steps", "3")
    assert f"error: {FIRST.name}: " in line
    assert "is no finite number" in line
    folder = StudyFolder(study_place.out)
    assert len((folder.run(None) / "answers.jsonl").read_text("utf-8").splitlines()) == 12
    assert not (folder.adapter(FIRST) / CONFIG).exists()
    assert not folder.run(FIRST).exists()
    assert not folder.report.exists()


def _full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_one_line_and_what_was_done_stays(study_place: Any, said: Any) -> None:

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lalm_agent.training.lora.adapter.write_whole", _full)
        assert "cannot be written: No space left on device" in refused(study_place, said)
    done = study_place.files()
    folder = StudyFolder(study_place.out)
    assert not (folder.adapter(FIRST) / CONFIG).exists()
    # It goes on, and the next full disk is met in the first adapter's run.
    write, answers = os.write, list[bytes]()

    def full_from_the_third(file: int, data: bytes) -> int:
        if b'"audio_sha256"' in data:
            answers.append(data)
        if len(answers) >= 3:
            _full()
        return write(file, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", full_from_the_third)
        assert f"error: {FIRST.name}: " in refused(study_place, said)
    assert (folder.adapter(FIRST) / CONFIG).is_file()
    assert len((folder.run(FIRST) / "answers.jsonl").read_text("utf-8").splitlines()) == 2
    baseline = {path: when for path, when in done.items() if path.startswith(str(folder.run(None)))}
    assert baseline
    assert baseline.items() <= study_place.files().items()
