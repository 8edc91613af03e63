"""MSDN, the Mutually Semantic Distillation Network (Chen et al., CVPR 2022, arXiv 2203.03137).

Two sub-nets look at the regions v_r of an image through the word vectors a_k of the attributes. Each arrives at a score
per attribute, and from there at a logit per class. That they teach each other is the loss's business (losses/), how
they are combined into a prediction is the task's (tasks/).

Letters: B batch, R regions, D visual channels, K attributes, E word-vector size, C classes, M maps.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from msdn_lit.errors import ConfigError
from msdn_lit.models.attention import bilinear_maps, over_attributes, over_regions

Attend = Callable[[Tensor], Tensor]
_MOST_REGIONS = 1e6  # no image has as many


class SubNetOutput(NamedTuple):
    """Output of one sub-net for a batch.

    Attributes:
        logits_BC: Class logits without calibration margin, (B, C).
        attribute_scores_BK: Attribute scores, (B, K); logits = scores @ class_attributes^T.
        attention_BKR: Attention of attributes and regions, (B, K, R); None for a net without attention.
    """

    logits_BC: Tensor
    attribute_scores_BK: Tensor
    attention_BKR: Tensor | None = None


class Dataset(Protocol):
    """What a net needs of a dataset; `msdn_lit.open_dataset` returns one."""

    @property
    def attribute_vectors(self) -> Tensor:
        """Word vectors of the attributes, (K, E)."""

    @property
    def class_attributes(self) -> Tensor:
        """Class semantic vectors, (C, K)."""

    @property
    def visual_dim(self) -> int:
        """D, the number of channels of a region."""


class SubNet(nn.Module):
    """M matrices W_m of bilinear maps a_k^T W_m v_r, and the way their maps become attribute scores.

    Args:
        num_random: The first so many matrices begin as N(0, 1).
        num_zero: The others begin as zeros (a zero compatibility is a uniform attention).
        word_dim: E.
        visual_dim: D.
    """

    def __init__(self, *, num_random: int, num_zero: int, word_dim: int, visual_dim: int) -> None:
        super().__init__()
        random_MED = torch.randn(num_random, word_dim, visual_dim)
        self.weights_MED = nn.Parameter(
            torch.cat([random_MED, torch.zeros(num_zero, word_dim, visual_dim)])
        )

    def attend(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Turns this sub-net's M maps, (K, B, R) each, into attribute scores (B, K) and attention (K, B, R)."""
        raise NotImplementedError


