"""What is odd or missing in a benchmark's questions and clips, before hours are spent on it."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from lalm_agent.answers import parse
from lalm_agent.audio import load
from lalm_agent.errors import DataError
from lalm_agent.eval.benchmarks.rows import missing_audio
from lalm_agent.eval.grade import GuessRate, GuessRates, guess_rates
from lalm_agent.eval.items import Benchmark, Fault, Item, in_any_form
from lalm_agent.records import Status
from lalm_agent.terminal import printable

_SHOWN, _FAULTS_SHOWN, _MAX_VALUES = 5, 20, 40
SHORT_S = 0.5
"""Shorter clips are less than a word or a bar: an answer about them is a guess more often than not."""
SILENT_PEAK = 1e-3
"""-60 dBFS. Below it pocketsphinx is not asked either: it hears words in silence."""
DEFAULT_WINDOW_S = 30.0
"""What Qwen2-Audio hears of a clip, from its start."""


@dataclass(frozen=True, slots=True)
class ClipCheck:
    """Clips by the names that the data gives them.

    named: different clips that questions are about. opened: those that were decoded.
    minutes: of the opened clips; asked_minutes: the same with each clip once for each question about it.
    missing: no such file. broken: a file that cannot be decoded, with the reason.
    short: below 0.5 s. silent: what a model gets of it, one channel, has no sample above -60 dBFS.
    long: longer than the window of `window_s` seconds. copies: names of one recording, by the decoded samples.
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
    benchmark: Benchmark, window_s: float = DEFAULT_WINDOW_S, progress: Callable[[int, int], None] | None = None
) -> ClipCheck:
    """Decode every clip that is there.

    window_s: what the model hears, in seconds. progress: called with (done, total) after every clip that was there.
    """
    missing = missing_audio(benchmark)
    questions = Counter(audio for item in benchmark.items for audio in item.audios)
    absent = {fault.file for fault in missing}
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
            silent += [audio] if sound.mixing.peak < SILENT_PEAK else []
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


@dataclass(frozen=True, slots=True)
class QuestionCheck:
    """Counts over the questions; ids where somebody will want to look.

    n: questions. several_clips: about more than one. open: without choices. unanswerable: without a right answer.
    groups: dimension -> value -> questions. choices: number of choices -> questions.
    guesses: with the histogram of gold positions.
    doubled: a choice is given twice; doubled_gold: and it is the answer.
    refusals: a choice that the parser would take for a refusal, such as "Not sure".
    empty: a choice is empty. duplicates: ids that ask the same of the same clip with the same choices.
    """

    n: int
    several_clips: int
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
    groups: dict[str, Counter[str]] = {}
    same: dict[tuple[object, ...], list[str]] = {}
    for item in items:
        for dimension, value in item.groups:
            groups.setdefault(dimension, Counter())[value] += 1
        key = (item.audios, " ".join(item.question.casefold().split()), frozenset(item.choices))
        same.setdefault(key, []).append(item.id)
    texts = [(item, [choice.strip() for choice in item.choices]) for item in items]
    doubled = [(item, choices) for item, choices in texts if len(set(choices)) < len(choices)]
    return QuestionCheck(
        n=len(items),
        several_clips=sum(len(item.audios) > 1 for item in items),
        open=sum(not item.choices for item in items),
        unanswerable=sum(not item.answerable for item in items),
        groups={dimension: dict(counts) for dimension, counts in groups.items()},
        choices=dict(sorted(Counter(len(item.choices) for item in items if item.choices).items())),
        guesses=guess_rates(items),
        doubled=tuple(item.id for item, _ in doubled),
        doubled_gold=tuple(item.id for item, choices in doubled if choices.count((item.gold or "").strip()) > 1),
        refusals=tuple(item.id for item in items if any(map(_is_refusal, item.choices))),
        empty=tuple(item.id for item, choices in texts if "" in choices),
        duplicates=tuple(tuple(ids) for ids in same.values() if len(ids) > 1),
    )


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


def require_usable(benchmark: Benchmark, clips: ClipCheck | None) -> None:
    """Raise DataError, which says what to mend, for rows that cannot be used and clips that cannot be decoded."""
    faults, broken = benchmark.faults, clips.broken if clips else ()
    objections = [f"{len(faults)} rows cannot be used, first {faults[0]}"] if faults else []
    hints = ["mend the rows, or leave them out with `eval --skip-faulty`"] if faults else []
    if broken:
        first = broken[0].reason if broken[0].file in broken[0].reason else broken[0]
        objections.append(f"{len(broken)} clips cannot be decoded, first {first}")
        hints.append("mend the clips: the questions about them would end as failed")
    if objections:
        raise DataError("; ".join(objections), "; ".join(hints))


