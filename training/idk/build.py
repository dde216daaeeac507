"""From a bank to the rows of an IDK set. Pure: nothing is read, asked or written.

The order of the steps: the questions that count, those that stay by what was asked (held-out clips, ambiguous, blind),
then the rule over what is left, then the balance, then a control. So rules are compared over the same questions, and a
control has the rows of the set that it stands beside.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lalm_agent.errors import UsageError
from lalm_agent.eval.runs.plan import of_modality
from lalm_agent.prompts import answer_prompt
from lalm_agent.records import Method
from lalm_agent.training.idk.bank import Sample
from lalm_agent.training.idk.counting import Counted, is_ambiguous
from lalm_agent.training.idk.curve import NO_MODALITY, TOTAL
from lalm_agent.training.idk.keyed import is_held_out
from lalm_agent.training.idk.rows import IdkRow, Origin
from lalm_agent.training.idk.rules import Control, Rule, balanced, controlled, labels_by
from lalm_agent.training.idk.targets import Refusals, TargetKind, target_of, wordings

LEFT_OUT = ("other modality", "unanswerable", "held out", "undefined", "ambiguous", "blind", "balance")
"""Why a question of the bank is no row, in the order in which it is asked."""


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """How to build.

    modality: values of the group; empty for all. share: of IDK for the rules that rank; None takes that of K@N.
    drop_ambiguous: leave out 0 < right < K. hold_out: share of the clips, in [0, 1), that stay out.
    one_class: whether a set without IDK, or with nothing else, may be built; the control `kept` always may.
    """

    k: int
    n: int
    rule: Rule = Rule.KN
    target: TargetKind = TargetKind.GOLD
    refusals: Refusals = Refusals.FIXED
    share: float | None = None
    modality: tuple[str, ...] = ()
    drop_ambiguous: bool = False
    balance: bool = False
    drop_blind: bool = False
    hold_out: float = 0.0
    control: Control | None = None
    one_class: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Made:
    """Rows, and what is to be said of those that are none.

    left_out: reason -> questions. held_out: sorted sha256 of clips of the wanted modalities that no row is about.
    """

    rows: tuple[IdkRow, ...]
    left_out: Mapping[str, int]
    held_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """What the rows name as theirs."""

    origin: Origin
    method: Method
    scorer: str


def build(
    counted: Sequence[Counted], source: Source, plan: BuildPlan, blind: Mapping[str, bool | None] | None = None
) -> Made:
    """Make the rows, in the order of the bank.

    blind: id -> whether a model without the clip keeps the question; None where it is undefined.

    Raises:
        UsageError: impossible settings, no question left, or one class alone.
        DataError: the rule needs confidences, and there are none.
    """
    check_plan(plan)
    blind = blind or {}
    wanted = {item.id for item in of_modality([one.question.item for one in counted], plan.modality)}
    reasons = {one.id: _reason(one, plan, one.id in wanted, blind.get(one.id)) for one in counted}
    staying = [one for one in counted if reasons[one.id] is None]
    if not staying:
        raise UsageError(f"no question is left to build from: {_told(Counter(reasons.values()))}", _MORE)
    labels = labels_by(plan.rule, staying, plan.k, plan.share, plan.seed)
    _require_two_classes(labels, plan)
    if plan.balance:
        labels = balanced(labels, plan.seed)
        if not labels:
            raise UsageError("there is one class alone, and nothing to balance it with", "leave out --balance")
        reasons |= {one.id: "balance" for one in staying if one.id not in labels}
    if plan.control is not None:
        modalities = {one.id: one.question.item.modality for one in counted}
        labels = controlled(plan.control, labels, modalities, plan.seed)
    rows = tuple(
        _row(one, labels[one.id], source, plan, blind.get(one.id)) for one in staying if one.id in labels
    )
    found = Counter(reason for reason in reasons.values() if reason is not None)
    clips = {one.question.audio_sha256 for one in counted if one.id in wanted}
    held_out = sorted(clip for clip in clips if clip is not None and is_held_out(clip, plan.hold_out))
    return Made(rows, {reason: found[reason] for reason in LEFT_OUT}, tuple(held_out))


def check_plan(plan: BuildPlan) -> None:
    """Refuse settings that no bank could serve.

    Raises:
        UsageError: K outside 0 to N, a share outside its bounds, or a share for K@N.
    """
    if not 0 <= plan.k <= plan.n:
        raise UsageError(f"K is 0 to N = {plan.n}, not {plan.k}", "5@5 is --k 5 --n 5")
    if not 0 <= plan.hold_out < 1:
        raise UsageError(f"a share of clips to hold out lies in [0, 1), not at {plan.hold_out:g}", "--hold-out 0.2")
    if plan.share is not None and plan.rule is Rule.KN:
        raise UsageError("K@N has the share of IDK that the samples give it", "--k chooses it, or another --rule")
    if plan.share is not None and not 0 <= plan.share <= 1:
        raise UsageError(f"a share of IDK lies in [0, 1], not at {plan.share:g}", "--share 0.5")


def class_counts(rows: Sequence[IdkRow]) -> dict[str, dict[str, int]]:
    """`total` and each modality -> {n, idk, kept}."""
    groups = {TOTAL: list(rows)}
    for name in sorted({row.modality or NO_MODALITY for row in rows}):
        groups[name] = [row for row in rows if (row.modality or NO_MODALITY) == name]
    idk = {name: sum(row.is_idk for row in members) for name, members in groups.items()}
    return {
        name: {"n": len(members), "idk": idk[name], "kept": len(members) - idk[name]}
        for name, members in groups.items()
    }


_MORE = "sample more, or ask for fewer filters"


def _reason(one: Counted, plan: BuildPlan, wanted: bool, blind: bool | None) -> str | None:
    """Why a question is no row; None for one that stays."""
    right, clip = one.n_right, one.question.audio_sha256
    tests = {
        "other modality": not wanted,
        "unanswerable": not one.question.item.answerable,
        "held out": clip is not None and is_held_out(clip, plan.hold_out),
        "undefined": right is None,
        "ambiguous": plan.drop_ambiguous and right is not None and is_ambiguous(right, plan.k),
        "blind": plan.drop_blind and blind is True,
    }
    return next((reason for reason, holds in tests.items() if holds), None)


def _require_two_classes(labels: Mapping[str, bool], plan: BuildPlan) -> None:
    if len(set(labels.values())) == 2 or plan.one_class:
        return
    n, all_idk = len(labels), all(labels.values())
    what = "IDK, so nothing would be left to answer" if all_idk else "kept, so no refusal would be learned"
    hint = f"another --k than {plan.k}, another --share or more questions; --allow-one-class builds it as it is"
    raise UsageError(f"all {n} questions are {what}", hint)


def _row(one: Counted, idk: bool, source: Source, plan: BuildPlan, blind: bool | None) -> IdkRow:
    item = one.question.item
    target = target_of(one, idk, plan.target, wordings(plan.target, plan.refusals), plan.seed)
    sample = one.question.samples[target.draw or 0]
    if sample is None or item.gold is None or one.n_right is None:
        raise ValueError(f"question {item.id!r} is undefined or unanswerable")
    # A reply such as "(B)" means the order in which its own draw showed the choices.
    choices = item.choices if target.draw is None else sample.choices
    return IdkRow(
        id=item.id,
        audio=item.audio,
        audio_sha256=one.question.audio_sha256,
        modality=item.modality,
        question=item.question,
        choices=choices,
        gold=item.gold,
        method=str(source.method),
        audio_type=None if sample.audio_type is None else str(sample.audio_type),
        content=sample.content,
        prompt=_prompt(source.method, item.question, choices, sample),
        target=target.text,
        target_source=target.source,
        draw=target.draw,
        is_idk=idk,
        n_right=one.n_right,
        n=plan.n,
        outcomes=tuple(str(grade.outcome) for grade in one.grades if grade is not None),
        rule=str(plan.rule),
        k=plan.k,
        control=None if plan.control is None else str(plan.control),
        scorer=source.scorer,
        blind=blind,
        seed=plan.seed,
        origin=source.origin,
    )


def _prompt(method: Method, question: str, choices: tuple[str, ...], sample: Sample) -> str:
    return answer_prompt(method, question.strip(), choices, sample.audio_type, sample.content)


def _told(reasons: Mapping[str | None, int]) -> str:
    return ", ".join(f"{reasons[reason]} {reason}" for reason in LEFT_OUT if reasons.get(reason)) or "the bank is empty"
