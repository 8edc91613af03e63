"""MSDN, the Mutually Semantic Distillation Network (Chen et al., CVPR 2022, arXiv 2203.03137).

Two sub-nets compare the regions v_r of an image with the word vectors a_k of the attributes. Each
computes a score per attribute, and from the scores a logit per class. The loss distils each sub-net
into the other (losses/); the task combines their logits into a prediction (tasks/).

Letters: B batch, R regions, D visual channels, K attributes, E word-vector size, C classes, M maps.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import cast

import torch
from torch import Tensor, nn

from msdn_lit.errors import ConfigError
from msdn_lit.models.attention import bilinear_maps, over_attributes, over_regions
from msdn_lit.models.base import AttributeNet, SubNetOutput, unit_regions

Attend = Callable[[Tensor], Tensor]
_MOST_REGIONS = 1e6  # more than any image has


class SubNet(nn.Module):
    """Base class of sub-nets: M matrices W_m of bilinear maps a_k^T W_m v_r.

    Args:
        num_random: Number of matrices that are initialised from N(0, 1); they are the first ones.
        num_zero: Number of matrices that are initialised with zeros, which makes attention uniform.
        word_dim: Word-vector size E.
        visual_dim: Number of visual channels D.
    """

    def __init__(self, *, num_random: int, num_zero: int, word_dim: int, visual_dim: int) -> None:
        super().__init__()
        random_MED = torch.randn(num_random, word_dim, visual_dim)
        self.weights_MED = nn.Parameter(
            torch.cat([random_MED, torch.zeros(num_zero, word_dim, visual_dim)])
        )

    def attend(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Computes attribute scores and attention.

        Args:
            maps: The sub-net's M bilinear maps, (K, B, R) each.

        Returns:
            Attribute scores (B, K) and attention (K, B, R).
        """
        raise NotImplementedError

    def values(self, maps: Sequence[Tensor]) -> Tensor | None:
        """Returns what attention weights, (K, B, R); None if the scores are not linear in it.

        Args:
            maps: The sub-net's M bilinear maps, (K, B, R) each.
        """
        return None


