"""Confidence intervals of scores, and tests of differences between two methods.

There are two sources of chance. Training: runs that differ only in their seed; `summarise` and, for
two methods with the same seeds, `compare_seeds`. Testing: the tested images and classes, which
`pairing` resamples. All intervals are two-sided at 95 %, all accuracies are fractions, and every
result has its n.

Letter: n runs, one for each seed.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Interval = tuple[float, float]

_CONFIDENCE = 0.95
_MAX_EXACT = 12  # seeds up to which all 2^n sign flips are evaluated


class Summary(NamedTuple):
    """A score over n runs.

    Attributes:
        mean: Mean over the runs.
        std: Sample standard deviation (n - 1); None for one run.
        n: Number of runs.
    """

    mean: float
    std: float | None
    n: int

    @property
    def interval(self) -> Interval | None:
        """Student's t interval of the mean; None for one run."""
        if self.std is None:
            return None
        from scipy.special import stdtrit  # the table of a terminal has no intervals

        quantile = float(stdtrit(self.n - 1, (1 + _CONFIDENCE) / 2))
        half = quantile * self.std / self.n**0.5
        return self.mean - half, self.mean + half

    def __str__(self) -> str:
        """Percent, mean ± standard deviation: "68.1 ± 0.4 (n=5)"."""
        spread = "" if self.std is None else f" ± {100 * self.std:.1f}"
        return f"{100 * self.mean:.1f}{spread} (n={self.n})"


class SeedComparison(NamedTuple):
    """Difference of two methods, first minus second, over the same n seeds.

    Attributes:
        difference: Paired differences; their interval is the paired t interval.
        t_p_value: p-value of the paired t-test; None for one seed.
        permutation_p_value: p-value of the exact sign-flip test. It is at least 2 / 2^n, so n < 6
            cannot reach 5 %. None for one seed and for more than 12.
    """

    difference: Summary
    t_p_value: float | None
    permutation_p_value: float | None


def summarise(values: ArrayLike) -> Summary:
    """Computes mean and standard deviation of one score per run, (n,).

    Raises:
        ValueError: There is no run.
    """
    values_n = np.asarray(values, dtype=np.float64)
    n = len(values_n)
    if n == 0:
        raise ValueError("there is no run to summarise")
    mean = float(values_n.mean())
    return Summary(mean, float(values_n.std(ddof=1)) if n > 1 else None, n)


def compare_seeds(first: ArrayLike, second: ArrayLike) -> SeedComparison:
    """Compares two methods by runs with the same seeds.

    Args:
        first: One score per seed, (n,).
        second: Scores of the same seeds in the same order, (n,).

    Raises:
        ValueError: The two have different lengths, or no runs.
    """
    first_n, second_n = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first_n.shape != second_n.shape:
        found = f"{len(first_n)} and {len(second_n)}"
        raise ValueError(f"scores of the same seeds come in pairs, not {found}")
    differences_n = first_n - second_n
    summary = summarise(differences_n)
    if summary.n == 1:
        return SeedComparison(summary, None, None)
    permutation_p_value = None
    if summary.n <= _MAX_EXACT:
        from scipy import stats

        test = stats.permutation_test(
            (differences_n,), np.mean, permutation_type="samples", n_resamples=np.inf
        )
        permutation_p_value = float(test.pvalue)
    return SeedComparison(summary, _t_p_value(differences_n), permutation_p_value)


def _t_p_value(differences_n: NDArray[np.float64]) -> float:
    if np.allclose(differences_n, differences_n[0], rtol=1e-12, atol=0):
        return float(differences_n.mean() == 0)  # the limit; scipy returns NaN and warns
    from scipy import stats

    return float(stats.ttest_1samp(differences_n, 0).pvalue)
