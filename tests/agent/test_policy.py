"""Routing and reasons, as pure functions."""

from dataclasses import replace

import pytest

from lalm_agent.graph import Evidence, abstention_reason, content_node, named_type
from lalm_agent.records import AbstentionKind, AudioType


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Speech", AudioType.SPEECH),
        ("speech.", AudioType.SPEECH),
        ("The type of audio is Music.", AudioType.MUSIC),
        ("**Sound**", AudioType.SOUND),
        ("Sound or Music", None),
        ("Speech with Music", None),
        ("Speech, with background music.", None),
        ("This is a music clip.", AudioType.MUSIC),
        ("The sound is music.", AudioType.MUSIC),
        ("The clip is not music but speech.", AudioType.SPEECH),
        ("<think>Music? No.</think>Sound", AudioType.SOUND),
        ("I'm sorry, but I can't hear the audio.", None),
        ("IDK", None),
        ("a dog", None),
        ("", None),
    ],
)
def test_found_type(reply: str, expected: AudioType | None) -> None:
    assert named_type(reply) is expected


def test_content_node() -> None:
    assert [content_node(t) for t in (AudioType.SPEECH, AudioType.SOUND, AudioType.MUSIC, None)] == [
        "asr",
        "caption",
        "caption",
        "answer",
    ]


PLAIN = Evidence(
    audio_type=AudioType.SPEECH,
    content="and so my fellow americans",
    sought_content=True,
    peak_dbfs=-3.0,
    heard_s=(0.0, 4.0),
    seconds=4.0,
    option_probs=None,
)


IDK = AbstentionKind.DOES_NOT_KNOW


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (AbstentionKind.DOES_NOT_KNOW, "the model said that it does not know"),
        (AbstentionKind.CANNOT_HEAR, "the model said that the audio is missing, silent or out of its reach"),
        (AbstentionKind.DECLINES, "the model declined to answer"),
        (AbstentionKind.NOT_CONFIDENT, "the model answered, and the policy held the answer back"),
    ],
)
def test_reason_begins_with_what_was_said(kind: AbstentionKind, said: str) -> None:
    reason = abstention_reason(kind, PLAIN)
    assert reason.split("; ")[0] == said
    assert "the type step said speech" in reason
    assert "a transcript was at hand" in reason


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"peak_dbfs": float("-inf")}, "every sample of the clip is zero"),
        ({"peak_dbfs": -70.0}, "nearly silent, its peak is -70 dBFS"),
        ({"audio_type": None, "content": None}, "the type step named no single one"),
        ({"content": ""}, "the transcript came out empty"),
        ({"audio_type": AudioType.MUSIC}, "a caption was at hand"),
        ({"heard_s": (0.0, 10.0), "seconds": 42.0}, "the answer step was given 10.0 s of 42.0 s"),
        ({"option_probs": (("dog", 0.3), ("cat", 0.28), ("cow", 0.42))}, "cow 42%, dog 30%"),
    ],
)
def test_reason_names_the_evidence(changes: dict[str, object], expected: str) -> None:
    assert expected in abstention_reason(IDK, replace(PLAIN, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", AbstentionKind)
@pytest.mark.parametrize("absent", ["silent: ", "nearly", "given", "close", "settle", "could not tell", "because"])
def test_reason_claims_nothing_that_was_not_seen(kind: AbstentionKind, absent: str) -> None:
    assert absent not in abstention_reason(kind, PLAIN)


def test_the_level_stands_beside_a_claim_about_the_audio_and_nowhere_else_where_the_clip_is_loud() -> None:
    assert "the clip's peak is -3 dBFS" in abstention_reason(AbstentionKind.CANNOT_HEAR, PLAIN)
    assert "dBFS" not in abstention_reason(IDK, PLAIN)


def test_clear_options_are_not_called_close() -> None:
    assert "close" not in abstention_reason(IDK, replace(PLAIN, option_probs=(("dog", 0.9), ("cat", 0.1))))


def test_methods_without_a_type_step_say_nothing_about_types() -> None:
    reason = abstention_reason(IDK, replace(PLAIN, sought_content=False, audio_type=None, content=None))
    assert reason == "the model said that it does not know"
