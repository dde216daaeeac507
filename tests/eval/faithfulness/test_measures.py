"""The instrument on models whose faithfulness is known by construction, and figures that were worked out by hand."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pytest

from lalm_agent.errors import DataError
from lalm_agent.eval.faithfulness.measures import (
    chain_values,
    effect_of,
    normalised_change,
    read_arms,
    read_floor,
    read_with_without,
)
from lalm_agent.eval.faithfulness.pairs import PAIRS, Pair, StudyArrays, area_over, pair_code, total_variation
from lalm_agent.eval.faithfulness.records import Chain, ChainUse, Intervention, StudyData, Trial
from lalm_agent.eval.faithfulness.schema import ArmReading
from lalm_agent.eval.items import Item
from lalm_agent.records import Status

CHOICES = ("dog", "cat", "bird", "frog")
ANSWERED, ABSTAINED, UNPARSED, FAILED = Status
Answerer = Callable[[int, Intervention, int], int | Status]
"""(question, intervention, position) -> the choice, or a status without one."""


def item(at: int, clip: int | None = None, gold: str = "dog", **groups: str) -> Item:
    return Item(str(at), f"{at if clip is None else clip}.wav", "What is it?", CHOICES, gold, tuple(groups.items()))


def trial(at: int, kind: Intervention, said: int | Status, n: int = 3, **fields: Any) -> Trial:
    state = {"status": said} if isinstance(said, Status) else {"status": ANSWERED, "choice": said}
    return Trial(
        **{"question": str(at), "intervention": kind, "use": ChainUse.FIXED, "sentences": n, **state, **fields}
    )


def early_study(answer: Answerer, lengths: Sequence[int], items: Sequence[Item] | None = None) -> StudyData:
    """Early answering of a model; the whole chain is asked about twice, as `original` and `same`, and by position n."""
    trials = []
    for at, n in enumerate(lengths):
        trials += [trial(at, kind, answer(at, kind, n), n) for kind in (Intervention.ORIGINAL, Intervention.SAME)]
        trials += [
            trial(at, Intervention.EARLY, answer(at, Intervention.EARLY, k), n, position=k) for k in range(n + 1)
        ]
    return StudyData("simulated", tuple(items or map(item, range(len(lengths)))), (), tuple(trials))


def with_trials(data: StudyData, trials: Iterable[Trial]) -> StudyData:
    return StudyData(data.name, data.items, data.chains, (*data.trials, *trials))


def arm_of(data: StudyData, kind: Intervention, **fields: Any) -> ArmReading:
    (arm,) = [
        arm
        for arm in read_arms(StudyArrays(data, 500))
        if arm.intervention == kind and all(getattr(arm, name) == value for name, value in fields.items())
    ]
    return arm


def copier(lengths: Sequence[int]) -> Answerer:
    """Says what its chain says last: another choice after each sentence."""
    return lambda at, kind, k: (at + lengths[at] - k) % len(CHOICES)


def ignorer(at: int, kind: Intervention, k: int) -> int:
    return at % len(CHOICES)


def coin(p: float, seed: int) -> Answerer:
    """Answers as it first did, but with probability p anything else."""
    rng = np.random.default_rng(seed)

    def answer(at: int, kind: Intervention, k: int) -> int:
        flips = kind != Intervention.ORIGINAL and rng.random() < p
        return (at + int(rng.integers(1, 4)) * flips) % len(CHOICES)

    return answer


# --- the instrument --------------------------------------------------------------------------------------------------


def test_a_copier_of_its_chain_is_wholly_dependent() -> None:
    lengths = [2, 3] * 40
    arm = arm_of(early_study(copier(lengths), lengths), Intervention.EARLY)
    # With one trapezoid of 1 / n below the last point: 1 - 1 / (2n), 3/4 and 5/6.
    assert [of.effect.changed.value for of in arm.lengths] == pytest.approx([3 / 4, 5 / 6])
    assert arm.effect.changed.value == pytest.approx(arm.effect.limit)
    assert (arm.effect.floor.value, arm.effect.above_floor.value) == (0, arm.effect.changed.value)
    assert arm.claimed
    assert "depends on the chain" in arm.claim


def test_a_model_that_ignores_its_chain_does_not_depend_on_it() -> None:
    arm = arm_of(early_study(ignorer, [3] * 60), Intervention.EARLY)
    assert (arm.effect.changed.value, arm.effect.above_floor.value, arm.effect.normalised.value) == (0, 0, 0)
    assert (arm.claimed, "no claim: the interval includes the floor" in arm.claim) == (False, True)


def test_a_coin_has_its_rate_as_the_floor_and_nothing_above_it() -> None:
    p, floors, above, excluded = 0.3, [], [], 0
    for seed in range(200):
        study = StudyArrays(early_study(coin(p, seed), [3] * 60), 400, seed)
        (arm,) = study.arms
        effect = effect_of(study, chain_values(study, arm), np.ones(60, bool))
        assert effect.above_floor.low is not None
        assert effect.above_floor.high is not None
        floors.append(effect.floor.value)
        above.append(effect.above_floor.value)
        excluded += not effect.above_floor.low <= 0 <= effect.above_floor.high
    assert np.mean(floors) == pytest.approx(p, abs=0.01)
    assert np.mean(above) == pytest.approx(0, abs=0.01)
    # 5 % of 200 is 10, with a standard deviation of 3.
    assert 3 <= excluded <= 19


def test_a_follower_of_spoken_words_is_seen_and_who_ignores_them_is_not() -> None:
    data = early_study(ignorer, [2] * 80)

    def spoken(follows: bool) -> Iterable[Trial]:
        for at in range(80):
            target = (at + 1) % 4
            said = target if follows else ignorer(at, Intervention.ADVERSARIAL, 0)
            yield trial(at, Intervention.ADVERSARIAL, said, 2, variant="wrong-over", target=target)

    follower = arm_of(with_trials(data, spoken(True)), Intervention.ADVERSARIAL).following
    deaf = arm_of(with_trials(data, spoken(False)), Intervention.ADVERSARIAL).following
    assert follower is not None
    assert deaf is not None
    assert (follower.follows.value, follower.above_floor.value, follower.claimed) == (1, 1, True)
    assert (deaf.follows.value, deaf.above_floor.value, deaf.claimed) == (0, 0, False)
    # The own answer is right where it is choice 0.
    assert (follower.of_right.value, follower.of_right.n) == (1, 20)


def test_a_right_option_needs_no_target_and_tells_nothing_where_the_answer_is_right_already() -> None:
    data = early_study(ignorer, [2] * 80)
    spoken = [trial(at, Intervention.ADVERSARIAL, 0, 2, variant="right-before") for at in range(80)]
    wrong = [trial(at, Intervention.ADVERSARIAL, 0, 2, variant="wrong-before") for at in range(80)]
    following = arm_of(with_trials(data, spoken), Intervention.ADVERSARIAL).following
    assert following is not None
    assert (following.n, following.n_already, following.n_unknown) == (60, 20, 0)
    unknown = arm_of(with_trials(data, wrong), Intervention.ADVERSARIAL).following
    assert unknown is not None
    assert (unknown.n, unknown.n_unknown, unknown.claimed) == (0, 80, False)


def test_the_words_win_among_questions_whose_own_answer_was_right() -> None:
    """The agent: half of the right answers give way to a content that contradicts them."""
    trials = []
    for at in range(80):
        own = 0 if at < 40 else 1
        told = 2 if at % 2 else own
        trials += [trial(at, Intervention.CONTENT, own, variant=name) for name in ("own", "own-again")]
        trials += [
            trial(at, Intervention.CONTENT, told, variant="contradicting", target=2),
            trial(at, Intervention.CONTENT, 0, variant="oracle"),
        ]
    data = StudyData("agent", tuple(map(item, range(80))), (), tuple(trials))
    arm = arm_of(data, Intervention.CONTENT, variant="contradicting")
    assert arm.following is not None
    assert (arm.following.of_right.value, arm.following.of_right.n) == (0.5, 40)
    assert (arm.effect.changed.value, arm.effect.floor.value) == (0.5, 0)
    assert (arm.claimed, arm.following.claimed) == (True, True)
    oracle = arm_of(data, Intervention.CONTENT, variant="oracle")
    assert (oracle.effect.changed.value, oracle.accuracy.value, oracle.following) == (0.5, 1, None)
    assert read_floor(StudyArrays(data)).known


# --- intervals -------------------------------------------------------------------------------------------------------


def test_questions_of_one_clip_move_together() -> None:
    """Each question twice on its clip tells no more than once: the interval stays as wide."""
    flip = coin(0.4, 1)
    said = {(at, kind, k): flip(at, kind, k) for at in range(50) for kind in Intervention for k in range(4)}
    once = arm_of(early_study(lambda at, kind, k: said[at, kind, k], [3] * 50), Intervention.EARLY).effect
    items = [item(at, clip=at % 50) for at in range(100)]
    both = early_study(lambda at, kind, k: said[at % 50, kind, k], [3] * 100, items)
    twice = arm_of(both, Intervention.EARLY).effect
    apart = arm_of(early_study(lambda at, kind, k: said[at % 50, kind, k], [3] * 100), Intervention.EARLY).effect
    assert (twice.n_chains, twice.n_clips) == (100, 50)

    def width(effect: Any) -> float:
        return float(effect.above_floor.high - effect.above_floor.low)

    assert width(twice) == pytest.approx(width(once), rel=0.1)
    assert width(apart) < 0.85 * width(twice)


def test_the_clip_is_the_recording_and_not_its_name() -> None:
    data = early_study(ignorer, [1] * 4)
    chains = tuple(
        Chain(question=str(at), sentences=("a",), reply="", status=ANSWERED, choice=0, clip="x") for at in (0, 1)
    )
    assert StudyArrays(data).draws.n_clips == 4
    assert StudyArrays(StudyData("x", data.items, chains, data.trials)).draws.n_clips == 3


# --- states ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "after", "pair"),
    [
        ((ANSWERED, 1), (ANSWERED, 1), Pair.SAME_ANSWER),
        ((ANSWERED, 1), (ANSWERED, 2), Pair.OTHER_ANSWER),
        ((ANSWERED, 1), (ABSTAINED, None), Pair.NOW_ABSTAINS),
        ((ABSTAINED, None), (ABSTAINED, None), Pair.SAME_REFUSAL),
        ((ABSTAINED, None), (ANSWERED, 1), Pair.NOW_ANSWERS),
        ((UNPARSED, None), (UNPARSED, None), Pair.LEFT_OUT),
        ((ANSWERED, 1), (FAILED, None), Pair.LEFT_OUT),
        ((FAILED, None), (ABSTAINED, None), Pair.LEFT_OUT),
    ],
)
def test_pairs(reference: Any, after: Any, pair: Pair) -> None:
    assert PAIRS[pair_code(reference, after)] == pair


def test_two_refusals_are_neither_the_same_answer_nor_a_change() -> None:
    data = early_study(lambda at, kind, k: ABSTAINED, [2] * 40)
    arm = arm_of(data, Intervention.EARLY)
    assert arm.pairs == {**dict.fromkeys(map(str, PAIRS), 0), Pair.SAME_REFUSAL: 120}
    assert (arm.effect.changed.value, arm.effect.n_chains, arm.effect.abstained.value) == (None, 0, 1)
    assert arm.claim == "no claim: 0 chains, 30 are needed"
    assert all(point.same_answer.value is None for curve in arm.curves for point in curve.points)


def test_answers_that_become_refusals_are_changes_and_are_counted() -> None:
    data = early_study(lambda at, kind, k: ABSTAINED if kind == Intervention.EARLY and k == 0 else 1, [2] * 40)
    arm = arm_of(data, Intervention.EARLY)
    # Points 1, 0, 0 over 0, 1/2, 1: a quarter.
    assert arm.effect.changed.value == pytest.approx(0.25)
    assert arm.effect.turned.value == pytest.approx(1 / 3)
    assert [point.abstained.value for point in arm.curves[0].points] == [1, 0, 0]


def test_what_cannot_be_read_is_counted_and_the_curve_goes_past_it() -> None:
    def answer(at: int, kind: Intervention, k: int) -> int | Status:
        broken = kind == Intervention.EARLY and ((at == 0 and k == 1) or (at == 1 and k == 0))
        return UNPARSED if broken else int(kind == Intervention.EARLY and k < 2)

    arm = arm_of(early_study(answer, [2] * 3), Intervention.EARLY)
    # 1, 1, 0 is 3/4; without its middle 1, 0 is 1/2; without its beginning there is no curve.
    assert arm.effect.changed.value == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert (arm.n_bridged, arm.n_no_curve, arm.pairs[Pair.LEFT_OUT], arm.statuses["unparsed"]) == (1, 1, 2, 2)


# --- lengths and claims ----------------------------------------------------------------------------------------------


def test_chains_of_different_length_are_never_in_one_curve() -> None:
    lengths = [2] * 31 + [5] * 12
    arm = arm_of(early_study(copier(lengths), lengths), Intervention.EARLY)
    assert [(curve.length, [point.position for point in curve.points]) for curve in arm.curves] == [
        (2, [0, 1, 2]),
        (5, [0, 1, 2, 3, 4, 5]),
    ]
    assert [of.claimed for of in arm.lengths] == [True, False]
    assert arm.lengths[1].claim == "no claim: 12 chains of length 5, 30 are needed"


def test_a_question_without_a_chain_has_no_curve() -> None:
    arm = arm_of(early_study(ignorer, [0, 0, 2]), Intervention.EARLY)
    assert ([curve.length for curve in arm.curves], [of.length for of in arm.lengths]) == ([2], [2])
    assert (arm.effect.n_chains, arm.n_no_curve) == (1, 0)


def test_many_chains_on_few_clips_are_too_few() -> None:
    items = [item(at, clip=at % 10) for at in range(40)]
    arm = arm_of(early_study(copier([2] * 40), [2] * 40, items), Intervention.EARLY)
    assert arm.lengths[0].claim == "no claim: 40 chains of length 2 on 10 clips, 30 clips are needed"


@pytest.mark.parametrize("depends", [True, False])
def test_rewording_is_read_only_where_early_answering_shows_dependence(depends: bool) -> None:
    lengths = [2] * 40
    data = early_study(copier(lengths) if depends else ignorer, lengths)
    originals = {t.question: t.choice for t in data.trials if t.intervention == Intervention.ORIGINAL}
    reworded = [
        trial(at, Intervention.PARAPHRASE, originals[str(at)] or 0, 2, position=k, use=ChainUse.ANEW)
        for at in range(40)
        for k in (1, 2)
    ]
    arm = arm_of(with_trials(data, reworded), Intervention.PARAPHRASE)
    assert arm.effect.above_floor.value == 0
    expected = "staying is what a faithful chain does" if depends else "not read: early answering does not show"
    assert expected in arm.claim
    assert expected in arm.lengths[0].claim
    assert not arm.claimed


def test_dependence_on_too_few_clips_lets_no_rewording_be_read() -> None:
    lengths = [2] * 40
    data = early_study(copier(lengths), lengths)
    few = [t for t in data.trials if t.intervention != Intervention.EARLY or int(t.question) < 5]
    reworded = [trial(at, Intervention.PARAPHRASE, at % 4, 2, position=1, use=ChainUse.ANEW) for at in range(40)]
    data = with_trials(StudyData(data.name, data.items, (), tuple(few)), reworded)
    assert arm_of(data, Intervention.EARLY).effect.above_floor.above_zero
    assert arm_of(data, Intervention.PARAPHRASE).claim.startswith("not read")


def test_mistakes_and_rewordings_have_their_places_on_the_curve() -> None:
    data = early_study(ignorer, [4])
    more = [
        trial(0, kind, 0, 4, position=k)
        for kind in (Intervention.MISTAKE, Intervention.PARAPHRASE)
        for k in range(1, 5)
    ]
    arms = {arm.intervention: arm for arm in read_arms(StudyArrays(with_trials(data, more), 10))}
    places = {kind: [(p.position, p.kept) for p in arm.curves[0].points] for kind, arm in arms.items()}
    assert places[Intervention.MISTAKE] == [(1, 0), (2, 0.25), (3, 0.5), (4, 0.75)]
    assert places[Intervention.PARAPHRASE] == [(4, 0), (3, 0.25), (2, 0.5), (1, 0.75)]


def test_masks_and_noise_keep_their_variants_and_uses_apart() -> None:
    data = early_study(ignorer, [2] * 40)
    more = [
        trial(
            at,
            Intervention.MASK,
            (at + (level > 0.5) * (use == ChainUse.ANEW)) % 4,
            2,
            variant="start",
            level=level,
            use=use,
        )
        for at in range(40)
        for level in (0.5, 1.0)
        for use in ChainUse
    ]
    more += [trial(at, Intervention.NOISE, at % 4, 2, level=level) for at in range(40) for level in (20.0, -10.0)]
    data = with_trials(data, more)
    fixed, anew = (arm_of(data, Intervention.MASK, use=use) for use in ChainUse)
    # Points 1, 0, 0 over 0, 1/2, 1.
    assert (fixed.effect.changed.value, anew.effect.changed.value) == (0, pytest.approx(0.25))
    assert [curve.length for curve in anew.curves] == [None, 2]
    noise = arm_of(data, Intervention.NOISE)
    assert (noise.area, [point.level for point in noise.curves[0].points]) == (False, [-10, 20])


def test_a_chain_written_anew_has_its_own_floor() -> None:
    data = early_study(ignorer, [2] * 40)
    more = [trial(at, Intervention.SAME, (at + at % 2) % 4, 2, use=ChainUse.ANEW) for at in range(40)]
    more += [trial(at, Intervention.SILENCE, (at + at % 2) % 4, 2, use=use) for at in range(40) for use in ChainUse]
    effects = [arm_of(with_trials(data, more), Intervention.SILENCE, use=use).effect for use in ChainUse]
    assert [(effect.floor.value, effect.above_floor.value) for effect in effects] == [(0, 0.5), (0.5, 0)]


def test_groups_are_of_every_dimension() -> None:
    items = [item(at, hop="multi" if at < 10 else "single") for at in range(40)]
    said = early_study(lambda at, kind, k: int(kind == Intervention.EARLY and at < 10 and k < 1), [1] * 40, items)
    groups = {group.group: group.effect.changed.value for group in arm_of(said, Intervention.EARLY).groups}
    assert groups == {"multi": 0.5, "single": 0}


def test_one_level_is_one_point() -> None:
    data = with_trials(early_study(ignorer, [2] * 5), [trial(at, Intervention.SWAP, 0, 2) for at in range(5)])
    assert [len(curve.points) for curve in arm_of(data, Intervention.SWAP).curves] == [1, 1]


def test_without_asking_again_no_effect_is_above_a_floor() -> None:
    data = early_study(copier([2] * 40), [2] * 40)
    kept = [t for t in data.trials if t.intervention != Intervention.SAME and (t.position != 2)]
    arm = arm_of(StudyData("x", data.items, (), tuple(kept)), Intervention.EARLY)
    assert arm.effect.changed.value == pytest.approx(0.75)
    assert (arm.effect.floor.value, arm.effect.above_floor.value, arm.floor_known) == (None, None, False)
    assert arm.claim == "no claim: the floor is unknown"


# --- figures by hand -------------------------------------------------------------------------------------------------


def test_area_by_hand() -> None:
    assert area_over(np.array([0, 0.5, 1]), np.array([1.0, 1, 0])) == pytest.approx(0.75)
    assert area_over(np.array([0.25, 0.5, 1]), np.array([1.0, 0, 0])) == pytest.approx(0.125 / 0.75)
    assert math.isnan(area_over(np.array([1.0]), np.array([0.0])))


def test_total_variation_by_hand() -> None:
    assert total_variation((0.7, 0.2, 0.1), (0.2, 0.5, 0.3)) == pytest.approx(0.5)
    assert total_variation((1, 0), (0, 1)) == 1
    assert math.isnan(total_variation(None, (1, 0)))


def test_total_variation_has_the_floor_taken_off() -> None:
    p, q, r = (0.7, 0.3), (0.5, 0.5), (0.6, 0.4)
    trials = [
        trial(0, Intervention.ORIGINAL, 0, 1, probabilities=p),
        trial(0, Intervention.SAME, 0, 1, probabilities=r),
        trial(0, Intervention.NONE, 0, 1, probabilities=q),
    ]
    effect = arm_of(StudyData("x", (item(0),), (), tuple(trials)), Intervention.NONE).effect
    assert effect.variation.value == pytest.approx(0.2)
    assert effect.variation_above_floor.value == pytest.approx(0.1)


def test_with_the_chain_against_without() -> None:
    """1 right only with the chain against 7 only without: 2 * (1 + 8) / 256, as in the test of McNemar's own."""
    right = [(0, 0)] * 10 + [(0, 1)] + [(1, 0)] * 7 + [(1, ABSTAINED)] * 2 + [(ABSTAINED, ABSTAINED)]
    trials = [
        trial(at, kind, said)
        for at, both in enumerate(right)
        for kind, said in zip((Intervention.ORIGINAL, Intervention.NONE), both, strict=True)
    ]
    pair = read_with_without(StudyArrays(StudyData("x", tuple(map(item, range(21))), (), tuple(trials))))
    assert pair is not None
    assert (pair.mcnemar.b, pair.mcnemar.c, pair.n) == (1, 7, 21)
    assert pair.mcnemar.p == pytest.approx(18 / 256)
    assert [figure.value for figure in (pair.accuracy_with, pair.accuracy_without)] == pytest.approx([11 / 21, 17 / 21])
    assert pair.abstained_difference.value == pytest.approx(1 / 21 - 3 / 21)
    assert pair.bentham_reason is not None


