"""Counterfactual attention (Rao et al., ICCV 2021) as a term of MSDN's loss.

The effect of attention is the difference between the scores and those of a counterfactual
attention, which knows nothing of the image. The term classifies by the effect, so that attention
itself has to carry the evidence.

Letters: B batch, K attributes, R regions, C classes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from msdn_lit.dtypes import class_product
from msdn_lit.errors import ConfigError
from msdn_lit.losses.base import ClassIds, Output
from msdn_lit.losses.msdn import MSDNLoss


class AttentiveOutput(Output, Protocol):
    """The part of a net's output that this loss uses."""

    @property
    def attention_BKR(self) -> Tensor | None:
        """Attention, (B, K, R); None for nets without."""

    @property
    def values_BKR(self) -> Tensor | None:
        """What attention weights, (B, K, R); None if the scores are no weighted sum."""


class CounterfactualTerms(NamedTuple):
    """The loss and its unweighted terms, each a scalar."""

    loss: Tensor
    cross_entropy: Tensor
    self_calibration: Tensor
    distillation: Tensor
    effect: Tensor


def uniform(attention_BKR: Tensor) -> Tensor:
    """Equal weights: 1/R for attention over regions, 1/K for attention over attributes."""
    return attention_BKR.mean(dim=(1, 2), keepdim=True)


def random(attention_BKR: Tensor) -> Tensor:
    """Uniform random numbers, normalised as the attention is."""
    return _normalised(torch.rand_like(attention_BKR), attention_BKR)


def shuffled(attention_BKR: Tensor) -> Tensor:
    """The attention of another image of the batch; of a batch of one, its own."""
    return attention_BKR.roll(1, dims=0)


def reversed(attention_BKR: Tensor) -> Tensor:
    """The largest weight minus each weight, normalised as the attention is."""
    largest = attention_BKR.amax(dim=(1, 2), keepdim=True)
    return _normalised(largest - attention_BKR, attention_BKR)


INTERVENTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    function.__name__: function for function in (uniform, random, shuffled, reversed)
}


class CounterfactualLoss(MSDNLoss):
    """MSDN's loss + lambda_causal * cross-entropy of the effects.

    An effect is sum_r (A - A') S with the attention A, the values S and the counterfactual
    attention A', which has no gradient. Outputs whose scores are no such sum have no effect.

    Args:
        seen: Ids of the seen classes.
        unseen: Ids of the unseen classes.
        class_attributes: Class semantic vectors, (C, K). Rows are normalised.
        lambda_causal: Weight of the term.
        intervention: Counterfactual attention: uniform, random, shuffled or reversed.
        **of_msdn: Arguments of `MSDNLoss`.

    Raises:
        ConfigError: There is no such intervention.
    """

    def __init__(
        self,
        seen: ClassIds,
        unseen: ClassIds,
        *,
        class_attributes: Tensor,
        lambda_causal: float = 0.1,
        intervention: str = "uniform",
        **of_msdn: Any,  # noqa: ANN401 - of MSDNLoss
    ) -> None:
        super().__init__(seen, unseen, **of_msdn)
        if intervention not in INTERVENTIONS:
            expected = ", ".join(INTERVENTIONS)
            raise ConfigError("loss.intervention is wrong", expected=expected, found=intervention)
        self.keep_class_attributes(class_attributes)
        self.lambda_causal = lambda_causal
        self.intervene = INTERVENTIONS[intervention]

    def forward(  # type: ignore[override]  # it reads more of the outputs
        self, outputs: Sequence[AttentiveOutput], labels_B: Tensor
    ) -> CounterfactualTerms:
        """Computes the loss.

        Args:
            outputs: Outputs of the sub-nets.
            labels_B: Class ids, (B,).

        Raises:
            ConfigError: No output has scores that are sums weighted by attention.
        """
        terms = super().forward(outputs, labels_B)
        effects = [effect for effect in map(self._effect, outputs) if effect is not None]
        if not effects:
            problem = "This loss does not fit the net: no scores are sums weighted by attention"
            raise ConfigError(problem, expected="model=msdn or model=dedn")
        logits_OBC = class_product(torch.stack(effects), self.class_attributes_CK)
        effect = self.cross_entropy(logits_OBC, labels_B, *self.domains).sum()
        return CounterfactualTerms(terms.loss + self.lambda_causal * effect, *terms[1:], effect)

    def _effect(self, output: AttentiveOutput) -> Tensor | None:
        """Returns the scores minus those of the counterfactual attention, (B, K)."""
        attention_BKR, values_BKR = output.attention_BKR, output.values_BKR
        if attention_BKR is None or values_BKR is None:
            return None
        counterfactual_BKR = self.intervene(attention_BKR.detach())
        return output.attribute_scores_BK - (counterfactual_BKR * values_BKR).sum(dim=2)


def _normalised(weights_BKR: Tensor, attention_BKR: Tensor) -> Tensor:
    """Scales weights to sums of one over the axis over which the attention's sums are one."""
    over_regions, over_attributes = (
        (attention_BKR.sum(dim=axis) - 1).abs().amax() for axis in (2, 1)
    )
    sums = torch.where(
        over_regions < over_attributes,
        weights_BKR.sum(dim=2, keepdim=True),
        weights_BKR.sum(dim=1, keepdim=True),
    )
    return weights_BKR / sums.clamp_min(1e-12)
