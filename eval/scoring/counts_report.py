"""A report from counts alone: what a published table says in every convention, with intervals.

Each question counts as a clip of its own, because counts do not say which questions share one. Methods are compared
with the baseline only: how two methods' outcomes fall together is not in their counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from lalm_agent.errors import DataError
from lalm_agent.eval.metrics.counts import N_OUTCOMES, Counts, before_counts
from lalm_agent.eval.metrics.estimate import finite
from lalm_agent.eval.metrics.lora_row import LoraFigures, lora_row
from lalm_agent.eval.metrics.mcnemar import holm
from lalm_agent.eval.metrics.rgi import Convention
from lalm_agent.eval.reading.counts_file import CountsFile, CountsRow, read_counts
from lalm_agent.eval.scoring.arrays import Arrays
from lalm_agent.eval.scoring.diagnosis import diagnose
from lalm_agent.eval.scoring.figures import Wanted, group_figures
from lalm_agent.eval.scoring.pairing import TOTAL
from lalm_agent.eval.scoring.schema import Group, MeanRow, Method, MethodPair, Report
from lalm_agent.eval.scoring.summary import Config
from lalm_agent.eval.scoring.verdicts import claim_of, labels_of, signs_of

BASELINE = "baseline"
Groups = dict[str, Counts]


def counts_report(path: Path, config: Config) -> Report:
    """Read a file of counts and work out every figure.

    Raises:
        DataError: the file is at fault, its rows disagree on the baseline, or the LoRA row lacks a cell.
    """
    file = read_counts(path)
    runs, warnings = _with_totals(file)
    baseline = _baseline(path, runs)
    methods = [_method(BASELINE, baseline, config, None)]
    methods += [_method(name, groups, config, source) for (name, source), groups in runs.items()]
    total = baseline.get(TOTAL)
    return Report(
        methods=methods,
        baseline=BASELINE,
        benchmark=config.benchmark,
        scorer=f"counts of {path.name}{f': {file.source}' if file.source else ''}",
        rgi=str(config.rgi),
        n=0 if total is None else int(total.sum()),
        n_clips=None,
        resamples=config.resampling.resamples,
        seed=config.resampling.seed,
        level=config.resampling.level,
        mcnemar=_tests(methods),
        mean_rows=_mean_rows(file),
        warnings=["clips are not known: each question counts as a clip of its own", *warnings],
    )


def _with_totals(file: CountsFile) -> tuple[dict[tuple[str, str | None], Groups], list[str]]:
    """(method, source) -> transitions by modality, the total last: as given, else the sum of several modalities."""
    runs: dict[tuple[str, str | None], Groups] = {}
    for row in file.rows:
        runs.setdefault((row.method, row.source), {})[row.modality] = row.transitions
    warnings = []
    for (name, source), groups in runs.items():
        given = groups.pop(TOTAL, None)
        summed = np.sum(list(groups.values()), axis=0) if len(groups) > 1 and source is None else None
        if given is not None and summed is not None and (given != summed).any():
            warnings.append(f"{name}: the total given is not the sum of its modalities; as given")
        whole = given if given is not None else summed
        if whole is not None:
            groups[TOTAL] = whole
    return runs, warnings


def _baseline(path: Path, runs: Mapping[tuple[str, str | None], Groups]) -> Groups:
    """The one baseline of all rows, as transitions that stay where they are."""
    found: dict[str, Counts] = {}
    for (name, _), groups in runs.items():
        for modality, t in groups.items():
            before = before_counts(t)
            if (found.setdefault(modality, before) != before).any():
                raise DataError(
                    f"{path}: {name} on {modality} has another baseline than the rows before it",
                    "rows of one file share one baseline; give a file for each",
                )
    return {modality: np.diag(before) for modality, before in found.items()}


def _method(name: str, groups: Groups, config: Config, source: str | None) -> Method:
    is_baseline = name == BASELINE and source is None
    order = sorted(groups, key=lambda modality: modality != TOTAL)
    figures = {modality: _figures(groups[modality], config, is_baseline) for modality in order}
    total = figures.get(TOTAL)
    signs = signs_of(figures, order[1:], is_baseline)
    return Method(
        name=name if source is None else f"{name} trained on {source}",
        groups=figures,
        labels=list(labels_of(total, is_baseline)),
        claim=None if is_baseline else claim_of(total),
        diagnosis=list(diagnose(signs)) if signs else [],
    )


def _figures(t: Counts, config: Config, is_baseline: bool) -> Group:
    cells = np.repeat(np.arange(N_OUTCOMES**2), t.ravel())
    clips = np.arange(len(cells))
    before, after = cells // N_OUTCOMES, cells % N_OUTCOMES
    arrays = Arrays(own=after, own_clips=clips, before=before, after=after, clips=clips, is_baseline=is_baseline)
    return group_figures(arrays, Wanted(known_clips=False), config.resampling)


def _tests(methods: Sequence[Method]) -> list[MethodPair]:
    found = []
    for method in methods[1:]:
        total = method.groups.get(TOTAL)
        if total is not None and total.mcnemar is not None:
            test = total.mcnemar
            pair = MethodPair(first=methods[0].name, second=method.name, n=total.n, p=test.p, b=test.b, c=test.c)
            found.append(pair)
    adjusted = holm([pair.p for pair in found])
    return [pair.model_copy(update={"p_holm": p}) for pair, p in zip(found, adjusted, strict=True)]


def _mean_rows(file: CountsFile) -> list[MeanRow]:
    """The LoRA row of each method that has cells, in every convention."""
    cells: dict[str, list[CountsRow]] = {}
    for row in file.rows:
        if row.source is not None:
            cells.setdefault(row.method, []).append(row)
    result = []
    for name, rows in cells.items():
        pairs = {(row.source or "", row.modality): row.transitions for row in rows}
        for convention in Convention:
            means = lora_row(pairs, convention)
            groups = {modality: _numbers(figures) for modality, figures in means.modalities}
            groups[TOTAL] = _numbers(means.total)
            result.append(MeanRow(name=f"{name} (mean of cells)", convention=str(convention), groups=groups))
    return result


def _numbers(figures: LoraFigures) -> dict[str, float | None]:
    return {field.name: finite(float(getattr(figures, field.name))) for field in fields(LoraFigures)}
