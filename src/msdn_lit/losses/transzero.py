"""The loss of TransZero and, with two sub-nets, of TransZero++ (docs/methods.md, eq. 1.9, 2.4)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from msdn_lit.errors import ConfigError
from msdn_lit.losses.base import ClassIds, DomainLoss, Output, stacked_logits, stacked_scores
from msdn_lit.losses.functional import (
    agreement,
    attribute_regression,
    cross_entropy_release,
    self_calibration_release,
)


class TransZeroTerms(NamedTuple):
    """The loss and its terms, each a scalar.

    The first three terms are sums over the sub-nets with the sub-nets' weights. The other terms are
    unweighted, and zero for one sub-net.
    """

    loss: Tensor
    cross_entropy: Tensor
    self_calibration: Tensor
    regression: Tensor
    score_agreement: Tensor
    logit_agreement: Tensor


class TransZeroLoss(DomainLoss):
    """Weighted sum over the sub-nets of CE + lambda_cal SC + lambda_reg REG, plus their agreement.

    The terms have the release's form, and the default weights are TransZero's on CUB.

    Args:
        seen: Ids of the seen classes.
        unseen: Ids of the unseen classes.
        class_attributes: Class semantic vectors, (C, K). Rows are normalised.
        lambda_cal: Weight of self-calibration.
        lambda_reg: Weight of attribute regression.
        subnet_weights: Weight of each sub-net's three terms (TransZero++: 1 and lambda_v2a).
        lambda_score: Weight of the agreement of the two sub-nets' attribute scores.
        lambda_logit: Weight of the agreement of their logits.
        calibration: Number that is added to unseen and subtracted from seen logits (release: 1).
    """

    weights_O: Tensor

    def __init__(
        self,
        seen: ClassIds,
        unseen: ClassIds,
        *,
        class_attributes: Tensor,
        lambda_cal: float = 0.3,
        lambda_reg: float = 0.005,
        subnet_weights: Sequence[float] = (1.0,),
        lambda_score: float = 0.0,
        lambda_logit: float = 0.0,
        calibration: float = 1.0,
    ) -> None:
        super().__init__(seen, unseen, calibration=calibration)
        self.keep_class_attributes(class_attributes)
        self.lambda_cal = lambda_cal
        self.lambda_reg = lambda_reg
        self.subnet_weights = tuple(subnet_weights)
        self.register_buffer("weights_O", torch.tensor(self.subnet_weights), persistent=False)
        self.lambda_score = lambda_score
        self.lambda_logit = lambda_logit

    def forward(self, outputs: Sequence[Output], labels_B: Tensor) -> TransZeroTerms:
        """Computes the loss.

        Args:
            outputs: Outputs of one or two sub-nets.
            labels_B: Class ids, (B,).

        Raises:
            ConfigError: The number of sub-nets is not that of `subnet_weights`.
        """
        if len(outputs) != len(self.subnet_weights):
            expected = f"{len(outputs)} numbers, one for each sub-net"
            found = list(self.subnet_weights)
            raise ConfigError("loss.subnet_weights is wrong", expected=expected, found=found)
        logits_OBC, scores_OBK = stacked_logits(outputs), stacked_scores(outputs)
        calibrated_OBC = self.with_margin(logits_OBC)
        each_O = (
            cross_entropy_release(logits_OBC, labels_B, *self.domains),
            self_calibration_release(calibrated_OBC, *self.domains),
            attribute_regression(scores_OBK, labels_B, self.class_attributes_CK),
        )
        ce, cal, reg = ((term_O * self.weights_O).sum() for term_O in each_O)
        score, logit = ce.new_zeros(()), ce.new_zeros(())
        if len(outputs) == 2:
            score, logit = agreement(*scores_OBK.unbind()), agreement(*logits_OBC.unbind())
        alone = ce + self.lambda_cal * cal + self.lambda_reg * reg
        loss = alone + self.lambda_score * score + self.lambda_logit * logit
        return TransZeroTerms(loss, ce, cal, reg, score, logit)
