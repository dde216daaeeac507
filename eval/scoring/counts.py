"""Published tables as counts: what stays of an evaluation whose replies were never published.

    {"rows": [{"method": "idk", "modality": "sound", "transitions": {"cc": 167, "cr": 20, "cw": 16, …}}, …]}

Each row is one method on one modality, or on the `total`. A transition is two letters, before and after: c correct, r
refused, w wrong; `rc`, `rr`, `rw` may be left out. `n`, `baseline_correct` and `baseline_wrong` are checked where they
are given; every other key, `printed` for one, means nothing here. A row with `source` is one cell of the paper's LoRA
row: the modality that the adapter was trained on.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lalm_agent.errors import DataError
from lalm_agent.eval.metrics.counts import ABSTAINED, CORRECT, N_OUTCOMES, WRONG, Counts, before_counts
from lalm_agent.eval.metrics.estimate import finite
from lalm_agent.eval.metrics.rgi import Convention, lora_row
from lalm_agent.eval.scoring.compare import TOTAL
from lalm_agent.eval.scoring.diagnosis import Signs, claim_of, diagnose, labels_of
from lalm_agent.eval.scoring.figures import Arrays, Pairs, group_figures
from lalm_agent.eval.scoring.schema import Group, MeanRow, MethodPair, MethodScore, Report, with_holm
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


def read_counts(path: Path) -> tuple[str | None, list[CountsRow]]:
    """Read a file of counts: where the counts come from, in the file's own words, and its rows.

    Raises DataError: it is missing or no such file, a row is at fault or there twice; the row is named.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", "check the path") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}", "mend the file") from None
    rows = value.get("rows") if isinstance(value, dict) else value
    if not isinstance(rows, list) or not rows:
        raise DataError(f"{path} has no rows of counts", 'write {"rows": [{"method", "modality", "transitions"}]}')
    read: dict[tuple[str, str, str | None], CountsRow] = {}
    for number, raw in enumerate(rows, start=1):
        try:
            row = _row(raw)
            if (key := (row.method, row.modality, row.source)) in read:
                raise DataError(f"{row.method} on {row.modality} was given before", "keep one")
            if row.modality == TOTAL and row.source is not None:
                raise DataError("a cell of the LoRA row has one modality", "leave out its total")
        except DataError as error:
            raise DataError(f"{path}: row {number}: {error.message}", error.hint) from None
        read[key] = row
    source = value.get("source") if isinstance(value, dict) else None
    return source if isinstance(source, str) else None, list(read.values())


def _row(row: object) -> CountsRow:
    if not isinstance(row, dict):
        raise DataError("no object", 'write {"method", "modality", "transitions"}')
    source = _name(row, "source") if row.get("source") is not None else None
    method = _name(row, "method") if source is None or row.get("method") is not None else _LORA
    t = _transitions(row.get("transitions"))
    before = before_counts(t)
    sums = {"n": t.sum(), "baseline_correct": before[CORRECT], "baseline_wrong": before[WRONG]}
    for key, total in sums.items():
        if row.get(key, total) != total:
            raise DataError(f"`{key}` is {row[key]}, and its transitions sum to {total}", "mend one of the two")
    return CountsRow(method, _name(row, "modality"), source, t)


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


BASELINE = "baseline"
Groups = dict[str, Counts]


def counts_report(path: Path, config: Config) -> Report:
    """Read a file of counts and work out every figure.

    Raises DataError: the file is at fault, its rows disagree on the baseline, or the LoRA row lacks a cell.
    """
    source_of_counts, rows = read_counts(path)
    runs, warnings = _with_totals(rows)
    baseline = _baseline(path, runs)
    methods = [_method(BASELINE, baseline, config, None)]
    methods += [_method(name, groups, config, source) for (name, source), groups in runs.items()]
    total = baseline.get(TOTAL)
    return Report(
        methods=methods,
        baseline=BASELINE,
        benchmark=config.benchmark,
        scorer=f"counts of {path.name}{f': {source_of_counts}' if source_of_counts else ''}",
        rgi=str(config.rgi),
        n=0 if total is None else int(total.sum()),
        n_clips=None,
        resamples=config.resampling.resamples,
        seed=config.resampling.seed,
        level=config.resampling.level,
        mcnemar=_tests(methods),
        mean_rows=_mean_rows(rows),
        warnings=["clips are not known: each question counts as a clip of its own", *warnings],
    )


