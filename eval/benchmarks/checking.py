"""What is odd or missing in a benchmark's questions and clips, before hours are spent on it."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from lalm_agent.answers import parse
from lalm_agent.audio import Sound, load
from lalm_agent.errors import DataError
from lalm_agent.eval.benchmarks.rows import missing_audio
from lalm_agent.eval.grade import GuessRate, GuessRates, guess_rates
from lalm_agent.eval.items import Benchmark, Fault, Item, in_any_form
from lalm_agent.records import Status
from lalm_agent.terminal import printable

_SHOWN = 5
_MAX_VALUES = 40
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
    questions = Counter(item.audio for item in benchmark.items)
    present = [audio for audio in questions if audio not in absent]
    seconds: dict[str, float] = {}
    broken, silent, names = list[Fault](), list[str](), dict[str, list[str]]()
    for done, audio in enumerate(present, start=1):
        try:
            sound = load(str(in_any_form(benchmark.audio_root or Path(), audio)))
        except DataError as error:
            broken.append(Fault(audio, None, error.message))
        else:
            seconds[audio] = sound.ref.seconds
            names.setdefault(sound.ref.sha256, []).append(audio)
            silent += [audio] if is_silent(sound) else []
        if progress is not None:
            progress(done, len(present))
    return ClipCheck(
        named=len(questions),
        opened=len(seconds),
        minutes=sum(seconds.values()) / 60,
        asked_minutes=sum(length * questions[audio] for audio, length in seconds.items()) / 60,
        window_s=window_s,
        missing=missing,
        broken=tuple(broken),
        short=tuple(audio for audio, length in seconds.items() if length < SHORT_S),
        silent=tuple(silent),
        long=tuple(audio for audio, length in seconds.items() if length > window_s),
        copies=tuple(tuple(same) for same in names.values() if len(same) > 1),
    )


def is_silent(sound: Sound) -> bool:
    """Whether nothing that a model gets of it, which is one channel, reaches -60 dBFS."""
    return sound.mixing.peak < SILENT_PEAK


@dataclass(frozen=True, slots=True)
class QuestionCheck:
    """Counts over the questions; ids where somebody will want to look.

    n: questions. open: without choices. unanswerable: without a right answer.
    groups: dimension -> value -> questions. choices: number of choices -> questions.
    guesses: with the histogram of gold positions.
    doubled: a choice is given twice; doubled_gold: and it is the answer.
    refusals: a choice that the parser would take for a refusal, such as "Not sure".
    empty: a choice is empty. duplicates: ids that ask the same of the same clip with the same choices.
    """

    n: int
    open: int
    unanswerable: int
    groups: dict[str, dict[str, int]]
    choices: dict[int, int]
    guesses: GuessRates
    doubled: tuple[str, ...]
    doubled_gold: tuple[str, ...]
    refusals: tuple[str, ...]
    empty: tuple[str, ...]
    duplicates: tuple[tuple[str, ...], ...]


def check_questions(items: tuple[Item, ...]) -> QuestionCheck:
    """Look at every question; no clip is opened."""
    groups: dict[str, dict[str, int]] = {}
    same: dict[tuple[object, ...], list[str]] = {}
    for item in items:
        for dimension, value in item.groups:
            counts = groups.setdefault(dimension, {})
            counts[value] = counts.get(value, 0) + 1
        key = (item.audio, " ".join(item.question.casefold().split()), frozenset(item.choices))
        same.setdefault(key, []).append(item.id)
    return QuestionCheck(
        n=len(items),
        open=sum(not item.choices for item in items),
        unanswerable=sum(not item.answerable for item in items),
        groups=groups,
        choices=dict(sorted(Counter(len(item.choices) for item in items if item.choices).items())),
        guesses=guess_rates(items),
        doubled=_ids(items, _is_doubled),
        doubled_gold=_ids(items, _gold_is_doubled),
        refusals=_ids(items, lambda item: any(_is_refusal(choice) for choice in item.choices)),
        empty=_ids(items, lambda item: not all(choice.strip() for choice in item.choices)),
        duplicates=tuple(tuple(ids) for ids in same.values() if len(ids) > 1),
    )


def _ids(items: Iterable[Item], wanted: Callable[[Item], bool]) -> tuple[str, ...]:
    return tuple(item.id for item in items if wanted(item))


def _is_doubled(item: Item) -> bool:
    return len({choice.strip() for choice in item.choices}) < len(item.choices)


def _gold_is_doubled(item: Item) -> bool:
    return item.gold is not None and [choice.strip() for choice in item.choices].count(item.gold.strip()) > 1


@lru_cache(maxsize=100_000)
def _is_refusal(choice: str) -> bool:
    """Whether the parser, not knowing that it is a choice, takes the text for a refusal."""
    return parse(choice).status is Status.ABSTAINED


def check_json(benchmark: Benchmark, questions: QuestionCheck, clips: ClipCheck | None) -> dict[str, Any]:
    """The object of `data check --json`: fractions, undefined is null, `clips` null where none was opened."""
    guesses = questions.guesses
    groups: dict[str, dict[str, Any]] = {}
    for (dimension, value), rate in guesses.groups.items():
        groups.setdefault(dimension, {})[value] = asdict(rate)
    fields = {name: value for name, value in asdict(questions).items() if name not in ("guesses", "choices")}
    return {
        "name": benchmark.name,
        "version": benchmark.version,
        "sha256": benchmark.sha256,
        "audio_root": None if benchmark.audio_root is None else str(benchmark.audio_root),
        **fields,
        "choices": {str(number): count for number, count in questions.choices.items()},
        "gold_positions": list(guesses.positions),
        "guess_rates": {"position": guesses.position, "total": asdict(guesses.total), "groups": groups},
        "faults": [asdict(fault) for fault in benchmark.faults],
        "notes": [asdict(note) for note in benchmark.notes],
        "clips": None if clips is None else asdict(clips),
    }


def note_counts(notes: Iterable[Fault]) -> dict[str, int]:
    """How often each oddity was noted, the most frequent first."""
    return dict(Counter(note.reason for note in notes).most_common())


def check_lines(benchmark: Benchmark, questions: QuestionCheck, clips: ClipCheck | None) -> Iterator[str]:
    """What the check says, for a person: safe lines, what `eval` will make of missing clips last."""
    parts = (_head(benchmark), _question_lines(questions), _clip_lines(clips), _fault_lines(benchmark))
    for line in chain(*parts, _eval_lines(benchmark, clips)):
        yield printable(line, one_line=False)


def require_usable(benchmark: Benchmark, clips: ClipCheck | None) -> None:
    """Say what has to be mended before a run.

    Raises:
        DataError: rows that cannot be used, or clips that cannot be decoded.
    """
    faults, broken = benchmark.faults, clips.broken if clips else ()
    objections = [f"{len(faults)} rows cannot be used, first {_named(faults[0])}"] if faults else []
    objections += [f"{len(broken)} clips cannot be decoded, first {_named(broken[0])}"] if broken else []
    if not objections:
        return
    hints = ["mend the rows, or leave them out with `eval --skip-faulty`"] if faults else []
    hints += ["mend the clips: the questions about them would end as failed"] if broken else []
    raise DataError("; ".join(objections), "; ".join(hints))


def _named(fault: Fault) -> str:
    """The place and the reason; a clip's reason begins with its path already."""
    return fault.reason if fault.file in fault.reason else str(fault)


