"""From what stands after `lalm-agent eval` to a benchmark: a name of `NAMES`, a file, or `hf:…`."""

from pathlib import Path

from lalm_agent.errors import DataError, UsageError, did_you_mean
from lalm_agent.eval.benchmarks.files import SUFFIXES
from lalm_agent.eval.benchmarks.layouts import LAYOUTS, OWN
from lalm_agent.eval.benchmarks.rows import load_rows, load_several
from lalm_agent.eval.benchmarks.sakura import load_sakura
from lalm_agent.eval.items import Benchmark

HF = "hf:"
PARQUET = ".parquet"
NAMES = (*list(LAYOUTS)[:2], "sakura", *list(LAYOUTS)[2:])
"""The benchmarks that are called by name."""


def load_benchmark(ref: str, data: Path | None = None, audio_root: Path | None = None) -> Benchmark:
    """Read a benchmark whole. Clips are not opened: see `missing_audio`. A row that cannot be used is a fault.

    ref: one of `NAMES`, a `.jsonl`, `.json` or `.csv` file, or `hf:NAME_OR_FOLDER[@SPLIT]`.
    data: for a benchmark called by name, its file, or the folder that holds it, also as the hub has it.
    audio_root: the folder that clips are named from, by default that of the data. Not for embedded audio, which goes
    into the cache (`hub.clip_folder`).

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
    layout = LAYOUTS.get(name)
    hint = "--data DIR, the folder that holds data/Animal and the other tracks of github.com/ckyang1124/SAKURA"
    if layout is not None:
        hint = f"--data {layout.file}, from {layout.source}"
    if data is None:
        raise UsageError(f"{name} needs its data, which is not part of this package", hint)
    if not data.exists():
        raise DataError(f"{data} does not exist", hint)
    if layout is None:
        return load_sakura(data, root)
    file = data / layout.file if data.is_dir() else data
    if file.suffix == PARQUET or (data.is_dir() and not file.exists() and _is_of_hub(data)):
        from lalm_agent.eval.benchmarks.hub import load_data_set

        return load_data_set(file if file.exists() else data, name, layout, root)
    if layout.further and data.is_dir() and file.exists():
        files = [path for path in (file, *map(data.joinpath, layout.further)) if path.exists()]
        return load_several(name, files, layout, root)
    return load_rows(name, file, layout, root)


def _is_of_hub(folder: Path) -> bool:
    """Whether `datasets` wrote the folder, or it holds parquet files."""
    return any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")) or any(
        folder.rglob(f"*{PARQUET}")
    )
