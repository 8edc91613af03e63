"""The loss of DEDN (docs/methods.md, eq. 3.3-3.5)."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from msdn_lit.errors import ConfigError
from msdn_lit.losses.base import ClassIds, DomainLoss, Output, stacked_logits, stacked_scores
from msdn_lit.losses.functional import (
    cross_entropy_with_margins,
    distillation_release,
    mutual_distillation,
    self_calibration_release,
)


class DEDNTerms(NamedTuple):
    """The loss and its unweighted terms, each a scalar; all but `distillation` are sums."""

    loss: Tensor
    cross_entropy: Tensor
    self_calibration: Tensor
    distillation: Tensor
    alignment: Tensor


class DEDNLoss(DomainLoss):
    """CE + lambda_cal SC of both experts, + lambda_distill distillation + lambda_align alignment.

    An expert's logits and scores are the sums of those of its two branches, regions and channels.
    Distillation compares the experts' logits with margin; alignment compares the attribute scores
    of the two branches of each expert. Nothing is detached. The default weights are the release's
    for GZSL on CUB.

    Args:
        seen: Ids of the seen classes.
        unseen: Ids of the unseen classes.
        lambda_cal: Weight of self-calibration.
        lambda_distill: Weight of distillation.
        lambda_align: Weight of alignment.
        seen_margin: Margin that is added to the seen logits in the cross-entropy.
        label_margin: Margin that is subtracted from the true class's logit there (release: 3 on
            CUB, 2 elsewhere).
        calibration: Number that is added to unseen and subtracted from seen logits (release: 1).
    """

    def __init__(
        self,
        seen: ClassIds,
        unseen: ClassIds,
        *,
        lambda_cal: float = 0.0,
        lambda_distill: float = 0.1,
        lambda_align: float = 0.001,
        seen_margin: float = 1.0,
        label_margin: float = 3.0,
        calibration: float = 1.0,
    ) -> None:
        super().__init__(seen, unseen, calibration=calibration)
        self.lambda_cal = lambda_cal
        self.lambda_distill = lambda_distill
        self.lambda_align = lambda_align
        self.seen_margin = seen_margin
        self.label_margin = label_margin

    def forward(self, outputs: Sequence[Output], labels_B: Tensor) -> DEDNTerms:
        """Computes the loss.

        Args:
            outputs: Region and channel output of the first expert, then those of the second.
            labels_B: Class ids, (B,).

        Raises:
            ConfigError: The net has other outputs.
        """
        if len(outputs) != 4:
            expected = "a net with two experts of two outputs each, e.g. model=dedn"
            raise ConfigError("This loss does not fit the net", expected=expected)
        regions, channels = outputs[::2], outputs[1::2]  # of both experts
        logits_2BC = stacked_logits(regions) + stacked_logits(channels)
        calibrated_2BC = self.with_margin(logits_2BC)
        cross_entropy = cross_entropy_with_margins(
            logits_2BC,
            labels_B,
            *self.domains,
            seen_margin=self.seen_margin,
            label_margin=self.label_margin,
        ).sum()
        self_calibration = self_calibration_release(calibrated_2BC, *self.domains).sum()
        coarse_BC, fine_BC = calibrated_2BC.unbind()
        distillation = distillation_release(coarse_BC, fine_BC, *self.domains)
        alignment = mutual_distillation(stacked_scores(regions), stacked_scores(channels)).sum()
        loss = cross_entropy + self.lambda_cal * self_calibration
        loss = loss + self.lambda_distill * distillation + self.lambda_align * alignment
        return DEDNTerms(loss, cross_entropy, self_calibration, distillation, alignment)
