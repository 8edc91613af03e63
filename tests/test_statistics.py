"""Intervals and p-values against closed forms, scipy, and simulations of what they promise."""

import math

import numpy as np
import pytest
from scipy import stats

from msdn_lit.analysis.statistics import compare_on_images, compare_seeds, over_classes, over_images, summarise

SEEN, UNSEEN = np.array([3, 0]), np.array([7, 4, 5])
X = 4000
both_resamples = pytest.mark.parametrize("resample", [over_images, over_classes])


def rng(seed=0):
    return np.random.default_rng(seed)


def random_outcomes(seed=0, num_classes=8):
    """(C, 4) of classes with 5 to 30 images; methods that are right together more often than by chance."""
    generator = rng(seed)
    sizes = generator.integers(5, 31, num_classes)
    return np.stack([generator.multinomial(n, generator.dirichlet([2, 1, 1, 4])) for n in sizes])


def images_of(outcomes_C4, classes):
    """(first, second, labels) of single images, shuffled."""
    rows = [
        (o >> 1, o & 1, c) for c, row in zip(classes, outcomes_C4, strict=True) for o in range(4) for _ in range(row[o])
    ]
    first, second, labels = rng().permutation(np.array(rows)).T
    return first.astype(bool), second.astype(bool), labels


def mean_class_accuracy(right_N, labels_N, role):
    return np.mean([right_N[labels_N == c].mean() for c in role if (labels_N == c).any()])


def compare(first, second, labels, roles=(UNSEEN,), resample=over_images, num_resamples=X, seed=0):
    return compare_on_images(first, second, labels, roles, resample=resample, num_resamples=num_resamples, seed=seed)


# --- seeds


def test_summary_of_known_numbers():
    mean, std, (low, high), n = summarise([0.68, 0.70, 0.66, 0.69, 0.67])
    assert [mean, std, n] == [pytest.approx(0.68), pytest.approx(math.sqrt(0.00025)), 5]
    assert high - mean == pytest.approx(mean - low)
    assert high - mean == pytest.approx(2.7764451 * math.sqrt(0.00025 / 5))  # t of 4 degrees of freedom, from a table


def test_summary_equals_scipy():
    values = rng().normal(size=7)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert summarise(values).interval == pytest.approx(tuple(expected))


def test_one_run_has_no_interval():
    assert summarise([0.5]) == (0.5, None, None, 1)
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
    assert turned.difference.interval == pytest.approx([-end for end in ours.difference.interval[::-1]])
    assert turned[1:] == pytest.approx(ours[1:])


@pytest.mark.parametrize("n", [3, 8])
def test_t_interval_covers_95_percent(n):
    values = rng(n).normal(0.7, 0.02, size=(2000, n))
    covered = np.mean([low <= 0.7 <= high for low, high in (summarise(row).interval for row in values)])
    assert 0.935 < covered < 0.965  # three standard errors


def test_p_values_of_seeds_are_uniform_where_nothing_differs():
    comparisons = [compare_seeds(*pair) for pair in rng().normal(size=(600, 2, 8))]
    for name in ("t_p_value", "permutation_p_value"):
        values = [getattr(comparison, name) for comparison in comparisons]
        assert stats.kstest(values, "uniform").pvalue > 0.01


# --- images


def test_observed_difference_equals_loops():
    first, second, labels = images_of(random_outcomes(), range(8))
    u, s = ([mean_class_accuracy(right, labels, role) for right in (first, second)] for role in (UNSEEN, SEEN))
    assert compare(first, second, labels).difference == pytest.approx(u[0] - u[1])
    h = [2 * u[i] * s[i] / (u[i] + s[i]) for i in range(2)]
    both = compare(first, second, labels, (UNSEEN, SEEN))
    assert both.difference == pytest.approx(h[0] - h[1])
    assert both.num_classes == 5
    assert both.num_images == np.isin(labels, [*SEEN, *UNSEEN]).sum()
    assert both.num_resamples == X


def test_resampled_images_have_the_moments_of_the_closed_form():
    outcomes_C4 = random_outcomes()
    difference_X = np.subtract(*over_images(outcomes_C4, 40_000, rng()).T)
    first_less_second = np.array([0, -1, 1, 0])
    mean, variance = [], []
    for row in outcomes_C4:
        p = row / row.sum()
        mean.append(p @ first_less_second)
        variance.append((p @ first_less_second**2 - mean[-1] ** 2) / row.sum())
    assert difference_X.mean() == pytest.approx(np.mean(mean), abs=4 * difference_X.std() / 200)
    assert difference_X.var() == pytest.approx(np.sum(variance) / 8**2, rel=0.04)


