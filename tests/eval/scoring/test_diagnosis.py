"""A line for each sign, none where nothing stands out; the paper's own failures are found, its methods are not."""

import math
from dataclasses import replace
from typing import Any

import pytest

from lalm_agent.eval.grade import OUTCOMES
from lalm_agent.eval.metrics.estimate import Interval, estimate
from lalm_agent.eval.scoring import diagnosis
from lalm_agent.eval.scoring.diagnosis import TYPES, Signs, diagnose
from lalm_agent.eval.scoring.schema import Group, MatchedFigures, RefusingFigures, TypeFigures
from lalm_agent.prompts import invites_idk
from lalm_agent.records import Method

NAN = math.nan
BASELINE = {"method": "baseline", "is_baseline": True}


def gain(rgi: float, low: float = NAN, high: float = NAN) -> dict[str, Any]:
    """Strict RGI with its interval, as a group has it."""
    return {"rgi": {"strict": estimate(rgi, Interval(low, high, 0.0))}}


def group(n: int = 1000, **fields: Any) -> Group:
    """The fields of a group that a diagnosis reads. Counts are those given; the rest of the n is correct."""
    counts = {str(name): fields.pop(name, 0) for name in OUTCOMES}
    transitions = {name: {"abstained": fields.pop("before", 0) if name == "abstained" else 0} for name in counts}
    read = {"refusing": None, "matched": None, **gain(0.3, 0.1, 0.5), **fields}
    return Group.model_construct(n=n, counts=counts, transitions=transitions, **read)


def modalities(sound: int, music: int, speech: int) -> dict[str, Group]:
    sizes = {"sound": (333, sound), "music": (334, music), "speech": (333, speech)}
    return {name: group(n, abstained=refused) for name, (n, refused) in sizes.items()}


def changed(
    abstained: int = 150, groups: dict[str, Group] | None = None, signs: dict[str, Any] | None = None, **fields: Any
) -> tuple[str, ...]:
    """The lines for an idk method of 1000 questions in whose figures some are changed."""
    every = {"total": group(abstained=abstained, **fields), **(groups or {})}
    return diagnose(replace(Signs("idk", False, every, tuple(groups or ())), **(signs or {})))


def test_a_sound_method_gets_no_line() -> None:
    assert changed() == ()


@pytest.mark.parametrize("counts", [(60, 42, 48), (34, 67, 51), (47, 61, 45)], ids=["idk", "mcot", "agent"])
def test_the_paper_s_methods_show_no_sign_of_refusing_wrongly(counts: tuple[int, int, int]) -> None:
    assert changed(sum(counts), modalities(*counts)) == ()


def test_nothing_asked_says_nothing() -> None:
    assert changed(0, n=0) == ()
    assert diagnose(Signs("idk", False, {})) == ()


def test_the_methods_that_invite_idk_are_the_prompts_own() -> None:
    assert set(diagnosis.INVITES_IDK) == {str(method) for method in Method if invites_idk(method)}


def test_salmonn_over_refuses() -> None:
    lines = changed(702, modalities(210, 211, 281))
    assert lines == ("over-refusal: 70.2 % (702 of 1000) are refused, most in speech (84.4 %)",)
    assert changed(abstained=600) == ()
    assert changed(abstained=601) == ("over-refusal: 60.1 % (601 of 1000) are refused",)


def test_qwen_audio_chat_ignores_the_instruction() -> None:
    (line,) = changed(abstained=7)
    assert line == "instruction ignored: the prompt invites IDK and 0.7 % (7 of 1000) refuse"
    assert changed(abstained=20) == ()
    assert changed(7, signs={"method": "lora"}) == ()
    assert changed(7, signs={"method": None}) == ()


def test_no_refusals_are_no_evidence_whatever_the_rgi() -> None:
    lora = changed(0, signs={"method": "lora"})
    assert lora == ("no refusals: not evidence",)
    assert changed(abstained=0)[1].startswith("instruction ignored")
    assert changed(0, signs=BASELINE) == ()


def test_refusing_only_what_has_no_answer_is_no_ignored_instruction() -> None:
    def beside(refused: int) -> RefusingFigures:
        return RefusingFigures.model_construct(n_unanswerable=200, counts_unanswerable={"abstained": refused})

    (line,) = changed(0, refusing=beside(180))
    assert line == "no refusals: not evidence (unanswerable ones: 180)"
    assert changed(10, refusing=beside(10))[0].startswith("instruction ignored")


def test_refusals_of_the_baseline_are_said_on_both_sides() -> None:
    (line,) = changed(30, signs=BASELINE)
    assert line == "this baseline refuses: 3.0 % (30 of 1000), and was not asked to"
    (line,) = changed(30, signs={"is_baseline": True})
    assert (
        line == "this baseline refuses: 3.0 % (30 of 1000), its prompt (idk) invites IDK: is the order BASELINE METHOD?"
    )
    (line,) = changed(before=30)
    assert line == "the baseline itself refuses 30: they enter neither dCon nor dHum"


