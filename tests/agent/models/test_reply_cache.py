"""Responses that were paid for: found again, and only where the very same thing is asked."""

import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.audio import Sound, load
from lalm_agent.errors import BudgetSpent, DataError, PermanentBackendError
from lalm_agent.models.base import Completion, Decoding, OptionScore, Request, Response, Turn
from lalm_agent.models.scripted import Script, ScriptedLALM
from lalm_agent.models.wrappers import Budget, CachedResponses, ReplyCache, WithBudget, key_of
from lalm_agent.records import ModelInfo

SAMPLED = Decoding(temperature=0.7, seed=1)


def user(text: str = "What?", **more: Any) -> Request:
    return Request((Turn("user", text),), **more)


def drawn(request: Request) -> Response:
    """Says which draw it is."""
    numbers = range(request.draw, request.draw + request.n)
    completions = tuple(Completion(f"draw {number}", (-0.1, -1 / 3), "stop", None) for number in numbers)
    return Response(completions, None, (0.0, 1.5), 12, ("a warning",))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "responses"


@pytest.fixture
def cached(folder: Path) -> Iterator[Callable[..., tuple[CachedResponses, ScriptedLALM]]]:
    opened = []

    def make(script: Script = drawn, ref: str = "openai:tiny@http://host/v1") -> tuple[CachedResponses, ScriptedLALM]:
        inner = ScriptedLALM(script, ref)
        opened.append(CachedResponses(inner, folder))
        return opened[-1], inner

    yield make
    for model in opened:
        model.close()


def test_the_same_request_is_asked_once_also_by_another_process(cached: Any, sound: Sound) -> None:
    model, inner = cached()
    first = model.generate([user(sound=sound), user("Why?", sound=sound)])
    other, untouched = cached()
    assert other.generate([user(sound=sound), user("Why?", sound=sound)]) == first
    assert (len(inner.asked), len(untouched.asked)) == (2, 0)
    assert (model.hits, other.hits) == (0, 2)
    assert other.spec is untouched.spec
    assert other.generate([]) == []


def test_a_response_comes_back_as_it_was(cached: Any) -> None:
    scores = (OptionScore("dog", -0.1, 3),)
    whole = Response((Completion("Ünï\u2028 \ud800", None, "length", 0.25),), scores, None, None, ("one", "two"))
    model, _ = cached([whole])
    assert model.generate([user()]) == [whole]
    assert model.generate([user()]) == [whole]


def test_more_draws_ask_for_the_missing_ones_only(cached: Any) -> None:
    model, inner = cached()
    model.generate([user(decoding=SAMPLED, n=3)])
    model.generate([user(decoding=SAMPLED, draw=4)])
    response = model.generate([user(decoding=SAMPLED, n=7)])[0]
    assert [completion.text for completion in response.completions] == [f"draw {number}" for number in range(7)]
    assert response == drawn(user(decoding=SAMPLED, n=7))
    assert [(request.draw, request.n) for request in inner.asked] == [(0, 3), (4, 1), (3, 1), (5, 2)]
    assert model.hits == 4


def test_an_error_is_not_kept_nor_is_what_came_with_it(cached: Any, folder: Path) -> None:
    model, _ = cached(["good", PermanentBackendError("no"), "good", "now"])
    with pytest.raises(PermanentBackendError):
        model.generate([user("a"), user("b")])
    replies = model.generate([user("a"), user("b")])
    assert [reply.completions[0].text for reply in replies] == ["good", "now"]


def test_scores_alone_go_through(cached: Any) -> None:
    scored = Response((), (OptionScore("a", -1.0, 1),), None, None)
    model, inner = cached([scored, scored])
    for _ in range(2):
        assert model.generate([user(n=0, options=("a",))]) == [scored]
    assert len(inner.asked) == 2


def test_hits_cost_nothing(cached: Any, folder: Path) -> None:
    cached()[0].generate([user()])
    budget = Budget(1)
    model = CachedResponses(WithBudget(ScriptedLALM(drawn, "openai:tiny@http://host/v1"), budget), folder)
    model.generate([user(), user("Why?")])
    model.generate([user(), user("Why?")])
    assert budget.spent == 1
    with pytest.raises(BudgetSpent):
        model.generate([user("Who?")])
    model.close()


# --- the key ---------------------------------------------------------------------------------------------------------


def test_whatever_the_server_is_told_is_in_the_key(sound: Sound, write_clip: Callable[..., Path]) -> None:
    spec = ScriptedLALM([], "openai:tiny@http://host/v1").spec
    base = user(sound=sound, decoding=SAMPLED)
    others = [
        replace(base, turns=(Turn("system", "x"), *base.turns)),
        replace(base, turns=(Turn("assistant", "What?"),)),
        replace(base, sound=load(write_clip(0.5, name="other.wav"))),
        replace(base, sound=None),
        replace(base, options=("a",)),
        *(replace(base, decoding=replace(SAMPLED, **change)) for change in CHANGES),
    ]
    specs = [
        replace(spec, info=ModelInfo("openai:tiny@http://elsewhere/v1")),
        replace(spec, info=ModelInfo("openai:tiny2@http://host/v1")),
        replace(spec, hears_audio=False),
    ]
    keys = [key_of(base, 0, spec), key_of(base, 1, spec)]
    keys += [key_of(other, 0, spec) for other in others] + [key_of(base, 0, other) for other in specs]
    assert len(set(keys)) == len(keys)


