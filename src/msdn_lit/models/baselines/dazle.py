"""DAZLE, dense attribute attention (Huynh and Elhamifar, CVPR 2020), as released (github.com/hbdat/cvpr20_DAZLE)."""

from collections.abc import Sequence

from torch import Tensor

from msdn_lit.models.attention import over_regions
from msdn_lit.models.msdn import SubNet


class DAZLE(SubNet):
    """Attribute -> visual whose scores pass a gate: each attribute also says whether it matters in this image.

    A_k = softmax_r(a_k^T W_2 v_r), F_k = sum_r A_k^r v_r, score_k = sigmoid(a_k^T W_3 F_k) (a_k^T W_1 F_k), where both
    bilinear forms of F_k are taken region by region and summed. As the only sub-net of `MSDN` it is the released model:
    trained attribute vectors, unit regions, unit class vectors. Its loss is the release form of MSDN's for one sub-net.

    Args:
        word_dim: E.
        visual_dim: D.
    """

    def __init__(self, word_dim: int, visual_dim: int) -> None:
        super().__init__(num_random=1, num_zero=2, word_dim=word_dim, visual_dim=visual_dim)

    def attend(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Maps: a_k^T W_1 v_r, a_k^T W_2 v_r and a_k^T W_3 v_r."""
        values_KBR, compatibility_KBR, gates_KBR = maps
        attention_KBR = over_regions(compatibility_KBR)
        values_KB, gates_KB = (
            (attention_KBR * maps_KBR).sum(dim=2) for maps_KBR in (values_KBR, gates_KBR)
        )
        return (gates_KB.sigmoid() * values_KB).T, attention_KBR
