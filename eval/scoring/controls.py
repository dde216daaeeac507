"""What stands beside a method's figures: matched coverage, answers ranked by confidence, unanswerable questions."""

import numpy as np

from lalm_agent.eval.metrics import refusing, reliability, selective
from lalm_agent.eval.metrics.counts import N_OUTCOMES, after_counts, as_two_transitions, transitions, triple_cells
from lalm_agent.eval.metrics.estimate import Kind, finite
from lalm_agent.eval.metrics.intervals import bootstrap_cells
from lalm_agent.eval.metrics.matched import Matched, matched_coverage
from lalm_agent.eval.scoring.arrays import Arrays, Resampling
from lalm_agent.eval.scoring.estimates import above_zero, figure, named, rgi_difference, rgi_figures
from lalm_agent.eval.scoring.schema import MatchedFigures, RefusingFigures, SelectiveFigures

CURVE_POINTS = 101


def refusing_figures(arrays: Arrays, resampling: Resampling) -> RefusingFigures | None:
    """None where every question can be answered."""
    if arrays.all_answerable is None or arrays.all_codes is None or arrays.all_clips is None:
        return None
    if arrays.all_answerable.all():
        return None
    table = refusing.table(arrays.all_answerable, arrays.all_codes)
    cells = refusing.cells(arrays.all_answerable, arrays.all_codes)
    drawn = refusing.as_table(
        bootstrap_cells(cells, refusing.N_CELLS, arrays.all_clips, resampling.resamples, resampling.seed)
    )
    return RefusingFigures(
        precision=figure(refusing.precision(table), refusing.precision(drawn), resampling),
        recall=figure(refusing.recall(table), refusing.recall(drawn), resampling),
        f1=figure(refusing.f1(table), refusing.f1(drawn), resampling),
        false_refusal_rate=figure(refusing.false_refusal_rate(table), refusing.false_refusal_rate(drawn), resampling),
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
        "beaten": None if gain.low_kind == Kind.UNDEFINED else above_zero(gain.low, gain.low_kind),
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
