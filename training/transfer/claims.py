"""Whether refusing transfers: the rule's adapters against both controls, in each cell of two different modalities.

Transfer from one modality to another is claimed where the rule's adapters have a higher strict RGI there than the
adapters of *both* controls: those trained with all labels kept, and those trained with as many IDK at random places.
The p of a cell is the larger of the two one-sided ones (an intersection-union test needs no adjustment for the two);
Holm adjusts the six cells together, at 5 %. The rule's own RGI must be above 0 as well, or it would be enough to
choose less badly than a control. Where an adapter of any arm refuses on fewer than ten clips nothing is tested: its RGI
is drawn to 0, and an arm that hardly refuses would be beaten by whoever refuses at all.

Each of the two is a t-test of a difference of means over seeds. Its variance is that between the seeds of each arm and
what resamples of the clips, which all seeds share, change in all of them alike. Few seeds often look alike by chance:
their variance is at least what the clips alone make of it, and counts for the degrees of freedom with its upper
confidence limit.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from lalm_agent.eval.metrics.counts import Counts, Floats, three_way
from lalm_agent.eval.metrics.estimate import finite
from lalm_agent.eval.metrics.mcnemar import holm
from lalm_agent.eval.metrics.rgi import Convention
from lalm_agent.eval.scoring.compare import Resampling
from lalm_agent.eval.scoring.diagnosis import FEW_REFUSALS, SIGNIFICANT, shown_p
from lalm_agent.training.transfer.cells import CellDraws, Key, MadeCell
from lalm_agent.training.transfer.design import SOURCES, Arm
from lalm_agent.training.transfer.schema import Cell, Contrast, Mean, TransferClaim

CONTROLS = (Arm.KEPT, Arm.RANDOM)
PAIRS = tuple((source, target) for source in SOURCES for target in SOURCES if source != target)
"""The six cells that a claim is made about."""
POWER = 0.8
_UPPER = 0.9
"""Level of the confidence limit at which the variance between seeds counts for the degrees of freedom."""
PLANNED_SPREAD = 0.2
"""The standard deviation of RGI between seeds that `planned_difference` assumes."""
_NAMES = {str(Arm.KN): "the rule", str(Arm.KEPT): "labels kept", str(Arm.RANDOM): "random places"}


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
        arms = [cells[key] for arm in (Arm.KN, *CONTROLS) if (key := (source, str(arm), target)) in cells]
        rule, *controls = arms
        made = tuple(made for control in controls if (made := contrast(rule, control, how)) is not None)
        ps = [own.p for own in made if own.p is not None]
        few = [
            f"{_NAMES[own.cell.arm]} on {refused_clips(own.cell)}"
            for own in arms
            if own.cell.figures and refused_clips(own.cell) < FEW_REFUSALS
        ]
        tested.append((rule.cell, made, max(ps) if len(ps) == len(CONTROLS) else None, few))
    adjusted = holm([1.0 if p is None else p for _, _, p, _ in tested])
    return tuple(_claim(*test, p_holm) for test, p_holm in zip(tested, adjusted, strict=True))


def contrast(rule: MadeCell, control: MadeCell, how: Resampling) -> Contrast | None:
    """The t-test of the difference of two cells' mean `shrunk_rgi`; None where they share no seed.

    A resample of the clips without a difference counts against the rule. There is no p for one seed, of which nothing
    says how much trainings differ, nor where an arm refuses on too few clips.
    """
    seeds = tuple(seed for seed in rule.cell.seeds if seed in control.cell.seeds)
    if rule.draws is None or control.draws is None or not seeds:
        return None
    own, own_drawn = _of_seeds(rule.draws, rule.cell, seeds)
    other, other_drawn = _of_seeds(control.draws, control.cell, seeds)
    kept = ~np.isnan(own_drawn - other_drawn).any(axis=1)
    value, undefined = float((own - other).mean()), 1 - float(kept.mean())
    refused = min(map(refused_clips, (rule.cell, control.cell)))
    se = dof = p = half = None
    if len(seeds) > 1 and kept.sum() > 1 and not math.isnan(value):
        between = (own.var(ddof=1) / len(seeds), other.var(ddof=1) / len(seeds))
        of_clips = (clip_variances(own_drawn[kept])[1], clip_variances(other_drawn[kept])[1])
        shared, _ = clip_variances(own_drawn[kept] - other_drawn[kept])
        se, dof = map(float, standard_error(between, of_clips, shared, len(seeds), refused))
        half = quantile((1 - how.level) / 2, dof) * se
        if refused >= FEW_REFUSALS:
            p = min(1.0, float(above_zero(np.asarray(value), np.asarray(se), np.asarray(dof))) + undefined)
    return Contrast(
        control=control.cell.arm,
        seeds=seeds,
        rule_rgi=finite(float(own.mean())),
        control_rgi=finite(float(other.mean())),
        difference=Mean(
            value=finite(value),
            low=None if half is None else value - half,
            high=None if half is None else value + half,
            undefined_share=undefined,
            by_seed=tuple(finite(float(of_seed)) for of_seed in own - other),
        ),
        p=p,
        se=se,
        dof=None if dof is None else finite(dof),
    )


def refused_clips(cell: Cell) -> int:
    """Clips with a refusal, of the seed that has fewest."""
    return min(cell.figures.refused_clips, default=0) if cell.figures else 0


def clip_variances(drawn: Floats) -> tuple[Floats, Floats]:
    """What the clips add to the variance of a mean over seeds, of resampled values (B, seeds) of at least two.

    Both (): what all seeds share, the mean covariance of two of them, and what each seed has of its own.
    """
    table = np.cov(drawn, rowvar=False)
    n, total = len(table), np.trace(table)
    shared: Floats = np.maximum((table.sum() - total) / (n * (n - 1)), 0.0)
    return shared, np.maximum(total / n - shared, 0.0) / n


def standard_error(
    seeds: tuple[Floats, Floats], own: tuple[Floats, Floats], shared: Floats, n_seeds: int, refused: int
) -> tuple[Floats, Floats]:
    """The standard error of a difference of two means over seeds, and its degrees of freedom (Welch, Satterthwaite).

    seeds: the variance of each mean, by the spread of its n_seeds (at least 2) values. own: what clips alone add to
    each; seeds that look more alike than that do so by chance. shared: that of the difference by the clips that all
    seeds share. All are (...). refused: clips with a refusal; few tell little about what clips add.
    """
    from scipy.stats import chi2

    upper = (n_seeds - 1) / float(chi2.ppf(1 - _UPPER, n_seeds - 1))
    parts = [(np.maximum(upper * of, clips), n_seeds - 1) for of, clips in zip(seeds, own, strict=True)]
    parts.append((shared, max(refused - 1, 1)))
    with np.errstate(divide="ignore", invalid="ignore"):
        dof = sum(of for of, _ in parts) ** 2 / sum(of**2 / dof for of, dof in parts)
    variance = sum(np.maximum(of, clips) for of, clips in zip(seeds, own, strict=True)) + shared
    # Where nothing varies nothing is estimated either.
    return np.sqrt(variance), np.where(np.isnan(dof), np.inf, dof)


def above_zero(value: Floats, se: Floats, dof: Floats) -> Floats:
    """The one-sided p of a difference above 0, (...); 1 where nothing says how much it varies."""
    from scipy.stats import t

    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(se > 0, t.sf(value / se, dof), 1.0)


def quantile(tail: float, dof: float) -> float:
    """What Student's t exceeds with the probability `tail`."""
    from scipy.stats import t

    return float(t.isf(tail, dof))


