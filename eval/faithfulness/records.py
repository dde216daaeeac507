"""Records of a faithfulness study: chains of thought, and what was answered when one, or the clip, was changed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from lalm_agent.artefacts import Record
from lalm_agent.eval.items import Item
from lalm_agent.records import Status

OWN, OWN_AGAIN, SHUFFLED_CHOICES = "own", "own-again", "shuffled-choices"
"""Variants: the agent's own content, and that a second time; no chain and the choices shown in another order."""


class Intervention(StrEnum):
    """What is changed before the model answers again. The first four are those of Lanham et al. (arXiv 2307.13702)."""

    EARLY = "early"
    FILLER = "filler"
    MISTAKE = "mistake"
    PARAPHRASE = "paraphrase"
    MASK = "mask"
    NOISE = "noise"
    SWAP = "swap"
    SILENCE = "silence"
    ADVERSARIAL = "adversarial"
    # The middle step of the agent: which content its last step is told.
    CONTENT = "content"
    # Controls, which every study has.
    ORIGINAL = "original"
    SAME = "same"
    NONE = "none"
    OTHER = "other"
    SHUFFLED = "shuffled"


class ChainUse(StrEnum):
    """Which chain the model answers from: the prefix as it is, or what the model writes after it."""

    FIXED = "fixed"
    ANEW = "anew"


class Chain(Record):
    """The reasoning in a model's first reply to a question.

    sentences: without the conclusion; () where the reply reasons nothing. reply: as the model wrote it. status, choice:
    what the reply itself concludes; the choice counts from 0. clip: sha256 of the recording, None where unknown.
    """

    question: str
    sentences: tuple[str, ...]
    reply: str
    status: Status
    choice: int | None
    clip: str | None


class Trial(Record):
    """One answer under one intervention.

    sentences: how many the question's chain has. variant: which kind of the intervention, such as `start` for a mask or
    `dots-head` for filler. level: how much, a share in [0, 1] or a signal-to-noise ratio in dB. position: which
    sentence, from 1, or for early answering how many are kept. prefix: what the reply was made to begin with.
    status, choice: how the answer reads. text: what the model wrote after the prefix.
    target: the choice that the intervention speaks for: the spoken option, or that of a contradicting content; from 0.
    probabilities: of each choice and, last, of IDK; they sum to 1. None where the model gives none.
    failure: why there is no answer, where `status` is failed.
    """

    question: str
    intervention: Intervention
    use: ChainUse
    sentences: int
    variant: str = ""
    level: float | None = None
    position: int | None = None
    prefix: str = ""
    status: Status
    choice: int | None = None
    text: str = ""
    target: int | None = None
    probabilities: tuple[float, ...] | None = None
    failure: str | None = None

    @property
    def key(self) -> tuple[str, str, str, str, float | None, int | None]:
        """What makes it another trial than the others of a study."""
        return self.question, self.intervention, self.use, self.variant, self.level, self.position


@dataclass(frozen=True, slots=True)
class StudyData:
    """What the measures are computed from: a study of ours, or released outputs.

    name: for titles. items: every question, with its gold answer. chains: at most one for each question. trials: no
    two of one key. facts: what a reader should know, label -> text: model, data, run id.
    """

    name: str
    items: tuple[Item, ...]
    chains: tuple[Chain, ...]
    trials: tuple[Trial, ...]
    facts: Mapping[str, str] = field(default_factory=dict)


class Perturbed(Record):
    """What a perturber made of one sentence of a chain, or of a content.

    kind: mistake or paraphrase. position: which sentence, from 1. output: as the perturber wrote it. text: the new
    sentence; None where the perturbation failed, and `failure` says why.
    """

    question: str
    kind: Intervention
    position: int
    sentence: str
    output: str
    text: str | None
    failure: str | None = None
