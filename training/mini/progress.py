"""Progress lines."""

import time


def say(line: str) -> None:
    """Print one line with the time, at once."""
    print(time.strftime("%H:%M:%S"), line, flush=True)
