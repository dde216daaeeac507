"""The table of extras against pyproject.toml."""

import tomllib
from pathlib import Path

import pytest

from lalm_agent.errors import UsageError
from lalm_agent.registry import EXTRAS, install_line, is_installed, require_extra

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_every_extra_for_users_is_in_the_table() -> None:
    declared = tomllib.loads(PROJECT.read_text("utf-8"))["project"]["optional-dependencies"]
    assert set(EXTRAS) == set(declared) - {"test", "lint"}


def test_a_missing_extra_is_refused_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lalm_agent.registry.is_installed", lambda module: module != "matplotlib")
    require_extra("sqlite")
    with pytest.raises(UsageError, match="needs matplotlib") as error:
        require_extra("draw")
    assert error.value.hint == install_line("draw")


def test_the_install_line_fits_where_the_package_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("lalm_agent.registry._CHECKOUT", tmp_path)
    assert install_line("draw") == "pip install 'lalm-agent[draw]'"
    (tmp_path / "pyproject.toml").touch()
    assert install_line("draw") == f"pip install -e '{tmp_path}[draw]'"


@pytest.mark.parametrize(
    ("module", "expected"),
    [("json", True), ("no_such", False), ("no_such.part", False), ("json.tool.x", False), ("", False)],
)
def test_is_installed(module: str, expected: bool) -> None:
    assert is_installed(module) is expected
