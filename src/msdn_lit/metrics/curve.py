"""The exact seen-unseen curve: every pair of U and S that some calibration gives, by sorting and without a grid.

Calibration gamma adds gamma to unseen and -gamma to seen logits. An image is then taken for its best unseen class where
gamma exceeds its threshold t = (best seen logit - best unseen logit) / 2, else for its best seen class; a tie goes to
the seen class, as `predict` decides among [seen, unseen]. U and S are therefore step functions, constant on the pieces
(-inf, t_1], (t_1, t_2], ..., (t_T, inf) between the T thresholds that matter. A best point of test images is an oracle,
one of validation images a choice.

Letters: N images, T thresholds, P = T + 1 pieces.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from msdn_lit.metrics.functional import harmonic_mean

_CHUNK = 2**24  # logits that are looked at together, so that memory does not grow with N x C


class SeenUnseenCurve(NamedTuple):
    """U and S as step functions of the calibration; accuracies are fractions, NaN without images of such a class.

    Attributes:
        thresholds_T: Calibrations at which U or S changes, ascending, float64, (T,).
        acc_unseen_P: U on each piece, from 0 up to T1, (P,).
        acc_seen_P: S on each piece, from the accuracy among the seen classes alone down to 0, (P,).
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
    """Computes all that the curve needs of an image; the results of batches may be concatenated.

    Args:
        logits_NC: Fused logits without margin, from fusion weights that sum to one, (N, C).
        labels_N: Class ids, (N,).
        seen: Ids of the seen classes.
        unseen: Ids of the unseen classes.

    Returns:
        The thresholds t, float64, (N,); and whether an image is right once its own side of the border wins, (N,).
    """
    rows = max(1, _CHUNK // logits_NC.shape[1])
    parts = []
    for logits_BC, labels_B in zip(
        torch.split(logits_NC, rows), torch.split(labels_N, rows), strict=True
    ):
        best_seen, best_unseen = (logits_BC[:, classes].max(dim=1) for classes in (seen, unseen))
        is_right_B = (seen[best_seen.indices] == labels_B) | (
            unseen[best_unseen.indices] == labels_B
        )
        parts.append(((best_seen.values.double() - best_unseen.values.double()) / 2, is_right_B))
    thresholds, is_right = zip(*parts, strict=True)
    return torch.cat(thresholds), torch.cat(is_right)


def curve_of_thresholds(
    thresholds_N: Tensor, is_right_N: Tensor, labels_N: Tensor, seen: Tensor, unseen: Tensor
) -> SeenUnseenCurve:
    """Sorts the images into the curve; arguments as from `image_thresholds`. The result lies on the CPU."""
    thresholds_N, is_right_N, labels_N = thresholds_N.cpu(), is_right_N.cpu(), labels_N.cpu()
    assert not thresholds_N.isnan().any(), "logits are NaN"
    thresholds_T, step_N = torch.unique(thresholds_N[is_right_N], return_inverse=True)
    classes, class_N, total = torch.unique(labels_N, return_inverse=True, return_counts=True)
    share_N = total.double().reciprocal()[class_N]  # of an image in its class's accuracy

    def jumps(role: Tensor) -> tuple[Tensor, Tensor]:
        is_role_N = torch.isin(labels_N, role)[is_right_N]
        jumps_T = torch.zeros_like(thresholds_T).index_add(
            0, step_N, share_N[is_right_N] * is_role_N
        )
        return jumps_T, torch.isin(classes, role).sum()

    (gains_T, num_unseen), (losses_T, num_seen) = jumps(unseen.cpu()), jumps(seen.cpu())
    zero = torch.zeros(1, dtype=torch.float64)
    acc_unseen_P = torch.cat([zero, gains_T.cumsum(0)]) / num_unseen
    acc_seen_P = torch.cat([losses_T.flip(0).cumsum(0).flip(0), zero]) / num_seen
    return SeenUnseenCurve(thresholds_T, acc_unseen_P, acc_seen_P)


def seen_unseen_curve(
    logits_NC: Tensor, labels_N: Tensor, seen: Tensor, unseen: Tensor
) -> SeenUnseenCurve:
    """Computes the curve of logits without margin; arguments as of `image_thresholds`."""
    return curve_of_thresholds(
        *image_thresholds(logits_NC, labels_N, seen, unseen), labels_N, seen, unseen
    )


def scores_at(curve: SeenUnseenCurve, calibration: Tensor) -> CurveScores:
    """Reads U, S and H at any calibrations, infinite ones included.

    Equal to `ZSLMetric` of `fuse(..., calibration)`, but for images so near the border that float32 rounds them over.
    """
    piece = torch.searchsorted(curve.thresholds_T, calibration.double().cpu())
    acc_unseen, acc_seen = curve.acc_unseen_P[piece], curve.acc_seen_P[piece]
    return CurveScores(calibration, acc_unseen, acc_seen, harmonic_mean(acc_unseen, acc_seen))


def best_point(curve: SeenUnseenCurve) -> CurveScores:
    """The largest H of the curve, at the middle of the (first) piece that has it; at 0 where H is 0 everywhere."""
    piece = int(harmonic_mean(curve.acc_unseen_P, curve.acc_seen_P).argmax())
    infinity = curve.thresholds_T.new_tensor([math.inf])
    middle = torch.cat([-infinity, curve.thresholds_T, infinity])[piece : piece + 2].mean()
    return scores_at(curve, torch.where(middle.isfinite(), middle, 0.0))


def seen_unseen_auc(curve: SeenUnseenCurve) -> Tensor:
    """AUSUC of Chao et al. (ECCV 2016): the area under S over U, both mean class accuracies as fractions.

    Trapezoids between the points of neighbouring pieces: a rectangle, unless images of both sides share a threshold.
    """
    return torch.trapezoid(curve.acc_seen_P, curve.acc_unseen_P)