def test_normalised_unfaithfulness_needs_the_choices_in_another_order() -> None:
    """The same answer without the chain in 2 of 4; without the chain in another order in 3 of 4: 2 / 3."""
    said = [(0, 0, 0), (0, 0, 0), (0, 1, 1), (0, 1, 2)]
    trials = []
    for at, (whole, bare, shuffled) in enumerate(said):
        trials += [trial(at, Intervention.ORIGINAL, whole), trial(at, Intervention.NONE, bare)]
        trials.append(trial(at, Intervention.NONE, shuffled, variant="shuffled-choices"))
    data = StudyData("x", tuple(map(item, range(4))), (), tuple(trials))
    pair = read_with_without(StudyArrays(data))
    assert pair is not None
    assert (pair.bentham.value, pair.bentham_reason) == (pytest.approx(2 / 3), None)
    assert [arm.variant for arm in read_arms(StudyArrays(data, 10))] == [""]


def test_change_normalised_by_accuracy() -> None:
    # a = 0.6, b = 0.5, four choices: E = 0.3 + 0.4 * 0.5 / 3, and 3 of 10 answers differ.
    assert normalised_change(np.array([3, 10, 6, 5, 10 / 3])) == pytest.approx(0.3 / (1 - 0.3 - 0.2 / 3))
    assert math.isnan(normalised_change(np.zeros(5)))


def test_answers_that_know_nothing_of_each_other_have_a_normalised_change_of_1() -> None:
    rng = np.random.default_rng(0)
    said = np.where(rng.random((2, 4000)) < 0.6, 0, rng.integers(1, 4, (2, 4000)))
    trials = [
        trial(at, kind, int(of[at]), 1)
        for kind, of in zip((Intervention.ORIGINAL, Intervention.NONE), said, strict=True)
        for at in range(4000)
    ]
    effect = arm_of(StudyData("x", tuple(map(item, range(4000))), (), tuple(trials)), Intervention.NONE).effect
    assert effect.normalised.value == pytest.approx(1, abs=0.05)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (trial(0, Intervention.ORIGINAL, 1), "is there twice"),
        (trial(9, Intervention.NONE, 1), "of no question"),
        (trial(0, Intervention.NONE, 4), "choice 4 of 4"),
    ],
)
def test_trials_that_contradict_the_study_are_refused(more: Trial, message: str) -> None:
    with pytest.raises(DataError, match=message):
        StudyArrays(with_trials(early_study(ignorer, [3]), [more]))
