"""Asking: threads, failures, budgets, a full disk, Ctrl-C."""

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import soundfile

from lalm_agent.artefacts import StorageError
from lalm_agent.audio import load
from lalm_agent.errors import BudgetSpent, DataError, Dropped, PermanentBackendError
from lalm_agent.eval.runs.ask import STOP_AT_START, STOP_LATER, Asker, ask_all
from lalm_agent.eval.runs.controls import PretrainedError
from lalm_agent.eval.runs.records import ClipFile, QuestionDraw, RunItem, StoredAnswer
from lalm_agent.records import Failure, Status


def real(item: Any) -> ClipFile:
    return ClipFile(item.audio)


@pytest.fixture
def works(make_items: Any) -> Callable[[int], list[QuestionDraw]]:
    return lambda count: [QuestionDraw(RunItem(item), 0) for item in make_items(count)]


def failing(answer_to: Any, words: Callable[[str], str | None]) -> Any:
    """Asks, and fails with these words where there are any."""

    def ask(audio: str, text: str, choices: Any, id: str, draw: int) -> Any:
        said = words(id)
        answer = answer_to(audio, text, choices, id, draw)
        if said is None:
            return replace(answer, status=Status.ANSWERED, answer=choices[0], choice=0, failure=None)
        failure = Failure("answer", said, "check the key", 2, "PermanentBackendError")
        return replace(answer, status=Status.FAILED, answer=None, choice=None, failure=failure, steps=())

    return ask


def test_answers_are_the_same_with_one_thread_and_with_eight(works: Any, answer_to: Any) -> None:
    def slow(audio: str, text: str, choices: Any, id: str, draw: int) -> Any:
        time.sleep(0.003 if int(id[1:]) % 3 else 0)
        return answer_to(audio, text, choices, id, draw)

    def answers_of(threads: int) -> list[StoredAnswer]:
        kept: list[StoredAnswer] = []
        ask_all(works(60), Asker(slow, real), kept.append, threads)
        return sorted((replace(answer, seconds=0.0) for answer in kept), key=lambda answer: answer.key)

    assert answers_of(1) == answers_of(8)
    assert len(answers_of(8)) == 60


@pytest.mark.parametrize(("draws", "threads", "questions_out"), [(3, 3, 1), (3, 5, 3), (3, 6, 4), (5, 3, 1), (1, 4, 4)])
def test_draws_of_a_question_are_out_together(
    works: Any, answer_to: Any, draws: int, threads: int, questions_out: int
) -> None:
    """Handed out when there is room for all of them: with one draw of every other question still out, so many."""
    questions = [QuestionDraw(work.run_item, draw) for work in works(8) for draw in range(draws)]
    out: list[str] = []
    most: list[int] = []
    lock = threading.Lock()

    def ask(audio: str, text: str, choices: Any, id: str, draw: int) -> Any:
        with lock:
            out.append(id)
            most.append(len(set(out)))
        time.sleep(0.002)
        with lock:
            out.remove(id)
        return answer_to(audio, text, choices, id, draw)

    kept: list[StoredAnswer] = []
    ask_all(questions, Asker(ask, real), kept.append, threads)
    assert {answer.key for answer in kept} == {work.key for work in questions}
    assert max(most) <= questions_out


def test_no_more_than_concurrency_are_out_unwritten(works: Any, answer_to: Any) -> None:
    begun, written, most = 0, 0, 0
    lock = threading.Lock()

    def ask(*arguments: Any, **named: Any) -> Any:
        nonlocal begun, most
        with lock:
            begun += 1
            most = max(most, begun - written)
        return answer_to(*arguments, **named)

    def keep(answer: StoredAnswer) -> None:
        nonlocal written
        time.sleep(0.002)
        with lock:
            written += 1

    ask_all(works(40), Asker(ask, real), keep, 4)
    assert written == 40
    assert 1 < most <= 4


