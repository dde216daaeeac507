"""What the engine keeps of a clip: how much, of which models, and for whom."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from lalm_agent.audio import Sound
from lalm_agent.models.base import LALM, Decoding, Request, Turn
from lalm_agent.models.hf_engine import load
from lalm_agent.models.hf_loading import LoadOptions, load_checkpoint
from lalm_agent.models.hf_prefix import Prefix, PrefixCache, keeps_plain_cache

GREEDY = Decoding(max_new_tokens=5)


def test_kept_prefixes_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lalm_agent.models.hf_prefix.KEPT_BYTES", 1000)
    kept = PrefixCache()
    for clip in ("a", "b", "c"):
        tensor = torch.zeros(1, 1, 50, 1)  # 200 bytes, twice
        kept.put(clip, Prefix((1, 2), ((tensor, tensor.clone()),)))
    assert [kept.get(clip, (1, 2)) is not None for clip in ("a", "b", "c")] == [False, True, True]
    assert kept.get("c", (1, 3)) is None
    kept.put("d", Prefix((1,), ((torch.zeros(1, 1, 500, 1), torch.zeros(1, 1, 500, 1)),)))
    assert len(kept) == 1


@pytest.mark.parametrize("rope", [{"rope_type": "longrope"}, {"full_attention": {"rope_type": "dynamic"}}])
def test_positions_that_hang_on_the_whole_length_are_not_shared(
    tiny_checkpoint: Path, rope: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_checkpoint(str(tiny_checkpoint), LoadOptions("cpu")).model
    assert keeps_plain_cache(model)
    monkeypatch.setattr(model.config.get_text_config(decoder=True), "rope_parameters", rope)
    assert not keeps_plain_cache(model)


def test_each_adapter_keeps_what_it_heard_itself(tiny_checkpoint: Path, sound: Sound, tmp_path: Path) -> None:
    folder = save_adapter(tiny_checkpoint, tmp_path)

    def answer(model: LALM) -> Any:
        return model.generate([Request((Turn("user", "What is heard?"),), sound, GREEDY, options=("dog", "cat"))])

    base = load(str(tiny_checkpoint))
    adapted = base.with_adapter(folder)
    first, second = answer(base), answer(adapted)
    assert first != second
    assert answer(load(str(tiny_checkpoint)).with_adapter(folder)) == second
    assert (answer(base), answer(adapted)) == (first, second)


def save_adapter(checkpoint: Path, folder: Path) -> Path:
    """Random LoRA weights on the language model's keys and values: on what is kept of a clip."""
    from peft import LoraConfig, get_peft_model

    model = load_checkpoint(str(checkpoint), LoadOptions("cpu")).model
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        targets = r".*language_model.*\.(k_proj|v_proj)"
        adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=64, target_modules=targets))
        torch.manual_seed(1)
        for name, weights in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weights)
        adapted.save_pretrained(folder)
    return folder
