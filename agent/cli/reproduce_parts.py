"""Runs the parts of a reproduction as processes, some at a time, and ends them together."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lalm_agent.artefacts import Journal, now, read_lines
from lalm_agent.errors import DataError, LalmError, UsageError
from lalm_agent.settings import FIELDS, PREFIX
from lalm_agent.training.reproduce import journal
from lalm_agent.training.reproduce.layout import PaperFolder
from lalm_agent.training.reproduce.plan import Part, ready

_LOOK_S = 0.2
_GRACE_S = 60.0
"""A process that was asked to stop gets so long to keep what it has."""
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_COMMAND = (sys.executable, "-m", "lalm_agent.cli.reproduce_child")

Say = Callable[[str], None]


class PartFailed(LalmError):
    """A part's command ended with an error; the words are its own."""

    def __init__(self, message: str, hint: str | None, exit_code: int) -> None:
        """exit_code: of the command."""
        super().__init__(message, hint)
        self.exit_code = exit_code


@dataclass(slots=True)
class _Running:
    part: Part
    process: "subprocess.Popen[bytes]"
    started: float


def run_parts(folder: PaperFolder, parts: Sequence[Part], jobs: int, say: Say) -> None:
    """Run every part that is not done. The calling process holds the folder.

    Raises:
        PartFailed: a part failed; the others were stopped, and what they have is kept.
        KeyboardInterrupt: Ctrl-C; every part was stopped.
        StorageError: the journal cannot be written.
    """
    done = finished(folder, parts)
    if len(done) == len(parts):
        say("nothing to do: every part is done")
        return
    log = Journal(folder.journal)
    running: dict[str, _Running] = {}
    started, code = time.monotonic(), 1
    try:
        log.append(journal.begin(journal.ALL, now(), ()))
        while len(done) < len(parts):
            while (part := ready(parts, done, running, jobs)) is not None:
                say(f"part {part.name}: {shown(part)}")
                log.append(journal.begin(part.name, now(), part.arguments))
                running[part.name] = _start(folder, part, jobs)
            done |= _ended(folder, running, log, say)
            time.sleep(_LOOK_S)
        code = 0
    finally:
        _stop(running, log)
        log.append(journal.end(journal.ALL, time.monotonic() - started, code))
        log.close()


def finished(folder: PaperFolder, parts: Sequence[Part]) -> set[str]:
    """Names of the parts that ended well with the same command, and what they made is there."""
    known = journal.worked(read_lines(folder.journal))
    return {part.name for part in parts if _is_done(folder, part, known.get(part.name))}


def _is_done(folder: PaperFolder, part: Part, found: journal.Worked | None) -> bool:
    if not (folder.path / part.makes).exists():
        return False
    return part.marker or (found is not None and found.done and found.arguments == part.arguments)


def shown(part: Part) -> str:
    """The command of a part as a user types it in the folder of the report."""
    import shlex

    return shlex.join(["lalm-agent", *part.arguments])


def environment(jobs: int) -> dict[str, str]:
    """That of a part: the settings of this command are in its arguments, and its threads are its share of the cores."""
    settings = {PREFIX + name.upper() for name in FIELDS}
    kept = {name: value for name, value in os.environ.items() if name not in settings}
    share = str(max(1, len(os.sched_getaffinity(0)) // jobs)) if hasattr(os, "sched_getaffinity") else "1"
    return {**dict.fromkeys(_THREADS, share), **kept}


def _start(folder: PaperFolder, part: Part, jobs: int) -> _Running:
    log = folder.log(part.name)
    log.parent.mkdir(exist_ok=True)
    command = [*_COMMAND, *part.arguments]
    try:
        with log.open("ab") as out:
            process = subprocess.Popen(
                command,
                cwd=folder.path,
                env=environment(1 if part.alone else jobs),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                # A Ctrl-C at the terminal reaches this process alone, which hands it on once.
                start_new_session=True,
            )
    except OSError as error:
        raise DataError(f"part {part.name} cannot be started: {error.strerror or error}", "free the disk") from error
    return _Running(part, process, time.monotonic())


def _ended(folder: PaperFolder, running: dict[str, _Running], log: Journal, say: Say) -> set[str]:
    """Take the processes that have ended out of those that run; their names."""
    found = set()
    for name, one in list(running.items()):
        code = one.process.poll()
        if code is None:
            continue
        del running[name]
        seconds = _close(one, log, code)
        if code:
            raise _failure(folder, one.part, code)
        if not (folder.path / one.part.makes).exists():
            raise UsageError(f"part {name} ended well and left no {one.part.makes}", f"see {folder.log(name)}")
        say(f"part {name}: done in {seconds:.0f} s")
        found.add(name)
    return found


def _close(one: _Running, log: Journal, code: int) -> float:
    seconds = time.monotonic() - one.started
    if one.process.stdin is not None:
        with contextlib.suppress(OSError):
            one.process.stdin.close()
    log.append(journal.end(one.part.name, seconds, code))
    return seconds


def _failure(folder: PaperFolder, part: Part, code: int) -> LalmError:
    """The error of a part in its own words: the last `error:` and `try:` of its log."""
    message, hint = f"exit code {code}", f"see {folder.log(part.name)}"
    lines = folder.log(part.name).read_text(encoding="utf-8", errors="replace").splitlines()
    for at, line in enumerate(lines):
        if line.startswith("error: "):
            message = line.removeprefix("error: ")
            following = lines[at + 1] if at + 1 < len(lines) else ""
            hint = following.removeprefix("try: ") if following.startswith("try: ") else hint
    return PartFailed(f"part {part.name}: {message}", hint, code if code in (1, 2) else 1)


def _stop(running: dict[str, _Running], log: Journal) -> None:
    """Ask every process to stop as Ctrl-C does, and wait; a second Ctrl-C, or a minute, kills them."""
    for one in running.values():
        with contextlib.suppress(OSError):
            one.process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + _GRACE_S
    for one in running.values():
        try:
            code = one.process.wait(max(0.1, deadline - time.monotonic()))
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            one.process.kill()
            code = one.process.wait()
        _close(one, log, code)
    running.clear()
