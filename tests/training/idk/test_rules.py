"""The rules beside K@N, at an equal share; controls; what chance may and may not depend on."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_agent.errors import DataError
from lalm_agent.eval.items import Item
from lalm_agent.training.idk.bank import Sample, SampledQuestion, is_held_out, keyed
from lalm_agent.training.idk.labels import (
    Control,
    Rule,
    balanced,
    controlled,
    labels_by,
    mean_uncertainty,
    most_uncertain,
    semantic_entropy,
)

IDS = st.dictionaries(st.text(min_size=1, max_size=3), st.floats(0, 1), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("replies", "entropy"),
    [
        (["dog", "Dog.", "The answer is dog", "(a)", "dog"], 0.0),
        (["cat", "cat", "cat", "cat", "cat"], 0.0),
        (["IDK", "IDK", "I don't know.", "IDK", "IDK"], 0.0),
        (["dog", "cat", "cow", "IDK", "hm"], math.log(5)),
        # 3/5 and 2/5: 0.6 * 0.5108 + 0.4 * 0.9163
        (["dog", "dog", "dog", "hm", "hm"], 0.6730),
    ],
)
def test_entropy_over_what_samples_mean(drawn: Any, replies: list[str], entropy: float) -> None:
    assert semantic_entropy(drawn("q", replies), 5) == pytest.approx(entropy, abs=1e-4)


def test_entropy_of_an_open_question_is_over_texts(drawn: Any) -> None:
    item = Item("q", "q.wav", "What is said?", (), "hello")
    samples = tuple(Sample(text, ()) for text in ("Hello.", "hello", "goodbye", "IDK"))
    assert semantic_entropy(SampledQuestion(item, samples), 4) == pytest.approx(1.0397, abs=1e-4)  # 1/2, 1/4, 1/4


def test_confidence_is_a_mean_and_no_answer_has_none(drawn: Any) -> None:
    """0.5, 0.6 for two answers, and 0 for a refusal: 1 - 1.1 / 3."""
    assert mean_uncertainty(drawn("q", ["dog", "cat", "IDK"]), 3) == pytest.approx(1 - 1.1 / 3)
    bare = SampledQuestion(drawn("q", ["dog"]).item, (Sample("dog", ("dog", "cat")),))
    with pytest.raises(DataError, match="no confidence for question 'q'"):
        mean_uncertainty(bare, 1)


@pytest.mark.parametrize("rule", [Rule.ENTROPY, Rule.CONFIDENCE])
def test_other_rules_take_as_many_as_k_at_n(drawn: Any, counted: Any, rule: Rule) -> None:
    mixed = [drawn(f"m{n}", ["dog", "cat", "dog", "IDK", "hm"]) for n in range(3)]
    sure = [drawn(f"s{n}", ["dog"] * 5) for n in range(7)]
    graded = counted([*mixed, *sure])
    kn = labels_by(Rule.KN, graded, 5, None, 0)
    assert labels_by(rule, graded, 5, None, 0) == kn
    assert sum(labels_by(rule, graded, 5, 0.5, 0).values()) == 5
    assert sum(labels_by(rule, graded, 5, 0.0, 0).values()) == 0
    assert sum(labels_by(rule, graded, 5, 1.0, 0).values()) == 10


def test_entropy_keeps_what_is_surely_wrong(drawn: Any, counted: Any) -> None:
    graded = counted([drawn("wrong", ["cat"] * 5), drawn("torn", ["dog", "dog", "dog", "dog", "cat"])])
    assert labels_by(Rule.KN, graded, 4, None, 0) == {"wrong": True, "torn": False}
    assert labels_by(Rule.ENTROPY, graded, 4, None, 0) == {"wrong": False, "torn": True}


@given(IDS, st.integers(0, 12), st.integers(0, 3))
def test_the_least_sure_are_taken_whatever_their_order(figures: dict[str, float], n: int, seed: int) -> None:
    labels = most_uncertain(figures, n, seed)
    assert sum(labels.values()) == min(n, len(figures))
    taken = [figures[id_] for id_, idk in labels.items() if idk]
    left = [figures[id_] for id_, idk in labels.items() if not idk]
    assert not taken or not left or min(taken) >= max(left)
    assert most_uncertain(dict(reversed(figures.items())), n, seed) == labels


@given(st.dictionaries(st.text(min_size=1, max_size=3), st.booleans(), max_size=15), st.integers(0, 3))
def test_controls_and_balance(labels: dict[str, bool], seed: int) -> None:
    modalities: dict[str, str | None] = {id_: ("sound", "music", None)[len(id_) % 3] for id_ in labels}
    assert not any(controlled(Control.KEPT, labels, modalities, seed).values())
    random = controlled(Control.RANDOM, labels, modalities, seed)
    assert list(random) == list(labels)
    for modality in set(modalities.values()):
        members = [id_ for id_ in labels if modalities[id_] == modality]
        assert sum(random[id_] for id_ in members) == sum(labels[id_] for id_ in members)
    even = balanced(labels, seed)
    assert sum(even.values()) * 2 == len(even)
    assert sum(even.values()) == min(sum(labels.values()), len(labels) - sum(labels.values()))
    assert all(labels[id_] is label for id_, label in even.items())


def test_a_larger_share_of_held_out_clips_holds_a_smaller_one() -> None:
    clips = [f"{n:064x}" for n in range(2000)]
    small, large = ({clip for clip in clips if is_held_out(clip, share)} for share in (0.2, 0.5))
    assert small < large
    # 400 expected, standard deviation 18.
    assert abs(len(small) - 400) < 90
    assert not any(is_held_out(clip, 0.0) for clip in clips)


def test_keyed_numbers_depend_on_each_argument() -> None:
    assert len({keyed(0, "a", "b"), keyed(1, "a", "b"), keyed(0, "b", "b"), keyed(0, "a", "c")}) == 4
    assert keyed(0, "a", "b") == keyed(0, "a", "b")
    # The first eight bytes of sha256 over "a", "0", "b" with zero bytes between: a set of today comes out tomorrow.
    assert keyed(0, "a", "b") == 0xC46E1F6AC9D35B02
