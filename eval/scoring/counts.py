"""Published tables as counts: what stays of an evaluation whose replies were never published.

    {"rows": [{"method": "idk", "modality": "sound", "transitions": {"cc": 167, "cr": 20, "cw": 16, …}}, …]}

Each row is one method on one modality, or on the `total`. A transition is two letters, before and after: c correct, r
refused, w wrong; `rc`, `rr`, `rw` may be left out. `n`, `baseline_correct` and `baseline_wrong` are checked where they
are given; every other key, `printed` for one, means nothing here. A row with `source` is one cell of the paper's LoRA
row: the modality that the adapter was trained on.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from lalm_agent.errors import DataError
from lalm_agent.eval.metrics.counts import ABSTAINED, CORRECT, N_OUTCOMES, WRONG, Counts, before_counts
from lalm_agent.eval.metrics.estimate import finite
from lalm_agent.eval.metrics.rgi import Convention, LoraFigures, lora_row
from lalm_agent.eval.scoring.compare import TOTAL, Arrays
from lalm_agent.eval.scoring.diagnosis import claim_of, diagnose, labels_of, signs_of
from lalm_agent.eval.scoring.figures import FigureOptions, adjusted, group_figures
from lalm_agent.eval.scoring.schema import Group, MeanRow, Method, MethodPair, Report
from lalm_agent.eval.scoring.summary import Config

_CODE_OF = {"c": CORRECT, "r": ABSTAINED, "w": WRONG}
_REQUIRED = tuple(before + after for before in "cw" for after in "crw")
_KNOWN = tuple(before + after for before in "crw" for after in "crw")
_LORA = "lora"


@dataclass(frozen=True, slots=True, eq=False)
class CountsRow:
    """One row. transitions: (5, 5) int64, [before, after]. source: training modality of a LoRA cell, else None."""

    method: str
    modality: str
    source: str | None
    transitions: Counts


@dataclass(frozen=True, slots=True)
class CountsFile:
    """A file of counts. source: where the counts come from, in the file's own words."""

    source: str | None
    rows: tuple[CountsRow, ...]


def read_counts(path: Path) -> CountsFile:
    """Read a file of counts.

    Raises:
        DataError: it is missing or no such file, a row is at fault or there twice; the row is named.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", "check the path") from None
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}", "mend the file") from None
    rows = value.get("rows") if isinstance(value, dict) else value
    if not isinstance(rows, list) or not rows:
        raise DataError(f"{path} has no rows of counts", 'write {"rows": [{"method", "modality", "transitions"}]}')
    read = []
    for number, row in enumerate(rows, start=1):
        try:
            read.append(_row(row))
        except DataError as error:
            raise DataError(f"{path}: row {number}: {error.message}", error.hint) from None
    _require_unique(path, read)
    source = value.get("source") if isinstance(value, dict) else None
    return CountsFile(source if isinstance(source, str) else None, tuple(read))


def _row(row: object) -> CountsRow:
    if not isinstance(row, dict):
        raise DataError("no object", 'write {"method", "modality", "transitions"}')
    source = _name(row, "source") if row.get("source") is not None else None
    method = _name(row, "method") if source is None or row.get("method") is not None else _LORA
    found = _transitions(row.get("transitions"))
    _check_sums(row, found)
    return CountsRow(method, _name(row, "modality"), source, found)


def _name(row: Mapping[str, object], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"no `{key}`", "add it as a text")
    return value


def _transitions(value: object) -> Counts:
    if not isinstance(value, dict):
        raise DataError("no `transitions`", f"give counts for {', '.join(_REQUIRED)}")
    if missing := [key for key in _REQUIRED if key not in value]:
        raise DataError(f"no count for {', '.join(missing)}", "add it, 0 where it never happened")
    if unknown := [key for key in value if key not in _KNOWN]:
        raise DataError(f"{', '.join(map(repr, unknown))} is no transition", f"one of: {', '.join(_KNOWN)}")
    result = np.zeros((N_OUTCOMES, N_OUTCOMES), np.int64)
    for key, n in value.items():
        if isinstance(n, bool) or not isinstance(n, int) or not 0 <= n < 10**7:
            raise DataError(f"the count of {key} is {str(n)[:40]!r}", "counts are whole numbers from 0")
        result[_CODE_OF[key[0]], _CODE_OF[key[1]]] = n
    return result


def _check_sums(row: Mapping[str, object], found: Counts) -> None:
    before = before_counts(found)
    sums = {"n": found.sum(), "baseline_correct": before[CORRECT], "baseline_wrong": before[WRONG]}
    for key, total in sums.items():
        if row.get(key, total) != total:
            raise DataError(f"`{key}` is {row[key]}, and its transitions sum to {total}", "mend one of the two")


def _require_unique(path: Path, rows: list[CountsRow]) -> None:
    seen: set[tuple[str, str, str | None]] = set()
    for number, row in enumerate(rows, start=1):
        key = (row.method, row.modality, row.source)
        if key in seen:
            raise DataError(f"{path}: row {number}: {row.method} on {row.modality} was given before", "keep one")
        if row.modality == TOTAL and row.source is not None:
            raise DataError(f"{path}: row {number}: a cell of the LoRA row has one modality", "leave out its total")
        seen.add(key)


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
    return group_figures(arrays, FigureOptions(known_clips=False), config.resampling)


def _tests(methods: Sequence[Method]) -> list[MethodPair]:
    totals = [(method.name, method.groups[TOTAL]) for method in methods[1:] if TOTAL in method.groups]
    return adjusted(
        [
            MethodPair(**{**dict(total.mcnemar), "first": methods[0].name, "second": name, "n": total.n})
            for name, total in totals
            if total.mcnemar is not None
        ]
    )


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
