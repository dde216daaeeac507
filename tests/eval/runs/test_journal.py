"""Append-only JSON lines: a kill at any byte, a full disk, a Ctrl-C."""

import errno
import os
from pathlib import Path

import pytest

from lalm_agent.errors import DataError
from lalm_agent.eval import journal
from lalm_agent.eval.journal import Journal, StorageError, read_lines, write_whole

LINES = [{"id": "a", "text": "猫\n\"quoted\""}, {"id": "b", "n": 1}, {"id": "c", "text": None}]


def written(path: Path, lines: list[dict[str, object]]) -> bytes:
    with Journal(path) as log:
        for line in lines:
            log.append(line)
    return path.read_bytes()


def test_a_file_torn_at_any_byte_keeps_its_complete_lines_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    whole = written(path, LINES)
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        complete = whole[:cut].count(b"\n")
        assert read_lines(path) == LINES[:complete]
        assert path.read_bytes() == whole[:cut], "a reader changes nothing"
        assert written(path, LINES[complete:]) == whole


@pytest.mark.parametrize("tail", [b"\0\0\0\0", b"\0\0\n", b"{}x\n\0\0\n", b'"text"\n', b"\xff\xfe\n"])
def test_the_rubbish_that_a_power_cut_leaves_at_the_end_is_cut_off(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "log.jsonl"
    whole = written(path, LINES[:2])
    path.write_bytes(whole + tail)
    assert read_lines(path) == LINES[:2]
    assert written(path, LINES[2:]).startswith(whole)
    assert read_lines(path) == LINES


def test_damage_before_the_end_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    whole = written(path, LINES)
    path.write_bytes(whole.replace(b'"id": "b"', b'"id": b'))
    with pytest.raises(DataError, match=r"log\.jsonl:2 is not a JSON object"):
        read_lines(path)


def test_a_text_that_utf_8_cannot_hold_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    written(path, [{"text": "\ud83d alone"}, {"text": "é"}])
    assert [line["text"] for line in read_lines(path)] == ["\ud83d alone", "é"]


@pytest.mark.parametrize("written_bytes", [0, 1, 7])
def test_a_full_disk_leaves_complete_lines_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written_bytes: int
) -> None:
    path = tmp_path / "log.jsonl"
    real = os.write

    def full(file: int, data: bytes) -> int:
        if b'"c"' in data:
            real(file, data[:written_bytes])
        if b'"b"' in data or b'"a"' in data:
            return real(file, data)
        raise OSError(errno.ENOSPC, "No space left on device")

    with Journal(path) as log:
        log.append(LINES[0])
        log.append(LINES[1])
        monkeypatch.setattr(journal.os, "write", full)
        with pytest.raises(StorageError, match="No space left on device") as refused:
            log.append(LINES[2])
        assert refused.value.exit_code == 2
        assert read_lines(path) == LINES[:2]
        monkeypatch.setattr(journal.os, "write", real)
        log.append(LINES[2])
    assert read_lines(path) == LINES
    assert path.read_bytes().count(b"\n") == 3


def test_a_ctrl_c_between_two_writes_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.jsonl"
    real = os.write
    with Journal(path) as log:
        log.append(LINES[0])

        def interrupted(file: int, data: bytes) -> int:
            real(file, data[:5])
            raise KeyboardInterrupt

        monkeypatch.setattr(journal.os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            log.append(LINES[1])
    assert path.read_bytes().endswith(b"}\n")
    assert read_lines(path) == LINES[:1]


def test_a_small_write_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(journal.os, "write", lambda file, data: real(file, data[:3]))
    written(tmp_path / "log.jsonl", LINES)
    assert read_lines(tmp_path / "log.jsonl") == LINES


def test_a_whole_file_stays_in_its_old_form_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "spec.json"
    write_whole(path, b"old")

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(journal.os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["spec.json"]
