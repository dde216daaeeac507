"""espeak-ng as a pure function: text in, samples out, the same whatever was spoken before.

espeak-ng keeps wave phase and flutter in static variables that nothing resets, so that an utterance depends on
the ones before it. The library is therefore opened afresh for every utterance and unloaded after it (0.3 ms).
"""

import _ctypes
import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lalm_agent.errors import PermanentBackendError
from lalm_agent.training.synth.dsp import Wave
from lalm_agent.training.synth.records import SAMPLE_RATE
from lalm_agent.training.synth.units import PHONES

_SYNCHRONOUS = 2
_UTF8 = 1
_IPA = 2
_RATE, _PITCH, _RANGE = 1, 3, 4
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@dataclass(frozen=True, slots=True)
class Utterance:
    """What to say and how. `voice`: an espeak-ng voice such as "en-us+f2"; `wpm`: words a minute; pitch, range 0-99.

    stretch: by how much pitch and formants are raised together; the rate of speaking rises with them.
    """

    text: str
    voice: str
    wpm: int = 165
    pitch: int = 50
    pitch_range: int = 50
    stretch: float = 1.0


@contextmanager
def _opened() -> Iterator[tuple[ctypes.CDLL, int]]:
    """The library as if nothing had ever been spoken, and its sampling rate."""
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    try:
        rate = library.espeak_Initialize(_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0)
        yield library, int(rate)
        library.espeak_Terminate()
    finally:
        _unload(library)


def phones(text: str, voice: str) -> tuple[str, ...]:
    """The phones of a text in the pronunciation of a voice such as "en-us", as far as `PHONES` has them.

    Raises:
        PermanentBackendError: espeak-ng does not know the voice.
    """
    rest, written = ctypes.c_char_p(text.encode()), ""
    with _opened() as (library, _):
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise PermanentBackendError(f"espeak-ng has no voice {voice!r}")
        library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        while rest.value:
            written += (library.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, _IPA) or b"").decode()
    return tuple(letter for letter in written if letter in PHONES)


def _unload(library: ctypes.CDLL) -> None:
    if sys.platform == "win32":
        _ctypes.FreeLibrary(library._handle)
    else:
        _ctypes.dlclose(library._handle)


def speak(utterance: Utterance) -> Wave:
    """Synthesise an utterance: (n,) float64 mono at 16 kHz, without the silence around it.

    Raises:
        PermanentBackendError: espeak-ng does not know the voice or said nothing.
    """
    import soxr

    chunks: list[NDArray[np.int16]] = []

    def collect(samples: Any, count: int, _: Any) -> int:
        if samples and count > 0:
            chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    callback = _CALLBACK(collect)
    with _opened() as (library, rate):
        library.espeak_SetSynthCallback(callback)
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        if library.espeak_SetVoiceByName(utterance.voice.encode()) != 0:
            raise PermanentBackendError(f"espeak-ng has no voice {utterance.voice!r}")
        settings = ((_RATE, utterance.wpm), (_PITCH, utterance.pitch), (_RANGE, utterance.pitch_range))
        for parameter, value in settings:
            library.espeak_SetParameter(parameter, value, 0)
        text = utterance.text.encode()
        library.espeak_Synth(text, ctypes.c_size_t(len(text) + 1), 0, 0, 0, _UTF8, None, None)
        library.espeak_Synchronize()
    if not chunks:
        raise PermanentBackendError(f"espeak-ng said nothing for {utterance.text!r}")
    said = np.concatenate(chunks).astype(np.float64) / 32768
    wave: Wave = soxr.resample(said, rate * utterance.stretch, SAMPLE_RATE, quality="MQ")
    return _trimmed(wave)


def _trimmed(wave: Wave) -> Wave:
    heard = np.flatnonzero(np.abs(wave) > 0.005)
    return wave[heard[0] : heard[-1] + 1] if len(heard) else wave
