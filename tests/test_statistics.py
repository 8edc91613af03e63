"""Intervals and p-values against closed forms, scipy and simulations."""

import math

import numpy as np
import pytest
from scipy import stats

from msdn_lit.analysis.statistics import compare_seeds, summarise


def rng(seed=0):
    return np.random.default_rng(seed)


def test_summary_of_known_numbers():
    summary = summarise([0.68, 0.70, 0.66, 0.69, 0.67])
    (mean, std, n), (low, high) = summary, summary.interval
    assert [mean, std, n] == [pytest.approx(0.68), pytest.approx(math.sqrt(0.00025)), 5]
    assert high - mean == pytest.approx(mean - low)
    assert high - mean == pytest.approx(
        2.7764451 * math.sqrt(0.00025 / 5)
    )  # t of 4 degrees of freedom, from a table


def test_summary_equals_scipy():
    values = rng().normal(size=7)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert summarise(values).interval == pytest.approx(tuple(expected))


def test_one_run_has_no_interval():
    assert summarise([0.5]) == (0.5, None, 1)
    assert summarise([0.5]).interval is None
    assert compare_seeds([0.5], [0.4])[1:] == (None, None)


def test_no_run_is_no_summary():
    with pytest.raises(ValueError, match="run"):
        summarise([])


def test_summary_as_text():
    assert str(summarise([0.677, 0.681, 0.685])) == "68.1 ± 0.4 (n=3)"
    assert str(summarise([0.6808])) == "68.1 (n=1)"


@pytest.mark.parametrize("n", [2, 5, 12])
def test_comparison_of_seeds_equals_scipy_and_counting_flips(n):
    first, second = rng(n).normal(size=(2, n))
    ours, theirs = compare_seeds(first, second), stats.ttest_rel(first, second)
    assert ours.t_p_value == pytest.approx(theirs.pvalue)
    assert ours.difference.interval == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    signs = np.array(np.meshgrid(*[[1, -1]] * n)).reshape(n, -1)
    flipped = np.abs((first - second) @ signs)
    assert ours.permutation_p_value == pytest.approx(np.mean(flipped >= flipped[0] * (1 - 1e-12)))


def test_permutation_test_is_exact_up_to_12_seeds_and_cannot_say_more_than_its_flips():
    assert compare_seeds(np.arange(5) + 9, np.zeros(5)).permutation_p_value == 2 / 2**5
    assert compare_seeds(np.arange(12) + 9, np.zeros(12)).permutation_p_value == 2 / 2**12
    assert compare_seeds(np.arange(13) + 9, np.zeros(13)).permutation_p_value is None


def test_seeds_that_all_say_the_same():
    same, better = compare_seeds([0.5] * 4, [0.5] * 4), compare_seeds([0.75] * 4, [0.5] * 4)
    assert (same.difference.interval, same.t_p_value, same.permutation_p_value) == ((0, 0), 1, 1)
    assert (better.difference.interval, better.t_p_value) == ((0.25, 0.25), 0)


def test_seeds_must_come_in_pairs():
    with pytest.raises(ValueError, match="pairs"):
        compare_seeds([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="pairs"):
        compare_seeds([1, 2, 3], [1])


def test_order_of_the_methods_turns_the_sign_alone():
    first, second = rng(1).normal(size=(2, 6))
    ours, turned = compare_seeds(first, second), compare_seeds(second, first)
    assert turned.difference.mean == -ours.difference.mean
    assert turned.difference.interval == pytest.approx(
        [-end for end in ours.difference.interval[::-1]]
    )
    assert turned[1:] == pytest.approx(ours[1:])


@pytest.mark.parametrize("n", [3, 8])
def test_t_interval_covers_95_percent(n):
    values = rng(n).normal(0.7, 0.02, size=(2000, n))
    covered = np.mean(
        [low <= 0.7 <= high for low, high in (summarise(row).interval for row in values)]
    )
    assert 0.935 < covered < 0.965  # three standard errors


def test_p_values_of_seeds_are_uniform_where_nothing_differs():
    comparisons = [compare_seeds(*pair) for pair in rng().normal(size=(600, 2, 8))]
    for name in ("t_p_value", "permutation_p_value"):
        values = [getattr(comparison, name) for comparison in comparisons]
        assert stats.kstest(values, "uniform").pvalue > 0.01
