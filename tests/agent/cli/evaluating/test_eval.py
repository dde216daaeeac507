"""`lalm-agent eval` end to end with a model of one's own: what is asked, kept, said and refused."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lalm_agent.eval.runs.folder import run_outputs

Said = Callable[[], tuple[str, str]]


@pytest.mark.parametrize(("method", "requests"), [("baseline", 24), ("idk", 24), ("mcot", 24), ("agent", 24 + 12 + 12)])
def test_a_run_and_the_same_command_again(place: Any, said: Said, method: str, requests: int) -> None:
    assert place.eval("--method", method) == 0
    out, err = said()
    assert len(place.asks()) == requests
    assert len(place.answers()) == 24
    assert out.startswith("24 answers: correct ")
    assert "run folder: out\n" in out
    assert out.splitlines()[-1] == f"next: lalm-agent score {'' if method == 'baseline' else 'BASELINE '}out"
    nodes = ("type", "asr", "caption", "answer") if method == "agent" else ("answer",)
    assert f"tools: {', '.join(f'{node}=lalm' for node in nodes)}\n" in err
    spec = place.spec()
    assert spec["identity"]["method"] == method
    assert spec["identity"]["tools"] == dict.fromkeys(nodes, "lalm")
    assert spec["identity"]["weights_sha256"] == "f" * 64
    assert len(spec["identity"]["prompts"]) == (3 if method == "agent" else 1)
    lines = (place.path / "out" / "answers.jsonl").read_bytes()

    assert place.eval("--method", method) == 0
    out, err = said()
    assert "nothing to do: all 24 questions of out are answered" in err
    assert "loading" not in err
    assert len(place.asks()) == requests
    assert (place.path / "out" / "answers.jsonl").read_bytes() == lines
    assert place.spec() == spec


def test_threads_and_batches_change_no_answer(place: Any) -> None:
    for out, flags in {"one": [], "many": ["--concurrency", "8"], "batch": ["--batch-size", "4"]}.items():
        assert place.eval("--method", "agent", *flags, out=out) == 0
    assert place.answers("one") == place.answers("many") == place.answers("batch")
    assert place.spec("one")["run_id"] == place.spec("many")["run_id"] == place.spec("batch")["run_id"]
    assert place.spec("batch")["sessions"][0]["concurrency"] == 4


def test_a_limit_grows_and_does_not_shrink(place: Any, said: Said) -> None:
    assert place.eval("--method", "idk", "--limit", "5") == 0
    assert "5 of 24 questions in the order of a hash of their ids" in said()[1]
    first = place.answers()
    assert place.eval("--method", "idk", "--limit", "9") == 0
    assert "resume: 5 answers are there, 4 are left" in said()[1]
    assert len(place.asks()) == 9
    assert {key: line for key, line in place.answers().items() if key in first} == first
    assert place.eval("--method", "idk", "--limit", "3") == 2
    assert "error: the run has 9 questions, and --limit 3 asks for fewer" in said()[1]
    assert place.eval("--method", "idk") == 0
    assert len(place.asks()) == 24


def test_another_run_is_refused_field_by_field(place: Any, said: Said) -> None:
    assert place.eval("--method", "baseline", "--limit", "2") == 0
    said()
    assert place.eval("--method", "idk", "--seed", "3", "--limit", "2") == 2
    err = said()[1].splitlines()
    assert "differs: method: baseline in the run, idk now" in err
    assert "differs: seed: 0 in the run, 3 now" in err
    assert err[-2].startswith("error: out is another run; what differs: method, prompts.answer, seed")
    assert err[-1] == "try: give this one another --out"
    assert len(place.asks()) == 2


def test_new_weights_under_the_old_name_are_another_run(place: Any, said: Said) -> None:
    assert place.eval("--limit", "2") == 0
    (place.path / "weights").write_text("e", "utf-8")
    assert place.eval("--limit", "2") == 0, "a finished run loads no model"
    assert place.eval("--limit", "4") == 2
    assert f"differs: weights_sha256: {'f' * 64} in the run, {'e' * 64} now" in said()[1]


def test_changed_data_are_another_run(place: Any, said: Said) -> None:
    assert place.eval("--limit", "2") == 0
    place.write_rows([{**row, "question": row["question"] + "?"} for row in place.rows()])
    assert place.eval("--limit", "2") == 2
    assert "differs: data.sha256: " in said()[1]


def test_missing_clips_are_said_before_anything_is_loaded(place: Any, said: Said) -> None:
    (place.path / "3.wav").unlink()
    assert place.eval("--method", "baseline") == 2
    out, err = said()
    assert "error: the clips of 2 of 24 questions are missing" in err
    assert out == ""
    assert "loading" not in err
    assert not (place.path / "out").exists()
    assert place.eval("--method", "baseline", "--skip-missing") == 0
    assert "left out: 2 questions without clip, 0 faulty rows" in said()[0]
    assert sorted(place.spec()["selection"]["missing"]) == ["3a", "3b"]
    assert "2 questions were left out" in " ".join(run_outputs(place.path / "out").warnings)


def test_faulty_rows_are_refused_or_left_out(place: Any, said: Said) -> None:
    rows = place.rows()
    rows[4].pop("question")
    place.write_rows(rows)
    assert place.eval() == 2
    err = said()[1]
    assert "error: 1 rows of " in err
    assert ":5: " in err
    assert place.eval("--method", "baseline", "--skip-faulty") == 0
    assert len(place.answers()) == 23
    assert "1 faulty rows" in said()[0]


def test_an_unreadable_clip_fails_its_questions_alone(place: Any, said: Said) -> None:
    (place.path / "3.wav").write_bytes(b"no audio at all")
    assert place.eval("--method", "baseline") == 0
    failed = {key[0] for key, line in place.answers().items() if line["status"] == "failed"}
    assert failed == {"3a", "3b"}
    assert place.answers()["3a", 0]["failure"]["node"] == "listen"
    assert "failed 2" in said()[0]


def test_failed_questions_are_asked_again_only_on_demand(place: Any, said: Said) -> None:
    (place.path / "broken").write_text("the model is gone", "utf-8")
    assert place.eval("--method", "baseline") == 2
    err = said()[1].splitlines()
    assert err[-2] == "error: stopped after 5 questions in a row failed: the model is gone"
    assert "--retry-failed" in err[-1]
    assert any(line.startswith("kept 5 of 24 answers in out") for line in err)
    (place.path / "broken").unlink()
    assert place.eval("--method", "baseline") == 0
    assert "failed 5" in said()[0]
    assert place.eval("--method", "baseline") == 0
    assert len(place.asks()) == 24
    assert place.eval("--method", "baseline", "--retry-failed") == 0
    assert "failed 0" in said()[0]
    assert len(place.asks()) == 29
    assert {line["status"] for line in place.answers().values()} <= {"answered", "abstained", "unparsed"}


def test_a_full_disk_is_one_line_and_loses_nothing_complete(
    place: Any, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, count = os.write, [0]

    def full(file: int, data: bytes) -> int:
        if data.startswith(b'{"id"'):
            count[0] += 1
            if count[0] > 7:
                real(file, data[:20])
                raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, data)

    monkeypatch.setattr(os, "write", full)
    assert place.eval("--method", "baseline", "--concurrency", "3") == 2
    errors = [line for line in said()[1].splitlines() if line.startswith(("error", "try"))]
    assert len(errors) == 2
    assert "No space left on device" in errors[0]
    monkeypatch.setattr(os, "write", real)
    assert len(place.answers()) == 7
    assert place.eval("--method", "baseline") == 0
    assert len(place.answers()) == 24
    assert len(place.asks()) <= 24 + 3


def test_max_requests_stops_and_the_same_command_goes_on(place: Any, said: Said) -> None:
    for session, answers in enumerate((10, 20), 1):
        assert place.eval("--method", "baseline", "--max-requests", "10") == 2
        assert "error: the limit of 10 requests is reached" in said()[1]
        assert len(place.answers()) == answers
        assert len(place.asks()) == 10 * session
    assert place.eval("--method", "baseline", "--max-requests", "10") == 0
    assert {line["status"] for line in place.answers().values()} <= {"answered", "abstained", "unparsed"}


def test_json_is_one_object(place: Any, said: Said) -> None:
    assert place.eval("--method", "baseline", "--json") == 0
    summary = json.loads(said()[0])
    assert summary["questions"] == summary["answers"] == sum(summary["counts"].values()) == 24
    assert summary["run"] == place.spec()["run_id"]
    assert sum(summary["abstained_kinds"].values()) == summary["counts"]["abstained"] > 0
    assert summary["warnings"] == []


def test_settings_of_the_environment_are_weaker_than_flags_and_stronger_than_the_preset(
    place: Any, monkeypatch: pytest.MonkeyPatch, said: Said
) -> None:
    monkeypatch.setenv("LALM_MAX_NEW_TOKENS", "17")
    assert place.eval("--method", "baseline", "--limit", "1") == 0
    assert place.spec()["identity"]["max_new_tokens"] == 17


@pytest.mark.parametrize(
    ("arguments", "said_"),
    [
        (["--limit", "0"], "limit"),
        (["--audio", "noise"], "noise"),
        (["--tool", "nose=lalm"], "unknown node: nose"),
        (["--model", "nothing-of-the-kind"], "unknown model"),
        (["--method", "lora"], "adapter"),
    ],
)
def test_misuse_is_exit_2_and_leaves_no_folder(place: Any, said: Said, arguments: list[str], said_: str) -> None:
    assert place.eval(*arguments) == 2
    out, err = said()
    assert out == ""
    assert said_ in err
    assert not (place.path / "out").exists()


def test_a_folder_of_something_else_is_left_alone(place: Any, said: Said) -> None:
    assert place.eval(out=".") == 2
    assert "is no run and not empty" in said()[1]
    assert not Path("lock").exists()
