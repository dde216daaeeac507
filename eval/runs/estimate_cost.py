"""What a run will cost before it is made: requests, minutes of audio, seconds. Nothing is written for it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from lalm_agent.audio import load
from lalm_agent.errors import DataError
from lalm_agent.eval.items import audio_file
from lalm_agent.eval.runs.run import Work
from lalm_agent.eval.runs.stored import Key, StoredAnswer

TRIED = 3
"""So many questions are asked for real, where nothing else tells how long one takes."""
_BY_THE_MODEL = "lalm"


@dataclass(frozen=True, slots=True)
class Cost:
    """What is left to do.

    requests: to the model: an answer for each question and draw; for the agent also the type and the content of each
        clip, once a process, where these nodes are the model. Neither retries are in it, nor a clip that two
        threads meet at.
    audio_s: summed over the distinct clips that could be opened, in seconds. unread: clips that could not.
    seconds: wall-clock time; None where nothing tells.
    basis: what `seconds` was estimated from, or why it is not known.
    """

    questions: int
    requests: int
    audio_s: float
    unread: int
    seconds: float | None
    basis: str


def requests(works: Sequence[Work], tools: Mapping[str, str]) -> int:
    """How many requests the questions left need, at most. `tools`: node -> tool, only nodes that the method uses.

    The type step may find no type, and then no content is asked for.
    """
    clips = len({work.asked.item.audio for work in works})
    asks_type = tools.get("type") == _BY_THE_MODEL
    asks_content = _BY_THE_MODEL in (tools.get("asr"), tools.get("caption"))
    answers = len(works) if tools.get("answer") == _BY_THE_MODEL else 0
    return answers + clips * (asks_type + asks_content)


def audio_seconds(root: Path, clips: Collection[str], max_s: float) -> tuple[float, int]:
    """(seconds of all clips that can be opened, how many cannot). A header is enough where libsndfile reads it."""
    total, unread = 0.0, 0
    for clip in clips:
        seconds = _seconds(root, clip, max_s)
        total += seconds or 0.0
        unread += seconds is None
    return total, unread


def from_answers(answers: Mapping[Key, StoredAnswer], left: int, concurrency: int) -> float | None:
    """Seconds for the questions left, from the mean of those answered, which waited for each other as these will."""
    times = [answer.seconds for answer in answers.values() if answer.failure is None]
    return fmean(times) * left / max(1, min(concurrency, left)) if times else None


def by_trying(
    works: Sequence[Work], answer: Callable[[Work], StoredAnswer], clock: Callable[[], float]
) -> tuple[float | None, int]:
    """(mean seconds for a question, how many were asked) from the first few; nothing is stored.

    The first warms up, and counts only where it is the only one. A failed one does not count.
    """
    times, asked = [], works[:TRIED]
    for work in asked:
        start = clock()
        if answer(work).failure is None:
            times.append(clock() - start)
    return (fmean(times[1:] or times) if times else None), len(asked)


def _seconds(root: Path, clip: str, max_s: float) -> float | None:
    import soundfile

    try:
        path = audio_file(root, clip)
        try:
            return float(soundfile.info(str(path)).duration)
        except (OSError, RuntimeError):
            return load(path, max_s).ref.seconds
    except DataError:
        return None
