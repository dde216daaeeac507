"""What is odd in a benchmark's clips: each is decoded whole, once, however many questions are about it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lalm_agent.audio import Sound, load
from lalm_agent.errors import DataError
from lalm_agent.eval.benchmarks.missing import missing_audio
from lalm_agent.eval.items import Benchmark, Fault, in_any_form

SHORT_S = 0.5
"""Shorter clips are less than a word or a bar: an answer about them is a guess more often than not."""
SILENT_PEAK = 1e-3
"""-60 dBFS. Below it pocketsphinx is not asked either: it hears words in silence."""
DEFAULT_WINDOW_S = 30.0
"""What Qwen2-Audio hears of a clip, from its start."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ClipCheck:
    """Clips by the names that the data gives them.

    named: different clips that questions are about. opened: those that were decoded.
    minutes: of the opened clips; asked_minutes: the same with each clip once for each question about it.
    missing: no such file. broken: a file that cannot be decoded, with the reason.
    short: below 0.5 s. silent: no sample above -60 dBFS. long: longer than the window of `window_s` seconds.
    copies: names of one recording, by the decoded samples.
    """

    named: int
    opened: int
    minutes: float
    asked_minutes: float
    window_s: float
    missing: tuple[Fault, ...]
    broken: tuple[Fault, ...]
    short: tuple[str, ...]
    silent: tuple[str, ...]
    long: tuple[str, ...]
    copies: tuple[tuple[str, ...], ...]


@dataclass(slots=True)
class _Tally:
    """What has been seen so far."""

    seconds: float = 0.0
    asked_s: float = 0.0
    broken: list[Fault] = field(default_factory=list)
    short: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    long: list[str] = field(default_factory=list)
    names: dict[str, list[str]] = field(default_factory=dict)


def check_clips(
    benchmark: Benchmark, window_s: float = DEFAULT_WINDOW_S, progress: Progress | None = None
) -> ClipCheck:
    """Decode every clip that is there.

    Args:
        benchmark: as a loader gives it.
        window_s: what the model hears, in seconds.
        progress: called with (done, total) after every clip that was there.
    """
    missing = missing_audio(benchmark)
    absent = {fault.file for fault in missing}
    questions: dict[str, int] = {}
    for item in benchmark.items:
        questions[item.audio] = questions.get(item.audio, 0) + 1
    present = [audio for audio in questions if audio not in absent]
    tally = _Tally()
    for done, audio in enumerate(present, start=1):
        _look(audio, benchmark.audio_root or Path(), questions[audio], window_s, tally)
        if progress is not None:
            progress(done, len(present))
    return ClipCheck(
        named=len(questions),
        opened=len(present) - len(tally.broken),
        minutes=tally.seconds / 60,
        asked_minutes=tally.asked_s / 60,
        window_s=window_s,
        missing=missing,
        broken=tuple(tally.broken),
        short=tuple(tally.short),
        silent=tuple(tally.silent),
        long=tuple(tally.long),
        copies=tuple(tuple(names) for names in tally.names.values() if len(names) > 1),
    )


def _look(audio: str, root: Path, questions: int, window_s: float, tally: _Tally) -> None:
    try:
        sound = load(str(in_any_form(root, audio)))
    except DataError as error:
        tally.broken.append(Fault(audio, None, error.message))
        return
    seconds = sound.ref.seconds
    tally.seconds += seconds
    tally.asked_s += seconds * questions
    tally.names.setdefault(sound.ref.sha256, []).append(audio)
    if seconds < SHORT_S:
        tally.short.append(audio)
    if seconds > window_s:
        tally.long.append(audio)
    if is_silent(sound):
        tally.silent.append(audio)


def is_silent(sound: Sound) -> bool:
    """Whether nothing that a model gets of it, which is one channel, reaches -60 dBFS."""
    return sound.mixing.peak < SILENT_PEAK
