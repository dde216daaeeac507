"""What makes a question IDK: K@N over its samples (P1 section 3.2), other rules, controls, and the share of IDK over K.

Sampling once with N is enough for every K and every smaller N: nothing here asks the model again. Rules other than K@N
take as many questions as K@N does unless told otherwise, so that a comparison shows which questions a rule picks and
not how many. The controls keep the questions and change the labels alone.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import fmean

import numpy as np

from lalm_agent.answers import same_text
from lalm_agent.errors import DataError, UsageError
from lalm_agent.eval.grade import OUTCOMES, Grade, Outcome, Scorer, grade
from lalm_agent.eval.metrics.estimate import bootstrap_cells, percentile_interval
from lalm_agent.training.idk.bank import Bank, SampledQuestion, keyed

TOTAL = "total"
NO_MODALITY = "no modality"
_ANSWERED = (Outcome.CORRECT, Outcome.WRONG)
_BLIND_MAY_DIFFER = ("audio", "seed", "modality", "dtype")


# --- how many of N samples are right ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GradedQuestion:
    """A question with the grades of its first N samples; None where there is no sample, or nobody could grade it."""

    question: SampledQuestion
    grades: tuple[Grade | None, ...]

    @property
    def n_right(self) -> int | None:
        """How many are right; None with fewer than N graded samples, because what is missing is not wrong."""
        outcomes = [None if grade is None else grade.outcome for grade in self.grades]
        return None if None in outcomes else outcomes.count(Outcome.CORRECT)

    @property
    def id(self) -> str:
        """The question's id."""
        return self.question.item.id

    @property
    def modality(self) -> str:
        """The question's modality, or `NO_MODALITY`."""
        return self.question.item.modality or NO_MODALITY


def counts(questions: Sequence[SampledQuestion], scorer: Scorer, n: int) -> list[GradedQuestion]:
    """Grade the first n samples of each question, all in one call of the scorer.

    A reply is graded with the choices in the order that its draw showed.
    """
    places = [
        (row, draw, sample)
        for row, question in enumerate(questions)
        for draw, sample in enumerate(question.samples[:n])
        if sample is not None
    ]
    items = [replace(questions[row].item, choices=sample.choices) for row, _, sample in places]
    grades = scorer(items, [sample.reply for _, _, sample in places])
    # A scorer's own model may have failed: then the reply was never graded.
    by_place = {
        (row, draw): grade
        for (row, draw, _), grade in zip(places, grades, strict=True)
        if grade.outcome is not Outcome.FAILED
    }
    return [
        GradedQuestion(question, tuple(by_place.get((row, draw)) for draw in range(n)))
        for row, question in enumerate(questions)
    ]


def is_idk(n_right: int | None, k: int) -> bool | None:
    """K@N: at least K right keeps the answer, fewer make it IDK. 0@N keeps everything. None: undefined."""
    return None if n_right is None else n_right < k


def is_ambiguous(n_right: int, k: int) -> bool:
    """Sometimes right, though not often enough to be kept: 0 < right < K."""
    return 0 < n_right < k


def undefined(graded: Sequence[GradedQuestion]) -> int:
    """How many questions have fewer than N graded samples."""
    return sum(question.n_right is None for question in graded)


def outcomes_by_draw(graded: Sequence[GradedQuestion], n: int) -> list[dict[Outcome, int]]:
    """For each draw how often each outcome occurred; `failed` are those without a sample or a grade."""
    table = []
    for draw in range(n):
        grades = (question.grades[draw] for question in graded)
        occurred = Counter(Outcome.FAILED if grade is None else grade.outcome for grade in grades)
        table.append({outcome: occurred[outcome] for outcome in OUTCOMES})
    return table


# --- rules and controls ----------------------------------------------------------------------------------------------


class Rule(StrEnum):
    """K@N; entropy of the samples, which needs no gold answers (R-Tuning, arXiv 2311.09677); mean confidence."""

    KN = "kn"
    ENTROPY = "entropy"
    CONFIDENCE = "confidence"


class Control(StrEnum):
    """kept: no question is IDK (0@N). random: as many as by the rule, of each modality, at random places."""

    KEPT = "kept"
    RANDOM = "random"


