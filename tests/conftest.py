"""What holds for every test: no network, no state of the user's, few threads, and no skip without a good reason.

The block of the network covers the sockets of this process. A subprocess inherits only the environment: offline hub,
empty caches, no keys and no proxies.

A test skips where something that it needs is absent. Under `LALM_REQUIRE_TOOLS=1`, which `.ci/run` sets, everything
but `../shared` has to be there, and any other skip is a failure.
"""

import importlib.util
import ipaddress
import os
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
SHARED_IS_ABSENT = "../shared is absent"
REQUIRE_TOOLS = "LALM_REQUIRE_TOOLS"
OPT_IN_MARKERS = ("gpu", "network")
THREADS = "1" if "PYTEST_XDIST_WORKER" in os.environ else "2"

# Reproducible, and no deadline: the machine that runs the tests may be busy.
settings.register_profile("lalm", derandomize=True, deadline=None)
settings.load_profile("lalm")


# --- the environment of the whole session ----------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    """Set what libraries read only once, when they are imported; subprocesses of tests inherit it."""
    home = tempfile.TemporaryDirectory(prefix="lalm-tests-")
    config.add_cleanup(home.cleanup)
    # An empty cache: a model that happens to lie in the user's cache must not make a test pass here and fail elsewhere.
    os.environ |= {"HF_HOME": home.name, "XDG_CACHE_HOME": home.name, "TOKENIZERS_PARALLELISM": "false"}
    os.environ |= {"OMP_NUM_THREADS": THREADS, "MKL_NUM_THREADS": THREADS}
    # Every LALM_… variable is a setting of `ask` or a key; tests set their own.
    for name in [name for name in os.environ if name.startswith("LALM_") and name != REQUIRE_TOOLS]:
        del os.environ[name]
    os.environ.pop("OPENAI_API_KEY", None)
    if not _is_asked_for(config, "network"):
        os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
        # A client would send even what is meant for a server on this machine through the proxy.
        for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
            del os.environ[name]
    # `python -m pytest` puts the root on the path, from where `import tools` finds a second copy of lalm_agent.tools.
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != ROOT]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests that run only when `-m` names their marker."""
    unasked = [marker for marker in OPT_IN_MARKERS if not _is_asked_for(config, marker)]
    left_out = [item for item in items if any(item.get_closest_marker(marker) for marker in unasked)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _is_asked_for(config: pytest.Config, marker: str) -> bool:
    return marker in str(config.getoption("markexpr"))


# --- every test ------------------------------------------------------------------------------------------------------


class NetworkBlockedError(RuntimeError):
    """A test tried to leave the machine."""


@pytest.fixture(scope="session")
def lalm_homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lalm-homes")


@pytest.fixture(autouse=True)
def lalm_home(lalm_homes: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in place of the user's state."""
    # Not by `mktemp`, which looks for a free number through the folders of all tests before this one.
    home = Path(tempfile.mkdtemp(dir=lalm_homes))
    monkeypatch.setenv("LALM_HOME", str(home))
    return home


@pytest.fixture(autouse=True)
def blocked_hosts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Let sockets reach this machine only.

    The hosts asked for are also collected, and fail the test at its end: the code under test may have swallowed the
    exception as one more unreachable host.
    """
    blocked: list[str] = []
    if request.node.get_closest_marker("network") is None:
        for name in ("connect", "connect_ex", "sendto"):
            monkeypatch.setattr(socket.socket, name, _only_loopback(getattr(socket.socket, name), blocked))
        monkeypatch.setattr(socket, "getaddrinfo", _only_local_names(socket.getaddrinfo, blocked))
    yield blocked
    if blocked:
        pytest.fail(f"the test tried to reach {', '.join(sorted(set(blocked)))}")


def _only_loopback(method: Callable[..., Any], blocked: list[str]) -> Callable[..., Any]:
    def guarded(self: socket.socket, *args: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            _require_local(args[-1][0], blocked)
        return method(self, *args)

    return guarded


def _only_local_names(function: Callable[..., Any], blocked: list[str]) -> Callable[..., Any]:
    def guarded(host: bytes | str | None, *args: Any, **options: Any) -> Any:
        _require_local(host, blocked)
        return function(host, *args, **options)

    return guarded


def _require_local(host: bytes | str | None, blocked: list[str]) -> None:
    name = host.decode() if isinstance(host, bytes) else host or "localhost"
    try:
        is_local = ipaddress.ip_address(name).is_loopback or name in ("0.0.0.0", "::")
    except ValueError:
        is_local = name == "localhost"
    if not is_local:
        blocked.append(name)
        raise NetworkBlockedError(f"tests have no network, but this one asked for {name}")


# --- what a test may need and not find -------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of benchmarks and clips that lies beside the checkout and is no part of it."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(SHARED_IS_ABSENT)
    return folder


@pytest.fixture(scope="session")
def needs_synth() -> None:
    """Skip, naming what is missing, where the benchmark's audio cannot be synthesised."""
    from lalm_agent.errors import LalmError
    from lalm_agent.training.synth.fluid import require_synth

    try:
        require_synth()
    except LalmError as error:
        pytest.skip(error.message)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a test's skip into a failure where nothing may be absent."""
    report = yield
    if not hasattr(report, "wasxfail"):
        _fail_unless_excused(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole file, which `pytest.importorskip` skips."""
    report = yield
    _fail_unless_excused(report)
    return report


def _fail_unless_excused(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and os.environ.get(REQUIRE_TOOLS) == "1":
        reason = _skip_reason(report)
        if not reason.startswith(SHARED_IS_ABSENT):
            report.outcome = "failed"
            report.longrepr = f"skipped, and {REQUIRE_TOOLS}=1 excuses only '{SHARED_IS_ABSENT}': {reason}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests skipped, and why."""
    reasons = Counter(_skip_reason(report) for report in terminalreporter.stats.get("skipped", []))
    terminalreporter.section("skipped")
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count} x {reason}")
    if not reasons:
        terminalreporter.write_line("no test skipped")


def _skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return reason.removeprefix("Skipped: ")


# --- what several folders of tests use --------------------------------------------------------------------------------


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[[], tuple[str, str]]:
    """(stdout, stderr) since the last call."""
    return lambda: tuple(capsys.readouterr())


@pytest.fixture(scope="session")
def make_tiny() -> Callable[[str, Path], None]:
    """`make_tiny(family, folder)` of tests/agent/conftest.py, which writes a random-weight checkpoint."""
    import torch

    torch.set_num_threads(1)  # on matrices this small, threads only wait for one another
    spec = importlib.util.spec_from_file_location("tests_agent_conftest", ROOT / "tests" / "agent" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    make: Callable[[str, Path], None] = module.make_tiny
    return make


# --- what stands in for the reader of replies ------------------------------------------------------------------------


@pytest.fixture
def unheard(monkeypatch: pytest.MonkeyPatch) -> str:
    """A reply that is read as `cannot_hear` wherever replies are read, whatever the reader makes of it."""
    from lalm_agent import answers
    from lalm_agent.records import AbstentionKind, Status, Verdict

    reply, read = "I cannot hear the audio.", answers.parse

    def parse(text: str, choices: tuple[str, ...] = ()) -> Verdict:
        if text == reply:
            return Verdict(Status.ABSTAINED, "refusal", kind=AbstentionKind.CANNOT_HEAR)
        return read(text, choices)

    for module in ("lalm_agent.graph", "lalm_agent.eval.grade", "lalm_agent.eval.scorers.llm"):
        monkeypatch.setattr(f"{module}.parse", parse)
    return reply
