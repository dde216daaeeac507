"""`train merge`: a checkpoint that answers as base and adapter do, in the base's own layout."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from lalm_agent.audio import Sound, load
from lalm_agent.cli.main import run
from lalm_agent.models.base import Decoding, Request, Turn
from lalm_agent.models.hf_engine import TransformersLALM
from lalm_agent.models.hf_engine import load as load_model
from lalm_agent.models.pretrained_clips import pretrained_clips_of

TARGETS = r".*language_model.*\.(q_proj|v_proj)"


def make_adapter(checkpoint: Path, folder: Path) -> Path:
    """A LoRA whose weights are large enough to be seen in the replies."""
    import warnings

    from peft import LoraConfig, get_peft_model

    model = load_model(str(checkpoint))._checkpoint.model
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=64, target_modules=TARGETS))
    torch.manual_seed(1)
    for name, weights in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights)
    adapted.save_pretrained(folder)
    return folder


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    tensors = {}
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as weights:
            tensors |= {name: weights.get_tensor(name) for name in weights.keys()}  # noqa: SIM118
    return tensors


def requests(sound: Sound) -> list[Request]:
    turns = (Turn("user", "Which animal?"),)
    sampled = Decoding(6, temperature=1.0, seed=3)
    return [
        Request(turns, sound, Decoding(6), options=("dog", "cat", "IDK")),
        Request(turns, sound, sampled, n=3, key="q"),
        Request((Turn("user", "Say a word."),), None, Decoding(6)),
    ]


def replies(model: TransformersLALM, sound: Sound) -> tuple[list[str], list[float]]:
    responses = model.generate(requests(sound))
    scores = [score.logprob for score in responses[0].option_scores or ()]
    return [completion.text for response in responses for completion in response.completions], scores


@pytest.fixture
def sound(make_rows: Callable[..., Path], tmp_path: Path) -> Sound:
    make_rows(2)
    return load(tmp_path / "1.wav")


@pytest.mark.parametrize("family", ["qwen2-audio", "qwen2.5-omni", "gemma-4"])
def test_the_merged_checkpoint_answers_as_base_and_adapter(
    family: str, make_tiny: Callable[[str, Path], None], tmp_path: Path, sound: Sound
) -> None:
    base, out = tmp_path / "base", tmp_path / "merged"
    base.mkdir()
    make_tiny(family, base)
    adapter = make_adapter(base, tmp_path / "adapter")
    assert run(["train", "merge", str(adapter), "--model", str(base), "--out", str(out)]) == 0

    model = load_model(str(base))
    texts, scores = replies(model.with_adapter(adapter), sound)
    merged_texts, merged_scores = replies(load_model(str(out)), sound)
    assert merged_texts == texts
    assert merged_scores == pytest.approx(scores, abs=2e-3)
    assert scores != pytest.approx(replies(model, sound)[1], abs=0.05)  # the adapter is seen at all
    # The base's layout: its architecture, its names, and its own bytes wherever the adapter is not.
    assert json.loads((out / "config.json").read_text()) == json.loads((base / "config.json").read_text())
    own, new = tensors_of(base), tensors_of(out)
    assert own.keys() == new.keys()
    changed = {name for name in own if not torch.equal(own[name], new[name])}
    assert changed
    assert all(name.endswith(("q_proj.weight", "v_proj.weight")) for name in changed)
    record = json.loads((out / "merge.json").read_text())
    assert (record["changed"], record["tensors"]) == (len(changed), len(own))
    assert record["adapter_sha256"] == model.with_adapter(adapter).spec.info.adapter_sha256


def test_shards_stay_and_the_parts_that_it_speaks_with(
    hub_folder: Path, tmp_path: Path, said: Callable[[], tuple[str, str]]
) -> None:
    base, out = tmp_path / "base", tmp_path / "merged"
    shutil.copytree(hub_folder, base)
    from safetensors.torch import save_file

    save_file({"talker.weight": torch.ones(3)}, base / "model-talker.safetensors", {"format": "pt"})
    adapter = make_adapter(hub_folder, tmp_path / "adapter")
    (adapter / "trained_clips.json").write_text(json.dumps({"audio_sha256": ["ab" * 32]}))
    arguments = ["train", "merge", str(adapter), "--model", str(base), "--out", str(out), "--json"]
    assert run(arguments) == 0
    assert json.loads(said()[0])["base"] == str(base)
    assert {file.name for file in base.glob("*.safetensors")} == {file.name for file in out.glob("*.safetensors")}
    assert torch.equal(tensors_of(out)["talker.weight"], torch.ones(3))
    assert "ab" * 32 in pretrained_clips_of(str(out))
    assert not out.with_name("merged.part").exists()
    # A second time it is refused, and nothing is lost.
    before = (out / "merge.json").read_bytes()
    assert run(arguments) == 2
    assert "is there already" in said()[1]
    assert (out / "merge.json").read_bytes() == before


def test_the_base_is_what_the_adapter_names(hub_folder: Path, tmp_path: Path) -> None:
    adapter = make_adapter(hub_folder, tmp_path / "adapter")
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": str(hub_folder)}))
    # What a kill left behind is no obstacle.
    (tmp_path / "merged.part" / "merged").mkdir(parents=True)
    assert run(["train", "merge", str(adapter), "--out", str(tmp_path / "merged")]) == 0
    assert json.loads((tmp_path / "merged" / "merge.json").read_text())["base"] == str(hub_folder)


def test_what_cannot_be_merged_is_refused(
    hub_folder: Path, tmp_path: Path, said: Callable[[], tuple[str, str]]
) -> None:
    adapter = make_adapter(hub_folder, tmp_path / "adapter")

    def error(*arguments: str) -> str:
        assert run(["train", "merge", *arguments, "--out", str(tmp_path / "merged")]) == 2
        assert not (tmp_path / "merged").exists()
        text = said()[1]
        assert "Traceback" not in text
        return text

    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": None}))
    assert "--model" in error(str(adapter))
    assert "no such adapter folder" in error(str(tmp_path / "nowhere"), "--model", str(hub_folder))
    (adapter / "spec.json").write_text(json.dumps({"identity": {"model": "x", "weights_sha256": "0" * 64}}))
    assert "other weights" in error(str(adapter), "--model", str(hub_folder))