def labels_by(rule: Rule, graded: Sequence[GradedQuestion], k: int, share: float | None, seed: int) -> dict[str, bool]:
    """Id -> whether the question is IDK. Every question has all its samples.

    share: of the questions that become IDK, in [0, 1], for the rules that rank; None takes as many as K@N.
    seed: of the order among questions that a ranking rule calls equally sure.

    Raises:
        DataError: the rule needs confidences, and a sample that has an answer has none.
    """
    by_kn = {question.id: bool(is_idk(question.n_right, k)) for question in graded}
    if rule is Rule.KN:
        return by_kn
    measure = semantic_entropy if rule is Rule.ENTROPY else unconfidence
    unsure = {question.id: measure(question.question, len(question.grades)) for question in graded}
    return most_unsure(unsure, sum(by_kn.values()) if share is None else math.floor(share * len(by_kn) + 0.5), seed)


def most_unsure(unsure: Mapping[str, float], n: int, seed: int) -> dict[str, bool]:
    """Marks the n ids with the largest figures; equal figures in a seeded order."""
    ordered = sorted(unsure, key=lambda id_: (-unsure[id_], keyed(seed, "tie", id_)))
    chosen = set(ordered[:n])
    return {id_: id_ in chosen for id_ in unsure}


def semantic_entropy(question: SampledQuestion, n: int) -> float:
    """Entropy in nats of the first n samples over what they mean: -Σ p ln p.

    The classes are the choices, whatever the wording (for an open question: texts that are equal by the parser's rule
    1), and besides `abstained` and `unparsed`. A model that always refuses, or is always wrong alike, has 0.
    """
    classes: list[str] = []
    for read, _ in _readings(question, n):
        if read.chosen is None:
            classes.append(f"\0{read.outcome}")
        elif question.item.choices:
            classes.append(read.chosen.strip())
        else:
            alike = (text for text in classes if text[:1] != "\0" and same_text(text, read.chosen))
            classes.append(next(alike, read.chosen))
    total = len(classes)
    return -sum(count / total * math.log(count / total) for count in Counter(classes).values()) + 0.0


def unconfidence(question: SampledQuestion, n: int) -> float:
    """1 - the mean over the first n samples of the probability of the answer; a reply without an answer counts as 0.

    Raises:
        DataError: a sample has an answer, and the model gave no probability for it.
    """
    confidences = []
    for read, confidence in _readings(question, n):
        answered = read.outcome in _ANSWERED
        if answered and confidence is None:
            raise DataError(
                f"the bank has no confidence for question {question.item.id!r}, so the rule confidence cannot be used",
                "the rules kn and entropy need none; a local model scores choices as it answers",
            )
        confidences.append(confidence if answered and confidence is not None else 0.0)
    return 1 - fmean(confidences)


def _readings(question: SampledQuestion, n: int) -> Iterator[tuple[Grade, float | None]]:
    """What the parser makes of each sample, whichever scorer counts right answers, and the sample's confidence."""
    for sample in question.samples[:n]:
        if sample is None:
            raise ValueError(f"question {question.item.id!r} has fewer than {n} samples")
        yield grade(replace(question.item, choices=sample.choices), sample.reply), sample.confidence


def controlled(
    control: Control, labels: Mapping[str, bool], modalities: Mapping[str, str | None], seed: int
) -> dict[str, bool]:
    """The labels of a control for the same questions. modalities: of each id."""
    if control is Control.KEPT:
        return dict.fromkeys(labels, False)
    groups: dict[str, list[str]] = {}
    for id_ in labels:
        groups.setdefault(modalities[id_] or NO_MODALITY, []).append(id_)
    chosen: set[str] = set()
    for members in groups.values():
        members.sort(key=lambda id_: keyed(seed, "random", id_))
        chosen |= set(members[: sum(labels[id_] for id_ in members)])
    return {id_: id_ in chosen for id_ in labels}


def balanced(labels: Mapping[str, bool], seed: int) -> dict[str, bool]:
    """As many IDK as kept, by leaving out questions of the larger class in a seeded order; the order stays."""
    sides = [[id_ for id_, label in labels.items() if label is side] for side in (False, True)]
    size = min(map(len, sides))
    left = {id_ for side in sides for id_ in sorted(side, key=lambda id_: keyed(seed, "balance", id_))[:size]}
    return {id_: label for id_, label in labels.items() if id_ in left}


# --- questions that need no clip: a second bank, sampled on silence, keeps them as well ------------------------------


