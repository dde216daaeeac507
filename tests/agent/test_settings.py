"""Settings: which source wins, how they merge, and every refusal in two lines."""

import os
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_agent.config import (
    FIELDS,
    FILE_NAME,
    AgentConfig,
    find_settings_file,
    ignored_variables,
    load_config,
    make_config,
)
from lalm_agent.errors import UsageError

# For each field: a value as the file has it, as the environment has it, and as a flag gives it; all different.
VALUES: dict[str, tuple[Any, str, Any]] = {
    "model": ("from-file", "from-environment", "from-flag"),
    "method": ("baseline", "idk", "mcot"),
    "preset": ("paper", "assist", "paper"),
    "tools": ({"asr": "file"}, "asr=environment", {"asr": "flag"}),
    "answer_mode": ("score", "generate", "score"),
    "adapter": ("a", "b", "c"),
    "max_new_tokens": (1, "2", 3),
    "temperature": (0.5, "1.5", 1.0),
    "seed": (1, "2", 3),
    "device": ("cpu", "cuda", "mps"),
    "dtype": ("float32", "bfloat16", "float16"),
    "trust_remote_code": (True, "false", True),
    "allow_pickle": (True, "0", True),
    "timeout_s": (1.5, "2.5", 3.5),
    "trust_env": (True, "0", True),
    "hears_audio": (False, "true", False),
    "max_audio_s": (1.5, "2.5", 3.5),
    "checkpoint": ("a.sqlite", "b.sqlite", "c.sqlite"),
    "adaptive": (0.5, "0.6", 0.7),
    "mcot_order": ("printed", "clip-first", "printed"),
    "policy": ("a.json", "b.json", "c.json"),
    "policy_unchecked": (True, "no", True),
    "debug": (True, "no", True),
}


