"""What may be said about a method, and what must be said before any of its figures."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from lalm_agent.eval.grade import Outcome
from lalm_agent.eval.metrics.estimate import Kind
from lalm_agent.eval.metrics.rgi import Convention
from lalm_agent.eval.scoring.confusion import TypeConfusion
from lalm_agent.eval.scoring.diagnosis import (
    FEW_REFUSALS,
    NO_REFUSALS,
    MatchedSigns,
    ModalitySigns,
    PositionSigns,
    Signs,
    diagnose,
)
from lalm_agent.eval.scoring.estimates import above_zero
from lalm_agent.eval.scoring.pairing import TOTAL, Graded, Study
from lalm_agent.eval.scoring.schema import Claim, Group, MatchedFigures, RgiFigure

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
    above, rare = above_zero(strict.low, strict.low_kind), p is not None and p < SIGNIFICANT
    shown = f"strict RGI {shown_rgi(strict)}, random-refusal p {_shown_p(p)}"
    if above and rare:
        text = f"refuses wrong answers more readily than right ones: {shown}; {_beside(total.matched)}"
    else:
        why = [] if above else ["the interval is not above 0"]
        why += [] if rare else ["random refusal does as well"]
        text = f"no claim: {' and '.join(why)}: {shown}"
    return Claim(holds=above and rare, text=text, beats_matched_coverage=beats)


def shown_rgi(rgi: RgiFigure) -> str:
    """An RGI with its interval as text: `0.22 [0.10, +inf]`, or `undefined`."""
    if rgi.kind == Kind.UNDEFINED:
        return "undefined"
    low, high = shown_end(rgi.low, rgi.low_kind), shown_end(rgi.high, rgi.high_kind)
    return f"{shown_end(rgi.value, rgi.kind)} [{low}, {high}]"


def shown_end(value: float | None, kind: str) -> str:
    """A number with two decimals, or its kind."""
    return kind if value is None else f"{value:z.2f}"


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
        matched=_matched(total),
    )


def diagnosis_of(
    study: Study, method: Graded, groups: Mapping[str, Group], types: TypeConfusion | None
) -> tuple[str, ...]:
    """The lines of `diagnosis.diagnose` for a method."""
    modalities = dict.fromkeys(item.modality for item in study.items if item.modality)
    signs = signs_of(groups, modalities, method is study.baseline)
    if signs is None:
        return ()
    return diagnose(replace(signs, method=method.outputs.method, positions=_positions(study, method), types=types))


def _number(value: float | None, kind: str) -> float | None:
    if kind == Kind.UNDEFINED:
        return None
    return value if value is not None else math.inf if kind == Kind.PLUS_INF else -math.inf


def _matched(total: Group) -> MatchedSigns | None:
    if total.matched is None or total.matched.rgi is None or total.counts[Outcome.ABSTAINED] == 0:
        return None
    control, own = total.matched.rgi[Convention.STRICT], total.rgi[Convention.STRICT]
    return MatchedSigns(
        method_rel=total.rel.value,
        matched_rel=total.matched.rel.value if total.matched.rel else None,
        method_rgi=_number(own.value, own.kind),
        matched_rgi=_number(control.value, control.kind),
    )


def _positions(study: Study, method: Graded) -> PositionSigns | None:
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
