"""Whether `calibrate` keeps its promise on real answers: calibrated anew many times on a random half of a folder.

    .venv/bin/python benchmarks/risk_control.py FOLDER [--estimator E] [--max-risk A] [--delta D] [--resplits N]

FOLDER is of `lalm-agent confidence`, or of a run. One question of each recording counts. Two views:

draws: the answers of FOLDER are taken as all that there are, and a calibration draws as many as half of them with
replacement, so that the true error of a threshold is known. Broken: it is above the allowed one. This is what the
guarantee is about.
halves: a calibration takes a random half, and the other half is what comes after. Its observed error scatters around
the true one and is above the allowed one more often; `clearly` counts where its exact 95 % interval is above.

naive: the lowest threshold whose observed error on the calibration data is at most the allowed one.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from harness import script

from lalm_agent.errors import UsageError
from lalm_agent.eval.confidence.calibrate import estimator_of, units, usable
from lalm_agent.eval.confidence.records import read_estimates
from lalm_agent.eval.confidence.risk import fixed_sequence
from lalm_agent.eval.metrics.estimate import clopper_pearson, wilson

Arrays = tuple[np.ndarray, np.ndarray]


def kept_at(threshold: float, answers: Arrays) -> tuple[int, int]:
    """(answers kept, errors among them)."""
    kept = answers[0] >= threshold
    return int(kept.sum()), int(answers[1][kept].sum())


def lowest(answers: Arrays, max_risk: float) -> float:
    """The lowest threshold whose observed error is at most the allowed one; infinite where none is."""
    order = np.argsort(-answers[0], kind="stable")
    falling = answers[0][order]
    ends = np.flatnonzero(np.append(np.diff(falling) != 0, True)[: len(falling)]) + 1
    held = ends[np.cumsum(answers[1][order])[ends - 1] <= max_risk * ends]
    return float(falling[held.max() - 1]) if len(held) else np.inf


def certified(answers: Arrays, max_risk: float, delta: float) -> float:
    """The threshold of the fixed-sequence test; infinite where none passes."""
    best = fixed_sequence(*answers, max_risk, delta).best
    return best.threshold if best else np.inf


def compare(answers: Arrays, max_risk: float, delta: float, resplits: int) -> None:
    """Print both views for both rules."""
    n, rng = len(answers[0]), np.random.default_rng(0)
    best_of_all = kept_at(lowest(answers, max_risk), answers)[0] / n
    rules = {"fixed sequence": lambda a: certified(a, max_risk, delta), "naive": lambda a: lowest(a, max_risk)}
    for name, rule in rules.items():
        broken, above, clearly, nothing, coverage, ratios = 0, 0, 0, 0, [], []
        for _ in range(resplits):
            drawn = rng.integers(0, n, n // 2)
            kept, errors = kept_at(rule((answers[0][drawn], answers[1][drawn])), answers)
            broken += errors > max_risk * kept
            coverage.append(kept / n)
            order = rng.permutation(n)
            calibration, rest = ((answers[0][part], answers[1][part]) for part in (order[: n // 2], order[n // 2 :]))
            kept, errors = kept_at(rule(calibration), rest)
            nothing += kept == 0
            above += errors > max_risk * kept
            clearly += clopper_pearson(errors, kept)[0] > max_risk
            ratios.append((kept, kept_at(lowest(rest, max_risk), rest)[0]))
        low, high = wilson(broken, resplits)
        kept, best = np.sum(ratios, axis=0)
        print(f"{name}: draws: broken in {broken / resplits:.1%} [{low:.1%}, {high:.1%}],", end=" ")
        print(
            f"coverage {np.mean(coverage):.1%}, {np.mean(coverage) / max(best_of_all, 1e-9):.0%} of the best;", end=" "
        )
        print(f"halves: above in {above / resplits:.1%}, clearly in {clearly / resplits:.1%},", end=" ")
        print(f"nothing given in {nothing / resplits:.1%}, {kept / max(best, 1):.0%} of the best coverage in hindsight")


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the folder, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--estimator", default="option")
    parser.add_argument("--max-risk", type=float, default=0.1)
    parser.add_argument("--delta", type=float, default=0.1)
    parser.add_argument("--resplits", type=int, default=1000)
    options = parser.parse_args(arguments)
    estimates = read_estimates(options.folder)
    estimator, rows = estimator_of(options.estimator, estimates, usable(estimates, print), print)
    (group,) = units(rows, estimator, False, print)
    known = ~np.isnan(group.confidence)
    answers = group.confidence[known], group.wrong[known]
    if not known.any():
        raise UsageError(f"{options.folder} holds no answer of known confidence", "give another --estimator")
    print(f"{known.sum()} answers, one of each recording, {answers[1].mean():.1%} wrong; {options.resplits} resplits")
    compare(answers, options.max_risk, options.delta, options.resplits)


if __name__ == "__main__":
    script(main)
