"""What a skill is: a place among MMAU's categories and the wordings of its questions.

Wordings are patterns of `wording.py`; `<x>` is a blank filled by the question. `train` wordings ask about seen
clips, `held` wordings about unseen ones; no sentence belongs to both (a test expands them all).
"""

from dataclasses import dataclass

from lalm_agent.records import AudioType

REASONING, EXTRACTION = "Reasoning", "Information Extraction"


@dataclass(frozen=True, slots=True)
class Skill:
    """One kind of question; `modality` is None where it fits every clip."""

    name: str
    modality: AudioType | None
    category: str
    sub_category: str
    train: tuple[str, ...]
    held: tuple[str, ...]


HERE = "{|in the recording|in this clip|in the audio|here}"


def table(
    modality: AudioType | None, *rows: tuple[str, str, str, tuple[str, ...], tuple[str, ...]]
) -> tuple[Skill, ...]:
    """Skills of one modality from rows of (name, category, sub-category, train wordings, held-out wordings)."""
    return tuple(Skill(name, modality, cat, sub, train, held) for name, cat, sub, train, held in rows)
