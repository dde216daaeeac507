"""The figures of one method on one group of questions: arrays of outcomes in, one record of `schema` out. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lalm_agent.eval.grade import KINDS, OUTCOMES
from lalm_agent.eval.metrics import reliability, selective
from lalm_agent.eval.metrics.counts import (
    ABSTAINED,
    CORRECT,
    N_OUTCOMES,
    UNPARSED,
    Bools,
    Codes,
    Counts,
    Floats,
    after_counts,
    as_two_transitions,
    counts,
    histogram,
    joint_cells,
    transitions,
)
from lalm_agent.eval.metrics.estimate import (
    Figure,
    Kind,
    bootstrap_cells,
    bootstrap_transitions,
    estimate,
    finite,
    kind_of,
    percentile_interval,
)
from lalm_agent.eval.metrics.matched import Matched, matched_coverage
from lalm_agent.eval.metrics.mcnemar import mcnemar
from lalm_agent.eval.metrics.rgi import Convention, clip_null_p, deltas, flip_only, rgi, rgi_null, smoothed
from lalm_agent.eval.scoring import schema
from lalm_agent.eval.scoring.compare import Resampling

CURVE_POINTS = 101
FEW_CLIPS = 10
"""Ours, as `diagnosis.FEW_REFUSALS`: with four clips that all differ in one direction, whose exact sign test has
p = 0.125, a percentile interval already excludes 0."""
UNPARSED_SHARE = 0.10
"""Of the baseline's replies; above it, what they are decides the RGI, which is given without them as well."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """The m answerable questions that a method and its baseline both have.

    before, after: (m,) outcomes of the baseline and of the method, as codes of `grade.OUTCOMES`. clips: (m,).
    confidence: (m,) the baseline's, NaN where it is not known. ids: (m,) the questions' ids.
    """

    before: Codes
    after: Codes
    clips: NDArray[np.int64]
    confidence: Floats | None = None
    ids: Sequence[str] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Arrays:
    """What the figures of a group are made from: the a questions of one method, unanswerable ones included.

    codes, clips, answerable: (a,). confidence: (a,) NaN where it is not known. kinds: (a,) as `Graded.kinds` has them.
    published: (a,) codes by the string match called `published_name`. None where nobody knows them.
    known_clips: whether equal clips have equal numbers.
    """

    codes: Codes
    clips: NDArray[np.int64]
    answerable: Bools
    pairs: Pairs
    is_baseline: bool
    confidence: Floats | None = None
    kinds: Codes | None = None
    published: Codes | None = None
    published_name: str = ""
    excluded: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    known_clips: bool = True


def group_figures(arrays: Arrays, resampling: Resampling, curve: bool = False) -> schema.Group:
    """Every figure of a group. curve: whether the risk-coverage curve is wanted."""
    pairs, answerable = arrays.pairs, arrays.answerable
    own, clips = arrays.codes[answerable], arrays.clips[answerable]
    n, m, own_counts = len(own), len(pairs.before), counts(own)
    t = transitions(pairs.before, pairs.after)
    drawn = bootstrap_transitions(pairs.before, pairs.after, pairs.clips, resampling.resamples, resampling.seed)
    # Resamples of the method's own questions are those of the pairs where both are the same questions.
    drawn_own = after_counts(drawn) if n == m else _drawn(own, N_OUTCOMES, clips, resampling)
    published = None
    if arrays.published is not None:
        acc = finite(float(reliability.acc(counts(arrays.published[answerable]))))
        published = schema.Published(scorer=arrays.published_name, acc=acc)
    kinds = None if arrays.kinds is None else arrays.kinds[answerable]
    quadrants = {name: int(number) for name, number in reliability.quadrants(t).items()}
    honesty = {name: finite(float(rate)) for name, rate in reliability.honesty_rates(t).items()}
    gained = figure(reliability.rel_minus_null(t), reliability.rel_minus_null(drawn), resampling, m)
    return schema.Group(
        n=n,
        counts=named(own_counts),
        abstained_kinds=None if kinds is None else {str(k): int((kinds == code).sum()) for code, k in enumerate(KINDS)},
        excluded=arrays.excluded,
        **_rates(own_counts, drawn_own, resampling, n),
        rel_minus_null=gained,
        rgi=rgi_figures(t, drawn, _null_p(pairs, pairs.after, resampling), resampling),
        rgi_without_unparsed=_without_unparsed(pairs, resampling),
        refused_clips=_refused_clips(pairs),
        transitions={str(outcome): named(row) for outcome, row in zip(OUTCOMES, t, strict=True)},
        n_paired=m,
        n_clips=len(np.unique(clips)) if arrays.known_clips else None,
        left_out=dict(arrays.left_out),
        mcnemar=None if arrays.is_baseline else mcnemar(pairs.before, pairs.after),
        published=published,
        honesty=schema.HonestyFigures(**honesty, quadrants=quadrants),
        refusing=refusing_figures(arrays, resampling),
        matched=None if arrays.is_baseline else matched_figures(pairs, resampling),
        selective=None if arrays.confidence is None else selective_figures(own, arrays.confidence[answerable], curve),
    )


def refusing_figures(arrays: Arrays, resampling: Resampling) -> schema.RefusingFigures | None:
    """None where every question can be answered."""
    if arrays.answerable.all():
        return None
    cells = reliability.refusal_cells(arrays.answerable, arrays.codes)
    table = histogram(cells, reliability.N_REFUSAL_CELLS).reshape(2, N_OUTCOMES)
    drawn = _drawn(cells, reliability.N_REFUSAL_CELLS, arrays.clips, resampling).reshape(-1, 2, N_OUTCOMES)
    resampled = reliability.refusal_rates(drawn)
    rates = reliability.refusal_rates(table).items()
    return schema.RefusingFigures(
        **{name: figure(value, resampled[name], resampling) for name, value in rates},
        n_unanswerable=int(table[0].sum()),
        n_answerable=int(table[1].sum()),
        counts_unanswerable=named(table[0]),
    )


def matched_figures(pairs: Pairs, resampling: Resampling) -> schema.MatchedFigures | None:
    """The baseline at the method's coverage, and the method's difference from it, in resamples of the same clips.

    None where the baseline's confidence is known for no answer at all.
    """
    if pairs.confidence is None:
        return None
    control = matched_coverage(pairs.before, pairs.after, pairs.confidence, pairs.ids)
    head = schema.MatchedFigures(
        **{name: getattr(control, name) for name in ("n_rejected", "n_unparsed", "n_unknown", "n_tied", "reason")},
        confidence_known=1 - float(np.isnan(pairs.confidence).mean()),
    )
    if control.codes is None:
        return head
    cells = joint_cells(pairs.before, pairs.after, control.codes)
    drawn_method, drawn = as_two_transitions(_drawn(cells, N_OUTCOMES**3, pairs.clips, resampling))
    method, t = transitions(pairs.before, pairs.after), transitions(pairs.before, control.codes)

    def difference(of: Callable[[Counts], Floats]) -> Figure:
        with np.errstate(invalid="ignore"):
            return figure(of(method) - of(t), of(drawn_method) - of(drawn), resampling)

    gain = difference(lambda cells: rgi(cells, Convention.STRICT))
    figures = {
        **_rates(after_counts(t), after_counts(drawn), resampling),
        "rgi": rgi_figures(t, drawn, _null_p(pairs, control.codes, resampling), resampling),
        "rel_difference": difference(lambda cells: reliability.rel(after_counts(cells))),
        "rgi_difference": gain,
        "beaten": None if gain.low_kind == Kind.UNDEFINED else gain.above_zero,
        **_answered(pairs, control, resampling),
    }
    return head.model_copy(update=figures)


def _answered(pairs: Pairs, control: Matched, resampling: Resampling) -> dict[str, Any]:
    """Accuracy among the answered of the method and of its control, in the same resamples.

    The threshold stays where all questions put it.
    """
    assert control.codes is not None
    by_tie = control.by_tie(pairs.before)
    shape = (N_OUTCOMES, 2 * N_OUTCOMES)
    cells = np.ravel_multi_index((pairs.after.astype(np.int64), by_tie), shape)
    width = shape[0] * shape[1]
    tables = (histogram(cells, width)[None], _drawn(cells, width, pairs.clips, resampling))
    shares = [
        (reliability.acc_answered(t.sum(axis=-1)), reliability.acc_answered(control.expected(t.sum(axis=-2))))
        for t in (table.reshape(-1, *shape) for table in tables)
    ]
    ((own, other), (drawn_own, drawn_other)) = shares
    n = int((pairs.after != ABSTAINED).sum())
    difference = figure((own - other)[0], drawn_own - drawn_other, resampling, n)
    different = len(np.unique(pairs.clips[pairs.after != by_tie]))
    answered = len(np.unique(pairs.clips[pairs.after != ABSTAINED]))
    low, high = difference.low, difference.high
    verdict = "no claim"
    if min(different, answered) < FEW_CLIPS:
        verdict = "no claim: few clips"
    elif low is not None and high is not None and (low > 0 or high < 0):
        verdict = "better" if low > 0 else "worse"
    return {
        "acc_answered": figure(other[0], drawn_other, resampling, n),
        "own_acc_answered": figure(own[0], drawn_own, resampling, n),
        "acc_answered_difference": difference,
        "verdict": verdict,
    }


def selective_figures(codes: Codes, confidence: Floats, curve: bool) -> schema.SelectiveFigures | None:
    """Of one method's outcomes and confidences (n,); None where its confidence is known for no answer."""
    answers = selective.ranked(codes, confidence)
    if not len(answers.right):
        return None
    points: list[tuple[float, float]] = []
    if curve:
        coverage, risk = selective.risk_coverage(answers)
        kept = np.unique(np.linspace(0, len(risk) - 1, CURVE_POINTS).round().astype(int))
        points = [(float(coverage[place]), float(risk[place])) for place in kept]
    return schema.SelectiveFigures(
        n=len(answers.right),
        n_unknown=answers.n_unknown,
        aurc=finite(selective.aurc(answers)),
        excess_aurc=finite(selective.excess_aurc(answers)),
        auroc=finite(selective.auroc(answers)),
        ece=finite(selective.ece(answers)),
        curve=points,
    )