def _head(benchmark: Benchmark) -> Iterator[str]:
    yield _row("benchmark", benchmark.name)
    yield _row("version", benchmark.version or "not a file that is known here")
    yield _row("sha256", benchmark.sha256)


def _question_lines(check: QuestionCheck) -> Iterator[str]:
    extra = [f"{n} {name}" for name, n in (("open", check.open), ("unanswerable", check.unanswerable)) if n]
    yield _row("questions", f"{check.n}{' (' + ', '.join(extra) + ')' if extra else ''}")
    for dimension, counts in check.groups.items():
        yield _row(dimension, _counts(counts))
    yield _row("choices", ", ".join(f"{number}: {count}" for number, count in check.choices.items()) or "none")
    guesses = check.guesses
    positions = ", ".join(f"{place}: {count}" for place, count in enumerate(guesses.positions, start=1))
    yield _row("gold at", positions or "none")
    yield from _guess_lines("guessing", guesses.total)
    for (dimension, value), rate in guesses.groups.items():
        if dimension in ("modality", "track"):
            yield from _guess_lines(f"  {value}", rate)
    yield from _listed("choice given twice", check.doubled)
    yield from _listed("  and it is gold", check.doubled_gold)
    yield from _listed("refusal as choice", check.refusals)
    yield from _listed("empty choice", check.empty)
    yield from _listed("asked twice", [" = ".join(ids) for ids in check.duplicates])


