"""Which questions a run asks, in which order, and with their choices in which order.

Questions are asked in the order of a hash of their id, which is the same for every run over the data: the first n are
a fair sample of the file, whatever its own order, a larger `--limit` only adds to a smaller one, and two methods with
the same limit are asked the same questions.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.items import Item, audio_file
from lalm_agent.eval.runs.stored import Asked
from lalm_agent.hints import did_you_mean


def order_key(item: Item) -> bytes:
    """Where a question stands in the order of asking: sha256 of its id. No seed goes into it."""
    return hashlib.sha256(item.id.encode("utf-8", "surrogatepass")).digest()


def shuffled(item: Item, seed: int, draw: int) -> tuple[int, ...]:
    """A permutation of the choices (place shown -> place in the file), uniform, keyed by seed, item and draw."""
    key = f"choices\0{seed}\0{item.id}\0{draw}".encode("utf-8", "surrogatepass")
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(key).digest()[:16], "big")))
    return tuple(int(place) for place in rng.permutation(len(item.choices)))


def with_orders(item: Item, shuffle: bool, seed: int, draws: int) -> Asked:
    """A question with the order of its choices in each draw."""
    return Asked(item, tuple(shuffled(item, seed, draw) for draw in range(draws)) if shuffle and item.choices else ())


def of_modality(items: Sequence[Item], wanted: Collection[str]) -> list[Item]:
    """The items of these modalities, all of them where none is named.

    Raises:
        UsageError: a modality that no item has.
    """
    known = sorted({item.modality for item in items if item.modality is not None})
    for name in wanted:
        if name not in known:
            raise UsageError(f"no question has the modality {name}", did_you_mean(name, known) if known else None)
    return [item for item in items if not wanted or item.modality in wanted]


def missing_clips(items: Sequence[Item], root: Path) -> dict[str, str]:
    """Id -> reason for the items whose clip is no file under the audio root; each distinct clip is looked at once."""
    reasons: dict[str, str | None] = {}
    for item in items:
        if item.audio not in reasons:
            reasons[item.audio] = _why_missing(root, item.audio)
    return {item.id: reason for item in items if (reason := reasons[item.audio]) is not None}


def selected(items: Sequence[Item], limit: int | None, missing: Mapping[str, str], kept: Collection[str]) -> list[Item]:
    """The questions to ask, in order.

    limit: so many of those whose clip is there. missing: ids left out, see `missing_clips`. kept: ids that stay in the
        run in any case, because they have been answered.
    """
    ordered = sorted(items, key=order_key)
    there = [item for item in ordered if item.id not in missing or item.id in kept]
    chosen = {item.id for item in there[:limit]} | set(kept)
    return [item for item in there if item.id in chosen]


def _why_missing(root: Path, audio: str) -> str | None:
    try:
        path = audio_file(root, audio)
    except DataError as error:
        return error.message
    try:
        return None if path.is_file() else f"{path} does not exist"
    except (OSError, ValueError):
        return f"{audio!r} is not a path"
