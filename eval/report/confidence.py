"""What is printed about estimators of confidence, a policy, and its check."""

from collections.abc import Iterable, Sequence

from lalm_agent.eval.confidence.calibrate import CheckedThreshold, PolicyCheck
from lalm_agent.eval.confidence.measures import ConfidenceReport, EstimatorComparison
from lalm_agent.eval.metrics.estimate import Figure
from lalm_agent.eval.report.table import NOTHING, Table, as_terminal, percent, wrapped
from lalm_agent.policy import Policy, Threshold

_SHORT = {"auroc": "AUROC", "aurc": "AURC", "excess_aurc": "excess AURC", "augrc": "AUGRC", "ece": "ECE"}
_COUNTED = ("modality", "threshold", "recordings", "coverage %", "answers", "wrong", "error %")


def measures_tables(report: ConfidenceReport) -> list[Table]:
    """The estimators, the best first, and their comparisons."""
    ordered = sorted(report.estimators, key=lambda of: of.figures["excess_aurc"].value or 0.0)
    labels = list(ordered[0].figures)
    rows = tuple((of.estimator, str(of.n), *(_figure(of.figures[label]) for label in labels)) for of in ordered)
    title = f"Confidence: {report.n} answers on {report.n_clips} recordings, {percent(report.accuracy, 1)} % right"
    tables = [Table(title, ("estimator", "n", *(_SHORT.get(label, label.replace("_", " ")) for label in labels)), rows)]
    if report.comparisons:
        header = ("estimator", "against", "n", "excess AURC", "lower by %", "p (Holm)")
        compared = tuple(_comparison(of) for of in report.comparisons)
        tables.append(Table("Differences in excess AURC", header, compared, "llrrrr"))
    return tables


def measures_lines(report: ConfidenceReport, width: int | None = None) -> Iterable[str]:
    """The tables and what a reader has to know."""
    for table in measures_tables(report):
        yield from (table.title, as_terminal(table, width), "")
    yield wrapped(
        f"Least excess AURC: {report.best}. Intervals: 95 %, bootstrap over recordings. ECE: bins of equal mass. "
        "`combined` is out of fold.",
        width,
    )
    yield from (wrapped(f"note: {note}", width) for note in report.notes)


def policy_lines(policy: Policy, width: int | None = None) -> Iterable[str]:
    """The thresholds and the promise."""
    header = (*_COUNTED, "p")
    rows = (
        (*_counted(row, row.threshold, row.error_interval, row.coverage_interval), _p(row.p))
        for row in policy.thresholds
    )
    table = Table("Policy", header, tuple(rows))
    yield as_terminal(table, width)
    yield wrapped(policy.guarantee, width)


def check_lines(check: PolicyCheck, policy: Policy, width: int | None = None) -> Iterable[str]:
    """The thresholds on new data, what became of the promise, and what weakens the check."""
    thresholds = {row.modality: row.threshold for row in policy.thresholds}
    rows = tuple((*_counted(row, thresholds[row.modality], row.interval), str(row.promise)) for row in check.rows)
    table = Table("Check", (*_COUNTED, f"at most {percent(check.max_risk, 1)} %"), rows)
    yield as_terminal(table, width)
    if check.n_overlapping:
        yield wrapped(f"{check.n_overlapping} recordings were left out: the policy was calibrated on them", width)
    if not check.same_data:
        before = policy.data_version or policy.data
        other = f"other files of {check.data}" if before == check.data else check.data
        yield wrapped(f"calibrated on {before}, checked on {other}", width)


def _figure(figure: Figure) -> str:
    if figure.value is None:
        return NOTHING
    ends = (NOTHING if end is None else f"{end:z.3f}" for end in (figure.low, figure.high))
    return f"{figure.value:z.3f} [{', '.join(ends)}]"


def _comparison(of: EstimatorComparison) -> tuple[str, ...]:
    share = of.lower_by
    lower = f"{percent(share.value, 0)} [{percent(share.low, 0)}, {percent(share.high, 0)}]"
    return of.first, of.second, str(of.n), _figure(of.excess_aurc), lower, _p(of.p_holm)


def _counted(
    row: Threshold | CheckedThreshold,
    threshold: float | None,
    error_ends: Sequence[float],
    coverage_ends: Sequence[float] = (),
) -> tuple[str, ...]:
    """The cells of `_COUNTED`."""

    def shown(share: float, ends: Sequence[float]) -> str:
        return percent(share, 1) + (f" [{', '.join(percent(end, 1) for end in ends)}]" if ends else "")

    level = "none" if threshold is None else f"{threshold:.4f}"
    error = NOTHING if row.error is None else shown(row.error, error_ends)
    counts = (str(row.kept), str(row.errors), error)
    return row.modality or "all", level, str(row.n), shown(row.coverage, coverage_ends), *counts


def _p(p: float | None) -> str:
    return NOTHING if p is None else f"{p:.2g}"
