"""Two methods on the same seeds and test images: one bootstrap over all seeds, by images and by classes.

The seeds' models are held fixed. Every resample is drawn once and scored by all of them, since they saw the same
images: T1, U, S and H of each seed and method, then the mean over the seeds of the differences. So the intervals say
what other test images (or classes) would tell of these seeds; what other seeds would tell is `compare_seeds`'s to say.

Letters: V the 2 tasks (T1, GZSL) x 2 methods x seeds, N images, n of one class, P kinds of them that all V judge alike,
C classes of a role, X resamples.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from msdn_lit.analysis.statistics import Interval
from msdn_lit.errors import CheckpointError
from msdn_lit.metrics.functional import predict
from msdn_lit.runs.score_cache import ScoreCache

Right = NDArray[np.bool_]
Means = NDArray[np.float64]
Resample = Callable[[Sequence[Right], int, np.random.Generator], Means]

NUM_RESAMPLES = 10_000  # p-values to about 0.005
_SEED = 0


class ImageComparison(NamedTuple):
    """First minus second method on the same test images.

    Attributes:
        difference: As observed.
        interval: 95 % percentile interval of the resampled differences.
        p_value: Twice the smaller part of the resampled differences on either side of zero, zeros on both.
        num_images: Images of the classes compared.
        num_classes: Classes compared, those without images left out.
    """

    difference: float
    interval: Interval
    p_value: float
    num_images: int
    num_classes: int


def over_images(classes: Sequence[Right], num_resamples: int, rng: np.random.Generator) -> Means:
    """Draws each class's images anew.

    Args:
        classes: Whether each image of a class is right, by model, (V, n) each.
        num_resamples: X.
        rng: Source of chance.

    Returns:
        Mean class accuracies, (X, V).
    """
    total_XV = np.zeros((num_resamples, len(classes[0])))
    for right_Vn in classes:
        patterns_VP, counts_P = np.unique(
            right_Vn, axis=1, return_counts=True
        )  # images that all models judge alike
        total_XV += (
            _draw(counts_P, num_resamples, rng) @ patterns_VP.T.astype(float) / counts_P.sum()
        )
    return total_XV / len(classes)


def over_classes(classes: Sequence[Right], num_resamples: int, rng: np.random.Generator) -> Means:
    """Draws the classes anew, each with all its images; arguments and result as of `over_images`."""
    C, accuracies_CV = len(classes), np.stack([right_Vn.mean(axis=1) for right_Vn in classes])
    means_XV: Means = rng.multinomial(C, np.full(C, 1 / C), num_resamples) @ accuracies_CV / C
    return means_XV


def compare_caches(
    first: Sequence[ScoreCache], second: Sequence[ScoreCache], resample: Resample
) -> dict[str, ImageComparison]:
    """Compares two methods by their score caches.

    Args:
        first: One cache for each seed.
        second: Of the same seeds in the same order.
        resample: `over_images` or `over_classes`.

    Returns:
        T1, U, S and H by their names in a result.json; fractions, first minus second.

    Raises:
        CheckpointError: The caches are not of the same images and classes.
    """
    one = first[0]
    for name in ("rows_N", "labels_N", "seen", "unseen"):
        if any(
            not np.array_equal(getattr(cache, name), getattr(one, name))
            for cache in (*first, *second)
        ):
            raise CheckpointError(
                "The two methods were not tested on the same images", action="Compare others."
            )
    right = np.array([[_right(cache) for cache in caches] for caches in (first, second)])
    right_VN = right.transpose(2, 0, 1, 3).reshape(-1, len(one.labels_N))
    seen, unseen = (
        [right_VN[:, one.labels_N == c] for c in np.intersect1d(ids, one.labels_N)]
        for ids in (one.seen, one.unseen)
    )
    assert all((seen, unseen)), "a role has no images"
    rng, shape = np.random.default_rng(_SEED), (-1, 2, 2, len(first))
    observed = _differences(
        *(np.mean([r.mean(axis=1) for r in c], axis=0).reshape(shape) for c in (seen, unseen))
    )
    drawn = _differences(*(resample(c, NUM_RESAMPLES, rng).reshape(shape) for c in (seen, unseen)))
    parts = {
        "acc_czsl": unseen,
        "acc_unseen": unseen,
        "acc_seen": seen,
        "harmonic_mean": [*seen, *unseen],
    }
    return {
        score: _comparison(observed[score][0], drawn[score], classes)
        for score, classes in parts.items()
    }


def _draw(
    counts_P: NDArray[np.int64], num_resamples: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """How often each pattern is among as many images as there are, drawn with replacement, (X, P)."""
    n, P = int(counts_P.sum()), len(counts_P)
    if n > 6 * P:  # a binomial draw takes as long as six images
        return rng.multinomial(n, counts_P / n, num_resamples)
    pattern_n, first_X1 = np.repeat(np.arange(P), counts_P), P * np.arange(num_resamples)[:, None]
    drawn_Xn = first_X1 + pattern_n[rng.integers(n, size=(num_resamples, n))]
    return np.bincount(drawn_Xn.ravel(), minlength=num_resamples * P).reshape(-1, P)


def _right(cache: ScoreCache) -> Right:
    """Whether each image is right in CZSL and in GZSL, as the run predicts, (2, N)."""
    logits_NC = cache.fused(calibration=cache.calibration)
    candidates = (cache.unseen, np.concatenate([cache.seen, cache.unseen]))
    return np.stack(
        [predict(logits_NC, torch.from_numpy(ids)).numpy() == cache.labels_N for ids in candidates]
    )


def _differences(seen: Means, unseen: Means) -> dict[str, Means]:
    """First minus second method by score, the mean over the seeds, (X,); from accuracies (X, task, method, seed)."""
    T1, U, S = unseen[:, 0], unseen[:, 1], seen[:, 1]
    total = U + S
    H = np.divide(2 * U * S, total, out=np.zeros_like(total), where=total > 0)
    scores = {"acc_czsl": T1, "acc_unseen": U, "acc_seen": S, "harmonic_mean": H}
    differences = {
        name: (values[:, 0] - values[:, 1]).mean(axis=1) for name, values in scores.items()
    }
    return {
        name: values.round(12) for name, values in differences.items()
    }  # equal models differ by zero


def _comparison(observed: float, drawn_X: Means, classes: Sequence[Right]) -> ImageComparison:
    tails = (1 + (drawn_X <= 0).sum(), 1 + (drawn_X >= 0).sum())
    low, high = np.quantile(drawn_X, [0.025, 0.975])
    return ImageComparison(
        difference=float(observed),
        interval=(float(low), float(high)),
        p_value=min(1.0, 2 * float(min(tails)) / (len(drawn_X) + 1)),
        num_images=sum(right_Vn.shape[1] for right_Vn in classes),
        num_classes=len(classes),
    )