@pytest.mark.parametrize(
    ("rgi", "low", "high", "said"),
    [
        (-0.3, -0.5, -0.1, "strict RGI -0.30 [-0.50, -0.10] is below 0: right answers are refused more readily"),
        (-0.1, -0.3, 0.1, "strict RGI -0.10 [-0.30, +0.10]: only the point estimate is below 0"),
        (0.1, -0.1, 0.3, "strict RGI +0.10 [-0.10, +0.30]: the interval holds 0, so no gain is shown"),
        (-math.inf, -math.inf, -0.2, "strict RGI -inf [-inf, -0.20] is below 0"),
        (-0.3, NAN, NAN, "strict RGI -0.30 is below 0, without an interval"),
    ],
)
def test_rgi_says_what_its_interval_allows(rgi: float, low: float, high: float, said: str) -> None:
    (line,) = changed(**gain(rgi, low, high))
    assert line.startswith(said)


def test_an_interval_of_few_refusals_says_too_little() -> None:
    lora = {"method": "lora"}
    assert changed(9, signs=lora, **gain(-math.inf, -math.inf, -math.inf)) == (
        "strict RGI -inf [-inf, -inf] is below 0, on 9 refusals only",
    )
    assert changed(9, signs=lora, **gain(0.1, -0.1, 0.3)) == ()


@pytest.mark.parametrize(("rgi", "low", "high"), [(NAN, NAN, NAN), (0.3, NAN, NAN), (math.inf, 0.4, math.inf)])
def test_rgi_undefined_or_clearly_above_0_says_nothing(rgi: float, low: float, high: float) -> None:
    assert changed(**gain(rgi, low, high)) == ()


def test_lost_replies() -> None:
    assert changed(failed=1) == ("failed: 0.1 % (1 of 1000) got no reply; they stay in N and count as wrong",)
    assert changed(unparsed=50) == ()
    (line,) = changed(unparsed=51)
    assert line.startswith("unparsed: 5.1 % (51 of 1000) cannot be read")


def test_the_confidence_of_the_baseline_must_be_beaten() -> None:
    def against(rel: float, rgi: float, matched_rel: float = 0.75, matched_rgi: float = 0.4) -> tuple[str, ...]:
        plain = Interval(NAN, NAN, 0.0)
        control = MatchedFigures.model_construct(rel=estimate(matched_rel, plain), **gain(matched_rgi))
        return changed(matched=control, rel=estimate(rel, plain), **gain(rgi, 0.1, math.inf))

    assert against(0.7, 0.2)[0].endswith("answers: Rel 0.700 against 0.750, strict RGI +0.20 against +0.40")
    assert against(0.8, 0.2)[0].endswith("answers: strict RGI +0.20 against +0.40")
    assert against(0.8, 0.5) == against(NAN, NAN) == ()
    assert "against +inf" in against(0.8, 0.3, 0.7, math.inf)[0]


def types_of(**rows: tuple[int, int, int, int]) -> TypeFigures:
    """The matrix of modalities against sound, music, speech, none."""
    pure = {name: row for name, row in rows.items() if name in TYPES}
    n, correct = sum(map(sum, pure.values())), sum(row[TYPES.index(name)] for name, row in pure.items())
    found = {name: dict(zip(TYPES, row, strict=True)) for name, row in rows.items()}
    return TypeFigures(n=n, correct=correct, accuracy=correct / n if n else None, rows=found)


def test_types_confused() -> None:
    assert changed(signs={"types": types_of(sound=(80, 10, 10, 0), music=(5, 90, 5, 0))}) == ()
    bad = types_of(sound=(10, 0, 90, 0), music=(0, 30, 10, 60), speech=(5, 10, 85, 0))
    assert changed(signs={"types": bad}) == (
        "type confusion: the type step is right for 41.7 % (125 of 300)",
        "type confusion: sound is mostly taken for speech: 90.0 % (90 of 100)",
        "type confusion: no single type is found for 60.0 % (60 of 100) of music",
    )
    assert changed(signs={"types": types_of(**{"mix-sound-music": (0, 0, 100, 0)})}) == ()


def test_refusals_in_one_modality() -> None:
    (line,) = changed(270, modalities(40, 40, 190))
    assert line == "refusals concentrate in speech: 57.1 % there, 12.0 % elsewhere"
    few = {"sound": group(10, abstained=3), "music": group(10, abstained=1)}
    assert changed(groups=few) == (), "three against one shows nothing"
    assert changed(groups={"sound": group(abstained=150)}) == ()
    assert changed(groups={"sound": group(0), "music": group(50)}) == ()


def test_one_position_taken_again_and_again() -> None:
    (line,) = changed(signs={"positions": ((90, 4, 3, 3), (25, 25, 25, 25))})
    assert line == "position bias: choice 1 is taken in 90.0 % of the answers, and right in 25.0 %"
    assert changed(signs={"positions": ((40, 20, 20, 20), (25, 25, 25, 25))}) == ()
    assert changed(signs={"positions": ((90, 10), (88, 12))}) == (), "the data are lopsided, not the method"
    assert changed(signs={"positions": ((19, 0), (9, 10))}) == (), "too few to tell"
    assert changed(signs={"positions": ((90, 10), (0, 0))}) == ()


def test_graver_signs_come_first() -> None:
    lines = changed(0, failed=3, unparsed=100, signs={"positions": ((90, 10), (50, 50))})
    assert [line.split(":")[0] for line in lines] == [
        "failed",
        "unparsed",
        "no refusals",
        "instruction ignored",
        "position bias",
    ]
