"""An adapter changes the answers of the model that was given it and nobody else's."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lalm_agent.audio import Sound
from lalm_agent.cli.main import run
from lalm_agent.errors import DataError, LalmError, PermanentBackendError, UsageError
from lalm_agent.models import hf_families
from lalm_agent.models.base import LALM, Decoding, Request, Turn
from lalm_agent.models.hf_engine import TransformersLALM, load
from lalm_agent.models.hf_loading import LoadOptions, load_checkpoint

FAMILIES = ["qwen2-audio", "qwen2.5-omni", "gemma-4"]


ATTENTION = r".*language_model.*\.(q_proj|v_proj)"


def make_adapter(checkpoint: Path, folder: Path, seed: int = 1, targets: str = ATTENTION) -> Path:
    """A LoRA on the language model's attention, with random weights in place of trained ones."""
    from peft import LoraConfig, get_peft_model

    model = load_checkpoint(str(checkpoint), LoadOptions("cpu")).model
    config = LoraConfig(r=4, lora_alpha=64, target_modules=targets)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        adapted = get_peft_model(model, config)
    torch.manual_seed(seed)
    for name, weights in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights)
    adapted.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=FAMILIES)
def base(request: pytest.FixtureRequest, tiny_family: Callable[[str], Path]) -> TransformersLALM:
    return load(str(tiny_family(request.param)))


