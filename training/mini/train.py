"""Training: the stages of a run in order, its state and checkpoints, and the loop.

Each stage goes on from what an earlier life of the run left. Two trainers on half a batch each beat one trainer with
two threads, because small operations do not split well: they are processes that average their gradients by gloo, so
their weights stay the same to the bit.
"""

import math
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from lalm_agent.artefacts import write_whole
from lalm_agent.errors import DataError
from lalm_agent.models.pretrained_clips import FILE_NAME
from lalm_agent.records import Method
from lalm_agent.training.mini.batches import Batch, load_batches
from lalm_agent.training.mini.data import make_features, mel_statistics, read_shards
from lalm_agent.training.mini.model import HeadLabels, Heads, Losses, MelNormaliser, answer, build_model, encode
from lalm_agent.training.mini.recipe import RecipePlan, RunFolders, Say, say
from lalm_agent.training.mini.targets import corpus
from lalm_agent.training.mini.tokenizer import load_tokenizer, train_tokenizer
from lalm_agent.training.synth.fluid import require_synth
from lalm_agent.training.synth.records import Split

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen2AudioForConditionalGeneration

_CORPUS_CLIPS = 3000
_MAX_NORM = 1.0
_BETAS = (0.9, 0.98)
_MUON_ITERATIONS = 4
_PATIENCE = timedelta(minutes=30)


# --- stages -----------------------------------------------------------------------------------------------------------


