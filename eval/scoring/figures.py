"""The figures of one method on one group of questions: arrays of outcomes in, one record of `schema` out. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lalm_agent.eval.grade import KINDS, OUTCOMES
from lalm_agent.eval.metrics import reliability, selective
from lalm_agent.eval.metrics.counts import (
    N_OUTCOMES,
    Codes,
    Counts,
    Floats,
    after_counts,
    as_two_transitions,
    counts,
    transitions,
    triple_cells,
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
from lalm_agent.eval.metrics.mcnemar import holm, mcnemar
from lalm_agent.eval.metrics.rgi import Convention, deltas, flip_only, null_p, rgi, rgi_null, smoothed
from lalm_agent.eval.scoring.compare import Arrays, Resampling
from lalm_agent.eval.scoring.schema import (
    Group,
    HonestyFigures,
    MatchedFigures,
    McNemarFigure,
    MethodPair,
    Published,
    RefusingFigures,
    RgiFigure,
    SelectiveFigures,
)


@dataclass(frozen=True, slots=True)
class FigureOptions:
    """What is computed beside the figures of CONTRACT.md. published: name of that scorer. curve: of selective."""

    published: str | None = None
    curve: bool = False
    known_clips: bool = True


def group_figures(arrays: Arrays, options: FigureOptions, resampling: Resampling) -> Group:
    """Every figure of a group."""
    n = len(arrays.own)
    t = transitions(arrays.before, arrays.after)
    drawn = bootstrap_transitions(arrays.before, arrays.after, arrays.clips, resampling.resamples, resampling.seed)
    own = counts(arrays.own)
    drawn_own = _drawn_counts(arrays, drawn, resampling)
    return Group(
        n=n,
        counts=named(own),
        abstained_kinds=_kinds(arrays),
        excluded=arrays.excluded,
        **{
            name: figure(getattr(reliability, name)(own), getattr(reliability, name)(drawn_own), resampling, n)
            for name in ("acc", "tru", "rej", "rel")
        },
        rel_minus_null=figure(
            reliability.rel_minus_null(t), reliability.rel_minus_null(drawn), resampling, len(arrays.before)
        ),
        rgi=rgi_figures(t, drawn, resampling),
        transitions={str(outcome): named(row) for outcome, row in zip(OUTCOMES, t, strict=True)},
        n_paired=len(arrays.before),
        n_clips=len(np.unique(arrays.own_clips)) if options.known_clips else None,
        left_out=dict(arrays.left_out),
        mcnemar=None if arrays.is_baseline else mcnemar_figure(arrays.before, arrays.after),
        published=_published(arrays, options),
        honesty=honesty_figures(t),
        refusing=refusing_figures(arrays, resampling),
        matched=None if arrays.is_baseline else matched_figures(arrays, resampling),
        selective=selective_figures(arrays, options.curve),
    )


def mcnemar_figure(first: Codes, second: Codes) -> McNemarFigure:
    """McNemar's test between two methods on the same questions (n,)."""
    test = mcnemar(first, second)
    return McNemarFigure(p=test.p, b=test.first_only, c=test.second_only)


def adjusted(pairs: Sequence[MethodPair]) -> list[MethodPair]:
    """The tests with Holm's adjustment over all of them."""
    return [
        pair.model_copy(update={"p_holm": p}) for pair, p in zip(pairs, holm([pair.p for pair in pairs]), strict=True)
    ]


def honesty_figures(t: Counts) -> HonestyFigures:
    """Honesty and the knowledge quadrants of transitions (5, 5)."""
    parts = reliability.quadrants(t)
    rates = ("prudence", "over_conservativeness", "honesty", "truthful")
    return HonestyFigures(
        **{name: finite(float(getattr(reliability, name)(t))) for name in rates},
        quadrants={name: int(getattr(parts, name)) for name in ("ik_ik", "ik_idk", "idk_ik", "idk_idk")},
    )


def _drawn_counts(arrays: Arrays, drawn: Counts, resampling: Resampling) -> Counts:
    """Resampled counts of the method's own questions: those of the pairs where both are the same questions."""
    if len(arrays.own) == len(arrays.before):
        return after_counts(drawn)
    return bootstrap_cells(arrays.own, N_OUTCOMES, arrays.own_clips, resampling.resamples, resampling.seed)


def _kinds(arrays: Arrays) -> dict[str, int] | None:
    if arrays.own_kinds is None:
        return None
    return {str(kind): int((arrays.own_kinds == code).sum()) for code, kind in enumerate(KINDS)}


def _published(arrays: Arrays, options: FigureOptions) -> Published | None:
    if arrays.published is None or options.published is None:
        return None
    return Published(scorer=options.published, acc=finite(float(reliability.acc(counts(arrays.published)))))


CURVE_POINTS = 101


def refusing_figures(arrays: Arrays, resampling: Resampling) -> RefusingFigures | None:
    """None where every question can be answered."""
    if arrays.all_answerable is None or arrays.all_codes is None or arrays.all_clips is None:
        return None
    if arrays.all_answerable.all():
        return None
    table = reliability.refusal_table(arrays.all_answerable, arrays.all_codes)
    cells = reliability.refusal_cells(arrays.all_answerable, arrays.all_codes)
    drawn = reliability.as_refusal_table(
        bootstrap_cells(cells, reliability.N_REFUSAL_CELLS, arrays.all_clips, resampling.resamples, resampling.seed)
    )
    rates = {
        "precision": reliability.refusal_precision,
        "recall": reliability.refusal_recall,
        "f1": reliability.refusal_f1,
        "false_refusal_rate": reliability.false_refusal_rate,
    }
    return RefusingFigures(
        **{name: figure(rate(table), rate(drawn), resampling) for name, rate in rates.items()},
        n_unanswerable=int(table[0].sum()),
        n_answerable=int(table[1].sum()),
        counts_unanswerable=named(table[0]),
    )