class AttributeToVisual(SubNet):
    """Attribute -> visual sub-net, eq. 1-3: each attribute attends to regions.

    beta_k = softmax_r(a_k^T W_2 v_r), psi_k = a_k^T W_1 sum_r beta_k^r v_r,
    computed as sum_r beta_k^r (a_k^T W_1 v_r).

    Args:
        word_dim: Word-vector size E.
        visual_dim: Number of visual channels D.
        attention: Normalisation of the compatibility; over regions in the release.
    """

    def __init__(self, word_dim: int, visual_dim: int, attention: Attend = over_regions) -> None:
        super().__init__(num_random=1, num_zero=1, word_dim=word_dim, visual_dim=visual_dim)
        self.attention = attention

    def attend(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Computes scores and attention from the maps a_k^T W_1 v_r and a_k^T W_2 v_r."""
        values_KBR, compatibility_KBR = maps
        beta_KBR = self.attention(compatibility_KBR)
        return (beta_KBR * values_KBR).sum(dim=2).T, beta_KBR

    def values(self, maps: Sequence[Tensor]) -> Tensor:
        """Returns the map a_k^T W_1 v_r."""
        return maps[0]


class VisualToAttribute(SubNet):
    """Visual -> attribute sub-net as released: each region attends to attributes.

    gamma_r = softmax_k(a_k^T W_4 v_r), Psi_k = sum_r gamma_r^k (v_r^T W_3 a_k).

    Args:
        word_dim: Word-vector size E.
        visual_dim: Number of visual channels D.
        region_scale: Factor n of the mean over regions: scores are n times the mean. None takes the
            sum over all R regions (release), which makes the scores far larger than those of the
            other sub-net.

    Raises:
        ConfigError: `region_scale` is not a positive number below a million.
    """

    def __init__(self, word_dim: int, visual_dim: int, region_scale: float | None = None) -> None:
        super().__init__(num_random=0, num_zero=2, word_dim=word_dim, visual_dim=visual_dim)
        if region_scale is not None and not 0 < region_scale < _MOST_REGIONS:
            expected = "a positive number below a million, or null for the sum over regions"
            raise ConfigError("region_scale is wrong", expected=expected, found=region_scale)
        self.region_scale = region_scale

    def attend(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Computes scores and attention from the maps v_r^T W_3 a_k and a_k^T W_4 v_r."""
        values_KBR, compatibility_KBR = maps
        gamma_KBR = over_attributes(compatibility_KBR)
        scores_BK = (gamma_KBR * values_KBR).sum(dim=2).T
        return self._scaled(scores_BK, values_KBR.shape[2]), gamma_KBR

    def values(self, maps: Sequence[Tensor]) -> Tensor:
        """Returns the map v_r^T W_3 a_k, scaled as the scores are."""
        return self._scaled(maps[0], maps[0].shape[2])

    def _scaled(self, sums: Tensor, num_regions: int) -> Tensor:
        return sums if self.region_scale is None else sums * (self.region_scale / num_regions)


class VisualToAttributePaper(SubNet):
    """Visual -> attribute sub-net as printed, eq. 4-7: a third map carries scores to attributes.

    gamma_r = softmax_k(v_r^T W_3 a_k), Psi'_r = v_r^T W_4 sum_k gamma_r^k a_k,
    Psi_k = sum_r (a_k^T W_att v_r) Psi'_r.
    W_4 and W_att are initialised randomly, since the gradient of their product vanishes at zero.

    Args:
        word_dim: Word-vector size E.
        visual_dim: Number of visual channels D.
        attention: Normalisation of the compatibility; over attributes by default.
    """

    def __init__(self, word_dim: int, visual_dim: int, attention: Attend = over_attributes) -> None:
        super().__init__(num_random=2, num_zero=1, word_dim=word_dim, visual_dim=visual_dim)
        self.attention = attention

    def attend(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Computes both from the maps v_r^T W_4 a_k, a_k^T W_att v_r and v_r^T W_3 a_k."""
        values_KBR, carriers_KBR, compatibility_KBR = maps
        gamma_KBR = self.attention(compatibility_KBR)
        region_scores_BR = (gamma_KBR * values_KBR).sum(dim=0)
        return (carriers_KBR * region_scores_BR).sum(dim=2).T, gamma_KBR


class RegionDropout(nn.Module):
    """Drops a random share of each image's regions in training mode, and none in evaluation mode.

    Args:
        dropped: Share of the regions to drop, in [0, 1). At least one region of an image is kept.

    Raises:
        ConfigError: `dropped` is outside [0, 1).
    """

    def __init__(self, dropped: float) -> None:
        super().__init__()
        if not 0 <= dropped < 1:
            raise ConfigError(
                "model.region_dropout is wrong", expected="a share in [0, 1)", found=dropped
            )
        self.dropped = dropped

    def forward(self, regions_BRD: Tensor) -> Tensor:
        """Returns R' <= R regions of each image, drawn for each image separately, (B, R', D)."""
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


class MSDN(AttributeNet):
    """Sub-nets that share trainable attribute vectors: both directions for MSDN, one for ablations.

    Args:
        attribute_vectors_KE: Word vectors of the attributes, (K, E). Initial values: unit rows.
        class_attributes_CK: Class semantic vectors, (C, K). Rows are normalised.
        visual_dim: Number of visual channels D.
        subnets: Functions of (E, D) that return a sub-net, by name, in the order of the outputs.
            Default: the two of the release.
        renormalize: Normalise the attribute vectors in every forward pass (the release on AWA2).
        region_dropout: Share of each image's regions that is dropped in training (release: none).
    """

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
        super().__init__(attribute_vectors_KE, class_attributes_CK, renormalize=renormalize)
        word_dim = attribute_vectors_KE.shape[1]
        self.subnets = nn.ModuleDict(
            {name: make(word_dim, visual_dim) for name, make in subnets.items()}
        )
        self.region_dropout = RegionDropout(region_dropout)

    def forward(self, regions_BRD: Tensor) -> tuple[SubNetOutput, ...]:
        """Computes every sub-net's logits, attribute scores and attention.

        Args:
            regions_BRD: Region features of any precision, (B, R, D). Each region is normalised.

        Returns:
            Outputs of the sub-nets, in the order of `subnets`.
        """
        v_BRD = unit_regions(self.region_dropout(regions_BRD))
        subnets = [cast(SubNet, subnet) for subnet in self.subnets.values()]
        weights: list[Tensor] = [subnet.weights_MED for subnet in subnets]
        # divided once: each further division would copy the gradient
        maps = iter(bilinear_maps(self.vectors(), torch.cat(weights), v_BRD).unbind())
        return tuple(
            self._output(subnet, list(islice(maps, len(subnet.weights_MED)))) for subnet in subnets
        )

    def _output(self, subnet: SubNet, maps: Sequence[Tensor]) -> SubNetOutput:
        scores_BK, attention_KBR = subnet.attend(maps)
        values_KBR = subnet.values(maps)
        values_BKR = None if values_KBR is None else values_KBR.transpose(0, 1)
        return self.output(scores_BK, attention_KBR.transpose(0, 1), values_BKR)
