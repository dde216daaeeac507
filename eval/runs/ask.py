"""Asks the questions of a run: some threads that ask, one that writes, each answer kept as it comes.

At most `concurrency` questions are out at a time, and the next is handed out only when an answer has been written, so
a kill loses no more than these. Draws of one question that follow each other are handed out at once, so that they meet
in one batch of a model. What is asked and in which order does not depend on the number of threads; the order of the
lines does.
"""

import signal
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, Protocol, TypeVar

from lalm_agent.artefacts import StorageError
from lalm_agent.audio import ClipStore
from lalm_agent.errors import BudgetSpent, DataError, Dropped, LalmError, PermanentBackendError
from lalm_agent.eval.grade import OUTCOMES, Grade, Outcome, RuleScorer, grades_of
from lalm_agent.eval.runs.controls import ClipOf, PretrainedError
from lalm_agent.eval.runs.records import Key, QuestionDraw, RunItem, StoredAnswer, failed_answer, stored
from lalm_agent.records import Answer, AudioRef, Failure

STOP_AT_START, STOP_LATER = 5, 25
"""So many failures in a row with the same words end a run: before its first success, and after it."""
_LOOK_S = 0.5
"""Python runs a signal's handler when its main thread wakes; one that comes just before a wait does not wake it."""
LISTEN, ANSWER = "listen", "answer"
"""The nodes that a clip which cannot be read, and an answer which cannot be kept, are put down to."""

Ask = Callable[[str | list[str], str, Sequence[str], str, int], Answer]
"""Asks one question: (clip's path or paths, text, choices, id, draw). `lalm_agent.Agent.ask_item` is one.

Raises BudgetSpent where no further request may be sent, LalmError where the question or its clip cannot be used.
"""
Results = SimpleQueue["Future[Any] | None"]
"""Answers and errors as they come; None for a Ctrl-C."""


class MayFail(Protocol):
    """What comes of a question: an answer, or the trials of a study. failure: why there is none."""

    @property
    def failure(self) -> Failure | None:
        """None where the question was answered."""
        ...


ResultT = TypeVar("ResultT", bound=MayFail)
QuestionT = TypeVar("QuestionT", bound=QuestionDraw)


@dataclass(frozen=True, slots=True)
class Asker:
    """From a question to what is kept of its answer.

    clip: the file that a question is asked about (see `controls`). trained: sha256 of the clips that the adapter was
    trained on, over the decoded samples or of their mono mix. pretrained: those that the model was pretrained on.
    recordings: clip's name ->
    sha256 of the questions' own clips so far; those of later answers are compared and added. clips: the store in which
    `ask` keeps what it decodes.
    """

    ask: Ask
    clip: ClipOf
    trained: frozenset[str] = frozenset()
    pretrained: Container[str] = frozenset()
    recordings: dict[str, str] = field(default_factory=dict)
    clips: ClipStore = field(default_factory=ClipStore)

    def __call__(self, question: QuestionDraw) -> StoredAnswer:
        """Ask; a clip that cannot be read, or an answer that cannot be kept, gives a `failed` answer.

        Raises BudgetSpent as `Ask`, StorageError where the clip of a blind control could not be written, and, so that
        nothing is kept of the answer, PretrainedError for a clip of the pretraining and DataError for another recording
        than earlier answers are about.
        """
        run_item, draw, start = question.run_item, question.draw, time.perf_counter()
        item, node = run_item.item, LISTEN
        try:
            clip = self.clip(item)
            answer = self.ask(clip.clips, item.question, run_item.shown(draw), item.id, draw)
            mix = clip.own_mix_sha256 or self._mix_sha256(answer.audio)
            more = [ref.sha256 for ref in answer.more_audio]
            mixes = [mix, *map(self._mix_sha256, answer.more_audio)]
            node = ANSWER
            kept = stored(run_item, draw, answer, clip, time.perf_counter() - start)
        except (BudgetSpent, StorageError):
            raise
        except LalmError as error:
            failure = Failure(node, error.message, error.hint, error.exit_code, type(error).__name__)
            return failed_answer(item, draw, failure, time.perf_counter() - start)
        except SystemExit as error:
            failure = Failure(ANSWER, f"a tool or the model ended the process: exit code {error.code}", None, 2)
            return failed_answer(item, draw, failure, time.perf_counter() - start)
        own = clip.own_sha256 or answer.audio.sha256
        # Only now, because hashing a clip takes decoding it, and that has just been done.
        if any(sha256 in self.pretrained for sha256 in (own, answer.audio.sha256, *more, *mixes)):
            raise PretrainedError([item.audio], 1, "the model", f"question {item.id!r}")
        for name, sha256 in zip(item.audios, (own, *more), strict=False):
            refuse_other_recording(name, self.recordings.setdefault(name, sha256), sha256)
        return replace(kept, seen=any(sha256 in self.trained for sha256 in (own, *more, *mixes)))

    def _mix_sha256(self, audio: AudioRef) -> str:
        """A mono clip that was saved as stereo is still that clip. Looked at only where there are clips to be known."""
        if audio.channels == 1 or not (self.trained or self.pretrained):
            return audio.sha256
        return self.clips.get(audio).mixing.sha256


def refuse_other_recording(name: str, before: str, now: str) -> None:
    """Raise DataError where the sha256 of a clip's decoded samples is not that of earlier answers."""
    if before != now:
        raise DataError(
            f"the clip {name!r} is another recording than the one that earlier answers of this run are about",
            "give the --audio-root of before, or another --out",
        )


