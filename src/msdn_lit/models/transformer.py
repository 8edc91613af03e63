"""Transformer layers of TransZero: geometry code, attention, feed-forward layers, decoder.

Equation numbers are those of docs/methods.md. Letters: B batch, R regions, d common width,
Q queries, T tokens that they attend to.

Tokens that are equal for all images have a first dimension of 1, not B: they are projected once.
"""

import math

import torch
from torch import Tensor, nn


def geometry_code(rows: int, columns: int) -> Tensor:
    """Returns the code of the relative position of each pair of regions, (R, R, 64).

    Of the four numbers that the release encodes, two are zero: all regions have one size. The code
    is computed in float64, since its phases are as large as 691.

    Args:
        rows: Rows of regions.
        columns: Columns of regions.
    """
    row_R, column_R = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).double().T
    offsets = [
        ((place_R[:, None] - place_R).abs() / (size + 1)).clamp_min(1e-3).log()
        for place_R, size in ((row_R, rows), (column_R, columns))
    ]
    zero_RR = torch.zeros_like(offsets[0])
    offsets_RR4 = torch.stack([*offsets, zero_RR, zero_RR], dim=2)
    frequencies_8 = 1000.0 ** (-torch.arange(8, dtype=torch.float64) / 8)
    phases_RR32 = (100 * offsets_RR4[..., None] * frequencies_8).flatten(2)
    return torch.cat([phases_RR32.sin(), phases_RR32.cos()], dim=2).to(torch.get_default_dtype())


class Attention(nn.Module):
    """Attention with one head: softmax(q k^T / sqrt(d) - bias) v, with four projections.

    The output projection is applied to the values, which is the same by linearity: there are fewer
    of them than outputs wherever the tokens are equal for all images.

    Args:
        dim: Width d of queries and tokens.
        dropout: Rate for the attention weights, in training mode.
        stacked: Initialise as torch.nn.MultiheadAttention does, which stacks the three input
            projections; False initialises each of the four on its own.
    """

    def __init__(self, dim: int, dropout: float, *, stacked: bool) -> None:
        super().__init__()
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.output = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)
        for layer in (self.query, self.key, self.value):
            nn.init.xavier_uniform_(layer.weight, gain=0.5**0.5 if stacked else 1.0)
        if stacked:
            nn.init.uniform_(self.output.weight, -(dim**-0.5), dim**-0.5)
        else:
            nn.init.xavier_uniform_(self.output.weight)
        for layer in (self.query, self.key, self.value, self.output):
            nn.init.zeros_(layer.bias)

    def forward(
        self, queries: Tensor, tokens: Tensor, batch: int, bias_QT: Tensor | float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Attends to tokens.

        Args:
            queries: Queries, (B or 1, Q, d).
            tokens: Tokens, (B or 1, T, d).
            batch: B. Dropout draws a mask for each image, also where both arguments are shared.
            bias_QT: Bias that is subtracted from the scaled products, (Q, T).

        Returns:
            Outputs (B or 1, Q, d) and attention weights before dropout (B or 1, Q, T).
        """
        products = self.query(queries) @ self.key(tokens).transpose(1, 2)
        weights = (products / math.sqrt(queries.shape[2]) - bias_QT).softmax(dim=2)
        values = nn.functional.linear(self.value(tokens), self.output.weight)
        kept = self.dropout(weights.expand(batch, -1, -1)) if self.training else weights
        return kept @ values + self.output.bias, weights


class FeedForward(nn.Module):
    """ffn_2(relu(ffn_1(x))), with dropout after relu and at the end.

    Args:
        dim: Width d of input and output.
        hidden_dim: Width f between the two layers.
        dropout: Rate.
    """

    def __init__(self, dim: int, hidden_dim: int, dropout: float) -> None:
        super().__init__()
        self.ffn_1 = nn.Linear(dim, hidden_dim)
        self.ffn_2 = nn.Linear(hidden_dim, dim)
        self.hidden_dropout = nn.Dropout(dropout)
        self.output_dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Computes the layers for (..., d)."""
        hidden: Tensor = self.hidden_dropout(self.ffn_1(x).relu())
        output: Tensor = self.output_dropout(self.ffn_2(hidden))
        return output


class Decoder(nn.Module):
    """Self-attention of queries, their attention to tokens, and a feed-forward layer, eq. 1.6-1.7.

    Args:
        dim: Width d.
        ffn_dim: Width of the feed-forward layer.
        dropout: Rate.
        self_attention: Whether queries attend to one another first.
    """

    def __init__(self, dim: int, ffn_dim: int, dropout: float, *, self_attention: bool) -> None:
        super().__init__()
        self.self_attention = Attention(dim, dropout, stacked=True) if self_attention else None
        self.self_dropout = nn.Dropout(dropout)
        self.norm_1 = nn.LayerNorm(dim) if self_attention else nn.Identity()
        self.cross_attention = Attention(dim, dropout, stacked=True)
        self.cross_dropout = nn.Dropout(dropout)
        self.norm_2 = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim, ffn_dim, dropout)
        self.norm_3 = nn.LayerNorm(dim)

    def forward(self, queries_BQd: Tensor, tokens_BTd: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the decoded queries (B, Q, d) and their attention to the tokens (B, Q, T).

        Either argument may have a first dimension of 1: equal for all images.
        """
        # not len(), which an export would take for a constant
        batch = (tokens_BTd if queries_BQd.shape[0] == 1 else queries_BQd).shape[0]
        if self.self_attention is not None:
            attended_BQd, _ = self.self_attention(queries_BQd, queries_BQd, batch)
            queries_BQd = self.norm_1(queries_BQd + self.self_dropout(attended_BQd))
        attended_BQd, attention_BQT = self.cross_attention(queries_BQd, tokens_BTd, batch)
        queries_BQd = self.norm_2(queries_BQd + self.cross_dropout(attended_BQd))
        return self.norm_3(queries_BQd + self.feed_forward(queries_BQd)), attention_BQT
