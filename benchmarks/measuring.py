"""What a command takes: seconds from start to end, and the peak resident memory of its process."""

import os
import subprocess
import sys
import time

KIB = 1024
"""The unit of `ru_maxrss` on Linux, in bytes."""
ENTRY = "import sys; from lalm_agent.cli.main import main; main(sys.argv[1:])"


def measured(arguments: list[str]) -> tuple[float, int]:
    """Seconds and peak bytes of `lalm-agent …` in a process of its own.

    A child's peak is at least the size of the process that starts it: this one must stay the smaller.
    """
    start = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", ENTRY, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"lalm-agent {arguments[0]} ended with {process.returncode}")
    return time.monotonic() - start, usage.ru_maxrss * KIB
