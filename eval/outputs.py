"""What a method gave for the questions of a benchmark: by a run of ours, or in a file of another harness."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lalm_agent.eval.items import Item
from lalm_agent.records import AudioType


@dataclass(frozen=True, slots=True)
class Output:
    """The reply to one question.

    text: the reply as the model wrote it; None where there is none (the request failed, or the file has no such key).
    confidence: probability of the answer given, in [0, 1]; None where it is not known.
    audio_type: what the type step found; None where there was no such step or it found none.
    audio_sha256: the clip's content, to know two names of one recording; None where nobody looked.
    withheld: a policy held the answer in `text` back: an abstention, whatever the text says.
    """

    id: str
    text: str | None
    confidence: float | None = None
    audio_type: AudioType | None = None
    audio_sha256: str | None = None
    withheld: bool = False


@dataclass(frozen=True, slots=True)
class Outputs:
    """All replies of one method over its questions.

    name: what tables call it: the folder's or the file's name.
    items: every question that counts, answered or not.
    by_id: replies by the question's id; a question without one is `failed`.
    excluded: ids of questions on clips that the model or its adapter was trained on: outside N, and counted.
    method: baseline, idk, mcot, agent or lora where it is known, for the diagnosis.
    has_types: whether there was a type step at all.
    fixed_items: the questions were selected for this run on purpose (`--limit`), so that one of another run that is
        not among them is no missing reply.
    without_sound: the model was asked with silence or without the clip on purpose: replies that miss it are right.
    facts: what else a reader should know, label -> text: model, run id, data version.
    warnings: what makes the figures weaker than they look, such as an unfinished run.
    """

    name: str
    items: tuple[Item, ...]
    by_id: Mapping[str, Output]
    excluded: frozenset[str] = frozenset()
    method: str | None = None
    has_types: bool = False
    fixed_items: bool = False
    without_sound: bool = False
    facts: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
