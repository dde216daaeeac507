"""The report of a transfer study, as records that are their own JSON schema (`study.json`).

Fractions, not percent. Undefined is null, never 0 and never NaN; an infinity is null with its kind beside it. Every
mean is over seeds, every interval a bootstrap over clips and seeds (`cells`), but for those of `Contrast`.
"""

from pydantic import Field

from lalm_agent.artefacts import Record
from lalm_agent.eval.metrics.estimate import Figure
from lalm_agent.training.transfer.design import StudySpec

SCHEMA = 1


class Mean(Record):
    """The mean of a fraction, or of a difference, over the seeds that have one; by_seed: in the order of the seeds.

    undefined_share: share of the resamples without a value, which were dropped.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    undefined_share: float | None = None
    by_seed: tuple[float | None, ...] = ()


class RgiMean(Record):
    """The mean of an RGI over the seeds that have one, with kinds as of `Figure`; kinds: of each seed.

    Infinite where one of them is, undefined where none has one or where both infinities occur. pooled: the RGI of the
    seeds' counts added up, which a seed without refusals does not make undefined.
    """

    d_con: Mean
    d_hum: Mean
    value: float | None
    kind: str
    low: float | None
    low_kind: str
    high: float | None
    high_kind: str
    undefined_share: float | None
    by_seed: tuple[float | None, ...]
    kinds: tuple[str, ...]
    pooled: float | None
    pooled_kind: str

    @property
    def figure(self) -> Figure:
        """The mean with its interval."""
        return Figure.model_validate(self.model_dump(include=set(Figure.model_fields)))


class MatchedMean(Record):
    """The baseline with as many of its least confident answers refused as each adapter refuses (`metrics.matched`).

    n_seeds: seeds for which that could be done; reason: why not for the others. acc_answered: of the baseline then.
    difference: the adapter's minus that. beaten: whether the whole interval of the difference is above 0.
    """

    n_seeds: int
    reason: str | None
    acc_answered: Mean | None = None
    difference: Mean | None = None
    beaten: bool | None = None


class CellFigures(Record):
    """The adapters of one source and arm on one group of questions.

    coverage: 1 - rej. acc_answered: Nc / (N - Nr). rgi: by convention. n_refused: by seed. refused_clips: by seed, with
    a refusal of what the baseline answered. n_baseline_unparsed: its unparsed replies; rgi_without_unparsed: strict RGI
    over the other questions, null where they are at most 10 %. null_p: by seed, how often random refusal spares right
    answers as well, of clips as a whole where they have several questions; null_p_combined: of all seeds, twice the
    mean of these (a valid p whatever their dependence: Vovk and Wang 2020), a seed without refusals counting as 1.
    refused_unanswerable: share refused of the questions without a right answer, which are in no other figure.
    """

    acc: Mean
    tru: Mean
    rej: Mean
    rel: Mean
    rel_minus_null: Mean
    coverage: Mean
    acc_answered: Mean
    rgi: dict[str, RgiMean]
    rgi_without_unparsed: RgiMean | None = None
    n_refused: tuple[int, ...]
    refused_clips: tuple[int, ...] = ()
    n_baseline_unparsed: int = 0
    n_unparsed: tuple[int, ...]
    n_failed: tuple[int, ...]
    null_p: tuple[float | None, ...]
    null_p_combined: float | None
    matched: MatchedMean | None
    n_unanswerable: int
    refused_unanswerable: Mean | None


class Cell(Record):
    """One source, arm and target: a modality, or a group of another benchmark. blank: why there are no figures.

    n, n_clips: answerable questions that count, and their clips. excluded: questions on clips of the source's sets.
    runs: folders relative to the study, in the order of the seeds.
    """

    source: str
    arm: str
    target: str
    n: int
    n_clips: int
    excluded: int
    seeds: tuple[int, ...]
    runs: tuple[str, ...]
    blank: str | None
    figures: CellFigures | None


class BaselineFigures(Record):
    """The model without an adapter on one group of answerable questions."""

    target: str
    n: int
    n_clips: int
    acc: Mean
    tru: Mean
    rej: Mean
    n_unparsed: int = 0
    n_failed: int = 0


class Contrast(Record):
    """The rule's adapters minus those of a control, by `shrunk_rgi`, with the interval of its t-test.

    p: one-sided; null where it is not tested. se: standard error. dof: degrees of freedom, null where infinite.
    """

    control: str
    seeds: tuple[int, ...]
    rule_rgi: float | None
    control_rgi: float | None
    difference: Mean
    p: float | None
    se: float | None = None
    dof: float | None = None


class TransferClaim(Record):
    """Whether a source's adapters refuse selectively in a target modality because of their labels; see `claims`.

    p: the larger of the two contrasts'; p_holm: over six cells. least_difference: the true difference from the controls
    that 80 % of studies with these standard errors would show; null where nothing is tested.
    """

    source: str
    target: str
    claimed: bool
    text: str
    p: float | None
    p_holm: float | None
    contrasts: tuple[Contrast, ...]
    null_p_combined: float | None
    beats_matched_coverage: bool | None
    least_difference: float | None = None


class ContentRow(Record):
    """A row of tables 10 and 11: adapters of other modalities tested on one (P1, arXiv 2505.19294).

    sources: one, or all others for the mean of their cells, which is the paper's "LoRA Fine-tuning" row. rgi: by
        convention.
    """

    target: str
    arm: str
    sources: tuple[str, ...]
    n: int
    acc: Mean
    tru: Mean
    rel: Mean
    rgi: dict[str, RgiMean]


class SetRow(Record):
    """Table 12: each seed's set of one arm, and how much its adapters refuse: rej by target, null where blank."""

    source: str
    arm: str
    n_rows: tuple[int, ...]
    n_idk: tuple[int, ...]
    idk_share: tuple[float, ...]
    sets: tuple[str, ...]
    rej: dict[str, Mean | None]


class AlsoBenchmark(Record):
    """Another benchmark, none of whose clips is in the bank: cells by its groups."""

    name: str
    n: int
    n_clips: int
    run: str
    baseline: tuple[BaselineFigures, ...]
    cells: tuple[Cell, ...]
    warnings: tuple[str, ...] = ()


class ForgettingRow(Record):
    """One of `effects.FIGURES`, before and after, paired over the n questions or clips that both were asked."""

    source: str
    arm: str
    figure: str
    modality: str
    n: int
    n_clips: int
    seeds: tuple[int, ...]
    before: float | None
    after: Mean
    difference: Mean


class StudyReport(Record):
    """Everything that is printed of a study. study: `spec.json`. level: of all intervals. scorer: of the replies."""

    schema_version: int = Field(default=SCHEMA, alias="schema")
    study: StudySpec
    resamples: int
    seed: int
    level: float
    scorer: str
    baseline_run: str
    baseline: tuple[BaselineFigures, ...]
    cells: tuple[Cell, ...]
    claims: tuple[TransferClaim, ...]
    content: tuple[ContentRow, ...]
    sets: tuple[SetRow, ...]
    also: tuple[AlsoBenchmark, ...] = ()
    forgetting: tuple[ForgettingRow, ...] = ()
    warnings: tuple[str, ...] = ()
