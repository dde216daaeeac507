"""The training loop: warm start of the encoder with its heads, then everything together."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from lalm_agent.training.mini.batches import Raw
from lalm_agent.training.mini.heads import Losses
from lalm_agent.training.mini.network import answer, encode
from lalm_agent.training.mini.packing import to_batch
from lalm_agent.training.mini.recipe import Plan
from lalm_agent.training.mini.schedule import Clock, rate_share
from lalm_agent.training.mini.state import State, save_state

Say = Callable[[str], None]

_MAX_NORM = 1.0


@dataclass(slots=True)
class Sums:
    """Sums of the losses since the last report; heads: by the names of `heads.Losses`."""

    text: float = 0.0
    heads: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    steps: int = 0
    text_steps: int = 0
    clips: int = 0
    since: float = field(default_factory=time.monotonic)

    def line(self, state: State) -> str:
        """One progress line: where the run is, its losses, its rate and when it ends."""
        clock, n = state.clock, max(1, self.steps)
        phase = "warm start" if clock.warm else "joint"
        text = f"{self.text / self.text_steps:.3f}" if self.text_steps else "-"
        heads = " ".join(f"{name} {self.heads[name] / n:.3f}" for name in Losses._fields)
        rate = self.clips / max(1e-9, time.monotonic() - self.since)
        return (
            f"{phase}: {100 * clock.done:.1f} %, step {clock.steps}, losses text {text} {heads}, "
            f"{rate:.0f} clips/s, "
            f"{clock.eta_s / 60:.1f} min left"
        )


def train(state: State, batches: Iterable[Raw], plan: Plan, checkpoint: Path, say: Say) -> None:
    """Train until the plan is done; the first trainer writes checkpoints on the way and one at the end."""
    first = state.peers is None or state.peers.rank == 0
    state.model.train()
    losses, saved = Sums(), time.monotonic()
    for raw in batches:
        if state.clock.done >= 1:
            break
        _step(state, raw, plan, losses)
        now = time.monotonic()
        if now - losses.since > plan.report_s and first:
            say(losses.line(state))
            losses = Sums()
        if now - saved > plan.checkpoint_s and first:
            save_state(state, checkpoint)
            saved = now
    if first:
        save_state(state, checkpoint)


def _step(state: State, raw: Raw, plan: Plan, losses: Sums) -> None:
    clock = state.clock
    share, warm = rate_share(plan, clock.steps, clock.done), clock.warm
    with torch.autocast("cpu", torch.bfloat16):
        heads, text = _loss(state, raw, warm)
    total = text + auxiliary_weight(plan, clock) * torch.stack(heads).sum()
    total.backward()  # type: ignore[no-untyped-call]
    clock.steps += 1
    if state.peers is not None:
        clock.agreed = state.peers.exchange(state.parameters(), clock.steps, clock.measured)
    torch.nn.utils.clip_grad_norm_(state.parameters(), _MAX_NORM)
    state.optimisers.step(share, warm)
    losses.steps += 1
    losses.clips += len(raw.frames) * (state.peers.count if state.peers else 1)
    for name, loss in heads._asdict().items():
        losses.heads[name] += loss.item()
    if not warm:
        losses.text += text.item()
        losses.text_steps += 1


def auxiliary_weight(plan: Plan, clock: Clock) -> float:
    """The weight of the heads' losses: all there is at first, then less and less beside the text's."""
    return 1.0 if clock.warm else plan.auxiliary * max(0.0, 1 - clock.done)


def _loss(state: State, raw: Raw, warm: bool) -> tuple[Losses, Tensor]:
    batch = to_batch(raw.mel, raw.frames, raw.packed)
    heard = encode(state.model, state.normaliser, batch)
    # The heads in full precision: CTC sums many small probabilities.
    with torch.autocast("cpu", enabled=False):
        auxiliary = state.heads.losses(heard, raw.marks)
    if warm:
        return auxiliary, torch.zeros(())
    logits, expected, weights = answer(state.model, heard, batch)
    each = functional.cross_entropy(logits, expected, reduction="none")
    return auxiliary, (each * weights).sum() / weights.sum()
