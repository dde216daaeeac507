"""The figures of one method on one group of questions: arrays of outcomes in, one record of `schema` out. Pure."""

from dataclasses import dataclass

import numpy as np

from lalm_agent.eval.grade import KINDS, OUTCOMES
from lalm_agent.eval.metrics import honesty, reliability
from lalm_agent.eval.metrics.counts import N_OUTCOMES, Codes, Counts, after_counts, counts, transitions
from lalm_agent.eval.metrics.estimate import finite
from lalm_agent.eval.metrics.intervals import bootstrap_cells, bootstrap_transitions
from lalm_agent.eval.metrics.mcnemar import mcnemar
from lalm_agent.eval.scoring.arrays import Arrays, Resampling
from lalm_agent.eval.scoring.controls import matched_figures, refusing_figures, selective_figures
from lalm_agent.eval.scoring.estimates import figure, named, rgi_figures
from lalm_agent.eval.scoring.schema import Group, HonestyFigures, McNemarFigure, Published


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is computed beside the figures of CONTRACT.md. published: name of that scorer. curve: of selective."""

    published: str | None = None
    curve: bool = False
    known_clips: bool = True


def group_figures(arrays: Arrays, wanted: Wanted, resampling: Resampling) -> Group:
    """Every figure of a group."""
    t = transitions(arrays.before, arrays.after)
    drawn = bootstrap_transitions(arrays.before, arrays.after, arrays.clips, resampling.resamples, resampling.seed)
    own = counts(arrays.own)
    drawn_own = _drawn_counts(arrays, drawn, resampling)
    return Group(
        n=len(arrays.own),
        counts=named(own),
        abstained_kinds=_kinds(arrays),
        excluded=arrays.excluded,
        acc=figure(reliability.acc(own), reliability.acc(drawn_own), resampling),
        tru=figure(reliability.tru(own), reliability.tru(drawn_own), resampling),
        rej=figure(reliability.rej(own), reliability.rej(drawn_own), resampling),
        rel=figure(reliability.rel(own), reliability.rel(drawn_own), resampling),
        rel_minus_null=figure(reliability.rel_minus_null(t), reliability.rel_minus_null(drawn), resampling),
        rgi=rgi_figures(t, drawn, resampling),
        transitions={str(outcome): named(row) for outcome, row in zip(OUTCOMES, t, strict=True)},
        n_paired=len(arrays.before),
        n_clips=len(np.unique(arrays.own_clips)) if wanted.known_clips else None,
        left_out=dict(arrays.left_out),
        mcnemar=None if arrays.is_baseline else mcnemar_figure(arrays.before, arrays.after),
        published=_published(arrays, wanted),
        honesty=honesty_figures(t),
        refusing=refusing_figures(arrays, resampling),
        matched=None if arrays.is_baseline else matched_figures(arrays, resampling),
        selective=selective_figures(arrays, wanted.curve),
    )


def mcnemar_figure(first: Codes, second: Codes) -> McNemarFigure:
    """McNemar's test between two methods on the same questions (n,)."""
    test = mcnemar(first, second)
    return McNemarFigure(p=test.p, b=test.first_only, c=test.second_only)


def honesty_figures(t: Counts) -> HonestyFigures:
    """Honesty and the knowledge quadrants of transitions (5, 5)."""
    parts = honesty.quadrants(t)
    return HonestyFigures(
        prudence=finite(float(honesty.prudence(t))),
        over_conservativeness=finite(float(honesty.over_conservativeness(t))),
        honesty=finite(float(honesty.honesty(t))),
        truthful=finite(float(honesty.truthful(t))),
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


def _published(arrays: Arrays, wanted: Wanted) -> Published | None:
    if arrays.published is None or wanted.published is None:
        return None
    return Published(scorer=wanted.published, acc=finite(float(reliability.acc(counts(arrays.published)))))
