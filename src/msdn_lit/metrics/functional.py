"""Prediction and scores of zero-shot learning, as pure functions."""

from collections.abc import Sequence

import torch
from torch import Tensor


def fuse(
    logits: Sequence[Tensor], fusion: Sequence[float], unseen: Tensor, calibration: float
) -> Tensor:
    """Combines the sub-nets' logits: sum_i alpha_i (L_i + margin).

    Args:
        logits: Logits of each sub-net, without margin, (B, C) each.
        fusion: Weight alpha_i of each.
        unseen: Ids of the unseen classes.
        calibration: Margin gamma, added to unseen and subtracted from seen logits (release: 1). Where the weights
            sum to one this is calibrated stacking by 2 gamma.

    Returns:
        Fused logits, float32, (B, C).
    """
    fused_BC = torch.stack(
        [alpha * logits_BC.float() for alpha, logits_BC in zip(fusion, logits, strict=True)]
    ).sum(0)
    margin_C = torch.full_like(fused_BC[0], -calibration)
    margin_C[unseen] = calibration
    return fused_BC + sum(fusion) * margin_C


def predict(logits_BC: Tensor, candidates: Tensor) -> Tensor:
    """Chooses the best of the candidate classes: all for GZSL, the unseen ones for CZSL.

    Returns:
        Class ids, (B,).
    """
    return candidates[logits_BC[:, candidates].argmax(dim=1)]


def count_per_class(counts_B: Tensor, labels_B: Tensor, num_classes: int) -> Tensor:
    """Counts the marked images (B,) of each class, (C,), in whole numbers: the order of batches does not matter."""
    is_class_BC = labels_B[:, None] == torch.arange(num_classes, device=labels_B.device)
    return (is_class_BC & counts_B[:, None]).sum(dim=0)


def mean_class_accuracy(correct_C: Tensor, total_C: Tensor, classes: Tensor) -> Tensor:
    """Accuracy averaged over the given classes that have images, as the field defines it.

    (torchmetrics' macro accuracy differs: there a class that is only predicted counts as zero.)

    Returns:
        A fraction; NaN where no class has an image.
    """
    correct, total = correct_C[classes].double(), total_C[classes].double()
    present = total > 0
    return torch.where(present, correct / total.clamp_min(1), 0).sum() / present.sum()


def harmonic_mean(acc_unseen: Tensor, acc_seen: Tensor) -> Tensor:
    """H = 2 U S / (U + S); zero where both are zero."""
    total = acc_unseen + acc_seen
    return torch.where(
        total == 0, 0.0, 2 * acc_unseen * acc_seen / torch.where(total == 0, 1.0, total)
    )
