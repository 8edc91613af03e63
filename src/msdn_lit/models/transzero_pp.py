"""The second sub-net of TransZero++ (Chen et al., TPAMI 2022, arXiv 2112.08643), as released.

TransZero++ is `TransZero` with two sub-nets: that of TransZero, and this one, which asks the other
way round. They share the attribute vectors alone. Equation numbers are those of docs/methods.md.

Letters: B batch, R regions, D visual channels, K attributes, E word-vector size, d common width.
"""

from typing import Any

import torch
from torch import Tensor, nn

from msdn_lit.models.transzero import TransformerSubNet


class VisualToAttributeTransformer(TransformerSubNet):
    """Visual -> attribute sub-net, eq. 2.1-2.3: encoded regions attend to attributes.

    Args:
        word_dim: Word-vector size E.
        visual_dim: Number of visual channels D.
        grid: Rows and columns of regions.
        random_start: Initialise W_r from N(0, 1) (release: SUN) and not with zeros (CUB, AWA2),
            with which all scores are zero at first.
        **sizes: Other arguments of `TransformerSubNet`.
    """

    def __init__(
        self,
        word_dim: int,
        visual_dim: int,
        grid: tuple[int, int],
        *,
        random_start: bool = False,
        **sizes: Any,  # noqa: ANN401 - of TransformerSubNet
    ) -> None:
        super().__init__(word_dim, visual_dim, grid, **sizes)
        dim = self.region_projection.out_features
        start_dd = torch.randn(dim, dim) if random_start else torch.zeros(dim, dim)
        self.region_weights_dd = nn.Parameter(start_dd)
        self.attribute_weights_d = nn.Parameter(torch.randn(dim))

    def forward(self, regions_BRD: Tensor, vectors_KE: Tensor) -> tuple[Tensor, Tensor]:
        """Computes s_k = sum_r E_kr rho_r, with E_kr = sum_c T_kc w_c X_rc.

        rho_r = M_r^T W_r O''_r is the score of a region. The sums over r are taken first, so that
        no tensor of the size (B, K, R) is built.
        """
        x_BRd = self.region_projection(regions_BRD)
        tokens_Kd = self.attribute_projection(vectors_KE)
        memory_BRd = self.encoder(x_BRd)
        decoded_BRd, attention_BRK = self.decoder(memory_BRd, tokens_Kd[None])
        rho_BR = (memory_BRd @ self.region_weights_dd * decoded_BRd).sum(dim=2)
        carried_Bd = (rho_BR[:, None] @ x_BRd).squeeze(1) * self.attribute_weights_d
        return carried_Bd @ tokens_Kd.T, attention_BRK.transpose(1, 2)
