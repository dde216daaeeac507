"""An IDK set: its rows, its manifest, and how both are made of graded questions. docs/training.md has the keys.

The order of the steps: the questions that count, those that stay out for what they are (held-out clips, ambiguous,
blind), then the rule over what is left, then the balance, then a control. So rules are compared over the same
questions, and a control has the rows of the set that it stands beside.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import Field

from lalm_agent.artefacts import Record, json_line, read_record, record_text, write_whole
from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.grade import Outcome
from lalm_agent.eval.runs.plan import of_modality
from lalm_agent.prompts import IDK, answer_prompt
from lalm_agent.prompts.refusing import refusal_pool, with_certainty
from lalm_agent.records import Method
from lalm_agent.training.idk import labels
from lalm_agent.training.idk.bank import is_held_out, keyed
from lalm_agent.training.idk.labels import Control, GradedQuestion, Rule

META_SUFFIX = ".meta.json"
LEFT_OUT = ("other modality", "unanswerable", "held out", "undefined", "ambiguous", "blind", "balance")
"""Why a question of the bank is no row; the first reason that holds counts."""


# --- rows and manifest as files --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a row's label comes from: the bank's run id, the hash of its samples, and that of the data's files."""

    run: str
    bank_sha256: str
    data_sha256: str


class IdkRow(Record):
    """A question to train on.

    audio: path of the clip; relative to the data's audio root where the set was built without one.
    choices: in the order in which the prompt shows them. gold: the right answer's text.
    method, audio_type, content, prompt: how the model was asked in the bank, and the text of it.
    target: what the model has to say. target_source: `gold`, `self` (a correct sample) or `refusal`.
    draw: of the sample that the target is; None for other sources.
    outcomes: of the n samples, in the order of the draws; n_right of them are correct.
    wrong: what the wrong samples answered, each once: the choice's text, or the reply to an open question.
    control: `kept` or `random` where the label is that of a control; None where it is the rule's.
    blind: whether the question is kept under the same K@N in the blind bank; None without one or where undefined.
    """

    id: str
    audio: str
    audio_sha256: str | None
    modality: str | None
    question: str
    choices: tuple[str, ...]
    gold: str
    method: str
    audio_type: str | None
    content: str | None
    prompt: str
    target: str
    target_source: str
    draw: int | None
    is_idk: bool
    n_right: int
    n: int
    outcomes: tuple[str, ...]
    wrong: tuple[str, ...] = ()
    rule: str
    k: int
    control: str | None
    scorer: str
    blind: bool | None
    seed: int
    origin: Origin


class Manifest(Record):
    """What is true of a set as a whole.

    counts: `total` and each modality -> {n, idk, kept}. share: of IDK among all rows.
    targets: source -> rows. left_out: why -> questions of the bank that are no rows.
    flips: other scorer -> {compared, to_idk, to_kept} at this K.
    blind: of the blind bank {run, bank_sha256, audio, solved, undefined}; None without one.
    held_out: {share, questions, clips}: sha256 of the clips that no row is about.
    refusals, held_out_refusals: wordings that targets have, and wordings that none has.
    rows_sha256: of the bytes of the file of rows.
    """

    origin: Origin
    model: str
    weights_sha256: str | None
    adapter_sha256: str | None
    data: str
    method: str
    temperature: float
    sampling_seed: int
    shuffle_choices: bool
    audio_root: str | None
    n: int
    k: int
    rule: str
    control: str | None
    target: str
    scorer: str
    seed: int
    modality: tuple[str, ...]
    drop_ambiguous: bool
    balance: bool
    share: float
    counts: dict[str, dict[str, int]]
    targets: dict[str, int]
    left_out: dict[str, int]
    flips: dict[str, dict[str, int]]
    blind: dict[str, Any] | None
    held_out: dict[str, Any]
    refusals: tuple[str, ...]
    held_out_refusals: tuple[str, ...]
    rows_sha256: str = ""
    schema_version: int = Field(default=1, alias="schema")


def meta_path(path: Path) -> Path:
    """Where the manifest of a set lies: `idk.jsonl` -> `idk.jsonl.meta.json`."""
    return path.with_name(f"{path.name}{META_SUFFIX}")


