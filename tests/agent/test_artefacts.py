"""An artefact's folder: journals under kills and damage, records, provenance, the lock, foreign contents."""

import errno
import gzip
import json
import os
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import BaseModel, Field, field_validator

from lalm_agent import artefacts
from lalm_agent.artefacts import (
    LOCK,
    SPEC,
    Folder,
    FolderKind,
    Identity,
    Invocation,
    Journal,
    StorageError,
    now,
    read_lines,
    read_record,
    record_text,
    source_state,
    versions,
    write_whole,
)
from lalm_agent.errors import DataError, UsageError

LINES = [{"id": "a", "text": '猫\n"quoted"'}, {"id": "b", "n": 1}, {"id": "c", "text": None}]


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


@pytest.mark.parametrize(
    "tail", [b"\0\0\0\0", b"\0\0\n", b'{"id": "c"\0\0\0', b'{"id": "c"\0\0\n', b"{}x\n", '{"é'.encode()[:-1]]
)
def test_the_torn_line_that_a_power_cut_leaves_at_the_end_is_cut_off(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "log.jsonl"
    whole = written(path, LINES[:2])
    path.write_bytes(whole + tail)
    assert read_lines(path) == LINES[:2]
    assert written(path, LINES[2:]).startswith(whole)
    assert read_lines(path) == LINES


def lines_of(fields: list[dict[str, object]]) -> str:
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in fields)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.decode().encode("utf-16"),
        lambda data: data.decode().encode("utf-16-le"),
        lambda data: data.decode().encode("utf-32"),
        lambda data: b"\xef\xbb\xbf" + data,
        gzip.compress,
        lambda data: zlib.compress(data, 0),
        lambda data: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
        lambda data: b"/annex/objects/SHA256E-s9--00\n",
        lambda data: b"<html>not found</html>",
        lambda data: data + b"\0\0\n\0\0\n",
        lambda data: data + b'{"id": \n{"id',
        lambda data: data + b'"text"\n',
        lambda data: data + b"\xff\xfe\n",
        lambda data: data + b"[" * 100_000 + b"\n",
    ],
)
def test_anything_but_whole_lines_and_one_torn_one_is_refused_and_left_alone(
    tmp_path: Path, damage: Callable[[bytes], bytes], count: int
) -> None:
    path = tmp_path / "log.jsonl"
    damaged = damage(lines_of(LINES[:count]).encode())
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=r"log\.jsonl:\d+ is not a JSON object") as refused:
        read_lines(path)
    assert "\n" not in f"{refused.value.message}{refused.value.hint}"
    with pytest.raises(DataError):
        Journal(path)
    assert path.read_bytes() == damaged


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"")
    for name in ("log.jsonl", "spec.json.new"):
        (tmp_path / name).symlink_to(outside)
    with pytest.raises(StorageError, match="is a symbolic link"):
        Journal(tmp_path / "log.jsonl")
    with pytest.raises(StorageError):
        write_whole(tmp_path / "spec.json", b"new")
    assert outside.read_bytes() == b""


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
        monkeypatch.setattr(artefacts.os, "write", full)
        with pytest.raises(StorageError, match="No space left on device") as refused:
            log.append(LINES[2])
        assert refused.value.exit_code == 2
        assert read_lines(path) == LINES[:2]
        monkeypatch.setattr(artefacts.os, "write", real)
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

        monkeypatch.setattr(artefacts.os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            log.append(LINES[1])
    assert path.read_bytes().endswith(b"}\n")
    assert read_lines(path) == LINES[:1]


def test_a_small_write_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(artefacts.os, "write", lambda file, data: real(file, data[:3]))
    written(tmp_path / "log.jsonl", LINES)
    assert read_lines(tmp_path / "log.jsonl") == LINES


def test_a_whole_file_stays_in_its_old_form_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "spec.json"
    write_whole(path, b"old")

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(artefacts.os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["spec.json"]


# --- records and provenance ------------------------------------------------------------------------------------------


class Thing(BaseModel):
    """A record."""

    schema_version: int = Field(default=2, alias="schema")
    name: str

    @field_validator("name")
    @classmethod
    def _is_no_number(cls, name: str) -> str:
        if name.isdigit():
            raise ValueError("a number is no name")
        return name


def test_what_was_written_is_read(tmp_path: Path) -> None:
    (tmp_path / "thing.json").write_text(record_text(Thing(name="é")), "utf-8")
    assert read_record(tmp_path / "thing.json", Thing, "a hint").name == "é"


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        (None, "cannot be read", "a hint"),
        ("{", "cannot be read", "a hint"),
        ("[]", "thing.json: the file: ", "a hint"),
        ('{"schema": 2}', "thing.json: name: ", "a hint"),
        ('{"schema": 2, "name": "7"}', "thing.json: name: a number is no name", "a hint"),
        ('{"schema": 3, "name": "x"}', "version 3, this program reads up to 2", "newer lalm-agent"),
    ],
)
def test_what_is_no_such_record_is_one_line_with_a_hint(tmp_path: Path, text: str | None, said: str, hint: str) -> None:
    if text is not None:
        (tmp_path / "thing.json").write_text(text, "utf-8")
    with pytest.raises(DataError) as error:
        read_record(tmp_path / "thing.json", Thing, "a hint")
    assert said in error.value.message
    assert "\n" not in error.value.message
    assert hint in (error.value.hint or "")


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_and_whether_the_source_was_changed(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("", "utf-8")
    assert source_state(package) == (None, None)
    git(tmp_path, "init", "-q")
    assert source_state(package) == (None, None), "inside a checkout, but not part of it"
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "x")
    assert source_state(package) == (git(tmp_path, "rev-parse", "HEAD"), False)
    (package / "__init__.py").write_text("changed = 1", "utf-8")
    assert source_state(package)[1] is True


