"""A study that is killed leaves nothing half made, no process behind it, and goes on from there."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.training.lora.adapter import CONFIG
from lalm_agent.training.transfer.design import StudyFolder

CODE = """
import signal, sys
from lalm_agent.cli.main import main
if __name__ == "__main__":
    # A job in the background of a script hands down that Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main(sys.argv[1:])
"""
PATIENCE_S = 100.0


def children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(what: Any, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert process.poll() is None, "it ended before it was stopped"
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to look for processes")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_study_goes_on(study_place: Any, said: Any, number: int) -> None:
    folder = StudyFolder(study_place.out)
    arguments = study_place.arguments("--jobs", "2", "--forgetting", "0")
    process = subprocess.Popen([sys.executable, "-c", CODE, *arguments], stderr=subprocess.PIPE)
    try:
        wait_for(lambda: len(list(folder.adapters.glob(f"*/{CONFIG}"))) >= 2, process)
        workers = children(process.pid)
        assert len(workers) >= 2
        os.kill(process.pid, number)
        process.wait(PATIENCE_S)
    finally:
        process.kill()
        _, err = process.communicate()
    deadline = time.monotonic() + 10
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(alive, workers))
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert b"the same command goes on" in err
        assert b"Traceback" not in err
    whole = {path: path.stat().st_mtime_ns for path in folder.adapters.glob(f"*/{CONFIG}")}
    assert not folder.report.exists()
    assert study_place.transfer("--jobs", "1", "--forgetting", "0") == 0, said()[1]
    assert {path: path.stat().st_mtime_ns for path in whole} == whole
    assert len(list(folder.adapters.glob(f"*/{CONFIG}"))) == 9
    assert folder.report.is_file()
