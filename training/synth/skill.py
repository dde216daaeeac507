"""What a skill is: a place among MMAU's categories and the wordings of its questions.

Wordings are patterns of `wording.py`; `<x>` is a blank filled by the question. Each pool has its own; no sentence
belongs to two of them (a test expands them all).
"""

from dataclasses import dataclass

from lalm_agent.records import AudioType
from lalm_agent.training.synth.pools import Pool

REASONING, EXTRACTION = "Reasoning", "Information Extraction"


@dataclass(frozen=True, slots=True)
class Skill:
    """One kind of question; `modality` is None where it fits every clip."""

    name: str
    modality: AudioType | None
    category: str
    sub_category: str
    wordings: dict[Pool, tuple[str, ...]]


HERE = "{|in the recording|in this clip|in the audio|here}"


def table(
    modality: AudioType | None, *rows: tuple[str, str, str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]
) -> tuple[Skill, ...]:
    """Skills of one modality from rows of (name, category, sub-category, wordings of train, of dev, of test)."""
    return tuple(
        Skill(name, modality, category, sub, {Pool.TRAIN: train, Pool.DEV: dev, Pool.TEST: test})
        for name, category, sub, train, dev, test in rows
    )