def check_lines(benchmark: Benchmark, questions: QuestionCheck, clips: ClipCheck | None) -> Iterator[str]:
    """What the check says: safe lines, what `eval` will make of missing clips last."""
    for name, text in (*_question_rows(benchmark, questions), *_clip_rows(clips), *_fault_rows(benchmark, clips)):
        yield printable(f"{name:<19} {' '.join(text.split())}" if name else text)


def _question_rows(benchmark: Benchmark, check: QuestionCheck) -> Iterator[tuple[str, str]]:
    yield "benchmark", benchmark.name
    yield "version", benchmark.version or "not a file that is known here"
    yield "sha256", benchmark.sha256
    kinds = (("with several clips", check.several_clips), ("open", check.open), ("unanswerable", check.unanswerable))
    extra = [f"{n} {name}" for name, n in kinds if n]
    yield "questions", f"{check.n} ({', '.join(extra)})" if extra else str(check.n)
    for dimension, counts in check.groups.items():
        shown = [f"{value} {count}" for value, count in counts.items()]
        more = [f"… and {len(shown) - _MAX_VALUES} more"] if len(shown) > _MAX_VALUES else []
        yield dimension, ", ".join(shown[:_MAX_VALUES] + more)
    yield "choices", ", ".join(f"{number}: {count}" for number, count in check.choices.items()) or "none"
    positions = enumerate(check.guesses.positions, start=1)
    yield "gold at", ", ".join(f"{place}: {count}" for place, count in positions) or "none"
    yield "guessing", _guess_words(check.guesses.total)
    for (dimension, value), rate in check.guesses.groups.items():
        if dimension in ("modality", "track"):
            yield f"  {value}", _guess_words(rate)
    yield from _listed("choice given twice", check.doubled)
    yield from _listed("  and it is gold", check.doubled_gold)
    yield from _listed("refusal as choice", check.refusals)
    yield from _listed("empty choice", check.empty)
    yield from _listed("asked twice", [" = ".join(ids) for ids in check.duplicates])


def _guess_words(rate: GuessRate) -> str:
    if rate.chance is None or rate.always_first is None or rate.most_frequent is None:
        return "no question with choices and an answer"
    parts = (("chance", rate.chance), ("always first", rate.always_first), ("most frequent", rate.most_frequent))
    return ", ".join(f"{label} {100 * value:.1f} %" for label, value in parts) + f" (n = {rate.n})"


def _clip_rows(check: ClipCheck | None) -> Iterator[tuple[str, str]]:
    if check is None:
        yield "clips", "not looked at (--no-audio)"
        return
    again = sum(len(names) - 1 for names in check.copies)
    distinct = f", {check.opened - again} different recordings" if again else ""
    yield "clips", f"{check.named}, of which {check.opened} can be heard: {check.minutes:.1f} minutes{distinct}"
    yield "asked", f"{check.asked_minutes:.1f} minutes, each clip once for each question about it"
    yield from _listed("missing", [fault.file for fault in check.missing])
    yield from _listed("cannot be decoded", [f"{fault.file}: {fault.reason}" for fault in check.broken])
    yield from _listed("below 0.5 s", check.short)
    yield from _listed("silent", check.silent)
    yield from _listed(f"above {check.window_s:g} s", check.long)
    yield from _listed("same recording", [" = ".join(names) for names in check.copies])


def _fault_rows(benchmark: Benchmark, check: ClipCheck | None) -> Iterator[tuple[str, str]]:
    faults = benchmark.faults
    for reason, count in note_counts(benchmark.notes).items():
        first = next(note for note in benchmark.notes if note.reason == reason)
        place = first.file if first.line is None else f"{first.file}:{first.line}"
        yield "note", f"{reason}: {count}, first {place}"
    yield "faults", f"{len(faults)} rows cannot be used" if faults else "none"
    for fault in faults[:_FAULTS_SHOWN]:
        yield "", "  " + " ".join(str(fault).split())
    if len(faults) > _FAULTS_SHOWN:
        yield "", f"  … and {len(faults) - _FAULTS_SHOWN} more; --json has all"
    absent = {fault.file for fault in check.missing} if check else set()
    if questions := sum(any(audio in absent for audio in item.audios) for item in benchmark.items):
        what = "--skip-missing leaves them out"
        if questions == len(benchmark.items):
            what = "fetch them or give --audio-root"
        about = f"the clips of {questions} of {len(benchmark.items)} questions are missing"
        yield "eval", f"refuses to start: {about}; {what}"


def _listed(name: str, values: Sequence[str]) -> Iterator[tuple[str, str]]:
    """A count with the first few; nothing where there is none."""
    if values:
        yield name, f"{len(values)}: {', '.join(values[:_SHOWN])}{', …' if len(values) > _SHOWN else ''}"
