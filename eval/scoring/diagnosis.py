"""What may be said of a method's figures: its labels, its claim, and a line for each sign that something is wrong.

`type_figures` measures the agent's first node by itself; P1 (arXiv 2505.19294) has no such table.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lalm_agent.eval.grade import Outcome, Outputs
from lalm_agent.eval.metrics.estimate import Kind
from lalm_agent.eval.metrics.rgi import Convention
from lalm_agent.eval.scoring.compare import TOTAL, Graded, Study
from lalm_agent.eval.scoring.schema import Claim, Group, MatchedFigures, TypeFigures
from lalm_agent.records import AudioType

NONE = "none"
TYPES = (*(str(kind) for kind in AudioType), NONE)
"""The columns: the paper's three types, and none (no reply, no single type named)."""
UNSAID = "not said"
"""The row of questions whose data name no modality."""


def type_figures(outputs: Outputs) -> TypeFigures:
    """Count the types that a run's first step says, one count a question.

    Rows are sound, music, speech where they occur, then the mixes in alphabetical order, then `UNSAID`. The accuracy is
    over the three pure modalities; `none` is wrong. Left out are questions on excluded clips, and those without an
    answer: their clip may be silent or drowned, and then it has no type.
    """
    counts: dict[str, Counter[str]] = {}
    for item in outputs.items:
        if item.id in outputs.excluded or not item.answerable:
            continue
        output = outputs.by_id.get(item.id)
        kind = str(output.audio_type) if output is not None and output.audio_type is not None else NONE
        counts.setdefault(item.modality or UNSAID, Counter())[kind] += 1
    pure = [name for name in TYPES[:-1] if name in counts]
    names = [*pure, *sorted(counts.keys() - {*pure, UNSAID}), *({UNSAID} & counts.keys())]
    n, correct = sum(counts[name].total() for name in pure), sum(counts[name][name] for name in pure)
    rows = {name: {kind: counts[name][kind] for kind in TYPES} for name in names}
    return TypeFigures(n=n, correct=correct, accuracy=correct / n if n else None, rows=rows)


def shown_p(p: float | None) -> str:
    """A p-value with three decimals."""
    return "undefined" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def share_text(share: float) -> str:
    """A share in [0, 1] as reports write it: `15.3 %`."""
    return f"{100 * share:.1f} %"


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

Lines = Iterator[str]


@dataclass(frozen=True, slots=True)
class Signs:
    """What a diagnosis is made from.

    method: baseline, idk, mcot, agent or lora; None where it is not known, as for another harness's file.
    is_baseline: whether this is the run that the others are compared with.
    modalities: group keys of the modalities, mixes included.
    positions: how often the choice at each position was taken, and how often it was right, over the questions
        answered with one of their choices; both of the same length. None where choices are not known.
    types: None where there was no type step.
    """

    method: str | None
    is_baseline: bool
    groups: Mapping[str, Group]
    modalities: Sequence[str] = ()
    positions: tuple[Sequence[int], Sequence[int]] | None = None
    types: TypeFigures | None = None

    @property
    def total(self) -> Group:
        """The figures over all questions."""
        return self.groups[TOTAL]

    @property
    def refused_by_modality(self) -> dict[str, tuple[int, int]]:
        """Modality -> refusals, questions; modalities without questions are left out."""
        shown = {name: self.groups[name] for name in self.modalities if name in self.groups and self.groups[name].n}
        return {name: (group.counts[Outcome.ABSTAINED], group.n) for name, group in shown.items()}


def diagnose(signs: Signs) -> tuple[str, ...]:
    """One line for each sign that is there, the gravest first; none where nothing stands out or nothing was asked."""
    if TOTAL not in signs.groups or signs.total.n == 0:
        return ()
    checks = (_lost, _refusing, _gain, _matched, _types, _concentration, _positions)
    return tuple(line for check in checks for line in check(signs))


def _lost(signs: Signs) -> Lines:
    counts, n = signs.total.counts, signs.total.n
    failed, unparsed = counts[Outcome.FAILED], counts[Outcome.UNPARSED]
    if failed:
        yield f"failed: {_share(failed, n)} got no reply; they stay in N and count as wrong"
    if unparsed > UNPARSED_ABOVE * n:
        yield f"unparsed: {_share(unparsed, n)} cannot be read; compare scorers with `rescore`"


