"""When the parts of a reproduction began and ended: one line each, appended, so that a kill loses no time that passed.

    {"part": "idk", "event": "begin", "at": "2026-01-31T10:00:00+00:00", "arguments": ["eval", …]}
    {"part": "idk", "event": "end", "seconds": 83.1, "code": 0}

A beginning without an end was killed: how long it ran is not known.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

ALL = "all"
"""The name under which the sessions of the whole are kept, from the first part's beginning to the last one's end."""


@dataclass(frozen=True, slots=True)
class Worked:
    """What a part took.

    seconds: wall-clock time of all its sessions that ended, others running beside it or not.
    sessions: how often it was begun. killed: how many of these have no end. done: whether the last one ended well.
    arguments: of the last session.
    """

    seconds: float
    sessions: int
    killed: int
    done: bool
    arguments: tuple[str, ...]


def begin(part: str, at: str, arguments: Iterable[str]) -> dict[str, Any]:
    """The line of a beginning. at: UTC, ISO 8601."""
    return {"part": part, "event": "begin", "at": at, "arguments": list(arguments)}


def end(part: str, seconds: float, code: int) -> dict[str, Any]:
    """The line of an end. code: the exit code."""
    return {"part": part, "event": "end", "seconds": round(seconds, 3), "code": code}


def worked(lines: Iterable[dict[str, Any]]) -> dict[str, Worked]:
    """What each part took, in the order of their first beginnings."""
    found: dict[str, Worked] = {}
    for line in lines:
        name = line["part"]
        old = found.get(name, Worked(0.0, 0, 0, False, ()))
        if line["event"] == "begin":
            arguments = tuple(line["arguments"])
            found[name] = Worked(old.seconds, old.sessions + 1, old.killed + 1, False, arguments)
        else:
            seconds = old.seconds + line["seconds"]
            found[name] = Worked(seconds, old.sessions, old.killed - 1, line["code"] == 0, old.arguments)
    return found
