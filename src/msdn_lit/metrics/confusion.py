"""Errors by rank, and between seen and unseen classes, on NumPy arrays as in `arrays`.

Letters: N images of an evaluation, C classes.
"""

import numpy as np
from numpy.typing import ArrayLike

from msdn_lit.metrics.arrays import Ids, mean_class_accuracy


def label_ranks(logits_NC: ArrayLike, labels_N: ArrayLike, candidates: ArrayLike) -> Ids:
    """Counts the candidates that `predict` prefers to the label; 0 is a correct prediction.

    Args:
        logits_NC: Fused and calibrated logits, (N, C).
        labels_N: Class ids, (N,).
        candidates: Ids of the candidate classes; of equal logits the earlier candidate wins.

    Returns:
        Ranks, (N,); C for a label that is no candidate.
    """
    logits, labels_N1 = np.asarray(logits_NC), np.asarray(labels_N)[:, None]
    ids = np.asarray(candidates)
    own_N1 = np.take_along_axis(logits, labels_N1, axis=1)
    is_own = ids == labels_N1
    is_earlier = np.arange(len(ids)) < is_own.argmax(axis=1)[:, None]
    others = logits[:, ids]
    ranks_N = ((others > own_N1) | ((others == own_N1) & is_earlier)).sum(axis=1)
    ranks: Ids = np.where(is_own.any(axis=1), ranks_N, logits.shape[1])
    return ranks


def top_k_accuracy(
    logits_NC: ArrayLike, labels_N: ArrayLike, candidates: ArrayLike, k: int
) -> float:
    """Mean class accuracy if any of the best k candidates counts as the prediction.

    Args:
        logits_NC: Fused and calibrated logits, (N, C).
        labels_N: Class ids, (N,); images of other classes do not count.
        candidates: Ids of the candidate classes, as in `predict`.
        k: Number of predictions per image; 1 gives the usual accuracy.
    """
    hits_N = label_ranks(logits_NC, labels_N, candidates) < k
    return mean_class_accuracy(hits_N, labels_N, candidates)


def domain_confusion(
    predicted_N: ArrayLike, labels_N: ArrayLike, seen: ArrayLike, unseen: ArrayLike
) -> Ids:
    """Counts images by the domain of their class and the domain of their prediction.

    Args:
        predicted_N: Predicted class ids, (N,).
        labels_N: Class ids, (N,).
        seen: Ids of the seen classes.
        unseen: Ids of the unseen classes. Images of a class in neither do not count.

    Returns:
        Counts, int64, (2, 2): rows are the truth (seen, unseen), columns the prediction.
    """
    truth_2N, predicted_2N = (
        np.stack([np.isin(np.asarray(ids_N), np.asarray(domain)) for domain in (seen, unseen)])
        for ids_N in (labels_N, predicted_N)
    )
    counts: Ids = (truth_2N[:, None] & predicted_2N[None]).sum(axis=2)
    return counts
