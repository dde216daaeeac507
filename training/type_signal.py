"""Fits the classifier of `lalm_agent.tools.type_signal`.

    python -m lalm_agent.training.type_signal --real FOLDER [--out tools/type_signal.json] [--clips 500]

Synthetic clips of each type, and recordings from FOLDER: `index.csv` (file, label, group) beside `esc10/` (sounds) and
`sonicpi/` (by the file's name); any other part, FSDD's digits among them, is left out. Each clip is heard twice: whole,
and as a short cut of which half lose everything above 4 or 5.5 kHz. A quarter of the recordings, by group, is
held out, and accuracies are printed for it and for fresh synthetic clips. There is no real speech and next to no
played music in the fit.
"""

import argparse
import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from lalm_agent import audio
from lalm_agent.records import AudioType
from lalm_agent.tools.signal_features import NAMES, RATE, features
from lalm_agent.tools.type_signal import TYPES, Coefficients, expanded, softmax
from lalm_agent.training.synth.clips import make_clip
from lalm_agent.training.synth.records import Split

Floats = NDArray[np.float64]
Samples = NDArray[np.float32]

_MUSIC = "loop arovane bass tabla bd drum hat sn ride elec".split()
_SOUND = "vinyl perc_swash perc_impact misc_burp".split()
_CUT_S = (0.35, 2.0)
_NARROW_HZ = (8_000, 11_025)
_REAL_SHARE = {AudioType.SOUND: 1.0, AudioType.MUSIC: 0.5, AudioType.SPEECH: 0.0}
"""Weight of all recordings of a type beside 1 for all its synthetic clips; the drum hits are far from most music."""
_L2 = 3e-3
_NEWTON_STEPS = 30
_CONVERGED = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A clip's features, (features,), with where they come from: synthetic, esc10 or sonicpi, `cut` or whole."""

    found: Floats
    kind: AudioType
    source: str
    held_out: bool


def synthetic_clips(split: Split, n: int) -> Iterator[tuple[Samples, AudioType, str, str]]:
    """Make n clips of each type: samples at `RATE`, the type, the source, and a name of the clip's own."""
    for kind in AudioType:
        for seed in range(n):
            yield make_clip(seed, split, kind).samples, kind, f"synthetic {split}", f"{kind}-{seed}"


def real_clips(folder: Path) -> Iterator[tuple[Samples, AudioType, str, str]]:
    """The recordings that may be used, like `synthetic_clips`; the name is the group that must not be split."""
    with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        part, stem = row["file"].split("/")[0], Path(row["file"]).stem
        kind = _kind_of(part, stem)
        if kind is not None:
            # Sonic Pi's groups are whole instruments: holding one out would leave none to learn from.
            group = row["group"] if part == "esc10" else stem
            yield audio.load(folder / row["file"]).mono(RATE), kind, part, group


def _kind_of(part: str, stem: str) -> AudioType | None:
    if part == "esc10":
        return AudioType.SOUND
    if part == "sonicpi" and stem.split("_")[0] in _MUSIC:
        return AudioType.MUSIC
    if part == "sonicpi" and stem.startswith(tuple(_SOUND)):
        return AudioType.SOUND
    return None


def examples(clips: Iterator[tuple[Samples, AudioType, str, str]]) -> Iterator[Example]:
    """Two for each clip, whole and cut; cuts in which nothing sounds are left out."""
    for samples, kind, source, name in clips:
        key = crc32(f"{source}/{name}".encode())
        held_out = "dev" in source or ("synthetic" not in source and key % 4 == 0)
        for part, heard in (("", samples), (" cut", cut(samples, np.random.default_rng(key)))):
            found = features(heard)
            if found is not None:
                yield Example(found, kind, source + part, held_out)