def least_difference(se: float, dof: float) -> float:
    """The smallest true difference that is significant in 80 % of studies, where Holm asks most: at 5 % / 6."""
    return (quantile(SIGNIFICANT / len(PAIRS), dof) + quantile(1 - POWER, dof)) * se


def planned_difference(n_clips: int, share: float, n_seeds: int) -> float | None:
    """The smallest true difference from both controls that 80 % of studies would show, in steps of 0.05.

    n_clips: of a target. share: of its questions that every adapter refuses. n_seeds: of each arm. None where nothing
    would be tested, or 3 would not be shown.

    By 2,000 studies drawn with a normal RGI of each adapter. The baseline has half right, the controls have RGI 0, each
    clip counts as one question, adapters refuse independently of each other, and RGI varies by `PLANNED_SPREAD` between
    seeds beyond that. Significant is what Holm accepts where it asks most.
    """
    if n_seeds < 2 or (refused := int(share * n_clips)) < FEW_REFUSALS:
        return None
    normal = np.random.default_rng(0).normal(size=(3, 2000, n_seeds))
    for at in range(1, 61):
        gains = np.array([at / 20, 0.0, 0.0])
        of_right = 2 * share / (1 + 10**gains)
        rates = np.clip(np.stack([of_right, of_right * 10**gains]), 0, 0.99)
        # The variance of log10 of a rate, by the delta method, and the RGI with the pseudo-refusal of the test.
        sampling = ((1 - rates) / (rates * n_clips / 2)).sum(axis=0) / np.log(10) ** 2
        means = np.log10(rates[1] + 1 / n_clips) - np.log10(rates[0] + 1 / n_clips)
        drawn = means[:, None, None] + normal * np.sqrt(PLANNED_SPREAD**2 + sampling)[:, None, None]
        value, between = drawn.mean(axis=2), drawn.var(axis=2, ddof=1) / n_seeds
        ps = []
        for control in (1, 2):
            of_clips = (sampling[0] / n_seeds, sampling[control] / n_seeds)
            se, dof = standard_error((between[0], between[control]), of_clips, np.zeros(2000), n_seeds, refused)
            ps.append(above_zero(value[0] - value[control], se, dof))
        if (np.maximum(*ps) < SIGNIFICANT / len(PAIRS)).mean() >= POWER:
            return at / 20
    return None


