"""Precision of tensors, for nets and losses."""

import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """Returns a tensor in float32, or in float64 if it has that precision."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()