def set_bytes(rows: Sequence[IdkRow]) -> bytes:
    """The bytes of the file of rows: each a JSON object, with prompt and target as chat turns under `messages`.

    The clip's turn part has no path: `datasets` gives every part of a list the keys of all, and a chat template takes a
    key `audio` on a text part for a second clip.
    """
    lines = []
    for row in rows:
        user = [{"type": "audio"}, {"type": "text", "text": row.prompt}]
        assistant = [{"type": "text", "text": row.target}]
        messages = [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
        lines.append(json_line({**row.model_dump(mode="json"), "messages": messages}))
    return b"".join(lines)


def write_set(path: Path, data: bytes, manifest: Manifest) -> None:
    """Write rows and manifest, each of them whole or not at all. Raises StorageError where that fails.

    The manifest comes last and has the hash of the rows, so that a kill between the two shows.
    """
    write_whole(path, data)
    write_whole(meta_path(path), record_text(manifest).encode())


def read_manifest(path: Path) -> Manifest:
    """The manifest of a file of rows. Raises DataError where it cannot be read, is newer, or is that of other rows."""
    manifest = read_record(meta_path(path), Manifest, "lalm-agent idk build writes it beside its rows")
    try:
        rows_sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", "build the set again") from error
    if manifest.rows_sha256 != rows_sha256:
        raise DataError(f"{meta_path(path)} is the manifest of other rows than those of {path}", "build the set again")
    return manifest


# --- from graded questions to rows; pure: nothing is read, asked or written ------------------------------------------


class TargetKind(StrEnum):
    """What is taught.

    gold: the right answer's text, or a refusal (the paper's).
    self: one of the model's own correct samples, word for word, or a refusal (Say-I-Dont-Know, arXiv 2401.13275).
    sure: the right answer's text in either case, with a suffix that says whether the model knew it (R-Tuning, arXiv
        2311.09677, its variant that pads and does not replace; as there the answer is the data's, never a wrong one).
    """

    GOLD = "gold"
    SELF = "self"
    SURE = "sure"


class Refusals(StrEnum):
    """IDK always, or a wording of the pool for each question."""

    FIXED = "fixed"
    POOL = "pool"


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How to build, beside K and N.

    share: of IDK for the rules that rank; None takes that of K@N. modality: empty for all.
    drop_ambiguous: leave out 0 < right < K. hold_out: share of the clips, in [0, 1), that stay out.
    one_class: whether a set without IDK, or with nothing else, may be built; the control `kept` always may.
    """

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


@dataclass(frozen=True)
class BuildPlan(BuildOptions):
    """How to build: K right of N samples keep an answer."""

    k: int
    n: int

    @property
    def wordings(self) -> tuple[str, ...]:
        """The refusals that targets can be; a suffix is none."""
        if self.target is TargetKind.SURE:
            return ()
        return refusal_pool() if self.refusals is Refusals.POOL else (IDK,)


@dataclass(frozen=True, slots=True)
class BuiltSet:
    """Rows; reason -> questions that are left out; sorted sha256 of the plan's clips that no row is about."""

    rows: tuple[IdkRow, ...]
    left_out: Mapping[str, int]
    held_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RowSource:
    """What each row says of its bank."""

    origin: Origin
    method: Method
    scorer: str


def build(
    graded: Sequence[GradedQuestion],
    source: RowSource,
    plan: BuildPlan,
    blind: Mapping[str, bool | None] | None = None,
) -> BuiltSet:
    """Make the rows, in the order of the bank.

    blind: id -> whether a model without the clip keeps the question; None where it is undefined.
    Raises UsageError for impossible settings, no question left, or one class alone; DataError as `labels_by`.
    """
    check_plan(plan)
    blind = blind or {}
    of_plan = {item.id for item in of_modality([question.question.item for question in graded], plan.modality)}
    reasons = {question.id: _reason(question, plan, of_plan, blind.get(question.id)) for question in graded}
    staying = [question for question in graded if reasons[question.id] is None]
    if not staying:
        left = Counter(reasons.values())
        why = ", ".join(f"{left[reason]} {reason}" for reason in LEFT_OUT if left[reason]) or "the bank is empty"
        raise UsageError(f"no question is left to build from: {why}", "sample more, or ask for fewer filters")
    idk = labels.labels_by(plan.rule, staying, plan.k, plan.share, plan.seed)
    _require_two_classes(idk, plan)
    if plan.balance:
        idk = labels.balanced(idk, plan.seed)
        if not idk:
            raise UsageError("there is one class alone, and nothing to balance it with", "leave out --balance")
        reasons |= {question.id: "balance" for question in staying if question.id not in idk}
    if plan.control is not None:
        modalities = {question.id: question.question.item.modality for question in graded}
        idk = labels.controlled(plan.control, idk, modalities, plan.seed)
    rows = [_row(question, idk[question.id], source, plan, blind) for question in staying if question.id in idk]
    left = Counter(reasons.values())
    clips = {question.question.audio_sha256 for question in graded if question.id in of_plan}
    held_out = sorted(clip for clip in clips if clip is not None and is_held_out(clip, plan.hold_out))
    return BuiltSet(tuple(rows), {reason: left[reason] for reason in LEFT_OUT}, tuple(held_out))


def check_plan(plan: BuildPlan) -> None:
    """Refuse settings that no bank could serve: K outside 0 to N, a share outside its bounds, or a share for K@N."""
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
    groups: dict[str, list[bool]] = {labels.TOTAL: [row.is_idk for row in rows]}
    for row in sorted(rows, key=lambda row: row.modality or labels.NO_MODALITY):
        groups.setdefault(row.modality or labels.NO_MODALITY, []).append(row.is_idk)
    return {name: {"n": len(idk), "idk": sum(idk), "kept": len(idk) - sum(idk)} for name, idk in groups.items()}


def _reason(graded: GradedQuestion, plan: BuildPlan, of_plan: set[str], blind: bool | None) -> str | None:
    right, clip = graded.n_right, graded.question.audio_sha256
    tests = {
        "other modality": graded.id not in of_plan,
        "unanswerable": not graded.question.item.answerable,
        "held out": clip is not None and is_held_out(clip, plan.hold_out),
        "undefined": right is None,
        "ambiguous": plan.drop_ambiguous and right is not None and 0 < right < plan.k,
        "blind": plan.drop_blind and blind is True,
    }
    return next((reason for reason, holds in tests.items() if holds), None)


def _require_two_classes(idk: Mapping[str, bool], plan: BuildPlan) -> None:
    if len(set(idk.values())) == 2 or plan.one_class:
        return
    what = "IDK, so nothing would be left to answer" if all(idk.values()) else "kept, so no refusal would be learned"
    hint = f"another --k than {plan.k}, another --share or more questions; --allow-one-class builds it as it is"
    raise UsageError(f"all {len(idk)} questions are {what}", hint)


def _target(graded: GradedQuestion, gold: str, idk: bool, plan: BuildPlan) -> tuple[str, str, int | None]:
    # (text, source, draw of the model's own sample). A kept question without a correct sample (a control keeps it, or a
    # rule that does not look at gold) has its gold text in place of a sample.
    if plan.target is TargetKind.SURE:
        return with_certainty(gold, not idk), "gold", None
    if idk:
        return plan.wordings[keyed(plan.seed, "refusal", graded.id) % len(plan.wordings)], "refusal", None
    correct = [draw for draw, grade in enumerate(graded.grades) if grade and grade.outcome is Outcome.CORRECT]
    if plan.target is TargetKind.GOLD or not correct:
        return gold, "gold", None
    draw = correct[keyed(plan.seed, "self", graded.id) % len(correct)]
    sample = graded.question.samples[draw]
    return sample.reply.strip() if sample else gold, "self", draw


def _wrong(graded: GradedQuestion) -> tuple[str, ...]:
    # A reply such as "(B)" means the order of its own draw, so the choice that it means stands for it.
    pairs = zip(graded.question.samples, graded.grades, strict=False)
    wrong = [(sample, grade) for sample, grade in pairs if sample and grade and grade.outcome is Outcome.WRONG]
    has_choices = bool(graded.question.item.choices)
    texts = [(grade.chosen or "" if has_choices else sample.reply).strip() for sample, grade in wrong]
    return tuple(dict.fromkeys(text for text in texts if text))


def _row(
    graded: GradedQuestion, idk: bool, source: RowSource, plan: BuildPlan, blind: Mapping[str, bool | None]
) -> IdkRow:
    item = graded.question.item
    if item.gold is None or graded.n_right is None:
        raise ValueError(f"question {item.id!r} is undefined or unanswerable")
    target, target_source, draw = _target(graded, item.gold, idk, plan)
    sample = graded.question.samples[draw or 0]
    assert sample is not None
    # A reply such as "(B)" means the order in which its own draw showed the choices.
    choices = item.choices if draw is None else sample.choices
    return IdkRow(
        **{name: getattr(item, name) for name in ("id", "audio", "modality", "question", "gold")},
        **{name: getattr(plan, name) for name in ("rule", "k", "n", "control", "seed")},
        **{name: getattr(source, name) for name in ("origin", "method", "scorer")},
        audio_sha256=graded.question.audio_sha256,
        choices=choices,
        audio_type=sample.audio_type,
        content=sample.content,
        prompt=answer_prompt(source.method, item.question.strip(), choices, sample.audio_type, sample.content),
        target=target,
        target_source=target_source,
        draw=draw,
        is_idk=idk,
        n_right=graded.n_right,
        outcomes=tuple(grade.outcome for grade in graded.grades if grade is not None),
        wrong=_wrong(graded),
        blind=blind.get(item.id),
    )
