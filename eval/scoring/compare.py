"""The questions that several methods are compared on, and every method's outcome on each of them.

A prediction file is held to every question of all sources (or of the data file): one that it lacks is `failed`, never
left out. A run folder has fixed questions (`--limit`), and another's question is none of its own. Figures that compare
two methods use the intersection.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from lalm_agent.errors import UsageError
from lalm_agent.eval.grade import (
    KINDS,
    OUTCOMES,
    Grade,
    Outcome,
    Outputs,
    RuleScorer,
    Scorer,
    grades_of,
    kind_of,
    missing_clip_warning,
)
from lalm_agent.eval.items import MODALITY, Item
from lalm_agent.eval.metrics.counts import Bools, Codes, codes
from lalm_agent.eval.reading.predictions import require_same
from lalm_agent.records import AudioType

NOT_ASKED, SEEN, LEFT_OUT = -1, -2, -3
"""Codes beside those of outcomes: no question of this method; on a trained-on clip; left out by `--exclude`."""

NO_KIND = -1
TOTAL = "total"
LEAVABLE = (Outcome.UNPARSED, Outcome.FAILED)


@dataclass(frozen=True, slots=True)
class Graded:
    """One method over the universe of questions.

    outputs: what it was read from; its items are its own questions.
    codes: (n,) int8, index into `grade.OUTCOMES`, or NOT_ASKED, SEEN, LEFT_OUT. Unanswerable questions have codes too.
    kinds: (n,) int8, index into `grade.KINDS`; NO_KIND where the question was not graded as an abstention.
    chosen: (n,) the text taken as the answer; None where there is none.
    confidence: (n,) float64 in [0, 1]; NaN where it is not known.
    published: (n,) int8, the codes by the published string match; None without such a scorer.
    left_out: questions left out by `--exclude`, by outcome.
    missing_clip: the warning of `grade.missing_clip_warning`, None where there is none.
    """

    outputs: Outputs
    codes: NDArray[np.int8]
    kinds: NDArray[np.int8]
    chosen: tuple[str | None, ...]
    confidence: NDArray[np.float64]
    published: NDArray[np.int8] | None
    left_out: Mapping[Outcome, NDArray[np.bool_]]
    missing_clip: str | None

    @property
    def name(self) -> str:
        """What tables call the method."""
        return self.outputs.name


@dataclass(frozen=True, slots=True)
class Study:
    """Methods over one universe of n questions; the first method is the baseline.

    answerable: (n,) bool. clips: (n,) int64, equal for questions about one clip.
    groups: group key -> (m,) int64 places of its questions, `total` first; see `group_key`.
    """

    items: tuple[Item, ...]
    answerable: Bools
    clips: NDArray[np.int64]
    groups: Mapping[str, NDArray[np.int64]]
    methods: tuple[Graded, ...]
    scorer: str
    published_scorer: str | None
    warnings: tuple[str, ...]

    @property
    def baseline(self) -> Graded:
        """The method that the others are compared with."""
        return self.methods[0]


@dataclass(frozen=True, slots=True)
class Grading:
    """Who grades, and which outcomes are left out of N instead of counting as wrong."""

    scorer: Scorer = field(default_factory=RuleScorer)
    published: Scorer | None = None
    leave_out: frozenset[Outcome] = frozenset()


def study(outputs: Sequence[Outputs], grading: Grading, universe: Sequence[Item] | None = None) -> Study:
    """Grade all methods over their common universe.

    universe: the questions of a data file, if one was given: files are held to exactly these.

    Raises DataError: two sources disagree on a question's gold answer or choices; UsageError: there is nothing to
    compare, two methods share no question, or an outcome cannot be left out.
    """
    if bad := grading.leave_out - set(LEAVABLE):
        raise UsageError(f"{', '.join(sorted(bad))} cannot be left out of N", f"one or both of: {', '.join(LEAVABLE)}")
    items = merged([*([("the data file", universe)] if universe else []), *((o.name, o.items) for o in outputs)])
    if not items:
        raise UsageError("there is no question to score", "give files or runs with questions")
    ids = {item.id for item in outputs[0].items}
    for other in outputs[1:]:
        if ids.isdisjoint(item.id for item in other.items):
            raise UsageError(f"{other.name} and {outputs[0].name} share no question", "score runs of one benchmark")
    held_to = {item.id for item in universe} if universe else items.keys()
    methods = tuple(_graded(method, items, held_to, grading) for method in outputs)
    ordered = tuple(items.values())
    return Study(
        items=ordered,
        answerable=np.array([item.answerable for item in ordered], np.bool_),
        clips=clip_numbers(ordered, outputs),
        groups=group_places(ordered),
        methods=methods,
        scorer=grading.scorer.name,
        published_scorer=grading.published.name if grading.published else None,
        warnings=tuple(_warnings(methods, tuple(items))),
    )


def merged(sources: Iterable[tuple[str, Sequence[Item]]]) -> dict[str, Item]:
    """Every question of all sources by id, in the order of first appearance. Order of choices may differ.

    A dimension that the first source of a question lacks is taken from a later one.

    Raises DataError: two sources disagree on a question's gold answer or choices; the question is named.
    """
    by_id: dict[str, Item] = {}
    owner: dict[str, str] = {}
    for name, items in sources:
        for item in items:
            known = by_id.setdefault(item.id, item)
            owner.setdefault(item.id, name)
            if known != item:
                require_same(known, item, (owner[item.id], name))
                more = tuple(pair for pair in item.groups if pair[0] not in dict(known.groups))
                by_id[item.id] = replace(known, groups=known.groups + more)
    return by_id


def group_key(dimension: str, value: str) -> str:
    """The modality by its own word, any other dimension as `dimension:value`."""
    return value if dimension == MODALITY else f"{dimension}:{value}"


def group_places(items: Sequence[Item]) -> dict[str, NDArray[np.int64]]:
    """Group key -> places of its questions: the total, the modalities, then the other dimensions as they come."""
    # The paper's three modalities in the paper's order, whether they occur or not; mixes come after them.
    places: dict[str, dict[str, list[int]]] = {MODALITY: {str(kind): [] for kind in AudioType}}
    for place, item in enumerate(items):
        for dimension, value in item.groups:
            places.setdefault(dimension, {}).setdefault(group_key(dimension, value), []).append(place)
    result = {TOTAL: np.arange(len(items))}
    for keys in places.values():
        result |= {key: np.array(members, np.int64) for key, members in keys.items() if members}
    return result


def clip_numbers(items: Sequence[Item], outputs: Sequence[Outputs]) -> NDArray[np.int64]:
    """A number for each question (n,), equal for equal clips: by content where a method knows it, else by name.

    Two names of one recording are one clip as soon as one method knows the content of both.
    """
    replies = (reply for method in outputs for reply in method.by_id.values())
    content: dict[str, str] = {}
    for reply in replies:
        if reply.audio_sha256 is not None:
            content.setdefault(reply.id, reply.audio_sha256)
    by_name = {item.audio: content[item.id] for item in items if item.id in content}
    clips = [content.get(item.id) or by_name.get(item.audio) or item.audio for item in items]
    number = {clip: place for place, clip in enumerate(dict.fromkeys(clips))}
    return np.array([number[clip] for clip in clips], np.int64)


def _graded(outputs: Outputs, items: Mapping[str, Item], held_to: Collection[str], grading: Grading) -> Graded:
    n, ids = len(items), list(items)
    own = {item.id: item for item in outputs.items}
    must_have = own if outputs.fixed_items else held_to
    places = [place for place, id in enumerate(items) if id in must_have]
    # Graded against the method's own order of choices: a letter means what that model was shown.
    questions = [own.get(ids[place], items[ids[place]]) for place in places]
    replies = [outputs.by_id.get(question.id) for question in questions]
    grades = grades_of(grading.scorer, questions, replies)

    def outcomes(graded: Sequence[Grade]) -> NDArray[np.int8]:
        result = np.full(n, NOT_ASKED, np.int8)
        result[places] = codes([grade.outcome for grade in graded])
        return result

    result = outcomes(grades)
    result[[place for place in places if ids[place] in outputs.excluded]] = SEEN
    left_out = {o: result == OUTCOMES.index(o) for o in LEAVABLE if o in grading.leave_out}
    for mask in left_out.values():
        result[mask] = LEFT_OUT
    kinds = np.full(n, NO_KIND, np.int8)
    kinds[places] = [KINDS.index(kind) if (kind := kind_of(grade)) else NO_KIND for grade in grades]
    confidence = np.full(n, np.nan)
    confidence[places] = [np.nan if r is None or r.confidence is None else r.confidence for r in replies]
    chosen = {place: grade.chosen for place, grade in zip(places, grades, strict=True)}
    # What is said about the audio is no matter of how answers are scored.
    by_rule = grades if isinstance(grading.scorer, RuleScorer) else grades_of(RuleScorer(), questions, replies)
    return Graded(
        outputs=outputs,
        codes=result,
        kinds=kinds,
        chosen=tuple(chosen.get(place) for place in range(n)),
        confidence=confidence,
        published=outcomes(grades_of(grading.published, questions, replies)) if grading.published else None,
        left_out=left_out,
        missing_clip=None if outputs.without_sound else missing_clip_warning(by_rule),
    )


def paired(first: Codes, second: Codes) -> Bools:
    """Which questions (n,) both methods were asked and may be judged by."""
    result: Bools = (first >= 0) & (second >= 0)
    return result


def _warnings(methods: Sequence[Graded], ids: Sequence[str]) -> Iterator[str]:
    baseline = methods[0]
    for method in methods:
        name, has_question = method.name, method.codes != NOT_ASKED
        yield from (f"{name}: {warning}" for warning in method.outputs.warnings)
        if method.missing_clip:
            yield f"{name}: {method.missing_clip}"
        # An unfinished run says itself what it lacks.
        rows = method.outputs.by_id
        missing = sum(id not in rows for id, counts in zip(ids, has_question, strict=True) if counts)
        if missing and not method.outputs.fixed_items:
            yield f"{name}: {missing} questions have no row in it and count as failed"
        if seen := int((method.codes == SEEN).sum()):
            yield f"{name}: {seen} questions on clips that it was trained on are outside N"
        if lost := int((method.codes == LEFT_OUT).sum()):
            yield f"{name}: {lost} unparsed or failed questions left out of N as asked; by default they count as wrong"
        if method is not baseline:
            yield from _fallen_out(baseline, method)
            yield from _other_inputs(baseline.outputs, method.outputs)


def _fallen_out(baseline: Graded, method: Graded) -> Iterator[str]:
    lost = (method.codes != NOT_ASKED) | (baseline.codes != NOT_ASKED)
    lost &= ~paired(baseline.codes, method.codes)
    why = {NOT_ASKED: "not asked by", SEEN: "seen in training by", LEFT_OUT: "left out for"}
    reasons: Counter[str] = Counter()
    for before, after in zip(baseline.codes[lost].tolist(), method.codes[lost].tolist(), strict=True):
        code = next(code for code in why if code in (before, after))
        reasons[f"{why[code]} {baseline.name if before == code else method.name}"] += 1
    if reasons:
        listed = ", ".join(f"{n} {reason}" for reason, n in sorted(reasons.items()))
        names = f"{method.name}: compared with {baseline.name}"
        yield f"{names} on the questions of both; {reasons.total()} fell out: {listed}"


def _other_inputs(baseline: Outputs, method: Outputs) -> Iterator[str]:
    """Where one name stood for two recordings or two models. A warning: a study of altered clips compares such runs."""
    before = {id: reply.audio_sha256 for id, reply in baseline.by_id.items() if reply.audio_sha256}
    shared = [(id, reply.audio_sha256) for id, reply in method.by_id.items() if reply.audio_sha256 and id in before]
    other = [id for id, sha256 in shared if sha256 != before[id]]
    if other:
        what = f"{len(other)} of {len(shared)} questions were asked about another recording than by {baseline.name}"
        yield f"{method.name}: {what}, {other[0]!r} among them: the figures compare different clips"
    models, responders = ([o.facts.get(label) for o in (baseline, method)] for label in ("model", "responder"))
    if models[0] == models[1] and None not in responders and responders[0] != responders[1]:
        yield f"{method.name}: the endpoint answered as {responders[1]}, to {baseline.name} as {responders[0]}"


@dataclass(frozen=True, slots=True)
class Resampling:
    """The clip bootstrap. level: of the percentile intervals."""

    resamples: int = 2000
    seed: int = 0
    level: float = 0.95
