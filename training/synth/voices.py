"""espeak-ng voice variants by the gender they are heard as; each pool has its own.

A variant is spoken at a drawn pitch and then stretched as a whole, which moves its formants as the size of a head
does: so a few dozen variants become a wide range of heads. Robots and whispers are left out, and "Reed", "caleb" and
"zac", which never repeat themselves or are no adult voices.
"""

from dataclasses import dataclass

from lalm_agent.training.synth.dsp import Dial
from lalm_agent.training.synth.pools import Pool

_MALE = (
    "m1 m2 m3 m5 m6 Andy Denis Diogo Henrique Hugo Lee Marco antonio michel miguel sandro victor travis Storm norbert "
    "paul pedro david john quincy ian Gene Mike benjamin boris edward gustave max rob klatt klatt2 klatt4 RicishayMax"
)
_FEMALE = "f1 f2 f4 f5 Alicia Annie belinda steph steph2 anika linda"

VARIANTS: dict[str, dict[Pool, tuple[str, ...]]] = {
    "male": {
        Pool.TRAIN: tuple(_MALE.split()),
        Pool.DEV: ("m4", "Mario", "grandpa", "robert", "Gene2", "Jacky"),
        Pool.TEST: ("m7", "m8", "Michael", "pablo", "Alex", "marcelo"),
    },
    "female": {
        Pool.TRAIN: tuple(_FEMALE.split()),
        Pool.DEV: ("f3", "aunty"),
        Pool.TEST: ("Andrea", "grandma"),
    },
}
"""Gender -> pool -> variants."""

PITCHES = {"male": (25.0, 99.0), "female": (28.0, 75.0)}
STRETCHES = {"male": (0.88, 1.06), "female": (0.95, 1.1)}
"""By how much pitch and formants are raised together; above 1 is a smaller head."""
RANGES = (15.0, 90.0)


@dataclass(frozen=True, slots=True)
class Voice:
    """A speaker: variant, pitch and pitch range as espeak-ng counts them (0 to 99), and the stretch of its formants."""

    variant: str
    pitch: int
    pitch_range: int
    stretch: float


def draw_voice(dial: Dial, gender: str) -> Voice:
    """A speaker of a gender from the dial's pool."""
    return Voice(
        dial.pick(VARIANTS[gender][dial.pool]),
        round(dial.between(*PITCHES[gender])),
        round(dial.between(*RANGES)),
        dial.between(*STRETCHES[gender]),
    )