def matched_figures(arrays: Arrays, resampling: Resampling) -> MatchedFigures | None:
    """None where the baseline's confidence is known for no answer at all."""
    if arrays.confidence is None or np.isnan(arrays.confidence).all():
        return None
    found = matched_coverage(arrays.before, arrays.after, arrays.confidence, arrays.ids)
    head = MatchedFigures(
        n_rejected=found.n_rejected,
        n_unparsed=found.n_unparsed,
        n_unknown=found.n_unknown,
        n_tied=found.n_tied,
        confidence_known=1 - float(np.isnan(arrays.confidence).mean()),
        reason=found.reason,
    )
    return head if found.codes is None else head.model_copy(update=_against(arrays, found, resampling))


def _against(arrays: Arrays, control: Matched, resampling: Resampling) -> dict[str, object]:
    """The control's figures, and the method's difference from them, in resamples of the same clips."""
    assert control.codes is not None
    cells = triple_cells(arrays.before, arrays.after, control.codes)
    drawn = bootstrap_cells(cells, N_OUTCOMES**3, arrays.clips, resampling.resamples, resampling.seed)
    drawn_method, drawn_control = as_two_transitions(drawn)
    method, t = transitions(arrays.before, arrays.after), transitions(arrays.before, control.codes)
    after, drawn_after = after_counts(t), after_counts(drawn_control)
    found: dict[str, object] = {
        name: figure(getattr(reliability, name)(after), getattr(reliability, name)(drawn_after), resampling)
        for name in ("acc", "tru", "rej", "rel")
    }
    difference = reliability.rel(after_counts(method)) - reliability.rel(after)
    drawn_difference = reliability.rel(after_counts(drawn_method)) - reliability.rel(drawn_after)
    gain = rgi_difference((method, drawn_method), (t, drawn_control), resampling)
    return found | {
        "rgi": rgi_figures(t, drawn_control, resampling),
        "rel_difference": figure(difference, drawn_difference, resampling),
        "rgi_difference": gain,
        "beaten": None if gain.low_kind == Kind.UNDEFINED else gain.above_zero,
    }


def selective_figures(arrays: Arrays, curve: bool) -> SelectiveFigures | None:
    """None where the method's confidence is known for no answer."""
    if arrays.own_confidence is None:
        return None
    answers = selective.ranked(arrays.own, arrays.own_confidence)
    if not len(answers.right):
        return None
    points: list[tuple[float, float]] = []
    if curve:
        whole = selective.risk_coverage(answers)
        kept = np.unique(np.linspace(0, len(whole.risk) - 1, CURVE_POINTS).round().astype(int))
        points = [(float(whole.coverage[place]), float(whole.risk[place])) for place in kept]
    return SelectiveFigures(
        n=len(answers.right),
        n_unknown=answers.n_unknown,
        aurc=finite(selective.aurc(answers)),
        excess_aurc=finite(selective.excess_aurc(answers)),
        auroc=finite(selective.auroc(answers)),
        ece=finite(selective.ece(answers)),
        curve=points,
    )


def named(row: Counts) -> dict[str, int]:
    """Counts (5,) by outcome."""
    return {str(outcome): int(n) for outcome, n in zip(OUTCOMES, row, strict=True)}


def figure(value: Floats, resampled: Floats, resampling: Resampling, n: int | None = None) -> Figure:
    """A number with its interval, from its resamples (B,)."""
    return estimate(float(value), percentile_interval(resampled, resampling.level), n)


def rgi_figures(t: Counts, drawn: Counts, resampling: Resampling) -> dict[str, RgiFigure]:
    """RGI in every convention, from transitions (5, 5) and resampled ones (B, 5, 5)."""
    p = null_p(t)
    return {str(convention): _rgi(t, drawn, (convention, p), resampling) for convention in Convention}


def _rgi(t: Counts, drawn: Counts, which: tuple[Convention, float | None], resampling: Resampling) -> RgiFigure:
    convention, p = which
    gain = figure(rgi(t, convention), rgi(drawn, convention), resampling, int(t.sum()))
    d_con, d_hum = deltas(t, convention)
    flips, null = float(flip_only(t, convention)), float(rgi_null(t, convention))
    return RgiFigure(
        **dict(gain),
        d_con=finite(float(d_con)),
        d_hum=finite(float(d_hum)),
        flip_only=finite(flips),
        flip_only_kind=kind_of(flips),
        null_p=p,
        null=finite(null),
        null_kind=kind_of(null),
        smoothed=finite(float(smoothed(t, convention))),
    )


def rgi_difference(
    method: tuple[Counts, Counts], control: tuple[Counts, Counts], resampling: Resampling
) -> Figure:
    """Strict RGI of a method minus that of a control, each as transitions (5, 5) and resampled ones (B, 5, 5)."""
    with np.errstate(invalid="ignore"):
        value, drawn = (
            rgi(own, Convention.STRICT) - rgi(other, Convention.STRICT)
            for own, other in zip(method, control, strict=True)
        )
    return figure(value, drawn, resampling)
