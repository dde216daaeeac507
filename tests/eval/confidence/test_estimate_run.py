"""`estimate_confidence` over runs of stand-in models: rows, resume, growth, and what is refused before a question."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lalm_agent import AgentConfig
from lalm_agent.artefacts import MismatchError
from lalm_agent.errors import BudgetSpent, DataError, PermanentBackendError, UsageError
from lalm_agent.eval import EvaluateRequest, evaluate
from lalm_agent.eval.confidence.calibrate import usable
from lalm_agent.eval.confidence.estimate import (
    ConfidenceFolder,
    ConfidenceObserver,
    ConfidenceRequest,
    ConfidenceStart,
    estimate_confidence,
)
from lalm_agent.eval.confidence.records import EstimateRow, read_estimates
from lalm_agent.eval.items import Benchmark, Item
from lalm_agent.eval.runs.folder import ANSWERS
from lalm_agent.models.base import Completion, ModelSpec, OptionScore, Request, Response
from lalm_agent.records import ModelInfo

CHOICES = ("dog", "cat", "cow", "frog")
ALL = ("option", "margin", "entropy", "agreement", "semantic_entropy", "permutation", "ptrue", "silence", "verbal")


class Hears:
    """A model that takes a clip for a dog, sure of it in so far as it is loud, and of nothing in silence."""

    def __init__(self, **spec: Any) -> None:
        info = ModelInfo("own:Hears", None, "a" * 64)
        self.spec = replace(ModelSpec(info, None, "cpu", "float32"), **spec)
        self.calls: list[list[Request]] = []

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        self.calls.append(list(requests))
        return [self._response(request) for request in requests]

    def _response(self, request: Request) -> Response:
        loud = float(np.abs(request.sound.samples).max()) if request.sound else 0.0
        texts = tuple("dog" if draw % 2 == 0 else "cat" for draw in range(request.draw, request.draw + request.n))
        weights = [1 + 4 * loud * (option in ("dog", "True")) for option in request.options]
        scores = tuple(
            OptionScore(option, log(weight / sum(weights)), 1)
            for option, weight in zip(request.options, weights, strict=True)
        )
        given = scores if request.options and self.spec.scores_options else None
        completions = tuple(Completion(text, None, "stop") for text in texts)
        return Response(completions, given, (0.0, 1.0) if request.sound else None, None)


def benchmark(root: Path, count: int) -> Benchmark:
    root.mkdir(exist_ok=True)
    for n in range(count):
        samples = np.random.default_rng(n).uniform(-0.5, 0.5, 1600) * (n + 1) / 10
        soundfile.write(root / f"{n}.wav", samples, 16000)
    groups = (("modality", "sound"),)
    items = tuple(Item(f"q{n}", f"{n}.wav", "Which animal?", CHOICES, CHOICES[n % 2], groups) for n in range(count))
    return Benchmark("made", None, "c" * 64, items, root)


@pytest.fixture
def run_of(tmp_path: Path) -> Callable[..., Path]:
    """The folder of a run over n questions, grown where it is there."""

    def make(count: int = 6, model: Any = None, name: str = "run", **fields: Any) -> Path:
        config = AgentConfig(method=fields.pop("method", "baseline"), temperature=fields.pop("temperature", 0.0))
        data, out = benchmark(tmp_path / "audio", count), tmp_path / name
        evaluate(EvaluateRequest(data=data, out=out, config=config, loaded_model=model or Hears(), **fields))
        return out

    return make


def estimated(run: Path, model: Any = None, observer: Any = None, **fields: Any) -> ConfidenceFolder:
    request = ConfidenceRequest(run=run, out=run.parent / "conf", loaded_model=model or Hears(), **fields)
    return estimate_confidence(request, observer)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Watch(ConfidenceObserver):
    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None:
        self.told.append(text)

    def started(self, start: ConfidenceStart) -> None:
        self.told.append(f"started {start.there} of {start.total}")

    def estimated(self, row: EstimateRow) -> None:
        self.told.append(row.question)


def test_questions_that_a_run_has_not_asked_yet_are_said(run_of: Callable[..., Path]) -> None:
    answers, told = (run := run_of(6)) / ANSWERS, list[str]()
    answers.write_text("".join(answers.read_text(encoding="utf-8").splitlines(keepends=True)[:-2]), encoding="utf-8")
    assert len(usable(read_estimates(run), told.append)) == 4
    assert "2 of its questions are not asked yet" in told[0]


# --- rows ------------------------------------------------------------------------------------------------------------


def test_every_answer_gets_a_row_by_one_call_each_and_the_run_is_left_as_it_was(
    run_of: Callable[..., Path],
) -> None:
    run, model = run_of(6), Hears()
    before = contents(run)
    folder = estimated(run, model, estimators=ALL)
    assert contents(run) == before
    assert len(model.calls) == len(folder.rows) == 6
    row = folder.rows["q3", 0]
    assert row.values.keys() == set(ALL)
    assert (row.modality, row.outcome, row.seen) == ("sound", "wrong", False)
    loud = 1 + 4 * 0.2 * (1 - 1 / 1600)
    assert row.values["option"] == pytest.approx(loud / (loud + 3), abs=0.01)
    assert row.values["silence"] == pytest.approx(loud / (loud + 3) - 0.25, abs=0.01)
    assert row.values["permutation"] == 1.0
    assert row.values["agreement"] == pytest.approx(2 / 5)  # draws 1 to 5: cat, dog, cat, dog, cat
    assert row.values["verbal"] is None
    assert read_estimates(folder.path).rows == tuple(folder.rows.values())


def test_what_is_asked_is_what_the_run_asked_about_the_clip_that_it_heard(run_of: Callable[..., Path]) -> None:
    model = Hears()
    run = run_of(3, method="idk")
    answers = [json.loads(line) for line in (run / "answers.jsonl").read_text("utf-8").splitlines()]
    estimated(run, model, estimators=("option",))
    asked = {call[0].sound.ref.sha256: call[0].turns[0].text for call in model.calls if call[0].sound}
    assert asked == {answer["audio_sha256"]: answer["prompt"] for answer in answers}


def test_shuffled_choices_are_read_in_the_order_that_was_shown(run_of: Callable[..., Path]) -> None:
    model = Hears()
    estimated(run_of(6, shuffle_choices=True), model, estimators=("option", "permutation"))
    shown = {call[0].options for call in model.calls}
    assert len(shown) > 1
    assert all(sorted(options) == sorted(CHOICES) for options in shown)


def test_an_answer_that_a_run_could_not_get_has_a_row_without_values(run_of: Callable[..., Path]) -> None:
    class Fails(Hears):
        def generate(self, requests: Sequence[Request]) -> list[Response]:
            if requests[0].key == "q2":
                raise PermanentBackendError("no")
            return super().generate(requests)

    folder = estimated(run_of(6, Fails()), Hears(), estimators=ALL)
    assert folder.rows["q2", 0].outcome == "failed"
    assert set(folder.rows["q2", 0].values.values()) == {None}


@pytest.mark.parametrize("audio", ["silence", "swap"])
def test_a_blind_run_is_asked_again_about_what_it_heard(audio: str, run_of: Callable[..., Path]) -> None:
    heard, model = Hears(), Hears()
    run = run_of(4, heard, audio=audio)
    estimated(run, model, estimators=("option",))
    first = {call[0].key: call[0].sound.samples for call in heard.calls if call[0].sound}
    again = [call[0].sound.samples for call in model.calls if call[0].sound]
    assert len(again) == 4
    assert all(any(np.array_equal(samples, other) for other in first.values()) for samples in again)


# --- draws -----------------------------------------------------------------------------------------------------------


def test_a_bank_s_own_draws_are_used_and_nothing_is_drawn(run_of: Callable[..., Path]) -> None:
    model = Hears()
    run = run_of(3, draws=4, temperature=1.0)
    folder = estimated(run, model, estimators=("agreement", "semantic_entropy"))
    assert model.calls == []
    # Draws 1, 2 and 3 of the bank: cat, dog, cat.
    assert {row.values["agreement"] for row in folder.rows.values()} == {1 / 3}
    assert folder.spec is not None
    assert folder.spec.identity.estimators["agreement"] == {"draws": 3, "source": "the run's own"}


def test_draws_are_seeded_and_as_many_as_asked_for(run_of: Callable[..., Path]) -> None:
    model = Hears()
    folder = estimated(run_of(2), model, estimators=("agreement",), draws=7, seed=5)
    assert {(call[0].n, call[0].decoding.seed, call[0].decoding.temperature) for call in model.calls} == {(7, 5, 1.0)}
    assert folder.spec is not None
    parameters = {"draws": 7, "source": "sampled", "temperature": 1.0, "seed": 5}
    assert folder.spec.identity.estimators == {"agreement": parameters}


# --- resume ----------------------------------------------------------------------------------------------------------


def test_a_run_that_grows_adds_rows_and_asks_nothing_again(run_of: Callable[..., Path]) -> None:
    first, again, more = Hears(), Hears(), Hears()
    estimated(run_of(4), first, estimators=ALL)
    folder = estimated(run_of(4), again, estimators=ALL)
    assert (len(first.calls), again.calls, len(folder.rows)) == (4, [], 4)
    watch = Watch()
    folder = estimated(run_of(7), more, watch, estimators=ALL)
    assert (len(more.calls), len(folder.rows)) == (3, 7)
    assert watch.told[1] == "started 4 of 7"


def test_what_was_estimated_before_the_limit_of_requests_is_kept(run_of: Callable[..., Path]) -> None:
    run, rest = run_of(6), Hears()
    with pytest.raises(BudgetSpent):
        estimated(run, estimators=("option",), max_requests=4)
    assert len(read_estimates(run.parent / "conf").rows) == 4
    folder = estimated(run, rest, estimators=("option",))
    assert (len(rest.calls), len(folder.rows)) == (2, 6)


KILLED = """
import sys
from pathlib import Path
from test_estimate_run import Hears, estimated, os, signal
class Dies(Hears):
    def generate(self, requests):
        if len(self.calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().generate(requests)
estimated(Path(sys.argv[1]), Dies(), estimators=("option", "agreement"))
"""


def test_a_killed_study_goes_on_where_it_stopped(run_of: Callable[..., Path]) -> None:
    run, rest = run_of(6), Hears()
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([sys.executable, "-c", KILLED, str(run)], env=environment, check=False, timeout=100)
    assert done.returncode == -signal.SIGKILL
    with (run.parent / "conf" / "estimates.jsonl").open("a", encoding="utf-8") as journal:
        journal.write('{"question": "q')
    folder = estimated(run, rest, estimators=("option", "agreement"))
    assert (len(rest.calls), len(folder.rows)) == (3, 6)
    (run.parent / "conf").rename(run.parent / "killed")
    assert estimated(run, estimators=("option", "agreement")).rows == folder.rows


def test_failed_questions_are_said_and_asked_again_by_the_next_call(run_of: Callable[..., Path]) -> None:
    class Fails(Hears):
        def generate(self, requests: Sequence[Request]) -> list[Response]:
            if requests[0].sound and requests[0].sound.ref.path.endswith(("1.wav", "4.wav")):
                raise PermanentBackendError("too long", "shorten it")
            return super().generate(requests)

    run, rest = run_of(6), Hears()
    with pytest.raises(PermanentBackendError, match="2 of 6 answers could not be estimated: too long") as failed:
        estimated(run, Fails(), estimators=("option",))
    assert str(failed.value.hint).startswith("shorten it; then the same command")
    folder = estimated(run, rest, estimators=("option",))
    assert (len(rest.calls), len(folder.rows)) == (2, 6)


def test_a_model_that_always_fails_is_not_asked_to_the_end(run_of: Callable[..., Path]) -> None:
    class Broken(Hears):
        def generate(self, requests: Sequence[Request]) -> list[Response]:
            self.calls.append(list(requests))
            raise PermanentBackendError("broken")

    model = Broken()
    with pytest.raises(PermanentBackendError, match=r"^broken$"):
        estimated(run_of(8), model, estimators=("option",))
    assert len(model.calls) == 5


# --- what is refused -------------------------------------------------------------------------------------------------


def test_what_a_model_cannot_give_is_left_out_or_refused_before_anything_is_asked(
    run_of: Callable[..., Path],
) -> None:
    run, model, watch = run_of(3, Hears(scores_options=False)), Hears(scores_options=False), Watch()
    with pytest.raises(UsageError, match=r"^option, ptrue: own:Hears gives no probabilities"):
        estimated(run, model, estimators=("option", "ptrue", "agreement"))
    assert model.calls == []
    assert not (run.parent / "conf").exists()
    folder = estimated(run, model, watch)
    assert watch.told[:3] == [
        "loading the model",
        "left out: option, margin, entropy, ptrue, silence: own:Hears gives no probabilities of given replies",
        "left out: type_margin, asr_logprob, no_speech, baseline_agreement: the method baseline has no steps before "
        "the answer",
    ]
    assert folder.rows["q0", 0].values.keys() == {"agreement", "semantic_entropy", "permutation", "verbal"}
    assert folder.rows["q0", 0].values["permutation"] == 1.0


def test_another_model_is_refused_with_what_differs(run_of: Callable[..., Path]) -> None:
    other = Hears(info=ModelInfo("own:Hears", None, "b" * 64))
    with pytest.raises(UsageError, match="not the one that answered the run") as refused:
        estimated(run_of(3), other, estimators=("option",))
    assert refused.value.fields == (f"weights_sha256: {'a' * 64} in the run, {'b' * 64} now",)
    assert other.calls == []


def test_other_estimators_need_another_folder(run_of: Callable[..., Path]) -> None:
    run = run_of(3)
    estimated(run, estimators=("option", "agreement"))
    with pytest.raises(MismatchError) as refused:
        estimated(run, estimators=("option", "agreement"), seed=1)
    assert refused.value.fields == ("estimators.agreement.seed: 0 in the run, 1 now",)


def test_another_recording_under_the_clip_s_name_is_refused(run_of: Callable[..., Path], tmp_path: Path) -> None:
    run = run_of(3)
    soundfile.write(tmp_path / "audio" / "1.wav", np.zeros(1600), 16000)
    with pytest.raises(DataError, match=r"1 of 3 answers .* the clip '1.wav' is another recording"):
        estimated(run, estimators=("option",))
    assert len(read_estimates(tmp_path / "conf").rows) == 2


def test_clips_that_are_gone_and_folders_that_are_no_run_are_said(run_of: Callable[..., Path], tmp_path: Path) -> None:
    run = run_of(3)
    with pytest.raises(UsageError, match="is no run"):
        estimated(tmp_path / "audio")
    (tmp_path / "audio").rename(tmp_path / "moved")
    with pytest.raises(DataError, match="does not exist"):
        estimated(run, estimators=("option",))
    folder = estimated(run, estimators=("option",), audio_root=tmp_path / "moved")
    assert len(folder.rows) == 3


def test_an_answer_that_was_asked_again_after_a_failure_is_estimated_again(run_of: Callable[..., Path]) -> None:
    class Fails(Hears):
        def generate(self, requests: Sequence[Request]) -> list[Response]:
            raise PermanentBackendError("out of order")

    run = run_of(2, Fails())
    assert {row.outcome for row in estimated(run, estimators=("option",)).rows.values()} == {"failed"}
    run_of(2, retry_failed=True)
    folder = estimated(run, estimators=("option",))
    assert {row.outcome for row in folder.rows.values()} == {"correct", "wrong"}
    assert all(row.values["option"] is not None for row in read_estimates(folder.path).rows)


def test_an_estimator_without_parameters_is_told_from_none(run_of: Callable[..., Path]) -> None:
    run = run_of(2)
    estimated(run, estimators=("option",))
    with pytest.raises(MismatchError, match="margin"):
        estimated(run, estimators=("option", "margin"))


def changed_answers(run: Path, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
    """Write a run's answers anew; None leaves one out."""
    rows = [change(json.loads(line)) for line in (run / "answers.jsonl").read_text("utf-8").splitlines()]
    text = "".join(json.dumps(row) + "\n" for row in rows if row is not None)
    (run / "answers.jsonl").write_text(text, "utf-8")


def test_clips_that_the_adapter_was_trained_on_are_not_asked_about(run_of: Callable[..., Path]) -> None:
    run, model = run_of(3), Hears()
    changed_answers(run, lambda row: {**row, "seen": row["id"] == "q1"})
    folder = estimated(run, model, estimators=("option",))
    assert len(model.calls) == 2
    assert (folder.rows["q1", 0].seen, folder.rows["q1", 0].values) == (True, {"option": None})


def test_a_question_waits_until_all_its_draws_are_there(run_of: Callable[..., Path]) -> None:
    run = run_of(3, draws=4, temperature=1.0)
    whole = (run / "answers.jsonl").read_bytes()
    changed_answers(run, lambda row: None if (row["id"], row["draw"]) == ("q1", 3) else row)
    assert estimated(run, estimators=("agreement",)).rows.keys() == {("q0", 0), ("q2", 0)}
    (run / "answers.jsonl").write_bytes(whole)
    assert estimated(run, estimators=("agreement",)).rows["q1", 0].values["agreement"] == 1 / 3
