"""McNemar's exact test between two methods on the same questions, and Holm's adjustment for several tests."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lalm_agent.eval.metrics.counts import CORRECT, Codes, transitions


@dataclass(frozen=True, slots=True)
class McNemar:
    """Questions that only one of two methods has right, and how surprising their imbalance is.

    p: two-sided and exact; 1 where no question tells the methods apart.
    """

    first_only: int
    second_only: int
    p: float


def mcnemar(first: Codes, second: Codes) -> McNemar:
    """Compare two methods' outcomes (n,) as correct or not correct (McNemar 1947, in its exact binomial form).

    Of the b + c questions that only one method has right, each is as likely to be the one's as the other's if the
    methods are equally accurate: p = min(1, 2 P(X <= min(b, c))) with X ~ Binomial(b + c, 1/2). A refusal is not
    correct. Questions are taken as independent: where clips have several, the clip bootstrap is the more careful one.

    Raises:
        ValueError: the two differ in length, or a code is none of an outcome.
    """
    from scipy.stats import binom

    t = transitions(first, second)
    first_only = int(t[CORRECT].sum() - t[CORRECT, CORRECT])
    second_only = int(t[:, CORRECT].sum() - t[CORRECT, CORRECT])
    tail = float(binom.cdf(min(first_only, second_only), first_only + second_only, 0.5))
    return McNemar(first_only, second_only, min(1.0, 2 * tail))


def holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Holm's step-down adjustment (1979), in the order given: controls the chance of any false rejection.

    The i-th smallest of m p-values is multiplied by m - i + 1, raised to the largest adjusted one before it and cut at
    1. None, a test that could not be made, stays None and is not in m.
    """
    made = [index for index, p in enumerate(p_values) if p is not None]
    values = np.array([p for p in p_values if p is not None], np.float64)
    order = np.argsort(values, kind="stable")
    stepped = values[order] * np.arange(len(values), 0, -1)
    adjusted: list[float | None] = [None] * len(p_values)
    for place, value in zip(order, np.minimum(np.maximum.accumulate(stepped), 1.0), strict=True):
        adjusted[made[place]] = float(value)
    return tuple(adjusted)
