"""Which clips a run of `training.mini` heard: `python -m lalm_agent.training.mini.pretrained --seed S --out FILE`.

The file goes beside the weights (`lalm_agent.models.pretrained_clips`). A clip is known by what the WAV of it that
`lalm-agent data synth` writes decodes to, so that the same clip in a benchmark is found; a real recording also by its
own samples. Digital silence is left out: two silent clips of one length are the same, and nothing is learned by heart
from either.

The clips are made once more from their seeds, a shard at a time, unless the features' making left their hashes; the
same command goes on after an interruption. Another processor or another version of the libraries may round
differently: make the file on the machine that the features were made on.
"""

import argparse
import hashlib
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from lalm_agent import audio
from lalm_agent.artefacts import write_whole
from lalm_agent.errors import LalmError
from lalm_agent.models.pretrained_clips import HASH_BYTES, clips_bytes, read_pretrained_clips
from lalm_agent.training.mini.recipe import SAMPLE_RATE, Plan
from lalm_agent.training.mini.sources import shard_name, shard_seeds, synthetic
from lalm_agent.training.synth.benchmark import pcm16
from lalm_agent.training.synth.records import Samples

SUFFIX = ".u64"
_FULL_SCALE = 32768.0
_REAL = "real"
_EVERY_S = 10.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose clips. parts: the folder that keeps the hashes of each shard; real: the recordings' folder, or None."""

    seed: int
    clips: int
    shard_clips: int
    parts: Path
    real: Path | None

    @property
    def shards(self) -> dict[int, Path]:
        """Number of each shard -> the file of its hashes."""
        numbers = range(max(1, round(self.clips / self.shard_clips)))
        return {number: self.parts / f"{shard_name(self.seed, number)}{SUFFIX}" for number in numbers}

    @property
    def real_part(self) -> Path:
        """The file of the recordings' hashes."""
        return self.parts / f"{_REAL}-{self.seed}{SUFFIX}"


def clip_hash(samples: Samples) -> bytes | None:
    """The hash of what a 16-bit WAV of the samples decodes to; None for digital silence.

    samples: (n,) float32 in [-1, 1] at 16 kHz. The decoder's scale is 1/32768, the writer's 32767.
    """
    pcm = pcm16(samples)
    if not pcm.any():
        return None
    decoded = (pcm.astype(np.float32) / np.float32(_FULL_SCALE))[:, None]
    return bytes.fromhex(audio.sha256(decoded, SAMPLE_RATE))


class Hashes:
    """Collects the hashes of what is heard."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._found: list[bytes] = []

    def add(self, samples: Samples) -> None:
        """Take a clip; see `clip_hash`."""
        found = clip_hash(samples)
        if found is not None:
            self._found.append(found)

    def add_sha256(self, sha256: str) -> None:
        """Take a recording by its own hash."""
        self._found.append(bytes.fromhex(sha256))

    def write(self, path: Path) -> None:
        """Write them, whole or not at all.

        Raises:
            StorageError: that failed.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, clips_bytes(self._found))


def synthetic_hashes(seeds: range) -> Hashes:
    """Of the training clips of these seeds."""
    hashes = Hashes()
    for seed in seeds:
        hashes.add(synthetic(seed)[0].samples)
    return hashes


def real_hashes(folder: Path, seed: int) -> Hashes:
    """Of the training recordings: as they are, and of all that was cut or made from them.

    Raises:
        DataError: the folder cannot be used.
    """
    from lalm_agent.training.mini.real import read_index, real_clips

    hashes = Hashes()
    for recording in read_index(folder):
        if recording.used:
            hashes.add_sha256(audio.load(recording.file).ref.sha256)
    for clip, _ in real_clips(folder, seed):
        hashes.add(clip.samples)
    return hashes


def wanted_by(plan: Plan, cache: Path, real: Path | None) -> Wanted:
    """What a run of this plan heard; its making of features left the hashes in its cache."""
    return Wanted(plan.seed, plan.clips, plan.shard_clips, cache, real)


def write_pretrained(wanted: Wanted, out: Path, jobs: int, say: Say) -> int:
    """Write the file of all clips; the number of distinct ones.

    Raises:
        DataError: the recordings, or the hashes of a shard, cannot be used.
        StorageError: a file cannot be written.
    """
    shards = wanted.shards
    todo = [shard for shard, path in shards.items() if not path.is_file()]
    if wanted.real and not wanted.real_part.is_file():
        real_hashes(wanted.real, wanted.seed).write(wanted.real_part)
        say("pretraining clips: real recordings done")
    started = told = time.monotonic()
    for done, _ in enumerate(_each(wanted, todo, jobs), start=1):
        if time.monotonic() - told < _EVERY_S and done < len(todo):
            continue
        told = time.monotonic()
        left = (len(todo) - done) * (told - started) / done
        say(f"pretraining clips: {len(shards) - len(todo) + done} of {len(shards)} shards, {left:.0f} s left")
    files = [*shards.values(), *([wanted.real_part] if wanted.real else [])]
    found = np.unique(np.concatenate([read_pretrained_clips(path).hashes for path in files]))
    write_whole(out, clips_bytes(int(one).to_bytes(HASH_BYTES, "big") for one in found))
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    say(f"pretraining clips: {len(found)} in {out}, sha256 {digest[:12]}")
    return len(found)


def _each(wanted: Wanted, todo: list[int], jobs: int) -> Iterator[None]:
    work = partial(_make, wanted)
    if jobs == 1:
        yield from map(work, todo)
    elif todo:
        with multiprocessing.get_context("spawn").Pool(jobs) as pool:
            yield from pool.imap_unordered(work, todo)


def _make(wanted: Wanted, shard: int) -> None:
    synthetic_hashes(shard_seeds(wanted.seed, shard, wanted.shard_clips)).write(wanted.shards[shard])


def main(argv: list[str] | None = None) -> int:
    """The command."""
    from lalm_agent.training.mini.progress import say
    from lalm_agent.training.synth.requirements import require_synth

    name, plan = "python -m lalm_agent.training.mini.pretrained", Plan()
    parser = argparse.ArgumentParser(prog=name, description="List the clips that a run of training.mini heard.")
    parser.add_argument("--out", type=Path, required=True, help="the file; pretrained_clips.u64 beside the weights")
    parser.add_argument("--seed", type=int, default=plan.seed, help="of the run (default: %(default)s)")
    parser.add_argument("--clips", type=int, default=plan.clips, help="of the run (default: %(default)s)")
    parser.add_argument("--shard-clips", type=int, default=plan.shard_clips, help="of the run (default: %(default)s)")
    parser.add_argument("--real", type=Path, help="the run's folder of recordings (default: none)")
    parser.add_argument("--parts", type=Path, help="keeps what is done (default: OUT.parts)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: %(default)s)")
    given = parser.parse_args(argv)
    parts = given.parts or given.out.with_name(given.out.name + ".parts")
    wanted = Wanted(given.seed, given.clips, given.shard_clips, parts, given.real)
    try:
        require_synth()
        write_pretrained(wanted, given.out, given.jobs, say)
    except LalmError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"  try: {error.hint}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
