"""Preference training: its pairs, its loss, and that it moves replies the way the pairs say."""

import json
import math
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lalm_agent.cli.main import run
from lalm_agent.config import AgentConfig
from lalm_agent.errors import UsageError
from lalm_agent.records import Method
from lalm_agent.training.lora.adapter import LOG, WEIGHTS
from lalm_agent.training.lora.data import IGNORED, Collator, read_rows
from lalm_agent.training.lora.model import load_base, with_lora
from lalm_agent.training.lora.preference import (
    IDK_OVER_WRONG,
    RIGHT_OVER_IDK,
    collate_pairs,
    dpo,
    pair_counts,
    pair_loss,
    preference_pairs,
    reply_log_probs,
)
from lalm_agent.training.lora.recipe import PRESETS, Recipe, make_recipe

ANIMALS = ["dog", "cat", "cow"]


def rewrite(path: Path, *changes: dict[str, Any]) -> Path:
    """Change the fields of the first rows, one dict a row."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row, change in zip(rows, changes, strict=False):
        row |= change
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def triples(path: Path, seed: int = 0) -> list[tuple[str, str, str, str]]:
    pairs = preference_pairs(read_rows(path), seed)
    return [(pair.chosen.id, pair.kind, pair.chosen.target, pair.rejected.target) for pair in pairs]


def test_right_over_idk_over_wrong(make_rows: Any) -> None:
    unknown = {"wrong": ["cat", "cow"], "target": "I do not know."}
    known = {"wrong": ["cow"], "target": "dog", "gold": "dog"}
    path = rewrite(make_rows(4, choices=ANIMALS), unknown, known, {"wrong": [], "choices": []}, {"wrong": []})
    pairs = triples(path)
    assert pairs[:4] == [
        ("q0", IDK_OVER_WRONG, "I do not know.", "cat"),
        ("q0", IDK_OVER_WRONG, "I do not know.", "cow"),
        ("q1", RIGHT_OVER_IDK, "dog", "IDK"),
        ("q1", IDK_OVER_WRONG, "IDK", "cow"),
    ]
    # The open question q2 has nothing wrong to say; q3 has other choices, and the seed picks one of them.
    assert pairs[4] == ("q3", RIGHT_OVER_IDK, "cat", "IDK")
    assert {triples(path, seed)[5] for seed in range(20)} == {
        ("q3", IDK_OVER_WRONG, "IDK", "dog"), ("q3", IDK_OVER_WRONG, "IDK", "cow"),
    }  # fmt: skip
    assert pair_counts(preference_pairs(read_rows(path), 0)) == {RIGHT_OVER_IDK: 2, IDK_OVER_WRONG: 4}


def test_rows_that_make_no_pairs_are_refused(make_rows: Any) -> None:
    with pytest.raises(UsageError, match="does not say what the wrong samples answered"):
        preference_pairs(read_rows(make_rows(2)), 0)
    with pytest.raises(UsageError, match="an unsure answer is no refusal"):
        preference_pairs(read_rows(rewrite(make_rows(2, wrong=[]), {"target_source": "gold"})), 0)
    with pytest.raises(UsageError, match="no pair of replies"):
        preference_pairs(read_rows(make_rows(1, wrong=[], choices=[]), allow_one_class=True), 0)


def test_the_loss_by_hand() -> None:
    policy, reference = torch.tensor([-1.0, -2.0, -4.0, -1.0]), torch.tensor([-2.0, -2.0, -3.0, -3.0])
    loss, margin = dpo(policy, reference, 0.5)
    # Pair 1: (1) - (-1) = 2; pair 2: (0) - (2) = -2; times beta.
    by_hand = (math.log1p(math.exp(-1)) + math.log1p(math.exp(1))) / 2
    assert float(loss) == pytest.approx(by_hand)
    assert float(margin) == pytest.approx(0)
    assert float(dpo(policy, policy, 0.5)[0]) == pytest.approx(math.log(2))


def test_a_reply_is_the_sum_of_its_tokens() -> None:
    logits = torch.randn(2, 4, 5)
    labels = torch.tensor([[IGNORED, IGNORED, 2, 4], [IGNORED, 3, IGNORED, IGNORED]])
    steps = logits.log_softmax(-1)
    assert torch.allclose(
        reply_log_probs(logits, labels), torch.stack([steps[0, 1, 2] + steps[0, 2, 4], steps[1, 0, 3]])
    )


def test_the_reference_is_the_base_and_the_margin_grows(hub_folder: Path, make_rows: Any) -> None:
    with ExitStack() as stack:
        base = load_base(AgentConfig(model=str(hub_folder)), "cpu", stack)
        rows = read_rows(make_rows(2, wrong=["cat"]))
        collator = Collator(rows, base.checkpoint.processor, base.hearing, Method.BASELINE, base.stop_ids)
        pairs = preference_pairs(rows, 0)
        batch = collate_pairs(collator, pairs)
        with torch.no_grad():
            labels = batch["labels"]
            inputs = {name: value for name, value in batch.items() if name != "labels"}
            alone = reply_log_probs(base.checkpoint.model(**inputs).logits, labels)
        model = with_lora(base, PRESETS["mini"].model_copy(update={"dropout": 0.5}))
        model.train()
        optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-3)
        margins = []
        for _ in range(12):
            loss, margin = pair_loss(model, batch, 0.1)
            margins.append(float(margin))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        assert model.training
        assert margins[0] == 0
        assert margins[-1] > 0.05
        model.eval()
        with torch.no_grad():
            own = reply_log_probs(model(**inputs).logits, labels)
            # What `pair_loss` says after these steps is `dpo` against the base as it was without an adapter.
            assert float(pair_loss(model, batch, 0.1)[1]) == pytest.approx(float(dpo(own, alone, 0.1)[1]), abs=1e-4)


def test_a_recipe_without_preference_is_written_as_before_there_was_one() -> None:
    """Else the hash in the identity of an older study changes, and `transfer` takes it for another one."""
    recipe = PRESETS["paper"]
    assert not {"loss", "beta"} & recipe.model_dump().keys()
    assert not {"loss", "beta"} & json.loads(recipe.model_dump_json()).keys()
    dpo_recipe = make_recipe("paper", {"loss": "dpo"})
    assert (dpo_recipe.loss, dpo_recipe.beta) == ("dpo", 0.1)
    assert Recipe.model_validate(dpo_recipe.model_dump()) == dpo_recipe


def command(rows: Path, model: Path, out: Path, *more: str) -> list[str]:
    arguments = ["train", "--data", str(rows), "--model", str(model), "--out", str(out), "--preset", "mini"]
    return [*arguments, "--device", "cpu", "--batch-size", "2", "--grad-accum", "2", "--max-steps", "6", *more]


@pytest.mark.timeout(600)
def test_a_stopped_preference_training_goes_on_to_the_same_adapter(
    hub_folder: Path, make_rows: Any, tmp_path: Path, capsys: Any
) -> None:
    from lalm_agent.training.lora.trainer import DpoTrainer

    rows, whole, out = make_rows(5, wrong=["cat"]), tmp_path / "whole", tmp_path / "stopped"
    dpo_flags = ("--loss", "dpo", "--beta", "0.3", "--dropout", "0.1", "--save-every", "2")
    assert run(command(rows, hub_folder, whole, *dpo_flags)) == 0
    assert "pairs: 2 right over IDK, 5 IDK over wrong" in capsys.readouterr().err
    compute_loss, passes = DpoTrainer.compute_loss, 0

    def stopping(self: Any, *inputs: Any, **more: Any) -> Any:
        nonlocal passes
        passes += 1
        if passes == 6:
            raise KeyboardInterrupt
        return compute_loss(self, *inputs, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DpoTrainer, "compute_loss", stopping)
        assert run(command(rows, hub_folder, out, *dpo_flags)) == 130
    assert run(command(rows, hub_folder, out, *dpo_flags)) == 0
    assert "resume: from the checkpoint of step 2 of 6" in capsys.readouterr().err
    assert (out / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
    curves = [[json.loads(line) for line in (folder / LOG).read_text().splitlines()] for folder in (whole, out)]
    shown = [[(line["loss"], line["margin"]) for line in curve] for curve in curves]
    assert shown[0] == shown[1]
    assert shown[0][0] == (pytest.approx(math.log(2), abs=1e-4), 0)
    identity = json.loads((out / "spec.json").read_text())["identity"]
    assert (identity["recipe"]["loss"], identity["recipe"]["beta"]) == ("dpo", 0.3)
    assert (identity["data"][RIGHT_OVER_IDK], identity["data"][IDK_OVER_WRONG]) == (2, 5)
    assert "DPO, beta 0.3, on 2 right over IDK, 5 IDK over wrong" in (out / "README.md").read_text()
    sft = tmp_path / "sft"
    assert run(command(rows, hub_folder, sft)) == 0
    ours, theirs = load_file(out / WEIGHTS), load_file(sft / WEIGHTS)
    assert any(not torch.equal(ours[name], theirs[name]) for name in ours)
    pair_names = f"data.{RIGHT_OVER_IDK}, data.{IDK_OVER_WRONG}"
    cases = {("--loss", "dpo"): "recipe.beta", (): f"{pair_names}, recipe.loss, recipe.beta"}
    for changed, what in cases.items():
        assert run(command(rows, hub_folder, out, *changed, "--dropout", "0.1")) == 2
        assert f"is another run; what differs: {what}\n" in capsys.readouterr().err


def test_bad_settings_are_one_line(hub_folder: Path, make_rows: Any, tmp_path: Path, capsys: Any) -> None:
    rows, out = make_rows(2), tmp_path / "adapter"
    cases = {
        ("--beta", "0.1"): "error: --beta: beta belongs to --loss dpo",
        ("--loss", "dpo", "--beta", "-1"): "error: --beta: Input should be greater than 0",
        ("--loss", "dpo"): f"error: {rows}:1: the row does not say what the wrong samples answered",
    }
    for more, said in cases.items():
        capsys.readouterr()
        assert run(command(rows, hub_folder, out, *more)) == 2
        assert [line for line in capsys.readouterr().err.splitlines() if line.startswith(said)], more
    assert not out.exists()
    rewrite(rows, {"wrong": ["cat"]}, {"wrong": []})
    assert run(command(rows, hub_folder, out, "--loss", "dpo", "--dry-run")) == 0
    assert not out.exists()
