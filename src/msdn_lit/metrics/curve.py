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

import math
from typing import NamedTuple

import torch
from torch import Tensor

from msdn_lit.metrics.functional import harmonic_mean

_CHUNK = 2**24  # logits that are compared at once, so that memory does not grow with N x C


class SeenUnseenCurve(NamedTuple):
    """U and S as step functions of the calibration, as fractions; NaN without images of a domain.

    Attributes:
        thresholds_T: Calibrations at which U or S changes, ascending, float64, (T,).
        acc_unseen_P: U on each piece, from 0 up to T1, (P,).
        acc_seen_P: S on each piece, from the accuracy among the seen classes down to 0, (P,).
    """

    thresholds_T: Tensor
    acc_unseen_P: Tensor
    acc_seen_P: Tensor


class CurveScores(NamedTuple):
    """Scores at some calibrations, as fractions, all of one shape."""

    calibration: Tensor
    acc_unseen: Tensor
    acc_seen: Tensor
    harmonic_mean: Tensor


def image_thresholds(
    logits_NC: Tensor, labels_N: Tensor, seen: Tensor, unseen: Tensor
) -> tuple[Tensor, Tensor]:
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
    rows = max(1, _CHUNK // logits_NC.shape[1])
    parts = []
    batches = zip(torch.split(logits_NC, rows), torch.split(labels_N, rows), strict=True)
    for logits_BC, labels_B in batches:
        best_seen, best_unseen = (logits_BC[:, ids].max(dim=1) for ids in (seen, unseen))
        is_seen_right_B = seen[best_seen.indices] == labels_B
        is_unseen_right_B = unseen[best_unseen.indices] == labels_B
        thresholds_B = (best_seen.values.double() - best_unseen.values.double()) / 2
        parts.append((thresholds_B, is_seen_right_B | is_unseen_right_B))
    thresholds, is_right = zip(*parts, strict=True)
    return torch.cat(thresholds), torch.cat(is_right)


def curve_of_thresholds(
    thresholds_N: Tensor, is_right_N: Tensor, labels_N: Tensor, seen: Tensor, unseen: Tensor
) -> SeenUnseenCurve:
    """Computes the curve from the results of `image_thresholds`; its tensors are on the CPU."""
    thresholds_N, is_right_N, labels_N = thresholds_N.cpu(), is_right_N.cpu(), labels_N.cpu()
    assert not thresholds_N.isnan().any(), "logits are NaN"
    thresholds_T, step_N = torch.unique(thresholds_N[is_right_N], return_inverse=True)
    classes, class_N, total = torch.unique(labels_N, return_inverse=True, return_counts=True)
    share_N = total.double().reciprocal()[class_N]  # of an image in the accuracy of its class

    def jumps(domain: Tensor) -> tuple[Tensor, Tensor]:
        is_domain_N = torch.isin(labels_N, domain)[is_right_N]
        shares_N = share_N[is_right_N] * is_domain_N
        jumps_T = torch.zeros_like(thresholds_T).index_add(0, step_N, shares_N)
        return jumps_T, torch.isin(classes, domain).sum()

    gains_T, num_unseen = jumps(unseen.cpu())
    losses_T, num_seen = jumps(seen.cpu())
    zero = torch.zeros(1, dtype=torch.float64)
    acc_unseen_P = torch.cat([zero, gains_T.cumsum(0)]) / num_unseen
    acc_seen_P = torch.cat([losses_T.flip(0).cumsum(0).flip(0), zero]) / num_seen
    return SeenUnseenCurve(thresholds_T, acc_unseen_P, acc_seen_P)


def seen_unseen_curve(
    logits_NC: Tensor, labels_N: Tensor, seen: Tensor, unseen: Tensor
) -> SeenUnseenCurve:
    """Computes the curve of logits without margin; arguments as in `image_thresholds`."""
    thresholds_N, is_right_N = image_thresholds(logits_NC, labels_N, seen, unseen)
    return curve_of_thresholds(thresholds_N, is_right_N, labels_N, seen, unseen)


def scores_at(curve: SeenUnseenCurve, calibration: Tensor) -> CurveScores:
    """Computes U, S and H at any calibrations, infinite ones included.

    The result equals `ZSLMetric` of `fuse(..., calibration)`, except for images so close to their
    threshold that float32 rounds them to the other domain.
    """
    piece = torch.searchsorted(curve.thresholds_T, calibration.double().cpu())
    acc_unseen, acc_seen = curve.acc_unseen_P[piece], curve.acc_seen_P[piece]
    return CurveScores(calibration, acc_unseen, acc_seen, harmonic_mean(acc_unseen, acc_seen))


def best_point(curve: SeenUnseenCurve) -> CurveScores:
    """Returns the largest H of the curve, at the middle of the first piece that has it.

    The calibration is 0 if that piece has no end, or if H is 0 everywhere.
    """
    piece = int(harmonic_mean(curve.acc_unseen_P, curve.acc_seen_P).argmax())
    infinity = curve.thresholds_T.new_tensor([math.inf])
    middle = torch.cat([-infinity, curve.thresholds_T, infinity])[piece : piece + 2].mean()
    return scores_at(curve, torch.where(middle.isfinite(), middle, 0.0))


def seen_unseen_auc(curve: SeenUnseenCurve) -> Tensor:
    """AUSUC of Chao et al. (ECCV 2016): the area under S over U, both mean class accuracies.

    The sum of trapezoids between the points of neighbouring pieces. A trapezoid is a rectangle
    unless images of both domains share a threshold.
    """
    return torch.trapezoid(curve.acc_seen_P, curve.acc_unseen_P)
