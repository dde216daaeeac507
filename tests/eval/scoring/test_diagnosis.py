"""A line for each sign, none where nothing stands out; the paper's own failures are found, its methods are not."""

import math
from dataclasses import replace

import pytest

from lalm_agent.eval.scoring import diagnosis
from lalm_agent.eval.scoring.diagnosis import (
    FOUND,
    MatchedSigns,
    ModalitySigns,
    PositionSigns,
    Signs,
    diagnose,
)
from lalm_agent.eval.scoring.schema import TypeFigures
from lalm_agent.prompts import invites_idk
from lalm_agent.records import Method

QUIET = Signs("idk", n=1000, abstained=150, unparsed=0, failed=0, rgi=0.3, rgi_low=0.1, rgi_high=0.5)


def modalities(sound: int, music: int, speech: int) -> tuple[ModalitySigns, ...]:
    return ModalitySigns("sound", 333, sound), ModalitySigns("music", 334, music), ModalitySigns("speech", 333, speech)


def changed(**fields: object) -> tuple[str, ...]:
    return diagnose(replace(QUIET, **fields))


def test_a_sound_method_gets_no_line() -> None:
    assert diagnose(QUIET) == ()


@pytest.mark.parametrize("counts", [(60, 42, 48), (34, 67, 51), (47, 61, 45)], ids=["idk", "mcot", "agent"])
def test_the_paper_s_methods_show_no_sign_of_refusing_wrongly(counts: tuple[int, int, int]) -> None:
    assert changed(abstained=sum(counts), modalities=modalities(*counts)) == ()


def test_nothing_asked_says_nothing() -> None:
    assert diagnose(Signs("idk", 0, 0, 0, 0)) == ()


def test_the_methods_that_invite_idk_are_the_prompts_own() -> None:
    assert set(diagnosis.INVITES_IDK) == {str(method) for method in Method if invites_idk(method)}


def test_salmonn_over_refuses() -> None:
    lines = changed(abstained=702, modalities=modalities(210, 211, 281))
    assert lines == ("over-refusal: 70.2 % (702 of 1000) are refused, most in speech (84.4 %)",)
    assert changed(abstained=600) == ()
    assert changed(abstained=601) == ("over-refusal: 60.1 % (601 of 1000) are refused",)


def test_qwen_audio_chat_ignores_the_instruction() -> None:
    (line,) = changed(abstained=7)
    assert line == "instruction ignored: the prompt invites IDK and 0.7 % (7 of 1000) refuse"
    assert changed(abstained=20) == ()
    assert changed(abstained=7, method="lora") == ()
    assert changed(abstained=7, method=None) == ()


def test_no_refusals_are_no_evidence_whatever_the_rgi() -> None:
    lora = changed(method="lora", abstained=0)
    assert lora == ("no refusals: not evidence",)
    assert changed(abstained=0)[1].startswith("instruction ignored")
    assert changed(method="baseline", abstained=0, is_baseline=True) == ()


def test_refusing_only_what_has_no_answer_is_no_ignored_instruction() -> None:
    (line,) = changed(abstained=0, unanswerable=200, unanswerable_abstained=180)
    assert line == "no refusals: not evidence (unanswerable ones: 180)"
    assert changed(abstained=10, unanswerable=200, unanswerable_abstained=10)[0].startswith("instruction ignored")


def test_refusals_of_the_baseline_are_said_on_both_sides() -> None:
    (line,) = changed(method="baseline", is_baseline=True, abstained=30)
    assert line == "this baseline refuses: 3.0 % (30 of 1000), and was not asked to"
    (line,) = changed(baseline_abstained=30)
    assert line == "the baseline itself refuses 30: they enter neither dCon nor dHum"


@pytest.mark.parametrize(
    ("rgi", "low", "high", "said"),
    [
        (-0.3, -0.5, -0.1, "strict RGI -0.30 [-0.50, -0.10] is below 0: right answers are refused more readily"),
        (-0.1, -0.3, 0.1, "strict RGI -0.10 [-0.30, +0.10]: only the point estimate is below 0"),
        (0.1, -0.1, 0.3, "strict RGI +0.10 [-0.10, +0.30]: the interval holds 0, so no gain is shown"),
        (-math.inf, -math.inf, -0.2, "strict RGI -inf [-inf, -0.20] is below 0"),
        (-0.3, None, None, "strict RGI -0.30 is below 0, without an interval"),
    ],
)
def test_rgi_says_what_its_interval_allows(rgi: float, low: float | None, high: float | None, said: str) -> None:
    (line,) = changed(rgi=rgi, rgi_low=low, rgi_high=high)
    assert line.startswith(said)


