"""Writes the project's own benchmark: synthetic clips with questions in MMAU's shape, about 20 % unanswerable.

It cannot show how a model does on recordings: every clip is synthetic. It shows known facts at a known difficulty,
and it has what MMAU lacks: questions whose only right answer is that one does not know.
"""

import json
import os
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lalm_agent.errors import UsageError
from lalm_agent.records import AudioType
from lalm_agent.training.synth.clips import make_clip
from lalm_agent.training.synth.fluid import require_synth
from lalm_agent.training.synth.levels import LEVELS
from lalm_agent.training.synth.questions import choose, make_drafts, word
from lalm_agent.training.synth.records import SAMPLE_RATE, Clip, Samples, Split, SynthQuestion
from lalm_agent.training.synth.unanswerable import FAMILIES, TRAINED_FAMILIES, pose_unanswerable

UNANSWERABLE_EVERY = 5
MASKED = {"silence": "silence", "low_snr": "noise"}
"""Family -> what is heard of its clips in place of what they were made from."""


@dataclass(frozen=True, slots=True)
class BenchmarkEntry:
    """One question of the benchmark with the clip it is asked about.

    samples: what is heard, (n,) float32 in [-1, 1] at 16 kHz; those of `clip`, or silence in their place.
    """

    id: str
    samples: Samples
    clip: Clip
    question: SynthQuestion

    @property
    def content(self) -> str:
        """What a perfect content step says of the samples: the English words where they are known, else a caption.

        Silence and noise that drowns a clip are said to be that: what lies behind them cannot be heard.
        """
        masked = MASKED.get(self.question.family or "")
        return masked or self.clip.facts.transcript or self.clip.facts.caption


def write_benchmark(
    folder: Path, split: Split, n: int, seed: int, progress: Callable[[int, int], None] | None = None
) -> None:
    """Write `folder/audio/*.wav` (16-bit mono, 16 kHz) and `folder/questions.json`.

    Sound, music and speech take turns, gold positions go round per number of choices, and every fifth question
    is unanswerable. A run that was cut short goes on where it stopped: questions.json is written last.

    Args:
        folder: empty, missing, or left by an unfinished run of the same call.
        split: train, dev or test.
        n: number of questions, at least 1.
        seed: any non-negative integer; the same arguments write the same bytes.
        progress: called with (done, n) after every question.

    Raises:
        UsageError: a requirement is missing, n is below 1, or the folder holds something else.
    """
    require_synth()
    split = Split(split)
    if n < 1:
        raise UsageError(f"cannot write a benchmark of {n} questions", hint="ask for at least 1")
    audio = folder / "audio"
    plan = json.dumps({"split": str(split), "n": n, "seed": seed})
    if not _claim(folder, plan):
        return
    audio.mkdir(exist_ok=True)
    rows = []
    for done, entry in enumerate(_entries(split, n, seed), start=1):
        path = audio / f"{entry.id}.wav"
        if not path.exists():
            _write_wav(path, entry.samples)
        rows.append(_row(entry))
        if progress is not None:
            progress(done, n)
    _write_atomically(folder / "questions.json", json.dumps(rows, indent=1, ensure_ascii=False).encode())
    (folder / ".plan.json").unlink()


def _claim(folder: Path, plan: str) -> bool:
    """Mark the folder as ours; False if this very benchmark is finished. Refuse a folder that holds something else."""
    marker, finished = folder / ".plan.json", folder / "questions.json"
    folder.mkdir(parents=True, exist_ok=True)
    if marker.exists() and marker.read_text() == plan:
        return True
    if any(folder.iterdir()):
        what = "a finished benchmark" if finished.exists() else "something else"
        raise UsageError(f"{folder} already holds {what}", hint="name a new folder, or empty this one")
    _write_atomically(marker, plan.encode())
    return True


def _entries(split: Split, n: int, seed: int) -> Iterator[BenchmarkEntry]:
    """The questions in order; each depends on its own index only, except for the place of the truth."""
    kinds = tuple(AudioType)
    families = TRAINED_FAMILIES if split is Split.TRAIN else FAMILIES
    turn: dict[int, int] = {}
    for index in range(n):
        clip_seed = seed * 10_000_000 + index
        kind = kinds[index % len(kinds)]
        group = index // len(kinds)
        level = LEVELS[group % len(LEVELS)]
        rng = np.random.default_rng([clip_seed, 23])
        identity = f"{split}-{seed}-{index:06d}"
        if group % UNANSWERABLE_EVERY == UNANSWERABLE_EVERY - 1:
            family = families[group // UNANSWERABLE_EVERY % len(families)]
            yield BenchmarkEntry(identity, *pose_unanswerable(clip_seed, split, kind, family))
            continue
        clip = make_clip(clip_seed, split, kind, level=level)
        draft = choose(make_drafts(clip, rng), clip, rng)
        assert draft is not None
        choices = min(len(draft.wrong), 3) + 1
        turn[choices] = turn.get(choices, -1) + 1
        yield BenchmarkEntry(identity, clip.samples, clip, word(draft, clip, rng, turn[choices]))


def _row(entry: BenchmarkEntry) -> dict[str, object]:
    question, clip = entry.question, entry.clip
    return {
        "id": entry.id,
        "audio_id": f"./audio/{entry.id}.wav",
        "question": question.text,
        "choices": list(question.choices),
        "answer": question.answer,
        "dataset": "lalm-agent-synth",
        "task": str(clip.facts.modality),
        "split": str(clip.split),
        "category": question.category,
        "sub-category": question.sub_category,
        "difficulty": question.level,
        "answerable": question.answerable,
        "seen": clip.seen,
        "skill": question.skill,
        "level": question.level,
        "seed": clip.seed,
        "family": question.family,
        "content": entry.content,
    }


def pcm16(samples: Samples) -> NDArray[np.int16]:
    """The 16-bit samples that are written for (n,) float32 in [-1, 1]."""
    return np.round(samples * 32767).astype("<i2")


def _write_wav(path: Path, samples: Samples) -> None:
    pcm = pcm16(samples).tobytes()
    part = path.with_suffix(".part")
    with wave.open(str(part), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(pcm)
    os.replace(part, path)


def _write_atomically(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    os.replace(part, path)