def require_blind_twin(bank: Bank, blind: Bank) -> None:
    """Refuse a second bank that differs in more than the clips that were played.

    Raises:
        UsageError: it was sampled with the clips, or is of another model, method or data.
    """
    if blind.identity.audio == "real":
        raise UsageError("the blind bank was sampled with the clips", "lalm-agent idk sample … --audio silence")
    same = {name: getattr(bank.identity, name) for name in _BLIND_MAY_DIFFER}
    fields = [line.partition(":")[0] for line in bank.identity.changes(blind.identity.model_copy(update=same))]
    if fields:
        raise UsageError(
            f"the blind bank differs in more than the clip: {', '.join(fields)}",
            "sample it by the command of the bank with --audio silence and another --out",
        )


def solved_blind(graded: Sequence[GradedQuestion], blind: Sequence[GradedQuestion], k: int) -> dict[str, bool | None]:
    """Id -> whether the same K of the blind bank's samples keeps the question; with K = 0 at least one has to be right.

    None where that is undefined or was not asked.
    """
    right = {question.id: question.n_right for question in blind}
    idk = {question.id: is_idk(right.get(question.id), max(k, 1)) for question in graded}
    return {id_: None if label is None else not label for id_, label in idk.items()}


# --- the share of IDK over K (P1 figure 5) ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How intervals are made: percentile bootstrap over clips."""

    resamples: int = 2000
    seed: int = 0
    level: float = 0.95


@dataclass(frozen=True, slots=True)
class Share:
    """K@N over the questions of a group: `n_idk` of them are IDK. Shares in [0, 1]."""

    k: int
    n_idk: int
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Curve:
    """A group of questions.

    n: questions whose label is defined. by_right: how many have 0, 1, … N right samples.
    shares: for K = 1 … N; empty where n is 0.
    """

    n: int
    n_clips: int
    by_right: tuple[int, ...]
    shares: tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class Flips:
    """What another scorer makes of the same samples.

    compared: questions whose label is defined under both. to_idk, to_kept: for K = 1 … N, how many labels change.
    """

    scorer: str
    compared: int
    to_idk: tuple[int, ...]
    to_kept: tuple[int, ...]


def curves(graded: Sequence[GradedQuestion], n: int, how: Bootstrap | None = None) -> dict[str, Curve]:
    """The curve of all questions and of each modality, sorted by name. Undefined ones are left out."""
    groups: dict[str, list[GradedQuestion]] = {}
    for question in graded:
        groups.setdefault(question.modality, []).append(question)
    named = {TOTAL: list(graded), **{name: groups[name] for name in sorted(groups)}}
    return {name: curve(members, n, how or Bootstrap()) for name, members in named.items()}


def curve(graded: Sequence[GradedQuestion], n: int, how: Bootstrap) -> Curve:
    """The curve of these questions.

    All K come from the same resamples: within each the share never falls as K grows, and so do neither of its ends.
    """
    pairs = [(question.n_right, question.question.clip) for question in graded if question.n_right is not None]
    rights = np.array([right for right, _ in pairs], np.int64)
    clips = np.array([clip for _, clip in pairs], np.str_)
    by_right = np.bincount(rights, minlength=n + 1)
    if not len(pairs):
        return Curve(0, 0, tuple(by_right.tolist()), ())
    resampled = bootstrap_cells(rights, n + 1, clips, how.resamples, how.seed)
    below = resampled.cumsum(axis=1) / resampled.sum(axis=1, keepdims=True)
    shares = []
    for k in range(1, n + 1):
        n_idk = int(by_right[:k].sum())
        interval = percentile_interval(below[:, k - 1], how.level)
        shares.append(Share(k, n_idk, n_idk / len(pairs), interval.low, interval.high))
    return Curve(len(pairs), len(set(clips.tolist())), tuple(by_right.tolist()), tuple(shares))


def flips(scorer: str, before: Sequence[GradedQuestion], after: Sequence[GradedQuestion], n: int) -> Flips:
    """Compare the labels of two scorers, `scorer` being the name of the second."""
    there = {question.id: question.n_right for question in after}
    pairs = [(question.n_right, there.get(question.id)) for question in before]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    ks = range(1, n + 1)
    return Flips(
        scorer,
        len(known),
        tuple(sum(a >= k > b for a, b in known) for k in ks),
        tuple(sum(a < k <= b for a, b in known) for k in ks),
    )
