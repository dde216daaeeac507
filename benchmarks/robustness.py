"""What harmless changes of a clip or a question do to the answers: `python benchmarks/robustness.py CLIPS WORK`.

CLIPS holds `clips.json` and the recordings that real_questions.jsonl asks about (see `shared/data/README.md`). Every
question is asked as it is and after each change, by three methods. A call goes on where the last was cut; the runs are
kept in WORK. Prints Markdown: what became of the answers by kind of change, five-way transitions, and flips (another
answer than without the change) by confidence. `--quick` takes 4 clips and 4 kinds. Any other option goes to
`lalm-agent eval`: `--answer-mode score` makes the model choose each time, `--tools assist` is the agent's.

`python benchmarks/robustness.py CLIPS --edges` counts the recordings of any folder that begin or end in silence.
"""

import argparse
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from harness import script, two_at_a_time
from mini_figures import share
from numpy.typing import NDArray

from lalm_agent.audio import load, resample
from lalm_agent.errors import DataError
from lalm_agent.eval.grade import OUTCOMES, Grade, Outcome, RuleScorer
from lalm_agent.eval.metrics.counts import codes, transitions
from lalm_agent.eval.report.table import NOTHING, Table, as_markdown, percent
from lalm_agent.eval.runs.folder import run_outputs

METHODS = ("baseline", "idk", "agent")
UNCHANGED = "unchanged"
EDGE_S, RECORDINGS = 0.1, {".wav", ".mp3", ".flac", ".ogg", ".m4a"}
QUICK_CLIPS, QUICK_KINDS = 4, ("8 kHz and back", "0.3 s of silence before", "mp3", "option order")
ANSWERED = (Outcome.CORRECT, Outcome.WRONG)
INTERVALS = (
    "Shares have 95 % intervals in percent: Wilson where every question has a clip of its own, else a bootstrap over "
    "clips (2,000 resamples), with Wilson over the clips for a share of 0 or 1. An answer is lost where none is left "
    "after the change, and new where there was none before."
)

# --- the changes ------------------------------------------------------------------------------------------------------

Wave = NDArray[np.float32]
"""(n_samples, n_channels)."""
FORMATS = {"24 bit": ("WAV", "PCM_24"), "flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS")}
FORMATS["mp3"] = ("MP3", "MPEG_LAYER_III")


def through(middle: int, wave: Wave, rate: int) -> Wave | None:
    """Resampled to another rate in Hz and back; None where that is the clip's own."""
    columns = [resample(resample(column, rate, middle), middle, rate) for column in wave.T]
    return None if middle == rate else np.stack(columns, axis=1)


def dither(wave: Wave) -> Wave:
    """Triangular noise of at most one step of 16 bit, from a fixed seed."""
    rng = np.random.default_rng(0)
    return np.asarray((rng.random(wave.shape) - rng.random(wave.shape)) / 2**15, np.float32)


SOUNDS: dict[str, Callable[[Wave, int], Wave | None]] = {
    "8 kHz and back": lambda wave, rate: through(8000, wave, rate),
    "44.1 kHz and back": lambda wave, rate: through(44_100, wave, rate),
    "0.3 s of silence before": lambda wave, rate: np.pad(wave, ((round(0.3 * rate), 0), (0, 0))),
    "0.3 s of silence after": lambda wave, rate: np.pad(wave, ((0, round(0.3 * rate)), (0, 0))),
    "-12 dB": lambda wave, rate: wave / 4,
    "+6 dB": lambda wave, rate: 2 * wave if 2 * np.abs(wave).max() <= 1 else None,
    "stereo copy": lambda wave, rate: np.repeat(wave, 2, axis=1) if wave.shape[1] == 1 else None,
    **dict.fromkeys(FORMATS, lambda wave, rate: wave),
    "dither": lambda wave, rate: wave + dither(wave),
    "DC offset 0.01": lambda wave, rate: wave + np.float32(0.01),
}
"""Kind -> the changed clip, or None where the kind would change nothing or clip; rates in Hz."""


def write(path: Path, wave: Wave, rate: int, kind: str) -> None:
    """A whole file or none; what is there stays. Kinds that are no format are kept as 32-bit floats."""
    import soundfile

    if path.exists():
        return
    container, subtype = FORMATS.get(kind, ("WAV", "FLOAT"))
    part = path.with_suffix(".part")
    with soundfile.SoundFile(part, "w", rate, wave.shape[1], subtype, format=container) as file:
        for start in range(0, len(wave), rate):  # libsndfile's Vorbis cannot take minutes in one piece
            file.write(wave[start : start + rate])
    os.replace(part, path)