def test_resampled_classes_have_the_moments_of_the_closed_form():
    outcomes_C4 = random_outcomes()
    difference_X = np.subtract(*over_classes(outcomes_C4, 40_000, rng()).T)
    of_class = (outcomes_C4[:, 2] - outcomes_C4[:, 1]) / outcomes_C4.sum(axis=1)
    assert difference_X.mean() == pytest.approx(of_class.mean(), abs=4 * difference_X.std() / 200)
    assert difference_X.var() == pytest.approx(of_class.var() / 8, rel=0.04)


def test_interval_over_the_images_of_a_class_equals_scipy():
    first, second, labels = images_of(random_outcomes(num_classes=1) * 4, [7])
    theirs = stats.bootstrap(
        (first, second),
        lambda a, b, axis: a.mean(axis) - b.mean(axis),
        paired=True,
        n_resamples=X,
        method="percentile",
        rng=rng(),
    ).confidence_interval
    assert compare(first, second, labels).interval == pytest.approx(tuple(theirs), abs=1.01 / len(labels))


@pytest.mark.parametrize("roles", [(UNSEEN,), (SEEN, UNSEEN)])
@both_resamples
def test_seed_order_of_images_and_order_of_methods(resample, roles):
    first, second, labels = images_of(random_outcomes(), range(8))
    ours = compare(first, second, labels, roles, resample)
    order = rng(5).permutation(len(labels))
    assert compare(first[order], second[order], labels[order], roles, resample) == ours
    assert compare(first, second, labels, roles, resample, seed=1) != ours
    turned = compare(second, first, labels, roles, resample)
    assert turned.difference == pytest.approx(-ours.difference)
    assert turned.p_value == pytest.approx(ours.p_value, abs=0.05)


@both_resamples
def test_methods_that_agree_on_every_image_do_not_differ(resample):
    first, _, labels = images_of(random_outcomes(), range(8))
    result = compare(first, first, labels, (SEEN, UNSEEN), resample)
    assert (result.difference, result.interval, result.p_value) == (0, (0, 0), 1)


@both_resamples
def test_a_method_that_is_always_right_beats_one_that_never_is(resample):
    labels = np.repeat([0, 3, 4, 5, 7], 6)
    right = np.ones(len(labels), dtype=bool)
    result = compare(right, ~right, labels, (SEEN, UNSEEN), resample)
    assert (result.difference, result.interval) == (1, (1, 1))
    assert result.p_value == 2 / (X + 1)


def test_a_role_without_images_is_refused():
    with pytest.raises(AssertionError, match="no images"):
        compare(np.array([True]), np.array([True]), np.array([0]))


def simulate(resample, draw_chances, num_simulations=300):
    """Compares on fresh images, 25 of each of 30 classes whose chances of the four outcomes are drawn each time."""
    generator = rng(3)
    for _ in range(num_simulations):
        outcomes_C4 = np.stack([generator.multinomial(25, chances_4) for chances_4 in draw_chances(generator)])
        yield compare(*images_of(outcomes_C4, range(30)), (np.arange(30),), resample, num_resamples=500)


def fixed_chances(only_second, only_first):
    chances_C4 = rng().dirichlet([3, only_second, only_first, 3], size=30)
    return lambda _: chances_C4


def equal_in_each_class(_):
    """Classes differ, the two methods do not."""
    chances_C4 = fixed_chances(1, 1)(None)
    return (chances_C4 + chances_C4[:, [0, 2, 1, 3]]) / 2


def equal_on_average(generator):
    """New classes each time; each favours one method, all of them neither."""
    return generator.dirichlet([3, 1, 1, 3], size=30)


@pytest.mark.parametrize(
    ("resample", "draw_chances"), [(over_images, equal_in_each_class), (over_classes, equal_on_average)]
)
def test_where_nothing_differs_intervals_cover_zero_and_p_values_are_uniform(resample, draw_chances):
    results = list(simulate(resample, draw_chances))
    covered = np.mean([result.interval[0] <= 0 <= result.interval[1] for result in results])
    assert 0.91 < covered < 0.98  # three standard errors are 0.038
    p_values = np.array([result.p_value for result in results])
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    assert 0.01 < np.mean(p_values < 0.05) < 0.09


def test_where_methods_differ_the_interval_covers_the_difference_and_not_zero():
    draw_chances = fixed_chances(only_second=1, only_first=2)
    truth = (draw_chances(None)[:, 2] - draw_chances(None)[:, 1]).mean()
    results = list(simulate(over_images, draw_chances))
    assert 0.91 < np.mean([result.interval[0] <= truth <= result.interval[1] for result in results]) < 0.98
    assert np.mean([result.p_value < 0.05 for result in results]) > 0.8
