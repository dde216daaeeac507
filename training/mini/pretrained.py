"""Which clips a run of `training.mini` trained on: `python -m lalm_agent.training.mini.pretrained --seed S --out FILE`.

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
import sys
from functools import partial
from pathlib import Path

import numpy as np

from lalm_agent import audio
from lalm_agent.artefacts import write_whole
from lalm_agent.models.pretrained_clips import HASH_BYTES, clips_bytes, read_pretrained_clips
from lalm_agent.training.mini import data
from lalm_agent.training.mini.recipe import RecipePlan, Say, exit_code, say


def write_pretrained(plan: RecipePlan, parts: Path, real: Path | None, out: Path, say: Say) -> int:
    """Write the list of all clips that a run of this plan trains on; the number of distinct ones.

    parts: folder of the hashes of each shard; the making of features left them in its cache. real: folder of the
    recordings, None without.

    Raises:
        DataError: the recordings, or the hashes of a shard, cannot be used.
        StorageError: a file cannot be written.
    """
    files = {name: parts / f"{name}{data.HASHES_SUFFIX}" for name in data.shard_names(plan)}
    left = [name for name, file in files.items() if not file.is_file()]
    if real is not None:
        name = f"real-{plan.seed}"
        files[name] = parts / f"{name}{data.HASHES_SUFFIX}"
        if not files[name].is_file():
            data.write_hashes(files[name], real_hashes(real, plan.seed))
            say("pretraining clips: real recordings done")
    data.in_shards("pretraining clips", partial(_write_shard_hashes, plan, parts), left, plan, say)
    hashes = np.unique(np.concatenate([read_pretrained_clips(path).hashes for path in files.values()]))
    write_whole(out, clips_bytes(int(number).to_bytes(HASH_BYTES, "big") for number in hashes))
    say(f"pretraining clips: {len(hashes)} in {out}, sha256 {hashlib.sha256(out.read_bytes()).hexdigest()[:12]}")
    return len(hashes)


def _write_shard_hashes(plan: RecipePlan, parts: Path, name: str) -> None:
    hashes = [data.clip_hash(clip.samples) for clip, _ in data.shard_clips(plan, name)]
    data.write_hashes(parts / f"{name}{data.HASHES_SUFFIX}", hashes)


def real_hashes(folder: Path, seed: int) -> list[bytes | None]:
    """Of the training recordings: as they are, and of all that was cut or made from them.

    Raises:
        DataError: the folder cannot be used.
    """
    used = [recording.file for recording in data.read_index(folder) if recording.used]
    whole: list[bytes | None] = [bytes.fromhex(audio.load(file).ref.sha256) for file in used]
    return whole + [data.clip_hash(clip.samples) for clip, _ in data.real_clips(folder, seed)]


def main(argv: list[str] | None = None) -> int:
    """The command."""
    from lalm_agent.training.synth.fluid import require_synth

    name, plan = "python -m lalm_agent.training.mini.pretrained", RecipePlan()
    parser = argparse.ArgumentParser(prog=name, description="List the clips that a run of training.mini trained on.")
    parser.add_argument("--out", type=Path, required=True, help="The file; pretrained_clips.u64 beside the weights.")
    parser.add_argument("--seed", type=int, default=plan.seed, help="Seed of the run (default: %(default)s).")
    parser.add_argument("--clips", type=int, default=plan.clips, help="Clips of the run (default: %(default)s).")
    parser.add_argument(
        "--shard-clips", type=int, default=plan.shard_clips, help="Clips of a shard (default: %(default)s)."
    )
    parser.add_argument("--real", type=Path, help="The run's folder of recordings (default: none).")
    parser.add_argument("--parts", type=Path, help="Folder that keeps what is done (default: OUT.parts).")
    parser.add_argument("--jobs", type=int, default=1, help="Processes (default: %(default)s).")
    options = parser.parse_args(argv)
    parts = options.parts or options.out.with_name(options.out.name + ".parts")
    plan = RecipePlan(seed=options.seed, clips=options.clips, shard_clips=options.shard_clips, workers=options.jobs)

    def work() -> None:
        require_synth()
        write_pretrained(plan, parts, options.real, options.out, say)

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
