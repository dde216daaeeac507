"""Whole runs of the recipe, small: what is learned, what survives an interruption, what the command says."""

import dataclasses

import numpy as np
import pytest
import torch

from lalm_agent.errors import DataError
from lalm_agent.training.mini import __main__ as command
from lalm_agent.training.mini.batches import Batcher
from lalm_agent.training.mini.features import log_mel
from lalm_agent.training.mini.heads import all_labels, marks
from lalm_agent.training.mini.loop import auxiliary_weight, train
from lalm_agent.training.mini.network import Normaliser
from lalm_agent.training.mini.packing import Packer
from lalm_agent.training.mini.recipe import Folders, Plan
from lalm_agent.training.mini.schedule import Clock, rate_share
from lalm_agent.training.mini.state import fresh_state, load_state
from lalm_agent.training.mini.store import Item, Kind, has_shard, read_shards, write_shard

LABELS = all_labels()


@pytest.fixture
def plan(tiny_shape):
    return Plan(steps=30, warm=0.2, batch=4, text_tokens=60, rise_steps=5, learning_rate=3e-3, shape=tiny_shape)


@pytest.fixture
def items(heard, tiny_shape):
    """Each clip of `heard` with a sound of its own: noise around a level that belongs to it."""
    rng = np.random.default_rng(0)
    made = []
    for number, one in enumerate(heard):
        mel = rng.normal(0.3 * number - 0.5, 0.3, (one.frames, tiny_shape.mel_bins)).astype(np.float16)
        made += [Item(mel, one)] * 4
    return made


@pytest.fixture
def batcher(items, tokenizer, plan):
    return Batcher(items, Packer(tokenizer.backend_tokenizer), LABELS, plan)


def new_state(tokenizer, plan):
    bins = plan.shape.mel_bins
    return fresh_state(tokenizer, Normaliser(torch.zeros(bins), torch.ones(bins)), LABELS, plan)


def run(tokenizer, batcher, plan, checkpoint, lines=None):
    state = new_state(tokenizer, plan)
    if checkpoint.is_file():
        load_state(state, checkpoint)
    train(state, batcher.stream(state.clock.steps), plan, checkpoint, (lines if lines is not None else []).append)
    return state


def weights(state):
    return torch.cat([parameter.detach().flatten() for parameter in state.model.parameters()])


def test_batch_n_is_the_same_whoever_makes_it_and_when(items, tokenizer, plan, batcher):
    again = Batcher(items, Packer(tokenizer.backend_tokenizer), LABELS, plan)
    from_the_start = [raw for raw, _ in zip(batcher.stream(0), range(8), strict=False)]
    later = next(again.stream(7))
    assert later.step == from_the_start[7].step == 7
    assert np.array_equal(later.mel, from_the_start[7].mel)
    assert np.array_equal(later.packed.tokens, from_the_start[7].packed.tokens)
    assert not np.array_equal(from_the_start[0].mel, from_the_start[1].mel)


def test_a_pass_has_each_clip_and_the_rare_ones_more_often(items, tokenizer, plan):
    rare = items[0].heard.clip.facts
    rare = dataclasses.replace(rare, known=(*rare.known, "trend"))
    heard = [dataclasses.replace(item.heard, clip=dataclasses.replace(item.heard.clip, facts=rare)) for item in items]
    real = dataclasses.replace(items[0].heard, kind=Kind.REAL)
    pool = [*items, dataclasses.replace(items[0], heard=heard[0]), dataclasses.replace(items[0], heard=real)]
    batcher = Batcher(pool, Packer(tokenizer.backend_tokenizer), LABELS, dataclasses.replace(plan, batch=1))
    assert batcher.per_epoch == len(items) + 3 + 2


def test_another_seed_makes_other_batches(items, tokenizer, plan, batcher):
    other = Batcher(items, Packer(tokenizer.backend_tokenizer), LABELS, dataclasses.replace(plan, seed=1))
    first, second = next(batcher.stream(0)).packed.tokens, next(other.stream(0)).packed.tokens
    assert first.shape != second.shape or not np.array_equal(first, second)


def test_a_counted_run_is_repeatable(tokenizer, batcher, plan, tmp_path):
    first, again = (run(tokenizer, batcher, plan, tmp_path / name / "c.pt") for name in made(tmp_path, "a", "b"))
    assert torch.equal(weights(first), weights(again))


def test_an_interrupted_run_goes_on_where_it_was(tokenizer, batcher, plan, tmp_path):
    whole = run(tokenizer, batcher, plan, tmp_path / "whole.pt")
    broken = tmp_path / "broken.pt"
    half = dataclasses.replace(plan, checkpoint_s=0.0)

    def dies(batches):
        for number, raw in enumerate(batches):
            if number == 12:
                raise KeyboardInterrupt
            yield raw

    state = new_state(tokenizer, half)
    with pytest.raises(KeyboardInterrupt):
        train(state, dies(batcher.stream(0)), half, broken, lambda _: None)
    resumed = run(tokenizer, batcher, plan, broken)
    assert resumed.clock.steps == whole.clock.steps == plan.steps
    assert torch.equal(weights(whole), weights(resumed))


def made(folder, *names):
    for name in names:
        (folder / name).mkdir()
    return names


