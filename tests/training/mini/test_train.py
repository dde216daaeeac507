"""Runs of the recipe, small: what is learned, what survives an interruption, what the command says."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from lalm_agent.errors import DataError, PermanentBackendError
from lalm_agent.training.mini import __main__ as command
from lalm_agent.training.mini.batches import Batcher, load_batches
from lalm_agent.training.mini.data import ClipKind, TrainingClip, feature_extractor, log_mel, read_shards, write_shard
from lalm_agent.training.mini.model import MelNormaliser, build_model
from lalm_agent.training.mini.packing import Packer
from lalm_agent.training.mini.recipe import RecipePlan, RunFolders
from lalm_agent.training.mini.tokenizer import load_tokenizer
from lalm_agent.training.mini.train import (
    Optimisers,
    TrainingClock,
    auxiliary_weight,
    fresh_state,
    load_state,
    rate_share,
    train,
)


@pytest.fixture
def plan(tiny_shape):
    return RecipePlan(steps=4, warm=0.26, batch=2, text_tokens=60, rise_steps=3, learning_rate=3e-3, shape=tiny_shape)


@pytest.fixture
def items(stored, tiny_shape):
    """Each clip of `stored` with a sound of its own: noise around a level that belongs to it."""
    rng = np.random.default_rng(0)
    shapes = [(clip.frames, tiny_shape.mel_bins) for clip in stored]
    mels = [rng.normal(0.3 * number - 0.5, 0.3, shape).astype(np.float16) for number, shape in enumerate(shapes)]
    return [TrainingClip(mel, clip) for mel, clip in zip(mels, stored, strict=True) for _ in range(4)]


@pytest.fixture
def batcher(items, tokenizer, plan):
    return Batcher(items, Packer(tokenizer.backend_tokenizer), plan)


def new_state(tokenizer, plan):
    bins = plan.shape.mel_bins
    return fresh_state(tokenizer, MelNormaliser(torch.zeros(bins), torch.ones(bins)), plan)


def weights(state):
    return torch.cat([parameter.detach().flatten() for parameter in state.model.parameters()])


def silent(_):
    """Nobody listens."""


# --- batches and shards -----------------------------------------------------------------------------------------------


def test_batch_n_is_the_same_wherever_the_stream_begins_and_another_for_another_seed(items, tokenizer, plan, batcher):
    from_the_start = list(itertools.islice(batcher.stream(0), 8))
    later = next(batcher.stream(7))
    other = Batcher(items, Packer(tokenizer.backend_tokenizer), dataclasses.replace(plan, seed=1))
    assert later.step == from_the_start[7].step == 7
    assert torch.equal(later.mel, from_the_start[7].mel)
    assert torch.equal(later.text.tokens, from_the_start[7].text.tokens)
    for different in (from_the_start[1], next(other.stream(0))):
        assert from_the_start[0].text.tokens.tolist() != different.text.tokens.tolist()


def test_a_process_that_makes_no_batches_is_one_error(tmp_path, plan):
    folders = RunFolders(tmp_path, tmp_path / "features")
    with pytest.raises((PermanentBackendError, DataError), match="none cannot be read"):
        next(iter(load_batches(folders, ("none",), plan, (0, 1), 0)))


def test_a_pass_has_each_clip_and_the_rare_ones_more_often(items, tokenizer, plan):
    item = items[0]
    facts = dataclasses.replace(item.stored.clip.facts, known=(*item.stored.clip.facts.known, "trend"))
    rare = dataclasses.replace(item.stored, clip=dataclasses.replace(item.stored.clip, facts=facts))
    real = dataclasses.replace(item.stored, kind=ClipKind.REAL)
    pool = [*items, dataclasses.replace(item, stored=rare), dataclasses.replace(item, stored=real)]
    batcher = Batcher(pool, Packer(tokenizer.backend_tokenizer), dataclasses.replace(plan, batch=1))
    assert batcher.per_epoch == len(items) + 3 + 2


def test_a_shard_is_there_only_when_it_is_whole(items, tmp_path):
    with pytest.raises(ZeroDivisionError):
        write_shard(tmp_path, "x", ((item.mel, item.stored) for item in items if 1 / item.stored.clip.seed))
    assert not (tmp_path / "x.npy").exists()
    write_shard(tmp_path, "x", [(item.mel, item.stored) for item in items])
    read = read_shards(tmp_path, ["x"])
    assert [item.stored.frames for item in read] == [item.stored.frames for item in items]
    assert np.array_equal(read[5].mel, items[5].mel)
    # The last pickle is of a class that is no more: the shard of another version.
    for content in (b"", b"clalm_agent.training.mini.gone\nHeard\n."):
        (tmp_path / "x.pkl").write_bytes(content)
        with pytest.raises(DataError, match="cannot be read"):
            read_shards(tmp_path, ["x"])


def test_short_clips_are_padded_and_long_ones_cut(tiny_shape):
    extractor = feature_extractor(tiny_shape)
    assert len(log_mel(extractor, np.zeros(300, dtype=np.float32))) == 25
    assert len(log_mel(extractor, np.zeros(90_000, dtype=np.float32))) == tiny_shape.window_frames


# --- training ---------------------------------------------------------------------------------------------------------


def test_a_counted_run_is_repeatable_and_goes_on_where_it_was_interrupted(tokenizer, batcher, plan, tmp_path):
    whole = new_state(tokenizer, plan)
    train(whole, batcher.stream(0), plan, tmp_path / "whole.pt", silent)
    half = dataclasses.replace(plan, checkpoint_s=0.0)

    def dies(batches):
        yield from itertools.islice(batches, 2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(new_state(tokenizer, half), dies(batcher.stream(0)), half, tmp_path / "broken.pt", silent)
    resumed = new_state(tokenizer, plan)
    load_state(resumed, tmp_path / "broken.pt")
    assert resumed.clock.steps == 2
    train(resumed, batcher.stream(2), plan, tmp_path / "broken.pt", silent)
    assert resumed.clock.steps == whole.clock.steps == plan.steps
    assert torch.equal(weights(whole), weights(resumed))
    wider = dataclasses.replace(plan, shape=dataclasses.replace(plan.shape, text_inner=128))
    with pytest.raises(DataError, match="does not fit") as error:
        load_state(new_state(tokenizer, wider), tmp_path / "broken.pt")
    assert "\n" not in error.value.message


def test_training_learns_to_reply(tokenizer, batcher, plan, tmp_path):
    plan = dataclasses.replace(plan, steps=10, warm=0.0, constant=0.9, report_s=0.0)
    batch, lines = next(batcher.stream(0)), list[str]()
    train(new_state(tokenizer, plan), itertools.repeat(batch), plan, tmp_path / "c.pt", lines.append)
    text = [float(line.split("losses text ")[1].split(" ")[0]) for line in lines]
    assert text[-1] < 0.7 * text[0]
    assert "clips/s" in lines[-1]
    assert "min left" in lines[-1]


@pytest.mark.parametrize(("step", "done", "share"), [(0, 0.0, 0.2), (5, 0.1, 1.0), (50, 0.65, 0.5), (99, 1.0, 0.02)])
def test_the_learning_rate_rises_stays_and_falls(step, done, share):
    assert rate_share(RecipePlan(rise_steps=5), step, done) == pytest.approx(share)


def test_the_heads_count_fully_at_first_and_not_at_all_in_the_end():
    plan = RecipePlan(steps=30, warm=0.2, auxiliary=0.4)
    shares = [auxiliary_weight(plan, TrainingClock(plan, steps)) for steps in (0, 5, 15, 30, 31)]
    assert shares == pytest.approx([1.0, 1.0, 0.2, 0.0, 0.0])


def test_a_clock_counts_steps_or_time():
    assert TrainingClock(RecipePlan(steps=10), steps=4).done == 0.4
    timed = TrainingClock(RecipePlan(minutes=1), spent_s=30.0)
    assert 0.5 <= timed.done < 0.6
    assert timed.eta_s == pytest.approx(30, abs=5)


# --- optimisers -------------------------------------------------------------------------------------------------------

RATES = RecipePlan(
    learning_rate=0.1, embedding_rate=0.4, tower_rate=0.2, joint_tower_rate=0.1, language_rate=0.05, weight_decay=0.0
)


def moves(tokenizer, tiny_shape, share, warm):
    """How far each parameter of a fresh model goes in a step on gradients of noise."""
    model = build_model(tokenizer, tiny_shape, 0)
    optimisers = Optimisers(model, nn.Linear(3, 3), RATES)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    torch.manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.randn_like(parameter)
    optimisers.step(share, warm)
    assert all(parameter.grad is None for parameter in model.parameters())
    return {name: weight.detach() - before[name] for name, weight in model.named_parameters()}


def test_matrices_are_muons_the_rest_is_adams_and_all_follow_the_share(tokenizer, tiny_shape):
    warm, joint, none = (moves(tokenizer, tiny_shape, *rates) for rates in ((1.0, True), (1.0, False), (0.0, True)))
    matrices = [("audio_tower.layers.0.fc1.weight", warm, 0.2), ("audio_tower.layers.0.fc1.weight", joint, 0.1)]
    for end, moved, rate in [*matrices, ("language_model.layers.0.self_attn.q_proj.weight", joint, 0.05)]:
        change = next(change for name, change in moved.items() if name.endswith(end))
        lengths = torch.linalg.svdvals(change) / rate / max(1, change.shape[0] / change.shape[1]) ** 0.5
        # A square matrix of noise has a direction or two of next to nothing, which four iterations do not lift.
        assert 0.5 < lengths.quantile(0.1) < lengths.max() < 1.5
    for end, rate in (("lm_head.weight", 0.1), ("conv1.weight", 0.1), ("embed_tokens.weight", 0.4)):
        # Adam's first step is the learning rate, whatever the gradient.
        change = next(change for name, change in warm.items() if name.endswith(end))
        assert torch.allclose(change.abs(), torch.tensor(rate), atol=1e-3)
    assert not any(change.any() for change in none.values())


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_line_becomes_a_plan(tmp_path):
    folders, plan, questions = command.parse_arguments(["--out", str(tmp_path), "--minutes", "2", "--seed", "7"])
    assert plan == RecipePlan(minutes=2.0, seed=7)
    assert folders == RunFolders(tmp_path, tmp_path / "features", None)
    assert questions > 0


@pytest.mark.timeout(900)  # five processes load torch: 10 s on two quiet cores
@pytest.mark.usefixtures("needs_synth")
def test_the_whole_command_makes_a_model_and_can_be_called_again(tmp_path, monkeypatch, capsys, tiny_shape):
    """Two trainers in processes of their own: that their gradients are exchanged is why their run ends at all."""
    shape = dataclasses.replace(tiny_shape, window_s=10, vocabulary=600)
    small = RecipePlan(steps=2, clips=4, shard_clips=2, workers=1, trainers=2, batch=2, warm=0.0, shape=shape)
    monkeypatch.setattr(command, "RecipePlan", lambda **_: small)
    monkeypatch.setattr(torch, "set_num_threads", silent)
    arguments = ["--out", str(tmp_path), "--evaluate", "3"]
    assert command.main(arguments) == 0
    first = capsys.readouterr().out
    assert "features: 2 of 2 shards" in first
    checkpoint = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    start = build_model(load_tokenizer(tmp_path / "tokenizer"), shape, small.seed)
    assert checkpoint["steps"] == 2
    assert not torch.equal(checkpoint["model"]["lm_head.weight"], start.lm_head.weight)
    weights_file = (tmp_path / "model" / "model.safetensors").read_bytes()
    card = (tmp_path / "model" / "README.md").read_text()
    assert card.startswith("---\nlicense: apache-2.0\n")
    assert "no evidence about large models" in card
    assert "3 questions, split dev, seed 0" in card
    assert command.main([*arguments[:-1], "0"]) == 0
    assert "100.0 % done" in capsys.readouterr().out
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == weights_file
