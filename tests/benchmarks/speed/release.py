"""The released order of computation, written plainly: what ours is measured against."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from msdn_lit.models import MSDN


class ReleaseOrder(nn.Module):
    """Four products from left to right, (B, K, D) features, two gates that nothing uses, scores summed from (B, K, C).

    Args:
        net: MSDN of both sub-nets, whose weights this one begins with.
    """

    class_attributes_CK: Tensor
    gate: Tensor

    def __init__(self, net: MSDN) -> None:
        super().__init__()
        (value_1, attend_1), (value_2, attend_2) = (
            subnet.weights_MED for subnet in net.subnets.values()
        )  # type: ignore[misc]
        self.attribute_vectors_KE = nn.Parameter(net.attribute_vectors_KE.detach().clone())
        self.register_buffer("class_attributes_CK", net.class_attributes_CK, persistent=False)
        self.value_1, self.attend_1 = (
            nn.Parameter(value_1.detach().clone()),
            nn.Parameter(attend_1.detach().clone()),
        )
        self.value_2 = nn.Parameter(value_2.detach().T.clone())
        self.attend_2 = nn.Parameter(attend_2.detach().clone())
        self.register_buffer("gate", torch.zeros_like(value_1), persistent=False)

    def forward(self, maps_BDR: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of both sub-nets, (B, C) each, from feature maps as the release holds them, fp32, (B, D, R)."""
        maps_BDR = normalize(maps_BDR, dim=1)
        a_KE, classes_CK = self.attribute_vectors_KE, self.class_attributes_CK

        values_BKR = torch.einsum("ke,ed,bdr->bkr", a_KE, self.value_1, maps_BDR)
        attention_BKR = torch.einsum("ke,ed,bdr->bkr", a_KE, self.attend_1, maps_BDR).softmax(dim=2)
        features_BKD = torch.einsum("bkr,bdr->bkd", attention_BKR, maps_BDR)
        first_BK = torch.einsum("bkr,bkr->bk", attention_BKR, values_BKR)
        torch.einsum("ke,ed,bkd->bk", a_KE, self.gate, features_BKD).sigmoid()
        torch.einsum("ke,ed,bkd->bk", a_KE, self.value_1, features_BKD)

        values_BRK = torch.einsum("bdr,de,ke->brk", maps_BDR, self.value_2, a_KE)
        attention_BKR = torch.einsum("ke,ed,bdr->bkr", a_KE, self.attend_2, maps_BDR).softmax(dim=1)
        torch.einsum("bkr,ke->bre", attention_BKR, a_KE)
        second_BK = torch.einsum("bkr,brk->bk", attention_BKR, values_BRK)

        first_BC, second_BC = (
            torch.einsum("ck,bk->bkc", classes_CK, s).sum(dim=1) for s in (first_BK, second_BK)
        )
        return first_BC, second_BC
