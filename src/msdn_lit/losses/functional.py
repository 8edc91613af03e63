"""The terms of the losses, one pure function each, in the form of the release and of the paper.

Logits (..., B, C) are those of all classes. A term has one value for each leading index: a scalar
for logits (B, C), O values for the stacked logits (O, B, C) of O outputs. `seen` and `unseen` are
the candidate classes: their ids, or masks of them from `class_mask`. Other classes are ignored.
Every term is computed in float32. Terms and gradients are finite for logits from -1e4 to 1e4.
"""

import math
from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize, one_hot

from msdn_lit.dtypes import at_least_float32

LOWEST = -1e30  # log-probability of an excluded class; finite, since differences of it are taken


def class_mask(ids: Tensor, num_classes: int) -> Tensor:
    """Returns what is added to logits to exclude other classes: 0 for the ids, else `LOWEST`."""
    return torch.full((num_classes,), LOWEST, device=ids.device).index_fill(0, ids, 0)


def among(logits_BC: Tensor, *classes: Tensor) -> Tensor:
    """Excludes all classes but these, given by ids or masks, from logits (..., B, C).

    Masks may be shorter than C: the classes beyond them are excluded, and so are their columns.
    """
    masks = _masks(logits_BC, classes)
    return at_least_float32(logits_BC[..., : len(masks[0])]) + reduce(torch.maximum, masks)


def cross_entropy_release(
    logits_BC: Tensor, labels_B: Tensor, seen: Tensor, unseen: Tensor
) -> Tensor:
    """Attribute cross-entropy over all candidates, mean over the batch.

    The logits are WITHOUT the calibration margin.
    """
    return _cross_entropy(among(logits_BC, seen, unseen), labels_B)


def cross_entropy_paper(
    logits_BC: Tensor, labels_B: Tensor, seen: Tensor, unseen: Tensor
) -> Tensor:
    """Attribute cross-entropy over the seen classes only; arguments as in the release form."""
    return _cross_entropy(among(logits_BC, seen), labels_B)


def self_calibration_release(logits_BC: Tensor, seen: Tensor, unseen: Tensor) -> Tensor:
    """-log of the batch mean of the probability of the unseen classes together.

    The logits are WITH the calibration margin.
    """
    log_p_BC = among(logits_BC, seen, unseen).log_softmax(dim=-1)
    log_sum = among(log_p_BC, unseen).logsumexp(dim=(-2, -1))
    # log B as a tensor: a program would be compiled for each number
    return log_p_BC.new_full((), log_p_BC.shape[-2]).log() - log_sum


def self_calibration_paper(logits_BC: Tensor, seen: Tensor, unseen: Tensor) -> Tensor:
    """Sum of -log p over the unseen classes, mean over the batch.

    The logits are WITH the calibration margin.
    """
    log_p_BC = among(logits_BC, seen, unseen).log_softmax(dim=-1)
    (unseen_C,) = _masks(log_p_BC, [unseen])
    return -(log_p_BC * unseen_C.exp()).sum(dim=-1).mean(dim=-1)


def distillation_release(
    logits_BC: Tensor, other_BC: Tensor, seen: Tensor, unseen: Tensor
) -> Tensor:
    """Mutual distillation of the release: `logit_distance` plus `jensen_shannon`.

    It is symmetric in the two sub-nets. Nothing is detached, so each learns from the other. Both
    logits are WITH the calibration margin.
    """
    return mutual_distillation(among(logits_BC, seen, unseen), among(other_BC, seen, unseen))


def distillation_paper(logits_BC: Tensor, other_BC: Tensor, seen: Tensor, unseen: Tensor) -> Tensor:
    """Mutual distillation of the paper: 1/2 [KL(p || q) + KL(q || p)] + ||p - q||^2.

    p and q are the softmaxes of the logits WITH the calibration margin; mean over the batch.
    """
    log_p_BC = among(logits_BC, seen, unseen).log_softmax(dim=-1)
    log_q_BC = among(other_BC, seen, unseen).log_softmax(dim=-1)
    difference_BC = log_p_BC.exp() - log_q_BC.exp()
    half_jeffreys_BC = 0.5 * difference_BC * (log_p_BC - log_q_BC)
    return (half_jeffreys_BC + difference_BC.square()).sum(dim=-1).mean(dim=-1)


