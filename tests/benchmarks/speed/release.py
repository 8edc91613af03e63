"""The release's order of computation, written plainly."""

import torch
from torch import nn
from torch.nn.functional import normalize

from msdn_lit.models import SubNetOutput


class ReleaseOrder(nn.Module):
    """Four products from left to right, (B, K, D) features, and class scores summed from (B, K, C).

    The two gates and the region features (B, R, E) are computed although no output depends on them.

    Args:
        net: MSDN with both sub-nets; its weights are copied.
    """

    def __init__(self, net):
        super().__init__()
        subnets = net.subnets.values()
        (value_1, attend_1), (value_2, attend_2) = (subnet.weights_MED for subnet in subnets)
        self.attribute_vectors_KE = nn.Parameter(net.attribute_vectors_KE.detach().clone())
        self.register_buffer("class_attributes_CK", net.class_attributes_CK, persistent=False)
        self.value_1 = nn.Parameter(value_1.detach().clone())
        self.attend_1 = nn.Parameter(attend_1.detach().clone())
        self.value_2 = nn.Parameter(value_2.detach().T.clone())
        self.attend_2 = nn.Parameter(attend_2.detach().clone())
        self.register_buffer("gate", torch.zeros_like(value_1), persistent=False)

    def forward(self, maps_BDR):
        """Computes the outputs of both sub-nets from fp32 feature maps, (B, D, R)."""
        maps_BDR = normalize(maps_BDR, dim=1)
        a_KE = self.attribute_vectors_KE

        values_BKR = torch.einsum("ke,ed,bdr->bkr", a_KE, self.value_1, maps_BDR)
        beta_BKR = torch.einsum("ke,ed,bdr->bkr", a_KE, self.attend_1, maps_BDR).softmax(dim=2)
        features_BKD = torch.einsum("bkr,bdr->bkd", beta_BKR, maps_BDR)
        first_BK = torch.einsum("bkr,bkr->bk", beta_BKR, values_BKR)
        torch.einsum("ke,ed,bkd->bk", a_KE, self.gate, features_BKD).sigmoid()
        torch.einsum("ke,ed,bkd->bk", a_KE, self.value_1, features_BKD)

        values_BRK = torch.einsum("bdr,de,ke->brk", maps_BDR, self.value_2, a_KE)
        gamma_BKR = torch.einsum("ke,ed,bdr->bkr", a_KE, self.attend_2, maps_BDR).softmax(dim=1)
        torch.einsum("bkr,ke->bre", gamma_BKR, a_KE)
        second_BK = torch.einsum("bkr,brk->bk", gamma_BKR, values_BRK)

        return self._output(first_BK, beta_BKR), self._output(second_BK, gamma_BKR)

    def _output(self, scores_BK, attention_BKR):
        scores_BKC = torch.einsum("ck,bk->bkc", self.class_attributes_CK, scores_BK)
        return SubNetOutput(scores_BKC.sum(dim=1), scores_BK, attention_BKR)