@pytest.fixture(scope="module")
def adapter(base: TransformersLALM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter(Path(base.spec.info.ref), tmp_path_factory.mktemp("adapter"))


@pytest.fixture(scope="module")
def qwen_adapter(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter(tiny_checkpoint, tmp_path_factory.mktemp("qwen-adapter"))


def answer(lalm: LALM, sound: Sound) -> tuple[object, object]:
    request = Request((Turn("user", "What?"),), sound, Decoding(max_new_tokens=4), options=("dog", "cat"))
    response = lalm.generate([request])[0]
    return response.completions, response.option_scores


def test_the_adapter_changes_the_adapted_model_s_answers_only(
    base: TransformersLALM, adapter: Path, sound: Sound, tmp_path: Path
) -> None:
    before = answer(base, sound)
    adapted = base.with_adapter(adapter)
    assert answer(base, sound) == before
    assert answer(adapted, sound) != before
    other = base.with_adapter(make_adapter(Path(base.spec.info.ref), tmp_path / "other", seed=2))
    answers = [answer(lalm, sound) for lalm in (base, adapted, other, adapted, base)]
    assert answers[0] == answers[4] == before
    assert answers[1] == answers[3] != answers[2] != before
    assert len({lalm.spec.info.adapter_sha256 for lalm in (base, adapted, other)}) == 3
    assert adapted.spec.info.weights_sha256 == base.spec.info.weights_sha256


def test_each_adapter_keeps_what_it_heard_itself(tiny_checkpoint: Path, sound: Sound, tmp_path: Path) -> None:
    folder = make_adapter(tiny_checkpoint, tmp_path, targets=r".*language_model.*\.(k_proj|v_proj)")
    base = load(str(tiny_checkpoint))
    adapted = base.with_adapter(folder)
    first, second = answer(base, sound), answer(adapted, sound)
    assert first != second
    assert answer(load(str(tiny_checkpoint)).with_adapter(folder), sound) == second
    assert (answer(base, sound), answer(adapted, sound)) == (first, second)


def test_weights_are_shared(tiny_checkpoint: Path, qwen_adapter: Path) -> None:
    base = load(str(tiny_checkpoint))
    model = base._checkpoint.model
    weights = {name: value.data_ptr() for name, value in model.named_parameters()}
    adapted = base.with_adapter(qwen_adapter)
    assert adapted._checkpoint.model is model
    kept = {name.replace(".base_layer", ""): value.data_ptr() for name, value in model.named_parameters()}
    assert all(kept[name] == pointer for name, pointer in weights.items())


def refused(lalm: TransformersLALM, folder: Path, sound: Sound) -> LalmError:
    """The error; the base model must answer as if nothing had been tried."""
    before = answer(lalm, sound)
    with pytest.raises(LalmError) as error:
        lalm.with_adapter(folder)
    assert "\n" not in error.value.message
    assert error.value.hint is not None
    assert answer(lalm, sound) == before
    return error.value


def test_no_such_folder(tiny_checkpoint: Path, tmp_path: Path, sound: Sound) -> None:
    error = refused(load(str(tiny_checkpoint)), tmp_path / "nowhere", sound)
    assert isinstance(error, UsageError)


def test_not_an_adapter(tiny_checkpoint: Path, tmp_path: Path, sound: Sound) -> None:
    error = refused(load(str(tiny_checkpoint)), tmp_path, sound)
    assert isinstance(error, DataError)
    assert "adapter_config.json" in error.message


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_damaged_files(name: str, tiny_checkpoint: Path, qwen_adapter: Path, tmp_path: Path, sound: Sound) -> None:
    folder = Path(shutil.copytree(qwen_adapter, tmp_path / "copy"))
    (folder / name).write_bytes((folder / name).read_bytes()[:50])
    assert isinstance(refused(load(str(tiny_checkpoint)), folder, sound), DataError)


def test_pickled_adapters_are_not_read(tiny_checkpoint: Path, qwen_adapter: Path, tmp_path: Path, sound: Sound) -> None:
    folder = Path(shutil.copytree(qwen_adapter, tmp_path / "copy"))
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    assert "adapter_model.safetensors" in refused(load(str(tiny_checkpoint)), folder, sound).message


def test_an_adapter_of_another_class(tiny_family: Callable[[str], Path], qwen_adapter: Path, sound: Sound) -> None:
    error = refused(load(str(tiny_family("audio-flamingo-3"))), qwen_adapter, sound)
    assert isinstance(error, UsageError)
    assert "Qwen2Audio" in error.message


@pytest.mark.parametrize("change", ["shape", "names", "target"])
def test_an_adapter_of_another_base(
    change: str, tiny_checkpoint: Path, qwen_adapter: Path, tmp_path: Path, sound: Sound
) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(qwen_adapter, tmp_path / "copy"))
    weights = load_file(folder / "adapter_model.safetensors")
    if change == "shape":
        weights = {name: torch.cat([value, value]) if "lora_B" in name else value for name, value in weights.items()}
    if change == "names":
        weights = {name.replace("layers.1.", "layers.7."): value for name, value in weights.items()}
    if change == "target":
        config = json.loads((folder / "adapter_config.json").read_text())
        (folder / "adapter_config.json").write_text(json.dumps(config | {"target_modules": ["c_attn"]}))
    save_file(weights, folder / "adapter_model.safetensors")
    error = refused(load(str(tiny_checkpoint)), folder, sound)
    assert isinstance(error, UsageError)
    assert "another model" in error.message


OLD_LAYOUT = (("model.language_model.", "language_model.model."), ("model.audio_tower.", "audio_tower."))


def test_an_adapter_of_transformers_before_4_52_is_the_same_adapter(
    tiny_checkpoint: Path, tmp_path: Path, sound: Sound
) -> None:
    from safetensors.torch import load_file, save_file

    targets = r".*(language_model|audio_tower).*\.(q_proj|v_proj)"
    new = make_adapter(tiny_checkpoint, tmp_path / "new", targets=targets)
    old = Path(shutil.copytree(new, tmp_path / "old"))
    weights = load_file(new / "adapter_model.safetensors")
    for today, before in OLD_LAYOUT:
        assert any(today in name for name in weights)
        weights = {name.replace(today, before): value for name, value in weights.items()}
    save_file(weights, old / "adapter_model.safetensors")
    base = load(str(tiny_checkpoint))
    assert answer(base.with_adapter(old), sound) == answer(base.with_adapter(new), sound) != answer(base, sound)


def test_the_keys_that_do_not_fit_are_named(
    tiny_checkpoint: Path, qwen_adapter: Path, tmp_path: Path, sound: Sound
) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(qwen_adapter, tmp_path / "copy"))
    weights = load_file(folder / "adapter_model.safetensors")
    weights = {name.replace("q_proj", "query"): value for name, value in weights.items()}
    save_file(weights, folder / "adapter_model.safetensors")
    message = refused(load(str(tiny_checkpoint)), folder, sound).message
    assert "not in the model: model.language_model.layers.*.self_attn.query.lora_A" in message
    assert "not in the adapter: model.language_model.layers.*.self_attn.q_proj.lora_A" in message
    assert message.count("layers.*") == 4


