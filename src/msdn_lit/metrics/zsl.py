"""The scores of zero-shot learning as one torchmetrics metric whose state is sums.

Letters: B images of a batch, C classes.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from msdn_lit.metrics.functional import (
    ClassIds,
    count_per_class,
    harmonic_mean,
    mean_class_accuracy,
    predict,
)


class ZSLScores(NamedTuple):
    """Scores as fractions; NaN if there was no image that the score needs.

    Attributes:
        acc_czsl: T1, mean class accuracy of unseen-class images among the unseen classes.
        acc_unseen: U, mean class accuracy of unseen-class images among all candidates.
        acc_seen: S, mean class accuracy of seen-class images among all candidates.
        harmonic_mean: H of U and S.
    """

    acc_czsl: Tensor
    acc_unseen: Tensor
    acc_seen: Tensor
    harmonic_mean: Tensor


class ZSLMetric(Metric):
    """T1, U, S and H. Any split into batches, loaders or processes gives the same numbers.

    Args:
        seen: Ids of the seen classes.
        unseen: Ids of the unseen classes. Images and logits of a class in neither do not count.

    Example:
        >>> metric = ZSLMetric(seen=[0, 1], unseen=[2])
        >>> logits_BC = torch.tensor([[0.9, 0.1, 0.0], [0.6, 0.3, 0.1], [0.5, 0.0, 0.4]])
        >>> metric.update(logits_BC, torch.tensor([0, 1, 2]))
        >>> {name: value.item() for name, value in metric.compute()._asdict().items()}
        {'acc_czsl': 1.0, 'acc_unseen': 0.0, 'acc_seen': 0.5, 'harmonic_mean': 0.0}
    """

    full_state_update = False
    seen: Tensor
    unseen: Tensor
    correct_czsl_C: Tensor
    correct_C: Tensor
    total_C: Tensor

    def __init__(self, seen: ClassIds, unseen: ClassIds) -> None:
        super().__init__()
        self.register_buffer("seen", torch.as_tensor(seen), persistent=False)
        self.register_buffer("unseen", torch.as_tensor(unseen), persistent=False)
        self.num_classes = 1 + max(int(self.seen.max()), int(self.unseen.max()))
        for name in ("correct_czsl_C", "correct_C", "total_C"):
            zeros_C = torch.zeros(self.num_classes, dtype=torch.int64)
            self.add_state(name, zeros_C, dist_reduce_fx="sum")

    def update(self, logits_BC: Tensor, labels_B: Tensor) -> None:
        """Counts a batch.

        Args:
            logits_BC: Fused and calibrated logits, (B, C); further columns do not count.
            labels_B: Class ids, (B,).
        """
        gzsl_B = predict(logits_BC, torch.cat([self.seen, self.unseen])) == labels_B
        czsl_B = predict(logits_BC, self.unseen) == labels_B
        self.correct_C += count_per_class(gzsl_B, labels_B, self.num_classes)
        self.correct_czsl_C += count_per_class(czsl_B, labels_B, self.num_classes)
        self.total_C += count_per_class(torch.ones_like(gzsl_B), labels_B, self.num_classes)

    def compute(self) -> ZSLScores:
        """Computes the scores of all images since the last reset."""
        acc_unseen = mean_class_accuracy(self.correct_C, self.total_C, self.unseen)
        acc_seen = mean_class_accuracy(self.correct_C, self.total_C, self.seen)
        acc_czsl = mean_class_accuracy(self.correct_czsl_C, self.total_C, self.unseen)
        return ZSLScores(acc_czsl, acc_unseen, acc_seen, harmonic_mean(acc_unseen, acc_seen))
