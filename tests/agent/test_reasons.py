"""Why an answer is withheld: the words, the typed reason, and what to do next; each from evidence only."""

from dataclasses import replace
from typing import Any

import pytest

from lalm_agent.graph.reasons import Evidence, abstention_reason, question_back, reason_kind, suggestion
from lalm_agent.records import AbstentionKind, AudioType, ReasonKind

PLAIN = Evidence(
    audio_type=AudioType.SPEECH,
    content="and so my fellow americans",
    sought_content=True,
    peak_dbfs=-3.0,
    heard_s=(0.0, 4.0),
    asked_s=(0.0, 4.0),
    option_probs=None,
    choices=("dog", "cat"),
)


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
        ({"heard_s": (0.0, 10.0), "asked_s": (0.0, 42.0)}, "the answer step was given 10.0 s of 42.0 s"),
        ({"option_probs": (("dog", 0.3), ("cat", 0.28), ("cow", 0.42))}, "cow 42%, dog 30%"),
    ],
)
def test_reason_names_the_evidence(changes: dict[str, object], expected: str) -> None:
    assert expected in abstention_reason(AbstentionKind.DOES_NOT_KNOW, replace(PLAIN, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", AbstentionKind)
@pytest.mark.parametrize("absent", ["silent: ", "nearly", "given", "close", "settle", "could not tell", "because"])
def test_reason_claims_nothing_that_was_not_seen(kind: AbstentionKind, absent: str) -> None:
    assert absent not in abstention_reason(kind, PLAIN)


def test_the_level_stands_beside_a_claim_about_the_audio_and_nowhere_else_where_the_clip_is_loud() -> None:
    assert "the clip's peak is -3 dBFS" in abstention_reason(AbstentionKind.CANNOT_HEAR, PLAIN)
    assert "dBFS" not in abstention_reason(AbstentionKind.DOES_NOT_KNOW, PLAIN)


def test_clear_options_are_not_called_close() -> None:
    assert "close" not in abstention_reason(
        AbstentionKind.DOES_NOT_KNOW, replace(PLAIN, option_probs=(("dog", 0.9), ("cat", 0.1)))
    )


def test_methods_without_a_type_step_say_nothing_about_types() -> None:
    reason = abstention_reason(
        AbstentionKind.DOES_NOT_KNOW, replace(PLAIN, sought_content=False, audio_type=None, content=None)
    )
    assert reason == "the model said that it does not know"


UNKNOWN, DEAF = AbstentionKind.DOES_NOT_KNOW, AbstentionKind.CANNOT_HEAR
CLOSE = (("dog", 0.48), ("cat", 0.44), ("cow", 0.08))


@pytest.mark.parametrize(
    ("kind", "changes", "expected", "advice"),
    [
        (UNKNOWN, {}, None, None),
        (UNKNOWN, {"choices": ()}, None, "give choices"),
        (UNKNOWN, {"peak_dbfs": float("-inf")}, ReasonKind.SILENT_CLIP, "another part"),
        (UNKNOWN, {"peak_dbfs": -60.1}, ReasonKind.SILENT_CLIP, "another part"),
        (UNKNOWN, {"peak_dbfs": -59.9}, None, None),
        (DEAF, {}, ReasonKind.INAUDIBLE, "its peak is -3 dBFS"),
        (DEAF, {"peak_dbfs": -80.0}, ReasonKind.SILENT_CLIP, "another part"),
        (UNKNOWN, {"heard_s": (0.0, 0.0)}, ReasonKind.INAUDIBLE, "ask a model that hears"),
        (UNKNOWN, {"heard_s": (0.0, 10.0), "asked_s": (0.0, 34.0)}, ReasonKind.OUTSIDE_WINDOW, "--window 10-20"),
        (UNKNOWN, {"heard_s": (10.0, 20.0), "asked_s": (10.0, 23.5)}, ReasonKind.OUTSIDE_WINDOW, "--window 20-23.5"),
        (UNKNOWN, {"reply": "There is no mention of a price."}, ReasonKind.NOT_IN_CLIP, "name the sound"),
        (UNKNOWN, {"reply": "The speaker never says where he lives."}, ReasonKind.NOT_IN_CLIP, "name the sound"),
        (UNKNOWN, {"reply": "I don't know."}, None, None),
        (UNKNOWN, {"reply": 'He says "there is no mention of it". I don\'t know.'}, None, None),
        (UNKNOWN, {"transcript_figures": {"avg_logprob": -1.01}}, ReasonKind.TRANSCRIPT_UNSURE, "--tool asr="),
        (UNKNOWN, {"transcript_figures": {"no_speech_prob_mean": 0.61}}, ReasonKind.TRANSCRIPT_UNSURE, "--tool asr="),
        (UNKNOWN, {"transcript_figures": {"avg_logprob": -0.99, "no_speech_prob_mean": 0.59}}, None, None),
        (UNKNOWN, {"audio_type": None, "content": None}, ReasonKind.TYPE_UNCLEAR, "sound, music or speech"),
        (UNKNOWN, {"audio_type": None, "sought_content": False}, None, None),
        (UNKNOWN, {"option_probs": CLOSE}, ReasonKind.CHOICES_CLOSE, "only dog and cat"),
        (UNKNOWN, {"option_probs": (("dog", 0.6), ("cat", 0.4))}, None, None),
        (AbstentionKind.DECLINES, {"peak_dbfs": -80.0}, ReasonKind.MODEL_DECLINES, "other words"),
        (AbstentionKind.NOT_CONFIDENT, {}, ReasonKind.NOT_CONFIDENT, "leave out the choices"),
        (AbstentionKind.NOT_CONFIDENT, {"option_probs": CLOSE}, ReasonKind.NOT_CONFIDENT, "only dog and cat"),
        (AbstentionKind.NOT_CONFIDENT, {"reply": "It is never mentioned."}, ReasonKind.NOT_CONFIDENT, "leave out"),
    ],
)
def test_the_most_telling_evidence_is_the_reason_and_gives_the_advice(
    kind: AbstentionKind, changes: dict[str, Any], expected: ReasonKind | None, advice: str | None
) -> None:
    evidence = replace(PLAIN, **changes)
    assert reason_kind(kind, evidence) is expected
    advised = suggestion(kind, evidence)
    assert advised is None if advice is None else advice in str(advised)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "Which of the choices"),
        ({"choices": ()}, "Which answers are possible?"),
        ({"heard_s": (0.0, 10.0), "asked_s": (0.0, 34.0)}, "I heard 0.0 to 10.0 s of 34.0 s. Which part"),
        ({"option_probs": CLOSE}, "close between 'dog' and 'cat'"),
        ({"audio_type": None}, "sound, music or speech?"),
        ({"transcript_figures": {"avg_logprob": -2.0}}, "'and so my fellow americans'"),
    ],
)
def test_the_question_back_names_what_is_missing(changes: dict[str, Any], expected: str) -> None:
    assert expected in question_back(UNKNOWN, replace(PLAIN, **changes)).text


@pytest.mark.parametrize("kind", AbstentionKind)
@pytest.mark.parametrize("reply", ["", "There is no mention of it."])
def test_every_refusal_has_one_question_back(kind: AbstentionKind, reply: str) -> None:
    evidence = replace(PLAIN, reply=reply)
    assert question_back(kind, evidence).text.count("?") <= 1
    assert question_back(kind, replace(evidence, heard_s=(0.0, 0.0))).text
