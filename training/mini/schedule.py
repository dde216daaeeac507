"""How far a run is, and the learning rate that belongs to it."""

import math
import time
from dataclasses import dataclass, field

from lalm_agent.training.mini.recipe import Plan


@dataclass(slots=True)
class Clock:
    """How much of the plan is done: by time, or by steps where the plan counts them.

    spent_s: processor seconds of training in earlier lives of this run, so that other work on the machine makes a run
    longer and no worse. agreed: what several trainers agreed on instead.
    """

    plan: Plan
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

    @property
    def done(self) -> float:
        """From 0 to 1 (or a little more: a step is not cut short)."""
        return self.measured if self.agreed is None else self.agreed

    @property
    def at_checkpoint(self) -> float:
        """`done` when the last checkpoint was written."""
        if self.plan.steps is not None:
            return self.steps / self.plan.steps
        return self.spent_s / (60 * self.plan.minutes)

    @property
    def measured(self) -> float:
        """`done` by this trainer's own clock."""
        if self.plan.steps is not None:
            return self.steps / self.plan.steps
        return self.seconds / (60 * self.plan.minutes)

    @property
    def warm(self) -> bool:
        """Whether only the encoder and its heads are trained."""
        return self.done < self.plan.warm

    @property
    def eta_s(self) -> float:
        """Processor seconds until the end at the present rate: the clock's, if nothing else runs."""
        done = self.done
        return self.seconds * (1 - done) / done if done > 0 else math.inf


def rate_share(plan: Plan, step: int, done: float) -> float:
    """Rises over the first steps, stays, and falls along a cosine to `plan.floor` of its height."""
    rise = min(1.0, (step + 1) / plan.rise_steps)
    fall = max(0.0, min(1.0, (done - plan.constant) / (1 - plan.constant)))
    return rise * max(plan.floor, 0.5 * (1 + math.cos(math.pi * fall)))
