from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalm_agent.eval.metrics.counts import Counts
from lalm_agent.eval.metrics.reliability import honesty_rates, quadrants
from lalm_agent.eval.metrics.rgi import Convention, deltas

Made = Callable[..., Counts]
NAMES = ("cc", "cr", "cw", "cu", "wc", "wr", "ww", "rc", "rr", "rw", "uf", "fr")


def test_a_worked_example(made: Made) -> None:
    # Right before: 20, of which 4 refused. Not right before and after: 6 + 2 refused, 10 + 2 answered.
    t = made(cc=13, cr=4, cw=2, cf=1, wc=5, wr=5, ww=9, uw=1, fr=1, rr=2, rw=2, rc=3)
    rates = {"prudence": 0.4, "over_conservativeness": 0.2, "honesty": 0.6, "truthful": 29 / 48}
    assert {name: float(rate) for name, rate in honesty_rates(t).items()} == pytest.approx(rates)
    assert {name: int(n) for name, n in quadrants(t).items()} == {"ik_ik": 21, "ik_idk": 8, "idk_ik": 4, "idk_idk": 15}


def test_what_has_no_questions_is_undefined(made: Made) -> None:
    unchanged, never_right = honesty_rates(made(cc=6, ww=4)), honesty_rates(made(ww=3, wr=1))
    assert float(unchanged["honesty"]) == 0.5, "it refuses nothing: no prudence, and no over-conservativeness"
    assert np.isnan([never_right["over_conservativeness"], never_right["honesty"]]).all()
    assert float(never_right["prudence"]) == 0.25
    nothing_left = honesty_rates(made(cc=3, wc=1))
    assert np.isnan([nothing_left["prudence"], nothing_left["honesty"], honesty_rates(made())["truthful"]]).all()


@given(st.fixed_dictionaries({name: st.integers(0, 20) for name in NAMES}))
def test_the_quadrants_sum_to_the_number_of_questions(made: Made, numbers: dict[str, int]) -> None:
    t = made(**numbers)
    assert sum(quadrants(t).values()) == t.sum()
    conservative = honesty_rates(t)["over_conservativeness"]
    assert conservative == pytest.approx(float(deltas(t, Convention.STRICT)[0]), nan_ok=True)


def test_the_figures_run_over_resamples(made: Made) -> None:
    both = honesty_rates(np.stack([made(cc=13, cr=4, wr=5, ww=9), made(cc=6, ww=4)]))
    assert both["honesty"].tolist() == pytest.approx([(5 / 14 + 13 / 17) / 2, 0.5])
    assert both["truthful"].tolist() == pytest.approx([18 / 31, 0.6])
