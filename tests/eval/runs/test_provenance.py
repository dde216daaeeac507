"""Versions, the state of the source, and the clips of the training."""

import subprocess
from pathlib import Path

import pytest

from lalm_agent.errors import DataError
from lalm_agent.eval.runs.provenance import now, source_state, versions
from lalm_agent.eval.runs.trained import FILE_NAME, trained_clips


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


def test_the_clips_of_the_training_are_read_from_the_adapters_folder(tmp_path: Path) -> None:
    assert trained_clips(None) == frozenset()
    assert trained_clips(str(tmp_path)) == frozenset()
    (tmp_path / FILE_NAME).write_text('{"audio_sha256": ["a", "b"]}', "utf-8")
    assert trained_clips(str(tmp_path)) == {"a", "b"}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"audio_sha256": "a"}', '{"audio_sha256": [1]}'])
def test_a_list_of_clips_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text, "utf-8")
    with pytest.raises(DataError, match=FILE_NAME):
        trained_clips(str(tmp_path))
