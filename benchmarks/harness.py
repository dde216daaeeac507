"""What the scripts of this folder share: commands in processes of their own, times, and one clear line for an error.

Every script imports this before anything of `lalm_agent`, so that another Python is told in one line too.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

if find_spec("lalm_agent") is None:
    sys.exit(f"error: {sys.executable} has no lalm-agent\ntry: the .venv/bin/python that `make demo` makes")

ROOT = Path(__file__).resolve().parents[1]
CLIP = ROOT / "examples" / "clip.wav"
KIB = 1024
"""The unit of `ru_maxrss` on Linux, in bytes."""
ENTRY = "import sys; from lalm_agent.cli.main import main; main(sys.argv[1:])"


def script(main: Callable[[], None]) -> None:
    """Run a script; what its user can mend ends it in one or two lines with exit code 2."""
    from lalm_agent.errors import LalmError

    try:
        main()
    except (LalmError, OSError, ImportError) as error:
        hint = getattr(error, "hint", None)
        print(f"error: {error}" + (f"\ntry: {hint}" if hint else ""), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def shown(arguments: Sequence[str]) -> str:
    """A command as a reader types it."""
    return " ".join(("lalm-agent", *arguments))


def lalm_agent(arguments: Sequence[str], folder: Path) -> str:
    """Run a command in a folder, on one core; its stdout. A failure ends the script with the command's own words."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [str(Path(sys.executable).with_name("lalm-agent")), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    print(shown(arguments), f"-> exit {done.returncode}", file=sys.stderr, flush=True)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    return done.stdout


def two_at_a_time(commands: Mapping[str, Sequence[str]], folder: Path) -> dict[str, float]:
    """Run commands in a folder; the seconds of each, by its name."""

    def seconds(arguments: Sequence[str]) -> float:
        start = time.monotonic()
        lalm_agent(arguments, folder)
        return time.monotonic() - start

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(commands, pool.map(seconds, commands.values()), strict=True))


def measured(arguments: Sequence[str]) -> tuple[float, int]:
    """Seconds and peak resident bytes of a command in a process of its own.

    A child's peak is at least the size of the process that starts it: this one must stay the smaller.
    """
    start = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", ENTRY, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{shown(arguments[:1])} ended with {process.returncode}")
    return time.monotonic() - start, usage.ru_maxrss * KIB


def medians(
    jobs: Mapping[str, Callable[[], object]], repetitions: int, before: Callable[[int], object] = id
) -> dict[str, tuple[float, float]]:
    """Median seconds of each job, by the clock and of this process's CPUs: interleaved, after one run for nothing.

    before: called with the repetition's number before each job.
    """
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    for repetition in range(repetitions + 1):
        for name, job in jobs.items():
            before(repetition)
            start, busy = time.perf_counter(), time.process_time()
            job()
            if repetition:
                times[name].append((time.perf_counter() - start, time.process_time() - busy))
    return {
        name: (statistics.median(clock for clock, _ in taken), statistics.median(busy for _, busy in taken))
        for name, taken in times.items()
    }
