"""From what stands after `lalm-agent eval` to a benchmark: `mmau`, `mmar`, `sakura`, `synth`, a file, or `hf:…`."""

from pathlib import Path

from lalm_agent.errors import DataError, UsageError, did_you_mean
from lalm_agent.eval.benchmarks import mmar, mmau, synth
from lalm_agent.eval.benchmarks.files import SUFFIXES
from lalm_agent.eval.benchmarks.own import OWN
from lalm_agent.eval.benchmarks.rows import load_rows
from lalm_agent.eval.benchmarks.sakura import load_sakura
from lalm_agent.eval.items import Benchmark

HF = "hf:"


_ONE_FILE = {"mmau": (mmau.MMAU, mmau), "mmar": (mmar.MMAR, mmar), "synth": (synth.SYNTH, synth)}
NAMES = ("mmau", "mmar", "sakura", "synth")
"""The benchmarks that are called by name."""


def load_benchmark(ref: str, data: Path | None = None, audio_root: Path | None = None) -> Benchmark:
    """Read a benchmark whole. Clips are not opened: see `missing_audio`.

    Args:
        ref: `mmau | mmar | sakura | synth`, a `.jsonl`, `.json` or `.csv` file, or `hf:NAME_OR_FOLDER[@SPLIT]`.
        data: for a benchmark called by name, its file, or the folder that holds it.
        audio_root: the folder that clips are named from; by default the data file's folder, for `sakura` the folder
            given. Not for embedded audio, which is written into the cache (see `home`).

    Returns:
        The benchmark. A row that cannot be used is a fault, not an error.

    Raises:
        UsageError: an unknown name, `data` missing or given beside a file, an extra that is not installed.
        DataError: the file is missing or cannot be read at all.
    """
    if audio_root is not None and not audio_root.is_dir():
        raise DataError(f"the audio root {audio_root} is no folder", "check the path")
    if ref.startswith(HF):
        _require_no_data(ref, data)
        from lalm_agent.eval.benchmarks.hub import load_hf

        return load_hf(ref.removeprefix(HF), audio_root)
    if ref in NAMES:
        return _named(ref, data, audio_root)
    path = Path(ref)
    if path.suffix.lower() not in SUFFIXES and not path.exists():
        hint = did_you_mean(ref, (*NAMES, "FILE.jsonl", "FILE.json", "FILE.csv", "hf:NAME_OR_FOLDER"))
        raise UsageError(f"no benchmark is called {ref!r}", hint)
    _require_no_data(ref, data)
    return load_rows(path.name, path, OWN, audio_root)


def _require_no_data(ref: str, data: Path | None) -> None:
    if data is not None:
        raise UsageError(f"{ref} is itself the data", "leave out --data, or name a benchmark before it")


def _named(name: str, data: Path | None, root: Path | None) -> Benchmark:
    if name == "sakura":
        wanted = "--data DIR, the folder that holds data/Animal and the other tracks of github.com/ckyang1124/SAKURA"
        return load_sakura(_require_data(name, data, wanted), root)
    layout, module = _ONE_FILE[name]
    path = _require_data(name, data, f"--data {module.FILE}, from {module.SOURCE}")
    return load_rows(name, path / module.FILE if path.is_dir() else path, layout, root)


def _require_data(name: str, data: Path | None, wanted: str) -> Path:
    if data is None:
        raise UsageError(f"{name} needs its data, which is not part of this package", wanted)
    if not data.exists():
        raise DataError(f"{data} does not exist", wanted)
    return data
