"""How sure a number is, and whether two methods differ.

Two sources of chance, two tools. Training: runs that differ in their seed alone, summarised by `summarise` and, for two
methods on the same seeds, `compare_seeds`. Testing: the images and classes that happened to be tested, resampled by
`pairing`. All intervals are two-sided at 95 %, all accuracies fractions, every result carries its n.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

Interval = tuple[float, float]

_CONFIDENCE = 0.95
_MAX_EXACT = 12  # seeds whose 2^n sign counterfactuals are all tried


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
        raise ValueError(
            f"scores of the same seeds come in pairs, not {len(first_n)} and {len(second_n)}"
        )
    differences = first_n - second_n
    summary = summarise(differences)
    if summary.std is None:
        return SeedComparison(summary, None, None)
    t_p_value = float(summary.mean == 0)  # the limit for seeds that all say the same
    if summary.std > 0:
        t_p_value = 2 * float(
            stats.t.sf(abs(summary.mean) * summary.n**0.5 / summary.std, summary.n - 1)
        )
    exact = None
    if summary.n <= _MAX_EXACT:
        test = stats.permutation_test(
            (differences,), np.mean, permutation_type="samples", n_resamples=np.inf
        )
        exact = float(test.pvalue)
    return SeedComparison(summary, t_p_value, exact)
