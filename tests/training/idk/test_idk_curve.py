"""The curve: shares by hand, intervals over clips, and labels that flip."""

from typing import Any

from lalm_agent.eval.scorers import make_scorer
from lalm_agent.training.idk.labels import Bootstrap, counts, curve, curves, flips


def test_shares_by_hand(counted: Any) -> None:
    """0, 2, 2, 5 of 5 right: below 1, one of four; below 3, three; below 5, three."""
    figures = curve(counted({"a": 0, "b": 2, "c": 2, "d": 5}), 5, Bootstrap())
    assert figures.n == figures.n_clips == 4
    assert figures.by_right == (1, 0, 2, 0, 0, 1)
    assert [share.n_idk for share in figures.shares] == [1, 1, 3, 3, 3]
    assert [share.share for share in figures.shares] == [0.25, 0.25, 0.75, 0.75, 0.75]
    lows, highs = ([getattr(share, end) for share in figures.shares] for end in ("low", "high"))
    assert lows == sorted(lows)
    assert highs == sorted(highs)
    assert all(share.low <= share.share <= share.high for share in figures.shares)


def test_groups_and_undefined_ones(drawn: Any, counted: Any) -> None:
    music = drawn("c", ["cat", "cat"], modality="music")
    graded = counted([drawn("a", ["dog", "dog"]), drawn("b", ["cat", None]), music], 2)
    groups = curves(graded, 2, Bootstrap())
    assert list(groups) == ["total", "music", "sound"]
    assert [groups[name].n for name in groups] == [2, 1, 1]
    nothing = curve([graded[1]], 2, Bootstrap())
    assert (nothing.n, nothing.by_right, nothing.shares) == (0, (0, 0, 0), ())


def test_questions_about_one_clip_move_together(drawn: Any, counted: Any) -> None:
    """Twenty questions about two clips have the interval of two clips, not of twenty questions."""
    questions = [drawn(str(n), ["dog" if n % 2 else "cat"], clip=str(n % 2)) for n in range(20)]
    together = curve(counted(questions, 1), 1, Bootstrap())
    assert together.n_clips == 2
    assert (together.shares[0].low, together.shares[0].high) == (0.0, 1.0)
    alone = curve(counted([drawn(str(n), ["dog" if n % 2 else "cat"]) for n in range(20)], 1), 1, Bootstrap())
    assert 0.1 < alone.shares[0].low < 0.5 < alone.shares[0].high < 0.9


def test_labels_that_another_scorer_changes(drawn: Any, counted: Any) -> None:
    """MMAU's match wants the choice's words and no others: it does not know what (a) is."""
    questions = [drawn("a", ["(a)", "dog"]), drawn("b", ["dog", "dog"]), drawn("c", ["cat", None])]
    before = counted(questions, 2)
    after = counts(questions, make_scorer("mmau"), 2)
    changed = flips("mmau", before, after, 2)
    assert changed.compared == 2
    assert changed.to_idk == (0, 1)
    assert changed.to_kept == (0, 0)
    back = flips("rule", after, before, 2)
    assert (back.to_idk, back.to_kept) == ((0, 0), (0, 1))
