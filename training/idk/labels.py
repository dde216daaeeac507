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

from lalm_agent.answers import same_text
from lalm_agent.errors import DataError
from lalm_agent.eval.grade import Grade, Outcome, Scorer, grade
from lalm_agent.training.idk.bank import SampledQuestion, keyed

TOTAL = "total"
NO_MODALITY = "no modality"


@dataclass(frozen=True, slots=True)
class GradedQuestion:
    """A question with the grades of its first N samples; None where there is no sample, or it could not be graded."""

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
    """Grade the first n samples of each question, with the choices in the order that each draw showed, in one call."""
    places = [
        (row, draw, sample)
        for row, question in enumerate(questions)
        for draw, sample in enumerate(question.samples[:n])
        if sample is not None
    ]
    items = [replace(questions[row].item, choices=sample.choices) for row, _, sample in places]
    grades = scorer(items, [sample.reply for _, _, sample in places])
    table: list[list[Grade | None]] = [[None] * n for _ in questions]
    for (row, draw, _), graded in zip(places, grades, strict=True):
        # A scorer's own model may have failed: then the reply was never graded.
        table[row][draw] = None if graded.outcome is Outcome.FAILED else graded
    return [GradedQuestion(question, tuple(row)) for question, row in zip(questions, table, strict=True)]


def is_idk(n_right: int | None, k: int) -> bool | None:
    """K@N: at least K right keeps the answer, fewer make it IDK. 0@N keeps everything. None: undefined."""
    return None if n_right is None else n_right < k


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

    share: of IDK, in [0, 1], for the rules that rank; None takes as many as K@N. seed: of the order among equals.
    Raises DataError where the rule needs confidences and a sample that has an answer has none.
    """
    by_kn = {question.id: bool(is_idk(question.n_right, k)) for question in graded}
    if rule is Rule.KN:
        return by_kn
    measure = semantic_entropy if rule is Rule.ENTROPY else mean_uncertainty
    uncertainties = {question.id: measure(question.question, len(question.grades)) for question in graded}
    n = sum(by_kn.values()) if share is None else math.floor(share * len(by_kn) + 0.5)
    return most_uncertain(uncertainties, n, seed)


def most_uncertain(uncertainties: Mapping[str, float], n: int, seed: int) -> dict[str, bool]:
    """Mark the n ids with the largest figures; equal figures in a seeded order."""
    ordered = sorted(uncertainties, key=lambda id_: (-uncertainties[id_], keyed(seed, "tie", id_)))
    chosen = set(ordered[:n])
    return {id_: id_ in chosen for id_ in uncertainties}


def semantic_entropy(question: SampledQuestion, n: int) -> float:
    """Entropy in nats of the first n samples over what they mean: -Σ p ln p.

    The classes are the choices, whatever the wording (for an open question: texts that are equal by the parser's rule
    1), and besides `abstained` and `unparsed`. A model that always refuses, or is always wrong alike, has 0.
    """
    classes: list[str] = []
    for reading, _ in _readings(question, n):
        if reading.chosen is None:
            classes.append(f"\0{reading.outcome}")
        elif question.item.choices:
            classes.append(reading.chosen.strip())
        else:
            alike = (text for text in classes if text[:1] != "\0" and same_text(text, reading.chosen))
            classes.append(next(alike, reading.chosen))
    shares = [count / len(classes) for count in Counter(classes).values()]
    return -sum(share * math.log(share) for share in shares) + 0.0


def mean_uncertainty(question: SampledQuestion, n: int) -> float:
    """1 - the mean over the first n samples of the probability of the answer; a reply without an answer counts as 0."""
    confidences = []
    for reading, confidence in _readings(question, n):
        if reading.outcome not in (Outcome.CORRECT, Outcome.WRONG):
            confidence = 0.0
        if confidence is None:
            raise DataError(
                f"the bank has no confidence for question {question.item.id!r}, so the rule confidence cannot be used",
                "the rules kn and entropy need none; a local model scores choices as it answers",
            )
        confidences.append(confidence)
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
    chosen: set[str] = set()
    for modality in {modalities[id_] for id_ in labels}:
        members = [id_ for id_ in labels if modalities[id_] == modality]
        ordered = sorted(members, key=lambda id_: keyed(seed, "random", id_))
        chosen |= set(ordered[: sum(labels[id_] for id_ in members)])
    return {id_: id_ in chosen for id_ in labels}


def balanced(labels: Mapping[str, bool], seed: int) -> dict[str, bool]:
    """As many IDK as kept, by leaving out questions of the larger class in a seeded order; the order stays."""
    sides = [[id_ for id_, label in labels.items() if label is side] for side in (False, True)]
    size = min(map(len, sides))
    left = {id_ for side in sides for id_ in sorted(side, key=lambda id_: keyed(seed, "balance", id_))[:size]}
    return {id_: label for id_, label in labels.items() if id_ in left}


# --- the share of IDK over K (P1 figure 5) ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Percentile bootstrap over clips."""

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
    """The n questions of a group whose label is defined.

    by_right: how many have 0, 1, … N right samples. shares: for K = 1 … N; empty where n is 0.
    """

    n: int
    n_clips: int
    by_right: tuple[int, ...]
    shares: tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class Flips:
    """For K = 1 … N, how many labels another scorer changes, of the questions whose label both define."""

    scorer: str
    compared: int
    to_idk: tuple[int, ...]
    to_kept: tuple[int, ...]


def curves(graded: Sequence[GradedQuestion], n: int, how: Bootstrap) -> dict[str, Curve]:
    """The curve of all questions and of each modality, sorted by name."""
    names = sorted({question.modality for question in graded})
    groups = {name: [question for question in graded if question.modality == name] for name in names}
    return {name: curve(members, n, how) for name, members in {TOTAL: graded, **groups}.items()}


def curve(graded: Sequence[GradedQuestion], n: int, how: Bootstrap) -> Curve:
    """The curve of these questions; undefined ones are left out.

    All K come from the same resamples: within each the share never falls as K grows, and so do neither of its ends.
    """
    import numpy as np

    from lalm_agent.eval.metrics.estimate import bootstrap_cells, percentile_interval

    pairs = [(question.n_right, question.question.clip) for question in graded if question.n_right is not None]
    rights = np.array([right for right, _ in pairs], np.int64)
    by_right = np.bincount(rights, minlength=n + 1)
    if not pairs:
        return Curve(0, 0, tuple(by_right.tolist()), ())
    clips = np.array([clip for _, clip in pairs], np.str_)
    resampled = bootstrap_cells(rights, n + 1, clips, how.resamples, how.seed)
    below = resampled.cumsum(axis=1) / resampled.sum(axis=1, keepdims=True)
    shares = []
    for k in range(1, n + 1):
        n_idk = int(by_right[:k].sum())
        interval = percentile_interval(below[:, k - 1], how.level)
        shares.append(Share(k, n_idk, n_idk / len(pairs), interval.low, interval.high))
    return Curve(len(pairs), len(np.unique(clips)), tuple(by_right.tolist()), tuple(shares))


def flips(scorer: str, before: Sequence[GradedQuestion], after: Sequence[GradedQuestion], n: int) -> Flips:
    """Compare the labels of two scorers, `scorer` being the name of the second."""
    there = {question.id: question.n_right for question in after}
    pairs = [(question.n_right, there.get(question.id)) for question in before]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    ks = range(1, n + 1)
    to_idk, to_kept = (sum(a >= k > b for a, b in known) for k in ks), (sum(a < k <= b for a, b in known) for k in ks)
    return Flips(scorer, len(known), tuple(to_idk), tuple(to_kept))
