"""The exact seen-unseen curve: every pair of U and S that some calibration gives.

Calibration gamma adds gamma to unseen and -gamma to seen logits. The prediction is then the best
unseen class if gamma exceeds the image's threshold t = (best seen logit - best unseen logit) / 2,
else the best seen class; a tie goes to the seen class, as in `predict` with [seen, unseen]. U and S
are therefore step functions. They are constant on the pieces (-inf, t_1], (t_1, t_2], ...,
(t_T, inf) between the T thresholds of correctly predictable images, so sorting the thresholds gives
the curve exactly, without a grid. The best point is an oracle on test images and a choice on
validation images.

Letters: B images of a chunk, N images, C classes, T thresholds, P = T + 1 pieces.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from msdn_lit.metrics.arrays import Floats, harmonic_mean

_CHUNK = 2**24  # logits that are compared at once, so that memory does not grow with N x C


class SeenUnseenCurve(NamedTuple):
    """U and S as step functions of the calibration, as fractions; NaN without images of a domain.

    Attributes:
        thresholds_T: Calibrations at which U or S changes, ascending, float64, (T,).
        acc_unseen_P: U on each piece, from 0 up to T1, (P,).
        acc_seen_P: S on each piece, from the accuracy among the seen classes down to 0, (P,).
    """

    thresholds_T: Floats
    acc_unseen_P: Floats
    acc_seen_P: Floats


class CurveScores(NamedTuple):
    """Scores at some calibrations, as fractions, all of one shape: arrays or numbers."""

    calibration: Any
    acc_unseen: Any
    acc_seen: Any
    harmonic_mean: Any


def image_thresholds(
    logits_NC: ArrayLike, labels_N: ArrayLike, seen: ArrayLike, unseen: ArrayLike
) -> tuple[Floats, NDArray[np.bool_]]:
    """Computes what the curve needs of each image; the results of batches may be concatenated.

    Args:
        logits_NC: Fused logits without margin, from fusion weights that sum to one, (N, C).
        labels_N: Class ids, (N,).
        seen: Ids of the seen classes.
        unseen: Ids of the unseen classes.

    Returns:
        The thresholds t, float64, (N,); and whether the prediction is correct if the calibration
        favours the domain of the image's class, bool, (N,).
    """
    logits, labels = np.asarray(logits_NC), np.asarray(labels_N)
    rows = max(1, _CHUNK // logits.shape[1])
    best = [np.empty(len(labels)), np.empty(len(labels))]
    is_right_N = np.zeros(len(labels), dtype=np.bool_)
    for start in range(0, len(labels), rows):
        chunk = slice(start, start + rows)
        for best_N, domain in zip(best, (seen, unseen), strict=True):
            ids = np.asarray(domain)
            logits_BD = logits[chunk][:, ids]
            first_B = logits_BD.argmax(axis=1)
            best_N[chunk] = np.take_along_axis(logits_BD, first_B[:, None], axis=1)[:, 0]
            is_right_N[chunk] |= ids[first_B] == labels[chunk]
    best_seen_N, best_unseen_N = best
    return (best_seen_N - best_unseen_N) / 2, is_right_N


def curve_of_thresholds(
    thresholds_N: Floats,
    is_right_N: NDArray[np.bool_],
    labels_N: ArrayLike,
    seen: ArrayLike,
    unseen: ArrayLike,
) -> SeenUnseenCurve:
    """Computes the curve from the results of `image_thresholds`."""
    assert not np.isnan(thresholds_N).any(), "logits are NaN"
    thresholds_T, step = np.unique(thresholds_N[is_right_N], return_inverse=True)
    labels = np.asarray(labels_N)
    classes, class_N, total = np.unique(labels, return_inverse=True, return_counts=True)
    share_N = (1 / total)[class_N]  # of an image in the accuracy of its class

    def accuracy(domain: ArrayLike, *, from_end: bool) -> Floats:
        of_domain = np.isin(labels, np.asarray(domain))[is_right_N]
        jumps_T = np.bincount(
            step, weights=share_N[is_right_N] * of_domain, minlength=len(thresholds_T)
        )
        summed = np.cumsum(jumps_T[::-1])[::-1] if from_end else np.cumsum(jumps_T)
        ended = np.r_[summed, 0.0] if from_end else np.r_[0.0, summed]
        with np.errstate(invalid="ignore"):  # NaN without images of the domain
            accuracy_P: Floats = ended / np.isin(classes, np.asarray(domain)).sum()
        return accuracy_P

    return SeenUnseenCurve(
        thresholds_T, accuracy(unseen, from_end=False), accuracy(seen, from_end=True)
    )


def seen_unseen_curve(
    logits_NC: ArrayLike, labels_N: ArrayLike, seen: ArrayLike, unseen: ArrayLike
) -> SeenUnseenCurve:
    """Computes the curve of logits without margin; arguments as in `image_thresholds`."""
    thresholds_N, is_right_N = image_thresholds(logits_NC, labels_N, seen, unseen)
    return curve_of_thresholds(thresholds_N, is_right_N, labels_N, seen, unseen)


def scores_at(curve: SeenUnseenCurve, calibration: ArrayLike) -> CurveScores:
    """Computes U, S and H at any calibrations, infinite ones included.

    The result equals `ZSLMetric` of `fuse(..., calibration)`, except for images so close to their
    threshold that float32 rounds them to the other domain.
    """
    gamma = np.asarray(calibration, dtype=np.float64)
    piece = np.searchsorted(curve.thresholds_T, gamma)
    acc_unseen, acc_seen = curve.acc_unseen_P[piece], curve.acc_seen_P[piece]
    return CurveScores(gamma, acc_unseen, acc_seen, harmonic_mean(acc_unseen, acc_seen))


def best_point(curve: SeenUnseenCurve) -> CurveScores:
    """Returns the largest H of the curve, at the middle of the first piece that has it.

    The calibration is 0 if that piece has no end, or if H is 0 everywhere.
    """
    piece = int(harmonic_mean(curve.acc_unseen_P, curve.acc_seen_P).argmax())
    low, high = np.r_[-np.inf, curve.thresholds_T, np.inf][piece : piece + 2].tolist()
    middle = (low + high) / 2
    return scores_at(curve, middle if np.isfinite(middle) else 0.0)


def seen_unseen_auc(curve: SeenUnseenCurve) -> float:
    """AUSUC of Chao et al. (ECCV 2016): the area under S over U, both mean class accuracies.

    The sum of trapezoids between the points of neighbouring pieces. A trapezoid is a rectangle
    unless images of both domains share a threshold.
    """
    seen_P = curve.acc_seen_P
    return float((np.diff(curve.acc_unseen_P) * (seen_P[1:] + seen_P[:-1]) / 2).sum())
