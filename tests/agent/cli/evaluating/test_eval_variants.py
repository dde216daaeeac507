"""`lalm-agent eval`: shuffled choices, draws, blind controls, dry runs, given nodes, modalities, seen clips."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from lalm_agent.eval.runs.folder import run_outputs

Said = Callable[[], tuple[str, str]]


def test_choices_are_shuffled_and_the_index_is_the_files(place: Any) -> None:
    assert place.eval("--method", "baseline", "--shuffle-choices") == 0
    prompts = {prompt.rpartition("choices: ")[2] for _, _, prompt, _ in place.asks()}
    assert len(prompts) > 5
    answered = [line for line in place.answers().values() if line["status"] == "answered"]
    assert answered
    assert all(("dog", "cat", "cow", "frog")[line["choice"]] == line["answer"] for line in answered)
    assert place.eval("--method", "baseline", "--shuffle-choices", "--seed", "1", out="other") == 0
    assert {line["id"]: line["prompt"] for line in place.answers().values()} != {
        line["id"]: line["prompt"] for line in place.answers("other").values()
    }


def test_draws_need_a_temperature_and_are_kept_apart(place: Any, said: Said) -> None:
    assert place.eval("--method", "baseline", "--draws", "3") == 2
    assert "error: 3 draws without a temperature would all be the same" in said()[1]
    assert place.eval("--method", "baseline", "--draws", "3", "--temperature", "0.7") == 0
    assert len(place.answers()) == 72
    assert {(key, draw) for key, draw, *_ in place.asks()} == set(place.answers())


def test_silence_and_swap_are_heard_and_recorded(place: Any, said: Said) -> None:
    assert place.eval("--method", "baseline", out="real") == 0
    own = {key: sha256 for key, _, _, sha256 in place.asks()}
    for control in ("silence", "swap"):
        (place.path / "asks.log").unlink()
        assert place.eval("--method", "baseline", "--audio", control, out=control) == 0
        assert "note: blind control" in said()[1]
        clips = {key: sha256 for key, _, _, sha256 in place.asks()}
        assert all(clips[key] != own[key] for key in own)
        if control == "swap":
            assert set(clips.values()) <= set(own.values())
            assert all(clips[f"{n}a"] == clips[f"{n}b"] for n in range(12)), "by clip, not by question"
        else:
            assert not set(clips.values()) & set(own.values())
            assert len(list((place.path / "silence" / "silence").iterdir())) == 12


def test_replies_that_miss_the_clip_warn_unless_there_is_none_to_hear(place: Any, said: Said, unheard: str) -> None:
    model = (place.path / "eval_model.py").read_text("utf-8")
    (place.path / "eval_model.py").write_text(model.replace('"IDK", "hm"', f'"IDK", "{unheard}"'), "utf-8")
    assert place.eval("--method", "baseline", "--json") == 0
    out, err = said()
    summary = json.loads(out)
    missing = summary["abstained_kinds"]["cannot_hear"]
    assert missing > 1
    warning = f"{missing} of 24 replies ({missing / 24:.1%}) say that the audio is missing"
    assert err.count(f"warning: {warning}") == 1
    assert [line.startswith(warning) for line in summary["warnings"]] == [True]
    assert place.eval("--method", "baseline") == 0
    assert f"cannot hear {missing}" in said()[0]
    for control in (("--audio", "silence"), ("--text-only",)):
        assert place.eval("--method", "baseline", *control, out=control[-1]) == 0
        out, err = said()
        assert "cannot hear" in out
        assert "may not reach the model" not in err


def test_a_dry_run_says_what_it_costs_and_writes_nothing(place: Any, said: Said) -> None:
    before = set(place.path.iterdir())
    assert place.eval("--method", "agent", "--dry-run", "--json", "--audio", "silence") == 0
    cost = json.loads(said()[0])
    assert cost["questions"] == 24
    assert cost["requests"] == 24 + 12 + 12
    assert cost["audio_s"] == pytest.approx(sum(800 + 100 * n for n in range(12)) / 8000)
    assert cost["seconds"] > 0
    questions = {key for key, *_ in place.asks()}
    assert len(questions) == 3
    assert {entry.name for entry in set(place.path.iterdir()) - before} <= {"asks.log", "__pycache__"}


def test_a_dry_run_of_a_started_run_asks_nothing(place: Any, said: Said) -> None:
    assert place.eval("--method", "baseline", "--limit", "6") == 0
    said()
    files = {path: path.read_bytes() for path in (place.path / "out").iterdir()}
    assert place.eval("--method", "baseline", "--dry-run") == 0
    assert "from the 6 answers that are there" in said()[0]
    assert len(place.asks()) == 6
    assert {path: path.read_bytes() for path in (place.path / "out").iterdir()} == files


def test_a_dry_run_of_an_endpoint_sends_nothing(place: Any, said: Said, blocked_hosts: list[str]) -> None:
    model = "openai:some-model@http://127.0.0.1:9/v1"
    assert place.eval("--method", "baseline", "--dry-run", model=model) == 0
    assert "estimated seconds: not estimated: a dry run sends nothing" in said()[0]
    assert blocked_hosts == []


def test_given_types_and_contents_replace_nodes(place: Any, said: Said) -> None:
    assert place.eval("--method", "agent", "--type", "oracle", "--content", "oracle") == 0
    assert "tools: type=oracle, asr=oracle, caption=oracle, answer=lalm" in said()[1]
    assert len(place.asks()) == 24
    assert all(f"the content of {key[:-1]} " in prompt for key, _, prompt, _ in place.asks())
    modalities = {key: line["audio_type"] for (key, _), line in place.answers().items()}
    assert modalities["0a"] == "sound"
    assert modalities["2b"] == "speech"
    assert place.spec()["identity"]["content_source"] == "oracle"
    assert place.eval("--method", "idk", "--type", "oracle", out="idk") == 2
    assert "--type and --content need the steps of the agent" in said()[1]


@pytest.mark.parametrize(
    ("given", "tool"),
    [(("--type", "oracle"), "type"), (("--content", "oracle"), "asr"), (("--content", "none"), "caption")],
)
def test_a_node_has_one_source(place: Any, said: Said, given: tuple[str, str], tool: str) -> None:
    assert place.eval("--method", "agent", *given, "--tool", f"{tool}=lalm") == 2
    out, err = said()
    assert (out, err.splitlines()) == (
        "",
        [
            f"error: {' '.join(given)} and --tool {tool}=… both fill the node {tool}",
            "try: give one of the two",
        ],
    )
    other = "answer" if tool == "type" else "type"
    assert place.eval("--method", "agent", *given, "--tool", f"{other}=lalm", "--limit", "1") == 0


def test_text_only_is_a_control_for_a_model_that_hears(place: Any, said: Said) -> None:
    assert place.eval("--method", "agent", "--text-only", "--limit", "4") == 0
    assert "note: text only: the model is asked without the clip" in said()[1]
    assert {clip for *_, clip in place.asks()} == {None}
    assert all("asked by text only: the model did not hear the clip" in line["warnings"] for line in all_of(place))
    assert place.spec()["identity"]["hears_audio"] is False
    assert place.eval("--method", "agent", "--limit", "4") == 2
    assert "differs: hears_audio: false in the run, true now" in said()[1]


def test_an_adapter_goes_on_a_model_without_its_clips(place: Any) -> None:
    (place.path / "adapter").mkdir()
    assert place.eval("--method", "lora", "--adapter", "adapter", "--text-only", "--limit", "1") == 0
    assert {clip for *_, clip in place.asks()} == {None}


def test_a_model_that_cannot_hear_is_refused_before_a_question(place: Any, said: Said) -> None:
    assert place.eval("--method", "baseline", model="eval_model:Deaf") == 2
    out, err = said()
    assert out == ""
    assert err.splitlines()[-2:] == [
        "error: the model eval_model:Deaf takes text only and cannot hear the clip",
        "try: name a model that hears; --text-only asks this one without the clip",
    ]
    assert not place.asks()
    assert not (place.path / "out").exists()
    assert place.eval("--method", "baseline", "--text-only", model="eval_model:Deaf") == 0
    assert len(place.asks()) == 24


def all_of(place: Any) -> list[dict[str, Any]]:
    return list(place.answers().values())


def test_only_the_wanted_modality_is_asked(place: Any, said: Said) -> None:
    assert place.eval("--method", "baseline", "--modality", "music", "--modality", "speech") == 0
    assert len(place.answers()) == 16
    assert place.spec()["identity"]["modality"] == ["music", "speech"]
    assert place.eval("--modality", "musik", out="x") == 2
    assert "no question has the modality musik" in said()[1]


def test_clips_that_the_adapter_was_trained_on_are_excluded(place: Any, said: Said) -> None:
    assert place.eval("--method", "baseline", out="real") == 0
    own = {key: sha256 for key, _, _, sha256 in place.asks()}
    adapter = place.path / "adapter"
    adapter.mkdir()
    (adapter / "trained_clips.json").write_text(json.dumps({"audio_sha256": [own["3a"], own["7a"]]}), "utf-8")
    assert place.eval("--method", "lora", "--adapter", "adapter") == 0
    assert "4 of them are about clips that the adapter was trained on" in said()[0]
    assert run_outputs(place.path / "out").excluded == {"3a", "3b", "7a", "7b"}
