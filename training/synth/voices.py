"""espeak-ng voice variants by the gender they are heard as; held-out ones are spoken in unseen clips only."""

import numpy as np

VARIANTS: dict[str, dict[bool, tuple[str, ...]]] = {
    "male": {
        True: (
            "m1",
            "m2",
            "m3",
            "m5",
            "m6",
            "Andy",
            "Denis",
            "Diogo",
            "Henrique",
            "Hugo",
            "Lee",
            "Marco",
            "antonio",
            "michel",
            "miguel",
            "sandro",
            "victor",
            "travis",
            "Storm",
            "norbert",
            "paul",
            "pedro",
            "david",
            "john",
            "quincy",
            "ian",
        ),
        False: ("m4", "m7", "m8", "Mario", "Michael", "grandpa", "pablo", "Alex", "robert", "marcelo"),
    },
    "female": {
        True: ("f1", "f2", "f4", "f5", "Alicia", "Annie", "belinda", "steph", "anika"),
        False: ("f3", "Andrea", "aunty", "grandma"),
    },
}
"""Gender -> seen? -> variants."""

PITCHES = {"male": (25, 60), "female": (35, 75)}


def draw_voice(rng: np.random.Generator, gender: str, seen: bool) -> tuple[str, int, int]:
    """A variant, a pitch and a pitch range (both 0 to 99)."""
    variants = VARIANTS[gender][seen]
    low, high = PITCHES[gender]
    return variants[int(rng.integers(len(variants)))], int(rng.integers(low, high)), int(rng.integers(25, 80))
