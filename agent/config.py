"""The settings of an agent, and the sources that they come from; the stronger source wins.

    flag  >  LALM_<FIELD> in the environment  >  lalm-agent.toml  >  default

The file is the nearest `lalm-agent.toml` from the working folder upward, and its keys are the fields of `AgentConfig`.
Like a Makefile it can name code to run (`[tools] asr = "module:attribute"`), so one that belongs to another user, that
others can write or replace, or that is a symbolic link is refused. `tools` is merged node by node, but a source that
sets `preset` drops the single tools of weaker sources.
"""

import json
import os
import stat
import textwrap
import tomllib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lalm_agent.errors import UsageError, did_you_mean, first_complaint, nearest
from lalm_agent.records import Method

AnswerMode = Literal["generate", "score"]
Preset = Literal["paper", "assist"]
McotOrder = Literal["printed", "clip-first"]

DEFAULT_MAX_AUDIO_S = 3600.0


class AgentConfig(BaseModel):
    """What decides how an agent answers.

    preset: fills every node: `paper` with the LALM, `assist` with the best tool installed.
    tools: single nodes changed against the preset, such as {"asr": "pocketsphinx"}.
    answer_mode: write an answer, or take the most probable of the choices.
    adapter: folder of a PEFT adapter, put on for the answering node only.
    temperature: of the answering node; 0 is greedy. The type and content steps are always greedy: what they say
        belongs to the clip and is kept for all questions about it. Mode `score` samples nothing.
    seed: of the sampling noise, which a question's id, its draw and the position in the reply key as well.
    timeout_s: seconds for one attempt at an endpoint; one request with all its attempts has three times that. Of an
        `exec:` worker: seconds for each reply of a batch.
    trust_env: honour the environment's proxies (`http_proxy` and the like) for endpoints.
    hears_audio: False to ask the model without the clip: a text-only one, or a blind control of one that hears. Tools
        that hear for themselves, such as an ASR, still do.
    max_audio_s: longest clip that is accepted, in seconds.
    checkpoint: an SQLite file that keeps the states of each question's graph.
    adaptive: the agent first asks as the baseline does, and leaves its steps out where that answer's probability among
        the choices is at least this; None: never.
    mcot_order: of the method mcot: the examples before the clip, as the paper prints it, or behind it; None: `printed`
        for a checkpoint other than mini whose nodes are all the model itself, unless a run or policy says otherwise.
    policy: a file of `lalm-agent calibrate`: answers whose confidence is too low are withheld.
    policy_unchecked: use the policy of another system, and say on every answer that its guarantee does not hold.
    debug: raise the error of a failed node in place of recording it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = "mini"
    method: Method = Method.AGENT
    preset: Preset = "paper"
    tools: dict[str, str] = Field(default_factory=dict, examples=[{"asr": "pocketsphinx"}])
    answer_mode: AnswerMode = "generate"
    adapter: str | None = Field(default=None, examples=["adapter"])
    max_new_tokens: int = Field(default=256, ge=1, lt=2**31)
    temperature: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    seed: int = Field(default=0, ge=-(2**63), lt=2**63)
    device: str = "auto"
    dtype: str = "auto"
    trust_remote_code: bool = False
    allow_pickle: bool = False
    timeout_s: float = Field(default=120.0, gt=0)
    trust_env: bool = False
    hears_audio: bool = True
    max_audio_s: float = Field(default=DEFAULT_MAX_AUDIO_S, gt=0)
    checkpoint: str | None = Field(default=None, examples=["states.sqlite"])
    adaptive: float | None = Field(default=None, gt=0, le=1, examples=[0.9])
    mcot_order: McotOrder | None = Field(default=None, examples=["printed"])
    policy: str | None = Field(default=None, examples=["policy.json"])
    policy_unchecked: bool = False
    debug: bool = False


CLIP_FIRST = "clip-first"


def is_checkpoint(ref: str) -> bool:
    """Whether a model's reference is that of a checkpoint, here or on the hub, whichever engine runs it."""
    ref = ref.removeprefix("vllm:")
    return ref == "mini" or Path(ref).expanduser().is_dir() or ("/" in ref and ":" not in ref)


def order_of_mcot(config: AgentConfig, of_policy: str | None = None) -> str | None:
    """`printed` where the clip stands behind the examples of mcot, else None; see `AgentConfig.mcot_order`.

    of_policy: the order of the policy that is used.
    """
    if config.method is not Method.MCOT or not config.hears_audio:
        return None
    order = config.mcot_order or of_policy
    if order is None and config.preset == "paper" and config.model != "mini" and is_checkpoint(config.model):
        order = "printed"
    return order if order == "printed" else None


