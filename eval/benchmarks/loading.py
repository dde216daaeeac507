"""From what stands after `lalm-agent eval` to a benchmark: `mmau`, `mmar`, `sakura`, `synth`, a file, or `hf:…`."""

from pathlib import Path

from lalm_agent.errors import DataError, UsageError, did_you_mean
from lalm_agent.eval.benchmarks.files import SUFFIXES
from lalm_agent.eval.benchmarks.mmar import MMAR
from lalm_agent.eval.benchmarks.mmau import MMAU
from lalm_agent.eval.benchmarks.own import OWN
from lalm_agent.eval.benchmarks.rows import load_rows
from lalm_agent.eval.benchmarks.sakura import load_sakura
from lalm_agent.eval.benchmarks.synth import SYNTH
from lalm_agent.eval.items import Benchmark

HF = "hf:"
_LAYOUTS = {"mmau": MMAU, "mmar": MMAR, "synth": SYNTH}
NAMES = ("mmau", "mmar", "sakura", "synth")
"""The benchmarks that are called by name."""


def load_benchmark(ref: str, data: Path | None = None, audio_root: Path | None = None) -> Benchmark:
    """Read a benchmark whole. Clips are not opened: see `missing_audio`. A row that cannot be used is a fault.

    ref: `mmau | mmar | sakura | synth`, a `.jsonl`, `.json` or `.csv` file, or `hf:NAME_OR_FOLDER[@SPLIT]`.
    data: for a benchmark called by name, its file, or the folder that holds it. audio_root: the folder that clips are
    named from, by default that of the data. Not for embedded audio, which goes into the cache (`hub.clip_folder`).

    Raises UsageError for an unknown name, `data` that is missing or stands beside a file, and an extra that is not
    installed; DataError where the file is missing or cannot be read at all.
    """
    if audio_root is not None and not audio_root.is_dir():
        raise DataError(f"the audio root {audio_root} is no folder", "check the path")
    if ref in NAMES:
        return _named(ref, data, audio_root)
    path = Path(ref)
    if not ref.startswith(HF) and path.suffix.lower() not in SUFFIXES and not path.exists():
        hint = did_you_mean(ref, (*NAMES, "FILE.jsonl", "FILE.json", "FILE.csv", "hf:NAME_OR_FOLDER"))
        raise UsageError(f"no benchmark is called {ref!r}", hint)
    if data is not None:
        raise UsageError(f"{ref} is itself the data", "leave out --data, or name a benchmark before it")
    if ref.startswith(HF):
        from lalm_agent.eval.benchmarks.hub import load_hf

        return load_hf(ref.removeprefix(HF), audio_root)
    return load_rows(path.name, path, OWN, audio_root)


def _named(name: str, data: Path | None, root: Path | None) -> Benchmark:
    layout = _LAYOUTS.get(name)
    hint = "--data DIR, the folder that holds data/Animal and the other tracks of github.com/ckyang1124/SAKURA"
    if layout is not None:
        hint = f"--data {layout.file}, from {layout.source}"
    if data is None:
        raise UsageError(f"{name} needs its data, which is not part of this package", hint)
    if not data.exists():
        raise DataError(f"{data} does not exist", hint)
    if layout is None:
        return load_sakura(data, root)
    return load_rows(name, data / layout.file if data.is_dir() else data, layout, root)
