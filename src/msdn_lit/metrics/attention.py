"""Does attention lie where it should? Attention maps against boxes, as pure functions.

Letters: P pairs of an image and an attribute, N boxes of a pair, H and W rows and columns of regions. A box is (left,
upper, right, lower) in shares of the picture's width and height.
"""

import torch
from torch import Tensor


def cover(boxes_PN4: Tensor, grid: tuple[int, int]) -> Tensor:
    """How much of each cell lies in a pair's boxes.

    Args:
        boxes_PN4: Boxes, (P, N, 4); NaN where a pair has fewer than N.
        grid: H and W.

    Returns:
        Share of each cell's area, (P, H, W); of several boxes the largest, which is exact if they share no cell.
    """
    H, W = grid
    columns_PNW = _overlap(boxes_PN4[..., 0], boxes_PN4[..., 2], W)
    rows_PNH = _overlap(boxes_PN4[..., 1], boxes_PN4[..., 3], H)
    return (rows_PNH[..., :, None] * columns_PNW[..., None, :]).nan_to_num(0).amax(dim=1)


def pointing_game(attention_PHW: Tensor, cover_PHW: Tensor) -> Tensor:
    """Whether the cell with the most attention touches a box (Zhang et al., ECCV 2016, with cells for pixels), (P,)."""
    strongest_P1 = attention_PHW.flatten(1).argmax(dim=1, keepdim=True)
    return cover_PHW.flatten(1).gather(1, strongest_P1)[:, 0] > 0


def pointing_chance(cover_PHW: Tensor) -> Tensor:
    """How often a cell that is drawn evenly touches a box, (P,)."""
    return (cover_PHW > 0).double().mean(dim=(1, 2))


def energy_inside(attention_PHW: Tensor, cover_PHW: Tensor) -> Tensor:
    """Share of a map's attention that lies in the boxes, spread evenly within each cell, (P,).

    Each map is brought to a sum of one first: visual -> attribute attention sums to one over attributes, not regions.
    Uniform attention has the mean of `cover`, the boxes' share of the picture.
    """
    weights_PHW = attention_PHW.double()
    return (weights_PHW * cover_PHW).sum(dim=(1, 2)) / weights_PHW.sum(dim=(1, 2))


def _overlap(low: Tensor, high: Tensor, cells: int) -> Tensor:
    """Share of each cell of one axis that lies between two shares of its length; adds the axis as the last."""
    begin = torch.arange(cells, dtype=torch.float64) / cells
    inside = torch.minimum(high[..., None], begin + 1 / cells) - torch.maximum(
        low[..., None], begin
    )
    return inside.clamp_min(0) * cells
