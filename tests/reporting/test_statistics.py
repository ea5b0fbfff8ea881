"""Statistics against tables, hand numbers and numpy."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmcore.interfaces import KindScore
from mmcore.reporting.statistics import (
    at_chance,
    difference,
    permutation_p,
    pooled,
    rank_correlation,
    summary,
    t_quantile,
    t_within,
)

TABLE = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 8: 2.306, 15: 2.131, 30: 2.042}
"""Printed in every book: the two-sided 95 % points of Student's t."""


@pytest.mark.parametrize(("degrees", "quantile"), TABLE.items())
def test_quantiles_of_students_t_are_those_of_the_printed_table(degrees, quantile) -> None:
    assert t_quantile(degrees) == pytest.approx(quantile, abs=6e-4)


@pytest.mark.parametrize("degrees", [1, 2, 3, 6, 7])
def test_the_series_is_the_integral_of_the_density(degrees) -> None:
    xs = np.linspace(-2.5, 2.5, 20_001)
    factor = math.gamma((degrees + 1) / 2) / math.gamma(degrees / 2) / math.sqrt(degrees * math.pi)
    density = factor * (1 + xs**2 / degrees) ** (-(degrees + 1) / 2)
    assert t_within(2.5, degrees) == pytest.approx(float(np.trapezoid(density, xs)), abs=1e-7)


def test_students_t_needs_a_degree_of_freedom() -> None:
    with pytest.raises(ValueError, match="had 0"):
        t_within(1.0, 0)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_spread_is_the_sample_standard_deviation(values) -> None:
    found = summary(values)
    assert found is not None
    assert found.n == len(values)
    assert found.mean == pytest.approx(float(np.mean(values)), abs=1e-6)
    assert found.spread == pytest.approx(float(np.std(values, ddof=1)), abs=1e-6)


def test_what_is_not_finite_is_left_out_and_one_value_has_no_spread() -> None:
    assert summary([math.nan, math.inf]) is None
    found = summary([0.5, math.nan])
    assert found is not None
    assert (found.mean, found.spread, found.n) == (0.5, None, 1)


def test_a_difference_is_paired_by_seed() -> None:
    """Two points that move together with the seed: 1, 2, 3 apart. By hand: mean 2, deviation 1,
    half of the interval 4.3027 / sqrt(3)."""
    found = difference([(10, 11), (50, 52), (90, 93)])
    assert found is not None
    assert found.mean == pytest.approx(2)
    assert found.half == pytest.approx(4.302653 / math.sqrt(3), abs=1e-5)
    assert not found.apart
    clear = difference([(10, 13), (50, 52.5), (90, 93.5)])
    assert clear is not None
    assert clear.apart


def test_seeds_that_happen_to_agree_do_not_make_one_question_a_difference() -> None:
    one, two = ([(0.50, 0.50 + step)] * 3 for step in (0.01, 0.02))
    without, with_grain = difference(one), difference(one, grain=0.01)
    assert without is not None
    assert with_grain is not None
    assert (without.apart, with_grain.apart) == (True, False)
    clear = difference(two, grain=0.01)
    assert clear is not None
    assert clear.apart


def test_one_seed_tells_nothing_apart() -> None:
    found = difference([(0.0, 1.0)])
    assert found is not None
    assert (found.mean, found.half, found.apart) == (1.0, None, False)
    assert difference([]) is None


def test_answers_of_all_seeds_are_pooled() -> None:
    """45 of 150: Wilson's interval by hand."""
    one = KindScore("k", 100, 0.35, 0, 0, 0.2, 0.1)
    other = KindScore("k", 50, 0.20, 0, 0, 0.26, 0.25)
    found = pooled([one, other])
    assert (found.questions, found.accuracy) == (150, pytest.approx(0.3))
    z, n, p = 1.959964, 150, 0.3
    centre = (p + z * z / 2 / n) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / 4 / n / n)
    assert (found.low, found.high) == pytest.approx((centre - half, centre + half), abs=1e-6)
    assert (found.constant, found.chance) == pytest.approx((0.22, 0.15))
    assert not at_chance(found)
    assert at_chance(pooled([KindScore("k", 100, 0.25, 0, 0, 0.2)] * 1))
    assert not at_chance(pooled([KindScore("k", 100, 0.25, 0, 0, 0.2)] * 9)), "more answers, surer"


def test_rank_correlation_is_that_of_mean_ranks() -> None:
    """Ranks by hand: 1 2.5 2.5 4 and 1 3 2 4."""
    seen = rank_correlation([1, 5, 5, 9], [0.1, 0.7, 0.3, 0.9])
    assert seen == pytest.approx(float(np.corrcoef([1, 2.5, 2.5, 4], [1, 3, 2, 4])[0, 1]))
    assert rank_correlation([1, 1, 1], [1, 2, 3]) == 0


def test_p_is_near_that_of_all_permutations() -> None:
    xs, ys = [1, 2, 3, 4, 5], [1, 3, 2, 4, 5]
    seen = abs(rank_correlation(xs, ys)) - 1e-9
    all_of_them = [abs(rank_correlation(xs, list(one))) >= seen for one in permutations(ys)]
    exact = sum(all_of_them) / len(all_of_them)
    assert permutation_p(xs, ys) == pytest.approx(exact, abs=0.02)
    assert permutation_p(xs, ys) == permutation_p(xs, ys)