def run(folders: RunFolders, plan: RecipePlan, questions: int, say: Say) -> None:
    """All stages, each only as far as it is not done; `questions` of the dev split are asked in the last one.

    Raises:
        UsageError: the synthesisers cannot run.
        DataError: what is in the folders is of another recipe, or cannot be used.
    """
    torch.set_num_threads(2)
    require_synth()
    folders.out.mkdir(parents=True, exist_ok=True)
    shards = make_features(folders, plan, say)
    if not (folders.tokenizer / "tokenizer.json").is_file():
        items = read_shards(folders.cache, shards[: max(1, _CORPUS_CLIPS // plan.shard_clips)])
        tokenizer = train_tokenizer(corpus([item.stored for item in items], plan.seed), plan.shape)
        tokenizer.save_pretrained(folders.tokenizer)
        say(f"tokenizer: {len(tokenizer)} tokens")
    _finish(fit(folders, plan, shards, say), folders, plan, questions, say)


def fit(folders: RunFolders, plan: RecipePlan, shards: tuple[str, ...], say: Say) -> "TrainingState":
    """Train from the last checkpoint, if there is one, in `plan.trainers` processes; returns the final state."""
    from torch.multiprocessing.spawn import spawn

    state = _open_state(folders, plan, shards)
    say(f"training: {state.weights / 1e6:.2f} million parameters, {100 * state.clock.done:.1f} % done")
    if state.clock.done >= 1:
        return state
    with TemporaryDirectory() as meeting:
        arguments = (folders, plan, shards, f"file://{meeting}/trainers")
        if plan.trainers == 1:
            _train_part(0, *arguments)
        else:
            spawn(_train_part, arguments, nprocs=plan.trainers)  # type: ignore[no-untyped-call]
    return _open_state(folders, plan, shards)


def _open_state(folders: RunFolders, plan: RecipePlan, shards: tuple[str, ...]) -> "TrainingState":
    """A fresh state, brought to where the last checkpoint is."""
    normaliser = MelNormaliser(*map(torch.from_numpy, mel_statistics(read_shards(folders.cache, shards))))
    state = fresh_state(load_tokenizer(folders.tokenizer), normaliser, plan)
    if folders.checkpoint.is_file():
        load_state(state, folders.checkpoint)
    return state


def _train_part(rank: int, folders: RunFolders, plan: RecipePlan, shards: tuple[str, ...], meeting: str) -> None:
    """One trainer of `plan.trainers`, each in a process of its own."""
    torch.set_flush_denormal(True)
    state = _open_state(folders, plan, shards)
    if plan.trainers > 1:
        torch.set_num_threads(1)
        # All trainers are on this machine; gloo would look for its name in the network.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
        distributed.init_process_group("gloo", meeting, timeout=_PATIENCE, world_size=plan.trainers, rank=rank)
        # Before the first exchange all trainers must be equally far: as far as the checkpoint.
        state.clock.agreed = state.clock.share(state.clock.spent_s)
    batches = load_batches(folders, shards, plan, (rank, plan.trainers), state.clock.steps)
    state.clock.resume()
    train(state, batches, plan, folders.checkpoint, say, first=rank == 0)
    if plan.trainers > 1:
        distributed.destroy_process_group()


def _finish(state: "TrainingState", folders: RunFolders, plan: RecipePlan, questions: int, say: Say) -> None:
    """Export the model, ask it `questions` questions of the dev split and write its card."""
    from lalm_agent.training.mini.evaluate import report
    from lalm_agent.training.mini.export import export, model_card
    from lalm_agent.training.mini.pretrained import write_pretrained

    export(state.model, state.normaliser, load_tokenizer(folders.tokenizer), plan.shape, folders.model)
    say(f"export: {folders.model}")
    write_pretrained(plan, folders.cache, folders.real, folders.model / FILE_NAME, say)
    methods = [Method.BASELINE, Method.IDK]
    figures = report(folders.model, Split.DEV, questions, 0, methods) if questions else []
    for line in figures:
        say(line)
    card = model_card(plan, state.clock.steps, state.weights, folders.real is not None, figures)
    (folders.model / "README.md").write_text(card, encoding="utf-8")


# --- state ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class TrainingClock:
    """How much of the plan is done: by time, or by steps where the plan counts them.

    spent_s: processor seconds of training in earlier lives of this run, so that other work on the machine makes a run
    longer and no worse. agreed: what several trainers agreed on instead.
    """

    plan: RecipePlan
    steps: int = 0
    spent_s: float = 0.0
    agreed: float | None = None
    _since: float = field(default_factory=time.process_time)

    def resume(self) -> None:
        """Start measuring from now."""
        self._since = time.process_time()

    @property
    def seconds(self) -> float:
        """Processor seconds of training in all lives of the run."""
        return self.spent_s + time.process_time() - self._since

    def share(self, seconds: float) -> float:
        """The part of the plan that is done after so many seconds, or after the steps where they are counted."""
        return self.steps / self.plan.steps if self.plan.steps is not None else seconds / (60 * self.plan.minutes)

    @property
    def done(self) -> float:
        """From 0 to 1 (or a little more: a step is not cut short)."""
        return self.share(self.seconds) if self.agreed is None else self.agreed

    @property
    def warm(self) -> bool:
        """Whether only the encoder and its heads are trained."""
        return self.done < self.plan.warm

    @property
    def eta_s(self) -> float:
        """Processor seconds until the end at the present rate: the clock's, if nothing else runs."""
        return self.seconds * (1 - self.done) / self.done if self.done > 0 else math.inf


class Optimisers:
    """Muon for the matrices inside the layers, AdamW for all the rest, the embedding quicker; all follow one schedule.

    Muon makes every direction of a matrix's step equally long (Keller Jordan, 2024). What it was worth here is in
    LOG.md.
    """

    def __init__(self, model: "Qwen2AudioForConditionalGeneration", heads: nn.Module, plan: RecipePlan) -> None:
        """model, heads: all that is trained. The tower and the language model have rates of their own."""

        def muon(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
            return torch.optim.Muon(parameters, weight_decay=plan.weight_decay, ns_steps=_MUON_ITERATIONS)

        def adam(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
            return torch.optim.AdamW(parameters, betas=_BETAS, weight_decay=plan.weight_decay, fused=True)

        inner = model.model
        tower = _matrices(inner.audio_tower.layers, inner.multi_modal_projector)
        language = _matrices(inner.language_model.layers)
        embedding = inner.language_model.embed_tokens.weight
        apart = set(map(id, (*tower, *language, embedding)))
        plain = [parameter for parameter in _trained(model, heads) if id(parameter) not in apart]
        self._parts = (
            (muon(tower), plan.tower_rate, plan.joint_tower_rate),
            (muon(language), plan.language_rate, plan.language_rate),
            (adam(plain), plan.learning_rate, plan.learning_rate),
            (adam([embedding]), plan.embedding_rate, plan.embedding_rate),
        )

    def step(self, share: float, warm: bool) -> None:
        """One step with this share of the warm start's or the joint rates; the gradients are gone afterwards."""
        for optimiser, alone, joint in self._parts:
            for group in optimiser.param_groups:
                group["lr"] = share * (alone if warm else joint)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        """The states of all optimisers."""
        return [optimiser.state_dict() for optimiser, *_ in self._parts]

    def load_state_dict(self, states: Iterable[Mapping[str, Any]]) -> None:
        """Raises ValueError where the state is of other parameters."""
        for (optimiser, *_), state in zip(self._parts, states, strict=True):
            optimiser.load_state_dict(dict(state))


def _trained(*modules: nn.Module) -> list[nn.Parameter]:
    return [parameter for module in modules for parameter in module.parameters() if parameter.requires_grad]


def _matrices(*modules: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in _trained(*modules) if parameter.dim() == 2]


@dataclass(slots=True)
class TrainingState:
    """All that a run consists of while it trains."""

    model: "Qwen2AudioForConditionalGeneration"
    normaliser: MelNormaliser
    heads: Heads
    optimisers: Optimisers
    clock: TrainingClock

    @property
    def weights(self) -> int:
        """Parameters of the model without its heads."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def parameters(self) -> list[nn.Parameter]:
        """What is trained: everything but the encoder's positions."""
        return _trained(self.model, self.heads)


def fresh_state(tokenizer: "PreTrainedTokenizerFast", normaliser: MelNormaliser, plan: RecipePlan) -> TrainingState:
    """A run at its beginning."""
    model = build_model(tokenizer, plan.shape, plan.seed)
    heads = Heads(plan.shape.audio_width, plan.shape.text_width, HeadLabels())
    return TrainingState(model, normaliser, heads, Optimisers(model, heads, plan), TrainingClock(plan))


_PARTS = ("model", "normaliser", "heads", "optimisers")


def save_state(state: TrainingState, path: Path) -> None:
    """Write a checkpoint; a reader sees the old one or the new one, never half of one."""
    content = {name: getattr(state, name).state_dict() for name in _PARTS}
    file = BytesIO()
    torch.save(content | {"steps": state.clock.steps, "seconds": state.clock.seconds}, file)
    write_whole(path, file.getvalue())


def load_state(state: TrainingState, path: Path) -> None:
    """Bring a fresh state to where the checkpoint is.

    Raises:
        DataError: the checkpoint is of another recipe or cannot be read.
    """
    try:
        content: dict[str, Any] = torch.load(path, weights_only=True)
        # Older checkpoints call the head of the timeline so.
        content["heads"] = {name.replace("moments", "timeline"): value for name, value in content["heads"].items()}
        for name in _PARTS:
            getattr(state, name).load_state_dict(content[name])
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise DataError(f"{path} does not fit this recipe: {first}", "choose another --out, or delete it") from error
    state.clock.steps, state.clock.spent_s = content["steps"], content["seconds"]
    state.clock.resume()


# --- the loop ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _LossSums:
    """Sums of the losses since the last report, the heads' by the names of `model.Losses`."""

    sums: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    steps: int = 0
    text_steps: int = 0
    clips: int = 0
    since: float = field(default_factory=time.monotonic)

    def line(self, clock: TrainingClock) -> str:
        """One progress line: where the run is, its losses, its rate and when it ends."""
        phase = "warm start" if clock.warm else "joint"
        text = f"{self.sums['text'] / self.text_steps:.3f}" if self.text_steps else "-"
        heads = " ".join(f"{name} {self.sums[name] / max(1, self.steps):.3f}" for name in Losses._fields)
        rate = self.clips / max(1e-9, time.monotonic() - self.since)
        left = f"{rate:.0f} clips/s, {clock.eta_s / 60:.1f} min left"
        return f"{phase}: {100 * clock.done:.1f} %, step {clock.steps}, losses text {text} {heads}, {left}"


def train(
    state: TrainingState, batches: Iterable[Batch], plan: RecipePlan, checkpoint: Path, say: Say, first: bool = True
) -> None:
    """Train until the plan is done; the first trainer writes checkpoints on the way and one at the end."""
    state.model.train()
    losses, saved = _LossSums(), time.monotonic()
    for batch in batches:
        if state.clock.done >= 1:
            break
        _step(state, batch, plan, losses)
        now = time.monotonic()
        if first and now - losses.since > plan.report_s:
            say(losses.line(state.clock))
            losses = _LossSums()
        if first and now - saved > plan.checkpoint_s:
            save_state(state, checkpoint)
            saved = now
    if first:
        save_state(state, checkpoint)


def _step(state: TrainingState, batch: Batch, plan: RecipePlan, losses: _LossSums) -> None:
    clock = state.clock
    share, warm = rate_share(plan, clock.steps, clock.done), clock.warm
    with torch.autocast("cpu", torch.bfloat16):
        heads, text = _losses(state, batch, warm)
    total = text + auxiliary_weight(plan, clock) * torch.stack(heads).sum()
    total.backward()  # type: ignore[no-untyped-call]
    clock.steps += 1
    trainers = distributed.get_world_size() if distributed.is_initialized() else 1
    if trainers > 1:
        clock.agreed = _average_gradients(state.parameters(), clock.share(clock.seconds))
    nn.utils.clip_grad_norm_(state.parameters(), _MAX_NORM)
    state.optimisers.step(share, warm)
    losses.steps += 1
    losses.text_steps += not warm
    losses.clips += len(batch.frames) * trainers
    for name, loss in {"text": text, **heads._asdict()}.items():
        losses.sums[name] += loss.item()


def _average_gradients(parameters: list[nn.Parameter], done: float) -> float:
    """Replace all gradients by their mean over the trainers; returns the first trainer's `done`, which rules.

    A trainer whose part of the batch does not touch a parameter that another's does counts with a gradient of zero.
    """
    own = done if distributed.get_rank() == 0 else 0.0
    touched = torch.tensor([*(float(parameter.grad is not None) for parameter in parameters), own])
    distributed.all_reduce(touched)
    shared = [parameter for parameter, count in zip(parameters, touched[:-1].tolist(), strict=True) if count]
    joined = nn.utils.parameters_to_vector(torch.zeros_like(p) if p.grad is None else p.grad for p in shared)
    distributed.all_reduce(joined)
    joined /= distributed.get_world_size()
    for parameter, gradient in zip(shared, torch.split(joined, [p.numel() for p in shared]), strict=True):
        parameter.grad = gradient.view_as(parameter)
    return float(touched[-1])


def rate_share(plan: RecipePlan, step: int, done: float) -> float:
    """The share of the learning rates: rises over the first steps, stays, falls along a cosine to `plan.floor`.

    It follows the clock, which torch's schedulers, made for counted steps, do not.
    """
    rise = min(1.0, (step + 1) / plan.rise_steps)
    fall = max(0.0, min(1.0, (done - plan.constant) / (1 - plan.constant)))
    return rise * max(plan.floor, 0.5 * (1 + math.cos(math.pi * fall)))


def auxiliary_weight(plan: RecipePlan, clock: TrainingClock) -> float:
    """The weight of the heads' losses: 1 in the warm start, then it falls to 0 beside the text's."""
    return 1.0 if clock.warm else plan.auxiliary * max(0.0, 1 - clock.done)


def _losses(state: TrainingState, batch: Batch, warm: bool) -> tuple[Losses, Tensor]:
    encoded = encode(state.model, state.normaliser, batch.mel, batch.frames)
    # The heads in full precision: CTC sums many small probabilities.
    with torch.autocast("cpu", enabled=False):
        auxiliary = state.heads.losses(encoded, batch.targets)
    if warm:
        return auxiliary, torch.zeros(())
    logits, expected, weights = answer(state.model, encoded, batch.text)
    each = functional.cross_entropy(logits, expected, reduction="none")
    return auxiliary, (each * weights).sum() / weights.sum()
