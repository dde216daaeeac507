"""How speech.wav and music.wav were made: clips of the synthesiser that no training has used.

An earlier version of the synthesiser made clip.wav (a dog that barks six times) in the same way.

    python examples/make_clips.py

Needs what `lalm-agent data synth` needs (`pip install -e '.[synth]'`).
"""

from pathlib import Path

import numpy as np
import soundfile

from lalm_agent.records import AudioType
from lalm_agent.training.synth.clips import make_clip
from lalm_agent.training.synth.records import SAMPLE_RATE, Split

SEED = 28
NAMES = {"speech": AudioType.SPEECH, "music": AudioType.MUSIC}


def main() -> None:
    """Write the clips beside this file and say what they hold."""
    for name, modality in NAMES.items():
        clip = make_clip(SEED, Split.DEV, modality)
        path = Path(__file__).with_name(f"{name}.wav")
        soundfile.write(path, np.clip(clip.samples, -1, 1), SAMPLE_RATE, subtype="PCM_16")
        print(f"{path.name}: {clip.facts.caption}, {len(clip.samples) / SAMPLE_RATE:.1f} s")


if __name__ == "__main__":
    main()