def cut(samples: Samples, rng: np.random.Generator) -> Samples:
    """A short stretch in which something sounds, half of them band-limited: (n,) to (m,) float32 at `RATE`."""
    n = round(rng.uniform(*_CUT_S) * RATE)
    if len(samples) > n:
        total = np.cumsum(np.concatenate([[0.0], samples.astype(np.float64) ** 2]))
        starts = np.arange(0, len(samples) - n, RATE // 40)
        energy = total[starts + n] - total[starts]
        start = int(rng.choice(starts[energy >= energy.max() / 4]))
        samples = np.ascontiguousarray(samples[start : start + n])
    if rng.random() < 0.5:
        rate = int(rng.choice(_NARROW_HZ))
        samples = audio.resample(audio.resample(samples, RATE, rate), rate, RATE)
    return samples


def fit(training: list[Example]) -> Coefficients:
    """Multinomial logistic regression by Newton's method; in all, the three types weigh the same."""
    found = np.array([example.found for example in training])
    truth = np.array([TYPES.index(example.kind) for example in training])
    real = np.array(["synthetic" not in example.source for example in training])
    mean, scale = found.mean(axis=0), found.std(axis=0) + 1e-6
    inputs = expanded(found, mean, scale)
    weight = _weights(truth, real)
    n, k = inputs.shape[1], len(TYPES)
    solution = np.zeros((n, k))
    for _ in range(_NEWTON_STEPS):
        p = softmax(inputs @ solution)
        slope = inputs.T @ ((p - np.eye(k)[truth]) * weight[:, None]) + 2 * _L2 * solution
        curve = np.zeros((k, n, k, n))
        for i in range(k):
            for j in range(k):
                curve[i, :, j] = (inputs * (weight * p[:, i] * ((i == j) - p[:, j]))[:, None]).T @ inputs
        square = curve.reshape(k * n, k * n) + 2 * _L2 * np.eye(k * n)
        step = np.linalg.solve(square, slope.T.ravel()).reshape(k, n).T
        solution = solution - step
        if np.abs(step).max() < _CONVERGED:
            break
    return Coefficients(mean, scale, solution)


def _weights(truth: NDArray[np.int64], real: NDArray[np.bool_]) -> Floats:
    weight = np.zeros(len(truth))
    for i, kind in enumerate(TYPES):
        for is_real, share in ((False, 1.0), (True, _REAL_SHARE[kind])):
            chosen = (truth == i) & (real == is_real)
            if chosen.any():
                weight[chosen] = share / chosen.sum()
        weight[truth == i] /= max(weight[truth == i].sum(), 1e-9)
    return weight / len(TYPES)


def accuracies(coefficients: Coefficients, tested: list[Example]) -> dict[str, str]:
    """For each source, "right of n"."""
    result = {}
    for source in sorted({example.source for example in tested}):
        chosen = [example for example in tested if example.source == source]
        found = coefficients.probabilities(np.array([example.found for example in chosen])).argmax(axis=1)
        right = sum(TYPES[i] == example.kind for i, example in zip(found, chosen, strict=True))
        result[source] = f"{right} of {len(chosen)}"
    return result


def main() -> None:
    """Fit, print the held-out accuracies, write the coefficients with where they come from."""
    parser = argparse.ArgumentParser(description="Fit the classifier of the type tool `signal`.")
    parser.add_argument("--real", type=Path, required=True, help="folder with index.csv, esc10/ and sonicpi/")
    parser.add_argument("--out", type=Path, default=Path("tools/type_signal.json"))
    parser.add_argument("--clips", type=int, default=500, help="synthetic clips of each type")
    arguments = parser.parse_args()
    found = [*examples(synthetic_clips(Split.TRAIN, arguments.clips)), *examples(real_clips(arguments.real))]
    found += examples(synthetic_clips(Split.DEV, arguments.clips // 4))
    training = [example for example in found if not example.held_out]
    coefficients = fit(training)
    held_out = accuracies(coefficients, [example for example in found if example.held_out])
    print(json.dumps(held_out, indent=1))
    stored = {
        "made_by": f"python -m lalm_agent.training.type_signal --real FOLDER --clips {arguments.clips}",
        "fitted_on": {s: sum(e.source == s for e in training) for s in sorted({e.source for e in training})},
        "recordings": "ESC-10 (K. J. Piczak, clips from Freesound, CC BY 3.0); Sonic Pi samples (CC0)",
        "held_out": held_out,
        "features": NAMES,
        "types": TYPES,
        **{key: np.round(getattr(coefficients, key), 5).tolist() for key in ("mean", "scale", "weights")},
    }
    arguments.out.write_text(json.dumps(stored) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
