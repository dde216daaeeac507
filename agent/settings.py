"""From flags, environment, `lalm-agent.toml` and defaults to one `AgentConfig`; the stronger source wins.

    flag  >  LALM_<FIELD> in the environment  >  lalm-agent.toml  >  default

The file is the nearest `lalm-agent.toml` from the working folder upward, and its keys are the fields of `AgentConfig`.
Like a Makefile it can name code to run (`[tools] asr = "module:attribute"`), so one that belongs to another user is
refused. `tools` is merged node by node, but a source that sets `preset` drops the single tools of weaker sources.
"""

import os
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lalm_agent.config import AgentConfig
from lalm_agent.errors import UsageError
from lalm_agent.hints import did_you_mean, nearest

FILE_NAME = "lalm-agent.toml"
PREFIX = "LALM_"
FIELDS = tuple(AgentConfig.model_fields)
FLAGS = {name: f"--{name.replace('_', '-')}" for name in FIELDS} | {"preset": "--tools", "tools": "--tool"}
OTHER_VARIABLES = frozenset({"LALM_API_KEY", "LALM_HOME", "LALM_REQUIRE_TOOLS"})
"""Variables of this project that set no field."""

_TOOLS_HINT = 'tools are NODE = TOOL, such as asr = "pocketsphinx"; preset fills every node'


@dataclass(frozen=True, slots=True)
class Source:
    """Some settings; `label` is what an error calls one of them, and `between` stands before its value."""

    values: Mapping[str, Any]
    label: Callable[[str], str] = str
    between: str = "="


def load_config(
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    **settings: Any,
) -> AgentConfig:
    """The settings that the command line would use.

    Args:
        flags: fields as given by command-line flags; None stands for a flag that was not given.
        environment: in place of `os.environ`.
        folder: where the search for `lalm-agent.toml` starts; the working folder by default.
        **settings: fields, as strong as flags.

    Raises:
        UsageError: an unknown key or a value that a field does not take; it says where that was set.
    """
    given = {name: value for name, value in {**(flags or {}), **settings}.items() if value is not None}
    variables = os.environ if environment is None else environment
    flag_source = Source(given, lambda name: FLAGS.get(name, name), " ")
    return merged([*_file_source(folder), _environment_source(variables), flag_source])


def make_config(settings: Mapping[str, Any]) -> AgentConfig:
    """An `AgentConfig` of keyword settings; neither the environment nor a file is looked at.

    Raises:
        UsageError: an unknown setting or a value that it does not take.
    """
    return merged([Source(settings)])


def merged(sources: list[Source]) -> AgentConfig:
    """Settings of several sources, the weakest first.

    Raises:
        UsageError: an unknown key or a value that a field does not take.
    """
    values: dict[str, Any] = {}
    origins: dict[str, Source] = {}
    for source in sources:
        _refuse_unknown_keys(source)
        if "preset" in source.values:
            values.pop("tools", None)
        for name, value in source.values.items():
            weaker = values.get(name)
            both_tables = name == "tools" and isinstance(weaker, Mapping) and isinstance(value, Mapping)
            values[name] = {**weaker, **value} if both_tables and weaker is not None else value
            origins[name] = source
    try:
        return AgentConfig(**values)
    except ValidationError as error:
        raise _refusal(error, values, origins) from error


def find_settings_file(folder: Path | None = None) -> Path | None:
    """The nearest `lalm-agent.toml` from a folder (the working folder by default) upward, or None."""
    start = (folder or Path.cwd()).resolve()
    return next((path for at in (start, *start.parents) if (path := at / FILE_NAME).is_file()), None)


def ignored_variables(environment: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """Variables that look like settings and are none -> the variable that was probably meant."""
    variables = os.environ if environment is None else environment
    valid = [PREFIX + name.upper() for name in FIELDS]
    unknown = (name for name in variables if name.startswith(PREFIX) and name not in OTHER_VARIABLES)
    return {name: nearest(name, valid) for name in sorted(unknown) if name not in valid}


def parse_tools(items: Iterable[str], name: str) -> dict[str, str]:
    """`asr=whisper:small` and the like as a table. `name` is what an error calls the setting.

    Raises:
        UsageError: an item is not NODE=TOOL.
    """
    tools: dict[str, str] = {}
    for item in items:
        node, _, tool = (part.strip() for part in item.partition("="))
        if not (node and tool):
            raise UsageError(f"{name} takes NODE=TOOL, not {item!r}", "such as asr=pocketsphinx")
        tools[node] = tool
    return tools


def _environment_source(variables: Mapping[str, str]) -> Source:
    values: dict[str, Any] = {}
    for name in FIELDS:
        text = variables.get(PREFIX + name.upper(), "")
        if text:
            values[name] = parse_tools(text.split(","), "LALM_TOOLS") if name == "tools" else text
    return Source(values, lambda name: PREFIX + name.upper())


def _file_source(folder: Path | None) -> Iterator[Source]:
    path = find_settings_file(folder)
    if path is None:
        return
    _refuse_foreign_file(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}", "mend or remove it") from error
    _anchor(values, path.parent, (folder or Path.cwd()).resolve())
    yield Source(values, lambda name: f"{path}: {name}", " = ")


def _refuse_foreign_file(path: Path) -> None:
    uid = os.getuid() if hasattr(os, "getuid") else 0
    if uid != 0 and path.stat().st_uid not in (0, uid):
        raise UsageError(f"{path} belongs to another user, and a settings file can run code", "copy it, or remove it")


def _anchor(values: dict[str, Any], at: Path, folder: Path) -> None:
    """Paths in the file count from its folder: make them count from the working folder."""
    for name in ("model", "adapter", "checkpoint"):
        value = values.get(name)
        if not isinstance(value, str) or at == folder:
            continue
        prefix = "scripted:" if value.startswith("scripted:") else ""
        path = at / value.removeprefix(prefix)
        if name == "checkpoint" or path.exists():
            values[name] = prefix + os.path.relpath(path, folder)


def _refuse_unknown_keys(source: Source) -> None:
    for name in source.values:
        if name not in FIELDS:
            raise UsageError(f"{source.label(name)}: no such setting", did_you_mean(name, FIELDS))


def _refusal(error: ValidationError, values: Mapping[str, Any], origins: Mapping[str, Source]) -> UsageError:
    """The first complaint as one line that names the flag, the variable or the file."""
    first = error.errors()[0]
    name, *inner = map(str, first["loc"])
    value, source = values[name], origins[name]
    for key in inner:
        value = value[key] if isinstance(value, Mapping) and key in value else value
    where = ".".join([source.label(name), *inner])
    hint = _TOOLS_HINT if name == "tools" else "lalm-agent ask --help lists the settings"
    return UsageError(f"{where}{source.between}{value}: {first['msg'].lower()}", hint)
