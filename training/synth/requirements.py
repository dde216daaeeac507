"""What the synthesisers need beyond the package, and the lines that install it."""

import importlib.util
import os
from ctypes.util import find_library
from pathlib import Path

from lalm_agent.errors import UsageError

INSTALL_EXTRA = "pip install 'lalm-agent[synth]'"
INSTALL_SYSTEM = "apt-get install libfluidsynth3 fluid-soundfont-gm"
SOUNDFONT_ENV = "LALM_SOUNDFONT"
SOUNDFONT_FOLDERS = (Path("/usr/share/sounds/sf2"), Path("/usr/share/soundfonts"))
EXTRA_MODULES = {"espeakng_loader": "espeakng-loader", "fluidsynth": "pyfluidsynth", "scipy": "scipy"}


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
    found = [path for folder in SOUNDFONT_FOLDERS for path in sorted(folder.glob("*.sf2")) if path.is_file()]
    if not found:
        hint = f"{INSTALL_SYSTEM} (Debian, Ubuntu), or set {SOUNDFONT_ENV} to an .sf2 file"
        raise UsageError("synthesising music needs a General MIDI soundfont", hint=hint)
    return found[0]
