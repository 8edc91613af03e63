"""TransZero (Chen et al., AAAI 2022, arXiv 2112.01683), as released.

Equation numbers are those of docs/methods.md. The second sub-net of TransZero++ is in
transzero_pp.py.

Letters: B batch, R regions, D visual channels, K attributes, E word-vector size, C classes,
d common width, P size of the geometry code.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from msdn_lit.models.base import AttributeNet, SubNetOutput, unit_regions
from msdn_lit.models.transformer import Attention, Decoder, FeedForward, geometry_code

ENCODER_ATTENTION_DROPOUT = 0.1  # whatever the dropout of the rest: a default of the release


class Encoder(nn.Module):
    """Self-attention over the regions, with the geometry subtracted, eq. 1.3-1.5.

    Args:
        grid: Rows and columns of regions.
        dim: Width d.
        ffn_dim: Width of the feed-forward layer.
        dropout: Rate.
    """

    geometry_RRP: Tensor

    def __init__(self, grid: tuple[int, int], dim: int, ffn_dim: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("geometry_RRP", geometry_code(*grid), persistent=False)
        self.geometry = nn.Linear(self.geometry_RRP.shape[2], 1)
        self.attention = Attention(dim, ENCODER_ATTENTION_DROPOUT, stacked=False)
        self.output_dropout = nn.Dropout(dropout)
        self.residual_dropout = nn.Dropout(dropout)
        self.feed_forward = FeedForward(dim, ffn_dim, dropout)
        self.norm_1 = nn.LayerNorm(dim)
        self.norm_2 = nn.LayerNorm(dim)
        self.norm_3 = nn.LayerNorm(dim)

    def forward(self, x_BRd: Tensor) -> Tensor:
        """Computes the memory of the decoder, (B, R, d). Regions are added and normalised twice."""
        geometry_RR = self.geometry(self.geometry_RRP).relu().squeeze(2)
        attended_BRd, _ = self.attention(x_BRd, x_BRd, x_BRd.shape[0], geometry_RR)
        once_BRd = self.norm_1(x_BRd + self.output_dropout(attended_BRd))
        twice_BRd = self.norm_2(x_BRd + self.residual_dropout(once_BRd))
        memory_BRd: Tensor = self.norm_3(twice_BRd + self.feed_forward(twice_BRd))
        return memory_BRd


class TransformerSubNet(nn.Module):
    """Base class of the sub-nets: projections, encoder and decoder.

    Args:
        word_dim: Word-vector size E.
        visual_dim: Number of visual channels D.
        grid: Rows and columns of regions.
        dim: Common width d.
        ffn_dim: Width of the feed-forward layers.
        dropout: Rate of all dropouts but that of the encoder's attention, which is 0.1.
        self_attention: Whether the queries of the decoder attend to one another first.
    """

    def __init__(
        self,
        word_dim: int,
        visual_dim: int,
        grid: tuple[int, int],
        *,
        dim: int = 300,
        ffn_dim: int = 512,
        dropout: float = 0.4,
        self_attention: bool = True,
    ) -> None:
        super().__init__()
        self.region_projection = nn.Linear(visual_dim, dim)
        self.attribute_projection = nn.Linear(word_dim, dim)
        self.encoder = Encoder(grid, dim, ffn_dim, dropout)
        self.decoder = Decoder(dim, ffn_dim, dropout, self_attention=self_attention)

    def forward(self, regions_BRD: Tensor, vectors_KE: Tensor) -> tuple[Tensor, Tensor]:
        """Returns attribute scores (B, K) and attention (B, K, R) for unit regions."""
        raise NotImplementedError


class AttributeToVisualTransformer(TransformerSubNet):
    """Attribute -> visual sub-net, eq. 1.1-1.8: attributes attend to encoded regions."""

    def __init__(self, word_dim: int, visual_dim: int, grid: tuple[int, int], **sizes: Any) -> None:  # noqa: ANN401 - of the base class
        super().__init__(word_dim, visual_dim, grid, **sizes)
        self.weights_Ed = nn.Parameter(torch.randn(word_dim, self.region_projection.out_features))

    def forward(self, regions_BRD: Tensor, vectors_KE: Tensor) -> tuple[Tensor, Tensor]:
        """Computes s_k = a_k^T W_s O'_k with the decoded attributes O'."""
        memory_BRd = self.encoder(self.region_projection(regions_BRD))
        tokens_1Kd = self.attribute_projection(vectors_KE)[None]
        decoded_BKd, attention_BKR = self.decoder(tokens_1Kd, memory_BRd)
        return (decoded_BKd * (vectors_KE @ self.weights_Ed)).sum(dim=2), attention_BKR


class TransZero(AttributeNet):
    """Transformer sub-nets that share trainable attribute vectors: one, or both for TransZero++.

    Args:
        attribute_vectors_KE: Word vectors of the attributes, (K, E). Initial values: unit rows.
        class_attributes_CK: Class semantic vectors, (C, K). Rows are normalised.
        visual_dim: Number of visual channels D.
        grid: Rows and columns of regions.
        subnets: Functions of (E, D, grid) that return a sub-net, by name, in the order of the
            outputs.
        renormalize: Normalise the attribute vectors in every forward pass (release: AWA2).
    """

    def __init__(
        self,
        attribute_vectors_KE: Tensor,
        class_attributes_CK: Tensor,
        visual_dim: int,
        *,
        grid: tuple[int, int],
        subnets: Mapping[str, Callable[..., TransformerSubNet]],
        renormalize: bool = False,
    ) -> None:
        super().__init__(attribute_vectors_KE, class_attributes_CK, renormalize=renormalize)
        word_dim = attribute_vectors_KE.shape[1]
        self.subnets = nn.ModuleDict(
            {name: make(word_dim, visual_dim, grid) for name, make in subnets.items()}
        )

    def forward(self, regions_BRD: Tensor) -> tuple[SubNetOutput, ...]:
        """Computes every sub-net's logits, attribute scores and attention.

        Args:
            regions_BRD: Region features of any precision, (B, R, D). Each region is normalised.
        """
        unit_BRD, vectors_KE = unit_regions(regions_BRD), self.vectors()
        return tuple(self.output(*subnet(unit_BRD, vectors_KE)) for subnet in self.subnets.values())