def as_toml(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return f"[{name}]\n" + "".join(f'{key} = "{text}"\n' for key, text in value.items())
    return f"{name} = {str(value).lower() if isinstance(value, bool) else repr(value)}\n"


def expected(name: str, value: Any) -> Any:
    if name == "tools" and isinstance(value, str):
        value = dict([value.split("=")])
    return getattr(AgentConfig(**{name: value}), name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "project" / "deep" / "er"
    path.mkdir(parents=True)
    return path


def test_every_field_is_in_the_table() -> None:
    assert set(VALUES) == set(FIELDS) == set(AgentConfig.model_fields)


@pytest.mark.parametrize("name", FIELDS)
def test_the_strongest_source_wins(folder: Path, name: str) -> None:
    in_file, in_environment, as_flag = VALUES[name]
    ranked = [(4, as_flag), (2, in_environment), (1, in_file)]
    for sources in range(8):
        (folder / FILE_NAME).write_text(as_toml(name, in_file) if sources & 1 else "")
        environment = {f"LALM_{name.upper()}": in_environment} if sources & 2 else {}
        config = load_config({name: as_flag if sources & 4 else None}, environment, folder)
        default = getattr(AgentConfig(), name)
        value = next((expected(name, value) for bit, value in ranked if sources & bit), default)
        assert getattr(config, name) == value, sources
        assert config.model_dump(exclude={name}) == AgentConfig().model_dump(exclude={name})


@given(*(st.dictionaries(st.sampled_from(["type", "asr", "caption"]), st.sampled_from("abc")) for _ in range(3)))
def test_tools_merge_node_by_node(in_file: dict[str, str], variable: dict[str, str], flag: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / FILE_NAME).write_text(as_toml("tools", in_file))
        environment = {"LALM_TOOLS": ",".join(f"{node}={tool}" for node, tool in variable.items())}
        config = load_config({"tools": flag}, environment, Path(folder))
    assert config.tools == {**in_file, **variable, **flag}


def test_a_preset_drops_the_single_tools_of_weaker_sources(folder: Path) -> None:
    (folder / FILE_NAME).write_text('[tools]\nasr = "whisper:small"\n')
    assert load_config({"preset": "paper"}, {}, folder).tools == {}
    assert load_config({"preset": "paper", "tools": {"asr": "whisper"}}, {}, folder).tools == {"asr": "whisper"}
    assert load_config({}, {"LALM_PRESET": "paper", "LALM_TOOLS": "asr=lalm"}, folder).tools == {"asr": "lalm"}
    (folder / FILE_NAME).write_text('preset = "paper"\n[tools]\nasr = "whisper:small"\n')
    assert load_config({}, {}, folder).tools == {"asr": "whisper:small"}


def test_the_nearest_file_upward_counts(folder: Path) -> None:
    (folder.parent.parent / FILE_NAME).write_text('model = "far"')
    assert load_config({}, {}, folder).model == "far"
    (folder.parent / FILE_NAME).write_text('model = "near"')
    assert load_config({}, {}, folder).model == "near"
    assert find_settings_file(folder) == (folder.parent / FILE_NAME).resolve()


def test_paths_in_the_file_count_from_its_folder(folder: Path) -> None:
    top = folder.parent
    (top / "checkpoint").mkdir()
    (top / "script.jsonl").touch()
    lines = 'model = "checkpoint"', 'adapter = "checkpoint"', 'checkpoint = "states.sqlite"', 'policy = "p.json"'
    (top / FILE_NAME).write_text("\n".join(lines))
    config = load_config({}, {}, folder)
    assert (config.model, config.adapter) == (os.path.join("..", "checkpoint"),) * 2
    assert config.checkpoint == os.path.join("..", "states.sqlite")
    assert config.policy == os.path.join("..", "p.json")
    (top / FILE_NAME).write_text('model = "scripted:script.jsonl"')
    assert load_config({}, {}, folder).model == f"scripted:{os.path.join('..', 'script.jsonl')}"
    (top / FILE_NAME).write_text('model = "owner/name"')
    assert load_config({}, {}, folder).model == "owner/name"


def test_an_empty_variable_is_none(folder: Path) -> None:
    assert load_config({}, {"LALM_MODEL": ""}, folder) == AgentConfig()


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("modle = 'mini'", "modle: no such setting", "did you mean model?"),
        ("Max_New_Token = 3", "Max_New_Token: no such setting", "did you mean max_new_tokens?"),
        ("zzz = 1", "zzz: no such setting", "one of: model, method"),
        ("[asr]\ntool = 'whisper'", "asr: no such setting", "one of:"),
        ("max_new_tokens = 0", "max_new_tokens = 0: input should be", "settings"),
        ("max_new_tokens = 'many'", "max_new_tokens = many", "settings"),
        ("method = 'guess'", "method = guess: input should be 'baseline'", "settings"),
        ("tools = 'paper'", "tools = paper", "preset fills every node"),
        ("[tools]\nasr = 3", "tools.asr = 3", "NODE = TOOL"),
        ("model = ", "cannot be read", "mend or remove it"),
        ("model = '\udcff'", "cannot be read", "mend or remove it"),
        (f"a = {'[' * 99999}", "nested too deeply", "mend or remove it"),
        (f"tools.{'a.' * 9999}a = 1", "tools", ""),
        (f"model.{'a.' * 9999}a = 1", "model", ""),
        (f"[{'a.' * 9999}a]", "a: no such setting", ""),
        (f"seed = 0x{'f' * 9999}", "seed = (too long to show): input should be less", ""),
    ],
)
def test_a_wrong_file_is_refused_by_name(folder: Path, text: str, said: str, hint: str) -> None:
    (folder / FILE_NAME).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError) as error:
        load_config({}, {}, folder)
    assert str(folder / FILE_NAME) in error.value.message
    assert said in error.value.message
    assert hint in str(error.value.hint)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"LALM_METHOD": "guess"}, "LALM_METHOD=guess"),
        ({"LALM_MAX_NEW_TOKENS": "0"}, "LALM_MAX_NEW_TOKENS=0"),
        ({"LALM_DEBUG": "perhaps"}, "LALM_DEBUG=perhaps"),
        ({"LALM_TOOLS": "paper"}, "LALM_TOOLS takes NODE=TOOL, not 'paper'"),
        ({"LALM_TOOLS": "asr=,type=lalm"}, "LALM_TOOLS takes NODE=TOOL"),
    ],
)
def test_a_wrong_variable_is_refused_by_name(folder: Path, variables: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        load_config({}, variables, folder)


owners = pytest.mark.skipif(not hasattr(os, "getuid"), reason="this system has no owners of files")


@owners
def test_a_file_of_another_user_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / FILE_NAME
    path.touch()
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    if owner == 0:
        assert load_config({}, {}, folder) == AgentConfig()  # the administrator's is trusted
        os.chown(path, 4242, -1)
    with pytest.raises(UsageError, match="another user"):
        load_config({}, {}, folder)
    monkeypatch.setattr(os, "getuid", lambda: 0)
    with pytest.raises(UsageError, match="another user"):
        load_config({}, {}, folder)


@owners
@pytest.mark.parametrize("bits", [0o020, 0o002])
@pytest.mark.parametrize("place", [f"project/{FILE_NAME}", "project", "project/deep", "project/deep/er"])
def test_a_file_that_others_can_write_or_replace_is_refused(
    folder: Path, tmp_path: Path, place: str, bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)
    (tmp_path / "project" / FILE_NAME).touch()
    os.chown(tmp_path / "project" / FILE_NAME, os.getuid(), -1)
    (tmp_path / place).chmod(0o755 | bits)
    with pytest.raises(UsageError, match=f"others can write to {tmp_path / place}"):
        load_config({}, {}, folder)
    (tmp_path / place).chmod(0o1755 | bits)
    if (tmp_path / place).is_dir():
        assert load_config({}, {}, folder) == AgentConfig()


@pytest.mark.parametrize("is_there", [True, False])
def test_a_symbolic_link_is_refused(folder: Path, is_there: bool) -> None:
    target = folder.parent / "other.toml"
    if is_there:
        target.touch()
    (folder / FILE_NAME).symlink_to(target)
    with pytest.raises(UsageError, match="symbolic link"):
        load_config({}, {}, folder)


def test_keywords_look_at_nothing_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / FILE_NAME).write_text('model = "file"')
    monkeypatch.chdir(folder)
    monkeypatch.setenv("LALM_MODEL", "environment")
    assert make_config({}).model == "mini"
    with pytest.raises(UsageError, match="modle: no such setting"):
        make_config({"modle": "mini"})
    with pytest.raises(UsageError, match="method=guess"):
        make_config({"method": "guess"})


def test_variables_that_set_nothing_are_named() -> None:
    variables = {"LALM_MODLE": "x", "LALM_API_KEY": "x", "LALM_MODEL": "x", "LALM_QQQQ": "x", "OTHER": "x"}
    assert ignored_variables(variables) == {"LALM_MODLE": "LALM_MODEL", "LALM_QQQQ": None}


def test_the_documents_list_every_variable() -> None:
    page = (Path(__file__).parents[2] / "docs" / "agent.md").read_text("utf-8")
    assert [name for name in FIELDS if f"LALM_{name.upper()}" not in page] == []


def test_the_file_of_the_documents_is_accepted(folder: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "agent.md").read_text("utf-8")
    text = page.split("```toml\n")[1].split("```")[0]
    (folder / FILE_NAME).write_text(text)
    config = load_config({}, {}, folder)
    assert {name: value for name, value in tomllib.loads(text).items() if getattr(config, name) != value} == {}
