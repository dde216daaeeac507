"""FluidSynth as a pure function, notes in and samples out, and the check that all synthesisers can run.

The soundfont is loaded once per process. Every clip gets a synthesiser of its own that borrows it: voices,
filters and effects of a used synthesiser survive `system_reset`, so a shared one would leak into the next clip.
"""

import ctypes
import importlib.util
import os
from ctypes.util import find_library
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lalm_agent.errors import UsageError
from lalm_agent.registry import install_line
from lalm_agent.training.synth.dsp import Wave
from lalm_agent.training.synth.records import SAMPLE_RATE

INSTALL_SYSTEM = "apt-get install libfluidsynth3 fluid-soundfont-gm"
SOUNDFONT_ENV = "LALM_SOUNDFONT"
SOUNDFONT_FOLDERS = (Path("/usr/share/sounds/sf2"), Path("/usr/share/soundfonts"))
EXTRA_MODULES = {"espeakng_loader": "espeakng-loader", "fluidsynth": "pyfluidsynth"}
DRUM_CHANNEL = 9
DRUM_BANK = 128
BANK_STEP = 1000
"""A program of bank 8 is written 1000 + program, one of bank 16 2000 + program."""
BLOCK = 64
LOG_LEVELS = 5


def require_synth() -> None:
    """Check that all three synthesisers can run.

    Raises:
        UsageError: a package of the extra, FluidSynth's library or a soundfont is missing.
    """
    missing = [package for module, package in EXTRA_MODULES.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise UsageError(f"synthesising audio needs {', '.join(missing)}", hint=install_line("synth"))
    if not any(find_library(name) for name in ("fluidsynth", "fluidsynth-3", "libfluidsynth-3")):
        raise UsageError("synthesising music needs the FluidSynth library", hint=f"{INSTALL_SYSTEM} (Debian, Ubuntu)")
    find_soundfont()


def find_soundfont() -> Path:
    """The General MIDI soundfont: `LALM_SOUNDFONT`, else the first .sf2 of the usual folders.

    Raises:
        UsageError: there is none, or the variable names a file that does not exist.
    """
    named = os.environ.get(SOUNDFONT_ENV)
    if named:
        if not Path(named).is_file():
            raise UsageError(f"{SOUNDFONT_ENV} names {named}, which is not a file", hint=INSTALL_SYSTEM)
        return Path(named)
    fonts = [path for folder in SOUNDFONT_FOLDERS for path in sorted(folder.glob("*.sf2")) if path.is_file()]
    if not fonts:
        hint = f"{INSTALL_SYSTEM} (Debian, Ubuntu), or set {SOUNDFONT_ENV} to an .sf2 file"
        raise UsageError("synthesising music needs a General MIDI soundfont", hint=hint)
    return fonts[0]


@dataclass(frozen=True, slots=True)
class Note:
    """One note: `start_s` and `length_s` in seconds, MIDI `channel`, `key` and `velocity`."""

    start_s: float
    length_s: float
    channel: int
    key: int
    velocity: int


@dataclass(frozen=True, slots=True)
class Room:
    """FluidSynth's reverb: size, damping and level in [0, 1]; level 0 is dry."""

    size: float = 0.2
    damping: float = 0.2
    level: float = 0.0


@cache
def _engine() -> tuple[Any, Any, Any]:
    """The module `fluidsynth`, a synthesiser that owns the loaded soundfont, and the soundfont."""
    require_synth()
    import fluidsynth

    library, pointer, integer = fluidsynth._fl, ctypes.c_void_p, ctypes.c_int
    for function, result, arguments in (
        (library.fluid_synth_write_float, integer, [pointer, integer] + [pointer, integer, integer] * 2),
        (library.fluid_synth_add_sfont, integer, [pointer, pointer]),
        (library.fluid_synth_remove_sfont, integer, [pointer, pointer]),
        (library.fluid_synth_get_sfont_by_id, pointer, [pointer, integer]),
        (library.fluid_set_log_function, pointer, [integer, pointer, pointer]),
    ):
        function.restype, function.argtypes = result, arguments
    for level in range(LOG_LEVELS):
        library.fluid_set_log_function(level, None, None)
    owner, path = _synthesiser(fluidsynth, reverb=False), find_soundfont()
    font_id = owner.sfload(str(path))
    if font_id < 0:
        raise UsageError(f"FluidSynth cannot read the soundfont {path}", hint=INSTALL_SYSTEM)
    return fluidsynth, owner, library.fluid_synth_get_sfont_by_id(owner.synth, font_id)


def _synthesiser(fluidsynth: Any, reverb: bool) -> Any:
    settings = {"synth.chorus.active": 0, "synth.reverb.active": int(reverb), "synth.polyphony": 96}
    return fluidsynth.Synth(gain=0.4, samplerate=float(SAMPLE_RATE), channels=16, **settings)


def render(notes: list[Note], programs: dict[int, int], seconds: float, room: Room) -> Wave:
    """Play notes in the soundfont: (n,) float64 mono at 16 kHz.

    notes: channel 9 is the drum kit. programs: General MIDI program (from 0) per channel, its bank as in `BANK_STEP`.

    Raises:
        UsageError: FluidSynth or the soundfont is missing.
    """
    fluidsynth, _, font = _engine()
    synth = _synthesiser(fluidsynth, reverb=room.level > 0)
    font_id = fluidsynth._fl.fluid_synth_add_sfont(synth.synth, font)
    try:
        synth.set_reverb(room.size, room.damping, 5.0, room.level)
        synth.program_select(DRUM_CHANNEL, font_id, DRUM_BANK, 0)
        for channel, program in programs.items():
            bank = DRUM_BANK if channel == DRUM_CHANNEL else program // BANK_STEP * 8
            synth.program_select(channel, font_id, bank, program % BANK_STEP)
        return _play(fluidsynth._fl.fluid_synth_write_float, synth, notes, int(seconds * SAMPLE_RATE))
    finally:
        fluidsynth._fl.fluid_synth_remove_sfont(synth.synth, font)
        synth.delete()


def _play(write: Any, synth: Any, notes: list[Note], n: int) -> Wave:
    events = [(int(note.start_s * SAMPLE_RATE), 1, note) for note in notes]
    events += [(int((note.start_s + note.length_s) * SAMPLE_RATE), 0, note) for note in notes]
    events.sort(key=lambda event: (event[0], event[1], event[2].channel, event[2].key))
    out = np.zeros((2, (n // BLOCK + 1) * BLOCK), dtype=np.float32)
    (left, right), at = (channel.ctypes.data for channel in out), 0
    for sample, on, note in [*events, (out.shape[1], 1, None)]:
        until = min(sample // BLOCK * BLOCK, out.shape[1])
        if until > at:
            write(synth.synth, until - at, left, at, 1, right, at, 1)
            at = until
        if note is not None and on:
            synth.noteon(note.channel, note.key, note.velocity)
        elif note is not None:
            synth.noteoff(note.channel, note.key)
    mono: Wave = out.mean(axis=0, dtype=np.float64)
    return mono[:n]
