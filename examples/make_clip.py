"""How examples/clip.wav was made: a clip of the synthesiser that no training has seen.

    .venv/bin/python examples/make_clip.py

Needs what `lalm-agent data synth` needs (`pip install 'lalm-agent[synth]'`).
"""

from pathlib import Path

import numpy as np
import soundfile

from lalm_agent.records import AudioType
from lalm_agent.training.synth.clips import make_clip
from lalm_agent.training.synth.records import SAMPLE_RATE, Split

SEED = 28


def main() -> None:
    """Write the clip beside this file and say what it holds."""
    clip = make_clip(SEED, Split.DEV, AudioType.SOUND)
    path = Path(__file__).with_name("clip.wav")
    soundfile.write(path, np.clip(clip.samples, -1, 1), SAMPLE_RATE, subtype="PCM_16")
    print(f"{path.name}: {clip.facts.caption}, {len(clip.samples) / SAMPLE_RATE:.1f} s")


if __name__ == "__main__":
    main()
