"""What a run will cost: requests by hand, minutes of audio, seconds."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.eval.items import Item
from lalm_agent.eval.runs.ask import Asker
from lalm_agent.eval.runs.evaluate import audio_seconds, by_trying, from_answers, requests
from lalm_agent.eval.runs.records import ClipFile, QuestionDraw, RunItem

AGENT = {"type": "lalm", "asr": "lalm", "caption": "lalm", "answer": "lalm"}


@pytest.fixture
def works() -> list[QuestionDraw]:
    """Six questions about two clips, two draws each."""
    items = [Item(f"q{n}", f"{n % 2}.wav", "?", ("a", "b"), "a") for n in range(6)]
    return [QuestionDraw(RunItem(item), draw) for draw in range(2) for item in items]


@pytest.mark.parametrize(
    ("tools", "count"),
    [
        ({"answer": "lalm"}, 12),
        (AGENT, 12 + 2 + 2),
        ({**AGENT, "asr": "whisper:small"}, 12 + 2 + 2),
        ({**AGENT, "asr": "whisper:small", "caption": "own:tool"}, 12 + 2),
        ({**AGENT, "type": "oracle", "asr": "none", "caption": "none"}, 12),
        ({**AGENT, "answer": "own:tool"}, 4),
    ],
)
def test_requests_are_counted_by_hand(works: list[QuestionDraw], tools: dict[str, str], count: int) -> None:
    assert requests(works, tools) == count


def test_audio_is_summed_over_the_clips_that_can_be_opened(tmp_path: Path, write_clip: Callable[..., Path]) -> None:
    write_clip("a.wav", 0.5)
    write_clip("b.wav", 0.25, 44100)
    (tmp_path / "audio" / "bad.wav").write_bytes(b"none")
    clips = ["a.wav", "b.wav", "bad.wav", "gone.wav", "../x.wav"]
    assert audio_seconds(tmp_path / "audio", clips, 60.0) == (0.75, 3)


def test_seconds_from_answers(works: list[QuestionDraw], answer_to: Any) -> None:
    asker = Asker(answer_to, lambda item: ClipFile(item.audio))
    answers = {work.key: replace(asker(work), seconds=2.0, failure=None) for work in works}
    assert from_answers(answers, 100, 4) == 50.0
    assert from_answers(answers, 2, 4) == 2.0
    assert from_answers({}, 100, 4) is None


def test_seconds_by_trying_leave_out_the_first(works: list[QuestionDraw], answer_to: Any) -> None:
    asker = Asker(answer_to, lambda item: ClipFile(item.audio))
    tried: list[QuestionDraw] = []

    def answer(work: QuestionDraw) -> Any:
        tried.append(work)
        return replace(asker(work), failure=None)

    times = iter([0.0, 9.0, 10.0, 11.0, 20.0, 23.0])
    assert by_trying(works, answer, lambda: next(times)) == (2.0, 3)
    assert tried == works[:3]
    times = iter([0.0, 9.0])
    assert by_trying(works[:1], answer, lambda: next(times)) == (9.0, 1)
