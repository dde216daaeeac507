"""Replies are kept whole or not at all, by one process at a time."""

import json
from pathlib import Path

import pytest
from filelock import FileLock

from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.scorers.llm import ReplyCache, request_key
from lalm_agent.records import ModelInfo


def put(path: Path, **replies: str) -> None:
    cache = ReplyCache(path)
    with cache.opened():
        for key, reply in replies.items():
            cache.put(key, reply)


def kept(path: Path, *keys: str) -> list[str | None]:
    cache = ReplyCache(path)
    with cache.opened():
        return [cache.get(key) for key in keys]


def test_replies_outlive_the_object(tmp_path: Path) -> None:
    path = tmp_path / "new" / "replies.jsonl"
    put(path, a="dog")
    put(path, b="two\nlines, “quoted” 猫")
    assert kept(path, "a", "b", "c") == ["dog", "two\nlines, “quoted” 猫", None]
    assert [set(json.loads(line)) for line in path.read_text("utf-8").splitlines()] == [{"key", "reply"}] * 2


def test_without_a_file_replies_live_as_long_as_the_object() -> None:
    cache = ReplyCache()
    with cache.opened():
        cache.put("a", "dog")
    with cache.opened():
        assert cache.get("a") == "dog"


def test_a_line_that_a_kill_cut_off_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    put(path, a="dog", b="cat")
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])
    assert kept(path, "a", "b") == ["dog", None]
    put(path, b="cat")
    assert path.read_bytes() == whole


@pytest.mark.parametrize("line", ["nonsense", "[]", '{"key": "a"}', '{"key": "a", "reply": null}'])
def test_a_damaged_line_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    put(path, a="dog")
    with path.open("a", encoding="utf-8") as file:
        file.write(line + '\n{"key": "b", "reply": "cat"}\n')
    with pytest.raises(DataError, match=r"replies\.jsonl:2 is n"):
        kept(path, "a")
    with FileLock(f"{path}.lock", timeout=0):
        pass


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    with FileLock(f"{path}.lock"), pytest.raises(UsageError, match="another process"):
        kept(path, "a")


def test_a_folder_in_place_of_the_file_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        kept(tmp_path, "a")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        kept(tmp_path / "file" / "replies.jsonl", "a")
    assert not (tmp_path / "file.lock").exists()


def test_a_lone_surrogate_can_be_kept(tmp_path: Path) -> None:
    put(tmp_path / "replies.jsonl", a="\ud800 dog")
    assert kept(tmp_path / "replies.jsonl", "a") == ["\ud800 dog"]


def test_a_key_depends_on_all_that_decides_a_greedy_reply() -> None:
    info = ModelInfo("m", "r", "w", None)
    keys = [
        request_key(info, "prompt", 8),
        request_key(info, "Prompt", 8),
        request_key(info, "prompt", 9),
        request_key(ModelInfo("n", "r", "w", None), "prompt", 8),
        request_key(ModelInfo("m", "s", "w", None), "prompt", 8),
        request_key(ModelInfo("m", "r", "v", None), "prompt", 8),
        request_key(ModelInfo("m", "r", "w", "a"), "prompt", 8),
    ]
    assert len(set(keys)) == len(keys)
    assert request_key(info, "prompt", 8) == keys[0]
