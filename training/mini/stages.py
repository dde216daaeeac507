"""The stages of a run in order. Each finds what an earlier life of the run left and goes on from there."""

import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lalm_agent.models.pretrained_clips import FILE_NAME
from lalm_agent.records import Method
from lalm_agent.training.mini.pretrained import SUFFIX, Hashes, wanted_by, write_pretrained
from lalm_agent.training.mini.recipe import Folders, Plan
from lalm_agent.training.mini.sources import shard_items, shard_name, shard_seeds
from lalm_agent.training.mini.store import has_shard, mel_statistics, read_shards, write_shard
from lalm_agent.training.synth.records import Split

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from lalm_agent.training.mini.loop import Say
    from lalm_agent.training.mini.peers import Team
    from lalm_agent.training.mini.state import State

_CORPUS_CLIPS = 3000
_REAL = "real"
_METHODS = [Method.BASELINE, Method.IDK]
_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Job:
    """What a trainer needs to know: where things are, how to train, and the names of the feature shards."""

    folders: Folders
    plan: Plan
    shards: tuple[str, ...]


def make_features(folders: Folders, plan: Plan, say: "Say") -> tuple[str, ...]:
    """Make the shards that are not there yet with `plan.workers` processes; returns the names of all."""
    names = {shard: shard_name(plan.seed, shard) for shard in range(max(1, round(plan.clips / plan.shard_clips)))}
    todo = [shard for shard, name in names.items() if not has_shard(folders.cache, name)]
    if folders.real and not has_shard(folders.cache, _REAL):
        from lalm_agent.training.mini.real import real_items

        write_shard(folders.cache, _REAL, real_items(folders.real, plan.shape, plan.seed))
        say("features: real recordings done")
    started = told = time.monotonic()
    for done, _ in enumerate(_each_shard(folders, plan, todo), start=1):
        if time.monotonic() - told < _EVERY_S and done < len(todo):
            continue
        told = time.monotonic()
        rate = done * plan.shard_clips / (told - started)
        left = (len(todo) - done) * plan.shard_clips / rate
        made = len(names) - len(todo) + done
        say(f"features: {made} of {len(names)} shards, {rate:.0f} clips/s, {left:.0f} s left")
    return (*names.values(), *((_REAL,) if folders.real else ()))


def _each_shard(folders: Folders, plan: Plan, todo: list[int]) -> Iterator[None]:
    """Make the shards, in this process if it is the only worker."""
    work = partial(_make_shard, folders.cache, plan)
    if plan.workers == 1:
        yield from map(work, todo)
    elif todo:
        with multiprocessing.get_context("spawn").Pool(plan.workers, _single_thread) as pool:
            yield from pool.imap_unordered(work, todo)


def _make_shard(cache: Path, plan: Plan, shard: int) -> None:
    seeds, name, hashes = shard_seeds(plan.seed, shard, plan.shard_clips), shard_name(plan.seed, shard), Hashes()
    write_shard(cache, name, shard_items(seeds, plan.shape, hashes.add))
    hashes.write(cache / f"{name}{SUFFIX}")


def _single_thread() -> None:
    import torch

    torch.set_num_threads(1)


def make_tokenizer(folders: Folders, plan: Plan, shards: tuple[str, ...], say: "Say") -> "PreTrainedTokenizerFast":
    """Train the tokenizer on what the first clips are asked, or load it."""
    from lalm_agent.training.mini.targets import corpus
    from lalm_agent.training.mini.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer

    if not (folders.tokenizer / "tokenizer.json").is_file():
        items = read_shards(folders.cache, shards[: max(1, _CORPUS_CLIPS // plan.shard_clips)])
        made = train_tokenizer(corpus([item.heard for item in items], plan.seed), plan.shape)
        save_tokenizer(made, folders.tokenizer)
        say(f"tokenizer: {len(made)} tokens")
    return load_tokenizer(folders.tokenizer)


def fit(job: Job, say: "Say") -> "State":
    """Train from the last checkpoint, if there is one, in `plan.trainers` processes; returns the final state."""
    from torch.multiprocessing.spawn import spawn

    from lalm_agent.training.mini.peers import make_team

    state = _state(job)
    weights = sum(parameter.numel() for parameter in state.model.parameters())
    say(f"training: {weights / 1e6:.2f} million parameters, {100 * state.clock.done:.1f} % done")
    if state.clock.done >= 1:
        return state
    if job.plan.trainers == 1:
        _train_part(job, state, (0, 1))
        return state
    team = make_team(job.plan.trainers, sum(parameter.numel() for parameter in state.parameters()))
    spawn(_train_rank, (job, team), nprocs=job.plan.trainers)  # type: ignore[no-untyped-call]
    return _state(job)


def _state(job: Job) -> "State":
    """A fresh state, brought to where the last checkpoint is."""
    import torch

    from lalm_agent.training.mini.heads import all_labels
    from lalm_agent.training.mini.network import Normaliser
    from lalm_agent.training.mini.state import fresh_state, load_state
    from lalm_agent.training.mini.tokenizer import load_tokenizer

    mean, deviation = mel_statistics(read_shards(job.folders.cache, job.shards))
    normaliser = Normaliser(torch.from_numpy(mean), torch.from_numpy(deviation))
    tokenizer = load_tokenizer(job.folders.tokenizer)
    state = fresh_state(tokenizer, normaliser, all_labels(), job.plan)
    if job.folders.checkpoint.is_file():
        load_state(state, job.folders.checkpoint)
    return state


def _train_rank(rank: int, job: Job, team: "Team") -> None:
    """One trainer's process."""
    from lalm_agent.training.mini.peers import Peers

    _single_thread()
    state = _state(job)
    # Before the first exchange all trainers must be equally far: as far as the checkpoint.
    state.clock.agreed = state.clock.at_checkpoint
    state.peers = Peers(rank, team)
    _train_part(job, state, (rank, job.plan.trainers))


def _train_part(job: Job, state: "State", part: tuple[int, int]) -> None:
    import torch

    from lalm_agent.training.mini.loop import train
    from lalm_agent.training.mini.producer import Producer, Source
    from lalm_agent.training.mini.progress import say

    torch.set_flush_denormal(True)
    source = Source(job.folders.cache, job.shards, job.folders.tokenizer, job.plan, part)
    with Producer(source, state.clock.steps) as producer:
        state.clock.resume()
        train(state, producer, job.plan, job.folders.checkpoint, say)


def finish(state: "State", folders: Folders, plan: Plan, questions: int, say: "Say") -> None:
    """Export the model, ask it `questions` questions of the dev split and write its card."""
    from lalm_agent.training.mini.asking import Model
    from lalm_agent.training.mini.card import model_card
    from lalm_agent.training.mini.evaluate import report
    from lalm_agent.training.mini.export import export
    from lalm_agent.training.mini.tokenizer import load_tokenizer

    weights = sum(parameter.numel() for parameter in state.model.parameters())
    export(state.model, state.normaliser, load_tokenizer(folders.tokenizer), plan.shape, folders.model)
    say(f"export: {folders.model}")
    write_pretrained(wanted_by(plan, folders.cache, folders.real), folders.model / FILE_NAME, plan.workers, say)
    figures = report(Model.load(folders.model), Split.DEV, questions, 0, _METHODS) if questions else []
    for line in figures:
        say(line)
    real = folders.real is not None
    card = model_card(plan, state.clock.steps, weights, real, figures)
    (folders.model / "README.md").write_text(card, encoding="utf-8")