@pytest.mark.parametrize("initialised", ["pissa", "pissa_niter_16", "olora"])
def test_an_adapter_that_changes_the_base_is_refused(
    initialised: str, tiny_checkpoint: Path, qwen_adapter: Path, tmp_path: Path, sound: Sound
) -> None:
    folder = Path(shutil.copytree(qwen_adapter, tmp_path / "copy"))
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"init_lora_weights": initialised}))
    error = refused(load(str(tiny_checkpoint)), folder, sound)
    assert isinstance(error, UsageError)
    assert "changes the base" in error.message


@pytest.mark.parametrize(
    "change", [{"target_modules": "(([a-z_.0-9]+)+)+!"}, {"rank_pattern": {"(([a-z_.0-9]+)+)+!": 2}}]
)
def test_a_pattern_that_never_ends_is_given_up(
    change: dict[str, object],
    tiny_checkpoint: Path,
    qwen_adapter: Path,
    tmp_path: Path,
    sound: Sound,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = Path(shutil.copytree(qwen_adapter, tmp_path / "copy"))
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | change))
    base = load(str(tiny_checkpoint))
    monkeypatch.setattr(hf_families, "LONGEST_S", 0.5)
    assert "takes more than 0.5 s" in refused(base, folder, sound).message


def test_an_adapter_of_other_weights_of_the_same_shapes(
    tiny_checkpoint: Path, qwen_adapter: Path, tmp_path: Path, sound: Sound
) -> None:
    base = load(str(tiny_checkpoint))
    folder = Path(shutil.copytree(qwen_adapter, tmp_path / "copy"))
    identity = {"model": "mini", "weights_sha256": "0" * 64}
    (folder / "spec.json").write_text(json.dumps({"schema": 1, "identity": identity}))
    error = refused(base, folder, sound)
    assert isinstance(error, UsageError)
    own = base.spec.info.weights_sha256
    assert own is not None
    assert f"was trained on other weights: mini with sha256 000000000000, and {tiny_checkpoint} has {own[:12]}" in str(
        error.message
    )
    (folder / "spec.json").write_text(json.dumps({"schema": 1, "identity": identity | {"weights_sha256": own}}))
    assert answer(base.with_adapter(folder), sound) != answer(base, sound)


@pytest.mark.parametrize("spec", ["[]", "{}", '{"identity": 3}', '{"identity": {"weights_sha256": null}}'])
def test_an_adapter_that_does_not_name_its_weights(
    spec: str, tiny_checkpoint: Path, qwen_adapter: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(qwen_adapter, tmp_path / "copy"))
    (folder / "spec.json").write_text(spec)
    assert load(str(tiny_checkpoint)).with_adapter(folder).spec.info.adapter_sha256 is not None


def test_a_damaged_record_of_the_weights_is_not_passed_over(
    tiny_checkpoint: Path, qwen_adapter: Path, tmp_path: Path, sound: Sound
) -> None:
    folder = Path(shutil.copytree(qwen_adapter, tmp_path / "copy"))
    (folder / "spec.json").write_text('{"identity": {"weights_sha')
    error = refused(load(str(tiny_checkpoint)), folder, sound)
    assert isinstance(error, DataError)
    assert "spec.json cannot be read" in error.message