def rgi_figures(t: Counts, drawn: Counts, p: float | None, resampling: Resampling) -> dict[str, schema.RgiFigure]:
    """RGI in every convention, from transitions (5, 5) and resampled ones (B, 5, 5). p: of random refusal."""
    figures = {}
    for convention in Convention:
        d_con, d_hum = (finite(float(delta)) for delta in deltas(t, convention))
        ends = [percentile_interval(delta, resampling.level) for delta in deltas(drawn, convention)]
        d_con_ends, d_hum_ends = ((finite(interval.low), finite(interval.high)) for interval in ends)
        flips, null = float(flip_only(t, convention)), float(rgi_null(t, convention))
        figures[str(convention)] = schema.RgiFigure(
            **dict(figure(rgi(t, convention), rgi(drawn, convention), resampling, int(t.sum()))),
            d_con=d_con,
            d_hum=d_hum,
            d_con_ends=d_con_ends,
            d_hum_ends=d_hum_ends,
            flip_only=finite(flips),
            flip_only_kind=kind_of(flips),
            null_p=p,
            null=finite(null),
            null_kind=kind_of(null),
            smoothed=finite(float(smoothed(t, convention))),
        )
    return figures


def _null_p(pairs: Pairs, after: Codes, resampling: Resampling) -> float | None:
    return clip_null_p(pairs.before, after, pairs.clips, resampling.resamples, resampling.seed)


