"""`lalm-agent idk build` where nothing can come of it: one clear line, exit 2, and what is there stays."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.cli.main import run
from lalm_agent.training.idk.sets import META_SUFFIX

Said = Callable[[], tuple[str, str]]
BUILD = ["idk", "build", "bank", "--k", "1", "--out", "idk.jsonl"]


@pytest.fixture
def bank(place: Any, said: Said) -> Any:
    """Three samples of each question."""
    assert run(["idk", "sample", "bench.jsonl", "--model", "eval_model:Hears", "--n", "3", "--out", "bank"]) == 0
    said()
    return place


def refused(said: Said, *more: str) -> str:
    """The error line; there is one, with one hint, and no file is written."""
    before = sorted(Path().iterdir())
    assert run([*BUILD, *more]) == 2
    lines = said()[1].splitlines()
    assert [line.split(":")[0] for line in lines[-2:]] == ["error", "try"]
    assert sorted(Path().iterdir()) == before
    return lines[-2]


def test_an_empty_set_says_what_emptied_it(bank: Any, said: Said) -> None:
    assert refused(said, "--modality", "whale") == "error: no question has the modality whale"
    # A share this near to one holds every clip out.
    assert "no question is left to build from: 24 held out" in refused(said, "--hold-out", "0.999999")
    assert "a share of clips to hold out lies in [0, 1)" in refused(said, "--hold-out", "1")


def test_one_class_after_the_filters_is_refused_too(bank: Any, said: Said) -> None:
    rows = [json.loads(line) for line in Path("bank/answers.jsonl").read_text("utf-8").splitlines()]
    for row in rows:
        row |= {"status": "answered", "answer": "whale", "reply": "whale", "choice": None}
    Path("bank/answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    assert "all 24 questions are IDK" in refused(said)
    assert "all 8 questions are IDK" in refused(said, "--modality", "speech")
    assert "there is one class alone" in refused(said, "--balance", "--allow-one-class")


def test_a_damaged_bank_is_named_by_its_line(bank: Any, said: Said) -> None:
    path = Path("bank/answers.jsonl")
    lines = path.read_text("utf-8").splitlines()
    path.write_text("\n".join([lines[0], "nothing", *lines[2:]]) + "\n", "utf-8")
    assert "answers.jsonl:2 is not a JSON object" in refused(said)


@pytest.mark.parametrize("at", ["idk.jsonl", f"idk.jsonl{META_SUFFIX}"])
def test_a_full_disk_leaves_no_half_of_a_file(at: str, bank: Any, said: Said) -> None:
    opened = os.open

    def full(path: Any, *arguments: Any, **named: Any) -> int:
        if Path(path).name == f"{at}.new":
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(path, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", full)
        assert run(BUILD) == 2
    error = said()[1].splitlines()[-2]
    assert error.startswith("error: ")
    assert f"{at} cannot be written: No space left on device" in error
    assert not list(Path().glob("*.new"))
    assert run(BUILD) == 0
    rows = Path("idk.jsonl").read_bytes()
    # The same as where the disk was never full.
    assert run([*BUILD[:-1], "again.jsonl"]) == 0
    assert Path("again.jsonl").read_bytes() == rows
    assert Path(f"idk.jsonl{META_SUFFIX}").is_file()
