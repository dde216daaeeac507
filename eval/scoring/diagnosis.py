"""What the type step made of each modality: the first node of the agent, measured by itself."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from lalm_agent.eval.grade import Outcome, Outputs
from lalm_agent.eval.metrics.estimate import Kind
from lalm_agent.eval.metrics.rgi import Convention
from lalm_agent.eval.scoring.compare import TOTAL, Graded, Study
from lalm_agent.eval.scoring.schema import Claim, Group, MatchedFigures, TypeFigures
from lalm_agent.records import AudioType

NONE = "none"
FOUND = (*(str(kind) for kind in AudioType), NONE)
"""The columns: the paper's three types, and none (no reply, no single type named)."""
UNSAID = "not said"
"""The row of questions whose data name no modality."""


def type_figures(outputs: Outputs) -> TypeFigures:
    """Count the types that a run's first step found, one count a question. P1 gives no such table; it is ours.

    Rows are sound, music, speech where they occur, then the mixes in alphabetical order, then `UNSAID`. The accuracy is
    over the three pure modalities; no type found is wrong. Out are questions on excluded clips, and those without an
    answer: their clip may be silent or drowned, and then it has no type that could be found. A question without a reply
    counts under `none`, so that no row shrinks.
    """
    counts: dict[str, Counter[str]] = {}
    for item in outputs.items:
        if item.id in outputs.excluded or not item.answerable:
            continue
        output = outputs.by_id.get(item.id)
        kind = str(output.audio_type) if output is not None and output.audio_type is not None else NONE
        counts.setdefault(item.modality or UNSAID, Counter())[kind] += 1
    names = sorted(counts, key=lambda name: (_rank(name), name))
    pure = [name for name in names if name in FOUND[:-1]]
    n, correct = sum(counts[name].total() for name in pure), sum(counts[name][name] for name in pure)
    rows = {name: {kind: counts[name][kind] for kind in FOUND} for name in names}
    return TypeFigures(n=n, correct=correct, accuracy=correct / n if n else None, rows=rows)


def share_text(share: float) -> str:
    """A share in [0, 1] as reports write it: `15.3 %`."""
    return f"{100 * share:.1f} %"


def _rank(name: str) -> int:
    return FOUND.index(name) if name in FOUND[:-1] else len(FOUND) + (name == UNSAID)


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
    types: TypeFigures | None = None
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
    return f", most in {most.name} ({share_text(most.abstained / most.n)})"


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
    return [*lines, *(line for name, row in signs.types.rows.items() for line in _mistaken(name, row))]


def _mistaken(modality: str, row: Mapping[str, int]) -> Lines:
    if modality not in FOUND[:-1]:
        return []
    n = sum(row.values())
    worst = max((kind for kind in FOUND if kind != modality), key=lambda kind: row[kind])
    if row[worst] <= MOSTLY * n:
        return []
    if worst == NONE:
        return [f"type confusion: no single type is found for {_share(row[worst], n)} of {modality}"]
    return [f"type confusion: {modality} is mostly taken for {worst}: {_share(row[worst], n)}"]


def _concentration(signs: Signs) -> Lines:
    found = [(group, rest) for group in signs.modalities if (rest := _rest_rate(signs, group)) is not None]
    if not found:
        return []
    group, rest = max(found, key=lambda pair: pair[0].abstained / pair[0].n)
    rate = group.abstained / group.n
    return [f"refusals concentrate in {group.name}: {share_text(rate)} there, {share_text(rest)} elsewhere"]


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
    taken = f"choice {place + 1} is taken in {share_text(chosen[place])} of the answers"
    return [f"position bias: {taken}, and right in {share_text(gold[place])}"]


def _share(count: int, n: int) -> str:
    return f"{share_text(count / n)} ({count} of {n})"


SIGNIFICANT = 0.05


def labels_of(total: Group | None, is_baseline: bool) -> Iterator[str]:
    """What stands beside a method's name in every table."""
    if total is None or is_baseline:
        return
    refused = total.counts[Outcome.ABSTAINED]
    if refused == 0:
        yield NO_REFUSALS
    elif refused < FEW_REFUSALS:
        yield f"few refusals: {refused}"
    if total.rgi[Convention.STRICT].kind in (Kind.PLUS_INF, Kind.MINUS_INF):
        yield "strict RGI is infinite: every refusal fell on one side"