def _without_unparsed(pairs: Pairs, resampling: Resampling) -> Figure | None:
    """Strict RGI over the questions whose reply of the baseline can be read; None where nearly all can."""
    kept = pairs.before != UNPARSED
    if (~kept).sum() <= UNPARSED_SHARE * len(kept):
        return None
    before, after = pairs.before[kept], pairs.after[kept]
    drawn = bootstrap_transitions(before, after, pairs.clips[kept], resampling.resamples, resampling.seed)
    gain, drawn_gains = rgi(transitions(before, after), Convention.STRICT), rgi(drawn, Convention.STRICT)
    return figure(gain, drawn_gains, resampling, len(before))


def _refused_clips(pairs: Pairs) -> dict[str, int]:
    refused = (pairs.after == ABSTAINED) & (pairs.before != ABSTAINED)
    sides = {"right": pairs.before == CORRECT, "wrong": pairs.before != CORRECT, "any": refused}
    return {name: len(np.unique(pairs.clips[refused & side])) for name, side in sides.items()}


def named(row: Counts) -> dict[str, int]:
    """Counts (5,) by outcome."""
    return {str(outcome): int(n) for outcome, n in zip(OUTCOMES, row, strict=True)}


def figure(value: Floats, resampled: Floats, resampling: Resampling, n: int | None = None) -> Figure:
    """A number with its interval, from its resamples (B,)."""
    return estimate(float(value), percentile_interval(resampled, resampling.level), n)


def _rates(counts: Counts, drawn: Counts, resampling: Resampling, n: int | None = None) -> dict[str, Any]:
    rates = {"acc": reliability.acc, "tru": reliability.tru, "rej": reliability.rej, "rel": reliability.rel}
    return {name: figure(rate(counts), rate(drawn), resampling, n) for name, rate in rates.items()}


def _drawn(cells: Codes, n_cells: int, clips: NDArray[np.int64], resampling: Resampling) -> Counts:
    return bootstrap_cells(cells, n_cells, clips, resampling.resamples, resampling.seed)
