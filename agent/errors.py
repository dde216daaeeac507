"""The error tree, the hint that goes with an error, and the exit code it ends in.

    LalmError                    1   (a bug, unless a subclass says otherwise)
    |- UsageError                2   the call is wrong: unknown name, empty question, one choice
    |- DataError                 2   a file is wrong: missing, truncated, silent in a way nobody can use
    `- BackendError              2   a model, tool or endpoint failed
       |- TransientBackendError      trying again may help; the only class that a graph retries
       |  `- RetriesExhausted        it may, but was tried as often as is allowed; no graph tries again
       `- PermanentBackendError      trying again will not help
          `- BudgetSpent             the limit of requests is reached: asked nothing, answered nothing

`LalmError` derives from `Exception` and never from `RuntimeError`: LangGraph's default retry
predicate skips subclasses of `RuntimeError`, `ValueError` and `OSError`.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class LalmError(Exception):
    """Base of every error that this package raises on purpose.

    `message` says in one line what is wrong, `hint` in one line what to do about it.
    """

    exit_code = 1
    fields: tuple[str, ...] = ()
    """What differs, one line each, of an error about two things that should be equal."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(LalmError):
    """The caller asked for something that does not exist or makes no sense."""

    exit_code = 2


class DataError(LalmError):
    """An input file cannot be used."""

    exit_code = 2


class BackendError(LalmError):
    """A model, a tool or an endpoint failed."""

    exit_code = 2


class TransientBackendError(BackendError):
    """The failure may pass: a rate limit, a timeout, a cut connection."""


class RetriesExhausted(TransientBackendError):
    """The failure may pass, but did not in all attempts: whoever asked retried already, and no graph does so again."""


class PermanentBackendError(BackendError):
    """The failure will not pass: bad weights, a refused request, a prompt without its audio."""


class BudgetSpent(PermanentBackendError):
    """The limit of requests is reached. No graph records it as a failed answer: the question stays unasked."""


class Dropped(BaseException):
    """A second Ctrl-C: threads may still compute, and nobody waits for them. The process has to end at once.

    No KeyboardInterrupt, of which typer makes an exit code before anybody could tell a first from a second one.
    """


def first_complaint(error: "ValidationError") -> tuple[tuple[str, ...], str]:
    """Where the first value that a pydantic form refused stands, and why, without the words before a reason of ours."""
    first = error.errors()[0]
    return tuple(map(str, first["loc"])), first["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name that a misspelt one was probably meant to be, or None; letters that changed places come first."""
    by_folded = {candidate.casefold(): candidate for candidate in valid}
    close = get_close_matches(name.casefold(), by_folded)
    swapped = [candidate for candidate in close if sorted(candidate) == sorted(name.casefold())]
    return by_folded[(swapped or close)[0]] if close else None


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """A hint: `did you mean asr? one of: answer, asr, …`, without the question where nothing is near."""
    names = list(valid)
    close = nearest(name, names)
    return f"{f'did you mean {close}? ' if close else ''}one of: {', '.join(names)}"