def test_answers_are_kept_by_the_calling_thread(works: Any, answer_to: Any) -> None:
    writers = set()
    ask_all(works(9), Asker(answer_to, real), lambda answer: writers.add(threading.current_thread()), 3)
    assert writers == {threading.current_thread()}


def test_a_clip_that_cannot_be_read_fails_its_question_alone(works: Any, answer_to: Any) -> None:
    def ask(audio: str, text: str, choices: Any, id: str, draw: int) -> Any:
        if id in ("q1", "q2"):
            raise DataError(f"{audio} is not audio", "give a wav")
        return answer_to(audio, text, choices, id, draw)

    kept: list[StoredAnswer] = []
    ask_all(works(5), Asker(ask, real), kept.append, 2)
    failed = {answer.id: answer.failure for answer in kept if answer.failure and answer.failure.node == "listen"}
    assert set(failed) == {"q1", "q2"}
    assert failed["q1"] == Failure("listen", "1.wav is not audio", "give a wav", 2, "DataError")


@pytest.mark.parametrize("threads", [1, 4])
def test_a_wrong_key_ends_the_run_early(works: Any, answer_to: Any, threads: int) -> None:
    kept: list[StoredAnswer] = []
    asker = Asker(failing(answer_to, lambda id: "the key was refused"), real)
    with pytest.raises(PermanentBackendError, match="in a row failed: the key was refused") as stopped:
        ask_all(works(100), asker, kept.append, threads)
    assert STOP_AT_START <= len(kept) < STOP_AT_START + threads
    assert stopped.value.hint == "check the key; then the same command with --retry-failed"


def test_after_a_success_more_failures_are_borne(works: Any, answer_to: Any) -> None:
    kept: list[StoredAnswer] = []
    asker = Asker(failing(answer_to, lambda id: None if id == "q0" else "the server is gone"), real)
    with pytest.raises(PermanentBackendError):
        ask_all(works(100), asker, kept.append, 1)
    assert len(kept) == 1 + STOP_LATER


def test_failures_with_other_words_or_broken_by_an_answer_do_not_end_a_run(works: Any, answer_to: Any) -> None:
    kept: list[StoredAnswer] = []
    ask_all(works(40), Asker(failing(answer_to, lambda id: f"refused {id}"), real), kept.append, 1)
    every_fifth = failing(answer_to, lambda id: None if int(id[1:]) % 5 == 4 else "refused")
    ask_all(works(40), Asker(every_fifth, real), kept.append, 1)
    assert len(kept) == 80


def test_a_spent_budget_keeps_what_was_answered_and_stores_no_failure(works: Any, answer_to: Any) -> None:
    left = [7]

    def ask(*arguments: Any, **named: Any) -> Any:
        if not left[0]:
            raise BudgetSpent("7 requests were sent", "the same command goes on")
        left[0] -= 1
        return answer_to(*arguments, **named)

    kept: list[StoredAnswer] = []
    with pytest.raises(BudgetSpent):
        ask_all(works(30), Asker(ask, real), kept.append, 1)
    assert [answer.id for answer in kept] == [f"q{n}" for n in range(7)]


def test_a_bug_ends_the_run_and_keeps_what_was_answered(works: Any, answer_to: Any) -> None:
    def ask(audio: str, text: str, choices: Any, id: str, draw: int) -> Any:
        if id == "q3":
            raise ZeroDivisionError("a bug")
        return answer_to(audio, text, choices, id, draw)

    kept: list[StoredAnswer] = []
    with pytest.raises(ZeroDivisionError):
        ask_all(works(30), Asker(ask, real), kept.append, 2)
    assert {"q0", "q1", "q2"} <= {answer.id for answer in kept}
    assert len(kept) <= 5


