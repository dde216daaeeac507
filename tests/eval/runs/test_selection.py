"""The order of asking, limits, and the shuffling of choices."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from lalm_agent.errors import UsageError
from lalm_agent.eval.items import Item
from lalm_agent.eval.runs.plan import missing_clips, of_modality, selected, shuffled, with_orders

Items = Callable[..., list[Item]]


def test_a_larger_limit_adds_to_a_smaller_one_whatever_the_files_order(make_items: Items) -> None:
    items = make_items(50)
    ten = [item.id for item in selected(items, 10, {}, ())]
    twenty = [item.id for item in selected(list(reversed(items)), 20, {}, ())]
    assert twenty[:10] == ten
    assert len(set(twenty)) == 20
    assert ten != [item.id for item in items[:10]], "not simply the first ones of the file"


def test_a_prefix_is_a_fair_sample(make_items: Items) -> None:
    """300 of 3000, a third each of three modalities: at most four standard deviations (8.2 * 0.95) off 100."""
    counts = Counter(item.modality for item in selected(make_items(3000), 300, {}, ()))
    assert all(abs(count - 100) < 32 for count in counts.values())


def test_missing_clips_are_passed_over_and_what_is_answered_stays(make_items: Items) -> None:
    items = make_items(20)
    everything = [item.id for item in selected(items, None, {}, ())]
    gone = dict.fromkeys(everything[:2], "gone")
    assert [item.id for item in selected(items, 5, gone, ())] == everything[2:7]
    assert [item.id for item in selected(items, 5, gone, {everything[0]})] == [everything[0], *everything[2:6]]


def test_missing_clips_are_named_with_their_reason(tmp_path: Path, make_items: Items) -> None:
    items = make_items(2)
    (tmp_path / "0.wav").touch()
    outside = Item("out", "../x.wav", "?", ("a", "b"), "a")
    reasons = missing_clips([*items, outside], tmp_path)
    assert set(reasons) == {"q1", "out"}
    assert "does not exist" in reasons["q1"]
    assert "outside the audio root" in reasons["out"]


def test_modalities(make_items: Items) -> None:
    items = make_items(9)
    assert of_modality(items, ()) == items
    assert {item.modality for item in of_modality(items, ("music", "sound"))} == {"music", "sound"}
    with pytest.raises(UsageError, match="no question has the modality musik") as refused:
        of_modality(items, ("musik",))
    assert "music" in (refused.value.hint or "")


def test_the_order_of_choices_depends_on_seed_item_and_draw_alone(make_items: Items) -> None:
    first, second = make_items(2)
    assert shuffled(first, 0, 0) == shuffled(first, 0, 0)
    orders = {shuffled(item, seed, draw) for item in (first, second) for seed in range(5) for draw in range(5)}
    assert len(orders) > 15
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)


def test_every_order_is_equally_likely() -> None:
    """6000 draws of 6 orders: mean 1000, standard deviation 29; five of them allowed."""
    item = Item("q", "a.wav", "?", ("a", "b", "c"), "a")
    counts = Counter(shuffled(item, 0, draw) for draw in range(6000))
    assert len(counts) == 6
    assert all(abs(count - 1000) < 145 for count in counts.values())


def test_choices_are_shown_in_the_stored_order(make_items: Items) -> None:
    (item,) = make_items(1)
    run_item = with_orders(item, shuffle=True, seed=0, draws=2)
    assert run_item.shown(1) == tuple(item.choices[place] for place in run_item.orders[1])
    assert with_orders(item, shuffle=False, seed=0, draws=2).shown(1) == item.choices
    open_question = Item("o", "a.wav", "?", (), "x")
    assert with_orders(open_question, shuffle=True, seed=0, draws=2).shown(1) == ()
