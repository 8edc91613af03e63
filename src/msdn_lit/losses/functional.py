"""The terms of MSDN's loss, one pure function each, in the form of the release and of the paper.

Logits (B, C) are those of all classes. `seen` and `unseen` are the ids of the candidate classes;
other classes are ignored. Every term is computed in float32. Terms and gradients are finite for
logits from -1e4 to 1e4.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from msdn_lit.dtypes import at_least_float32


def cross_entropy_release(
    logits_BC: Tensor, labels_B: Tensor, seen: Tensor, unseen: Tensor
) -> Tensor:
    """Attribute cross-entropy over all candidates, mean over the batch.

    The logits are WITHOUT the calibration margin.
    """
    return _cross_entropy(logits_BC, labels_B, torch.cat([seen, unseen]))


def cross_entropy_paper(
    logits_BC: Tensor, labels_B: Tensor, seen: Tensor, unseen: Tensor
) -> Tensor:
    """Attribute cross-entropy over the seen classes only; arguments as in the release form."""
    return _cross_entropy(logits_BC, labels_B, seen)


def self_calibration_release(logits_BC: Tensor, seen: Tensor, unseen: Tensor) -> Tensor:
    """-log of the batch mean of the probability of the unseen classes together.

    The logits are WITH the calibration margin.
    """
    log_mass_B = _log_probabilities(logits_BC, seen, unseen)[:, len(seen) :].logsumexp(dim=1)
    return math.log(len(log_mass_B)) - log_mass_B.logsumexp(dim=0)


def self_calibration_paper(logits_BC: Tensor, seen: Tensor, unseen: Tensor) -> Tensor:
    """Sum of -log p over the unseen classes, mean over the batch.

    The logits are WITH the calibration margin.
    """
    return -_log_probabilities(logits_BC, seen, unseen)[:, len(seen) :].sum(dim=1).mean()


def distillation_release(
    logits_BC: Tensor, other_BC: Tensor, seen: Tensor, unseen: Tensor
) -> Tensor:
    """Mutual distillation of the release: `logit_distance` plus `jensen_shannon`.

    It is symmetric in the two sub-nets. Nothing is detached, so each learns from the other. Both
    logits are WITH the calibration margin.
    """
    candidates = torch.cat([seen, unseen])
    return mutual_distillation(logits_BC[:, candidates], other_BC[:, candidates])


def distillation_paper(logits_BC: Tensor, other_BC: Tensor, seen: Tensor, unseen: Tensor) -> Tensor:
    """Mutual distillation of the paper: 1/2 [KL(p || q) + KL(q || p)] + ||p - q||^2.

    p and q are the softmaxes of the logits WITH the calibration margin; mean over the batch.
    """
    log_p_BC = _log_probabilities(logits_BC, seen, unseen)
    log_q_BC = _log_probabilities(other_BC, seen, unseen)
    difference_BC = log_p_BC.exp() - log_q_BC.exp()
    half_jeffreys_B = 0.5 * (difference_BC * (log_p_BC - log_q_BC)).sum(dim=1)
    return (half_jeffreys_B + difference_BC.square().sum(dim=1)).mean()


def mutual_distillation(first_BC: Tensor, second_BC: Tensor) -> Tensor:
    """`logit_distance` plus `jensen_shannon` of the softmaxes, over all columns of both."""
    first_BC, second_BC = at_least_float32(first_BC), at_least_float32(second_BC)
    return logit_distance(first_BC, second_BC) + jensen_shannon(
        first_BC.log_softmax(dim=1), second_BC.log_softmax(dim=1)
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
        logits_BC: Logits WITHOUT the calibration margin, (B, C).
        labels_B: Class ids, (B,).
        seen: Ids of the seen classes.
        unseen: Ids of the unseen classes.
        seen_margin: Added to the logits of the seen classes.
        label_margin: Subtracted from the logit of the true class.
    """
    logits_BC = at_least_float32(logits_BC)
    margin_C = torch.zeros_like(logits_BC[0])
    margin_C[seen] = seen_margin
    true_BC = one_hot(labels_B, logits_BC.shape[1])
    logits_BC = logits_BC + margin_C - label_margin * true_BC
    return _cross_entropy(logits_BC, labels_B, torch.cat([seen, unseen]))


def attribute_regression(
    scores_BK: Tensor, labels_B: Tensor, class_attributes_CK: Tensor
) -> Tensor:
    """Mean over B and K of (score - value of the true class)^2.

    The paper of TransZero has the squared norm of an image, which is K times as much.
    """
    return (at_least_float32(scores_BK) - class_attributes_CK[labels_B]).square().mean()


def agreement(first: Tensor, second: Tensor) -> Tensor:
    """Mean squared difference of two sub-nets' scores or logits. Nothing is detached."""
    return (at_least_float32(first) - at_least_float32(second)).square().mean()


def logit_distance(first_BC: Tensor, second_BC: Tensor) -> Tensor:
    """Batch mean of ||d||_3^3 / ||d||_2 for d = first - second.

    For d = 0 it is the limit 0, where the release divides zero by zero.
    """
    d_BC = first_BC - second_BC
    unit_BC = normalize(d_BC, dim=1)
    return (d_BC.square().sum(dim=1) * unit_BC.abs().pow(3).sum(dim=1)).mean()


def jensen_shannon(log_p_BC: Tensor, log_q_BC: Tensor) -> Tensor:
    """Batch mean of the Jensen-Shannon divergence in nats.

    It takes log-probabilities. The release takes probabilities and gives NaN from logits of 30 on.
    """
    log_mean_BC = torch.logaddexp(log_p_BC, log_q_BC) - math.log(2)
    terms_BC = log_p_BC.exp() * (log_p_BC - log_mean_BC) + log_q_BC.exp() * (log_q_BC - log_mean_BC)
    return 0.5 * terms_BC.sum(dim=1).mean()


def _cross_entropy(logits_BC: Tensor, labels_B: Tensor, classes: Tensor) -> Tensor:
    logits_BC = at_least_float32(logits_BC)
    label_logits_B = logits_BC.gather(1, labels_B[:, None]).squeeze(1)
    return (logits_BC[:, classes].logsumexp(dim=1) - label_logits_B).mean()


def _log_probabilities(logits_BC: Tensor, seen: Tensor, unseen: Tensor) -> Tensor:
    """Log-softmax over the candidates, seen classes first."""
    return at_least_float32(logits_BC[:, torch.cat([seen, unseen])]).log_softmax(dim=1)