def test_an_interval_of_few_refusals_says_too_little() -> None:
    few = {"method": "lora", "abstained": 9}
    assert changed(**few, rgi=-math.inf, rgi_low=-math.inf, rgi_high=-math.inf) == (
        "strict RGI -inf [-inf, -inf] is below 0, on 9 refusals only",
    )
    assert changed(**few, rgi=0.1, rgi_low=-0.1, rgi_high=0.3) == ()


@pytest.mark.parametrize(("rgi", "low", "high"), [(None, None, None), (0.3, None, None), (math.inf, 0.4, math.inf)])
def test_rgi_undefined_or_clearly_above_0_says_nothing(
    rgi: float | None, low: float | None, high: float | None
) -> None:
    assert changed(rgi=rgi, rgi_low=low, rgi_high=high) == ()


def test_lost_replies() -> None:
    assert changed(failed=1) == ("failed: 0.1 % (1 of 1000) got no reply; they stay in N and count as wrong",)
    assert changed(unparsed=50) == ()
    (line,) = changed(unparsed=51)
    assert line.startswith("unparsed: 5.1 % (51 of 1000) cannot be read")


def test_the_confidence_of_the_baseline_must_be_beaten() -> None:
    both = MatchedSigns(method_rel=0.70, matched_rel=0.75, method_rgi=0.2, matched_rgi=0.4)
    (line,) = changed(matched=both)
    assert line.endswith("answers: Rel 0.700 against 0.750, strict RGI +0.20 against +0.40")
    assert changed(matched=replace(both, method_rel=0.8))[0].endswith("answers: strict RGI +0.20 against +0.40")
    assert changed(matched=replace(both, method_rel=0.8, method_rgi=0.5)) == ()
    assert changed(matched=MatchedSigns(None, 0.7, None, None)) == ()
    assert "against +inf" in changed(matched=MatchedSigns(0.8, 0.7, 0.3, math.inf))[0]


def types_of(**rows: tuple[int, int, int, int]) -> TypeFigures:
    """The matrix of modalities against sound, music, speech, none."""
    pure = {name: row for name, row in rows.items() if name in FOUND}
    n, correct = sum(map(sum, pure.values())), sum(row[FOUND.index(name)] for name, row in pure.items())
    found = {name: dict(zip(FOUND, row, strict=True)) for name, row in rows.items()}
    return TypeFigures(n=n, correct=correct, accuracy=correct / n if n else None, rows=found)


def test_types_confused() -> None:
    assert changed(types=types_of(sound=(80, 10, 10, 0), music=(5, 90, 5, 0))) == ()
    bad = types_of(sound=(10, 0, 90, 0), music=(0, 30, 10, 60), speech=(5, 10, 85, 0))
    assert changed(types=bad) == (
        "type confusion: the type step is right for 41.7 % (125 of 300)",
        "type confusion: sound is mostly taken for speech: 90.0 % (90 of 100)",
        "type confusion: no single type is found for 60.0 % (60 of 100) of music",
    )
    assert changed(types=types_of(**{"mix-sound-music": (0, 0, 100, 0)})) == ()


def test_refusals_in_one_modality() -> None:
    (line,) = changed(abstained=270, modalities=modalities(40, 40, 190))
    assert line == "refusals concentrate in speech: 57.1 % there, 12.0 % elsewhere"
    few = (ModalitySigns("sound", 10, 3), ModalitySigns("music", 10, 1))
    assert changed(abstained=150, modalities=few) == (), "three against one shows nothing"
    assert changed(abstained=150, modalities=(ModalitySigns("sound", 1000, 150),)) == ()
    assert changed(abstained=150, modalities=(ModalitySigns("sound", 0, 0), ModalitySigns("music", 50, 0))) == ()


def test_one_position_taken_again_and_again() -> None:
    (line,) = changed(positions=PositionSigns((90, 4, 3, 3), (25, 25, 25, 25)))
    assert line == "position bias: choice 1 is taken in 90.0 % of the answers, and right in 25.0 %"
    assert changed(positions=PositionSigns((40, 20, 20, 20), (25, 25, 25, 25))) == ()
    assert changed(positions=PositionSigns((90, 10), (88, 12))) == (), "the data are lopsided, not the method"
    assert changed(positions=PositionSigns((19, 0), (9, 10))) == (), "too few to tell"
    assert changed(positions=PositionSigns((90, 10), (0, 0))) == ()


def test_graver_signs_come_first() -> None:
    lines = changed(failed=3, unparsed=100, abstained=0, positions=PositionSigns((90, 10), (50, 50)))
    assert [line.split(":")[0] for line in lines] == [
        "failed",
        "unparsed",
        "no refusals",
        "instruction ignored",
        "position bias",
    ]
