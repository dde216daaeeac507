"""The nodes that the LALM fills: what they ask, what they give back."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from lalm_agent.audio import Sound
from lalm_agent.errors import PermanentBackendError, UsageError
from lalm_agent.models.base import Completion, Decoding, OptionScore, Request, Response
from lalm_agent.models.scripted import ScriptedLALM
from lalm_agent.records import AudioType, Method, Question
from lalm_agent.registry import PerClip, Task, ToolResult
from lalm_agent.tools.lalm import LalmAnswerer, LalmASR, LalmCaptioner, LalmTypeIdentifier

CHOICES = ("dog", "cat", "dog")


@pytest.fixture
def task(sound: Sound) -> Task:
    return Task(Question("Which?", sound.ref, CHOICES), Method.AGENT, sound, AudioType.SOUND, "a bark")


def scored(**logprobs: float) -> ScriptedLALM:
    """Writes 'cat', and scores options by name."""

    def reply(request: Request) -> Response:
        scores = tuple(OptionScore(text, logprobs[text], 2) for text in request.options)
        return Response((Completion("cat", None, "stop"),) * request.n, scores, (0.0, 1.0), 12)

    return ScriptedLALM(reply)


def test_each_node_asks_its_own_prompt(task: Task) -> None:
    model = ScriptedLALM(["Sound", "words", "a bark", "dog"])
    nodes = [node(model, Decoding()) for node in (LalmTypeIdentifier, LalmASR, LalmCaptioner, LalmAnswerer)]
    prompts = [node(task).prompt for node in nodes]
    assert prompts[0] == "Identify the type of audio. Select one option from the provided choices: Sound Music Speech"
    assert prompts[1:3] == ["What is the Speech content?", "What is the Sound content?"]
    assert prompts[3] is not None
    assert prompts[3].startswith("The Sound content is: a bark Which?")
    assert all(request.sound is task.sound for request in model.asked)


def test_generated_answer_comes_with_probabilities_of_the_distinct_choices(task: Task) -> None:
    result = LalmAnswerer(scored(dog=-2.0, cat=-1.0), Decoding())(task)
    assert result.text == "cat"
    assert result.option_probs is not None
    assert dict(result.option_probs)["cat"] == pytest.approx(0.6225, abs=1e-4)
    assert sum(p for _, p in result.option_probs) == pytest.approx(1)


def test_score_mode_takes_the_likeliest_choice(task: Task) -> None:
    result = LalmAnswerer(scored(dog=-2.0, cat=-8.0, IDK=-9.0), Decoding(), "score")(task)
    assert result.text == "dog"
    assert [text for text, _ in result.option_probs or ()] == ["dog", "cat"]


def test_score_mode_abstains_where_idk_is_likeliest(task: Task) -> None:
    assert LalmAnswerer(scored(dog=-2.0, cat=-8.0, IDK=-1.0), Decoding(), "score")(task).text == "IDK"


def test_score_mode_does_not_offer_idk_to_the_baseline(task: Task) -> None:
    model = scored(dog=-2.0, cat=-8.0)
    LalmAnswerer(model, Decoding(), "score")(replace(task, method=Method.BASELINE))
    assert model.asked[0].options == ("dog", "cat")


def test_score_mode_needs_choices_and_log_probabilities(task: Task) -> None:
    with pytest.raises(UsageError):
        LalmAnswerer(scored(), Decoding(), "score")(replace(task, question=replace(task.question, choices=())))
    with pytest.raises(PermanentBackendError):
        LalmAnswerer(ScriptedLALM(["dog"]), Decoding(), "score")(task)


def test_a_reply_cut_off_says_so(task: Task) -> None:
    cut = Response((Completion("it is a", None, "length"),), None, (0.0, 1.0), 3, ("short window",))
    result = LalmCaptioner(ScriptedLALM([cut]), Decoding())(task)
    assert result.warnings[0] == "short window"
    assert "cut off" in result.warnings[1]


def test_a_model_that_takes_text_only_has_heard_nothing(task: Task) -> None:
    deaf = Response((Completion("dog", None, "stop"),), None, None, None, ("the model did not hear the clip",))
    assert LalmAnswerer(ScriptedLALM([deaf]), Decoding())(task).heard_s == (0.0, 0.0)


class Counting:
    """Counts its calls."""

    name = "counting"

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, task: Task) -> ToolResult:
        self.calls += 1
        return ToolResult(f"result {self.calls}")


def test_per_clip_keeps_results_by_clip_and_type(task: Task) -> None:
    tool = Counting()
    kept = PerClip(tool)
    first, again = kept(task), kept(task)
    other = kept(replace(task, audio_type=AudioType.MUSIC))
    assert (first.cached, again.cached, other.cached) == (False, True, False)
    assert (first.text, again.text, other.text) == ("result 1", "result 1", "result 2")
    assert kept.name == "counting"


def test_per_clip_keeps_no_failures(task: Task) -> None:
    class Failing(Counting):
        def __call__(self, task: Task) -> ToolResult:
            super().__call__(task)
            if self.calls == 1:
                raise PermanentBackendError("first")
            return ToolResult("fine")

    kept = PerClip(Failing())
    with pytest.raises(PermanentBackendError):
        kept(task)
    assert kept(task).text == "fine"


def test_per_clip_finds_a_result_once_for_threads_that_ask_at_the_same_time(task: Task) -> None:
    class Slow(Counting):
        def __call__(self, task: Task) -> ToolResult:
            time.sleep(0.05)
            return super().__call__(task)

    start = threading.Barrier(6)
    kept = PerClip(tool := Slow())

    def call(number: int) -> ToolResult:
        start.wait(20)
        return kept(replace(task, audio_type=AudioType.MUSIC if number % 2 else AudioType.SOUND))

    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(call, range(6)))
    assert tool.calls == 2
    assert sorted(result.cached for result in results) == [False] * 2 + [True] * 4
    assert len({result.text for result in results[::2]}) == len({result.text for result in results[1::2]}) == 1


def test_per_clip_goes_on_after_the_failure_of_the_thread_that_all_wait_for(task: Task) -> None:
    class Failing(Counting):
        def __call__(self, task: Task) -> ToolResult:
            time.sleep(0.02)
            if super().__call__(task).text == "result 1":
                raise PermanentBackendError("first")
            return ToolResult("fine")

    kept = PerClip(tool := Failing())

    def call(_: int) -> str:
        try:
            return kept(task).text
        except PermanentBackendError:
            return "failed"

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(call, range(4))) == ["failed", "fine", "fine", "fine"]
    assert tool.calls == 2


@pytest.mark.parametrize(("gap", "said"), [(None, False), (0.5, False), (1e-3, False), (9e-4, True), (0.0, True)])
def test_a_reply_that_hangs_on_rounding_says_so(task: Task, gap: float | None, said: bool) -> None:
    model = ScriptedLALM([Response((Completion("dog", None, "stop", gap),), None, (0.0, 1.0), 3)])
    assert [w.startswith("a close call") for w in LalmCaptioner(model, Decoding())(task).warnings] == [True] * said


@pytest.mark.parametrize(("cat", "said"), [(-2.0, True), (-2.001, True), (-2.01, False)])
def test_a_score_that_hangs_on_rounding_says_so(task: Task, cat: float, said: bool) -> None:
    result = LalmAnswerer(scored(dog=-2.0, cat=cat, IDK=-9.0), Decoding(), "score")(task)
    assert result.text == "dog"
    assert [warning.startswith("a close call") for warning in result.warnings] == [True] * said


def test_an_answer_is_asked_for_by_id_and_draw(task: Task) -> None:
    model = scored(dog=-2.0, cat=-1.0)
    LalmAnswerer(model, Decoding())(replace(task, question=replace(task.question, id="q", draw=3)))
    assert (model.asked[0].key, model.asked[0].draw) == ("q", 3)
