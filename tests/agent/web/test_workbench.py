"""A question asked again with one thing changed: what the model hears, what is asked, and what that changed."""

from dataclasses import replace
from pathlib import Path

import pytest

from lalm_agent.audio import load
from lalm_agent.cli.main import run as run_command
from lalm_agent.config import AgentConfig
from lalm_agent.errors import DataError, UsageError
from lalm_agent.records import Method, Status, Step
from lalm_agent.web.workbench import Draft, Treatment, Trial, Workbench, choices_text, difference, edited

MODEL, OTHER = "loud_models:Loud", "loud_models:Other"


@pytest.fixture(scope="module")
def bench(folder: Path, loud_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    return Workbench(AgentConfig(model=MODEL), tmp_path_factory.mktemp("bench"), (OTHER,), loud_run)


@pytest.fixture(scope="module")
def draft(folder: Path) -> Draft:
    return Draft(str(folder / "loud.wav"), "Which animal is heard?", ("dog", "cat"), model=MODEL)


def ask(bench: Workbench, draft: Draft) -> Trial:
    *steps, trial = bench.ask(draft)
    assert isinstance(trial, Trial)
    assert [step for step in steps if isinstance(step, Step)] == list(trial.answer.steps)
    return trial


def test_a_question_is_answered_with_its_steps_and_a_picture(bench: Workbench, draft: Draft) -> None:
    trial = ask(bench, draft)
    assert (trial.answer.status, trial.answer.answer) == (Status.ANSWERED, "dog")
    assert [step.node for step in trial.answer.steps] == ["type", "caption", "answer"]
    assert sum(p for p in trial.probabilities.values() if p is not None) == pytest.approx(1)
    assert trial.picture
    assert trial.asks_back is None


def test_silence_moves_the_probabilities_and_the_difference_says_so(bench: Workbench, draft: Draft) -> None:
    before, after = ask(bench, draft), ask(bench, replace(draft, treatment=Treatment.SILENCE))
    shown = difference(before, after)
    assert shown.changes == ("clip: loud.wav before, silence after",)
    assert "status: answered before, abstained after" in shown.outcome
    (choice, then, now), _ = shown.probabilities
    assert choice == "dog"
    assert now == pytest.approx(0.5)
    assert then is not None
    assert then > 0.9
    assert load(after.answer.audio.path).mixing.peak == 0
    assert after.answer.audio.seconds == before.answer.audio.seconds


@pytest.mark.parametrize("snr_db", [-10.0, 0.0, 20.0])
def test_noise_has_the_level_that_was_asked_for(bench: Workbench, draft: Draft, snr_db: float) -> None:
    trial = ask(bench, replace(draft, treatment=Treatment.NOISE, snr_db=snr_db))
    clip, heard = (load(path).samples[:, 0] for path in (draft.clip, trial.answer.audio.path))
    power = [float((samples**2).mean()) for samples in (clip, heard - clip)]
    assert power[0] / power[1] == pytest.approx(10 ** (snr_db / 10), rel=1e-3)


def test_another_text_takes_the_place_of_the_caption(bench: Workbench, draft: Draft) -> None:
    before, after = ask(bench, draft), ask(bench, replace(draft, content="a cat meows"))
    assert (before.answer.content, after.answer.content) == ("a bark", "a cat meows")
    assert "a cat meows" in str(after.answer.steps[-1].prompt)
    assert ask(bench, draft).answer.content == "a bark"
    assert ask(bench, replace(draft, content="")).answer.content == ""
    with pytest.raises(UsageError, match="no transcript"):
        ask(bench, replace(draft, content="x", method=Method.BASELINE))


def test_method_model_wording_and_choices_are_changes(bench: Workbench, draft: Draft) -> None:
    other = replace(draft, question="What barks?", choices=("cow", "cat"), method=Method.BASELINE, model=OTHER)
    shown = difference(ask(bench, draft), ask(bench, other))
    names = {line.split(":")[0].split(".")[0] for line in shown.changes}
    assert names >= {"question", "choices", "method", "model"}
    assert [row[0] for row in shown.probabilities] == ["dog", "cat", "cow"]
    assert shown.probabilities[0][2] is None
    assert shown.probabilities[2][1] is None


def test_a_question_of_a_run_begins_where_the_run_ended(bench: Workbench) -> None:
    draft, before = bench.of_run("quiet")
    after = ask(bench, draft)
    shown = difference(before, after)
    assert (shown.changes, shown.outcome) == ((), ())
    assert [step.node for step in before.answer.steps] == [step.node for step in after.answer.steps]
    assert all(then == pytest.approx(now) for _, then, now in shown.probabilities)
    changed = ask(bench, replace(draft, clip=draft.clip.replace("quiet", "loud")))
    assert difference(before, changed).changes == ("clip: quiet.wav before, loud.wav after",)
    with pytest.raises(UsageError, match="no question"):
        bench.of_run("quit")
    assert bench.run is not None
    assert bench.run.clips == ["./quiet.wav", "./loud.wav"]


def test_what_cannot_be_taken_over_of_a_run_is_said(bench: Workbench, loud_run: Path, tmp_path: Path) -> None:
    assert bench.not_taken_over == ()
    other = Workbench(AgentConfig(model=OTHER), tmp_path, run=loud_run)
    (line,) = other.not_taken_over
    assert f"--model {MODEL} asks it" in line
    assert f"{OTHER} is asked in its place" in line
    draft, before = other.of_run("loud")
    assert (draft.model, before.setup.model) == (OTHER, MODEL)


def test_a_run_without_sound_is_compared_with_its_clip(folder: Path, loud_run: Path, tmp_path: Path) -> None:
    arguments = ["eval", "questions.jsonl", "--model", MODEL, "--method", "baseline", "--audio", "silence"]
    assert run_command([*arguments, "--out", "silent"]) == 0
    bench = Workbench(AgentConfig(model=MODEL), tmp_path, run=folder / "silent")
    draft, before = bench.of_run("loud")
    assert (before.setup.clip, before.picture, before.answer.status) == ("silence", "", Status.ABSTAINED)
    shown = difference(before, ask(bench, draft))
    assert shown.changes == ("clip: silence before, loud.wav after",)
    assert "status: abstained before, answered after" in shown.outcome


def test_a_refusal_asks_back_and_a_reply_is_asked_with(bench: Workbench, draft: Draft) -> None:
    refused = ask(bench, replace(draft, treatment=Treatment.SILENCE))
    assert refused.asks_back
    assert refused.answer.reason_kind == "silent_clip"
    *_, again = bench.reply(refused, "it barks")
    assert isinstance(again, Trial)
    assert "clarify" in [step.node for step in again.answer.steps]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "os:system"}, "not offered"),
        ({"method": Method.LORA}, "needs an adapter"),
        ({"question": " "}, "is empty"),
        ({"choices": ("dog",)}, "nothing to choose"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    bench: Workbench, draft: Draft, change: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        ask(bench, replace(draft, **change))  # type: ignore[arg-type]


def test_noise_over_silence_and_a_clip_that_is_too_long_are_refused(
    folder: Path, bench: Workbench, draft: Draft, tmp_path: Path
) -> None:
    silent = ask(bench, replace(draft, treatment=Treatment.SILENCE)).answer.audio.path
    with pytest.raises(UsageError, match="silent"):
        ask(bench, replace(draft, clip=silent, treatment=Treatment.NOISE))
    short = Workbench(AgentConfig(model=MODEL, max_audio_s=0.5), tmp_path)
    for treatment in Treatment:
        with pytest.raises(DataError, match="longer"):
            ask(short, replace(draft, treatment=treatment))


def test_only_the_newest_changed_clips_are_kept(bench: Workbench, draft: Draft) -> None:
    for snr_db in range(20):
        ask(bench, replace(draft, treatment=Treatment.NOISE, snr_db=float(snr_db), method=Method.BASELINE))
    assert len(list((bench.folder / "changed").iterdir())) == 16


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run"):
        Workbench(AgentConfig(model=MODEL), tmp_path, run=tmp_path)


def test_texts_that_a_field_cannot_show_stay_what_they_are_until_they_are_edited() -> None:
    original = ("a\nb", "\x1b[31m")
    shown = choices_text(original)
    assert shown == "a b\n\\x1b[31m"
    assert edited(f"{shown}\n", shown, original, ("x",)) == original
    assert edited("a b", shown, original, ("x",)) == ("x",)
