"""Routing and reasons, as pure functions."""

from dataclasses import replace

import pytest

from lalm_agent.policy import Evidence, abstention_reason, content_node, found_type
from lalm_agent.records import AudioType


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Speech", AudioType.SPEECH),
        ("speech.", AudioType.SPEECH),
        ("The type of audio is Music.", AudioType.MUSIC),
        ("**Sound**", AudioType.SOUND),
        ("Sound or Music", None),
        ("Speech with Music", None),
        ("IDK", None),
        ("a dog", None),
        ("", None),
    ],
)
def test_found_type(reply: str, expected: AudioType | None) -> None:
    assert found_type(reply) is expected


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


def test_reason_begins_with_what_the_model_said() -> None:
    reason = abstention_reason(PLAIN)
    assert reason.startswith("the model said that it does not know")
    assert "speech" in reason
    assert "transcript did not settle" in reason


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"peak_dbfs": float("-inf")}, "silent"),
        ({"peak_dbfs": -70.0}, "silent"),
        ({"audio_type": None, "content": None}, "could not tell whether"),
        ({"content": ""}, "transcript came out empty"),
        ({"audio_type": AudioType.MUSIC}, "caption did not settle"),
        ({"heard_s": (0.0, 10.0), "seconds": 42.0}, "only 10.0 s of 42.0 s"),
        ({"option_probs": (("dog", 0.3), ("cat", 0.28), ("cow", 0.42))}, "cow 42%, dog 30%"),
    ],
)
def test_reason_names_the_evidence(changes: dict[str, object], expected: str) -> None:
    assert expected in abstention_reason(replace(PLAIN, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("absent", ["silent", "only", "close"])
def test_reason_claims_nothing_that_was_not_seen(absent: str) -> None:
    assert absent not in abstention_reason(PLAIN)


def test_clear_options_are_not_called_close() -> None:
    assert "close" not in abstention_reason(replace(PLAIN, option_probs=(("dog", 0.9), ("cat", 0.1))))


def test_methods_without_a_type_step_say_nothing_about_types() -> None:
    reason = abstention_reason(replace(PLAIN, sought_content=False, audio_type=None, content=None))
    assert reason == "the model said that it does not know"
