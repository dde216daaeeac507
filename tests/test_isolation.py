import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("example.org", 443)])
def test_no_socket_leaves_the_machine(address: tuple[str, int], blocked_hosts: list[str]) -> None:
    with socket.socket() as connection, pytest.raises(RuntimeError, match=address[0]):
        connection.connect(address)
    with pytest.raises(RuntimeError, match=address[0]):
        socket.create_connection(address, timeout=1)
    assert blocked_hosts == [address[0]] * 2
    blocked_hosts.clear()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_server_on_this_machine_can_be_reached(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        answer = threading.Thread(target=lambda: server.accept()[0].close())
        answer.start()
        with socket.create_connection((host, server.getsockname()[1]), timeout=5) as connection:
            assert connection.recv(1) == b""
        answer.join()


def test_state_and_caches_are_empty_folders(lalm_home: Path) -> None:
    assert Path(os.environ["LALM_HOME"]) == lalm_home
    assert list(lalm_home.iterdir()) == []
    for name in ("HF_HOME", "XDG_CACHE_HOME"):
        assert not Path(os.environ[name]).is_relative_to(Path.home())


def test_torch_has_two_threads() -> None:
    import torch

    assert torch.get_num_threads() <= 2


@pytest.mark.parametrize("name", ["agent", "eval", "tools", "training"])
def test_the_folders_are_no_modules_of_their_own(name: str) -> None:
    spec = importlib.util.find_spec(name)
    assert spec is None or not Path(str(spec.origin)).is_relative_to(ROOT)


SOURCE = """
import socket
import pytest

def test_that_lacks_a_tool():
    pytest.skip("FluidSynth is missing")

def test_that_lacks_the_shared_folder():
    pytest.skip("../shared is absent: mmau")

@pytest.mark.xfail(reason="known")
def test_that_is_known_to_fail():
    assert not "a failure"

def test_that_swallows_the_error():
    try:
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    except RuntimeError:
        pass

@pytest.mark.gpu
def test_gpu():
    pass

@pytest.mark.network
def test_network():
    pass
"""


def run_pytest(folder: Path, source: str, *arguments: str, require_tools: str = "0") -> tuple[int, str]:
    """Run pytest with our conftest on one file in an empty folder; the exit status and what it printed."""
    shutil.copy(ROOT / "tests" / "conftest.py", folder)
    (folder / "test_it.py").write_text(source)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  gpu\n  network\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", "pytest.ini", *arguments, "test_it.py"]
    environment = os.environ | {"LALM_REQUIRE_TOOLS": require_tools, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def test_a_skip_is_counted_and_a_swallowed_attempt_to_use_the_network_fails(tmp_path: Path) -> None:
    status, printed = run_pytest(tmp_path, SOURCE)
    assert status == 1, printed
    assert "1 x FluidSynth is missing" in printed
    assert "1 x ../shared is absent: mmau" in printed
    assert "the test tried to reach 192.0.2.1" in printed
    # At the end of the test: it passed, and then its fixture failed.
    assert "1 passed, 2 skipped, 2 deselected, 1 xfailed, 1 error" in printed


def test_where_tools_are_required_only_the_shared_folder_may_be_absent(tmp_path: Path) -> None:
    status, printed = run_pytest(tmp_path, SOURCE, require_tools="1")
    assert status == 1
    assert "excuses only '../shared is absent': FluidSynth is missing" in printed
    assert "1 failed, 1 passed, 1 skipped, 2 deselected, 1 xfailed, 1 error" in printed


def test_where_tools_are_required_no_whole_file_skips(tmp_path: Path) -> None:
    source = "import pytest\npytest.importorskip('no_such_module_anywhere')\n"
    assert run_pytest(tmp_path, source)[0] == pytest.ExitCode.NO_TESTS_COLLECTED
    status, printed = run_pytest(tmp_path, source, require_tools="1")
    assert status == pytest.ExitCode.INTERRUPTED
    assert "1 error" in printed


@pytest.mark.parametrize(
    ("marker", "closing"), [("gpu", "1 passed, 5 deselected"), ("gpu or network", "2 passed, 4 deselected")]
)
def test_markers_opt_in(tmp_path: Path, marker: str, closing: str) -> None:
    status, printed = run_pytest(tmp_path, SOURCE, "-m", marker)
    assert status == 0
    assert closing in printed
