"""Attention maps against the boxes of attributes, as pure functions.

Letters: Q pairs of an image and an attribute, J boxes of a pair, H and W rows and columns of
regions. A box is (left, upper, right, lower) in fractions of the image's width and height.
"""

import torch
from torch import Tensor


def cover(boxes_QJ4: Tensor, grid: tuple[int, int]) -> Tensor:
    """Computes the share of each region that a pair's boxes cover.

    Args:
        boxes_QJ4: Boxes, (Q, J, 4); NaN for a pair with fewer than J boxes.
        grid: H and W.

    Returns:
        Share of each region's area, (Q, H, W). Of several boxes the one that covers most counts,
        which is exact if no two boxes share a region.
    """
    H, W = grid
    columns_QJW = _overlap(boxes_QJ4[..., 0], boxes_QJ4[..., 2], W)
    rows_QJH = _overlap(boxes_QJ4[..., 1], boxes_QJ4[..., 3], H)
    return (rows_QJH[..., :, None] * columns_QJW[..., None, :]).nan_to_num(0).amax(dim=1)


def pointing_game(attention_QHW: Tensor, cover_QHW: Tensor) -> Tensor:
    """Whether the region with the most attention touches a box, (Q,).

    Zhang et al., ECCV 2016, with regions instead of pixels.
    """
    strongest_Q1 = attention_QHW.flatten(1).argmax(dim=1, keepdim=True)
    return cover_QHW.flatten(1).gather(1, strongest_Q1)[:, 0] > 0


def pointing_chance(cover_QHW: Tensor) -> Tensor:
    """Probability that a uniformly drawn region touches a box, (Q,)."""
    return (cover_QHW > 0).double().mean(dim=(1, 2))


def energy_inside(attention_QHW: Tensor, cover_QHW: Tensor) -> Tensor:
    """Share of a map's attention inside the boxes, (Q,); attention is uniform within a region.

    Each map is scaled to a sum of one, since visual -> attribute attention sums to one over the
    attributes and not over the regions. Uniform attention scores the mean of `cover`, which is the
    share of the image that the boxes cover.
    """
    weights_QHW = attention_QHW.double()
    return (weights_QHW * cover_QHW).sum(dim=(1, 2)) / weights_QHW.sum(dim=(1, 2))


def _overlap(low: Tensor, high: Tensor, cells: int) -> Tensor:
    """Share of each cell of one axis between two fractions of its length; appends the axis."""
    begin = torch.arange(cells, dtype=torch.float64) / cells
    upper = torch.minimum(high[..., None], begin + 1 / cells)
    lower = torch.maximum(low[..., None], begin)
    return (upper - lower).clamp_min(0) * cells
