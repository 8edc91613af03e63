"""Two methods with the same seeds and test images: a bootstrap by images or by classes.

The seeds' models are fixed. Every resample is drawn once and scored by all models: T1, U, S and H
of each seed and method, then the mean over the seeds of the differences. The intervals therefore
cover other test images (or classes) with these seeds; `compare_seeds` covers other seeds.
`scipy.stats.bootstrap` would draw and score every image of every resample; here images with equal
outcomes are drawn together.

Letters: V outcomes of an image (2 tasks, CZSL and GZSL, x 2 methods x n seeds), N images, all or
those of one class, L distinct patterns of outcomes, C classes of a domain, Z resamples.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from msdn_lit.analysis.statistics import Interval
from msdn_lit.errors import CheckpointError
from msdn_lit.metrics.arrays import predict
from msdn_lit.runs.score_cache import ScoreCache

Outcomes = NDArray[np.bool_]  # whether each image is predicted correctly
Means = NDArray[np.float64]
Resample = Callable[[Sequence[Outcomes], int, np.random.Generator], Means]

NUM_RESAMPLES = 10_000  # p-values to about 0.005
_SEED = 0


class ImageComparison(NamedTuple):
    """Difference of two methods, first minus second, on the same test images.

    Attributes:
        difference: Observed difference.
        interval: 95 % percentile interval of the resampled differences.
        p_value: Twice the smaller share of the resampled differences at or below zero, or at or
            above zero.
        num_images: Number of images of the compared classes.
        num_classes: Number of compared classes; classes without images do not count.
    """

    difference: float
    interval: Interval
    p_value: float
    num_images: int
    num_classes: int


def over_images(classes: Sequence[Outcomes], num_resamples: int, rng: np.random.Generator) -> Means:
    """Resamples the images of each class.

    Args:
        classes: Outcomes of the images of each class, (V, N) each.
        num_resamples: Z.
        rng: Random generator.

    Returns:
        Mean class accuracies, (Z, V).
    """
    total_ZV = np.zeros((num_resamples, len(classes[0])))
    for right_VN in classes:
        # images with equal outcomes are interchangeable, so only their numbers are drawn
        patterns_VL, counts_L = np.unique(right_VN, axis=1, return_counts=True)
        drawn_ZL = _draw(counts_L, num_resamples, rng)
        total_ZV += drawn_ZL @ patterns_VL.T.astype(float) / counts_L.sum()
    return total_ZV / len(classes)


def over_classes(
    classes: Sequence[Outcomes], num_resamples: int, rng: np.random.Generator
) -> Means:
    """Resamples the classes, each with all its images; arguments and result as in `over_images`."""
    C, accuracies_CV = len(classes), np.stack([right_VN.mean(axis=1) for right_VN in classes])
    means_ZV: Means = rng.multinomial(C, np.full(C, 1 / C), num_resamples) @ accuracies_CV / C
    return means_ZV


def compare_caches(
    first: Sequence[ScoreCache], second: Sequence[ScoreCache], resample: Resample
) -> dict[str, ImageComparison]:
    """Compares two methods by their score caches.

    Args:
        first: Score caches of the first method, one for each seed.
        second: Score caches of the second method, of the same seeds in the same order.
        resample: `over_images` or `over_classes`.

    Returns:
        Comparisons by score (`SCORES`); fractions, first minus second.

    Raises:
        CheckpointError: The caches are not of the same images and classes.
    """
    _check_same_images([*first, *second])
    one = first[0]
    right = np.array([[_right(cache) for cache in caches] for caches in (first, second)])
    right_VN = right.transpose(2, 0, 1, 3).reshape(-1, len(one.labels_N))
    seen, unseen = (
        [right_VN[:, one.labels_N == c] for c in np.intersect1d(ids, one.labels_N)]
        for ids in (one.seen, one.unseen)
    )
    if not (seen and unseen):
        problem = "The seen or the unseen classes have no images"
        raise CheckpointError(problem, action="Compare runs that were tested on both.")
    rng, shape = np.random.default_rng(_SEED), (-1, 2, 2, len(first))
    domains = (seen, unseen)
    means = [np.mean([r.mean(axis=1) for r in domain], axis=0) for domain in domains]
    observed = _differences(*(mean_V.reshape(shape) for mean_V in means))
    resampled = [resample(domain, NUM_RESAMPLES, rng) for domain in domains]
    drawn = _differences(*(means_ZV.reshape(shape) for means_ZV in resampled))
    compared = {
        "acc_czsl": unseen,
        "acc_unseen": unseen,
        "acc_seen": seen,
        "harmonic_mean": [*seen, *unseen],
    }
    return {
        score: _comparison(observed[score][0], drawn[score], classes)
        for score, classes in compared.items()
    }


def _check_same_images(caches: Sequence[ScoreCache]) -> None:
    for name in ("rows_N", "labels_N", "seen", "unseen"):
        expected = getattr(caches[0], name)
        if not all(np.array_equal(getattr(cache, name), expected) for cache in caches):
            problem = "The two methods were not tested on the same images"
            raise CheckpointError(problem, action="Compare runs on one split.")


def _draw(
    counts_L: NDArray[np.int64], num_resamples: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Counts each pattern among as many images as there are, drawn with replacement, (Z, L)."""
    N, L = int(counts_L.sum()), len(counts_L)
    if N > 6 * L:  # a binomial draw takes as long as six images
        return rng.multinomial(N, counts_L / N, num_resamples)
    pattern_N, first_Z1 = np.repeat(np.arange(L), counts_L), L * np.arange(num_resamples)[:, None]
    drawn_ZN = first_Z1 + pattern_N[rng.integers(N, size=(num_resamples, N))]
    return np.bincount(drawn_ZN.ravel(), minlength=num_resamples * L).reshape(-1, L)


def _right(cache: ScoreCache) -> Outcomes:
    """Whether the run predicts each image correctly in CZSL and in GZSL, (2, N)."""
    logits_NC = cache.fused(calibration=cache.calibration)
    candidates = (cache.unseen, np.concatenate([cache.seen, cache.unseen]))
    return np.stack([predict(logits_NC, ids) == cache.labels_N for ids in candidates])


def _differences(seen: Means, unseen: Means) -> dict[str, Means]:
    """First minus second method by score, the mean over the seeds, (Z,).

    Args:
        seen: Mean accuracies of the seen classes, (Z, task, method, seed).
        unseen: Mean accuracies of the unseen classes, of the same shape.
    """
    T1, U, S = unseen[:, 0], unseen[:, 1], seen[:, 1]
    total = U + S
    H = np.divide(2 * U * S, total, out=np.zeros_like(total), where=total > 0)
    scores = {"acc_czsl": T1, "acc_unseen": U, "acc_seen": S, "harmonic_mean": H}
    differences = {
        name: (values[:, 0] - values[:, 1]).mean(axis=1) for name, values in scores.items()
    }
    # rounded, so that equal models differ by exactly zero
    return {name: values_Z.round(12) for name, values_Z in differences.items()}


def _comparison(observed: float, drawn_Z: Means, classes: Sequence[Outcomes]) -> ImageComparison:
    tails = (1 + (drawn_Z <= 0).sum(), 1 + (drawn_Z >= 0).sum())
    low, high = np.quantile(drawn_Z, [0.025, 0.975])
    return ImageComparison(
        difference=float(observed),
        interval=(float(low), float(high)),
        p_value=min(1.0, 2 * float(min(tails)) / (len(drawn_Z) + 1)),
        num_images=sum(right_VN.shape[1] for right_VN in classes),
        num_classes=len(classes),
    )
