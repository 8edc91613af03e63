"""Precision of tensors, for nets and losses."""

import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """Returns a tensor in float32, or in float64 if it has that precision."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def to_float64(tensor: Tensor) -> Tensor:
    """Returns a tensor in float64, on the CPU if its device has no such numbers (MPS)."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


def class_product(scores_BK: Tensor, class_attributes_CK: Tensor) -> Tensor:
    """Returns scores @ class_attributes^T in float32 at least, also under autocast, (..., B, C).

    In bf16, the two best classes of 3 % of the images had equal logits.
    """
    device = scores_BK.device.type
    scores_BK, class_attributes_CK = map(at_least_float32, (scores_BK, class_attributes_CK))
    if not torch.is_autocast_enabled(device):  # exported programs then have no trace of it
        return scores_BK @ class_attributes_CK.T
    with torch.autocast(device, enabled=False):
        return scores_BK @ class_attributes_CK.T
