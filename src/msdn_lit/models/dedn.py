"""DEDN, the Dual Expert Distillation Network (Rao et al., IJCAI 2024, arXiv 2404.16348).

Equation numbers are those of docs/methods.md. The loss is in losses/dedn.py.

Letters: B batch, R regions, D visual channels, K attributes, E word-vector size, J groups.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, scaled_dot_product_attention

from msdn_lit.models.base import ClassNet, SubNetOutput, unit_regions
from msdn_lit.models.groups import attribute_groups


class Expert(nn.Module):
    """Attribute vectors, and own matrices W_1, W_2, U_1, U_2 for each group of attributes.

    Args:
        vectors_KE: Initial attribute vectors, (K, E).
        groups: Attribute indices of each group.
        visual_dim: Number of visual channels D.
        num_regions: Number of regions R.
        inner_dim: Size h of W_1 = W_1a W_1b (release: SUN); None for one matrix W_1.
    """

    by_group_K: Tensor
    place_K: Tensor

    def __init__(
        self,
        vectors_KE: Tensor,
        groups: Sequence[Sequence[int]],
        visual_dim: int,
        num_regions: int,
        inner_dim: int | None,
    ) -> None:
        super().__init__()
        J, E = len(groups), vectors_KE.shape[1]
        by_group_K = torch.tensor([k for group in groups for k in group])
        self.sizes = [len(group) for group in groups]
        self.register_buffer("by_group_K", by_group_K, persistent=False)
        self.register_buffer("place_K", by_group_K.argsort(), persistent=False)
        self.attribute_vectors_KE = nn.Parameter(vectors_KE.clone())
        dims = [E, visual_dim] if inner_dim is None else [E, inner_dim, visual_dim]
        self.region_values = nn.ParameterList(torch.randn(J, *pair) for pair in pairwise(dims))
        self.region_keys_JED = nn.Parameter(torch.zeros(J, E, visual_dim))
        self.channel_values_JER = nn.Parameter(torch.randn(J, E, num_regions))
        self.channel_keys_JER = nn.Parameter(torch.zeros(J, E, num_regions))

    def region_queries(self) -> tuple[Tensor, Tensor]:
        """Returns a_k^T W_1 and a_k^T W_2, (K, D) each."""
        return self._product(*self.region_values), self._product(self.region_keys_JED)

    def channel_queries(self) -> tuple[Tensor, Tensor]:
        """Returns a_k^T U_1 and a_k^T U_2, (K, R) each."""
        return self._product(self.channel_values_JER), self._product(self.channel_keys_JER)

    def _product(self, *factors: Tensor) -> Tensor:
        """Multiplies each attribute vector with the matrices of its group."""
        products = []
        groups = torch.split(self.attribute_vectors_KE[self.by_group_K], self.sizes)
        for j, product in enumerate(groups):
            for factor in factors:
                product = product @ factor[j]
            products.append(product)
        return torch.cat(products)[self.place_K]


class DEDN(ClassNet):
    """Two experts with two outputs each: the scores from regions and those from channels.

    Training adds the two outputs of an expert; prediction weights all four (eq. 3.3, 3.6).

    Args:
        attribute_vectors_KE: Word vectors of the attributes, (K, E). Each expert starts from unit
            rows.
        class_attributes_CK: Class semantic vectors, (C, K). Rows are normalised.
        visual_dim: Number of visual channels D.
        grid: Rows and columns of regions.
        groups: Attributes of each group of the fine expert, by its name: indices and ranges like
            "0-17, 33", or "rest" for all others. None: one group.
        inner_dim: Size h of W_1 = W_1a W_1b (release: SUN); None for one matrix W_1.
    """

    can_be_stacked = False  # torch.vmap has no rule for PyTorch's attention
    output_names = ("coarse_region", "coarse_channel", "fine_region", "fine_channel")

    def __init__(
        self,
        attribute_vectors_KE: Tensor,
        class_attributes_CK: Tensor,
        visual_dim: int,
        *,
        grid: tuple[int, int],
        groups: Mapping[str, str] | None = None,
        inner_dim: int | None = None,
    ) -> None:
        super().__init__(class_attributes_CK)
        vectors_KE = normalize(attribute_vectors_KE, dim=1)
        K, R = len(vectors_KE), grid[0] * grid[1]
        coarse, fine = [range(K)], attribute_groups(groups or {"all": "rest"}, K)
        self.experts = nn.ModuleList(
            Expert(vectors_KE, each, visual_dim, R, inner_dim) for each in (coarse, fine)
        )

    def forward(self, regions_BRD: Tensor) -> tuple[SubNetOutput, ...]:
        """Computes both outputs of both experts, in the order of `output_names`.

        Args:
            regions_BRD: Region features of any precision, (B, R, D). Each region is normalised.
        """
        unit_BRD = unit_regions(regions_BRD)
        experts = [cast(Expert, expert) for expert in self.experts]
        region_4KD = torch.stack([q for each in experts for q in each.region_queries()])
        channel_4KR = torch.stack([q for each in experts for q in each.channel_queries()])
        values_2BKR, attention_2BKR = _region_maps(region_4KD, unit_BRD)
        region_2BK = (attention_2BKR * values_2BKR).sum(dim=3)
        channel_2BK = _channel_scores(channel_4KR, unit_BRD)
        outputs = []
        for e in range(2):
            outputs.append(self.output(region_2BK[e], attention_2BKR[e], values_2BKR[e]))
            outputs.append(self.output(channel_2BK[e], attention_2BKR[e]))
        return tuple(outputs)


def _region_maps(queries_4KD: Tensor, unit_BRD: Tensor) -> tuple[Tensor, Tensor]:
    """Returns values a_k^T W_1 v_r and softmax_r(a_k^T W_2 v_r) of both experts, (2, B, K, R)."""
    B, R, D = unit_BRD.shape
    maps_QN = queries_4KD.flatten(0, 1) @ unit_BRD.reshape(-1, D).T
    values_2KBR, compatibility_2KBR = maps_QN.reshape(2, 2, -1, B, R).unbind(dim=1)
    return values_2KBR.transpose(1, 2), compatibility_2KBR.softmax(dim=3).transpose(1, 2)


def _channel_scores(queries_4KR: Tensor, unit_BRD: Tensor) -> Tensor:
    """Returns sum_d softmax_d(a_k^T U_2 x_d) (a_k^T U_1 x_d) of both experts, (2, B, K).

    It is a_k^T U_1 times the attended channel, which needs no tensor of the size (B, K, D).
    """
    K, R = queries_4KR.shape[1:]
    values_2KR, keys_2KR = queries_4KR.reshape(2, 2, K, R).unbind(dim=1)
    x_B2DR = unit_BRD.mT.contiguous()[:, None].expand(-1, 2, -1, -1)
    keys_B2KR = keys_2KR.expand(unit_BRD.shape[0], -1, -1, -1)
    attended_B2KR = scaled_dot_product_attention(keys_B2KR, x_B2DR, x_B2DR, scale=1.0)
    return (attended_B2KR * values_2KR).sum(dim=3).transpose(0, 1)
