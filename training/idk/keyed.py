"""Chance that depends on a seed and on what it is about, and on nothing else: no order, no library version."""

import hashlib


def keyed(seed: int, purpose: str, *names: str) -> int:
    """A number in [0, 2**64), uniform over names; the same for the same arguments."""
    text = "\0".join((purpose, str(seed), *names))
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def is_held_out(clip: str, share: float) -> bool:
    """Whether a clip belongs to the share that no set is built from.

    clip: sha256 over the decoded samples. A clip is in or out for every bank and model alike, a larger share holds a
    smaller one, and no seed moves it.
    """
    return keyed(0, "hold-out", clip) < share * 2**64
