"""An agent as an evaluation asks it: benchmark items, draws, adapters, batches, and what is put around the model."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lalm_agent import Agent, Answer, DataError, Status, UsageError
from lalm_agent.errors import PermanentBackendError
from lalm_agent.models.base import LALM, Decoding, Request
from lalm_agent.models.scripted import ScriptedLALM
from lalm_agent.models.wrappers import MicroBatch
from lalm_agent.prompts import prompt_hashes
from lalm_agent.records import Method
from lalm_agent.registry import Task, ToolResult

ANIMALS = ("dog", "cat")


@pytest.fixture
def clip(write_clip: Callable[..., Path]) -> Path:
    return write_clip()


def echo(request: Request) -> str:
    return "Sound" if "Identify" in request.turns[0].text else "dog"


# --- items -----------------------------------------------------------------------------------------------------------


def test_an_item_may_have_an_empty_choice(clip: Path) -> None:
    model = ScriptedLALM(["cat"])
    answer = Agent(model=model, method="idk").ask_item(clip, " Which? ", ("dog", "cat", ""), "item-7", 2)
    assert (answer.status, answer.choice) == (Status.ANSWERED, 1)
    request = model.asked[0]
    assert request.turns[0].text.startswith("Which? Select one option from the provided choices: dog cat Output")
    assert (request.options, request.key, request.draw) == (ANIMALS, "item-7", 2)
    with pytest.raises(UsageError, match="a choice is empty"):
        Agent(model=model, method="idk").ask(clip, "Which?", ("dog", "cat", ""))


def test_an_empty_reply_is_not_the_empty_choice(clip: Path) -> None:
    answer = Agent(model=ScriptedLALM([" "]), method="idk").ask_item(clip, "Which?", ("dog", "cat", ""))
    assert (answer.status, answer.choice) == (Status.UNPARSED, None)


@pytest.mark.parametrize(
    ("text", "choices", "said"),
    [(" ", ANIMALS, "question is empty"), ("Which?", ("dog",), "one choice"), ("Which?", "dog", "are one text")],
)
def test_what_no_item_can_be(clip: Path, text: str, choices: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Agent(model=ScriptedLALM([])).ask_item(clip, text, choices)


def test_an_open_item_is_not_scored(clip: Path) -> None:
    with pytest.raises(UsageError, match="nothing to score"):
        Agent(model=ScriptedLALM([]), answer_mode="score").ask_item(clip, "What?", ())


def test_a_clip_that_cannot_be_opened() -> None:
    agent = Agent(model=ScriptedLALM(echo))
    with pytest.raises(DataError, match="does not exist"):
        agent.ask_item("missing.wav", "Which?", ANIMALS)


@pytest.mark.parametrize("error", [PermanentBackendError("no"), DataError("no")])
def test_a_failure_says_of_what_kind_it_is(clip: Path, error: Exception) -> None:
    answer = Agent(model=ScriptedLALM([error]), method="idk").ask_item(clip, "Which?", ANIMALS)
    assert answer.failure is not None
    assert (answer.failure.kind, answer.failure.message) == (type(error).__name__, "no")


# --- the identity of a run -------------------------------------------------------------------------------------------


def test_what_a_run_records_is_known_without_loading() -> None:
    agent = Agent(model="owner/name", preset="paper", max_new_tokens=9, temperature=0.5, seed=4)
    assert agent.decoding == Decoding(9, 0.5, seed=4)
    assert agent.tool_names == dict.fromkeys(("type", "asr", "caption", "answer"), "lalm")
    assert Agent(model="owner/name", method="idk").tool_names == {"answer": "lalm"}


def test_the_spec_is_that_of_the_answering_model(clip: Path) -> None:
    model = ScriptedLALM(echo)
    assert Agent(model=model, method="idk").spec is model.spec


# --- sampling --------------------------------------------------------------------------------------------------------


def test_only_the_answer_is_sampled(clip: Path) -> None:
    model = ScriptedLALM(echo)
    Agent(model=model, preset="paper", temperature=0.7, seed=5).ask_item(clip, "Which?", ANIMALS, "q", 3)
    assert [request.decoding.temperature for request in model.asked] == [0, 0, 0.7]
    assert (model.asked[-1].decoding.seed, model.asked[-1].draw) == (5, 3)


def test_draws_of_a_question_differ_and_come_again(clip: Path, tiny_checkpoint: Path) -> None:
    def texts() -> list[str | None]:
        agent = Agent(model=str(tiny_checkpoint), method="idk", temperature=1.5, max_new_tokens=4, seed=1)
        return [agent.ask_item(clip, "Which?", ANIMALS, "q", draw).steps[-1].output for draw in range(3)]

    assert texts() == texts()
    assert len(set(texts())) > 1


# --- lora ------------------------------------------------------------------------------------------------------------


class Adapted(ScriptedLALM):
    """Says which adapter is on."""

    def with_adapter(self, folder: str) -> ScriptedLALM:
        return ScriptedLALM(lambda _: "cat", f"scripted:{folder}")


def test_lora_asks_the_adapted_model_as_the_baseline_asks(clip: Path) -> None:
    wrapped: list[str] = []

    def wrap(model: LALM) -> LALM:
        wrapped.append(model.spec.info.ref)
        return model

    agent = Agent(model=Adapted(echo), method="lora", adapter="trained", wrap=wrap)
    baseline = Agent(model=ScriptedLALM(echo), method="baseline").ask_item(clip, "Which?", ANIMALS)
    answer = agent.ask_item(clip, "Which?", ANIMALS)
    assert (answer.answer, answer.method, answer.model.ref) == ("cat", "lora", "scripted:trained")
    assert answer.steps[-1].prompt == baseline.steps[-1].prompt
    assert prompt_hashes(Method.LORA) == prompt_hashes(Method.BASELINE)
    assert wrapped == ["scripted:trained"]


def test_lora_needs_an_adapter() -> None:
    with pytest.raises(UsageError, match="the method lora needs an adapter"):
        Agent(model="mini", method="lora")


def test_with_an_adapter_both_models_are_wrapped(clip: Path) -> None:
    wrapped: list[str] = []
    agent = Agent(
        model=Adapted(echo),
        preset="paper",
        adapter="trained",
        wrap=lambda model: wrapped.append(model.spec.info.ref) or model,  # type: ignore[func-returns-value]
    )
    assert agent.ask_item(clip, "Which?", ANIMALS).answer == "cat"
    assert sorted(wrapped) == ["scripted:-", "scripted:trained"]


# --- batches ---------------------------------------------------------------------------------------------------------


def test_questions_of_several_threads_share_batches(
    write_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    generate = MicroBatch._ask

    def counted(self: MicroBatch, requests: Any) -> Any:
        sizes.append(len(requests))
        return generate(self, requests)

    monkeypatch.setattr(MicroBatch, "_ask", counted)
    clips = [write_clip(name=f"{number}.wav") for number in range(8)]
    agents = {rows: Agent(model="mini", preset="paper", batch_rows=rows, dtype="float32") for rows in (1, 4)}

    def ask(agent: Agent, path: Path) -> Answer:
        return agent.ask_item(path, "Which animal is heard?", ANIMALS, path.name)

    alone = [ask(agents[1], path) for path in clips]
    assert sizes == []
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda path: ask(agents[4], path), clips))
    assert 1 < max(sizes) <= 4
    for single, other in zip(alone, together, strict=True):
        assert [step.output for step in other.steps] == [step.output for step in single.steps]
        assert (other.status, other.choice) == (single.status, single.choice)
        assert other.confidence == pytest.approx(single.confidence, abs=1e-4)


def test_a_batch_of_no_rows_is_refused() -> None:
    with pytest.raises(UsageError, match="holds no question"):
        Agent(model="mini", batch_rows=0)


def test_two_questions_about_one_clip_share_its_steps(clip: Path) -> None:
    start = threading.Barrier(4)
    model = ScriptedLALM(echo)
    agent = Agent(model=model, preset="paper")

    def ask(number: int) -> Answer:
        start.wait(20)
        return agent.ask_item(clip, f"Which {number}?", ANIMALS)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(4)))
    first_steps = [answer.steps[0] for answer in answers]
    assert sorted(step.cached for step in first_steps) == [False, True, True, True]
    assert len(model.asked) == 1 + 1 + 4


def test_items_of_own_tools_know_their_draw(clip: Path) -> None:
    seen: list[tuple[str, int]] = []

    def own(task: Task) -> ToolResult:
        seen.append((task.question.id, task.question.draw))
        return ToolResult("dog")

    agent = Agent(model=ScriptedLALM([]), method="idk", tools={"answer": own})
    for draw in range(2):
        assert agent.ask_item(clip, "Which?", ANIMALS, "q", draw).answer == "dog"
    assert seen == [("q", 0), ("q", 1)]