FILE_NAME = "lalm-agent.toml"
FIELDS = tuple(AgentConfig.model_fields)
FLAGS = {name: f"--{name.replace('_', '-')}" for name in FIELDS} | {"preset": "--tools", "tools": "--tool"}
PREFIX = "LALM_"
VARIABLES = {name: f"{PREFIX}{name.upper()}" for name in FIELDS}
OTHER_VARIABLES = frozenset({"LALM_API_KEY", "LALM_HOME", "LALM_REQUIRE_TOOLS", "LALM_SERVER_KEYS"})
"""Variables of this project that set no field."""

_TOOLS_HINT = 'tools are NODE = TOOL, such as asr = "pocketsphinx"; preset fills every node'

Source = tuple[Mapping[str, Any], Callable[[str], str]]
"""Some settings, and what an error writes before the value of one: `--model `, `LALM_MODEL=` or `FILE: model = `."""


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
    set_here = {name: value for name, value in {**(flags or {}), **settings}.items() if value is not None}
    variables = os.environ if environment is None else environment
    texts = {name: variables[variable] for name, variable in VARIABLES.items() if variables.get(variable)}
    tools = {"tools": parse_tools(texts["tools"].split(","), "LALM_TOOLS")} if "tools" in texts else {}
    from_environment: Source = ({**texts, **tools}, lambda name: f"{VARIABLES[name]}=")
    return _merged([*_file_sources(folder), from_environment, (set_here, lambda name: f"{FLAGS.get(name, name)} ")])


def make_config(settings: Mapping[str, Any]) -> AgentConfig:
    """An `AgentConfig` of keyword settings; neither the environment nor a file is looked at.

    Raises:
        UsageError: an unknown setting or a value that it does not take.
    """
    return _merged([(settings, lambda name: f"{name}=")])


def find_settings_file(folder: Path | None = None) -> Path | None:
    """The nearest `lalm-agent.toml` from a folder (the working folder by default) upward, a link or not, or None."""
    start = (folder or Path.cwd()).resolve()
    paths = (at / FILE_NAME for at in (start, *start.parents))
    return next((path for path in paths if path.is_file() or path.is_symlink()), None)


def settings_text(comments: Mapping[str, str]) -> str:
    """A `lalm-agent.toml` that sets nothing: each setting as a comment, with its default or an example.

    comments: for each of `FIELDS` what it does.
    """
    lines = [
        "# Settings of lalm-agent in this folder and those below it. A line counts without its first #; what it holds",
        "# is the default, or an example. A flag is stronger than a variable, and a variable stronger than this file.",
        "# Paths count from this folder.",
    ]
    for name, field in AgentConfig.model_fields.items():
        value = field.examples[0] if field.examples else field.get_default(call_default_factory=True)
        text = f"{comments[name]} {FLAGS[name]}, {VARIABLES[name]}"
        lines += [
            "",
            *textwrap.wrap(text, 118, initial_indent="# ", subsequent_indent="# "),
            f"#{name} = {_toml(value)}",
        ]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value)


def write_settings_file(comments: Mapping[str, str], force: bool = False, folder: Path | None = None) -> Path:
    """Write `settings_text` as `lalm-agent.toml` into a folder, by default the working folder; its path.

    It is readable for all and writable for its owner, whatever the umask: another one is refused when it is read.

    Raises UsageError: there is one, and not `force`; or it cannot be written.
    """
    path = (folder or Path.cwd()) / FILE_NAME
    beside = path.with_name(f"{FILE_NAME}.{os.getpid()}")
    target, flags = (beside, os.O_TRUNC) if force else (path, os.O_EXCL)
    try:
        with open(os.open(target, os.O_WRONLY | os.O_CREAT | flags, 0o644), "w", encoding="utf-8") as file:
            file.write(settings_text(comments))
        if force:
            beside.replace(path)
    except FileExistsError:
        raise UsageError(f"{path} is there already", "--force replaces it") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", "go to a folder of yours") from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
    return path