CHANGES: list[dict[str, Any]] = [{"temperature": 0.8}, {"top_p": 0.5}, {"top_k": 3}, {"seed": 2}, {"max_new_tokens": 9}]


def test_what_it_is_not_told_is_not_in_the_key(sound: Sound) -> None:
    spec = ScriptedLALM([]).spec
    elsewhere = Sound(replace(sound.ref, path="elsewhere.wav"), sound.samples)
    one, other = user(sound=sound, key="q1"), user(sound=elsewhere, key="q2", draw=3, decoding=Decoding(seed=5))
    assert key_of(one, 0, spec) == key_of(other, 3, spec)
    sampled = user(sound=sound, decoding=SAMPLED, key="q1")
    assert key_of(sampled, 2, spec) == key_of(replace(sampled, key="q2", n=4, draw=1), 2, spec)


# --- the folder ------------------------------------------------------------------------------------------------------


def test_threads_share_it(cached: Any) -> None:
    model, inner = cached()
    lock = threading.Lock()
    inner._script = lambda request: [lock.acquire(), drawn(request), lock.release()][1]
    requests = [user(f"question {number % 20}") for number in range(100)]
    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(lambda request: model.generate([request])[0], requests))
    assert responses == [drawn(request) for request in requests]
    assert {request.turns[0].text for request in inner.asked} == {f"question {number}" for number in range(20)}
    asked = len(inner.asked)
    assert model.generate(requests) == responses
    assert len(inner.asked) == asked


KILLED = """
import os, signal, sys
from lalm_agent.models.base import Request, Turn
from lalm_agent.models.wrappers import CachedResponses
from lalm_agent.models.scripted import ScriptedLALM
model = CachedResponses(ScriptedLALM(lambda request: "re " + request.turns[0].text), sys.argv[1])
for number in range(20):
    model.generate([Request((Turn("user", str(number)),))])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_stored_survives_kill_9(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder)], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    model = CachedResponses(ScriptedLALM([]), folder)
    replies = model.generate([user(str(number)) for number in range(20)])
    assert [reply.completions[0].text for reply in replies] == [f"re {number}" for number in range(20)]
    model.close()


@pytest.mark.parametrize("where", ["a file of an older version", "below a file"])
def test_a_path_that_can_hold_no_folder_is_said_in_a_line(tmp_path: Path, where: str) -> None:
    (tmp_path / "responses.sqlite").write_bytes(b"SQLite format 3\0" + bytes(100))
    path = tmp_path / "responses.sqlite"
    with pytest.raises(DataError, match="cannot hold replies"):
        ReplyCache(path if where.startswith("a file") else path / "below")


def test_a_folder_with_another_database_is_said_in_a_line(folder: Path) -> None:
    folder.mkdir()
    (folder / "cache.db").write_text("no database, but long enough to be looked at as one by the library" * 3)
    with pytest.raises(DataError, match="cannot hold replies"):
        ReplyCache(folder)


def test_nothing_is_written_through_a_link(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    (folder / "cache.db").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"cache\.db is a symbolic link"):
        ReplyCache(folder)
    assert not (tmp_path / "elsewhere").exists()


ROWS = [b"{", zlib.compress(b"{"), zlib.compress(b'{"completions": []}'), zlib.compress(b"[]"), zlib.compress(b'"dog"')]


@pytest.mark.parametrize("row", [*ROWS, zlib.compress(b"[" * 10**5), zlib.compress(bytes(2**27))])
def test_a_damaged_row_is_said_and_not_asked_anew(cached: Any, folder: Path, row: bytes) -> None:
    model, _ = cached()
    model.generate([user()])
    change(folder, "value = ?", row)
    with pytest.raises(DataError, match="cannot hold replies"):
        model.generate([user()])


class Trap:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("trapped"),)


@pytest.mark.parametrize("mode", [1, 2, 3, 4])
def test_nothing_is_unpickled_and_no_other_file_read(
    cached: Any, folder: Path, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    (folder.parent / "bait").write_bytes(pickle.dumps(Trap()))
    model, _ = cached()
    model.generate([user()])
    change(folder, "value = ?, mode = ?, filename = '../bait'", pickle.dumps(Trap()), mode)
    with pytest.raises(DataError, match="cannot hold replies"):
        model.generate([user()])
    change(folder, "value = NULL")
    with pytest.raises(DataError, match="cannot hold replies"):
        model.generate([user()])
    assert not Path("trapped").exists()


def change(folder: Path, what: str, *values: Any) -> None:
    connection = sqlite3.connect(folder / "cache.db")
    connection.execute(f"UPDATE Cache SET {what}", values)
    connection.commit()
    connection.close()


def test_without_a_folder_replies_live_as_long_as_the_object(sound: Sound) -> None:
    kept, response = ReplyCache(), drawn(user())
    kept.put({"key": response})
    assert kept.get("key") == response
    assert (kept.get("other"), ReplyCache().get("key")) == (None, None)
    kept.close()
