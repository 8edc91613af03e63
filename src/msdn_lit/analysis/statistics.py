"""How sure a number is, and whether two methods differ.

Two sources of chance, two tools. Training: runs that differ in their seed alone, summarised by `summarise` and, for two
methods on the same seeds, `compare_seeds`. Testing: the images and classes that happened to be tested, resampled by
`compare_on_images`. All intervals are two-sided at 95 %, all accuracies fractions, every result carries its n.

Letters: N images, C classes of a role, X resamples; 2 the two methods.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Interval = tuple[float, float]
Resample = Callable[[NDArray[np.int64], int, np.random.Generator], NDArray[np.float64]]

_CONFIDENCE = 0.95
_MAX_EXACT = 12  # seeds whose 2^n sign flips are all tried
_RIGHT_42 = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])  # by outcome 2 * first + second: which method is right


class Summary(NamedTuple):
    """A number over n runs.

    Attributes:
        mean: Over the runs.
        std: Sample standard deviation (n - 1); None for one run.
        interval: Student's t interval of the mean; None for one run.
        n: Number of runs.
    """

    mean: float
    std: float | None
    interval: Interval | None
    n: int

    def __str__(self) -> str:
        """Percent, mean ± standard deviation: "68.1 ± 0.4 (n=5)"."""
        spread = "" if self.std is None else f" ± {100 * self.std:.1f}"
        return f"{100 * self.mean:.1f}{spread} (n={self.n})"


class SeedComparison(NamedTuple):
    """First minus second method over the same n seeds.

    Attributes:
        difference: Of the means, with its paired t interval.
        t_p_value: Of the paired t-test; None for one seed.
        permutation_p_value: Of the exact sign-flip test, at least 2 / 2^n, so that n < 6 cannot reach 5 %; None for
            one seed and for more than 12.
    """

    difference: Summary
    t_p_value: float | None
    permutation_p_value: float | None


class ImageComparison(NamedTuple):
    """First minus second method on the same test images.

    Attributes:
        difference: As observed.
        interval: Percentile interval of the resampled differences.
        p_value: Twice the smaller part of the resampled differences on either side of zero, zeros on both.
        num_images: Images of the classes compared.
        num_classes: Classes compared, those without images left out.
        num_resamples: X.
    """

    difference: float
    interval: Interval
    p_value: float
    num_images: int
    num_classes: int
    num_resamples: int


def summarise(values: ArrayLike) -> Summary:
    """Mean, standard deviation and t interval of one score per run, (n,).

    Raises:
        ValueError: There is no run.
    """
    values_n = np.asarray(values, dtype=np.float64)
    n = len(values_n)
    if n == 0:
        raise ValueError("there is no run to summarise")
    mean = float(values_n.mean())
    if n == 1:
        return Summary(mean, None, None, n)
    std = float(values_n.std(ddof=1))
    half = float(stats.t.ppf((1 + _CONFIDENCE) / 2, n - 1)) * std / n**0.5
    return Summary(mean, std, (mean - half, mean + half), n)


def compare_seeds(first: ArrayLike, second: ArrayLike) -> SeedComparison:
    """Compares two methods by runs that share their seeds.

    Args:
        first: One score per seed, (n,).
        second: Scores of the same seeds in the same order, (n,).

    Raises:
        ValueError: The two do not come in pairs, or there are none.
    """
    first_n, second_n = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first_n.shape != second_n.shape:
        raise ValueError(f"scores of the same seeds come in pairs, not {len(first_n)} and {len(second_n)}")
    differences = first_n - second_n
    summary = summarise(differences)
    if summary.std is None:
        return SeedComparison(summary, None, None)
    t_p_value = float(summary.mean == 0)  # the limit for seeds that all say the same
    if summary.std > 0:
        t_p_value = 2 * float(stats.t.sf(abs(summary.mean) * summary.n**0.5 / summary.std, summary.n - 1))
    exact = None
    if summary.n <= _MAX_EXACT:
        test = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf)
        exact = float(test.pvalue)
    return SeedComparison(summary, t_p_value, exact)


def over_images(outcomes_C4: NDArray[np.int64], num_resamples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draws each class's images anew, the classes being given: would other photographs tell the same?

    Args:
        outcomes_C4: Images of each class by outcome 2 * (first is right) + (second is right), (C, 4).
        num_resamples: X.
        rng: Source of chance.

    Returns:
        Mean class accuracies of both methods, (X, 2).
    """
    total_X2 = np.zeros((num_resamples, 2))
    for outcomes_4 in outcomes_C4:  # n images drawn with replacement are one multinomial draw of their outcomes
        n = outcomes_4.sum()
        total_X2 += rng.multinomial(n, outcomes_4 / n, num_resamples) @ _RIGHT_42 / n
    return total_X2 / len(outcomes_C4)


