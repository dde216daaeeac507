"""How long to wait before asking an endpoint again: arithmetic alone, without a clock and without sleeping."""

import math
from email.utils import parsedate_to_datetime

BASE_S = 0.5
"""Upper end of the first wait in seconds; each further one doubles it."""
LONGEST_S = 30.0
"""Upper end of any wait that the server did not ask for."""
LONGEST_ASKED_S = 60.0
"""What a server asks for beyond this is waited for only so long."""


def wait_s(failed_attempts: int, asked_s: float | None, draw: float) -> float:
    """Seconds to wait after that many failed attempts (1 or more).

    Exponential with full jitter: `draw`, uniform in [0, 1), of the doubled base. Where the server said when to come
    back, that long, with the jitter of a first attempt on top so that not everyone comes back at once.
    """
    if asked_s is not None:
        return min(asked_s, LONGEST_ASKED_S) + draw * BASE_S
    return draw * min(LONGEST_S, BASE_S * 2.0 ** (min(failed_attempts, 20) - 1))


def retry_after_s(header: str | None, now_s: float) -> float | None:
    """A Retry-After header in seconds from now: it holds seconds or an HTTP date. None where it is neither.

    now_s: seconds since the epoch.
    """
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - now_s
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
