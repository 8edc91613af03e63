"""MSDN's loss: three terms, weighted."""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor, nn


class LossTerms(NamedTuple):
    """The loss and its unweighted terms, each a scalar summed over the sub-nets (distillation: over their pairs)."""

    loss: Tensor
    cross_entropy: Tensor
    self_calibration: Tensor
    distillation: Tensor


class MSDNLoss(nn.Module):
    """loss = cross-entropy + lambda_cal * self-calibration + lambda_distill * distillation.

    Args:
        seen: Ids of the seen classes.
        unseen: Ids of the unseen classes; classes in neither are no candidates.
        cross_entropy: Term of (logits without margin, labels, seen, unseen).
        self_calibration: Term of (logits with margin, seen, unseen).
        distillation: Term of (logits, other logits, seen, unseen), both with margin.
        lambda_cal: Weight of self-calibration.
        lambda_distill: Weight of distillation.
        calibration: Margin added to unseen and subtracted from seen logits (release: 1).
    """

    seen: Tensor
    unseen: Tensor

    def __init__(
        self,
        seen: Tensor,
        unseen: Tensor,
        *,
        cross_entropy: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
        self_calibration: Callable[[Tensor, Tensor, Tensor], Tensor],
        distillation: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
        lambda_cal: float,
        lambda_distill: float,
        calibration: float,
    ) -> None:
        super().__init__()
        self.register_buffer("seen", seen, persistent=False)
        self.register_buffer("unseen", unseen, persistent=False)
        self.cross_entropy = cross_entropy
        self.self_calibration = self_calibration
        self.distillation = distillation
        self.lambda_cal = lambda_cal
        self.lambda_distill = lambda_distill
        self.calibration = calibration

    def forward(self, logits: Sequence[Tensor], labels_B: Tensor) -> LossTerms:
        """Computes the loss.

        Args:
            logits: Logits of each sub-net, without margin, (B, C) each.
            labels_B: Class ids, (B,).
        """
        roles = self.seen, self.unseen
        calibrated = [self._with_margin(logits_BC) for logits_BC in logits]
        cross_entropy = torch.stack(
            [self.cross_entropy(logits_BC, labels_B, *roles) for logits_BC in logits]
        ).sum()
        self_calibration = torch.stack(
            [self.self_calibration(logits_BC, *roles) for logits_BC in calibrated]
        ).sum()
        pairs = [self.distillation(*pair, *roles) for pair in combinations(calibrated, 2)]
        distillation = torch.stack(pairs).sum() if pairs else torch.zeros_like(cross_entropy)
        loss = (
            cross_entropy + self.lambda_cal * self_calibration + self.lambda_distill * distillation
        )
        return LossTerms(loss, cross_entropy, self_calibration, distillation)

    def _with_margin(self, logits_BC: Tensor) -> Tensor:
        margin_C = torch.zeros(logits_BC.shape[1], device=logits_BC.device)
        margin_C[self.seen], margin_C[self.unseen] = -self.calibration, self.calibration
        return logits_BC.float() + margin_C