def _guess_lines(name: str, rate: GuessRate) -> Iterator[str]:
    if rate.chance is None or rate.always_first is None or rate.most_frequent is None:
        yield _row(name, "no question with choices and an answer")
        return
    parts = (("chance", rate.chance), ("always first", rate.always_first), ("most frequent", rate.most_frequent))
    yield _row(name, ", ".join(f"{label} {100 * value:.1f} %" for label, value in parts) + f" (n = {rate.n})")


def _clip_lines(check: ClipCheck | None) -> Iterator[str]:
    if check is None:
        yield _row("clips", "not looked at (--no-audio)")
        return
    yield _row("clips", f"{check.named}, of which {check.opened} can be heard: {check.minutes:.1f} minutes")
    yield _row("asked", f"{check.asked_minutes:.1f} minutes, each clip once for each question about it")
    yield from _listed("missing", [fault.file for fault in check.missing])
    yield from _listed("cannot be decoded", [f"{fault.file}: {fault.reason}" for fault in check.broken])
    yield from _listed("below 0.5 s", check.short)
    yield from _listed("silent", check.silent)
    yield from _listed(f"above {check.window_s:g} s", check.long)
    yield from _listed("same recording", [" = ".join(names) for names in check.copies])


def _eval_lines(benchmark: Benchmark, check: ClipCheck | None) -> Iterator[str]:
    """What `eval` will make of missing clips."""
    if check is None or not check.missing:
        return
    absent = {fault.file for fault in check.missing}
    questions = sum(item.audio in absent for item in benchmark.items)
    about = f"the clips of {questions} of {len(benchmark.items)} questions are missing"
    if questions == len(benchmark.items):
        yield _row("eval", f"refuses to start: {about}; fetch them or give --audio-root")
    else:
        yield _row("eval", f"refuses to start: {about}; --skip-missing leaves them out")


def _fault_lines(benchmark: Benchmark) -> Iterator[str]:
    for reason, count in note_counts(benchmark.notes).items():
        yield _row("note", f"{reason}: {count}, first {_place(benchmark.notes, reason)}")
    yield _row("faults", f"{len(benchmark.faults)} rows cannot be used" if benchmark.faults else "none")
    yield from ("  " + " ".join(str(fault).split()) for fault in benchmark.faults[: 4 * _SHOWN])
    if len(benchmark.faults) > 4 * _SHOWN:
        yield f"  … and {len(benchmark.faults) - 4 * _SHOWN} more; --json has all"


def _place(notes: Sequence[Fault], reason: str) -> str:
    first = next(note for note in notes if note.reason == reason)
    return first.file if first.line is None else f"{first.file}:{first.line}"


def _counts(counts: dict[str, int]) -> str:
    shown = [f"{value} {count}" for value, count in counts.items()]
    more = [f"… and {len(shown) - _MAX_VALUES} more"] if len(shown) > _MAX_VALUES else []
    return ", ".join(shown[:_MAX_VALUES] + more)


def _listed(name: str, found: Sequence[str]) -> Iterator[str]:
    """A count with the first few; nothing where there is none."""
    if found:
        more = ", …" if len(found) > _SHOWN else ""
        yield _row(name, f"{len(found)}: {', '.join(found[:_SHOWN])}{more}")


def _row(name: str, text: str) -> str:
    return f"{name:<19} {' '.join(text.split())}"