def over_classes(outcomes_C4: NDArray[np.int64], num_resamples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draws the classes anew, each with all its images: would other classes tell the same?

    Arguments and result as of `over_images`. The images' own chance is in it, through the classes' accuracies.
    """
    num_classes = len(outcomes_C4)
    times_XC = rng.multinomial(num_classes, np.full(num_classes, 1 / num_classes), num_resamples)
    means_X2: NDArray[np.float64] = times_XC @ _class_accuracies(outcomes_C4) / num_classes
    return means_X2


def compare_on_images(
    first_N: NDArray[np.bool_],
    second_N: NDArray[np.bool_],
    labels_N: NDArray[np.int64],
    roles: Sequence[NDArray[np.int64]],
    *,
    resample: Resample,
    num_resamples: int,
    seed: int,
) -> ImageComparison:
    """Compares two methods on the same test images by a paired bootstrap.

    The score is the harmonic mean of the mean class accuracies of the roles: T1, U or S of one role, H of two.

    Args:
        first_N: Whether the first method is right about each image, (N,).
        second_N: The same of the second method, (N,).
        labels_N: Class ids, (N,); images of classes in no role do not count.
        roles: Class ids of each role, each with at least one image.
        resample: `over_images` or `over_classes`.
        num_resamples: X; 10,000 give p-values to about 0.005.
        seed: Of the resampling.
    """
    outcomes = [_outcomes(first_N, second_N, labels_N, role) for role in roles]
    rng = np.random.default_rng(seed)
    observed_2 = stats.hmean([_class_accuracies(outcomes_C4).mean(axis=0) for outcomes_C4 in outcomes])
    resampled_X2 = stats.hmean([resample(outcomes_C4, num_resamples, rng) for outcomes_C4 in outcomes])
    differences_X = resampled_X2[:, 0] - resampled_X2[:, 1]
    tails = (1 + (differences_X <= 0).sum(), 1 + (differences_X >= 0).sum())
    low, high = np.quantile(differences_X, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
    return ImageComparison(
        difference=float(observed_2[0] - observed_2[1]),
        interval=(float(low), float(high)),
        p_value=min(1.0, 2 * float(min(tails)) / (num_resamples + 1)),
        num_images=sum(int(outcomes_C4.sum()) for outcomes_C4 in outcomes),
        num_classes=sum(len(outcomes_C4) for outcomes_C4 in outcomes),
        num_resamples=num_resamples,
    )


def _outcomes(
    first_N: NDArray[np.bool_], second_N: NDArray[np.bool_], labels_N: NDArray[np.int64], role: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Counts the images of each class of a role by outcome, classes without images left out, (C, 4)."""
    is_role_N = np.isin(labels_N, role)
    classes, class_n = np.unique(labels_N[is_role_N], return_inverse=True)
    assert len(classes), "a role has no images"
    outcome_n = (2 * np.asarray(first_N, dtype=np.int64) + second_N)[is_role_N]
    return np.bincount(4 * class_n + outcome_n, minlength=4 * len(classes)).reshape(-1, 4)


def _class_accuracies(outcomes_C4: NDArray[np.int64]) -> NDArray[np.float64]:
    """Accuracy of both methods in each class, (C, 2)."""
    accuracies_C2: NDArray[np.float64] = outcomes_C4 @ _RIGHT_42 / outcomes_C4.sum(axis=1, keepdims=True)
    return accuracies_C2
