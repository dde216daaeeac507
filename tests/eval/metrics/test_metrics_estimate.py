import math

import pytest

from lalm_agent.eval.metrics.estimate import Figure, Interval, Kind, estimate, finite, kind_of


@pytest.mark.parametrize(
    ("value", "kind"),
    [(0.0, "finite"), (-2.5, "finite"), (math.inf, "+inf"), (-math.inf, "-inf"), (math.nan, "undefined")],
)
def test_a_value_is_one_of_four_kinds(value: float, kind: str) -> None:
    assert kind_of(value) == kind
    assert finite(value) == (value if kind == "finite" else None)


def test_every_end_of_an_interval_has_its_own_kind() -> None:
    found = estimate(1.5, Interval(0.5, math.inf, 0.125))
    assert found == Figure(
        value=1.5,
        low=0.5,
        kind=Kind.FINITE,
        low_kind=Kind.FINITE,
        high_kind=Kind.PLUS_INF,
        undefined_share=0.125,
    )
    assert (found.text, found.above_zero) == ("1.50 [0.50, +inf]", True)


def test_an_undefined_figure_has_no_number_at_all() -> None:
    found = estimate(math.nan, Interval(math.nan, math.nan, 1.0))
    assert (found.value, found.low, found.high) == (None, None, None)
    assert (found.text, found.above_zero) == ("undefined", False)
    assert {found.kind, found.low_kind, found.high_kind} == {Kind.UNDEFINED}
