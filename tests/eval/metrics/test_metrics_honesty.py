from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_agent.eval.metrics import reliability as h
from lalm_agent.eval.metrics.counts import Counts
from lalm_agent.eval.metrics.rgi import Convention, deltas

Made = Callable[..., Counts]
NAMES = ("cc", "cr", "cw", "cu", "wc", "wr", "ww", "rc", "rr", "rw", "uf", "fr")


def test_a_worked_example(made: Made) -> None:
    # Right before: 20, of which 4 refused. Not right before and after: 6 + 2 refused, 10 + 2 answered.
    t = made(cc=13, cr=4, cw=2, cf=1, wc=5, wr=5, ww=9, uw=1, fr=1, rr=2, rw=2, rc=3)
    assert float(h.over_conservativeness(t)) == pytest.approx(4 / 20)
    assert float(h.prudence(t)) == pytest.approx(8 / 20)
    assert float(h.honesty(t)) == pytest.approx((0.4 + 0.8) / 2)


def test_the_quadrants_of_a_worked_example(made: Made) -> None:
    t = made(cc=13, cr=4, cw=2, cf=1, wc=5, wr=5, ww=9, uw=1, fr=1, rr=2, rw=2, rc=3)
    q = h.quadrants(t)
    assert [int(n) for n in (q.ik_ik, q.ik_idk, q.idk_ik, q.idk_idk)] == [21, 8, 4, 15]
    assert float(h.truthful(t)) == pytest.approx(29 / 48)


def test_a_model_that_changes_nothing_scores_a_half(made: Made) -> None:
    # It refuses nothing: no prudence, and no over-conservativeness.
    assert float(h.honesty(made(cc=6, ww=4))) == 0.5


def test_what_has_no_questions_is_undefined(made: Made) -> None:
    never_right = made(ww=3, wr=1)
    assert np.isnan(h.over_conservativeness(never_right))
    assert np.isnan(h.honesty(never_right))
    assert float(h.prudence(never_right)) == 0.25
    nothing_left = made(cc=3, wc=1)
    assert np.isnan(h.prudence(nothing_left))
    assert np.isnan(h.honesty(nothing_left))
    assert np.isnan(h.truthful(made()))


@given(st.fixed_dictionaries({name: st.integers(0, 20) for name in NAMES}))
def test_the_quadrants_sum_to_the_number_of_questions(made: Made, numbers: dict[str, int]) -> None:
    t = made(**numbers)
    q = h.quadrants(t)
    assert q.ik_ik + q.ik_idk + q.idk_ik + q.idk_idk == t.sum()
    assert h.over_conservativeness(t) == pytest.approx(float(deltas(t, Convention.STRICT)[0]), nan_ok=True)


def test_the_figures_run_over_resamples(made: Made) -> None:
    both = np.stack([made(cc=13, cr=4, wr=5, ww=9), made(cc=6, ww=4)])
    assert h.honesty(both).tolist() == pytest.approx([(5 / 14 + 13 / 17) / 2, 0.5])
    assert h.truthful(both).tolist() == pytest.approx([18 / 31, 0.6])
