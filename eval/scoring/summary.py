"""From graded methods to the report of CONTRACT.md: every figure of every group, and what may be said about it."""

from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from lalm_agent.eval.grade import guess_rates
from lalm_agent.eval.metrics.mcnemar import mcnemar
from lalm_agent.eval.metrics.rgi import Convention
from lalm_agent.eval.scoring.compare import SEEN, TOTAL, Graded, Resampling, Study, group_key, paired
from lalm_agent.eval.scoring.diagnosis import claim_of, diagnose, labels_of, signs_of, type_figures
from lalm_agent.eval.scoring.figures import Arrays, Pairs, group_figures
from lalm_agent.eval.scoring.schema import Group, Guess, MethodPair, MethodScore, Report, with_holm

FEW_CLIPS = 10
"""Ours: a percentile bootstrap over fewer is too narrow to be read, and over one clip it has no width at all."""


@dataclass(frozen=True, slots=True)
class Config:
    """rgi: the convention that tables show; figures are made in all. benchmark: its name, for the caption."""

    rgi: Convention = Convention.STRICT
    benchmark: str | None = None
    resampling: Resampling = field(default_factory=Resampling)


def summarise(study: Study, config: Config) -> Report:
    """Every figure of a study."""
    methods = [_method(study, method, config) for method in study.methods]
    n_clips = len(np.unique(study.clips[study.answerable]))
    few = (f"{n_clips} clips: too few for the intervals to be trusted",) if n_clips < FEW_CLIPS else ()
    return Report(
        methods=methods,
        baseline=study.baseline.name,
        benchmark=config.benchmark,
        scorer=study.scorer,
        rgi=str(config.rgi),
        n=int(study.answerable.sum()),
        n_clips=n_clips,
        resamples=config.resampling.resamples,
        seed=config.resampling.seed,
        level=config.resampling.level,
        guessing=_guessing(study),
        mcnemar=_pairs(study),
        warnings=[*study.warnings, *few],
    )


def _method(study: Study, method: Graded, config: Config) -> MethodScore:
    is_baseline = method is study.baseline
    modalities = {item.modality for item in study.items}
    groups: dict[str, Group] = {}
    for key, places in study.groups.items():
        arrays = arrays_of(study, method, places)
        if len(arrays.codes) or arrays.excluded:
            groups[key] = group_figures(arrays, config.resampling, curve=key == TOTAL or key in modalities)
    types = type_figures(method.outputs) if method.outputs.has_types else None
    return MethodScore(
        name=method.name,
        groups=groups,
        method=method.outputs.method,
        labels=list(labels_of(groups.get(TOTAL), is_baseline)),
        claim=None if is_baseline else claim_of(groups.get(TOTAL)),
        diagnosis=list(diagnose(signs_of(study, method, groups, types))),
        type_confusion=types,
        facts=dict(method.outputs.facts),
    )


def arrays_of(study: Study, method: Graded, places: NDArray[np.int64]) -> Arrays:
    """What the figures of the questions at `places` are made from."""
    codes, before = method.codes[places], study.baseline.codes[places]
    both = places[paired(before, codes) & study.answerable[places]]
    own = places[codes >= 0]
    of_baseline = study.baseline.confidence[both]
    known = not np.isnan(of_baseline).all()
    pairs = Pairs(
        before=study.baseline.codes[both],
        after=method.codes[both],
        clips=study.clips[both],
        confidence=of_baseline if known else None,
        ids=[study.items[place].id for place in both] if known else (),
    )
    return Arrays(
        codes=method.codes[own],
        clips=study.clips[own],
        answerable=study.answerable[own],
        pairs=pairs,
        is_baseline=method is study.baseline,
        confidence=method.confidence[own],
        kinds=method.kinds[own],
        published=None if method.published is None else method.published[own],
        published_name=study.published_scorer or "",
        excluded=int((codes == SEEN).sum()),
        left_out={str(outcome): n for outcome, mask in method.left_out.items() if (n := int(mask[places].sum()))},
    )


def _guessing(study: Study) -> dict[str, Guess]:
    """The reference rows over the baseline's questions that count."""
    counted = [item for item, code in zip(study.items, study.baseline.codes, strict=True) if code >= 0]
    rates = guess_rates(counted)
    by_group = {TOTAL: rates.total, **{group_key(*pair): rate for pair, rate in rates.groups.items()}}
    return {key: Guess(**{name: getattr(rate, name) for name in Guess.model_fields}) for key, rate in by_group.items()}


def _pairs(study: Study) -> list[MethodPair]:
    tests = []
    for first, second in combinations(study.methods, 2):
        both = paired(first.codes, second.codes) & study.answerable
        test = mcnemar(first.codes[both], second.codes[both])
        tests.append(MethodPair(**dict(test), first=first.name, second=second.name, n=int(both.sum())))
    return with_holm(tests)
