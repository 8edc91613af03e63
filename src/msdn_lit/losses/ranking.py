"""Ranking losses of compatibility models.

The label's logit should exceed that of every other seen class, its rivals, by a margin. F(x, c) is
the logit of class c, y is the label, and l_c = max(0, margin + F(x, c) - F(x, y)) is the hinge of
rival c. The three losses combine the hinges of an image in different ways. Each is a mean over the
batch, of logits without calibration margin, in float32.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from msdn_lit.losses.base import ClassIds, DomainLoss, Output, stacked_logits
from msdn_lit.losses.functional import among

Ranking = Callable[[Tensor, Tensor, Tensor], Tensor]


def hinges(logits_BC: Tensor, labels_B: Tensor, seen: Tensor, margin: float) -> Tensor:
    """Computes the hinges l_c, (..., B, C); zero for the label itself and for unseen classes.

    Args:
        logits_BC: Logits of all classes, (..., B, C).
        labels_B: Class ids, (B,).
        seen: Seen classes: their ids, or a mask from `class_mask`.
        margin: Margin of the label's logit.
    """
    logits_BC = among(logits_BC, seen)
    labels_B1 = labels_B[:, None].expand(*logits_BC.shape[:-1], 1)
    lead_BC = logits_BC.gather(-1, labels_B1) - logits_BC
    return (margin - lead_BC).clamp_min(0).scatter(-1, labels_B1, 0)


def devise(logits_BC: Tensor, labels_B: Tensor, seen: Tensor, *, margin: float) -> Tensor:
    """DeViSE (Frome et al., NIPS 2013): sum_c l_c; arguments as of `hinges`."""
    return hinges(logits_BC, labels_B, seen, margin).sum(dim=-1).mean(dim=-1)


def sje(logits_BC: Tensor, labels_B: Tensor, seen: Tensor, *, margin: float) -> Tensor:
    """SJE (Akata et al., CVPR 2015), the structured SVM: max_c l_c; arguments as of `hinges`."""
    return hinges(logits_BC, labels_B, seen, margin).amax(dim=-1).mean(dim=-1)


def ale(logits_BC: Tensor, labels_B: Tensor, seen: Tensor, *, margin: float) -> Tensor:
    """ALE (Akata et al., TPAMI 2016): (1 + 1/2 + ... + 1/r) / r sum_c l_c; arguments of `hinges`.

    r is the number of rivals with a hinge above zero; it has no gradient. The papers estimate the
    sum and r by drawing rivals until one violates the margin; here both are exact.
    """
    hinges_BC = hinges(logits_BC, labels_B, seen, margin)
    rank_B = (hinges_BC > 0).sum(dim=-1).float()
    harmonic_B = torch.digamma(rank_B + 1) - torch.digamma(torch.ones_like(rank_B))
    return (harmonic_B / rank_B.clamp_min(1) * hinges_BC.sum(dim=-1)).mean(dim=-1)


class RankingTerms(NamedTuple):
    """The loss, a scalar. It has no other terms."""

    loss: Tensor


class RankingLoss(DomainLoss):
    """A ranking loss, summed over the outputs of a net.

    Args:
        seen: Ids of the seen classes.
        unseen: Ids of the unseen classes; not used.
        ranking: Function of (logits, labels, seen): `ale`, `sje` or `devise` with a margin.
    """

    def __init__(self, seen: ClassIds, unseen: ClassIds, *, ranking: Ranking) -> None:
        super().__init__(seen, unseen)
        self.ranking = ranking

    def forward(self, outputs: Sequence[Output], labels_B: Tensor) -> RankingTerms:
        """Computes the loss.

        Args:
            outputs: Outputs of the net.
            labels_B: Class ids, (B,).
        """
        return RankingTerms(self.ranking(stacked_logits(outputs), labels_B, self.seen_C).sum())
