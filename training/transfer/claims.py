"""Whether refusing transfers: the rule's adapters against both controls, in each cell of two different modalities.

Transfer from one modality to another is claimed where the rule's adapters have a higher strict RGI there than the
adapters of *both* controls: those trained with all labels kept, and those trained with as many IDK at random places.
The p of a cell is the larger of the two one-sided ones (an intersection-union test needs no adjustment for the two);
Holm adjusts the six cells together, at 5 %. The rule's own RGI must be above 0 as well, or it would be enough to
choose less badly than a control.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from lalm_agent.eval.metrics.counts import Counts, Floats, three_way
from lalm_agent.eval.metrics.estimate import finite
from lalm_agent.eval.metrics.mcnemar import holm
from lalm_agent.eval.scoring.compare import Resampling
from lalm_agent.training.transfer.cells import CellDraws, Key, MadeCell, drawn_mean, mean_figure, mean_over, seed_draws
from lalm_agent.training.transfer.design import SOURCES, Arm
from lalm_agent.training.transfer.schema import Cell, Contrast, TransferClaim

CONTROLS = (Arm.KEPT, Arm.RANDOM)
PAIRS = tuple((source, target) for source in SOURCES for target in SOURCES if source != target)
"""The six cells that a claim is made about."""
SIGNIFICANT = 0.05
_NAMES = {str(Arm.KEPT): "labels kept", str(Arm.RANDOM): "random places"}


def shrunk_rgi(t: Counts) -> Floats:
    """Strict RGI with one pseudo-refusal where random refusal would put it; for tests alone, never shown as the RGI.

    t: transitions (..., 5, 5). Random refusal puts Nc / (Nc + Nw) of it on right answers and Nw / (Nc + Nw) on wrong
    ones, so that both rates gain 1 / (Nc + Nw):

        log10((Nwr / Nw + 1 / (Nc + Nw)) / (Ncr / Nc + 1 / (Nc + Nw)))

    A control may refuse nothing, and then its RGI is undefined and could not be beaten. Here it is 0, that of random
    refusal: who refuses nothing chooses nothing. Where both rates are equal it is 0 as well, so the null stays where it
    is; few refusals are drawn to it, many are not (one refusal, of a wrong answer, at 60 right and 40 wrong: 0.54; ten
    of them: 1.41, where RGI is infinite). A pseudo-*question* refused at the run's own rate would also leave the null
    alone, but it weighs less the fewer refusals there are, and gives that one refusal 2.2. NaN where Nc or Nw is 0.
    """
    m = three_way(t)
    n = m.sum(axis=-1).astype(np.float64)
    right, wrong = n[..., 0], n[..., 2]
    # Cross products of whole numbers, so that equal rates give exactly 0.
    hum = (m[..., 2, 1] * (right + wrong) + wrong) * right
    con = (m[..., 0, 1] * (right + wrong) + right) * wrong
    with np.errstate(divide="ignore", invalid="ignore"):
        value: Floats = np.log10(np.divide(hum, con))
    return np.where((right > 0) & (wrong > 0), value, np.nan)


def transfer_claims(cells: Mapping[Key, MadeCell], how: Resampling) -> tuple[TransferClaim, ...]:
    """The six claims. A cell that cannot be tested counts as one with p = 1, so that the family stays one of six."""
    tested = []
    for source, target in PAIRS:
        rule = cells[source, Arm.KN, target]
        controls = [cells[key] for control in CONTROLS if (key := (source, str(control), target)) in cells]
        made = tuple(made for control in controls if (made := contrast(rule, control, how)) is not None)
        ps = [own.p for own in made if own.p is not None]
        tested.append((rule.cell, made, max(ps) if len(ps) == len(CONTROLS) else None))
    adjusted = holm([1.0 if p is None else p for _, _, p in tested])
    return tuple(_claim(*test, p_holm) for test, p_holm in zip(tested, adjusted, strict=True))


def contrast(rule: MadeCell, control: MadeCell, how: Resampling) -> Contrast | None:
    """The paired bootstrap of the difference of two cells' `shrunk_rgi`; None where they share no seed.

    A resample without a difference counts against the rule. One is added to both parts of p, which is never 0 then.
    """
    seeds = tuple(seed for seed in rule.cell.seeds if seed in control.cell.seeds)
    if rule.draws is None or control.draws is None or not seeds:
        return None
    picks = seed_draws(len(seeds), rule.cell.source, how)
    own, own_drawn = _of_seeds(rule.draws, rule.cell, seeds)
    other, other_drawn = _of_seeds(control.draws, control.cell, seeds)
    drawn = drawn_mean(own_drawn, picks) - drawn_mean(other_drawn, picks)
    difference = mean_figure(own - other, drawn, how)
    return Contrast(
        control=control.cell.arm,
        seeds=seeds,
        rule_rgi=finite(float(mean_over(own))),
        control_rgi=finite(float(mean_over(other))),
        difference=difference,
        p=None if difference.value is None else (1 + int((~(drawn > 0)).sum())) / (1 + len(drawn)),
    )


def _of_seeds(draws: CellDraws, cell: Cell, seeds: Sequence[int]) -> tuple[Floats, Floats]:
    places = [cell.seeds.index(seed) for seed in seeds]
    return shrunk_rgi(draws.t[places]), shrunk_rgi(draws.drawn[:, places])


def _claim(cell: Cell, contrasts: tuple[Contrast, ...], p: float | None, p_holm: float | None) -> TransferClaim:
    """p: the larger of the two contrasts'; None where there are not both."""
    figures = cell.figures
    ps = ", ".join(f"p {shown_p(own.p)} against {_NAMES[own.control]}" for own in contrasts)
    after_holm = f"{ps}, after Holm {shown_p(p_holm)}"
    beats = figures.matched.beaten if figures and figures.matched else None
    beside = f"{'beats' if beats else 'does not beat'} the baseline's own confidence at equal coverage"
    text = f"transfer claimed: {after_holm}; {'matched coverage is not tested' if beats is None else beside}"
    against = []
    if figures is None:
        against = [cell.blank or "there are no figures"]
    elif p is None:
        against = ["the controls are not there, or strict RGI cannot be tested"]
    elif not any(figures.n_refused):
        against = ["the adapters refuse nothing"]
    else:
        if (own_rgi := contrasts[0].rule_rgi) is None or own_rgi <= 0:
            against.append("strict RGI is not above 0")
        level = [_NAMES[own.control] for own in contrasts if own.p is None or own.p >= SIGNIFICANT]
        if level:
            against.append(f"not above {' and '.join(level)} ({ps})")
        elif p_holm is None or p_holm >= SIGNIFICANT:
            against.append(f"above both controls, but not after Holm over six cells ({after_holm})")
    return TransferClaim(
        source=cell.source,
        target=cell.target,
        claimed=not against,
        text=f"not claimed: {'; '.join(against)}" if against else text,
        p=p,
        p_holm=None if p is None else p_holm,
        contrasts=contrasts,
        null_p_combined=figures.null_p_combined if figures else None,
        beats_matched_coverage=beats,
    )


def shown_p(p: float | None) -> str:
    """A p-value with three decimals."""
    if p is None:
        return "undefined"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
