"""A part of a reproduction: a command of this program, in a process of its own."""

import os
import sys
from pathlib import Path

from lalm_agent.config import FIELDS, PREFIX
from lalm_agent.errors import LalmError, UsageError
from lalm_agent.training.reproduce.design import PaperFolder, Part

PROGRAM = "lalm-agent"


class PartFailed(LalmError):
    """A part's command ended with an error; the words are its own."""

    def __init__(self, message: str, hint: str | None, exit_code: int) -> None:
        """exit_code: of the command."""
        super().__init__(message, hint)
        self.exit_code = exit_code


class CommandWork:
    """Runs commands in the folder of a report, for a process that does nothing else (`lalm_agent.jobs.Work`)."""

    def __init__(self, path: Path) -> None:
        """Move into the folder, and drop the settings of the environment: a part has them in its arguments."""
        os.chdir(path)
        self._folder = PaperFolder(Path())
        for name in FIELDS:
            os.environ.pop(PREFIX + name.upper(), None)

    def __call__(self, part: Part) -> None:
        """Run a part, whose output goes to its log.

        Raises:
            PartFailed: it ended with an error.
            UsageError: it ended well and what it should make is not there.
        """
        log = self._folder.log(part.name)
        log.parent.mkdir(exist_ok=True)
        with log.open("ab") as out:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
                os.dup2(out.fileno(), stream.fileno())
        # What a run records as its command is what a user would type.
        sys.argv = [PROGRAM, *part.arguments]
        from lalm_agent.cli.main import run

        code = run(list(part.arguments))
        sys.stdout.flush()
        sys.stderr.flush()
        if code:
            raise _failure(log, part, code)
        if not Path(part.makes).exists():
            raise UsageError(f"part {part.name} ended well and left no {part.makes}", f"see {log}")


def threads_of(jobs: int) -> int | None:
    """With how many threads each of so many processes computes; None leaves it as the user has set it."""
    if "OMP_NUM_THREADS" in os.environ:
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // jobs)


def _failure(log: Path, part: Part, code: int) -> LalmError:
    """The error of a part in its own words: the last `error:` and `try:` of its log."""
    message, hint = f"exit code {code}", f"see {log}"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    for at, line in enumerate(lines):
        if line.startswith("error: "):
            message = line.removeprefix("error: ")
            following = lines[at + 1] if at + 1 < len(lines) else ""
            hint = following.removeprefix("try: ") if following.startswith("try: ") else hint
    return PartFailed(f"part {part.name}: {message}", hint, code if code in (1, 2) else 1)