def test_an_adapter_of_another_hub_model(tiny_checkpoint: Path, qwen_adapter: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(qwen_adapter, tmp_path / "copy"))
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "some/model"}))
    adapters = load_checkpoint(str(tiny_checkpoint), LoadOptions("cpu")).adapters
    with pytest.raises(UsageError, match="for some/model, the model is other/model"):
        adapters.add(folder, "other/model@abc")
    assert adapters.add(folder, "some/model@abc") == adapters.add(folder, str(tiny_checkpoint))


def test_an_adapter_that_belongs_to_the_checkpoint_is_always_on(
    tiny_family: Callable[[str], Path], qwen_adapter: Path, tmp_path: Path, sound: Sound
) -> None:
    merged = tiny_family("phi-4-multimodal")
    folder = Path(shutil.copytree(merged, tmp_path / "whole"))
    make_adapter(merged, folder / "speech-lora", targets=r".*model.layers.*\.qkv_proj")
    whole, bare = load(str(folder)), load(str(merged))
    assert answer(whole, sound) != answer(bare, sound)
    assert whole.spec.info.weights_sha256 != bare.spec.info.weights_sha256
    with pytest.raises(UsageError, match="of its own"):
        whole.with_adapter(folder / "speech-lora")


def test_a_refused_adapter_leaves_the_others_alone(
    tiny_checkpoint: Path, qwen_adapter: Path, tmp_path: Path, sound: Sound
) -> None:
    base = load(str(tiny_checkpoint))
    adapted = base.with_adapter(qwen_adapter)
    folder = Path(shutil.copytree(qwen_adapter, tmp_path / "copy"))
    (folder / "adapter_model.safetensors").write_bytes(b"")
    before = answer(adapted, sound)
    assert isinstance(refused(base, folder, sound), DataError)
    assert answer(adapted, sound) == before


def test_peft_is_imported_only_for_an_adapter(tiny_checkpoint: Path) -> None:
    code = f"""
import sys
from lalm_agent.models.hf_loading import LoadOptions, load_checkpoint
from lalm_agent.models.hf_engine import load
load({str(tiny_checkpoint)!r})
assert "peft" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_method_lora_asks_the_adapted_model(
    tiny_checkpoint: Path, qwen_adapter: Path, sound: Sound, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for arguments in (["--method", "baseline"], ["--method", "lora", "--adapter", str(qwen_adapter)]):
        model = ["--model", str(tiny_checkpoint), "--max-new-tokens", "4", "--device", "cpu"]
        assert run(["ask", sound.ref.path, "Which?", "-c", "dog", "-c", "cat", "--json", *model, *arguments]) == 0
        said.append(json.loads(capsys.readouterr().out))
    baseline, lora = said
    assert (lora["method"], lora["tools"]) == ("lora", {"answer": "lalm"})
    assert lora["steps"][0]["prompt"] == baseline["steps"][0]["prompt"]
    assert lora["steps"][0]["output"] != baseline["steps"][0]["output"]
    assert baseline["model"]["adapter_sha256"] is None
    assert lora["model"]["adapter_sha256"] is not None


def test_a_process_forked_while_the_model_is_used_says_so(tiny_checkpoint: Path) -> None:
    adapters = load_checkpoint(str(tiny_checkpoint), LoadOptions("cpu")).adapters
    with adapters.on(None):
        if (child := os.fork()) == 0:
            with contextlib.suppress(BaseException):
                try:
                    with adapters.on(None):
                        os._exit(2)
                except PermanentBackendError:
                    os._exit(3)
            os._exit(4)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    if (child := os.fork()) == 0:
        with contextlib.suppress(BaseException), adapters.on(None):
            os._exit(5)
        os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