def test_without_git_nothing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert source_state() == (None, None)


def test_versions_and_time() -> None:
    assert {"python", "lalm-agent", "numpy", "torch"} <= set(versions())
    assert now().endswith("+00:00")


class ThingIdentity(Identity):
    free: ClassVar[frozenset[str]] = frozenset({"much"})
    when_loaded: ClassVar[frozenset[str]] = frozenset({"weights"})

    name: str
    much: int = 1
    weights: str | None = None
    parts: dict[str, int] = Field(default_factory=dict)


def test_an_identity_names_what_differs_but_for_what_is_free() -> None:
    old = ThingIdentity(name="a", weights="x", parts={"b": 1})
    new = ThingIdentity(name="c", much=5, parts={"b": 2, "d": 3})
    assert old.changes(new) == [
        "name: a in the run, c now",
        "weights: x in the run, none now",
        "parts.b: 1 in the run, 2 now",
        "parts.d: none in the run, 3 now",
    ]
    assert [line.split(":")[0] for line in old.changes(new, loaded=False)] == ["name", "parts.b", "parts.d"]
    assert old.short_hash == old.model_copy(update={"much": 7}).short_hash != new.short_hash


def test_an_invocation_says_when_how_and_with_which_versions() -> None:
    call = Invocation.starting(("lalm-agent", "eval"), packages=("pytest", "no-such-package"))
    assert call.command == ("lalm-agent", "eval")
    assert call.started.endswith("+00:00")
    assert call.versions["pytest"] == pytest.__version__
    assert "no-such-package" not in call.versions


# --- the folder ------------------------------------------------------------------------------------------------------


class ThingFolder(Folder):
    kind: ClassVar[FolderKind] = FolderKind("thing", "is making", complete=("end",), early=("spec.json.", "half"))


def test_a_folder_is_made_and_removed_unless_the_artefact_began(tmp_path: Path) -> None:
    with ThingFolder(tmp_path / "thing") as folder:
        (folder.path / "half-done").touch()
        assert not folder.has_begun
    assert not folder.path.exists()
    with ThingFolder(tmp_path / "thing") as folder:
        write_whole(folder.path / SPEC, b"{}")
        assert folder.has_begun
        assert not folder.is_complete
    with ThingFolder(tmp_path / "thing") as folder:
        write_whole(folder.path / "end", b"")
        assert folder.is_complete


def test_a_folder_that_was_there_is_not_removed(tmp_path: Path) -> None:
    with ThingFolder(tmp_path):
        pass
    assert tmp_path.exists()


def test_foreign_contents_are_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UsageError, match=r"is no thing and not empty: it holds thesis\.tex"), ThingFolder(tmp_path):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(UsageError, match="is a file"), ThingFolder(tmp_path / "thesis.tex"):
        pass


@pytest.mark.parametrize("name", [LOCK, "spec.json.new"])
def test_a_link_inside_is_refused_and_its_target_kept(tmp_path: Path, name: str) -> None:
    (tmp_path / "thing").mkdir()
    (tmp_path / "outside").write_text("kept", "utf-8")
    (tmp_path / "thing" / name).symlink_to(tmp_path / "outside")
    with pytest.raises(UsageError, match="is a symbolic link"), ThingFolder(tmp_path / "thing"):
        pass
    assert (tmp_path / "outside").read_text("utf-8") == "kept"


def test_one_process_at_a_time_and_a_reader_beside_it(tmp_path: Path) -> None:
    with ThingFolder(tmp_path / "thing"):
        with pytest.raises(UsageError, match="another process is making"), ThingFolder(tmp_path / "thing"):
            pass
        with ThingFolder(tmp_path / "thing", writes=False):
            pass
