"""Prediction and scores on NumPy arrays, for score caches.

The same as `functional` and `zsl` without PyTorch, which takes seconds to import. Arguments may be
anything that NumPy makes an array of, e.g. tensors on the CPU.

Letters: N images of an evaluation, C classes.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]


class EvaluationScores(NamedTuple):
    """Scores as fractions; NaN if there was no image that the score needs.

    Attributes:
        acc_czsl: T1, mean class accuracy of unseen-class images among the unseen classes.
        acc_unseen: U, mean class accuracy of unseen-class images among all candidates.
        acc_seen: S, mean class accuracy of seen-class images among all candidates.
        harmonic_mean: H of U and S.
    """

    acc_czsl: float
    acc_unseen: float
    acc_seen: float
    harmonic_mean: float


def fuse_logits(
    logits: Sequence[ArrayLike], weights: Sequence[float], unseen: ArrayLike, calibration: float
) -> NDArray[np.float32]:
    """Combines logits as `functional.fuse_logits` does, to the same bits.

    Args:
        logits: Logits without margin, (N, C) each.
        weights: Fusion weight of each.
        unseen: Ids of the unseen classes.
        calibration: Number gamma, added to unseen and subtracted from seen logits.

    Returns:
        Fused logits, float32, (N, C).

    Example:
        >>> fuse_logits([[[4.0, 2.0]]], weights=(1.0,), unseen=[1], calibration=1.0)
        array([[3., 3.]], dtype=float32)
    """
    weighted = [
        np.float32(weight) * np.asarray(logits_NC, dtype=np.float32)
        for weight, logits_NC in zip(weights, logits, strict=True)
    ]
    fused_NC: NDArray[np.float32] = np.sum(weighted, axis=0)
    margin_C = np.full(fused_NC.shape[1], -calibration, dtype=np.float32)
    margin_C[np.asarray(unseen)] = calibration
    fused_NC += np.float32(sum(weights)) * margin_C
    return fused_NC


def predict(logits_NC: ArrayLike, candidates: ArrayLike) -> Ids:
    """Chooses the best of the candidate classes, as `functional.predict` does.

    Args:
        logits_NC: Fused and calibrated logits, (N, C).
        candidates: Ids of the candidate classes; of equal logits the earlier candidate wins.

    Returns:
        Class ids, (N,).
    """
    ids = np.asarray(candidates)
    chosen_N: Ids = ids[np.asarray(logits_NC)[:, ids].argmax(axis=1)]
    return chosen_N


def mean_class_accuracy(is_right_N: ArrayLike, labels_N: ArrayLike, classes: ArrayLike) -> float:
    """Accuracy averaged over the given classes that have images; NaN if none has any.

    Args:
        is_right_N: Whether each image is predicted correctly, bool, (N,).
        labels_N: Class ids, (N,).
        classes: Ids of the classes to average over.
    """
    labels, ids = np.asarray(labels_N), np.asarray(classes)
    number = 1 + int(ids.max())
    correct, total = (
        np.bincount(of[of < number], minlength=number)[ids]
        for of in (labels[np.asarray(is_right_N)], labels)
    )
    present = total > 0
    return float(np.mean(correct[present] / total[present])) if present.any() else float("nan")


def harmonic_mean(acc_unseen: ArrayLike, acc_seen: ArrayLike) -> Any:  # noqa: ANN401 - of any shape
    """H = 2 U S / (U + S); zero where both are zero.

    Args:
        acc_unseen: U, of any shape.
        acc_seen: S, of the same shape.

    Example:
        >>> harmonic_mean([0.5, 0.0], [0.25, 0.0]).round(4).tolist()
        [0.3333, 0.0]
    """
    U, S = np.asarray(acc_unseen), np.asarray(acc_seen)
    total = U + S
    return 2 * U * S / np.where(total == 0, 1.0, total)


def zsl_scores(
    logits_NC: ArrayLike, labels_N: ArrayLike, seen: ArrayLike, unseen: ArrayLike
) -> EvaluationScores:
    """Computes T1, U, S and H of a whole evaluation, as `ZSLMetric` does of its batches.

    Args:
        logits_NC: Fused and calibrated logits, (N, C).
        labels_N: Class ids, (N,).
        seen: Ids of the seen classes.
        unseen: Ids of the unseen classes.
    """
    labels = np.asarray(labels_N)
    gzsl_N = predict(logits_NC, np.concatenate([np.asarray(seen), np.asarray(unseen)])) == labels
    acc_czsl = mean_class_accuracy(predict(logits_NC, unseen) == labels, labels, unseen)
    acc_unseen, acc_seen = (mean_class_accuracy(gzsl_N, labels, of) for of in (unseen, seen))
    return EvaluationScores(
        acc_czsl, acc_unseen, acc_seen, float(harmonic_mean(acc_unseen, acc_seen))
    )
