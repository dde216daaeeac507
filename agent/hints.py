"""The second line of an error about a name: the nearest right one, and all of them."""

from collections.abc import Iterable
from difflib import get_close_matches

_ALIKE = 0.6


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name that a misspelt one was probably meant to be, or None."""
    by_folded = {candidate.casefold(): candidate for candidate in valid}
    found = get_close_matches(name.casefold(), by_folded, n=1, cutoff=_ALIKE)
    return by_folded[found[0]] if found else None


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """A hint: `did you mean asr? one of: answer, asr, …`, without the question where nothing is near."""
    names = list(valid)
    close = nearest(name, names)
    return f"{f'did you mean {close}? ' if close else ''}one of: {', '.join(names)}"
