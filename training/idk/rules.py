"""Which questions become IDK: the paper's K@N, or as many of those that another figure calls the least sure.

Every other rule takes as many questions as K@N does, unless told otherwise, so that a comparison shows which questions
a rule picks and not how many. The controls keep the questions and change the labels alone.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from statistics import fmean

from lalm_agent.answers import same_text
from lalm_agent.errors import DataError
from lalm_agent.eval.grade import Grade, Outcome, grade
from lalm_agent.eval.items import Item
from lalm_agent.training.idk.bank import Drawn, Sample
from lalm_agent.training.idk.counting import Counted, is_idk
from lalm_agent.training.idk.curve import NO_MODALITY
from lalm_agent.training.idk.keyed import keyed

_ANSWERED = (Outcome.CORRECT, Outcome.WRONG)


class Rule(StrEnum):
    """K@N; entropy of the samples, which needs no gold answers (R-Tuning, arXiv 2311.09677); mean confidence."""

    KN = "kn"
    ENTROPY = "entropy"
    CONFIDENCE = "confidence"


class Control(StrEnum):
    """kept: no question is IDK (0@N). random: as many as by the rule, of each modality, at random places."""

    KEPT = "kept"
    RANDOM = "random"


def labels_by(rule: Rule, counted: Sequence[Counted], k: int, share: float | None, seed: int) -> dict[str, bool]:
    """Id -> whether the question is IDK. Every question has all its samples.

    share: of the questions that become IDK, in [0, 1], for the rules that rank; None takes as many as K@N.
    seed: of the order among questions that a ranking rule calls equally sure.

    Raises:
        DataError: the rule needs confidences, and a sample that has an answer has none.
    """
    by_kn = {one.id: bool(is_idk(one.n_right, k)) for one in counted}
    if rule is Rule.KN:
        return by_kn
    measure = semantic_entropy if rule is Rule.ENTROPY else unconfidence
    unsure = {one.id: measure(one.question, len(one.grades)) for one in counted}
    wanted = sum(by_kn.values()) if share is None else math.floor(share * len(by_kn) + 0.5)
    return most_unsure(unsure, wanted, seed)


def most_unsure(unsure: Mapping[str, float], wanted: int, seed: int) -> dict[str, bool]:
    """Marks `wanted` ids with the largest figures; equal figures in a seeded order."""
    ordered = sorted(unsure, key=lambda id_: (-unsure[id_], keyed(seed, "tie", id_)))
    chosen = set(ordered[:wanted])
    return {id_: id_ in chosen for id_ in unsure}


def semantic_entropy(question: Drawn, n: int) -> float:
    """Entropy in nats of the first n samples over what they mean: -Σ p ln p.

    The classes are the choices, whatever the wording (for an open question: texts that are equal by the parser's rule
    1), and besides `abstained` and `unparsed`. A model that always refuses, or is always wrong alike, has 0.
    """
    classes = _classes(question, n)
    total = len(classes)
    return -sum(count / total * math.log(count / total) for count in Counter(classes).values()) + 0.0


def unconfidence(question: Drawn, n: int) -> float:
    """1 - the mean over the first n samples of the probability of the answer given; one that gives none counts as 0.

    Raises:
        DataError: a sample has an answer, and the model gave no probability for it.
    """
    given = []
    for sample in question.samples[:n]:
        if sample is None:
            raise ValueError(f"question {question.item.id!r} has fewer than {n} samples")
        answered = _read(question.item, sample).outcome in _ANSWERED
        if answered and sample.confidence is None:
            raise DataError(
                f"the bank has no confidence for question {question.item.id!r}, so the rule confidence cannot be used",
                "the rules kn and entropy need none; a local model scores choices as it answers",
            )
        given.append(sample.confidence if answered and sample.confidence is not None else 0.0)
    return 1 - fmean(given)


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


def _classes(question: Drawn, n: int) -> list[str]:
    """A class for each sample: what it chose, or how it failed to choose."""
    found: list[str] = []
    for sample in question.samples[:n]:
        if sample is None:
            raise ValueError(f"question {question.item.id!r} has fewer than {n} samples")
        read = _read(question.item, sample)
        if read.chosen is None:
            found.append(f"\0{read.outcome}")
        elif question.item.choices:
            found.append(read.chosen.strip())
        else:
            found.append(next((one for one in found if one[:1] != "\0" and same_text(one, read.chosen)), read.chosen))
    return found


def _read(item: Item, sample: Sample) -> Grade:
    """What the parser makes of a sample, whichever scorer counts right answers."""
    return grade(replace(item, choices=sample.choices), sample.reply)