def _refusing(signs: Signs) -> Lines:
    total, refused = signs.total, signs.total.counts[Outcome.ABSTAINED]
    before = sum(total.transitions[Outcome.ABSTAINED].values())
    unanswerable = total.refusing.n_unanswerable if total.refusing else 0
    of_these = total.refusing.counts_unanswerable[Outcome.ABSTAINED] if total.refusing else 0
    if before and not signs.is_baseline:
        yield f"the baseline itself refuses {before}: they enter neither dCon nor dHum"
    if signs.is_baseline and refused:
        if signs.method in INVITES_IDK:
            invited = f"its prompt ({signs.method}) invites IDK: is the order BASELINE METHOD?"
        else:
            invited = "and was not asked to"
        yield f"this baseline refuses: {_share(refused, total.n)}, {invited}"
    if not signs.is_baseline and not refused:
        yield f"{NO_REFUSALS}{f' (unanswerable ones: {of_these})' if of_these else ''}"
    if signs.method in INVITES_IDK and refused + of_these < IGNORED_BELOW * (total.n + unanswerable):
        share = _share(refused + of_these, total.n + unanswerable)
        yield f"instruction ignored: the prompt invites IDK and {share} refuse"
    if refused > OVER_REFUSAL * total.n:
        rates = {name: count / n for name, (count, n) in signs.refused_by_modality.items()}
        most = max(rates, key=lambda name: rates[name], default="")
        where = f", most in {most} ({share_text(rates[most])})" if len(rates) > 1 else ""
        yield f"over-refusal: {_share(refused, total.n)} are refused{where}"


def _gain(signs: Signs) -> Lines:
    strict = signs.total.rgi[Convention.STRICT]
    rgi = _number(strict.value, strict.kind)
    low, high = _number(strict.low, strict.low_kind), _number(strict.high, strict.high_kind)
    refused = signs.total.counts[Outcome.ABSTAINED]
    if signs.is_baseline or rgi is None or not refused:
        return
    interval = "" if low is None or high is None else f" [{low:+.2f}, {high:+.2f}]"
    figure = f"strict RGI {rgi:+.2f}{interval}"
    if refused < FEW_REFUSALS:
        if rgi < 0:
            yield f"{figure} is below 0, on {refused} refusals only"
    elif low is None or high is None:
        if rgi < 0:
            yield f"{figure} is below 0, without an interval"
    elif high < 0:
        yield f"{figure} is below 0: right answers are refused more readily than wrong ones"
    elif rgi < 0:
        yield f"{figure}: only the point estimate is below 0"
    elif low <= 0:
        yield f"{figure}: the interval holds 0, so no gain is shown"


def _matched(signs: Signs) -> Lines:
    control = signs.total.matched
    if control is None or control.rgi is None or control.rel is None or not signs.total.counts[Outcome.ABSTAINED]:
        return
    own, other = signs.total.rgi[Convention.STRICT], control.rgi[Convention.STRICT]
    gains = _number(own.value, own.kind), _number(other.value, other.kind)
    pairs = (("Rel", signs.total.rel.value, control.rel.value, ".3f"), ("strict RGI", *gains, "+.2f"))
    lost = [
        f"{name} {method:{form}} against {matched:{form}}"
        for name, method, matched, form in pairs
        if method is not None and matched is not None and method <= matched
    ]
    if lost:
        yield f"does not beat refusing as many of the baseline's least confident answers: {', '.join(lost)}"


def _types(signs: Signs) -> Lines:
    if signs.types is None:
        return
    accuracy = signs.types.accuracy
    if accuracy is not None and accuracy < TYPE_ACCURACY_BELOW:
        yield f"type confusion: the type step is right for {_share(signs.types.correct, signs.types.n)}"
    for modality, row in signs.types.rows.items():
        n = sum(row.values())
        worst = max((kind for kind in TYPES if kind != modality), key=lambda kind: row[kind])
        if modality not in TYPES[:-1] or row[worst] <= MOSTLY * n:
            continue
        if worst == NONE:
            yield f"type confusion: no single type is found for {_share(row[worst], n)} of {modality}"
        else:
            yield f"type confusion: {modality} is mostly taken for {worst}: {_share(row[worst], n)}"


def _concentration(signs: Signs) -> Lines:
    """The modality with the highest Rej among those where Rej is clearly higher than in all others together."""
    groups = signs.refused_by_modality
    all_refused, all_n = sum(refused for refused, _ in groups.values()), sum(n for _, n in groups.values())
    rates = {}
    for name, (refused, n) in groups.items():
        if n == all_n or all_refused in (0, all_n):
            continue
        inside, outside = refused / n, (all_refused - refused) / (all_n - n)
        pooled = all_refused / all_n
        error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / (all_n - n)))
        if inside - outside >= CONCENTRATED_Z * error and inside >= CONCENTRATED_RATIO * outside:
            rates[name] = inside, outside
    if rates:
        name = max(rates, key=lambda name: rates[name][0])
        inside, outside = rates[name]
        yield f"refusals concentrate in {name}: {share_text(inside)} there, {share_text(outside)} elsewhere"