def test_a_checkpoint_of_another_recipe_is_refused_in_one_line(tokenizer, batcher, plan, tmp_path):
    run(tokenizer, batcher, dataclasses.replace(plan, steps=1), tmp_path / "c.pt")
    wider = dataclasses.replace(plan, shape=dataclasses.replace(plan.shape, text_inner=128))
    with pytest.raises(DataError, match="does not fit") as error:
        load_state(new_state(tokenizer, wider), tmp_path / "c.pt")
    assert "\n" not in error.value.message


def test_training_learns(tokenizer, batcher, plan, tmp_path):
    lines: list[str] = []
    run(tokenizer, batcher, dataclasses.replace(plan, steps=90, report_s=0.0), tmp_path / "c.pt", lines)
    text = [float(line.split("losses text ")[1].split(" ")[0]) for line in lines if "text -" not in line]
    assert np.mean(text[-10:]) < 0.7 * np.mean(text[:5])
    assert "clips/s" in lines[-1]
    assert "min left" in lines[-1]


def test_a_shard_is_there_only_when_it_is_whole(items, tmp_path):
    with pytest.raises(ZeroDivisionError):
        write_shard(tmp_path, "x", ((item.mel, item.heard) for item in items if 1 / item.heard.clip.seed))
    assert not has_shard(tmp_path, "x")
    write_shard(tmp_path, "x", [(item.mel, item.heard) for item in items])
    read = read_shards(tmp_path, ["x"])
    assert [one.heard.frames for one in read] == [one.heard.frames for one in items]
    assert np.array_equal(read[5].mel, items[5].mel)
    (tmp_path / "x.pkl").write_bytes(b"")
    with pytest.raises(DataError, match="cannot be read"):
        read_shards(tmp_path, ["x"])


def test_the_heads_targets_follow_what_is_known(heard, tiny_shape):
    target = marks([one.clip.facts for one in heard], [0] * len(heard), LABELS, tiny_shape)
    names = LABELS.tags
    assert target.tags[0, names.index("sound_event/dog barking")] == 1
    assert target.known[0, names.index("sound_event/rain")] == 1
    assert target.known[0, names.index("word/rabbit")] == 0
    place = {label: i for i, label in enumerate(LABELS.sequence, start=1)}
    assert target.sequences[1] == (place["rabbit"], place["river"])
    assert target.sequences[2] == ()


@pytest.mark.parametrize(("step", "done", "share"), [(0, 0.0, 0.2), (5, 0.1, 1.0), (50, 0.65, 0.5), (99, 1.0, 0.02)])
def test_the_learning_rate_rises_stays_and_falls(plan, step, done, share):
    assert rate_share(plan, step, done) == pytest.approx(share)


def test_the_heads_count_fully_at_first_and_not_at_all_in_the_end(plan):
    plan = dataclasses.replace(plan, auxiliary=0.4)
    weights = [auxiliary_weight(plan, Clock(plan, steps)) for steps in (0, 5, 15, 30, 31)]
    assert weights == pytest.approx([1.0, 1.0, 0.2, 0.0, 0.0])


def test_a_clock_counts_steps_or_time():
    counted = Clock(Plan(steps=10), steps=4)
    assert counted.done == 0.4
    timed = Clock(Plan(minutes=1), spent_s=30.0)
    assert 0.5 <= timed.done < 0.6
    assert timed.eta_s == pytest.approx(30, abs=5)


def test_short_clips_are_padded_and_long_ones_cut(tiny_shape):
    from lalm_agent.training.mini.features import feature_extractor

    extractor = feature_extractor(tiny_shape)
    assert len(log_mel(extractor, np.zeros(300, dtype=np.float32))) == 25
    assert len(log_mel(extractor, np.zeros(90_000, dtype=np.float32))) == tiny_shape.window_frames


def test_the_command_line_becomes_a_plan(tmp_path):
    folders, plan, questions = command.parse_arguments(["--out", str(tmp_path), "--minutes", "2", "--seed", "7"])
    assert (plan.minutes, plan.seed, plan.steps) == (2.0, 7, None)
    assert folders == Folders(tmp_path, tmp_path / "features", None)
    assert questions > 0


@pytest.mark.usefixtures("needs_synth")
def test_the_whole_command_makes_a_model_and_can_be_called_again(tmp_path, monkeypatch, capsys, tiny_shape):
    shape = dataclasses.replace(tiny_shape, window_s=10, vocabulary=600)
    small = Plan(steps=3, clips=12, shard_clips=6, workers=1, trainers=1, batch=4, shape=shape)
    monkeypatch.setattr(command, "Plan", lambda **_: small)
    arguments = ["--out", str(tmp_path), "--evaluate", "6"]
    assert command.main(arguments) == 0
    first = capsys.readouterr().out
    assert "features: 2 of 2 shards" in first
    assert "type prompt" in first
    weights_file = (tmp_path / "model" / "model.safetensors").read_bytes()
    assert command.main(arguments) == 0
    assert "100.0 % done" in capsys.readouterr().out
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == weights_file
    card = (tmp_path / "model" / "README.md").read_text()
    assert card.startswith("---\nlicense: apache-2.0\n")
    assert "no evidence about large models" in card
