"""Prediction and scores of zero-shot learning, as pure functions.

Letters: B images of a batch, C classes.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from msdn_lit import dtypes

ClassIds = Tensor | Sequence[int]


class Output(Protocol):
    """What `fuse` reads of an output of a net."""

    @property
    def logits_BC(self) -> Tensor:
        """Class logits without calibration margin, (B, C)."""


def fuse(
    outputs: Sequence[Output], weights: Sequence[float], unseen: ClassIds, calibration: float
) -> Tensor:
    """Combines the logits of a net's outputs: sum_i alpha_i (L_i + margin).

    Args:
        outputs: Outputs of a net, e.g. one `SubNetOutput` per sub-net.
        weights: Fusion weight alpha_i of each output.
        unseen: Ids of the unseen classes.
        calibration: Number gamma, added to unseen and subtracted from seen logits (release: 1). For
            weights that sum to one this is calibrated stacking by 2 gamma.

    Returns:
        Fused logits, float32, (B, C).

    Example:
        >>> from types import SimpleNamespace
        >>> first = SimpleNamespace(logits_BC=torch.tensor([[4.0, 2.0]]))
        >>> second = SimpleNamespace(logits_BC=torch.tensor([[0.0, 6.0]]))
        >>> fuse([first, second], weights=(0.75, 0.25), unseen=[1], calibration=0.5)
        tensor([[2.5000, 3.5000]])
    """
    return fuse_logits([output.logits_BC for output in outputs], weights, unseen, calibration)


def fuse_logits(
    logits: Sequence[Tensor], weights: Sequence[float], unseen: ClassIds, calibration: float
) -> Tensor:
    """Combines logits as `fuse` does.

    Args:
        logits: Logits without margin, (B, C) each.
        weights: Fusion weight of each.
        unseen: Ids of the unseen classes.
        calibration: Number gamma, added to unseen and subtracted from seen logits.

    Returns:
        Fused logits, float32, (B, C).

    Example:
        >>> fuse_logits([torch.tensor([[4.0, 2.0]])], weights=(1.0,), unseen=[1], calibration=1.0)
        tensor([[3., 3.]])
    """
    fused_BC = torch.stack(
        [weight * logits_BC.float() for weight, logits_BC in zip(weights, logits, strict=True)]
    ).sum(0)
    margin_C = torch.full_like(fused_BC[0], -calibration)
    margin_C[torch.as_tensor(unseen)] = calibration
    return fused_BC + sum(weights) * margin_C


def predict(logits_BC: Tensor, candidates: Tensor) -> Tensor:
    """Chooses the best of the candidate classes: all classes for GZSL, the unseen ones for CZSL.

    Args:
        logits_BC: Fused and calibrated logits, (B, C).
        candidates: Ids of the candidate classes; of equal logits the earlier candidate wins.

    Returns:
        Class ids, (B,).

    Example:
        >>> logits_BC = torch.tensor([[0.1, 0.9, 0.3], [0.2, 0.8, 0.9]])
        >>> predict(logits_BC, torch.tensor([0, 2]))
        tensor([2, 2])
    """
    return candidates[logits_BC[:, candidates].argmax(dim=1)]


def count_per_class(counts_B: Tensor, labels_B: Tensor, num_classes: int) -> Tensor:
    """Counts the marked images of each class.

    The counts are whole numbers, so the order of batches does not change them.

    Args:
        counts_B: Marks of the images to count, bool, (B,).
        labels_B: Class ids, (B,); images of classes from `num_classes` on do not count.
        num_classes: C.

    Returns:
        Counts, int64, (C,).

    Example:
        >>> count_per_class(torch.tensor([True, False, True]), torch.tensor([0, 0, 2]), 3)
        tensor([1, 0, 1])
    """
    is_class_BC = labels_B[:, None] == torch.arange(num_classes, device=labels_B.device)
    return (is_class_BC & counts_B[:, None]).sum(dim=0)


def mean_class_accuracy(correct_C: Tensor, total_C: Tensor, classes: Tensor) -> Tensor:
    """Accuracy averaged over the given classes that have images.

    This is the accuracy of the zero-shot literature. The macro accuracy of torchmetrics differs: it
    counts a class that is only predicted as zero.

    Args:
        correct_C: Number of correctly predicted images of each class, (C,).
        total_C: Number of images of each class, (C,).
        classes: Ids of the classes to average over.

    Returns:
        A fraction; NaN if no class has an image.

    Example:
        >>> correct_C, total_C = torch.tensor([1, 0, 3]), torch.tensor([2, 0, 3])
        >>> mean_class_accuracy(correct_C, total_C, torch.tensor([0, 1, 2]))
        tensor(0.7500, dtype=torch.float64)
    """
    correct, total = dtypes.to_float64(correct_C[classes]), dtypes.to_float64(total_C[classes])
    present = total > 0
    return torch.where(present, correct / total.clamp_min(1), 0).sum() / present.sum()


def harmonic_mean(acc_unseen: Tensor, acc_seen: Tensor) -> Tensor:
    """H = 2 U S / (U + S); zero where both are zero.

    Args:
        acc_unseen: U, of any shape.
        acc_seen: S, of the same shape.

    Example:
        >>> harmonic_mean(torch.tensor([0.5, 0.0]), torch.tensor([0.25, 0.0]))
        tensor([0.3333, 0.0000])
    """
    total = acc_unseen + acc_seen
    return torch.where(
        total == 0, 0.0, 2 * acc_unseen * acc_seen / torch.where(total == 0, 1.0, total)
    )
