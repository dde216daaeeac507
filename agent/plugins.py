"""Tools and models of other people: by entry point of an installed package, or as `module:attribute`.

`module:attribute` runs code: the module is imported, from what is installed, from the working folder or from the
folder of `lalm-agent.toml`. These two folders are on the import path for that import only, behind everything
installed, so that a file named like a library never stands in for it.
"""

import importlib
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from lalm_agent.errors import UsageError
from lalm_agent.hints import nearest
from lalm_agent.settings import find_settings_file

TOOL_GROUP = "lalm_agent.tools"
MODEL_GROUP = "lalm_agent.models"


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a reference leads to.

    ref: the reference as it was written; target: a class, a function or an object.
    argument: what stood behind the name (`small` of `whisper:small`), or None.
    own: whether it comes from outside this package.
    """

    ref: str
    target: Any
    argument: str | None = None
    own: bool = True


def installed_plugins(group: str, built_in: Collection[str]) -> dict[str, EntryPoint]:
    """The entry points of a group by name, sorted.

    Raises:
        UsageError: one has the name of something built in, or two have the same name.
    """
    found: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=group), key=lambda entry: entry.name):
        if entry.name in built_in:
            raise UsageError(
                f"{_package(entry)} registers {entry.name}, which is built in", f"uninstall {_package(entry)}"
            )
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            both = f"{_package(other)} and {_package(entry)}"
            raise UsageError(f"{both} both register {entry.name} under {group}", "uninstall one of them")
    return found


def find_plugin(ref: str, group: str, built_in: Collection[str]) -> Found | None:
    """Resolve `NAME[:ARGUMENT]` of an entry point, else `module:attribute[:ARGUMENT]`; None where it is neither.

    Raises:
        UsageError: it names something that cannot be imported.
    """
    name, colon, rest = ref.partition(":")
    installed = installed_plugins(group, built_in)
    entry = installed.get(name)
    if entry is not None:
        return Found(ref, _loaded(entry), rest if colon else None)
    if not colon:
        return None
    attribute, second, argument = rest.partition(":")
    if not _is_dotted(name) or not _is_dotted(attribute):
        return None
    return Found(ref, _attribute(_module(name, [*built_in, *installed]), attribute), argument if second else None)


def _loaded(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(
            f"{entry.name} of {_package(entry)} cannot be loaded: {reason}", f"mend or uninstall {_package(entry)}"
        ) from error


def _module(name: str, known: Collection[str]) -> Any:
    with _own_folders_on_path():
        importlib.invalidate_caches()
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
                close = nearest(name, known)
                hint = f"did you mean {close}? else " if close else ""
                hint += "a module is looked for among the installed ones and in the working folder"
                raise UsageError(f"there is no module {name}", hint) from error
            raise UsageError(f"the module {name} cannot be imported: {error}", "install what it needs") from error
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {error}"
            raise UsageError(f"the module {name} cannot be imported: {reason}", "--debug shows where") from error


def _attribute(module: Any, path: str) -> Any:
    target = module
    for name in path.split("."):
        if not hasattr(target, name):
            close = nearest(name, (other for other in dir(target) if not other.startswith("_")))
            raise UsageError(
                f"the module {module.__name__} has no {path}",
                f"did you mean {close}?" if close else "check the name after the colon",
            )
        target = getattr(target, name)
    return target


@contextmanager
def _own_folders_on_path() -> Iterator[None]:
    settings = find_settings_file()
    folders = dict.fromkeys([str(Path.cwd()), *([str(settings.parent)] if settings else [])])
    added = [folder for folder in folders if folder not in sys.path]
    sys.path.extend(added)
    try:
        yield
    finally:
        for folder in added:
            sys.path.remove(folder)


def _is_dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _package(entry: EntryPoint) -> str:
    return f"the package {entry.dist.name}" if entry.dist is not None else "an installed package"