def by_clip(questions: Iterable[QuestionT]) -> list[QuestionT]:
    """Questions about one clip side by side, and of these the same one of several runs, in the order of appearance.

    What a model here, and the store of clips, have kept of a clip then serves all of them.
    """
    clips: dict[str, int] = {}
    ids: dict[str, int] = {}

    def place(question: QuestionT) -> tuple[int, int]:
        item = question.run_item.item
        return clips.setdefault(item.audio, len(clips)), ids.setdefault(item.id, len(ids))

    return sorted(questions, key=place)


def ask_all(
    questions: Sequence[QuestionT],
    answer: Callable[[QuestionT], ResultT],
    keep: Callable[[ResultT], None],
    concurrency: int,
    on_stop: Callable[[int], None] = lambda left: None,
    run_of: Callable[[ResultT], object] = lambda result: None,
) -> None:
    """Ask everything; `keep` is called in the calling thread, once for each answer.

    run_of: tells results of several runs apart: the failures in a row that end them are of one run.
    A Ctrl-C hands out no more questions, waits for those that are out (`on_stop` is told how many), and keeps them.
    Raises KeyboardInterrupt after it, Dropped after a second one, which waits for nothing, PermanentBackendError where
    question after question failed in the same way, StorageError where an answer could not be kept, and what `answer`
    raises. What was answered, or failed, is kept.
    """
    results: Results = SimpleQueue()
    pool = ThreadPoolExecutor(concurrency, "ask")
    groups, out = deque(_groups(questions, concurrency)), 0
    streaks: dict[object, _Streak] = defaultdict(_Streak)
    stop: BaseException | None = None
    try:
        with _interrupts(results):
            while True:
                while stop is None and groups and len(groups[0]) <= concurrency - out:
                    out += len(groups[0])
                    for question in groups.popleft():
                        pool.submit(answer, question).add_done_callback(results.put)
                if not out:
                    break
                try:
                    result = results.get(timeout=_LOOK_S)
                except Empty:
                    continue
                if result is None:
                    stop = stop or KeyboardInterrupt()
                    on_stop(out)
                else:
                    out -= 1
                    stop = _handled(result, keep, lambda kept: streaks[run_of(kept)], stop)
    finally:
        # Where nothing is out they end at once. One still in torch's code would abort an interpreter that is ending.
        pool.shutdown(wait=not out)
    if stop is not None:
        raise stop


def _handled(
    result: "Future[ResultT]",
    keep: Callable[[ResultT], None],
    streak_of: Callable[[ResultT], "_Streak"],
    stop: BaseException | None,
) -> BaseException | None:
    """Keep an answer; the reason to stop, if there is one. The first reason stands, a full disk before all others."""
    if (error := result.exception()) is not None:
        return stop or error
    if isinstance(stop, StorageError):
        return stop
    try:
        keep(result.result())
    except StorageError as full:
        return full
    return stop or streak_of(result.result()).judged(result.result())


class _Streak:
    """Counts failures in a row with the same words. A clip that cannot be read is no sign of a broken model."""

    _words: str | None = None
    _length, _limit = 0, STOP_AT_START

    def judged(self, answer: MayFail) -> PermanentBackendError | None:
        failure = answer.failure
        if failure is None:
            self._words, self._length, self._limit = None, 0, STOP_LATER
            return None
        if failure.node == LISTEN:
            return None
        self._length = self._length + 1 if failure.message == self._words else 1
        self._words = failure.message
        if self._length < self._limit:
            return None
        again = "then the same command with --retry-failed"
        return PermanentBackendError(
            f"stopped after {self._length} questions in a row failed: {failure.message}",
            f"{failure.hint}; {again}" if failure.hint else again,
        )


def _groups(questions: Sequence[QuestionT], largest: int) -> Iterator[list[QuestionT]]:
    """The work in order: draws of one question together, as far as so many may be out at a time."""
    for _, members in groupby(questions, key=lambda question: id(question.run_item)):
        same = list(members)
        yield from (same[start : start + largest] for start in range(0, len(same), largest))


@contextmanager
def _interrupts(results: Results) -> Iterator[None]:
    """Turn a first Ctrl-C into a message to the writer, so that it cannot fall into the middle of a line."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed = False

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise Dropped
        pressed = True
        results.put(None)

    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def outcome_words(counts: Mapping[Any, int]) -> str:
    """Such as `correct 3, wrong 1, IDK 2, unparsed 0, failed 0`."""
    words = {str(Outcome.ABSTAINED): "IDK"}
    return ", ".join(f"{words.get(str(outcome), outcome)} {count}" for outcome, count in counts.items())


class Tally:
    """The grade of each answer of a run so far, by the `rule` scorer; a question that was asked again counts once."""

    def __init__(self, items: Sequence[RunItem], answers: Mapping[Key, StoredAnswer]) -> None:
        """Grade what is there already. items: the questions of the run."""
        self._items = {run_item.item.id: run_item for run_item in items}
        self.grades: dict[Key, Grade] = {}
        self._counted = Counter[Outcome]()
        for answer in answers.values():
            self.add(answer)

    def add(self, answer: StoredAnswer) -> None:
        """Grade one more. An answer to a question that is not in the run is passed over."""
        run_item = self._items.get(answer.id)
        if run_item is not None:
            shown = replace(run_item.item, choices=run_item.shown(answer.draw))
            if (before := self.grades.get(answer.key)) is not None:
                self._counted[before.outcome] -= 1
            (grade,) = grades_of(RuleScorer(), [shown], [answer.output])
            self.grades[answer.key] = grade
            self._counted[grade.outcome] += 1

    @property
    def counts(self) -> dict[Outcome, int]:
        """How often each outcome occurred; all five are there."""
        return {outcome: self._counted[outcome] for outcome in OUTCOMES}

    def __str__(self) -> str:
        return outcome_words(self.counts)