def mutual_distillation(first_BC: Tensor, second_BC: Tensor) -> Tensor:
    """`logit_distance` plus `jensen_shannon` of the softmaxes, over all columns of both."""
    first_BC, second_BC = at_least_float32(first_BC), at_least_float32(second_BC)
    return logit_distance(first_BC, second_BC) + jensen_shannon(
        first_BC.log_softmax(dim=-1), second_BC.log_softmax(dim=-1)
    )


def cross_entropy_with_margins(
    logits_BC: Tensor,
    labels_B: Tensor,
    seen: Tensor,
    unseen: Tensor,
    *,
    seen_margin: float,
    label_margin: float,
) -> Tensor:
    """Cross-entropy over all candidates after margins: every seen class up, the true one down.

    Args:
        logits_BC: Logits WITHOUT the calibration margin, (..., B, C).
        labels_B: Class ids, (B,).
        seen: Seen classes.
        unseen: Unseen classes.
        seen_margin: Margin that is added to the logits of the seen classes.
        label_margin: Margin that is subtracted from the logit of the true class.
    """
    logits_BC = among(logits_BC, seen, unseen)
    (seen_C,) = _masks(logits_BC, [seen])
    true_BC = one_hot(labels_B, logits_BC.shape[-1])
    margin_BC = seen_margin * seen_C.exp() - label_margin * true_BC
    return _cross_entropy(logits_BC + margin_BC, labels_B)


def attribute_regression(
    scores_BK: Tensor, labels_B: Tensor, class_attributes_CK: Tensor
) -> Tensor:
    """Mean over B and K of (score - value of the true class)^2.

    The paper of TransZero has the squared norm of an image, which is K times as much.
    """
    error_BK = at_least_float32(scores_BK) - class_attributes_CK[labels_B]
    return error_BK.square().mean(dim=(-2, -1))


def agreement(first: Tensor, second: Tensor) -> Tensor:
    """Mean squared difference of two sub-nets' scores or logits. Nothing is detached."""
    return (at_least_float32(first) - at_least_float32(second)).square().mean()


def logit_distance(first_BC: Tensor, second_BC: Tensor) -> Tensor:
    """Batch mean of ||d||_3^3 / ||d||_2 for d = first - second.

    For d = 0 it is the limit 0, where the release divides zero by zero.
    """
    d_BC = first_BC - second_BC
    return (d_BC.square() * normalize(d_BC, dim=-1).abs()).sum(dim=-1).mean(dim=-1)


def jensen_shannon(log_p_BC: Tensor, log_q_BC: Tensor) -> Tensor:
    """Batch mean of the Jensen-Shannon divergence in nats.

    It takes log-probabilities. The release takes probabilities and gives NaN from logits of 30 on.
    """
    log_mean_BC = torch.logaddexp(log_p_BC, log_q_BC) - math.log(2)
    terms_BC = log_p_BC.exp() * (log_p_BC - log_mean_BC) + log_q_BC.exp() * (log_q_BC - log_mean_BC)
    return 0.5 * terms_BC.sum(dim=-1).mean(dim=-1)


def _cross_entropy(logits_BC: Tensor, labels_B: Tensor) -> Tensor:
    shape = logits_BC.shape[:-1]
    labels = labels_B.expand(shape).flatten()
    losses = cross_entropy(logits_BC.flatten(end_dim=-2), labels, reduction="none")
    return losses.view(shape).mean(dim=-1)


def _masks(logits_BC: Tensor, classes: Sequence[Tensor]) -> list[Tensor]:
    C = logits_BC.shape[-1]
    return [each if each.is_floating_point() else class_mask(each, C) for each in classes]