def _with_totals(rows: Sequence[CountsRow]) -> tuple[dict[tuple[str, str | None], Groups], list[str]]:
    """(method, source) -> transitions by modality, the total last: as given, else the sum of several modalities."""
    runs: dict[tuple[str, str | None], Groups] = {}
    for row in rows:
        runs.setdefault((row.method, row.source), {})[row.modality] = row.transitions
    warnings = []
    for (name, source), groups in runs.items():
        in_file = groups.pop(TOTAL, None)
        summed = np.sum(list(groups.values()), axis=0) if len(groups) > 1 and source is None else None
        if in_file is not None and summed is not None and (in_file != summed).any():
            warnings.append(f"{name}: the total given is not the sum of its modalities; as given")
        total = summed if in_file is None else in_file
        if total is not None:
            groups[TOTAL] = total
    return runs, warnings


def _baseline(path: Path, runs: Mapping[tuple[str, str | None], Groups]) -> Groups:
    """The one baseline of all rows, as transitions that stay where they are."""
    baseline: dict[str, Counts] = {}
    for (name, _), groups in runs.items():
        for modality, t in groups.items():
            before = before_counts(t)
            if (baseline.setdefault(modality, before) != before).any():
                raise DataError(
                    f"{path}: {name} on {modality} has another baseline than the rows before it",
                    "rows of one file share one baseline; give a file for each",
                )
    return {modality: np.diag(before) for modality, before in baseline.items()}


def _method(name: str, groups: Groups, config: Config, source: str | None) -> MethodScore:
    is_baseline = name == BASELINE and source is None
    order = sorted(groups, key=lambda modality: modality != TOTAL)
    figures = {modality: _figures(groups[modality], config, is_baseline) for modality in order}
    total = figures.get(TOTAL)
    return MethodScore(
        name=name if source is None else f"{name} trained on {source}",
        groups=figures,
        labels=list(labels_of(total, is_baseline)),
        claim=None if is_baseline else claim_of(total),
        diagnosis=list(diagnose(Signs(None, is_baseline, figures, order[1:]))),
    )


def _figures(t: Counts, config: Config, is_baseline: bool) -> Group:
    cells = np.repeat(np.arange(N_OUTCOMES**2), t.ravel())
    clips = np.arange(len(cells))
    before, after = cells // N_OUTCOMES, cells % N_OUTCOMES
    pairs, answerable = Pairs(before, after, clips), np.ones(len(cells), np.bool_)
    return group_figures(Arrays(after, clips, answerable, pairs, is_baseline, known_clips=False), config.resampling)


def _tests(methods: Sequence[MethodScore]) -> list[MethodPair]:
    totals = [(method.name, method.groups[TOTAL]) for method in methods[1:] if TOTAL in method.groups]
    tests = [(test, name, total.n) for name, total in totals if (test := total.mcnemar)]
    return with_holm([MethodPair(**dict(test), first=methods[0].name, second=name, n=n) for test, name, n in tests])


def _mean_rows(rows: Sequence[CountsRow]) -> list[MeanRow]:
    cells: dict[str, dict[tuple[str, str], Counts]] = {}
    for row in rows:
        if row.source is not None:
            cells.setdefault(row.method, {})[row.source, row.modality] = row.transitions
    result = []
    for name, pairs in cells.items():
        for convention in Convention:
            sizes = {modality: float(t.sum()) for (source, modality), t in pairs.items() if source != modality}
            sizes[TOTAL] = sum(sizes.values())
            means = lora_row(pairs, convention).items()
            groups = {
                key: {"n": sizes[key], **{name: finite(float(value)) for name, value in figures.items()}}
                for key, figures in means
            }
            result.append(MeanRow(name=f"{name} (mean of cells)", convention=str(convention), groups=groups))
    return result