class AttributeToVisual(SubNet):
    """Attribute -> visual, eq. 1-3: each attribute looks for its regions.

    beta_k = softmax_r(a_k^T W_2 v_r), psi_k = a_k^T W_1 sum_r beta_k^r v_r, summed as sum_r beta_k^r (a_k^T W_1 v_r).

    Args:
        word_dim: E.
        visual_dim: D.
        attention: Normalises the compatibility; over regions in the release.
    """

    def __init__(self, word_dim: int, visual_dim: int, attention: Attend = over_regions) -> None:
        super().__init__(num_random=1, num_zero=1, word_dim=word_dim, visual_dim=visual_dim)
        self.attention = attention

    def attend(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Maps: a_k^T W_1 v_r and a_k^T W_2 v_r."""
        values_KBR, compatibility_KBR = maps
        beta_KBR = self.attention(compatibility_KBR)
        return (beta_KBR * values_KBR).sum(dim=2).T, beta_KBR


class VisualToAttribute(SubNet):
    """Visual -> attribute as released: each region looks for its attributes.

    gamma_r = softmax_k(a_k^T W_4 v_r), Psi_k = sum_r gamma_r^k (v_r^T W_3 a_k).

    Args:
        word_dim: E.
        visual_dim: D.
        region_scale: Takes so many times the mean over the regions instead of the sum over all R, whose scores are
            far larger than the other sub-net's; None is the sum (release).

    Raises:
        ConfigError: There is no such number of regions.
    """

    def __init__(self, word_dim: int, visual_dim: int, region_scale: float | None = None) -> None:
        super().__init__(num_random=0, num_zero=2, word_dim=word_dim, visual_dim=visual_dim)
        if region_scale is not None and not 0 < region_scale < _MOST_REGIONS:
            expected = "a positive number of regions, or null for the sum"
            raise ConfigError("region_scale is wrong", expected=expected, found=region_scale)
        self.region_scale = region_scale

    def attend(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Maps: v_r^T W_3 a_k and a_k^T W_4 v_r."""
        values_KBR, compatibility_KBR = maps
        gamma_KBR = over_attributes(compatibility_KBR)
        scores_BK = (gamma_KBR * values_KBR).sum(dim=2).T
        if self.region_scale is not None:
            scores_BK = scores_BK * (self.region_scale / values_KBR.shape[2])
        return scores_BK, gamma_KBR


class VisualToAttributePaper(SubNet):
    """Visual -> attribute as printed, eq. 4-7: the regions' own scores are carried to the attributes by a third map.

    gamma_r = softmax_k(v_r^T W_3 a_k), Psi'_r = v_r^T W_4 sum_k gamma_r^k a_k, Psi_k = sum_r (a_k^T W_att v_r) Psi'_r.
    W_4 and W_att begin random: their product has no gradient at zero.

    Args:
        word_dim: E.
        visual_dim: D.
        attention: Normalises the compatibility; over attributes by default.
    """

    def __init__(self, word_dim: int, visual_dim: int, attention: Attend = over_attributes) -> None:
        super().__init__(num_random=2, num_zero=1, word_dim=word_dim, visual_dim=visual_dim)
        self.attention = attention

    def attend(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Maps: v_r^T W_4 a_k, a_k^T W_att v_r and v_r^T W_3 a_k."""
        values_KBR, carriers_KBR, compatibility_KBR = maps
        gamma_KBR = self.attention(compatibility_KBR)
        region_scores_BR = (gamma_KBR * values_KBR).sum(dim=0)
        return (carriers_KBR * region_scores_BR).sum(dim=2).T, gamma_KBR


class RegionDropout(nn.Module):
    """Lets a net train on a random part of each image's regions, and see all of them afterwards.

    Args:
        dropped: Share of the regions that a training step leaves out, in [0, 1); one region is always left.

    Raises:
        ConfigError: There is no such share.
    """

    def __init__(self, dropped: float) -> None:
        super().__init__()
        if not 0 <= dropped < 1:
            raise ConfigError(
                "model.region_dropout is wrong", expected="a share in [0, 1)", found=dropped
            )
        self.dropped = dropped

    def forward(self, regions_BRD: Tensor) -> Tensor:
        """Regions (B, R', D) with R' <= R, other ones of each image."""
        if not (self.training and self.dropped):
            return regions_BRD
        B, R, _ = regions_BRD.shape
        order_BR = torch.rand(B, R, device=regions_BRD.device).argsort(dim=1)
        kept_BR = order_BR[:, : max(1, round(R * (1 - self.dropped)))]
        return regions_BRD[torch.arange(B, device=kept_BR.device)[:, None], kept_BR]


RELEASED_SUBNETS: Mapping[str, Callable[[int, int], SubNet]] = {
    "attribute_to_visual": AttributeToVisual,
    "visual_to_attribute": VisualToAttribute,
}


class MSDN(nn.Module):
    """Sub-nets that share the trainable attribute vectors. Both directions make MSDN, one alone is an ablation.

    Args:
        attribute_vectors_KE: Word vectors of the attributes, (K, E); rows are normalised, then trained.
        class_attributes_CK: Class semantic vectors, (C, K); rows are normalised.
        visual_dim: D.
        subnets: Sub-nets by name, each made from (E, D); the output has their order. The default is the release's.
        renormalize: Normalise the attribute vectors in every forward pass (the release on AWA2).
        region_dropout: Share of each image's regions that a training step leaves out (release: none).
    """

    class_attributes_CK: Tensor

    def __init__(
        self,
        attribute_vectors_KE: Tensor,
        class_attributes_CK: Tensor,
        visual_dim: int,
        *,
        subnets: Mapping[str, Callable[[int, int], SubNet]] = RELEASED_SUBNETS,
        renormalize: bool = False,
        region_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        word_dim = attribute_vectors_KE.shape[1]
        class_attributes_CK = normalize(class_attributes_CK, dim=1)
        self.attribute_vectors_KE = nn.Parameter(normalize(attribute_vectors_KE, dim=1))
        self.register_buffer("class_attributes_CK", class_attributes_CK, persistent=False)
        self.subnets = nn.ModuleDict(
            {name: make(word_dim, visual_dim) for name, make in subnets.items()}
        )
        self.renormalize = renormalize
        self.region_dropout = RegionDropout(region_dropout)

    @classmethod
    def for_dataset(cls, data: Dataset, **settings: Any) -> "MSDN":  # noqa: ANN401 - those of __init__
        """Makes a net for the sizes and semantics of a dataset.

        Args:
            data: Dataset, e.g. from `msdn_lit.open_dataset`.
            **settings: Keyword arguments of the class.
        """
        return cls(data.attribute_vectors, data.class_attributes, data.visual_dim, **settings)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs: those of the sub-nets."""
        return tuple(self.subnets)

    def forward(self, regions_BRD: Tensor) -> tuple[SubNetOutput, ...]:
        """Computes every sub-net's logits, attribute scores and attention.

        Args:
            regions_BRD: Region features of any precision, (B, R, D); each region is normalised here.

        Returns:
            One output per sub-net, in the order of `subnets`.
        """
        a_KE = (
            normalize(self.attribute_vectors_KE, dim=1)
            if self.renormalize
            else self.attribute_vectors_KE
        )
        v_BRD = normalize(self.region_dropout(regions_BRD).float(), dim=2)
        subnets = [cast(SubNet, subnet) for subnet in self.subnets.values()]
        weights: list[Tensor] = [subnet.weights_MED for subnet in subnets]
        maps = iter(
            bilinear_maps(a_KE, torch.cat(weights), v_BRD).unbind()
        )  # once: each more copies the gradient
        return tuple(
            self._output(subnet, list(islice(maps, len(subnet.weights_MED)))) for subnet in subnets
        )

    def _output(self, subnet: SubNet, maps: Sequence[Tensor]) -> SubNetOutput:
        scores_BK, attention_KBR = subnet.attend(maps)
        return SubNetOutput(
            scores_BK @ self.class_attributes_CK.T, scores_BK, attention_KBR.transpose(0, 1)
        )
