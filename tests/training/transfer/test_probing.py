"""The probe for forgetting: what is asked, and what is made of the replies."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain, pairwise, repeat
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lalm_agent import prompts
from lalm_agent.audio import Sound, load
from lalm_agent.errors import DataError, PermanentBackendError, UsageError
from lalm_agent.eval.items import Item
from lalm_agent.models.base import Completion, OptionScore, Request, Response
from lalm_agent.models.scripted import ScriptedLALM
from lalm_agent.prompts.refusing import held_out_refusals, refusal_pool
from lalm_agent.training.transfer.probe import (
    ForgettingResult,
    Probed,
    probe,
    probe_items,
    read_result,
    sounds_under,
    write_result,
)

RATE = 16_000
CHOICES = ("dog", "a very long cat", "dog", "")


def item(
    id: str, modality: str = "sound", gold: str | None = "dog", clip: str | None = None, content: str | None = "a dog"
) -> Item:
    return Item(id, f"{clip or id}.wav", f"What is {id}?", CHOICES, gold, (("modality", modality),), content)


ITEMS = (
    *(item("one", clip="shared"), item("two", clip="shared", gold="a very long cat")),
    *(item("three", "speech", content="hello big world"), item("four", "music", content=None)),
    *(item("mixed", "mix-sound-music"), item("none", gold=None)),
)


@pytest.fixture
def clip_of(tmp_path: Path) -> Callable[[Item], Sound]:
    for place, name in enumerate(sorted({one.audio for one in ITEMS})):
        soundfile.write(tmp_path / name, np.random.default_rng(place).uniform(-0.1, 0.1, RATE // 4), RATE)
    return sounds_under(tmp_path)


def by_prompt(
    type_: str = "Sound", content: str = "a dog barking", scores: Sequence[float] = (-4.0, -6.0)
) -> ScriptedLALM:
    """Answers the three prompts. scores: of the options in order, sums over as many tokens as the option has words.

    Options behind the last score are next to impossible.
    """

    def reply(request: Request) -> Response:
        text = request.turns[-1].text
        summed = chain(scores, repeat(-1000.0)) if scores else ()
        scored = tuple(
            OptionScore(option, score, len(option.split()))
            for option, score in zip(request.options, summed, strict=False)
        )
        said = type_ if text == prompts.type_prompt() else content
        return Response((Completion(said, None, "stop"),) * request.n, scored or None, (0.0, 0.25), None)

    return ScriptedLALM(reply)


def no_words(_: str) -> None:
    """Nobody listens."""


def test_each_clip_is_asked_for_type_and_content_once_and_each_question_for_its_choice(
    clip_of: Callable[[Item], Sound],
) -> None:
    model = by_prompt()
    result = probe(model, ITEMS, clip_of, no_words)
    texts = [request.turns[-1].text for request in model.asked]
    assert texts.count(prompts.type_prompt()) == 3  # shared, three, four; the mix has no type
    assert sorted(text for text in texts if text.endswith("content?")) == [
        "What is the Sound content?",
        "What is the Speech content?",
    ]
    assert sorted(result.questions) == ["four", "mixed", "one", "three", "two"]
    assert len(result.clips) == 4
    assert all(request.decoding.temperature == 0 for request in model.asked)
    assert {request.sound is not None for request in model.asked} == {True}


def test_the_choice_is_forced_and_compared_per_token(clip_of: Callable[[Item], Sound]) -> None:
    model = by_prompt(scores=(-2.0, -4.0))  # per token: -2 for "dog", -1 for "a very long cat"
    result = probe(model, ITEMS[:2], clip_of, no_words)
    scored = [request for request in model.asked if request.options]
    assert [request.options[:3] for request in scored] == [("dog", "a very long cat", "IDK")] * 2  # no double, no blank
    assert not any("IDK" in request.turns[-1].text for request in scored)
    assert {id_: (one.chosen, one.right) for id_, one in result.questions.items()} == {
        "one": ("a very long cat", False),
        "two": ("a very long cat", True),
    }
    assert {one.chance for one in result.questions.values()} == {0.5}


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((-4.0, -8.0), (False, False)),
        ((-4.0, -8.0, -1.0), (True, False)),
        ((-4.0, -8.0, -4.0, -1.0), (False, True)),
        ((-4.0, -8.0, -1.0, -100.0, -1.0), (True, True)),
    ],
)
def test_a_refusal_is_compared_with_the_best_choice_and_never_chosen(
    scores: Sequence[float], expected: tuple[bool, bool], clip_of: Callable[[Item], Sound]
) -> None:
    model = by_prompt(scores=scores)
    (one,) = probe(model, ITEMS[:1], clip_of, no_words).questions.values()
    assert (one.idk, one.held_out_idk) == expected
    assert one.chosen == "a very long cat"
    (asked,) = [request.options for request in model.asked if request.options]
    assert asked[2:] == ("IDK", *held_out_refusals())
    assert not set(held_out_refusals()) & set(refusal_pool())


def test_a_choice_that_is_a_refusal_is_a_choice(clip_of: Callable[[Item], Sound]) -> None:
    of_one = replace(ITEMS[0], choices=("dog", "IDK", *held_out_refusals()))
    (one,) = probe(by_prompt(scores=(-4.0, -1.0)), [of_one], clip_of, no_words).questions.values()
    assert (one.chosen, one.idk, one.held_out_idk) == ("IDK", None, None)


def test_types_and_contents_are_scored_as_the_data_say(clip_of: Callable[[Item], Sound]) -> None:
    result = probe(by_prompt("It is Speech.", "hello world"), ITEMS, clip_of, no_words)
    found = {load_name(clip_of, one): result.clips[load_name(clip_of, one)] for one in ITEMS[:5]}
    shared, three, four, mixed = (found[load_name(clip_of, ITEMS[place])] for place in (0, 2, 3, 4))
    assert (shared.type, shared.type_right, shared.content_score) == ("speech", False, 0.0)
    assert (three.type, three.type_right, three.content_score) == ("speech", True, pytest.approx(2 / 3))
    assert (four.type_right, four.content, four.content_score) == (False, None, None)
    assert (mixed.type, mixed.type_right, mixed.content_score) == (None, None, None)


def test_a_refusal_to_name_a_type_is_wrong_and_a_caption_is_scored_by_f1(clip_of: Callable[[Item], Sound]) -> None:
    result = probe(by_prompt("IDK", "dog barking"), ITEMS[:1], clip_of, no_words)
    (clip,) = result.clips.values()
    assert (clip.type, clip.type_right, clip.content_score) == (None, False, pytest.approx(2 / 3))
    assert result.scores == {"sound": "token F1", "music": "token F1", "speech": "1 - min(1, WER)"}


def test_clips_that_the_adapter_was_trained_on_are_not_asked_about(clip_of: Callable[[Item], Sound]) -> None:
    seen = load_name(clip_of, ITEMS[0])
    model = by_prompt()
    result = probe(model, ITEMS, clip_of, no_words, Probed("speech-kn-0", {seen}))
    assert result.name == "speech-kn-0"
    assert result.excluded == ("one", "two")
    assert seen not in result.clips
    assert all(request.sound is None or request.sound.ref.sha256 != seen for request in model.asked)


def test_the_order_of_the_items_changes_nothing(clip_of: Callable[[Item], Sound]) -> None:
    assert probe(by_prompt(), ITEMS, clip_of, no_words) == probe(by_prompt(), ITEMS[::-1], clip_of, no_words)


def test_all_about_a_clip_is_asked_side_by_side_in_few_calls(clip_of: Callable[[Item], Sound]) -> None:
    calls: list[list[str]] = []

    class Watched(ScriptedLALM):
        def generate(self, requests: Sequence[Request]) -> list[Response]:
            calls.append([request.sound.ref.sha256 for request in requests if request.sound])
            return super().generate(requests)

    inner = by_prompt()
    probe(Watched(lambda request: inner.generate([request])[0]), ITEMS, clip_of, no_words)
    (clips,) = calls
    changes = sum(one != other for one, other in pairwise(clips))
    assert changes == len(set(clips)) - 1


def test_a_model_without_log_probabilities_cannot_be_probed(clip_of: Callable[[Item], Sound]) -> None:
    with pytest.raises(PermanentBackendError, match="log-probabilities"):
        probe(by_prompt(scores=()), ITEMS[:1], clip_of, no_words)


def test_nothing_to_probe_is_said(clip_of: Callable[[Item], Sound]) -> None:
    with pytest.raises(UsageError, match="right answer"):
        probe(by_prompt(), ITEMS[5:], clip_of, no_words)


def test_a_long_probe_says_how_far_it_is(
    clip_of: Callable[[Item], Sound], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lalm_agent.training.transfer.probe._SPEAK_EVERY_S", -1.0)
    said: list[str] = []
    probe(by_prompt(), ITEMS, clip_of, said.append)
    assert said == ["forgetting, before: 5 of 5 questions"]


def test_items_of_a_probe_are_as_many_of_each_modality_and_a_larger_number_adds() -> None:
    kinds = ("sound", "sound", "sound", "music", "speech", "mix-sound-music")
    many = [item(f"{kind}-{place}", kind) for place in range(20) for kind in kinds]
    many += [item("none", gold=None), item("bare", content=None)]
    small, large = probe_items(many, 30), probe_items(many, 45)
    assert [sum(one.modality == kind for one in small) for kind in ("sound", "music", "speech")] == [10, 10, 10]
    assert large[:30] == small
    assert probe_items(many[::-1], 30) == small
    assert len(probe_items(many, 1000)) == 60 + 20 + 20
    assert probe_items([], 5) == []


def test_a_result_is_read_back_as_it_was_written(clip_of: Callable[[Item], Sound], tmp_path: Path) -> None:
    result = probe(by_prompt(), ITEMS, clip_of, no_words, Probed("speech-kn-0", {"other"}))
    path = tmp_path / "forgetting" / "speech-kn-0.json"
    write_result(path, result)
    assert read_result(path) == result
    assert '"schema": 1' in path.read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ('{"schema": 2}', "version 2"),
        ('{"schema": 1}', "name: Field required"),
        ("[]", "the file: "),
    ],
)
def test_a_file_that_is_no_probe_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "before.json"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_result(path)


def test_a_result_whose_clip_is_missing_is_refused(clip_of: Callable[[Item], Sound]) -> None:
    fields = probe(by_prompt(), ITEMS, clip_of, no_words).model_dump(by_alias=True)
    with pytest.raises(ValueError, match="not among the clips"):
        ForgettingResult.model_validate({**fields, "clips": {}})


def test_a_folder_that_cannot_be_made_is_one_line(clip_of: Callable[[Item], Sound], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be made"):
        write_result(tmp_path / "file" / "before.json", probe(by_prompt(), ITEMS, clip_of, no_words))


def load_name(clip_of: Callable[[Item], Sound], one: Item) -> str:
    """The clip's sha256."""
    return clip_of(one).ref.sha256


def test_choices_and_types_are_those_of_the_agent(clip_of: Callable[[Item], Sound], tmp_path: Path) -> None:
    from lalm_agent.assemble import Agent
    from lalm_agent.config import AgentConfig
    from lalm_agent.loading import load_model

    model = load_model(AgentConfig(model="mini", device="cpu"))
    result = probe(model, ITEMS[:4], clip_of, no_words)
    with Agent(model=model, method="baseline", answer_mode="score") as agent:
        for one in ITEMS[:4]:
            answer = agent.ask_item(str(tmp_path / one.audio), one.question, one.choices)
            assert answer.answer == result.questions[one.id].chosen
    with Agent(model=model, method="agent", preset="paper") as agent:
        answer = agent.ask_item(str(tmp_path / ITEMS[0].audio), ITEMS[0].question, ITEMS[0].choices)
    sha256 = load(tmp_path / ITEMS[0].audio).ref.sha256
    found = answer.audio_type
    assert result.clips[sha256].type == (None if found is None else str(found))
    assert result.model.weights_sha256 == model.spec.info.weights_sha256
    assert result.model.adapter_sha256 is None