def claim_of(total: Group | None) -> Claim | None:
    """Whether a method refuses selectively: a claim holds only where all three of these do.

    It refuses at all; the interval of its strict RGI lies above 0; refusing at random spares right answers as well in
    fewer than 5 % of cases (`metrics.rgi.null_p`). Whether it also beats the baseline's own confidence at equal
    coverage is said beside it, where that confidence is known.
    """
    if total is None:
        return None
    strict = total.rgi[Convention.STRICT]
    beats = total.matched.beaten if total.matched else None
    if total.counts[Outcome.ABSTAINED] == 0:
        return Claim(holds=False, text=f"no claim: {NO_REFUSALS}", beats_matched_coverage=beats)
    if strict.kind == Kind.UNDEFINED:
        return Claim(holds=False, text="no claim: strict RGI is undefined", beats_matched_coverage=beats)
    p = strict.null_p
    above, rare = strict.above_zero, p is not None and p < SIGNIFICANT
    shown = f"strict RGI {strict.text}, random-refusal p {_shown_p(p)}"
    if above and rare:
        text = f"refuses wrong answers more readily than right ones: {shown}; {_beside(total.matched)}"
    else:
        why = [] if above else ["the interval is not above 0"]
        why += [] if rare else ["random refusal does as well"]
        text = f"no claim: {' and '.join(why)}: {shown}"
    return Claim(holds=above and rare, text=text, beats_matched_coverage=beats)


def _shown_p(p: float | None) -> str:
    if p is None:
        return "undefined"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _beside(matched: MatchedFigures | None) -> str:
    if matched is None:
        return "the baseline's confidence is not known, so matched coverage is not tested"
    if matched.beaten is None:
        return f"matched coverage is undefined{f': {matched.reason}' if matched.reason else ''}"
    return f"{'beats' if matched.beaten else 'does not beat'} the baseline's own confidence at equal coverage"


def signs_of(groups: Mapping[str, Group], modalities: Iterable[str], is_baseline: bool) -> Signs | None:
    """What a diagnosis needs of a method's figures; None where there is no total."""
    total = groups.get(TOTAL)
    if total is None:
        return None
    strict = total.rgi[Convention.STRICT]
    return Signs(
        method=None,
        n=total.n,
        abstained=total.counts[Outcome.ABSTAINED],
        unparsed=total.counts[Outcome.UNPARSED],
        failed=total.counts[Outcome.FAILED],
        is_baseline=is_baseline,
        baseline_abstained=0 if is_baseline else sum(total.transitions[Outcome.ABSTAINED].values()),
        rgi=_number(strict.value, strict.kind),
        rgi_low=_number(strict.low, strict.low_kind),
        rgi_high=_number(strict.high, strict.high_kind),
        modalities=tuple(
            ModalitySigns(name, groups[name].n, groups[name].counts[Outcome.ABSTAINED])
            for name in modalities
            if name in groups
        ),
        matched=_matched_signs(total),
    )


def diagnosis_of(
    study: Study, method: Graded, groups: Mapping[str, Group], types: TypeFigures | None
) -> tuple[str, ...]:
    """The lines of `diagnosis.diagnose` for a method."""
    modalities = dict.fromkeys(item.modality for item in study.items if item.modality)
    signs = signs_of(groups, modalities, method is study.baseline)
    if signs is None:
        return ()
    return diagnose(replace(signs, method=method.outputs.method, positions=_position_signs(study, method), types=types))


def _number(value: float | None, kind: str) -> float | None:
    if kind == Kind.UNDEFINED:
        return None
    return value if value is not None else math.inf if kind == Kind.PLUS_INF else -math.inf


def _matched_signs(total: Group) -> MatchedSigns | None:
    if total.matched is None or total.matched.rgi is None or total.counts[Outcome.ABSTAINED] == 0:
        return None
    control, own = total.matched.rgi[Convention.STRICT], total.rgi[Convention.STRICT]
    return MatchedSigns(
        method_rel=total.rel.value,
        matched_rel=total.matched.rel.value if total.matched.rel else None,
        method_rgi=_number(own.value, own.kind),
        matched_rgi=_number(control.value, control.kind),
    )


def _position_signs(study: Study, method: Graded) -> PositionSigns | None:
    """In the order in which this method was shown the choices."""
    own = {item.id: item.choices for item in method.outputs.items}
    chosen: Counter[int] = Counter()
    gold: Counter[int] = Counter()
    for item, code, text in zip(study.items, method.codes, method.chosen, strict=True):
        places = {choice.strip(): place for place, choice in reversed(list(enumerate(own.get(item.id, item.choices))))}
        if code < 0 or text is None or item.gold is None or text.strip() not in places:
            continue
        chosen[places[text.strip()]] += 1
        gold[places[item.gold.strip()]] += 1
    if not chosen:
        return None
    width = max(*chosen, *gold) + 1
    return PositionSigns(tuple(chosen[at] for at in range(width)), tuple(gold[at] for at in range(width)))
