"""What a faithfulness report holds: one record a reading, figures with their intervals."""

from lalm_agent.artefacts import Record
from lalm_agent.eval.faithfulness.records import ChainUse, Intervention
from lalm_agent.eval.metrics.estimate import Figure
from lalm_agent.eval.metrics.mcnemar import McNemarFigure


class CurvePoint(Record):
    """Trials at one level. kept: share of the chain or clip left as it was, in [0, 1]. level, position: as in `Trial`.

    n: pairs that the same-answer share is made of. pairs: all of them by kind. accuracy: unparsed and failed count as
    not right; questions without a right answer are out. variation: total variation against `original`.
    """

    kept: float | None
    level: float | None
    position: int | None
    n: int
    pairs: dict[str, int]
    same_answer: Figure
    abstained: Figure
    accuracy: Figure
    variation: Figure


class LengthCurve(Record):
    """One curve. length: sentences of its chains; None where the levels mean the same for all lengths.

    floor: share of answers that change when nothing does, over the same questions.
    """

    length: int | None
    n_chains: int
    n_clips: int
    floor: Figure
    points: tuple[CurvePoint, ...]


class Effect(Record):
    """What an intervention does to the answers of a set of questions; each figure is a mean over chains.

    n_chains, n_clips: those of `changed`. changed: the area over the curve, or the share of changed answers where there
    is one level or levels are decibels. floor: the same of asking again. above_floor: their difference, chain by chain.
    limit: `changed` of a model that changes its answer whenever anything is changed.
    normalised: see `normalised_change`. abstained: share of refusals among the trials. turned: share of answers that
    become refusals. variation: total variation of the probabilities against `original`, a mean over the levels.
    variation_above_floor: that minus the total variation of asking again.
    """

    n_chains: int
    n_clips: int
    changed: Figure
    floor: Figure
    above_floor: Figure
    limit: float | None
    normalised: Figure
    abstained: Figure
    turned: Figure
    variation: Figure
    variation_above_floor: Figure


class LengthEffect(Record):
    """An effect on the chains of one length. claim: a sentence, or why there is none. claimed: which of them."""

    length: int
    effect: Effect
    claimed: bool
    claim: str


class GroupEffect(Record):
    """An effect on one group of the items, such as hop = multi."""

    dimension: str
    group: str
    effect: Effect


class Following(Record):
    """How often answers become the choice that an intervention speaks for.

    Of the questions whose reference answer is another one. n, n_clips: with a readable trial. follows: share that takes
    it. above_floor: minus the share that takes it when nothing is changed. of_right: `follows` where the reference
    answer is right. n_already: questions whose reference answer was it already. n_unknown: trials that do not say it.
    """

    n: int
    n_clips: int
    follows: Figure
    above_floor: Figure
    of_right: Figure
    n_already: int
    n_unknown: int
    claimed: bool = False
    claim: str = ""


class ArmReading(Record):
    """One intervention of one kind, over all levels.

    area: whether `changed` is an area. statuses: all trials by status. pairs: those set against a reference, by kind.
    n_questions: that have trials. n_bridged: points that are left out of a curve, which goes straight past them.
    n_no_curve: chains without a readable end of the curve, left out of the area.
    floor_known, floor_use: whether the same was asked again, and with which chain. accuracy: as in `CurvePoint`, over
        all levels.
    """

    intervention: Intervention
    variant: str
    use: ChainUse
    name: str
    area: bool
    statuses: dict[str, int]
    pairs: dict[str, int]
    n_questions: int
    n_bridged: int
    n_no_curve: int
    floor_known: bool
    floor_use: ChainUse
    accuracy: Figure
    effect: Effect
    claimed: bool
    claim: str
    lengths: tuple[LengthEffect, ...]
    curves: tuple[LengthCurve, ...]
    groups: tuple[GroupEffect, ...]
    following: Following | None = None


class WithWithout(Record):
    """With the chain (`original`) against without. n: questions with a right answer and both replies.

    difference: accuracy with minus without. mcnemar: b is right only with the chain. n_both: of the shares of refusals.
    bentham, bentham_reason: see `_bentham`.
    """

    without: str
    n: int
    n_clips: int
    accuracy_with: Figure
    accuracy_without: Figure
    difference: Figure
    mcnemar: McNemarFigure
    n_both: int
    abstained_with: Figure
    abstained_without: Figure
    abstained_difference: Figure
    bentham: Figure
    bentham_reason: str | None


class FloorReading(Record):
    """How often the answer changes when nothing does.

    same: asked again with the same chain. own: what the model's first reply concluded, against `original`.
    same_pairs, own_pairs: by kind. reason: why there is no floor, or what weakens it; None where nothing does.
    """

    known: bool
    reason: str | None
    same: Figure
    same_pairs: dict[str, int]
    own: Figure
    own_pairs: dict[str, int]


class LengthCount(Record):
    """How many chains have so many sentences, and on how many clips."""

    length: int
    n_chains: int
    n_clips: int


class ReleasedFile(Record):
    """One file of released outputs, its replies read by our parser beside what was released.

    rows: replies. statuses: as we read them. different: of another state or choice than released. scored_refusals: read
    as abstained, released with a letter; scored_right: of these, with the right one. scored_unparsed: the same of what
    cannot be read. no_choice: released with a letter that is no choice. unscored: read as an answer, released as none.
    """

    file: str
    name: str
    rows: int
    statuses: dict[str, int]
    different: int
    scored_refusals: int
    scored_right: int
    scored_unparsed: int
    no_choice: int
    unscored: int


class ReleasedReading(Record):
    """What was read from others' files. floor: why there is no floor; None where there is one. notes: what is odd."""

    files: tuple[ReleasedFile, ...]
    floor: str | None
    notes: tuple[str, ...] = ()


class FaithfulnessReport(Record):
    """Everything about one study. lengths: of the chains whose answer is known; n_items: questions in the data.

    level: of the intervals. minimum: clips that a sentence about a chain length needs. released: of imported files.
    """

    name: str
    facts: dict[str, str]
    n_items: int
    n_questions: int
    n_clips: int
    lengths: tuple[LengthCount, ...]
    floor: FloorReading
    arms: tuple[ArmReading, ...]
    with_without: WithWithout | None
    minimum: int
    resamples: int
    seed: int
    level: float = 0.95
    released: ReleasedReading | None = None
