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
from lalm_agent.training.synth.dsp import Wave
from lalm_agent.training.synth.records import SAMPLE_RATE

INSTALL_EXTRA = "pip install 'lalm-agent[synth]'"
INSTALL_SYSTEM = "apt-get install libfluidsynth3 fluid-soundfont-gm"
SOUNDFONT_ENV = "LALM_SOUNDFONT"
SOUNDFONT_FOLDERS = (Path("/usr/share/sounds/sf2"), Path("/usr/share/soundfonts"))
EXTRA_MODULES = {"espeakng_loader": "espeakng-loader", "fluidsynth": "pyfluidsynth", "scipy": "scipy"}
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
        raise UsageError(f"synthesising audio needs {', '.join(missing)}", hint=INSTALL_EXTRA)
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


class _Engine:
    """The library's functions and the loaded soundfont."""

    def __init__(self) -> None:
        require_synth()
        import fluidsynth

        self._library: Any = fluidsynth
        pointer, integer = ctypes.c_void_p, ctypes.c_int
        self._write = self._bind("write_float", integer, [pointer, integer] + [pointer, integer, integer] * 2)
        self._add = self._bind("add_sfont", integer, [pointer, pointer])
        self._remove = self._bind("remove_sfont", integer, [pointer, pointer])
        get_font = self._bind("get_sfont_by_id", pointer, [pointer, integer])
        silence = fluidsynth._fl.fluid_set_log_function
        silence.argtypes, silence.restype = [integer, pointer, pointer], pointer
        for level in range(LOG_LEVELS):
            silence(level, None, None)
        self._owner = self._new(reverb=False)
        path = find_soundfont()
        font_id = self._owner.sfload(str(path))
        if font_id < 0:
            raise UsageError(f"FluidSynth cannot read the soundfont {path}", hint=INSTALL_SYSTEM)
        self._font = get_font(self._owner.synth, font_id)

    def _bind(self, name: str, result: Any, arguments: list[Any]) -> Any:
        function = getattr(self._library._fl, f"fluid_synth_{name}")
        function.restype, function.argtypes = result, arguments
        return function

    def _new(self, reverb: bool) -> Any:
        settings = {"synth.chorus.active": 0, "synth.reverb.active": int(reverb), "synth.polyphony": 96}
        return self._library.Synth(gain=0.4, samplerate=float(SAMPLE_RATE), channels=16, **settings)

    def render(self, notes: list[Note], programs: dict[int, int], n: int, room: Room) -> Wave:
        """Play the notes on channels set to `programs` and return `n` samples of mono."""
        synth = self._new(reverb=room.level > 0)
        font_id = self._add(synth.synth, self._font)
        try:
            synth.set_reverb(room.size, room.damping, 5.0, room.level)
            synth.program_select(DRUM_CHANNEL, font_id, DRUM_BANK, 0)
            for channel, program in programs.items():
                bank = DRUM_BANK if channel == DRUM_CHANNEL else program // BANK_STEP * 8
                synth.program_select(channel, font_id, bank, program % BANK_STEP)
            return self._play(synth, notes, n)
        finally:
            self._remove(synth.synth, self._font)
            synth.delete()

    def _play(self, synth: Any, notes: list[Note], n: int) -> Wave:
        events = [(int(note.start_s * SAMPLE_RATE), 1, note) for note in notes]
        events += [(int((note.start_s + note.length_s) * SAMPLE_RATE), 0, note) for note in notes]
        events.sort(key=lambda event: (event[0], event[1], event[2].channel, event[2].key))
        out = np.zeros((2, (n // BLOCK + 1) * BLOCK), dtype=np.float32)
        at = 0
        for sample, on, note in events:
            until = min(sample // BLOCK * BLOCK, out.shape[1])
            at = self._advance(synth, out, at, until)
            if on:
                synth.noteon(note.channel, note.key, note.velocity)
            else:
                synth.noteoff(note.channel, note.key)
        self._advance(synth, out, at, out.shape[1])
        mono: Wave = out.mean(axis=0, dtype=np.float64)
        return mono[:n]

    def _advance(self, synth: Any, out: Any, at: int, until: int) -> int:
        if until > at:
            left, right = out[0].ctypes.data, out[1].ctypes.data
            self._write(synth.synth, until - at, left, at, 1, right, at, 1)
        return max(at, until)


@cache
def _engine() -> _Engine:
    return _Engine()


def render(notes: list[Note], programs: dict[int, int], seconds: float, room: Room) -> Wave:
    """Play notes in the soundfont: (n,) float64 mono at 16 kHz.

    Args:
        notes: what to play; channel 9 is the drum kit.
        programs: General MIDI program (from 0) per channel, its bank as in `BANK_STEP`.
        seconds: length of the result.
        room: reverb.

    Raises:
        UsageError: FluidSynth or the soundfont is missing.
    """
    return _engine().render(notes, programs, int(seconds * SAMPLE_RATE), room)
