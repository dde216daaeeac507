"""A clip of noise as a task."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from lalm_agent.audio import Sound, load


@pytest.fixture
def sound(tmp_path: Path) -> Sound:
    path = tmp_path / "clip.wav"
    soundfile.write(path, np.random.default_rng(0).standard_normal(16_000) * 0.05, 16_000)
    return load(path)
