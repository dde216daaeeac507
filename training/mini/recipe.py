"""The numbers of the recipe: the shape of the model and the plan of the training. And what its commands share."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lalm_agent.errors import LalmError
from lalm_agent.training.synth.records import SAMPLE_RATE

Say = Callable[[str], None]
"""Where progress lines go."""
MIN_SECONDS = 0.5
"""Shorter clips are padded: one audio token alone trips the model class's legacy path."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the stock Qwen2-Audio model that is trained."""

    mel_bins: int = 128
    hop: int = 320
    n_fft: int = 800
    window_s: int = 10
    audio_width: int = 192
    audio_layers: int = 4
    audio_heads: int = 4
    text_width: int = 256
    text_layers: int = 4
    text_heads: int = 4
    text_kv_heads: int = 2
    text_inner: int = 704
    vocabulary: int = 2000
    max_tokens: int = 1536

    @property
    def window_frames(self) -> int:
        """Mel frames in the window."""
        return self.window_s * SAMPLE_RATE // self.hop

    @property
    def audio_positions(self) -> int:
        """Positions of the audio encoder, which halves the frame rate once before its layers."""
        return self.window_frames // 2


@dataclass(frozen=True, slots=True)
class RecipePlan:
    """How long and on what a model is trained.

    minutes: of a processor, for each trainer, warm start and joint training together; steps counts steps instead,
    which makes a run repeatable to the bit on one machine. warm: share that trains only the encoder and its heads;
    auxiliary: weight of the heads' losses after it, from where it falls to 0. text_tokens: of the questions and replies
    behind each clip. Learning rates: learning_rate is AdamW's, embedding_rate that of the embedding; tower_rate,
    joint_tower_rate and language_rate are Muon's for the encoder in and after the warm start, and the language model.
    """

    minutes: float = 80.0
    steps: int | None = None
    warm: float = 0.3
    clips: int = 60_000
    shard_clips: int = 250
    seed: int = 0
    workers: int = 2
    trainers: int = 2
    batch: int = 32
    learning_rate: float = 1.3e-3
    embedding_rate: float = 3e-3
    tower_rate: float = 0.025
    joint_tower_rate: float = 0.015
    language_rate: float = 0.008
    floor: float = 0.02
    constant: float = 0.3
    rise_steps: int = 150
    weight_decay: float = 0.02
    auxiliary: float = 0.3
    text_tokens: int = 180
    checkpoint_s: float = 120.0
    report_s: float = 15.0
    shape: Shape = field(default_factory=Shape)


@dataclass(frozen=True, slots=True)
class RunFolders:
    """Where a run keeps its things. `cache` may be shared by runs: it depends on the seed alone."""

    out: Path
    cache: Path
    real: Path | None = None

    @property
    def checkpoint(self) -> Path:
        """The latest state of the training."""
        return self.out / "checkpoint.pt"

    @property
    def tokenizer(self) -> Path:
        """The trained tokenizer, before it is joined with the feature extractor."""
        return self.out / "tokenizer"

    @property
    def model(self) -> Path:
        """The exported model, ready for `from_pretrained`."""
        return self.out / "model"


def audio_tokens(frames: int) -> int:
    """Tokens that `frames` valid mel frames become in the language model."""
    return ((frames - 1) // 2 + 1 - 2) // 2 + 1


def say(line: str) -> None:
    """Print one progress line with the time, at once."""
    print(time.strftime("%H:%M:%S"), line, flush=True)


def exit_code(work: Callable[[], object]) -> int:
    """Do the work of a command: 0, or the code of its error, which is printed as one line with a hint."""
    try:
        work()
    except LalmError as error:
        print(f"error: {error.message}", *([f"  try: {error.hint}"] if error.hint else []), sep="\n", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130
    return 0
