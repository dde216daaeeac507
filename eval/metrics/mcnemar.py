"""McNemar's exact test between two methods on the same questions, and Holm's adjustment for several tests."""

from collections.abc import Sequence

import numpy as np

from lalm_agent.artefacts import Record
from lalm_agent.eval.metrics.counts import CORRECT, Codes, transitions


class McNemarFigure(Record):
    """McNemar's exact test of two methods. b: questions that only the first has right; c: only the second.

    p: two-sided; 1 where no question tells the methods apart. p_holm: adjusted for several tests.
    """

    p: float
    b: int
    c: int
    p_holm: float | None = None


def mcnemar(first: Codes, second: Codes) -> McNemarFigure:
    """Compare two methods' outcomes (n,) as correct or not correct (McNemar 1947, in its exact binomial form).

    Of the b + c questions that only one method has right, each is as likely to be the one's as the other's if the
    methods are equally accurate: p = min(1, 2 P(X <= min(b, c))) with X ~ Binomial(b + c, 1/2). A refusal is not
    correct. Questions are taken as independent: where clips have several, the clip bootstrap is the more careful one.
    Raises ValueError as `joint_cells`.
    """
    from scipy.stats import binom

    t = transitions(first, second)
    b = int(t[CORRECT].sum() - t[CORRECT, CORRECT])
    c = int(t[:, CORRECT].sum() - t[CORRECT, CORRECT])
    return McNemarFigure(p=min(1.0, 2 * float(binom.cdf(min(b, c), b + c, 0.5))), b=b, c=c)


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
