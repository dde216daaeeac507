import math

import pytest

from lalm_agent.eval.metrics.estimate import Estimate, Interval, Kind, estimate, finite, kind_of


@pytest.mark.parametrize(
    ("value", "kind"),
    [(0.0, "finite"), (-2.5, "finite"), (math.inf, "+inf"), (-math.inf, "-inf"), (math.nan, "undefined")],
)
def test_a_value_is_one_of_four_kinds(value: float, kind: str) -> None:
    assert kind_of(value) == kind
    assert finite(value) == (value if kind == "finite" else None)


def test_a_figure_without_an_interval_has_none() -> None:
    assert estimate(0.25) == Estimate(0.25, Kind.FINITE, None, Kind.UNDEFINED, None, Kind.UNDEFINED, None)


def test_every_end_of_an_interval_has_its_own_kind() -> None:
    found = estimate(1.5, Interval(0.5, math.inf, 0.125))
    assert found == Estimate(1.5, Kind.FINITE, 0.5, Kind.FINITE, None, Kind.PLUS_INF, 0.125)


def test_an_undefined_figure_has_no_number_at_all() -> None:
    found = estimate(math.nan, Interval(math.nan, math.nan, 1.0))
    assert (found.value, found.low, found.high) == (None, None, None)
    assert {found.kind, found.low_kind, found.high_kind} == {Kind.UNDEFINED}
