"""What is wrong with a method, in a line each: the failure signatures of the paper, and ours.

Pure: numbers in, lines out. A line is a sign to look at, no proof of a cause.
"""

import math
from dataclasses import dataclass

from lalm_agent.eval.scoring.confusion import FOUND, NONE, TypeConfusion, TypeRow, percent

OVER_REFUSAL = 0.60
"""Rej above this is over-refusal (P1 section 5: SALMONN with the IDK prompt, 70.2 %)."""
IGNORED_BELOW = 0.02
"""Rej below this under a prompt that invites IDK: the instruction is ignored (P1 section 5: Qwen-Audio-Chat, 0.7 %)."""
INVITES_IDK = ("idk", "mcot", "agent")
"""The methods whose prompt invites IDK (P1 section 3)."""
FEW_REFUSALS = 10
"""Ours: below it an RGI moves by more than its usual size with each single refusal."""
UNPARSED_ABOVE = 0.05
"""Ours: about the 6.4 points by which a bare rule undercounts in P1 section 5 (49.2 % against 55.6 %)."""
TYPE_ACCURACY_BELOW = 0.80
"""Ours: below it one question in five gets the wrong content step."""
MOSTLY = 0.50
"""A modality is mostly taken for another where more than this share of it is."""
CONCENTRATED_RATIO = 2.0
"""Ours: Rej of a modality over that of the rest. P1 table 12 has 57 % against 12 %."""
CONCENTRATED_Z = 3.0
"""Ours: the standard score of that difference (pooled two-proportion test), against small numbers."""
POSITION_EXCESS = 0.30
"""Ours: how far the share of one position among the answers may exceed its share among the right answers."""
POSITION_MIN = 20
"""Ours: fewer answers say nothing about positions."""
NO_REFUSALS = "no refusals: not evidence"
"""The label of a method that never refuses, whatever its RGI: `equation` and `table` also count re-rolled answers."""

Lines = list[str]


@dataclass(frozen=True, slots=True)
class ModalitySigns:
    """Refusals within one modality, a mix included. n: its questions."""

    name: str
    n: int
    abstained: int


@dataclass(frozen=True, slots=True)
class PositionSigns:
    """Where the chosen answers stand among the choices, over questions answered with one of their choices.

    chosen: how often the choice at each position was taken; gold: how often it was right, the same questions.
    Both begin with the first position and have the same length.
    """

    chosen: tuple[int, ...]
    gold: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MatchedSigns:
    """Matched coverage: as many of the baseline's least confident answers refused as the method refuses.

    rel: reliability in [0, 1] of the method (`method_rel`) and of the baseline so thresholded (`matched_rel`).
    rgi: strict RGI of both, infinities as they are, None where it is undefined.
    """

    method_rel: float | None
    matched_rel: float | None
    method_rgi: float | None
    matched_rgi: float | None


@dataclass(frozen=True, slots=True)
class Signs:
    """What a diagnosis is made from. Counts are over the answerable questions of the method, unless they say otherwise.

    method: baseline, idk, mcot, agent or lora; None where it is not known, as for another harness's file.
    is_baseline: whether this is the run that the others are compared with.
    n, abstained, unparsed, failed: questions, and those that ended so.
    baseline_abstained: refusals of the baseline that this method is compared with; 0 for the baseline itself.
    rgi, rgi_low, rgi_high: strict RGI with its interval; infinities as they are; None where undefined.
    modalities: refusals within each modality.
    positions: None where choices are unknown.
    types: None where there was no type step.
    matched: None where the baseline's confidence is not known, or nothing was refused.
    unanswerable, unanswerable_abstained: questions without an answer, and those of them that were refused.
    """

    method: str | None
    n: int
    abstained: int
    unparsed: int
    failed: int
    is_baseline: bool = False
    baseline_abstained: int = 0
    rgi: float | None = None
    rgi_low: float | None = None
    rgi_high: float | None = None
    modalities: tuple[ModalitySigns, ...] = ()
    positions: PositionSigns | None = None
    types: TypeConfusion | None = None
    matched: MatchedSigns | None = None
    unanswerable: int = 0
    unanswerable_abstained: int = 0


def diagnose(signs: Signs) -> tuple[str, ...]:
    """One line for each sign that is there, the gravest first; none where nothing stands out or nothing was asked."""
    if signs.n == 0:
        return ()
    checks = (_lost, _refusing, _gain, _matched, _types, _concentration, _positions)
    return tuple(line for check in checks for line in check(signs))


def _lost(signs: Signs) -> Lines:
    lines = []
    if signs.failed:
        lines.append(f"failed: {_share(signs.failed, signs.n)} got no reply; they stay in N and count as wrong")
    if signs.unparsed > UNPARSED_ABOVE * signs.n:
        lines.append(f"unparsed: {_share(signs.unparsed, signs.n)} cannot be read; compare scorers with `rescore`")
    return lines


