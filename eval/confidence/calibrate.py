"""From estimates of confidence to a policy with a guarantee, and from new labelled data to whether it held.

    policy = calibrate(CalibrateRequest(Path("conf"), max_risk=0.10, delta=0.10))
    checked = check(Path("conf-new"), policy)

What counts: an answer is what the `rule` scorer reads as one. Abstained and unparsed replies are refusals already; they
lower the coverage. Failed ones, those on recordings that the adapter was trained on, and those whose recording is
unknown are left out and counted. An answer of unknown confidence is never given. One question of each recording is
drawn by a hash (see `risk`), so that the promise is about a recording drawn like these and one of its questions.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from lalm_agent.artefacts import MismatchError, Record, now, versions
from lalm_agent.errors import DataError, UsageError, did_you_mean
from lalm_agent.eval.confidence.crossfit import clip_parts, fit_crossed, out_of_fold
from lalm_agent.eval.confidence.records import EstimateRow, Estimates, read_estimates, values_of
from lalm_agent.eval.confidence.risk import fixed_sequence, one_a_clip, questions_needed, smallest_rejection
from lalm_agent.eval.grade import Outcome
from lalm_agent.eval.metrics import selective
from lalm_agent.eval.metrics.counts import CORRECT, WRONG, Bools, Floats
from lalm_agent.eval.metrics.estimate import clopper_pearson
from lalm_agent.policy import COMBINED, SHORT_HASH, Policy, PolicyEstimator, Threshold
from lalm_agent.records import Method

ANSWERS = (Outcome.CORRECT, Outcome.WRONG)
BEST = "best"
"""In place of an estimator: the one of least excess AURC on half of the recordings, where there are several."""
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class CalibrateRequest:
    """What to calibrate on, and what to promise: at most `max_risk` errors among answers, with confidence 1 - delta.

    folder: of estimates, or a run. by_modality: a threshold for each modality, delta divided evenly among them.
    """

    folder: Path
    estimator: str = BEST
    max_risk: float = 0.10
    delta: float = 0.10
    by_modality: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """Independent questions, one of each recording, of a modality or of all (None).

    confidence: (n,) NaN where there is no answer to give. wrong: (n,).
    """

    modality: str | None
    confidence: Floats
    wrong: Bools

    @property
    def name(self) -> str:
        """What messages call them."""
        return self.modality or "all"


def calibrate(request: CalibrateRequest, tell: Tell = lambda line: None) -> Policy:
    """The policy of the largest coverage that can be certified. tell: told the limits before, and what was left out.

    Raises:
        UsageError: a share that is none, an unknown estimator, a control run; nothing can be certified.
        DataError: the folder cannot be read, or holds too little to fit `combined`.
    """
    for flag, value in (("--max-risk", request.max_risk), ("--delta", request.delta)):
        if not 0 < value < 1:
            raise UsageError(f"{flag} is a share between 0 and 1, not {value:g}", f"{flag} 0.10 is a usual one")
    estimates = read_estimates(request.folder)
    rows = usable(estimates, tell)
    estimator, calibrating = estimator_of(request.estimator, estimates, rows, tell)
    groups = units(calibrating, estimator, request.by_modality, tell)
    delta = request.delta / len(groups)
    if request.by_modality and estimates.run.method != Method.AGENT:
        tell(
            f"the method {estimates.run.method} has no type step to choose by: `ask` and `eval` cannot use this policy"
        )
    for group in groups:
        tell_limits(group, request.max_risk, delta, tell)
    thresholds = tuple(certified(group, request.max_risk, delta) for group in groups)
    if all(threshold.threshold is None for threshold in thresholds):
        raise _nothing(groups, request.max_risk, delta)
    run, clips = estimates.run, {row.clip or "" for row in rows}
    policy = Policy(
        created=now(),
        system=run.system,
        data=run.data.name,
        data_version=estimates.data_version,
        data_sha256=run.data.sha256,
        shuffle_choices=run.shuffle_choices,
        n_questions=len(rows),
        n_clips=len(clips),
        estimator=estimator,
        max_risk=request.max_risk,
        delta=request.delta,
        thresholds=thresholds,
        guarantee=_guarantee(
            request, thresholds, estimator, len({row.clip for row in rows} - {row.clip for row in calibrating})
        ),
        clips=tuple(sorted({clip[:SHORT_HASH] for clip in clips})),
        versions=versions(),
    )
    return policy.model_copy(update={"sha256": policy.digest})


# --- what counts -----------------------------------------------------------------------------------------------------


def usable(estimates: Estimates, tell: Tell, policy: str | None = None) -> list[EstimateRow]:
    """The rows that count. policy: sha256 of the one that may have withheld answers; None for none.

    Raises UsageError: the run is a control, another policy withheld its answers, or none of them counts.
    """
    run = estimates.run
    if run.policy not in (None, policy):
        # What it withheld looks like a refusal, and a lower threshold would give it.
        hint = "give a run that was made without --policy"
        raise UsageError(f"{estimates.name} lacks the answers that a policy withheld", hint)
    if (run.audio, run.type_source, run.content_source) != ("real", "model", "model"):
        raise UsageError(
            f"{estimates.name} is a control run: audio {run.audio}, type by {run.type_source}, content by "
            f"{run.content_source}",
            "give a run of the system as it is used",
        )
    rows = list(estimates.rows)
    if estimates.waiting > 0:
        tell(f"{estimates.name} is not finished: {estimates.waiting} of its questions are not asked yet, and left out")
    left_out = [
        ("failed", [row.outcome is Outcome.FAILED for row in rows]),
        ("on recordings that the adapter was trained on", [row.seen for row in rows]),
        ("of an unknown recording", [row.clip is None and row.outcome is not Outcome.FAILED for row in rows]),
    ]
    for reason, is_out in left_out:
        if any(is_out):
            tell(f"left out: {sum(is_out)} answers {reason}")
    rows = [row for row, *out in zip(rows, *(is_out for _, is_out in left_out), strict=True) if not any(out)]
    if not rows:
        raise UsageError(f"{estimates.name} holds no answer that counts", "give a run with answers")
    return rows


def units(rows: Sequence[EstimateRow], estimator: PolicyEstimator, by_modality: bool, tell: Tell) -> list[Units]:
    """One question of each recording, of all or of each modality in the order of the words.

    Raises UsageError: no row has a modality.
    """
    labelled = [row for row in rows if row.modality is not None] if by_modality else list(rows)
    if len(labelled) < len(rows):
        tell(f"left out: {len(rows) - len(labelled)} answers of no modality; the policy will give none of these")
    if not labelled:
        raise UsageError("the data name no modality", "leave --by out")
    names: list[str | None] = [None]
    if by_modality:
        names = list(sorted({row.modality or "" for row in labelled}))
    groups = []
    for name in names:
        members = [row for row in labelled if not by_modality or row.modality == name]
        places = one_a_clip([row.clip or "" for row in members], [f"{row.question}\n{row.draw}" for row in members])
        chosen = [members[place] for place in places]
        values = [estimator.value(row.values) if row.outcome in ANSWERS else None for row in chosen]
        confidence = np.array([math.nan if value is None else value for value in values], np.float64)
        groups.append(
            Units(name, confidence, np.array([row.outcome is not Outcome.CORRECT for row in chosen], np.bool_))
        )
    return groups


def estimator_of(
    name: str, estimates: Estimates, rows: Sequence[EstimateRow], tell: Tell
) -> tuple[PolicyEstimator, Sequence[EstimateRow]]:
    """The estimator, and the rows to calibrate its threshold on.

    For `combined`, or where `best` had to choose, these are the half of the recordings that did not fit or choose it.
    """
    known = estimates.estimators
    names = [other for other in known if other != COMBINED and any(row.values.get(other) is not None for row in rows)]
    halves = clip_parts([row.clip or "" for row in rows], 2, "half")
    fitting = [row for row, half in zip(rows, halves, strict=True) if half == 0 and row.outcome in ANSWERS]
    other_half = [row for row, half in zip(rows, halves, strict=True) if half == 1]
    if name == BEST:
        if len(names) < 2:
            return estimator_of((names or list(known))[0], estimates, rows, tell)
        name = _best(names, fitting, tell)
        return estimator_of(name, estimates, rows, tell)[0], other_half
    if name != COMBINED:
        if name not in known:
            hint = did_you_mean(name, [BEST, *known, *([COMBINED] if len(known) > 1 else [])])
            raise UsageError(f"{estimates.name} has no estimates of {name}", hint)
        return PolicyEstimator(name=name, parameters=known[name], inputs={}, combination=None), rows
    if len(names) < 2:
        hint = "lalm-agent confidence RUN --with option,margin,… --out FOLDER"
        raise UsageError(
            f"`{COMBINED}` needs estimates of two others at least; {estimates.name} has {len(names)}", hint
        )
    right = np.array([row.outcome is Outcome.CORRECT for row in fitting], np.bool_)
    combination = fit_crossed(names, values_of(fitting, names), right, [row.clip or "" for row in fitting])
    inputs = {other: known[other] for other in names}
    estimator = PolicyEstimator(name=COMBINED, parameters={}, inputs=inputs, combination=combination)
    return estimator, other_half


def _best(names: Sequence[str], rows: Sequence[EstimateRow], tell: Tell) -> str:
    """The estimator of least excess AURC, `combined` (out of fold) among them; the first of equals.

    An unknown value counts as the least confidence, since such an answer is never given.
    """
    values, right = values_of(rows, names), np.array([row.outcome is Outcome.CORRECT for row in rows], np.bool_)
    columns = dict(zip(names, values.T, strict=True))
    try:
        columns[COMBINED] = out_of_fold(names, values, right, [row.clip or "" for row in rows])
    except DataError as error:
        tell(f"`{COMBINED}` cannot be chosen: {error.message}")
    codes = np.where(right, CORRECT, WRONG)
    excess = {n: selective.excess_aurc(selective.ranked(codes, np.nan_to_num(v))) for n, v in columns.items()}
    best = min(excess, key=lambda n: excess[n])
    tell(f"estimator: {best}, whose excess AURC is the least on half of the recordings: {excess[best]:.4f}")
    return best


# --- the test --------------------------------------------------------------------------------------------------------


def certified(group: Units, max_risk: float, delta: float) -> Threshold:
    """The lowest threshold that passes; one that withholds every answer where none does."""
    known = ~np.isnan(group.confidence)
    best = fixed_sequence(group.confidence[known], group.wrong[known], max_risk, delta).best
    n, kept, errors = len(known), best.kept if best else 0, best.errors if best else 0
    return Threshold(
        modality=group.modality,
        threshold=best.threshold if best else None,
        delta=delta,
        n=n,
        kept=kept,
        errors=errors,
        p=best.p if best else None,
        coverage=kept / n,
        coverage_interval=clopper_pearson(kept, n),
        error=errors / kept if kept else None,
        error_interval=clopper_pearson(errors, kept),
    )


def tell_limits(group: Units, max_risk: float, delta: float, tell: Tell) -> None:
    """Say what no threshold can do better than, and how many questions a certificate takes."""
    known = ~np.isnan(group.confidence)
    m, error = int(known.sum()), float(group.wrong[known].mean()) if known.any() else 0.0
    tell(
        f"{group.name}: {len(known)} recordings, one question of each; {m} answered with a known confidence, "
        f"{error:.1%} of these wrong"
    )
    least = smallest_rejection(error, max_risk)
    clean, half = (_kept(questions_needed(rate, max_risk, delta)) for rate in (0.0, max_risk / 2))
    tell(
        f"{group.name}: at most {_rate(max_risk)} wrong: whatever the confidence, {least:.1%} of these answers must be "
        f"withheld; a certificate takes {clean} kept answers without an error, or {half} with half as many errors as "
        "allowed"
    )


def _kept(enough: int | None) -> str:
    """How many answers are enough, in words."""
    return "over a million" if enough is None else str(enough)


def _rate(share: float) -> str:
    """A share that a user chose, as a percentage that is never rounded to another one."""
    text = f"{100 * share:.1f}"
    return f"{text if math.isclose(float(text), 100 * share) else f'{100 * share:.6g}'}%"


def _nothing(groups: Sequence[Units], max_risk: float, delta: float) -> UsageError:
    """Why nothing was certified, group by group, and what would help."""
    reasons = []
    for group in groups:
        known = ~np.isnan(group.confidence)
        first = fixed_sequence(group.confidence[known], group.wrong[known], max_risk, delta).first
        if first is None:
            least = _kept(questions_needed(0.0, max_risk, delta))
            reasons.append(f"{group.name}: {int(known.sum())} answers, and {least} are the fewest that can pass")
            continue
        rate = first.errors / first.kept
        takes = "no number of" if rate >= max_risk else f"{_kept(questions_needed(rate, max_risk, delta))} kept"
        reasons.append(
            f"{group.name}: {first.errors} of the {first.kept} most confident answers are wrong "
            f"({rate:.1%}; p = {first.p:.2g} > {delta:.2g}); at that rate {takes} answers would pass"
        )
    hint = "give more recordings, a larger --max-risk or --delta, or a better --estimator"
    return UsageError(f"no threshold can be certified: {'; '.join(reasons)}", hint)


def _guarantee(
    request: CalibrateRequest, thresholds: Sequence[Threshold], estimator: PolicyEstimator, others: int
) -> str:
    n = sum(threshold.n for threshold in thresholds)
    text = (
        f"With confidence {_rate(1 - request.delta)} over the draw of these {n} recordings, at most "
        f"{_rate(request.max_risk)} of the answers that are given are wrong, for a recording drawn like these and one "
        "of its questions."
    )
    if request.by_modality:
        each = thresholds[0].delta
        text += f" This holds in each of {len(thresholds)} modalities at once, each tested at {each:.3g}."
    if request.estimator == BEST and others:
        text += f" The estimator `{estimator.name}` was chosen on {others} other recordings."
    if estimator.combination:
        text += f" The coefficients of `{COMBINED}` were fitted on {others} other recordings."
    return text


# --- the check -------------------------------------------------------------------------------------------------------


class Promise(StrEnum):
    """What new data say of a promise: the exact interval of the error lies below it, above it, or around it."""

    HELD = "held"
    BROKEN = "broken"
    UNDECIDED = "cannot tell"


class CheckedThreshold(Record):
    """A threshold on new data. Counts are of recordings, one question of each; interval: exact, 95 %, of the error."""

    modality: str | None
    n: int
    kept: int
    errors: int
    coverage: float
    error: float | None
    interval: tuple[float, float]
    promise: Promise


class PolicyCheck(Record):
    """A policy on new data. n_overlapping: recordings left out because the policy was calibrated on them."""

    policy_sha256: str
    data: str
    same_data: bool
    max_risk: float
    n_overlapping: int
    rows: tuple[CheckedThreshold, ...]


def check(folder: Path, policy: Policy, tell: Tell = lambda line: None) -> PolicyCheck:
    """Whether a policy's promise holds on labelled data: the answers of a run, with the estimates that it needs.

    Recordings that the policy was calibrated on are left out: they say nothing new.

    Raises:
        MismatchError: the answers are another system's, or the estimates were made with other parameters.
        UsageError: nothing new is there. DataError: the folder cannot be read, or lacks the estimates.
    """
    estimates = read_estimates(folder)
    needed = policy.estimator.made_with
    if lacking := [name for name in needed if name not in estimates.estimators]:
        hint = f"lalm-agent confidence RUN --with {','.join(needed)} --out FOLDER, then check that FOLDER"
        raise DataError(f"{folder} has no estimates of {lacking[0]}, which the policy decides by", hint)
    there = estimates.estimators
    others = (
        f"{name}: {needed[name]} in the policy, {there[name]} now" for name in needed if needed[name] != there[name]
    )
    if lines := [*policy.differences(estimates.run.system), *others]:
        raise MismatchError(folder, lines, "system")
    rows, used = usable(estimates, tell, policy.sha256), set(policy.clips)
    new = [row for row in rows if (row.clip or "")[:SHORT_HASH] not in used]
    overlapping = len({row.clip for row in rows} - {row.clip for row in new})
    if not new:
        raise UsageError(f"the policy was calibrated on every recording of {folder}", "give a run on other recordings")
    groups = {group.modality: group for group in units(new, policy.estimator, policy.by_modality, tell)}
    checked = [_checked(groups[row.modality], policy) for row in policy.thresholds if row.modality in groups]
    if other := [group.name for group in groups.values() if group.modality not in {row.modality for row in checked}]:
        tell(f"left out: all of {', '.join(other)}; the policy has no threshold for these and gives no answer")
    if not checked:
        raise UsageError(f"the policy has no threshold for a question of {folder}", "give a run on like questions")
    return PolicyCheck(
        policy_sha256=policy.sha256,
        data=estimates.data_version or estimates.run.data.name,
        same_data=estimates.run.data.sha256 == policy.data_sha256,
        max_risk=policy.max_risk,
        n_overlapping=overlapping,
        rows=tuple(checked),
    )


def _checked(group: Units, policy: Policy) -> CheckedThreshold:
    given = np.array([policy.answers(None if math.isnan(c) else c, group.modality) for c in group.confidence.tolist()])
    n, kept, errors = len(given), int(given.sum()), int((given & group.wrong).sum())
    low, high = clopper_pearson(errors, kept)
    promise = (
        Promise.HELD if high <= policy.max_risk else Promise.BROKEN if low > policy.max_risk else Promise.UNDECIDED
    )
    return CheckedThreshold(
        modality=group.modality,
        n=n,
        kept=kept,
        errors=errors,
        coverage=kept / n,
        error=errors / kept if kept else None,
        interval=(low, high),
        promise=promise,
    )
