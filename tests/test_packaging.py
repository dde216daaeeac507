"""The hazards of the mapped package folders, each with its guard, and what may not be committed."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"agent": "lalm_agent"} | {name: f"lalm_agent.{name}" for name in ("eval", "tools", "training")}
BUILD_FILES = ("pyproject.toml", "README.md", "LICENSE")
CLONE_BUDGET_BYTES = 60_000_000
# A folder of some machine at the start of a path, and the ways to name a package index; neither matches its own text.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|root|farm|opt|home/\w+|Users/\w+)/")
REGISTRY = re.compile(
    r"https?://[\w.-]*(?:pypi|pythonhosted|download\.pytorch|registry|mirror|artifactory|nexus)"
    r"|index-url *[= ] *http|find-link[s]|--registr[y]"
)


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def package_of(folder: Path) -> str:
    """`tools/x` -> `lalm_agent.tools.x`."""
    first, *rest = folder.relative_to(ROOT).parts
    return ".".join([FOLDERS[first], *rest])


def folders_of_modules() -> set[Path]:
    """Every folder that holds Python files, whether or not it has an `__init__.py`."""
    return {file.parent for top in FOLDERS for file in (ROOT / top).rglob("*.py")}


@pytest.fixture(scope="module")
def committed_files() -> list[Path]:
    """What is in the clone or would be after `git add .`."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is not a git checkout")
    # A checkout that belongs to another user, as in some containers, is fine to read.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: a `build/` folder left over in the tree would put deleted modules into it."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in BUILD_FILES:
        shutil.copy(ROOT / name, source)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    command += ["--disable-pip-version-check", "--quiet", "--wheel-dir", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def wheel_names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


# --- the list of packages --------------------------------------------------------------------------------------------


def test_every_package_is_listed_and_nothing_else() -> None:
    listed = project()["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(package_of(folder) for folder in folders_of_modules())


def test_every_folder_of_modules_has_an_init() -> None:
    assert [str(folder) for folder in folders_of_modules() if not (folder / "__init__.py").is_file()] == []


def test_nothing_in_agent_shadows_a_mapped_folder() -> None:
    mapped = FOLDERS.keys() - {"agent"}
    shadows = [ROOT / "agent" / name for top in mapped for name in (top, f"{top}.py")]
    assert [str(path.relative_to(ROOT)) for path in shadows if path.exists()] == []


def test_the_mapping_of_folders_is_the_one_that_these_tests_assume() -> None:
    mapping = project()["tool"]["setuptools"]["package-dir"]
    assert mapping == {package: folder for folder, package in FOLDERS.items()}


# --- the wheel -------------------------------------------------------------------------------------------------------


def test_the_only_top_level_of_the_wheel_is_the_package(wheel_names: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel_names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"lalm_agent"}


def test_the_wheel_holds_every_file_of_the_package(wheel_names: set[str]) -> None:
    """Modules and data alike: a data file that no pattern of `package-data` names would be missed only at run time."""
    expected = set()
    for top, package in FOLDERS.items():
        for file in (ROOT / top).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                expected.add(f"{package.replace('.', '/')}/{file.relative_to(ROOT / top).as_posix()}")
    assert {name for name in wheel_names if ".dist-info/" not in name} == expected


def test_the_wheel_carries_its_licence_and_type_marker(wheel_names: set[str]) -> None:
    assert "lalm_agent/py.typed" in wheel_names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel_names)


IMPORT_ALL = """
import importlib, importlib.resources, sys
import lalm_agent
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    assert any(True for _ in importlib.resources.files(name).iterdir()), name
    print(module.__file__)
"""


def test_the_wheel_can_be_imported_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    packages = project()["tool"]["setuptools"]["packages"]
    # -S: without .pth files, hence without the editable install, which would stand in for what the wheel lacks.
    libraries = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), *libraries])}
    command = [sys.executable, "-S", "-c", IMPORT_ALL, *packages]
    done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    origins = [Path(line) for line in done.stdout.splitlines()]
    assert len(origins) == len(packages)
    assert all(origin.is_relative_to(site) for origin in origins)


# --- requirements ----------------------------------------------------------------------------------------------------


def requirement_names(requirements: list[str]) -> set[str]:
    names = {re.match(r"[A-Za-z0-9._-]+", requirement) for requirement in requirements}
    return {match[0].lower() for match in names if match}


def test_every_direct_dependency_is_pinned_for_the_tests() -> None:
    metadata = project()["project"]
    direct = requirement_names(metadata["dependencies"])
    for extra in metadata["optional-dependencies"].values():
        direct |= requirement_names(extra)
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0].lower() for line in lines if "==" in line}
    assert direct - {metadata["name"]} <= pinned


def test_torch_is_pinned_exactly() -> None:
    """A looser requirement draws a CUDA build of several gigabytes."""
    assert re.search(r"^torch==\d+\.\d+\.\d+$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)


# --- what may not be committed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["root", "work", "home/me", "opt"])
@pytest.mark.parametrize("line", ["{}", "see {} there", "PATH={}", "'{}'"])
def test_a_path_of_a_machine_is_recognised(line: str, folder: str) -> None:
    assert MACHINE_PATH.search(line.format(f"/{folder}/x"))


@pytest.mark.parametrize("line", ["a/work/b", "https://example.org/work/x", "./opt/x", "/usr/share/sounds/sf2/"])
def test_another_path_is_none_of_a_machine(line: str) -> None:
    assert not MACHINE_PATH.search(line)


@pytest.mark.parametrize("line", ["https://py{}pi.org/simple", "--index-{}url=https://x", "--find-{}links x"])
def test_a_registry_is_recognised(line: str) -> None:
    assert REGISTRY.search(line.replace("{}", ""))


def test_no_file_names_a_path_of_a_machine_or_a_registry(committed_files: list[Path]) -> None:
    lines = []
    for file in committed_files:
        content = file.read_bytes()
        if b"\0" in content:
            continue
        for number, line in enumerate(content.decode("utf-8").splitlines(), start=1):
            if MACHINE_PATH.search(line) or REGISTRY.search(line):
                lines.append(f"{file.relative_to(ROOT)}:{number}: {line.strip()[:120]}")
    assert lines == []


def test_a_clone_stays_small(committed_files: list[Path]) -> None:
    assert sum(file.stat().st_size for file in committed_files) < CLONE_BUDGET_BYTES
