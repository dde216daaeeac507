"""What is trained on is what is asked: the same prompt, the same tokens, and a loss on the reply alone."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

from lalm_agent.agent import Agent
from lalm_agent.config import AgentConfig
from lalm_agent.models.base import LALM, Request, Response, Turn, waveform
from lalm_agent.models.hf_prompt import batch_inputs, option_tokens
from lalm_agent.records import Method
from lalm_agent.training.lora.data import IGNORED, Collator, prompt_of, read_rows, target_loss
from lalm_agent.training.lora.model import Base, encode_once, load_base, with_lora
from lalm_agent.training.lora.recipe import PRESETS


@pytest.fixture(scope="module", params=["hub", "mini"])
def base(request: pytest.FixtureRequest, hub_folder: Path) -> Iterator[Base]:
    with ExitStack() as stack:
        yield load_base(AgentConfig(model=str(hub_folder) if request.param == "hub" else "mini"), "cpu", stack)


def collator(base: Base, path: Path, method: Method = Method.BASELINE) -> Collator:
    return Collator(read_rows(path), base.checkpoint.processor, base.hearing, method, base.stop_ids)


class Recorder:
    """Answers IDK and remembers what it was asked."""

    def __init__(self, inner: LALM) -> None:
        self.spec, self.inner = inner.spec, inner
        self.requests: list[Request] = []

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        self.requests.extend(requests)
        return self.inner.generate(requests)


def agent_requests(method: str, row: dict[str, Any], folder: Path, script: Path) -> list[Request]:
    """The requests that an agent makes about a row's question."""
    replies = ["Speech", "a transcript {question}", "IDK"] if method == "agent" else ["IDK"]
    script.write_text("".join(json.dumps({"reply": reply}) + "\n" for reply in replies))
    recorders: list[Recorder] = []

    def wrap(model: LALM) -> LALM:
        recorders.append(Recorder(model))
        return recorders[-1]

    agent = Agent(model=f"scripted:{script}", method=method, preset="paper", wrap=wrap)
    agent.ask_item(folder / row["audio"], row["question"], row["choices"], row["id"])
    return [request for recorder in recorders for request in recorder.requests]


@pytest.mark.parametrize("method", ["baseline", "agent"])
def test_the_request_is_the_one_that_the_agent_makes(method: str, base: Base, make_rows: Any, tmp_path: Path) -> None:
    steps = {"audio_type": "speech", "content": "a transcript {question}"} if method == "agent" else {}
    path = make_rows(2, method=method, question="  Which\nanimal? ", **steps)
    collate = collator(base, path, Method(method))
    row = collate.rows.rows[1]
    fields = json.loads(path.read_text().splitlines()[1])
    real = agent_requests(method, fields, path.parent, tmp_path / "script.json")[-1]
    ours = collate.request(row)
    assert ours.turns == real.turns == (Turn("user", prompt_of(row, Method(method))),)
    assert ours.sound is not None
    assert real.sound is not None
    assert ours.sound.ref.sha256 == real.sound.ref.sha256
    assert ours.key == real.key


def test_tokens_and_features_are_those_of_inference(base: Base, make_rows: Any) -> None:
    collate = collator(base, make_rows(3))
    rows = collate.rows.rows
    requests = [collate.request(row) for row in rows]
    rate, window_s = base.hearing.rate, base.hearing.window_s
    sounds = [waveform(request.sound, rate, window_s)[0] for request in requests if request.sound]
    inference = batch_inputs(base.checkpoint.processor, requests, sounds)
    batch = collate(rows)
    width = inference["input_ids"].shape[1]
    for name, value in inference.items():
        along = value.shape == inference["input_ids"].shape
        assert torch.equal(batch[name][:, :width] if along else batch[name], value), name


def test_labels_are_the_reply_with_its_end_of_turn_and_nothing_else(base: Base, make_rows: Any) -> None:
    collate = collator(base, make_rows(3))
    rows = collate.rows.rows
    batch = collate(rows)
    for row, labels, ids, mask in zip(rows, batch["labels"], batch["input_ids"], batch["attention_mask"], strict=True):
        kept = labels != IGNORED
        target = option_tokens(base.checkpoint.processor, collate.request(row), set(base.stop_ids))[0]
        assert labels[kept].tolist() == ids[kept].tolist() == target
        assert target[-1] in base.stop_ids
        text = base.checkpoint.processor.tokenizer.decode(target, skip_special_tokens=True)
        assert text.strip() == row.target
        # One stretch, right behind the prompt; what follows is padding that nobody attends to.
        places = kept.nonzero().flatten().tolist()
        assert places == list(range(places[0], places[0] + len(target)))
        assert mask[places[0] :].tolist() == [1] * len(target) + [0] * (len(labels) - places[0] - len(target))


def test_the_logits_are_those_of_each_row_alone(base: Base, make_rows: Any) -> None:
    """Padding, and the memory of the audio encoder, change nothing; the loss is that of the inference path's scores."""
    collate = collator(base, make_rows(3))
    rows = collate.rows.rows
    model = base.checkpoint.model
    batch = collate(rows)
    labels = batch.pop("labels")
    with torch.no_grad():
        together = model(**batch).logits
        total, tokens = 0.0, 0
        for row in rows:
            alone = collate([row])
            own_labels = alone.pop("labels")
            single = model(**alone).logits
            total -= float(
                sum(
                    single[0, place - 1].float().log_softmax(-1)[token]
                    for place, token in enumerate(own_labels[0].tolist())
                    if token != IGNORED
                )
            )
            tokens += int((own_labels != IGNORED).sum())
    assert float(target_loss({"logits": together}, labels)) == pytest.approx(total / tokens, abs=1e-4)
    assert float(target_loss({"logits": together}, labels, 10 * tokens)) == pytest.approx(total / tokens / 10, abs=1e-4)


def test_the_loss_does_not_see_the_prompt() -> None:
    logits = torch.randn(1, 4, 5, requires_grad=True)
    target_loss({"logits": logits}, torch.tensor([[IGNORED, IGNORED, 2, IGNORED]])).backward()
    assert logits.grad is not None
    assert logits.grad.abs().sum(dim=2).gt(0).tolist() == [[False, True, False, False]]


def test_a_trained_encoder_has_no_memory(hub_folder: Path) -> None:
    with ExitStack() as stack:
        base = load_base(AgentConfig(model=str(hub_folder)), "cpu", stack)
        with_lora(base, PRESETS["mini"].model_copy(update={"targets": r".*\.(q|k|v)_proj"}))
        assert not encode_once(base.checkpoint.model)
