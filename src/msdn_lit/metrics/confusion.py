"""Errors by class, by rank, and between seen and unseen classes, as pure functions.

Letters: B images of a batch, N images of an evaluation, C classes.
"""

import torch
from torch import Tensor

from msdn_lit.metrics.functional import mean_class_accuracy


def class_accuracies(correct_C: Tensor, total_C: Tensor) -> Tensor:
    """Accuracy of each class as a fraction, (C,); NaN for a class without images."""
    return correct_C.double() / total_C.double()


def label_ranks(logits_BC: Tensor, labels_B: Tensor, candidates: Tensor) -> Tensor:
    """Counts the candidates that `predict` prefers to the label; 0 is a correct prediction.

    Args:
        logits_BC: Fused and calibrated logits, (B, C).
        labels_B: Class ids, (B,).
        candidates: Ids of the candidate classes; of equal logits the earlier candidate wins.

    Returns:
        Ranks, (B,); C for a label that is no candidate.
    """
    own_B1 = logits_BC.gather(1, labels_B[:, None])
    is_own = candidates == labels_B[:, None]
    own_position_B1 = is_own.int().argmax(dim=1, keepdim=True)
    is_earlier = torch.arange(len(candidates), device=candidates.device) < own_position_B1
    others = logits_BC[:, candidates]
    ranks_B = ((others > own_B1) | ((others == own_B1) & is_earlier)).sum(dim=1)
    return torch.where(is_own.any(dim=1), ranks_B, logits_BC.shape[1])


def top_k_accuracy(logits_NC: Tensor, labels_N: Tensor, candidates: Tensor, k: int) -> Tensor:
    """Mean class accuracy if any of the best k candidates counts as the prediction.

    Args:
        logits_NC: Fused and calibrated logits, (N, C).
        labels_N: Class ids, (N,); images of other classes do not count.
        candidates: Ids of the candidate classes, as in `predict`.
        k: Number of predictions per image; 1 gives the usual accuracy.
    """
    C = logits_NC.shape[1]
    hits_N = label_ranks(logits_NC, labels_N, candidates) < k
    correct_C, total_C = (torch.bincount(ids, minlength=C) for ids in (labels_N[hits_N], labels_N))
    return mean_class_accuracy(correct_C, total_C, candidates)


def domain_confusion(predicted_N: Tensor, labels_N: Tensor, seen: Tensor, unseen: Tensor) -> Tensor:
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
        torch.stack([torch.isin(ids_N, domain) for domain in (seen, unseen)])
        for ids_N in (labels_N, predicted_N)
    )
    return (truth_2N[:, None] & predicted_2N[None]).sum(dim=2)
