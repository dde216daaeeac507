"""The suite that every LALM passes, run on an endpoint; the tests themselves are those of `test_lalm_contract.py`."""

import importlib.util
import inspect
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.models.base import LALM

_SUITE = Path(__file__).resolve().parent.parent / "test_lalm_contract.py"
_spec = importlib.util.spec_from_file_location("lalm_contract_for_endpoints", _SUITE)
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)

# Here `lalm` is the fixture below.
_shared = {
    name: test
    for name, test in vars(_module).items()
    if name.startswith("test_") and "lalm" in inspect.signature(test).parameters
}
globals().update(_shared)


@pytest.fixture
def lalm(connect: Any) -> LALM:
    return connect().lalm  # type: ignore[no-any-return]


def test_the_shared_suite_was_found() -> None:
    assert len(_shared) >= 8