def _refusing(signs: Signs) -> Lines:
    lines = []
    if signs.baseline_abstained:
        lines.append(f"the baseline itself refuses {signs.baseline_abstained}: they enter neither dCon nor dHum")
    if signs.is_baseline and signs.abstained:
        lines.append(f"this baseline refuses: {_share(signs.abstained, signs.n)}, and was not asked to")
    if not signs.is_baseline and not signs.abstained:
        of_others = f" (unanswerable ones: {signs.unanswerable_abstained})" if signs.unanswerable_abstained else ""
        lines.append(f"{NO_REFUSALS}{of_others}")
    asked, refused = signs.n + signs.unanswerable, signs.abstained + signs.unanswerable_abstained
    if signs.method in INVITES_IDK and refused < IGNORED_BELOW * asked:
        lines.append(f"instruction ignored: the prompt invites IDK and {_share(refused, asked)} refuse")
    if signs.abstained > OVER_REFUSAL * signs.n:
        lines.append(f"over-refusal: {_share(signs.abstained, signs.n)} are refused{_most_refused(signs)}")
    return lines


def _most_refused(signs: Signs) -> str:
    groups = [group for group in signs.modalities if group.n]
    if len(groups) < 2:
        return ""
    most = max(groups, key=lambda group: group.abstained / group.n)
    return f", most in {most.name} ({percent(most.abstained / most.n)})"


def _gain(signs: Signs) -> Lines:
    if signs.is_baseline or signs.rgi is None or not signs.abstained:
        return []
    interval = signs.rgi_low is not None and signs.rgi_high is not None
    figure = f"strict RGI {signs.rgi:+.2f}{f' [{signs.rgi_low:+.2f}, {signs.rgi_high:+.2f}]' if interval else ''}"
    if signs.abstained < FEW_REFUSALS:
        return [f"{figure} is below 0, on {signs.abstained} refusals only"] if signs.rgi < 0 else []
    if signs.rgi_low is None or signs.rgi_high is None:
        return [f"{figure} is below 0, without an interval"] if signs.rgi < 0 else []
    if signs.rgi_high < 0:
        return [f"{figure} is below 0: right answers are refused more readily than wrong ones"]
    if signs.rgi < 0:
        return [f"{figure}: only the point estimate is below 0"]
    return [f"{figure}: the interval holds 0, so no gain is shown"] if signs.rgi_low <= 0 else []


def _matched(signs: Signs) -> Lines:
    if signs.matched is None or signs.is_baseline:
        return []
    one = signs.matched
    pairs = (("Rel", one.method_rel, one.matched_rel, ".3f"), ("strict RGI", one.method_rgi, one.matched_rgi, "+.2f"))
    lost = [
        f"{name} {method:{form}} against {matched:{form}}"
        for name, method, matched, form in pairs
        if method is not None and matched is not None and method <= matched
    ]
    what = "does not beat refusing as many of the baseline's least confident answers"
    return [f"{what}: {', '.join(lost)}"] if lost else []


def _types(signs: Signs) -> Lines:
    if signs.types is None:
        return []
    lines = []
    accuracy = signs.types.accuracy
    if accuracy is not None and accuracy < TYPE_ACCURACY_BELOW:
        lines.append(f"type confusion: the type step is right for {_share(signs.types.correct, signs.types.n)}")
    return [*lines, *(line for row in signs.types.rows for line in _mistaken(row))]


def _mistaken(row: TypeRow) -> Lines:
    if row.correct is None:
        return []
    worst = max((kind for kind in FOUND if kind != row.modality), key=lambda kind: row.found[FOUND.index(kind)])
    count = row.found[FOUND.index(worst)]
    if count <= MOSTLY * row.n:
        return []
    if worst == NONE:
        return [f"type confusion: no single type is found for {_share(count, row.n)} of {row.modality}"]
    return [f"type confusion: {row.modality} is mostly taken for {worst}: {_share(count, row.n)}"]


def _concentration(signs: Signs) -> Lines:
    found = [(group, rest) for group in signs.modalities if (rest := _rest_rate(signs, group)) is not None]
    if not found:
        return []
    group, rest = max(found, key=lambda pair: pair[0].abstained / pair[0].n)
    rate = group.abstained / group.n
    return [f"refusals concentrate in {group.name}: {percent(rate)} there, {percent(rest)} elsewhere"]


def _rest_rate(signs: Signs, group: ModalitySigns) -> float | None:
    """Rej outside the modality where it is clearly lower than inside, else None."""
    n = sum(one.n for one in signs.modalities)
    abstained = sum(one.abstained for one in signs.modalities)
    if group.n in (0, n) or abstained in (0, n):
        return None
    inside, outside = group.abstained / group.n, (abstained - group.abstained) / (n - group.n)
    error = math.sqrt(abstained / n * (1 - abstained / n) * (1 / group.n + 1 / (n - group.n)))
    clear = inside - outside >= CONCENTRATED_Z * error and inside >= CONCENTRATED_RATIO * outside
    return outside if clear else None


def _positions(signs: Signs) -> Lines:
    if signs.positions is None or sum(signs.positions.chosen) < POSITION_MIN or not sum(signs.positions.gold):
        return []
    chosen = [count / sum(signs.positions.chosen) for count in signs.positions.chosen]
    gold = [count / sum(signs.positions.gold) for count in signs.positions.gold]
    place = max(range(len(chosen)), key=lambda at: chosen[at] - gold[at])
    if chosen[place] - gold[place] < POSITION_EXCESS:
        return []
    taken = f"choice {place + 1} is taken in {percent(chosen[place])} of the answers"
    return [f"position bias: {taken}, and right in {percent(gold[place])}"]


def _share(count: int, n: int) -> str:
    return f"{percent(count / n)} ({count} of {n})"
