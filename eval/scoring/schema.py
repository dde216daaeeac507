"""The report of `lalm-agent score --json`, as records that are their own JSON schema.

Fractions, not percent. Undefined is null, never 0 and never NaN; an infinity is null with its kind beside it.
"""

from collections.abc import Sequence

from pydantic import Field

from lalm_agent.artefacts import Record
from lalm_agent.eval.metrics.estimate import Figure, Kind
from lalm_agent.eval.metrics.mcnemar import McNemarFigure, holm


class RgiFigure(Figure):
    """The Reliability Gain Index in one convention (P1 section 4; `metrics.rgi`).

    flip_only: the RGI if only flips counted. null: the RGI with the refusals where chance puts them on average. null_p:
    how often chance spares right answers as well, by permutation of clips where clips have several questions.
    smoothed: with half a count added. d_con_ends, d_hum_ends: intervals; None in reports of older versions.
    """

    d_con: float | None
    d_hum: float | None
    d_con_ends: tuple[float | None, float | None] | None = None
    d_hum_ends: tuple[float | None, float | None] | None = None
    flip_only: float | None = None
    null_p: float | None = None
    flip_only_kind: Kind = Kind.UNDEFINED
    null: float | None = None
    null_kind: Kind = Kind.UNDEFINED
    smoothed: float | None = None


class MethodPair(McNemarFigure):
    """The test between two methods on all n questions of both."""

    first: str
    second: str
    n: int


def with_holm(tests: Sequence[MethodPair]) -> list[MethodPair]:
    """The tests with Holm's adjustment over all of them."""
    adjusted = holm([test.p for test in tests])
    return [test.model_copy(update={"p_holm": p}) for test, p in zip(tests, adjusted, strict=True)]


class Published(Record):
    """Accuracy by the published string match, of which refusals are wrong answers like any other."""

    scorer: str
    acc: float | None


class HonestyFigures(Record):
    """Prudence, over-conservativeness and honesty (arXiv 2312.07000); quadrants (arXiv 2401.13275) as counts."""

    prudence: float | None
    over_conservativeness: float | None
    honesty: float | None
    truthful: float | None
    quadrants: dict[str, int]


class RefusingFigures(Record):
    """How well unanswerable questions were refused. n_answerable and n_unanswerable are its denominators."""

    precision: Figure
    recall: Figure
    f1: Figure
    false_refusal_rate: Figure
    n_unanswerable: int
    n_answerable: int
    counts_unanswerable: dict[str, int]


class MatchedFigures(Record):
    """As many refusals as the method has, of the baseline's least confident answers (`metrics.matched`).

    reason: why there are no figures. confidence_known: share of the baseline's answers with a confidence.
    rel_difference, rgi_difference: the method minus this control, Rel and strict RGI. beaten: whether the whole
    interval of rgi_difference is above 0; null where it is undefined. acc_answered, own_acc_answered: the share right
    of what the control and the method answer, n of them each; of equal confidences at the threshold, the mean over all
    choices. acc_answered_difference: own_acc_answered - acc_answered. verdict: `better` or `worse` where its interval
    excludes 0, else `no claim`, as also where fewer than ten clips are answered or end differently (`few clips`).
    """

    n_rejected: int
    n_unparsed: int
    n_unknown: int
    n_tied: int
    confidence_known: float | None
    reason: str | None = None
    acc: Figure | None = None
    tru: Figure | None = None
    rej: Figure | None = None
    rel: Figure | None = None
    rgi: dict[str, RgiFigure] | None = None
    acc_answered: Figure | None = None
    own_acc_answered: Figure | None = None
    acc_answered_difference: Figure | None = None
    verdict: str | None = None
    rel_difference: Figure | None = None
    rgi_difference: Figure | None = None
    beaten: bool | None = None


class SelectiveFigures(Record):
    """Answers ranked by the method's own confidence. curve: (coverage, risk), at most 101 points."""

    n: int
    n_unknown: int
    aurc: float | None
    excess_aurc: float | None
    auroc: float | None
    ece: float | None
    curve: list[tuple[float, float]] = Field(default_factory=list)


class Group(Record):
    """The figures of one method on one group of questions.

    n: answerable questions of the method outside `excluded`; the five counts sum to it. abstained_kinds: those of
    `counts.abstained` by `records.AbstentionKind`; null where counts are all that is known. excluded: questions on
    trained-on clips. left_out: what `--exclude` took out of N. n_paired: questions that the baseline has as well, from
    which transitions, RGI, Rel minus its null, McNemar, honesty and matched coverage are made. rgi_without_unparsed:
    strict RGI over those whose reply of the baseline can be read; null where at most 10 % cannot. refused_clips: clips
    with a refusal of an answer that the baseline had `right`, `wrong` or `any`; questions where clips are not known.
    """

    n: int
    counts: dict[str, int]
    abstained_kinds: dict[str, int] | None = None
    excluded: int
    acc: Figure
    tru: Figure
    rej: Figure
    rel: Figure
    rel_minus_null: Figure
    rgi: dict[str, RgiFigure]
    transitions: dict[str, dict[str, int]]
    n_paired: int
    n_clips: int | None
    rgi_without_unparsed: Figure | None = None
    refused_clips: dict[str, int] = Field(default_factory=dict)
    left_out: dict[str, int] = Field(default_factory=dict)
    mcnemar: McNemarFigure | None = None
    published: Published | None = None
    honesty: HonestyFigures | None = None
    refusing: RefusingFigures | None = None
    matched: MatchedFigures | None = None
    selective: SelectiveFigures | None = None


class Claim(Record):
    """What may be said about a method's refusing. holds: see `diagnosis.claim_of`."""

    holds: bool
    text: str
    beats_matched_coverage: bool | None


class TypeFigures(Record):
    """The agent's type step: rows[modality of the data][type found], one count a question (`diagnosis.type_figures`).

    n, correct: questions of one modality, and those whose type was found. accuracy: null where n is 0.
    """

    n: int
    correct: int
    accuracy: float | None
    rows: dict[str, dict[str, int]]


class MethodScore(Record):
    """One method. labels: what a reader must know before any figure, such as "no refusals: not evidence"."""

    name: str
    groups: dict[str, Group]
    method: str | None = None
    labels: list[str] = Field(default_factory=list)
    claim: Claim | None = None
    diagnosis: list[str] = Field(default_factory=list)
    type_confusion: TypeFigures | None = None
    facts: dict[str, str] = Field(default_factory=dict)


class Guess(Record):
    """What one scores without listening: the paper's reference rows, on the questions at hand."""

    chance: float | None
    always_first: float | None
    most_frequent: float | None


class MeanRow(Record):
    """The paper's "LoRA Fine-tuning" row (`metrics.rgi.lora_row`): means over (source, test) cells, by modality."""

    name: str
    convention: str
    groups: dict[str, dict[str, float | None]]


class Report(Record):
    """Everything that `score` found.

    rgi: the convention that tables show. n: answerable questions. n_clips: the clips that these are about; null where a
    file of counts does not say. level: of the intervals.
    """

    methods: list[MethodScore]
    baseline: str
    benchmark: str | None
    scorer: str
    rgi: str
    n: int
    n_clips: int | None
    resamples: int
    seed: int
    level: float
    guessing: dict[str, Guess] = Field(default_factory=dict)
    mcnemar: list[MethodPair] = Field(default_factory=list)
    mean_rows: list[MeanRow] = Field(default_factory=list)
    warnings: list[str] = Field(default_factory=list)