def reworded(row: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(kind, question) of each change of a question's text or of the order of its choices."""
    question, choices = row["question"].rstrip("?.! "), row["choices"]
    for at in range(1, len(choices)):
        yield "option order", {**row, "choices": [*choices[at:], *choices[:at]]}
    for end in ("", "."):
        yield "final punctuation", {**row, "question": question + end}


def variants(row: dict[str, Any], clips: Path, audio: Path) -> Iterator[dict[str, Any]]:
    """The question as it is and after every change, in the form of an own file; its clips are written to `audio`."""
    clip, unchanged = row["audio"], audio / row["audio"]
    if not unchanged.exists():
        shutil.copyfile(clips / clip, unchanged)
    sound = load(unchanged)
    changes = [(UNCHANGED, row), *reworded(row)]
    for kind, change in SOUNDS.items():
        if (wave := change(sound.samples, sound.ref.rate)) is not None:
            name = re.sub("[^a-z0-9]+", "-", f"{Path(clip).stem}-{kind}".lower())
            name += f".{FORMATS.get(kind, ['WAV'])[0].lower()}"
            write(audio / name, wave, sound.ref.rate, kind)
            changes.append((kind, {**row, "audio": name}))
    for at, (kind, changed) in enumerate(changes):
        yield {**changed, "id": f"{clip}/{at}", "category": kind, "source": clip}


def silent_edges(folder: Path) -> str:
    """How many of the recordings in a folder and below begin and end with `EDGE_S` of exact zeros or more."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in RECORDINGS)
    begin = end = 0
    for path in paths:
        sound = load(path)
        edge = round(EDGE_S * sound.ref.rate)
        begin += not sound.samples[:edge].any()
        end += not sound.samples[-edge:].any()
    return f"{len(paths)} recordings: {begin} begin and {end} end with {EDGE_S} s of exact zeros or more"


# --- what became of the answers ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pair:
    """One question about a clip, without a change and with one of this kind.

    confidence: of the answer without the change, in [0, 1]; None where it is not known.
    """

    clip: str
    kind: str
    before: Grade
    after: Grade
    confidence: float | None = None

    @property
    def answered(self) -> tuple[bool, bool]:
        """Whether it was answered without the change, and with it."""
        return self.before.outcome in ANSWERED, self.after.outcome in ANSWERED

    @property
    def flips(self) -> bool:
        """Whether it was answered both times, but not the same."""
        return all(self.answered) and self.before.chosen != self.after.chosen


def flip_cells(pairs: Sequence[Pair]) -> tuple[str, str, str]:
    """Of the pairs that were answered twice: how many, how many flip, and the share with its interval."""
    twice = [pair for pair in pairs if all(pair.answered)]
    if not twice:
        return "0", "0", NOTHING
    clips = np.unique([pair.clip for pair in twice], return_inverse=True)[1]
    figure = share(np.array([pair.flips for pair in twice]), clips)
    ends = f"[{percent(figure.low, 1)}, {percent(figure.high, 1)}]" if clips.any() else "(of a single clip)"
    return str(len(twice)), str(sum(pair.flips for pair in twice)), f"{percent(figure.value, 1)} {ends}"


def by_kind(pairs: Sequence[Pair]) -> Table:
    """A row for each kind of change and one for all."""
    place = {kind: at for at, kind in enumerate(SOUNDS)}
    kinds = sorted(dict.fromkeys(pair.kind for pair in pairs), key=lambda kind: place.get(kind, -1))
    groups = {kind: [pair for pair in pairs if pair.kind == kind] for kind in kinds}
    rows = []
    for kind, of_kind in {**groups, "all": pairs}.items():
        of = Counter(pair.answered for pair in of_kind)
        others = (str(of[True, False]), str(of[False, True]), str(of[False, False]))
        rows.append((kind, str(len(of_kind)), *flip_cells(of_kind), *others))
    header = ("change", "asked", "answered twice", "another answer", "% of these", "answer lost", "answer new", "none")
    return Table("", header, tuple(rows))


def five_way(pairs: Sequence[Pair]) -> Table:
    """Pairs by the outcome without the change (rows) and with it (columns)."""
    moved = transitions(codes([pair.before.outcome for pair in pairs]), codes([pair.after.outcome for pair in pairs]))
    rows = ((str(outcome), *map(str, line)) for outcome, line in zip(OUTCOMES, moved, strict=True))
    return Table("", ("before, after", *map(str, OUTCOMES)), tuple(rows))


def by_confidence(pairs: Sequence[Pair]) -> Table:
    """Flips by tercile of the confidence that the answer had without a change; terciles of the clips so answered."""
    sure = {pair.clip: pair.confidence for pair in pairs if pair.answered[0] and pair.confidence is not None}
    rows = []
    parts = np.array_split(sorted(sure, key=lambda clip: sure[clip]), 3)
    for name, part in zip(("low", "middle", "high"), parts, strict=True):
        of_part = [pair for pair in pairs if pair.clip in part]
        wrong = len({pair.clip for pair in of_part if pair.before.outcome is Outcome.WRONG})
        reach = f"{sure[part[0]]:.2f} to {sure[part[-1]]:.2f}" if len(part) else NOTHING
        flipping = len({pair.clip for pair in of_part if pair.flips})
        rows.append((name, reach, str(len(part)), str(wrong), str(flipping), *flip_cells(of_part)))
    header = ("confidence", "from, to", "clips", "wrong unchanged", "clips that flip")
    return Table("", (*header, "answered twice", "another answer", "% of these"), tuple(rows), "llrrrrrr")


def page(title: str, flags: str, of_method: Iterable[tuple[str, Sequence[Pair]]]) -> Iterator[str]:
    """The tables in Markdown, each method's own."""
    yield f"# {title}\n\n`python benchmarks/robustness.py CLIPS WORK {flags}`\n\n{INTERVALS}\n"
    for method, pairs in of_method:
        flips = Counter(pair.clip for pair in pairs if pair.flips)
        top = ", ".join(f"`{clip}` {count}" for clip, count in flips.most_common(3)) or "none"
        yield f"## {method}\n\n{as_markdown(by_kind(pairs))}\n\nClips with another answer: {len(flips)}; most: {top}.\n"
        yield f"Outcome before (rows) and after (columns) the change:\n\n{as_markdown(five_way(pairs))}\n"
        yield f"Flips by confidence without a change:\n\n{as_markdown(by_confidence(pairs))}\n"


# --- the runs ---------------------------------------------------------------------------------------------------------


def read_pairs(folder: Path, rows: Sequence[dict[str, Any]]) -> list[Pair]:
    """A run's answers, each beside the one without a change."""
    outputs = run_outputs(folder)
    texts = [output.text if (output := outputs.by_id.get(item.id)) else None for item in outputs.items]
    grades = {item.id: made for item, made in zip(outputs.items, RuleScorer()(outputs.items, texts), strict=True)}
    pairs, unchanged = [], {row["source"]: row["id"] for row in rows if row["category"] == UNCHANGED}
    for row in rows:
        if row["category"] != UNCHANGED:
            before = unchanged[row["source"]]
            confidence = outputs.by_id[before].confidence if before in outputs.by_id else None
            pairs.append(Pair(row["source"], row["category"], grades[before], grades[row["id"]], confidence))
    return pairs


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument(
        "work", type=Path, nargs="?", help="where changed clips and runs are kept; one folder for each model"
    )
    parser.add_argument("--model", default="mini", help="a reference as `lalm-agent models` lists them")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_CLIPS} clips, {len(QUICK_KINDS)} kinds")
    parser.add_argument("--edges", action="store_true", help="count recordings with silent edges in CLIPS, and end")
    options, more = parser.parse_known_args()
    if options.edges:
        print(silent_edges(options.clips))
        return
    if options.work is None:
        parser.error("the folder WORK is missing")
    if not (options.clips / "clips.json").is_file():
        raise DataError(f"{options.clips} holds no clips.json", "give the folder of the recordings")
    lines = Path(__file__).with_name("real_questions.jsonl").read_text(encoding="utf-8").splitlines()
    size, step = ("quick", len(lines) // QUICK_CLIPS) if options.quick else ("all", 1)
    source = [json.loads(line) for line in lines[::step][: QUICK_CLIPS if options.quick else None]]
    (options.work / "audio").mkdir(parents=True, exist_ok=True)
    rows = [changed for row in source for changed in variants(row, options.clips, options.work / "audio")]
    if options.quick:
        rows = [row for row in rows if row["category"] in (UNCHANGED, *QUICK_KINDS)]
    (options.work / f"{size}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    model = ("--model", str(Path(options.model).resolve()) if Path(options.model).exists() else options.model)
    data = ("eval", f"{size}.jsonl", "--audio-root", "audio", *model, *more)
    run = {method: "-".join([f"runs/{size}-{method}", *(word.strip("-") for word in more)]) for method in METHODS}
    two_at_a_time({method: (*data, "--method", method, "--out", out) for method, out in run.items()}, options.work)
    flags = " ".join([f"--model {options.model}", *more]) + " --quick" * options.quick
    title = f"Harmless changes: {len(source)} clips, {len(rows) - len(source)} changes"
    print("\n".join(page(title, flags, ((m, read_pairs(options.work / run[m], rows)) for m in METHODS))).rstrip())


if __name__ == "__main__":
    script(main)