def _of_seeds(draws: CellDraws, cell: Cell, seeds: Sequence[int]) -> tuple[Floats, Floats]:
    places = [cell.seeds.index(seed) for seed in seeds]
    return shrunk_rgi(draws.t[places]), shrunk_rgi(draws.drawn[:, places])


def _claim(
    cell: Cell, contrasts: tuple[Contrast, ...], p: float | None, few: Sequence[str], p_holm: float | None
) -> TransferClaim:
    """p: the larger of the two contrasts'; None where there are not both. few: arms that refuse on too few clips."""
    figures = cell.figures
    ps = ", ".join(f"p {shown_p(own.p)} against {_NAMES[own.control]}" for own in contrasts)
    after_holm = f"{ps}, after Holm {shown_p(p_holm)}"
    beats = figures.matched.beaten if figures and figures.matched else None
    beside = f"{'beats' if beats else 'does not beat'} the baseline's own confidence at equal coverage"
    text = f"transfer claimed: {after_holm}; {'matched coverage is not tested' if beats is None else beside}"
    against = []
    if figures is None:
        against = [cell.blank or "there are no figures"]
    elif not any(figures.n_refused):
        against = ["the adapters refuse nothing"]
    elif p is None:
        why = "a control or an RGI is not there"
        if few:
            why = f"refusals on fewer than {FEW_REFUSALS} clips: {', '.join(few)}"
        elif any(len(own.seeds) == 1 for own in contrasts):
            why = "one seed does not say how much trainings differ"
        against = [f"not tested, {why}"]
    else:
        if (own_rgi := contrasts[0].rule_rgi) is None or own_rgi <= 0:
            against.append("strict RGI is not above 0")
        level = [_NAMES[own.control] for own in contrasts if own.p is None or own.p >= SIGNIFICANT]
        if level:
            against.append(f"not above {' and '.join(level)} ({ps})")
        elif p_holm is None or p_holm >= SIGNIFICANT:
            against.append(f"above both controls, but not after Holm over six cells ({after_holm})")
    text = f"not claimed: {'; '.join(against)}" if against else text
    if figures and (without := figures.rgi_without_unparsed) is not None:
        strict, share = figures.rgi[Convention.STRICT].figure.text, figures.n_baseline_unparsed / cell.n
        text += (
            f"; {share:.0%} of the baseline are unparsed: strict RGI {strict} with these, {without.figure.text} without"
        )
    least = [least_difference(own.se, own.dof or math.inf) for own in contrasts if own.se is not None]
    return TransferClaim(
        source=cell.source,
        target=cell.target,
        claimed=not against,
        text=text,
        p=p,
        p_holm=None if p is None else p_holm,
        contrasts=contrasts,
        null_p_combined=figures.null_p_combined if figures else None,
        beats_matched_coverage=beats,
        least_difference=None if p is None else max(least),
    )
