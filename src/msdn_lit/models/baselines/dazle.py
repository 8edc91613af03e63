"""DAZLE, dense attribute attention (Huynh and Elhamifar, CVPR 2020), as released.

The released code is at github.com/hbdat/cvpr20_DAZLE.
"""

from collections.abc import Sequence

from torch import Tensor

from msdn_lit.models.attention import over_regions
from msdn_lit.models.msdn import SubNet


class DAZLE(SubNet):
    """Attribute -> visual sub-net with a gate per attribute, which weights its score in each image.

    A_k = softmax_r(a_k^T W_2 v_r), F_k = sum_r A_k^r v_r,
    score_k = sigmoid(a_k^T W_3 F_k) (a_k^T W_1 F_k).
    Both bilinear forms of F_k are computed region by region and summed.

    `MSDN` with this as its only sub-net is the released model: trained attribute vectors, unit
    regions, unit class vectors. Its loss is the release form of MSDN's loss for one sub-net.

    Args:
        word_dim: Word-vector size E.
        visual_dim: Number of visual channels D.
    """

    def __init__(self, word_dim: int, visual_dim: int) -> None:
        super().__init__(num_random=1, num_zero=2, word_dim=word_dim, visual_dim=visual_dim)

    def attend(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Computes both from the maps a_k^T W_1 v_r, a_k^T W_2 v_r and a_k^T W_3 v_r."""
        values_KBR, compatibility_KBR, gates_KBR = maps
        attention_KBR = over_regions(compatibility_KBR)
        values_KB, gates_KB = (
            (attention_KBR * maps_KBR).sum(dim=2) for maps_KBR in (values_KBR, gates_KBR)
        )
        return (gates_KB.sigmoid() * values_KB).T, attention_KBR
