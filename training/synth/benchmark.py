"""Writes the project's own benchmark: synthetic clips with questions in MMAU's shape, about 20 % unanswerable.

It cannot show how a model does on recordings: every clip is synthetic. It shows known facts at a known difficulty,
and it has what MMAU lacks: questions whose only right answer is that one does not know.
"""

import json
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lalm_agent.artefacts import write_whole
from lalm_agent.errors import UsageError
from lalm_agent.records import AudioType
from lalm_agent.training.synth.clips import make_clip
from lalm_agent.training.synth.fluid import require_synth
from lalm_agent.training.synth.levels import LEVELS
from lalm_agent.training.synth.questions import choose, make_drafts, word
from lalm_agent.training.synth.records import SAMPLE_RATE, Samples, Split
from lalm_agent.training.synth.unanswerable import FAMILIES, TRAINED_FAMILIES, Posed, pose_unanswerable

UNANSWERABLE_EVERY = 5
MASKED = {"silence": "silence", "low_snr": "noise"}
"""Family -> the content of its clips: what lies behind silence or loud noise cannot be heard."""


def write_benchmark(
    folder: Path, split: Split, n: int, seed: int, progress: Callable[[int, int], None] | None = None
) -> None:
    """Write `folder/audio/*.wav` (16-bit mono, 16 kHz) and `folder/questions.json`.

    Sound, music and speech take turns, gold positions go round per number of choices, and every fifth question is
    unanswerable. The same arguments write the same bytes. An interrupted call can be repeated: it goes on.

    Args:
        folder: empty, missing, or left by an interrupted call with the same arguments.
        split: train, dev or test.
        n: number of questions, at least 1.
        seed: any non-negative integer.
        progress: called with (done, n) after every question.

    Raises:
        UsageError: a requirement is missing, n is below 1, or the folder holds something else.
        StorageError: a file cannot be written.
    """
    require_synth()
    split = Split(split)
    if n < 1:
        raise UsageError(f"cannot write a benchmark of {n} questions", hint="ask for at least 1")
    questions, plan_file = folder / "questions.json", folder / ".plan.json"
    plan = json.dumps({"split": str(split), "n": n, "seed": seed})
    folder.mkdir(parents=True, exist_ok=True)
    if not (plan_file.exists() and plan_file.read_text() == plan):
        if any(folder.iterdir()):
            what = "a finished benchmark" if questions.exists() else "something else"
            raise UsageError(f"{folder} already holds {what}", hint="name a new folder, or empty this one")
        write_whole(plan_file, plan.encode())
    (folder / "audio").mkdir(exist_ok=True)
    rows = []
    for done, (identity, posed) in enumerate(_posed(split, n, seed), start=1):
        row = _row(identity, posed)
        if not (wav := folder / str(row["audio_id"])).exists():
            write_whole(wav, _wav(posed[0]))
        rows.append(row)
        if progress is not None:
            progress(done, n)
    write_whole(questions, json.dumps(rows, indent=1, ensure_ascii=False).encode())
    plan_file.unlink()


def _posed(split: Split, n: int, seed: int) -> Iterator[tuple[str, Posed]]:
    """(id, posed question) in order; each depends on its own index only, except for the place of the gold answer."""
    kinds = tuple(AudioType)
    families = TRAINED_FAMILIES if split is Split.TRAIN else FAMILIES
    turn: dict[int, int] = {}
    for index in range(n):
        clip_seed = seed * 10_000_000 + index
        kind, group = kinds[index % len(kinds)], index // len(kinds)
        rng = np.random.default_rng([clip_seed, 23])
        identity = f"{split}-{seed}-{index:06d}"
        if group % UNANSWERABLE_EVERY == UNANSWERABLE_EVERY - 1:
            family = families[group // UNANSWERABLE_EVERY % len(families)]
            yield identity, pose_unanswerable(clip_seed, split, kind, family)
            continue
        clip = make_clip(clip_seed, split, kind, level=LEVELS[group % len(LEVELS)])
        draft = choose(make_drafts(clip, rng), clip, rng)
        assert draft is not None
        choices = min(len(draft.wrong), 3) + 1
        turn[choices] = turn.get(choices, -1) + 1
        yield identity, (clip.samples, clip, word(draft, clip, rng, turn[choices]))


def _row(identity: str, posed: Posed) -> dict[str, object]:
    _, clip, question = posed
    return {
        "id": identity,
        "audio_id": f"./audio/{identity}.wav",
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
        "content": MASKED.get(question.family or "") or clip.facts.transcript or clip.facts.caption,
    }


def pcm16(samples: Samples) -> NDArray[np.int16]:
    """The 16-bit samples that are written for (n,) float32 in [-1, 1]."""
    return np.round(samples * 32767).astype("<i2")


def _wav(samples: Samples) -> bytes:
    import soundfile

    out = BytesIO()
    soundfile.write(out, pcm16(samples), SAMPLE_RATE, subtype="PCM_16", format="WAV")
    return out.getvalue()