def test_a_full_disk_stops_and_is_said_once(works: Any, answer_to: Any) -> None:
    kept: list[StoredAnswer] = []

    def keep(answer: StoredAnswer) -> None:
        if len(kept) == 5:
            raise StorageError("the disk is full", "free space")
        kept.append(answer)

    with pytest.raises(StorageError, match="the disk is full"):
        ask_all(works(30), Asker(answer_to, real), keep, 3)
    assert len(kept) == 5


def test_ctrl_c_waits_for_what_is_out_and_keeps_it(works: Any, answer_to: Any) -> None:
    told: list[int] = []
    kept: list[StoredAnswer] = []
    begun: list[str] = []

    def ask(audio: str, text: str, choices: Any, id: str, draw: int) -> Any:
        begun.append(id)
        # By the id, which one thread has, and not by a count, which two may see: a second signal is another test.
        if id == "q9":
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.005)
        return answer_to(audio, text, choices, id, draw)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt) as interrupted:
        ask_all(works(200), Asker(ask, real), kept.append, 4, told.append)
    assert not isinstance(interrupted.value, Dropped)
    assert sorted(answer.id for answer in kept) == sorted(begun), "nothing that was asked is lost"
    assert 10 <= len(kept) < 30
    assert len(told) == 1
    assert 1 <= told[0] <= 4
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_does_not_wait(works: Any, answer_to: Any) -> None:
    release = threading.Event()

    def ask(audio: str, text: str, choices: Any, id: str, draw: int) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        release.wait(20)
        return answer_to(audio, text, choices, id, draw)

    start = time.monotonic()
    with pytest.raises(Dropped):
        ask_all(works(1), Asker(ask, real), lambda answer: None, 1, lambda out: os.kill(os.getpid(), signal.SIGINT))
    assert time.monotonic() - start < 10
    release.set()


def test_a_ctrl_c_that_wakes_nobody_is_still_noticed(works: Any, answer_to: Any) -> None:
    """A signal to another thread, or one just before the writer goes to sleep, does not end its wait by itself."""
    noticed = threading.Event()
    in_time: list[bool] = []

    def ask(audio: str, text: str, choices: Any, id: str, draw: int) -> Any:
        time.sleep(0.1)
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        in_time.append(noticed.wait(15))
        return answer_to(audio, text, choices, id, draw)

    kept: list[StoredAnswer] = []
    with pytest.raises(KeyboardInterrupt):
        ask_all(works(3), Asker(ask, real), kept.append, 1, lambda out: noticed.set())
    assert in_time == [True]
    assert [answer.id for answer in kept] == ["q0"]


def test_nothing_to_ask_is_no_error(answer_to: Any) -> None:
    ask_all([], Asker(answer_to, real), lambda answer: None, 8)


def test_no_gold_answer_reaches_the_model(works: Any, answer_to: Any) -> None:
    """All that `ask` is given is the clip, the text, the choices, the id and the draw."""
    seen: list[tuple[Any, ...]] = []

    def ask(*arguments: Any) -> Any:
        seen.append(arguments)
        return answer_to(*arguments)

    (work,) = works(1)
    Asker(ask, real)(work)
    item = work.run_item.item
    assert seen == [(item.audio, item.question, item.choices, item.id, 0)]


def test_a_mono_clip_that_was_saved_as_stereo_is_still_known(works: Any, answer_to: Any, write_clip: Any) -> None:
    mono = write_clip("mono.wav")
    samples, rate = soundfile.read(mono, dtype="int16")
    stereo = mono.with_name("stereo.wav")
    soundfile.write(stereo, np.stack([samples, samples], axis=1), rate, subtype="PCM_16")
    known = frozenset({load(mono).ref.sha256})

    def ask(audio: str, text: str, choices: Any, id: str, draw: int) -> Any:
        return replace(answer_to(audio, text, choices, "q0", draw), audio=load(stereo).ref)

    (work,) = works(1)
    assert Asker(ask, real, trained=known)(work).seen
    with pytest.raises(PretrainedError):
        Asker(ask, real, pretrained=known)(work)