def _positions(signs: Signs) -> Lines:
    if signs.positions is None or sum(signs.positions[0]) < POSITION_MIN or not sum(signs.positions[1]):
        return
    chosen, gold = ([count / sum(counts) for count in counts] for counts in signs.positions)
    place = max(range(len(chosen)), key=lambda at: chosen[at] - gold[at])
    if chosen[place] - gold[place] >= POSITION_EXCESS:
        taken = f"choice {place + 1} is taken in {share_text(chosen[place])} of the answers"
        yield f"position bias: {taken}, and right in {share_text(gold[place])}"


def _share(count: int, n: int) -> str:
    return f"{share_text(count / n)} ({count} of {n})"


def _number(value: float | None, kind: str) -> float | None:
    """With the infinities as they are; None where it is undefined."""
    if kind == Kind.UNDEFINED:
        return None
    return value if value is not None else math.inf if kind == Kind.PLUS_INF else -math.inf


SIGNIFICANT = 0.05


def few_refusals(group: Group) -> str | None:
    """The label of a group with fewer than ten clips with a refusal on either side: its RGI and interval are rough."""
    right, wrong = (group.refused_clips.get(side, 0) for side in ("right", "wrong"))
    if group.counts[Outcome.ABSTAINED] == 0 or min(right, wrong) >= FEW_REFUSALS:
        return None
    return f"few refused clips: {right} right, {wrong} wrong"


def labels_of(total: Group | None, is_baseline: bool) -> Iterator[str]:
    """What stands beside a method's name in every table."""
    if total is None or is_baseline:
        return
    refused = total.counts[Outcome.ABSTAINED]
    if refused == 0:
        yield NO_REFUSALS
    elif label := few_refusals(total):
        yield label
    if total.rgi[Convention.STRICT].kind in (Kind.PLUS_INF, Kind.MINUS_INF):
        yield "strict RGI is infinite: every refusal fell on one side"


def claim_of(total: Group | None) -> Claim | None:
    """Whether a method refuses selectively: a claim holds only where all three of these do.

    It refuses on at least ten clips; the interval of its strict RGI lies above 0; refusing at random spares right
    answers as well in fewer than 5 % of cases (`metrics.rgi.null_p`). Whether it also beats the baseline's own
    confidence at equal coverage is said beside it, where that confidence is known.
    """
    if total is None:
        return None
    strict, p = total.rgi[Convention.STRICT], total.rgi[Convention.STRICT].null_p
    above, rare = strict.above_zero, p is not None and p < SIGNIFICANT
    shown = f"strict RGI {strict.text}, random-refusal p {shown_p(p)}"
    holds = False
    if total.counts[Outcome.ABSTAINED] == 0:
        text = f"no claim: {NO_REFUSALS}"
    elif strict.kind == Kind.UNDEFINED:
        text = "no claim: strict RGI is undefined"
    elif (clips := total.refused_clips.get("any", 0)) < FEW_REFUSALS:
        text = f"no claim: clips with a refusal are {clips}, fewer than {FEW_REFUSALS}: {shown}"
    elif above and rare:
        holds, text = True, f"refuses wrong answers more readily than right ones: {shown}; {_beside(total.matched)}"
    else:
        why = ([] if above else ["the interval is not above 0"]) + ([] if rare else ["random refusal does as well"])
        text = f"no claim: {' and '.join(why)}: {shown}"
    if (without := total.rgi_without_unparsed) is not None:
        unparsed = sum(total.transitions[Outcome.UNPARSED].values())
        share = f"{_share(unparsed, total.n_paired)} of the baseline are unparsed"
        text = f"{text}; {share}: strict RGI {strict.text} with these, {without.text} without"
    return Claim(holds=holds, text=text, beats_matched_coverage=total.matched.beaten if total.matched else None)


def _beside(matched: MatchedFigures | None) -> str:
    if matched is None:
        return "the baseline's confidence is not known, so matched coverage is not tested"
    if matched.beaten is None:
        return f"matched coverage is undefined{f': {matched.reason}' if matched.reason else ''}"
    return f"{'beats' if matched.beaten else 'does not beat'} the baseline's own confidence at equal coverage"


def signs_of(study: Study, method: Graded, groups: Mapping[str, Group], types: TypeFigures | None) -> Signs:
    """What a diagnosis of a method in a study is made from."""
    modalities = tuple(dict.fromkeys(item.modality for item in study.items if item.modality))
    positions = _position_counts(study, method)
    return Signs(method.outputs.method, method is study.baseline, groups, modalities, positions, types)


def _position_counts(study: Study, method: Graded) -> tuple[list[int], list[int]] | None:
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
    return [chosen[at] for at in range(width)], [gold[at] for at in range(width)]
