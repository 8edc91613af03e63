"""Bilinear compatibility of pooled image and class, x^T W z^c: the net of ALE, SJE and DeViSE.

The three methods differ in their losses (losses/ranking.py). With MSDN's loss, the net is the
baseline of MSDN's ablation: it maps the pooled feature to the attributes.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from msdn_lit.dtypes import at_least_float32
from msdn_lit.models.base import ClassNet, SubNetOutput


def pool_regions(regions_BRD: Tensor, *, unit_length: bool) -> Tensor:
    """Averages each image's regions in float32 at least, maybe scaled to length one, (B, D)."""
    pooled_BD = at_least_float32(regions_BRD).mean(dim=1)
    return normalize(pooled_BD, dim=1) if unit_length else pooled_BD


class BilinearCompatibility(ClassNet):
    """A linear map from the pooled image to attribute scores.

    Args:
        attribute_vectors_KE: Word vectors, (K, E). Unused; every net has this argument.
        class_attributes_CK: Class semantic vectors z^c, (C, K). Rows are normalised.
        visual_dim: Number of visual channels D.
        unit_length: Scale pooled images to length one.
    """

    def __init__(
        self,
        attribute_vectors_KE: Tensor,
        class_attributes_CK: Tensor,
        visual_dim: int,
        *,
        unit_length: bool,
    ) -> None:
        super().__init__(class_attributes_CK)
        self.weights_DK = nn.Parameter(
            torch.randn(visual_dim, class_attributes_CK.shape[1]) / visual_dim**0.5
        )
        self.unit_length = unit_length

    def forward(self, regions_BRD: Tensor) -> tuple[SubNetOutput]:
        """Computes logits and attribute scores; there is no attention.

        Args:
            regions_BRD: Region features of any precision, (B, R, D).
        """
        scores_BK = pool_regions(regions_BRD, unit_length=self.unit_length) @ self.weights_DK
        return (self.output(scores_BK),)
