"""A study that is killed leaves nothing half made, no process behind it, and goes on from there."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.training.lora.adapter import CONFIG
from lalm_agent.training.transfer.design import StudyFolder

CODE = "import sys; from lalm_agent.cli.main import main; main(sys.argv[1:])"
PATIENCE_S = 500.0
pytestmark = pytest.mark.timeout(900)


def children(pid: int) -> list[int]:
    pids = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            pids.append(int(stat.parent.name))
    return pids


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
def test_a_killed_study_goes_on(study_place: Any, said: Any) -> None:
    """What Ctrl-C does to processes that work on tasks is tested in test_jobs.py."""
    folder = StudyFolder(study_place.out)
    arguments = study_place.arguments("--jobs", "2", "--forgetting", "0")
    process = subprocess.Popen([sys.executable, "-c", CODE, *arguments], stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: len(list(folder.adapters.glob(f"*/{CONFIG}"))) >= 2, process)
        workers = children(process.pid)
        assert len(workers) >= 2
    finally:
        process.kill()
        process.wait()
    deadline = time.monotonic() + PATIENCE_S
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(alive, workers))
    whole = {path: path.stat().st_mtime_ns for path in folder.adapters.glob(f"*/{CONFIG}")}
    assert not folder.report.exists()
    assert study_place.transfer("--jobs", "1", "--forgetting", "0") == 0, said()[1]
    assert {path: path.stat().st_mtime_ns for path in whole} == whole
    assert len(list(folder.adapters.glob(f"*/{CONFIG}"))) == 9
    assert folder.report.is_file()
