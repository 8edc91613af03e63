"""The loss of MSDN: the weighted sum of three terms."""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from msdn_lit.losses.base import ClassIds, DomainLoss, Output, stacked_logits
from msdn_lit.losses.functional import (
    cross_entropy_release,
    distillation_release,
    self_calibration_release,
)


class LossTerms(NamedTuple):
    """The loss and its unweighted terms, each a scalar.

    Terms are sums over the sub-nets; `distillation` is the sum over the pairs of sub-nets.
    """

    loss: Tensor
    cross_entropy: Tensor
    self_calibration: Tensor
    distillation: Tensor


class MSDNLoss(DomainLoss):
    """loss = cross-entropy + lambda_cal * self-calibration + lambda_distill * distillation.

    The default terms and weights are the release's for GZSL on CUB.

    Args:
        seen: Ids of the seen classes.
        unseen: Ids of the unseen classes. Classes in neither list are no candidates.
        cross_entropy: Function of (logits without margin, labels, seen, unseen). Like all three, it
            takes the stacked logits of the sub-nets and the masks of `losses.functional`.
        self_calibration: Function of (logits with margin, seen, unseen).
        distillation: Function of (logits, other logits, seen, unseen), both with margin.
        lambda_cal: Weight of self-calibration.
        lambda_distill: Weight of distillation.
        calibration: Margin that is added to unseen and subtracted from seen logits (release: 1).
    """

    def __init__(
        self,
        seen: ClassIds,
        unseen: ClassIds,
        *,
        cross_entropy: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] = cross_entropy_release,
        self_calibration: Callable[[Tensor, Tensor, Tensor], Tensor] = self_calibration_release,
        distillation: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] = distillation_release,
        lambda_cal: float = 0.1,
        lambda_distill: float = 0.001,
        calibration: float = 1.0,
    ) -> None:
        super().__init__(seen, unseen, calibration=calibration)
        self.cross_entropy = cross_entropy
        self.self_calibration = self_calibration
        self.distillation = distillation
        self.lambda_cal = lambda_cal
        self.lambda_distill = lambda_distill

    def forward(self, outputs: Sequence[Output], labels_B: Tensor) -> LossTerms:
        """Computes the loss.

        Args:
            outputs: Outputs of the sub-nets, as from `MSDN.forward`.
            labels_B: Class ids, (B,).
        """
        logits_OBC = stacked_logits(outputs)
        calibrated_OBC = self.with_margin(logits_OBC)
        cross_entropy = self.cross_entropy(logits_OBC, labels_B, *self.domains).sum()
        self_calibration = self.self_calibration(calibrated_OBC, *self.domains).sum()
        distillation = torch.zeros_like(cross_entropy)
        for first_BC, second_BC in combinations(calibrated_OBC.unbind(), 2):
            distillation = distillation + self.distillation(first_BC, second_BC, *self.domains)
        loss = (
            cross_entropy + self.lambda_cal * self_calibration + self.lambda_distill * distillation
        )
        return LossTerms(loss, cross_entropy, self_calibration, distillation)
