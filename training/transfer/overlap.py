"""Whether evaluation data and a bank share clips, by the hash of the decoded samples."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from lalm_agent.audio import load
from lalm_agent.errors import DataError
from lalm_agent.eval.items import Benchmark, audio_file


@dataclass(frozen=True, slots=True)
class Overlap:
    """Clips of the evaluation data, those that are in a bank too, and one of them by name; questions about these."""

    clips: int
    shared: int
    questions: int
    example: str | None


def overlap(benchmark: Benchmark, bank_clips: Collection[str], max_s: float) -> Overlap:
    """Decode each clip once and look for it. A clip that cannot be read is none of the bank's: nobody hears it.

    bank_clips: sha256 over the decoded samples. max_s: longest clip that is accepted, in seconds.
    """
    names = dict.fromkeys(item.audio for item in benchmark.items)
    shared = [name for name in names if _hash(benchmark.audio_root or Path(), name, max_s) in bank_clips]
    found = set(shared)
    questions = sum(item.audio in found for item in benchmark.items)
    return Overlap(len(names), len(shared), questions, shared[0] if shared else None)


def _hash(root: Path, name: str, max_s: float) -> str | None:
    try:
        return load(audio_file(root, name), max_s).ref.sha256
    except DataError:
        return None