def ignored_variables(environment: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """Variables that look like settings and are none -> the variable that was probably meant."""
    known = {*VARIABLES.values(), *OTHER_VARIABLES}
    variables = os.environ if environment is None else environment
    unknown = sorted(name for name in variables if name.startswith(PREFIX) and name not in known)
    return {name: nearest(name, VARIABLES.values()) for name in unknown}


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


def _merged(sources: Iterable[Source]) -> AgentConfig:
    """Settings of several sources, the weakest first."""
    values: dict[str, Any] = {}
    labels: dict[str, str] = {}
    for settings, label in sources:
        if "preset" in settings:
            values.pop("tools", None)
        for name, value in settings.items():
            if name not in FIELDS:
                raise UsageError(f"{label(name).rstrip(' =')}: no such setting", did_you_mean(name, FIELDS))
            weaker = values.get(name)
            both_tables = isinstance(weaker, Mapping) and isinstance(value, Mapping)
            values[name] = {**weaker, **value} if both_tables and weaker is not None else value
            labels[name] = label(name)
    try:
        return AgentConfig(**values)
    except ValidationError as error:
        raise _refusal(error, values, labels) from error


def _file_sources(folder: Path | None) -> list[Source]:
    path = find_settings_file(folder)
    if path is None:
        return []
    start = (folder or Path.cwd()).resolve()
    if objection := _distrust(path, start):
        raise UsageError(
            f"{objection}, and a settings file can run code", "see to it that it is yours alone, or remove it"
        )
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise UsageError(f"{path} cannot be read: it is nested too deeply", "mend or remove it") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}", "mend or remove it") from error
    _anchor(values, path.parent, start)
    return [(values, lambda name: f"{path}: {name} = ")]


def _distrust(path: Path, start: Path) -> str | None:
    """Why a settings file may be another user's work, root's own or not; None where it is not.

    start: the folder below or at the file from which it was searched for.
    """
    if path.is_symlink():
        return f"{path} is a symbolic link"
    if not hasattr(os, "getuid"):
        return None
    if path.stat().st_uid not in (0, os.getuid()):
        return f"{path} belongs to another user"
    for place in (path, start, *start.parents):
        status = place.stat()
        # In a sticky folder, such as /tmp, nobody can replace what is not his own.
        if _others_write(status) and not (place.is_dir() and status.st_mode & stat.S_ISVTX):
            return f"others can write to {place}" + (f", on the way to {path}" if place != path else "")
    return None


def _others_write(status: os.stat_result) -> bool:
    """Whether others than the owner can write; a user's private group, as Debian makes one for each, is no other."""
    if status.st_mode & stat.S_IWOTH or not status.st_mode & stat.S_IWGRP:
        return bool(status.st_mode & stat.S_IWOTH)
    import grp
    import pwd

    try:
        group, owner = grp.getgrgid(status.st_gid), pwd.getpwuid(os.getuid())
    except KeyError:
        return True
    return owner.pw_uid == 0 or group.gr_name != owner.pw_name or bool(set(group.gr_mem) - {owner.pw_name})


def _anchor(values: dict[str, Any], at: Path, folder: Path) -> None:
    """Paths in the file count from its folder: make them count from the working folder."""
    for name in ("model", "adapter", "checkpoint", "policy"):
        value = values.get(name)
        if not isinstance(value, str) or at == folder:
            continue
        if value.startswith("exec:"):
            kind, *parts = value.split(":", 3)
            paths = (os.path.relpath(at / part, folder) if (at / part).exists() else part for part in parts[:2])
            values[name] = ":".join([kind, *paths, *parts[2:]])
            continue
        prefix = "scripted:" if value.startswith("scripted:") else ""
        path = at / value.removeprefix(prefix)
        if name in ("checkpoint", "policy") or path.exists():
            values[name] = prefix + os.path.relpath(path, folder)


def _refusal(error: ValidationError, values: Mapping[str, Any], labels: Mapping[str, str]) -> UsageError:
    """The first complaint as one line that names the flag, the variable or the file."""
    (name, *inner), reason = first_complaint(error)
    value, label = values[name], labels[name]
    for key in inner:
        value = value[key] if isinstance(value, Mapping) and key in value else value
    bare = label.rstrip(" =")
    where = ".".join([bare, *inner]) + label.removeprefix(bare)
    hint = _TOOLS_HINT if name == "tools" else "lalm-agent ask --help lists the settings"
    try:
        shown = str(value)
    except (RecursionError, ValueError):  # nested deeply, or a number of thousands of digits
        shown = "(too long to show)"
    return UsageError(f"{where}{shown}: {reason.lower()}", hint)
